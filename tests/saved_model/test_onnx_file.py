"""ONNX files in ONNX Runtime against Keras and PyTorch, at several lengths, and the command that writes them."""

import json

import audionets
import commands
import numpy as np
import onnx_or_skip  # noqa: F401 (skips this module where the extra is missing)
import onnxruntime
import pytest
import soundnets
from scipy import special

from audionet_tf.models import student_file
from audionet_tf.saved_model import onnx_file, verify

CLASSES = {'things': ['rooster', 'crane', 'Türglocke, "alt"'], 'places': ['x', 'y']}


def test_audionet_of_two_heads_at_any_length(tmp_path):
  model = audionets.student(CLASSES)
  onnx_file.write(model, audionets.settings_for(CLASSES), tmp_path / 'model.onnx')
  run = onnx_file.runner(tmp_path / 'model.onnx')
  for samples in (640, 5000):
    waveform = audionets.sounds(2, samples)
    outputs = run(waveform)
    assert {*outputs} == {'probabilities', 'places/probabilities', 'logits', 'embedding'}
    audionets.assert_same(outputs, audionets.torch_predictions(model, waveform, 'things'))
    places = audionets.torch_predictions(model, waveform, 'places')['probabilities']
    np.testing.assert_allclose(outputs['places/probabilities'], places, atol=1e-5)
  about = onnxruntime.InferenceSession(str(tmp_path / 'model.onnx')).get_modelmeta().custom_metadata_map
  assert (about['sample_rate_hz'], about['window_seconds'], about['mono']) == ('16000', '0.04', 'mean')
  assert json.loads(about['classes']) == CLASSES


@pytest.mark.parametrize('name', ['logmel_cnn', 'logmel_cnn_contrast', 'logmel_attention', 'soundnet5'])
def test_students_answer_as_keras_does(name, tmp_path):
  seconds = 5.0 if name == 'soundnet5' else 1.0
  model, settings = soundnets.student(name), soundnets.settings(name, seconds)
  if name == 'logmel_attention':  # else attention is below 1e-8 at every step, where ONNX Runtime's sigmoid ends
    layer = model.get_layer('attention')
    layer.set_weights([0.001 * weights for weights in layer.get_weights()])
  onnx_file.write(model, settings, tmp_path / 'model.onnx')
  run = onnx_file.runner(tmp_path / 'model.onnx')
  for samples in (round(seconds * 22_050), round(seconds * 30_000)):
    waveform = soundnets.noise(2, samples)
    logits = model(waveform, training=False)['logits/teacher'].numpy().astype(np.float64)
    np.testing.assert_allclose(run(waveform)['probabilities'], special.softmax(logits, -1).mean(1), atol=1e-4)


def test_attention_that_onnx_runtime_takes_for_none_is_one_line(tmp_path):
  model, settings = soundnets.student('logmel_attention'), soundnets.settings('logmel_attention', 1.0)
  student_file.save(tmp_path / 'student.keras', model, settings)
  done = commands.run('audionet_tf.export', f'--model={tmp_path}/student.keras', f'--output={tmp_path}/out', '--onnx')
  (line,) = done.stderr.splitlines()
  assert done.returncode == 1 and line.startswith('error: model.onnx, ')
  assert line.endswith('ONNX Runtime takes attention below 1e-8 for 0, and here no step gets more; export without ONNX')
  assert [path.name for path in (tmp_path / 'out').iterdir()] == ['.lock']


def test_optimizers_do_not_copy_the_weights(monkeypatch):
  """Neither the nodes as ONNX nor the whole graph, which for 72 M weights were 15 GB."""
  from tf2onnx.graph import Graph

  calls, real = [], Graph.update_proto
  monkeypatch.setattr(Graph, 'update_proto', lambda *of, **how: calls.append('nodes') or real(*of, **how))
  monkeypatch.setattr(Graph, '__deepcopy__', lambda *_: pytest.fail('a copy of the graph'), raising=False)
  model = audionets.student(CLASSES)
  proto = onnx_file.converted(model, audionets.settings_for(CLASSES))
  assert len(calls) <= 2 and proto.ByteSize() > 4 * model.count_params()


def test_where_an_optimization_fails_the_graph_is_copied_again(monkeypatch):
  monkeypatch.setattr(onnx_file, 'optimizers_without_copies', lambda: 1 / 0)
  proto = onnx_file.converted(audionets.student(CLASSES), audionets.settings_for(CLASSES))
  assert proto.graph.node


def test_a_file_that_differs_from_the_model_is_refused(tmp_path, monkeypatch):
  real = verify.expected_predictions
  shifted = lambda *of: {name: value + 1e-3 for name, value in real(*of).items()}  # noqa: E731
  monkeypatch.setattr(verify, 'expected_predictions', shifted)
  with pytest.raises(RuntimeError, match='model.onnx, 320 samples: '):
    onnx_file.write(audionets.student(CLASSES), audionets.settings_for(CLASSES), tmp_path / 'model.onnx')


def test_command(tmp_path):
  student_file.save(tmp_path / 'student.keras', audionets.student(CLASSES), audionets.settings_for(CLASSES))
  done = commands.run(
    'audionet_tf.export', f'--model={tmp_path / "student.keras"}', f'--output={tmp_path}/out', '--onnx'
  )
  assert (done.returncode, done.stdout.strip(), done.stderr) == (0, f'{tmp_path}/out/1', '')
  assert (tmp_path / 'out/1/model.onnx').is_file()
