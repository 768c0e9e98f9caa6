"""Exports: their files, their outputs in every reader compared with PyTorch, and folders that are not exports."""

import json
import subprocess
import sys

import audionets
import commands
import numpy as np
import pytest
import saved_model_capi
import tensorflow as tf

from audionet_tf.core import tflite_interpreter
from audionet_tf.core.errors import UserError
from audionet_tf.models import heads, student_file, student_paths
from audionet_tf.saved_model import export, loader, verify

NAMES = ['rooster', 'crane', 'crane', 'Türglocke, "alt"', 'a', 'b', 'c']  # one name occurs twice, as in ImageNet
WINDOW = 640
LENGTHS = (1, 7, 320, 639, 640, 641, 5000)


@pytest.fixture(scope='module')
def model():
  return audionets.student({'teacher': NAMES})


@pytest.fixture(scope='module')
def folder(model, tmp_path_factory):
  """Folder of version 1, with TensorFlow Lite."""
  folder = tmp_path_factory.mktemp('exports')
  export.export(model, audionets.settings_for({'teacher': NAMES}), folder, tflite=True)
  return folder


@pytest.fixture(scope='module')
def exported(folder):
  return loader.load(folder)


def test_files_of_an_export(folder):
  assert {path.name for path in folder.iterdir()} == {'.lock', '1'}
  version = folder / '1'
  assert (version / 'assets/class_names.txt').read_text(encoding='utf-8').splitlines() == NAMES
  settings = json.loads((version / 'assets/settings.json').read_text())
  assert settings['classes'] == {'teacher': NAMES} and settings['sample_rate_hz'] == 16000
  files = {str(path.relative_to(version)) for path in version.rglob('*') if path.is_file()}
  assert files >= {'model.tflite', 'assets.extra/tf_serving_warmup_requests', 'saved_model.pb'}


@pytest.mark.parametrize('samples', LENGTHS)
def test_serving_default_matches_pytorch(model, exported, samples):
  waveform = audionets.sounds(3, samples)
  outputs, expected = exported.predict(waveform), audionets.torch_predictions(model, waveform)
  audionets.assert_same(outputs, expected)
  assert {name: value.shape for name, value in outputs.items()} == {
    'probabilities': (3, 7),
    'logits': (3, 7),
    'embedding': (3, 16),
    'top_classes': (3, 5),
    'top_probabilities': (3, 5),
  }
  tops = outputs['top_classes'], outputs['top_probabilities']
  for row, names, top in zip(expected['probabilities'], *tops, strict=True):
    best = sorted(range(7), key=lambda i: -row[i])[:5]
    assert names.tolist() == [NAMES[i] for i in best]
    np.testing.assert_allclose(top, row[best], rtol=1e-4)


