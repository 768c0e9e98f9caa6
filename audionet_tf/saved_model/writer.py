"""Writes the files of an export.

| file of version 1                   | content                                                        |
|-------------------------------------|----------------------------------------------------------------|
| DIR/1/saved_model.pb and variables/ | two to four signatures, stock TensorFlow operations only       |
| DIR/1/assets/class_names.txt        | names of the first head, one per line, in the order of classes |
| DIR/1/assets/settings.json          | student_settings.StudentConfig                                     |
| DIR/1/assets.extra/                 | warm-up requests for TensorFlow Serving; checksums, by export  |
| DIR/1/model.tflite and others       | on request; `tflite` lists them                                |
| DIR/1/model.onnx                    | on request; `onnx_file` describes it                           |
"""

import dataclasses
import json
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

from audionet_tf.data.tables.class_lists import write_class_names
from audionet_tf.saved_model import signatures

WARMUP_BATCH = 32
CLASS_NAMES_FILE, SETTINGS_FILE = 'class_names.txt', 'settings.json'


def write(model, settings, folder):
  """Writes the SavedModel of a student with its assets and warm-up requests.

  Args:
    model: keras.Model of the student.
    settings: its student_settings.StudentConfig.
    folder: pathlib.Path of the version's folder, which does not exist yet.
  """
  module = tf.Module()
  module.student_variables = [variable.value for variable in model.variables]
  functions = signatures.all_signatures(model, settings)
  folder.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=folder.parent, prefix='.partial-') as assets:
    assets = pathlib.Path(assets)
    for names in list(settings.classes.values())[:1]:
      write_class_names(assets / CLASS_NAMES_FILE, names)
    (assets / SETTINGS_FILE).write_text(json.dumps(dataclasses.asdict(settings), indent=1), encoding='utf-8')
    module.asset_files = [tf.saved_model.Asset(str(path)) for path in sorted(assets.iterdir())]
    tf.saved_model.save(module, str(folder), signatures=functions)
  write_warmup(folder, settings)


def write_warmup(folder, settings):
  """Writes the requests that TensorFlow Serving replays at start: one window, a batch, and three windows in a row."""
  from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

  length = signatures.window_samples(settings)
  batch = signatures.windows_at_once(settings, WARMUP_BATCH)
  shapes = [('serving_default', [1, length]), ('serving_default', [batch, length]), ('windows', [3 * length])]
  path = folder / 'assets.extra' / 'tf_serving_warmup_requests'
  path.parent.mkdir()
  with tf.io.TFRecordWriter(str(path)) as writer:
    for signature, shape in shapes:
      request = predict_pb2.PredictRequest()
      request.model_spec.name = settings.student
      request.model_spec.signature_name = signature
      request.inputs['waveform'].CopyFrom(tf.make_tensor_proto(np.zeros(shape, np.float32)))
      log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
      writer.write(log.SerializeToString())
