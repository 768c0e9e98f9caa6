"""Distances between distributions, against SciPy and scikit-learn."""

import numpy as np
import pytest
import scipy.special
import sklearn.metrics
import tensorflow as tf

from audionet_tf.data import batch_keys
from audionet_tf.training.steps import losses


def distributions(seed, shape=(5, 3, 40)):
  return np.random.default_rng(seed).dirichlet(np.full(shape[-1], 0.05), shape[:-1]).astype(np.float32)


def test_kl_is_summed_over_classes_and_averaged_over_time():
  teacher = distributions(0)
  teacher[0, 0] = np.eye(40)[7]  # exact zeros
  logits = np.random.default_rng(1).normal(size=teacher.shape).astype(np.float32) * 4
  expected = scipy.special.rel_entr(teacher, scipy.special.softmax(logits, -1)).sum(-1).mean(-1)
  np.testing.assert_allclose(losses.kl_divergence(teacher, logits), expected, rtol=1e-5, atol=1e-6)


def test_gradient_is_the_difference_of_the_distributions():
  teacher = distributions(2)
  logits = tf.Variable(np.random.default_rng(3).normal(size=teacher.shape).astype(np.float32))
  with tf.GradientTape() as tape:
    loss = tf.reduce_sum(losses.kl_divergence(teacher, logits))
  expected = (scipy.special.softmax(logits.numpy(), -1) - teacher) / teacher.shape[1]
  np.testing.assert_allclose(tape.gradient(loss, logits), expected, atol=1e-6)


def test_top_k_agreement():
  teacher = distributions(4)
  logits = np.random.default_rng(5).normal(size=teacher.shape).astype(np.float32)
  first = teacher.argmax(-1)
  for k in (1, 5):
    top_k = np.argsort(-logits, -1)[..., :k]
    expected = (top_k == first[..., None]).any(-1).mean(-1)
    np.testing.assert_allclose(losses.top_k_agreement(teacher, logits, k), expected)


def test_squared_distance_is_that_of_the_distributions():
  teacher = distributions(7)
  logits = np.random.default_rng(8).normal(size=teacher.shape).astype(np.float32) * 3
  expected = ((teacher - scipy.special.softmax(logits, -1)) ** 2).sum(-1).mean(-1)
  np.testing.assert_allclose(losses.squared_distance(teacher, logits), expected, rtol=1e-4)
  with pytest.raises(ValueError, match='student'):
    losses.squared_distance(teacher, logits[:, :1])


def test_targets_of_a_step_are_the_mean_of_its_pictures():
  teacher = distributions(4)
  weights = np.float32([[0.5, 0.5, 0], [0, 0, 1]])
  expected = np.stack([(teacher[:, 0] + teacher[:, 1]) / 2, teacher[:, 2]], 1)
  np.testing.assert_allclose(losses.align_targets(teacher, weights), expected, rtol=1e-6, atol=1e-30)
  assert losses.align_targets(teacher, np.eye(3, dtype=np.float32)) is teacher


@pytest.mark.parametrize('shape', [(5, 2, 40), (5, 3, 39), (4, 3, 40), (5, 40)])
def test_shapes_that_do_not_go_together_are_named(shape):
  logits = np.zeros(shape, np.float32)
  for distance in (losses.kl_divergence, lambda *pair: losses.top_k_agreement(*pair, 1)):
    with pytest.raises(ValueError, match=r'teacher .*5, 3, 40.* student'):
      distance(distributions(0), logits)


def test_top_k_agreement_is_the_accuracy_of_scikit_learn():
  teacher, logits = distributions(1, (200, 1, 9)), np.random.default_rng(1).normal(size=[200, 1, 9]).astype(np.float32)
  expected = sklearn.metrics.top_k_accuracy_score(teacher[:, 0].argmax(-1), logits[:, 0], k=5, labels=range(9))
  np.testing.assert_allclose(np.mean(losses.top_k_agreement(teacher, logits, 5)), expected)


def test_all_classes_are_among_the_first_of_more():
  logits = np.random.default_rng(1).normal(size=[4, 1, 3]).astype(np.float32)
  assert losses.top_k_agreement(distributions(4, (4, 1, 3)), logits, 5).numpy().tolist() == [1] * 4


def test_kl_divergence_of_a_hopeless_student_is_finite():
  assert losses.kl_divergence(np.float32([[[1, 0]]]), np.float32([[[0, 5000]]])).numpy() == [5000]


