"""Judges a trained student: against its teacher on records, or by the labels of clips that it never heard.

  python -m audionet_tf.evaluate --model=runs/paper --records=data/unheard

prints for every video the mean KL(teacher || student) and how often the teacher's first class is the student's first
(top-1) or among its first five (top-5). The teacher is the one that the model names, or that of --teacher.

  python -m audionet_tf.evaluate --model=runs/esc --clips=videos.csv --groups=groups.csv --figure=confusion.png

prints the share of clips whose category the student names, and who is taken for whom. videos.csv has the columns path
(or filename), category and perhaps fold; groups.csv says which classes count as which category: category, class_name
and imagenet_index (0 to 999). A student that was trained on the labels themselves needs no groups. Clips are decoded
in this process and without a limit of time: one that makes a decoder hang or crash ends the command.

  python -m audionet_tf.evaluate --model='runs/without{fold}' --folds=1,2,3,4 --clips=videos.csv --groups=groups.csv

judges the clips of every fold with a model of its own, trained on the others, and prints mean and deviation. With
--vision the teacher says what it sees in the clips, alone and together with the sound.

  python -m audionet_tf.evaluate --model=runs/weak --labels=eval_segments.csv --vocabulary=class_labels_indices.csv \
    --media_root=clips --figure=curves.png

judges a student of sounds that may be there together: average precision, ROC AUC and d' of every class and their means,
precision-recall and ROC curves, calibration. The table has the form of AudioSet's, FSD50K's, ESC's, or the columns
path, labels and perhaps start and end (audionet_tf/label_tables.py). Classes without a clip are left out of means and
named.

--model is a run, an export or a student.keras; of one with several heads the first is judged. --output=FILE.json keeps
every number.
"""

import json
import os
import pathlib

from absl import flags

from audionet_tf.core import cli, files
from audionet_tf.core.errors import UserError

flags.DEFINE_string('model', None, 'folder of a run or an export, or a .keras file')
flags.DEFINE_string('records', None, 'folder that tfrecords.build wrote')
flags.DEFINE_string('teacher', None, 'as in training; default: the teacher that the model names')
flags.DEFINE_string('teacher_weights', 'imagenet', 'with --teacher, as in training')
flags.DEFINE_string('teacher_labels', None, 'with --teacher, as in training')
flags.DEFINE_list('teacher_input_range', None, 'with --teacher, as in training: BLACK,WHITE')
flags.DEFINE_enum('teacher_dtype', 'float32', ['float32', 'bfloat16'], 'with --teacher, as in training')
flags.DEFINE_string('clips', None, 'CSV of labelled clips: path or filename, category, fold')
flags.DEFINE_string('labels', None, 'CSV of clips with any number of labels: path, labels, start, end, or of AudioSet')
flags.DEFINE_string('vocabulary', None, 'with --labels: CSV index,mid,display_name, where they are given by mid')
flags.DEFINE_string(
  'groups',
  None,
  'CSV of the classes of each category: category, class_name, imagenet_index; default: the classes are the categories',
)
flags.DEFINE_string(
  'media_root', None, 'folder that the paths in --clips or --labels start from; default: that of the CSV'
)
flags.DEFINE_list('folds', [], 'judge only the clips of these folds, each by its own model where --model has {fold}')
flags.DEFINE_bool('vision', False, 'with --clips of videos: judge the teacher too, and both together')
flags.DEFINE_float(
  'window_ms',
  None,
  'with --clips or --labels, length of a window; default: as the student was trained, and students that repeat short '
  'sound hear a last one that ends with the clip, where more than a tenth of one is left',
)
flags.DEFINE_integer('batch_size', 512, 'windows in a step', lower_bound=1)
flags.DEFINE_string('output', None, 'JSON file for all numbers')
flags.DEFINE_string(
  'figure', None, 'with --clips the confusion matrix, with --labels curves and calibration: .png, .pdf or .svg'
)

FOLD = '{fold}'  # in --model: stands for the fold that a model was not trained on


def check_arguments(values, argv):
  """Raises UserError for what can be known to be wrong before anything is loaded."""
  cli.require(len(argv) == 1, f'unexpected argument {argv[-1]!r}; all settings are flags, see --help')
  cli.require(values['model'], 'evaluate needs --model')
  cli.require(values['records'] or values['clips'] or values['labels'], 'evaluate needs --records, --clips or --labels')
  cli.require(not (values['clips'] and values['labels']), '--clips and --labels: one of them, please')
  for name, other in (('groups', 'clips'), ('vision', 'clips'), ('folds', 'clips'), ('vocabulary', 'labels')):
    cli.require(values[other] or not values[name], f'--{name} goes with --{other}')
  cli.require(values['clips'] or values['labels'] or not values['figure'], '--figure goes with --clips or --labels')
  if FOLD in values['model']:
    cli.require(values['clips'] and values['folds'], f'{FOLD} in --model needs --clips and --folds')
    cli.require(not values['records'], f'{FOLD} in --model goes with --clips, not with --records')
  cli.require(values['window_ms'] is None or values['window_ms'] > 0, f'window_ms is {values["window_ms"]}')
  if values['figure']:
    from audionet_tf.plotting import style

    style.check_path(values['figure'])


