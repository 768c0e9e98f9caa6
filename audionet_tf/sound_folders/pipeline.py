"""From a folder of labelled sounds to an exported student and a report on the sounds that were held out.

RUN then holds, beside what every run holds:

| path                       | what                                                                                |
|----------------------------|-------------------------------------------------------------------------------------|
| `sounds.csv`               | `path`, `category`, `fold` (train or held_out) and `recording` of every sound       |
| `left_out.json`            | why some could not be read, by their names                                          |
| `sounds/`                  | links to the sounds of both parts                                                   |
| `records/`                 | their records                                                                       |
| `report/index.html`        | the report: accuracy, numbers of classes, confusion, what was mistaken, to play     |
| `report.json`              | the same numbers, as `audionet_tf.evaluate --output` has them                       |
| `head/`, `tuned/`          | with a student to start from: its head alone, then all layers; the better is RUN's  |
"""

import csv
import dataclasses
import json
import pathlib
import sys

from audionet_tf.core import digests, files, flagfiles, text
from audionet_tf.core.errors import UserError
from audionet_tf.data import record_manifest
from audionet_tf.sound_folders import labelled, recordings, run_folder
from audionet_tf.sound_folders.labelled import HELD_OUT, TRAIN
from audionet_tf.sound_folders.run_folder import LEFT_OUT, LINKS, REPORT, TABLE
from audionet_tf.training import run_checks

HEAD = 'labels'  # of the student, which the labels teach
MOST_STEPS = 40_000  # of a recipe, whose epochs are for some hundred sounds
LEAST_EPOCHS = 10
NOT_OF_A_RECIPE = ('records', 'run_dir')
# Arguments of `train` that the sounds decide.
DECIDED = (
  *('records', 'validation', 'embeddings', 'distribute', 'wait_seconds', 'kldiv_per_frame'),
  *('teacher', 'teacher_weights', 'teacher_labels', 'teacher_input_range', 'teacher_dtype', 'teacher_mode'),
  *('classes', 'teacher_temperature', 'loss', 'loss_weight', 'balance'),
)


def default_run_dir(folder):
  """Where the run of a folder goes: runs/<its name>."""
  return pathlib.Path('runs') / (pathlib.Path(folder).resolve().name or 'sounds')


def run(folder, run_dir, build, train, given, init=None, resume=False):
  """Splits, builds, trains, exports and reports.

  Args:
    folder: of labelled sounds (`labelled`).
    run_dir: of the run; new, or with `resume` an old one.
    build: `api.build_records`.
    train: `api.train`.
    given: dict of arguments of `train` that take precedence over the recipe's.
    init: None, or the run or student to start from.
    resume: whether an existing run is resumed.

  Returns:
    dict of `clip_accuracy.evaluate_clips`, and `summary`, `skipped` and `report`, the path of the page.

  Raises:
    UserError: `labelled.read` refuses the folder, a class has no readable sound to train on, or the run cannot begin:
      `run_folder.check`.
  """
  run_dir = pathlib.Path(run_dir)
  run_folder.check(folder, run_dir, resume)
  init_path = init and run_checks.initial_student(init)
  found = labelled.read(folder)
  arguments = settings_of_records(given.get('student'), init_path)
  with run_checks.locked(run_dir, resume):
    sounds, names, rules, unreadable = prepare(folder, run_dir, found, build, arguments)
  summary = recordings.summary(sounds, names, rules)
  print(summary, file=sys.stderr)
  held_out = [(run_dir / LINKS / HELD_OUT / s.name, s.label) for s in sounds if s.part == HELD_OUT]
  windows = record_manifest.read(run_dir / 'records' / TRAIN)['windows']
  common = {
    'records': run_dir / 'records' / TRAIN,
    'validation': run_dir / 'records' / HELD_OUT,
    'teacher': {HEAD: str(run_dir / TABLE)},
    'resume': resume,
  }
  if init:
    measured, chosen = from_student(run_dir, train, common, given, windows, init_path, held_out)
  else:
    train(run_dir=run_dir, **common, **with_recipe('sounds', given, windows))
    measured, chosen = evaluate(run_dir, held_out), []
  return report(run_dir, measured, [summary, *chosen], unreadable)


