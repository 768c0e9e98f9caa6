"""Image classifiers from Keras: `.keras` files, whole models in `.h5`, and SavedModel folders.

Files are untrusted. Code inside them is not run (Lambda layers; in SavedModels all that `saved_model_allowlist`
refuses), and a damaged file gives one line. The remaining operations are trusted: a model is a program, so use models
whose origin you know.
"""

import dataclasses
import pathlib
from collections.abc import Callable

import keras
import tensorflow as tf

from audionet_tf.core import digests, saved_model_allowlist, text
from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import class_lists

MAX_SIDE_PIXELS = 2048  # of a model's pictures, so that a malicious file cannot make us allocate gigabytes
RAW = (0.0, 255.0)


@dataclasses.dataclass(frozen=True)
class PictureModel:
  """A classifier as a function of pictures of its own size.

  Attributes:
    outputs: pictures f32 [N, H, W, 3] in 0..255 -> f32 [N, classes], logits or probabilities.
    size: (H, W) in pixels; None if the model takes any size.
    classes: number of classes.
    digest: sha256 of the weights, hex.
    kind: 'logits' or 'probabilities' if that is known, else None.
    in_graph: whether `outputs` can be called inside a tf.function.
    last_activation: 'softmax', 'sigmoid', 'linear' or None if it is not known.
  """

  outputs: Callable
  size: tuple | None
  classes: int
  digest: str
  kind: str | None = None
  in_graph: bool = True
  last_activation: str | None = None


def checked_size(source, shape):
  """(H, W) of an input shape [N, H, W, 3], or None if both are free. UserError for other shapes."""
  shape = [None if side in (None, -1) else int(side) for side in shape]
  if len(shape) != 4 or shape[3] != 3 or (shape[1] is None) != (shape[2] is None):
    raise UserError(f'{source}: its input is {shape}; a picture classifier takes [pictures, height, width, 3]')
  if shape[1] is None:
    return None
  if not all(1 <= side <= MAX_SIDE_PIXELS for side in shape[1:3]):
    raise UserError(f'{source}: its pictures are {shape[1]}x{shape[2]} pixels, allowed is up to {MAX_SIDE_PIXELS}')
  return tuple(shape[1:3])


def checked_classes(source, shape):
  """Number of classes of an output shape [N, classes] or [N, 1, 1, classes]. UserError for other shapes."""
  shape = [None if side in (None, -1) else int(side) for side in shape]
  if len(shape) not in (2, 4) or shape[-1] is None or any(side != 1 for side in shape[1:-1]):
    raise UserError(f'{source}: its output is {shape}; a classifier gives [pictures, classes]')
  if not 2 <= shape[-1] <= class_lists.MAX_CLASSES:
    raise UserError(f'{source}: it has {shape[-1]} classes, allowed is 2 to {class_lists.MAX_CLASSES}')
  return shape[-1]


def ranged(pictures, input_range):
  """Pictures in 0..255, scaled to (black, white) of `input_range`; unchanged for RAW."""
  low, high = input_range
  return pictures if (low, high) == RAW else pictures * ((high - low) / 255.0) + low


def refuse_range(source, input_range):
  """UserError if an input range is given for a model that takes integer pixels."""
  if input_range is not None:
    raise UserError(
      f'{source}: takes integer pixels from 0 to 255; leave out the input range, which is for models of float pictures'
    )


def whole_numbers(pictures):
  """Pictures f32 as uint8; exact for pictures that were not resized."""
  return tf.cast(tf.clip_by_value(tf.round(pictures), 0.0, 255.0), tf.uint8)


def set_compute_dtype(model, dtype):
  """Makes a Keras model compute in `dtype`; its last layer with weights, and those after it, stay in float32.

  The policy is set on the layers of this model; the global policy, and with it the student, is not changed.
  """
  if dtype == 'float32':
    return
  weighted = [number for number, layer in enumerate(model.layers) if layer.weights]
  for layer in model.layers[: weighted[-1] if weighted else 0]:
    layer.dtype_policy = keras.DTypePolicy('mixed_bfloat16')
    if hasattr(layer, 'layers'):
      for inner in layer.layers:
        inner.dtype_policy = keras.DTypePolicy('mixed_bfloat16')


def keras_outputs(model, preprocess):
  """`outputs` of a PictureModel from a Keras model, frozen and in inference mode.

  Only the closure holds the model: as an attribute of another model it would enter the checkpoints of that one.
  """
  model.trainable = False

  def outputs(pictures):
    rows = model(preprocess(pictures), training=False)
    return tf.cast(tf.reshape(rows, [-1, rows.shape[-1]]), tf.float32)  # [N, classes]

  return outputs


