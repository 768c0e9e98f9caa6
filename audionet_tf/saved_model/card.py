"""A model card: README.md with the Hugging Face Hub's front matter, made from a student and what its run left.

Source: huggingface.co/docs/hub/model-cards, the keys of the front matter.
"""

import json
import pathlib

from audionet_tf.core import text
from audionet_tf.core.errors import UserError
from audionet_tf.data.tables.class_lists import UNKNOWN
from audionet_tf.saved_model import signatures

FILE, OWN_CARD = 'README.md', 'card.md'
RUN_SETTINGS, RUN_METRICS = 'settings.json', 'metrics.jsonl'  # of a run
TAGS = ('audio', 'sound-event-detection', 'knowledge-distillation', 'audionet_tf')
MOST_CLASSES = 50  # listed by name
RECIPE = ('epochs', 'batch_size', 'optimizer', 'learning_rate', 'schedule', 'weight_decay', 'loss', 'gate', 'seed')
LIMITS = """It names the classes above and nothing else: any other sound is taken for one of them. Its targets came
from teachers, whose errors it has learnt too. Microphones, rooms and noise other than those of its data cost accuracy:
measure on your own recordings before you rely on it. No decision about safety should."""
WITH_UNKNOWN = 'Sound unlike all of them should be `unknown`, which is no guarantee.'


def write(path, model, settings, run=None, figures=None, licence=None, files=()):
  """Writes the card of a student.

  Args:
    path: pathlib.Path of README.md.
    model: keras.Model.
    settings: its student_settings.StudentConfig.
    run: pathlib.Path of the folder of its training, where what is missing is left out; None for none. A card.md there
      is taken for data, figures and limits.
    figures: dict that `audionet_tf.evaluate --output` wrote, or None.
    licence: identifier as the Hub has them, such as 'apache-2.0'; None where none is stated.
    files: names of other files that the card should list.
  """
  sections = {
    'Use': use(settings, files),
    'Student': student(model, settings),
    'Teachers': teachers(settings),
    'Data and training': training(settings, run),
    'Figures': shown_figures(figures),
    'Limits': limits(settings),
    'Licence': licence or 'Not stated. `audionet_tf.export --card --license=...` states one.',
  }
  own = own_card(run)
  if own:
    sections = {title: sections[title] for title in ('Use', 'Student', 'Teachers', 'Licence')} | own
  body = '\n\n'.join(f'## {title}\n\n{content}' for title, content in sections.items() if content)
  summary = f'# {settings.student}\n\n{summary_of(settings)}'
  path.write_text(f'{front_matter(settings, figures, licence)}\n{summary}\n\n{body}\n', encoding='utf-8')


def own_card(run):
  """dict of title to text of the card that a student in a package has beside it, as the starter; empty without one."""
  path = run / OWN_CARD if run else None
  if not path or not path.is_file():
    return {}
  introduction, *rest = path.read_text(encoding='utf-8').split('\n## ')
  parts = [part.partition('\n') for part in rest]
  data = introduction.partition('\n')[2].strip()
  return {'Data and training': data} | {title: content.strip() for title, _, content in parts}


def front_matter(settings, figures, licence):
  """The YAML block at the start, each value as JSON, which YAML contains."""
  entries = {'license': licence} if licence else {}
  entries |= {'library_name': 'keras', 'tags': list(TAGS)}
  entries |= {'pipeline_tag': 'audio-classification'} if settings.classes else {}
  clips = (figures or {}).get('clips')
  accuracy = clips.get('accuracy') if isinstance(clips, dict) else None
  if is_number(accuracy):
    source = pathlib.Path(str(clips.get('source', 'clips'))).name
    result = {
      'task': {'type': 'audio-classification'},
      'dataset': {'type': source, 'name': source},
      'metrics': [{'type': 'accuracy', 'value': round(accuracy, 4)}],
    }
    entries['model-index'] = [{'name': settings.student, 'results': [result]}]
  lines = [f'{key}: {json.dumps(value, ensure_ascii=False)}' for key, value in entries.items()]
  return '\n'.join(['---', *lines, '---', ''])


def summary_of(settings):
  """A sentence about what the student does."""
  seconds = signatures.window_samples(settings) / settings.sample_rate_hz
  if not settings.classes:
    return f'Embeds sound, windows of {seconds:g} s at {settings.sample_rate_hz} Hz. Made with audionet_tf.'
  counts = ' and '.join(f'{len(names)} classes (`{head}`)' for head, names in settings.classes.items())
  return f'Names sounds: {counts}, windows of {seconds:g} s at {settings.sample_rate_hz} Hz. Made with audionet_tf.'


