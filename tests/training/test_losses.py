"""Distances between distributions, against SciPy and scikit-learn."""

import numpy as np
import pytest
import scipy.special
import sklearn.metrics
import tensorflow as tf

from audionet_tf.data import batch_keys
from audionet_tf.training import losses


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


def test_soft_targets_sum_to_one_and_lie_within_float16():
  outputs = distributions(6) * 0.98  # quantised outputs may sum to a little less than one
  targets = batch_keys.soft_targets(outputs).numpy()
  np.testing.assert_allclose(targets.sum(-1), 1, atol=1e-6)
  np.testing.assert_allclose(targets, outputs / outputs.sum(-1, keepdims=True), atol=1e-3)
  np.testing.assert_array_equal(batch_keys.soft_targets(outputs.astype(np.float16)), targets)
