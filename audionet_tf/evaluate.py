r"""Evaluates a trained student: against its teacher on records, or on held-out labelled clips.

  python -m audionet_tf.evaluate --model=runs/clips --records=data/held_out

prints for every video the mean KL(teacher || student) and how often the teacher's first class is the student's first
(top-1) or among its first five (top-5). The teacher is the one that the model names, or that of --teacher. Training
records measure agreement with the teacher; only held-out records give a real estimate.

  python -m audionet_tf.evaluate --model=runs/esc --clips=videos.csv --groups=groups.csv --figure=confusion.png

prints the share of clips whose category the student predicts, and the confusion matrix. videos.csv has the columns
path (or filename), category and perhaps fold; groups.csv says which classes count as which category: category,
class_name and imagenet_index (0 to 999). A student that was trained on the labels themselves needs no groups. Clips are
decoded in this process and without a time limit: one that makes a decoder hang or crash ends the command.

  python -m audionet_tf.evaluate --model='runs/without{fold}' --folds=1,2,3,4 --clips=videos.csv --groups=groups.csv

evaluates the clips of every fold with a model of its own, trained on the others, and prints mean and standard
deviation. With --vision the teacher classifies the pictures of the clips too, alone and together with the sound.

  python -m audionet_tf.evaluate --model=runs/weak --labels=eval_segments.csv --vocabulary=class_labels_indices.csv \
    --media_root=clips --figure=curves.png

evaluates a multi-label student: average precision, ROC AUC and d' of every class and their means, precision-recall and
ROC curves, calibration. The table has the form of AudioSet's, FSD50K's, ESC's, or the columns path, labels and perhaps
start and end (docs/labels.md). Classes without a clip are left out of the means and named.

  python -m audionet_tf.evaluate --model=runs/clips --events=events.csv --media_root=clips

detects events by the rules and flags of audionet_tf.caption and compares them with annotated ones: precision, recall
and F1 of segments of a second, and of events whose onset is right within 0.2 s and whose offset is within that or a
fifth of the event (sed_eval; the extra events); and PSDS, the score over all thresholds (psds_eval). events.csv has the
columns file, onset, offset and label, in seconds, as DCASE's; selection tables of Raven, .txt or a folder of these, are
read too.

--perturb=telephone predicts the same clips through a telephone, --perturb=noise_10db in noise: a student that has
learned the microphones of its clips with their sounds fails there.

--model is a run, an export or a student.keras; of one with several heads the first is used. --output=FILE.json keeps
every number.
"""

import os
import pathlib

from absl import flags

from audionet_tf import event_flags
from audionet_tf.core import cli, files
from audionet_tf.core.errors import UserError
from audionet_tf.media import perturbations
from audionet_tf.models import student_paths
from audionet_tf.teachers import student_words, teacher_config

