"""The file of a student with steps in time: pieces of one length, of which a part is sound."""

import dataclasses

import numpy as np
import pytest
import soundnets

from audionet_tf.models import receptive_field, registry
from audionet_tf.saved_model import tflite, tflite_pieces


@pytest.fixture(scope='module')
def student():
  return soundnets.student('soundnet8_steps'), soundnets.settings('soundnet8_steps', 5.0)


def test_steps_of_a_part_of_a_piece_are_those_of_keras(student, tmp_path):
  """At any length, not only at multiples of the hop: what lies behind the sound is padding, as at its end."""
  model, settings = student
  tflite_pieces.write(model, settings, tmp_path / 'model.tflite')
  run, size = tflite.runner(tmp_path / 'model.tflite'), tflite_pieces.piece_samples(settings)
  for samples in (registry.shortest_samples(settings.student), 50_001, 123_457, size):
    sound = soundnets.noise(1, samples)
    logits = model(sound, training=False)['logits/teacher'].numpy()[0].astype(np.float64)
    powers = np.exp(logits)
    given = {'waveform': np.pad(sound, [[0, 0], [0, size - samples]]), 'samples': np.array([samples], np.int32)}
    found = run(**given)['probabilities']
    np.testing.assert_allclose(found[: len(logits)], powers / powers.sum(1, keepdims=True), rtol=0, atol=1e-4)
    assert not found[len(logits) :].any()


def test_a_piece_holds_a_window_and_three_receptive_fields(student):
  _, settings = student
  step = receptive_field.receptive_field(tflite_pieces.table(settings))
  for seconds in (1.0, 5.0, 30.0):
    size = tflite_pieces.piece_samples(dataclasses.replace(settings, window_seconds=seconds))
    assert size % step.stride == 0 and size >= seconds * settings.sample_rate_hz and size >= 3 * step.size
