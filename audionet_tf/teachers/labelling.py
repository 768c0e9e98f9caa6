"""Runs the teachers once over the records and stores their predictions, in the form of `data/soft_labels.py`."""

import collections
import contextlib
import dataclasses
import functools
import os
import pathlib

import numpy as np
import tensorflow as tf
import tqdm

from audionet_tf.core import files, system, text, tf_data
from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import store_folder, store_mirror
from audionet_tf.data import batch_keys, input_pipeline, records, soft_labels
from audionet_tf.data.record_manifest import position
from audionet_tf.data.shards import damage, shard_reading, tfrecord_io
from audionet_tf.data.soft_labels import FOLDER, OUTPUT_SETTINGS
from audionet_tf.media import timeline
from audionet_tf.teachers import answers, frozen_teacher, precision, teacher_config

MANIFEST_LOCK = '.manifest.lock'  # stays, as the folder's own does


def ensure(records_folder, manifest, teachers, batch_size=64, share=(0, 1), is_part=False):
  """Makes sure that the teachers' outputs for all pictures of the records are stored; runs the teachers if not.

  A killed run leaves the blocks that it finished; the next one goes on after them. Of two runs at once, one waits,
  unless each takes a share of the files. The run that finishes the last file writes the manifest.

  Args:
    records_folder: folder of records.
    manifest: of the records, from `records.read_manifest`.
    teachers: list of frozen_teacher.Teacher with different names; empty to store the sound alone.
    batch_size: number of pictures per call of a teacher.
    share: (i, n): store every nth file, from the ith on, counted from 0.
    is_part: whether this share is one of many calls of a pass that calls again, for all files, when they have returned:
      it shows no progress, and need not look whether the others are there.

  Returns:
    pathlib.Path of the folder.

  Raises:
    UserError: two teachers have the same name, a classifier has no pictures, precomputed targets do not fit, or the
      records are damaged.
    DiskFullError: no space for the outputs; the blocks that are written are kept.
  """
  names = [teacher.name for teacher in teachers]
  if len(set(names)) != len(names):
    raise UserError(f'teachers are named {names}; expected are different names')
  teacher_config.check_pictures(manifest, [teacher.name for teacher in teachers if teacher.needs_pictures])
  folder = pathlib.Path(records_folder) / FOLDER / labels_key(manifest, teachers)
  if is_stored(records_folder, manifest, teachers):  # perhaps where nothing can be written, not even a lock
    return folder
  with files.space_in(folder):
    folder.mkdir(parents=True, exist_ok=True)
  with files.locked(folder, shared=share[1] > 1), files.space_in(folder):
    store_mirror.refresh(folder)
    if not soft_labels.is_whole(folder, manifest, descriptions(teachers)):
      make(pathlib.Path(records_folder), manifest, teachers, folder, batch_size, share, is_part)
      store_folder.publish_beside_records(folder)
  return folder


def label(records_folder, configs, share=(0, 1), batch_size=64):
  """Loads teachers and stores their outputs, or a share of them.

  Args:
    records_folder: folder of records.
    configs: tuple of teacher_config.TeacherConfig.
    share, batch_size: as for `ensure`.

  Returns:
    (pathlib.Path of the folder, number of its files, list of the names of those that are still missing).

  Raises:
    UserError: a teacher cannot be loaded or does not fit the records; or as `ensure`.
  """
  manifest, teachers = load(records_folder, configs)
  folder = ensure(records_folder, manifest, teachers, batch_size, share)
  sources = targets_of(manifest)
  return folder, len(sources), unfinished(folder, sources, trust_store=True)


def load(records_folder, configs):
  """Loads teachers, with warnings of answers that say nothing, unless they are stored.

  Args:
    records_folder, configs: as for `label`.

  Returns:
    (manifest of the records, list of frozen_teacher.Teacher).

  Raises:
    UserError: a teacher cannot be loaded or does not fit the records.
  """
  system.keep_freed_memory()
  manifest = records.read_manifest(records_folder)
  teacher_config.check(configs, 'stored', manifest)
  for config in configs:
    frozen_teacher.try_loading(config.source, config.weights, config.dtype, config.input_range)
  teachers = [load_teacher(config, records_folder, manifest) for config in configs]
  if not is_stored(records_folder, manifest, teachers):
    answers.check(records_folder, manifest, teachers)
  return manifest, teachers


