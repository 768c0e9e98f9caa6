"""Commands that are killed by SIGKILL at random points, and begun again, until they finish.

Importing TensorFlow takes four seconds of processor time, and most kills would hit that. So each process is forked from
a server that has imported it and computed nothing (`commands`), and its kill is drawn among its operations on files: it
dies before the n-th time that it opens, syncs, renames or removes something in its folder. The moments between a write
and a rename, which last microseconds, are hit as often as all the rest together. Half of the kills come from outside,
some time after that operation: this reaches what Python does not see, TensorFlow's own files and the processes of a
build. A process is killed alone or with those that it has started.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import pathlib
import random
import shutil
import signal
import sys
import time

import commands

OPERATIONS = {'open', 'os.mkdir', 'os.remove', 'os.rename', 'os.rmdir', 'os.truncate'}  # events of sys.audit
LONGEST_DELAY_SECONDS = 1.0
LOCKS = ('.lock', '.manifest.lock')  # empty files that stay
LIMIT_SECONDS = 300  # a process that runs longer has hung


@dataclasses.dataclass(frozen=True)
class Kill:
  """Where a process dies.

  Attributes:
    operation: number of the operation on files before which it dies, or which it begins when the delay begins.
    delay_seconds: 0: it kills itself. Else it is killed so long after.
    alone: whether the processes that it has started survive it.
  """

  operation: int
  delay_seconds: float
  alone: bool


def draw(rng, operations):
  """A random Kill of a process that would do so many operations."""
  delay = 0.0 if rng.random() < 0.5 else LONGEST_DELAY_SECONDS * rng.random() ** 3  # short ones more often
  return Kill(rng.randrange(operations), delay, rng.random() < 0.5)


def run(words, folder, kill=None):
  """Runs a command.

  Args:
    words: module or path of a script, and its arguments.
    folder: pathlib.Path; operations on files below it count.
    kill: Kill, or None.

  Returns:
    (number of operations, or None if it was killed; number of its process group).
  """
  receiver, sender = multiprocessing.Pipe(duplex=False)
  errors = folder.with_name(f'{folder.name}.stderr')
  arguments = ([str(word) for word in words], str(folder), kill, sender, str(errors))
  process = commands.SERVER.Process(target=_become, args=arguments)
  process.start()
  sender.close()
  if kill and kill.delay_seconds:
    with contextlib.suppress(EOFError):
      receiver.recv()
      time.sleep(kill.delay_seconds)
    with contextlib.suppress(ProcessLookupError):
      (os.kill if kill.alone else os.killpg)(process.pid, signal.SIGKILL)
  process.join(LIMIT_SECONDS)
  assert process.exitcode is not None, f'{words} hangs; {kill}'
  if process.exitcode == -signal.SIGKILL:
    return None, process.pid
  assert process.exitcode == 0, f'exit code {process.exitcode} with {kill}: {errors.read_text()[-2000:]}'
  operations = 0
  with contextlib.suppress(EOFError):
    while True:
      operations = receiver.recv()
  return operations, process.pid


def _become(words, folder, kill, sender, errors):
  """In the forked process: counts operations, and runs the command."""
  os.setsid()
  count = 0

  def operation(event, arguments):
    nonlocal count
    path = arguments[0] if event in OPERATIONS else None
    if not isinstance(path, str | os.PathLike) or not os.path.abspath(path).startswith(folder):
      return
    if kill and count == kill.operation:
      if kill.delay_seconds:
        sender.send(count)
      else:
        (os.kill if kill.alone else os.killpg)(os.getpid(), signal.SIGKILL)
    count += 1

  sys.addaudithook(operation)
  sync = os.fsync
  os.fsync = lambda number: (operation('open', [os.readlink(f'/proc/self/fd/{number}')]), sync(number))[1]
  with contextlib.suppress(ImportError):  # as in conftest: pictures would take half the time
    if words[0] == 'audionet_tf.train':
      from audionet_tf.training import tensorboard

      tensorboard.in_series = lambda number: False
  try:
    commands.become(words, os.getcwd(), os.devnull, errors)
  finally:
    if not kill:
      sender.send(count)


def check(prepare, words, content, folder, kills, seed):
  """Asserts that a command which is killed ends with what it gives undisturbed.

  Args:
    prepare: function that fills a new folder with what the command works on; None: nothing.
    words: function from that folder to the command line, the same for the first process and those after a kill.
    content: function from the folder to a dict of name to bytes.
    folder: pathlib.Path for everything.
    kills: number of kills. A command that finishes is begun anew, until there are so many.
    seed: of the kills.
  """

  def fresh(number):
    place = folder / 'work'  # one name: paths are in manifests and settings
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    if prepare:
      prepare(place)
    return place

  place = fresh(0)
  operations, _ = run(words(place), place)
  assert operations > 5, 'nothing to kill'
  expected = content(place)
  assert expected
  rng, done, number = random.Random(seed), 0, 0
  while done < kills:
    number += 1
    place, history, groups, finished = fresh(number), [], [], False
    while not finished:
      kill = draw(rng, operations) if done < kills else None
      count, group = run(words(place), place, kill)
      finished = count is not None
      done += not finished
      history.append(kill)
      groups.append(group)
    for group in groups:  # those that survived their parents
      with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    result = content(place)
    wrong = [f'{name} is left' for name in sorted(result.keys() - expected.keys())]
    wrong += [f'{name} is missing' for name in sorted(expected.keys() - result.keys())]
    wrong += [f'{name} differs' for name in expected.keys() & result.keys() if result[name] != expected[name]]
    assert not wrong, f'{", ".join(wrong)}; seed {seed}, killed: {history}'


def files_of(folder):
  """dict of relative path to pathlib.Path of every file below a folder, but for LOCKS."""
  paths = {str(path.relative_to(folder)): path for path in sorted(pathlib.Path(folder).rglob('*')) if path.is_file()}
  return {name: path for name, path in paths.items() if path.name not in LOCKS}


def comparable(path):
  """The bytes of a file, but for what differs between two runs: TensorFlow's numbers in graphs, digests of them."""
  if path.name in ('fingerprint.pb', 'checksums.json'):
    return b''
  return graph_of(path) if path.name == 'saved_model.pb' else path.read_bytes()


def graph_of(path):
  """What a saved_model.pb computes: numbers in names, and the order of functions, differ from run to run."""
  from tensorflow.core.protobuf import saved_model_pb2

  model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
  graphs = [meta.graph_def for meta in model.meta_graphs]
  nodes = [node for graph in graphs for part in (graph, *graph.library.function) for node in _nodes(part)]
  counted = sorted(f'{node.op} {len(node.input)}' for node in nodes)
  signatures = [sorted(meta.signature_def) for meta in model.meta_graphs]
  return repr((counted, signatures)).encode()


def _nodes(part):
  return part.node_def if hasattr(part, 'node_def') else part.node