MODEL = flags.DEFINE_string(
  'model', None, 'A run, an export, a student.keras, or starter; {fold} stands for each fold.'
)
BATCH_SIZE = flags.DEFINE_integer('batch_size', 512, 'Windows per step.', lower_bound=1, upper_bound=10**6)
WINDOW_MS = flags.DEFINE_float(
  'window_ms',
  None,
  'Length of a window of clips; default: as the student was trained, and, but for --events, students that repeat short '
  'sound predict a last one that ends with the clip, if more than a tenth of one is left.',
  lower_bound=1,
)
RECORDS = flags.DEFINE_string('records', None, 'Folder that tfrecords.build wrote: agreement with the teacher.')
TEACHER = flags.DEFINE_string('teacher', None, 'As in training; default: the teacher that the model names.')
TEACHER_WEIGHTS = flags.DEFINE_string('teacher_weights', 'imagenet', 'With --teacher, as in training.')
TEACHER_LABELS = flags.DEFINE_string('teacher_labels', None, 'With --teacher, as in training.')
TEACHER_TEMPERATURE = flags.DEFINE_float('teacher_temperature', None, 'With --teacher, as in training.')
TEACHER_INPUT_RANGE = flags.DEFINE_list('teacher_input_range', None, 'With --teacher, as in training: BLACK,WHITE.')
TEACHER_DTYPE = flags.DEFINE_enum(
  'teacher_dtype', 'float32', ['float32', 'bfloat16'], 'With --teacher, as in training.'
)
CLIPS = flags.DEFINE_string('clips', None, 'CSV of labelled clips: path or filename, category, fold.')
GROUPS = flags.DEFINE_string(
  'groups',
  None,
  'CSV of the classes of each category: category, class_name, imagenet_index; default: the classes are the categories.',
)
FOLDS = flags.DEFINE_list('folds', [], 'Only the clips of these folds, each with its own model if --model has {fold}.')
VISION = flags.DEFINE_bool('vision', False, 'With --clips of videos: evaluate the teacher too, and both together.')
PERTURB = flags.DEFINE_enum(
  'perturb',
  None,
  list(perturbations.PERTURBATIONS),
  'With --clips: how the sound is changed before the student gets it.',
)
LABELS = flags.DEFINE_string(
  'labels', None, "CSV of clips with any number of labels: path, labels, start, end, or AudioSet's."
)
VOCABULARY = flags.DEFINE_string('vocabulary', None, 'With --labels by mid: CSV index,mid,display_name.')
CLASSES = flags.DEFINE_string(
  'classes',
  None,
  'With --teacher=clip:PRESET: its classes, as in training. With --events, of a student of embeddings: classes in your '
  'own words, one per line, or a .npz table of their vectors.',
)
EVENTS = flags.DEFINE_string(
  'events',
  None,
  'CSV of annotated events (file, onset, offset, label), or selection tables of Raven: a .txt or a folder of these.',
)
MEDIA_ROOT = flags.DEFINE_string(
  'media_root', None, 'Folder that the paths in --clips, --labels or --events start from; default: that of the table.'
)
OUTPUT = flags.DEFINE_string('output', None, 'JSON file for all numbers.')
FIGURE = flags.DEFINE_string(
  'figure', None, 'With --clips the confusion matrix, with --labels curves and calibration: .png, .pdf or .svg.'
)

flags.adopt_module_key_flags(event_flags)

TOPICS = {
  'model': 'Student',
  'records': 'Against the teacher',
  'clips': 'On labelled clips',
  'labels': 'On clips with several labels',
  'events': 'On annotated events',
  'media_root': 'Files',
  'output': 'Results',
  'threshold': 'Detection of --events',
}
NEEDS = (('--model',), ('--records', '--clips', '--labels', '--events'))
FOLD = '{fold}'  # in --model: stands for the fold that a model was not trained on


def check_arguments(argv):
  """Raises UserError for mistakes that show before anything is loaded."""
  cli.no_arguments(argv)
  cli.require(not (CLIPS.value and LABELS.value), 'use either --clips or --labels, not both')
  for flag, other in ((GROUPS, CLIPS), (VISION, CLIPS), (FOLDS, CLIPS), (PERTURB, CLIPS), (VOCABULARY, LABELS)):
    cli.require(other.value or not flag.value, f'--{flag.name} goes with --{other.name}')
  check_events()
  cli.require(CLIPS.value or LABELS.value or not FIGURE.value, '--figure goes with --clips or --labels')
  if FIGURE.value:
    from audionet_tf.plotting import style

    style.check_path(FIGURE.value)
  if FOLD in MODEL.value:
    cli.require(CLIPS.value and FOLDS.value, f'{FOLD} in --model needs --clips and --folds')
    cli.require(not RECORDS.value, f'{FOLD} in --model goes with --clips, not with --records')
  for path in (CLIPS.value, GROUPS.value, LABELS.value, VOCABULARY.value):
    cli.require(not path or pathlib.Path(path).is_file(), f'{path}: no such file')
  check_teacher()
  if RECORDS.value:
    cli.require(pathlib.Path(RECORDS.value).is_dir(), f'{RECORDS.value}: no such folder; tfrecords.build makes it')
  if EVENTS.value and CLASSES.value and not of_teacher():
    student_words.find(MODEL.value, CLASSES.value)
    return
  for fold in FOLDS.value if FOLD in MODEL.value else ['']:
    student_paths.find(MODEL.value.replace(FOLD, fold))


