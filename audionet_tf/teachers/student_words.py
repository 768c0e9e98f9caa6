"""Classes in words for a student that learned embeddings: by the text model of its teacher, or from a table of vectors.

Finding the student and checking the classes needs no TensorFlow.
"""

from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import class_prompts, word_tables
from audionet_tf.models import starter, student_paths
from audionet_tf.teachers import described, teacher_config

TEMPERATURE = 0.05  # where neither table nor teacher says one
ADVICE = 'expected is a table of vectors of the classes, .npz with names and vectors'


def find(model, classes):
  """The path of the student to use: with classes a .keras file, else as student_paths.find_for_files has it.

  Args:
    model: path, or None for the starter.
    classes: None, or path of a file of texts (`class_prompts`) or of a table of vectors (`word_tables`).

  Raises:
    UserError: there is no student, or no such classes.
  """
  if classes is None:
    return student_paths.find_for_files(starter.chosen(model))
  if model is None:
    raise UserError('--classes needs --model, a student that learned embeddings of pictures')
  (word_tables.read if word_tables.is_table(classes) else class_prompts.read)(classes)
  path = student_paths.resolve(model)
  if path.suffix != '.keras':
    raise UserError(f'{path}: --classes needs a run or its {student_paths.STUDENT_FILE}; exports have their classes')
  student_paths.require_student(path)
  return path


def load(path, classes):
  """The loader.LoadedExport of a student that `find` found.

  Raises:
    UserError: it is damaged, or with classes: it learned no embeddings, or the file does not suit it.
  """
  from audionet_tf.models import student_file
  from audionet_tf.saved_model import for_files

  if classes is None:
    return for_files.load(path)
  model, settings, _ = with_classes(path, *student_file.load(path), classes)
  return for_files.of_model(model, settings, path)


def with_classes(path, model, settings, classes):
  """A student with the classes of a file.

  Args:
    path: of the student, for messages.
    model, settings: the student, keras.Model and student_file.StudentConfig.
    classes: path of a file of texts or of a table.

  Returns:
    (keras.Model, StudentConfig, WordTable of the classes).

  Raises:
    UserError: as `load`.
  """
  from audionet_tf.models import words

  head = words.head_of(path, settings)
  about = described.of_head(settings, head, 'use another student')
  if word_tables.is_table(classes):
    table = word_tables.read(classes)
  else:
    prompts = class_prompts.read(classes)
    table = word_tables.make(list(prompts), vectors_of_texts(about, prompts, classes))
  temperature = table.temperature or about.get('temperature') or TEMPERATURE
  table = word_tables.make(table.names, table.vectors, temperature)
  return *words.with_classes(model, settings, head, table), table


def vectors_of_texts(about, prompts, name):
  """f32 [classes, width], each of length 1, of texts, by the text model of a teacher.

  Args:
    about: the teacher of a student, from `described.of_head`.
    prompts: dict of class to list of texts.
    name: of the texts, for messages.
  """
  source = str(about.get('source') or '').removeprefix(teacher_config.EMBEDDING)
  if not teacher_config.is_picture_text(source):
    raise UserError(f'{name}: the teacher of this student ({source or "unknown"}) knows no texts; {ADVICE}')
  described.refuse_addresses(about, ADVICE)
  teacher_config.check_preset(source)
  from audionet_tf.teachers import picture_text

  model = picture_text.load(source)
  if model.digest != about.get('digest'):
    raise UserError(f'{source}: not the model that taught this student (its digest is {model.digest[:16]})')
  return picture_text.class_vectors(model, prompts)
