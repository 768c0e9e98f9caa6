"""Clips decoded by tensorflow-io or SciPy: the same samples as PyAV's, and to PyAV whatever is not plain."""

import os
import sys
import wave

import av
import numpy as np
import pytest
import tensorflow as tf

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


# tensorflow-io must load with TensorFlow 2.17, and cannot with a later one.
DECODERS = ('tensorflow-io', 'scipy') if tf.__version__.startswith('2.17.') else ('scipy',)


@pytest.fixture(scope='module', params=DECODERS)
def decoded_files(folder, request):
  """dict of name to item of `wav_tfio.decoded`, from one call in which refused files alternate with others."""
  with pytest.MonkeyPatch.context() as patched:
    if request.param == 'scipy':
      patched.setitem(sys.modules, 'tensorflow_io', None)
    assert (wav_tfio.tensorflow_io() is None) == (request.param == 'scipy')
    return decoded_by_name(folder)


def decoded_by_name(folder):
  """dict of file name to item of `wav_tfio.decoded`."""
  names = [name for pair in zip(REFUSED, [*OURS] * 4, strict=False) for name in pair] + ['missing.wav', *OURS]
  return dict(zip(names, wav_tfio.decoded([folder / name for name in names]), strict=True))


def decode(path, rate_hz, mono, decoded=None):
  """(start_sample, int16 [n]) of a whole file."""
  chunks = list(prefetch.sound_of(path, rate_hz, mono, decoded))
  return chunks[0][0], np.concatenate([pcm for _, pcm in chunks])


@pytest.mark.parametrize('name', OURS)
def test_samples_equal_pyavs(folder, decoded_files, name):
  _, _, rate_hz, channels = OURS[name]
  assert decoded_files[name][0] == rate_hz and decoded_files[name][1].shape == (round(1.3 * rate_hz), channels)
  for new_rate_hz, mono in ((16_000, 'first'), (22_050, 'mean')):
    expected = np.concatenate([pcm for _, pcm in decoding.decode_audio(folder / name, new_rate_hz, mono)])
    start, pcm = decode(folder / name, new_rate_hz, mono, decoded_files[name])
    assert start == 0 and np.ptp(pcm.astype(int)) > 30_000
    np.testing.assert_array_equal(pcm, expected)


@pytest.mark.parametrize('name', [*REFUSED, 'missing.wav'])
def test_other_files_are_left_to_pyav(decoded_files, name):
  assert decoded_files[name] is None


def test_pyav_decodes_other_formats_or_names_the_file(folder):
  for name in OTHERS:
    assert len(decode(folder / name, 16_000, 'mean')[1]) > 15_000
  for name in ('cut.wav', 'text.wav', 'missing.wav'):
    with pytest.raises(MediaError, match=f'{name}: '):
      decode(folder / name, 16_000, 'mean')


def test_long_files_are_left_to_pyav(folder, monkeypatch):
  monkeypatch.setattr(wav_tfio, 'MOST_SAMPLES', 2 * round(1.3 * 22_050) - 1)
  assert wav_tfio.header(folder / 'f32.wav') is None
  assert wav_tfio.header(folder / 'u8.wav') == ((1, 8), 8_000, 1, round(1.3 * 8_000))


def test_clips_keep_order_and_errors(folder):
  names = ['s16.wav', 'text.wav', 'sound.mp3', 's24.wav', 'missing.wav', 'u8.wav', 's16.flac']
  opened = prefetch.opened_ahead(
    [folder / name for name in names], names, lambda name, decoded: decode(folder / name, 8_000, 'mean', decoded)
  )
  for name, (clip, future) in zip(names, opened, strict=True):
    assert clip == name
    if name in ('text.wav', 'missing.wav'):
      assert isinstance(future.exception(), MediaError)
    else:
      np.testing.assert_array_equal(future.result()[1], decode(folder / name, 8_000, 'mean')[1])


def test_a_name_that_is_not_utf8_is_decoded_like_any_other(folder, tmp_path):
  paths = [tmp_path / name for name in ('a.wav', os.fsdecode(b'caf\xe9.wav'), 'z.wav')]
  for path in paths:
    path.write_bytes((folder / 'u8.wav').read_bytes())
  ((_, expected),) = wav_tfio.decoded([folder / 'u8.wav'])
  for _, samples in wav_tfio.decoded(paths):
    np.testing.assert_array_equal(samples, expected)


@pytest.mark.parametrize('name', OURS)
def test_samples_by_definition(folder, decoded_files, name):
  """Samples equal FFmpeg's frames, neither mixed nor resampled, with the zero and full scale of the format."""
  zero, scale = {'u8': (128, 128), 's16': (0, 1 << 15), 's24': (0, 1 << 31), 'f32': (0, 1)}[name.partition('.')[0]]
  with av.open(str(folder / name)) as container:
    frames = [frame.to_ndarray().reshape(-1, decoded_files[name][1].shape[1]) for frame in container.decode(audio=0)]
  expected = (np.concatenate(frames).astype(np.float64) - zero) / scale
  assert decoded_files[name][1].dtype == np.float32
  np.testing.assert_array_equal(decoded_files[name][1], expected)


def test_other_chunks_are_skipped(folder, tmp_path, monkeypatch, recwarn):
  monkeypatch.setitem(sys.modules, 'tensorflow_io', None)
  whole = (folder / 's16.wav').read_bytes()
  (tmp_path / 'more.wav').write_bytes(whole + b'note' + (4).to_bytes(4, 'little') + b'text')
  ((_, expected), (_, samples)) = wav_tfio.decoded([folder / 's16.wav', tmp_path / 'more.wav'])
  np.testing.assert_array_equal(samples, expected)
  assert not recwarn.list
