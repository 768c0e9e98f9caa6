"""Decodes one video, in a process of its own, into a part file. Imports nothing heavier than the decoder."""

import contextlib
import dataclasses
import errno
import io
import itertools
import os
import pathlib
import resource
import shutil
import signal
import time
from collections import deque

import numpy as np
import simplejpeg

from audionet_tf.core import files
from audionet_tf.core.durations import exact
from audionet_tf.core.errors import DiskFullError, MediaError, UserError
from audionet_tf.core.stores import object_store
from audionet_tf.data import records
from audionet_tf.data.shards import tfrecord_io
from audionet_tf.media import decoding, resizing, timeline
from audionet_tf.media.containers import integrity
from tfrecords.jobs import Outcome, copy_folder, partial_path

REPORT_SECONDS = 0.2  # between two messages about finished windows
# A file may give windows for FREE_SECONDS, and for one more second per LEAST_BYTES_PER_SECOND of its size. Real files
# have higher rates; constant pictures and sound compress so well that a megabyte could fill a disk with windows.
FREE_SECONDS = 600
LEAST_BYTES_PER_SECOND = 125
LONGEST_SUFFIXES = 50  # bytes of them, which tell the format of a video, in the name of its copy


def work(connection, job, environment):
  """Runs a Job; sends the number of windows so far from time to time, and an Outcome at the end.

  `environment` is that of the program now: a process has that of the first build, perhaps without the keys of a store.
  """
  os.environ.update(environment)
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles it
  no_memory = Outcome(reason=f'needs more memory than the {job.memory_bytes >> 20} MiB allowed')
  try:
    with at_hand(job, connection.send) as local:
      set_limits(job.memory_bytes)
      windows = write_part(local, connection.send)
    connection.send(Outcome(windows=windows))  # whereupon this process is killed
  except MediaError as error:
    connection.send(Outcome(reason=error.reason))
  except UserError as error:
    connection.send(Outcome(reason=str(error)))
  except MemoryError:
    connection.send(no_memory)
  except BrokenPipeError:  # the build has ended
    return
  except DiskFullError as error:
    connection.send(Outcome(reason=str(error), errno=errno.ENOSPC))
  except OSError as error:
    ends_build = files.is_full(error) or is_of_output(error, job)
    failure = Outcome(0, f'{error.filename or job.part}: {error.strerror}', error.errno if ends_build else None)
    connection.send(no_memory if error.errno == errno.ENOMEM else failure)


def is_of_output(error, job):
  """Whether an OSError is one of writing: reading a video gives MediaError, other errors name a file elsewhere."""
  folder = os.path.abspath(os.path.dirname(job.part))
  return error.filename is None or os.path.abspath(error.filename).startswith(f'{folder}{os.sep}')


def set_limits(memory_bytes):
  """Limits the memory of this process, which decodes what comes from anyone, and that it leaves no core."""
  for kind, limit in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CORE, 0)):
    hard = resource.getrlimit(kind)[1]
    with contextlib.suppress(ValueError, OSError):  # some systems lack a limit
      resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


@contextlib.contextmanager
def at_hand(job, report):
  """Context with the Job of a local file: of a video in a store, a copy that is removed at the end.

  Args:
    job: Job.
    report: function that is called with 0, the number of windows so far, while the copy comes.

  Raises:
    UserError: the video is gone or has changed since it was listed, or the store cannot be read.
  """
  if job.stored is None:
    yield job
    return
  suffixes = ''.join(pathlib.PurePath(job.path).suffixes[-2:]).encode(errors='ignore')[-LONGEST_SUFFIXES:]
  folder = copy_folder(job)
  copy = folder / f'copy{suffixes.decode(errors="ignore")}'
  try:
    folder.mkdir()
    object_store.fetch(job.path, job.stored, copy, alive=lambda: report(0))
    yield dataclasses.replace(job, path=str(copy), stored=None)
  finally:
    shutil.rmtree(folder, ignore_errors=True)


