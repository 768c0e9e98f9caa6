"""Encodes and decodes the sound of all windows once and stores it, in the form of `data/codec_variants.py`."""

import itertools
import pathlib
import shutil
import sys
from concurrent import futures

import joblib
import numpy as np
import tqdm
from google.protobuf import message

from audionet_tf.core import digests, files, sealed_json, text
from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import store_folder, store_mirror
from audionet_tf.data import codec_variants, record_manifest, records
from audionet_tf.data.codec_variants import FOLDER, record_bytes
from audionet_tf.data.shards import damage, tfrecord_io
from audionet_tf.media import codecs

SPARE_BYTES = 1 << 26  # of the disk, that stay free
WINDOWS_AT_ONCE = 4  # for each thread


def ensure(records_folder, manifest):
  """Makes sure that the variants of all windows are stored; encodes and decodes their sound if not.

  A killed run leaves the windows that it finished; the next one goes on after them. Of two runs at once, one waits.

  Args:
    records_folder: folder of records.
    manifest: of the records, from `records.read_manifest`.

  Returns:
    Variants.

  Raises:
    UserError: FFmpeg lacks a codec, the disk is too small, or the records are damaged.
    DiskFullError: the disk filled up meanwhile; the windows that are written are kept.
  """
  folder = pathlib.Path(records_folder) / FOLDER / codec_variants.key(manifest['digest'])
  if codec_variants.is_whole(folder, manifest):  # perhaps where nothing can be written, not even a lock
    return codec_variants.opened(folder, manifest)
  with files.space_in(folder):
    folder.mkdir(parents=True, exist_ok=True)
  with files.locked(folder), files.space_in(folder):
    store_mirror.refresh(folder)
    if not codec_variants.is_whole(folder, manifest):
      codecs.check()
      make(pathlib.Path(records_folder), manifest, folder)
      store_folder.publish_beside_records(folder)
  return codec_variants.opened(folder, manifest)


def make(records_folder, manifest, folder):
  """Writes the files that are missing, then the manifest; says first what is made, and how large it is."""
  shards, samples, count = manifest['shards'], manifest['params'].window_samples, len(codecs.CODECS)
  targets = [folder / f'codecs-{number:05d}-of-{len(shards):05d}.tfrecord' for number in range(len(shards))]
  missing = [pair for pair in zip(shards, targets, strict=True) if not is_finished(*pair, count, samples)]
  left = sum(shard['windows'] for shard, _ in missing)
  size = left * count * record_bytes(samples) - sum(map(partial_bytes, targets))
  free = shutil.disk_usage(folder).free
  if size + SPARE_BYTES > free:
    raise UserError(
      f'{folder}: the variants of augment codec take {size / 1e6:.0f} MB and {free / 1e6:.0f} MB are free; make room, '
      'or leave codec out'
    )
  whole, names = manifest['windows'], ', '.join(codecs.CODECS)
  print(f'codec: sound through {names} is stored once, {size / 1e6:.0f} MB in {folder}', file=sys.stderr)
  with tqdm.tqdm(total=whole, initial=whole - left, desc='encoding and decoding', unit=' windows') as progress:
    for shard, target in missing:
      write_file(records_folder / shard['name'], target, shard['windows'], manifest, progress)
  rows = [
    {
      'name': path.name,
      'windows': shard['windows'],
      'bytes': store_mirror.size(path),
      'digest': digests.of_content(store_mirror.present(path)),
    }
    for shard, path in zip(shards, targets, strict=True)
  ]
  content = {
    'format_version': codec_variants.FORMAT_VERSION,
    'records_digest': manifest['digest'],
    'window_samples': samples,
    'windows': manifest['windows'],
    'codecs': codec_variants.codec_table(),
    'shards': rows,
  }
  sealed_json.write(folder / records.MANIFEST_NAME, content)


def write_file(source, target, windows, manifest, progress):
  """Writes the variants for one shard of records under a temporary name, then renames it.

  Args:
    source, target: paths of the shard and of the file.
    windows: number of windows in the shard.
    manifest: of the records.
    progress: tqdm bar, in windows.

  Raises:
    UserError: the records are damaged.
  """
  params, count = manifest['params'], len(codecs.CODECS)
  partial, order = tfrecord_io.unfinished(target), []
  done = min(whole_records(partial, record_bytes(params.window_samples)) // count, windows)
  progress.update(done)
  sounds = read_sounds(source, manifest)

  def encoded(pcm):
    coded = (codecs.through(pcm, params.sample_rate_hz, name) for name in codecs.CODECS)
    return b''.join(tfrecord_io.framed(sound.astype('<i2').tobytes()) for sound in coded)

  threads = joblib.cpu_count()
  with futures.ThreadPoolExecutor(threads) as pool, open(partial, 'r+b' if done else 'wb') as file:
    file.truncate(done * count * record_bytes(params.window_samples))
    file.seek(0, 2)
    order += [place for place, _ in itertools.islice(sounds, done)]
    while part := list(itertools.islice(sounds, threads * WINDOWS_AT_ONCE)):
      for place, framed in zip([place for place, _ in part], pool.map(encoded, [pcm for _, pcm in part]), strict=True):
        order.append(place)
        file.write(framed)
        progress.update()
    if len(order) != windows:
      raise UserError(f'{source}: {len(order)} windows, its manifest lists {windows}; {damage.advice(source.parent)}')
    video, index = zip(*order, strict=True) if order else ((), ())
    listed = {'video': list(video), 'index': list(index)} if order else {}
    file.write(tfrecord_io.framed(tfrecord_io.serialize(listed)))
    files.sync(file)
  partial.replace(target)


def read_sounds(path, manifest):
  """Yields ((position of the video, number of the window), int16 [samples]) of a shard's windows.

  Raises:
    UserError: the shard is damaged.
  """
  for offset, framed, fault in tfrecord_io.checked_records(path):
    try:
      features = {} if fault else tfrecord_io.example_class().FromString(framed[12:-4]).features.feature
      if not fault:
        (video,), (index,) = features['video/id'].bytes_list.value, features['window/index'].int64_list.value
        (sound,) = features['audio/pcm'].bytes_list.value
        place, pcm = (record_manifest.position(manifest['videos'], video.decode()), index), np.frombuffer(sound, '<i2')
        fault = None if len(pcm) == manifest['params'].window_samples else f'{len(pcm)} samples of sound'
    except (ValueError, KeyError, message.DecodeError) as error:
      fault = text.brief(error)
    if fault:
      raise UserError(f'{path}: record at byte {offset}: {fault}; {damage.advice(path.parent)}')
    yield place, pcm


def is_finished(shard, path, count, samples):
  """Whether a file exists with `count` variants of all windows of a shard of records."""
  try:
    return len(codec_variants.read_order(path, shard['windows'], count, samples)) == shard['windows']
  except UserError:
    return False


def whole_records(path, length):
  """Number of the whole records of a length at the start of a file, which a killed run may have left."""
  found = tfrecord_io.checked_records(path) if path.is_file() else ()
  whole = itertools.takewhile(lambda record: not record[2] and len(record[1]) == length, found)
  return sum(1 for _ in whole)


def partial_bytes(target):
  """What an unfinished file takes already."""
  path = tfrecord_io.unfinished(target)
  return path.stat().st_size if path.is_file() else 0
