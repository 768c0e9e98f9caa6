"""Students by name: each a function of its heads, its layers a table.

A student is a keras.Model:
  in: `waveform` f32 [B, samples] in [-1, 1], any length from its documented minimum up;
  out: a dict: `logits/<head>` f32 [B, T, classes] for every head, `embedding` f32 [B, width].
There is one head per teacher, with the teacher's name. A student without heads gives the embedding alone, or its input
reconstructed as `waveform`.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable

import keras
import numpy as np

from audionet_tf.core.errors import UserError
from audionet_tf.models import (
  audionet,
  autoencoder,
  cnn_architectures,
  logmel_cnn,
  patch_classifier,
  receptive_field,
  soundnet,
  vggish,
  vggish_attention,
  yamnet,
)
from audionet_tf.models.heads import LOGITS


@dataclasses.dataclass(frozen=True)
class Architecture:
  """An architecture.

  Attributes:
    build: heads (dict of name to classes) -> keras.Model, untrained.
    layers: dict of layer name to the table of sliding windows up to it (`receptive_field`), of layers with steps in
      time. The last one's steps are those of the logits. Empty: there is one step, or each learns the targets of the
      whole window.
    short: what is done with sound that is too short: 'pad' it with zeros, or 'repeat' it as SoundNet's code does.
    shortest_samples: of a network without `layers`.
    spectrogram: it has a layer `log_mel`, of which stretches can be hidden in training.
    sample_rate_hz: of the sound that its bands are made for; None where it takes sound of any rate.
    fills: its last step is filled up with silence where sound is heard as a whole, as YAMNet's code does; else dropped.
    reconstructs: it has no heads, as nobody teaches it: it learns to give back what it hears, as the output `waveform`.
  """

  build: Callable
  layers: dict = dataclasses.field(default_factory=dict)
  short: str = 'pad'
  shortest_samples: int = 1
  spectrogram: bool = False
  sample_rate_hz: int | None = None
  fills: bool = False
  reconstructs: bool = False


def layers_of(table):
  return {row[0]: soundnet.windows(table[:number]) for number, row in enumerate(table, 1)}


def soundnet_network(table, name):
  return Architecture(lambda heads: soundnet.soundnet(table, heads, name), layers_of(table), 'repeat')


def patch_network(build, layers, fills=False):
  return Architecture(build, layers, spectrogram=True, sample_rate_hz=patch_classifier.RATE_HZ, fills=fills)


def logmel_network(**options):
  return Architecture(
    functools.partial(logmel_cnn.logmel_cnn, **options),
    short='repeat',
    shortest_samples=logmel_cnn.SHORTEST_SAMPLES,
    spectrogram=True,
    sample_rate_hz=logmel_cnn.FRONT_END['sample_rate_hz'],
  )


def vggish_network(**options):
  layers = vggish.layers(options.get('quantised', False))
  return patch_network(lambda heads: vggish.vggish(heads, **options), layers)


def hershey_networks():
  """dict of name to Network: each as it is, and with a bottleneck."""
  bodies = (
    cnn_architectures.fc,
    cnn_architectures.alexnet,
    cnn_architectures.vgg19,
    cnn_architectures.resnet50,
    cnn_architectures.inception_v3,
  )
  found = {}
  for body, width in itertools.product(bodies, (None, cnn_architectures.BOTTLENECK)):
    name = f'{body.__name__}_{width}' if width else body.__name__
    build = functools.partial(cnn_architectures.student, name=name, body=body, bottleneck=width)
    found[name] = patch_network(build, patch_classifier.layers(cnn_architectures.PRESET))
  return found


STUDENTS = {
  'audionet': Architecture(audionet.audionet),
  'autoencoder': Architecture(autoencoder.autoencoder, layers_of(autoencoder.ENCODER), 'repeat', reconstructs=True),
  'logmel_attention': logmel_network(name='logmel_attention', pooled=logmel_cnn.attention_head),
  'logmel_cnn': logmel_network(),
  'logmel_steps': logmel_network(name='logmel_steps', pooled=logmel_cnn.per_step_head),
  'soundnet5': soundnet_network(soundnet.SOUNDNET5, 'soundnet5'),
  'soundnet8': soundnet_network(soundnet.SOUNDNET8, 'soundnet8'),
  'soundnet8_5s': soundnet_network(soundnet.SOUNDNET8_5S, 'soundnet8_5s'),
  'soundnet8_steps': soundnet_network(soundnet.SOUNDNET8_STEPS, 'soundnet8_steps'),
  'vggish': vggish_network(),
  'vggish_attention': Architecture(
    vggish_attention.vggish_attention,
    shortest_samples=patch_classifier.SHORTEST_SAMPLES,
    spectrogram=True,
    sample_rate_hz=patch_classifier.RATE_HZ,
  ),
  'vggish_relu': vggish_network(activated=True),
  'vggish_pca': vggish_network(quantised=True),
  'yamnet': patch_network(yamnet.yamnet, patch_classifier.layers(yamnet.PRESET), fills=True),
  **hershey_networks(),
}


def network(name):
  """The Network called `name`; UserError lists the known names."""
  if name not in STUDENTS:
    raise UserError(f'student {name!r} is not known; known are {", ".join(sorted(STUDENTS))}')
  return STUDENTS[name]


def build(name, heads):
  """The untrained student called `name`. `heads`: dict of name to class count."""
  return network(name).build(heads)


def shortest_samples(name, layer=None):
  """Samples that give one step of the layer, or of the logits: 1 where the student takes any length."""
  layers = network(name).layers
  return (
    receptive_field.minimum_input_length(layers[layer or list(layers)[-1]])
    if layers
    else network(name).shortest_samples
  )


def step_seconds(name, samples, sample_rate_hz, layer=None):
  """(centers, hop) in seconds of the steps of a layer, or of the logits, in a sound of `samples`.

  Returns:
    (f64 [T], float). A layer without steps has one, and the hop is the whole sound.

  Raises:
    UserError: the sound is too short for one step; it names a student that hears as little.
  """
  layers = network(name).layers
  if not layers or layer not in (None, *layers):
    return np.array([samples / 2 / sample_rate_hz]), samples / sample_rate_hz
  table = layers[layer or list(layers)[-1]]
  if not (count := receptive_field.output_length(samples, table)):
    minimum = receptive_field.minimum_input_length(table)
    raise UserError(
      f'{name}: {samples} samples ({samples / sample_rate_hz:g} s) are too few for one step; the minimum is '
      f'{minimum} samples ({minimum / sample_rate_hz:.3f} s){fitting(name, samples)}'
    )
  steps = receptive_field.receptive_field(table)
  return (steps.first_center + steps.hop * np.arange(count)) / sample_rate_hz, steps.hop / sample_rate_hz


def fitting(name, samples):
  """'; NAME hears as little', of the student of the same family that needs the most of `samples`; '' without one."""
  family = name.split('_')[0].rstrip('0123456789')
  names = [other for other in STUDENTS if other.startswith(family) and shortest_samples(other) <= samples]
  return f'; {max(names, key=shortest_samples)} hears as little' if names else ''


def layer_model(model, name, layers):
  """A keras.Model from `waveform` to a dict of the activations of `layers`: f32 [B, T, width], or [B, width].

  Any layer of the model by its name; the last one of a SoundNet, `conv8`, is its heads' logits side by side.

  Raises:
    UserError: lists the known names.
  """
  heads = [key for key in model.output if key.startswith(LOGITS)]
  last = list(network(name).layers)[-1:]
  known = {layer.name: layer.output for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)}
  if last and heads:
    logits = [model.output[key] for key in heads]
    known[last[0]] = keras.layers.Concatenate(name=last[0])(logits) if len(logits) > 1 else logits[0]
  for layer in layers:
    if layer not in known:
      raise UserError(f'layer {layer!r} is not known; known are {", ".join(known)}')
  return keras.Model(model.input, {layer: known[layer] for layer in layers})
