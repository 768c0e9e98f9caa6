"""Reads the published weights of VGGish and YAMNet.

VGGish   a checkpoint of TensorFlow 1, vggish_model.ckpt, or of form 2, named by its .index: vggish/conv1/weights,
         vggish/conv3/conv3_1/biases, ... vggish/fc2/biases. It has no classes. Other variables are passed over.
PCA      vggish_pca_params.npz: pca_eigen_vectors (128, 128), pca_means (128,)
YAMNet   yamnet.h5: layer1/conv/layer1/conv/kernel:0, ... logits/logits/bias:0; its head is `audioset`
"""

import pathlib
import zipfile

import h5py
import numpy as np
import tensorflow as tf

from audionet_tf.conversion import converter
from audionet_tf.core import text
from audionet_tf.core.errors import UserError
from audionet_tf.data import class_lists
from audionet_tf.models import patch_classifier, registry, vggish, yamnet

HEAD = 'audioset'
PCA = ('pca_eigen_vectors', 'pca_means')
# What TensorFlow's and HDF5's readers raise of damaged files.
READING = (tf.errors.OpError, OSError, RuntimeError, ValueError, LookupError, MemoryError)


def vggish_names(model):
  """Dict of a checkpoint's names to (layer, number of its weight, shape)."""
  names = {}
  for layer in model.layers:
    if layer.weights and layer.name != vggish.QUANTISED:
      group, numbered, _ = layer.name.rpartition('_')
      scope = f'vggish/{group}/{layer.name}' if numbered else f'vggish/{layer.name}'
      for number, (weight, part) in enumerate(zip(layer.weights, ('weights', 'biases'), strict=True)):
        names[f'{scope}/{part}'] = layer.name, number, tuple(weight.shape)
  return names


def yamnet_names(model):
  """As `vggish_names`, of the published .h5."""
  names = {}
  for layer in model.layers:
    if not layer.weights:
      continue
    scope, part = layer.name.rpartition('_')[::2]
    scope = yamnet_scope(scope, layer.name)
    for number, weight in enumerate(layer.weights):
      name = weight.name
      if scope == 'logits':
        names[f'logits/logits/{name}:0'] = layer.name, number, tuple(weight.shape)
        continue
      folder = f'{scope}/bn' if part == 'norm' else scope
      name = 'depthwise_kernel' if name == 'kernel' and scope.endswith('depthwise_conv') else name
      names[f'{folder}/{folder}/{name}:0'] = layer.name, number, tuple(weight.shape)
  return names


def yamnet_scope(ours, layer):
  """What the published file calls the convolution that a layer of the student is of, or belongs to."""
  if layer.startswith(patch_classifier.LOGITS):
    return 'logits'
  number = ours.removesuffix('_depthwise')
  if number == 'layer1':
    return 'layer1/conv'
  return f'{number}/depthwise_conv' if ours != number else f'{number}/pointwise_conv'


def checkpoint(path):
  """(dict of name to shape, function from a name to its array) of a checkpoint, `path` one of its files."""
  prefix = str(path).removesuffix('.index')
  try:
    reader = tf.train.load_checkpoint(prefix)
    return {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}, reader.get_tensor
  except READING as error:
    raise UserError(f'{path}: not a readable checkpoint of TensorFlow ({text.brief(error)})') from None


def hdf5(path):
  """As `checkpoint`, of the data sets of an HDF5 file. Links are not followed: they may lead out of it."""
  found, elsewhere = {}, []

  def note(name, item):
    if isinstance(item, h5py.Dataset):
      found[name] = tuple(item.shape or ())
      if item.external or item.is_virtual:
        elsewhere.append(f'{name[:60]} lies in another file')

  try:
    with h5py.File(path) as file:
      file.visititems(note)
  except READING as error:
    raise UserError(f'{path}: not a readable .h5 file ({text.brief(error)})') from None

  converter.refuse(path, elsewhere, 'not all its weights are inside')

  def read(name):
    with h5py.File(path) as file:
      return file[name][()]

  return found, read


def weights_of(path, names, shapes, read, what):
  """Dict of layer to its arrays, f32, in the order of Layer.weights. UserError names what is missing or misshapen."""
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
    pca: path of the PCA's parameters.

  Raises:
    UserError: names what is missing, misshapen or not finite.
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
  """keras.Model with the weights of a .h5; errors as in `read_vggish`."""
  shapes, read = hdf5(path)
  classes = shapes.get('logits/logits/bias:0', (yamnet.CLASSES,))
  if len(classes) != 1 or not 0 < classes[0] <= class_lists.MAX_CLASSES:
    raise UserError(f'{path}: logits/logits/bias:0 is {classes}, expected is one number a class')
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
  """[eigen vectors f32 [width, width], means f32 [width]] of VGGish's PCA. UserError names what is wrong."""
  try:
    with np.load(path, allow_pickle=False) as file:
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
