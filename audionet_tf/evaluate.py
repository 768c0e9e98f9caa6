"""Judges a trained student: against its teacher on records, or by the category of clips that it never heard.

  python -m audionet_tf.evaluate --model=runs/paper --records=data/unheard

prints for every video the mean KL(teacher || student) and how often the teacher's first class is the student's first
(top-1) or among its first five (top-5). The teacher is the one that the model names, or that of --teacher.

  python -m audionet_tf.evaluate --model=runs/esc --clips=videos.csv --groups=groups.csv --figure=confusion.png

prints the share of clips whose category the student names, and who is taken for whom. videos.csv has the columns path
(or filename), category and perhaps fold; groups.csv says which classes count as which category: category, class_name
and imagenet_index (0 to 999). Clips are decoded in this process and without a limit of time: one that makes a decoder
hang or crash ends the command.

--model is a run, an export or a student.keras. --output=FILE.json keeps every number.
"""

import json
import os
import pathlib

from absl import flags

from audionet_tf import command, files
from audionet_tf.errors import UserError

flags.DEFINE_string('model', None, 'folder of a run or an export, or a .keras file')
flags.DEFINE_string('records', None, 'folder that tfrecords.build wrote')
flags.DEFINE_string('teacher', None, 'as in training; default: the teacher that the model names')
flags.DEFINE_string('teacher_weights', 'imagenet', 'with --teacher, as in training')
flags.DEFINE_string('teacher_labels', None, 'with --teacher, as in training')
flags.DEFINE_list('teacher_input_range', None, 'with --teacher, as in training: BLACK,WHITE')
flags.DEFINE_enum('teacher_dtype', 'float32', ['float32', 'bfloat16'], 'with --teacher, as in training')
flags.DEFINE_string('clips', None, 'CSV of labelled clips: path or filename, category, fold')
flags.DEFINE_string('groups', None, 'CSV of the classes of each category: category, class_name, imagenet_index')
flags.DEFINE_string('media_root', None, 'folder that the paths in --clips start from; default: that of the CSV')
flags.DEFINE_list('folds', [], 'judge only the clips of these folds')
flags.DEFINE_float('window_ms', None, 'with --clips, length of a window; default: as the student was trained')
flags.DEFINE_integer('batch_size', 512, 'windows in a step', lower_bound=1)
flags.DEFINE_string('output', None, 'JSON file for all numbers')
flags.DEFINE_string('figure', None, 'with --clips, figure of the confusion matrix: .png, .pdf or .svg')


def check_arguments(values, argv):
  """Raises UserError for what can be known to be wrong before anything is loaded."""
  command.check(len(argv) == 1, f'unexpected argument {argv[-1]!r}; all settings are flags, see --help')
  command.check(values['model'], 'evaluate needs --model')
  command.check(values['records'] or values['clips'], 'evaluate needs --records, or --clips and --groups')
  command.check(bool(values['clips']) == bool(values['groups']), '--clips and --groups go together')
  command.check(values['clips'] or not values['figure'], '--figure goes with --clips')
  command.check(values['window_ms'] is None or values['window_ms'] > 0, f'window_ms is {values["window_ms"]}')
  if values['figure']:
    from audionet_tf import plots

    plots.check_path(values['figure'])


def on_records(student, values):
  """Compares with the teacher, prints the table, returns the numbers."""
  from audionet_tf import evaluation, evaluation_tables

  if values['teacher']:
    arguments = {key: values[f'teacher_{key}'] for key in ('weights', 'labels', 'input_range', 'dtype')}
    teacher = evaluation.load_teacher(student, {'source': values['teacher'], **arguments})
  else:
    teacher = teacher_of(student)
  measured = evaluation.evaluate_records(student, values['records'], teacher, values['batch_size'])
  print(evaluation_tables.of_records(measured))
  return measured


def teacher_of(student):
  """The teacher that the model names, once the user has been told which file that is."""
  from audionet_tf import evaluation

  named = evaluation.named_teacher(student)
  places = [named[key] for key in ('source', 'weights', 'labels') if named[key] not in (None, 'imagenet')]
  print('teacher, as the model names it:', ', '.join(map(repr, places)), flush=True)
  try:
    return evaluation.load_teacher(student, named)
  except UserError as error:
    raise UserError(f'{error} (looked for from {os.getcwd()}; --teacher names another)') from error


def on_clips(student, values):
  """Names the clips, prints the confusion matrix, draws it if wanted, returns the numbers."""
  from audionet_tf import clip_accuracy, evaluation_tables

  groups = clip_accuracy.read_groups(values['groups'], student.class_names)
  clips = clip_accuracy.read_clips(values['clips'], values['media_root'], values['folds'])
  window_seconds = values['window_ms'] and values['window_ms'] / 1000
  measured = clip_accuracy.evaluate_clips(student, clips, groups, window_seconds)
  print(evaluation_tables.of_clips(measured))
  if values['figure']:
    from audionet_tf import plots, plots_sets

    plots.save(plots_sets.confusion(measured['confusion'], measured['categories']), values['figure'])
  return measured


def main(argv):
  values = command.flag_values(__name__)
  check_arguments(values, argv)
  from audionet_tf import evaluation

  student = evaluation.load_student(values['model'])
  measured = {'model': values['model']}
  for part, judge in (('records', on_records), ('clips', on_clips)):
    if values[part]:
      measured[part] = {'source': values[part]} | judge(student, values)
  if values['output']:
    write_json(pathlib.Path(values['output']), measured)
  return 1 if measured.get('clips', {}).get('unreadable') else 0


def write_json(path, measured):
  path.parent.mkdir(parents=True, exist_ok=True)
  with files.named_when_whole(path) as file:
    json.dump(measured, file, indent=1)


def run():
  command.run(main)


if __name__ == '__main__':
  run()
