"""What the layers of a trained student hear: one function from sound to activations, from .keras or SavedModel."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from audionet_tf.core import digests
from audionet_tf.core.errors import UserError
from audionet_tf.media.timeline import PCM_SCALE
from audionet_tf.models import registry, student_file, student_paths
from audionet_tf.saved_model import loader, signatures

EMBEDDING = 'embedding'


@dataclasses.dataclass(frozen=True)
class LayerOutputs:
  """Layers of a student.

  Attributes:
    hear: int16 [B, samples] -> dict of source to f32 [B, T, width], or f32 [B, width] where `tables` is empty.
    sources: dict of layer, as it was asked for, to the source that it is read from.
    tables: dict of source to its table of sliding windows (`receptive_field`). Empty for networks without steps: these
      take windows of their training's length, each of which gives one vector.
    settings: students.StudentSettings.
    digest: sha256 of the weights, hex.
  """

  hear: Callable
  sources: dict
  tables: dict
  settings: student_file.StudentConfig
  digest: str

  def is_mean(self, layer):
    """Whether `layer` is the mean of its source's steps over the whole sound."""
    return layer == EMBEDDING and bool(self.tables)


def load(path, layers):
  """The LayerModel of a run, a .keras file or a SavedModel. UserError lists the known layers."""
  path = student_paths.resolve(path)
  settings, digest, known, chosen = (of_keras if path.suffix == '.keras' else of_saved_model)(path)
  sources = known_sources(known, layers, settings)
  wanted = list(dict.fromkeys(sources.values()))
  heard = chosen(wanted)

  @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int16)])
  def activations(pcm):
    return heard(tf.cast(pcm, tf.float32) / PCM_SCALE)

  def hear(pcm):
    return {source: np.asarray(value, np.float32) for source, value in activations(pcm).items()}

  tables = {source: known[source] for source in wanted if known[source]}
  return LayerOutputs(hear, sources, tables, settings, digest)


def of_keras(path):
  """(settings, digest, dict of known layers, function from sources to a function of the waveform) of a .keras file."""
  model, settings = student_file.load(path)

  def chosen(sources):
    if registry.network(settings.student).layer_windows:
      layers = registry.layer_model(model, settings.student, sources)
    else:
      outputs = {layer.name: layer.output for layer in model.layers} | {EMBEDDING: model.output[EMBEDDING]}
      layers = keras.Model(model.input, {source: outputs[source] for source in sources})
    return lambda waveform: layers(waveform, training=False)

  return settings, digests.of_files([path]), known_layers(model, settings), chosen


def of_saved_model(path):
  """As `of_keras`, of a SavedModel: what its signatures give."""
  served = loader.load(path, names=False)
  tables = signatures.tables_of(served.settings)
  name = signatures.LAYERS if tables else 'serving_default'
  if name not in served.signatures:
    raise UserError(f'{path}: an export that lacks the signature {name}; export the student again, or name its .keras')

  def chosen(sources):
    def heard(waveform):
      outputs = served.signatures[name](waveform=waveform)
      return {source: outputs[source] for source in sources}  # what nobody asks for is not computed

    return heard

  return served.settings, digests.of_files(saved_model_files(served.path)), tables or {EMBEDDING: None}, chosen


def known_layers(model, settings):
  """dict of layer to its table of sliding windows, or to None: one vector for the whole of what is heard."""
  tables = signatures.tables_of(settings)
  if not tables:
    vectors = (layer for layer in model.layers if len(layer.output.shape) == 2 and layer.output.shape[1])
    return {layer.name: None for layer in vectors} | {EMBEDDING: None}
  names = {layer.name for layer in model.layers}
  parts = {f'{layer}_{part}': table for layer, table in tables.items() for part in ('conv', 'norm')}
  return tables | {layer: table for layer, table in parts.items() if layer in names}


def known_sources(known, layers, settings):
  """dict of each of the layers to what it is read from; UserError lists the known ones."""
  network = registry.network(settings.student)
  hidden = list(network.layer_windows)[-1:] if network.is_autoencoder else list(network.layer_windows)[-2:-1]
  named = {layer: layer for layer in known} | ({EMBEDDING: hidden[0]} if hidden else {})
  for layer in layers:
    if layer not in named:
      raise UserError(f'layer {layer!r} is not known; {settings.student} has {", ".join(named)}')
  return {layer: named[layer] for layer in layers}


def saved_model_files(folder):
  return [folder / 'saved_model.pb', *sorted((folder / 'variables').iterdir())]
