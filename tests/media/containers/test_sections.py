"""Files that a music program has put a tag before."""

import media_clips
import numpy as np
import pytest

from audionet_tf.core.errors import MediaError
from audionet_tf.media import decoding, prefetch, wav_tfio
from audionet_tf.media.containers import joined, sections


def id3(content_bytes, footer=False):
  """An ID3v2 tag, as its definition has it: the size in four times seven bits, without head and footer."""
  size = [content_bytes >> 7 * place & 127 for place in (3, 2, 1, 0)]
  tag = b'ID3\4\0' + bytes([0x10 * footer, *size])
  return tag + bytes(content_bytes) + (b'3DI' + tag[3:]) * footer


@pytest.mark.parametrize('tag', [id3(0), id3(300), id3(130, footer=True), id3(5) + id3(200_000)])
@pytest.mark.parametrize(
  ('name', 'options'),
  [
    ('a.wav', {'times': []}),
    ('rf64.wav', {'times': [], 'options': {'rf64': 'always'}}),
    ('a.aiff', {'times': [], 'audio_codec': 'pcm_s16be'}),
    ('a.au', {'times': [], 'audio_codec': 'pcm_s16be'}),
    ('a.avi', media_clips.CODED | {'audio_codec': 'mp3'}),
    ('a.caf', {'times': [], 'audio_codec': 'pcm_s16be'}),
    ('a.w64', {'times': []}),
    ('a.flac', {'times': [], 'audio_codec': 'flac'}),
    ('a.mp3', {'times': [], 'audio_codec': 'mp3', 'rate_hz': 44100}),
    ('a.aac', {'times': [], 'audio_codec': 'aac', 'rate_hz': 44100, 'format': 'adts'}),
    ('a.m4a', {'times': [], 'audio_codec': 'aac', 'rate_hz': 44100}),
    ('a.mp4', media_clips.CODED),
    ('a.mkv', {}),
    ('a.ogg', {'times': [], 'audio_codec': 'flac'}),
    ('a.wma', {'times': [], 'audio_codec': 'wmav2', 'rate_hz': 44100}),
  ],
)
def test_a_tag_in_front_changes_nothing(tmp_path, name, options, tag, capsys):
  path = media_clips.write(tmp_path / name, **options)
  data, sound, seconds = path.read_bytes(), media_clips.decode_sound(path)[1], decoding.declared_duration(path)
  pictures = 'times' not in options and media_clips.decode_pictures(path)
  path.write_bytes(tag + data)
  np.testing.assert_array_equal(media_clips.decode_sound(path)[1], sound)
  assert decoding.declared_duration(path) == pytest.approx(seconds, rel=0.01)
  if pictures:
    for (start, end, picture), (_, _, other) in zip(pictures, media_clips.decode_pictures(path), strict=True):
      assert start < end
      np.testing.assert_array_equal(picture, other)
  (ahead,) = wav_tfio.decoded([path])
  assert ahead is None
  again = np.concatenate([pcm for _, pcm in prefetch.sound_of(path, media_clips.RATE_HZ, 'mean', ahead)])
  np.testing.assert_array_equal(again / 32768, sound)
  assert not capsys.readouterr().err


@pytest.mark.parametrize('name, options', [('a.wav', {}), ('a.aiff', {'audio_codec': 'pcm_s16be'})])
def test_a_cut_file_behind_a_tag_is_an_error(tmp_path, name, options):
  path = media_clips.write(tmp_path / name, times=[], **options)
  path.write_bytes(id3(99) + path.read_bytes()[:9000])
  with pytest.raises(MediaError, match=rf'{name}: truncated'):
    media_clips.decode_sound(path)


def test_wav_files_joined_behind_a_tag(tmp_path):
  path = media_clips.write(tmp_path / 'a.wav', times=[])
  data, sound = path.read_bytes(), media_clips.decode_sound(path)[1]
  path.write_bytes(id3(99) + data + data)
  assert joined.recordings(path) == [(109, 109 + len(data)), (109 + len(data), 109 + 2 * len(data))]
  np.testing.assert_array_equal(media_clips.decode_sound(path)[1], np.tile(sound, 2))


@pytest.mark.parametrize(
  'data', [id3(9), id3(9)[:-3], id3(9) + b'RIF', b'ID3\4\0\0\xff\0\0\0RIFF', id3(1) * 200 + b'RIFF']
)
def test_what_no_recording_follows_is_read_from_its_start(tmp_path, data):
  (tmp_path / 'a').write_bytes(data)
  with sections.behind_tags(tmp_path / 'a') as file:
    assert file.begin == 0 and file.read() == data


def test_many_parts_read_as_the_bytes_that_they_are(tmp_path):
  """As many as are read: with the square of their number, this would not end."""
  path, count = tmp_path / 'a', 100_000
  path.write_bytes(bytes(range(250)) * 4000)
  with sections.Section(path, 7) as file:
    file.replace(b'head', [(10 * i, 10 * i + i % 4) for i in range(count - 1)])  # some of them empty
    content = path.read_bytes()[7:]
    expected = b'head' + b''.join(content[10 * i : 10 * i + i % 4] for i in range(count - 1))
    assert file.length == len(expected)
    assert b''.join(iter(lambda: file.read(2), b'')) == expected
    for place in (0, 3, 4, 5, len(expected) - 3, len(expected), len(expected) + 5):
      file.seek(place)
      assert file.read(7) == expected[place : place + 7]
    file.seek(2)
    assert file.read() == expected[2:] and file.read() == b''
