"""Flag files and presets on the command line: presets are flag files that travel with the package."""

import importlib.resources
import pathlib

from absl import flags

from audionet_tf.core.errors import UserError

FLAGS = flags.FLAGS
SUFFIX = '.flags'


def preset_folder():
  return pathlib.Path(str(importlib.resources.files('audionet_tf') / 'presets'))


def preset_names():
  return sorted(path.stem for path in preset_folder().glob(f'*{SUFFIX}'))


def preset_titles():
  """Dict of the name of each preset to the first sentence of its flag file."""
  titles = {}
  for name in preset_names():
    lines = preset_path(name).read_text(encoding='utf-8').splitlines()
    comment = ' '.join(line.removeprefix('# ') for line in lines if line.startswith('# '))
    titles[name] = comment.partition('. ')[0].partition(': ')[0]
  return titles


def preset_path(name):
  """The flag file of a preset. UserError lists the known names."""
  if name not in preset_names():
    raise UserError(f'{name}: no such flag file or preset; presets are {", ".join(preset_names())}')
  return preset_folder() / f'{name}{SUFFIX}'


def resolved(argv):
  """The command line with every preset as a flag file, and every value in one word with its flag.

  --preset=NAME, of commands that define it, and --flagfile=NAME, where there is no file of that name, become
  --flagfile=PATH.

  Args:
    argv: list of str, the program first.

  Raises:
    UserError: neither a file nor a preset.
  """
  found, words = argv[:1], iter(argv[1:])
  for word in words:
    if word == '--':
      return [*found, word, *words]
    name, equals, value = word.partition('=')
    name = name.lstrip('-') if word.startswith('-') else ''
    takes_file = name == 'flagfile' or (name == 'preset' and name in FLAGS)
    if not equals and (takes_file or (name in FLAGS and not FLAGS[name].boolean)):
      value = next(words, None)
      word = word if value is None else f'{word}={value}'
    if takes_file and value:
      path = pathlib.Path(value).expanduser()
      is_file = name == 'flagfile' and path.exists() and not path.is_dir()  # a pipe will do
      word = f'--flagfile={path if is_file else preset_path(value.removesuffix(SUFFIX))}'
    found.append(word)
  return found


def override_note(argv):
  """A line that names the flags that a later flag file overrides, or None: users expect the command line to win.

  Args:
    argv: what `resolved` gave. A flag that stands behind the flag file too is meant to be overridden.
  """
  given, lost = {}, {}
  for word in argv[1:]:
    if word == '--':
      break
    if word.startswith('--flagfile='):
      lines = {flag_of(line): line for line in FLAGS.read_flags_from_files([word])}
      lost |= {name: (given[name], word) for name in given if lines.get(name, given[name]) != given[name]}
    elif name := flag_of(word):
      given[name] = word
      lost.pop(name, None)
  if not lost:
    return None
  words, files = (list(dict.fromkeys(texts)) for texts in zip(*lost.values(), strict=True))
  them = 'it' if len(lost) == 1 else 'them'
  return f'note: {", ".join(map(shown, files))} comes after {", ".join(words)} and overrides {them}; put it first'


def flag_of(word):
  """Name of the flag that a word sets; None for other words, and for flags of which every value counts."""
  if not word.startswith('-'):
    return None
  name = word.lstrip('-').partition('=')[0]
  name = name if name in FLAGS else name.removeprefix('no')
  if name not in FLAGS:
    return None
  adds = isinstance(FLAGS[name], flags.MultiFlag) and not FLAGS[name].default  # --videos=a --videos=b
  return None if adds else name


def shown(word):
  """--flagfile=PATH as users name it: presets by their names."""
  path = pathlib.Path(word.partition('=')[2])
  return f'--preset={path.stem}' if path.parent == preset_folder() else word
