"""Recordings joined byte by byte, as by `cat`: all of their sound is decoded, or a line says what is not."""

import wave

import media_clips
import numpy as np
import pytest

from audionet_tf.core.errors import MediaError
from audionet_tf.media import decoding, prefetch, wav_tfio
from audionet_tf.media.containers import joined, wav_header

HERTZ = (440, 880, 1320)
SECONDS = 2


def write_wav(path, hertz, rate_hz=16000, channels=1, odd=False, note=b''):
  """Two seconds of a tone; `odd`: of 8 bits and an odd length, which a byte pads; `note`: a chunk behind the sound."""
  sound = media_clips.tone(hertz, SECONDS, rate_hz)[: SECONDS * rate_hz - odd]
  samples = np.rint(sound * 127 + 128).astype(np.uint8) if odd else np.rint(sound * 32767).astype('<i2')
  with wave.open(str(path), 'wb') as out:
    out.setparams((channels, 1 if odd else 2, rate_hz, 0, 'NONE', ''))
    out.writeframes(np.repeat(samples, channels).tobytes())
  data = path.read_bytes() + b'\0' * odd + note
  return data[:4] + (len(data) - 8).to_bytes(4, 'little') + data[8:]


def pitches(sound):
  """Hertz of the middle of each two seconds."""
  middles = [sound[begin + 8000 : begin + 24000] for begin in range(0, len(sound) - 16000, SECONDS * 16000)]
  return [round(media_clips.pitch(middle)) for middle in middles]


@pytest.mark.parametrize(
  'parts',
  [
    [{}, {}],
    [{}, {}, {}],
    [{'rate_hz': 44100}, {'rate_hz': 16000}],
    [{'channels': 2}, {'channels': 1, 'rate_hz': 8000}],
    [{'odd': True}, {}],
    [{'note': b'LIST\x04\0\0\0INFO'}, {}],
  ],
)
def test_wav_files_in_one(tmp_path, parts):
  path = tmp_path / 'a.wav'
  path.write_bytes(b''.join(write_wav(path, hertz, **part) for hertz, part in zip(HERTZ, parts, strict=False)))
  start, sound = media_clips.decode_sound(path)
  assert start == 0 and abs(len(sound) - len(parts) * SECONDS * 16000) <= 2
  assert pitches(sound) == list(HERTZ[: len(parts)])
  (ahead,) = wav_tfio.decoded([path])  # what `features`, `probe` and `evaluate` read with
  assert ahead is None
  again = np.concatenate([pcm for _, pcm in prefetch.sound_of(path, 16000, 'mean', ahead)])
  np.testing.assert_array_equal(again, np.rint(sound * 32768))


def test_samples_that_do_not_fill_their_containers_in_the_second_file(tmp_path):
  path = tmp_path / 'a.wav'
  fmt = bytes.fromhex('feff 0100 803e0000 00fa0000 0400 2000 1600 1800 04000000 0100000000001000800000aa00389b71')
  sound = np.rint(media_clips.tone(HERTZ[1], SECONDS, 16000) * 2**31).astype('<i4').tobytes()
  body = b'WAVEfmt ' + len(fmt).to_bytes(4, 'little') + fmt + b'data' + len(sound).to_bytes(4, 'little') + sound
  path.write_bytes(write_wav(path, HERTZ[0]) + b'RIFF' + len(body).to_bytes(4, 'little') + body)
  _, sound = media_clips.decode_sound(path)
  assert pitches(sound) == list(HERTZ[:2])
  np.testing.assert_allclose(np.abs(sound).reshape(2, -1).max(1), 0.5, atol=0.001)


def test_a_second_file_that_is_cut_is_told(tmp_path):
  path = tmp_path / 'a.wav'
  path.write_bytes((write_wav(path, HERTZ[0]) + write_wav(path, HERTZ[1]))[:-20_000])
  with pytest.raises(MediaError, match=r'a\.wav: truncated'):
    media_clips.decode_sound(path)