@pytest.mark.parametrize('samples', [0, 1, 639, 640, 1279, 1280, 5 * 640 + 3, 600 * 640])
def test_windows_signature(model, exported, samples):
  sound = audionets.sounds(1, samples)[0]
  count = max(1, samples // WINDOW)
  padded = np.zeros(count * WINDOW, np.float32)
  padded[: samples and min(samples, count * WINDOW)] = sound[: count * WINDOW]
  outputs = exported.windows(sound)
  audionets.assert_same(outputs, audionets.torch_predictions(model, padded.reshape(count, WINDOW)))
  np.testing.assert_allclose(outputs['start_seconds'], np.arange(count) * 0.04, rtol=1e-6)
  ends = [min((i + 1) * 0.04, samples / 16000) for i in range(count)]  # padding does not count
  np.testing.assert_allclose(outputs['end_seconds'], ends, rtol=1e-6)
  assert outputs['top_classes'].shape == (count, 5)


def test_warm_up_requests_can_be_replayed(folder, exported):
  from tensorflow_serving.apis import prediction_log_pb2

  replayed = set()
  for record in tf.data.TFRecordDataset(str(folder / '1/assets.extra/tf_serving_warmup_requests')):
    request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
    inputs = {name: tf.constant(tf.make_ndarray(proto)) for name, proto in request.inputs.items()}
    outputs = exported.signatures[request.model_spec.signature_name](**inputs)
    assert len(outputs['probabilities']) == {640: 1, 32 * 640: 32, 3 * 640: 3}[int(tf.size(inputs['waveform']))]
    replayed.add(request.model_spec.signature_name)
  assert replayed == {'serving_default', 'windows'}


@pytest.mark.parametrize(('signature', 'shape'), [('serving_default', [3, 641]), ('windows', [3 * 640 + 9])])
def test_c_api(folder, model, tmp_path, signature, shape):
  waveform = audionets.sounds(1, int(np.prod(shape))).reshape(shape)
  names = ['probabilities', 'logits', 'embedding']
  found = saved_model_capi.answers(folder / '1', signature, waveform, names, tmp_path)
  windows = waveform if signature == 'serving_default' else waveform[: 3 * WINDOW].reshape(3, WINDOW)
  audionets.assert_same(found, audionets.torch_predictions(model, windows))


def test_c_api_of_the_starter(tmp_path):
  """A student with a spectrogram, on a chord and on noise, against Keras."""
  model, settings = student_file.load(student_paths.STARTER_FOLDER / student_paths.STUDENT_FILE)
  version = export.export(model, settings, tmp_path / 'exports')
  time = np.arange(5 * settings.sample_rate_hz) / settings.sample_rate_hz
  chord = sum(np.sin(2 * np.pi * hertz * time) for hertz in (220, 277, 3300)) / 4
  waveform = np.stack([chord, np.random.default_rng(0).normal(0, 0.1, len(time))]).astype(np.float32)
  found = saved_model_capi.answers(version, 'serving_default', waveform, ['logits', 'embedding'], tmp_path)
  expected = model(waveform, training=False)
  np.testing.assert_allclose(found['embedding'], expected['embedding'], atol=1e-4)
  logits = expected[heads.LOGITS + next(iter(settings.classes))]  # [2, 1, classes]
  np.testing.assert_allclose(found['logits'], logits[:, 0], atol=1e-4)


@pytest.mark.long
def test_saved_model_cli(folder, model, tmp_path):
  waveform = audionets.sounds(2, 700)
  np.save(tmp_path / 'in.npy', waveform)
  arguments = f'--dir {folder / "1"} --tag_set serve --signature_def serving_default --outdir {tmp_path}'.split()
  cli = [sys.executable, '-m', 'tensorflow.python.tools.saved_model_cli', 'run', *arguments]
  subprocess.run([*cli, '--inputs', f'waveform={tmp_path / "in.npy"}'], check=True, capture_output=True, timeout=200)
  expected = audionets.torch_predictions(model, waveform)
  audionets.assert_same({name: np.load(tmp_path / f'{name}.npy') for name in expected}, expected)


def test_tflite_at_any_length(folder, model):
  path = str(folder / '1/model_any_length.tflite')
  runner = tflite_interpreter.interpreter(path).get_signature_runner('serving_default')
  for samples in LENGTHS:
    waveform = audionets.sounds(2, samples)
    outputs = runner(waveform=waveform)
    audionets.assert_same(outputs, audionets.torch_predictions(model, waveform))
  interpreter = tflite_interpreter.interpreter(path)
  tensor = interpreter.get_input_details()[0]['index']
  interpreter.resize_tensor_input(tensor, [1, 333])
  interpreter.allocate_tensors()
  interpreter.set_tensor(tensor, audionets.sounds(1, 333))
  interpreter.invoke()
  outputs = [interpreter.get_tensor(details['index']) for details in interpreter.get_output_details()]
  expected = audionets.torch_predictions(model, audionets.sounds(1, 333))['logits']
  assert any(x.shape == expected.shape and np.allclose(x, expected, atol=1e-4) for x in outputs)


def test_several_heads(tmp_path):
  classes = {'objects': ['o1', 'o2', 'o3'], 'places': ['p1', 'p2']}
  model = audionets.student(classes)
  exported = loader.load(export.export(model, audionets.settings_for(classes), tmp_path))
  waveform = audionets.sounds(2, 900)
  outputs = exported.predict(waveform)
  assert exported.class_names == ['o1', 'o2', 'o3']
  audionets.assert_same(outputs, audionets.torch_predictions(model, waveform, 'objects'))
  for head in classes:
    expected = audionets.torch_predictions(model, waveform, head)['probabilities']
    np.testing.assert_allclose(outputs[f'{head}/probabilities'], expected, rtol=1e-4)


def save_module(folder, function, settings=None):
  """Writes a SavedModel with `function` as serving_default and windows, and the settings of a student."""
  module = tf.Module()
  module.function = tf.function(function, input_signature=[tf.TensorSpec([None, None], name='waveform')])
  concrete = module.function.get_concrete_function()
  tf.saved_model.save(module, str(folder), signatures={'serving_default': concrete, 'windows': concrete})
  (folder / 'assets').mkdir(exist_ok=True)
  text = json.dumps(settings or vars(audionets.settings_for({'teacher': ['x', 'y']})))
  (folder / 'assets/settings.json').write_text(text)


def reads_a_file_in_a_branch(waveform):
  secret = tf.cond(tf.size(waveform) > 7, lambda: tf.io.read_file('/etc/passwd'), lambda: '')
  return {'probabilities': waveform, 'secret': secret}


def test_a_model_that_reads_files_in_a_branch_is_refused_before_loading(tmp_path, monkeypatch):
  save_module(tmp_path, reads_a_file_in_a_branch)
  monkeypatch.setattr(tf.saved_model, 'load', None)
  with pytest.raises(UserError, match='refused.*ReadFile'):
    loader.load(tmp_path)


def test_folders_that_are_not_exports_are_refused_in_one_line(tmp_path, folder):
  def refused(path, message):
    with pytest.raises(UserError, match=message) as error:
      loader.load(path)
    assert '\n' not in str(error.value)

  refused(tmp_path / 'missing', 'no SavedModel here')
  refused(tmp_path, 'no SavedModel here')
  (tmp_path / 'student.keras').touch()
  refused(tmp_path / 'student.keras', 'weights alone; .*export --model=.*student.keras --output=DIR makes a SavedModel')
  plain = tmp_path / 'plain'
  outputs = verify.expected_outputs(audionets.settings_for({'teacher': ['x', 'y']}))['windows']
  save_module(plain, lambda waveform: dict.fromkeys(outputs, waveform))
  (plain / 'assets/settings.json').unlink()
  refused(plain, 'settings.json is missing')
  good = vars(audionets.settings_for({'teacher': ['x', 'y']}))
  bad = ({}, [], {**good, 'classes': []}, {**good, 'classes': {'t': 'xy'}}, {**good, 'classes': {'t': [1]}})
  for document in (*bad, {**good, 'window_seconds': 'long'}, {**good, 'sample_rate_hz': 0}, {**good, 'more': 1}):
    (plain / 'assets/settings.json').write_text(json.dumps(document))
    refused(plain, 'not the settings of a student')
  (plain / 'assets/settings.json').write_text('[' * 100_000)
  refused(plain, 'not the settings of a student')
  (plain / 'assets/settings.json').write_text(json.dumps(good))
  refused(plain, '2 class names')
  (plain / 'assets/settings.json').write_text(json.dumps({**good, 'classes': {}}))
  refused(plain, 'audionet has no classes')
  (plain / 'assets/settings.json').write_text(json.dumps(good))
  (plain / 'saved_model.pb').write_bytes(b'not a SavedModel')
  refused(plain, 'not a readable SavedModel')
  (plain / 'saved_model.pb').write_bytes((folder / '1/saved_model.pb').read_bytes())
  refused(plain, 'not a readable export')


def test_classes_are_renamed(model, tmp_path):
  student_file.save(tmp_path / 'student.keras', model, audionets.settings_for({'teacher': NAMES}))
  (tmp_path / 'names.txt').write_text('\n'.join('abcdefg'))
  words = [f'--model={tmp_path}/student.keras', f'--output={tmp_path}/exports']
  commands.run('audionet_tf.export', *words, f'--labels={tmp_path}/names.txt', check=True)
  assert (tmp_path / 'exports/1/assets/class_names.txt').read_text().split() == list('abcdefg')
  (tmp_path / 'names.txt').write_text('a\nb\n')
  done = commands.run('audionet_tf.export', *words, f'--labels=teacher={tmp_path}/names.txt')
  assert done.returncode == 1 and '2 class names, but the weights have 7 classes' in done.stderr
