"""Every kind of file that users bring: how many are mutated, how a good one is made, how the product opens it."""

import csv
import functools
import gzip
import importlib
import inspect
import json
import os
import shutil
import types

import media_clips
import mutating
import numpy as np
import soundnet_files
import synthetic_records
import tensorflow as tf
from fuzzing import Kind
from torch_or_skip import WITHOUT, torch

from audionet_tf.core.errors import UserError
from audionet_tf.data.params import RecordParams

VIDEO = {'video_codec': 'mpeg4', 'pix_fmt': 'yuv420p'}
CLASSES = ['a', 'b', 'c']


# Media ---------------------------------------------------------------------------------------------------------------


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
  from audionet_tf.media import decoding, integrity, wav_tfio
  from tfrecords import worker

  params = RecordParams(images_per_window=images, image_size=16, image_format='png')
  try:
    worker.write_part(worker.Job('x', str(path), str(path.parent / 'part'), params, 0), lambda count: None)
  except UserError:
    with integrity.decompressed(path, str(path.parent)) as plain:
      for _ in decoding.decode_audio(plain, 16000):
        pass
    raise
  wav_tfio.header(path)


# Records and what belongs to them ------------------------------------------------------------------------------------


def make_records(name, folder):
  params = RecordParams(image_size=16, image_format='png')
  synthetic_records.write_records(folder / 'records', {'a': 4, 'b': 3}, params)
  return folder / 'records' / name


def readable(source, folder, manifest):
  """The context in which training reads."""
  from audionet_tf.training import trainer

  names = inspect.signature(trainer.readable).parameters
  return trainer.readable(*(source, folder, manifest)[: len(names)])


def open_records(path):
  """As training with the teacher in the step reads them."""
  from audionet_tf.data import input_pipeline, records

  manifest = records.read_manifest(path.parent)
  source = input_pipeline.record_source(path.parent, manifest)
  with readable(source, path.parent, manifest):
    for _ in input_pipeline.sequential_batches(source, 4):
      pass


def open_built(path):
  """As the pass of a teacher reads them."""
  from audionet_tf.data import records
  from audionet_tf.teachers import labelling

  def probabilities(pictures):
    return np.full([len(pictures), 3], 1 / 3, np.float32)

  teacher = {'name': 't', 'class_names': CLASSES, 'probabilities': probabilities, 'in_graph': False}
  teacher |= {'description': {}, 'digest': 'd', 'precomputed': None}
  manifest = records.read_manifest(path.parent)
  labelling.ensure(path.parent, manifest, [types.SimpleNamespace(**teacher)])


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

  folder = path.parents[2]
  source = soft_labels.label_source(path.parent, soft_labels.read_manifest(path.parent))
  with readable(source, folder, records.read_manifest(folder)):
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


# Models --------------------------------------------------------------------------------------------------------------


def settings_of(student='audionet'):
  from audionet_tf.models import student_file

  return student_file.StudentConfig(student, 16000, 'mean', 0.04, {'teacher': CLASSES})


def make_student(name, folder):
  from audionet_tf.models import registry, student_file

  student_file.save(folder / 'student.keras', registry.build('audionet', {'teacher': 3}), settings_of())
  return folder / name


def open_student(path):
  from audionet_tf.models import student_file

  student_file.load(path.with_suffix('.keras'))


def make_teacher(suffix, folder):
  import image_classifiers

  path = folder / f'teacher.{suffix}'
  if suffix == 'keras':
    image_classifiers.keras_classifier().save(path)
    return path
  return image_classifiers.Classifier(batch=1).to_tflite(path)


def make_saved_teacher(folder):
  import image_classifiers

  return image_classifiers.Classifier().save(folder / 'saved') / 'saved_model.pb'


def open_teacher(path):
  from audionet_tf.teachers import frozen_teacher

  teacher = frozen_teacher.load(str(path.parent if path.suffix == '.pb' else path))
  teacher.probabilities(np.zeros([1, 8, 8, 3], np.uint8))


