import numpy as np
import scipy.special
import tensorflow as tf

from audionet_tf import losses


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
    heard = np.argsort(-logits, -1)[..., :k]
    expected = (heard == first[..., None]).any(-1).mean(-1)
    np.testing.assert_allclose(losses.top_k_agreement(teacher, logits, k), expected)


def test_soft_targets_sum_to_one_and_lie_within_float16():
  answers = distributions(6) * 0.98  # quantised answers may sum to a little less than one
  targets = losses.soft_targets(answers).numpy()
  np.testing.assert_allclose(targets.sum(-1), 1, atol=1e-6)
  np.testing.assert_allclose(targets, answers / answers.sum(-1, keepdims=True), atol=1e-3)
  np.testing.assert_array_equal(losses.soft_targets(answers.astype(np.float16)), targets)
