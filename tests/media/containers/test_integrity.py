"""Files that are truncated, damaged, malicious, compressed or not regular files."""

import collections
import contextlib
import errno
import gzip
import io
import os
from fractions import Fraction

import av
import media_clips
import numpy as np
import pytest
from PIL import Image

from audionet_tf.core.errors import MediaError
from audionet_tf.media import decoding, prefetch, wav_tfio, waveforms
from audionet_tf.media.containers import integrity, joined, sections


@pytest.mark.parametrize('name, options', [
  ('a.mkv', {}),
  ('live.mkv', {'format': 'matroska', 'options': {'live': '1'}}),
  ('a.mp4', {**media_clips.CODED, 'tick': Fraction(1, 12800)}),
  ('fast.mp4', {**media_clips.CODED, 'tick': Fraction(1, 12800), 'options': {'movflags': 'faststart'}}),
  (
    'pieces.mp4',
    {**media_clips.CODED, 'tick': Fraction(1, 12800), 'options': {'movflags': 'frag_keyframe+empty_moov'}},
  ),
  ('a.avi', {**media_clips.CODED, 'audio_codec': 'pcm_s16le', 'tick': Fraction(1, 25)}),
  ('a.wav', {'times': []}),
])  # fmt: skip
def test_truncation_is_detected(tmp_path, name, options):
  path = media_clips.write(tmp_path / name, seconds=2, **options)
  whole = path.read_bytes()
  assert not integrity.is_truncated(path)
  assert len(media_clips.decode_sound(path)[1]) >= 31000
  for share in (0.5, 0.95):
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(MediaError, match='truncated'):
      media_clips.decode_sound(path)


