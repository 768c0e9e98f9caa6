"""The student in the box: its file made small, its credits, and sounds of no category."""

import keras
import media_clips
import numpy as np
import pytest
import soundnets
import starters
from scipy import special
from sklearn.metrics import roc_auc_score

from audionet_tf.core.errors import UserError
from audionet_tf.models import registry, student_file
from audionet_tf.saved_model import tflite
from experiments import outside_sounds, robustness_table, starter_figures, starter_files


def test_weights_are_rounded_to_the_nearest_of_twelve_bits():
  values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
  found = starter_files.rounded(values)
  mantissa, exponent = np.frexp(values.astype(np.float64))
  np.testing.assert_array_equal(found, np.ldexp(np.rint(mantissa * 2**13) / 2**13, exponent))
  np.testing.assert_array_equal(starter_files.rounded(np.float32([0, 1, -2.5])), [0, 1, -2.5])


def test_a_smaller_file_predicts_nearly_the_same(tmp_path):
  keras.utils.set_random_seed(0)
  model, path = registry.build('logmel_cnn_contrast', {'teacher': 7}), tmp_path / 'student.keras'
  student_file.save(path, model, soundnets.settings('logmel_cnn_contrast', 1.0))
  before = path.stat().st_size
  starter_files.shortened(path)
  assert path.stat().st_size < 0.8 * before
  sound = soundnets.noise(2, 22_050)
  again, _ = student_file.load(path)
  np.testing.assert_allclose(again(sound)['logits/teacher'], model(sound)['logits/teacher'], atol=0.02)


LICENSES = (
  '# ESC-10\n\n- [1-1-A.ogg]: clip derived from a.wav (http://x/) by Ann [CC0]\n'
  '- [1-2-A.ogg]:  clip derived from stand by me.wav (http://y/) by Bob by Day [CC-BY]\n'
  '- [1-3-A.ogg]: clip derived from c.wav (http://z/) by Ann [CC0]\n'
)


@pytest.fixture
def licenses(tmp_path):
  (tmp_path / 'LICENSES.txt').write_text(LICENSES, encoding='utf-8')
  return tmp_path / 'LICENSES.txt'


def test_credits_name_every_author_or_fail(licenses):
  found = starter_files.notice(starter_files.credits(licenses, ['1-2-A']))
  assert found.endswith('\n\n1-2-A: stand by me.wav (http://y/) by Bob by Day [CC-BY]\n') and 'Ann' not in found
  with pytest.raises(UserError, match='nothing of 9-9-A'):
    starter_files.credits(licenses, ['1-1-A', '9-9-A'])


def test_the_card_has_figures_authors_and_names(licenses):
  row = {'named': 0.5, 'unknown': 0.25, 'of_ten': 0.625}
  figures = {
    'accuracy': {'as_it_is': row, 'changed': {'named': 0.125, 'of_ten': 0.375}},
    'areas': {'hum': 0.91, 'all': 0.82},
    'strange': {'hum': 0.73, 'all': 0.64},
    'alarms': {'hum': 1.25, 'all': 6.5},
    'missed': 0.05,
    'held_out_clips': 77,
  }
  credits = starter_files.credits(licenses, ['1-1-A', '1-2-A', '1-3-A'])
  settings = soundnets.settings('logmel_cnn_contrast', 5.0)
  about = {'groups': {'dog_bark': [0]}, 'folds': ['1', '2'], 'held_out': '2', 'credits': credits}
  text = starter_files.card(settings, figures, **about)
  for line in ('| as it is | 50.0 | 25.0 | 62.5 |', '| changed | 12.5 |  | 37.5 |', '| hum | 0.91 | 0.73 | 1.2 |'):
    assert line in text.splitlines()
  words = ' '.join(text.split())
  for part in (
    '3 recordings of ESC-10 (folds 1, 2)',
    '`dog_bark`',
    'the 77 clips',
    'Ann, Bob by Day.',
    '--head=teacher',
  ):
    assert part in words
  assert 'other recordings with no' not in words
  figures['others'] = {'windows': 19, 'area': 0.9, 'alarms': 4.4}
  words = ' '.join(starter_files.card(settings, figures, **about).split())
  assert 'On 19 windows of other recordings with no sound of a category, AUROC is 0.90, with 4.4 false alarms' in words


def test_descriptions_hold_no_folder():
  described = {'source': '/a/b/c.tflite', 'labels': None, 'digest': 'x'}
  assert starter_files.without_folders(described) == {'source': 'c.tflite', 'labels': None, 'digest': 'x'}


def test_areas_are_those_of_scikit_learn():
  known, others = np.array([0.5, 0.7, 0.9]), {'a': np.array([0.1, 0.6]), 'b': np.array([0.8])}
  found = starter_figures.areas_under_curve(known, others)
  assert found['a'] == pytest.approx(5 / 6) and found['b'] == pytest.approx(1 / 3)
  assert found['all'] == roc_auc_score([1, 1, 1, 0, 0, 0], [0.5, 0.7, 0.9, 0.1, 0.6, 0.8])


