"""Tables, results and flag files: how a good file is made, and how the product opens it."""

import csv
import functools
import importlib
import json
import pathlib
import shutil

import kinds_of_data
import kinds_of_models
import mutating
import numpy as np
from fuzzing import Kind

CLASSES = ['a', 'b', 'c']


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
  from audionet_tf.data.tables import clip_tables
  from audionet_tf.evaluation import clip_accuracy
  from audionet_tf.teachers import clip_labels

  clip_tables.read(path, labelled=True)
  clip_accuracy.read_clips(path)
  clip_labels.load_table(path)


def open_weak(path):
  from audionet_tf.data.tables import weak_labels

  weak_labels.read(path)


def open_segments(path):
  from audionet_tf.data import audioset
  from audionet_tf.data.tables import weak_labels

  audioset.read_segments(path)
  weak_labels.read(path)


def open_vocabulary(path):
  from audionet_tf.captioning import rules
  from audionet_tf.data.tables import class_lists

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
  from audionet_tf.data import audioset_embeddings
  from audionet_tf.data.shards import tfrecord_io

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

  model, settings = registry.build('audionet', {'teacher': 3}), kinds_of_models.settings_of()
  served = loader.LoadedExport(settings, CLASSES, signatures.all_signatures(model, settings), model)
  sound = kinds_of_data.make_media('wav', folder, times=[])
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
  shutil.copy(pathlib.Path(__file__).parents[2] / 'flags.txt', folder / 'x.flags')
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
