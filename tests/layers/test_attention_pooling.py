"""Attention pooling against NumPy; parameters, training, saving and export of the students that use it."""

import functools

import keras
import numpy as np
import tensorflow as tf
from scipy import special

from audionet_tf.layers import attention_pooling
from audionet_tf.models import student_file, student_settings
from audionet_tf.models.networks import logmel_cnn, vggish, vggish_attention
from audionet_tf.saved_model import export, loader, signatures, verify

SMALL = tuple((name, filters and 4, kernel, stride) for name, filters, kernel, stride in logmel_cnn.LOGMEL_CNN)
SECONDS = 1.5


def test_pooling_is_the_mean_weighted_by_attention():
  layer, x = attention_pooling.AttentionPooling(5), np.random.default_rng(0).normal(size=[2, 7, 3]).astype(np.float32)
  pooled = layer(x).numpy()
  values = [weight.numpy().astype(np.float64) for weight in layer.weights]
  features, weights = x @ values[0] + values[1], special.expit(x @ values[2] + values[3])
  np.testing.assert_allclose(pooled, (features * weights).sum(1) / weights.sum(1), rtol=1e-5, atol=1e-6)
  layer.weights[3].assign(np.full(5, -200.0))  # no attention anywhere: the plain mean
  np.testing.assert_allclose(layer(x).numpy(), features.mean(1), rtol=1e-4, atol=1e-5)


def test_parameters_of_caption4sound():
  steps = keras.Input([10, 128])
  with keras.StatelessScope():  # variables with shapes but without values
    model = keras.Model(steps, vggish_attention.caption4sound(steps, {'events': 527}))
    assert model.count_params() == 4_887_055
    assert sum(np.prod(w.shape) for w in model.get_layer('attention').trainable_weights) == 2 * 1024 * 1025
    assert sum(np.prod(w.shape) for w in model.non_trainable_weights) == 4 * 2 * 1024  # of four batch normalizations
  assert {name: output.shape for name, output in model.output.items()} == {
    'logits/events': (None, 1, 527),
    'embedding': (None, 1024),
  }


def test_vggish_below_attention_is_frozen():
  table, dense = (('conv1', 2), ('pool1', None)), (('fc1_1', 4), ('fc2', 128))
  body = functools.partial(vggish.vggish, convolutions=table, dense=dense)
  model = vggish_attention.vggish_attention({'a': 3}, body)
  trained = {weight.path.split('/')[0] for weight in model.trainable_weights}
  assert {'attention', 'logits_a', 'dense1_linear'} <= trained and not {'conv1', 'fc2', 'pca'} & trained
  assert model(np.zeros([2, 31_000], np.float32))['logits/a'].shape == (2, 1, 3)


def test_student_with_attention_trains_saves_and_exports(tmp_path):
  keras.utils.set_random_seed(0)
  model = logmel_cnn.logmel_cnn({'a': 2}, SMALL, logmel_cnn.attention_head, 'logmel_attention')
  sound = np.random.default_rng(0).normal(0, 0.1, [4, round(SECONDS * 22050)]).astype(np.float32)
  layer = model.get_layer('attention')
  before = [weight.numpy() for weight in layer.trainable_weights]
  with tf.GradientTape() as tape:
    loss = tf.reduce_sum(model(sound, training=True)['logits/a'] ** 2)
  gradients = tape.gradient(loss, model.trainable_weights)
  keras.optimizers.SGD(0.1).apply_gradients(zip(gradients, model.trainable_weights, strict=True))
  for weight, old in zip(layer.trainable_weights, before, strict=True):
    assert np.abs(weight.numpy() - old).max() > 0, weight.path
  settings = student_settings.StudentConfig(
    'logmel_attention', 22050, 'mean', SECONDS, {'a': ['x', 'y']}, activations={'a': 'sigmoid'}
  )
  student_file.save(tmp_path / 'student.keras', model, settings)
  again, settings = student_file.load(tmp_path / 'student.keras')
  np.testing.assert_allclose(again(sound)['logits/a'], model(sound)['logits/a'], atol=1e-6)
  served = loader.load(export.export(again, settings, tmp_path / 'export'))
  expected = verify.expected_predictions(model, settings, sound)['probabilities']
  np.testing.assert_allclose(served.predict(sound)['probabilities'], expected, atol=1e-5)


def test_every_step_has_logits_and_a_clip_has_their_mean_probability():
  model = logmel_cnn.logmel_cnn({'a': 2}, SMALL, logmel_cnn.per_step_head, 'logmel_steps')
  settings = student_settings.StudentConfig(
    'logmel_steps', 22050, 'mean', SECONDS, {'a': ['x', 'y']}, activations={'a': 'sigmoid'}
  )
  logits = model(np.random.default_rng(0).normal(0, 0.1, [2, 22050]).astype(np.float32))['logits/a']
  assert model.name == 'logmel_steps'  # as in registry.STUDENTS
  assert logits.shape[1] == 2  # 32 frames each
  probabilities = signatures.head_outputs({'a': logits}, settings)['probabilities']
  np.testing.assert_allclose(probabilities, special.expit(logits.numpy()).mean(1), rtol=1e-5)
