"""WAV files whose headers hold placeholders, count headers as sound, or declare fewer bits than their samples take."""

import io
import struct

import media_clips
import numpy as np
import pytest

from audionet_tf.core.errors import MediaError
from audionet_tf.media import decoding, prefetch, wav_tfio
from audionet_tf.media.containers import wav_header

RATE_HZ = 16000
SOUND = np.rint(12_000 * np.sin(2 * np.pi * 440 * np.arange(3 * RATE_HZ) / RATE_HZ)).astype(np.int16)
SOUND[:RATE_HZ] = SOUND[2 * RATE_HZ :] = 0  # a tone from second 1 to 2
BYTES = SOUND.nbytes
PCM_GUID = bytes.fromhex('0100000000001000800000aa00389b71')


def write_wav(path, data, riff_bytes, data_bytes, rate_hz=RATE_HZ, fmt=None, before=b'', behind=b'', form=b'RIFF'):
  """Writes a WAV with any declared sizes. None: the true ones."""
  fmt = fmt or struct.pack('<HHIIHH', 1, 1, rate_hz, 2 * rate_hz, 2, 16)
  chunks = b'WAVE' + struct.pack('<4sI', b'fmt ', len(fmt)) + fmt + before
  true_bytes = len(chunks) + 8 + len(data) + len(behind)
  head = form + struct.pack('<I', true_bytes if riff_bytes is None else riff_bytes)
  data_head = b'data' + struct.pack('<I', len(data) if data_bytes is None else data_bytes)
  path.write_bytes(head + chunks + data_head + data + behind)
  return path


def samples_by_every_reader(path, rate_hz=RATE_HZ):
  """int16 [n] by PyAV, and by what `features`, `probe` and `evaluate` read with; asserts that they agree."""
  ((start, by_pyav),) = [joined(decoding.decode_audio(path, rate_hz))]
  (ahead,) = wav_tfio.decoded([path])
  assert start == 0
  np.testing.assert_array_equal(by_pyav, joined(prefetch.sound_of(path, rate_hz, 'mean', ahead))[1])
  return by_pyav


def joined(chunks):
  chunks = list(chunks)
  return chunks[0][0], np.concatenate([pcm for _, pcm in chunks])


PLACEHOLDERS = [
  (0x7FFFF024, 0x7FFFF000),  # SoX
  (0x80000024, 0x80000000),  # arecord
  (0xFFFFFFFF, 0xFFFFFFFF),  # FFmpeg
  (0, 0),
  (36, 0),  # a header that is written first and never again
  (0x7FFFFFFF, 0x7FFFFFFF - 36),
  (0x80000000, 0x7FFFFFDC),
  (0xFFFFFFF7, 0xFFFFFFD3),
  (0xFFFFFFFF, BYTES),
  (BYTES + 36, 0xFFFFFFFF),
  (0x40000024, 0x40000000),
  (BYTES + 44, BYTES),  # RIFF counts itself
  (BYTES + 44, BYTES + 8),
  (BYTES + 44, BYTES + 44),  # the length of the file
  (BYTES + 36, BYTES + 36),
  (0, BYTES),
]


@pytest.mark.parametrize('riff_bytes, data_bytes', PLACEHOLDERS)
def test_sizes_of_pipes_and_recorders(tmp_path, riff_bytes, data_bytes):
  path = write_wav(tmp_path / 'a.wav', SOUND.tobytes(), riff_bytes, data_bytes)
  np.testing.assert_array_equal(samples_by_every_reader(path), SOUND)


def test_a_pipe_with_chunks_before_its_sound(tmp_path):
  note = b'LIST' + struct.pack('<I', 70_000) + bytes(70_000)  # longer than any reader looks ahead
  path = write_wav(tmp_path / 'a.wav', SOUND.tobytes(), 0x7FFFF024, 0x7FFFF000, before=note)
  np.testing.assert_array_equal(samples_by_every_reader(path), SOUND)


@pytest.mark.parametrize('share', [0.3, 0.9])
def test_truncation_is_still_an_error(tmp_path, share):
  path = write_wav(tmp_path / 'a.wav', SOUND.tobytes(), None, None)
  path.write_bytes(path.read_bytes()[: round(share * BYTES)])
  with pytest.raises(MediaError, match=r'a\.wav: truncated'):
    media_clips.decode_sound(path)


