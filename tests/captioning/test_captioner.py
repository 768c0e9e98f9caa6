"""Captions of sound with known onsets, for every way of cutting it into rows."""

import functools
import gzip

import media_clips
import numpy as np
import pytest
import soundnets
import tones

from audionet_tf.captioning import captioner, event_detection
from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.inference import windows
from audionet_tf.models import student_settings
from audionet_tf.saved_model import loader, signatures

TONES = [('low', 2.0, 4.0), ('high', 6.0, 8.5), ('low', 9.0, 9.5)]
RULES = event_detection.DetectionConfig(stop=('silence',), merge_seconds=0.1)


@pytest.fixture(scope='module')
def served():
  return tones.student()


def write(path, seconds=12.0, stretches=TONES, **more):
  return media_clips.write(path, seconds, times=[], sounds=[tones.sound(seconds, *stretches)], **more)


@pytest.mark.parametrize(
  ('options', 'hop'),
  [({}, 0.04), ({'window_seconds': 0.5}, 0.5), ({'window_seconds': 0.5, 'hop_seconds': 0.25}, 0.25),
   ({'window_seconds': 0.1, 'blocks': (5, 2, 10)}, 0.2)],
)  # fmt: skip
def test_times_are_those_of_the_sound_within_a_hop(served, tmp_path, options, hop):
  path = write(tmp_path / 'a.wav')
  result = captioner.captions(captioner.predictor(served, **options), path, RULES)
  assert [event.name for event in result.events] == [name for name, *_ in TONES]
  assert [cue.names for cue in result.cues] == [(name,) for name, *_ in TONES]
  for event, cue, (_, start, end) in zip(result.events, result.cues, TONES, strict=True):
    for each, expected_end in ((event, end), (cue, max(end, start + RULES.cue_seconds))):
      assert abs(each.start_seconds - start) <= hop and abs(each.end_seconds - expected_end) <= hop
  assert result.seconds == 12.0 and result.repeats == 1


def test_no_drift(served, tmp_path):
  """The original was 4 % off: a tone behind two minutes is where it is."""
  path = write(tmp_path / 'a.wav', 121.0, [('low', 119.0, 119.6)])
  result = captioner.captions(captioner.predictor(served, 0.1, 0.05), path, RULES)
  (event,) = result.events
  assert abs(event.start_seconds - 119.0) <= 0.05 and abs(event.end_seconds - 119.6) <= 0.05


def test_sound_that_starts_late(served, tmp_path):
  sound = tones.sound(3.0, ('low', 1.0, 2.0))
  path = media_clips.write(tmp_path / 'a.mkv', 4.0, sounds=[sound], sound_start=0.5)
  (event,) = captioner.captions(captioner.predictor(served), path, RULES).events
  assert abs(event.start_seconds - 1.5) <= 0.04 and abs(event.end_seconds - 2.5) <= 0.04


@pytest.mark.parametrize('seconds', [1.2, 1.45, 0.3])
def test_all_of_the_sound_is_heard_and_nothing_behind_it(served, tmp_path, seconds):
  path = write(tmp_path / 'a.wav', seconds, [('low', 0, seconds)])
  result = captioner.captions(captioner.predictor(served, 1.0), path, RULES)
  assert [(event.start_seconds, event.end_seconds) for event in result.events] == [(0, seconds)]
  assert result.seconds == pytest.approx(seconds)


def test_the_last_window_ends_with_the_sound(served):
  pcm = np.arange(1000, dtype=np.int16)
  framing = captioner.predictor(served, 0.02, 0.01).framing  # 320 samples, every 160
  chunks = [(7, pcm[:301]), (308, pcm[301:302]), (309, pcm[302:])]
  *grid, (index, last) = windows.windows(chunks, framing, min_remainder=0.0)
  assert [number for number, _ in grid] == [1, 2, 3, 4]  # the first that the sound covers; 4 ends at sample 960
  assert last.tolist() == pcm[-320:].tolist() and index * 160 == pytest.approx(1007 - 320)
  for samples in (960, 940):  # nothing is left, or one window says it all
    blocks = list(windows.windows([(0, pcm[:samples])], framing, min_remainder=0.0))
    assert len(blocks) == {960: 5, 940: 5}[samples]


def test_two_at_once(served, tmp_path):
  rules = event_detection.DetectionConfig(stop=('silence',), threshold=0.05)
  path = write(tmp_path / 'a.wav', 6.0, [('low', 1, 4), ('high', 3, 5)])
  cues = captioner.captions(captioner.predictor(served), path, rules).cues
  np.testing.assert_allclose([cue.start_seconds for cue in cues], [1, 3, 4], atol=0.04)
  assert [set(cue.names) for cue in cues] == [{'low'}, {'low', 'high'}, {'high'}]


def test_names_and_thresholds_reach_the_events(served, tmp_path):
  rules = event_detection.DetectionConfig(names={'low': 'tone', 'high': 'tone'}, stop=('silence',))
  path = write(tmp_path / 'a.wav', 6.0, [('low', 1, 3), ('high', 3, 5)])
  (event,) = captioner.captions(captioner.predictor(served), path, rules).events
  assert event.name == 'tone' and abs(event.start_seconds - 1) <= 0.04 and abs(event.end_seconds - 5) <= 0.04


