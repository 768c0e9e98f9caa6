"""Sound and pictures by presentation time, on clips in which grey and value tell the time."""

import contextlib
import gzip
import io
import os
import subprocess
import sys
import wave
from fractions import Fraction

import av
import clips
import numpy as np
import pytest
import scipy.signal
from PIL import Image

from audionet_tf import local_files, media
from audionet_tf.errors import MediaError

RATE_HZ = 16000
CODED = {'video_codec': 'mpeg4', 'pix_fmt': 'yuv420p', 'audio_codec': 'aac', 'rate_hz': 44100}


def heard(path, rate_hz=RATE_HZ, **kwargs):
  """(first sample, float [n] in [-1, 1])."""
  chunks = list(media.sound_chunks(path, rate_hz, **kwargs))
  for (start, piece), (following, _) in zip(chunks, chunks[1:], strict=False):
    assert start + len(piece) == following
  return chunks[0][0], np.concatenate([piece for _, piece in chunks]) / 32768


def seen(path, size=16):
  """List of (start, end, u8 [size, size, 3])."""
  small = media.picture_maker(size)
  return [(start, end, small(frame)) for start, end, frame in media.pictures(path)]


def test_pictures_carry_their_times(tmp_path):
  found = seen(clips.write(tmp_path / 'a.mkv'))
  assert [start for start, _, _ in found] == clips.frames_at(25, 1)
  assert [end for _, end, _ in found[:-1]] == [start for start, _, _ in found[1:]]
  assert 1 <= found[-1][1] <= Fraction(1001, 1000)
  assert [picture[8, 8, 0] for _, _, picture in found] == [clips.grey(start, 1) for start, _, _ in found]


def test_variable_frame_rate(tmp_path):
  times = [Fraction(ms, 1000) for ms in (0, 15, 100, 400, 410, 900)]
  found = seen(clips.write(tmp_path / 'a.mkv', times=times))
  assert [start for start, _, _ in found] == times
  assert [picture[8, 8, 0] for _, _, picture in found] == [clips.grey(t, 1) for t in times]


def test_late_picture_and_late_sound(tmp_path):
  late_picture = clips.write(tmp_path / 'a.mkv', times=[t + Fraction(1, 2) for t in clips.frames_at(25, 0.4)])
  assert seen(late_picture)[0][0] == Fraction(1, 2)
  late_sound = clips.write(tmp_path / 'b.mkv', sound_start=0.3)
  start, samples = heard(late_sound)
  assert start == 4800
  np.testing.assert_allclose(samples, clips.ramp(RATE_HZ, RATE_HZ, 1), atol=1e-4)


def test_a_timeline_need_not_start_at_zero(tmp_path):
  path = tmp_path / 'a.ts'
  clips.write(path, **{**CODED, 'video_codec': 'mpeg2video', 'tick': Fraction(1, 25)})
  with av.open(str(path)) as container:
    assert container.start_time > 0
    starts = {s.type: s.start_time * s.time_base for s in container.streams}
  start, _ = heard(path)
  lead = starts['video'] - min(starts.values())
  assert start == 0
  assert seen(path)[0][0] == (0 if lead <= Fraction(30, 1000) else lead)


@pytest.mark.parametrize('sample_rate_hz', [8000, 11025, 22050, 44100, 48000])
@pytest.mark.parametrize('start', [0, 0.333])
def test_resampling_has_no_delay_and_the_level_of_scipy(tmp_path, sample_rate_hz, start):
  """A short tone at a known time, against scipy's polyphase filter and against the formula."""
  t = np.arange(sample_rate_hz) / sample_rate_hz
  sound = 0.8 * np.exp(-(((t - 0.5) / 0.002) ** 2)) * np.sin(2 * np.pi * 500 * t)
  first, samples = heard(clips.write(tmp_path / 'a.wav', times=[], sounds=[sound], rate_hz=sample_rate_hz))
  expected = scipy.signal.resample_poly(sound, RATE_HZ, sample_rate_hz)
  assert first == 0
  assert len(samples) == RATE_HZ
  np.testing.assert_allclose(samples, expected, atol=2e-3)
  if start:  # on the same grid wherever the sound begins
    path = clips.write(tmp_path / 'b.mkv', sounds=[sound], rate_hz=sample_rate_hz, sound_start=start)
    first, samples = heard(path)
    times = (first + np.arange(len(samples))) / RATE_HZ - round(start * sample_rate_hz) / sample_rate_hz
    exact = 0.8 * np.exp(-(((times - 0.5) / 0.002) ** 2)) * np.sin(2 * np.pi * 500 * times)
    np.testing.assert_allclose(samples, exact, atol=2e-3)


