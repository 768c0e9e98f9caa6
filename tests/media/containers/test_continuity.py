"""Files whose clock begins anew, leaps, or is wrong for a moment: nothing is lost, sound and pictures stay together."""

import types
from fractions import Fraction

import media_clips
import numpy as np
import pytest

from audionet_tf.core.errors import MediaError
from audionet_tf.media.containers import continuity, joined

TS = {'video_codec': 'mpeg2video', 'pix_fmt': 'yuv420p', 'tick': Fraction(1, 25)}
TS |= {'audio_codec': 'mp2', 'rate_hz': 48000}
GREYS = [lambda t, level=level: np.full((48, 64), level, np.uint8) for level in (60, 190)]  # of each recording


class Stamped:
  """A packet as far as its clock goes."""

  def __init__(self, stream, dts, duration=40):
    self.stream, self.dts, self.pts, self.duration, self.time_base = stream, dts, dts, duration, Fraction(1, 1000)


SOUND, PICTURES, SUBTITLES = (
  types.SimpleNamespace(index=index, type=kind) for index, kind in enumerate(('audio', 'video', 'subtitle'))
)


def stamps(packets, may_leap=False):
  """List of (stream index, dts in ms) after `continuous`, in the order of streams, then of packets."""
  moved = [(packet.stream.index, packet.dts) for packet in continuity.continuous(iter(packets), may_leap)]
  return [dts for index, dts in moved if index == 0], [dts for index, dts in moved if index == 1]


def series(stream, start, count):
  return [Stamped(stream, start + 40 * i) for i in range(count)]


def test_stamps_that_begin_anew_continue():
  for start in (0, 500, 900):  # of the second recording; the first begins at 1000
    sound, _ = stamps(series(SOUND, 1000, 50) + series(SOUND, start, 50))
    assert sound == [1000 + 40 * i for i in range(100)]
  sound, _ = stamps([packet for start in (5000, 100, 0, 300) for packet in series(SOUND, start, 50)])
  assert sound == [5000 + 40 * i for i in range(200)]


def test_sound_and_pictures_keep_their_distance():
  first = [p for pair in zip(series(PICTURES, 23, 50), series(SOUND, 0, 50), strict=True) for p in pair]
  second = [p for pair in zip(series(PICTURES, 23, 50), series(SOUND, 0, 50), strict=True) for p in pair]
  late = first.pop()  # packets of the first recording come among those of the second, as transport streams have it
  sound, pictures = stamps(first + second[:1] + [late] + second[1:])
  assert pictures == [23 + 40 * i for i in range(100)]
  assert sound == [40 * i for i in range(100)]


def test_a_leap_is_a_pause_unless_it_is_too_long_for_one():
  packets = series(SOUND, 0, 50) + series(SOUND, 122_000, 50)
  assert stamps(packets, may_leap=True)[0][50:] == [122_000 + 40 * i for i in range(50)]
  leap = [0, 90_000_000]  # another day's recording
  days = [packet for start in leap for packet in series(SOUND, start, 50)]
  assert stamps(days, may_leap=True)[0] == [40 * i for i in range(100)]
  days = [packet for start in leap for packet in series(SOUND, start, 50)]
  assert stamps(days, may_leap=False)[0][50:] == [90_000_000 + 40 * i for i in range(50)]


def test_subtitles_come_when_they_come_and_move_with_the_rest():
  packets = series(SOUND, 0, 100) + [Stamped(SUBTITLES, 3900)] + series(SOUND, 0, 50) + [Stamped(SUBTITLES, 1500)]
  moved = list(continuity.continuous(iter(packets), False))
  assert [(i, p.dts) for i, p in enumerate(moved) if p.stream is SUBTITLES] == [(100, 3900), (151, 5500)]


@pytest.mark.parametrize('wrong', [0, 100_000, 5_000_000])
def test_a_single_wrong_stamp_moves_nothing(wrong):
  packets = series(SOUND, 4000, 50)
  packets[20].dts = packets[20].pts = wrong
  assert stamps(packets, may_leap=True)[0] == [4000 + 40 * i for i in range(50)]


def test_packets_without_a_stamp_are_kept():
  packets = series(SOUND, 4000, 50) + [*series(SOUND, 0, 3), Stamped(SOUND, None), Stamped(SOUND, None)]
  sound, _ = stamps(packets)
  assert sound == [4000 + 40 * i for i in range(53)] + [None, None]
  packets = series(SOUND, 0, 5) + series(SOUND, 9000, 1)  # the last of all jumps
  assert stamps(packets)[0] == [0, 40, 80, 120, 160, 9000]


