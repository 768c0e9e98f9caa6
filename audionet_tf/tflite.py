"""An export's `serving_default` as a TensorFlow Lite file, checked with the interpreter at several lengths.

Built-in operations only: it runs where the Flex delegate does not exist. The interpreter resizes `waveform`, so that
any length goes, as in the SavedModel. Read it through its signature: outputs have no fixed order.
"""

import tensorflow as tf

from audionet_tf import export_checks, files, students


def convert(saved_model, path, model, settings, length):
  """Writes `path` from a SavedModel, then compares it with the model in memory.

  Args:
    saved_model: folder of one version.
    path: of the .tflite file.
    model, settings: what was exported.
    length: samples in a window.

  Raises:
    RuntimeError: the file does not answer as the model does.
  """
  converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=['serving_default'])
  with files.named_when_whole(path, 'wb') as file:
    file.write(converter.convert())
  run = tf.lite.Interpreter(str(path)).get_signature_runner('serving_default')
  for waveform in export_checks.probe_waveforms(length, students.shortest_samples(settings.student)):
    expected = export_checks.expected_answers(model, settings, waveform)
    export_checks.check_close(run(waveform=waveform), expected, f'{path.name}, {waveform.shape[1]} samples')
