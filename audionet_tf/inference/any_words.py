"""Predictors of a student of vectors whose classes are chosen anew for each: one graph has their vectors as an input.

Their numbers are those of `models.words.with_classes`, which makes a model, and graphs, for every list of classes.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from audionet_tf.data.tables import word_tables
from audionet_tf.inference import steps
from audionet_tf.media.timeline import PCM_SCALE
from audionet_tf.models import heads, registry, words
from audionet_tf.saved_model import loader, signatures


class AnyWords:
  """A student of vectors, ready for tables of classes.

  Args:
    model, settings: the student, keras.Model and student_settings.StudentConfig.
    head: key of `settings.embeddings`.
    temperature: by which cosines are divided before the softmax.

  Attributes:
    probabilities: function (waveform f32 [batch, samples], vectors f32 [n, width] of n classes, each of length 1) ->
      f32 [batch, n], the mean over the student's steps; both of TensorFlow.
  """

  def __init__(self, model, settings, head, temperature):
    width = settings.embeddings[head]
    # Classes that are the axes of the space: their logits are the student's vectors, of length 1.
    axes = word_tables.make(range(width), np.eye(width), 1.0)
    self.model, self.settings = words.with_classes(model, settings, head, axes)
    self.head, self.temperature = head, temperature
    self.vectors_spec = tf.TensorSpec([None, width], tf.float32)
    self.probabilities = self.whole_function()
    self.steps = self.steps_function() if registry.network(settings.student).layer_windows else None

  def named(self, x, vectors):
    """Probabilities f32 [..., n] of the student's vectors, f32 [..., width]."""
    return tf.nn.softmax(tf.matmul(x, vectors, transpose_b=True) / self.temperature)

  def whole_function(self):
    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32), self.vectors_spec], autograph=False)
    def probabilities(waveform, vectors):
      x = self.model(waveform, training=False)[heads.LOGITS + self.head]  # [batch, T, width]
      return tf.reduce_mean(self.named(x, vectors), 1)

    return probabilities

  def steps_function(self):
    """The function of `steps.step_predictor`, with the vectors of the classes as second argument."""
    signature = signatures.layers_signature(self.model, self.settings)
    hidden = list(registry.network(self.settings.student).layer_windows)[-2]
    last = signatures.layer_of(self.settings, self.head)

    @tf.function(input_signature=[tf.TensorSpec([1, None], tf.int16), self.vectors_spec], autograph=False)
    def predict(pcm, vectors):
      outputs = signature(waveform=tf.cast(pcm, tf.float32) / PCM_SCALE)
      return outputs[hidden][0], self.named(outputs[last][0], vectors)

    return predict

  def predictor(self, base, table):
    """The predict.FilePredictor of the classes of a table.

    Args:
      base: FilePredictor of captions of the same student, with other classes.
      table: word_tables.WordTable.
    """
    vectors = tf.constant(table.vectors)
    settings = dataclasses.replace(self.settings, classes={self.head: table.names})
    served = loader.LoadedExport(settings, table.names, {}, self.model, base.served.path)
    changed = dataclasses.replace(base, served=served, head=self.head, top=1)
    if self.steps:
      step_predictor = steps.step_predictor(served, 1, True, self.head, lambda pcm: self.steps(pcm, vectors))
      return dataclasses.replace(changed, steps=step_predictor)

    def predict(pcm, count):
      waveform = np.tile(pcm.astype(np.float32) / PCM_SCALE, [1, base.repeats])
      probabilities = self.probabilities(waveform, vectors).numpy()
      return {'probabilities': probabilities, 'sum': probabilities[:count].sum(0)}

    return dataclasses.replace(changed, predict=predict)
