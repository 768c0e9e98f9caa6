"""One measured stage of scale_curve, in a process of its own: prints seconds and peak memory as JSON.

  python -m scale.stages windows FOLDER COUNT build|label|train|verify
  python -m scale.stages videos FOLDER COUNT build

Memory is that of the process and of its children, each at its peak. Imports, tracing and the synthesis of the input are
not timed: a stage is first run on a few windows. Where it then ends soon it is repeated, and seconds are the mean:
single runs of less than a second differ by half on a shared machine. In turns with it the few windows are timed again:
what they take beyond their share of the time per window is the start of the stage, such as iterators for its files.
"""

import functools
import io
import json
import pathlib
import resource
import shutil
import statistics
import sys
import time

import numpy as np
from PIL import Image

from audionet_tf.data import records
from audionet_tf.data.params import RecordParams
from audionet_tf.data.shards import tfrecord_io
from tfrecords import builder, shards, verification

WINDOWS_PER_VIDEO = 250  # ten seconds of AudioNet's windows
PARAMS = RecordParams(image_size=32)
WARM_UP_WINDOWS = 2500
LEAST_SECONDS = 10  # of the repetitions of a stage
TIMED_WINDOWS = 100_000  # of all epochs but the first, at least
CLASSES = 100
PICTURES = 16  # different ones
CLIP_SECONDS = 0.4


