"""Records from videos."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import store_folder

if TYPE_CHECKING:
  from tfrecords.builder import Summary

  Path = str | os.PathLike


def build_records(
  videos: Path | Iterable[Path],
  output: Path = 'data/clips',
  *,
  window_seconds: float = 0.04,
  hop_seconds: float | None = None,
  images_per_window: int = 1,
  sample_rate_hz: int = 16000,
  mono: str = 'mean',
  image_size: int = 224,
  image_format: str = 'jpeg',
  jpeg_quality: int = 95,
  max_seconds: float | None = None,
  short_videos: str = 'skip',
  shards: int | None = None,
  workers: int | None = None,
  timeout_seconds: float = 120,
  memory_mb: int = 4096,
) -> Summary:
  """Builds the records of videos, or those that are missing, as `tfrecords.build` does. Needs no TensorFlow.

  Args:
    videos: a file, glob or folder, or several; or addresses of these in a store, such as s3://bucket/clips.
    output: folder of the records, or its address in a store; made if missing.
    window_seconds: length of a window, 0.001 to 3600.
    hop_seconds: from the start of a window to the next. None: the window.
    images_per_window: number of pictures, each from the middle of an equal part of the window; 0 for sound alone.
    sample_rate_hz: of the stored sound, 1000 to 192000.
    mono: 'mean' of all channels, or the 'first'.
    image_size: width and height of the stored pictures, pixels.
    image_format: 'jpeg' or 'png'.
    jpeg_quality: 1 to 95.
    max_seconds: use the first seconds of each video only.
    short_videos: 'skip' or 'repeat' videos shorter than a window.
    shards: number of files. None: about 128 MB each, at least two.
    workers: number of videos decoded at a time. None: one per processor.
    timeout_seconds: a video is skipped if it finishes no window for this long.
    memory_mb: address space of the process that decodes a video, MiB.

  Returns:
    Summary: `videos`, `windows`, `built`, `kept`, `shards`, `bytes`, `seconds`, `failures` (name to reason).

  Raises:
    UserError: an argument is out of range, there is no such video, `output` holds records of other arguments, or no
      video can be used.
  """
  from audionet_tf.data import params
  from tfrecords import builder

  for name, value, least in (
    ('shards', shards, 1),
    ('workers', workers, 1),
    ('timeout_seconds', timeout_seconds, 1),
    ('memory_mb', memory_mb, 256),
  ):
    if value is not None and not least <= value < 1e9:
      raise UserError(f'{name} is {value}, allowed is {least} or more')
  arguments = [videos] if isinstance(videos, str | os.PathLike) else list(videos)
  record_params = params.RecordParams(
    window_seconds=window_seconds,
    hop_seconds=window_seconds if hop_seconds is None else hop_seconds,
    images_per_window=images_per_window,
    sample_rate_hz=sample_rate_hz,
    mono=mono,
    image_size=image_size,
    image_format=image_format,
    jpeg_quality=jpeg_quality,
    max_seconds=max_seconds,
    short_videos=short_videos,
  )
  if workers is None:
    import joblib

    workers = joblib.cpu_count()
  busy = 'another build is running there; wait for it or choose another --output'
  with store_folder.written(output, busy, lambda name: '/' not in name) as folder:  # no outputs of teachers
    summary = builder.build(
      arguments=[os.fspath(argument) for argument in arguments],
      output=folder,
      params=record_params,
      shard_count=shards,
      workers=workers,
      timeout_seconds=timeout_seconds,
      memory_bytes=memory_mb << 20,
    )
  if not summary.windows:
    raise UserError(
      f'nothing was built: none of {len(summary.failures)} files can be used; {output}/failures.json says why'
    )
  return summary
