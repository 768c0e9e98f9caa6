"""Students: networks that hear. Each is a function of its heads, its layers a table.

A student is a keras.Model:
  in: `waveform` f32 [B, samples] in [-1, 1], any length from its documented minimum up;
  out: a dict: `logits/<head>` f32 [B, T, classes] for every head, `embedding` f32 [B, width].
There is one head a teacher, named as the teacher is. One without heads gives the embedding alone, or its sound back as
`waveform`.

Beside `X.keras` lies `X.json`: StudentSettings, what a person or a program needs to use the weights.
"""

import dataclasses
import functools
import itertools
import json
import pathlib
from collections.abc import Callable

import keras
import numpy as np

from audionet_tf import (
  autoencoder,
  files,
  geometry,
  hershey,
  inception_v3,
  losses,
  mel_network,
  mel_patches,
  soundnet,
  vggish,
  yamnet,
)
from audionet_tf.errors import UserError
from audionet_tf.pooled_convolution import PooledConv1D

LOGITS = 'logits/'  # + head: key of a head's output

# Bryce 2018, table 1, and the edges of its code. Shortest input: one sample.
AUDIONET = {'filters': 16, 'kernel_size': 64, 'strides': 2, 'padding': 32, 'pool_size': 8, 'pool_padding': 4}


def audionet(heads):
  """Conv1D - max pool - global average pool - dense: 18,040 parameters with one head of 1000 classes; T = 1.

  Args:
    heads: dict of head name to number of classes.
  """
  waveform = keras.Input([None], name='waveform')
  embedding = PooledConv1D(**AUDIONET, name='conv')(waveform)  # [B, 16]
  outputs = {'embedding': embedding}
  limit = AUDIONET['filters'] ** -0.5  # PyTorch's initial distribution, for weights and biases
  uniform = keras.initializers.RandomUniform(-limit, limit)
  for head, classes in heads.items():
    dense = keras.layers.Dense(
      classes, kernel_initializer=uniform, bias_initializer=uniform, dtype='float32', name=f'dense_{head}'
    )
    outputs[LOGITS + head] = keras.layers.Reshape([1, classes])(dense(embedding))  # [B, 1, classes]
  return keras.Model(waveform, outputs, name='audionet')


