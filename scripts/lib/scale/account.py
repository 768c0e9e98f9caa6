"""Computes what a large data set needs: core-hours, bytes, hours and money, from measurements on this machine.

  scripts/scale_account                                    two million videos of 20 s, 64 cores
  scripts/scale_account --videos=100000 --cores=16 --core_hour=0.05
  scripts/scale_account --measured=runs/scale_account.json computes anew, without measuring

Records are those of SoundNet: windows of 20 s at 22,050 Hz with four pictures. Every stage runs as its command on two
numbers of clips; the difference of their processor times, divided by that of the numbers, is the cost of one: what it
costs to start is left out. The clips are 640 x 360 H.264 with AAC, made here. The teacher is VGG16 in float32, its
weights random, which takes as long; the student is SoundNet-8. It takes some minutes.
"""

import json
import pathlib
import sys
import tempfile

import tqdm
from absl import flags

from audionet_tf.core import cli, files, text
from audionet_tf.core.errors import UserError
from scale import workload

FLAGS = flags.FLAGS
SERIAL = ('order the records: one process', 'digest of the shards: one process')
COLUMNS = ('stage', 'core-seconds a video', 'core-hours', 'cores', 'hours', 'price')


def define_flags():
  """Defines the flags of this command; not on import, which tests do beside other commands."""
  flags.DEFINE_integer('videos', 2_000_000, 'Number of videos.', lower_bound=1)
  flags.DEFINE_integer('cores', 64, 'Processors of the whole cluster.', lower_bound=1)
  flags.DEFINE_float('core_hour', 0.04, 'Price of a core for an hour.', lower_bound=0)
  flags.DEFINE_float('tb_month', 20, 'Price of a terabyte for a month.', lower_bound=0)
  flags.DEFINE_integer('epochs', 10, 'Passes of the training.', lower_bound=1)
  flags.DEFINE_list('engines', list(workload.ENGINES), 'Engines of the build to measure.')
  flags.DEFINE_integer('few', 4, 'The smaller number of clips.', lower_bound=1)
  flags.DEFINE_integer('many', 16, 'The larger number of clips.', lower_bound=2)
  flags.DEFINE_float('seconds', 20, 'Length of a clip, and of a window.', lower_bound=0.2)
  flags.DEFINE_string('student', 'soundnet8', 'The student.')
  flags.DEFINE_string('teacher', 'vgg16', 'The teacher, with random weights.')
  flags.DEFINE_string('measured', None, 'JSON file of earlier measurements to compute from.')
  flags.DEFINE_string('output', 'runs/scale_account.json', 'JSON file for the measurements.')
  flags.DEFINE_string('work', None, 'Folder for temporary files; default: the temporary folder.')


def measure():
  """dict of what one video costs: core-seconds by stage, bytes by kind of file."""
  with tempfile.TemporaryDirectory(prefix='account', dir=FLAGS.work) as folder:
    context = workload.Context(pathlib.Path(folder), FLAGS.few, FLAGS.many, FLAGS.seconds, FLAGS.student, FLAGS.teacher)
    stages = [*(f'build: {engine}' for engine in FLAGS.engines), 'teacher', 'train', 'order']
    cost = {'core_seconds': {}, 'bytes': workload.make_clips(context)}
    for stage in tqdm.tqdm(stages, unit='stage'):
      cost['core_seconds'][stage] = workload.core_seconds(context, stage)
    cost['bytes'] |= workload.stored_bytes(context)
    cost['core_seconds']['digest'] = workload.digest_seconds(cost['bytes']['records'])
    return cost


def rows(cost, videos, cores, core_hour, epochs):
  """Rows of the table.

  Args:
    cost: from `measure`.
    videos, cores, core_hour, epochs: as the flags.

  Returns:
    list of (stage, core-seconds of a video, core-hours, cores, hours, price).
  """
  seconds = dict(cost['core_seconds'])
  order, digest, train = seconds.pop('order'), seconds.pop('digest'), seconds.pop('train')
  plan = [(stage, value, cores) for stage, value in seconds.items()]
  plan += [(f'train, {epochs} epochs', train * epochs, cores), (SERIAL[0], order, 1), (SERIAL[1], digest, 1)]
  found = []
  for stage, value, used in plan:
    hours = value * videos / 3600
    found.append((stage, value, hours, used, hours / used, hours * core_hour))
  return found


def checked(cost):
  """Measurements as `measure` gives them. ValueError unless they are."""
  try:
    seconds, sizes = cost['core_seconds'], cost['bytes']
    whole = all(type(value) in (int, float) for value in [*seconds.values(), *sizes.values()])
    if not whole or not {'order', 'digest', 'train'} <= seconds.keys():
      raise ValueError('a stage is missing, or a value is no number')
  except (TypeError, KeyError, AttributeError):
    raise ValueError('core_seconds and bytes are missing') from None
  return cost


def main(argv):
  cli.require(len(argv) == 1, f'unexpected argument {argv[-1]!r}; all settings are flags, see --help')
  cli.require(FLAGS.few < FLAGS.many, f'--few={FLAGS.few} is not below --many={FLAGS.many}')
  unknown = [engine for engine in FLAGS.engines if engine not in workload.ENGINES]
  cli.require(not unknown, f'--engines={",".join(unknown)}: known are {", ".join(workload.ENGINES)}')
  if FLAGS.measured:
    content = files.read_bytes(FLAGS.measured, 1 << 20, 'measurements of scale_account')
    try:
      cost = checked(json.loads(content))
    except (ValueError, RecursionError):
      raise UserError(f'{FLAGS.measured}: not measurements of scale_account') from None
  else:
    cost = measure()
    files.write_json(FLAGS.output, cost)
  table = rows(cost, FLAGS.videos, FLAGS.cores, FLAGS.core_hour, FLAGS.epochs)
  print(f'{FLAGS.videos:,} videos:')
  numbers = [(stage, f'{s:.3f}', f'{core:,.0f}', str(n), f'{h:,.1f}', f'{p:,.0f}') for stage, s, core, n, h, p in table]
  print(text.aligned([COLUMNS, *numbers]))
  print()
  kept = [(kind, f'{size:,.0f}', f'{size * FLAGS.videos / 1e12:,.2f}') for kind, size in cost['bytes'].items()]
  prices = [f'{size * FLAGS.videos / 1e12 * FLAGS.tb_month:,.0f}' for size in cost['bytes'].values()]
  heading = ('stored', 'bytes a video', 'TB', 'price a month')
  print(text.aligned([heading, *((*row, price) for row, price in zip(kept, prices, strict=True))]))
  longest = max(table, key=lambda row: row[4])
  print(f'\nlongest: {longest[0]}, {longest[4]:,.1f} hours on {longest[3]} cores', file=sys.stdout)


if __name__ == '__main__':
  define_flags()
  cli.run(main)