def test_a_tone_above_half_the_rate_is_gone_and_one_below_stays(tmp_path):
  t = np.arange(48000) / 48000
  for hertz, low, high in ((9500, 0, 0.01), (12000, 0, 0.001), (6000, 0.35, 0.36)):
    tone = (0.5 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)
    _, samples = heard(clips.write(tmp_path / f'{hertz}.wav', times=[], sounds=[tone], rate_hz=48000))
    level = np.sqrt(np.mean(samples[1000:-1000] ** 2))
    assert low <= level <= high, (hertz, level)


@pytest.mark.parametrize('codec', ['pcm_u8', 'pcm_s32le', 'pcm_f32le', 'flac'])
def test_sample_formats(tmp_path, codec):
  path = tmp_path / ('a.flac' if codec == 'flac' else 'a.wav')
  ramp = clips.ramp(RATE_HZ, RATE_HZ, 1)
  if codec == 'pcm_u8':
    with wave.open(str(path), 'wb') as out:
      out.setnchannels(1), out.setsampwidth(1), out.setframerate(RATE_HZ)
      out.writeframes(np.rint(ramp * 127 + 128).astype(np.uint8).tobytes())
  else:
    clips.write(path, times=[], sounds=[ramp], audio_codec=codec)
  _, samples = heard(path)
  np.testing.assert_allclose(samples, ramp, atol=1e-2 if codec == 'pcm_u8' else 1e-4)


def test_mixing_down(tmp_path):
  left, right = np.full(RATE_HZ, 0.5, np.float32), np.full(RATE_HZ, -0.1, np.float32)
  path = clips.write(tmp_path / 'a.mkv', sounds=[np.stack([left, right])])
  np.testing.assert_allclose(heard(path)[1], 0.2, atol=1e-4)
  np.testing.assert_allclose(heard(path, mono='first')[1], 0.5, atol=1e-4)


def test_of_two_sound_streams_the_default_one(tmp_path):
  quiet, loud = np.full(RATE_HZ, 0.1, np.float32), np.full(RATE_HZ, 0.6, np.float32)
  path = clips.write(tmp_path / 'a.mkv', sounds=[quiet, loud])
  with av.open(str(path)) as container:
    wanted = {0: 0.1, 1: 0.6}[container.streams.audio.index(container.streams.best('audio'))]
  np.testing.assert_allclose(heard(path)[1], wanted, atol=1e-4)


def test_max_seconds_stops(tmp_path):
  start, samples = heard(clips.write(tmp_path / 'a.mkv', seconds=3), max_seconds=1.25)
  assert (start, len(samples)) == (0, 20000)


def test_no_duration_in_the_container(tmp_path):
  path = clips.write(tmp_path / 'a.mkv', format='matroska', options={'live': '1'})
  assert b'\x44\x89\x88' not in path.read_bytes()[:1000]  # Matroska's element of that name
  assert len(heard(path)[1]) == RATE_HZ
  assert len(seen(path)) == 25


QUADRANTS = np.kron(np.array([[30, 90], [150, 210]], np.uint8), np.ones((24, 32), np.uint8))
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
  clips.write(path, picture=lambda t: QUADRANTS, matrix=[a, b, 0, c, d, 0, 0, 0, 1 << 30], **options)
  picture = seen(path, size=32)[3][2]
  assert picture.shape == (32, 32, 3)
  np.testing.assert_allclose(picture[8::16, 8::16, 0], expected, atol=12)


def test_fine_stripes_do_not_alias(tmp_path):
  """Lines one pixel wide are grey when shrunk; picking every n-th pixel would give black or white."""
  stripes = np.tile(np.array([[0, 255]], np.uint8), (480, 320))
  path = clips.write(tmp_path / 'a.mkv', seconds=0.2, picture=lambda t: stripes, size=(640, 480))
  picture = seen(path, size=64)[0][2]
  np.testing.assert_allclose(picture[2:-2, 2:-2], 127, atol=6)


