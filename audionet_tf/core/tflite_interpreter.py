"""The interpreter of TensorFlow Lite files: LiteRT, which needs no TensorFlow."""


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
  from ai_edge_litert.interpreter import Interpreter

  return Interpreter(str(path), num_threads=threads)
