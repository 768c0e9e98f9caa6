"""The training step against PyTorch's, and one replica against two."""

import json
import textwrap

import commands
import keras
import numpy as np
import pytest
import tensorflow as tf
from torch_or_skip import torch

from audionet_tf.data import input_pipeline
from audionet_tf.models import registry
from audionet_tf.models.networks import soundnet
from audionet_tf.training.steps.distiller import Distiller

CLASSES = 11


def random_batch(seed, size=6):
  rng = np.random.default_rng(seed)
  return {
    'audio': tf.constant(rng.normal(size=(size, 640)), tf.float32),
    'teacher/t': tf.constant(rng.dirichlet(np.ones(CLASSES), (size, 1)), tf.float32),
    'video_id': tf.constant(np.arange(size) % 3, tf.int64),
    'index': tf.constant(np.arange(size) // 3, tf.int64),
    'mask': tf.ones([size]),
  }


def make(reduction='sum', learning_rate=1e-2, student=lambda heads: registry.build('audionet', heads), **options):
  keras.utils.set_random_seed(0)
  distiller = Distiller(student({'t': CLASSES}), ['t'], 3, reduction, **options)
  distiller.compile(optimizer=keras.optimizers.SGD(learning_rate, 0.9, nesterov=True), jit_compile=False)
  distiller(tf.zeros([1, 640]))
  return distiller


def batches(count, size=6):
  return [random_batch(seed, size) for seed in range(count)]


def fit(distiller, data, epochs=1):
  def forever():
    while True:
      yield from data

  signature = {name: tf.TensorSpec([None, *x.shape[1:]], x.dtype) for name, x in data[0].items()}
  dataset = tf.data.Dataset.from_generator(forever, output_signature=signature)
  distiller.fit(dataset, steps_per_epoch=len(data), epochs=epochs, verbose=0, shuffle=False)


@pytest.mark.parametrize('reduction', ['sum', 'mean'])
def test_steps_equal_pytorchs(reduction):
  distiller = make(reduction)
  kernel, bias, dense, dense_bias = [
    torch.tensor(v.numpy().T if v.numpy().ndim != 3 else v.numpy().transpose(2, 1, 0), requires_grad=True)
    for v in distiller.student.trainable_variables
  ]
  optimizer = torch.optim.SGD([kernel, bias, dense, dense_bias], lr=1e-2, momentum=0.9, nesterov=True)
  data = batches(4)
  for batch in data:
    sound, target = (torch.tensor(batch[name].numpy()) for name in ('audio', 'teacher/t'))
    conv = torch.nn.functional.conv1d(sound[:, None], kernel, bias, 2, 32)
    pooled = torch.nn.functional.max_pool1d(conv, 8, 1, 4).mean(2)
    log_probabilities = torch.log_softmax(pooled @ dense.T + dense_bias, 1)
    loss = torch.nn.functional.kl_div(log_probabilities, target[:, 0], reduction='sum')
    loss = loss / len(sound) if reduction == 'mean' else loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
  fit(distiller, data)
  expected_weights = [
    kernel.detach().numpy().transpose(2, 1, 0),
    bias.detach().numpy(),
    dense.detach().numpy().T,
    dense_bias.detach().numpy(),
  ]
  for variable, expected in zip(distiller.student.trainable_variables, expected_weights, strict=True):
    np.testing.assert_allclose(variable.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize('loss', ['kl', 'l2'])
def test_heads_have_their_weights(loss):
  classes, weights = {'a': 4, 'b': 7}, {'a': 0.25, 'b': 3.0}
  keras.utils.set_random_seed(0)
  student = registry.build('audionet', classes)
  distiller = Distiller(student, list(classes), 1, loss=loss, loss_weights=weights)
  distiller.compile(optimizer=keras.optimizers.SGD(1e-2), jit_compile=False)
  rng = np.random.default_rng(3)
  batch = {
    'audio': rng.normal(size=(5, 640)).astype(np.float32),
    **{f'teacher/{head}': rng.dirichlet(np.ones(n), (5, 1)).astype(np.float32) for head, n in classes.items()},
    'video_id': np.zeros(5, np.int64),
    'index': np.arange(5),
    'mask': np.ones(5, np.float32),
  }
  embedding = torch.tensor(student(batch['audio'])['embedding'].numpy())
  expected, kl, trained = {}, {}, {}
  for head, weight in weights.items():
    kernel, bias = (torch.tensor(v.numpy(), requires_grad=True) for v in student.get_layer(f'dense_{head}').weights)
    target, logits = torch.tensor(batch[f'teacher/{head}'])[:, 0], embedding @ kernel + bias
    divergence = torch.nn.functional.kl_div(logits.log_softmax(1), target, reduction='sum')
    total = divergence if loss == 'kl' else ((target - logits.softmax(1)) ** 2).sum()
    (weight * total).backward()
    expected[head], kl[head] = (kernel - 1e-2 * kernel.grad).detach().numpy(), divergence.item() / 5
    trained[head] = total.item() / 5
  fit(distiller, [{name: tf.constant(x) for name, x in batch.items()}])
  for head in classes:
    np.testing.assert_allclose(student.get_layer(f'dense_{head}').kernel.numpy(), expected[head], atol=1e-5)
    assert float(distiller.means[f'kl_{head}'].result()) == pytest.approx(kl[head], rel=1e-4)
    if loss != 'kl':
      assert float(distiller.means[f'loss_{head}'].result()) == pytest.approx(trained[head], rel=1e-4)
  assert float(distiller.means['kl'].result()) == pytest.approx(np.mean(list(kl.values())), rel=1e-4)
  assert ('loss' in distiller.means) == (loss != 'kl')


@pytest.mark.parametrize('reduction', ['sum', 'mean'])
def test_masked_examples_teach_nothing(reduction):
  plain, padded = make(reduction), make(reduction)
  small = batches(2, size=4)
  filled = [
    {
      name: tf.concat([x, tf.cast(tf.ones_like(x[:2]), x.dtype) * (0 if name == 'mask' else 1)], 0)
      for name, x in b.items()
    }
    for b in small
  ]
  fit(plain, small)
  fit(padded, filled)
  for a, b in zip(plain.student.weights, padded.student.weights, strict=True):
    np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)
  assert float(plain.means['kl'].result()) == pytest.approx(float(padded.means['kl'].result()))


@pytest.mark.parametrize('reduction', ['sum', 'mean'])
def test_weights_of_examples_are_those_of_their_gradients_and_not_of_the_metrics(reduction):
  # A step of plain gradient descent is linear in the gradient: that of the batch is the weighted sum of the examples'.
  weights, batch = np.array([1, 0, 0.25, 0.5, 0, 1], np.float32), random_batch(1)

  def change(batch):
    distiller = make(reduction)
    distiller.compile(optimizer=keras.optimizers.SGD(1e-2), jit_compile=False)
    before = [v.numpy() for v in distiller.student.weights]
    fit(distiller, [batch])
    return distiller, [v.numpy() - b for v, b in zip(distiller.student.weights, before, strict=True)]

  single = [change({name: x[i : i + 1] for name, x in batch.items()})[1] for i in range(len(weights))]
  expected = [sum(w * row for w, row in zip(weights, rows, strict=True)) for rows in zip(*single, strict=True)]
  divisor = weights.sum() if reduction == 'mean' else 1
  distiller, changes = change(batch | {'weight': tf.constant(weights)})
  for got, want in zip(changes, expected, strict=True):
    np.testing.assert_allclose(got, want / divisor, atol=1e-6)
  assert max(abs(got).max() for got in changes) > 1e-4
  for name, metric in change(batch)[0].means.items():
    assert float(metric.result()) == float(distiller.means[name].result())


def test_a_batch_without_weight_changes_nothing():
  distiller = make('mean')
  before = [v.numpy() for v in distiller.student.weights]
  fit(distiller, [random_batch(1) | {'weight': tf.zeros([6])}])
  for variable, expected in zip(distiller.student.weights, before, strict=True):
    np.testing.assert_array_equal(variable.numpy(), expected)


def test_kl_of_videos_and_windows():
  distiller = make(learning_rate=1e-9, videos_windows=[(5, 2), (0, 2), (0, 2)])
  first_window = tf.constant([5, 0, 0, 5, 0, 0], tf.int64)
  batch = random_batch(5)
  batch['index'] += first_window  # the first video begins late
  fit(distiller, [batch])
  logits = distiller.student(batch['audio'])['logits/t'].numpy()[:, 0].astype(np.float64)
  log_probabilities = logits - np.log(np.exp(logits).sum(1, keepdims=True))
  target = batch['teacher/t'].numpy()[:, 0]
  kl = (target * (np.log(target) - log_probabilities)).sum(1)
  np.testing.assert_allclose(distiller.video_means.result(), [kl[v::3].mean() for v in range(3)], rtol=1e-4)
  np.testing.assert_allclose(distiller.window_means.result(), kl.reshape(2, 3).T.ravel(), rtol=1e-4)
  assert distiller.window_ends.tolist() == [2, 4, 6]


def test_evaluate_counts_every_example_once():
  distiller = make()
  data = batches(2) + [random_batch(9, size=3)]
  signature = {name: tf.TensorSpec([None, *x.shape[1:]], x.dtype) for name, x in data[0].items()}
  result = distiller.evaluate(
    tf.data.Dataset.from_generator(lambda: iter(data), output_signature=signature), steps=3, return_dict=True, verbose=0
  )
  per_example = []
  for batch in data:
    logits = distiller.student(batch['audio'])['logits/t'].numpy()[:, 0]
    target = batch['teacher/t'].numpy()[:, 0]
    log_probabilities = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    per_example += list((target * (np.log(target) - log_probabilities)).sum(1))
  assert result['kl'] == pytest.approx(np.mean(per_example), rel=1e-4)


def test_finite_steps_points_at_the_first_bad_step_and_its_videos():
  distiller = make()
  data = batches(4)
  data[2] = {name: x[:2] for name, x in data[2].items()}  # videos 0 and 1
  data[2]['audio'] = data[2]['audio'] * np.nan
  fit(distiller, data)
  assert float(distiller.finite_steps.result()) == 2
  assert np.isnan(distiller.video_means.total.numpy()).tolist() == [True, True, False]


# A short SoundNet: two batch normalizations, one of them behind a pool.
SMALL = (('conv1', 4, 16, 2, 8), ('pool1', None, 4, 4, 0), ('conv2', 8, 8, 2, 4), ('conv3', soundnet.HEADS, 40, 2, 0))
# A mean over a batch and a batch normalization know how large it is; a batch of seven is padded. `sum` is what
# `test_trainer` runs on two replicas.
CASES = {'mean': ('audionet', 7), 'weighted': ('audionet', 7), 'normalized': ('soundnet', 6)}


def trained(devices, case):
  """dict of weights and metrics after two epochs of three steps on the devices of a strategy."""
  name, size = CASES[case]
  merged = {key: tf.concat([batch[key] for batch in batches(3, size)], 0) for key in random_batch(0)}
  if case == 'weighted':
    merged['weight'] = tf.constant(np.random.default_rng(0).uniform(size=len(merged['mask'])), tf.float32)
  data = tf.data.Dataset.from_tensor_slices(merged).batch(size).repeat()
  if devices.num_replicas_in_sync > 1:
    data = data.map(input_pipeline.Share(devices.num_replicas_in_sync).of)
  with devices.scope():
    if name == 'audionet':
      distiller = make('mean')
    else:
      distiller = make('mean', student=lambda heads: soundnet.soundnet(SMALL, heads, 'small'))
  distiller.fit(data, steps_per_epoch=3, epochs=2, verbose=0, shuffle=False)
  return {
    'replicas': devices.num_replicas_in_sync,
    'weights': [v.numpy().ravel().tolist() for v in distiller.student.weights],
    'kl': float(distiller.means['kl'].result()),
    'videos': distiller.video_means.result().numpy().tolist(),
    'finite_steps': float(distiller.finite_steps.result()),
  }


# A process of its own: the processor is cut in two before it computes anything.
REPLICAS = textwrap.dedent("""
  import json, os, sys
  from audionet_tf.training import distribution
  both = [distribution.make(2), distribution.make(1)]
  sys.path.insert(0, os.getcwd())
  import test_distiller as cases
  print(json.dumps({case: [cases.trained(devices, case) for devices in both] for case in cases.CASES}))
""")


@pytest.fixture(scope='module')
def on_two_and_on_one(request, tmp_path_factory):
  script = tmp_path_factory.mktemp('replicas') / 'replicas.py'
  script.write_text(REPLICAS)
  done = commands.run(script, cwd=request.path.parent, check=True)
  return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize('case', CASES)
def test_two_replicas_give_the_weights_of_one(on_two_and_on_one, case):
  two, one = on_two_and_on_one[case]
  assert (one['replicas'], two['replicas']) == (1, 2)
  for a, b in zip(one['weights'], two['weights'], strict=True):
    np.testing.assert_allclose(a, b, atol=2e-6 if case != 'normalized' else 1e-4)
  assert one['kl'] == pytest.approx(two['kl'], rel=1e-5)
  assert one['finite_steps'] == two['finite_steps'] == 3
  np.testing.assert_allclose(one['videos'], two['videos'], rtol=1e-5)
