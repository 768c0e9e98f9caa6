"""The interpreter of TensorFlow Lite files: LiteRT's where ai-edge-litert is installed, else the one inside TensorFlow.

TensorFlow's own is deprecated and says so on the screen; both have the same methods.
"""

import warnings


def interpreter(path, threads=None):
  """A new interpreter of the `.tflite` file at `path`.

  Args:
    threads: of the processor that it may use; None for its own choice.

  Raises:
    ValueError, RuntimeError: the file is none that it can run.
  """
  try:
    from ai_edge_litert.interpreter import Interpreter
  except ImportError:
    from tensorflow.lite.python.interpreter import Interpreter

    warnings.filterwarnings('ignore', r'\s*Warning: tf.lite.Interpreter is deprecated', UserWarning)
  return Interpreter(str(path), num_threads=threads)
