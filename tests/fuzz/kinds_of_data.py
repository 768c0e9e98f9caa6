"""Media, records and what is stored with them: how a good file is made, and how the product opens it."""

import functools
import gzip
import json

import media_clips
import mutating
import numpy as np
import synthetic_records
import tensorflow as tf
from fuzzing import Kind

from audionet_tf.core import sealed_json
from audionet_tf.core.errors import UserError
from audionet_tf.data.params import RecordParams

VIDEO = {'video_codec': 'mpeg4', 'pix_fmt': 'yuv420p'}
CLASSES = ['a', 'b', 'c']


def make_media(suffix, folder, **options):
  return media_clips.write(folder / f'x.{suffix}', seconds=0.6, **options)


def make_ogg(folder):
  return make_media('ogg', folder, times=[], audio_codec='libopus', rate_hz=48000)


def make_packed(folder):
  path = make_media('wav', folder, times=[])
  (folder / 'x.wav.gz').write_bytes(gzip.compress(path.read_bytes()))
  return folder / 'x.wav.gz'


def open_media(images, path):
  """As a build's worker does, and as inference decodes sound."""
  from audionet_tf.media import decoding, wav_tfio
  from audionet_tf.media.containers import integrity
  from tfrecords import jobs, worker

  params = RecordParams(images_per_window=images, image_size=16, image_format='png')
  try:
    worker.write_part(jobs.Job('x', str(path), str(path.parent / 'part'), params, 0), lambda count: None)
  except UserError:
    with integrity.decompressed(path, str(path.parent)) as plain:
      for _ in decoding.decode_audio(plain, 16000):
        pass
    raise
  wav_tfio.header(path)


def make_records(name, folder):
  params = RecordParams(image_size=16, image_format='png')
  synthetic_records.write_records(folder / 'records', {'a': 4, 'b': 3}, params)
  return folder / 'records' / name


def open_records(path):
  """As training with the teacher in the step reads them."""
  from audionet_tf.data import input_pipeline, records
  from audionet_tf.training import trainer

  manifest = records.read_manifest(path.parent)
  source = input_pipeline.record_source(path.parent, manifest)
  with trainer.readable(source, path.parent, manifest):
    for _ in input_pipeline.sequential_batches(source, 4):
      pass


def open_built(path):
  """As the pass of a teacher reads them."""
  from audionet_tf.data import records
  from audionet_tf.teachers import frozen_teacher, labelling

  def probabilities(pictures):
    return np.full([len(pictures), 3], 1 / 3, np.float32)

  teacher = frozen_teacher.Teacher('t', CLASSES, probabilities, False, {}, 'd')
  manifest = records.read_manifest(path.parent)
  labelling.ensure(path.parent, manifest, [teacher])


def of_sealed_json(data, rng):
  """A changed document, in three of four cases with the checksum of what it holds now."""
  changed = mutating.of_json(data, rng)
  try:
    tree = json.loads(changed)
  except (ValueError, RecursionError):
    return changed
  if rng.random() < 0.25 or not isinstance(tree, dict):
    return changed
  return json.dumps(sealed_json.sealed({key: value for key, value in tree.items() if key != 'checksum'})).encode()


def make_labels(name, folder):
  from audionet_tf.data import records
  from audionet_tf.teachers import frozen_teacher, labelling

  make_records('manifest.json', folder)
  synthetic_records.colour_teacher(folder / 'teacher.keras', size=16)
  teacher = frozen_teacher.load(str(folder / 'teacher.keras'))
  made = labelling.ensure(folder / 'records', records.read_manifest(folder / 'records'), [teacher])
  (folder / 'teacher.keras').unlink()
  return made / name


def open_labels(path):
  """As training reads them."""
  from audionet_tf.data import input_pipeline, records, soft_labels
  from audionet_tf.training import trainer

  folder = path.parents[2]
  source = soft_labels.label_source(path.parent, soft_labels.read_manifest(path.parent))
  with trainer.readable(source, folder, records.read_manifest(folder)):
    for _ in input_pipeline.sequential_batches(source, 4):
      pass


