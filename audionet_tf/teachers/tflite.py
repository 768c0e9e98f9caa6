"""Image classifiers from `.tflite` files, run by TensorFlow Lite on the processor.

Only stock operations are run: those of TensorFlow ("Flex") could reach for files.
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

  The interpreter follows the offsets of a cut file beyond its end and takes the process with it; this walks them first.
  """
  from tensorflow.lite.tools import flatbuffer_utils

  try:
    model = flatbuffer_utils.read_model(path)
    codes = [code.customCode for code in model.operatorCodes]
  except Exception as error:  # offsets of a damaged file lead anywhere
    raise UserError(f'{path}: not a .tflite file, or damaged ({text.brief(error)})') from error
  custom = sorted(code.decode(errors='replace') for code in codes if code)
  if custom:
    raise UserError(f'{path}: wants the custom operations {", ".join(custom)}; only stock ones are run')


class TFLitePool:
  """Interpreters of one model, one per processor core, each given one picture at a time.

  Pictures in parallel keep the cores busier than threads inside a picture, and many models, the quantised MobileNet
  among them, have the batch of one built in.
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

  def answer(self, picture):
    """[1, H, W, 3] in the input's dtype -> the raw output [classes]."""
    interpreter = self.interpreter()
    interpreter.set_tensor(interpreter.get_input_details()[0]['index'], picture)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]['index']).reshape(-1)

  def answers(self, pictures):
    """[N, H, W, 3] -> [N, classes]."""
    return np.stack(list(self.executor.map(self.answer, np.split(pictures, len(pictures)))))


def load_tflite(path, input_range=None):
  """PictureModel of a `.tflite` file: quantised inputs take pictures as they are, float ones [-1, 1] by default.

  Runs eagerly only. Quantised answers are dequantised.
  """
  check_tflite(path)
  try:
    pool = TFLitePool(path, min(MAX_THREADS, joblib.cpu_count()))
  except (ValueError, RuntimeError) as error:
    raise UserError(f'{path}: TensorFlow Lite cannot run it ({text.brief(error)})') from error
  inputs, outputs = pool.details()
  if len(inputs) != 1 or len(outputs) != 1:
    raise UserError(f'{path}: {len(inputs)} inputs and {len(outputs)} outputs; a picture classifier has one of each')
  size = image_classifier.checked_size(path, inputs[0]['shape_signature'])
  if size is None:
    raise UserError(f'{path}: leaves the size of its pictures open; convert it again with a fixed one')
  classes = image_classifier.checked_classes(path, outputs[0]['shape'])
  dtype = np.dtype(inputs[0]['dtype'])
  if inputs[0]['shape'][0] != 1 or dtype not in (np.uint8, np.int8, np.float32):
    raise UserError(f'{path}: its input is {dtype} {inputs[0]["shape"]}; expected is one, uint8, int8 or float32')
  if dtype != np.float32:
    image_classifier.refuse_range(path, input_range)
  input_range = input_range or (-1.0, 1.0)
  out_scale, out_zero = outputs[0]['quantization']

  def ask(pictures):
    pictures = np.asarray(pictures)
    if dtype == np.float32:
      pixels = image_classifier.ranged(pictures, input_range)
    else:  # int8 is uint8 moved down by 128, whatever the scale
      pixels = np.clip(np.rint(pictures), 0, 255) - (128 if dtype == np.int8 else 0)
    answers = pool.answers(pixels.astype(dtype)).astype(np.float32)
    return (answers - out_zero) * np.float32(out_scale) if out_scale else answers

  return image_classifier.PictureModel(ask, size, classes, digests.of_file(path), in_graph=False)
