"""Measures how time and memory grow with the number of windows and of videos: a table, a JSON file and a PNG.

  scripts/scale_curve                                             10,000 to 1,000,000 windows, 1,000 to 10,000 videos
  scripts/scale_curve --windows=1000,2000 --videos=4,8            a trial, whose figures mean nothing

Windows are synthetic: they are ordered into shards, labelled by a small teacher, trained on by AudioNet,
and verified. Videos are short clips that are decoded. Every stage is a process of its own; memory is its peak, or that
of its largest child. 1,000,000 windows take about 8 GB below --work, and minutes; run it on an idle machine.
"""

import json
import pathlib
import tempfile

import tqdm
from absl import flags
from matplotlib.figure import Figure

from audionet_tf.core import cli, files, text
from audionet_tf.core.errors import UserError
from scale import processes

FLAGS = flags.FLAGS
STAGES = {'windows': ('build', 'label', 'train', 'verify'), 'videos': ('build',)}
COLUMNS = ('what', 'stage', 'count', 'seconds', 'start', 'us each', 'against the least', 'core us each', 'peak MB')


def define_flags():
  """Defines the flags of this command; not on import, which tests do beside other commands."""
  flags.DEFINE_list('windows', ['10000', '100000', '1000000'], 'Numbers of windows; empty: none.')
  flags.DEFINE_list('videos', ['1000', '10000'], 'Numbers of videos; empty: none.')
  flags.DEFINE_list('stages', list(STAGES['windows']), 'Stages of windows; each needs those before it, but verify.')
  flags.DEFINE_string('output', 'runs/scale.json', 'JSON file for the measurements; the figure is beside it.')
  flags.DEFINE_string('work', None, 'Folder for temporary files; default: the temporary folder.')


def counts(name):
  """Sorted list of int of a flag. UserError unless they are positive."""
  values = [value for value in getattr(FLAGS, name) if value]
  cli.require(all(v.isdigit() and int(v) > 0 for v in values), f'--{name}={",".join(values)}: expected are numbers')
  return sorted(map(int, values))


def measure(kind, count, stage, folder):
  """Runs a stage in a process of its own: dict of `what`, `stage`, `count`, and those of `stages.run`."""
  done = processes.run('scale.stages', kind, folder, count, stage)
  if done.returncode:
    raise UserError(f'{kind} {count} {stage}: {done.stderr.strip().splitlines()[-1]}')
  return {'what': kind, 'stage': stage, 'count': count} | json.loads(done.stdout.splitlines()[-1])


def measure_all(sizes, work):
  """List of the measurements of all stages, smallest counts first. `sizes`: dict of kind to list of counts."""
  rows = []
  plan = [(kind, count) for kind, numbers in sizes.items() for count in numbers]
  stages = {**STAGES, 'windows': [stage for stage in STAGES['windows'] if stage in FLAGS.stages]}
  with tqdm.tqdm(total=sum(len(stages[kind]) for kind, _ in plan), unit='stage') as bar:
    for kind, count in plan:
      with tempfile.TemporaryDirectory(prefix='scale', dir=work) as folder:
        for stage in stages[kind]:
          bar.set_postfix_str(f'{count} {kind}: {stage}')
          rows.append(measure(kind, count, stage, folder))
          bar.update()
  return rows


def each_of(row):
  """Seconds for each window or video of a measurement, beyond the start of its stage."""
  return (row['seconds'] - (row['start_seconds'] or 0)) / row['count']


def table(rows):
  """The measurements as aligned text.

  Time for each is beyond the start, and compared with that of the least count; that of processors includes the start.
  """
  least = {}
  lines = [COLUMNS]
  for row in rows:
    each, start = each_of(row), row['start_seconds']
    ratio = each / least.setdefault((row['what'], row['stage']), each)
    peak = max(row['bytes'], row['child_bytes']) / 1e6
    lines.append(
      (row['what'], row['stage'], f'{row["count"]:,}', f'{row["seconds"]:.1f}')
      + ('-' if start is None else f'{start:.2f}', f'{1e6 * each:.1f}', f'{ratio:.2f}')
      + (f'{1e6 * row["core_seconds"] / row["count"]:.1f}' if row['core_seconds'] else '-', f'{peak:.0f}')
    )
  return text.aligned(lines, (0, 1))


def figure(rows):
  """Time for each, and peak memory, over the count: a matplotlib Figure."""
  drawn = Figure(figsize=(10, 4.2), layout='constrained')
  time, memory = drawn.subplots(1, 2)
  for kind, stage in dict.fromkeys((row['what'], row['stage']) for row in rows):
    chosen = [row for row in rows if (row['what'], row['stage']) == (kind, stage)]
    numbers = [row['count'] for row in chosen]
    time.plot(numbers, [1e6 * each_of(row) for row in chosen], marker='o', label=f'{stage}, {kind}')
    memory.plot(numbers, [max(row['bytes'], row['child_bytes']) / 1e6 for row in chosen], marker='o')
  for axes, label in ((time, 'microseconds each, beyond the start'), (memory, 'peak memory, MB')):
    axes.set(xscale='log', xlabel='windows, or videos', ylabel=label)
    axes.grid(color='0.9')
  time.set_yscale('log')
  memory.set_ylim(bottom=0)
  drawn.legend(loc='outside right upper')
  return drawn


def main(argv):
  cli.require(len(argv) == 1, f'unexpected argument {argv[-1]!r}; all settings are flags, see --help')
  sizes = {kind: counts(kind) for kind in STAGES}
  cli.require(any(sizes.values()), 'nothing to measure; give --windows or --videos')
  unknown = [stage for stage in FLAGS.stages if stage not in STAGES['windows']]
  cli.require(not unknown, f'--stages={",".join(unknown)}: known are {", ".join(STAGES["windows"])}')
  needed = {'build', *(['label'] if 'train' in FLAGS.stages else [])}
  cli.require(needed <= set(FLAGS.stages), f'--stages={",".join(FLAGS.stages)} needs {", ".join(sorted(needed))}')
  rows = measure_all(sizes, FLAGS.work)
  path = pathlib.Path(FLAGS.output)
  files.write_json(path, rows)
  with files.atomic_write(path.with_suffix('.png'), 'wb') as file:
    figure(rows).savefig(file, format='png', dpi=110)
  print(table(rows))
  print(f'{path}\n{path.with_suffix(".png")}')


if __name__ == '__main__':
  define_flags()
  cli.run(main)
