"""What a prediction request costs, known before it is parsed and before anything is computed."""

import math

from audionet_tf.models import receptive_field
from audionet_tf.saved_model import signatures
from audionet_tf.service.settings import RequestRefused

MOST_ROWS = 1 << 15
MARKS_PER_ROW = 8  # brackets, quotes and colons in JSON: {"waveform": [...]} has five
ROW_BYTES = 1 << 10  # of the objects that hold a row of a response
STRING_BYTES = 64  # of a class name
LEAST_SAMPLES_PER_STEP = 256  # of a student without a table of layers: the hop of its spectrogram


def check_size(body):
  """Raises RequestRefused for JSON that would take many times its own size once it is parsed.

  A list, an object or a string takes up to thirty times its bytes in JSON; a number takes eight times.
  """
  marks, numbers = sum(map(body.count, (b'[', b'{', b'"', b':'))), body.count(b',')
  if marks > MARKS_PER_ROW * MOST_ROWS:
    raise RequestRefused(413, f'the request has more lists, objects and strings than {MOST_ROWS} waveforms need')
  if numbers > signatures.SAMPLES_AT_ONCE + MOST_ROWS:
    raise RequestRefused(413, f'the request has more than {signatures.SAMPLES_AT_ONCE} samples')


def least_samples(settings):
  """Samples as which a shorter waveform counts: a student pads it, and each one has its outputs."""
  return max(signatures.window_samples(settings), signatures.SAMPLES_AT_ONCE // signatures.WINDOWS_AT_ONCE)


def rows_at_once(settings, samples):
  """How many waveforms of so many samples the student gets in one call."""
  return max(1, signatures.SAMPLES_AT_ONCE // max(samples, least_samples(settings)))


def answer_bytes(served, signature, shape):
  """Size of the arrays that a signature returns for a waveform of this shape, and of the objects that hold them.

  Args:
    served: loader.LoadedExport.
    signature: its name.
    shape: of the waveform: (batch, samples), or (samples,) for `windows`.
  """
  *batch, samples = shape
  rows = batch[0] if batch else max(1, samples // signatures.window_samples(served.settings))
  tables = signatures.tables_of(served.settings) if signature == signatures.LAYERS else {}

  def steps(layer):
    if layer in tables:
      return receptive_field.output_length(samples, tables[layer])
    return samples // LEAST_SAMPLES_PER_STEP + 1

  total = rows * ROW_BYTES
  for name, spec in served.signatures[signature].structured_outputs.items():
    layer, of_all_rows, _ = name.partition(signatures.CENTERS)
    sizes = [steps(layer) if size is None else size for size in spec.shape[1:]]
    count = steps(layer) if of_all_rows else rows * math.prod(sizes)
    total += count * (spec.dtype.size or STRING_BYTES)
  return total