def make_export(name, folder):
  from audionet_tf.models import registry
  from audionet_tf.saved_model import export

  return export.export(registry.build('audionet', {'teacher': 3}), settings_of(), folder / 'exports') / name


def open_export(path):
  from audionet_tf.saved_model import loader

  folder = path.parent if path.suffix == '.pb' else path.parent.parent
  loader.load(folder).signatures['serving_default'](waveform=tf.zeros([1, 640]))


def distiller():
  """A small student in its train step, with an optimizer."""
  from audionet_tf.models import registry
  from audionet_tf.training.distiller import Distiller

  made = Distiller(registry.build('audionet', {'teacher': 3}), heads=['teacher'], videos=1)
  made.compile(optimizer='adam', jit_compile=False)
  made(tf.zeros([1, 640]))
  made.optimizer.build(made.student.trainable_variables)
  return made


def make_checkpoints(name, folder):
  from audionet_tf.training import callbacks

  checkpoints = callbacks.Checkpoints(folder, distiller())
  for epochs in (1, 2):
    checkpoints.save(epochs)
  return folder / 'checkpoints' / name


def open_checkpoints(path):
  """As a resumed run does: the newest that is whole, and the first epoch where none is."""
  from audionet_tf.training import callbacks

  callbacks.Checkpoints(path.parents[1], distiller()).restore()


@functools.cache
def sound_network():
  return soundnet_files.Sound(5, soundnet_files.CLASSES)


def make_soundnet(suffix, folder):
  path, net = folder / f'x.{suffix}', sound_network()
  if suffix == 'npy':
    soundnet_files.save_npy(path, soundnet_files.npy_dict(net))
  elif suffix == 'pth':
    torch.save(net.state_dict(), path)
  else:
    path.write_bytes(soundnet_files.T7().value(soundnet_files.t7_network(net)).out)
  return path


def open_soundnet(path):
  from audionet_tf.conversion import soundnet

  soundnet.read(path, 'soundnet5')


def make_audionet(folder):
  shapes = {'conv.weight': (16, 1, 64), 'conv.bias': (16,), 'dense.weight': (3, 16), 'dense.bias': (3,)}
  torch.save({name: torch.rand(shape) for name, shape in shapes.items()}, folder / 'x.pth')
  return folder / 'x.pth'


def open_audionet(path):
  from audionet_tf.conversion import audionet

  audionet.read_audionet(path)


# Tables and results --------------------------------------------------------------------------------------------------


def make_table(rows, folder):
  with open(folder / 'x.csv', 'w', newline='', encoding='utf-8') as file:
    csv.writer(file).writerows(rows)
  return folder / 'x.csv'


CLIPS = [['filename', 'fold', 'category'], *([f'{n}.wav', str(1 + n % 2), CLASSES[n % 3]] for n in range(8))]
TIMES = ['start_seconds', 'end_seconds']
WEAK = [['filename', *TIMES, 'labels'], ['a.wav', '0', '1.5', 'a'], ['b.wav', '0.5', '1', 'a,"b"']]
SEGMENTS = [['# YTID', *TIMES, 'positive_labels'], ['-OAyRsvFGgc', ' 30.0', ' 40.0', ' "/m/a,/m/b"']]
VOCABULARY = [['index', 'mid', 'display_name'], ['0', '/m/a', 'a'], ['1', '/m/b', 'b'], ['2', '/m/c', 'c']]
GROUPS = [['category', 'class_name', 'imagenet_index'], ['x', 'a', '1'], ['y', 'b', '2']]
THRESHOLDS = [['class_name', 'threshold'], ['a', '0.3'], ['b', '0.5']]


def open_clips(path):
  from audionet_tf.data import clip_tables
  from audionet_tf.evaluation import clip_accuracy
  from audionet_tf.teachers import clip_labels

  clip_tables.read(path, labelled=True)
  clip_accuracy.read_clips(path)
  clip_labels.load_table(path)


def open_weak(path):
  from audionet_tf.data import weak_labels

  weak_labels.read(path)


