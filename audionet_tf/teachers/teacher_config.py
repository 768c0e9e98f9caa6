"""Teachers as flags name them, and their checks, which need no TensorFlow."""

import dataclasses
import importlib.metadata
import importlib.util
import json
import pathlib
import re
import zipfile

from audionet_tf.core import files, text
from audionet_tf.core.errors import UserError, missing_extra
from audionet_tf.data.tables import class_lists, class_prompts, csv_files
from audionet_tf.teachers import clip_labels, precomputed

# In SoundNet's code the weight of a head is this over its number of classes: the criterion divides by batch x classes
# and by the 8 terms (4 steps, 2 heads), and is multiplied by 250. 0.125 for 1000 classes, 0.312 for 401.
ORIGINAL_WEIGHT_TIMES_CLASSES = 250 / 8 * 4
HDF5_SUFFIXES = ('.h5', '.hdf5')
KERAS_FILES = {'config.json', 'metadata.json', 'model.weights.h5'}  # of a folder, as Keras has models on the Hub
SOUND = re.compile(r'sound(?:@(\d+))?:(.+)', re.ASCII | re.DOTALL)
SOUND_RATE_HZ = 16000  # YAMNet's, and that of most taggers
AUTO = 'auto'  # in place of a dtype: `precision` chooses one
EMBEDDING = 'embedding:'  # before a source whose vectors the student learns, not a distribution
PICTURE_TEXT = 'clip:'  # before the name or folder of a preset of KerasHub
PICTURE_TEXT_MODELS = {'CLIPBackbone': 'CLIPPreprocessor', 'SigLIPBackbone': 'SigLIPPreprocessor'}
OLDEST_TENSORFLOW = (2, 20)  # for KerasHub, whose tokenizers need tensorflow-text
PRESET = re.compile(r'[a-z0-9_]+')
MOST_CONFIG_BYTES = 1 << 20
NAMED = re.compile(r'([A-Za-z]\w*)=(.*)', re.ASCII | re.DOTALL)


@dataclasses.dataclass(frozen=True)
class TeacherConfig:
  """One teacher: arguments of `frozen_teacher.load`, and the weight of its head.

  `loss_weight` is a number above 0, or 'original' for the weight in SoundNet's code: 125 / classes. `dtype` may be AUTO
  until the teacher is loaded, by `labelling.load_teacher`.

  Raises:
    UserError: another loss_weight, or a temperature that is not above 0.
  """

  source: str
  name: str = 'teacher'
  weights: str = 'imagenet'
  labels: str | None = None
  dtype: str = 'float32'
  input_range: tuple | None = None
  loss_weight: float | str = 1.0
  texts: str | None = None
  temperature: float | None = None

  def __post_init__(self):
    weight = self.loss_weight
    if weight != 'original' and not (isinstance(weight, int | float) and 0 < weight < float('inf')):
      raise UserError(f'loss weight of {self.name} is {weight!r}, allowed is any number above 0, or original')
    if self.temperature is not None and not 0 < self.temperature < float('inf'):
      raise UserError(f'temperature of {self.name} is {self.temperature}, allowed is any number above 0')

  def arguments(self):
    """Arguments of `frozen_teacher.load`."""
    return {key: value for key, value in dataclasses.asdict(self).items() if key != 'loss_weight'}

  def head_weight(self, classes):
    """Weight of the loss of a head with `classes` classes."""
    return ORIGINAL_WEIGHT_TIMES_CLASSES / classes if self.loss_weight == 'original' else float(self.loss_weight)


def named_teachers(sources, **settings):
  """Parses the values of repeated flags into teachers.

  Args:
    sources: list of 'NAME=SOURCE', NAME of letters, digits and _; or 'SOURCE', whose name is 'teacher'. A SOURCE
      without name is the only teacher: it replaces those before it, and named ones after it replace it. If a name is
      repeated, the last one counts, so that a command line overrides a flagfile.
    **settings: field of TeacherConfig to a list of 'NAME=VALUE', or of 'VALUE' for all teachers that are not named.

  Returns:
    Tuple of TeacherConfig, in the order of their first mention.

  Raises:
    UserError: a setting names no teacher, or its value cannot be read.
  """
  teachers, unnamed = {}, False
  for name, source in map(split_name, sources):
    if name is None or unnamed:
      teachers = {}
    unnamed = name is None
    teachers[name or 'teacher'] = {'source': source}
  for field, texts in settings.items():
    values = [split_name(text) for text in texts]
    for name, value in values:
      if name not in (None, *teachers):
        raise UserError(
          f'{field} {name}={value}: no teacher is called {name}; there is {", ".join(teachers)} (a path begins with ./)'
        )
    for name, fields in teachers.items():
      own = [value for key, value in values if key == name] or [value for key, value in values if key is None]
      fields |= {field: PARSERS.get(field, str)(own[-1])} if own else {}
  for fields in teachers.values():
    if fields.get('dtype') == AUTO and not needs_pictures(fields['source']):
      fields['dtype'] = 'float32'
  return tuple(TeacherConfig(name=name, **fields) for name, fields in teachers.items())


