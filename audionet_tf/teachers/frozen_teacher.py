"""Teachers: frozen image classifiers, or taggers of sound, that give a probability distribution over their classes.

| flag                    | allowed                     | meaning                                                     |
|-------------------------|-----------------------------|-------------------------------------------------------------|
| `--teacher`             | vgg16, mobilenet_v2, ...    | a classifier of `keras.applications`, with its preprocessing |
|                         | X.keras, X.h5 (whole model) | takes pictures in 0..255, preprocessing inside the file     |
|                         | folder/ (Keras on the Hub)  | config.json, metadata.json, model.weights.h5: as X.keras    |
|                         | folder/ (SavedModel)        | `serving_default`; uint8 as they are, float in [0, 1]       |
|                         | X.tflite                    | (u)int8 as they are, float in [-1, 1]; stored labels only   |
|                         | X.npz, X.npy, X.tfrecord    | precomputed outputs (`precomputed`)                         |
|                         | X.csv                       | labels of the clips (`clip_labels`)                         |
|                         | sound:PATH, sound@RATE:PATH | a tagger of sound in YAMNet's form (`sound_tagger`)         |
|                         | embedding:SOURCE            | any but labels and taggers of sound: its vectors (of a      |
|                         |                             | classifier, its logits, or the square roots of its          |
|                         |                             | probabilities), normalized; the student learns their cosine |
|                         | clip:PRESET                 | CLIP or SigLIP of KerasHub (`picture_text`)                 |
| `--classes`             | a text file                 | of clip:PRESET: classes in words (`class_prompts`)          |
| `--teacher_temperature` | a number above 0            | of a teacher that looks at pictures: its logits are divided |
|                         |                             | by it; of clip:PRESET, its cosines                          |
| `--teacher_weights`     | imagenet                    | downloaded once by Keras into ~/.keras/models               |
|                         | none                        | random, the same on every run; for trials                   |
|                         | X.weights.h5, X.h5, X.keras | of the named `keras.applications` classifier                |
| `--teacher_labels`      | a text file                 | class names, one per line, as many as classes               |
|                         | X.csv                       | `index,mid,display_name`: the classes of labels (X.csv)     |
| `--teacher_dtype`       | float32, bfloat16           | arithmetic of Keras teachers; the softmax is float32        |
|                         | auto                        | bfloat16 where it pays and changes nothing (`precision`)    |
| `--teacher_input_range` | BLACK,WHITE                 | range of pixels that a float model from a file takes        |

Any of these paths may be an address in a store, or hf://user/repository/path on the Hugging Face Hub.
Pictures of another size are resized bilinearly, with antialiasing when they shrink.
Outputs that are not a distribution are taken as scores, which are divided by their sum, if all lie from 0 to 1 as those
of sigmoids do; else as logits.
"""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context

from audionet_tf.core import digests, text
from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import store_cache
from audionet_tf.data import batch_keys
from audionet_tf.data.tables import class_lists, class_prompts, csv_files
from audionet_tf.teachers import (
  clip_labels,
  image_classifier,
  keras_applications,
  output_kinds,
  picture_text,
  precomputed,
  sound_tagger,
  teacher_config,
  tflite,
  trial,
)
from audionet_tf.teachers.teacher_config import is_precomputed

DTYPES = ('float32', 'bfloat16')


@dataclasses.dataclass(frozen=True)
class Teacher:
  """A frozen classifier of pictures.

  Attributes:
    name: of the teacher, and of the student's head that learns from it.
    class_names: list of str.
    probabilities: images u8 [N, H, W, 3] (RGB, any size) -> f32 [N, classes], each row of sum 1, or of length 1 if
      `outputs` is batch_keys.EMBEDDING: then classes are dimensions. A plain function: held by a model it is not
      tracked, so the teacher's weights enter no checkpoint.
    in_graph: whether `probabilities` can be called inside a tf.function; False for `.tflite`.
    description: JSON-able; `source`, `name`, `weights`, `labels`, `dtype`, `input_range`, `texts` and `temperature` are
      arguments of `load`, `input_size`, `classes`, `outputs` ('logits', 'probabilities', 'scores',
      batch_keys.MULTI_LABEL or batch_keys.EMBEDDING), `digest` and `prompts` (of classes in words, dict of class to
      texts) are results.
    digest: sha256 of the weights or of the file of outputs, hex.
    precomputed: None, or for a file of outputs or labels `precomputed.PrecomputedTargets.targets`; then
      `probabilities` is None.
    hears: None, or of a tagger of sound a function (f32 [samples], their rate in hertz) -> f32 [classes] of sum 1;
      then `probabilities` is None.
  """

  name: str
  class_names: list
  probabilities: Callable
  in_graph: bool
  description: dict
  digest: str
  precomputed: Callable | None = None
  hears: Callable | None = None

  @property
  def needs_pictures(self):
    """Whether it looks at pictures."""
    return self.precomputed is None and self.hears is None


