"""Train networks to recognise sounds from unlabelled video: AudioNet and SoundNet in TensorFlow.

    import audionet_tf

    predictor = audionet_tf.load('runs/clips')
    predictions = predictor.predict('clip.mp4')
    print(predictions.top(3))

Importing the package loads neither TensorFlow nor NumPy; the functions import them when they are called.
`audionet_tf.api` has the documentation of these functions.
"""

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from audionet_tf.api import Predictions, Predictor, build_records, load, train
  from audionet_tf.core.errors import UserError

__version__ = '0.1.0'
__all__ = ['Predictions', 'Predictor', 'UserError', 'build_records', 'load', 'train']


def __getattr__(name: str) -> Any:
  if name not in __all__:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return getattr(importlib.import_module('audionet_tf.api'), name)


def __dir__() -> list[str]:
  return [*__all__, '__version__']


class _Package(types.ModuleType):
  """This package. Importing the command `audionet_tf.train` does not hide the function `audionet_tf.train`."""

  def __setattr__(self, name: str, value: Any) -> None:
    if not (name in __all__ and isinstance(value, types.ModuleType)):
      super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
