r"""Asks a teacher about all pictures of records and stores what it predicts, on one machine or on several.

  python -m audionet_tf.label --records=data/clips --teacher=vgg16

stores the outputs where training looks for them: audionet_tf.train with the same teacher does not run it again.

  python -m audionet_tf.label --records=data/clips --teacher=vgg16 --shard=0/4

takes every fourth file of the records, from the first on. Four such runs, --shard=0/4 to --shard=3/4, share the work on
any machines that see the folder, at any time and without a word between them; the one that finishes last completes the
folder. A run that is killed goes on where it stopped, when it is started again. Training, too, asks the teacher about
what is missing.

  python -m audionet_tf.label --records=/shared/records --teacher=vgg16 --beam -- \
    --runner=apache_beam.runners.dask.dask_runner.DaskRunner --dask_client_address=tcp://scheduler:8786

shares the files among the workers of an Apache Beam pipeline (extra beam), as tfrecords.beam does its videos. Options
after -- are Beam's; without a runner, one process of this machine does all. All workers must see the records, and what
the teacher is loaded from, by the same paths. The stored outputs are the same, byte for byte.
"""

import pathlib
import re
import sys

from absl import flags

from audionet_tf.core import cli
from audionet_tf.core.stores import object_store, store_cache

RECORDS = flags.DEFINE_string('records', None, 'Folder that tfrecords.build wrote.')
SHARD = flags.DEFINE_string('shard', '0/1', 'I/N: every Nth file of the records, from the Ith on, counted from 0.')
BEAM = flags.DEFINE_bool('beam', False, 'Run as an Apache Beam pipeline; options after -- are those of Beam.')
TEACHER = flags.DEFINE_multi_string('teacher', ['vgg16'], 'As in training: SOURCE, or NAME=SOURCE, repeated.')
TEACHER_WEIGHTS = flags.DEFINE_multi_string('teacher_weights', ['imagenet'], 'As in training.')
TEACHER_LABELS = flags.DEFINE_multi_string('teacher_labels', [], 'As in training.')
CLASSES = flags.DEFINE_multi_string('classes', [], 'As in training: the classes of clip:PRESET, FILE or NAME=FILE.')
TEACHER_TEMPERATURE = flags.DEFINE_multi_string('teacher_temperature', [], 'As in training.')
TEACHER_INPUT_RANGE = flags.DEFINE_multi_string('teacher_input_range', [], 'As in training: BLACK,WHITE.')
TEACHER_DTYPE = flags.DEFINE_multi_string('teacher_dtype', ['auto'], 'As in training: auto, float32 or bfloat16.')
BATCH_SIZE = flags.DEFINE_integer(
  'batch_size', 64, 'Pictures per call of the teacher.', lower_bound=1, upper_bound=10**5
)

TOPICS = {'records': 'Data', 'teacher': 'Teachers', 'batch_size': 'Resources'}
NEEDS = (('--records',),)


def main(argv):
  if BEAM.value:
    check_beam(argv)
  else:
    cli.no_arguments(argv)
  share = share_of(SHARD.value)
  from audionet_tf.data import records
  from audionet_tf.teachers import teacher_config

  teachers = teacher_config.named_teachers(
    TEACHER.value,
    weights=TEACHER_WEIGHTS.value,
    labels=TEACHER_LABELS.value,
    texts=CLASSES.value,
    temperature=TEACHER_TEMPERATURE.value,
    dtype=TEACHER_DTYPE.value,
    input_range=TEACHER_INPUT_RANGE.value,
  )
  teacher_config.check(teachers, 'stored', records.read_manifest(RECORDS.value))  # before TensorFlow is imported
  if BEAM.value:
    from audionet_tf.teachers import beam_labelling

    folder, count, missing = beam_labelling.label(RECORDS.value, teachers, BATCH_SIZE.value, argv[1:])
  else:
    from audionet_tf.teachers import labelling

    folder, count, missing = labelling.label(pathlib.Path(RECORDS.value), teachers, share, BATCH_SIZE.value)
  left = f', {len(missing)} still to come from other shares' if missing else ': complete'
  print(f'{folder}: {count - len(missing)} of {count} files{left}', file=sys.stderr)


def check_beam(argv):
  """UserError unless the pipeline can run, with the words after the flags as its options."""
  cli.require_installed(['apache_beam'], 'beam')
  cli.require_beam_options(argv, 'all other settings are flags, see --help')
  cli.require(not flags.FLAGS['shard'].present, '--shard is for runs without --beam, which shares all files')
  paths = [RECORDS.value, *TEACHER.value, *TEACHER_WEIGHTS.value, *TEACHER_LABELS.value, *CLASSES.value]
  for path in map(store_cache.addressed, paths):
    is_elsewhere = object_store.is_elsewhere(object_store.named_path(path)[1])
    cli.require(not is_elsewhere, f'{path}: workers share a folder; copy it there, or leave out --beam')


def share_of(text):
  """'1/4' as (1, 4)."""
  match = re.fullmatch(r'(\d{1,6})/(\d{1,6})', text, re.ASCII)
  cli.require(match and int(match[1]) < int(match[2]), f'--shard={text}: expected is I/N with I below N, as in 0/4')
  return int(match[1]), int(match[2])


def run():
  cli.run(main, TOPICS, NEEDS)


if __name__ == '__main__':
  run()
