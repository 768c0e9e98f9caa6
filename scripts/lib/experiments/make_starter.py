"""Makes the starter student, audionet_tf/starter/, trained without labels on all folds.

  scripts/make_starter --data=FOLDER --videos=FOLDER --work=runs/starter

--data and --videos are those of scripts/benchmark_transfer. A student of --preset=best is trained on every fold, and
one more without --held_out, the fold that calibrates `unknown`. outside_sounds.py makes the sounds of no category;
audionet_tf/models/categories.py adds the head `category` with `unknown`; groups.csv maps the teacher's classes to
categories. Writes student.keras, student.json, card.md and NOTICE, at most 3 MB together: the weights keep 12 bits of
their mantissa.
"""

import dataclasses
import pathlib

import numpy as np
from absl import flags

import run_command
from audionet_tf.core import cli, files
from experiments import folds, outside_sounds, starter_files

FLAGS = flags.FLAGS
folds.define_flags('runs/starter', 'starter.json')
flags.adopt_module_key_flags(folds)  # so that --help lists them
flags.DEFINE_string('held_out', '4', 'The fold that calibrates `unknown`.')
flags.DEFINE_string('starter', str(run_command.ROOT / 'audionet_tf/starter'), 'Folder to write.')

EVERYTHING = '_nothing'  # the fold that a student of all folds is trained without
EACH, SEEDS = 30, (1, 2)  # sounds per kind as examples; those of the second seed are for evaluation
MOST_BYTES = 3_000_000


def windows(folder, category_file, folds, settings):
  """f32 [clips, samples]: the first window of every clip of the folds."""
  from audionet_tf.evaluation import clip_accuracy
  from audionet_tf.media import decoding
  from audionet_tf.saved_model import signatures

  samples, rows = signatures.window_samples(settings), []
  for path, _ in clip_accuracy.read_clips(category_file, folder, folds):
    pcm = [pcm for _, pcm in decoding.decode_audio(path, settings.sample_rate_hz, settings.mono)]
    rows.append(np.resize(np.concatenate(pcm), samples) / np.float32(1 << 15))
  return np.stack(rows).astype(np.float32)


def embeddings(model, sounds):
  """f32 [N, width] of f32 [N, samples]."""
  parts = [
    model(sounds[start : start + 32], training=False)['embedding'].numpy() for start in range(0, len(sounds), 32)
  ]
  return np.concatenate(parts)


def calibration(run, clips, held_out):
  """(threshold, slope, dict of figures for the card), from a student that was not trained on `held_out`.

  Args:
    run: pathlib.Path of the run of that student.
    clips, held_out: f32 [N, samples], the windows that it was trained on, and held-out ones.
  """
  from audionet_tf.models import categories, student_file

  model, settings = student_file.load(run / 'student.keras')
  examples, fresh = (outside_sounds.sounds(EACH, settings.window_seconds, seed) for seed in SEEDS)
  layer = categories.familiarity_of(embeddings(model, clips), embeddings(model, together(examples)))
  known = layer(embeddings(model, held_out)).numpy()
  unfamiliar = {kind: layer(embeddings(model, sounds)).numpy() for kind, sounds in fresh.items()}
  threshold, slope = categories.calibrated(known, together(unfamiliar))
  areas = starter_files.areas_under_curve(known, unfamiliar)
  alarms = 60 / settings.window_seconds * np.mean(together(unfamiliar) >= threshold)
  kinds = ', '.join(f'{kind} {area:.2f}' for kind, area in areas.items() if kind != 'all')
  missed = 100 * np.mean(known < threshold)
  return threshold, slope, {'missed': missed, 'area': areas['all'], 'alarms': alarms, 'kinds': kinds}


def together(parts):
  """The arrays of a dict as one."""
  return np.concatenate(list(parts.values()))


def write(place, run, clips, threshold, slope, figures):
  """Writes the files of the starter, from the run that was trained on all `clips`; returns their size in bytes."""
  from audionet_tf.evaluation import clip_accuracy
  from audionet_tf.models import categories, student_file

  model, settings = student_file.load(run / 'student.keras')
  examples = together(outside_sounds.sounds(EACH, settings.window_seconds, SEEDS[0]))
  layer = categories.familiarity_of(embeddings(model, clips), embeddings(model, examples))
  (teacher, class_names), *_ = settings.classes.items()
  groups = clip_accuracy.read_groups(place.data / 'esc10/groups.csv', class_names)
  settings = dataclasses.replace(
    settings,
    teachers={name: starter_files.without_folders(description) for name, description in settings.teachers.items()},
  )
  starter = pathlib.Path(FLAGS.starter)
  starter.mkdir(parents=True, exist_ok=True)
  student_file.save(starter / 'student.keras', *categories.added(model, settings, groups, layer, threshold, slope))
  starter_files.shortened(starter / 'student.keras')
  figures |= {'student': settings.student, 'teacher': teacher, 'clips': len(clips), 'held_out': FLAGS.held_out}
  figures |= {'seconds': settings.window_seconds, 'rate': settings.sample_rate_hz, 'folds': ', '.join(place.folds())}
  rows = '\n'.join(f'| {name.replace("_", " ")} |' for name in groups)
  names = [path.stem for path, _ in clip_accuracy.read_clips(place.videos / 'videos.csv')]
  notice = starter_files.credits(place.data / 'esc10/LICENSES.txt', names)
  for name, content in (('card.md', starter_files.CARD.format(categories=rows, **figures)), ('NOTICE', notice)):
    with files.atomic_write(starter / name) as file:
      file.write(content)
  return sum(path.stat().st_size for path in starter.iterdir())


def main(argv):
  cli.require(len(argv) == 1, f'unexpected argument {argv[-1]!r}; all settings are flags, see --help')
  place, row, seed = folds.check_place(), folds.ROWS['best'], FLAGS.seeds[0]
  others = [fold for fold in place.folds() if fold != FLAGS.held_out]
  cli.require(others != place.folds(), f'--held_out={FLAGS.held_out}: no such fold in {place.videos}')
  runs = [folds.train(place, 'best', row, fold, seed, FLAGS.train_flags) for fold in (FLAGS.held_out, EVERYTHING)]
  from audionet_tf.models import student_file

  _, settings = student_file.load(runs[0] / 'student.keras')
  parts = [windows(place.videos, place.videos / 'videos.csv', folds, settings) for folds in (others, [FLAGS.held_out])]
  threshold, slope, figures = calibration(runs[0], *parts)
  size = write(place, runs[1], np.concatenate(parts), threshold, slope, figures)
  print(f'{FLAGS.starter}: {size / 1e6:.2f} MB, AUROC of unknown {figures["area"]:.3f}')
  cli.require(size <= MOST_BYTES, f'{FLAGS.starter}: {size} bytes, allowed are {MOST_BYTES}')


if __name__ == '__main__':
  cli.run(main)
