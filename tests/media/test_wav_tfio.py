"""Clips that tensorflow-io decodes inside tf.data: the same samples as PyAV's, and to PyAV whatever is not plain."""

import sys
import wave

import av
import numpy as np
import pytest

from audionet_tf.core.errors import MediaError
from audionet_tf.media import decoding, prefetch, wav_tfio

# File to how it is encoded: codec, sample format, rate, channels.
OURS = {
  'u8.wav': ('pcm_u8', 'u8', 8_000, 1),
  's16.wav': ('pcm_s16le', 's16', 44_100, 2),
  's24.wav': ('pcm_s24le', 's32', 48_000, 2),
  'f32.wav': ('pcm_f32le', 'flt', 22_050, 2),
}
OTHERS = {
  's16.flac': ('flac', 's16', 22_050, 1),
  's24.flac': ('flac', 's32', 44_100, 2),
  's32.wav': ('pcm_s32le', 's32', 22_050, 2),
  'alaw.wav': ('pcm_alaw', 's16', 8_000, 1),
  'sound.mp3': ('libmp3lame', 'fltp', 44_100, 2),
  'vorbis.ogg': ('vorbis', 'fltp', 44_100, 2),
  'flac.ogg': ('flac', 's16', 44_100, 2),
}
TYPES = {'u8': np.uint8, 's16': np.int16, 's32': np.int32, 'flt': np.float32, 'fltp': np.float32}


def write(path, codec, sample_format, rate_hz, channels, seconds=1.3):
  """Writes a file of noise that grows louder."""
  noise = np.random.default_rng(0).uniform(-1, 1, [channels, round(seconds * rate_hz)])
  noise *= np.linspace(0.1, 0.9, noise.shape[1])
  dtype = TYPES[sample_format]
  if dtype is np.uint8:
    noise = np.rint(128 + 127 * noise)
  elif dtype is not np.float32:
    noise = np.rint(noise * np.iinfo(dtype).max)
  with av.open(str(path), 'w') as out:
    layout = {1: 'mono', 2: 'stereo'}[channels]
    options = {'strict': 'experimental'} if codec == 'vorbis' else {}
    stream = out.add_stream(codec, rate=rate_hz, layout=layout, options=options)
    stream.codec_context.format = sample_format
    stream.codec_context.open()
    size = stream.codec_context.frame_size or 1024
    for start in range(0, noise.shape[1], size):
      piece = np.ascontiguousarray(noise[:, start : start + size].astype(dtype))
      array = piece if sample_format.endswith('p') else np.ascontiguousarray(piece.T).reshape(1, -1)
      frame = av.AudioFrame.from_ndarray(array, format=sample_format, layout=layout)
      frame.sample_rate, frame.pts = rate_hz, start
      out.mux(stream.encode(frame))
    out.mux(stream.encode(None))
  return path


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('sounds')
  for name, how in (OURS | OTHERS).items():
    write(folder / name, *how)
  whole = (folder / 's16.wav').read_bytes()
  (folder / 'cut.wav').write_bytes(whole[:30_000])
  (folder / 'header.wav').write_bytes(whole[:30])
  place = whole.index(b'data') + 4
  (folder / 'lying.wav').write_bytes(whole[:place] + (1 << 22).to_bytes(4, 'little') + whole[place + 4 :])
  (folder / 'bits.wav').write_bytes(whole[:32] + bytes(4) + whole[36:])
  (folder / 'align.wav').write_bytes(whole[:32] + b'\3' + whole[33:])
  (folder / 'text.wav').write_text('no sound')
  with wave.open(str(folder / 'silent.wav'), 'wb') as file:
    file.setparams((1, 2, 8000, 0, 'NONE', ''))
  return folder


REFUSED = (*OTHERS, 'cut.wav', 'header.wav', 'lying.wav', 'align.wav', 'bits.wav', 'text.wav', 'silent.wav')


@pytest.fixture(scope='module')
def found(folder):
  """dict of name to what `decoded` gave, those of one call: what is refused stands between what is not."""
  names = [name for pair in zip(REFUSED, [*OURS] * 4, strict=False) for name in pair] + ['missing.wav', *OURS]
  return dict(zip(names, wav_tfio.decoded([folder / name for name in names]), strict=True))


def heard(path, rate_hz, mono, decoded=None):
  """(first sample, int16 [n])."""
  chunks = list(prefetch.sound_of(path, rate_hz, mono, decoded))
  return chunks[0][0], np.concatenate([pcm for _, pcm in chunks])


@pytest.mark.parametrize('name', OURS)
def test_samples_equal_pyavs(folder, found, name):
  _, _, rate_hz, channels = OURS[name]
  assert found[name][0] == rate_hz and found[name][1].shape == (round(1.3 * rate_hz), channels)
  for new_rate_hz, mono in ((16_000, 'first'), (22_050, 'mean')):
    expected = np.concatenate([pcm for _, pcm in decoding.decode_audio(folder / name, new_rate_hz, mono)])
    start, pcm = heard(folder / name, new_rate_hz, mono, found[name])
    assert start == 0 and np.ptp(pcm.astype(int)) > 30_000
    np.testing.assert_array_equal(pcm, expected)


@pytest.mark.parametrize('name', [*REFUSED, 'missing.wav'])
def test_other_files_are_left_to_pyav(found, name):
  assert found[name] is None


def test_pyav_decodes_other_formats_or_names_the_file(folder):
  for name in OTHERS:
    assert len(heard(folder / name, 16_000, 'mean')[1]) > 15_000
  for name in ('cut.wav', 'text.wav', 'missing.wav'):
    with pytest.raises(MediaError, match=f'{name}: '):
      heard(folder / name, 16_000, 'mean')


def test_long_files_are_left_to_pyav(folder, monkeypatch):
  monkeypatch.setattr(wav_tfio, 'MOST_SAMPLES', 2 * round(1.3 * 22_050) - 1)
  assert wav_tfio.header(folder / 'f32.wav') is None
  assert wav_tfio.header(folder / 'u8.wav') == ((1, 8), 8_000, 1, round(1.3 * 8_000))


def test_clips_keep_order_and_errors(folder):
  names = ['s16.wav', 'text.wav', 'sound.mp3', 's24.wav', 'missing.wav', 'u8.wav', 's16.flac']
  opened = prefetch.opened_ahead(
    [folder / name for name in names], names, lambda name, decoded: heard(folder / name, 8_000, 'mean', decoded)
  )
  for name, (clip, future) in zip(names, opened, strict=True):
    assert clip == name
    if name in ('text.wav', 'missing.wav'):
      assert isinstance(future.exception(), MediaError)
    else:
      np.testing.assert_array_equal(future.result()[1], heard(folder / name, 8_000, 'mean')[1])


def test_without_tensorflow_io_pyav_decodes_all(folder, monkeypatch, capsys):
  monkeypatch.setitem(sys.modules, 'tensorflow_io', None)
  assert list(wav_tfio.decoded([folder / 's16.wav', folder / 'u8.wav'])) == [None, None]
  told = capsys.readouterr().err
  assert told.startswith('tensorflow-io does not load, PyAV decodes all clips') and told.count('\n') == 1
  assert list(wav_tfio.decoded([folder / 'sound.mp3'])) == [None] and not capsys.readouterr().err
