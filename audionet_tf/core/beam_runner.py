"""Apache Beam pipelines on whichever runner the user's options name.

Runners differ in what they can do. Pipelines here use what all have: no side inputs, no tagged outputs, keys that are
integers, and one result that depends on everything.
"""

import contextlib

import apache_beam as beam
from apache_beam.options import pipeline_options

from audionet_tf.core import files, text
from audionet_tf.core.errors import UserError

DEFAULT_RUNNER = 'FnApiRunner'  # in this process; the default of Beam may download another one
LONGEST_REASON = 400  # characters
LARGEST_BUNDLE = 1000  # partitions of a Dask bag


def check(options):
  """UserError unless Beam has the runner that options name, or DEFAULT_RUNNER, and what it needs."""
  options = with_runner(options)
  try:
    beam.Pipeline(options=pipeline_options.PipelineOptions(options))
  except (AttributeError, ImportError, ValueError) as error:
    raise UserError(f'{runner_of(options)}: Beam cannot make it ({text.brief(error, most=400)})') from None


def with_runner(options):
  """List of the options, and DEFAULT_RUNNER where they name none."""
  is_named = any(option.partition('=')[0] == '--runner' for option in options)
  return [*options, *([] if is_named else [f'--runner={DEFAULT_RUNNER}'])]


def runner_of(options):
  """The option that names the runner."""
  return [option for option in options if option.partition('=')[0] == '--runner'][-1]


@contextlib.contextmanager
def pipeline(options, items):
  """A beam.Pipeline that has run at the end of the block.

  Args:
    options: list of str, of Beam.
    items: number of elements that it begins with.

  Raises:
    UserError: the runner could not start, or lost a worker.
  """
  options = with_runner(options)
  if any('DaskRunner' in option for option in options) and not any(
    '--dask_' in o and 'partition' in o for o in options
  ):
    options.append(f'--dask_npartitions={min(items, LARGEST_BUNDLE)}')  # it would put 128 videos into one
  try:
    with beam.Pipeline(options=pipeline_options.PipelineOptions(options)) as p:
      yield p
  except RuntimeError as error:
    if type(error) is not RuntimeError:
      raise
    raise UserError(f'{runner_of(options)}: it did not run to its end ({reason_of(error)})') from error


def reason_of(error):
  """The line of a RuntimeError that says why: the last one of a worker's traceback, or else the first."""
  lines = [line for line in str(error).splitlines() if line.strip()] or ['RuntimeError']
  line = lines[-1 if any(line.startswith('Traceback') for line in lines) else 0]
  return text.printable(line.strip())[:LONGEST_REASON]


def collect(values, path):
  """Writes all elements of a PCollection, which are few and small, as one JSON list."""
  one = values | f'key {path.name}' >> beam.Map(lambda value: (0, value)) | f'gather {path.name}' >> beam.GroupByKey()
  return one | f'write {path.name}' >> beam.Map(lambda pair: files.write_json(path, list(pair[1])))