@pytest.mark.parametrize('rate', [1000, 44100, 90000, 3])  # of ticks; a third of a second: half of one is none
@pytest.mark.parametrize('sign', [1, -1])
def test_a_jump_is_more_than_half_a_second(rate, sign):
  def second_of_two(ticks):
    packets = [Stamped(SOUND, 10 * rate, rate), Stamped(SOUND, 11 * rate + sign * ticks, rate)]
    packets += [Stamped(SOUND, packets[1].dts + n * rate, rate) for n in (1, 2)]  # so that it is not a single one
    for packet in packets:
      packet.time_base = Fraction(1, rate)
    return [packet.dts - 10 * rate for packet in continuity.continuous(iter(packets), False)][1]

  within = rate // 2
  assert second_of_two(within) == rate + sign * within
  beyond = within + 1
  assert second_of_two(beyond) == (rate + beyond if sign > 0 else rate)  # a pause; a clock that begins anew


def test_packets_that_follow_one_another_are_not_counted_in_fractions(monkeypatch):
  monkeypatch.setattr(continuity, '_stamp', lambda packet: counted.append(packet) or packet.dts * packet.time_base)
  counted = []
  packets = series(SOUND, 0, 50) + series(PICTURES, 20, 50)
  assert stamps(packets) == ([40 * i for i in range(50)], [20 + 40 * i for i in range(50)])
  assert {packet.dts for packet in counted} == {0, 20}  # the first of each


@pytest.mark.parametrize(
  'name, later',  # seconds by which the second recording's clock is ahead
  [('a.ts', 0), ('a.ts', 3), ('a.ts', 90_000), ('a.mpg', 0), ('a.mpg', 90_000)],
)
def test_two_recordings_in_one_file(tmp_path, name, later):
  whole = b''
  for number, start in enumerate((0, later)):
    sound = media_clips.tone(440 if number == 0 else 880, 2, TS['rate_hz'])
    times = [t + start for t in media_clips.frames_at(25, 2)]
    path = tmp_path / f'{number}.{name}'
    media_clips.write(path, 2, times=times, sounds=[sound], sound_start=start, **TS, picture=GREYS[number])
    whole += path.read_bytes()
  (tmp_path / name).write_bytes(whole)
  single = media_clips.decode_sound(tmp_path / f'0.{name}')[1]
  start, samples = media_clips.decode_sound(tmp_path / name)
  hole = 3 - 2 if later == 3 else 0  # of the clock
  assert start == 0 and len(samples) / 16000 == pytest.approx(2 * len(single) / 16000 + hole, abs=0.1)
  assert media_clips.pitch(samples[4000:28000]) == pytest.approx(440, abs=2)
  assert media_clips.pitch(samples[-28000:-4000]) == pytest.approx(880, abs=2)
  pictures = media_clips.decode_pictures(tmp_path / name)
  assert len(pictures) == 100
  greys = np.array([picture[8, 8, 0] for _, _, picture in pictures])
  assert (abs(greys[:49].astype(int) - 60) < 12).all() and (abs(greys[51:].astype(int) - 190) < 12).all()
  change = float(pictures[50][0])  # pictures of the second part begin with its sound
  assert abs(change - 2 - hole) < 0.1


@pytest.mark.parametrize(
  'codec, rate_hz, start',  # of the first: a radio station's stream may be recorded from its middle
  [('libopus', 48000, 0), ('libopus', 48000, 300), ('flac', 16000, 0), ('vorbis', 44100, 0), ('vorbis', 44100, 300)],
)
def test_chained_ogg(tmp_path, codec, rate_hz, start):
  whole = b''
  for number, hertz in enumerate((440, 880)):
    path = tmp_path / f'{number}.ogg'
    sound = np.stack([media_clips.tone(hertz, 2, rate_hz)] * 2)
    begin = start if number == 0 else 0
    media_clips.write(path, times=[], sounds=[sound], rate_hz=rate_hz, audio_codec=codec, sound_start=begin)
    whole += path.read_bytes()
  (tmp_path / 'a.ogg').write_bytes(whole)
  start, samples = media_clips.decode_sound(tmp_path / 'a.ogg')
  assert start == 0 and len(samples) / 16000 == pytest.approx(4, abs=0.05)
  assert media_clips.pitch(samples[4000:28000]) == pytest.approx(440, abs=2)
  assert media_clips.pitch(samples[36000:60000]) == pytest.approx(880, abs=2)


def test_what_no_decoder_follows_is_said(tmp_path, monkeypatch):
  monkeypatch.setattr(joined, '_sound_format', lambda packet: set())  # as of a codec that is not known there
  for rate_hz in (44100, 48000):
    sound = np.stack([media_clips.tone(440, 1, rate_hz)] * 2)
    media_clips.write(tmp_path / f'{rate_hz}.ogg', times=[], sounds=[sound], rate_hz=rate_hz, audio_codec='vorbis')
  (tmp_path / 'a.ogg').write_bytes(b''.join((tmp_path / f'{rate}.ogg').read_bytes() for rate in (44100, 48000)))
  with pytest.raises(MediaError, match=r'a\.ogg: damaged.*changes midway: convert each recording'):
    media_clips.decode_sound(tmp_path / 'a.ogg')