def split_name(text):
  """'objects=vgg16' as ('objects', 'vgg16'); a text without name as (None, text)."""
  match = NAMED.fullmatch(text)
  return match.groups() if match else (None, text)


def number_pair(text):
  """'0,255' as (0.0, 255.0)."""
  try:
    black, white = (float(part) for part in text.split(','))
  except ValueError:
    raise UserError(f'input range is {text}; expected are two numbers, as in 0,255') from None
  return black, white


def weight(text):
  """'0.5' as 0.5; 'original' unchanged."""
  try:
    return text if text == 'original' else float(text)
  except ValueError:
    raise UserError(f'loss weight is {text}; expected is a number, or original') from None


def positive(text):
  """'0.01' as 0.01."""
  try:
    return float(text)
  except ValueError:
    raise UserError(f'temperature is {text}; expected is a number') from None


PARSERS = {
  'input_range': number_pair,
  'loss_weight': weight,
  'labels': lambda text: text or None,
  'temperature': positive,
}


def is_precomputed(source):
  """Whether `source` is a file of precomputed outputs or of labels, which needs no pictures."""
  source = str(source).removeprefix(EMBEDDING)
  if is_picture_text(source) or is_sound(source):
    return False
  return pathlib.Path(source).suffix in precomputed.READERS or csv_files.is_table(source)


def is_sound(source):
  """Whether `source` names a tagger of sound, which hears the windows: 'sound:PATH', or 'sound@RATE:PATH'."""
  return SOUND.fullmatch(str(source)) is not None


def sound_source(source):
  """(path, sample rate in hertz) of a tagger of sound. UserError for a rate out of range."""
  rate, path = SOUND.fullmatch(str(source)).groups()
  rate_hz = int(rate or SOUND_RATE_HZ)
  if not 1000 <= rate_hz <= 192_000:
    raise UserError(f'{source}: a sample rate of {rate_hz} Hz, allowed is 1000 to 192000')
  return path, rate_hz


def needs_pictures(source):
  """Whether a teacher looks at pictures: neither is it a file of outputs or labels, nor does it hear."""
  return not is_precomputed(source) and not is_sound(str(source).removeprefix(EMBEDDING))


def settled(teachers, loaded):
  """The TeacherConfigs with the dtypes of the frozen_teacher.Teachers that were loaded by them."""
  dtypes = [each.description['dtype'] for each in loaded]
  return tuple(dataclasses.replace(each, dtype=dtype) for each, dtype in zip(teachers, dtypes, strict=True))


def of_embeddings(teachers):
  """The TeacherConfigs with EMBEDDING before each source: what --loss=cosine means."""
  sources = (EMBEDDING + teacher.source.removeprefix(EMBEDDING) for teacher in teachers)
  return tuple(dataclasses.replace(teacher, source=source) for teacher, source in zip(teachers, sources, strict=True))


def is_embedding(source):
  """Whether the vectors of a source are to be learned, such as 'embedding:clip:PRESET' or 'embedding:X.npz'."""
  return str(source).startswith(EMBEDDING)


def is_picture_text(source):
  """Whether `source` is a model of pictures and texts, such as 'clip:clip_vit_base_patch32'."""
  return str(source).startswith(PICTURE_TEXT)


def preset_of(source):
  """The name or folder of the preset in a source for which `is_picture_text` holds."""
  return str(source).removeprefix(PICTURE_TEXT)


