"""The frame of every command: flags, `--help`, `--version`, one-line errors, exit codes, a quiet start."""

import contextlib
import functools
import gc
import importlib.machinery
import importlib.metadata
import importlib.util
import itertools
import math
import os
import pathlib
import platform
import select
import shutil
import signal
import sys
import textwrap

from absl import app, flags, logging

from audionet_tf.core import files, flagfiles, interruption, notices, text
from audionet_tf.core.errors import DiskFullError, UserError, missing_extra
from audionet_tf.core.stores import store_cache, store_flags

# Must be set before TensorFlow is imported. Its start-up notices are about hardware and do not concern users.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')


class QuietTensorFlow:
  """Import finder that hides TensorFlow's start-up notices, and nothing else that it writes.

  TensorFlow 2.21 prints notices that no environment variable silences, so stderr is redirected to a file during the
  import.
  """

  @staticmethod
  def find_spec(name, path=None, target=None):
    if name != 'tensorflow' or os.environ.get('TF_CPP_MIN_LOG_LEVEL') == '0':
      return None
    spec = importlib.machinery.PathFinder.find_spec(name, path)
    if spec and spec.loader:
      execute = spec.loader.exec_module
      spec.loader.exec_module = lambda module: notices.quietly(execute, module)
    return spec


sys.meta_path.insert(0, QuietTensorFlow)

HELP = {'--help', '-help', '-h', '-?', '--helpshort'}
ABSL = (
  'For all commands: --flagfile=FILE reads flags from a file, --version, --helpfull also lists the flags of absl '
  '(logging, debugging).'
)
WIDEST_HELP = 100  # columns
given_words = []  # of the command line, the lines of flag files in their place: they may be pipes, which are read once


def run(main, topics=None, needs=(), tables=None, argv=None, addresses=()):
  """Runs `main(argv)` under absl and exits: 0, or `main`'s code, or 1 after one line on stderr; 130 after Ctrl-C.

  Args:
    main: called with the command line without its flags; returns None or an exit code.
    topics: dict of flag name to the heading printed before it in `--help`, which lists flags in the order of their
      definition.
    needs: what the command requires: tuples of alternatives, each a flag such as '--name', or a word such as 'FILE' for
      the arguments after the flags.
    tables: dict of heading to a dict of names and their meanings, printed at the end of `--help`.
    argv: the command line; None for `sys.argv`.
    addresses: names of flags whose addresses in a store the command resolves itself, as `store_flags.resolved` has it.
  """

  def guarded(arguments):
    if not flags.FLAGS['verbosity'].present:
      logging.set_verbosity(logging.WARNING)  # absl's app sets INFO, where TensorFlow prints a lot
    try:
      interruption.set_ctrl_c(interruption.interrupt)
      require_given(program(main), needs, arguments[1:])
      with store_flags.resolved(flags.FLAGS, arguments, addresses) as local:
        code = main(local)
      sys.stdout.flush()  # here, where an error can be told
      return code
    except (UserError, DiskFullError) as error:
      message = str(error)
    except (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError) as error:
      message = f'{error.filename}: {error.strerror}' if error.filename else str(error)
    except OSError as error:
      if isinstance(error, BrokenPipeError) and reader_is_gone():
        discard_output()
        return 128 + signal.SIGPIPE  # as shells have it for programs that know nothing of pipes
      if files.is_full(error):
        message = str(DiskFullError(error.filename or 'output'))
      elif error.errno is None:  # raised by a library, not by the operating system: perhaps a bug of ours
        raise
      else:
        message = f'{error.filename or "output"}: {error.strerror}'
    except MemoryError as error:
      message = f'not enough memory ({error or "no more"}); a smaller --batch_size or shorter windows need less'
    except KeyboardInterrupt as interrupted:
      fail(str(interrupted) or 'interrupted')
      return getattr(interrupted, 'exit_code', 128 + signal.SIGINT)
    finally:
      interruption.set_ctrl_c(interruption.end_at_once)
    return fail(message)

  interruption.set_ctrl_c(interruption.end_at_once)
  # SIGTERM ends a command like Ctrl-C: partial files are removed and child processes are stopped.
  signal.signal(signal.SIGTERM, lambda *_: sys.exit('error: terminated'))
  page = functools.partial(help_page, main, topics or {}, needs, tables or {})
  app.run(guarded, argv=argv, flags_parser=functools.partial(parse, page))


