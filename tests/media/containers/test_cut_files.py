"""Files that end before what they declare: an error, or a line that says how much is there."""

from fractions import Fraction

import av
import hostile_files
import media_clips
import numpy as np
import pytest

from audionet_tf.core.errors import MediaError
from audionet_tf.media import decoding, wav_tfio

SECONDS = 4
SOUND_ONLY = {'times': []}
MP4 = media_clips.CODED | {'tick': Fraction(1, 12800), 'options': {'movflags': 'faststart'}}
WMV = {'video_codec': 'wmv2', 'pix_fmt': 'yuv420p', 'audio_codec': 'wmav2', 'rate_hz': 44100}


def write(path, rate_hz=16000, **options):
  """Noise, which no codec makes small."""
  sound = np.random.default_rng(0).uniform(-0.5, 0.5, SECONDS * rate_hz).astype(np.float32)
  return media_clips.write(path, SECONDS, rate_hz=rate_hz, sounds=[sound], **options).read_bytes()


def seconds(path):
  start, sound = media_clips.decode_sound(path)
  return (start + len(sound)) / media_clips.RATE_HZ


@pytest.mark.parametrize('share', [0.3, 0.9])
@pytest.mark.parametrize(
  ('name', 'options'),
  [
    ('a.au', {'audio_codec': 'pcm_s16be', **SOUND_ONLY}),
    ('a.caf', {'audio_codec': 'pcm_s16be', **SOUND_ONLY}),
    ('a.rm', {'audio_codec': 'ac3', 'rate_hz': 44100, **SOUND_ONLY}),
    ('a.w64', SOUND_ONLY),
    ('a.wav', {'options': {'rf64': 'always'}, **SOUND_ONLY}),
    ('a.wma', {'audio_codec': 'wmav2', 'rate_hz': 44100, **SOUND_ONLY}),
    ('a.wmv', WMV),
  ],
)
def test_fewer_bytes_than_declared_are_an_error(tmp_path, name, options, share, capsys):
  path, data = tmp_path / name, write(tmp_path / name, **options)
  assert seconds(path) == pytest.approx(SECONDS, abs=0.1)
  assert not capsys.readouterr().err
  path.write_bytes(data[: round(share * len(data))])
  with pytest.raises(MediaError, match=rf'{name}: truncated: the file ends'):
    media_clips.decode_sound(path)


def sizes_replaced(data, mark, behind, size):
  """The bytes with another 64-bit `size` that begins `behind` the last byte of `mark`."""
  place = data.index(mark) + len(mark) + behind
  return data[:place] + size + data[place + 8 :]


@pytest.mark.parametrize('behind', [b'', b'LIST\xd8\0\0\0' + bytes(216)])
@pytest.mark.parametrize('size', [bytes(4), b'\xff' * 4, (0x7FFFF024).to_bytes(4, 'little')])
@pytest.mark.parametrize('unknown', ['file', 'sound', 'both'])
def test_a_cut_wav_with_one_size_is_told(tmp_path, unknown, size, behind, capsys):
  path, data = tmp_path / 'a.wav', bytearray(write(tmp_path / 'a.wav', **SOUND_ONLY) + behind)
  data[4:8] = (len(data) - 8).to_bytes(4, 'little')
  place = data.index(b'data') + 4
  for of, begin in (('file', 4), ('sound', place)):
    if unknown in (of, 'both'):
      data[begin : begin + 4] = size
  path.write_bytes(data)
  assert seconds(path) == SECONDS
  assert not capsys.readouterr().err
  path.write_bytes(data[: place + 4 + 64_000])
  (ahead,) = wav_tfio.decoded([path])
  assert ahead is None and seconds(path) == 2
  missing = {'file': SECONDS * 32_000 - 64_000, 'sound': len(data) - place - 4 - 64_000}.get(unknown)
  line = f'warning: {path}: it ends {missing} bytes too early: truncated\n'
  assert capsys.readouterr().err == (line if missing else '')


@pytest.mark.parametrize('size', [b'\0' * 8, b'\xff' * 8, b'\xff' * 7 + b'\x7f'])
def test_sizes_of_w64_that_are_placeholders(tmp_path, size):
  path, data = tmp_path / 'a.w64', write(tmp_path / 'a.w64', **SOUND_ONLY)
  sound = media_clips.decode_sound(path)[1]
  path.write_bytes(sizes_replaced(data, b'data', 12, size))
  np.testing.assert_array_equal(media_clips.decode_sound(path)[1], sound)