def load_teacher(config, records_folder, manifest):
  """Loads a frozen_teacher.Teacher; arithmetic that is left to the program is that of stored outputs, or is chosen.

  Args:
    config: teacher_config.TeacherConfig.
    records_folder: of the records that it is to be asked about.
    manifest: of the records.
  """
  if config.dtype != teacher_config.AUTO:
    return frozen_teacher.load(**config.arguments())
  teacher = frozen_teacher.load(**dataclasses.replace(config, dtype='float32').arguments())
  is_stored_already = bool(find_stored(pathlib.Path(records_folder), manifest, teacher))
  return precision.chosen(config, teacher, records_folder, manifest, is_stored_already)


def targets_of(manifest):
  """dict of the name of each file of soft labels to the row of the manifest about its shard of records."""
  count = len(manifest['shards'])
  return {f'labels-{number:05d}-of-{count:05d}.tfrecord': shard for number, shard in enumerate(manifest['shards'])}


def unfinished(folder, sources, trust_store=False):
  """List of the names of the files that lack windows.

  Args:
    folder: pathlib.Path of the outputs.
    sources: from `targets_of`, or a part of it.
    trust_store: whether objects of a store count as finished, as they come there whole; to look means to fetch them.
  """
  return [
    name
    for name, shard in sources.items()
    if not (trust_store and store_mirror.is_remote(folder / name))
    and not soft_labels.is_finished(folder / name, shard['windows'])
  ]


def is_stored(records_folder, manifest, teachers):
  """Whether `ensure` has nothing to do."""
  folder = pathlib.Path(records_folder) / FOLDER / labels_key(manifest, teachers)
  return soft_labels.is_whole(folder, manifest, descriptions(teachers))


def labels_key(manifest, teachers):
  """Name of the folder of stored outputs."""
  return soft_labels.key(manifest['digest'], descriptions(teachers))


def descriptions(teachers):
  """What a manifest of soft labels says about teachers, a dict by name."""
  return {t.name: {'description': t.description, 'digest': t.digest, 'classes': list(t.class_names)} for t in teachers}


def make(records_folder, manifest, teachers, folder, batch_size, share=(0, 1), is_part=False):
  """Writes the files of a share that are missing, then the manifest if no other file is missing. As `ensure`."""
  sources = targets_of(manifest)
  names, (first, step) = list(sources), share
  own = {name: sources[name] for name in names[first::step]}
  missing = unfinished(folder, own)
  targets = manifest['params'].answers_per_window
  total, left = (sum(sources[name]['windows'] for name in part) for part in (own, missing))
  stored = {teacher.name: find_stored(records_folder, manifest, teacher) for teacher in teachers}
  functions = [(t.name, stored[t.name] or output_function(t, batch_size, manifest)) for t in teachers]
  with_pictures = any(teacher.needs_pictures and not stored[teacher.name] for teacher in teachers)
  running = with_pictures or any(teacher.hears and not stored[teacher.name] for teacher in teachers)
  unit = ' pictures' if with_pictures else ' outputs'
  what = 'running the teacher' if running else 'copying outputs and sound'
  bar = functools.partial(tqdm.tqdm, disable=is_part)
  with bar(total=total * targets, initial=(total - left) * targets, desc=what, unit=unit) as progress:
    for name in missing:
      source = records_folder / sources[name]['name']
      of_shard = [(teacher, functools.partial(function, shard=names.index(name))) for teacher, function in functions]
      with alone(folder, name):
        if soft_labels.is_finished(folder / name, sources[name]['windows']):  # by another run of this share
          continue
        write_shard(source, folder / name, sources[name]['windows'], manifest, of_shard, with_pictures, progress)
      if not soft_labels.is_finished(folder / name, sources[name]['windows']):
        raise UserError(f'{source}: not the windows of its manifest; {damage.advice(records_folder)}')
  if is_part:
    return
  if step > 1:  # others may have put their shares into the store meanwhile, or be about to look for this one
    store_folder.publish_beside_records(folder)
    store_mirror.refresh(folder)
  if not unfinished(folder, sources, trust_store=True):
    with files.locked(folder, name=MANIFEST_LOCK):  # the folder's lock is shared by runs of shares
      for name in names:  # left by killed runs; nobody writes a file that is finished
        lock_path(folder, name).unlink(missing_ok=True)
      listed = [(name, sources[name]['windows']) for name in names]
      soft_labels.write_manifest(folder, manifest, descriptions(teachers), listed)