def test_colours_survive(tmp_path):
  red = np.zeros((48, 64, 3), np.uint8) + np.array([200, 30, 60], np.uint8)
  path = clips.write(tmp_path / 'a.mkv', picture=lambda t: red, pix_fmt='yuv444p')
  np.testing.assert_allclose(seen(path)[0][2][8, 8], [200, 30, 60], atol=4)


def test_what_is_missing_is_named(tmp_path):
  with pytest.raises(MediaError, match='no sound'):
    heard(clips.write(tmp_path / 'a.mkv', sounds=[]))
  with pytest.raises(MediaError, match='no picture'):
    seen(clips.write(tmp_path / 'a.wav', times=[]))


def test_a_cover_is_not_a_video(tmp_path):
  path = tmp_path / 'a.mp3'
  with av.open(str(path), 'w') as out:
    sound = out.add_stream('libmp3lame', rate=44100, layout='mono')
    cover = out.add_stream('mjpeg', rate=1)
    cover.width, cover.height, cover.pix_fmt = 64, 48, 'yuvj420p'
    cover.disposition = av.stream.Disposition.attached_pic
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.int32), 's32p', 'mono')
    frame.sample_rate = 44100
    picture = av.VideoFrame.from_ndarray(QUADRANTS, 'gray').reformat(format='yuvj420p')
    out.mux([*cover.encode(picture), *cover.encode(None)])
    out.mux([*sound.encode(frame), *sound.encode(None)])
  assert len(heard(path)[1]) > 15000
  with pytest.raises(MediaError, match='no picture'):
    seen(path)


@pytest.mark.parametrize('name, options', [
  ('a.mkv', {}),
  ('live.mkv', {'format': 'matroska', 'options': {'live': '1'}}),
  ('a.mp4', {**CODED, 'tick': Fraction(1, 12800)}),
  ('fast.mp4', {**CODED, 'tick': Fraction(1, 12800), 'options': {'movflags': 'faststart'}}),
  ('pieces.mp4', {**CODED, 'tick': Fraction(1, 12800), 'options': {'movflags': 'frag_keyframe+empty_moov'}}),
  ('a.avi', {**CODED, 'audio_codec': 'pcm_s16le', 'tick': Fraction(1, 25)}),
  ('a.wav', {'times': []}),
])  # fmt: skip
def test_truncation_is_noticed(tmp_path, name, options):
  path = clips.write(tmp_path / name, seconds=2, **options)
  whole = path.read_bytes()
  assert not local_files.cut_short(path)
  assert len(heard(path)[1]) >= 31000
  for share in (0.5, 0.95):
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(MediaError, match='truncated'):
      heard(path)


