"""Registry of student architectures, by name.

A student is a keras.Model:
  input: `waveform` f32 [B, samples] in [-1, 1], of any length from `shortest_samples` on;
  output: dict of `logits/<head>` f32 [B, T, classes] for every head, and `embedding` f32 [B, width].
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
from audionet_tf.models import receptive_field, sound_needs, student_names
from audionet_tf.models.heads import LOGITS
from audionet_tf.models.networks import (
  audionet,
  autoencoder,
  cnn_architectures,
  logmel_cnn,
  patch_classifier,
  soundnet,
  vggish,
  vggish_attention,
  yamnet,
)


@dataclasses.dataclass(frozen=True)
class Architecture:
  """An architecture.

  Attributes:
    build: function of heads (dict of head name to number of classes) to an untrained keras.Model; None for a joined
      student.
    layer_windows: dict of layer name to the table of sliding windows up to it (`receptive_field`), for layers with
      steps in time. The last layer is that of the logits. Empty where there is one step, or where every step learns the
      targets of the whole window.
    short_input: what is done with sound that is too short: 'pad' with zeros, or 'repeat' as SoundNet's code does.
    shortest_samples: of a network without `layer_windows`.
    spectrogram: whether it has a layer `log_mel`, which SpecAugment can mask in training.
    sample_rate_hz: sample rate that its mel bands are made for; None where it takes sound of any rate.
    pads_last_patch: whether silence completes the last patch of a whole file, as in YAMNet's code; else an incomplete
      patch is dropped.
    is_autoencoder: whether it has no heads and no teacher, and reconstructs its input as the output `waveform`.
  """

  build: Callable | None
  layer_windows: dict = dataclasses.field(default_factory=dict)
  short_input: str = 'pad'
  shortest_samples: int = 1
  spectrogram: bool = False
  sample_rate_hz: int | None = None
  pads_last_patch: bool = False
  is_autoencoder: bool = False


def windows_by_layer(table):
  """`Architecture.layer_windows` of a table of `soundnet`."""
  return {row[0]: soundnet.windows(table[:number]) for number, row in enumerate(table, 1)}


def soundnet_network(table, name):
  return Architecture(lambda heads: soundnet.soundnet(table, heads, name), windows_by_layer(table), 'repeat')


def levelled_soundnet(table, name):
  """A SoundNet that hears each window at one level. Its steps depend on the whole window: it has no `layer_windows`."""
  return Architecture(
    functools.partial(soundnet.soundnet, table, name=name, same_level=True),
    short_input='repeat',
    shortest_samples=receptive_field.minimum_input_length(soundnet.windows(table)),
  )


def patch_network(build, layer_windows, pads_last_patch=False):
  return Architecture(
    build,
    layer_windows,
    spectrogram=True,
    sample_rate_hz=patch_classifier.RATE_HZ,
    pads_last_patch=pads_last_patch,
  )


def logmel_network(**options):
  return Architecture(functools.partial(logmel_cnn.logmel_cnn, **options), **dataclasses.asdict(sound_needs.LOGMEL))


def vggish_network(**options):
  layer_windows = vggish.layers(options.get('quantised', False))
  return patch_network(lambda heads: vggish.vggish(heads, **options), layer_windows)


def cnn_architecture_networks():
  """dict of name to Architecture: the networks of `cnn_architectures`, each with and without the bottleneck."""
  bodies = (
    cnn_architectures.fc,
    cnn_architectures.alexnet,
    cnn_architectures.vgg19,
    cnn_architectures.resnet50,
    cnn_architectures.inception_v3,
  )
  networks = {}
  for body, width in itertools.product(bodies, (None, cnn_architectures.BOTTLENECK)):
    name = f'{body.__name__}_{width}' if width else body.__name__
    build = functools.partial(cnn_architectures.student, name=name, body=body, bottleneck=width)
    networks[name] = patch_network(build, patch_classifier.layers(cnn_architectures.PRESET))
  return networks


STUDENTS = {
  'audionet': Architecture(audionet.audionet),
  'autoencoder': Architecture(
    autoencoder.autoencoder, windows_by_layer(autoencoder.ENCODER), 'repeat', is_autoencoder=True
  ),
  'logmel_attention': logmel_network(name='logmel_attention', pooled=logmel_cnn.attention_head),
  'logmel_cnn': logmel_network(),
  **{f'logmel_cnn_{key}': logmel_network(name=f'logmel_cnn_{key}', **how) for key, how in logmel_cnn.VARIANTS.items()},
  'logmel_steps': logmel_network(name='logmel_steps', pooled=logmel_cnn.per_step_head),
  'soundnet5': soundnet_network(soundnet.SOUNDNET5, 'soundnet5'),
  'soundnet8': soundnet_network(soundnet.SOUNDNET8, 'soundnet8'),
  'soundnet8_5s': soundnet_network(soundnet.SOUNDNET8_5S, 'soundnet8_5s'),
  'soundnet8_steps': soundnet_network(soundnet.SOUNDNET8_STEPS, 'soundnet8_steps'),
  'soundnet8_level': levelled_soundnet(soundnet.SOUNDNET8_STEPS, 'soundnet8_level'),
  'vggish': vggish_network(),
  'vggish_attention': Architecture(
    vggish_attention.vggish_attention,
    shortest_samples=patch_classifier.SHORTEST_SAMPLES,
    spectrogram=True,
    sample_rate_hz=patch_classifier.RATE_HZ,
  ),
  'vggish_relu': vggish_network(activated=True),
  'vggish_pca': vggish_network(quantised=True),
  'yamnet': patch_network(yamnet.yamnet, patch_classifier.layers(yamnet.PRESET), pads_last_patch=True),
  **cnn_architecture_networks(),
}


def network(name):
  """The Architecture called `name`; of names with a + between them that of a joined student (`joined`).

  UserError for an unknown name.
  """
  parts = name.split(student_names.JOINED)
  for part in parts:
    student_names.check(part)
  return STUDENTS[name] if len(parts) == 1 else joined_architecture([STUDENTS[part] for part in parts])


def joined_architecture(parts):
  """The Architecture of students that were joined, a list of Architecture. It is not built, but made of theirs."""
  rates = {part.sample_rate_hz for part in parts if part.sample_rate_hz}
  return Architecture(
    build=None,
    short_input='repeat' if all(part.short_input == 'repeat' for part in parts) else 'pad',
    shortest_samples=max(map(shortest_of, parts)),
    sample_rate_hz=min(rates, default=None),
  )


def shortest_of(architecture, layer=None):
  """Samples that give one step of a layer, by default of the logits; 1 where any length does."""
  tables = architecture.layer_windows
  if not tables:
    return architecture.shortest_samples
  return receptive_field.minimum_input_length(tables[layer or list(tables)[-1]])


def build(name, heads):
  """The untrained student called `name`, a keras.Model. `heads`: dict of head name to number of classes."""
  return network(name).build(heads)


def shortest_samples(name, layer=None):
  """`shortest_of` the student called `name`."""
  return shortest_of(network(name), layer)


def step_seconds(name, samples, sample_rate_hz, layer=None):
  """Times of a layer's steps in a sound.

  Args:
    name: key of STUDENTS.
    samples: int, length of the sound.
    sample_rate_hz: of the sound.
    layer: name of a layer; None for the logits.

  Returns:
    (centers, hop): f64 [T] and float, seconds. A layer without steps in time counts as one step, and the hop is the
    length of the sound.

  Raises:
    UserError: the sound is too short for one step; the message suggests a student that takes it.
  """
  tables = network(name).layer_windows
  if not tables or layer not in (None, *tables):
    return np.array([samples / 2 / sample_rate_hz]), samples / sample_rate_hz
  table = tables[layer or list(tables)[-1]]
  if not (count := receptive_field.output_length(samples, table)):
    minimum = receptive_field.minimum_input_length(table)
    raise UserError(
      f'{name}: {samples} samples ({samples / sample_rate_hz:g} s) are too few for one step; the minimum is '
      f'{minimum} samples ({minimum / sample_rate_hz:.3f} s){suggestion(name, samples)}'
    )
  field = receptive_field.receptive_field(table)
  return (field.first_center + field.stride * np.arange(count)) / sample_rate_hz, field.stride / sample_rate_hz


def suggestion(name, samples):
  """'; use NAME', the student of the same family with the largest minimum up to `samples`; '' where there is none."""
  family = name.split('_')[0].rstrip('0123456789')
  names = [other for other in STUDENTS if other.startswith(family) and shortest_samples(other) <= samples]
  return f'; use {max(names, key=shortest_samples)}, which takes sound this short' if names else ''


def layer_model(model, name, layers):
  """A model that outputs the activations of some layers of a student.

  Args:
    model: keras.Model, a student.
    name: key of STUDENTS.
    layers: names of Keras layers of the model. The last key of `layer_windows`, such as `conv8` of a SoundNet, stands
      for the logits of all heads, concatenated.

  Returns:
    keras.Model from `waveform` to a dict of layer name to f32 [B, T, width] or f32 [B, width].

  Raises:
    UserError: a layer is not known; the message lists the known names.
  """
  heads = [key for key in model.output if key.startswith(LOGITS)]
  last = list(network(name).layer_windows)[-1:]
  outputs = {layer.name: layer.output for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)}
  if last and heads:
    logits = [model.output[key] for key in heads]
    outputs[last[0]] = keras.layers.Concatenate(name=last[0])(logits) if len(logits) > 1 else logits[0]
  for layer in layers:
    if layer not in outputs:
      raise UserError(f'layer {layer!r} is not known; known are {", ".join(outputs)}')
  return keras.Model(model.input, {layer: outputs[layer] for layer in layers})