def prepare(folder, run_dir, found, build, arguments):
  """Writes the table of the sounds, links to them, and their records.

  The table comes first, and tells from then on that the folder is a run.

  Args:
    folder: of the sounds.
    run_dir: of the run.
    found: list of labelled.Sound.
    build: `api.build_records`.
    arguments: dict of arguments of `build`.

  Returns:
    (list of the readable labelled.Sound with their parts, names and rules as from `split`, dict of the names of
    unreadable sounds to reasons).
  """
  left_out = check_sounds(run_dir, found)
  found = [sound for sound in found if sound.name not in (left_out or ())]
  sounds, names, rules = split(found)
  write_table(run_dir / TABLE, sounds, names)
  unreadable = build_parts(run_dir, sounds, build, arguments)
  if unreadable and left_out is not None:
    raise UserError(
      f'{run_dir}: cannot be resumed without sounds that were readable: '
      f'{text.first_of([f"{name} ({reason})" for name, reason in sorted(unreadable.items())])}'
    )
  if unreadable:  # what is held out is decided among the others
    found = [sound for sound in found if sound.name not in unreadable]
    labelled.check_readable(folder, found, unreadable)
    sounds, names, rules = split(found)
    write_table(run_dir / TABLE, sounds, names)
    build_parts(run_dir, sounds, build, arguments)
  unreadable |= left_out or {}
  files.write_json(run_dir / LEFT_OUT, unreadable)
  return sounds, names, rules, unreadable


def check_sounds(run_dir, found):
  """The sounds that a run in training leaves out, dict of name to why they could not be read; None before training.

  None too where the table or the list of them is missing or damaged: then the training itself refuses other sounds.

  Raises:
    UserError: training has begun on others than the rest of `found`.
  """
  if not any((run_dir / stage / run_checks.SETTINGS_NAME).exists() for stage in ('', *run_folder.STAGES)):
    return None
  try:
    with open(run_dir / TABLE, encoding='utf-8', newline='') as file:
      before = set(map(tuple, csv.reader(file)))
    left_out = dict(json.loads((run_dir / LEFT_OUT).read_text(encoding='utf-8')))
  except (OSError, ValueError, TypeError, RecursionError, csv.Error):
    return None
  sounds, names, _ = split([sound for sound in found if sound.name not in left_out])
  after = set(table_rows(sounds, names))
  for columns in (2, 4):  # name and class; then the parts, which others change with them
    changed = {row[:columns] for row in before} ^ {row[:columns] for row in after}
    if changed:
      raise UserError(
        f'{run_dir}: cannot be resumed with other sounds: {text.first_of(sorted({row[0] for row in changed if row}))} '
        'came, went, or changed class or part; put them back, or choose another --run_dir'
      )
  return left_out


def build_parts(run_dir, sounds, build, arguments):
  """Builds the records of both parts; returns a dict of the names of unreadable sounds to reasons.

  Args:
    run_dir: of the run.
    sounds: list of labelled.Sound with their parts.
    build: `api.build_records`.
    arguments: dict of arguments of `build`.
  """
  unreadable = {}
  for part in (TRAIN, HELD_OUT):
    own = [sound for sound in sounds if sound.part == part]
    output = run_dir / 'records' / part
    try:
      unreadable |= build(run_folder.link(run_dir / LINKS / part, own), output, **arguments).failures
    except UserError:  # none of them can be read, if so much was found out
      failures = build_failures(output)
      if len(failures) < len(own):
        raise
      unreadable |= failures
  return unreadable


def build_failures(output):
  """dict of name to reason that a build left in its folder; empty if it did not come so far, or the file is damaged."""
  try:
    failures = json.loads((output / 'failures.json').read_text(encoding='utf-8'))
  except (OSError, ValueError, RecursionError):
    return {}
  return failures if isinstance(failures, dict) else {}


def split(sounds):
  """(list of labelled.Sound with their parts, list of the recording of each, dict of rule to classes)."""
  if any(sound.part for sound in sounds):
    return sounds, [sound.name for sound in sounds], {}
  names, rules = recordings.recordings(sounds)
  parts = recordings.parts(sounds, names)
  return [dataclasses.replace(s, part=part) for s, part in zip(sounds, parts, strict=True)], names, rules