def parse(page, argv):
  """Parses absl's flags; if invalid, prints one line and exits with code 1. `page`: returns the text of --help."""
  words = set(argv[1:])
  if words & HELP:
    show(page())
    sys.exit(0)
  if '--helpfull' in words:
    app.usage(writeto_stdout=True)
    sys.exit(0)
  if '--version' in words:
    show(versions())
    sys.exit(0)
  try:
    arguments, given_words[:], note = read_flags(argv)
  except UserError as error:
    sys.exit(fail(f'{error} (--help lists the flags)'))
  if note:
    print(note, file=sys.stderr)
  return arguments


def read_flags(argv):
  """Gives the flags the values of a command line.

  Args:
    argv: list of str, starting with the program.

  Returns:
    (arguments after the flags, starting with the program; the command line with the lines of flag files in their place;
    a note for the user, or None).

  Raises:
    UserError: a flag or a flag file is wrong.
  """
  try:
    argv = flagfiles.resolved(argv)
    words, lines_of = flagfiles.expanded(argv)
    arguments = flags.FLAGS(words)
  except UnicodeDecodeError as error:
    raise UserError(f'a flag file is not UTF-8 text: {error.reason} at byte {error.start}') from None
  except (flags.Error, OSError) as error:
    raise UserError(str(error)) from error
  except RecursionError:  # absl compares a name that it does not know with all others, letter by letter
    raise UserError('a flag with a name too long to be one') from None
  require_finite()
  return arguments, words, flagfiles.override_note(argv, lines_of)


def show(page):
  """Prints text; a reader that closes the pipe early, such as `head`, is no error."""
  try:
    print(page, flush=True)
  except BrokenPipeError:
    discard_output()


def reader_is_gone():
  """Whether it is the pipe of stdout that is broken."""
  poll = select.poll()
  poll.register(sys.stdout.fileno(), 0)  # errors alone
  return bool(poll.poll(0))


def discard_output():
  """Sends what stdout still holds nowhere: Python flushes it once more when it ends."""
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def require_finite():
  """UserError for a float flag that is infinite or not a number: absl's bounds let these through."""
  for name in flags.FLAGS:
    value = flags.FLAGS[name].value
    require(not isinstance(value, float) or math.isfinite(value), f'flag --{name}={value}: must be a finite number')


def require_given(name, needs, arguments=()):
  """Raises UserError if required flags or arguments are missing; one line lists all of them.

  Args:
    name: of the command.
    needs: tuples of alternatives, as for `run`.
    arguments: list of str, the arguments after the flags.
  """

  def given(need):
    return flags.FLAGS[need.removeprefix('--')].value not in (None, '', []) if need.startswith('--') else arguments

  missing = [' or '.join(alternatives) for alternatives in needs if not any(map(given, alternatives))]
  *first, last = missing or ['']
  require(not missing, f'{name} needs {", ".join(first)}{", and " * bool(first)}{last} (--help explains)')


def require(condition, message):
  """Raises `UserError(message)` unless `condition` holds."""
  if not condition:
    raise UserError(message)


def no_arguments(argv):
  """UserError if there are arguments after the flags."""
  require(len(argv) == 1, f'unexpected argument {argv[-1]!r}; all settings are flags, see --help')


def require_beam_options(argv, advice):
  """UserError unless all words after the flags are options of a Beam runner. `advice`: about any other word."""
  for before, word in itertools.pairwise(argv):
    is_value = before.startswith('--') and '=' not in before
    one_word = f"{before} {word}: Beam's options are single words here, as {before}={word}"
    require(word.startswith('--'), one_word if is_value else f'{word}: unexpected; {advice}')


def restricted(holder, choices):
  """Restricts the values in a list flag to `choices`, for which absl has no type; returns the FlagHolder."""

  def check(values):
    for value in values or ['']:
      if value not in choices:
        raise flags.ValidationError(f'{value!r} is not one of {", ".join(choices)}')
    return True

  flags.register_validator(holder.name, check)
  return holder


def require_installed(modules, extra):
  """UserError, which names the extra to install, unless all modules are installed. Does not import them."""
  missing = [name for name in modules if importlib.util.find_spec(name) is None]
  if missing:
    raise missing_extra('this command', text.first_of(missing), extra)


def require_files(paths):
  """UserError if one of the files is missing."""
  for path in paths:
    require(os.path.isfile(path), f'{path}: no such file')


