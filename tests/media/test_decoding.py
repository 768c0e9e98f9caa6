"""Sound and pictures by presentation time, on clips whose grey levels and sample values encode the time."""

import os
import subprocess
import sys
import wave
from fractions import Fraction

import av
import media_clips
import numpy as np
import pytest
import scipy.signal

from audionet_tf.core.errors import MediaError
from audionet_tf.media import decoding


def test_pictures_carry_their_times(tmp_path):
  pictures = media_clips.decode_pictures(media_clips.write(tmp_path / 'a.mkv'))
  assert [start for start, _, _ in pictures] == media_clips.frames_at(25, 1)
  assert [end for _, end, _ in pictures[:-1]] == [start for start, _, _ in pictures[1:]]
  assert 1 <= pictures[-1][1] <= Fraction(1001, 1000)
  assert [picture[8, 8, 0] for _, _, picture in pictures] == [media_clips.grey(start, 1) for start, _, _ in pictures]


def test_variable_frame_rate(tmp_path):
  times = [Fraction(ms, 1000) for ms in (0, 15, 100, 400, 410, 900)]
  pictures = media_clips.decode_pictures(media_clips.write(tmp_path / 'a.mkv', times=times))
  assert [start for start, _, _ in pictures] == times
  assert [picture[8, 8, 0] for _, _, picture in pictures] == [media_clips.grey(t, 1) for t in times]


def test_late_picture_and_late_sound(tmp_path):
  late_picture = media_clips.write(
    tmp_path / 'a.mkv', times=[t + Fraction(1, 2) for t in media_clips.frames_at(25, 0.4)]
  )
  assert media_clips.decode_pictures(late_picture)[0][0] == Fraction(1, 2)
  late_sound = media_clips.write(tmp_path / 'b.mkv', sound_start=0.3)
  start, samples = media_clips.decode_sound(late_sound)
  assert start == 4800
  np.testing.assert_allclose(samples, media_clips.ramp(media_clips.RATE_HZ, media_clips.RATE_HZ, 1), atol=1e-4)


def test_timeline_that_does_not_start_at_zero(tmp_path):
  path = tmp_path / 'a.ts'
  media_clips.write(path, **{**media_clips.CODED, 'video_codec': 'mpeg2video', 'tick': Fraction(1, 25)})
  with av.open(str(path)) as container:
    assert container.start_time > 0
    starts = {s.type: s.start_time * s.time_base for s in container.streams}
  start, _ = media_clips.decode_sound(path)
  lead = starts['video'] - min(starts.values())
  assert start == 0
  assert media_clips.decode_pictures(path)[0][0] == (0 if lead <= Fraction(30, 1000) else lead)


@pytest.mark.parametrize('sample_rate_hz', [8000, 11025, 22050, 44100, 48000])
@pytest.mark.parametrize('start', [0, 0.333])
def test_resampling_has_no_delay_and_the_level_of_scipy(tmp_path, sample_rate_hz, start):
  """A short tone at a known time, against scipy's polyphase filter and against the formula."""
  t = np.arange(sample_rate_hz) / sample_rate_hz
  sound = 0.8 * np.exp(-(((t - 0.5) / 0.002) ** 2)) * np.sin(2 * np.pi * 500 * t)
  first, samples = media_clips.decode_sound(
    media_clips.write(tmp_path / 'a.wav', times=[], sounds=[sound], rate_hz=sample_rate_hz)
  )
  expected = scipy.signal.resample_poly(sound, media_clips.RATE_HZ, sample_rate_hz)
  assert first == 0
  assert len(samples) == media_clips.RATE_HZ
  np.testing.assert_allclose(samples, expected, atol=2e-3)
  if start:  # samples lie on the same grid wherever the sound starts
    path = media_clips.write(tmp_path / 'b.mkv', sounds=[sound], rate_hz=sample_rate_hz, sound_start=start)
    first, samples = media_clips.decode_sound(path)
    times = (first + np.arange(len(samples))) / media_clips.RATE_HZ - round(start * sample_rate_hz) / sample_rate_hz
    exact = 0.8 * np.exp(-(((times - 0.5) / 0.002) ** 2)) * np.sin(2 * np.pi * 500 * times)
    np.testing.assert_allclose(samples, exact, atol=2e-3)