def of_teacher():
  """Whether --classes are those of --teacher."""
  return bool(TEACHER.value) and teacher_config.is_picture_text(TEACHER.value)


def check_teacher():
  """Raises UserError for mistakes in the flags of --teacher that show before it is loaded."""
  cli.require(TEACHER.value or TEACHER_TEMPERATURE.value is None, '--teacher_temperature goes with --teacher')
  cli.require(
    of_teacher() or EVENTS.value or not CLASSES.value, '--classes goes with --teacher=clip:PRESET or with --events'
  )
  if TEACHER.value:
    teacher_config.check_texts(teacher_config.TeacherConfig(**teacher_flags()))


def check_events():
  """Raises UserError for mistakes in --events and in the flags that go with it."""
  for flag in event_flags.HOLDERS:
    cli.require(EVENTS.value or not flag.present, f'--{flag.name} goes with --events')
  if EVENTS.value:
    cli.require(FOLD not in MODEL.value, f'{FOLD} in --model goes with --clips, not with --events')
    cli.require(os.path.exists(EVENTS.value), f'{EVENTS.value}: no such file')
    cli.require_installed(['sed_eval', 'psds_eval'], 'events')
    event_flags.require_files()


def on_events():
  """Compares detected events with annotated ones, prints the table, returns the numbers."""
  from audionet_tf.captioning import captioner, event_scores, event_tables

  annotated = event_tables.read(EVENTS.value)
  classes = None if of_teacher() else CLASSES.value
  served = student_words.load(student_words.find(MODEL.value, classes), classes)
  predictor = captioner.predictor(served, window_seconds())
  rules = event_flags.detection_config(served.settings, predictor.class_names)
  path = pathlib.Path(EVENTS.value)
  root = pathlib.Path(MEDIA_ROOT.value or (path if path.is_dir() else path.parent))
  measured = event_scores.evaluate(predictor, rules, annotated, path, root)
  print(event_scores.report(measured))
  return measured


def on_records(student):
  """Compares with the teacher, prints the table, returns the numbers."""
  from audionet_tf.evaluation import report, teacher_agreement

  measured = teacher_agreement.evaluate_records(student, RECORDS.value, teacher_of(student), BATCH_SIZE.value)
  print(report.of_records(measured))
  return measured


def teacher_of(student):
  """The teacher of --teacher, or the one that the model names."""
  from audionet_tf.evaluation import teacher_agreement

  if TEACHER.value:
    return teacher_agreement.load_teacher(student, teacher_flags())
  try:
    return teacher_agreement.load_teacher(student, teacher_agreement.named_teacher(student.settings))
  except UserError as error:
    raise UserError(f'{error} (looked for from {os.getcwd()}; --teacher names another)') from error


def teacher_flags():
  """The flags of --teacher as arguments of `frozen_teacher.load`."""
  return {
    'source': TEACHER.value,
    'weights': TEACHER_WEIGHTS.value,
    'labels': TEACHER_LABELS.value,
    'texts': CLASSES.value if of_teacher() else None,
    'temperature': TEACHER_TEMPERATURE.value,
    'input_range': TEACHER_INPUT_RANGE.value,
    'dtype': TEACHER_DTYPE.value,
  }


