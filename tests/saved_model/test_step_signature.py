"""The signature `steps`: a run and its export predict the same for every step."""

import keras
import media_clips
import numpy as np
import pytest
from scipy import special

from audionet_tf.core.errors import UserError
from audionet_tf.data import params
from audionet_tf.evaluation import clip_accuracy, predictor
from audionet_tf.models import student_file, student_settings
from audionet_tf.models.networks import logmel_cnn
from audionet_tf.saved_model import export, loader, verify

RATE = 22_050
TABLE = (('conv1', 3, (7, 5), (4, 2)), ('pool1', None, 2, 2), ('conv2', 4, 3, 1))
SETTINGS = student_settings.StudentConfig('logmel_steps', RATE, 'mean', 1.0, {'t': ['a', 'b', 'c']})


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """(folder of a run, its student)."""
  keras.utils.set_random_seed(0)
  model = logmel_cnn.logmel_cnn({'t': 3}, TABLE, logmel_cnn.per_step_head, 'logmel_steps')
  kernel, bias = model.get_layer('dense_t').get_weights()
  model.get_layer('dense_t').set_weights([20 * kernel, bias])  # so that steps differ
  folder = tmp_path_factory.mktemp('run')
  student_file.save(folder / 'student.keras', model, SETTINGS)
  export.export(model, SETTINGS, folder / 'export')
  return folder, model


def test_a_run_and_its_export_predict_the_same(run, tmp_path):
  folder, model = run
  rng = np.random.default_rng(0)
  sounds = [rng.uniform(-1, 1, 3 * RATE) * np.linspace(0, 1, 3 * RATE) ** power for power in (1, 4)]
  paths = [media_clips.write(tmp_path / f'{i}.wav', times=[], sounds=[s], rate_hz=RATE) for i, s in enumerate(sounds)]
  students = [predictor.load_student(place) for place in (folder, folder / 'export/1')]
  clips = [(paths[0], 'a'), (paths[1], 'b')]
  scores = [
    [row['scores'] for row in clip_accuracy.evaluate_clips(student, clips, {'a': [0], 'b': [1]})['results']]
    for student in students
  ]
  np.testing.assert_allclose(*scores, atol=1e-5)
  windows = np.stack(sounds).astype(np.float32)[:, :RATE]
  expected = model(windows, training=False)['logits/t'].numpy()
  assert expected.shape[1] > 5
  averaged = special.softmax(expected.mean(1), -1)
  assert np.abs(special.softmax(expected, -1).mean(1) - averaged).max() > 0.01  # otherwise this test would show nothing
  record_params = params.RecordParams(1.0, 1.0, sample_rate_hz=RATE)
  for student in students:
    np.testing.assert_allclose(student.logits(windows), expected, atol=1e-4 * np.abs(expected).max())
    assert student.alignment(record_params).tolist() == students[0].alignment(record_params).tolist()


def test_steps_may_be_missing_but_not_incomplete_or_wrong(run):
  folder, model = run
  exported = loader.load(folder / 'export')
  signatures = {name: function for name, function in exported.signatures.items() if name != 'steps'}
  assert set(signatures) == {'serving_default', 'windows'}
  verify.check_signatures(folder, signatures, SETTINGS)
  with pytest.raises(UserError, match='lacks logits/t of the signature steps'):
    verify.check_signatures(folder, exported.signatures | {'steps': exported.signatures['windows']}, SETTINGS)

  def other(waveform):
    return {'logits/t': 1 + model(waveform, training=False)['logits/t']}

  with pytest.raises(RuntimeError, match='steps, .* differ from the model'):
    wrong = loader.LoadedExport(SETTINGS, exported.class_names, exported.signatures | {'steps': other}, exported.module)
    verify.compare_steps(model, SETTINGS, wrong, np.zeros([1, RATE], np.float32))
