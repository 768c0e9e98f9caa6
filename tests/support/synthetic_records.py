"""Records without videos: windows of noise, each video with a colour of its own."""

import dataclasses
import hashlib
import io
import json

import numpy as np
from PIL import Image

from audionet_tf.data import params as data_params
from audionet_tf.data import records
from audionet_tf.data.shards import tfrecord_io


def picture(colour, size):
  """A PNG of one colour with a darker lower half."""
  pixels = np.full((size, size, 3), colour, np.uint8)
  pixels[size // 2 :] //= 2
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, 'PNG')
  return file.getvalue()


def write_records(folder, videos, params=None, shards=2, seed=0, first_window=0, factors=None):
  """Writes a folder of records as tfrecords.build does.

  Args:
    folder: pathlib.Path.
    videos: dict of video id to number of windows.
    first_window: number of the first window of the video that comes first by its id; the others begin with 0.
    factors: dict of (video id, index) to a factor of that window's sound; None for 1 each.

  Returns:
    dict of (video id, index) to int16 [samples].
  """
  params = params or data_params.RecordParams(image_size=32, image_format='png')
  rng = np.random.default_rng(seed)
  pcm, windows = {}, []
  for number, (video, count) in enumerate(sorted(videos.items())):
    encoded = picture(((number * 83) % 256, (number * 47 + 90) % 256, (number * 29 + 160) % 256), params.image_size)
    first = 0 if number else first_window
    for index in range(first, first + count):
      tone = np.sin(2 * np.pi * (200 + 400 * number) * np.arange(params.window_samples) / params.sample_rate_hz)
      sound = 0.5 * tone + 0.2 * rng.normal(size=params.window_samples)
      sound *= (factors or {}).get((video, index), 1)
      pcm[video, index] = np.clip(sound * 20000, -32768, 32767).astype(np.int16)
      images = [encoded] * params.images_per_window
      windows.append(records.window_example(params, video, index, pcm[video, index], images))
  rng.shuffle(windows)
  folder.mkdir(parents=True, exist_ok=True)
  listed = []
  for shard in range(shards):
    part = windows[shard::shards]
    name = f'records-{shard}.tfrecord'
    (folder / name).write_bytes(b''.join(tfrecord_io.framed(w) for w in part))
    listed.append({'name': name, 'windows': len(part), 'bytes': (folder / name).stat().st_size})
  manifest = {
    'schema_version': records.SCHEMA_VERSION,
    'params': dataclasses.asdict(params),
    'windows': len(windows),
    'digest': hashlib.sha256(b''.join(windows)).hexdigest(),
    'videos': [
      {'id': video, 'digest': video, 'windows': count, 'first_window': 0 if number else first_window}
      for number, (video, count) in enumerate(sorted(videos.items()))
    ],
    'shards': listed,
  }
  (folder / records.MANIFEST_NAME).write_text(json.dumps(manifest))
  return pcm


def colour_teacher(path, classes=5, size=32):
  """A .keras classifier of mean colours, random but fixed: different colours, different answers."""
  import keras

  rng = np.random.default_rng(1)
  image = keras.Input([size, size, 3])
  mean = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 64)(image))
  model = keras.Model(image, keras.layers.Dense(classes, activation='softmax')(mean))
  model.layers[-1].set_weights([rng.normal(size=(3, classes)), rng.normal(size=classes)])
  model.save(path)
  return path
