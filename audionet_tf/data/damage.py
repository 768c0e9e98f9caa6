"""Names the file that is damaged where TensorFlow fails to read TFRecord files."""

import contextlib
import pathlib

import tensorflow as tf

from audionet_tf.core.errors import UserError
from audionet_tf.data import tfrecord_io

UNKNOWN_VIDEO = 'a record of a video that the manifest does not name'
# What reading a damaged or missing file raises. A Python function in tf.data makes UnknownError of an OSError.
ERRORS = (tf.errors.DataLossError, tf.errors.NotFoundError, tf.errors.InvalidArgumentError, tf.errors.UnknownError)


def advice(records_folder):
  """What to do about damaged records, or stored answers beside them."""
  return f'python -m tfrecords.verify {records_folder} --repair mends it, then go on with --resume'


@contextlib.contextmanager
def named(paths, advice):
  """Context in which a failed read raises UserError that names the damaged file.

  Several files are read at a time and errors of TensorFlow do not say which of them failed, so that all are read again.
  An error for which no file is to blame is raised as it is.

  Args:
    paths: TFRecord files that are read in the context.
    advice: what to do about it, for the message.
  """
  try:
    yield
  except ERRORS as error:
    fault = next(filter(None, map(tfrecord_io.first_fault, paths)), None)
    if fault is None and UNKNOWN_VIDEO in str(error):
      fault = f'{pathlib.Path(next(iter(paths))).parent}: {UNKNOWN_VIDEO}'
    if fault is None:
      raise
    raise UserError(f'{fault}; {advice}') from error