@pytest.mark.parametrize('name', ['a.w64', 'a.aiff'])
def test_much_before_sound_of_unknown_length_is_not_read_into_memory(tmp_path, name):
  path = tmp_path / name
  data = bytearray(write(path, **SOUND_ONLY | ({'audio_codec': 'pcm_s16be'} if name == 'a.aiff' else {})))
  junk_bytes = 200 << 20
  if name == 'a.w64':
    mark = data.index(b'data\xf3')
    data[mark + 16 : mark + 24] = bytes(8)
    head = b'junk' + data[mark + 4 : mark + 16] + (24 + junk_bytes).to_bytes(8, 'little')
  else:
    mark = data.index(b'SSND')
    data[mark + 4 : mark + 8] = data[4:8] = bytes(4)
    head = b'JUNK' + junk_bytes.to_bytes(4, 'big')
  with open(path, 'wb') as file:
    file.write(data[:mark] + head)
    file.seek(junk_bytes, 1)  # a hole, which takes no space
    file.write(data[mark:])
  hostile_files.refused(lambda path: list(decoding.decode_audio(path, 16000)), path, 'not a media file')


@pytest.mark.parametrize('size', [b'\xff' * 8])
def test_sizes_of_caf_that_are_placeholders(tmp_path, size):
  path, data = tmp_path / 'a.caf', write(tmp_path / 'a.caf', audio_codec='pcm_s16be', **SOUND_ONLY)
  sound = media_clips.decode_sound(path)[1]
  path.write_bytes(sizes_replaced(data, b'data', 0, size))
  np.testing.assert_array_equal(media_clips.decode_sound(path)[1], sound)


def test_the_size_of_au_that_is_a_placeholder(tmp_path):
  path, data = tmp_path / 'a.au', write(tmp_path / 'a.au', audio_codec='pcm_s16be', **SOUND_ONLY)
  sound = media_clips.decode_sound(path)[1]
  path.write_bytes(data[:8] + b'\xff' * 4 + data[12:])
  np.testing.assert_array_equal(media_clips.decode_sound(path)[1], sound)


def write_lossless(path, codec):
  """Sound in a codec whose sample formats media_clips does not write."""
  with av.open(str(path), 'w') as out:
    stream = out.add_stream(codec, rate=48000, layout='stereo')  # in blocks of a second
    stream.codec_context.format = 's16p' if codec == 'wavpack' else 's16'
    samples = np.random.default_rng(0).integers(-9999, 9999, [2, SECONDS * 48000], np.int16)
    samples = samples if codec == 'wavpack' else samples.T.reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), stream.codec_context.format.name, 'stereo')
    frame.sample_rate, frame.pts = 48000, 0
    fifo = av.AudioFifo()
    fifo.write(frame)
    while piece := fifo.read(4096, partial=True):
      out.mux(stream.encode(piece))
    out.mux(stream.encode(None))
  return path.read_bytes()


@pytest.mark.parametrize(
  ('name', 'options'),
  [
    ('a.flac', {'audio_codec': 'flac', **SOUND_ONLY}),
    ('a.flv', media_clips.CODED | {'video_codec': 'flv'}),
    ('a.mp3', {'audio_codec': 'mp3', 'rate_hz': 44100, **SOUND_ONLY}),
    ('a.tta', 'tta'),
    ('a.wv', 'wavpack'),
    ('open.mp4', MP4),
  ],
)
@pytest.mark.parametrize('share', [0.4, 0.9])
def test_less_sound_than_declared_is_told(tmp_path, name, options, share, capsys):
  path = tmp_path / name
  data = write_lossless(path, options) if isinstance(options, str) else write(path, **options)
  if name == 'open.mp4':  # whose sound and pictures reach to the end of the file, wherever that is
    place = data.index(b'mdat') - 4
    data = data[:place] + bytes(4) + data[place + 4 :]
    path.write_bytes(data)
  assert seconds(path) == pytest.approx(SECONDS, abs=0.05)
  assert not capsys.readouterr().err
  end = round(share * len(data))
  path.write_bytes(data[: data.rindex(b'wvpk', 0, end) if name == 'a.wv' else end])  # inside a block it is damaged
  there = seconds(path)
  assert there < (share + 0.09) * SECONDS
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(f'warning: {path}: its header declares {"3.8" if name == "a.mp3" else "4.0"}')
  assert line.endswith(f' s, {there:.2f} s of sound are there: the end is missing')


