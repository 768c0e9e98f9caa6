"""Untrusted SavedModels: both loaders refuse, before loading, what accesses files or calls Python."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.client import pywrap_tf_session

from audionet_tf.core import saved_model_allowlist
from audionet_tf.core.errors import UserError
from audionet_tf.saved_model import loader
from audionet_tf.teachers import frozen_teacher

SIZE, CLASSES = 4, 3
SETTINGS = {
  'student': 'audionet',
  'sample_rate_hz': 16000,
  'mono': 'mean',
  'window_seconds': 0.04,
  'classes': {'teacher': ['x', 'y', 'z']},
}


def print_to_a_file(path):
  tf.raw_ops.PrintV2(input='x', output_stream=f'file://{path}')


UNSAFE_CALLS = {
  'SaveV2': lambda path: tf.raw_ops.SaveV2(prefix=path, tensor_names=['x'], shape_and_slices=[''], tensors=[[1.0]]),
  'RestoreV2': lambda path: tf.raw_ops.RestoreV2(
    prefix=path, tensor_names=['x'], shape_and_slices=[''], dtypes=[tf.float32]
  ),
  'MergeV2Checkpoints': lambda path: tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=[path], destination_prefix=path),
  'PrintV2': print_to_a_file,
  'ReadFile': lambda path: tf.io.read_file(path),
  'WriteFile': lambda path: tf.io.write_file(path, 'x'),
  'EagerPyFunc': lambda path: tf.py_function(lambda: None, [], []),
}
LOADERS = {'teacher': frozen_teacher.load, 'student': loader.load}


class UntrustedModel(tf.Module):
  """A classifier with a variable, which makes another call as well."""

  def __init__(self, call=lambda: None):
    super().__init__()
    self.kernel, self.call = tf.Variable(tf.ones([3, CLASSES])), call
    self.function = tf.function(self.predict, [tf.TensorSpec([None, SIZE, SIZE, 3], name='pictures')])

  def predict(self, pictures):
    self.call()
    return {'probabilities': tf.nn.softmax(tf.reduce_mean(pictures, [1, 2]) @ self.kernel)}


def save(module, folder):
  """Writes a SavedModel that both loaders accept; returns its folder."""
  concrete = module.function.get_concrete_function()
  tf.saved_model.save(module, str(folder), signatures={'serving_default': concrete, 'windows': concrete})
  (folder / 'assets').mkdir(exist_ok=True)
  (folder / 'assets' / 'settings.json').write_text(json.dumps(SETTINGS))
  return folder


def rewrite(folder, change):
  """Applies `change(meta_graph, savers)` to a SavedModel; `savers`: dict of 'save' and 'restore' to FunctionDef."""
  path = folder / 'saved_model.pb'
  saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
  meta_graph = saved.meta_graphs[0]
  functions = {f.signature.name: f for f in meta_graph.graph_def.library.function}
  savers = {kind: f for kind in ('save', 'restore') for name, f in functions.items() if f'_traced_{kind}_' in name}
  change(meta_graph, savers)
  path.write_bytes(saved.SerializeToString())


@pytest.fixture(params=LOADERS)
def refused(request, monkeypatch):
  """A function (folder, message) that checks that a folder is refused, in one line, before TensorFlow loads it."""
  monkeypatch.setattr(tf.saved_model, 'load', None)

  def check(folder, message):
    with pytest.raises(UserError, match=message) as error:
      LOADERS[request.param](folder)
    assert '\n' not in str(error.value)

  return check


@pytest.mark.parametrize('name', UNSAFE_CALLS)
def test_unsafe_calls_in_a_signature_are_refused(tmp_path, refused, name):
  folder = save(UntrustedModel(lambda: UNSAFE_CALLS[name](str(tmp_path / 'never'))), tmp_path / 'model')
  refused(folder, f'refused.*{name}')
  assert not (tmp_path / 'never').exists()


@pytest.mark.parametrize('name', ['SaveV2', 'RestoreV2', 'WriteFile'])
def test_unsafe_calls_at_loading_are_refused(tmp_path, refused, name):
  class Resource(tf.saved_model.experimental.TrackableResource):
    def _create_resource(self):
      return tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)

    def _initialize(self):
      if not tf.executing_eagerly():
        UNSAFE_CALLS[name](str(tmp_path / 'never'))

  module = UntrustedModel()
  module.resource = Resource()
  assert module.resource.resource_handle is not None
  refused(save(module, tmp_path / 'model'), f'refused.*{name}')


def test_only_the_saver_may_use_its_functions(tmp_path, refused):
  def other(meta_graph, savers):
    return next(f for f in meta_graph.graph_def.library.function if f not in savers.values())

  def save_is_the_prediction(meta_graph, savers):
    for function in meta_graph.graph_def.library.function:
      for node in function.node_def:
        if node.op.endswith('PartitionedCall'):
          node.attr['f'].func.name = savers['save'].signature.name

  def save_is_an_object(meta_graph, savers):
    nodes = meta_graph.object_graph_def.nodes
    next(n for n in nodes if n.HasField('function')).function.concrete_functions[:] = [savers['save'].signature.name]

  def save_is_an_operation(meta_graph, savers):
    other(meta_graph, savers).node_def.add(name='n', op=savers['save'].signature.name)

  def save_is_a_gradient(meta_graph, savers):
    name = savers['save'].signature.name
    meta_graph.graph_def.library.gradient.add(function_name='x', gradient_func=name)

  def save_replaces_another(meta_graph, savers):  # Grappler replaces functions that claim to be equivalent
    for function in (savers['save'], other(meta_graph, savers)):
      function.attr['api_implements'].s = b'x'

  def everything_is_saving(meta_graph, savers):
    library = meta_graph.graph_def.library
    kept = [function for function in library.function if function not in savers.values()]
    del library.function[:]
    library.function.extend(kept)
    for node in meta_graph.graph_def.node:
      if node.op == 'StatefulPartitionedCall' and 'signature_wrapper' in node.attr['f'].func.name:
        meta_graph.saver_def.restore_op_name = node.name
        called = [function for function in library.function if function.signature.name == node.attr['f'].func.name]
        called[0].node_def.add(name='n', op='SaveV2')

  def no_saver(meta_graph, savers):
    meta_graph.ClearField('saver_def')

  tricks = (save_is_the_prediction, save_is_an_object, save_is_an_operation, save_is_a_gradient, save_replaces_another)
  for change in (*tricks, everything_is_saving, no_saver):
    folder = save(UntrustedModel(), tmp_path / change.__name__)
    rewrite(folder, change)
    refused(folder, 'refused.*(SaveV2|RestoreV2)')


def test_the_saver_may_do_nothing_else(tmp_path, refused):
  folder = save(UntrustedModel(), tmp_path / 'model')
  rewrite(folder, lambda _, savers: savers['restore'].node_def.add(name='n', op='WriteFile'))
  refused(folder, 'refused.*WriteFile')


def test_other_kinds_of_saved_models_are_refused(tmp_path, refused):
  old = tmp_path / 'old'
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    pictures = tf.compat.v1.placeholder(tf.float32, [None, SIZE, SIZE, 3])
    tf.compat.v1.saved_model.simple_save(session, str(old), {'x': pictures}, {'y': tf.reduce_mean(pictures, [1, 2])})
  (old / 'assets').mkdir()
  (old / 'assets' / 'settings.json').write_text(json.dumps(SETTINGS))
  refused(old, 'TensorFlow 2')
  two = save(UntrustedModel(), tmp_path / 'two')
  (two / 'saved_model.pb').write_bytes((two / 'saved_model.pb').read_bytes() * 2)
  refused(two, 'TensorFlow 2')
  (two / 'saved_model.pb').write_bytes(b'not a SavedModel')
  refused(two, 'not a readable SavedModel')


def all_operations():
  """OpDefs of every registered operation."""
  buffer = pywrap_tf_session.TF_GetAllOpList()
  return op_def_pb2.OpList.FromString(pywrap_tf_session.TF_GetBuffer(buffer)).op


def test_stateful_operations_are_forbidden_except_for_a_few():
  operations = all_operations()
  stateful = {operation.name for operation in operations if operation.is_stateful}
  assert len(stateful) > 400
  assert {name for name in stateful if not saved_model_allowlist.forbidden(name)} == set(
    saved_model_allowlist.NEEDED_OPS
  ) & stateful
  # Stateless operations that read files, stop the process, or call Python.
  paths = {o.name for o in operations if {'filename', 'filenames', 'pattern'} & {arg.name for arg in o.input_arg}}
  assert all(saved_model_allowlist.forbidden(name) for name in paths - {'RegexReplace', 'RegexFullMatch'})
  unsafe = 'ReadFile MatchingFiles ImmutableConst DecodeProtoV2 EncodeProto GenerateVocabRemapping PyFuncStateless'
  for name in (*unsafe.split(), 'Abort', 'Copy', 'CopyHost', 'NoSuchOp', 'IO>AudioResample', '__doc__', '_Send'):
    assert saved_model_allowlist.forbidden(name), name


def test_operations_of_networks_are_allowed():
  for name in ('MatMul', 'Conv2D', 'Softmax', 'TopKV2', 'While', 'ReadVariableOp', 'FusedBatchNormV3', 'NoOp'):
    assert not saved_model_allowlist.forbidden(name)


def keras_classifier():
  pictures = keras.Input([SIZE, SIZE, 3])
  x = keras.layers.BatchNormalization()(keras.layers.Conv2D(2, 3)(pictures))
  x = keras.layers.Dropout(0.5)(keras.layers.GlobalAveragePooling2D()(x))
  # Below 0, as what lies from 0 to 1 is taken for scores rather than logits.
  return keras.Model(pictures, keras.layers.Dense(CLASSES, bias_initializer=keras.initializers.Constant(-3.0))(x))


def test_exports_of_keras_are_loaded(tmp_path):
  model = keras_classifier()
  model.compile('adam', 'mse')
  model.fit(np.zeros([2, SIZE, SIZE, 3]), np.zeros([2, CLASSES]), verbose=0)
  model.export(str(tmp_path / 'export'), verbose=False)
  images = np.random.default_rng(0).integers(0, 256, [3, SIZE, SIZE, 3], np.uint8)
  expected = tf.nn.softmax(model(images / np.float32(255), training=False))
  np.testing.assert_allclose(frozen_teacher.load(tmp_path / 'export').probabilities(images), expected, atol=1e-5)


def test_saved_models_of_tensorflow_are_loaded_even_when_saved_again(tmp_path):
  model = keras.Sequential([keras.Input([SIZE, SIZE, 3]), keras.layers.Flatten(), keras.layers.Dense(CLASSES)])
  tf.saved_model.save(model, str(tmp_path / 'keras'))
  module = UntrustedModel()
  module.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(['a'], [1.0]), 0.0)
  module.call = lambda: module.table.lookup(tf.constant('a'))
  loaded = tf.saved_model.load(str(save(module, tmp_path / 'table')))
  tf.saved_model.save(loaded, str(tmp_path / 'again'), signatures=loaded.signatures)
  for name in ('keras', 'table', 'again'):
    assert frozen_teacher.load(tmp_path / name).description['classes'] == CLASSES