def test_false_alarms_are_windows_per_minute():
  assert starter_figures.alarms_per_minute(np.array([0.1, 0.5, 0.9, 0.4]), 0.5, 5.0) == 6  # half of twelve


def test_shares_count_unknown_as_wrong_and_leave_it_out():
  scores = np.array([[0.5, 0.3, 0.2], [0.3, 0.2, 0.5], [0.1, 0.3, 0.6], [0.6, 0.4, 0.0]])
  found = starter_figures.shares(scores, [0, 0, 1, 1])
  assert found == {'named': 0.25, 'unknown': 0.5, 'of_ten': 0.75}


def test_labelled_clips_are_judged_as_they_are_and_changed(tmp_path):
  """Against the model itself, on windows as long as the clips."""
  model, settings = student_file.load(starters.write(tmp_path / 'box'))
  sounds = soundnets.noise(3, 22_050)
  (tmp_path / 'clips').mkdir()
  clips = [(tmp_path / f'clips/{number}.wav', ['dog_bark', 'rain', 'rain'][number]) for number in range(3)]
  for (path, _), sound in zip(clips, sounds, strict=True):
    media_clips.write(path, 1.0, times=[], sounds=[sound], rate_hz=22_050)
  scores, true = starter_figures.rows_named(model, settings, clips)
  assert true == [0, 1, 1]
  np.testing.assert_allclose(scores, special.softmax(model(sounds)['logits/category'][:, 0], -1), atol=0.01)
  found = starter_figures.accuracy(model, settings, clips, {'rain': tmp_path / 'clips'})
  assert found['as_it_is'] == starter_figures.shares(scores, true)
  rows = [found[form] for form in robustness_table.changed_forms()]
  assert found['worst']['named'] == min(row['named'] for row in rows)
  assert found['changed']['of_ten'] == pytest.approx(sum(row['of_ten'] for row in rows) / len(rows))
  assert found['outside rain'] == starter_figures.shares(scores, [1, 1, 1])


def test_windows_of_files_are_all_of_them_or_the_first(tmp_path):
  settings, path = soundnets.settings('logmel_cnn', 0.5), tmp_path / 'a.wav'
  sound = soundnets.noise(1, 22_050)[0]
  media_clips.write(path, 1.0, times=[], sounds=[sound], rate_hz=22_050)
  parts = sound.reshape(2, -1)
  np.testing.assert_allclose(starter_figures.windows([path], settings), parts, atol=1e-4)
  np.testing.assert_allclose(starter_figures.windows([path, path], settings, 1), parts[[0, 0]], atol=1e-4)
  longer = soundnets.settings('logmel_cnn', 2.0)
  np.testing.assert_allclose(starter_figures.windows([path], longer), np.tile(sound, 2)[None], atol=1e-4)
  (tmp_path / 'b.mp4').write_bytes(b'no sound')
  assert len(starter_figures.other_recordings(tmp_path, settings)) == 2
  assert starter_figures.other_recordings(None, settings) is None


def test_outside_sounds_are_alike_for_a_seed_and_differ_from_each_other():
  found, again = (outside_sounds.sounds(2, 1.0, seed=3) for _ in range(2))
  assert list(found) == list(outside_sounds.KINDS)
  for kind, sounds in found.items():
    np.testing.assert_array_equal(sounds, again[kind])
    assert sounds.shape == (2, 22_050) and sounds.dtype == np.float32 and np.isfinite(sounds).all()
    if kind == 'silence':
      assert not sounds.any()
      continue
    levels = np.sqrt((sounds.astype(np.float64) ** 2).mean(1))
    assert (levels > 0.002).all() and (levels <= 0.11).all()
    assert abs(np.corrcoef(sounds)[0, 1]) < 0.9
  assert (outside_sounds.sounds(2, 1.0, seed=4)['music'] != found['music']).any()


def test_the_file_for_litert_is_written_if_it_predicts_the_same(tmp_path, monkeypatch):
  path = starters.write(tmp_path / 'box')
  starter_files.write_lite(path)
  assert path.with_suffix('.tflite').stat().st_size < 100_000
  path.with_suffix('.tflite').unlink()
  model, settings = student_file.load(path)
  for weights in model.layers:
    weights.set_weights([0.5 * x for x in weights.get_weights()])
  other = tflite.of_any_length(model, settings, 'float16')
  monkeypatch.setattr(tflite, 'of_any_length', lambda *_, **__: other)
  with pytest.raises(RuntimeError, match='other probabilities'):
    starter_files.write_lite(path)
  monkeypatch.setattr(starter_files, 'MOST_LITE_BYTES', 1000)
  with pytest.raises(UserError, match='allowed are 1000'):
    starter_files.write_lite(path)
  assert not path.with_suffix('.tflite').exists()
