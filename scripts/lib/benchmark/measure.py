"""Shared by the parts of the benchmark: processor time of commands, processes in turns, verdicts, the table."""

import contextlib
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import tqdm

from audionet_tf.core.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parents[3]
LOG_TAIL_BYTES = 2000


class Skipped(Exception):
  """A part cannot be measured here; the message says what is missing."""


@dataclasses.dataclass(frozen=True)
class Line:
  """One row of the table.

  Attributes:
    what, against, required, measured: text of the columns.
    ratio: measured divided by the second column; None if there is none.
    verdict: from `verdict`.
    raw: dict of all single measurements, for JSON.
    commands: list of str.
  """

  what: str
  against: str
  required: str
  measured: str
  ratio: float | None
  verdict: str
  raw: dict
  commands: list


COLUMNS = ('what', 'against', 'required', 'measured', 'ratio', 'verdict')


def verdict(value, least=None, most=None):
  """'ok', or 'short' of the requirement; '-' without one."""
  if least is None and most is None:
    return '-'
  fits = (least is None or value >= least) and (most is None or value <= most)
  return 'ok' if fits else 'short'


def median_ratio(ours, theirs):
  """Median of the ratios of neighbouring measurements, as a temporary load of the machine affects both."""
  return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def table(lines):
  """A list of Line as aligned text with a heading."""
  rows = [COLUMNS, *([shown(getattr(line, column)) for column in COLUMNS] for line in lines)]
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  aligned = ['  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
  return '\n'.join([aligned[0], '-' * len(aligned[0]), *aligned[1:]])


def shown(cell):
  """Text of a cell."""
  if cell is None:
    return '-'
  return cell if isinstance(cell, str) else f'{cell:.3g}' if cell < 100 else f'{cell:.0f}'


@dataclasses.dataclass(frozen=True)
class Usage:
  """Resources of a command and its child processes."""

  cpu_seconds: float  # user and system
  wall_seconds: float
  peak_bytes: int  # resident, of its largest process


def run(command, cpus=None):
  """Runs a command in the project's root; its stdout is dropped, its stderr (progress) is shown.

  Args:
    command: list of str.
    cpus: set of the processors that it may use, or None for all.

  Returns:
    Usage.

  Raises:
    UserError: the command fails.
  """
  accounting = [sys.executable, '-m', 'benchmark.account', *command]
  with pinned(cpus):
    done = subprocess.run(accounting, cwd=ROOT, stdout=subprocess.PIPE, check=True)
  usage = json.loads(done.stdout)
  code = usage.pop('code')
  if code:
    raise UserError(f'exit code {code} of {" ".join(command)}')
  return Usage(**usage)


@contextlib.contextmanager
def pinned(cpus):
  """Context in which started processes may use only these processors (None: all)."""
  before = os.sched_getaffinity(0)
  os.sched_setaffinity(0, cpus or before)
  try:
    yield
  finally:
    os.sched_setaffinity(0, before)


def first_cpus(count):
  """The first `count` of the processors that this process may use."""
  return set(sorted(os.sched_getaffinity(0))[:count])


class Worker:
  """A process that measures one turn per request and sleeps in between (`answer_turns`)."""

  def __init__(self, command, cpus):
    self.command = command
    self.log = tempfile.TemporaryFile()  # noqa: SIM115 closed in close()
    with pinned(cpus):
      self.process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
      )

  def turn(self):
    """The next measurement."""
    with contextlib.suppress(BrokenPipeError):  # the error of a dead process is reported below, with its log
      print(file=self.process.stdin, flush=True)
    line = self.process.stdout.readline()
    if not line:
      self.log.seek(max(0, self.log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
      raise UserError(f'{" ".join(self.command)} failed: {self.log.read().decode(errors="replace")}')
    return json.loads(line)

  def close(self):
    self.process.kill()
    self.process.communicate()
    self.log.close()


def answer_turns(measure):
  """The other side of Worker: prints `measure()` as a line of JSON for every line of stdin."""
  output = os.fdopen(os.dup(sys.stdout.fileno()), 'w')
  os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # keeps output of libraries out of the results
  for _ in sys.stdin:
    print(json.dumps(measure()), file=output, flush=True)


def in_turns(commands, cpus, turns, description):
  """Measures several processes in turns, A B A B ..., after one warm-up turn each.

  Args:
    commands: dict of name to command (list of str), each of a program that calls `answer_turns`.
    cpus: processors that each may use.
    turns: number of measurements of each.
    description: for the progress bar.

  Returns:
    dict of name to list of measurements.
  """
  with contextlib.ExitStack() as stack:
    workers = {}
    for name, command in commands.items():
      workers[name] = Worker(command, cpus)
      stack.callback(workers[name].close)
      workers[name].turn()
    measurements = {name: [] for name in workers}
    for _ in tqdm.trange(turns, desc=description, unit='turn'):
      for name, worker in workers.items():
        measurements[name].append(worker.turn())
  return measurements


def real_time_line(what, command, outputs, seconds, least):
  """The Line of a command that processes `seconds` of sound on two cores, once for each of `outputs`.

  Args:
    what: text of the first column.
    command: list of str.
    outputs: list of str, the last argument of each turn.
    seconds: length of the sound.
    least: required speed, in multiples of real time.
  """
  cpus = first_cpus(2)
  usages = [run([*command, output], cpus) for output in outputs]
  median = statistics.median(usage.wall_seconds for usage in usages)
  raw = {name: [getattr(usage, name) for usage in usages] for name in ('wall_seconds', 'cpu_seconds', 'peak_bytes')}
  speed, shown_command = seconds / median, ' '.join([*command, outputs[0]])
  result = verdict(speed, least=least)
  what = f'{what}, {len(cpus)} cores'
  return Line(what, 'real time', f'>= {least}x', f'{median:.1f} s', speed, result, raw, [shown_command])
