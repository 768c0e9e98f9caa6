"""Classes in the user's own words: a text file with one class per line.

    dog barking
    rain | rain on a window | heavy rain | the sound of rain

The part before the first bar is the class; each further part is a prompt, a text that describes the class to a model of
pictures and texts. A class without prompts gets TEMPLATES, as a single word is a poor description (Radford et al. 2021,
section 3.1.4). Empty lines, and lines that begin with #, are skipped.
"""

from audionet_tf.core import text
from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import csv_files

TEMPLATES = ('a photo of {}', 'the sound of {}')
MOST_PROMPTS = 20_000  # each is a pass of the text model
LONGEST_PROMPT = 1000  # characters; models truncate texts after 64 or 77 tokens


def templates_of(name):
  """The prompts of a class without any of its own."""
  return [template.format(name) for template in TEMPLATES]


def read(path):
  """Reads the classes of a file.

  Args:
    path: of the file, text.

  Returns:
    dict of class name to list of prompts, in the order of the lines.

  Raises:
    UserError: there is no such file, it is not text, a class is repeated or without a name, there are fewer than two
      classes, or prompts are too long or too many.
  """
  return parse(csv_files.read_text(path, 'classes, one per line'), path)


def parse(content, path, most_prompts=MOST_PROMPTS):
  """The classes in the text of a file, as `read` returns them. `path`: of the file, for messages. Errors: as `read`."""
  classes = {}
  for number, line in enumerate(content.splitlines(), 1):
    if not line.strip() or line.lstrip().startswith('#'):
      continue
    name, *prompts = (' '.join(part.split()) for part in line.split('|'))
    if not name or name in classes:
      problem = f'repeats the class {text.brief_value(name)}' if name else 'has no class before the first |'
      raise UserError(f'{path}: line {number} {problem}; expected is a class per line: name, or name | prompt | prompt')
    classes[name] = list(filter(None, prompts)) or templates_of(name)
    longest = max(map(len, classes[name]))
    if longest > LONGEST_PROMPT:
      raise UserError(f'{path}: line {number}: a prompt of {longest} characters, allowed are up to {LONGEST_PROMPT}')
  if len(classes) < 2:
    raise UserError(f'{path}: {len(classes)} classes; a distribution needs two or more, one per line')
  count = sum(map(len, classes.values()))
  if count > most_prompts:
    raise UserError(f'{path}: {count} prompts, allowed are up to {most_prompts}')
  return classes
