"""Sound from a pipe: WAV of every kind and length, raw samples, cut anywhere, as from a file."""

import io
import struct

import numpy as np
import pytest
from scipy.io import wavfile

from audionet_tf.core.errors import UserError
from audionet_tf.media import decoding, pipe
from audionet_tf.media.containers import wav_header

RATE = 44_100
ALAW = b'RIFF\0\0\0\0WAVEfmt \x10\0\0\0' + struct.pack('<HHIIHH', 6, 1, 8000, 8000, 1, 8) + b'data\0\0\0\0'


class Dripping(io.BytesIO):
  """A pipe that gives a few bytes at a time, of changing number, and cannot seek."""

  def __init__(self, data, most=997):
    super().__init__(data)
    self.sizes = np.random.default_rng(0).integers(1, most, 1000).tolist() * 1000

  def read1(self, size=-1):
    return super().read1(min(size, self.sizes.pop()))

  def seek(self, *_):
    raise io.UnsupportedOperation


def wav(tmp_path, samples):
  """The path of a WAV file."""
  wavfile.write(tmp_path / 'a.wav', RATE, samples)
  return tmp_path / 'a.wav'


def sound(channels, seconds=1.3):
  rng = np.random.default_rng(1)
  return rng.uniform(-0.9, 0.9, [round(seconds * RATE), channels])


KINDS = {
  'u8': lambda x: np.round(x * 127 + 128).astype(np.uint8),
  's16': lambda x: np.round(x * 32767).astype(np.int16),
  's32': lambda x: np.round(x * (2**31 - 1)).astype(np.int32),
  'f32': lambda x: x.astype(np.float32),
}


def heard(data, rate_hz=22_050, mono='mean', most=997, **options):
  chunks = list(pipe.Pipe(Dripping(data, most), **options).chunks(rate_hz, mono))
  assert [start for start, _ in chunks] == np.cumsum([0, *(len(pcm) for _, pcm in chunks[:-1])]).tolist()
  return np.concatenate([pcm for _, pcm in chunks])


@pytest.mark.parametrize(('kind', 'channels', 'mono', 'rate'), [
  ('u8', 1, 'mean', 22_050), ('s16', 2, 'mean', 22_050), ('s16', 2, 'first', RATE), ('s32', 1, 'mean', 16_000),
  ('f32', 3, 'mean', 16_000),
])  # fmt: skip
def test_wav_is_what_a_file_is(tmp_path, kind, channels, mono, rate):
  path = wav(tmp_path, KINDS[kind](sound(channels)))
  expected = np.concatenate([pcm for _, pcm in decoding.decode_audio(path, rate, mono)])
  found = heard(path.read_bytes(), rate, mono)
  assert len(found) == len(expected)
  assert np.abs(found.astype(int) - expected).max() <= 1  # the resampler gets other blocks


@pytest.mark.parametrize('size', [0, 0x7FFFF000, 0x80000000, 0xFFFFFFFF])
def test_length_may_be_unknown_as_programs_leave_it(tmp_path, size):
  data = bytearray(wav(tmp_path, KINDS['s16'](sound(1))).read_bytes())
  begin = data.index(b'data') + 4
  whole = np.frombuffer(bytes(data[begin + 4 :]), '<i2')
  data[begin : begin + 4] = data[4:8] = struct.pack('<I', size)
  np.testing.assert_array_equal(heard(bytes(data), RATE), whole)


def test_what_follows_the_sound_is_not_heard(tmp_path):
  data = wav(tmp_path, KINDS['s16'](sound(1))).read_bytes()
  np.testing.assert_array_equal(heard(data + b'LIST\x04\0\0\0abcd', RATE), heard(data, RATE))


