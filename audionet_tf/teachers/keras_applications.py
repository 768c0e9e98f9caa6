"""The classifiers of `keras.applications` as teachers: names, weights, class names.

The table is read from `keras.applications` itself: 'vgg16', 'mobilenet_v2', 'resnet50_v2', 'efficientnet_b0',
'convnext_tiny' and so on. Each has its own module's `preprocess_input` and the input size of its own default.
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
from audionet_tf.data import class_lists
from audionet_tf.data.class_lists import IMAGENET_CLASSES
from audionet_tf.teachers import image_classifier

WEIGHT_SUFFIXES = ('.h5', '.hdf5', '.keras')  # `.weights.h5` among them
ANY_SIZE = (224, 224)  # of MobileNetV3, which takes all sizes and was trained on this one
NETWORK_TIMEOUT_SECONDS = 30


def snake_case(name):
  """'EfficientNetV2B0' -> 'efficientnet_v2_b0': a word begins at a capital, 'Net' and 'NeXt' begin none."""
  return re.sub(r'(?<=[a-z0-9])(?=(?!Net|NeXt|Xt)[A-Z])', '_', name).lower()


BUILDERS = {snake_case(name): builder for name, builder in inspect.getmembers(keras.applications, inspect.isfunction)}


def find(name):
  """The key of BUILDERS that `name` means, whatever its case and underscores; None when there is none."""
  plain = re.sub(r'[^a-z0-9]', '', name.lower())
  return next((key for key in BUILDERS if key.replace('_', '') == plain), None)


def unknown(name):
  """UserError that lists the known names, close ones first."""
  close = difflib.get_close_matches(name.lower(), BUILDERS, n=3, cutoff=0.5)
  known = [*close, *(key for key in BUILDERS if key not in close)]
  return UserError(
    f'teacher {name!r} is not known; known are {", ".join(known)}; or a path: X.keras, X.tflite, a SavedModel folder'
  )


@contextlib.contextmanager
def seeded(name):
  """Draws initial weights from a seed made of `name`, and leaves the program's own random numbers as they were."""
  state = random.getstate()
  random.seed(name)  # Keras takes the seed of an initialiser without one from here
  try:
    yield
  finally:
    random.setstate(state)


@contextlib.contextmanager
def careful_downloads(module):
  """Checks a cached file before Keras does, and makes a failed download one line. Yields the list of paths used.

  Keras deletes a cached file whose digest is wrong before it finds out that there is no network.
  The names and digests of the files are literals inside its builders: the call is the one place to see them.
  """
  file_utils, used = module.file_utils, []
  original, timeout = file_utils.get_file, socket.getdefaulttimeout()

  def get_file(fname=None, origin=None, cache_subdir='datasets', file_hash=None, **kwargs):
    cache = pathlib.Path(os.environ.get('KERAS_HOME') or '~/.keras').expanduser()
    path = cache / cache_subdir / fname
    if path.is_file() and file_hash and not digests.matches(path, file_hash):
      raise UserError(f'{path}: damaged (its digest is not {file_hash}); delete it to download it again')
    try:
      found = original(fname, origin, cache_dir=cache, cache_subdir=cache_subdir, file_hash=file_hash, **kwargs)
    except Exception as error:  # urllib, sockets and Keras each raise their own
      reason = str(error).rsplit(' -- ', 1)[-1]  # Keras puts the whole address before it
      raise UserError(f'{fname} cannot be downloaded ({reason})') from error
    used.append(found)
    return found

  file_utils.get_file = get_file
  socket.setdefaulttimeout(NETWORK_TIMEOUT_SECONDS)
  try:
    yield used
  finally:
    file_utils.get_file = original
    socket.setdefaulttimeout(timeout)


def load(name, weights='imagenet', classes=None, dtype='float32'):
  """PictureModel of a classifier.

  Args:
    name: key of BUILDERS.
    weights: 'imagenet', 'none' (random, the same on every run) or the path of a file of weights.
    classes: number of classes; None takes what the weights have (1000 for 'none').
    dtype: 'float32' or 'bfloat16'.

  Raises:
    UserError: no network, a damaged or missing file, weights that do not fit.
  """
  if weights == 'imagenet':
    if classes not in (None, IMAGENET_CLASSES):
      raise UserError(f'{name} with ImageNet weights knows {IMAGENET_CLASSES} classes, the labels are {classes}')
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
  """The Keras model, its last activation left out: softmax is taken in float32, outside."""
  with seeded(name), warnings.catch_warnings():
    warnings.filterwarnings('ignore', message='`input_shape` is undefined')  # the default is what is wanted
    return BUILDERS[name](weights=weights, classes=classes, classifier_activation=None)


def imagenet_model(name):
  """(model, digest) with ImageNet weights, downloaded or from Keras's cache."""
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
  """(model, digest) with the weights in `path`; without `classes` their number is read from the file."""
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
      warnings.simplefilter('ignore')  # a hundred, before the one error about the same
      model.load_weights(path)
  except UserError:
    raise
  except Exception as error:  # h5py, zipfile and Keras each raise their own
    raise UserError(f'{path}: damaged, or not weights of {name} ({text.brief(error)})') from error
  return model, digests.of_file(path)


def stored_classes(path, layer_name):
  """Number of classes in a file of weights: the last axis of what it holds for `layer_name`, None without it."""
  found = []

  def visit(key, item):
    # Keras 3 names layers in an attribute, older files in the path.
    named = layer_name in key.split('/') or item.parent.attrs.get('name') == layer_name
    if named and isinstance(item, h5py.Dataset) and item.ndim:
      found.append(int(item.shape[-1]))

  with contextlib.ExitStack() as stack:
    file = path
    if path.suffix == '.keras':
      archive = stack.enter_context(zipfile.ZipFile(path))
      file = stack.enter_context(archive.open('model.weights.h5'))
    stack.enter_context(h5py.File(file, 'r')).visititems(visit)
  return found[-1] if found else None