def use(settings, files):
  """How the student is used, and which files there are for other runtimes."""
  lines = ['```sh', 'python -m audionet_tf.infer --model=hf://USER/REPOSITORY song.flac', '```']
  if files:
    lines += ['', f'Other runtimes: {", ".join(f"`{name}`" for name in sorted(files))}.']
  return '\n'.join(lines)


def student(model, settings):
  """Its network and its classes."""
  lines = [f'`{settings.student}`, {model.count_params():,} parameters. Sound is mixed down: {settings.mono}.']
  for head, names in settings.classes.items():
    shown = ', '.join(f'`{text.one_line(name)}`' for name in names[:MOST_CLASSES])
    more = f' and {len(names) - MOST_CLASSES} more, in `export/1/assets/settings.json`' * (len(names) > MOST_CLASSES)
    lines.append(f'Head `{head}`, {settings.activation(head)}: {shown}{more}.')
  return '\n\n'.join(lines)


def teachers(settings):
  """A table of the teachers, without folders of the machine that they were on; '' where there are none."""
  rows = [['head', 'source', 'classes', 'SHA-256']]
  for head, about in settings.teachers.items():
    about = about or {}
    source = pathlib.Path(str(about.get('source') or '-')).name
    rows.append([head, source, about.get('classes', '-'), str(about.get('digest') or '-')[:16]])
  return table(rows) if len(rows) > 1 else ''


def training(settings, run):
  """What the run's settings and its last epoch say; '' without a run."""
  about = read(run / RUN_SETTINGS) if run else {}
  if not about:
    return ''
  records = about.get('records') or {}
  lines = [f'{records["windows"]} windows, records {records.get("digest", "-")}.'] if 'windows' in records else []
  recipe = [['setting', 'value']] + [[key, about[key]] for key in RECIPE if key in about]
  augment = about.get('augment') or {}
  recipe += [['augmentation', ', '.join(f'{key} {value}' for key, value in augment.items())]] if augment else []
  lines.append(table(recipe))
  last = last_epoch(run / RUN_METRICS)
  if last:
    measured = ', '.join(f'{key} {value:.4g}' for key, value in last.items())
    lines.append(f'Last epoch, on the training data, which is no test: {measured}.')
  return '\n\n'.join(lines)


def last_epoch(path):
  """dict of the measures in the last line of metrics.jsonl; empty where there is none."""
  try:
    row = json.loads(path.read_text(encoding='utf-8').splitlines()[-1])
    return {key: value for key, value in row.items() if isinstance(value, float) and 'second' not in key}
  except (OSError, ValueError, IndexError, AttributeError, RecursionError):
    return {}


def shown_figures(figures):
  """Tables of the single numbers that `audionet_tf.evaluate` measured."""
  tables = []
  for kind, about in (figures or {}).items():
    if not isinstance(about, dict):
      continue
    means = about.get('means')
    numbers = about | (means if isinstance(means, dict) else {})
    numbers = {key: value for key, value in numbers.items() if is_number(value)}
    rows = [['measure', 'value']] + [[key, f'{value:.4g}'] for key, value in numbers.items()]
    source = pathlib.Path(str(about.get('source', '-'))).name
    tables.append(f'On {kind}, `{source}`:\n\n{table(rows)}')
  if tables:
    return '\n\n'.join(tables)
  return 'None were given. `audionet_tf.evaluate --output=FILE.json` measures, `export --figures=FILE.json` adds them.'


def is_number(value):
  return isinstance(value, (int, float)) and not isinstance(value, bool)


def limits(settings):
  """What the student cannot do."""
  has_unknown = any(UNKNOWN in names for names in settings.classes.values())
  return f'{LIMITS} {WITH_UNKNOWN}' if has_unknown else LIMITS


def table(rows):
  """A table in Markdown; the first row is its head."""
  cells = [[text.one_line(str(cell)).replace('|', '\\|') for cell in row] for row in rows]
  lines = [f'| {" | ".join(row)} |' for row in cells]
  return '\n'.join([lines[0], '|' + '---|' * len(rows[0]), *lines[1:]])


def read(path):
  """The dict in a JSON file; empty where there is none."""
  try:
    value = json.loads(path.read_text(encoding='utf-8'))
  except (OSError, ValueError, RecursionError):
    return {}
  return value if isinstance(value, dict) else {}


def read_figures(path):
  """The dict that `audionet_tf.evaluate --output` wrote, or one of a run's report.json. UserError: it is neither."""
  figures = read(pathlib.Path(path))
  if is_number(figures.get('accuracy')):  # report.json of `train --sounds`, about clips alone
    figures = {'clips': {'source': 'held-out sounds'} | figures}
  if not any(isinstance(value, dict) for value in figures.values()):
    raise UserError(f'{path}: not figures of audionet_tf.evaluate --output')
  return figures
