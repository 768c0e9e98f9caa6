"""A sound as VGGish and YAMNet get it in PyTorch, and the students that are made of their published weights."""

import mel_numpy
import numpy as np
import numpy_log_mel
from torch_or_skip import torch

from audionet_tf.conversion import converter, vggish_yamnet
from audionet_tf.layers import log_mel
from audionet_tf.models import registry, student_file, student_settings

SOUND = np.random.default_rng(3).uniform(-1, 1, 40_000).astype(np.float32)


def patches(preset, hop):
  """torch [T, 1, 96, 64] of SOUND, by the reference of the front end's test."""
  mel = numpy_log_mel.reference(SOUND, **log_mel.PRESETS[preset])
  cut = np.stack([mel[start : start + 96] for start in range(0, len(mel) - 95, hop)])
  return torch.from_numpy(cut)[:, None]


def torch_kernel(values):
  return torch.from_numpy(values.astype(np.float64)).permute(3, 2, 0, 1)


def converted(path, student, folder, labels=(), **pca):
  """The student that `convert` writes from a file, read again."""
  read = vggish_yamnet.read_yamnet if student == 'yamnet' else vggish_yamnet.read_vggish
  model = read(path, student, **pca)
  settings = student_settings.StudentConfig(student, 16000, 'mean', 0.975, converter.class_names(list(labels), model))
  converter.convert(model, settings, folder / 'student.keras')
  return student_file.load(folder / 'student.keras')


def equals_numpy(model, student, layers):
  """Asserts that layers of a student give what its weights give in NumPy, in float64, of short and long sounds."""
  weights = {layer.name: layer.get_weights() for layer in model.layers}
  for samples in (15_600, 40_000):
    waveform = np.random.default_rng(0).uniform(-1, 1, [3, samples]).astype(np.float32)
    waveform[0], waveform[1] = 0, waveform[1] * 0.01
    outputs = registry.layer_model(model, student, layers)(waveform, training=False)
    for layer, expected in mel_numpy.activations(model, weights, layers, waveform).items():
      np.testing.assert_allclose(outputs[layer], expected, rtol=0, atol=1e-4 * np.abs(expected).max(), err_msg=layer)
