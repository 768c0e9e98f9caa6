"""The teacher's accuracy on clips of known grey levels."""

import media_clips
import numpy as np
import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.evaluation import vision

GROUPS = {'dark': [0], 'bright': [1, 2]}


class Grey:
  """A fake teacher of three classes: the brighter the pictures, the higher the probability of class 1."""

  @staticmethod
  def probabilities(pictures):
    brightness = pictures.mean((1, 2, 3)) / 255
    return np.stack([1 - brightness, 0.9 * brightness, 0.1 * brightness], 1)


def result(path, category, scores):
  """A row of `results` of clip_accuracy.evaluate_clips."""
  return {'path': str(path), 'category': category, 'named': '', 'scores': scores}


def test_clip_pictures_are_the_middles_of_four_parts(tmp_path):
  path = media_clips.write(tmp_path / 'a.mkv', seconds=2, fps=20)
  greys = vision.clip_pictures(path, 16).mean((1, 2, 3))
  expected = [media_clips.grey(t, 2) for t in (0.25, 0.75, 1.25, 1.75)]
  np.testing.assert_allclose(greys, expected, atol=6)  # a picture is 5 levels; gray to RGB shifts by one
  assert [*vision.shown_at([(0, 1, 'a'), (1, 2, 'b')], [0.2, 0.9, 1.0, 5, 6])] == ['a', 'a', 'b', 'b', 'b']


def test_teacher_top1(tmp_path, monkeypatch):
  monkeypatch.setattr(Grey, 'class_names', ['black', 'white', 'neon'], raising=False)
  paths = [
    media_clips.write(
      tmp_path / f'{level}.mkv', seconds=0.4, picture=lambda t, level=level: np.full([48, 64], level, np.uint8)
    )
    for level in (220, 30, 200)
  ]
  assert vision.teacher_top1(Grey, paths) == ['white', 'black', 'white']
  with pytest.raises(UserError, match='sound.mkv'):
    vision.teacher_top1(Grey, [media_clips.write(tmp_path / 'sound.mkv', seconds=0.4, times=[])])


def test_accuracy_of_sound_vision_and_both(tmp_path):
  def clip(name, level):
    return media_clips.write(tmp_path / name, seconds=0.4, picture=lambda t: np.full([48, 64], level, np.uint8))

  dark, bright = clip('dark.mkv', 30), clip('bright.mkv', 220)
  sound = media_clips.write(tmp_path / 'sound.mkv', seconds=0.4, times=[])
  measured = {
    'categories': ['dark', 'bright'],
    'results': [
      result(dark, 'dark', [0.4, 0.6]),  # sound is wrong, vision correct
      result(bright, 'bright', [0.1, 0.9]),
      result(dark, 'bright', [0.05, 0.95]),  # vision is wrong, sound more confident
      result(sound, 'bright', [0, 1]),
    ],
  }
  accuracies = vision.evaluate(Grey, measured, GROUPS, image_size=16)
  assert accuracies == {
    'clips': 3,
    'sound': pytest.approx(2 / 3),
    'vision': pytest.approx(2 / 3),
    'sound_and_vision': pytest.approx(1),
  }
  with pytest.raises(UserError, match='needs videos'):
    vision.evaluate(Grey, measured | {'results': measured['results'][3:]}, GROUPS)
