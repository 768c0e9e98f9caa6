"""Reads the published weights of VGGish and YAMNet (tensorflow/models, research/audioset).

VGGish   a checkpoint of TensorFlow 1, vggish_model.ckpt, or of format V2, named by its .index: vggish/conv1/weights,
         vggish/conv3/conv3_1/biases, ... vggish/fc2/biases. It has no classes. Other variables are ignored.
PCA      vggish_pca_params.npz: pca_eigen_vectors (128, 128), pca_means (128,)
YAMNet   yamnet.h5: layer1/conv/layer1/conv/kernel:0, ... logits/logits/bias:0; its head is `audioset`
"""

import pathlib
import zipfile

import h5py
import numpy as np
import tensorflow as tf

from audionet_tf.conversion import converter
from audionet_tf.core import array_files, text
from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import class_lists
from audionet_tf.models import registry
from audionet_tf.models.networks import patch_classifier, vggish, yamnet

HEAD = 'audioset'
PCA = ('pca_eigen_vectors', 'pca_means')
# Exceptions of TensorFlow's and HDF5's readers for damaged files.
READING = (tf.errors.OpError, OSError, RuntimeError, ValueError, LookupError, MemoryError)


def vggish_names(model):
  """dict of variable name in the checkpoint to (layer, index in Layer.weights, shape), for a VGGish, keras.Model."""
  names = {}
  for layer in model.layers:
    if layer.weights and layer.name != vggish.QUANTISED:
      group, numbered, _ = layer.name.rpartition('_')
      scope = f'vggish/{group}/{layer.name}' if numbered else f'vggish/{layer.name}'
      for number, (weight, part) in enumerate(zip(layer.weights, ('weights', 'biases'), strict=True)):
        names[f'{scope}/{part}'] = layer.name, number, tuple(weight.shape)
  return names


def yamnet_names(model):
  """dict of data set in the published .h5 to (layer, index in Layer.weights, shape), for a YAMNet, keras.Model."""
  names = {}
  for layer in model.layers:
    if not layer.weights:
      continue
    stem, part = layer.name.rpartition('_')[::2]
    scope = yamnet_scope(stem, layer.name)
    for number, weight in enumerate(layer.weights):
      name = weight.name
      if scope == 'logits':
        names[f'logits/logits/{name}:0'] = layer.name, number, tuple(weight.shape)
        continue
      folder = f'{scope}/bn' if part == 'norm' else scope
      name = 'depthwise_kernel' if name == 'kernel' and scope.endswith('depthwise_conv') else name
      names[f'{folder}/{folder}/{name}:0'] = layer.name, number, tuple(weight.shape)
  return names


def yamnet_scope(stem, layer):
  """Scope in the published file of a layer of the student; `stem` is its name without `_conv` or `_norm`."""
  if layer.startswith(patch_classifier.LOGITS):
    return 'logits'
  number = stem.removesuffix('_depthwise')
  if number == 'layer1':
    return 'layer1/conv'
  return f'{number}/depthwise_conv' if stem != number else f'{number}/pointwise_conv'


def checkpoint(path):
  """Opens a checkpoint of TensorFlow.

  Args:
    path: prefix of its files, or its .index file.

  Returns:
    (dict of name to shape, function of a name to its array).

  Raises:
    UserError: it cannot be read.
  """
  prefix = str(path).removesuffix('.index')
  try:
    reader = tf.train.load_checkpoint(prefix)
    return {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}, reader.get_tensor
  except READING as error:
    raise UserError(f'{path}: not a readable checkpoint of TensorFlow ({text.brief(error)})') from None


def hdf5(path):
  """Opens an HDF5 file. Links are not followed, as they may lead to other files.

  Args:
    path: of the file.

  Returns:
    (dict of the name of a data set to its shape, function of a name to its array).

  Raises:
    UserError: it cannot be read, or a data set lies in another file.
  """
  shapes, faults = {}, []

  def add(name, item):
    if isinstance(item, h5py.Dataset):
      shapes[name] = tuple(item.shape or ())
      if item.external or item.is_virtual:
        faults.append(f'{name[:60]} lies in another file')

  try:
    with h5py.File(path) as file:
      file.visititems(add)
  except READING as error:
    raise UserError(f'{path}: not a readable .h5 file ({text.brief(error)})') from None

  converter.refuse(path, faults, 'not all its weights are inside')

  def read(name):
    with h5py.File(path) as file:
      return file[name][()]

  return shapes, read


