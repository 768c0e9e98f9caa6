"""Recordings that begin inside a frame: what cannot be decoded at their very beginning is skipped, and nothing else."""

from fractions import Fraction

import av
import media_clips
import numpy as np
import pytest

from audionet_tf.core.errors import MediaError

SECONDS = 6
TONE = media_clips.tone(440, SECONDS, 44100)
VIDEO = {'video_codec': 'mpeg2video', 'pix_fmt': 'yuv420p', 'tick': Fraction(1, 25)}


def spoilt(path, whole, is_bad):
  """Copies the sound of `whole` to a Matroska at `path`; packets whose number is bad become noise."""
  noise = np.random.default_rng(0)
  with av.open(str(whole)) as read, av.open(str(path), 'w') as written:
    copy = written.add_stream_from_template(read.streams.audio[0])
    for number, packet in enumerate(p for p in read.demux(read.streams.audio[0]) if p.dts is not None):
      new = av.Packet(noise.integers(1, 255, packet.size, np.uint8).tobytes() if is_bad(number) else bytes(packet))
      new.pts, new.dts, new.duration, new.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
      new.stream = copy
      written.mux(new)
  return path


@pytest.mark.parametrize(
  'name, codec, frame', [('a.mp2', 'mp2', 1152), ('a.mp3', 'libmp3lame', 1152), ('a.mkv', 'ac3', 1536)]
)
@pytest.mark.parametrize('bad', [3, 20, 60])
def test_bad_packets_at_the_beginning_are_skipped(tmp_path, name, codec, frame, bad):
  whole = media_clips.write(tmp_path / f'whole-{name}', times=[], sounds=[TONE], rate_hz=44100, audio_codec=codec)
  start, samples = media_clips.decode_sound(spoilt(tmp_path / 'a.mkv', whole, lambda number: number < bad))
  lost = bad * frame / 44100
  assert (start + len(samples)) / 16000 == pytest.approx(SECONDS, abs=0.1)  # the rest lies where it did
  assert SECONDS - lost - 0.1 < len(samples) / 16000 < SECONDS - lost + 0.1
  assert media_clips.pitch(samples) == pytest.approx(440, abs=1)


@pytest.mark.parametrize('bad', [range(50, 60), range(150), range(1000)])
def test_bad_packets_elsewhere_are_damage(tmp_path, bad):
  whole = media_clips.write(tmp_path / 'whole.mkv', times=[], sounds=[TONE], rate_hz=44100, audio_codec='ac3')
  path = spoilt(tmp_path / 'a.mkv', whole, lambda number: number in bad)
  with pytest.raises(MediaError, match=r'a\.mkv: (damaged audio|no audio in it can be decoded)'):
    media_clips.decode_sound(path)


@pytest.mark.parametrize('bad', [range(3), range(110, 113), range(30, 171, 70)])
def test_packets_of_sound_that_are_skipped_are_told(tmp_path, capsys, bad):
  whole = media_clips.write(tmp_path / 'whole.mkv', times=[], sounds=[TONE], rate_hz=44100, audio_codec='ac3')
  media_clips.decode_sound(whole)
  assert capsys.readouterr().err == ''
  media_clips.decode_sound(spoilt(tmp_path / 'a.mkv', whole, lambda number: number in bad))
  (line,) = capsys.readouterr().err.splitlines()
  assert 'a.mkv: 3 of the 173 packets of its sound cannot be decoded (' in line


@pytest.mark.parametrize('seconds', [0.3, 1, 6])
def test_aac_in_wav_is_told_or_refused(tmp_path, capsys, seconds):
  """FFmpeg cuts its packets anywhere."""
  path = media_clips.write(
    tmp_path / 'a.wav', times=[], sounds=[media_clips.tone(440, seconds, 44100)], rate_hz=44100, audio_codec='aac'
  )
  try:
    lost = seconds - len(media_clips.decode_sound(path)[1]) / 16000
  except MediaError as error:
    assert 'a.wav: damaged audio' in str(error)
  else:
    assert lost > 0.1 and 'a.wav: ' in capsys.readouterr().err


@pytest.mark.parametrize('name, codec, block', [
  ('a.ts', 'mp2', 188),
  ('a.ts', 'libmp3lame', 188),
  ('a.ts', 'aac', 188),
  ('a.mpg', 'mp2', 2048),
  ('a.vob', 'mp2', 2048),
  ('a.mp3', 'libmp3lame', 1),
  ('a.aac', 'aac', 1),
  ('a.mp2', 'mp2', 1),
])  # fmt: skip
@pytest.mark.parametrize('share', [0.101, 0.137, 0.25, 0.3333])
def test_files_cut_anywhere(tmp_path, name, codec, block, share):
  options = VIDEO if block > 1 else {'times': []}
  formats = {'a.vob': 'vob', 'a.aac': 'adts'}
  path = tmp_path / name
  media_clips.write(path, SECONDS, sounds=[TONE], rate_hz=44100, audio_codec=codec, format=formats.get(name), **options)
  data = path.read_bytes()
  path.write_bytes(data[round(share * len(data)) // block * block :])
  start, samples = media_clips.decode_sound(path)
  assert len(samples) / 16000 == pytest.approx((1 - share) * SECONDS, abs=0.7)
  assert media_clips.pitch(samples) == pytest.approx(440, abs=1)
  if block > 1:
    assert len(media_clips.decode_pictures(path)) > 0.35 * SECONDS * 25


@pytest.mark.parametrize('codec', ['libx264', 'libx265', 'mpeg2video'])
def test_pictures_without_a_key_frame_are_told_and_sound_is_used(tmp_path, codec):
  whole, path = tmp_path / 'whole.ts', tmp_path / 'a.ts'
  options = {'video_codec': codec, 'pix_fmt': 'yuv420p', 'audio_codec': 'aac', 'rate_hz': 44100, 'format': 'mpegts'}
  media_clips.write(whole, 2, size=(128, 128), tick=Fraction(1, 25), **options)
  with av.open(str(whole)) as read, av.open(str(path), 'w', format='mpegts') as written:
    copies = [written.add_stream_from_template(stream) for stream in read.streams]
    for packet in read.demux():
      if packet.dts is not None and not (packet.stream.type == 'video' and packet.is_keyframe):
        packet.stream = copies[packet.stream.index]
        written.mux(packet)
  np.testing.assert_array_equal(media_clips.decode_sound(path)[1], media_clips.decode_sound(whole)[1])
  assert len(media_clips.decode_pictures(whole)) == 50
  with pytest.raises(MediaError, match=r'a\.ts: no video in it can be decoded: none of its \d+ packets is a key frame'):
    media_clips.decode_pictures(path)
