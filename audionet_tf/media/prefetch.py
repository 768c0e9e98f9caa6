"""The sounds of many files, some of them being decoded while another is heard."""

import collections
from concurrent import futures

import joblib

from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.media import decoding, integrity, wav_tfio


def sound_of(path, sample_rate_hz, mono, decoded=None):
  """`decoding.decode_audio` of a file that may be packed; errors name the file itself.

  Args:
    path, sample_rate_hz, mono: as there.
    decoded: None, or what `wav_tfio.decoded` gave of it.
  """
  try:
    if decoded:
      yield from decoding.pcm_chunks(wav_tfio.mono_blocks(*decoded, mono), sample_rate_hz)
      return
    with integrity.decompressed(path) as file:
      yield from decoding.decode_audio(file, sample_rate_hz, mono)
  except UserError as error:
    raise MediaError(path, error.reason if isinstance(error, MediaError) else str(error)) from None


def cut(chunks, samples):
  """The first `samples` of the chunks."""
  for chunk in chunks:
    yield chunk[:samples]
    samples -= len(chunk)
    if samples <= 0:
      return


def placed(chunks, start):
  """(start, chunk) of chunks one after another."""
  for chunk in chunks:
    yield start, chunk
    start += len(chunk)


def opened_ahead(paths, clips, open_one):
  """Yields (clip, future of open_one(clip, decoded)) in order, a few of them being opened in threads meanwhile.

  Args:
    paths: of the clips' files.
    clips: list of anything.
    open_one: function of a clip and of what `wav_tfio.decoded` gave of its file.
  """
  threads = joblib.cpu_count()
  with futures.ThreadPoolExecutor(threads) as pool:
    opened = collections.deque()
    for clip, decoded in zip(clips, wav_tfio.decoded(paths), strict=True):
      opened.append((clip, pool.submit(open_one, clip, decoded)))
      if len(opened) > 2 * threads:
        yield opened.popleft()
    yield from opened