def write_table(path, sounds, names):
  """Writes sounds.csv, which teaches the labels, and which `audionet_tf.evaluate --clips` takes."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with files.atomic_write(path) as file:
    csv.writer(file).writerows(table_rows(sounds, names))


def table_rows(sounds, names):
  """The rows of sounds.csv, tuples of str, the heading first."""
  rows = [(s.name, s.label, s.part, name) for s, name in zip(sounds, names, strict=True)]
  return [tuple(run_folder.COLUMNS), *rows]


def settings_of_records(student, init_path):
  """Arguments of `build_records` for a student by its name, or else for the one that training starts from."""
  fixed = {'images_per_window': 0, 'short_videos': 'repeat'}
  if init_path is None:
    return fixed | run_checks.record_settings(student or recipe('sounds')['student'])
  from audionet_tf.models import student_settings

  settings = student_settings.read_settings(init_path)
  return fixed | {key: getattr(settings, key) for key in ('window_seconds', 'sample_rate_hz', 'mono')}


def recipe(name):
  """Arguments of `train` in a preset, as texts."""
  return {key: value for key, value in flagfiles.preset_settings(name).items() if key not in NOT_OF_A_RECIPE}


def with_recipe(name, given, windows):
  """Arguments of `train`: those given, and those of a recipe for some hundred windows, with fewer epochs for more.

  Args:
    name: of the preset.
    given: dict of arguments.
    windows: number of windows to train on.
  """
  from audionet_tf.training.config import TrainingConfig

  kinds = {field.name: type(field.default) for field in dataclasses.fields(TrainingConfig)}
  kinds |= {'augment': lambda words: words.split(',')} | dict.fromkeys(('student', 'init'), str)
  settings = {key: kinds[key](value) for key, value in recipe(name).items()} | given
  if 'epochs' not in given:
    steps = -(-windows // settings['batch_size'])
    settings['epochs'] = min(settings['epochs'], max(LEAST_EPOCHS, MOST_STEPS // steps))
  if 'warmup_epochs' not in given:
    settings['warmup_epochs'] = min(settings.get('warmup_epochs', 0), settings['epochs'] // 10)
  return settings


def from_student(run_dir, train, common, given, windows, init_path, held_out):
  """Trains a head on the frozen features of a student, then all layers; the better one becomes the run's student.

  `trainable` 'head' in `given` leaves out the second.

  Returns:
    (dict of `clip_accuracy.evaluate_clips`, lines that say what was chosen).
  """
  from audionet_tf.models import student_settings

  given = {'student': student_settings.read_settings(init_path).student} | given
  trainable = given.pop('trainable', 'all')
  stages = {'head': ('sounds_head', init_path)}
  if trainable == 'all':
    stages['tuned'] = ('sounds_tune', run_dir / 'head')
  measured = {}
  for name, (preset, start) in stages.items():
    settings = with_recipe(preset, given, windows) | {'init': str(start)}
    train(run_dir=run_dir / name, **common, **settings)
    measured[name] = evaluate(run_dir / name, held_out)
    print(f'{name}: {measured[name]["accuracy"]:.1%} of the held-out sounds', file=sys.stderr)
  best = max(measured, key=lambda name: measured[name]['accuracy'])  # of equals the head
  publish(run_dir / best, run_dir)
  what = {'head': 'its features frozen, a linear head', 'tuned': 'all layers trained further'}
  compared = ', '.join(f'{what[name]}: {measured[name]["accuracy"]:.1%}' for name in measured)
  lines = [f'From {text.printable(str(init_path))}; {compared}.']
  if len(measured) > 1:
    lines.append(f'Kept: {best}. It was chosen on the sounds that this report is about: the accuracy is optimistic.')
  return measured[best], lines


def publish(source, run_dir):
  """Makes the student of a run that of another, exported; nothing if it is there already."""
  from audionet_tf.models import student_file, student_paths
  from audionet_tf.saved_model import export

  path, target = source / student_paths.STUDENT_FILE, run_dir / student_paths.STUDENT_FILE
  same = target.is_file() and digests.of_file(path) == digests.of_file(target)
  if same and (run_dir / student_paths.EXPORT_FOLDER).is_dir():
    return
  for suffix in ('.json', '.keras'):  # the same bytes, by which a resumed run knows it
    with files.atomic_write(target.with_suffix(suffix), 'wb') as file:
      file.write(path.with_suffix(suffix).read_bytes())
  export.export(*student_file.load(target), run_dir / student_paths.EXPORT_FOLDER)


def evaluate(path, held_out):
  """`clip_accuracy.evaluate_clips` of a student on a list of (path, label)."""
  from audionet_tf.evaluation import clip_accuracy, predictor

  student = predictor.load_student(path)
  return clip_accuracy.evaluate_clips(student, held_out, clip_accuracy.read_groups(None, student.class_names))


def report(run_dir, measured, lines, skipped):
  """Writes report.json and the page; returns what `run` does.

  Args:
    run_dir: of the run.
    measured: from `evaluate`.
    lines: of the introduction.
    skipped: dict of name to reason, of the files that could not be read.
  """
  from audionet_tf.sound_folders import report_page

  if skipped:
    lines = [*lines, f'Unreadable, left out: {text.first_of([f"{k} ({v})" for k, v in sorted(skipped.items())], 20)}']
  unheard = sorted(name for name, row in report_page.per_class(measured).items() if not row['clips'])
  if unheard:
    lines = [*lines, f'No sound of {text.first_of(unheard)} is held out: nothing is known about it.']
  page = report_page.write(run_dir / REPORT, f'Held-out sounds: {run_dir.name}', lines, measured)
  measured |= {'summary': lines, 'skipped': skipped}
  files.write_json(run_dir / 'report.json', measured | {'classes': report_page.per_class(measured)})
  return measured | {'report': page}
