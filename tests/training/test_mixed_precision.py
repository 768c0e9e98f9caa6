"""Students that compute in 16 bits: what stays in float32, how they learn, resume and are exported."""

import json
import textwrap

import commands
import keras
import numpy as np
import pytest
import synthetic_records
import tensorflow as tf

from audionet_tf.data.params import RecordParams
from audionet_tf.models import registry, student_file
from audionet_tf.models.networks import logmel_cnn
from audionet_tf.training import callbacks, config, run_models, trainer
from audionet_tf.training.steps import optimizers
from audionet_tf.training.steps.distiller import Distiller


@pytest.mark.parametrize('student', ['logmel_cnn_contrast', 'vggish', 'soundnet5', 'audionet'])
def test_spectrogram_weights_and_logits_stay_in_float32(student):
  with run_models.precision('mixed_bfloat16'):
    model = registry.build(student, {'t': 5})
  assert keras.config.dtype_policy().name == 'float32'
  types = {layer.name: layer.compute_dtype for layer in model.layers}
  kept = {name for name, kind in types.items() if kind == 'float32'} - {'waveform'}
  assert kept == {name for name in types if name in ('same_level', 'log_mel') or name.endswith('_t')}
  assert 'bfloat16' in types.values()
  assert {v.dtype for v in model.weights if 'seed_generator' not in v.path} == {'float32'}
  sound = np.random.default_rng(0).uniform(-0.1, 0.1, [1, 250_000]).astype(np.float32)
  assert model(sound)['logits/t'].dtype == tf.float32
  if 'log_mel' in types:
    same = registry.build(student, {'t': 5})
    mel = [keras.Model(m.input, m.get_layer('log_mel').output)(sound) for m in (model, same)]
    np.testing.assert_array_equal(*mel)


@pytest.fixture(scope='module', autouse=True)
def without_dropout():
  """Dropout draws other numbers in another type, and then the curves differ by more than rounding."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(logmel_cnn, 'DROPOUT', 0.0)
    yield


@pytest.fixture(scope='module')
def world(tmp_path_factory):
  folder = tmp_path_factory.mktemp('world')
  params = RecordParams(sample_rate_hz=22050, window_seconds=0.5, hop_seconds=0.5, image_size=32, image_format='png')
  synthetic_records.write_records(folder / 'records', {'a': 9, 'b': 14, 'c': 10}, params)
  synthetic_records.colour_teacher(folder / 'teacher.keras')
  return folder


def run_config(world, precision, epochs=12):
  return config.TrainingConfig(
    'logmel_cnn', (config.TeacherConfig(str(world / 'teacher.keras')),), epochs=epochs, batch_size=8, optimizer='adam',
    learning_rate=3e-3, loss_reduction='mean', mixed_precision=precision,
  )  # fmt: skip


def curve(run_dir):
  return [json.loads(line)['kl'] for line in (run_dir / 'metrics.jsonl').read_text().splitlines()]


@pytest.fixture(scope='module')
def float32(world):
  trainer.train(world / 'records', world / 'none', run_config(world, 'none'))
  return curve(world / 'none')


@pytest.mark.long
@pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
def test_it_learns_as_in_float32_and_resumes_to_the_same_weights(world, float32, precision):
  run_dir = world / precision
  trainer.train(world / 'records', run_dir, run_config(world, precision))
  measured = curve(run_dir)
  assert measured != float32
  assert float32[-1] < 0.5 * float32[0]
  np.testing.assert_allclose(measured[0], float32[0], rtol=0.1)
  assert sum(measured) == pytest.approx(sum(float32), rel=0.15)  # the area below the curve

  student, _ = student_file.load(run_dir / 'student.keras')
  assert {layer.compute_dtype for layer in student.layers} == {'float32'}
  assert (run_dir / 'export/1/saved_model.pb').exists()

  parts = world / f'{precision}_parts'
  calls = []

  def kill(self, batch, logs=None):
    calls.append(batch)
    if len(calls) == 13:
      raise KeyboardInterrupt

  with pytest.MonkeyPatch.context() as killed, pytest.raises(KeyboardInterrupt):
    killed.setattr(callbacks.Progress, 'on_train_batch_end', kill)
    trainer.train(world / 'records', parts, run_config(world, precision), checkpoint_minutes=0)
  trainer.train(world / 'records', parts, run_config(world, precision), resume=True)
  assert curve(parts) == measured
  for a, b in zip(student.weights, student_file.load(parts / 'student.keras')[0].weights, strict=True):
    np.testing.assert_array_equal(a, b)


# A process of its own: the processor is cut in two before it computes anything.
REPLICAS = textwrap.dedent("""
  import json, os, sys
  from audionet_tf.training import distribution
  devices = distribution.make(2)
  sys.path.insert(0, os.getcwd())
  import test_mixed_precision
  print(json.dumps(test_mixed_precision.overflow(devices)))
""")


def overflow(devices):
  """(weights before, weights after a step in which the gradient of one of the two replicas overflows, scale)."""
  given = config.TrainingConfig(mixed_precision='float16', learning_rate=0.1)
  with devices.scope():
    with run_models.precision('mixed_float16'):
      student = registry.build('audionet', {'t': 3})
    distiller = Distiller(student, ['t'], 1)
    distiller.compile(optimizer=optimizers.optimizer(given, 1), jit_compile=False)
    distiller(tf.zeros([1, 640]))
    distiller.optimizer.build(student.trainable_variables)

  def step():
    number = tf.distribute.get_replica_context().replica_id_in_sync_group
    loud = tf.where(number == 1, float('inf'), 1.0)
    return distiller.all_or_none_finite([loud * tf.ones_like(v) for v in student.trainable_variables])

  @tf.function
  def run():
    def of_replica():
      distiller.optimizer.apply_gradients(zip(step(), student.trainable_variables, strict=True))

    devices.run(of_replica)

  before = [v.numpy().ravel().tolist() for v in student.trainable_variables]
  scale = float(distiller.optimizer.dynamic_scale.numpy())
  run()
  after = [v.numpy().ravel().tolist() for v in student.trainable_variables]
  return before, after, float(distiller.optimizer.dynamic_scale.numpy()) / scale


@pytest.mark.long
def test_an_overflow_on_one_replica_makes_all_skip_the_step(request, tmp_path):
  script = tmp_path / 'replicas.py'
  script.write_text(REPLICAS)
  done = commands.run(script, cwd=request.path.parent, check=True)
  before, after, scaled = json.loads(done.stdout.splitlines()[-1])
  assert before == after and scaled == 0.5