def require_any_file(paths):
  """UserError if none of the files exists. If only some are missing, they are reported when their turn comes."""
  missing = [path for path in paths if not os.path.exists(path)]
  require(len(missing) < len(paths), f'no such file: {text.first_of(missing)}')


def tell(line):
  """Prints a line with addresses in place of the local paths that stand for them."""
  print(store_cache.addressed(str(line)))


def fail_file(path, error):
  """Prints on stderr, in one line, why one of several files failed."""
  message = str(error) if str(path) in str(error) else f'{path}: {error}'
  fail(text.printable(' '.join(message.split())))


def fail(message):
  """Prints an error on stderr, in one line; returns the exit code."""
  print(f'error: {" ".join(store_cache.addressed(message).split())}', file=sys.stderr)
  return 1


def program(main):
  """Name of a command: that of the file that defines `main`."""
  return pathlib.Path(main.__code__.co_filename).stem


def versions():
  """Versions of the packages that bug reports should state, in one line."""
  installed = []
  for name in ('audionet_tf', 'tensorflow', 'keras', 'numpy'):
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
      installed.append(f'{name} {importlib.metadata.version(name)}')
  return ', '.join([*installed, f'Python {platform.python_version()}'])


def help_page(main, topics, needs, tables):
  """The text of `--help`: the module's docstring, the flags under their headings, and tables.

  Args:
    main: main function of the command.
    topics: dict of flag name to the heading before it.
    needs: tuples of alternatives that the command requires.
    tables: dict of heading to a dict of names and their meanings.
  """
  width = min(shutil.get_terminal_size().columns, WIDEST_HELP)
  wrap = functools.partial(textwrap.fill, width=width, break_on_hyphens=False, break_long_words=False)
  lines = [sys.modules[main.__module__].__doc__.strip()]
  own = flags.FLAGS.get_key_flags_for_module(main.__module__)
  if own and own[0].name not in topics:
    lines += ['', 'Flags:']
  for flag in own:
    if flag.name in topics:
      lines += ['', f'{topics[flag.name]}:']
    lines.append(wrap(flag_line(flag, needs), initial_indent='  ', subsequent_indent='      '))
  for heading, table in tables.items():
    column = max(map(len, table)) + 4
    lines += ['', f'{heading}:']
    lines += [wrap(line, initial_indent=f'  {name}'.ljust(column), subsequent_indent=' ' * column)
              for name, line in table.items()]  # fmt: skip
  return '\n'.join([*lines, '', wrap(ABSL)])


def flag_line(flag, needs):
  """A line of `--help`: name, help text, and in parentheses the choices and the default, or that it is required."""
  name = f'--[no]{flag.name}' if flag.boolean else f'--{flag.name}'
  choices = getattr(flag.parser, 'enum_values', None) or ()
  words = flag.help.removeprefix(f'<{"|".join(choices)}>: ').partition(';\n')[0]  # without what absl adds
  marks = ['|'.join(choices)] if choices else []
  alternatives = next((group for group in needs if f'--{flag.name}' in group), ())
  others = [need for need in alternatives if need != f'--{flag.name}']
  if flag.default not in (None, '', False, []):
    default = ','.join(map(str, flag.default)) if isinstance(flag.default, list) else flag.default
    marks.append(f'default: {default:g}' if isinstance(default, float) else f'default: {default}')
  elif others:
    marks.append(f'required, or {" or ".join(others)}')
  elif alternatives:
    marks.append('required')
  return f'{name}: {words} ({"; ".join(marks)})' if marks else f'{name}: {words}'


def import_tensorflow():
  """Imports TensorFlow and Keras, the quick way, for commands whose users wait for a first result.

  Keras imports scikit-learn, matplotlib and pandas for features that these commands do not use. Python searches for
  garbage again and again while the modules come, and once more at exit: their 400,000 objects are kept out of it.
  """
  if 'keras' in sys.modules:
    return
  gc.disable()
  try:
    with pretend_missing('sklearn', 'matplotlib', 'pandas'):
      import keras  # noqa: F401
  finally:
    gc.freeze()
    gc.enable()


@contextlib.contextmanager
def pretend_missing(*packages):
  """Within the context, packages that are not imported yet seem not to be installed."""
  names = [name for name in packages if name not in sys.modules]
  sys.modules.update(dict.fromkeys(names))
  try:
    yield
  finally:
    for name in names:
      del sys.modules[name]
