"""Classes chosen for each predictor have the scores of a student that was made with them, one of each kind of steps."""

import keras
import numpy as np
import pytest

from audionet_tf.captioning import captioner
from audionet_tf.data.tables import word_tables
from audionet_tf.inference import any_words
from audionet_tf.media import waveforms
from audionet_tf.models import registry, student_settings, words
from audionet_tf.saved_model import for_files

WIDTH, TEMPERATURE = 6, 0.05


def table(count, seed):
  rows = np.random.default_rng(seed).normal(size=(count, WIDTH))
  return word_tables.make([f'{seed} {i}' for i in range(count)], rows, TEMPERATURE)


@pytest.mark.parametrize(
  ('name', 'window_seconds'), [('audionet', 0.04), ('logmel_steps', 1.0), ('yamnet', 0.975), ('soundnet5', 5.0)]
)
def test_scores_are_those_of_a_student_with_the_classes(name, window_seconds):
  keras.utils.set_random_seed(0)
  model, rate = registry.build(name, {'space': WIDTH}), registry.network(name).sample_rate_hz or 16000
  noise = np.random.default_rng(0)
  for variable in model.trainable_variables:  # some networks begin with zeros
    variable.assign_add(noise.normal(scale=0.1, size=variable.shape))
  settings = student_settings.StudentConfig(name, rate, 'mean', window_seconds, {}, embeddings={'space': WIDTH})

  def made(classes):
    return for_files.of_model(*words.with_classes(model, settings, 'space', classes), 'x.keras')

  base = captioner.predictor(made(table(4, seed=1)))
  chosen = any_words.AnyWords(model, settings, 'space', TEMPERATURE)
  for seed, count in ((2, 2), (3, 9)):
    classes = table(count, seed)
    served, predictor = made(classes), chosen.predictor(base, classes)
    assert predictor.class_names == classes.names
    for seconds in (0.7, 3, 13):
      pcm = noise.integers(-9999, 9999, round(seconds * rate), np.int16)
      frames = [
        captioner.score_file(each, waveforms.of_array(pcm, rate), [[i] for i in range(count)])
        for each in (captioner.predictor(served), predictor)
      ]
      np.testing.assert_allclose(frames[1].scores, frames[0].scores, atol=2e-3)  # they are float16
      np.testing.assert_array_equal(frames[1].start_seconds, frames[0].start_seconds)
      np.testing.assert_array_equal(frames[1].end_seconds, frames[0].end_seconds)
    batch = noise.uniform(-1, 1, [3, 7 * rate]).astype(np.float32)
    expected = served.predict(batch)['probabilities']
    assert np.ptp(expected) > 0.05  # the student tells them apart
    np.testing.assert_allclose(chosen.probabilities(batch, classes.vectors), expected, atol=1e-4)
