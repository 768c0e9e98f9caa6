"""Which SavedModels may be loaded: a SavedModel is a program, and it may come from an untrusted source.

Allowed are TensorFlow's own stateless operations that access no files, and a short table of others. Operations that
save and restore are allowed only in the two functions that TensorFlow adds for this, to which nothing else in the model
may refer: loading in Python runs neither.
"""

import pathlib
import re

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from audionet_tf.core.errors import UserError

# Stateful operations that networks need: variables, calls and branches, lookup tables, and the random numbers of
# dropout, which a SavedModel may hold although no signature uses them.
NEEDED_OPS = (
  *('VarHandleOp', 'VarIsInitializedOp', 'ReadVariableOp', 'DisableCopyOnRead', 'ResourceGather', 'VariableShape'),
  *('AssignVariableOp', 'AssignAddVariableOp', 'AssignSubVariableOp'),
  *('StatefulPartitionedCall', 'If', 'Case', 'While', 'Assert'),
  *('HashTableV2', 'LookupTableImportV2', 'LookupTableFindV2', 'LookupTableSizeV2'),
  *('RandomUniform', 'RandomStandardNormal', 'StatelessRandomGetAlg'),
)
SAVER_OPS = ('SaveV2', 'RestoreV2', 'MergeV2Checkpoints', 'ShardedFilename')
# Stateless operations that access files, call Python or stop the process.
UNSAFE_NAMES = re.compile('File|Dataset|Reader|Restore|Save|Checkpoint|Debug|Remote|Proto|PyFunc|Vocab|Immutable|Abort')
DEBUGGED_OPS = ('Copy', 'CopyHost')  # they report to a debugger, which may be a file


def forbidden(name):
  """Whether an operation is forbidden: not TensorFlow's own, stateful and not needed, or unsafe."""
  if name in NEEDED_OPS:
    return False
  definition = op_def_registry.get(name) if hasattr(tf.raw_ops, name) else None
  return definition is None or definition.is_stateful or name in DEBUGGED_OPS or bool(UNSAFE_NAMES.search(name))


def read_meta_graph(folder):
  """Reads the MetaGraphDef of the SavedModel in `folder`. UserError if it is not readable or not of TensorFlow 2."""
  path = pathlib.Path(folder) / 'saved_model.pb'
  saved = saved_model_pb2.SavedModel()
  try:
    saved.ParseFromString(path.read_bytes())
  except DecodeError:
    raise UserError(f'{path}: not a readable SavedModel') from None
  # Loading any other SavedModel runs operations of its graph.
  if len(saved.meta_graphs) != 1 or not saved.meta_graphs[0].HasField('object_graph_def'):
    raise UserError(f'{folder}: not a SavedModel of TensorFlow 2; load it there and save it again')
  return saved.meta_graphs[0]


def split_saver(meta_graph):
  """Separates the functions that save and restore from a MetaGraphDef.

  They are not separated if anything but the saver's own two nodes refers to them, or if an attribute lets them replace
  other functions.

  Args:
    meta_graph: MetaGraphDef.

  Returns:
    (MetaGraphDef without the functions, list of FunctionDef).
  """
  saver, graph = meta_graph.saver_def, meta_graph.graph_def
  entries = {saver.save_tensor_name.partition(':')[0], saver.restore_op_name}
  calls = [node for node in graph.node if node.name in entries and node.op.endswith('PartitionedCall')]
  names = {node.attr['f'].func.name for node in calls}
  functions = [function for function in graph.library.function if function.signature.name in names]
  remainder = type(meta_graph)()
  remainder.CopyFrom(meta_graph)
  for nodes, removed in ((remainder.graph_def.node, calls), (remainder.graph_def.library.function, functions)):
    kept = [item for item in nodes if item not in removed]
    del nodes[:]
    nodes.extend(kept)
  serialized = remainder.SerializeToString()
  referenced = any(name.encode() in serialized for name in names)
  replaceable = any(not key.startswith('_') for function in functions for key in function.attr)
  return (meta_graph, []) if referenced or replaceable else (remainder, functions)


def check_operations(folder):
  """Raises UserError, naming them, if the SavedModel in `folder` contains forbidden operations."""
  remainder, savers = split_saver(read_meta_graph(folder))
  functions = remainder.graph_def.library.function
  operations = {node.op for nodes in (remainder.graph_def.node, *(f.node_def for f in functions)) for node in nodes}
  operations |= {node.op for function in savers for node in function.node_def} - set(SAVER_OPS)
  names = sorted(filter(forbidden, operations))
  if names:
    raise UserError(f'{folder}: refused, contains operations that no network needs: {", ".join(names)}')