def write_part(job, report):
  """Writes the windows of a video as framed records, in order; the file appears when it is complete.

  Args:
    job: Job.
    report: function that is called with the number of windows so far, about every REPORT_SECONDS and at the end.

  Returns:
    Number of windows.

  Raises:
    MediaError: the video cannot be used, is shorter than a window, or has far too many windows for its size.
  """
  count, reported, params = 0, 0.0, job.params
  integrity.check_regular(job.path)
  with contextlib.ExitStack() as stack:
    own, warn = copy_folder(job), decoding.printer(job.video_id)  # `path` may be that of a copy
    own.mkdir(exist_ok=True)
    stack.callback(shutil.rmtree, own, ignore_errors=True)
    path = stack.enter_context(integrity.decompressed(job.path, own))
    file = stack.enter_context(files.atomic_write(job.part, 'wb', partial_path(job, os.getpid())))
    most = most_windows(os.path.getsize(job.path), params)
    for index, pcm, images in windows(path, params, warn):
      if count >= most:
        raise MediaError(job.path, f'too small a file for more than {count} windows')
      file.write(tfrecord_io.framed(records.window_example(params, job.video_id, index, pcm, images)))
      count += 1
      if time.monotonic() - reported > REPORT_SECONDS:
        report(count)
        reported = time.monotonic()
    if not count:
      if params.short_videos == 'skip':
        problem = 'sound and picture do not share' if params.images_per_window else 'the sound does not fill'
        raise MediaError(job.path, f'{problem} one window of {params.window_seconds} s')
      file.write(tfrecord_io.framed(records.window_example(params, job.video_id, 0, *short_window(path, params, warn))))
      count = 1
    report(count)  # fails if the build has ended: another one may be running by now
  return count


def most_windows(size_bytes, params):
  """Largest number of windows that a file of this size may give."""
  return int((FREE_SECONDS + size_bytes / LEAST_BYTES_PER_SECOND) / params.hop_seconds)


def windows(path, params, warn):
  """Yields the windows of a video that its sound covers, and its picture if there are pictures, in order.

  Args:
    path: of the video.
    params: RecordParams.
    warn: as for `decoding.decode_audio`.

  Yields:
    (index, int16 [window_samples], T encoded images).
  """
  if params.images_per_window:
    yield from paired_windows(path, params, warn)
    return
  with contextlib.closing(sound_of(path, params, warn)) as chunks:
    for index, pcm in timeline.cut_windows(chunks, params.window_seconds, params.hop_seconds, params.sample_rate_hz):
      yield index, pcm, []


def sound_of(path, params, warn, max_seconds=None):
  """The sound of a video as `decoding.decode_audio` yields it, up to `max_seconds` or that of the params."""
  stop = params.max_seconds if max_seconds is None else max_seconds
  return decoding.decode_audio(path, params.sample_rate_hz, params.mono, stop, warn)


def short_window(path, params, warn):
  """The only window of a video that is shorter than a window.

  If the first n of the T image times lie within the video, n at least 1, the sound is truncated or zero-padded to n / T
  of the window and repeated to its full length; pictures and their times are repeated likewise. Without pictures the
  sound is repeated as it is.

  Source: Aytar et al. 2016 (SoundNet), code `data/donkey_audio.lua`.

  Args:
    path: of the video.
    params: RecordParams.
    warn: as for `decoding.decode_audio`.

  Returns:
    (int16 [window_samples], T encoded images, their T times).

  Raises:
    MediaError: there is no picture at the first image time, or no sound.
  """
  times = params.image_seconds(0)
  images = first_pictures(path, params)
  if times and not images:
    raise MediaError(
      path, f'shorter than a window of {params.window_seconds} s, and no picture at its first time, {float(times[0])} s'
    )
  window = exact(params.window_seconds)
  covered = window * len(images) / len(times) if times else window
  pieces = list(sound_of(path, params, warn, covered))
  if not pieces:
    raise MediaError(path, f'no sound in its first {float(covered)} s')
  sound = np.concatenate([np.zeros(pieces[0][0], np.int16), *(samples for _, samples in pieces)])
  if times:
    samples = round(covered * params.sample_rate_hz)
    sound = np.pad(sound[:samples], (0, max(0, samples - sound.size)))
  pcm = np.resize(sound, params.window_samples)  # which repeats
  return pcm, repeated(images, len(times)), repeated(times[: len(images)], len(times))


