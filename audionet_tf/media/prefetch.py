"""Sound of many files, decoded ahead in threads."""

import collections
from concurrent import futures

import joblib

from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.media import decoding, wav_tfio
from audionet_tf.media.containers import integrity


def sound_of(path, sample_rate_hz, mono, decoded=None):
  """Decodes the sound of a file that may be compressed with gzip.

  Args:
    path: a media file, or one inside a .gz.
    sample_rate_hz: int, rate of the output.
    mono: 'mean' of all channels, or the 'first' channel.
    decoded: (rate_hz, f32 [n, channels]) where `wav_tfio.decoded` has decoded the file, else None.

  Yields:
    (start_sample, int16 [n]): contiguous chunks of about a second (`decoding.decode_audio`).

  Raises:
    MediaError: the file is unreadable, truncated or damaged, or has no sound; names `path`, not a decompressed copy.
  """
  try:
    if decoded:
      yield from decoding.pcm_chunks(wav_tfio.mono_blocks(*decoded, mono), sample_rate_hz, warn=decoding.printer(path))
      return
    with integrity.decompressed(path) as file:
      yield from decoding.decode_audio(file, sample_rate_hz, mono)
  except UserError as error:
    raise MediaError(path, error.reason if isinstance(error, MediaError) else str(error)) from None


def cut(chunks, samples):
  """Yields arrays until they hold the first `samples` samples of the chunks."""
  for chunk in chunks:
    yield chunk[:samples]
    samples -= len(chunk)
    if samples <= 0:
      return


def placed(chunks, start):
  """Yields (start, chunk) of contiguous chunks, the first at `start`."""
  for chunk in chunks:
    yield start, chunk
    start += len(chunk)


def opened_ahead(paths, clips, open_one):
  """Opens clips in order, a few of them ahead in threads.

  Args:
    paths: files of the clips.
    clips: list of any values, one per path.
    open_one: function (clip, decoded), called in a thread; `decoded` is an item of `wav_tfio.decoded`, None where
      PyAV is to decode the file.

  Yields:
    (clip, future of open_one's result).
  """
  threads = joblib.cpu_count()
  with futures.ThreadPoolExecutor(threads) as pool:
    opened = collections.deque()
    for clip, decoded in zip(clips, wav_tfio.decoded(paths), strict=True):
      opened.append((clip, pool.submit(open_one, clip, decoded)))
      if len(opened) > 2 * threads:
        yield opened.popleft()
    yield from opened
