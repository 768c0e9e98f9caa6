"""Activations of a trained student's layers as a function of sound, from a `.keras` file or a SavedModel."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from audionet_tf.core import digests
from audionet_tf.core.errors import UserError
from audionet_tf.media.timeline import PCM_SCALE
from audionet_tf.models import registry, student_file, student_paths, student_settings
from audionet_tf.saved_model import loader, signatures

EMBEDDING = 'embedding'


@dataclasses.dataclass(frozen=True)
class LayerOutputs:
  """Selected layers of a student.

  Attributes:
    activations: int16 [B, samples] -> dict of source to f32 [B, T, width], or f32 [B, width] if `tables` is empty.
    sources: dict of requested layer to the source that it is read from.
    tables: dict of source to its table of sliding windows (`models/receptive_field.py`). Empty for networks without
      steps, which take windows of their training's length and return one vector for each.
    settings: student_settings.StudentConfig.
    digest: sha256 of the weights, hex.
  """

  activations: Callable
  sources: dict
  tables: dict
  settings: student_settings.StudentConfig
  digest: str

  def is_mean(self, layer):
    """Whether `layer` is the mean over all steps of its source."""
    return layer == EMBEDDING and bool(self.tables)


def load(path, layers):
  """Loads layers of a student.

  Args:
    path: of a run, an export or a `.keras` file.
    layers: list of layer names.

  Returns:
    LayerOutputs.

  Raises:
    UserError: there is no student, or it has no such layer; the message lists its layers.
  """
  path = student_paths.resolve(path)
  student = (of_keras if path.suffix == '.keras' else of_saved_model)(path)
  sources = find_sources(student, layers)
  distinct = list(dict.fromkeys(sources.values()))
  select = student.select(distinct)

  @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int16)], autograph=False)
  def compute(pcm):
    return select(tf.cast(pcm, tf.float32) / PCM_SCALE)

  def activations(pcm):
    return {source: np.asarray(value, np.float32) for source, value in compute(pcm).items()}

  tables = {source: student.tables[source] for source in distinct if student.tables[source]}
  return LayerOutputs(activations, sources, tables, student.settings, student.digest)


@dataclasses.dataclass(frozen=True)
class Student:
  """A student whose layers can be selected.

  Attributes:
    settings: student_settings.StudentConfig.
    digest: sha256 of the weights, hex.
    tables: dict of every layer to its table of sliding windows, or to None: one vector for the whole input.
    select: list of layers -> function of a waveform f32 [B, samples] -> dict of layer to tensor.
  """

  settings: student_settings.StudentConfig
  digest: str
  tables: dict
  select: Callable


def of_keras(path):
  """The Student in a `.keras` file."""
  model, settings = student_file.load(path)

  def select(sources):
    if registry.network(settings.student).layer_windows:
      layers = registry.layer_model(model, settings.student, sources)
    else:
      outputs = {layer.name: layer.output for layer in model.layers} | {EMBEDDING: model.output[EMBEDDING]}
      layers = keras.Model(model.input, {source: outputs[source] for source in sources})
    return lambda waveform: layers(waveform, training=False)

  return Student(settings, digests.of_files([path]), all_layers(model, settings), select)


def of_saved_model(path):
  """The Student in a SavedModel; its layers are the outputs of a signature."""
  export = loader.load(path, names=False)
  tables = signatures.tables_of(export.settings)
  name = signatures.LAYERS if tables else 'serving_default'
  if name not in export.signatures:
    raise UserError(f'{path}: an export that lacks the signature {name}; export the student again, or name its .keras')

  def select(sources):
    def compute(waveform):
      outputs = export.signatures[name](waveform=waveform)
      return {source: outputs[source] for source in sources}  # other outputs are then not computed

    return compute

  digest = digests.of_files(saved_model_files(export.path))
  return Student(export.settings, digest, tables or {EMBEDDING: None}, select)


def all_layers(model, settings):
  """dict of every layer of a model to its table of sliding windows, or to None: one vector for the whole input."""
  tables = signatures.tables_of(settings)
  if not tables:
    vectors = (layer for layer in model.layers if len(layer.output.shape) == 2 and layer.output.shape[1])
    return {layer.name: None for layer in vectors} | {EMBEDDING: None}
  names = {layer.name for layer in model.layers}
  parts = {f'{layer}_{part}': table for layer, table in tables.items() for part in ('conv', 'norm')}
  return tables | {layer: table for layer, table in parts.items() if layer in names}


def find_sources(student, layers):
  """dict of each requested layer to the layer that it is read from. UserError lists the layers that exist."""
  network = registry.network(student.settings.student)
  hidden = list(network.layer_windows)[-1:] if network.is_autoencoder else list(network.layer_windows)[-2:-1]
  sources = {layer: layer for layer in student.tables} | ({EMBEDDING: hidden[0]} if hidden else {})
  for layer in layers:
    if layer not in sources:
      raise UserError(f'layer {layer!r} is not known; {student.settings.student} has {", ".join(sources)}')
  return {layer: sources[layer] for layer in layers}


def saved_model_files(folder):
  """Paths of the graph and the variables of a SavedModel."""
  return [folder / 'saved_model.pb', *sorted((folder / 'variables').iterdir())]