@contextlib.contextmanager
def alone(folder, name):
  """Locks a file of soft labels, which several runs may write."""
  lock, is_locked = lock_path(folder, name), False
  while not is_locked:
    with files.locked(folder, name=lock.name) as file:
      with contextlib.suppress(FileNotFoundError):  # removed by the run that this one has waited for
        is_locked = os.path.samestat(os.stat(lock), os.fstat(file.fileno()))
      if is_locked:
        try:
          yield
        finally:
          lock.unlink(missing_ok=True)  # whoever waits for it finds the file finished, or writes it


def lock_path(folder, name):
  """pathlib.Path of the lock of a file, which exists while the file is written."""
  return folder / f'.{name}.lock'


def find_stored(records_folder, manifest, teacher):
  """A function as from `output_function` that reads the teacher's outputs from a finished folder; None without one.

  The teacher may have another name in that folder.
  """
  if teacher.precomputed is not None:  # it is a file already
    return None
  root = records_folder / FOLDER
  for folder in sorted(root.iterdir()) if root.is_dir() else ():
    try:
      stored = soft_labels.read_manifest(folder)
    except UserError:  # not finished, or damaged
      continue
    for name, other in stored['teachers'].items():
      same = other['digest'] == teacher.digest and len(other['classes']) == len(teacher.class_names)
      same &= all(other['description'].get(part) == teacher.description.get(part) for part in OUTPUT_SETTINGS)
      if same and stored['records_digest'] == manifest['digest'] and stored['shards']:
        return stored_reader(folder, stored, name, manifest['params'].answers_per_window)
  return None


def stored_reader(folder, stored, name, answers_per_window):
  """A function (batch, shard number, block number) -> float16 [B, A, classes] that reads stored outputs.

  Args:
    folder: pathlib.Path of the outputs.
    stored: their manifest.
    name: of the teacher in it.
    answers_per_window: A.
  """
  classes = len(stored['teachers'][name]['classes'])

  @functools.lru_cache(maxsize=1)
  def opened(shard):
    path = folder / stored['shards'][shard]['name']
    return path, tfrecord_io.record_offsets(path)

  def read(batch, shard, block):
    path, offsets = opened(shard)
    try:
      features = records.example_at(path, *offsets[block])
      outputs = np.frombuffer(features[batch_keys.TEACHER + name].bytes_list.value[0], '<f2')
      outputs = outputs.reshape(-1, answers_per_window, classes)
    except (ValueError, IndexError) as error:
      raise UserError(f'{path}: damaged ({text.brief(error)}); {soft_labels.advice_for(folder)}') from None
    if list(features['index'].int64_list.value) != batch['index'].numpy().tolist():
      raise UserError(f'{path}: not the windows of the records; {soft_labels.advice_for(folder)}')
    return outputs

  return read


def output_function(teacher, batch_size, manifest):
  """A function (batch of `batches`, shard number, block number) -> float16 [B, A, classes] (NumPy)."""
  if teacher.hears:
    return hearing(teacher, manifest['params'])
  if teacher.precomputed is None:
    probabilities = batched(teacher, batch_size, manifest['params'].image_size)
    return lambda batch, shard, block: probabilities(batch['image'])[batch['position'].numpy()]
  targets_of = teacher.precomputed(manifest)

  def read_outputs(batch, shard, block):
    windows = zip(batch['video/id'].numpy(), batch['index'].numpy().tolist(), strict=True)
    return np.stack([targets_of(video.decode(), index) for video, index in windows]).astype('<f2')

  return read_outputs


def hearing(teacher, params):
  """A function as from `output_function` for a tagger of sound: what it hears in the window is every answer of it."""

  def hear(batch, shard, block):
    rows = [teacher.hears(waveform, params.sample_rate_hz) for waveform in batch['audio'].numpy()]
    return np.repeat(np.stack(rows)[:, None], params.answers_per_window, axis=1).astype('<f2')

  return hear


def batched(teacher, batch_size, image_size):
  """A function images u8 [N, S, S, 3] -> float16 [N, classes] (NumPy) that takes `batch_size` pictures at a time."""
  probabilities = teacher.probabilities
  if teacher.in_graph:
    images_spec = tf.TensorSpec([None, image_size, image_size, 3], tf.uint8)
    probabilities = tf.function(probabilities, input_signature=[images_spec])

  def in_parts(images):
    parts = [images[start : start + batch_size] for start in range(0, images.shape[0], batch_size)]
    return np.concatenate([np.asarray(probabilities(part)) for part in parts]).astype('<f2')

  return in_parts