def open_segments(path):
  from audionet_tf.data import audioset, weak_labels

  audioset.read_segments(path)
  weak_labels.read(path)


def open_vocabulary(path):
  from audionet_tf.captioning import rules
  from audionet_tf.data import class_lists

  class_lists.read_class_names(path)
  class_lists.vocabulary(path)
  rules.read_names(path, CLASSES)


def open_groups(path):
  from audionet_tf.evaluation import clip_accuracy

  clip_accuracy.read_groups(path, CLASSES)


def open_thresholds(path):
  from audionet_tf.captioning import rules

  rules.read_thresholds(path)


def make_embeddings(folder):
  from audionet_tf.data import audioset_embeddings, tfrecord_io

  rows = np.arange(1280).reshape(10, 128).astype(np.uint8)
  clips = [audioset_embeddings.Clip(name, 30.0, 40.0, (1, 2), rows) for name in 'xyz']
  content = b''.join(tfrecord_io.framed(audioset_embeddings.serialized(clip)) for clip in clips)
  (folder / 'x.tfrecord').write_bytes(content)
  return folder / 'x.tfrecord'


def open_embeddings(path):
  from audionet_tf.data import audioset_embeddings

  manifest = audioset_embeddings.read_manifest([path], 5)
  assert manifest


def make_inference(suffix, folder):
  """What `infer` writes."""
  from audionet_tf.inference import predict
  from audionet_tf.models import registry
  from audionet_tf.saved_model import loader, signatures

  model, settings = registry.build('audionet', {'teacher': 3}), settings_of()
  served = loader.LoadedExport(settings, CLASSES, signatures.all_signatures(model, settings), model)
  sound = make_media('wav', folder, times=[])
  predict.predict_file(predict.file_predictor(served, [suffix]), sound, folder, 'a model')
  return folder / f'x.wav.{suffix}'


def open_inference(path):
  from audionet_tf.inference import readers

  readers.read_inference(path)


def make_features(suffix, folder):
  from audionet_tf.representations import files

  write, name_of = files.FORMATS[suffix]
  with write(folder / f'x.{suffix}') as append:
    append(name_of('pool5'), np.ones([4, 8], np.float32))
    append(name_of('pool5/center_seconds'), np.arange(4.0))
    append(name_of('about'), np.array([json.dumps({'layers': ['pool5']})]))
  return folder / f'x.{suffix}'


def open_features(path):
  from audionet_tf.representations import files

  files.read(path, ['pool5'])


def make_json(name, content, folder):
  (folder / name).write_text(json.dumps(content))
  return folder / name


EVALUATION = {'clips': {'categories': CLASSES, 'confusion': [[1, 0, 0]] * 3, 'accuracy': 0.5}}
STATS = {
  'num_epochs': 2,
  'epochs': [{'videos': {'a': {'kldiv': 0.5}, 'b': {'kldiv_per_frame': [0.1, 0.2]}}, 'training_time': 1.0}] * 2,
}


def open_evaluation(path):
  from audionet_tf.evaluation import confusion

  confusion.read_confusions(path)


def open_stats(path):
  from audionet_tf.training import history

  history.read_mean_kl(path)


def make_flags(folder):
  shutil.copy(os.path.join(os.path.dirname(__file__), '../../flags.txt'), folder / 'x.flags')
  with open(folder / 'x.flags', 'a') as file:
    file.write('--augment=shift,gain=6\n--teacher=objects=vgg16\n--loss_weight=objects=2\n--balance\n--profile=3:5\n')
  return folder / 'x.flags'


def open_flags(path):
  """As the command line of `train` does, up to its first look at the records."""
  from audionet_tf.core import cli

  command = importlib.import_module('audionet_tf.train')  # not the function of that name
  cli.parse(str, ['train', f'--flagfile={path}'])
  command.check_flags()
  command.epoch_range(command.PROFILE.value)