def test_large_damage_is_an_error_and_four_bad_bytes_are_not(tmp_path):
  path = media_clips.write(tmp_path / 'a.mp4', seconds=4, fps=50, tick=Fraction(1, 12800), **media_clips.CODED)
  whole = bytearray(path.read_bytes())
  corrupt = whole.copy()
  corrupt[len(whole) // 2 : len(whole) // 2 + 4] = b'\xff' * 4
  path.write_bytes(corrupt)
  assert len(media_clips.decode_sound(path)[1]) > 3.8 * media_clips.RATE_HZ
  assert len(media_clips.decode_pictures(path)) >= 195
  noise = np.random.default_rng(0).integers(0, 256, len(whole) // 2, np.uint8).tobytes()
  whole[len(whole) // 8 : len(whole) // 8 + len(noise)] = noise
  path.write_bytes(whole)
  with pytest.raises(MediaError, match='damaged'):
    media_clips.decode_sound(path)


def test_corrupt_bytes_raise_only_media_errors(tmp_path):
  rng = np.random.default_rng(1)
  sources = [
    media_clips.write(tmp_path / 'a.mkv', seconds=0.4).read_bytes(),
    media_clips.write(tmp_path / 'a.mp4', seconds=0.4, tick=Fraction(1, 12800), **media_clips.CODED).read_bytes(),
  ]
  path, outcomes = tmp_path / 'b.mp4', collections.Counter()
  for i in range(60):
    data = bytearray(sources[i % 2])
    for position in rng.integers(0, len(data), 1 + i // 3):
      data[position] = rng.integers(256)
    path.write_bytes(data)
    for read in (lambda: media_clips.decode_sound(path), lambda: media_clips.decode_pictures(path)):
      with contextlib.suppress(MediaError):
        read()
        outcomes['decoded'] += 1
  assert 10 < outcomes['decoded'] < 110  # of 120


def test_playlists_do_not_open_other_files(tmp_path):
  secret = media_clips.write(tmp_path / 'secret.mkv')
  malicious = {
    'list.mp4': f'#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n',
    'concat.mp4': f'ffconcat version 1.0\nfile {secret.name}\n',
    'text.mp4': 'hello\n' * 100,
    'net.mkv': '#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n',
  }
  for name, text in malicious.items():
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(MediaError, match='not a media file'):
      media_clips.decode_sound(path)


def test_only_regular_files_are_opened(tmp_path):
  os.mkfifo(tmp_path / 'fifo.mp4')
  (tmp_path / 'empty.mp4').touch()
  regular = 'not a regular file'
  reasons = {'fifo.mp4': regular, 'empty.mp4': 'empty file', 'none.mp4': 'no such file', '.': regular}
  for name, reason in reasons.items():
    with pytest.raises(MediaError, match=f': {reason}'):
      media_clips.decode_sound(tmp_path / name)
  media_clips.write(tmp_path / 'a.mkv')
  (tmp_path / 'link.mkv').symlink_to('a.mkv')
  assert len(media_clips.decode_sound(tmp_path / 'link.mkv')[1]) == media_clips.RATE_HZ


@pytest.mark.parametrize(
  'read',
  [
    integrity.is_truncated,
    joined.recordings,
    joined.unread,
    decoding.declared_duration,
    lambda path: list(decoding.decode_audio(path, 16000)),
    lambda path: list(decoding.decode_frames(path)),
    wav_tfio.plain_header,
  ],
)
def test_a_file_that_fails_when_it_is_read_is_named(tmp_path, read):
  """As on a network that is gone: here a file of the kernel that may be opened."""
  path = tmp_path / 'a.wav'
  path.symlink_to('/sys/class/net/lo/speed')
  with pytest.raises(MediaError, match='a.wav: invalid argument'):
    read(path)
  assert wav_tfio.header(path) is None


def test_a_file_that_fails_midway_is_named(tmp_path, monkeypatch):
  path = media_clips.write(tmp_path / 'a.wav', times=[], seconds=3)
  path.write_bytes(b'ID3\4\0\0\0\0\0\4abcd' + path.read_bytes())  # read by Section
  read, calls, failing = sections.Section.read, [], set()

  def fail(file, size=-1):
    calls.append(size)
    if len(calls) in failing:
      raise OSError(errno.EIO, 'Input/output error')
    return read(file, size)

  monkeypatch.setattr(sections.Section, 'read', fail)
  list(decoding.decode_audio(path, 16000))
  for number in range(1, len(calls) + 1):
    calls.clear()
    failing.clear()
    failing.add(number)
    with pytest.raises(MediaError, match='a.wav: .*nput/output error'):
      list(decoding.decode_audio(path, 16000))


def test_pictures_with_too_many_pixels_are_refused(tmp_path, monkeypatch):
  path = media_clips.write(tmp_path / 'a.mkv')
  assert len(media_clips.decode_pictures(path)) == 25
  monkeypatch.setattr(decoding, 'MAX_PIXELS', 64 * 48 - 1)
  with pytest.raises(MediaError):
    media_clips.decode_pictures(path)


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
  assert [frame.width for _, _, frame in decoding.decode_frames(path)] == [64] * 30 + [640] * 10
  monkeypatch.setattr(decoding, 'MAX_PIXELS', 64 * 48 * 4)
  with pytest.raises(MediaError, match='damaged video'):
    list(decoding.decode_frames(path))


def test_compressed_videos(tmp_path, monkeypatch):
  path = media_clips.write(tmp_path / 'a.mkv')
  compressed = tmp_path / 'a.mkv.gz'
  compressed.write_bytes(gzip.compress(path.read_bytes()))
  with integrity.decompressed(compressed, tmp_path) as plain:
    assert plain.suffix == '.mkv'
    assert len(media_clips.decode_sound(plain)[1]) == media_clips.RATE_HZ
  assert not plain.exists()
  with integrity.decompressed(path) as plain:
    assert plain == path
  with pytest.raises(MediaError, match='more than'), monkeypatch.context() as patch:
    patch.setattr(integrity, 'MAX_UNPACKED_BYTES', 1000)
    with integrity.decompressed(compressed, tmp_path):
      pass
  for damaged in (compressed.read_bytes()[:-20], b'no gzip'):
    compressed.write_bytes(damaged)
    with pytest.raises(MediaError, match='damaged or truncated'), integrity.decompressed(compressed, tmp_path):
      pass
  assert sorted(p.name for p in tmp_path.iterdir()) == ['a.mkv', 'a.mkv.gz']


@pytest.mark.parametrize('suffix', ['x' * 240, '\u00e9' * 120])
def test_a_long_suffix_is_not_in_the_name_of_the_copy(tmp_path, suffix):
  path = media_clips.write(tmp_path / 'a.wav', times=[])
  compressed = tmp_path / f'a.{suffix}.gz'
  compressed.write_bytes(gzip.compress(path.read_bytes()))
  with integrity.decompressed(compressed, tmp_path) as plain:
    assert plain.read_bytes() == path.read_bytes()


def test_warnings_about_a_copy_name_the_compressed_file(tmp_path, capsys):
  samples = np.full((800, 1), 9, np.float32)  # nine times full scale
  path = media_clips.write(tmp_path / 'loud.wav', 0.05, times=[], sounds=[samples.T], audio_codec='pcm_f32le')
  compressed = tmp_path / 'loud.wav.gz'
  compressed.write_bytes(gzip.compress(path.read_bytes()))

  def by_chunks():
    with waveforms.unpacked(str(compressed)) as sound:
      yield from waveforms.chunks(sound, 16000)

  def by_decoding():
    with integrity.decompressed(compressed) as sound:
      yield from decoding.decode_audio(sound, 16000)

  for read in (lambda: prefetch.sound_of(compressed, 16000, 'mean'), by_chunks, by_decoding):
    assert sum(len(pcm) for _, pcm in read()) == 800
    line = f'warning: {compressed}: samples reach 9, beyond 1 they are clipped; lower its level\n'
    assert capsys.readouterr().err == line