def weights_of(path, names, shapes, read, what):
  """Reads and checks the weights of a student.

  Args:
    path: of the file, for messages.
    names: dict of name in the file to (layer, index in Layer.weights, shape).
    shapes: dict of name in the file to shape.
    read: function of a name in the file to its array.
    what: name of the network, for messages.

  Returns:
    dict of layer to list of f32 arrays, in the order of Layer.weights.

  Raises:
    UserError: an array is missing, damaged, of another shape, or does not hold finite floating-point numbers.
  """
  faults = [f'{name} is missing' for name in names if name not in shapes]
  for name, (_, _, shape) in names.items():
    if name in shapes and shapes[name] != shape:
      faults.append(f'{name} is {shapes[name]}, expected is {shape}')
  converter.refuse(path, faults, f'not the weights of {what}')
  try:
    arrays = {name: np.asarray(read(name)) for name in names}
  except READING as error:
    raise UserError(f'{path}: damaged ({text.brief(error)})') from None
  weights = {}
  for name, values in converter.floats(path, arrays).items():
    layer, number, _ = names[name]
    weights.setdefault(layer, {})[number] = values
  return {layer: [parts[number] for number in sorted(parts)] for layer, parts in weights.items()}


def read_vggish(path, student, pca=None):
  """keras.Model with the weights of a checkpoint. The model has no heads.

  Args:
    path: of a file of the checkpoint.
    student: 'vggish', 'vggish_relu' or 'vggish_pca'; the last needs `pca`, and no other takes it.
    pca: path of the PCA's parameters, .npz.

  Raises:
    UserError: an array is missing, of another shape or not finite; or `student` and `pca` do not go together.
  """
  if (student == 'vggish_pca') != bool(pca):
    raise UserError('student vggish_pca and --pca=FILE.npz belong together: give both or neither')
  model = registry.build(student, {})
  weights = weights_of(path, vggish_names(model), *checkpoint(path), 'VGGish')
  fill(model, weights)
  if pca:
    width = model.output['embedding'].shape[1]
    model.get_layer(vggish.QUANTISED).set_weights(read_pca(pca, width))
  return model


def read_yamnet(path, student='yamnet'):
  """keras.Model with the weights of a .h5. UserError where an array is missing, of another shape or not finite."""
  shapes, read = hdf5(path)
  classes = shapes.get('logits/logits/bias:0', (yamnet.CLASSES,))
  if len(classes) != 1 or not 0 < classes[0] <= class_lists.MAX_CLASSES:
    raise UserError(f'{path}: logits/logits/bias:0 is {classes}, expected is one number per class')
  model = registry.build(student, {HEAD: classes[0]})
  weights = weights_of(path, yamnet_names(model), shapes, read, 'YAMNet')
  negative = [layer for layer, parts in weights.items() if layer.endswith('_norm') and parts[-1].min() < 0]
  converter.refuse(path, [f'{layer} has variances below 0' for layer in negative])
  fill(model, weights)
  return model


def fill(model, weights):
  for layer, values in weights.items():
    model.get_layer(layer).set_weights(values)


def read_pca(path, width=128):
  """Reads the parameters of VGGish's PCA.

  Args:
    path: of a .npz file.
    width: of the embedding.

  Returns:
    [eigen vectors f32 [width, width], means f32 [width]].

  Raises:
    UserError: the file is missing or damaged, or an array is missing, of another shape or not finite.
  """
  try:
    with array_files.load_npz(path) as file:
      arrays = {name: file[name] for name in PCA if name in file}
  except FileNotFoundError:
    raise UserError(f'{path}: no such file; expected are the parameters of a PCA, .npz') from None
  except (OSError, ValueError, EOFError, MemoryError, AttributeError, zipfile.BadZipFile) as error:
    raise UserError(f'{path}: not a readable .npz ({text.brief(error)})') from None
  faults = [f'{name} is missing' for name in PCA if name not in arrays]
  for name, shape in zip(PCA, [(width, width), (width,)], strict=True):
    if name in arrays and arrays[name].shape != shape:
      faults.append(f'{name} is {arrays[name].shape}, expected is {shape}')
  converter.refuse(path, faults, 'not the parameters of a PCA')
  return list(converter.floats(pathlib.Path(path), arrays).values())
