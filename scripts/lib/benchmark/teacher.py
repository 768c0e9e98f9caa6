"""The teacher's pass over records against its network alone, and bfloat16 against float32; started by the benchmark.

scripts/lib/run benchmark.teacher pass NAME RECORDS     turns: pictures per second of the pass
scripts/lib/run benchmark.teacher alone NAME PICTURES   turns: the same of the network, on pictures in memory
scripts/lib/run benchmark.teacher bfloat16 NAME RECORDS turns: times as fast as in float32; KL of the answers

Classifiers of keras.applications, with random weights: time does not depend on them, but answers do, so that the KL
says less than one of trained weights.
"""

import dataclasses
import pathlib
import shutil
import statistics
import sys
import time

from benchmark import data, measure
from benchmark.build import build_command
from benchmark.measure import Line, first_cpus, in_turns, median_ratio, run, verdict

SIZE = 224  # of the pictures of records
BATCHES = (8, 16, 32, 64, 128)  # the fastest is taken
LEAST_SHARE, LEAST_GAIN = 0.9, 3


def teacher(context):
  """Pictures per second, and what bfloat16 gains where the processor has it."""
  clips = context.work / 'clips'
  if not clips.exists():
    data.make_clips(clips)
  lines, cpus, turns = [], first_cpus(2), context.sizes.teacher_turns
  for name, milliseconds in context.sizes.teachers:
    records = context.work / f'{name}_records'
    run(build_command([clips], records, f'--max_seconds={milliseconds / 1000}'))
    pictures = len(list(clips.iterdir())) * milliseconds // 40
    commands = {'pass': part('pass', name, records), 'alone': part('alone', name, pictures)}
    rates = in_turns(commands, cpus, turns, name)
    ratio = median_ratio(rates['pass'], rates['alone'])
    ours, alone = (statistics.median(rates[key]) for key in ('pass', 'alone'))
    raw = {f'pictures_per_second_{key}': values for key, values in rates.items()}
    shown = [' '.join(command) for command in commands.values()]
    what, against = f"teacher's pass, {name}, {pictures} pictures", 'its network alone, fastest batch'
    measured = f'{ours:.1f} : {alone:.1f} per second'
    limit, result = f'>= {LEAST_SHARE}x', verdict(ratio, least=LEAST_SHARE)
    lines.append(Line(what, against, limit, measured, ratio, result, raw, shown))
    command = part('bfloat16', name, records)
    tried = in_turns({'tried': command}, cpus, turns, f'{name} in bfloat16')['tried']
    gain, kl = (statistics.median(column) for column in zip(*tried, strict=True))
    measured = f'{gain:.2f}x, KL {kl:.1e}'
    required, least = (f'>= {LEAST_GAIN}x', LEAST_GAIN) if name == 'vgg16' else ('for information', None)
    raw = {'gain_and_kl': tried}
    what, result = f'teacher {name} in bfloat16', verdict(gain, least=least)
    lines.append(Line(what, 'float32', required, measured, gain, result, raw, [' '.join(command)]))
  return lines


def part(*arguments):
  """Command line of a part of this file."""
  return [sys.executable, '-m', 'benchmark.teacher', *map(str, arguments)]


def answer_pass(name, folder):
  """Stores the outputs of a teacher anew in every turn."""
  from audionet_tf.data import records, soft_labels
  from audionet_tf.teachers import frozen_teacher, labelling

  folder = pathlib.Path(folder)
  manifest, loaded = records.read_manifest(folder), frozen_teacher.load(name, weights='none')
  # Traced once, in the turn that is not measured; of the thousands of pictures of a real pass it takes nothing.
  loaded = dataclasses.replace(loaded, probabilities=compiled(loaded), in_graph=False)

  def turn():
    shutil.rmtree(folder / soft_labels.FOLDER, ignore_errors=True)
    began = time.perf_counter()
    labelling.ensure(folder, manifest, [loaded])
    return manifest['windows'] / (time.perf_counter() - began)

  measure.answer_turns(turn)


def answer_alone(name, pictures):
  """Runs a network over pictures, by the batch that was the fastest at first."""
  import numpy as np
  import tensorflow as tf

  from audionet_tf.teachers import frozen_teacher

  function = compiled(frozen_teacher.load(name, weights='none'))
  images = tf.constant(np.random.default_rng(0).integers(0, 256, [max(BATCHES), SIZE, SIZE, 3], np.uint8))

  def rate(batch, count):
    began = time.perf_counter()
    for _ in range(count):
      function(images[:batch]).numpy()
    return count * batch / (time.perf_counter() - began)

  rate(BATCHES[0], 1)
  best = max(BATCHES, key=lambda batch: rate(batch, 1))
  measure.answer_turns(lambda: rate(best, -(-int(pictures) // best)))


def answer_bfloat16(name, folder):
  """Tries both types on pictures of the records, as --teacher_dtype=auto does."""
  import tensorflow as tf

  from audionet_tf.data import records
  from audionet_tf.teachers import answers, frozen_teacher, precision

  manifest = records.read_manifest(folder)
  images = tf.constant(answers.pictures_of(folder, manifest))
  functions = [compiled(frozen_teacher.load(name, weights='none', dtype=dtype)) for dtype in frozen_teacher.DTYPES]
  kl = precision.kl(*(function(images).numpy() for function in functions))
  measure.answer_turns(lambda: (precision.speed_gain(functions, images), kl))


def compiled(loaded):
  """The answers of a frozen_teacher.Teacher as a tf.function of any number of pictures."""
  import tensorflow as tf

  return tf.function(loaded.probabilities, input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3], tf.uint8)])


if __name__ == '__main__':
  {'pass': answer_pass, 'alone': answer_alone, 'bfloat16': answer_bfloat16}[sys.argv[1]](*sys.argv[2:])
