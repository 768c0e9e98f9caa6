"""The classifiers of `keras.applications` as teachers: names, weights, class names.

The table is read from `keras.applications` itself: 'vgg16', 'mobilenet_v2', 'resnet50_v2', 'efficientnet_b0',
'convnext_tiny' and so on. Each uses the `preprocess_input` of its module and its default input size.
"""

import contextlib
import difflib
import inspect
import os
import pathlib
import random
import re
import socket
import sys
import warnings
import zipfile

import h5py
import keras

from audionet_tf.core import digests, text
from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import class_lists
from audionet_tf.data.tables.class_lists import IMAGENET_CLASSES
from audionet_tf.teachers import image_classifier

WEIGHT_SUFFIXES = ('.h5', '.hdf5', '.keras')  # `.weights.h5` among them
ANY_SIZE = (224, 224)  # of MobileNetV3, which takes any size and was trained on this one
NETWORK_TIMEOUT_SECONDS = 30


def snake_case(name):
  """'EfficientNetV2B0' -> 'efficientnet_v2_b0': a capital starts a word, except in 'Net' and 'NeXt'."""
  return re.sub(r'(?<=[a-z0-9])(?=(?!Net|NeXt|Xt)[A-Z])', '_', name).lower()


BUILDERS = {snake_case(name): builder for name, builder in inspect.getmembers(keras.applications, inspect.isfunction)}


def find(name):
  """The key of BUILDERS that equals `name`, ignoring case and underscores; None if there is none."""
  plain = re.sub(r'[^a-z0-9]', '', name.lower())
  return next((key for key in BUILDERS if key.replace('_', '') == plain), None)


def unknown(name):
  """A UserError that lists the known names, the closest first."""
  close = difflib.get_close_matches(name.lower(), BUILDERS, n=3, cutoff=0.5)
  names = [*close, *(key for key in BUILDERS if key not in close)]
  return UserError(
    f'teacher {name!r} is not known; known are {", ".join(names)}; or a path: X.keras, X.tflite, a SavedModel folder'
  )


@contextlib.contextmanager
def seeded(name):
  """Context that seeds initial weights by `name`, and restores the state of the program's own random numbers."""
  state = random.getstate()
  random.seed(name)  # Keras draws the seeds of unseeded initializers from it
  try:
    yield
  finally:
    random.setstate(state)


@contextlib.contextmanager
def careful_downloads(module):
  """Context that checks a cached file before Keras does, and turns a failed download into one line.

  Keras deletes a cached file with a wrong digest before it notices that there is no network. The names and digests of
  the files are literals inside its builders, so that only its call of `get_file` shows them.

  Args:
    module: of keras.applications.

  Yields:
    list of the paths used.
  """
  file_utils, used = module.file_utils, []
  original, timeout = file_utils.get_file, socket.getdefaulttimeout()

  def get_file(fname=None, origin=None, cache_subdir='datasets', file_hash=None, **kwargs):
    cache = pathlib.Path(os.environ.get('KERAS_HOME') or '~/.keras').expanduser()
    path = cache / cache_subdir / fname
    if path.is_file() and file_hash and not digests.matches(path, file_hash):
      raise UserError(f'{path}: damaged (its digest is not {file_hash}); delete it to download it again')
    try:
      path = original(fname, origin, cache_dir=cache, cache_subdir=cache_subdir, file_hash=file_hash, **kwargs)
    except Exception as error:  # urllib, sockets and Keras each raise their own
      reason = str(error).rsplit(' -- ', 1)[-1]  # Keras puts the whole address before it
      raise UserError(f'{fname} cannot be downloaded ({reason})') from error
    used.append(path)
    return path

  file_utils.get_file = get_file
  socket.setdefaulttimeout(NETWORK_TIMEOUT_SECONDS)
  try:
    yield used
  finally:
    file_utils.get_file = original
    socket.setdefaulttimeout(timeout)