def make_outputs(suffix, folder):
  """Precomputed outputs of a teacher for the records of `make_records`."""
  make_records('manifest.json', folder)
  rows = np.full([7, 3], 1 / 3, np.float32)
  path = folder / f'outputs.{suffix}'
  if suffix == 'npy':
    np.save(path, rows)
  elif suffix == 'npz':
    np.savez(path, a=rows[:4], b=rows[4:])
  else:
    floats = lambda values: tf.train.Feature(float_list=tf.train.FloatList(value=values))  # noqa: E731
    with tf.io.TFRecordWriter(str(path)) as writer:
      for video, part in (('a', rows[:4]), ('b', rows[4:])):
        name = tf.train.Feature(bytes_list=tf.train.BytesList(value=[video.encode()]))
        count = tf.train.Feature(int64_list=tf.train.Int64List(value=[3]))
        feature = {'video/id': name, 'probabilities': floats(part.ravel()), 'classes': count}
        writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
  return path


def open_outputs(path):
  from audionet_tf.data import records
  from audionet_tf.teachers import frozen_teacher

  teacher = frozen_teacher.load(str(path))
  targets = teacher.precomputed(records.read_manifest(path.parent / 'records'))
  for video, count in (('a', 4), ('b', 3)):
    for index in range(count):
      targets(video, index)


part = functools.partial
KINDS = {
  'wav': Kind(600, part(make_media, 'wav', times=[]), part(open_media, 0), mutating.of_bytes),
  'w64': Kind(150, part(make_media, 'w64', times=[]), part(open_media, 0), mutating.of_bytes),
  'caf': Kind(150, part(make_media, 'caf', times=[], audio_codec='pcm_s16be'), part(open_media, 0), mutating.of_bytes),
  'mp3': Kind(300, part(make_media, 'mp3', times=[], audio_codec='mp3'), part(open_media, 0), mutating.of_bytes),
  'flac': Kind(300, part(make_media, 'flac', times=[], audio_codec='flac'), part(open_media, 0), mutating.of_bytes),
  'ogg': Kind(300, make_ogg, part(open_media, 0), mutating.of_bytes),
  'mp4': Kind(500, part(make_media, 'mp4', audio_codec='aac', **VIDEO), part(open_media, 1), mutating.of_bytes),
  'mkv': Kind(400, part(make_media, 'mkv'), part(open_media, 1), mutating.of_bytes),
  'avi': Kind(300, part(make_media, 'avi', **VIDEO), part(open_media, 1), mutating.of_bytes),
  'ts': Kind(300, part(make_media, 'ts', audio_codec='mp2', **VIDEO), part(open_media, 1), mutating.of_bytes),
  'packed': Kind(200, make_packed, part(open_media, 0), mutating.in_gzip),
  'records': Kind(300, part(make_records, 'records-0.tfrecord'), open_records, mutating.in_records),
  'records of a teacher': Kind(300, part(make_records, 'records-0.tfrecord'), open_built, mutating.of_bytes),
  'manifest': Kind(350, part(make_records, 'manifest.json'), open_records, of_sealed_json),
  'manifest of a teacher': Kind(300, part(make_records, 'manifest.json'), open_built, of_sealed_json),
  'labels': Kind(250, part(make_labels, 'labels-00000-of-00002.tfrecord'), open_labels, mutating.in_records),
  'manifest of labels': Kind(300, part(make_labels, 'manifest.json'), open_labels, of_sealed_json),
  'outputs.npy': Kind(250, part(make_outputs, 'npy'), open_outputs, mutating.of_bytes),
  'outputs.npz': Kind(250, part(make_outputs, 'npz'), open_outputs, mutating.in_zip),
  'outputs.tfrecord': Kind(250, part(make_outputs, 'tfrecord'), open_outputs, mutating.in_records),
}  # fmt: skip
