"""Apache Beam pipelines on whichever runner the user's options name.

Runners differ in what they can do. Pipelines here use what all have: no side inputs, no tagged outputs, keys that are
integers, and one result that depends on everything.
"""

import contextlib

import apache_beam as beam
from apache_beam.options import pipeline_options

from audionet_tf.core import files

DEFAULT_RUNNER = 'FnApiRunner'  # in this process; the default of Beam may download another one
LARGEST_BUNDLE = 1000  # partitions of a Dask bag


@contextlib.contextmanager
def pipeline(options, items):
  """A beam.Pipeline that has run at the end of the block. `items`: number of elements that it begins with."""
  options = list(options)
  if not any(option.partition('=')[0] == '--runner' for option in options):
    options.append(f'--runner={DEFAULT_RUNNER}')
  if any('DaskRunner' in option for option in options) and not any(
    '--dask_' in o and 'partition' in o for o in options
  ):
    options.append(f'--dask_npartitions={min(items, LARGEST_BUNDLE)}')  # it would put 128 videos into one
  with beam.Pipeline(options=pipeline_options.PipelineOptions(options)) as p:
    yield p


def collect(values, path):
  """Writes all elements of a PCollection, which are few and small, as one JSON list."""
  one = values | f'key {path.name}' >> beam.Map(lambda value: (0, value)) | f'gather {path.name}' >> beam.GroupByKey()
  return one | f'write {path.name}' >> beam.Map(lambda pair: files.write_json(path, list(pair[1])))