def load(name, weights='imagenet', classes=None, dtype='float32'):
  """Loads the PictureModel of a classifier.

  Args:
    name: key of BUILDERS.
    weights: 'imagenet', 'none' (random, the same on every run) or the path of a file of weights.
    classes: number of classes; None for that of the weights (1000 for 'none').
    dtype: 'float32' or 'bfloat16'.

  Raises:
    UserError: no network connection, a damaged or missing file, or weights that do not fit.
  """
  if weights == 'imagenet':
    if classes not in (None, IMAGENET_CLASSES):
      raise UserError(f'{name} with ImageNet weights has {IMAGENET_CLASSES} classes, the labels are {classes}')
    model, digest = imagenet_model(name)
  elif weights == 'none':
    model = build(name, classes or IMAGENET_CLASSES)
    digest = digests.of_weights(model)
  else:
    model, digest = model_from_file(name, weights, classes)
  image_classifier.set_compute_dtype(model, dtype)
  module = sys.modules[BUILDERS[name].__module__]
  return image_classifier.PictureModel(
    outputs=image_classifier.keras_outputs(model, module.preprocess_input),
    size=image_classifier.checked_size(name, model.input_shape) or ANY_SIZE,
    classes=model.output_shape[-1],
    digest=digest,
    kind='logits',
  )


def build(name, classes=IMAGENET_CLASSES, weights=None):
  """The Keras model without its last activation: the softmax is computed outside, in float32."""
  with seeded(name), warnings.catch_warnings():
    warnings.filterwarnings('ignore', message='`input_shape` is undefined')  # the default shape is right
    return BUILDERS[name](weights=weights, classes=classes, classifier_activation=None)


def imagenet_model(name):
  """(model, digest) with ImageNet weights, downloaded or from the cache of Keras."""
  module = sys.modules[BUILDERS[name].__module__]
  instead = 'or give a file (--teacher_weights=PATH) or another --teacher'
  with careful_downloads(module) as used:
    try:
      model = build(name, weights='imagenet')
    except UserError as error:
      raise UserError(f'ImageNet weights of {name}: {error}; {instead}') from error
    except (ValueError, OSError) as error:
      if not used:
        raise
      # Some files come without a digest that Keras could check.
      raise UserError(f'ImageNet weights of {name}: {used[-1]} is damaged; delete it, {instead}') from error
  return model, digests.of_file(used[-1])


def model_from_file(name, path, classes=None):
  """(model, digest) with the weights in `path`; if `classes` is None, their number is read from the file."""
  path = pathlib.Path(path)
  if not path.is_file():
    raise UserError(f'{path}: no such file of weights; allowed are imagenet, none or a path')
  if path.suffix not in WEIGHT_SUFFIXES:
    raise UserError(f'{path}: not a file of weights; expected is {", ".join(WEIGHT_SUFFIXES)}')
  model = build(name, classes or IMAGENET_CLASSES)
  try:
    stored = stored_classes(path, [layer for layer in model.layers if layer.weights][-1].name)
    if stored and classes and stored != classes:
      raise UserError(f'{path}: weights for {stored} classes, the labels are {classes}')
    if stored and stored != model.output_shape[-1]:
      model = build(name, min(stored, class_lists.MAX_CLASSES))
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # Keras warns a hundred times before it raises the one error
      model.load_weights(path)
  except UserError:
    raise
  except Exception as error:  # h5py, zipfile and Keras each raise their own
    raise UserError(f'{path}: damaged, or not weights of {name} ({text.brief(error)})') from error
  return model, digests.of_file(path)


def stored_classes(path, layer_name):
  """Number of classes in a file of weights: the last axis of the arrays of layer `layer_name`; None without them."""
  widths = []

  def visit(key, item):
    # Keras 3 names layers in an attribute, older files in the path.
    is_of_layer = layer_name in key.split('/') or item.parent.attrs.get('name') == layer_name
    if is_of_layer and isinstance(item, h5py.Dataset) and item.ndim:
      widths.append(int(item.shape[-1]))

  with contextlib.ExitStack() as stack:
    file = path
    if path.suffix == '.keras':
      archive = stack.enter_context(zipfile.ZipFile(path))
      file = stack.enter_context(archive.open('model.weights.h5'))
    stack.enter_context(h5py.File(file, 'r')).visititems(visit)
  return widths[-1] if widths else None