def check(teachers, teacher_mode, manifest):
  """Raises UserError for mistakes that the files show before they are loaded, which may take a minute.

  Args:
    teachers: list of TeacherConfig.
    teacher_mode: 'stored' or 'online'.
    manifest: of the records.
  """
  for teacher in teachers:
    check_texts(teacher)
  classifiers = [teacher.name for teacher in teachers if needs_pictures(teacher.source)]
  check_pictures(manifest, classifiers)
  for teacher in teachers:
    if is_sound(teacher.source):
      check_sound(teacher, teacher_mode)
      continue
    source = teacher.source.removeprefix(EMBEDDING)
    path = pathlib.Path(source)
    names = teacher.labels and class_lists.read_class_names(teacher.labels)
    if teacher_mode == 'online' and (is_precomputed(path) or path.suffix == '.tflite'):
      what = 'outputs from a file' if is_precomputed(path) else 'a .tflite file'
      raise UserError(f'teacher {teacher.name}: {what} cannot run in the step; use --teacher_mode=stored')
    if is_picture_text(source):
      check_preset(source)
    elif is_precomputed(path):
      check_precomputed(path, teacher.labels, names, manifest)
    else:
      check_classifier(source, teacher.weights)


def check_texts(teacher):
  """UserError unless a TeacherConfig has texts if it is a model of pictures and texts, and no flags of others."""
  if is_embedding(teacher.source):
    if is_sound(teacher.source.removeprefix(EMBEDDING)):
      raise UserError(
        f'{teacher.source}: a tagger of sound gives classes, no vectors; leave out {EMBEDDING} or --loss=cosine'
      )
    if teacher.texts is not None or teacher.labels is not None:
      raise UserError(
        f'teacher {teacher.name} ({teacher.source}): a student of embeddings gets its classes afterwards, by '
        'audionet_tf.infer, caption and export --classes; leave out --classes and --teacher_labels'
      )
    if csv_files.is_table(teacher.source):
      raise UserError(f'{teacher.source}: labels are no embeddings; expected are pictures, or vectors in .npz or .npy')
    return
  if not is_picture_text(teacher.source):
    if teacher.texts is not None:
      raise UserError(
        f'teacher {teacher.name} ({teacher.source}) knows no texts: --classes is for {PICTURE_TEXT}PRESET; among '
        'several teachers name it, as in --classes=NAME=words.txt'
      )
    if teacher.temperature is not None and not needs_pictures(teacher.source):
      raise UserError(
        f'teacher {teacher.name} ({teacher.source}) looks at no pictures, and its answers are taken as they are: '
        '--teacher_temperature is for the others; name one, as in --teacher_temperature=NAME=2'
      )
    return
  if teacher.texts is None:
    raise UserError(f'{teacher.source} needs --classes=FILE: the classes in your words, one per line')
  if (teacher.weights, teacher.labels, teacher.input_range) != ('imagenet', None, None):
    raise UserError(
      f'{teacher.source} has weights, classes (--classes) and preparation of pictures of its own; leave out '
      '--teacher_weights, --teacher_labels and --teacher_input_range'
    )
  class_prompts.read(teacher.texts)


def check_preset(source):
  """UserError unless KerasHub is there and the preset is a name, or a folder with a model of PICTURE_TEXT_MODELS."""
  version = importlib.metadata.version('tensorflow')
  if tuple(map(int, version.split('.')[:2])) < OLDEST_TENSORFLOW:
    oldest = '.'.join(map(str, OLDEST_TENSORFLOW))
    raise UserError(f'{source} needs TensorFlow {oldest} or newer, here is {version}: scripts/setup --latest clip')
  if importlib.util.find_spec('keras_hub') is None:
    raise missing_extra(source, 'keras-hub', 'clip')
  preset = preset_of(source)
  folder = pathlib.Path(preset)
  if not (preset and folder.is_dir()):
    if not PRESET.fullmatch(preset):
      raise UserError(f'{source}: no such folder, nor the name of a preset such as clip_vit_base_patch32')
    return
  content = files.read_bytes(folder / 'config.json', MOST_CONFIG_BYTES, f'a preset in {folder}')
  try:
    family = json.loads(content)['class_name']
    is_known = family in PICTURE_TEXT_MODELS
  except (ValueError, KeyError, TypeError, RecursionError) as error:
    raise UserError(f'{folder / "config.json"}: not the configuration of a preset ({text.brief(error)})') from None
  if not is_known:
    allowed = ' or '.join(PICTURE_TEXT_MODELS)
    raise UserError(f'{source}: a preset of {text.brief_value(family)}, allowed is {allowed}')


