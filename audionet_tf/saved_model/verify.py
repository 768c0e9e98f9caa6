"""Checks of an export: its signatures are complete, and their outputs equal those of the model in memory."""

import numpy as np

from audionet_tf.core.errors import UserError
from audionet_tf.layers import log_mel
from audionet_tf.models import heads, registry, words
from audionet_tf.saved_model import signatures

OPTIONAL = signatures.LAYERS, signatures.STEPS  # some students and older exports do not have them
PROBE_SAMPLES = 1 << 21  # of all waveforms of about one window, together
TOLERANCE = 1e-4  # relative to the largest value: a loaded graph may sum in another order
# Next to a loud pure tone, the silent mel bands hold rounding errors where the spectrum is computed in float32.
TOLERANCE_OF_TONES = 1e-2
TONES = (2, 4, 6)  # rows of `probe_waveforms`


def expected_outputs(settings):
  """dict of signature to the names of its outputs."""
  outputs = ['embedding', *map(signatures.embedding_output, settings.embeddings)]
  if settings.classes:
    outputs += ['probabilities', 'logits', 'top_classes', 'top_probabilities']
  if len(settings.classes) > 1:
    outputs += [f'{head}/probabilities' for head in settings.classes]
  layers = [name + suffix for name in signatures.tables_of(settings) for suffix in ('', signatures.CENTERS)]
  return {
    'serving_default': outputs,
    'windows': [*outputs, 'start_seconds', 'end_seconds'],
    signatures.LAYERS: layers,
    signatures.STEPS: signatures.steps_outputs(settings),
  }


def check_signatures(path, functions, settings):
  """Raises UserError, naming what is missing, unless an export has the signatures and outputs of its student.

  Args:
    path: of the export, for the message.
    functions: dict of signature name to concrete function; those in OPTIONAL may be missing.
    settings: student_settings.StudentConfig.
  """
  expected = expected_outputs(settings)
  missing = [f'the signature {name}' for name in expected if name not in functions and name not in OPTIONAL]
  for name in filter(functions.get, expected):
    outputs = [output for output in expected[name] if output not in functions[name].structured_outputs]
    if outputs:
      missing.append(f'{", ".join(outputs)} of the signature {name}')
  if missing:
    raise UserError(f'{path}: an export that lacks {missing[0]}; export the student again with audionet_tf.export')


