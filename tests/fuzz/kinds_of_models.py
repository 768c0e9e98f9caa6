"""Students, teachers, exports, checkpoints and weights of other programs: how a good file is made, and opened."""

import functools

import mutating
import numpy as np
import soundnet_files
import tensorflow as tf
from fuzzing import Kind
from torch_or_skip import WITHOUT, torch

CLASSES = ['a', 'b', 'c']


def settings_of(student='audionet'):
  from audionet_tf.models import student_settings

  return student_settings.StudentConfig(student, 16000, 'mean', 0.04, {'teacher': CLASSES})


def make_student(name, folder):
  from audionet_tf.models import registry, student_file

  student_file.save(folder / 'student.keras', registry.build('audionet', {'teacher': 3}), settings_of())
  return folder / name


def open_student(path):
  from audionet_tf.models import student_file
  from audionet_tf.saved_model import export

  export.check_settings(*student_file.load(path.with_suffix('.keras')))


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
  from audionet_tf.training.steps.distiller import Distiller

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


part = functools.partial
KINDS = {
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
}  # fmt: skip
TORCH_KINDS = {
  'soundnet.npy': Kind(100, part(make_soundnet, 'npy'), open_soundnet, mutating.of_bytes),
  'soundnet.pth': Kind(100, part(make_soundnet, 'pth'), open_soundnet, mutating.in_zip),
  'soundnet.t7': Kind(100, part(make_soundnet, 't7'), open_soundnet, mutating.of_bytes),
  'audionet.pth': Kind(150, make_audionet, open_audionet, mutating.in_zip),
}  # fmt: skip
KINDS |= {} if WITHOUT else TORCH_KINDS