def load(
  source,
  name='teacher',
  weights='imagenet',
  labels=None,
  dtype='float32',
  input_range=None,
  texts=None,
  temperature=None,
):
  """Loads a teacher.

  Args:
    source: name of a `keras.applications` classifier, path of a `.keras` or `.tflite` file, or a SavedModel folder;
      or a file of outputs or labels (`is_precomputed`); or clip:PRESET.
    name: of the teacher, and of the student's head.
    weights: of a `keras.applications` classifier: 'imagenet', 'none' or a path.
    labels: path of a file of class names; None takes ImageNet's where there are 1000 classes, or 1001 with
      'background' first, else 'class 0', ...
    dtype: 'float32' or 'bfloat16'; bfloat16 for Keras models only.
    input_range: (black, white), the range of pixels that a float model from a file takes; None for the default of its
      format.
    texts: path of a file of `class_prompts`, for clip:PRESET.
    temperature: what the logits of a teacher that looks at pictures are divided by, of clip:PRESET the cosines; None
      for the model's own. Probabilities are those of their logarithms (Hinton 2015, section 2).

  Returns:
    Teacher.

  Raises:
    UserError: an unknown name, a wrong or damaged file, no network connection, or labels that do not fit.
  """
  source = str(source)
  if dtype not in DTYPES:
    raise UserError(f'teacher dtype is {dtype!r}, allowed is auto, {" or ".join(DTYPES)}')
  if input_range is not None:
    input_range = checked_range(input_range)
  config = teacher_config.TeacherConfig(source, name, weights, labels, dtype, input_range, 1, texts, temperature)
  teacher_config.check_texts(config)
  prompts = None if texts is None else class_prompts.read(texts)
  if teacher_config.is_embedding(source):
    return embedding_teacher(config)
  class_names = list(prompts) if prompts else read_labels(labels)
  if teacher_config.is_sound(source):
    teacher_config.refuse_picture_settings(source, weights, dtype, input_range)
    return sound_teacher(source, name, labels, class_names)
  if is_precomputed(source):
    return precomputed_teacher(source, name, weights, labels, class_names, dtype, input_range)
  if prompts:
    model = picture_text.classifier(source, prompts, temperature, dtype)
  else:
    model = picture_model(source, weights, class_names, dtype, input_range)
  if class_names is None:
    class_names = default_class_names(model.classes, weights)
  if len(class_names) != model.classes:
    raise UserError(labels_mismatch(source, labels, class_names, model.classes))
  kind = model.kind or output_kinds.probed_kind(source, model)

  tempering = 1.0 if prompts or temperature is None else temperature  # that of texts is in the model

  def probabilities(images):
    rows = output_kinds.distribution(model.outputs(resized(images, model.size)), kind, tempering)
    return tf.stop_gradient(rows)  # a student's tape need not go back through the teacher

  digest = model.digest if tempering == 1 else digests.of_text(f'{model.digest} {tempering}')
  description = description_of(config, prompts, model, kind) | {'digest': digest}
  return Teacher(name, class_names, probabilities, model.in_graph, description, digest)


def description_of(config, prompts, model, kind):
  """The description of a Teacher that looks at pictures, without its digest.

  Args:
    config: TeacherConfig.
    prompts: from `class_prompts.read`, of clip:PRESET; else None.
    model: a picture model.
    kind: of the model's outputs.
  """
  texts = {'texts': addressed(config.texts), 'prompts': prompts} if prompts else {}
  temperature = {'temperature': config.temperature} if prompts or config.temperature not in (None, 1) else {}
  return {
    'source': store_cache.addressed(config.source),
    'name': config.name,
    'weights': store_cache.addressed(str(config.weights)),
    'labels': addressed(config.labels),
    'dtype': config.dtype,
    'input_range': None if config.input_range is None else list(config.input_range),
    **texts,
    **temperature,
    'input_size': None if model.size is None else list(model.size),
    'classes': model.classes,
    'outputs': kind,
  }


