"""Which SavedModels may be loaded: a SavedModel is a program, and it may come from a stranger.

Allowed are TensorFlow's own operations without state that touch no files, and a short table of others. Saving and
restoring are among them only in the two functions that saving makes, which nothing else in the model may name:
loading in Python runs neither.
"""

import pathlib
import re

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from audionet_tf.core.errors import UserError

# Operations with state that networks need: variables, calls and branches, tables of labels; the random numbers of
# dropout, which a saved model may hold though no signature asks for them.
NEEDED_OPS = (
  *('VarHandleOp', 'VarIsInitializedOp', 'ReadVariableOp', 'DisableCopyOnRead', 'ResourceGather', 'VariableShape'),
  *('AssignVariableOp', 'AssignAddVariableOp', 'AssignSubVariableOp'),
  *('StatefulPartitionedCall', 'If', 'Case', 'While', 'Assert'),
  *('HashTableV2', 'LookupTableImportV2', 'LookupTableFindV2', 'LookupTableSizeV2'),
  *('RandomUniform', 'RandomStandardNormal', 'StatelessRandomGetAlg'),
)
SAVER_OPS = ('SaveV2', 'RestoreV2', 'MergeV2Checkpoints', 'ShardedFilename')
# Of operations without state: those that reach for files, call Python or stop the process.
REACHES_OUT = re.compile('File|Dataset|Reader|Restore|Save|Checkpoint|Debug|Remote|Proto|PyFunc|Vocab|Immutable|Abort')
WATCHED = ('Copy', 'CopyHost')  # they tell a debugger, which may be a file


def foreign(name):
  """Whether an operation has no place in a network: not TensorFlow's own, with state, or one that reaches out."""
  if name in NEEDED_OPS:
    return False
  definition = op_def_registry.get(name) if hasattr(tf.raw_ops, name) else None
  return definition is None or definition.is_stateful or name in WATCHED or bool(REACHES_OUT.search(name))


def read_meta_graph(folder):
  """The one MetaGraphDef of the SavedModel in `folder`. UserError: it cannot be parsed, or is not of TensorFlow 2."""
  path = pathlib.Path(folder) / 'saved_model.pb'
  saved = saved_model_pb2.SavedModel()
  try:
    saved.ParseFromString(path.read_bytes())
  except DecodeError:
    raise UserError(f'{path}: not a readable SavedModel') from None
  # Of any other, loading runs operations of the graph itself.
  if len(saved.meta_graphs) != 1 or not saved.meta_graphs[0].HasField('object_graph_def'):
    raise UserError(f'{folder}: not a SavedModel of TensorFlow 2; load it there and save it again')
  return saved.meta_graphs[0]


def split_saver(meta_graph):
  """Takes the functions of saving out of a MetaGraphDef: (MetaGraphDef of the rest, list of FunctionDef).

  They stay in it where anything but the saver's own two nodes names them, or an attribute lets them stand in for
  others.
  """
  saver, graph = meta_graph.saver_def, meta_graph.graph_def
  entries = {saver.save_tensor_name.partition(':')[0], saver.restore_op_name}
  calls = [node for node in graph.node if node.name in entries and node.op.endswith('PartitionedCall')]
  names = {node.attr['f'].func.name for node in calls}
  functions = [function for function in graph.library.function if function.signature.name in names]
  rest = type(meta_graph)()
  rest.CopyFrom(meta_graph)
  for nodes, taken in ((rest.graph_def.node, calls), (rest.graph_def.library.function, functions)):
    kept = [item for item in nodes if item not in taken]
    del nodes[:]
    nodes.extend(kept)
  text = rest.SerializeToString()
  named = any(name.encode() in text for name in names)
  stand_in = any(not key.startswith('_') for function in functions for key in function.attr)
  return (meta_graph, []) if named or stand_in else (rest, functions)


def refuse_foreign(folder):
  """Raises UserError, naming them, when the SavedModel in `folder` holds operations that have no place in a network."""
  rest, savers = split_saver(read_meta_graph(folder))
  functions = rest.graph_def.library.function
  found = {node.op for nodes in (rest.graph_def.node, *(f.node_def for f in functions)) for node in nodes}
  found |= {node.op for function in savers for node in function.node_def} - set(SAVER_OPS)
  names = sorted(filter(foreign, found))
  if names:
    raise UserError(f'{folder}: refused, holds operations that a network has no use for: {", ".join(names)}')
