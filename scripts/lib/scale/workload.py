"""The stages that scale_account measures: commands on a few clips, each with the processor time of its processes."""

import dataclasses
import hashlib
import json
import pathlib
import shutil
import sys
import time
from fractions import Fraction

import numpy as np

from scale import processes

SIZE = (640, 360)
RATE_HZ, PICTURES_PER_SECOND = 44100, 25
DASK = 'apache_beam.runners.dask.dask_runner.DaskRunner'
ENGINES = {  # name to words after `--` of tfrecords.beam; None: tfrecords.build
  'local': None,
  'FnApiRunner': ('--runner=FnApiRunner',),
  'FnApiRunner, 2 processes': (
    '--runner=FnApiRunner',
    '--direct_running_mode=multi_processing',
    '--direct_num_workers=2',
  ),
  'Dask, 2 workers': (f'--runner={DASK}',),  # Beam starts them
}
ORDERED = 200  # records in the measurement of ordering
EPOCHS = (1, 5)


@dataclasses.dataclass(frozen=True)
class Context:
  """Where and how much is measured.

  Attributes:
    folder: pathlib.Path for everything.
    few, many: numbers of clips.
    seconds: length of a clip and of a window.
    student, teacher: names.
  """

  folder: pathlib.Path
  few: int
  many: int
  seconds: float
  student: str
  teacher: str


def make_clips(context):
  """Makes many/, different clips, as a teacher is asked about equal pictures once, and few/; dict of their bytes."""
  for name in ('few', 'many'):
    (context.folder / name).mkdir()
  for number in range(context.many):
    path = context.folder / 'many' / f'{number:04d}.mp4'
    write_clip(path, context.seconds, number)
    if number < context.few:
      shutil.copyfile(path, context.folder / 'few' / path.name)
  return {'videos': sum(path.stat().st_size for path in (context.folder / 'many').iterdir()) / context.many}


def write_clip(path, seconds, seed):
  """Encodes a clip: pictures in motion with a cut every two seconds, and noise."""
  import av

  rng = np.random.default_rng(seed)
  with av.open(str(path), 'w') as container:
    video = container.add_stream('libx264', PICTURES_PER_SECOND, options={'preset': 'veryfast'})
    sound = container.add_stream('aac', RATE_HZ)
    (video.width, video.height), video.pix_fmt = SIZE, 'yuv420p'
    for number in range(round(seconds * PICTURES_PER_SECOND)):
      if number % (2 * PICTURES_PER_SECOND) == 0:
        pixels = rng.integers(0, 256, [18, 32, 3], np.uint8).repeat(20, 0).repeat(20, 1)
      frame = av.VideoFrame.from_ndarray(np.roll(pixels, 2 * number, 1), 'rgb24')
      container.mux(video.encode(frame))
    container.mux(video.encode(None))
    frame_samples = 1024
    for number in range(round(seconds * RATE_HZ) // frame_samples + 1):
      pcm = rng.normal(0, 0.1, [1, frame_samples]).astype(np.float32)
      frame = av.AudioFrame.from_ndarray(pcm, 'fltp', 'mono')
      frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, number * frame_samples, Fraction(1, RATE_HZ)
      container.mux(sound.encode(frame))
    container.mux(sound.encode(None))


def core_seconds(context, stage):
  """Processor seconds that one video more costs in a stage."""
  kind, _, engine = stage.partition(': ')
  if kind == 'order':
    return order_seconds(context)
  if kind == 'train':
    fewer, more = (measured(train_words(context, epochs)) for epochs in EPOCHS)
    return (more - fewer) / ((EPOCHS[1] - EPOCHS[0]) * context.many)
  words = build_words if kind == 'build' else label_words
  fewer, more = (measured(words(context, name, engine)) for name in ('few', 'many'))
  return (more - fewer) / (context.many - context.few)


def records_of(context, name, engine='local'):
  """Folder of the records of few or many clips."""
  return context.folder / f'records {engine} {name}'


def build_words(context, name, engine):
  """The command that builds records."""
  window = round(context.seconds * 1000) - 100  # the clip's sound and pictures end within a frame of each other
  words = [
    f'--videos={context.folder / name}',
    f'--output={records_of(context, name, engine)}',
    f'--window_ms={window}',
  ]
  words += ['--images_per_window=4', '--sample_rate=22050', '--mono=first', '--shards=2']
  options = ENGINES[engine]
  return ['tfrecords.build', *words] if options is None else ['tfrecords.beam', *words, '--', *options]


def label_words(context, name, engine):
  """The command that asks the teacher."""
  teacher = [f'--teacher={context.teacher}', '--teacher_weights=none']
  return ['audionet_tf.label', f'--records={records_of(context, name)}', *teacher]


def train_words(context, epochs):
  """The command that trains."""
  words = [f'--records={records_of(context, "many")}', f'--run_dir={context.folder}/run {epochs}']
  words += [f'--teacher={context.teacher}', '--teacher_weights=none', f'--student={context.student}']
  return ['audionet_tf.train', *words, f'--epochs={epochs}', '--batch_size=4', '--noprojector']


def measured(words):
  """Processor seconds of a command and of all processes that it starts."""
  done = processes.run('benchmark.account', sys.executable, '-m', *words)
  usage = json.loads(done.stdout.splitlines()[-1])
  if usage['code']:
    raise RuntimeError(f'{words}: {done.stderr[-500:]}')
  return usage['cpu_seconds']


def order_seconds(context):
  """Processor seconds of ordering one record of these through files on the disk, as data sets past memory are."""
  from tfrecords import shuffle

  size = sum(path.stat().st_size for path in records_of(context, 'many').glob('*.tfrecord')) // context.many
  rng = np.random.default_rng(0)
  keys = rng.integers(0, 2**64, ORDERED, np.uint64).tolist()
  content = rng.bytes(size)
  began = time.process_time()
  records = (((key, number, 0), content) for number, key in enumerate(keys))
  with open(context.folder / 'ordered', 'wb') as file:
    for framed in shuffle.ordered(records, ORDERED * size, context.folder):
      file.write(framed)
  return (time.process_time() - began) / ORDERED


def digest_seconds(record_bytes):
  """Processor seconds of the digest of one record of this size."""
  content = bytes(1 << 26)
  began = time.process_time()
  hashlib.blake2b(content, digest_size=16)
  return (time.process_time() - began) / len(content) * record_bytes


def stored_bytes(context):
  """dict of kind of file to bytes of one video: `records`, `labels`."""
  records = records_of(context, 'many')
  kinds = {'records': records.glob('*.tfrecord'), 'stored labels': records.glob('labels/*/*.tfrecord')}
  return {kind: sum(path.stat().st_size for path in paths) / context.many for kind, paths in kinds.items()}