def test_a_tone_above_half_the_rate_is_gone_and_one_below_stays(tmp_path):
  t = np.arange(48000) / 48000
  for hertz, low, high in ((9500, 0, 0.01), (12000, 0, 0.001), (6000, 0.35, 0.36)):
    tone = (0.5 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)
    _, samples = media_clips.decode_sound(
      media_clips.write(tmp_path / f'{hertz}.wav', times=[], sounds=[tone], rate_hz=48000)
    )
    level = np.sqrt(np.mean(samples[1000:-1000] ** 2))
    assert low <= level <= high, (hertz, level)


@pytest.mark.parametrize('codec', ['pcm_u8', 'pcm_s32le', 'pcm_f32le', 'flac'])
def test_sample_formats(tmp_path, codec):
  path = tmp_path / ('a.flac' if codec == 'flac' else 'a.wav')
  ramp = media_clips.ramp(media_clips.RATE_HZ, media_clips.RATE_HZ, 1)
  if codec == 'pcm_u8':
    with wave.open(str(path), 'wb') as out:
      out.setnchannels(1), out.setsampwidth(1), out.setframerate(media_clips.RATE_HZ)
      out.writeframes(np.rint(ramp * 127 + 128).astype(np.uint8).tobytes())
  else:
    media_clips.write(path, times=[], sounds=[ramp], audio_codec=codec)
  _, samples = media_clips.decode_sound(path)
  np.testing.assert_allclose(samples, ramp, atol=1e-2 if codec == 'pcm_u8' else 1e-4)


def test_mixdown_of_stereo(tmp_path):
  left, right = np.full(media_clips.RATE_HZ, 0.5, np.float32), np.full(media_clips.RATE_HZ, -0.1, np.float32)
  path = media_clips.write(tmp_path / 'a.mkv', sounds=[np.stack([left, right])])
  np.testing.assert_allclose(media_clips.decode_sound(path)[1], 0.2, atol=1e-4)
  np.testing.assert_allclose(media_clips.decode_sound(path, mono='first')[1], 0.5, atol=1e-4)


def test_the_default_of_two_sound_streams_is_decoded(tmp_path):
  quiet, loud = np.full(media_clips.RATE_HZ, 0.1, np.float32), np.full(media_clips.RATE_HZ, 0.6, np.float32)
  path = media_clips.write(tmp_path / 'a.mkv', sounds=[quiet, loud])
  with av.open(str(path)) as container:
    expected = {0: 0.1, 1: 0.6}[container.streams.audio.index(container.streams.best('audio'))]
  np.testing.assert_allclose(media_clips.decode_sound(path)[1], expected, atol=1e-4)


def test_max_seconds_truncates(tmp_path):
  start, samples = media_clips.decode_sound(media_clips.write(tmp_path / 'a.mkv', seconds=3), max_seconds=1.25)
  assert (start, len(samples)) == (0, 20000)


def test_max_seconds_before_the_sound_starts_gives_nothing(tmp_path):
  path = media_clips.write(tmp_path / 'a.mkv', seconds=3, sound_start=2)
  assert list(decoding.decode_audio(path, 16000, max_seconds=1.25)) == []


def test_no_duration_in_the_container(tmp_path):
  path = media_clips.write(tmp_path / 'a.mkv', format='matroska', options={'live': '1'})
  assert b'\x44\x89\x88' not in path.read_bytes()[:1000]  # Matroska's element of that name
  assert len(media_clips.decode_sound(path)[1]) == media_clips.RATE_HZ
  assert len(media_clips.decode_pictures(path)) == 25


ONE = 1 << 16