def test_a_note_cut_off_behind_the_sound_does_no_harm(tmp_path):
  note = b'LIST' + struct.pack('<I', 400) + bytes(400)
  path = write_wav(tmp_path / 'a.wav', SOUND.tobytes(), None, None, behind=note)
  path.write_bytes(path.read_bytes()[:-300])
  np.testing.assert_array_equal(samples_by_every_reader(path), SOUND)


NOTE = b'LIST' + struct.pack('<I', 17) + b'INFOISFT' + struct.pack('<I', 5) + b'abcde'  # without a byte behind it
ID3 = b'id3 ' + struct.pack('<I', 70_000) + bytes(70_000)
CUES = b'cue ' + struct.pack('<II', 4, 0)


@pytest.mark.parametrize('behind', [NOTE, NOTE + b'\0', ID3, CUES + NOTE + b'\0', NOTE + b'\0' + CUES])
@pytest.mark.parametrize('tag, bits', [(1, 16), (6, 8)])  # PCM, A-law
@pytest.mark.parametrize('data_bytes', [0, 0x7FFFF000, 0xFFFFFFFF])
def test_chunks_behind_sound_of_unknown_length_are_no_sound(tmp_path, data_bytes, tag, bits, behind):
  fmt = struct.pack('<HHIIHH', tag, 1, RATE_HZ, bits // 8 * RATE_HZ, bits // 8, bits)
  data = SOUND.tobytes() if bits == 16 else bytes(range(256)) * 100
  paths = [
    write_wav(tmp_path / f'{len(end)}.wav', data, 0xFFFFFFFF, data_bytes, fmt=fmt, behind=end) for end in (b'', behind)
  ]
  bare, noted = (samples_by_every_reader(path) for path in paths)
  assert len(bare) == len(data) * 8 // bits
  np.testing.assert_array_equal(noted, bare)


@pytest.mark.parametrize('behind', [NOTE[:-3], b'LIST' + struct.pack('<I', 99), b'LIST'])
def test_what_is_no_whole_chunk_is_sound(tmp_path, behind):
  behind += b'\0' * (len(behind) % 2)
  path = write_wav(tmp_path / 'a.wav', SOUND.tobytes(), 0xFFFFFFFF, 0xFFFFFFFF, behind=behind)
  np.testing.assert_array_equal(samples_by_every_reader(path), np.append(SOUND, np.frombuffer(behind, '<i2')))


def test_many_chunks_behind_sound_of_unknown_length(tmp_path):
  """As many as are looked for: with the square of their number, this would not end."""
  chunks = (b'LIST' + bytes(4)) * 400_000
  path = write_wav(tmp_path / 'a.wav', SOUND.tobytes(), 0xFFFFFFFF, 0xFFFFFFFF, behind=chunks)
  np.testing.assert_array_equal(samples_by_every_reader(path), SOUND)
  path.write_bytes(path.read_bytes() + b'LIST')  # the last is not whole: all is sound
  assert len(samples_by_every_reader(path)) == len(SOUND) + (len(chunks) + 4) // 2


@pytest.mark.parametrize('more', [1, 2])
@pytest.mark.parametrize('between', [b'', NOTE + b'\0'])
@pytest.mark.parametrize('riff_bytes', [None, 36 + BYTES])
@pytest.mark.parametrize('tag, bits, scale', [(1, 16, 1), (7, 8, 1), (3, 32, 32768)])  # PCM, mu-law, float
def test_sound_in_several_chunks(tmp_path, riff_bytes, between, more, tag, bits, scale):
  fmt = struct.pack('<HHIIHH', tag, 1, RATE_HZ, bits // 8 * RATE_HZ, bits // 8, bits)
  dtype = {8: 'u1', 16: '<i2', 32: '<f4'}[bits]
  parts = [((SOUND & 255 if bits == 8 else SOUND) / scale).astype(dtype)[begin:] for begin in (0, 20_000, 30_000)]
  first, *others = [part.tobytes() for part in parts]
  behind = b''.join(between + b'data' + struct.pack('<I', len(other)) + other for other in others[:more])
  path = write_wav(tmp_path / 'a.wav', first, riff_bytes, None, fmt=fmt, behind=behind)
  whole = write_wav(tmp_path / 'whole.wav', first + b''.join(others[:more]), None, None, fmt=fmt)
  np.testing.assert_array_equal(samples_by_every_reader(path), samples_by_every_reader(whole))


def data_chunk(samples, declared_bytes=None):
  return b'data' + struct.pack('<I', 2 * len(samples) if declared_bytes is None else declared_bytes) + samples.tobytes()


@pytest.mark.parametrize(
  ('between', 'declared_bytes', 'cut_bytes', 'line'),
  [
    (b'', None, 1000, 'ends 1000 bytes too early: truncated'),
    (b'', 9000, 0, 'ends 5800 bytes too early: truncated'),
    (b'', 0xFFFFFFFF, 0, None),  # of a pipe
    (b'LIST' + struct.pack('<I', 5) + b'INFO1', None, 0, None),  # without the byte that pads it
    (b'LIST' + struct.pack('<I', 5) + b'INFO1\0', None, 0, None),
    (data_chunk(SOUND[:0]), None, 0, None),
    (b'LIST' + struct.pack('<I', 0), None, 0, None),
  ],
)
def test_a_later_chunk_of_sound_harms_none_before_it(tmp_path, capsys, between, declared_bytes, cut_bytes, line):
  first, second = SOUND[16_000:17_600], SOUND[18_000:19_600]
  path = write_wav(tmp_path / 'a.wav', first.tobytes(), None, None, behind=between + data_chunk(second, declared_bytes))
  path.write_bytes(path.read_bytes()[: -cut_bytes or None])
  expected = np.concatenate([first, second])[: 3200 - cut_bytes // 2]
  np.testing.assert_array_equal(samples_by_every_reader(path), expected)
  told = capsys.readouterr().err.splitlines()
  assert len(told) == (2 if line else 0) and all(line in one for one in told)  # by either reader


def test_many_chunks_of_sound_and_too_many(tmp_path, capsys, monkeypatch):
  pieces = SOUND[16_000:19_000].reshape(1500, 2)
  behind = b''.join(map(data_chunk, pieces[1:]))
  path = write_wav(tmp_path / 'a.wav', pieces[0].tobytes(), None, None, behind=behind)
  np.testing.assert_array_equal(samples_by_every_reader(path), pieces.ravel())
  assert not capsys.readouterr().err
  monkeypatch.setattr(wav_header, 'MAX_CHUNKS', 1200)
  np.testing.assert_array_equal(samples_by_every_reader(path), pieces[:1200].ravel())
  assert 'first 1,200 chunks' in capsys.readouterr().err


def test_thousands_of_joined_files_without_sound(tmp_path):
  """As many as are looked for: with the square of their number, this would not end."""
  path = tmp_path / 'a.wav'
  path.write_bytes(b'RIFF\4\0\0\0WAVE' * 20_000)
  with open(path, 'rb') as file:
    found = wav_header.recordings(file, path.stat().st_size)
  assert found[:2] == [(0, 12), (12, 24)] and len(found) == wav_header.MAX_RECORDINGS + 1


def test_headers_that_share_their_chunks_are_walked_once(tmp_path, monkeypatch):
  """Each header jumps over the others, to the same thousands of chunks."""
  monkeypatch.setattr(wav_header, 'MAX_CHUNKS', 1000)
  monkeypatch.setattr(wav_header, 'MAX_RECORDINGS', 100)
  reads, count = [], 100
  heads = [b'RIFF\x0c\0\0\0WAVEJUNK' + struct.pack('<I', 20 * (count - 1 - number)) for number in range(count)]
  data = b''.join(heads) + (b'JUNK' + bytes(4)) * 1000

  class File(io.BytesIO):
    def read(self, size=-1):
      reads.append(size)
      return super().read(size)

  found = wav_header.recordings(File(data), len(data))
  assert found[:-1] == [(20 * number, 20 * number + 20) for number in range(count - 1)]
  assert len(reads) < 5000
  (tmp_path / 'a.wav').write_bytes(data)
  assert wav_tfio.plain_header(tmp_path / 'a.wav') is None


def left_aligned(values, valid_bits, container_bits):
  """The bytes of samples in [-1, 1) with `valid_bits` at the top of containers, little endian; 8 bits are unsigned."""
  whole = np.floor(values * 2.0 ** (valid_bits - 1)).astype(np.int64) << (container_bits - valid_bits)
  whole += 128 if container_bits == 8 else 0
  return whole.astype('<i8').view(np.uint8).reshape(-1, 8)[:, : container_bits // 8].tobytes()


@pytest.mark.parametrize('channels', [1, 2])
@pytest.mark.parametrize(
  'valid_bits, container_bits, declared_bits',
  [
    (24, 32, 32),
    (20, 32, 32),
    (16, 32, 32),
    (24, 32, 24),  # the container's width only from the block alignment
    (20, 24, 24),
    (18, 24, 24),
    (16, 24, 24),
    (12, 16, 16),
    (14, 16, 16),
    (8, 16, 16),
    (6, 8, 8),
    (0, 16, 16),  # not filled in
    (16, 16, 16),
    (24, 24, 24),
    (32, 32, 32),
  ],
)
def test_valid_bits_in_wider_containers(tmp_path, valid_bits, container_bits, declared_bits, channels):
  values = np.repeat(SOUND / 32768, channels)
  align = channels * container_bits // 8
  fmt = struct.pack('<HHIIHH', 0xFFFE, channels, RATE_HZ, align * RATE_HZ, align, declared_bits)
  fmt += struct.pack('<HHI', 22, valid_bits, 0) + PCM_GUID
  data = left_aligned(values, valid_bits or container_bits, container_bits)
  path = write_wav(tmp_path / 'a.wav', data, None, None, fmt=fmt)
  step = 2.0 ** (16 - min(16, valid_bits or 16))  # of the coarsest sample, in those of 16 bits
  np.testing.assert_allclose(samples_by_every_reader(path), SOUND, atol=step)


@pytest.mark.parametrize('kind', ['whole', 'floats', 'silence'])
@pytest.mark.parametrize('channels', [1, 2])
def test_24_bits_in_32_without_valid_bits(tmp_path, kind, channels):
  fmt = struct.pack('<HHIIHH', 1, channels, RATE_HZ, 4 * channels * RATE_HZ, 4 * channels, 24)
  values = np.repeat(SOUND / 32768, channels) * (kind != 'silence')
  data = (values * 2**23).astype('<f4').tobytes() if kind == 'floats' else left_aligned(values, 24, 32)
  path = write_wav(tmp_path / 'a.wav', data, None, None, fmt=fmt)
  np.testing.assert_array_equal(samples_by_every_reader(path), SOUND * (kind != 'silence'))


def test_valid_bits_of_a_pipe(tmp_path):
  fmt = struct.pack('<HHIIHHHHI', 0xFFFE, 1, RATE_HZ, 4 * RATE_HZ, 4, 32, 22, 24, 0) + PCM_GUID
  path = write_wav(tmp_path / 'a.wav', left_aligned(SOUND / 32768, 24, 32), 0xFFFFFFFF, 0xFFFFFFFF, fmt=fmt)
  np.testing.assert_array_equal(samples_by_every_reader(path), SOUND)


@pytest.mark.parametrize(
  'peak, shown', [(0.9, None), (1.5, None), (5.0, 'lower its level'), (32767.0, 'divide them by 32768')]
)
@pytest.mark.parametrize('bits', [32, 64])
def test_floats_on_another_scale_are_noticed(tmp_path, capsys, peak, shown, bits):
  fmt = struct.pack('<HHIIHH', 3, 1, RATE_HZ, bits // 8 * RATE_HZ, bits // 8, bits)
  data = (SOUND / np.float64(12_000) * peak).astype(f'<f{bits // 8}').tobytes()
  path = write_wav(tmp_path / 'loud.wav', data, None, None, fmt=fmt)
  (ahead,) = wav_tfio.decoded([path])
  for read in (lambda: decoding.decode_audio(path, RATE_HZ), lambda: prefetch.sound_of(path, RATE_HZ, 'mean', ahead)):
    list(read())
    lines = capsys.readouterr().err.splitlines()
    assert [(str(path) in line, shown in line) for line in lines] == ([(True, True)] if shown else [])


RF64_SIZES = b'ds64' + struct.pack('<IQQQI', 28, 0, 0, 0, 0)  # of a recorder that did not end
RF64_ONES = b'ds64' + struct.pack('<I', 28) + b'\xff' * 24 + bytes(4)


@pytest.mark.parametrize(
  'header',
  [
    {'fmt': struct.pack('<HHIIH', 1, 1, RATE_HZ, 2 * RATE_HZ, 2)},
    {'before': NOTE},
    {'before': NOTE + b'\0'},  # as it should be
    {'before': NOTE, 'behind': b'LIST' + struct.pack('<I', 4) + b'INFO'},
    {'form': b'RF64', 'ds64': RF64_SIZES, 'data_bytes': 0xFFFFFFFF},
    {'form': b'BW64', 'ds64': RF64_SIZES, 'data_bytes': 0xFFFFFFFF},
    {'form': b'RF64', 'ds64': RF64_ONES, 'data_bytes': 0xFFFFFFFF},
    {'form': b'RF64', 'ds64': RF64_ONES, 'data_bytes': 0xFFFFFFFF, 'behind': NOTE},
    {'form': b'RF64', 'data_bytes': 0xFFFFFFFF},  # without the chunk of sizes
  ],
)
def test_headers_that_are_not_as_they_should_be(tmp_path, header):
  header = {'data_bytes': None} | header
  ds64 = header.pop('ds64', b'')
  path = write_wav(tmp_path / 'a.wav', SOUND.tobytes(), None, **header)
  content = path.read_bytes()
  path.write_bytes(content[:12] + ds64 + content[12:])
  np.testing.assert_array_equal(samples_by_every_reader(path), SOUND)


def test_big_endian_wav_is_refused(tmp_path):
  fmt = struct.pack('>4sIHHIIHH', b'fmt ', 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
  data = b'WAVE' + fmt + struct.pack('>4sI', b'data', BYTES) + SOUND.astype('>i2').tobytes()
  (tmp_path / 'a.wav').write_bytes(b'RIFX' + struct.pack('>I', len(data)) + data)
  with pytest.raises(MediaError, match=r'a\.wav: a big-endian WAV'):
    list(decoding.decode_audio(tmp_path / 'a.wav', RATE_HZ))


@pytest.mark.parametrize('codec', ['pcm_s16be', 'pcm_s16le', 'pcm_f32be'])
@pytest.mark.parametrize('unknown', ['all', 'file', 'sound', 'frames'])
def test_aiff_of_unknown_length(tmp_path, codec, unknown):
  """As FFmpeg writes it into a pipe; whoever does not know the number of frames may write the largest, too."""
  path = media_clips.write(tmp_path / 'a.aiff', 2, times=[], audio_codec=codec)
  data, expected = bytearray(path.read_bytes()), joined(decoding.decode_audio(path, RATE_HZ))[1]
  sound, frames = data.index(b'SSND') + 4, data.index(b'COMM') + 10
  if unknown in ('all', 'file'):
    data[4:8] = bytes(4)
  if unknown in ('all', 'sound'):
    data[sound : sound + 4] = bytes(4)
  if unknown in ('all', 'frames'):
    data[frames : frames + 4] = bytes(4) if unknown == 'all' else b'\xff' * 4
  path.write_bytes(data)
  np.testing.assert_array_equal(joined(decoding.decode_audio(path, RATE_HZ))[1], expected)


def test_aiff_that_is_cut(tmp_path):
  path = media_clips.write(tmp_path / 'a.aiff', 2, times=[], audio_codec='pcm_s16be')
  assert len(joined(decoding.decode_audio(path, RATE_HZ))[1]) == 2 * RATE_HZ
  path.write_bytes(path.read_bytes()[:40_000])
  with pytest.raises(MediaError, match=r'a\.aiff: truncated'):
    list(decoding.decode_audio(path, RATE_HZ))


@pytest.mark.parametrize('behind', [b'acid\4\0\0\0abcd', b'PMX1\3\0\0\0abc\0cart\0\0\0\0'])
def test_sound_that_looks_like_a_header_is_sound_where_chunks_end_the_file(tmp_path, behind):
  sound = (np.arange(16000) % 100).astype('<i2').tobytes() + b'RIFF1234WAVE'
  path = write_wav(tmp_path / 'a.wav', sound, None, None, behind=behind)
  assert len(media_clips.decode_sound(path)[1]) == 16006
