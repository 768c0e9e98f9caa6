"""The log-mel front end on a long sound, in the pieces of inference; started by the benchmark.

scripts/lib/run benchmark.log_mel SECONDS    prints the seconds of every turn
"""

import statistics
import sys
import time

from benchmark import measure

LEAST = 500  # times real time


def log_mel(context):
  """VGGish's bands of a long sound of 16 kHz, on two cores."""
  seconds, turns = context.sizes.sound_seconds, context.sizes.inference_turns
  command, cpus = [sys.executable, '-m', 'benchmark.log_mel', str(seconds)], measure.first_cpus(2)
  seconds_of_turns = measure.in_turns({'ours': command}, cpus, turns, 'log-mel')['ours']
  median = statistics.median(seconds_of_turns)
  return [
    measure.Line(
      f"log-mel of {seconds} s of 16 kHz sound, VGGish's 64 bands, {len(cpus)} cores",
      'real time',
      f'>= {LEAST}x',
      f'{median:.2f} s',
      seconds / median,
      measure.verdict(seconds / median, least=LEAST),
      {'wall_seconds': seconds_of_turns},
      [' '.join(command)],
    )
  ]


def run_turns(seconds):
  """Computes the log-mel spectrogram of a sound of `seconds` in every turn."""
  import numpy as np
  import tensorflow as tf

  from audionet_tf.core import system
  from audionet_tf.inference import chunking
  from audionet_tf.layers import log_mel as layers_log_mel

  system.keep_freed_memory()
  rate = layers_log_mel.VGGISH['sample_rate_hz']
  layer = layers_log_mel.LogMel(**layers_log_mel.VGGISH)
  spectrogram = tf.function(layer, input_signature=[tf.TensorSpec([1, None], tf.float32)])
  piece = tf.constant(np.random.default_rng(0).uniform(-1, 1, [1, chunking.PIECE_SAMPLES]).astype(np.float32))
  pieces, remainder = divmod(seconds * rate, chunking.PIECE_SAMPLES)

  def turn():
    began = time.perf_counter()
    for _ in range(pieces):
      spectrogram(piece)
    spectrogram(piece[:, :remainder])
    return time.perf_counter() - began

  measure.answer_turns(turn)


if __name__ == '__main__':
  run_turns(int(sys.argv[1]))