def try_teachers():
  """UserError if loading a teacher that is needed crashes or hangs; this comes before TensorFlow computes anything.

  The file of a teacher that the model names is printed before it is loaded.
  """
  from audionet_tf.evaluation import predictor, teacher_agreement
  from audionet_tf.teachers import frozen_teacher

  if TEACHER.value:
    needed = [teacher_flags()]
  else:
    models = {MODEL.value.replace(FOLD, fold) for fold in FOLDS.value or ['']}
    needed = [teacher_agreement.named_teacher(predictor.read_settings(model)) for model in sorted(models)]
  keys = ('source', 'weights', 'dtype', 'input_range')
  for arguments in {str(teacher): teacher for teacher in needed}.values():
    if not TEACHER.value:
      keys_of_paths = ('source', 'weights', 'labels', 'texts')
      paths = [arguments[key] for key in keys_of_paths if arguments[key] not in (None, 'imagenet')]
      print('teacher, as the model names it:', ', '.join(map(repr, paths)), flush=True)
    frozen_teacher.try_loading(**{key: arguments[key] for key in keys})


def on_clips(student, folds):
  """Predicts the categories of the clips of the folds; returns the numbers."""
  from audionet_tf.evaluation import clip_accuracy, vision

  groups = clip_accuracy.read_groups(GROUPS.value, student.class_names)
  clips = clip_accuracy.read_clips(CLIPS.value, MEDIA_ROOT.value, folds)
  measured = clip_accuracy.evaluate_clips(student, clips, groups, window_seconds(), PERTURB.value)
  if VISION.value:
    measured['vision'] = vision.evaluate(teacher_of(student), measured, groups)
  return measured


def window_seconds():
  """Length of a window on clips, None for that of the student's training."""
  return WINDOW_MS.value and WINDOW_MS.value / 1000


def on_labels(student):
  """Scores the clips of a table of labels, prints and draws; returns the numbers."""
  from audionet_tf.evaluation import multilabel, report

  table = multilabel.read(LABELS.value, student.class_names, VOCABULARY.value)
  root = MEDIA_ROOT.value or pathlib.Path(LABELS.value).parent
  measured = multilabel.evaluate(student, table, root, window_seconds())
  print(report.of_labels(measured))
  if FIGURE.value:
    from audionet_tf.plotting import curves, style

    style.save(curves.curves(measured['classes'], measured['calibration']), FIGURE.value)
  return measured


def on_folds():
  """Evaluates every fold with its own model; returns the numbers for all clips, and per fold."""
  from audionet_tf.evaluation import clip_accuracy, predictor

  folds = {}
  for fold in FOLDS.value:
    student = predictor.load_student(MODEL.value.replace(FOLD, fold))
    folds[fold] = on_clips(student, [fold])
  return clip_accuracy.together(folds)


def show(measured):
  """Prints the accuracy on clips, and draws the confusion matrix if there is a --figure."""
  from audionet_tf.evaluation import report

  print(report.of_clips(measured))
  if FIGURE.value:
    from audionet_tf.plotting import clips, style

    style.save(clips.confusion(measured['confusion'], measured['categories']), FIGURE.value)


def main(argv):
  check_arguments(argv)
  from audionet_tf.evaluation import predictor

  if RECORDS.value or VISION.value:
    try_teachers()
  measured, by_fold = {'model': MODEL.value}, FOLD in MODEL.value
  needs_student = RECORDS.value or CLIPS.value or LABELS.value
  student = None if by_fold or not needs_student else predictor.load_student(MODEL.value)
  if RECORDS.value:
    measured['records'] = {'source': RECORDS.value} | on_records(student)
  if CLIPS.value:
    clips = on_folds() if by_fold else on_clips(student, FOLDS.value)
    show(clips)
    changed = {'perturb': PERTURB.value} if PERTURB.value else {}
    measured['clips'] = {'source': CLIPS.value} | changed | clips
  if LABELS.value:
    measured['labels'] = {'source': LABELS.value} | on_labels(student)
  if EVENTS.value:
    measured['events'] = {'source': EVENTS.value} | on_events()
  if OUTPUT.value:
    files.write_json(OUTPUT.value, measured)
  left_out = [
    measured.get(name, {}).get(key) for name in ('clips', 'labels', 'events') for key in ('unreadable', 'missing')
  ]
  return 1 if any(left_out) else 0


def run():
  cli.run(main, TOPICS, NEEDS)


if __name__ == '__main__':
  run()
