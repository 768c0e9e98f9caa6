"""AIFF, CAF and W64 in which FFmpeg finds other sound than there is: each is refused in a line that says why."""

import struct

import media_clips
import numpy as np
import pytest

from audionet_tf.core.errors import MediaError
from audionet_tf.media.containers import chunks

RATE_HZ = media_clips.RATE_HZ
TONE = np.rint(media_clips.tone(440, 2, RATE_HZ) * 2**31).astype(np.int64)
W64_FORMAT = bytes.fromhex('666d7420 f3acd311 8cd100c0 4f8edb8a')
W64_FILE = bytes.fromhex('72696666 2e91cf11 a5d628db 04c10000'), bytes.fromhex('77617665 f3acd311 8cd100c0 4f8edb8a')
RATE_OF_80_BITS = struct.pack('>HQ', 16383 + 13, RATE_HZ << 50)


def aiff(sounds, bits=16, kind=b'', size=None):
  common = struct.pack('>hIH', 1, len(TONE), bits) + RATE_OF_80_BITS + kind + bytes(2 if kind else 0)
  body = (b'AIFC' if kind else b'AIFF') + b'COMM' + struct.pack('>I', len(common)) + common
  body += b''.join(b'SSND' + struct.pack('>I', 8 + len(sound)) + bytes(8) + sound for sound in sounds)
  return b'FORM' + struct.pack('>I', len(body) if size is None else size) + body


def caf(sounds, bits=16, sample_bytes=2, kind=b'lpcm'):
  data = b'caff\0\1\0\0desc' + struct.pack('>qd4s5I', 32, RATE_HZ, kind, 0, sample_bytes, 1, 1, bits)
  return data + b''.join(b'data' + struct.pack('>qI', 4 + len(sound), 0) + sound for sound in sounds)


def w64(sounds, bits=16, sample_bytes=2, valid_bits=None):
  tag = 1 if valid_bits is None else 0xFFFE
  fmt = struct.pack('<HHIIHH', tag, 1, RATE_HZ, RATE_HZ * sample_bytes, sample_bytes, bits)
  if valid_bits is not None:
    fmt += struct.pack('<HHI', 22, valid_bits, 4) + bytes.fromhex('0100000000001000800000aa00389b71')
  body, name = W64_FILE[1], chunks.FORMATS[chunks.W64].sound
  for name, data in [(W64_FORMAT, fmt), *((name, sound) for sound in sounds)]:
    body += name + struct.pack('<Q', 24 + len(data)) + data + bytes(-len(data) % 8)
  return W64_FILE[0] + struct.pack('<Q', 24 + len(body)) + body


def samples(sample_bytes, order, count=1):
  """Bytes of the tone, at the top of samples of so many bytes, in `count` equal parts."""
  step = 1 if order == 'big' else -1
  whole = b''.join((int(value) & 0xFFFFFFFF).to_bytes(4, 'big')[:sample_bytes][::step] for value in TONE)
  size = len(whole) // count
  return [whole[begin : begin + size] for begin in range(0, len(whole), size)]


@pytest.mark.parametrize(
  ('name', 'data'),
  [
    ('a.aiff', aiff(samples(2, 'big'))),
    ('a.aiff', aiff(samples(2, 'big'), 12)),
    ('a.aifc', aiff(samples(2, 'little'), kind=b'sowt')),
    ('a.caf', caf(samples(2, 'big'))),
    ('a.caf', caf(samples(2, 'big'), 12)),
    ('a.caf', caf(samples(4, 'big'), 32, 4)),
    ('a.w64', w64(samples(2, 'little'))),
    ('a.w64', w64(samples(4, 'little'), 32, 4)),
    ('a.w64', w64(samples(4, 'little'), 32, 4, valid_bits=32)),
  ],
)
def test_what_ffmpeg_reads_as_it_is_meant(tmp_path, name, data, capsys):
  (tmp_path / name).write_bytes(data)
  np.testing.assert_allclose(media_clips.decode_sound(tmp_path / name)[1], TONE / 2**31, atol=1e-4)
  assert not capsys.readouterr().err


@pytest.mark.parametrize(
  ('name', 'data', 'reason'),
  [
    ('a.aiff', aiff(samples(2, 'big', 2)), 'several chunks of sound'),
    ('a.aifc', aiff(samples(2, 'little', 4), kind=b'sowt'), 'several chunks of sound'),
    ('a.caf', caf(samples(2, 'big', 2)), 'several chunks of sound'),
    ('a.w64', w64(samples(2, 'little', 2)), 'several chunks of sound'),
    ('a.aiff', aiff(samples(2, 'big'), 0), 'samples of 0 bits'),
    ('a.aifc', aiff(samples(2, 'little'), 0, b'sowt'), 'samples of 0 bits'),
    ('a.caf', caf(samples(4, 'big'), 24, 4), 'samples of 24 bits take 4 bytes'),
    ('a.caf', caf(samples(3, 'big'), 16, 3), 'samples of 16 bits take 3 bytes'),
    ('a.w64', w64(samples(4, 'little'), 24, 4), 'samples of 24 bits take 4 bytes'),
    ('a.w64', w64(samples(4, 'little'), 32, 4, valid_bits=24), 'samples of 24 bits take 4 bytes'),
    ('a.w64', w64(samples(2, 'little'), 0), 'samples of 0 bits'),
  ],
)
def test_what_ffmpeg_reads_otherwise_is_refused(tmp_path, name, data, reason):
  (tmp_path / name).write_bytes(data)
  with pytest.raises(MediaError, match=rf'{name}: .*{reason}'):
    media_clips.decode_sound(tmp_path / name)


@pytest.mark.parametrize('size', [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_aiff_of_no_known_size_that_is_cut(tmp_path, size):
  data = aiff(samples(2, 'big'), size=size)
  (tmp_path / 'a.aiff').write_bytes(data)
  assert len(media_clips.decode_sound(tmp_path / 'a.aiff')[1]) == 2 * RATE_HZ
  (tmp_path / 'a.aiff').write_bytes(data[: len(data) // 2])
  with pytest.raises(MediaError, match=r'a\.aiff: .*truncated'):
    media_clips.decode_sound(tmp_path / 'a.aiff')
