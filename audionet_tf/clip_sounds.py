"""The sounds of many files, some of them being decoded while another is heard."""

import collections
from concurrent import futures

from audionet_tf import clip_decoding, local_files, machine, media
from audionet_tf.errors import MediaError, UserError


def sound_of(path, sample_rate_hz, mono, decoded=None):
  """`media.sound_chunks` of a file that may be packed; errors name the file itself.

  Args:
    path, sample_rate_hz, mono: as there.
    decoded: None, or what `clip_decoding.decoded` gave of it.
  """
  try:
    if decoded:
      yield from media.pcm_chunks(clip_decoding.mono_blocks(*decoded, mono), sample_rate_hz)
      return
    with local_files.unpacked(path) as file:
      yield from media.sound_chunks(file, sample_rate_hz, mono)
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
    open_one: function of a clip and of what `clip_decoding.decoded` gave of its file.
  """
  threads = machine.processors()
  with futures.ThreadPoolExecutor(threads) as pool:
    opened = collections.deque()
    for clip, decoded in zip(clips, clip_decoding.decoded(paths), strict=True):
      opened.append((clip, pool.submit(open_one, clip, decoded)))
      if len(opened) > 2 * threads:
        yield opened.popleft()
    yield from opened
