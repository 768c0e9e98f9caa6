"""Confusion matrices in the JSON files of `audionet_tf.evaluate` and `audionet_tf.probe`."""

import json
import pathlib

import numpy as np

from audionet_tf.core import text
from audionet_tf.core.errors import UserError


def read_confusions(path):
  """Reads every confusion matrix in a JSON file of audionet_tf.evaluate or audionet_tf.probe.

  A confusion matrix is an object at any depth with `confusion`, int [n][n], and `categories` or `class_names`.

  Args:
    path: of the file.

  Returns:
    dict of place in the file, such as 'clips' or 'layers.pool5', to (int64 [n, n], list of str).

  Raises:
    UserError: there is no such file, it is not JSON, holds no matrix, or one that is not square, holds anything but
      counts, or does not match its names.
  """
  path = pathlib.Path(path)
  try:
    matrices = dict(confusions_in(json.loads(path.read_text(encoding='utf-8')), ''))
  except FileNotFoundError:
    raise UserError(f'{path}: no such file; write one with audionet_tf.evaluate or audionet_tf.probe') from None
  except (ValueError, TypeError, OverflowError, RecursionError) as error:
    raise UserError(f'{path}: cannot read its confusion matrices ({text.brief(error)})') from None
  if not matrices:
    raise UserError(f'{path}: holds no confusion matrix; expected JSON of audionet_tf.evaluate or audionet_tf.probe')
  return matrices


def confusions_in(tree, place):
  """Yields (place, (counts, names)) of every confusion matrix in a JSON tree. ValueError if one is not valid."""
  if isinstance(tree, list):
    tree = dict(enumerate(tree))
  if not isinstance(tree, dict):
    return
  names = tree.get('categories', tree.get('class_names'))
  if 'confusion' in tree and isinstance(names, list):
    counts = np.array(tree['confusion'])
    if counts.shape != (len(names), len(names)) or not counts.size or counts.dtype.kind != 'i' or counts.min() < 0:
      raise ValueError(f'{place or "confusion"}: expected {len(names)} x {len(names)} counts')
    yield place, (counts, [str(name) for name in names])
    return
  for key, value in tree.items():
    yield from confusions_in(value, f'{place}.{key}' if place else str(key))
