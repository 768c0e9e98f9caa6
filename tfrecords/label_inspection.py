"""Compares stored answers with their manifest and with the records: checksums, counts, order, finite numbers."""

import numpy as np
from google.protobuf import message

from audionet_tf.core import text
from audionet_tf.data import batch_keys, soft_labels
from audionet_tf.data.record_manifest import MANIFEST_NAME
from audionet_tf.data.shards import tfrecord_io
from tfrecords import stored_inspection


def inspect(folder, manifest, progress=lambda count: None):
  """Reads all answers in a folder, as `stored_inspection.inspect`."""
  return stored_inspection.inspect(KIND, folder, manifest, progress)


def take_away(folder, paths):
  """Deletes damaged files, and the manifest, so that the next labelling run goes on from the shards that are whole."""
  for path in {folder / MANIFEST_NAME, *paths}:
    path.unlink(missing_ok=True)


def _strange(folder, stored, manifest, of_these):
  """What in a manifest of stored answers does not fit its folder, or the records if it is of these."""
  if soft_labels.key(stored['records_digest'], stored['teachers']) != folder.name:
    yield f'not that of this folder, but of {soft_labels.key(stored["records_digest"], stored["teachers"])}'
  elif of_these:
    own = [row['windows'] for row in stored['shards']], stored['videos'], stored['windows']
    those = [row['windows'] for row in manifest['shards']], soft_labels.listed_videos(manifest), manifest['windows']
    names = [row['name'] for row in manifest['shards']]
    if own != those or stored.get('sound', names) != names:
      yield 'its windows and videos are not those of the records'


def _problem(path, row, stored, places):
  """What is wrong with a file of stored answers, or None.

  Args:
    path: of the file.
    row: of the manifest: dict of `windows`, the number that it should hold; without a manifest it is not known.
    stored, places: as for `stored_inspection.Kind`.
  """
  found, sizes, windows = [], [], row.get('windows')
  for offset, framed, fault in tfrecord_io.checked_records(path):
    try:
      block = None if fault else tfrecord_io.example_class().FromString(framed[12:-4]).features.feature
    except message.DecodeError:
      fault = 'holds no Example'
    fault = fault or _wrong_block(block, stored)
    if fault:
      return f'record at byte {offset}: {fault}'
    rows = zip(block['video'].int64_list.value, block['index'].int64_list.value, strict=True)
    found += rows
    sizes.append(len(block['index'].int64_list.value))
  if windows is not None and len(found) != windows:
    return f'holds {len(found)} windows, expected {windows}'
  if len(set(sizes[:-1])) > 1 or sizes[-1:] > sizes[:1]:
    return f'its blocks have {text.first_of(sorted(set(sizes)))} windows, expected are equal ones'
  if places is not None and found != (listed := [tuple(place) for place in places.tolist()]):
    first = next(i for i, pair in enumerate(zip(found, listed, strict=True)) if pair[0] != pair[1])
    return f'its windows are not in the order of the records, from the {first + 1}th on'
  return None


def _wrong_block(block, stored):
  """What in a block of answers is not as its manifest says, if there is one, or None."""
  count = len(block['index'].int64_list.value)
  if len(block['video'].int64_list.value) != count:
    return 'it has other numbers of videos than of windows'
  if stored is None:
    return None
  params = stored['params']
  sizes = {} if 'sound' in stored else {'audio/pcm': 2 * params.window_samples}
  classes = {batch_keys.TEACHER + name: len(teacher['classes']) for name, teacher in stored['teachers'].items()}
  sizes |= {name: 2 * params.answers_per_window * number for name, number in classes.items()}
  for name, size in sizes.items():
    values = block[name].bytes_list.value
    if [len(value) for value in values] != [count * size]:
      return f'{name} has not the {count * size} bytes of {count} windows'
    if name in classes and not np.isfinite(np.frombuffer(values[0], '<f2')).all():
      return f'{name} is not finite'
  return None


KIND = stored_inspection.Kind('labels-*', soft_labels.parse_manifest, _strange, _problem)