@dataclasses.dataclass(frozen=True)
class Network:
  """An architecture.

  Attributes:
    build: heads (dict of name to classes) -> keras.Model, untrained.
    layers: dict of layer name to the table of sliding windows up to it (`geometry`): layers that have steps in time.
      The last one's steps are those of the logits. Empty: one step hears the whole window, or steps are not told apart:
      each learns what the whole window is taught.
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
  return Network(lambda heads: soundnet.soundnet(table, heads, name), layers_of(table), 'repeat')


def patch_network(build, layers, fills=False):
  return Network(build, layers, spectrogram=True, sample_rate_hz=mel_patches.RATE_HZ, fills=fills)


def logmel_network(**options):
  return Network(
    functools.partial(mel_network.logmel_cnn, **options),
    short='repeat',
    shortest_samples=mel_network.SHORTEST_SAMPLES,
    spectrogram=True,
    sample_rate_hz=mel_network.FRONT_END['sample_rate_hz'],
  )


def vggish_network(**options):
  layers = vggish.layers(options.get('quantised', False))
  return patch_network(lambda heads: vggish.vggish(heads, **options), layers)


def hershey_networks():
  """dict of name to Network: each as it is, and with a bottleneck."""
  bodies = (hershey.fc, hershey.alexnet, hershey.vgg19, hershey.resnet50, inception_v3.inception_v3)
  found = {}
  for body, width in itertools.product(bodies, (None, hershey.BOTTLENECK)):
    name = f'{body.__name__}_{width}' if width else body.__name__
    build = functools.partial(hershey.student, name=name, body=body, bottleneck=width)
    found[name] = patch_network(build, mel_patches.layers(hershey.PRESET))
  return found


STUDENTS = {
  'audionet': Network(audionet),
  'autoencoder': Network(autoencoder.autoencoder, layers_of(autoencoder.ENCODER), 'repeat', reconstructs=True),
  'logmel_attention': logmel_network(name='logmel_attention', pooled=mel_network.attended),
  'logmel_cnn': logmel_network(),
  'logmel_steps': logmel_network(name='logmel_steps', pooled=mel_network.each_step),
  'soundnet5': soundnet_network(soundnet.SOUNDNET5, 'soundnet5'),
  'soundnet8': soundnet_network(soundnet.SOUNDNET8, 'soundnet8'),
  'soundnet8_5s': soundnet_network(soundnet.SOUNDNET8_5S, 'soundnet8_5s'),
  'soundnet8_steps': soundnet_network(soundnet.SOUNDNET8_STEPS, 'soundnet8_steps'),
  'vggish': vggish_network(),
  'vggish_attention': Network(
    vggish.attended,
    shortest_samples=mel_patches.SHORTEST_SAMPLES,
    spectrogram=True,
    sample_rate_hz=mel_patches.RATE_HZ,
  ),
  'vggish_relu': vggish_network(activated=True),
  'vggish_pca': vggish_network(quantised=True),
  'yamnet': patch_network(yamnet.yamnet, mel_patches.layers(yamnet.PRESET), fills=True),
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
  return geometry.shortest(layers[layer or list(layers)[-1]]) if layers else network(name).shortest_samples


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
  if not (count := geometry.length(samples, table)):
    raise UserError(
      f'{name}: {samples} samples ({samples / sample_rate_hz:g} s) are too few for one step; the shortest are '
      f'{geometry.shortest(table)} samples ({geometry.shortest(table) / sample_rate_hz:.3f} s){fitting(name, samples)}'
    )
  steps = geometry.steps(table)
  return (steps.first_center + steps.hop * np.arange(count)) / sample_rate_hz, steps.hop / sample_rate_hz


def fitting(name, samples):
  """'; NAME hears as little', of the student of the same family that needs the most of `samples`; '' without one."""
  family = name.split('_')[0].rstrip('0123456789')
  names = [other for other in STUDENTS if other.startswith(family) and shortest_samples(other) <= samples]
  return f'; {max(names, key=shortest_samples)} hears as little' if names else ''


def alignment(name, params, target_steps='covered'):
  """f32 [S, A]: which of a window's A answers each of the student's S steps learns (`geometry.alignment`).

  Raises:
    UserError: sound of another rate than the student's, or too short for it.
  """
  rate = network(name).sample_rate_hz
  if rate not in (None, params.sample_rate_hz):
    raise UserError(
      f'{name} hears {rate} Hz, the records hold {params.sample_rate_hz} Hz; build them with --sample_rate={rate}'
    )
  centers, hop = step_seconds(name, params.window_samples, params.sample_rate_hz)
  return geometry.alignment(centers, hop, [float(time) for time in params.answer_seconds(0)], target_steps)


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


def check_names(path, settings):
  """UserError where the student at `path` has no classes to name."""
  if not settings.classes:
    raise UserError(f'{path}: {settings.student} names nothing; features and probe read its layers')


@dataclasses.dataclass(frozen=True)
class StudentSettings:
  """What travels with a student's weights.

  Attributes:
    student: key of STUDENTS.
    sample_rate_hz, mono: of the sound that it was trained on.
    window_seconds: length of the windows that it was trained on.
    classes: dict of head name to class names; empty of a student without heads.
    teachers: dict of head name to a JSON-able description of its teacher, `teachers.Teacher.description`.
    target_steps: key of geometry.TARGET_STEPS: which answers its steps were taught.
    activations: dict of head name to key of losses.ACTIVATIONS; softmax where it is not named.
  """

  student: str
  sample_rate_hz: int
  mono: str
  window_seconds: float
  classes: dict
  teachers: dict = dataclasses.field(default_factory=dict)
  target_steps: str = 'covered'
  activations: dict = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    if not isinstance(self.activations, dict) or not set(self.activations.values()) <= losses.ACTIVATIONS.keys():
      raise TypeError(f'activations are {self.activations}, allowed are {", ".join(losses.ACTIVATIONS)}')

  def activation(self, head):
    """Key of losses.ACTIVATIONS."""
    return self.activations.get(head, 'softmax')

  def probabilities(self, head, logits):
    """What a head's logits f32 [..., classes] say, f32 [..., classes]."""
    return losses.ACTIVATIONS[self.activation(head)](logits)


def save(path, model, settings):
  """Writes `path` (.keras) and the settings beside it; neither is ever seen half-written."""
  path = pathlib.Path(path)
  with files.named_when_whole(path, 'wb') as file:
    model.save(file.name)
  with files.named_when_whole(path.with_suffix('.json')) as file:
    json.dump(dataclasses.asdict(settings), file, indent=1)


def load(path):
  """(model, settings) from `path` (.keras) and the .json beside it. UserError when either is missing or damaged."""
  path = pathlib.Path(path)
  if not path.is_file():
    raise UserError(f'{path}: no such student; training writes it as RUN/student.keras')
  try:
    settings = StudentSettings(**json.loads(path.with_suffix('.json').read_text(encoding='utf-8')))
  except FileNotFoundError:
    raise UserError(f'{path.with_suffix(".json")}: missing; it belongs beside {path.name}') from None
  except (ValueError, TypeError) as error:
    raise UserError(f'{path.with_suffix(".json")}: not the settings of a student ({error})') from None
  try:
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
  except Exception as error:  # Keras raises whatever its parts raise: a damaged file is the user's to mend
    raise UserError(f'{path}: not a readable .keras file ({type(error).__name__}: {error})') from error
  return model, settings