def probe_waveforms(length, shortest=1):
  """Waveforms for comparisons: silence, noise and sines, at lengths around that of a window.

  Args:
    length: samples in a window; there are fewer waveforms if it is long.
    shortest: the student's minimum input length in samples.

  Returns:
    list of f32 [batch, samples] in [-1, 1].
  """
  noise = np.random.default_rng(0).uniform(-1, 1, [3, 4 * length]).astype(np.float32)
  time = np.arange(4 * length, dtype=np.float32)
  sines = np.sin(np.outer([0.05, 0.2, 1.1], time)).astype(np.float32)
  waveforms = np.concatenate([np.zeros_like(noise[:1]), noise, 0.5 * sines])  # [7, 4 length]
  chosen = waveforms[np.array([0, 1, 4, 2, 5, 3, 6])[: max(2, min(7, PROBE_SAMPLES // length))]]
  return [chosen[:, :samples] for samples in (max(length // 2, shortest), length, length + 1, 3 * length + 7)]


def expected_predictions(model, settings, waveform):
  """The outputs that `serving_default` must have, computed from the model in NumPy.

  Args:
    model: keras.Model of a student.
    settings: its student_settings.StudentConfig.
    waveform: f32 [batch, samples].

  Returns:
    dict of f64 arrays: `embedding` [batch, width]; with heads also `probabilities` and `logits` [batch, classes], and
    the probabilities of further heads.
  """
  outputs = model(waveform, training=False)
  embedding = np.asarray(outputs['embedding'], np.float64)
  expected = {'embedding': embedding}
  for head in settings.embeddings:
    vectors = np.asarray(words.vectors_of(outputs, head), np.float64)  # [batch, T, width]
    mean = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).mean(1)
    expected[signatures.embedding_output(head)] = mean / np.linalg.norm(mean, axis=-1, keepdims=True)
  for head, name in signatures.probability_outputs(settings).items():
    logits = np.asarray(outputs[heads.LOGITS + head], np.float64)  # [batch, T, classes]
    if settings.activation(head) == 'sigmoid':
      probabilities = (1 + np.tanh(logits / 2)) / 2
    else:
      powers = np.exp(logits - logits.max(-1, keepdims=True))
      probabilities = powers / powers.sum(-1, keepdims=True)
    expected[name] = probabilities.mean(1)
    expected.setdefault('logits', logits.mean(1))  # of the first head
  return expected


def compare_runtime(run, model, settings, waveforms, name):
  """Compares a file for another runtime with the model in memory.

  Args:
    run: function of f32 [batch, samples] to a dict of arrays, named as in `expected_predictions`.
    model: keras.Model that was exported.
    settings: its student_settings.StudentConfig.
    waveforms: from `probe_waveforms`.
    name: of the file, for the message.

  Raises:
    UserError, RuntimeError: as `check_close`.
  """
  of_tones = TOLERANCE_OF_TONES if log_mel.transforms(model) else TOLERANCE
  for waveform in waveforms:
    outputs, expected = run(waveform), expected_predictions(model, settings, waveform)
    is_tone = np.isin(np.arange(len(waveform)), TONES)
    for rows, tolerance in ((~is_tone, TOLERANCE), (is_tone, of_tones)):
      if rows.any():
        found = {key: value[rows] for key, value in outputs.items()}
        check_close(
          found, {key: expected[key][rows] for key in found}, f'{name}, {waveform.shape[1]} samples', tolerance
        )


def check_close(outputs, expected, name, tolerance=TOLERANCE):
  """Compares outputs with expected ones.

  Args:
    outputs: dict of arrays.
    expected: dict of arrays; outputs that it does not name are ignored.
    name: of what is compared, for the message.
    tolerance: largest difference, relative to the largest expected value, or absolute if that is below 1.

  Raises:
    UserError: an expected value is not finite.
    RuntimeError: shapes differ, or values differ by more than the tolerance.
  """
  for key, value in expected.items():
    if not np.isfinite(value).all():
      raise UserError(f'the student predicts {key} that are not finite: its training diverged; train it again')
    difference = np.abs(outputs[key] - value).max() if outputs[key].shape == value.shape else np.inf
    if not difference <= tolerance * max(1, np.abs(value).max()):
      raise RuntimeError(f'{name}: {key} differ from the model by {difference}; shape {outputs[key].shape}')


def check_top(outputs, class_names, name):
  """Raises RuntimeError unless the top classes are those of the probabilities. `name`: for the message."""
  order = np.argsort(-outputs['probabilities'], axis=1, kind='stable')[:, : outputs['top_probabilities'].shape[1]]
  probabilities = np.take_along_axis(outputs['probabilities'], order, 1)
  same = np.array_equal(outputs['top_probabilities'], probabilities)
  if not same or not np.array_equal(outputs['top_classes'], np.array(class_names)[order]):
    raise RuntimeError(f'{name}: top classes are not those of the probabilities')


def compare(model, settings, export, length):
  """Compares every signature of a loaded export with the model in memory.

  Args:
    model: keras.Model that was exported.
    settings: its student_settings.StudentConfig.
    export: loader.LoadedExport.
    length: samples in a window.

  Raises:
    UserError: the model's own outputs are not finite.
    RuntimeError: the export's outputs differ from the model's.
  """
  waveforms = probe_waveforms(length, registry.shortest_samples(settings.student))
  for waveform in waveforms:
    sound = waveform.reshape(-1)
    windows = sound[: sound.size // length * length].reshape(-1, length)
    for name, outputs, batch in (
      (f'serving_default, {waveform.shape[1]} samples', export.predict(waveform), waveform),
      (f'windows, {sound.size} samples', export.windows(sound), windows),
    ):
      check_close(outputs, expected_predictions(model, settings, batch), name)
      if export.class_names:
        check_top(outputs, export.class_names, name)
  if signatures.LAYERS in export.signatures:
    compare_layers(model, settings, export, waveforms[0])
  if signatures.STEPS in export.signatures:
    compare_steps(model, settings, export, waveforms[0])


def compare_layers(model, settings, export, waveform):
  """Compares the signature `layers` with the model in memory. Arguments and errors are those of `compare`."""
  names = list(signatures.body_tables(settings))
  outputs = export.signatures[signatures.LAYERS](waveform=waveform)
  activations = registry.layer_model(model, settings.student, names)(waveform, training=False)
  expected = {name: np.asarray(value, np.float64) for name, value in activations.items()}
  for name in names:
    centers, _ = registry.step_seconds(settings.student, waveform.shape[1], settings.sample_rate_hz, name)
    expected[name + signatures.CENTERS] = centers
  check_close({name: outputs[name].numpy() for name in expected}, expected, f'layers, {waveform.shape[1]} samples')


def compare_steps(model, settings, export, waveform):
  """Compares the signature `steps` with the model in memory. Arguments and errors are those of `compare`."""
  outputs = export.signatures[signatures.STEPS](waveform=waveform)
  logits = model(waveform, training=False)
  expected = {name: np.asarray(logits[name], np.float64) for name in signatures.steps_outputs(settings)}
  check_close({name: outputs[name].numpy() for name in expected}, expected, f'steps, {waveform.shape[1]} samples')
