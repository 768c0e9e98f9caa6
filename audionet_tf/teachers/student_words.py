"""Classes in words for a student that learned embeddings: by the text model of its teacher, or from a table of vectors.

Finding the student and checking the classes needs no TensorFlow.
"""

import dataclasses

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


@dataclasses.dataclass(frozen=True)
class TextStudent:
  """A student of vectors beside the text model that taught it: any texts can be its classes.

  Attributes:
    model, settings: the student, keras.Model and student_settings.StudentConfig.
    head: key of `settings.embeddings`.
    temperature: of its scores, by which cosines are divided.
    texts: picture_text.PictureTextModel.
  """

  model: object
  settings: object
  head: str
  temperature: float
  texts: object

  def table(self, prompts):
    """The WordTable of classes: `prompts` as `class_prompts.read` returns them."""
    from audionet_tf.teachers import picture_text

    return word_tables.make(list(prompts), picture_text.class_vectors(self.texts, prompts), self.temperature)


def load_with_texts(path, classes):
  """(LoadedExport, TextStudent) of a student that `find` found, for a service that names other classes too.

  The TextStudent is None where `classes` is no file of texts: then no text model is loaded. Errors are those of `load`.
  """
  if classes is None or word_tables.is_table(classes):
    return load(path, classes), None
  from audionet_tf.models import student_file, words
  from audionet_tf.saved_model import for_files

  model, settings = student_file.load(path)
  head = words.head_of(path, settings)
  about = described.of_head(settings, head, 'use another student')
  prompts = class_prompts.read(classes)
  student = TextStudent(model, settings, head, temperature_of(about), text_model(about, classes))
  changed = words.with_classes(model, settings, head, student.table(prompts))
  return for_files.of_model(*changed, path), student


def with_classes(path, model, settings, classes):
  """A student with the classes of a file.

  Args:
    path: of the student, for messages.
    model, settings: the student, keras.Model and student_settings.StudentConfig.
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
  table = word_tables.make(table.names, table.vectors, table.temperature or temperature_of(about))
  return *words.with_classes(model, settings, head, table), table


def temperature_of(about):
  """By which cosines are divided, of a teacher from `described.of_head`."""
  return about.get('temperature') or TEMPERATURE


def vectors_of_texts(about, prompts, name):
  """f32 [classes, width], each of length 1, of texts, by the text model of a teacher.

  Args:
    about: the teacher of a student, from `described.of_head`.
    prompts: dict of class to list of texts.
    name: of the texts, for messages.
  """
  model = text_model(about, name)
  from audionet_tf.teachers import picture_text

  return picture_text.class_vectors(model, prompts)


def text_model(about, name):
  """The picture_text.PictureTextModel that taught a student. Arguments are those of `vectors_of_texts`.

  Raises:
    UserError: the teacher knows no texts, is elsewhere, cannot be loaded, or is another one than that which taught.
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
  return model