def test_damage_is_noticed_and_a_scratch_is_not(tmp_path):
  path = clips.write(tmp_path / 'a.mp4', seconds=4, fps=50, tick=Fraction(1, 12800), **CODED)
  whole = bytearray(path.read_bytes())
  scratched = whole.copy()
  scratched[len(whole) // 2 : len(whole) // 2 + 4] = b'\xff' * 4
  path.write_bytes(scratched)
  assert len(heard(path)[1]) > 3.8 * RATE_HZ
  assert len(seen(path)) >= 195
  noise = np.random.default_rng(0).integers(0, 256, len(whole) // 2, np.uint8).tobytes()
  whole[len(whole) // 8 : len(whole) // 8 + len(noise)] = noise
  path.write_bytes(whole)
  with pytest.raises(MediaError, match='damaged'):
    heard(path)


def test_random_bytes_raise_media_errors_only(tmp_path):
  rng = np.random.default_rng(1)
  sources = [
    clips.write(tmp_path / 'a.mkv', seconds=0.4).read_bytes(),
    clips.write(tmp_path / 'a.mp4', seconds=0.4, tick=Fraction(1, 12800), **CODED).read_bytes(),
  ]
  path = tmp_path / 'b.mp4'
  for i in range(60):
    data = bytearray(sources[i % 2])
    for position in rng.integers(0, len(data), 1 + i // 3):
      data[position] = rng.integers(256)
    path.write_bytes(data)
    for read in (lambda: heard(path), lambda: seen(path)):
      with contextlib.suppress(MediaError):
        read()


def test_text_that_points_at_other_files_is_not_followed(tmp_path):
  secret = clips.write(tmp_path / 'secret.mkv')
  hostile = {
    'list.mp4': f'#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n',
    'concat.mp4': f'ffconcat version 1.0\nfile {secret.name}\n',
    'text.mp4': 'hello\n' * 100,
    'net.mkv': '#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n',
  }
  for name, text in hostile.items():
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(MediaError, match='not a media file'):
      heard(path)


def test_only_regular_files_are_opened(tmp_path):
  os.mkfifo(tmp_path / 'fifo.mp4')
  (tmp_path / 'empty.mp4').touch()
  regular = 'not a regular file'
  reasons = {'fifo.mp4': regular, 'empty.mp4': 'empty file', 'none.mp4': 'no such file', '.': regular}
  for name, reason in reasons.items():
    with pytest.raises(MediaError, match=f': {reason}'):
      heard(tmp_path / name)
  clips.write(tmp_path / 'a.mkv')
  (tmp_path / 'link.mkv').symlink_to('a.mkv')
  assert len(heard(tmp_path / 'link.mkv')[1]) == RATE_HZ


def test_a_picture_of_too_many_pixels_is_refused(tmp_path, monkeypatch):
  path = clips.write(tmp_path / 'a.mkv')
  assert len(seen(path)) == 25
  monkeypatch.setattr(media, 'MAX_PIXELS', 64 * 48 - 1)
  with pytest.raises(MediaError):
    seen(path)


def test_pictures_that_grow_past_the_limit_are_not_decoded(tmp_path, monkeypatch):
  path = tmp_path / 'a.avi'
  with av.open(str(path), 'w') as out:
    stream = out.add_stream('mjpeg', rate=25)
    stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuvj420p'
    for i in range(40):
      jpeg = io.BytesIO()
      Image.new('RGB', (64, 48) if i < 30 else (640, 480)).save(jpeg, 'JPEG')
      packet = av.Packet(jpeg.getvalue())
      packet.stream, packet.pts, packet.dts, packet.time_base = stream, i, i, Fraction(1, 25)
      out.mux(packet)
  assert [frame.width for _, _, frame in media.pictures(path)] == [64] * 30 + [640] * 10
  monkeypatch.setattr(media, 'MAX_PIXELS', 64 * 48 * 4)
  with pytest.raises(MediaError, match='damaged video'):
    list(media.pictures(path))


def test_packed_videos(tmp_path, monkeypatch):
  path = clips.write(tmp_path / 'a.mkv')
  packed = tmp_path / 'a.mkv.gz'
  packed.write_bytes(gzip.compress(path.read_bytes()))
  with local_files.unpacked(packed, tmp_path) as plain:
    assert plain.suffix == '.mkv'
    assert len(heard(plain)[1]) == RATE_HZ
  assert not plain.exists()
  with local_files.unpacked(path) as plain:
    assert plain == path
  with pytest.raises(MediaError, match='more than'), monkeypatch.context() as patch:
    patch.setattr(local_files, 'MAX_UNPACKED_BYTES', 1000)
    with local_files.unpacked(packed, tmp_path):
      pass
  for damaged in (packed.read_bytes()[:-20], b'no gzip'):
    packed.write_bytes(damaged)
    with pytest.raises(MediaError, match='damaged or truncated'), local_files.unpacked(packed, tmp_path):
      pass
  assert sorted(p.name for p in tmp_path.iterdir()) == ['a.mkv', 'a.mkv.gz']


@pytest.mark.skipif(not os.path.exists('/proc/self/status'), reason='peak memory is read from /proc')
def test_memory_does_not_grow_with_length(tmp_path):
  """Peak memory of reading a clip sixty times as long, in a process of its own."""
  program = (
    'import re, sys\n'
    'from audionet_tf import media\n'
    'n = sum(1 for _ in media.sound_chunks(sys.argv[1], 16000)) + sum(1 for _ in media.pictures(sys.argv[1]))\n'
    'print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])\n'
  )
  peaks = []
  for seconds in (2, 120):
    path = clips.write(tmp_path / f'{seconds}.mkv', seconds=seconds, fps=10, size=(320, 240), rate_hz=44100)
    peaks.append(int(subprocess.check_output([sys.executable, '-c', program, str(path)])))
  assert peaks[1] < peaks[0] + 6_000  # KiB