@pytest.mark.parametrize(
  ('name', 'codec'),
  [('a.aiff', 'pcm_s16be'), ('a.aiff', 'pcm_s24be'), ('a.aifc', 'pcm_mulaw'), ('a.aifc', 'adpcm_ima_qt')],
)
@pytest.mark.parametrize('size', [None, 0, 0x7FFFFFFF, 0xFFFFFFFF])  # of the whole file
def test_more_frames_than_an_aiff_holds_are_told(tmp_path, name, codec, size, capsys):
  path = tmp_path / name
  data = bytearray(write(path, audio_codec=codec, **SOUND_ONLY))
  if size is not None:
    data[4:8] = size.to_bytes(4, 'big')
  place = data.index(b'COMM') + 10
  frames = int.from_bytes(data[place : place + 4], 'big')
  placeholders = 0, 0x7F000000 // (2 if codec == 'pcm_s16be' else 3), 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF
  for count in (*placeholders, frames // 2, frames, 2 * frames):
    data[place : place + 4] = count.to_bytes(4, 'big')
    path.write_bytes(data)
    assert seconds(path) == SECONDS
    line = f'warning: {path}: its header declares 8.00 s, 4.00 s of sound are there: the end is missing\n'
    assert capsys.readouterr().err == (line if count == 2 * frames else '')


@pytest.mark.parametrize('padding', [0, 1, 20, 300, 5000])
@pytest.mark.parametrize('rate_hz', [44100, 22050])  # frames of 1152 and of 576 samples
def test_a_cut_mp3_with_zeros_behind_its_tag_is_told(tmp_path, rate_hz, padding, capsys):
  path = tmp_path / 'a.mp3'
  data = write(path, audio_codec='mp3', rate_hz=rate_hz, **SOUND_ONLY)
  begin = data.index(b'\xff')
  path.write_bytes(data[:begin] + bytes(padding) + data[begin:])
  assert seconds(path) == pytest.approx(SECONDS, abs=0.2)
  assert not capsys.readouterr().err
  path.write_bytes(data[:begin] + bytes(padding) + data[begin : len(data) * 6 // 10])
  assert seconds(path) < 0.7 * SECONDS
  count = int.from_bytes(data[data.index(b'Info') + 8 :][:4], 'big')
  declared = (count - 6) * {44100: 1152, 22050: 576}[rate_hz] / rate_hz
  assert capsys.readouterr().err.startswith(f'warning: {path}: its header declares {declared:.2f} s')


@pytest.mark.parametrize('codec, rate_hz', [('flac', 16000), ('libopus', 48000)])
def test_a_cut_ogg_is_told(tmp_path, codec, rate_hz, capsys):
  path = tmp_path / 'a.ogg'
  data = write(path, audio_codec=codec, rate_hz=rate_hz, **SOUND_ONLY)
  last = data.rindex(b'OggS')
  for end in (len(data) // 2, last + 3, last + 9, last + 27, last + 40, len(data) - 1):
    path.write_bytes(data[:end])
    media_clips.decode_sound(path)
    told = capsys.readouterr().err.splitlines()
    assert told == [f'warning: {path}: its last page is cut off: what follows is missing'] * (end != last + 3)
  for whole in (data, data[:last], data + bytes(50)):
    path.write_bytes(whole)
    media_clips.decode_sound(path)
    assert not capsys.readouterr().err


def test_what_declares_nothing_is_not_said_to_be_short(tmp_path, capsys):
  flac = write(tmp_path / 'a.flac', audio_codec='flac', **SOUND_ONLY)
  bits = flac.index(b'fLaC') + 8 + 13  # 36 bits of STREAMINFO: the number of samples; zero is unknown
  flac = flac[:bits] + bytes([flac[bits] & 0xF0]) + bytes(4) + flac[bits + 5 :]
  mp3 = write(tmp_path / 'a.mp3', audio_codec='mp3', rate_hz=44100, options={'write_xing': '0'}, **SOUND_ONLY)
  xing = write(tmp_path / 'a.mp3', audio_codec='mp3', rate_hz=44100, **SOUND_ONLY)
  place = max(xing.find(b'Xing'), xing.find(b'Info')) + 7
  without_frames = xing[:place] + bytes([xing[place] & 0xFE]) + xing[place + 1 :]
  aac = write(tmp_path / 'a.aac', audio_codec='aac', rate_hz=44100, format='adts', **SOUND_ONLY)
  for name, data in (('a.flac', flac), ('a.mp3', mp3), ('b.mp3', without_frames), ('a.aac', aac)):
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    assert 1 < seconds(tmp_path / name) < 3
    assert not capsys.readouterr().err


def test_part_of_a_file_is_read_without_a_word(tmp_path, capsys):
  write(tmp_path / 'a.flac', audio_codec='flac', **SOUND_ONLY)
  assert len(media_clips.decode_sound(tmp_path / 'a.flac', max_seconds=1)[1]) == media_clips.RATE_HZ
  assert not capsys.readouterr().err
