"""Names the file that is damaged where TensorFlow fails to read TFRecord files."""

import contextlib
import functools
import pathlib

import tensorflow as tf

from audionet_tf.core.errors import UserError
from audionet_tf.data.shards import shard_reading, tfrecord_io

UNKNOWN_VIDEO = 'a record of a video that the manifest does not name'
# What reading a damaged or missing file raises. A Python function in tf.data makes UnknownError of an OSError.
# TensorFlow's message quotes the bytes of a damaged name, and makes UnicodeDecodeError where they are not UTF-8.
ERRORS = (
  tf.errors.DataLossError,
  tf.errors.NotFoundError,
  tf.errors.InvalidArgumentError,
  tf.errors.UnknownError,
  UnicodeDecodeError,
)


def advice(records_folder):
  """What to do about damaged records, or stored answers beside them."""
  return f'python -m tfrecords.verify {records_folder} --repair mends it, then go on with --resume'


@contextlib.contextmanager
def named(paths, advice, read=None):
  """Context in which a failed read raises UserError that names the damaged file.

  Several files are read at a time and errors of TensorFlow do not say which of them failed, so that all are read again:
  for their checksums, then by `read`. An error for which no file is to blame is raised as it is.

  Args:
    paths: TFRecord files that are read in the context.
    advice: what to do about it, for the message.
    read: function of a path that reads one file as the context does (`input_pipeline.file_reader`); None: checksums
      alone.
  """
  shard_reading.forget_failures()
  try:
    yield
  except ERRORS as error:
    shard_reading.raise_failure(error)
    fault = next(filter(None, map(tfrecord_io.first_fault, paths)), None)
    if fault is None and UNKNOWN_VIDEO in str(error):
      fault = f'{pathlib.Path(next(iter(paths))).parent}: {UNKNOWN_VIDEO}'
    fault = fault or next(filter(None, map(functools.partial(misfit, read), paths)), None)
    if fault is None:
      raise
    raise UserError(f'{fault}; {advice}') from error


def misfit(read, path):
  """'PATH: ...' where `read` fails on a file whose checksums are right; None where it does not, or is None."""
  try:
    if read is not None:
      read(path)
  except ERRORS:
    return f'{path}: not the windows of its manifest'
  return None
