"""The TensorFlow Lite interpreter: that of ai-edge-litert (LiteRT) if it is installed, otherwise TensorFlow's.

TensorFlow's own is deprecated and prints a warning; both have the same methods.
"""

import warnings


def interpreter(path, threads=None):
  """Opens a `.tflite` file.

  Args:
    path: of the file.
    threads: number of threads; None for the interpreter's default.

  Returns:
    An Interpreter.

  Raises:
    ValueError, RuntimeError: the file is not a model that the interpreter can run.
  """
  try:
    from ai_edge_litert.interpreter import Interpreter
  except ImportError:
    from tensorflow.lite.python.interpreter import Interpreter

    warnings.filterwarnings('ignore', r'\s*Warning: tf.lite.Interpreter is deprecated', UserWarning)
  return Interpreter(str(path), num_threads=threads)