def load_keras_file(path, dtype='float32', input_range=None):
  """PictureModel of a `.keras` or `.h5` file that preprocesses pictures itself; by default they are in 0..255.

  `path` may be a folder of Keras's three files, too (teacher_config.KERAS_FILES).

  Raises:
    UserError: the file is damaged, holds code, or no picture classifier.
  """
  try:
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
  except Exception as error:  # Keras passes on what its parts raise, and the file is the user's
    if 'lambda' in str(error).lower():
      raise UserError(f'{path}: holds a Lambda layer, which is code that is not run; use registered layers') from error
    advice = '; save it as .keras where it was made' if path.suffix != '.keras' else ''
    kind = "folder of Keras's" if path.is_dir() else f'{path.suffix} file'
    raise UserError(f'{path}: not a readable {kind} ({text.brief(error)}){advice}') from error
  inputs, outputs = getattr(model, 'inputs', None) or [], getattr(model, 'outputs', None) or []
  if len(inputs) != 1 or len(outputs) != 1:
    raise UserError(f'{path}: {len(inputs)} inputs and {len(outputs)} outputs; a picture classifier has one of each')
  size, classes = checked_size(path, inputs[0].shape), checked_classes(path, outputs[0].shape)
  set_compute_dtype(model, dtype)
  parts = [path / name for name in ('config.json', 'model.weights.h5')]
  activation, digest = last_activation(model), digests.of_files(parts) if path.is_dir() else digests.of_file(path)
  if keras.backend.is_int_dtype(inputs[0].dtype):
    refuse_range(path, input_range)
    outputs_fn = keras_outputs(model, whole_numbers)
    return PictureModel(outputs_fn, size, classes, digest, last_activation=activation)
  input_range = input_range or RAW
  outputs_fn = keras_outputs(model, lambda pictures: ranged(pictures, input_range))
  return PictureModel(outputs_fn, size, classes, digest, last_activation=activation)


def last_activation(model):
  """'softmax', 'sigmoid' or 'linear' if the last layer of a Keras model has it; None for all others."""
  layer = model.outputs[0]._keras_history.operation
  while isinstance(layer, keras.Model):
    layer = layer.outputs[0]._keras_history.operation
  function = getattr(layer, 'activation', None)
  name = getattr(function, '__name__', '') if function else type(layer).__name__.lower()
  return name if name in ('softmax', 'sigmoid', 'linear') else None


def load_saved_model(path, input_range=None):
  """PictureModel of a SavedModel's `serving_default`: pictures as uint8, or as floats in [0, 1] by default.

  Raises:
    UserError: the folder is damaged, holds operations that are refused, or no picture classifier.
  """
  folder = pathlib.Path(path)
  if not (folder / 'saved_model.pb').is_file():
    raise UserError(f'{folder}: no saved_model.pb in this folder, so it is not a SavedModel')
  try:
    saved_model_allowlist.check_operations(folder)
    loaded = tf.saved_model.load(str(folder))
    signature = loaded.signatures['serving_default']
  except UserError:
    raise
  except KeyError:
    raise UserError(f'{folder}: no signature serving_default; it has {sorted(loaded.signatures)}') from None
  except Exception as error:  # protobuf, TensorFlow and Keras raise their own kinds
    raise UserError(f'{folder}: not a readable SavedModel ({text.brief(error)})') from error
  specs, results = signature.structured_input_signature[1], signature.structured_outputs
  tables = {name: spec for name, spec in results.items() if spec.shape.rank in (2, 4)}
  if len(specs) != 1 or len(tables) != 1:
    raise UserError(
      f'{folder}: serving_default takes {sorted(specs)} and gives {sorted(results)};'
      ' a picture classifier takes one tensor and gives one of [pictures, classes]'
    )
  (argument, spec), (key, table) = *specs.items(), *tables.items()
  if spec.shape.rank is None or spec.dtype not in (tf.uint8, tf.float32):
    raise UserError(f'{folder}: its input is {spec.dtype.name} {spec.shape}; expected are uint8 or float32 pictures')
  size, classes = checked_size(folder, spec.shape), checked_classes(folder, table.shape)
  if spec.shape[0] not in (None, 1):
    raise UserError(f'{folder}: takes exactly {spec.shape[0]} pictures; expected is any number, or one')
  if spec.dtype == tf.uint8:
    refuse_range(folder, input_range)
  input_range = input_range or (0.0, 1.0)

  def classify(pictures):
    pictures = whole_numbers(pictures) if spec.dtype == tf.uint8 else ranged(pictures, input_range)
    return tf.cast(tf.reshape(signature(**{argument: pictures})[key], [-1, classes]), tf.float32)

  def outputs(pictures, keep=loaded):  # the variables live as long as `loaded` does
    if spec.shape[0] is None:
      return classify(pictures)
    row = tf.TensorSpec([classes], tf.float32)
    return tf.map_fn(lambda picture: classify(picture[None])[0], pictures, fn_output_signature=row)

  return PictureModel(outputs, size, classes, digests.of_saved_model(folder))