@pytest.mark.parametrize('cut', [0, 1, 2])
@pytest.mark.parametrize(
  ('name', 'options'),
  [
    ('a.wav', {}),
    ('rf64.wav', {'options': {'rf64': 'always'}}),
    ('a.aiff', {'audio_codec': 'pcm_s16be'}),
    ('a.caf', {'audio_codec': 'pcm_s16be'}),
    ('a.w64', {}),
  ],
)
def test_one_of_three_that_is_cut_is_told(tmp_path, name, options, cut):
  path, parts = tmp_path / name, []
  for hertz in HERTZ:
    sound = media_clips.tone(hertz, SECONDS, 16000)
    parts.append(media_clips.write(path, SECONDS, times=[], sounds=[sound], **options).read_bytes())
  path.write_bytes(b''.join(parts))
  assert pitches(media_clips.decode_sound(path)[1]) == list(HERTZ)
  parts[cut] = parts[cut][: len(parts[cut]) // 2]
  path.write_bytes(b''.join(parts))
  (ahead,) = wav_tfio.decoded([path])
  for read in (lambda: decoding.decode_audio(path, 16000), lambda: prefetch.sound_of(path, 16000, 'mean', ahead)):
    with pytest.raises(MediaError, match=rf'{name}: truncated'):
      list(read())


def test_a_pipe_behind_a_file(tmp_path):
  path, first = tmp_path / 'a.wav', write_wav(tmp_path / 'a.wav', HERTZ[0])
  second = bytearray(write_wav(path, HERTZ[1]))
  second[4:8] = second[40:44] = b'\xff' * 4
  path.write_bytes(first + second)
  assert pitches(media_clips.decode_sound(path)[1]) == list(HERTZ[:2])


@pytest.mark.parametrize('size', [0, 0x7FFFF024, 0x80000000, 0xFFFFFFFF])  # that of SoX, arecord and FFmpeg
@pytest.mark.parametrize('note', [b'', b'LIST\x04\0\0\0INFO'])
def test_pipes_behind_pipes(tmp_path, size, note, capsys):
  path, parts = tmp_path / 'a.wav', []
  for hertz in HERTZ:
    data = bytearray(write_wav(path, hertz, note=note))
    data[4:8] = data[40:44] = size.to_bytes(4, 'little')
    parts.append(bytes(data))
  for last in (parts[2], write_wav(path, HERTZ[2])):
    path.write_bytes(parts[0] + parts[1] + last)
    _, sound = media_clips.decode_sound(path)
    assert pitches(sound) == list(HERTZ) and len(sound) == 3 * SECONDS * 16000
  assert not capsys.readouterr().err


OGG = [  # codec, rate and channels of each link; FFmpeg's Vorbis encoder takes stereo only
  [('vorbis', 44100, 2), ('vorbis', 22050, 2)],
  [('flac', 16000, 1), ('flac', 16000, 2)],
  [('flac', 8000, 1), ('flac', 48000, 2), ('flac', 44100, 1)],
  [('libopus', 48000, 1), ('libopus', 48000, 2)],
  [('libopus', 48000, 1), ('flac', 44100, 1)],
]


@pytest.mark.parametrize('links', OGG)
def test_chained_ogg_whose_format_changes(tmp_path, links, capsys):
  path, data = tmp_path / 'a.ogg', b''
  for hertz, (codec, rate, channels) in zip(HERTZ, links, strict=False):
    sound = np.tile(media_clips.tone(hertz, SECONDS, rate), (channels, 1))
    media_clips.write(path, SECONDS, times=[], sounds=[sound], rate_hz=rate, audio_codec=codec)
    data += path.read_bytes()
  path.write_bytes(data)
  start, sound = media_clips.decode_sound(path)
  assert start == 0 and abs(len(sound) / 16000 - SECONDS * len(links)) < 0.1
  assert pitches(sound[: SECONDS * len(links) * 16000]) == list(HERTZ[: len(links)])
  assert not capsys.readouterr().err


@pytest.mark.parametrize('name', ['a.flac', 'a.ogg', 'a.wav'])
@pytest.mark.parametrize('most', [2, 3])
def test_too_many_recordings_are_told(tmp_path, name, most, monkeypatch, capsys):
  monkeypatch.setattr(joined, 'MOST', most)
  monkeypatch.setattr(wav_header, 'MAX_RECORDINGS', most)
  path, data = tmp_path / name, b''
  for hertz, rate in zip(HERTZ, (16000, 48000, 16000), strict=True):
    codec = 'pcm_s16le' if name == 'a.wav' else 'flac'
    media_clips.write(
      path, SECONDS, times=[], sounds=[media_clips.tone(hertz, SECONDS, rate)], rate_hz=rate, audio_codec=codec
    )
    data += path.read_bytes()
  path.write_bytes(data)
  assert pitches(media_clips.decode_sound(path)[1][: most * SECONDS * 16000]) == list(HERTZ[:most])
  told = capsys.readouterr().err
  assert told.count('\n') == (most == 2) and ('more than 2 recordings' in told) == (most == 2)


@pytest.mark.parametrize(
  ('name', 'options'),
  [
    ('a.mp4', media_clips.CODED),
    ('a.mov', media_clips.CODED),
    ('a.flv', media_clips.CODED | {'video_codec': 'flv'}),
    ('a.avi', media_clips.CODED | {'audio_codec': 'mp3'}),
    ('a.mkv', {}),
    ('a.webm', {'video_codec': 'libvpx', 'pix_fmt': 'yuv420p', 'audio_codec': 'libopus', 'rate_hz': 48000}),
    ('a.flac', {'times': [], 'audio_codec': 'flac'}),
    ('a.mp3', {'times': [], 'audio_codec': 'mp3'}),
    ('a.ogg', {'times': [], 'audio_codec': 'libopus', 'rate_hz': 48000}),
    ('a.aac', {'times': [], 'audio_codec': 'aac', 'format': 'adts'}),
    ('a.aiff', {'times': [], 'audio_codec': 'pcm_s16be'}),
    ('a.caf', {'times': [], 'audio_codec': 'pcm_s16be'}),
    ('a.w64', {'times': []}),
    ('a.au', {'times': [], 'audio_codec': 'pcm_s16be'}),
    ('a.nut', {'times': []}),
    ('a.tta', {'times': [], 'audio_codec': 'tta'}),
    ('a.voc', {'times': [], 'audio_codec': 'pcm_u8', 'rate_hz': 10_000}),
    ('a.ts', media_clips.CODED | {'format': 'mpegts'}),
    ('a.wmv', {'video_codec': 'wmv2', 'pix_fmt': 'yuv420p', 'audio_codec': 'wmav2', 'rate_hz': 44100}),
  ],
)
def test_either_all_is_decoded_or_a_line_says_what_is_not(tmp_path, name, options, capsys):
  path, data, seconds = tmp_path / name, b'', []
  for hertz in HERTZ[:2]:
    rate = options.get('rate_hz', 16000)
    media_clips.write(path, SECONDS, sounds=[media_clips.tone(hertz, SECONDS, rate)], **options)
    seconds.append(len(media_clips.decode_sound(path)[1]) / 16000)
    data += path.read_bytes()
  assert capsys.readouterr().err == ''
  path.write_bytes(data)
  try:
    _, sound = media_clips.decode_sound(path)
  except MediaError:
    return
  told = capsys.readouterr().err
  if len(sound) / 16000 > sum(seconds) - 0.2:
    assert len(sound) / 16000 < sum(seconds) + 0.2 and not told and pitches(sound[: 4 * 16000]) == list(HERTZ[:2])
  else:
    assert told == f'warning: {path}: 1 more behind the first recording in it is not read; join by ffmpeg -f concat\n'


@pytest.mark.parametrize('codec', ['mpeg4', 'ffv1'])
@pytest.mark.parametrize('sounds', [None, []])
def test_pictures_of_joined_nut_are_refused(tmp_path, codec, sounds):
  path = tmp_path / 'a.nut'
  media_clips.write(path, SECONDS, video_codec=codec, pix_fmt='yuv420p' if codec == 'mpeg4' else 'gray', sounds=sounds)
  assert len(media_clips.decode_pictures(path)) == SECONDS * 25
  path.write_bytes(path.read_bytes() * 3)
  with pytest.raises(MediaError, match=r'a\.nut: 3 recordings .* ffmpeg -f concat'):
    media_clips.decode_pictures(path)
  if sounds is None:
    assert len(media_clips.decode_sound(path)[1]) == 3 * SECONDS * 16000


def test_all_of_joined_amr_is_decoded(tmp_path, capsys):
  # Written by hand, as not every FFmpeg encodes AMR: its magic, then frames of 20 ms, a header and 31 bytes each.
  path, data = tmp_path / 'a.amr', b'#!AMR\n' + (b'\x3c' + bytes(31)) * SECONDS * 50
  for count in (1, 2):
    path.write_bytes(data * count)
    assert abs(len(media_clips.decode_sound(path)[1]) / 16000 - SECONDS * count) < 0.1
  assert capsys.readouterr().err == ''


@pytest.mark.parametrize('data', [b'fLaC' + bytes(99), b'FORM\0\0\0\x048SVX', b'OggS', b'RIFF', b'RIFF\4\0\0\0WAVE'])
def test_what_is_no_recording_is_one(tmp_path, data):
  (tmp_path / 'a').write_bytes(data)
  assert joined.recordings(tmp_path / 'a') == [(0, len(data))] and joined.unread(tmp_path / 'a') is None


@pytest.mark.parametrize('place', [0, 5, 16, 31])
def test_marks_are_found_wherever_blocks_end(tmp_path, monkeypatch, place):
  monkeypatch.setattr(joined, 'BLOCK_BYTES', 32)
  mark, path = b'fLaC\0\0\0\x22', tmp_path / 'a'
  data = mark + bytes(64 + place) + mark + bytes(100) + mark
  path.write_bytes(data)
  second, third = 72 + place, 180 + place
  assert joined.recordings(path) == [(0, second), (second, third), (third, len(data))]


def test_where_a_warning_goes(tmp_path):
  path = media_clips.write(tmp_path / 'a.mp4', 1, **media_clips.CODED)
  path.write_bytes(path.read_bytes() * 3)
  told = []
  assert list(decoding.decode_audio(path, 16000, warn=told.append))
  assert told == ['2 more behind the first recording in it are not read; join by ffmpeg -f concat']
