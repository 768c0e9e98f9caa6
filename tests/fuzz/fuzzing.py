"""Mutated files are opened in processes that may neither crash, nor hang, nor take more than their memory.

A process is forked from the server that has imported TensorFlow (`commands`), opens the good file, then one mutated
file after another. What it may raise is what `cli.run` shows as one line: UserError, and errors of the system about
files. Anything else is a finding, and so is its end by a signal: after LIMIT_SECONDS for one file it is ended, and
memory beyond MEMORY_BYTES is refused to it. The next process goes on behind the file that ended the last one.

atheris, which mutates by what the code under test has executed, is left out: nearly all bytes here are parsed by
FFmpeg, HDF5, TensorFlow, NumPy and PyTorch, whose wheels are not built for it; it cannot follow processes that end; and
what it tries depends on how long it runs, not on a seed.
"""

import contextlib
import dataclasses
import faulthandler
import multiprocessing
import os
import pathlib
import resource
import shutil
import traceback
from collections.abc import Callable

import commands
import mutating

from audionet_tf.core.errors import UserError

LIMIT_SECONDS = 60  # for one file, on a busy machine
MEMORY_BYTES = 3 << 30  # beside what the process has taken for the good file
FILE_BYTES = 1 << 30
LONGEST_MESSAGE = 2000


@dataclasses.dataclass(frozen=True)
class Kind:
  """A kind of file.

  Attributes:
    count: number of mutated files.
    make: function that writes good files into a new folder, and returns the pathlib.Path of the one to mutate.
    open: function of that path which opens it as the product does, and raises what the product would.
    mutate: function (bytes, random.Random) -> bytes.
  """

  count: int
  make: Callable
  open: Callable
  mutate: Callable


def findings(name, kind, folder, count, seed, limit_seconds=LIMIT_SECONDS):
  """(list of findings, number of mutated files that were accepted) of so many files of a Kind.

  Args:
    name: of the kind, for the seed.
    kind: Kind; its functions can be pickled.
    folder: pathlib.Path to work in.
    count: number of mutated files.
    seed: int.
    limit_seconds: for one file.
  """
  found, accepted, number = [], 0, 0
  folder.mkdir()
  good = kind.make(folder)
  whole = folder.with_name(f'{folder.name} as it was')
  shutil.copytree(folder, whole)
  while number < count:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    errors = folder.with_name(f'{folder.name}.stderr')
    places = {'whole': whole, 'folder': folder, 'good': good.relative_to(folder), 'errors': errors}
    arguments = name, kind, places, range(number, count), seed, sender, limit_seconds
    process = commands.SERVER.Process(target=_open_all, args=arguments)
    process.start()
    sender.close()
    begun = None
    with contextlib.suppress(EOFError):
      while True:
        begun, outcome = receiver.recv()
        accepted += outcome == 'accepted'
        if outcome not in ('begun', 'accepted', 'refused'):
          found.append(f'{name} {begun}, seed {seed}: {outcome}')
    process.join()
    assert begun is not None, f'{name}: the good file is not accepted: {errors.read_text()[-3000:]}'
    number = begun + 1
    if process.exitcode:
      found.append(f'{name} {begun}, seed {seed}: ended by {process.exitcode}: {errors.read_text()[-1500:]}')
  return found, accepted


def _open_all(name, kind, places, numbers, seed, sender, limit_seconds):
  """In a process of its own: opens the good file, then the mutated ones, and sends what came of each."""
  screen = os.open(places['errors'], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
  for stream in (1, 2):
    os.dup2(screen, stream)
  faulthandler.enable()
  path = places['folder'] / places['good']
  _restore(places)
  content = path.read_bytes()
  kind.open(path)
  taken = int(pathlib.Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
  resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY_BYTES,) * 2)
  resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES,) * 2)
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  for number in numbers:
    _restore(places)
    path.write_bytes(kind.mutate(content, mutating.seeded(seed, name, number)))
    sender.send((number, 'begun'))
    faulthandler.dump_traceback_later(limit_seconds, exit=True)
    sender.send((number, outcome(kind.open, path)))
    faulthandler.cancel_dump_traceback_later()


def outcome(open_file, path):
  """'accepted', 'refused', or what is wrong with how the file was refused."""
  try:
    open_file(path)
  except UserError as error:
    line = str(error)
    return 'refused' if len(line) < LONGEST_MESSAGE else f'{len(line)} characters: {line[:500]!r}'
  except OSError as error:
    return 'refused' if error.errno is not None else traceback.format_exc(limit=-6)
  except SystemExit as error:
    return 'refused' if error.code == 1 else f'exit code {error.code}'
  except BaseException:
    return traceback.format_exc(limit=-6)
  return 'accepted'


def _restore(places):
  """Makes the folder what it was: files may have been mutated, repaired, or set aside."""
  shutil.rmtree(places['folder'])
  shutil.copytree(places['whole'], places['folder'])