@pytest.mark.parametrize(
  'matrix, expected',
  [
    ((ONE, 0, 0, ONE), [[30, 90], [150, 210]]),
    ((0, ONE, -ONE, 0), [[150, 30], [210, 90]]),  # a quarter turn clockwise
    ((0, -ONE, ONE, 0), [[90, 210], [30, 150]]),
    ((-ONE, 0, 0, -ONE), [[210, 150], [90, 30]]),
    ((-ONE, 0, 0, ONE), [[90, 30], [210, 150]]),  # mirrored
  ],
)
def test_the_display_matrix_turns_pictures_upright(tmp_path, matrix, expected):
  a, b, c, d = matrix
  options = {'video_codec': 'mpeg4', 'pix_fmt': 'yuv420p', 'audio_codec': 'aac', 'tick': Fraction(1, 12800)}
  path = tmp_path / 'a.mp4'
  media_clips.write(path, picture=lambda t: media_clips.QUADRANTS, matrix=[a, b, 0, c, d, 0, 0, 0, 1 << 30], **options)
  picture = media_clips.decode_pictures(path, size=32)[3][2]
  assert picture.shape == (32, 32, 3)
  np.testing.assert_allclose(picture[8::16, 8::16, 0], expected, atol=12)


def test_fine_stripes_do_not_alias(tmp_path):
  """Lines one pixel wide are grey when shrunk; picking every n-th pixel would give black or white."""
  stripes = np.tile(np.array([[0, 255]], np.uint8), (480, 320))
  path = media_clips.write(tmp_path / 'a.mkv', seconds=0.2, picture=lambda t: stripes, size=(640, 480))
  picture = media_clips.decode_pictures(path, size=64)[0][2]
  np.testing.assert_allclose(picture[2:-2, 2:-2], 127, atol=6)


def test_colours_survive(tmp_path):
  red = np.zeros((48, 64, 3), np.uint8) + np.array([200, 30, 60], np.uint8)
  path = media_clips.write(tmp_path / 'a.mkv', picture=lambda t: red, pix_fmt='yuv444p')
  np.testing.assert_allclose(media_clips.decode_pictures(path)[0][2][8, 8], [200, 30, 60], atol=4)


def test_error_names_the_missing_stream(tmp_path):
  with pytest.raises(MediaError, match='no sound'):
    media_clips.decode_sound(media_clips.write(tmp_path / 'a.mkv', sounds=[]))
  with pytest.raises(MediaError, match='no picture'):
    media_clips.decode_pictures(media_clips.write(tmp_path / 'a.wav', times=[]))


def test_cover_picture_is_not_a_video(tmp_path):
  path = tmp_path / 'a.mp3'
  with av.open(str(path), 'w') as out:
    sound = out.add_stream('libmp3lame', rate=44100, layout='mono')
    cover = out.add_stream('mjpeg', rate=1)
    cover.width, cover.height, cover.pix_fmt = 64, 48, 'yuvj420p'
    cover.disposition = av.stream.Disposition.attached_pic
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.int32), 's32p', 'mono')
    frame.sample_rate = 44100
    picture = av.VideoFrame.from_ndarray(media_clips.QUADRANTS, 'gray').reformat(format='yuvj420p')
    out.mux([*cover.encode(picture), *cover.encode(None)])
    out.mux([*sound.encode(frame), *sound.encode(None)])
  assert len(media_clips.decode_sound(path)[1]) > 15000
  with pytest.raises(MediaError, match='no picture'):
    media_clips.decode_pictures(path)


@pytest.mark.skipif(not os.path.exists('/proc/self/status'), reason='peak memory is read from /proc')
def test_memory_does_not_grow_with_length(tmp_path):
  """Compares peak memory for a clip and for one sixty times as long, each decoded in a process of its own."""
  program = (
    'import re, sys\n'
    'from audionet_tf.media import decoding\n'
    'n = sum(1 for _ in decoding.decode_audio(sys.argv[1], 16000))\n'
    'n += sum(1 for _ in decoding.decode_frames(sys.argv[1]))\n'
    'print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])\n'
  )
  peaks = []
  for seconds in (2, 120):
    path = media_clips.write(tmp_path / f'{seconds}.mkv', seconds=seconds, fps=10, size=(320, 240), rate_hz=44100)
    peaks.append(int(subprocess.check_output([sys.executable, '-c', program, str(path)])))
  assert peaks[1] < peaks[0] + 6_000  # KiB