def synthetic_parts(folder, windows):
  """Writes the part files of videos with WINDOWS_PER_VIDEO windows each, as decoding leaves them.

  Returns:
    list of (video id, path of its part).
  """
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, [PICTURES, 4, 4, 3], np.uint8).repeat(8, 1).repeat(8, 2)
  pictures = [jpeg(picture) for picture in pixels]
  parts = folder / builder.PARTS
  parts.mkdir(parents=True)
  listed = []
  for number in range(-(-windows // WINDOWS_PER_VIDEO)):
    video, path = f'{number:07d}.mp4', parts / f'{number:07d}.tfrecord'
    count = min(WINDOWS_PER_VIDEO, windows - number * WINDOWS_PER_VIDEO)
    sound = rng.integers(-3000, 3000, [count, PARAMS.window_samples], np.int16)
    with open(path, 'wb') as file:
      for index in range(count):
        picture = pictures[(number + index // 25) % PICTURES]
        file.write(tfrecord_io.framed(records.window_example(PARAMS, video, index, sound[index], [picture])))
    listed.append((video, path))
  return listed


def jpeg(pixels):
  """u8 [H, W, 3] as JPEG bytes."""
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, 'JPEG', quality=95)
  return file.getvalue()


def build_windows(folder):
  """Checks the parts and writes shards and manifest, as a build does after decoding."""
  done = [shards.from_part(path, f'{path.stem}.mp4', 'x') for path in sorted((folder / builder.PARTS).iterdir())]
  fields = {'params': PARAMS, 'sources': ['/videos'], 'shards_asked': None}
  shards.write(folder, done, fields, None, lambda count: None)


@functools.cache
def teacher():
  """A frozen_teacher.Teacher with random weights, small beside the reading and decoding of pictures; traced once."""
  import tensorflow as tf

  from audionet_tf.teachers import frozen_teacher

  weights = tf.random.stateless_uniform([3, CLASSES], [0, 1])

  @tf.function(input_signature=[tf.TensorSpec([None, PARAMS.image_size, PARAMS.image_size, 3], tf.uint8)])
  def probabilities(images):
    return tf.nn.softmax(tf.reduce_mean(tf.cast(images, tf.float32), [1, 2]) @ weights / 64)

  names = [f'class {i}' for i in range(CLASSES)]
  description = {'weights': 'none', 'dtype': 'float32', 'outputs': 'probabilities', 'input_range': None}
  return frozen_teacher.Teacher('teacher', names, probabilities, False, description, 'synthetic')


def label_windows(folder):
  """Stores the teacher's outputs anew."""
  from audionet_tf.data import soft_labels
  from audionet_tf.teachers import labelling

  shutil.rmtree(folder / soft_labels.FOLDER, ignore_errors=True)
  labelling.ensure(folder, records.read_manifest(folder), [teacher()])


def train_windows(folder):
  """Passes of AudioNet over the stored outputs; returns the mean seconds of all but the first."""
  import tensorflow as tf

  from audionet_tf.data import soft_labels
  from audionet_tf.teachers import labelling
  from audionet_tf.training import callbacks, config, loop, run_models, trainer

  manifest = records.read_manifest(folder)
  epochs = 1 + max(1, TIMED_WINDOWS // manifest['windows'])
  chosen = config.TrainingConfig(teachers=(config.TeacherConfig('none'),), epochs=epochs)
  stored = folder / soft_labels.FOLDER / labelling.labels_key(manifest, [teacher()])
  source = soft_labels.label_source(stored, soft_labels.read_manifest(stored))
  distiller = run_models.build_distiller(manifest, [teacher()], chosen)
  run_dir = folder / 'run'
  run_dir.mkdir(exist_ok=True)
  log = callbacks.RunLog(run_dir, trainer.stats_header(manifest, chosen), trainer.ids_of(manifest), manifest['windows'])
  log.begin(0)
  batches = trainer.training_batches(folder, manifest, source, chosen, 0, trainer.input_pipeline.ALL_ROWS)
  loop.run(distiller, batches, [log], epochs, chosen.steps_per_epoch(manifest['windows']))
  tf.keras.backend.clear_session()
  lines = (run_dir / 'metrics.jsonl').read_text().splitlines()[1:]
  return sum(json.loads(line)['seconds'] for line in lines) / len(lines)


def verify_windows(folder):
  """Verifies records and stored outputs."""
  faults = verification.verify(folder)
  if faults:
    raise ValueError(faults[0])


def synthetic_videos(folder, count):
  """Encodes one clip of CLIP_SECONDS and copies it: decoding costs the same, and encoding is not measured."""
  import av

  folder.mkdir(parents=True)
  first, rng = folder / '0000000.mkv', np.random.default_rng(0)
  with av.open(str(first), 'w') as container:
    video, sound = container.add_stream('mpeg4', 25), container.add_stream('pcm_s16le', 16000)
    video.width, video.height, video.pix_fmt, sound.layout = 64, 48, 'yuv420p', 'mono'
    for number in range(round(25 * CLIP_SECONDS)):
      frame = av.VideoFrame.from_ndarray(rng.integers(0, 256, [48, 64, 3], np.uint8), 'rgb24')
      frame.pts = number
      container.mux(video.encode(frame))
    container.mux(video.encode(None))
    pcm = rng.integers(-3000, 3000, [1, round(16000 * CLIP_SECONDS)], np.int16)
    frame = av.AudioFrame.from_ndarray(pcm, 's16', 'mono')
    frame.sample_rate = 16000
    container.mux(sound.encode(frame))
    container.mux(sound.encode(None))
  for number in range(1, count):
    shutil.copyfile(first, folder / f'{number:07d}.mkv')


def build_videos(folder):
  """The whole build of short videos, two at a time."""
  builder.build([str(folder / 'videos')], folder / 'records', PARAMS, workers=2)


NEEDED = {  # stages that a stage needs, itself included
  'build': ('build',),
  'label': ('build', 'label'),
  'train': ('build', 'label', 'train'),
  'verify': ('build', 'verify'),
}
WINDOW_STAGES = {'build': build_windows, 'label': label_windows, 'train': train_windows, 'verify': verify_windows}


def run(kind, folder, count, stage):
  """Measures a stage.

  Returns:
    dict of `seconds`, `start_seconds` (None where the stage has none, or it is not known), `core_seconds`, `bytes`
    (peak of this process) and `child_bytes` (of a child).
  """
  few = min(count, WARM_UP_WINDOWS)
  if kind == 'videos':
    if not (folder / 'videos').exists():
      synthetic_videos(folder / 'videos', count)
    function, places = build_videos, [folder]
  else:
    warm_up, place, function = folder / f'warm_up_{stage}', folder / 'records', WINDOW_STAGES[stage]
    synthetic_parts(warm_up, few)
    for name in NEEDED[stage]:
      WINDOW_STAGES[name](warm_up)
    if stage == 'build':
      synthetic_parts(place, count)
    # A training leaves its start out itself; of hardly more windows than these few it cannot be told.
    places = [place] if stage == 'train' or count < 2 * few else [place, warm_up]
  turns, began = [], time.perf_counter()
  while not turns or (kind == 'windows' and time.perf_counter() - began < LEAST_SECONDS):
    turns.append([timed(function, place) for place in places])
  own, seconds, core = (list(column) for column in zip(*(turn[0] for turn in turns), strict=True))
  start = None
  if own[0] is not None:  # of a part of the stage
    seconds, core = own, None
  elif len(places) > 1:
    start = statistics.mean(start_of(turn[0][1], count, turn[1][1], few) for turn in turns)
  core = None if kind == 'videos' or core is None else statistics.mean(core)  # decoders are children of another process
  peaks = [resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
  seconds = statistics.mean(seconds)
  return {
    'seconds': seconds,
    'start_seconds': start,
    'core_seconds': core,
    'bytes': peaks[0],
    'child_bytes': peaks[1],
  }


def timed(function, place):
  """(what function(place) returns, its seconds, its seconds of processors)."""
  began, core_began = time.perf_counter(), core_seconds()
  own = function(place)
  return own, time.perf_counter() - began, core_seconds() - core_began


def start_of(seconds, count, few_seconds, few):
  """Seconds at a count of zero, on the line through two counts; at least 0, and at most those of the few."""
  return min(max(0.0, (few_seconds * count - seconds * few) / (count - few)), few_seconds)


def core_seconds():
  """Processor time of this process and of its children that have ended."""
  usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
  return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == '__main__':
  print(json.dumps(run(sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])))
