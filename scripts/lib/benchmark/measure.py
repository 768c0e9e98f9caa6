"""What the parts of the benchmark share: commands and their processor time, processes in turns, verdicts, the table."""

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
  """One figure.

  Attributes:
    what, against, required, measured: as the table shows them.
    ratio: measured against the second column; None where there is nothing to divide by.
    verdict: of `verdict`.
    raw: JSON-able dict: every single measurement.
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
  """'ok' or 'short' of what is required; '-' where nothing is."""
  if least is None and most is None:
    return '-'
  fits = (least is None or value >= least) and (most is None or value <= most)
  return 'ok' if fits else 'short'


def median_ratio(ours, theirs):
  """Median of the ratios of neighbouring measurements: what slows the machine for a while slows both."""
  return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def table(lines):
  """Aligned text of list of Line, with a heading."""
  rows = [COLUMNS, *([shown(getattr(line, column)) for column in COLUMNS] for line in lines)]
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  aligned = ['  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
  return '\n'.join([aligned[0], '-' * len(aligned[0]), *aligned[1:]])


def shown(cell):
  if cell is None:
    return '-'
  return cell if isinstance(cell, str) else f'{cell:.3g}' if cell < 100 else f'{cell:.0f}'


@dataclasses.dataclass(frozen=True)
class Usage:
  """What a command took, with every process that it started."""

  cpu_seconds: float  # user and system
  wall_seconds: float
  peak_bytes: int  # resident, of its largest process


def run(command, cpus=None):
  """Runs a command in the project's root; its stdout is dropped, its stderr (progress) is shown.

  Args:
    command: list of str.
    cpus: None or the processors that it may use.

  Returns:
    Usage.

  Raises:
    UserError: it fails.
  """
  charge = [sys.executable, '-m', 'benchmark.account', *command]
  with pinned(cpus):
    done = subprocess.run(charge, cwd=ROOT, stdout=subprocess.PIPE, check=True)
  found = json.loads(done.stdout)
  code = found.pop('code')
  if code:
    raise UserError(f'exit code {code} of {" ".join(command)}')
  return Usage(**found)


@contextlib.contextmanager
def pinned(cpus):
  """Processes started inside may use only these processors (None: all)."""
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
  """A process that measures one turn whenever it is asked, and sleeps in between: see `answer_turns`."""

  def __init__(self, command, cpus):
    self.command = command
    self.log = tempfile.TemporaryFile()  # noqa: SIM115 closed in close()
    with pinned(cpus):
      self.process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
      )

  def turn(self):
    """The next measurement."""
    with contextlib.suppress(BrokenPipeError):  # a process that is gone is found out below, with what it said
      print(file=self.process.stdin, flush=True)
    answer = self.process.stdout.readline()
    if not answer:
      self.log.seek(max(0, self.log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
      raise UserError(f'{" ".join(self.command)} failed: {self.log.read().decode(errors="replace")}')
    return json.loads(answer)

  def close(self):
    self.process.kill()
    self.process.communicate()
    self.log.close()


def answer_turns(measure):
  """The other side of Worker: a line of JSON of `measure()` for every line that comes."""
  answers = os.fdopen(os.dup(sys.stdout.fileno()), 'w')
  os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
  for _ in sys.stdin:
    print(json.dumps(measure()), file=answers, flush=True)


def in_turns(commands, cpus, turns, description):
  """Measurements of several processes, A B A B ..., after one turn each that does not count.

  Args:
    commands: dict of name to command (list of str), each of a program that calls `answer_turns`.
    cpus: processors that each may use.
    turns: measurements of each.
    description: for the progress bar.

  Returns:
    dict of name to list of answers.
  """
  with contextlib.ExitStack() as stack:
    workers = {}
    for name, command in commands.items():
      workers[name] = Worker(command, cpus)
      stack.callback(workers[name].close)
      workers[name].turn()
    found = {name: [] for name in workers}
    for _ in tqdm.trange(turns, desc=description, unit='turn'):
      for name, worker in workers.items():
        found[name].append(worker.turn())
  return found


def real_time_line(what, command, outputs, seconds, least):
  """The Line of a command that hears so many seconds, once for each of `outputs`, on two cores.

  Args:
    what: that it does, of how much.
    command: list of str.
    outputs: list of str, its last argument in each turn.
    seconds: of sound.
    least: times real time that are required.
  """
  cpus = first_cpus(2)
  usages = [run([*command, output], cpus) for output in outputs]
  median = statistics.median(usage.wall_seconds for usage in usages)
  raw = {name: [getattr(usage, name) for usage in usages] for name in ('wall_seconds', 'cpu_seconds', 'peak_bytes')}
  speed, shown_command = seconds / median, ' '.join([*command, outputs[0]])
  found = verdict(speed, least=least)
  what = f'{what}, {len(cpus)} cores'
  return Line(what, 'real time', f'>= {least}x', f'{median:.1f} s', speed, found, raw, [shown_command])
