"""What every command shares: quiet start, `--help` that reads well, one-line errors, exit codes."""

import contextlib
import importlib.machinery
import os
import re
import signal
import sys
import tempfile

from absl import app, flags, logging

from audionet_tf.core.errors import UserError

# Before TensorFlow is first imported: its start-up notices are about hardware that users did not ask for.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
START_UP_NOTICE = re.compile(rb'WARNING: All log messages before absl::InitializeLog|[IW]\d{4} |\d[\d:. -]*: [IW] ')


class QuietTensorFlow:
  """Import finder of TensorFlow: its start-up notices do not reach the screen, all else that it writes does.

  TensorFlow 2.21 loads its libraries with notices that no variable of the environment silences; so stderr is a file
  for as long as the import takes.
  """

  @staticmethod
  def find_spec(name, path=None, target=None):
    if name != 'tensorflow' or os.environ.get('TF_CPP_MIN_LOG_LEVEL') == '0':
      return None
    spec = importlib.machinery.PathFinder.find_spec(name, path)
    if spec and spec.loader:
      execute = spec.loader.exec_module
      spec.loader.exec_module = lambda module: QuietTensorFlow.quietly(execute, module)
    return spec

  @staticmethod
  def quietly(function, *arguments):
    """Calls the function; what it wrote to stderr is shown afterwards, without the notices."""
    sys.stderr.flush()
    screen = os.dup(2)
    with tempfile.TemporaryFile() as file:
      os.dup2(file.fileno(), 2)
      try:
        return function(*arguments)
      finally:
        sys.stderr.flush()
        os.dup2(screen, 2)
        os.close(screen)
        file.seek(0)
        for line in file:
          if not START_UP_NOTICE.match(line):
            os.write(2, line)


sys.meta_path.insert(0, QuietTensorFlow)


def run(main, argv=None):
  """Runs `main(argv)` under absl and exits: 0, or `main`'s code, or 1 after one line on stderr.

  Args:
    main: called with the arguments left after the flags; returns None or an exit code.
    argv: the command line; None takes `sys.argv`.
  """

  def guarded(arguments):
    if not flags.FLAGS['verbosity'].present:
      logging.set_verbosity(logging.WARNING)  # absl's app asks for INFO, and TensorFlow has much to say there
    try:
      return main(arguments)
    except UserError as error:
      message = str(error)
    except (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError) as error:
      message = f'{error.filename}: {error.strerror}' if error.filename else str(error)
    except OSError as error:
      if error.errno is None:  # not the operating system's word: a library's, and perhaps our own mistake
        raise
      message = f'{error.filename or "output"}: {error.strerror}'
    except KeyboardInterrupt:
      message = 'interrupted'
    return fail(message)

  # A polite kill ends like Ctrl-C: what is half-written is removed, what is running is stopped.
  signal.signal(signal.SIGTERM, lambda *_: sys.exit('error: terminated'))
  app.run(guarded, argv=argv, flags_parser=parse)


def parse(argv):
  """absl's flags from the command line; one line and exit code 1 where they are wrong."""
  try:
    return flags.FLAGS(argv)
  except (flags.Error, OSError) as error:
    sys.exit(fail(f'{error} (--help lists the flags)'))


def fail(message):
  """Says what went wrong, on one line; returns the exit code."""
  print(f'error: {" ".join(message.split())}', file=sys.stderr)
  return 1


def require(condition, message):
  """Raises `UserError(message)` unless `condition` holds."""
  if not condition:
    raise UserError(message)


def flag_values(module_name):
  """The flags that a command module defines, as a dict of name to value. `module_name`: its `__name__`."""
  registered = sys.argv[0] if module_name == '__main__' else module_name  # so absl names the main module
  return {flag.name: flag.value for flag in flags.FLAGS.flags_by_module_dict()[registered]}


@contextlib.contextmanager
def pretend_missing(*packages):
  """Within, packages that are not imported yet look as if they were not installed."""
  names = [name for name in packages if name not in sys.modules]
  sys.modules.update(dict.fromkeys(names))
  try:
    yield
  finally:
    for name in names:
      del sys.modules[name]
