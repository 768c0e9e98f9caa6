"""Train networks to recognise sounds from unlabelled video: AudioNet and SoundNet in TensorFlow.

    import audionet_tf

    predictor = audionet_tf.load('runs/clips')
    predictions = predictor.predict('clip.mp4')
    print(predictions.top(3))

Importing the package loads neither TensorFlow nor NumPy; the functions import them when they are called.
`audionet_tf.api` has the documentation of these functions.
"""

import _signal  # what `signal` is made of, without a module of Python whose import Ctrl-C could interrupt
import os
import sys


def _is_command() -> bool:
  """Whether the process runs a command, by `python -m` or by its name, rather than a program that uses the library."""
  words, module = iter(sys.orig_argv[1:]), ''
  for word in words:  # options of Python, up to a script, -c or -m, or -um
    if not word.startswith('-') or word[-1] == 'c':
      break
    if word[-1] == 'm':
      module = next(words, '')
      break
    if word in ('-W', '-X'):
      next(words, None)
  return module.partition('.')[0] in ('audionet_tf', 'tfrecords') or 'audionet-' in os.path.basename(sys.argv[0])


def _end(number: int, frame: object) -> None:
  """Signal handler for Ctrl-C until `interruption` is imported, whose `end_at_once` does the same."""
  os.write(2, b'error: interrupted\n')
  os._exit(130)


if _is_command() and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
  _signal.signal(_signal.SIGINT, _end)
  from audionet_tf.core import interruption

  interruption.set_ctrl_c(interruption.end_at_once)  # before the command's own modules are imported

import importlib  # noqa: E402
import types  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

if TYPE_CHECKING:
  from audionet_tf.api import Predictions, Predictor, build_records, join, load, train, train_on_sounds
  from audionet_tf.core.errors import UserError


__version__ = '0.1.0'
__all__ = ['Predictions', 'Predictor', 'UserError', 'build_records', 'join', 'load', 'train', 'train_on_sounds']


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