def embedding_teacher(config):
  """The Teacher of vectors, normalized, of a TeacherConfig whose source begins with teacher_config.EMBEDDING."""
  source, temperature = config.source.removeprefix(teacher_config.EMBEDDING), config.temperature
  targets, probabilities, in_graph, size = None, None, False, None
  if is_precomputed(source):
    refuse_model_settings(source, config.weights, config.dtype, config.input_range)
    found = precomputed.load(pathlib.Path(source), kind=batch_keys.EMBEDDING)
    width, digest, targets = found.classes, found.digest, found.targets
  elif teacher_config.is_picture_text(source):
    model = picture_text.load(source, config.dtype)
    width, digest, in_graph = model.width, model.digest, True
    temperature = temperature or 1 / model.scale
    embed = model.embed_pictures
  else:
    model = picture_model(source, config.weights, None, config.dtype, config.input_range)
    width, digest, in_graph, size = model.classes, model.digest, model.in_graph, model.size
    embed = embedding_function(model, model.kind or output_kinds.probed_kind(source, model))
  if targets is None:

    def probabilities(images):
      vectors = tf.cast(embed(resized(images, size)), tf.float32)
      return tf.stop_gradient(tf.math.l2_normalize(vectors, axis=-1))

  description = config.arguments() | {
    'source': store_cache.addressed(config.source),
    'weights': store_cache.addressed(str(config.weights)),
    'input_range': None if config.input_range is None else list(config.input_range),  # as JSON has it
    'temperature': temperature,
    'input_size': None if size is None else list(size),
    'classes': width,
    'outputs': batch_keys.EMBEDDING,
    'digest': digest,
  }
  names = class_lists.numbered_names('dimension', width)
  return Teacher(config.name, names, probabilities, in_graph, description, digest, targets)


def embedding_function(model, kind):
  """A function as `PictureModel.outputs` to vectors: the outputs, or the square roots of probabilities.

  These have length 1, and their cosine is the Bhattacharyya coefficient of two distributions: unlikely classes count
  for more than in the probabilities themselves.
  """
  if kind != 'probabilities':
    return model.outputs
  return lambda pictures: tf.sqrt(tf.maximum(tf.cast(model.outputs(pictures), tf.float32), 0.0))


def try_loading(source, weights='imagenet', dtype='float32', input_range=None):
  """UserError if loading a model from a file or folder crashes or hangs (`trial`); arguments of `load`.

  Once TensorFlow has computed something, only `.tflite` files can be tried: they do not use its threads.
  """
  source = str(source).removeprefix(teacher_config.EMBEDDING)
  dtype = 'float32' if dtype == teacher_config.AUTO else dtype
  if teacher_config.is_sound(source):
    path, rate_hz = teacher_config.sound_source(source)
    if path.endswith('.tflite') or not has_computed():
      trial.check(path, lambda: sound_kind(source, sound_tagger.load(path), rate_hz))
    return
  if teacher_config.is_picture_text(source):
    folder = pathlib.Path(teacher_config.preset_of(source))
    if folder.is_dir() and not has_computed():
      trial.check(folder, lambda: picture_text.load(source, dtype))
    return
  path = pathlib.Path(source)
  is_model = path.exists() and not is_precomputed(source) and (path.suffix or not keras_applications.find(str(source)))
  input_range = None if input_range is None else checked_range(input_range)
  if is_model and (path.suffix == '.tflite' or not has_computed()):
    arguments = str(source), weights, None, dtype, input_range
    trial.check(source, lambda: output_kinds.probed_kind(source, picture_model(*arguments)))


def has_computed():
  """Whether TensorFlow's threads run already."""
  return getattr(context.context(), '_initialized', True)


def refuse_model_settings(source, weights, dtype, input_range):
  """UserError if settings of a model are given for a file of outputs or labels."""
  if (weights, dtype, input_range) != ('imagenet', 'float32', None):
    raise UserError(
      f'{source}: precomputed outputs; leave out weights, dtype and input range, which are for classifiers'
    )


def precomputed_teacher(source, name, weights, labels, class_names, dtype, input_range):
  """The Teacher of a file of outputs or labels; arguments of `load`, and `class_names`, as read from `labels`."""
  path = pathlib.Path(source)
  refuse_model_settings(source, weights, dtype, input_range)
  if csv_files.is_table(path):
    targets = clip_labels.load_table(path, labels)
  else:
    targets = precomputed.load(path, class_names and len(class_names))
  class_names = class_names or targets.class_names or default_class_names(targets.classes, weights)
  if len(class_names) != targets.classes:
    raise UserError(labels_mismatch(source, labels, class_names, targets.classes))
  description = {
    'source': store_cache.addressed(source),
    'name': name,
    'weights': weights,
    'labels': addressed(labels),
    'dtype': dtype,
    'input_range': None,
    'input_size': None,
    'classes': targets.classes,
    'outputs': batch_keys.MULTI_LABEL if targets.multi_label else 'probabilities',
    'digest': targets.digest,
  }
  return Teacher(name, class_names, None, False, description, targets.digest, targets.targets)