part = functools.partial
KINDS = {
  'wav': Kind(700, part(make_media, 'wav', times=[]), part(open_media, 0), mutating.of_bytes),
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
  'manifest': Kind(500, part(make_records, 'manifest.json'), open_records, mutating.of_json),
  'manifest of a teacher': Kind(300, part(make_records, 'manifest.json'), open_built, mutating.of_json),
  'labels': Kind(250, part(make_labels, 'labels-00000-of-00002.tfrecord'), open_labels, mutating.in_records),
  'manifest of labels': Kind(300, part(make_labels, 'manifest.json'), open_labels, mutating.of_json),
  'outputs.npy': Kind(250, part(make_outputs, 'npy'), open_outputs, mutating.of_bytes),
  'outputs.npz': Kind(250, part(make_outputs, 'npz'), open_outputs, mutating.in_zip),
  'outputs.tfrecord': Kind(250, part(make_outputs, 'tfrecord'), open_outputs, mutating.in_records),
  'student.keras': Kind(250, part(make_student, 'student.keras'), open_student, mutating.in_zip),
  'student.json': Kind(150, part(make_student, 'student.json'), open_student, mutating.of_json),
  'teacher.keras': Kind(150, part(make_teacher, 'keras'), open_teacher, mutating.in_zip),
  'teacher.tflite': Kind(200, part(make_teacher, 'tflite'), open_teacher, mutating.of_bytes),
  'teacher.pb': Kind(100, make_saved_teacher, open_teacher, mutating.of_bytes),
  'saved_model.pb': Kind(100, part(make_export, 'saved_model.pb'), open_export, mutating.of_bytes),
  'settings of an export': Kind(50, part(make_export, 'assets/settings.json'), open_export, mutating.of_json),
  'checkpoint': Kind(100, part(make_checkpoints, 'ckpt-2.data-00000-of-00001'), open_checkpoints, mutating.of_bytes),
  'checkpoint.index': Kind(100, part(make_checkpoints, 'ckpt-2.index'), open_checkpoints, mutating.of_bytes),
  'checkpoint.state': Kind(100, part(make_checkpoints, 'checkpoint'), open_checkpoints, mutating.of_text),
  'clips.csv': Kind(300, part(make_table, CLIPS), open_clips, mutating.of_text),
  'weak.csv': Kind(200, part(make_table, WEAK), open_weak, mutating.of_text),
  'segments.csv': Kind(200, part(make_table, SEGMENTS), open_segments, mutating.of_text),
  'vocabulary.csv': Kind(200, part(make_table, VOCABULARY), open_vocabulary, mutating.of_text),
  'groups.csv': Kind(100, part(make_table, GROUPS), open_groups, mutating.of_text),
  'thresholds.csv': Kind(100, part(make_table, THRESHOLDS), open_thresholds, mutating.of_text),
  'embeddings': Kind(150, make_embeddings, open_embeddings, mutating.in_records),
  'inference.json': Kind(150, part(make_inference, 'json'), open_inference, mutating.of_json),
  'inference.npz': Kind(100, part(make_inference, 'npz'), open_inference, mutating.in_zip),
  'features.npz': Kind(100, part(make_features, 'npz'), open_features, mutating.in_zip),
  'features.h5': Kind(100, part(make_features, 'h5'), open_features, mutating.of_bytes),
  'evaluation.json': Kind(100, part(make_json, 'x.json', EVALUATION), open_evaluation, mutating.of_json),
  'stats.json': Kind(100, part(make_json, 'stats.json', STATS), open_stats, mutating.of_json),
  'flags': Kind(300, make_flags, open_flags, mutating.of_text),
}  # fmt: skip
TORCH_KINDS = {
  'soundnet.npy': Kind(100, part(make_soundnet, 'npy'), open_soundnet, mutating.of_bytes),
  'soundnet.pth': Kind(100, part(make_soundnet, 'pth'), open_soundnet, mutating.in_zip),
  'soundnet.t7': Kind(100, part(make_soundnet, 't7'), open_soundnet, mutating.of_bytes),
  'audionet.pth': Kind(150, make_audionet, open_audionet, mutating.in_zip),
}
KINDS |= {} if WITHOUT else TORCH_KINDS
