"""What an export must pass: its signatures are whole, and answer as the model in memory does."""

import numpy as np

from audionet_tf.core.errors import UserError
from audionet_tf.models import heads, registry
from audionet_tf.saved_model import signatures

OPTIONAL = signatures.LAYERS, signatures.STEPS  # not of every student, nor of older exports
PROBE_SAMPLES = 1 << 21  # of about a window each, at once
TOLERANCE = 1e-4  # relative, and absolute to the largest value: a loaded graph may sum in another order


def expected_outputs(settings):
  """dict of signature to the names of the outputs that an export has (`loader`)."""
  every = ['embedding']
  if settings.classes:
    every += ['probabilities', 'logits', 'top_classes', 'top_probabilities']
  if len(settings.classes) > 1:
    every += [f'{head}/probabilities' for head in settings.classes]
  layers = [name + suffix for name in signatures.tables_of(settings) for suffix in ('', signatures.CENTERS)]
  found = {'serving_default': every, 'windows': [*every, 'start_seconds', 'end_seconds']}
  return found | {signatures.LAYERS: layers, signatures.STEPS: signatures.steps_outputs(settings)}


def check_signatures(path, signatures, settings):
  """Raises UserError, naming what is missing, unless an export has what its settings promise.

  Args:
    path: of the export, as the message names it.
    signatures: dict of name to concrete function; those in OPTIONAL may be missing altogether.
    settings: students.StudentSettings.
  """
  expected = expected_outputs(settings)
  lacks = [f'the signature {name}' for name in expected if name not in signatures and name not in OPTIONAL]
  for name in filter(signatures.get, expected):
    missing = [output for output in expected[name] if output not in signatures[name].structured_outputs]
    if missing:
      lacks.append(f'{", ".join(missing)} of the signature {name}')
  if lacks:
    raise UserError(f'{path}: an export that lacks {lacks[0]}; export the student again with audionet_tf.export')


def probe_waveforms(length, shortest=1):
  """f32 [batch, samples] in [-1, 1]: silence, noise and sines, at odd lengths about that of a window.

  Args:
    length: samples in a window; of long ones there are fewer waveforms.
    shortest: samples that the student needs.
  """
  noise = np.random.default_rng(0).uniform(-1, 1, [3, 4 * length]).astype(np.float32)
  time = np.arange(4 * length, dtype=np.float32)
  sines = np.sin(np.outer([0.05, 0.2, 1.1], time)).astype(np.float32)
  whole = np.concatenate([np.zeros_like(noise[:1]), noise, 0.5 * sines])  # [7, 4 length]
  some = whole[np.array([0, 1, 4, 2, 5, 3, 6])[: max(2, min(7, PROBE_SAMPLES // length))]]
  return [some[:, :samples] for samples in (max(length // 2, shortest), length, length + 1, 3 * length + 7)]


def expected_answers(model, settings, waveform):
  """What an export must say: f32 `embedding`, and of the first head `probabilities` and `logits`, by NumPy."""
  heard = model(waveform, training=False)
  embedding = np.asarray(heard['embedding'], np.float64)
  if not settings.classes:
    return {'embedding': embedding}
  head = next(iter(settings.classes))
  logits = np.asarray(heard[heads.LOGITS + head], np.float64)  # [batch, T, classes]
  if settings.activation(head) == 'sigmoid':
    probabilities = (1 + np.tanh(logits / 2)) / 2
  else:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities = powers / powers.sum(-1, keepdims=True)
  return {'probabilities': probabilities.mean(1), 'logits': logits.mean(1), 'embedding': embedding}


def check_close(answers, expected, what, tolerance=TOLERANCE):
  """Raises when an answer is not the expected one: UserError where the expected is not finite, else RuntimeError."""
  for name, value in expected.items():
    if not np.isfinite(value).all():
      raise UserError(f'the student gives {name} that are not finite: its training diverged; train it again')
    difference = np.abs(answers[name] - value).max() if answers[name].shape == value.shape else np.inf
    if not difference <= tolerance * max(1, np.abs(value).max()):
      raise RuntimeError(f'{what}: {name} differ from the model by {difference}; shape {answers[name].shape}')


def check_top(answers, names, what):
  """Raises RuntimeError unless the top classes are those of the probabilities."""
  order = np.argsort(-answers['probabilities'], axis=1, kind='stable')[:, : answers['top_probabilities'].shape[1]]
  probabilities = np.take_along_axis(answers['probabilities'], order, 1)
  same = np.array_equal(answers['top_probabilities'], probabilities)
  if not same or not np.array_equal(answers['top_classes'], np.array(names)[order]):
    raise RuntimeError(f'{what}: top classes are not those of the probabilities')


def compare(model, settings, served, length):
  """Holds every signature of a loaded export against the model in memory.

  Args:
    model, settings: what was exported.
    served: serving.Served.
    length: samples in a window.

  Raises:
    UserError: the model itself gives numbers that are not finite.
    RuntimeError: the export says something else.
  """
  for waveform in probe_waveforms(length, registry.shortest_samples(settings.student)):
    sound = waveform.reshape(-1)
    windows = sound[: sound.size // length * length].reshape(-1, length)
    for what, answers, heard in (
      (f'serving_default, {waveform.shape[1]} samples', served.predict(waveform), waveform),
      (f'windows, {sound.size} samples', served.windows(sound), windows),
    ):
      check_close(answers, expected_answers(model, settings, heard), what)
      if served.class_names:
        check_top(answers, served.class_names, what)
  shortest = probe_waveforms(length, registry.shortest_samples(settings.student))[0]
  if signatures.LAYERS in served.signatures:
    compare_layers(model, settings, served, shortest)
  if signatures.STEPS in served.signatures:
    compare_steps(model, settings, served, shortest)


def compare_layers(model, settings, served, waveform):
  """Holds the signature `layers` against the model in memory; raises as `compare` does."""
  names = list(signatures.body_tables(settings))
  answers = served.signatures[signatures.LAYERS](waveform=waveform)
  found = registry.layer_model(model, settings.student, names)(waveform, training=False)
  expected = {name: np.asarray(value, np.float64) for name, value in found.items()}
  for name in names:
    centers, _ = registry.step_seconds(settings.student, waveform.shape[1], settings.sample_rate_hz, name)
    expected[name + signatures.CENTERS] = centers
  check_close({name: answers[name].numpy() for name in expected}, expected, f'layers, {waveform.shape[1]} samples')


def compare_steps(model, settings, served, waveform):
  """Holds the signature `steps` against the model in memory; raises as `compare` does."""
  answers, heard = served.signatures[signatures.STEPS](waveform=waveform), model(waveform, training=False)
  expected = {name: np.asarray(heard[name], np.float64) for name in signatures.steps_outputs(settings)}
  check_close({name: answers[name].numpy() for name in expected}, expected, f'steps, {waveform.shape[1]} samples')
