"""Measures the project on this machine: a table on the screen, every measurement in a JSON file.

  scripts/benchmark                                   all parts that need no data: epoch to log_mel
  scripts/benchmark --data=FOLDER                     also build, quantize and learning, on FOLDER/clips,
                                                      FOLDER/esc10/audio and FOLDER/teacher
  scripts/benchmark --data=FOLDER --all               also the paper's whole run of 5000 epochs (minutes)
  scripts/benchmark --only=epoch,pipeline --quick     a trial, whose figures mean nothing

Alternatives run in turns (A B A B), each in a process of its own; a ratio is the median of the ratios of neighbouring
turns, ours divided by the second column. Run it on an idle machine. Without --all it takes about ten minutes; it
compares with PyTorch (extra `torch`) and the ffmpeg command; `web` needs Chromium and npm.
"""

import dataclasses
import datetime
import importlib.metadata
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile

from absl import flags

from audionet_tf.core import cli, files
from audionet_tf.core.errors import UserError
from benchmark import measure as benchmark_measure
from benchmark import rows

FLAGS = flags.FLAGS
PACKAGES = ('tensorflow', 'keras', 'torch', 'av', 'numpy', 'pillow')
LONG = ('whole_run',)


def define_flags():
  """Defines the flags of this command; not on import, which tests do beside other commands."""
  flags.DEFINE_string(
    'data', None, 'Folder with clips/ (videos), esc10/audio/, and teacher/ (a .tflite, and its class names as .txt).'
  )
  flags.DEFINE_list('only', None, f'Parts to measure, of {", ".join(rows.PARTS)}.')
  flags.DEFINE_bool('all', False, 'Measure the long parts too.')
  flags.DEFINE_bool('quick', False, 'Small sizes, for a trial.')
  flags.DEFINE_string('output', 'runs/benchmark.json', 'JSON file for the measurements.')
  flags.DEFINE_string('work', None, 'Folder for temporary files, about 1 GB; default: the temporary folder.')


def chosen_parts(only, everything):
  """Names of the parts to measure, in the table's order; UserError lists the known ones."""
  parts = list(rows.PARTS)
  for name in only or ():
    cli.require(name in parts, f'--only={name} is not known; known are {", ".join(parts)}')
  return [name for name in parts if (name in only if only else everything or name not in LONG)]


def machine_facts():
  """dict of the facts that the figures depend on."""
  model = [line for line in pathlib.Path('/proc/cpuinfo').read_text().splitlines() if line.startswith('model name')]
  return {
    'time': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
    'cpu': model[0].partition(':')[2].strip() if model else platform.processor(),
    'cores': len(os.sched_getaffinity(0)),
    'load_before': os.getloadavg()[0],
    'system': platform.platform(),
    'python': platform.python_version(),
    'versions': {name: version_of(name) for name in PACKAGES},
    'ffmpeg': first_line(['ffmpeg', '-version']),
    'commit': first_line(['git', '-C', str(benchmark_measure.ROOT), 'describe', '--always', '--dirty']),
  }


def version_of(package):
  """Version of an installed package, or None."""
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None


def first_line(arguments):
  """First line that a command prints; None if it is missing or prints nothing."""
  if not shutil.which(arguments[0]):
    return None
  return subprocess.run(arguments, capture_output=True, text=True, check=False).stdout.partition('\n')[0] or None


def measure(names, data, work, quick):
  """(list of (name of part, Line), dict of skipped part to reason, dict of failed part to error)."""
  sizes = rows.QUICK if quick else rows.Sizes()
  lines, skipped, failed = [], {}, {}
  with tempfile.TemporaryDirectory(prefix='benchmark', dir=work) as folder:
    context = rows.Context(data, pathlib.Path(folder).resolve(), sizes)
    for name in names:
      print(f'== {name}', file=sys.stderr)
      try:
        measured = rows.PARTS[name](context)
      except benchmark_measure.Skipped as reason:
        skipped[name] = str(reason)
        continue
      except UserError as error:  # the minutes of the other parts must not be lost
        failed[name] = str(error)
        continue
      lines += [(name, dataclasses.replace(line, verdict='-') if quick else line) for line in measured]
  return lines, skipped, failed


def main(argv):
  cli.require(len(argv) == 1, f'unexpected argument {argv[-1]!r}; all settings are flags, see --help')
  data = pathlib.Path(FLAGS.data).resolve() if FLAGS.data else None
  cli.require(data is None or data.is_dir(), f'--data={FLAGS.data}: no such folder')
  names = chosen_parts(FLAGS.only, FLAGS.all)
  facts = machine_facts()
  lines, skipped, failed = measure(names, data, FLAGS.work, FLAGS.quick)
  rows = [{'part': name, **dataclasses.asdict(line)} for name, line in lines]
  content = {'machine': facts, 'quick': FLAGS.quick, 'lines': rows, 'skipped': skipped, 'failed': failed}
  files.write_json(pathlib.Path(FLAGS.output), content)
  print(f'{facts["cpu"]}, {facts["cores"]} cores, load before {facts["load_before"]:.2f}')
  print(benchmark_measure.table([line for _, line in lines]))
  for word, reasons in (('skipped', skipped), ('failed', failed)):
    for name, reason in reasons.items():
      print(f'{word} {name}: {reason}')
  if FLAGS.quick:
    print('--quick: these figures mean nothing')
  print(FLAGS.output)
  return 1 if failed else 0


if __name__ == '__main__':
  define_flags()
  cli.run(main)
