"""The Python API: what the commands do, for notebooks and programs.

    import audionet_tf

    audionet_tf.build_records('clips', 'data/clips')
    audionet_tf.train(records='data/clips', run_dir='runs/clips', epochs=50)
    predictor = audionet_tf.load('runs/clips')
    predictions = predictor.predict('clip.mp4')
    events = predictor.detect_events('clip.mp4', threshold=0.3)
    embeddings, seconds = predictor.features('clip.mp4', layer='embedding')

Users reach these names as `audionet_tf.load` and so on. Nothing heavy is imported before it is needed. A mistake of the
caller raises `audionet_tf.UserError`, a ValueError, whose message is one line.
"""

import os

from audionet_tf.core.errors import UserError
from audionet_tf.python_api.building import build_records
from audionet_tf.python_api.joining import join
from audionet_tf.python_api.predictor import Features, Predictions, Predictor, Top, load
from audionet_tf.python_api.training import train, train_on_sounds

__all__ = [
  'Features',
  'Predictions',
  'Predictor',
  'Top',
  'UserError',
  'build_records',
  'join',
  'load',
  'train',
  'train_on_sounds',
]

# Before TensorFlow is imported: its start-up notices are about hardware. A level that is set already stays.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
