"""A student's vectors of the windows of sounds, and of queries by text, sound or picture.

Of a student that learned embeddings of pictures they lie in the space of its teacher, where texts and pictures lie too.
The vectors of other students are their `embedding`, which only sounds have.
"""

import json
import pathlib

import numpy as np
import PIL.Image
import tensorflow as tf

from audionet_tf.core import digests, text
from audionet_tf.core.errors import UserError
from audionet_tf.data import params
from audionet_tf.data.tables import class_prompts, word_tables
from audionet_tf.inference import predict, windows
from audionet_tf.media import waveforms
from audionet_tf.media.timeline import PCM_SCALE
from audionet_tf.models import registry
from audionet_tf.saved_model import signatures
from audionet_tf.teachers import described, frozen_teacher, student_words

SHORTEST_WINDOW_SECONDS = 1.0  # by default: a moment of AudioNet's 40 ms cannot be listened to
PICTURE_SIDE = 224  # pixels, as in records
ADVICE = 'ask by a sound, or by a class of a table (--classes)'


def output_of(settings):
  """Name of the output with the vectors of a student_settings.StudentConfig."""
  return signatures.embedding_output(next(iter(settings.embeddings))) if settings.embeddings else 'embedding'


def predictor(served, window_seconds=None, hop_seconds=None):
  """The predict.FilePredictor of a student's vectors; its blocks hold `vectors` f32 [n, width], of length 1.

  Args:
    served: loader.LoadedExport.
    window_seconds: None: that of training, or SHORTEST_WINDOW_SECONDS if that is longer.
    hop_seconds: None: half a window.
  """
  settings = served.settings
  window_seconds = window_seconds or max(settings.window_seconds, SHORTEST_WINDOW_SECONDS)
  framing = params.Framing(window_seconds, hop_seconds or window_seconds / 2, settings.sample_rate_hz, settings.mono)
  batch_size = max(1, min(predict.MAX_BATCH_SIZE, predict.BATCH_SAMPLES // framing.window_samples))
  repeats = max(1, -(-registry.shortest_samples(settings.student) // framing.window_samples))
  default, name = served.signatures['serving_default'], output_of(settings)

  @tf.function(input_signature=[tf.TensorSpec([batch_size, framing.window_samples], tf.int16)], autograph=False)
  def embed(pcm):
    outputs = default(waveform=tf.tile(tf.cast(pcm, tf.float32) / PCM_SCALE, [1, repeats]))
    return tf.math.l2_normalize(outputs[name], axis=-1)

  def vectors(pcm, count):
    return {'vectors': embed(pcm).numpy()}

  return predict.FilePredictor(
    vectors, served, framing, batch_size, 0, (), repeat=True, repeats=repeats, min_remainder=windows.MIN_REMAINDER
  )


def identity(path, vector_predictor):
  """str, which student, output and windows the vectors are of. `path`: pathlib.Path of a .keras file or an export."""
  digest = digests.of_saved_model(path) if path.is_dir() else digests.of_file(path)
  framing = vector_predictor.framing
  name = output_of(vector_predictor.served.settings)
  return json.dumps([digest, name, framing.window_seconds, framing.hop_seconds])


def of_file(vector_predictor, path):
  """(times f64 [n, 2] in seconds, vectors f16 [n, width]) of the windows of a sound or video file.

  Raises:
    MediaError: the file is unreadable, damaged or without sound.
    UserError: the student's vectors are not finite.
  """
  with waveforms.unpacked(path) as sound:
    blocks = list(windows.window_blocks(vector_predictor, sound))
  vectors = np.concatenate([block['vectors'] for block in blocks])
  if not np.isfinite(vectors).all():
    raise UserError('the vectors of the student are not finite: its training diverged; use another student')
  times = [np.stack([block['start_seconds'], block['end_seconds']], 1) for block in blocks]
  return np.concatenate(times), vectors.astype(np.float16)


def of_sound(vector_predictor, path):
  """f32 [width], of length 1: the mean of the vectors of a file. Errors are those of `of_file`."""
  return unit(of_file(vector_predictor, path)[1].astype(np.float32).mean(0))


def of_text(settings, query, classes=None):
  """f32 [width], of length 1: the vector of a text by the text model of the teacher, or of a class of a table.

  Raises:
    UserError: the student learned no embeddings, its teacher knows no texts, or the table lacks the class.
  """
  about = teacher_of(settings, 'a text')
  if classes is None:
    prompts = {query: class_prompts.templates_of(query)}
    return student_words.vectors_of_texts(about, prompts, f'{query!r}')[0]
  table, width = word_tables.read(classes), next(iter(settings.embeddings.values()))
  if table.vectors.shape[1] != width:
    raise UserError(f'{classes}: vectors of {table.vectors.shape[1]} numbers, but the student learned {width}')
  if query not in table.names:
    raise UserError(f'{classes}: no class {query!r}; there are {text.first_of(table.names)}')
  return table.vectors[table.names.index(query)]


def of_picture(settings, path):
  """f32 [width], of length 1: what the teacher of a student says about a picture.

  Raises:
    UserError: the student learned no embeddings, its teacher is not there, or the file is no picture.
  """
  about = teacher_of(settings, 'a picture')
  if not about:
    raise UserError(f'the student does not record its teacher, which could see {path}; {ADVICE}')
  described.refuse_addresses(about, ADVICE)
  try:
    with PIL.Image.open(path) as picture:
      pixels = np.asarray(picture.convert('RGB').resize((PICTURE_SIDE, PICTURE_SIDE), PIL.Image.Resampling.BILINEAR))
  except Exception as error:  # Pillow raises whatever damaged bytes hit
    raise UserError(f'{path}: not a readable picture ({text.brief(error)})') from error
  keys = ('source', 'weights', 'labels', 'dtype', 'input_range')
  teacher = frozen_teacher.load(**{key: about[key] for key in keys if about[key] is not None})
  if teacher.precomputed is not None:
    raise UserError(f'{about["source"]}: vectors from a file, which has none of {path}; ask by a sound or a table')
  if teacher.digest != about.get('digest'):
    raise UserError(f'{about["source"]}: not the model that taught this student (its digest is {teacher.digest[:16]})')
  return np.asarray(teacher.probabilities(pixels[None]))[0]


def teacher_of(settings, what):
  """The teacher of the embeddings, from `described.of_head`. UserError where there are none, or it is damaged."""
  for head in settings.embeddings:
    return described.of_head(settings, head, ADVICE)
  raise UserError(
    f'the query is {what}, but {settings.student} learned no embeddings of pictures; ask by a sound file, or train a '
    'student with --teacher=embedding:clip:PRESET'
  )


def unit(vector):
  """A vector, of length 1."""
  return vector / np.linalg.norm(vector)


def is_picture(path):
  """Whether a path has the suffix of a picture that Pillow reads."""
  return pathlib.Path(path).suffix.lower() in ('.jpg', '.jpeg', '.png', '.webp', '.bmp', '.gif', '.tif', '.tiff')
