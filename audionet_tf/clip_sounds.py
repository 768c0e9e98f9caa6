"""The sounds of many files, some of them being decoded while another is heard."""

import collections
from concurrent import futures

from audionet_tf import local_files, machine, media
from audionet_tf.errors import MediaError


def sound_of(path, sample_rate_hz, mono):
  """`media.sound_chunks` of a file that may be packed; errors name the file itself."""
  try:
    with local_files.unpacked(path) as file:
      yield from media.sound_chunks(file, sample_rate_hz, mono)
  except MediaError as error:
    raise MediaError(path, error.reason) from None


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


def opened_ahead(clips, open_one):
  """Yields (clip, future of open_one(clip)) in order, a few of them being opened in threads meanwhile."""
  threads = machine.processors()
  with futures.ThreadPoolExecutor(threads) as pool:
    opened, clips = collections.deque(), iter(clips)
    for clip in clips:
      opened.append((clip, pool.submit(open_one, clip)))
      if len(opened) > 2 * threads:
        yield opened.popleft()
    yield from opened