def sound_teacher(source, name, labels, class_names):
  """The Teacher of a tagger of sound; arguments of `load`, and `class_names`, as read from `labels`."""
  path, own_rate_hz = teacher_config.sound_source(source)
  model = sound_tagger.load(path)
  class_names = class_names or class_lists.numbered_class_names(model.classes)
  if len(class_names) != model.classes:
    raise UserError(labels_mismatch(source, labels, class_names, model.classes))
  kind = sound_kind(source, model, own_rate_hz)
  digest = digests.of_text(f'{own_rate_hz} {model.digest}')
  description = {
    'source': store_cache.addressed(source),
    'name': name,
    'weights': 'imagenet',
    'labels': addressed(labels),
    'dtype': 'float32',
    'input_range': None,
    'input_size': None,
    'classes': model.classes,
    'outputs': kind,
    'digest': digest,
  }

  def hears(waveform, rate_hz):
    rows = sound_outputs(source, model, sound_tagger.resampled(waveform, rate_hz, own_rate_hz))
    mean = (output_kinds.distribution(rows, kind) if kind == 'logits' else tf.maximum(rows, 0.0)).numpy().mean(0)
    return output_kinds.distribution(mean[None], output_kinds.SCORES)[0].numpy()

  return Teacher(name, class_names, None, False, description, digest, hears=hears)


def sound_outputs(source, model, waveform):
  """f32 [frames, classes] of a sound_tagger.SoundModel. UserError if it fails, gives no frame, or no finite numbers."""
  try:
    rows = model.outputs(waveform)
  except Exception as error:  # an untrusted model may raise anything
    raise UserError(f'{source}: cannot hear {len(waveform)} samples ({text.brief(error)})') from error
  if not len(rows) or not np.isfinite(rows).all():
    what = 'outputs that are not finite' if len(rows) else 'no frame; windows must be longer'
    raise UserError(f'{source}: gives {what} for {len(waveform)} samples')
  return rows


def sound_kind(source, model, own_rate_hz):
  """'logits', 'probabilities' or 'scores', as `output_kinds.probed_kind`, from silence, noise and a tone."""
  rows = [sound_outputs(source, model, probe) for probe in sound_tagger.probes(own_rate_hz)]
  return output_kinds.kind_of(np.concatenate(rows))


def picture_model(source, weights, class_names, dtype, input_range):
  """Loads the PictureModel that `source` names. UserError for arguments that do not go with it."""
  path = pathlib.Path(source)
  builder = keras_applications.find(source)
  if builder and not path.suffix:
    if input_range is not None:
      raise UserError(f'{source} has its own preprocessing; leave out the input range, which is for models from files')
    return keras_applications.load(builder, weights, class_names and len(class_names), dtype)
  teacher_config.check_classifier(source)
  if not path.exists():
    raise keras_applications.unknown(source)
  if weights != 'imagenet':
    raise UserError(f'{source} has its own weights; leave out {weights}, which goes with names of keras.applications')
  if path.exists() and teacher_config.is_keras_model(path):
    return image_classifier.load_keras_file(path, dtype, input_range)
  if dtype != 'float32':
    raise UserError(f'{source}: {dtype} is for names of keras.applications, .keras and .h5 files')
  if path.suffix == '.tflite' and path.is_file():
    return tflite.load_tflite(path, input_range)
  return image_classifier.load_saved_model(path, input_range)


def checked_range(input_range):
  """(black, white) as floats. UserError unless these are two different finite numbers."""
  try:
    low, high = (float(side) for side in input_range)
  except (TypeError, ValueError):
    raise UserError(f'input range is {input_range!r}, expected are two numbers: black, white') from None
  if not (np.isfinite([low, high]).all() and low != high):
    raise UserError(f'input range is {low}, {high}; expected are two different finite numbers')
  return low, high


def addressed(path):
  """A path, or the address that it stands for, as str; None for None."""
  return None if path is None else store_cache.addressed(str(path))


def read_labels(path):
  """The class names in a file, or None for None."""
  return None if path is None else class_lists.read_class_names(path)


def default_class_names(classes, weights):
  """ImageNet's names if the number of classes is ImageNet's; numbers for others, and for random weights."""
  return class_lists.numbered_class_names(classes) if weights == 'none' else class_lists.default_class_names(classes)


def labels_mismatch(source, path, class_names, classes):
  """The message for labels that do not fit."""
  line = f'{path}: {len(class_names)} class names, but {source} has {classes} classes'
  if class_names[0].lower() == 'background' and len(class_names) == classes + 1:
    line += "; the first name, 'background', belongs to models of 1001 classes; remove it"
  return line


def resized(images, size):
  """Images u8 [N, H, W, 3] as f32 in 0..255, [N, *size, 3]; not resized if the sizes agree or `size` is None."""
  images = tf.convert_to_tensor(images)
  if images.dtype != tf.uint8 or images.shape.rank != 4:
    raise ValueError(f'images are {images.dtype.name} {images.shape}, expected uint8 [N, H, W, 3]')
  if size is None or tuple(images.shape[1:3]) == tuple(size):
    return tf.cast(images, tf.float32)
  return tf.image.resize(images, size, method='bilinear', antialias=True)  # f32 [N, *size, 3]