NOTE = b'LIST' + struct.pack('<I', 17) + b'INFOISFT' + struct.pack('<I', 5) + b'abcde'
ID3 = b'id3 ' + struct.pack('<I', 7000) + bytes(7000)
CUES = b'cue ' + struct.pack('<II', 4, 0)
BEHIND = [
  NOTE,
  NOTE + b'\0',
  ID3,
  CUES + NOTE + b'\0',
  NOTE + b'\0' + CUES,
  (b'LIST' + bytes(4)) * 1000,
  NOTE[:-3],  # the others are no whole chunks: sound, as in a file
  b'LIST' + struct.pack('<I', 99),
  b'LIST',
  b'LIS',
  CUES + b'LIST',
  NOTE + b'\0' + b'data' + CUES,
  b'LIST' + struct.pack('<I', 15_000) + bytes(15_000),  # more than is held back
  b'LIST' + struct.pack('<I', 24) + CUES + CUES + b'xx',
]


@pytest.mark.parametrize('behind', BEHIND, ids=range(len(BEHIND)))
@pytest.mark.parametrize('most', [2, 40, 50_000])
@pytest.mark.parametrize('form', [b'RIFF', b'RF64'])
def test_chunks_behind_sound_of_unknown_length_are_those_of_a_file(tmp_path, monkeypatch, behind, most, form):
  monkeypatch.setattr(wav_header, 'MOST_TRAILING', 10_000)
  path = wav(tmp_path, KINDS['s16'](sound(1, 0.05)))
  data = bytearray(path.read_bytes())
  begin = data.index(b'data') + 4
  data[begin : begin + 4] = data[4:8] = struct.pack('<I', 0xFFFFFFFF)
  data[:4] = form
  behind += bytes(len(behind) % 2)
  path.write_bytes(data + behind)
  expected = np.concatenate([pcm for _, pcm in decoding.decode_audio(path, RATE)])
  np.testing.assert_array_equal(heard(bytes(data) + behind, RATE, most=most), expected)


def data_chunk(size):
  return b'data' + struct.pack('<I', size) + bytes(size)


def test_sound_of_later_chunks_is_heard_and_what_is_joined_is_named(tmp_path, monkeypatch, capsys):
  path = wav(tmp_path, KINDS['s16'](sound(2)))
  data = path.read_bytes()
  samples, later = data[44:], b'data' + struct.pack('<I', 4003) + bytes(range(250)) * 16 + b'odd' + b'\0'
  path.write_bytes(data + NOTE + later + data_chunk(0) + data_chunk(400))
  expected = np.concatenate([pcm for _, pcm in decoding.decode_audio(path, RATE)])
  assert len(expected) == (len(samples) + 4000 + 400) // 4
  np.testing.assert_array_equal(heard(path.read_bytes(), RATE), expected)
  pipe_of_placeholder = data + b'data' + struct.pack('<I', 0xFFFFFFFF) + bytes(402) + CUES
  assert len(heard(pipe_of_placeholder, RATE)) == (len(samples) + 400) // 4
  assert not capsys.readouterr().err
  monkeypatch.setattr(wav_header, 'MAX_CHUNKS', 10)
  assert len(heard(data + data_chunk(400) * 20, RATE)) == (len(samples) + 9 * 400) // 4
  assert 'first 10 chunks is not read' in capsys.readouterr().err
  np.testing.assert_array_equal(heard(data + data, RATE), heard(data, RATE))
  assert capsys.readouterr().err == 'warning: stdin: ' + (
    'what follows its first recording is not read: join recordings as raw samples\n'
  )


@pytest.mark.parametrize('most', [2, 40, 50_000])
@pytest.mark.parametrize('note', [b'', NOTE + b'\0'])
def test_what_is_joined_behind_sound_of_unknown_length_is_named(tmp_path, capsys, most, note):
  data = bytearray(wav(tmp_path, KINDS['s16'](sound(1, 0.05))).read_bytes())
  data[4:8] = data[40:44] = b'\xff' * 4
  almost = b'RIFF1234WAV'  # is sound
  expected = heard(bytes(data) + almost + b'x', RATE)
  np.testing.assert_array_equal(heard(bytes(data) + almost + b'x' + note + bytes(data), RATE, most=most), expected)
  assert 'what follows its first recording is not read' in capsys.readouterr().err


def test_sound_that_ends_before_its_declared_length_is_named(tmp_path, capsys):
  data = wav(tmp_path, KINDS['s16'](sound(1))).read_bytes()
  np.testing.assert_array_equal(heard(data[:-1000], RATE), heard(data, RATE)[:-500])
  assert capsys.readouterr().err == 'warning: stdin: its sound ends 1000 bytes too early: truncated\n'
  heard(data[:-100], RATE)  # of a program that counts headers as sound
  assert not capsys.readouterr().err