def test_names_that_are_stored_with_answers():
  assert (batch_keys.TEACHER, batch_keys.MULTI_LABEL) == ('teacher/', 'labels')


def test_soft_targets_sum_to_one_and_lie_within_float16():
  outputs = distributions(6) * 0.98  # quantised outputs may sum to a little less than one
  targets = batch_keys.soft_targets(outputs).numpy()
  np.testing.assert_allclose(targets.sum(-1), 1, atol=1e-6)
  np.testing.assert_allclose(targets, outputs / outputs.sum(-1, keepdims=True), atol=1e-3)
  np.testing.assert_array_equal(batch_keys.soft_targets(outputs.astype(np.float16)), targets)


@pytest.mark.parametrize(('steps', 'classes'), [(5, 6), (2, 6), (1, 6), (3, 1)])
def test_a_target_without_time_is_that_of_every_step(steps, classes):
  teacher = distributions(3, (4, 1, classes))
  logits = np.random.default_rng(2).normal(size=[4, steps, classes]).astype(np.float32)
  repeated = np.repeat(teacher, steps, axis=1)
  for distance in (losses.kl_divergence, losses.squared_distance, losses.top1_is_label):
    np.testing.assert_array_equal(distance(teacher, logits), distance(repeated, logits))


def test_targets_of_as_many_steps_as_pictures_are_mixed_unless_each_is_its_own():
  teacher = distributions(4)
  weights = np.float32([[0, 1, 0], [1, 0, 0], [0, 0.5, 0.5]])
  expected = [(weights @ rows).tolist() for rows in teacher]
  np.testing.assert_allclose(losses.align_targets(teacher, weights), expected, rtol=1e-6, atol=1e-30)


def test_squared_error_of_a_waveform():
  waveform, reconstruction = np.random.default_rng(0).normal(size=[2, 3, 100]).astype(np.float32)
  expected = ((waveform.astype(float) - reconstruction) ** 2).sum(1) / 100
  np.testing.assert_allclose(losses.squared_error(waveform, reconstruction), expected, rtol=1e-5)


@pytest.mark.parametrize('smoothing', [0, 0.2])
@pytest.mark.parametrize('loss', ['cross_entropy', 'focal'])
def test_binary_losses_are_sums_over_classes(loss, smoothing):
  """Focal loss: Lin et al. 2017, equation 5, with alpha 0.25 for positives and gamma 2."""
  rng = np.random.default_rng(1)
  labels, logits = rng.integers(0, 2, [4, 3, 7]).astype(float), rng.normal(size=[4, 3, 7]) * 3
  y, p = labels * (1 - smoothing) + smoothing / 2, scipy.special.expit(logits)
  terms = -(y * np.log(p) + (1 - y) * np.log(1 - p))
  if loss == 'focal':
    p_t, alpha_t = y * p + (1 - y) * (1 - p), y * 0.25 + (1 - y) * 0.75
    terms = terms * alpha_t * (1 - p_t) ** 2
  result = losses.binary_loss(loss, labels.astype('f4'), logits.astype('f4'), smoothing)
  np.testing.assert_allclose(result, terms.sum(-1).mean(-1), rtol=1e-4)
  if not smoothing:  # the default
    np.testing.assert_array_equal(losses.binary_loss(loss, labels.astype('f4'), logits.astype('f4')), result)


def test_the_most_probable_class_is_a_label():
  labels = np.float32([[[1, 0, 0.5], [0, 1, 1]], [[0, 0, 0], [0.6, 0.4, 0]]])
  logits = np.float32([[[2, 1, 0], [0, 1, 3]], [[2, 1, 0], [0, 1, 0]]])
  assert losses.top1_is_label(labels, logits).numpy().tolist() == [1, 0]
  assert losses.top1_is_label(labels, logits[..., ::-1].copy()).numpy().tolist() == [0, 0]
  assert losses.top1_is_label(labels, -logits).numpy().tolist() == [0, 0.5]


def test_names_of_losses_and_their_activations():
  """The names are values of --loss, and are stored in the settings of runs."""
  assert {'kl': losses.kl_divergence, 'l2': losses.squared_distance} == losses.LOSSES
  assert losses.RECONSTRUCTION == 'reconstruction'
  assert {loss: losses.activation_of(loss) for loss in ('kl', 'l2', 'cross_entropy', 'focal')} == {
    'kl': 'softmax', 'l2': 'softmax', 'cross_entropy': 'sigmoid', 'focal': 'sigmoid',
  }  # fmt: skip
