"""Classes in the words of a request, as `--classes` takes them: a student of vectors names them without training.

Anybody may send a request: its texts are few and short, those of one request are embedded at a time, and their
vectors are kept, so that the same words cost nothing again. No graph is made for them.
"""

import asyncio
import dataclasses
from concurrent import futures

import numpy as np

from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import class_prompts
from audionet_tf.inference import any_words
from audionet_tf.service.settings import RequestRefused

FIELD = 'classes'  # of a request


def prompts_of(words, value):
  """dict of class to list of texts, as `class_prompts.read` returns it, of a request; None where it names no classes.

  Args:
    words: OwnWords, or None where the service knows no texts.
    value: of the field, whatever the client sent; None for no field.

  Raises:
    RequestRefused: the service knows no texts, or the value is no text with a class per line, within the limits.
  """
  if value is None:
    return None
  if words is None:
    reason = 'it was not started with a student of vectors and --classes=FILE, a text with a class per line'
    raise RequestRefused(403, f'this service takes no {FIELD} of a request: {reason}')
  if not isinstance(value, str) or '\0' in value:
    raise RequestRefused(400, f'{FIELD} must be a text, one class per line')
  most = words.limits.words_characters
  if len(value) > most:
    raise RequestRefused(413, f'{FIELD} has {len(value)} characters, allowed are {most}')
  try:
    return class_prompts.parse(value, FIELD, words.limits.words_prompts)
  except UserError as error:
    raise RequestRefused(400, error) from None


class OwnWords:
  """A student of vectors, and the vectors of the latest words that requests named.

  Args:
    student: student_words.TextStudent.
    limits: settings.Limits.
  """

  def __init__(self, student, limits):
    self.any = any_words.AnyWords(student.model, student.settings, student.head, student.temperature)
    self.texts, self.limits, self.vectors = student.texts, limits, {}
    self.student = dataclasses.replace(student, texts=dataclasses.replace(student.texts, embed_texts=self.embed))
    self.lock, self.waiting = asyncio.Lock(), 0
    self.thread = futures.ThreadPoolExecutor(1, 'words')  # which a request that left keeps busy: no second one begins

  async def table(self, prompts):
    """The word_tables.WordTable of classes, from `prompts_of`. RequestRefused where too many requests wait."""
    if self.waiting >= self.limits.words_waiting:
      raise RequestRefused(503, f'{self.waiting} requests with {FIELD} of their own are waiting', retry_seconds=5)
    self.waiting += 1
    try:
      async with self.lock:
        return await asyncio.get_running_loop().run_in_executor(self.thread, self.student.table, prompts)
    finally:
      self.waiting -= 1

  async def predictor(self, prompts, base):
    """As `table`, the predict.FilePredictor. `base`: that of the student's captions, with other classes."""
    return self.any.predictor(base, await self.table(prompts))

  def predict_fn(self, table):
    """A function as of `predict_api.predict_fn`, with the classes of a table: waveform -> dict of NumPy arrays."""
    return lambda waveform: {'probabilities': self.any.probabilities(waveform, table.vectors).numpy()}

  def embed(self, texts):
    """As `embed_texts` of a picture_text.PictureTextModel, which gets only the texts whose vectors are not kept."""
    if new := [text for text in dict.fromkeys(texts) if text not in self.vectors]:
      self.vectors |= zip(new, self.texts.embed_texts(new), strict=True)
    rows = np.stack([self.vectors[text] for text in texts])
    for text in list(self.vectors)[: -self.limits.words_kept]:  # the oldest
      del self.vectors[text]
    return rows

  def close(self):
    self.thread.shutdown(wait=False, cancel_futures=True)