def check_sound(teacher, teacher_mode):
  """UserError for mistakes in a TeacherConfig of a tagger of sound that show before it is loaded."""
  path, _ = sound_source(teacher.source)
  if teacher_mode == 'online':
    raise UserError(f'teacher {teacher.name}: a tagger of sound cannot run in the step; use --teacher_mode=stored')
  if teacher.labels:
    class_lists.read_class_names(teacher.labels)
  refuse_picture_settings(teacher.source, teacher.weights, teacher.dtype, teacher.input_range)
  is_file = path.endswith('.tflite') and pathlib.Path(path).is_file()
  if not is_file and not pathlib.Path(path).is_dir():
    raise UserError(f'{path}: no such tagger of sound; expected is a SavedModel folder or a .tflite file')
  check_classifier(path if '/' in path else f'./{path}')


def refuse_picture_settings(source, weights, dtype, input_range):
  """UserError if settings of classifiers of pictures are given for a tagger of sound."""
  if (weights, dtype, input_range) != ('imagenet', 'float32', None):
    raise UserError(f'{source}: a tagger of sound; leave out weights, dtype and input range, which are for pictures')


def check_pictures(manifest, names):
  """UserError if the image classifiers `names` are to label records without pictures."""
  if names and not manifest['params'].images_per_window:
    raise UserError(
      f'the records hold no pictures (--images_per_window=0), and teacher {", ".join(names)} needs them; build '
      'records with pictures, or train on a file of labels or outputs (.csv, .npz, .npy, .tfrecord)'
    )


def is_keras_model(path):
  """Whether `path`, pathlib.Path, is a file of Keras, or a folder as Keras writes it to the Hub."""
  if path.is_dir():
    return all((path / name).is_file() for name in KERAS_FILES)
  return path.suffix in ('.keras', *HDF5_SUFFIXES)


def check_classifier(source, weights='imagenet'):
  """UserError unless `source` is a model file or folder, or may be a name of keras.applications."""
  path = pathlib.Path(source)
  if not path.suffix and '/' not in source and not path.is_file():
    if weights not in ('imagenet', 'none') and not pathlib.Path(weights).is_file():
      raise UserError(f'{weights}: no such file of weights; allowed are imagenet, none or a path')
    return  # the name of a network, which keras.applications checks
  if not path.exists():
    raise UserError(f'{source}: no such teacher; expected is a .keras or .tflite file, or a SavedModel folder')
  if path.suffix == '.tflite' or path.is_dir():
    files.require_utf8(path)
  if path.suffix in HDF5_SUFFIXES and path.is_file():
    check_whole_model(path)
  elif path.suffix == '.keras' and path.is_file():
    if not zipfile.is_zipfile(path):
      raise UserError(f'{path}: not a readable .keras file (no zip archive)')
  elif path.suffix == '.tflite' and path.is_file():
    with open(path, 'rb') as file:
      if file.read(8)[4:] != b'TFL3':
        raise UserError(f'{path}: not a .tflite file, or damaged (it does not start with TFL3)')
  elif not path.is_dir():
    raise UserError(f'{source}: not a teacher; expected is a .keras or .tflite file, or a SavedModel folder')
  elif not (path / 'saved_model.pb').is_file() and not is_keras_model(path):
    found = text.first_of(sorted(file.name for file in path.iterdir()), 4) or 'nothing'
    raise UserError(
      f'{path}: no saved_model.pb in this folder, so it is not a SavedModel; here is {found}: '
      'name a file if one is meant'
    )


def check_whole_model(path):
  """UserError unless an HDF5 file holds a network with its weights, as Keras 2 saved models."""
  import h5py

  try:
    with h5py.File(path, 'r') as file:
      is_whole = 'model_config' in file.attrs
  except OSError as error:
    raise UserError(f'{path}: not a readable HDF5 file ({text.brief(error)})') from None
  if not is_whole:
    raise UserError(f'{path}: weights without a network; name it: --teacher=vgg16 --teacher_weights={path}')


QUICK_BYTES = 16 << 20  # a table up to this size is read twice, here and for training


def check_precomputed(path, labels_path, names, manifest):
  """UserError if a file of labels or outputs does not fit the records, as far as a quick look shows."""
  precomputed.check_file(path)
  if csv_files.is_table(path):
    if path.stat().st_size < QUICK_BYTES:
      clip_labels.load_table(path, labels_path).targets(manifest)
  elif path.suffix in ('.npz', '.npy'):  # by their headers; a .tfrecord would have to be read to its end
    precomputed.checked_frames(path, precomputed.opened(path, names and len(names))[1], manifest)
