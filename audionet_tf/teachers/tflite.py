"""Image classifiers from `.tflite` files, run by TensorFlow Lite on the processor.

Only stock operations are run: TensorFlow's own ("Flex") could access files.
"""

import concurrent.futures
import threading

import joblib
import numpy as np

from audionet_tf.core import digests, text, tflite_interpreter
from audionet_tf.core.errors import UserError
from audionet_tf.teachers import image_classifier

MAX_THREADS = 8  # each holds a copy of the weights


def check_tflite(path):
  """UserError unless the file is whole and has stock operations only.

  The interpreter follows the offsets of a truncated file beyond its end and crashes the process; this walks them first.
  """
  from tensorflow.lite.tools import flatbuffer_utils

  try:
    model = flatbuffer_utils.read_model(path)
    codes = [code.customCode for code in model.operatorCodes]
  except Exception as error:  # offsets of a damaged file lead anywhere
    raise UserError(f'{path}: not a .tflite file, or damaged ({text.brief(error)})') from error
  custom = sorted(code.decode(errors='replace') for code in codes if code)
  if custom:
    raise UserError(f'{path}: needs the custom operations {", ".join(custom)}; only stock ones are run')


class TFLitePool:
  """Interpreters of one model, one per thread, each of which takes one picture at a time.

  Several pictures in parallel use the cores better than several threads per picture, and many models, the quantised
  MobileNet among them, have a fixed batch of one.

  Args:
    path: of the `.tflite` file.
    threads: number of threads.
  """

  def __init__(self, path, threads):
    self.local, self.path = threading.local(), str(path)
    self.executor = concurrent.futures.ThreadPoolExecutor(threads)
    self.interpreter()

  def interpreter(self):
    """The calling thread's interpreter."""
    if not hasattr(self.local, 'interpreter'):
      interpreter = tflite_interpreter.interpreter(self.path, threads=1)
      interpreter.allocate_tensors()
      self.local.interpreter = interpreter
    return self.local.interpreter

  def details(self):
    """(inputs, outputs) as TensorFlow Lite describes them."""
    return self.interpreter().get_input_details(), self.interpreter().get_output_details()

  def predict_one(self, picture):
    """[1, H, W, 3] in the input's dtype -> the raw output [classes]."""
    interpreter = self.interpreter()
    interpreter.set_tensor(interpreter.get_input_details()[0]['index'], picture)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]['index']).reshape(-1)

  def predict(self, pictures):
    """[N, H, W, 3] in the input's dtype -> the raw outputs [N, classes]."""
    return np.stack(list(self.executor.map(self.predict_one, np.split(pictures, len(pictures)))))


def load_tflite(path, input_range=None):
  """PictureModel of a `.tflite` file: quantised inputs take integer pixels, float ones by default [-1, 1].

  Runs eagerly only. Quantised outputs are dequantised.

  Raises:
    UserError: the file is damaged, or no picture classifier that can be run.
  """
  check_tflite(path)
  try:
    pool = TFLitePool(path, min(MAX_THREADS, joblib.cpu_count()))
  except (ValueError, RuntimeError, MemoryError) as error:
    raise UserError(f'{path}: TensorFlow Lite cannot run it ({text.brief(error)})') from error
  inputs, outputs = pool.details()
  if len(inputs) != 1 or len(outputs) != 1:
    raise UserError(f'{path}: {len(inputs)} inputs and {len(outputs)} outputs; a picture classifier has one of each')
  size = image_classifier.checked_size(path, inputs[0]['shape_signature'])
  if size is None:
    raise UserError(f'{path}: has no fixed size of pictures; convert it again with one')
  classes = image_classifier.checked_classes(path, outputs[0]['shape'])
  dtype = np.dtype(inputs[0]['dtype'])
  if inputs[0]['shape'][0] != 1 or dtype not in (np.uint8, np.int8, np.float32):
    raise UserError(
      f'{path}: its input is {dtype} {inputs[0]["shape"]}; expected is a batch of 1 of uint8, int8 or float32'
    )
  if dtype != np.float32:
    image_classifier.refuse_range(path, input_range)
  input_range = input_range or (-1.0, 1.0)
  out_scale, out_zero = outputs[0]['quantization']

  def outputs_fn(pictures):
    pictures = np.asarray(pictures)
    if dtype == np.float32:
      pixels = image_classifier.ranged(pictures, input_range)
    else:  # int8 is uint8 minus 128, whatever the scale
      pixels = np.clip(np.rint(pictures), 0, 255) - (128 if dtype == np.int8 else 0)
    rows = pool.predict(pixels.astype(dtype)).astype(np.float32)
    return (rows - out_zero) * np.float32(out_scale) if out_scale else rows

  return image_classifier.PictureModel(outputs_fn, size, classes, digests.of_file(path), in_graph=False)