@functools.cache  # a trace takes as long as a thousand small pictures, and every shard is a data set of its own
def decoder(params, images):
  """A tf.function that decodes a block of serialized records, string [B], for `batches`; its arguments are theirs."""
  size, pictures = params.image_size, params.images_per_window

  @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
  def decode(serialized):
    batch = records.parse_batch(serialized, params, images=images)
    if not images:
      return batch
    encoded, position = tf.unique(tf.reshape(batch.pop('image/encoded'), [-1]))
    decoded = tf.map_fn(input_pipeline.decode_picture, encoded, fn_output_signature=tf.uint8)
    batch['image'] = tf.ensure_shape(decoded, [None, size, size, 3])
    batch['position'] = tf.reshape(position, [-1, pictures])
    return batch

  return decode


def batches(path, params, skip=0, images=True):
  """tf.data.Dataset of the blocks of a shard after the first `skip`.

  A block holds `audio`, `video/id`, `index`; with `images` also `image` u8 [U, S, S, 3], each of the block's pictures
  once, and `position` int32 [B, T], the index of every window's pictures in it. Neighbouring windows often show the
  same frame, and a still video shows one throughout.
  """
  framed = shard_reading.files([path]).flat_map(tf.data.TFRecordDataset)
  blocks = framed.batch(input_pipeline.BLOCK_WINDOWS).skip(skip)
  picture_bytes = params.images_per_window * params.image_size**2 * 3 if images else 0
  threads = tf_data.threads(input_pipeline.BLOCK_WINDOWS * (params.window_samples * 4 + picture_bytes))
  return blocks.map(decoder(params, images), threads).prefetch(2)


def finished_blocks(path):
  """(number, size in bytes) of the whole blocks at the start of a file that a killed run may have left."""
  count, size = 0, 0
  if path.exists():
    content = path.read_bytes()
    for start, length in tfrecord_io.record_offsets(path, allow_truncated=True):
      framed = content[start : start + length]
      if tfrecord_io.framed(framed[12:-4]) != framed:  # length and checksums stand before and after the payload
        break
      count, size = count + 1, int(start + length)
  return count, size


def write_shard(source, target, windows, manifest, functions, with_pictures, progress):
  """Writes the outputs for one shard of records under a temporary name, then renames it.

  Args:
    source, target: paths of the shards.
    windows: number of windows in the shard.
    manifest: of the records.
    functions: list of (name of a teacher, function (batch, block) -> float16 [B, A, classes]).
    with_pictures: whether one of them needs the pictures.
    progress: tqdm bar, in outputs.

  Raises:
    UserError: the records are damaged.
  """
  params = manifest['params']
  partial, advice = tfrecord_io.unfinished(target), damage.advice(source.parent)
  try:
    with damage.named(
      [source], advice, lambda path: collections.deque(batches(str(path), params, 0, with_pictures), 0)
    ):
      done, size = finished_blocks(partial)
      progress.update(min(done * input_pipeline.BLOCK_WINDOWS, windows) * params.answers_per_window)
      with open(partial, 'r+b' if done else 'wb') as file:
        file.truncate(size)
        file.seek(size)
        for block, batch in enumerate(batches(str(source), params, done, with_pictures), done):
          outputs = {name: function(batch, block=block) for name, function in functions}  # [B, A, classes]
          pcm = (batch['audio'].numpy() * timeline.PCM_SCALE).astype('<i2')  # exact: it came from int16
          features = {
            **({} if soft_labels.reads_records(params) else {'audio/pcm': [pcm.tobytes()]}),
            'video': [position(manifest['videos'], video.decode()) for video in batch['video/id'].numpy()],
            'index': batch['index'].numpy().tolist(),
            **{batch_keys.TEACHER + name: [rows.tobytes()] for name, rows in outputs.items()},
          }
          file.write(tfrecord_io.framed(tfrecord_io.serialize(features)))
          progress.update(len(batch['index']) * params.answers_per_window)
        files.sync(file)
  except KeyError as error:
    raise UserError(f'{source}: video {error} is not in the manifest; {advice}') from None
  os.replace(partial, target)