def on_records(student, values):
  """Compares with the teacher, prints the table, returns the numbers."""
  from audionet_tf.evaluation import report, teacher_agreement

  measured = teacher_agreement.evaluate_records(
    student, values['records'], teacher_of(student, values), values['batch_size']
  )
  print(report.of_records(measured))
  return measured


def teacher_of(student, values):
  """The teacher of --teacher, or the one that the model names, once the user has been told which file that is."""
  from audionet_tf.evaluation import teacher_agreement

  if values['teacher']:
    arguments = {key: values[f'teacher_{key}'] for key in ('weights', 'labels', 'input_range', 'dtype')}
    return teacher_agreement.load_teacher(student, {'source': values['teacher'], **arguments})
  named = teacher_agreement.named_teacher(student)
  places = [named[key] for key in ('source', 'weights', 'labels') if named[key] not in (None, 'imagenet')]
  print('teacher, as the model names it:', ', '.join(map(repr, places)), flush=True)
  try:
    return teacher_agreement.load_teacher(student, named)
  except UserError as error:
    raise UserError(f'{error} (looked for from {os.getcwd()}; --teacher names another)') from error


def on_clips(student, values, folds):
  """Names the clips of the folds; returns the numbers."""
  from audionet_tf.evaluation import clip_accuracy, vision

  groups = clip_accuracy.read_groups(values['groups'], student.class_names)
  clips = clip_accuracy.read_clips(values['clips'], values['media_root'], folds)
  window_seconds = values['window_ms'] and values['window_ms'] / 1000
  measured = clip_accuracy.evaluate_clips(student, clips, groups, window_seconds)
  if values['vision']:
    measured['vision'] = vision.evaluate(teacher_of(student, values), measured, groups)
  return measured


def on_labels(student, values):
  """Scores the clips of a table of labels, prints and draws; returns the numbers."""
  from audionet_tf.evaluation import multilabel, report

  table = multilabel.read(values['labels'], student.class_names, values['vocabulary'])
  root = values['media_root'] or pathlib.Path(values['labels']).parent
  measured = multilabel.evaluate(student, table, root, values['window_ms'] and values['window_ms'] / 1000)
  print(report.of_labels(measured))
  if values['figure']:
    from audionet_tf.plotting import curves, style

    style.save(curves.curves(measured['classes'], measured['calibration']), values['figure'])
  return measured


def on_folds(values):
  """Judges every fold with its own model; returns the numbers of all clips, and of every fold."""
  from audionet_tf.evaluation import clip_accuracy, predictor

  folds = {}
  for fold in values['folds']:
    student = predictor.load_student(values['model'].replace(FOLD, fold))
    folds[fold] = on_clips(student, values, [fold])
  return clip_accuracy.together(folds)


def show(measured, values):
  """Prints what was measured on clips, and draws the confusion matrix if wanted."""
  from audionet_tf.evaluation import report

  print(report.of_clips(measured))
  if values['figure']:
    from audionet_tf.plotting import clips, style

    style.save(clips.confusion(measured['confusion'], measured['categories']), values['figure'])


def main(argv):
  values = cli.flag_values(__name__)
  check_arguments(values, argv)
  from audionet_tf.evaluation import predictor

  measured, by_fold = {'model': values['model']}, FOLD in values['model']
  student = None if by_fold else predictor.load_student(values['model'])
  if values['records']:
    measured['records'] = {'source': values['records']} | on_records(student, values)
  if values['clips']:
    found = on_folds(values) if by_fold else on_clips(student, values, values['folds'])
    show(found, values)
    measured['clips'] = {'source': values['clips']} | found
  if values['labels']:
    measured['labels'] = {'source': values['labels']} | on_labels(student, values)
  if values['output']:
    write_json(pathlib.Path(values['output']), measured)
  return 1 if any(measured.get(name, {}).get('unreadable') for name in ('clips', 'labels')) else 0


def write_json(path, measured):
  path.parent.mkdir(parents=True, exist_ok=True)
  with files.atomic_write(path) as file:
    json.dump(measured, file, indent=1)


def run():
  cli.run(main)


if __name__ == '__main__':
  run()