@pytest.mark.parametrize('padding', [b'', b'\0'])
def test_chunks_of_odd_length_before_the_sound(tmp_path, padding):
  data = wav(tmp_path, KINDS['s16'](sound(1))).read_bytes()
  place = data.index(b'data')
  odd = data[:place] + b'LIST\x05\0\0\0abcde' + padding + data[place:]
  np.testing.assert_array_equal(heard(odd, RATE), heard(data, RATE))


def test_raw_samples_have_the_rate_that_is_said():
  samples = KINDS['s16'](sound(2))
  found = heard(samples.tobytes() + b'\1', RATE, sample_rate_hz=RATE, channels=2)
  expected = samples.astype(np.float64).mean(1)
  assert np.abs(found - expected).max() <= 0.5 + 1e-3


def test_samples_of_24_bits(tmp_path):
  samples = KINDS['s32'](sound(1)) & ~0xFF
  data = bytearray(wav(tmp_path, samples).read_bytes())
  head = data[: data.index(b'data') + 8]
  head[32:36] = struct.pack('<HH', 3, 24)
  body = samples[:, 0].astype('<i4').tobytes()
  packed = b''.join(body[i + 1 : i + 4] for i in range(0, len(body), 4))
  np.testing.assert_array_equal(heard(bytes(head) + packed, RATE), heard(bytes(data), RATE))


@pytest.mark.parametrize(('bits', 'align'), [(16, 0), (16, 4), (12, 2), (24, 4), (32, 4), (20, 3), (8, 1)])
def test_samples_are_as_wide_as_in_a_file(tmp_path, bits, align):
  """Of headers that disagree with themselves."""
  wide = 4 if (bits, align) == (24, 4) else -(-bits // 8)
  samples = (
    (KINDS['s32'](sound(1)) >> 32 - bits << 32 - bits).astype('<i4').view(np.uint8).reshape(-1, 4)[:, 4 - wide :]
  )
  data = bytearray(wav(tmp_path, KINDS['s16'](sound(1))).read_bytes()[:44])
  data[32:36], data[40:44] = struct.pack('<HH', align, bits), struct.pack('<I', samples.size)
  data += (samples ^ (0x80 if bits == 8 else 0)).tobytes()
  (tmp_path / 'a.wav').write_bytes(data)
  expected = np.concatenate([pcm for _, pcm in decoding.decode_audio(tmp_path / 'a.wav', RATE)])
  assert np.abs(expected - (KINDS['s32'](sound(1))[:, 0] / 65536)).max() < 2 ** max(0, 16 - bits) + 1
  np.testing.assert_array_equal(heard(bytes(data), RATE), expected)


def test_a_sample_is_there_before_the_next_one_comes():
  """Each ten milliseconds give a chunk before more is read."""

  class Slow:
    def __init__(self):
      self.reads = 0

    def read1(self, size):
      if size < 100:  # the first bytes, looked at for a header
        return b'\1\0' * (size // 2)
      self.reads += 1
      return b'\1\0' * 441

  slow = Slow()
  chunks = pipe.Pipe(slow, RATE).chunks(RATE)
  for number in range(1, 200):
    start, pcm = next(chunks)
    assert start + len(pcm) >= 441 * (number - 1) and slow.reads <= number


@pytest.mark.parametrize(('data', 'options', 'message'), [
  (b'', {}, 'no sound in it'),
  (b'OggS' + bytes(100), {}, 'not WAV; pipe WAV'),
  (b'RIFF\0\0\0\0AVI ' + bytes(100), {}, 'not WAV'),
  (b'RIFF\0\0\0\0WAVE', {'sample_rate_hz': 16_000}, 'leave out --sample_rate'),
  (ALAW, {}, 'format 6'),
])  # fmt: skip
def test_what_cannot_be_heard_is_said(data, options, message):
  with pytest.raises(UserError, match=message):
    list(pipe.Pipe(io.BufferedReader(io.BytesIO(data)), **options).chunks(16_000))
