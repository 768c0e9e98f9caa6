"""The function that predicts a batch of windows in TensorFlow."""

import tensorflow as tf

from audionet_tf.media.timeline import PCM_SCALE


def window_function(served, shape, names, top, repeats, head):
  """The function of a FilePredictor of windows: int16 [B, samples] and the number of them that count to arrays by name.

  Args:
    served: loader.LoadedExport.
    shape: [B, samples].
    names: set of the arrays to return: `probabilities`, `embedding`, `top`, `top_probabilities`, `sum`.
    top, repeats, head: as in `predict.file_predictor`, within their limits.
  """
  default, has_several_heads = served.signatures['serving_default'], len(served.settings.classes) > 1

  @tf.function(
    input_signature=[tf.TensorSpec(shape, tf.int16), tf.TensorSpec([], tf.int32)],
    autograph=False,  # whose look at every line would take longer than loading the student
  )
  def predict_batch(pcm, count):
    outputs = default(waveform=tf.tile(tf.cast(pcm, tf.float32) / PCM_SCALE, [1, repeats]))
    if has_several_heads:
      outputs['probabilities'] = outputs[f'{head}/probabilities']
    outputs['sum'] = tf.reduce_sum(outputs['probabilities'][:count], 0)
    outputs['top_probabilities'], outputs['top'] = tf.math.top_k(outputs['probabilities'], top)
    return {name: outputs[name] for name in names}  # the graph computes only these

  return lambda pcm, count: {name: output.numpy() for name, output in predict_batch(pcm, count).items()}
