"""The teachers' pass as an Apache Beam pipeline: every file of the records is an element.

A worker does with it what a run of `label --shard` does, and loads the teachers once. Files appear when they are
complete, so that a second try, after a worker has died or the command was killed, goes on with them.
"""

import json
import pathlib
import threading
import uuid

import apache_beam as beam
from apache_beam.metrics import Metrics

from audionet_tf.core import beam_runner, files
from audionet_tf.core.errors import DiskFullError, UserError
from audionet_tf.data import records
from audionet_tf.data.soft_labels import FOLDER
from audionet_tf.teachers import frozen_teacher, labelling, teacher_config

_loaded, _guard = {}, threading.Lock()


def label(records_folder, configs, batch_size=64, options=()):
  """Loads teachers and stores their outputs with Beam.

  Args:
    records_folder, configs, batch_size: as for `labelling.label`. The folder must be seen by all workers under the same
      absolute path, and files of teachers under the paths that name them here.
    options: list of str, Beam's pipeline options, such as --runner=...

  Returns:
    As `labelling.label`.

  Raises:
    UserError: as `labelling.label`, here or in a worker.
  """
  beam_runner.check(options)
  records_folder = pathlib.Path(records_folder).absolute()
  manifest, teachers = labelling.load(records_folder, configs)
  configs = teacher_config.settled(configs, teachers)
  count, key = len(manifest['shards']), labelling.labels_key(manifest, teachers)
  folder = records_folder / FOLDER / key
  result = folder / f'.beam-{uuid.uuid4().hex}.json'  # another pass may run at the same time
  if not labelling.is_stored(records_folder, manifest, teachers):
    with files.space_in(folder):
      folder.mkdir(parents=True, exist_ok=True)
    keep(key, manifest, teachers)  # for the runner that works in this process
    with beam_runner.pipeline(options, count) as p:
      outcomes = (
        p
        | 'files' >> beam.Create(range(count))
        | 'spread files' >> beam.Reshuffle()
        | 'label' >> beam.Map(labelled, str(records_folder), configs, key, batch_size)
      )
      beam_runner.collect(outcomes, result)
    reasons = list(filter(None, json.loads(result.read_text())))
    result.unlink()
    if reasons:
      raise UserError(f'{len(reasons)} of {count} files are not labelled; the first: {reasons[0]}')
  return labelling.ensure(records_folder, manifest, teachers, batch_size), count, []


def labelled(number, records_folder, configs, key, batch_size):
  """Stores the outputs for a file of the records, by its number: the reason why not, or ''."""
  records_folder = pathlib.Path(records_folder)
  try:
    manifest, teachers = loaded(records_folder, configs, key)
    shard = manifest['shards'][number]
    labelling.ensure(records_folder, manifest, teachers, batch_size, (number, len(manifest['shards'])), is_part=True)
  except (UserError, DiskFullError) as error:  # another try would not help
    return str(error)
  Metrics.counter('labels', 'files').inc(1)
  Metrics.counter('labels', 'windows').inc(shard['windows'])
  return ''


def loaded(records_folder, configs, key):
  """(manifest of the records, list of teachers), read once by a process.

  Raises:
    UserError: they are not those of the process that started the pipeline, whose folder of outputs is called `key`.
  """
  with _guard:
    if key not in _loaded:
      manifest = records.read_manifest(records_folder)
      teachers = [frozen_teacher.load(**config.arguments()) for config in configs]
      if labelling.labels_key(manifest, teachers) != key:
        raise UserError(f'{records_folder}: a worker has other records or teachers than where the command was started')
      keep(key, manifest, teachers)
    return _loaded[key]


def keep(key, manifest, teachers):
  """Keeps what `loaded` returns, in place of what it returned for another key."""
  _loaded.clear()
  _loaded[key] = manifest, teachers
