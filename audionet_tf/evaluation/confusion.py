"""Confusion matrices: counted, and read back from the JSON files of `evaluate` and `probe`."""

import json
import pathlib

import numpy as np

from audionet_tf.core import text
from audionet_tf.core.errors import UserError


def read_confusions(path):
  """Every confusion matrix in a JSON file of audionet_tf.evaluate or audionet_tf.probe.

  That is every object, however deep, with `confusion` int [n][n] and its names, `categories` or `class_names`.

  Args:
    path: of the file.

  Returns:
    dict of place in the file, such as 'clips' or 'layers.pool5', to (int64 [n, n], list of str).

  Raises:
    UserError: not JSON, no matrix in it, or one that is not square, has fractions, or does not fit its names.
  """
  path = pathlib.Path(path)
  try:
    found = dict(confusions_in(json.loads(path.read_text(encoding='utf-8')), ''))
  except FileNotFoundError:
    raise UserError(f'{path}: no such file; audionet_tf.evaluate and audionet_tf.probe write one') from None
  except (ValueError, TypeError, OverflowError, RecursionError) as error:
    raise UserError(f'{path}: no confusion matrix can be read ({text.brief(error)})') from None
  if not found:
    raise UserError(f'{path}: holds no confusion matrix')
  return found


def confusions_in(tree, place):
  """Yields (place, (counts, names)) of every confusion matrix in a JSON tree. ValueError where one is none."""
  if isinstance(tree, list):
    tree = dict(enumerate(tree))
  if not isinstance(tree, dict):
    return
  names = tree.get('categories', tree.get('class_names'))
  if 'confusion' in tree and isinstance(names, list):
    counts = np.array(tree['confusion'])
    if counts.shape != (len(names), len(names)) or not counts.size or counts.dtype.kind != 'i' or counts.min() < 0:
      raise ValueError(f'{place or "confusion"}: expected are counts, {len(names)} x {len(names)}')
    yield place, (counts, [str(name) for name in names])
    return
  for key, value in tree.items():
    yield from confusions_in(value, f'{place}.{key}' if place else str(key))