def repeated(values, count):
  """The first `count` of the endlessly repeated values, a list."""
  return list(itertools.islice(itertools.cycle(values), count))


def first_pictures(path, params):
  """The encoded pictures at the first window's image times, up to the first time without a picture."""
  times, images, encode = deque(params.image_seconds(0)), [], encoder(params)
  if not times:
    return images
  with contextlib.closing(decoding.decode_frames(path)) as pictures:
    for start, end, frame in pictures:
      if start > times[0]:
        break
      encoded = None
      while times and times[0] < end:
        encoded = encoded or encode(frame)
        images.append(encoded)
        times.popleft()
      if not times:
        break
  return images


def paired_windows(path, params, warn):
  """Yields the windows that both sound and picture cover, in order.

  The file is opened twice, once for the sound and once for the pictures: memory does not depend on how the file
  interleaves them.

  Args:
    path: of the video.
    params: RecordParams.
    warn: as for `decoding.decode_audio`.

  Yields:
    (index, int16 [window_samples], T encoded images).
  """
  with contextlib.ExitStack() as stack:
    chunks = stack.enter_context(contextlib.closing(sound_of(path, params, warn)))
    pictures = stack.enter_context(contextlib.closing(decoding.decode_frames(path)))
    sound_windows = timeline.cut_windows(chunks, params.window_seconds, params.hop_seconds, params.sample_rate_hz)
    picture_windows = shown_windows(pictures, params, encoder(params))
    images_index, images = -1, None
    for index, pcm in sound_windows:
      while images_index < index:
        images_index, images = next(picture_windows, (None, None))
        if images is None:
          return
      if images_index == index:
        yield index, pcm, images


def shown_windows(pictures, params, encode):
  """Yields the windows that the picture covers, with the pictures shown at their image times.

  A picture is encoded at most once, when a window needs it; only encoded pictures are kept.

  Args:
    pictures: iterable of (start_seconds, end_seconds, frame).
    params: RecordParams.
    encode: function of a frame that returns bytes.

  Yields:
    (index, T encoded images) in order.
  """
  window, hop = exact(params.window_seconds), exact(params.hop_seconds)
  index, begin, pending = None, None, deque()  # of (index, end of the window, image times left, images so far)
  for start, end, frame in pictures:
    if index is None:
      index = max(0, -(-start // hop))
      begin = index * hop
    encoded = None
    fresh = list(pending)
    while True:
      for _, _, times, images in fresh:
        while times and times[0] < end:
          encoded = encoded or encode(frame)
          images.append(encoded)
          times.popleft()
      while pending and pending[0][1] <= end:
        done, _, _, images = pending.popleft()
        yield done, images
      if begin >= end:
        break
      fresh = [(index, begin + window, deque(params.image_seconds(index)), [])]
      pending.extend(fresh)
      index, begin = index + 1, begin + hop


def encoder(params):
  """A function that resizes a decoded frame and encodes it as JPEG or PNG, bytes."""
  is_jpeg = params.image_format == 'jpeg'
  resize = (resizing.jpeg_planes_resizer if is_jpeg else resizing.frame_resizer)(params.image_size)

  def encode(frame):
    with resizing.without_gathers():
      picture = resize(frame)
    if is_jpeg:
      return simplejpeg.encode_jpeg_yuv_planes(*picture, quality=params.jpeg_quality)
    from PIL import Image  # not needed for JPEG, and slow to import

    out = io.BytesIO()
    Image.fromarray(picture).save(out, format='PNG')
    return out.getvalue()

  return encode
