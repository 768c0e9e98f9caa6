"""What the decoder of a video is asked, and answers. Imports no decoder: the program that asks needs none."""

import contextlib
import dataclasses
import os
import pathlib
import uuid

from audionet_tf.core.stores import object_store
from audionet_tf.data.params import RecordParams


@dataclasses.dataclass(frozen=True)
class Job:
  """The task of a worker.

  Attributes:
    video_id: id of the video.
    path: of the video.
    part: path of the part file to write.
    params: RecordParams.
    memory_bytes: address space that the process may use.
    stored: object_store.Stored of a video in a store, whose address is `path`.
    token: str that no other job has, of whatever machine: containers number their processes alike.
  """

  video_id: str
  path: str
  part: str
  params: RecordParams
  memory_bytes: int
  stored: object_store.Stored | None = None
  token: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)


@dataclasses.dataclass(frozen=True)
class Outcome:
  """The result of a worker.

  Attributes:
    windows: number of windows written.
    reason: why there are none, or None.
    errno: error number if the output folder cannot be written, which ends the whole build, or None.
  """

  windows: int = 0
  reason: str | None = None
  errno: int | None = None


def copy_folder(job):
  """pathlib.Path of the folder for copies of a job's video, which its process makes; whoever stops that removes it."""
  return pathlib.Path(f'{job.part}.{job.token}-copy')


def size_of(job):
  """Size of a job's video, bytes; 0 of one that is gone, as its decoder will say."""
  if job.stored:
    return job.stored.size
  with contextlib.suppress(OSError):
    return os.path.getsize(job.path)
  return 0


def partial_path(job, process_id):
  """Path of the part file until it is complete, different for every process."""
  return f'{job.part}.{job.token}.{process_id}.partial'
