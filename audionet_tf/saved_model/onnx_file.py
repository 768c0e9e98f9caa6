"""Writes a student as an ONNX file, and compares it with the model in memory by ONNX Runtime.

`waveform` f32 [batch, samples], of any length, to the outputs of `serving_default` that are numbers. The file's
metadata have `sample_rate_hz`, `mono`, `window_seconds` and, as JSON, `classes`. ONNX has no FFT that converters of
TensorFlow write, so the spectrum is a convolution (`log_mel.LogMel`, transform `matmul`).
"""

import contextlib
import json
import logging
import os
from unittest import mock

from audionet_tf.core import files, text
from audionet_tf.core.errors import UserError
from audionet_tf.layers import attention_pooling, log_mel
from audionet_tf.models import registry
from audionet_tf.saved_model import signatures, verify

FILE = 'model.onnx'
OPSET = 17
METADATA = ('student', 'sample_rate_hz', 'mono', 'window_seconds')  # of the StudentConfig


def write(model, settings, path):
  """Writes the file, and compares it with the model.

  Args:
    model: keras.Model of the student.
    settings: its student_settings.StudentConfig.
    path: pathlib.Path of the file.

  Raises:
    UserError: tf2onnx cannot convert the student, or ONNX Runtime cannot compute its attention.
    RuntimeError: outputs differ from the model's.
  """
  proto = converted(log_mel.with_transform(model, 'matmul'), settings)
  about = {name: str(getattr(settings, name)) for name in METADATA} | {'classes': json.dumps(settings.classes)}
  for key, value in about.items():
    entry = proto.metadata_props.add()
    entry.key, entry.value = key, value
  with files.atomic_write(path, 'wb') as file:
    file.write(proto.SerializeToString())
  length = signatures.window_samples(settings)
  waveforms = verify.probe_waveforms(length, registry.shortest_samples(settings.student))
  try:
    verify.compare_runtime(runner(path), model, settings, waveforms, path.name)
  except RuntimeError as error:
    if not any(isinstance(layer, attention_pooling.AttentionPooling) for layer in model.layers):
      raise
    raise UserError(
      f'{error}: ONNX Runtime takes attention below 1e-8 for 0, and here no step gets more; export without ONNX'
    ) from None


def converted(model, settings):
  """The onnx.ModelProto of a model whose operations ONNX has. UserError: it cannot be converted."""
  import tf2onnx
  from onnx import checker

  logging.getLogger('tf2onnx').setLevel(logging.ERROR)
  function = signatures.default_function(model, settings, names=signatures.numeric_outputs(settings))
  for optimizers in (optimizers_without_copies, contextlib.nullcontext):  # the latter leave out one that fails
    try:
      with optimizers():
        proto, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=OPSET)
      checker.check_model(proto)
      return proto
    except Exception as error:  # whatever converter and checker raise about an operation
      problem = error
  raise UserError(f'tf2onnx cannot convert {settings.student} ({text.brief(problem)})') from problem


@contextlib.contextmanager
def optimizers_without_copies():
  """Within it, tf2onnx's dozens of optimizations do not copy the weights twice each, which took 15 GB of 72 M weights.

  One copy is of the graph, to go back to where an optimization fails, which here is an error of the conversion; the
  other is that of the nodes as ONNX, which are made once more at the end.
  """
  from tf2onnx.optimizer import optimizer_base

  def optimize(self, graph, iteration):
    self.opt_iteration = iteration
    graph = self._optimize(graph)
    graph.delete_unused_nodes(graph.outputs)
    return graph

  with (
    mock.patch.object(optimizer_base.GraphOptimizerBase, 'optimize', optimize),
    mock.patch.dict(os.environ, {'TF2ONNX_CATCH_ERRORS': 'false'}),
  ):
    yield


def runner(path):
  """The file as a function: waveform f32 [batch, samples] to a dict of arrays."""
  import onnxruntime

  session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
  names = [output.name for output in session.get_outputs()]
  return lambda waveform: dict(zip(names, session.run(names, {'waveform': waveform}), strict=True))