def test_blocks_are_heard_as_often_as_they_say(served, tmp_path):
  lengths = []

  def watched(waveform):
    lengths.append(waveform.shape[1])
    return served.signatures['serving_default'](waveform=waveform)

  watching = loader.LoadedExport(served.settings, served.class_names, {'serving_default': watched}, None)
  predictor = captioner.predictor(watching, blocks=(5, 2, 10), batch_size=4)
  captioner.captions(predictor, write(tmp_path / 'a.wav'), RULES)
  assert (predictor.framing.window_seconds, predictor.framing.hop_seconds) == (4.8, 1.92)
  assert lengths == [round(9.6 * tones.RATE)]  # traced once


def test_students_of_patches_hear_as_many_as_a_block_has():
  """A patch of 0.96 s needs 15 ms more: what its last frame hears."""
  settings = student_settings.StudentConfig('vggish_attention', 16000, 'mean', 10.0, {'t': ['a']})
  predictor = captioner.predictor(
    loader.LoadedExport(settings, ['a'], {'serving_default': None}, None), blocks=(5, 2, 10)
  )
  for repeats, patches in ((1, 5), (predictor.repeats, 10)):
    frames = 1 + (repeats * predictor.framing.window_samples - 400) // 160
    assert 1 + (frames - 96) // 96 == patches
  assert predictor.framing.hop_seconds == 1.92


@pytest.mark.parametrize('blocks', [(5, 0, 10), (5, 6, 10), (5, 2, 12), (0, 0, 0), (5, 2, 4)])
def test_blocks_that_do_not_fit(served, blocks):
  with pytest.raises(UserError, match='PATCHES,HOP,TOTAL'):
    captioner.predictor(served, blocks=blocks)


def test_batches_beyond_memory_are_refused(served):
  with pytest.raises(UserError, match=f'batch_size is {10**24}, allowed is 1 to '):
    captioner.predictor(served, batch_size=10**24)


def test_progress_and_packed_files(served, tmp_path):
  path = write(tmp_path / 'a.wav', 60.0)
  (tmp_path / 'a.wav.gz').write_bytes(gzip.compress(path.read_bytes()))
  predictor, reports = captioner.predictor(served, batch_size=100), []
  result = captioner.captions(predictor, tmp_path / 'a.wav.gz', RULES, lambda *seconds: reports.append(seconds))
  assert reports[-1] == (60.0, 60.0) and len(reports) == 15 and reports == sorted(reports)
  assert result == captioner.captions(predictor, path, RULES)
  (tmp_path / 'b.wav.gz').write_bytes(gzip.compress(b'no sound'))
  with pytest.raises(MediaError, match='b.wav.gz: not a media file'):
    captioner.captions(predictor, tmp_path / 'b.wav.gz')


def test_rules_are_checked(served, tmp_path):
  with pytest.raises(UserError, match="no class 'dog'"):
    captioner.captions(captioner.predictor(served), tmp_path / 'a.wav', event_detection.DetectionConfig(stop=('dog',)))


@functools.cache
def stepping():
  """loader.LoadedExport of a small SoundNet, without an export."""
  settings = soundnets.settings('soundnet5')
  model = soundnets.student('soundnet5')
  return loader.LoadedExport(settings, soundnets.NAMES, signatures.all_signatures(model, settings), model)


def test_steps_cover_the_sound(tmp_path):
  path = media_clips.write(tmp_path / 'a.wav', times=[], sounds=[soundnets.noise(1, 14 * 22050)[0]], rate_hz=22050)
  predictor = captioner.predictor(stepping())
  rules = event_detection.DetectionConfig(threshold=1e-6, release=0, merge_seconds=0, top=0, smooth_seconds=0)
  result = captioner.captions(predictor, path, rules)
  # The last of three steps covers 159,774 samples around 28,398.5 + 2 x 98,304; nothing covers the sound after that.
  last = (28_398.5 + 2 * 98_304 + 159_774 / 2) / 22_050
  assert {(event.start_seconds, event.end_seconds) for event in result.events} == {(0, round(last, 6))}


def test_short_sound_of_steps_is_repeated_and_ends_where_it_ends(tmp_path):
  path = media_clips.write(tmp_path / 'a.wav', times=[], sounds=[soundnets.noise(1, 22050)[0]], rate_hz=22050)
  result = captioner.captions(
    captioner.predictor(stepping()), path, event_detection.DetectionConfig(threshold=1e-6, release=0, top=0)
  )
  assert result.repeats == 3 and result.seconds == 1.0
  assert captioner.captions(captioner.predictor(stepping(), window_seconds=4.0), path).repeats == 4
  assert {(event.start_seconds, event.end_seconds) for event in result.events} == {(0, 1.0)}


def test_seconds_of_unknown_sound_are_counted_once(tmp_path):
  """Silence is what this student calls unknown."""
  path = write(tmp_path / 'a.wav', 12.0)
  student = tones.student(['unknown', 'low', 'high'])
  silent = 12.0 - sum(end - start for _, start, end in TONES)
  for options, most in (
    ({}, 0.04),
    ({'window_seconds': 0.5}, 0.5),
    ({'window_seconds': 0.5, 'hop_seconds': 0.25}, 0.5),
  ):
    result = captioner.captions(captioner.predictor(student, **options), path)
    assert {event.name for event in result.events} == {'low', 'high'}
    assert abs(result.unknown_seconds - silent) <= most * len(TONES)
  assert captioner.captions(captioner.predictor(tones.student()), path).unknown_seconds is None
  shown = captioner.captions(captioner.predictor(student), path, event_detection.DetectionConfig(unknown=True))
  assert abs(sum(e.end_seconds - e.start_seconds for e in shown.events if e.name == 'unknown') - silent) <= 0.2