@pytest.mark.parametrize('rates_hz', [(44100, 48000), (48000, 22050), (16000, 44100, 8000, 11025)])
def test_a_sample_rate_that_changes(rates_hz):
  """A tone goes on from rate to rate: nothing is missing, nothing is shifted, by the formula."""
  blocks, seconds = [], Fraction(0)
  for rate in rates_hz:
    times = seconds + np.arange(rate, dtype=object) * Fraction(1, rate)  # a second each
    samples = (0.5 * np.sin(2 * np.pi * 300 * times.astype(np.float64))).astype(np.float32)
    blocks += [(None, rate, samples[i : i + 1000]) for i in range(0, rate, 1000)]
    seconds += 1
  chunks = list(decoding.pcm_chunks(iter(blocks), media_clips.RATE_HZ))
  for (start, piece), (following, _) in zip(chunks, chunks[1:], strict=False):
    assert start + len(piece) == following
  sound = np.concatenate([piece for _, piece in chunks]) / 32768
  times = np.arange(len(rates_hz) * media_clips.RATE_HZ) / media_clips.RATE_HZ
  assert len(sound) == len(times)
  away = np.abs(times - np.rint(times)) > 0.01  # the filters begin anew where the rate changes
  np.testing.assert_allclose(sound[away], 0.5 * np.sin(2 * np.pi * 300 * times[away]), atol=5e-3)
  assert np.abs(np.diff(sound)).max() < 0.5


@pytest.mark.parametrize('name, codec', [('a.mp3', 'libmp3lame'), ('a.aac', 'aac'), ('a.ts', 'mp2')])
@pytest.mark.parametrize('channels', [(1, 1), (1, 2)])
def test_files_whose_rate_and_channels_change(tmp_path, name, codec, channels):
  whole = b''
  for rate_hz, hertz, count in zip((44100, 48000), (440, 880), channels, strict=True):
    sound = np.stack([media_clips.tone(hertz, 2, rate_hz)] * count)
    options = {'format': 'adts'} if name == 'a.aac' else {}
    part = tmp_path / f'{rate_hz}{name}'
    media_clips.write(part, times=[], sounds=[sound], rate_hz=rate_hz, audio_codec=codec, **options)
    whole += part.read_bytes()
  (tmp_path / name).write_bytes(whole)
  start, samples = media_clips.decode_sound(tmp_path / name)
  assert start == 0 and len(samples) / 16000 == pytest.approx(4, abs=0.12)
  assert media_clips.pitch(samples[4000:28000]) == pytest.approx(440, abs=2)
  assert media_clips.pitch(samples[40000:60000]) == pytest.approx(880, abs=2)
  assert np.abs(samples[40000:60000].reshape(-1, 50)).max(1).min() > 0.4  # no gap in the tone


def test_a_pause_of_the_recorder_is_silence(tmp_path):
  path = tmp_path / 'a.mkv'
  with av.open(str(path), 'w') as out:
    stream = out.add_stream('pcm_s16le', rate=16000, layout='mono')
    for start in (*range(0, 48000, 1000), *range(123 * 16000, 126 * 16000, 1000)):
      frame = av.AudioFrame.from_ndarray(np.full((1, 1000), 10_000, np.int16), 's16', 'mono')
      frame.sample_rate, frame.time_base, frame.pts = 16000, Fraction(1, 16000), start
      out.mux(stream.encode(frame))
    out.mux(stream.encode(None))
  start, samples = media_clips.decode_sound(path)
  assert start == 0 and len(samples) == 126 * 16000
  loud = np.flatnonzero(samples > 0.1)
  np.testing.assert_allclose([loud[0], len(loud), loud[-1]], [0, 6 * 16000, len(samples) - 1], atol=100)


def test_metadata_that_are_no_text_do_no_harm(tmp_path):
  media_clips.write(tmp_path / 'a.wav', times=[], sounds=[media_clips.ramp(8000, 16000, 0.5)])
  whole = (tmp_path / 'a.wav').read_bytes()
  title = b'INFOINAM' + (4).to_bytes(4, 'little') + b'caf\xe9'  # Latin-1
  place = whole.index(b'data')
  chunk = b'LIST' + len(title).to_bytes(4, 'little') + title
  (tmp_path / 'b.wav').write_bytes(whole[:place] + chunk + whole[place:])
  np.testing.assert_array_equal(
    media_clips.decode_sound(tmp_path / 'b.wav')[1], media_clips.decode_sound(tmp_path / 'a.wav')[1]
  )
