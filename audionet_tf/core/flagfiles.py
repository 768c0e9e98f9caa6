"""Flag files and presets on the command line: presets are flag files that travel with the package."""

import importlib.resources
import os
import pathlib

from absl import flags

from audionet_tf.core.errors import UserError

FLAGS = flags.FLAGS
SUFFIX = '.flags'


def preset_folder():
  """pathlib.Path of the folder of presets."""
  return pathlib.Path(str(importlib.resources.files('audionet_tf') / 'presets'))


def preset_names():
  """Sorted list of the presets' names."""
  return sorted(path.stem for path in preset_folder().glob(f'*{SUFFIX}'))


def preset_titles():
  """dict of each preset's name to the first sentence of its flag file."""
  titles = {}
  for name in preset_names():
    lines = preset_path(name).read_text(encoding='utf-8').splitlines()
    comment = ' '.join(line.removeprefix('# ') for line in lines if line.startswith('# '))
    titles[name] = comment.partition('. ')[0].partition(': ')[0]
  return titles


def preset_path(name):
  """pathlib.Path of a preset's flag file. UserError, which lists the presets, for an unknown name."""
  if name not in preset_names():
    raise UserError(f'{name}: no such flag file or preset; presets are {", ".join(preset_names())}')
  return preset_folder() / f'{name}{SUFFIX}'


def preset_settings(name):
  """dict of the flags in a preset to their values, both str; without flags that have no value."""
  lines = preset_path(name).read_text(encoding='utf-8').splitlines()
  pairs = [line.removeprefix('--').partition('=') for line in lines if line.startswith('--')]
  return {flag: value for flag, equals, value in pairs if equals}


def script(argv):
  """The script whose records the last flag file of a command line is for, as its header has it: 'scripts/...', or None.

  A pipe, which has been read, is for none.

  Args:
    argv: what `resolved` gave.
  """
  paths = [word.partition('=')[2] for word in argv if word.startswith('--flagfile=')]
  readable = paths and os.path.isfile(paths[-1])
  lines = pathlib.Path(paths[-1]).read_text(encoding='utf-8').splitlines() if readable else []
  return next((line.removeprefix('#   ') for line in lines if line.startswith('#   scripts/')), None)


def resolved(argv):
  """Replaces presets on a command line with their flag files, and joins every flag with its value.

  --preset=NAME, for commands that define it, and --flagfile=NAME, if there is no file of that name, become
  --flagfile=PATH.

  Args:
    argv: list of str, starting with the program.

  Returns:
    list of str, starting with the program.

  Raises:
    UserError: a name is neither a file nor a preset.
  """
  replaced, words = argv[:1], iter(argv[1:])
  for word in words:
    if word == '--':
      return [*replaced, word, *words]
    name, equals, value = word.partition('=')
    name = name.lstrip('-') if word.startswith('-') else ''
    takes_file = name == 'flagfile' or (name == 'preset' and name in FLAGS)
    if not equals and (takes_file or (name in FLAGS and not FLAGS[name].boolean)):
      value = next(words, None)
      word = word if value is None else f'{word}={value}'
    if takes_file and value:
      path = pathlib.Path(value).expanduser()
      is_file = name == 'flagfile' and path.exists() and not path.is_dir()  # may be a pipe
      word = f'--flagfile={path if is_file else preset_path(value.removesuffix(SUFFIX))}'
    replaced.append(word)
  return replaced


def expanded(argv):
  """Reads the flag files of a command line, and those that they name, once: they may be pipes.

  Args:
    argv: list of str, as `resolved` returns it.

  Returns:
    (argv with the lines of flag files in their place, dict of each --flagfile=PATH to its lines).
  """
  words, lines = argv[:1], {}
  for number, word in enumerate(argv[1:], 1):
    if word == '--' or not word.startswith('-'):  # what follows are arguments
      return words + argv[number:], lines
    if word.startswith('--flagfile=') and word not in lines:
      lines[word] = FLAGS.read_flags_from_files([word])
    words += lines.get(word, [word])
  return words, lines


def override_note(argv, lines_of):
  """A note about flags that a later flag file overrides, as users expect the command line to take precedence.

  Flags that are repeated after the flag file are not overridden.

  Args:
    argv: list of str, as `resolved` returns it.
    lines_of: dict of `expanded`.

  Returns:
    The note in one line, or None.
  """
  given, overridden = {}, {}
  for word in argv[1:]:
    if word == '--':
      break
    if word in lines_of:
      lines = {flag_of(line): line for line in lines_of[word]}
      overridden |= {name: (given[name], word) for name in given if lines.get(name, given[name]) != given[name]}
    elif name := flag_of(word):
      given[name] = word
      overridden.pop(name, None)
  if not overridden:
    return None
  words, files = (list(dict.fromkeys(texts)) for texts in zip(*overridden.values(), strict=True))
  them = 'it' if len(overridden) == 1 else 'them'
  return f'note: {", ".join(map(displayed, files))} comes after {", ".join(words)} and overrides {them}; put it first'


def flag_of(word):
  """Name of the flag that a word sets; None for other words, and for flags that may be repeated."""
  if not word.startswith('-'):
    return None
  name = word.lstrip('-').partition('=')[0]
  name = name if name in FLAGS else name.removeprefix('no')
  if name not in FLAGS:
    return None
  repeatable = isinstance(FLAGS[name], flags.MultiFlag) and not FLAGS[name].default  # --videos=a --videos=b
  return None if repeatable else name


def displayed(word):
  """--flagfile=PATH as a user would write it: a preset by its name."""
  path = pathlib.Path(word.partition('=')[2])
  return f'--preset={path.stem}' if path.parent == preset_folder() else word
