"""Files of weights as strangers give them: what one of Torch7's holds, and how those that are wrong are refused."""

import tracemalloc

import numpy as np
import pytest

from audionet_tf.core.errors import UserError

T7_CONTENT = (
  'nn.Sequential',
  {'modules': {1: ('nn.A', {'weight': np.arange(24, dtype='f8').reshape(2, 3, 4)}), 2: None}},
)


def refused(read, path, expected):
  """The message with which `path` is refused, after no more than some megabytes were taken for it."""
  tracemalloc.start()
  with pytest.raises(UserError, match=expected) as caught:
    read(path)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 20e6
  assert str(caught.value).startswith(f'{path}: ') and '\n' not in str(caught.value)
