"""Recordings told by names, and what is held out."""

import collections
import pathlib

import numpy as np
import pytest

from audionet_tf.sound_folders import recordings
from audionet_tf.sound_folders.labelled import Sound


def sounds(**names):
  return [
    Sound(pathlib.Path(name), f'{label}/{name}', label) for label, listed in names.items() for name in listed.split()
  ]


def groups(listed):
  """Partition of the sounds by recording: set of frozensets of file names, and the rules."""
  names, rules = recordings.recordings(listed)
  by_name = collections.defaultdict(set)
  for sound, name in zip(listed, names, strict=True):
    by_name[name].add(sound.name)
  return {frozenset(group) for group in by_name.values()}, rules


@pytest.mark.parametrize(
  ('names', 'expected'),
  [
    ('1-17-A-9.wav 1-17-B-9.wav 2-18-A-9.wav', [(0, 1), (2,)]),  # ESC-50
    ('1-17-A.ogg 1-17-B.ogg 2-18-A.ogg', [(0, 1), (2,)]),  # ESC-10
    ('100-3-0-0.wav 100-3-1-2.wav 101-3-0-0.wav', [(0, 1), (2,)]),  # UrbanSound8K
    ('100__ann__bark.wav 100__ann__bark2.wav 101__bob__dog.wav', [(0, 1), (2,)]),  # Freesound
    ('a_1.wav a_2.wav b_1.wav b_2.wav c_1.wav', [(0, 1), (2, 3), (4,)]),
    ('a1.wav a2.wav b1.wav b2.wav c1.wav', [(0, 1), (2, 3), (4,)]),
    ('a.wav.gz b_(1).wav b_(2).wav c.wav', [(0,), (1, 2), (3,)]),
    ('12345_1.wav 12345_2.wav 999_1.wav 999_2.wav 7.wav', [(0, 1), (2, 3), (4,)]),
    ('dog_001.wav dog_002.wav dog_003.wav', [(0,), (1,), (2,)]),  # a number counts the sounds of the class
    ('a_1.wav a_2.wav b_1.wav b_2.wav', [(0,), (1,), (2,), (3,)]),  # two recordings are too few to tell
    ('a_1.wav a_2.wav a_3.wav a_4.wav b_1.wav c_1.wav', [(0,), (1,), (2,), (3,), (4,), (5,)]),
    ('1-17-A-9.wav 1-17-B-9.wav', [(0,), (1,)]),  # one recording: nothing else could be held out
    ('001.wav 002.wav 003.wav', [(0,), (1,), (2,)]),
    ('bark.wav woof.wav', [(0,), (1,)]),
  ],
)
def test_recordings_by_names(names, expected):
  listed = sounds(x=names)
  assert groups(listed)[0] == {frozenset(listed[i].name for i in group) for group in expected}


def test_rules_are_named_with_their_classes():
  listed = sounds(dog='1-17-A-9.wav 2-18-A-9.wav', cat='cat_1.wav cat_2.wav')
  names, rules = recordings.recordings(listed)
  assert rules == {"ESC-50's names (fold-clip-take)": ['dog'], 'files': ['cat']}
  line = recordings.summary(listed, names, rules)
  assert "(each file counts as one in cat; by ESC-50's names (fold-clip-take) in dog)" in line


@pytest.mark.parametrize('seed', range(5))
def test_whole_recordings_are_held_out_of_every_class(seed):
  """About a fifth of each class, no recording on both sides, the same every time."""
  random = np.random.default_rng(seed)
  listed = []
  for label, clips in zip('abcd', (10, 25, 40, 100), strict=True):
    clip = random.integers(0, clips // 2, clips)  # of which some share a recording, also with other classes
    listed += sounds(**{label: ' '.join(f'1-{number}-A-{take}.wav' for take, number in enumerate(clip))})
  names, _ = recordings.recordings(listed)
  parts = recordings.parts(listed, names)
  assert parts == recordings.parts(listed[::-1], names[::-1])[::-1]
  for name in set(names):
    assert len({part for part, other in zip(parts, names, strict=True) if other == name}) == 1
  for label in 'abcd':
    own = [part for part, sound in zip(parts, listed, strict=True) if sound.label == label]
    assert 0.1 <= own.count('held_out') / len(own) <= 0.5


def test_two_sounds_are_one_of_each():
  listed = sounds(dog='bark.wav woof.wav', cat='a.wav b.wav')
  parts = recordings.parts(listed, recordings.recordings(listed)[0])
  assert sorted(parts[:2]) == sorted(parts[2:]) == ['held_out', 'train']


def test_no_class_loses_its_last_recording():
  """One of the two recordings of `a` is the smaller one of `b`, too."""
  takes = ' '.join(f'1-3-A-{take}.wav' for take in range(20))
  listed = sounds(a='1-1-A-0.wav 1-2-A-0.wav', b=f'1-2-A-1.wav 1-2-A-2.wav 1-2-A-3.wav {takes}')
  parts = recordings.parts(listed, recordings.recordings(listed)[0])
  trained = {sound.label for sound, part in zip(listed, parts, strict=True) if part == 'train'}
  assert trained == {'a', 'b'}


def test_new_sounds_leave_most_where_they_are():
  before = sounds(dog=' '.join(f'{name}.wav' for name in 'abcdefghijklmnopqrst'))
  after = sounds(dog=' '.join(f'{name}.wav' for name in 'abcdefghijklmnopqrstuvwxy'))
  parts = {}
  for listed in (before, after):
    parts[len(listed)] = recordings.parts(listed, recordings.recordings(listed)[0])
  held = {n: {s.name for s, p in zip(after, ps, strict=False) if p == 'held_out'} for n, ps in parts.items()}
  assert held[20] == {f'dog/{name}.wav' for name in 'dlmq'}  # by names alone: on every machine
  assert len(held[25]) == 5 and len(held[20] & held[25]) >= 2
