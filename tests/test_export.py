"""Exports: what is in them, and that every reader hears what PyTorch hears with the same weights."""

import json
import pathlib
import subprocess
import sys

import commands
import numpy as np
import pytest
import tensorflow as tf
import torch

from audionet_tf import export_checks, serving, students
from audionet_tf.errors import UserError

NAMES = ['rooster', 'crane', 'crane', 'Türglocke, "alt"', 'a', 'b', 'c']  # as in ImageNet, one name is there twice
WINDOW = 640
LENGTHS = (1, 7, 320, 639, 640, 641, 5000)


def settings_for(classes):
  return students.StudentSettings('audionet', 16000, 'mean', 0.04, classes)


def student(heads, seed=0):
  """An AudioNet whose answers differ clearly from one another."""
  model = students.build('audionet', {head: len(names) for head, names in heads.items()})
  rng = np.random.default_rng(seed)
  for variable in model.weights:
    variable.assign(rng.normal(scale=0.5, size=variable.shape))
  return model


def sounds(batch, samples, seed=0):
  rng = np.random.default_rng(seed)
  return (rng.normal(size=[batch, samples]) * 10.0 ** rng.uniform(-2, 0, [batch, 1])).astype(np.float32)


def heard_by_torch(model, waveform, head='teacher'):
  """dict of arrays: AudioNet's layers in PyTorch, with the weights of a Keras model."""
  with torch.no_grad():
    weights = {w.path: torch.tensor(w.numpy()) for w in model.weights}
    conv, dense = weights['conv/kernel'].permute(2, 1, 0), weights[f'dense_{head}/kernel']
    x = torch.nn.functional.conv1d(torch.tensor(waveform)[:, None], conv, weights['conv/bias'], stride=2, padding=32)
    embedding = torch.nn.functional.max_pool1d(x, 8, stride=1, padding=4).mean(2)
    logits = embedding @ dense + weights[f'dense_{head}/bias']
    return {
      'embedding': embedding.numpy(),
      'logits': logits.numpy(),
      'probabilities': torch.softmax(logits, 1).numpy(),
    }


def assert_same(answers, expected, tolerance=2e-5):
  for name, value in expected.items():
    np.testing.assert_allclose(answers[name], value, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.fixture(scope='module')
def model():
  return student({'teacher': NAMES})


@pytest.fixture(scope='module')
def folder(model, tmp_path_factory):
  """Version 1, with TensorFlow Lite."""
  folder = tmp_path_factory.mktemp('exports')
  serving.export(model, settings_for({'teacher': NAMES}), folder, tflite=True)
  return folder


@pytest.fixture(scope='module')
def served(folder):
  return serving.load(folder)


def test_what_is_written(folder):
  assert [path.name for path in folder.iterdir()] == ['1']
  version = folder / '1'
  assert (version / 'assets/class_names.txt').read_text(encoding='utf-8').splitlines() == NAMES
  written = json.loads((version / 'assets/settings.json').read_text())
  assert written['classes'] == {'teacher': NAMES} and written['sample_rate_hz'] == 16000
  files = {str(path.relative_to(version)) for path in version.rglob('*') if path.is_file()}
  extra = {'model.tflite', 'assets.extra/tf_serving_warmup_requests', 'saved_model.pb'}
  assert extra <= files


@pytest.mark.parametrize('samples', LENGTHS)
def test_serving_default_hears_what_torch_hears(model, served, samples):
  waveform = sounds(3, samples)
  answers, expected = served.predict(waveform), heard_by_torch(model, waveform)
  assert_same(answers, expected)
  assert {name: value.shape for name, value in answers.items()} == {
    'probabilities': (3, 7),
    'logits': (3, 7),
    'embedding': (3, 16),
    'top_classes': (3, 5),
    'top_probabilities': (3, 5),
  }
  tops = answers['top_classes'], answers['top_probabilities']
  for row, names, top in zip(expected['probabilities'], *tops, strict=True):
    best = sorted(range(7), key=lambda i: -row[i])[:5]
    assert names.tolist() == [NAMES[i] for i in best]
    np.testing.assert_allclose(top, row[best], rtol=1e-4)


@pytest.mark.parametrize('samples', [0, 1, 639, 640, 1279, 1280, 5 * 640 + 3, 600 * 640])
def test_windows_signature(model, served, samples):
  sound = sounds(1, samples)[0]
  count = max(1, samples // WINDOW)
  padded = np.zeros(count * WINDOW, np.float32)
  padded[: samples and min(samples, count * WINDOW)] = sound[: count * WINDOW]
  answers = served.windows(sound)
  assert_same(answers, heard_by_torch(model, padded.reshape(count, WINDOW)))
  np.testing.assert_allclose(answers['start_seconds'], np.arange(count) * 0.04, rtol=1e-6)
  ends = [min((i + 1) * 0.04, samples / 16000) for i in range(count)]  # what was padded is no sound
  np.testing.assert_allclose(answers['end_seconds'], ends, rtol=1e-6)
  assert answers['top_classes'].shape == (count, 5)


def test_warm_up_requests_can_be_replayed(folder, served):
  from tensorflow_serving.apis import prediction_log_pb2

  seen = set()
  for record in tf.data.TFRecordDataset(str(folder / '1/assets.extra/tf_serving_warmup_requests')):
    request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
    inputs = {name: tf.constant(tf.make_ndarray(proto)) for name, proto in request.inputs.items()}
    outputs = served.signatures[request.model_spec.signature_name](**inputs)
    assert len(outputs['probabilities']) == {640: 1, 32 * 640: 32, 3 * 640: 3}[int(tf.size(inputs['waveform']))]
    seen.add(request.model_spec.signature_name)
  assert seen == {'serving_default', 'windows'}


def signature_tensors(version, signature):
  """(input tensor, dict of output to tensor) of a signature, from the file itself."""
  from tensorflow.core.protobuf import saved_model_pb2

  saved = saved_model_pb2.SavedModel.FromString((version / 'saved_model.pb').read_bytes())
  found = saved.meta_graphs[0].signature_def[signature]
  return found.inputs['waveform'].name, {name: tensor.name for name, tensor in found.outputs.items()}


@pytest.mark.parametrize(('signature', 'shape'), [('serving_default', [3, 641]), ('windows', [3 * 640 + 9])])
def test_c_api(folder, model, tmp_path, signature, shape):
  waveform = sounds(1, int(np.prod(shape))).reshape(shape)
  np.save(tmp_path / 'in.npy', waveform)
  source, outputs = signature_tensors(folder / '1', signature)
  named = [f'{name}={outputs[name]}' for name in ('probabilities', 'logits', 'embedding')]
  program = pathlib.Path(__file__).with_name('saved_model_capi.py')
  files = [folder / '1', tmp_path / 'in.npy', tmp_path / 'out.npz']
  subprocess.run([sys.executable, program, *files, source, *named], check=True, timeout=100)
  windows = waveform if signature == 'serving_default' else waveform[: 3 * WINDOW].reshape(3, WINDOW)
  assert_same(np.load(tmp_path / 'out.npz'), heard_by_torch(model, windows))


@pytest.mark.slow
def test_saved_model_cli(folder, model, tmp_path):
  waveform = sounds(2, 700)
  np.save(tmp_path / 'in.npy', waveform)
  arguments = f'--dir {folder / "1"} --tag_set serve --signature_def serving_default --outdir {tmp_path}'.split()
  cli = [sys.executable, '-m', 'tensorflow.python.tools.saved_model_cli', 'run', *arguments]
  subprocess.run([*cli, '--inputs', f'waveform={tmp_path / "in.npy"}'], check=True, capture_output=True, timeout=200)
  expected = heard_by_torch(model, waveform)
  assert_same({name: np.load(tmp_path / f'{name}.npy') for name in expected}, expected)


def test_tflite_at_any_length(folder, model):
  path = str(folder / '1/model.tflite')
  runner = tf.lite.Interpreter(path).get_signature_runner('serving_default')
  for samples in LENGTHS:
    waveform = sounds(2, samples)
    answers = runner(waveform=waveform)
    assert_same(answers, heard_by_torch(model, waveform))
    assert answers['top_classes'].astype(object)[0, 0].decode() in NAMES
  interpreter = tf.lite.Interpreter(path)
  tensor = interpreter.get_input_details()[0]['index']
  interpreter.resize_tensor_input(tensor, [1, 333])
  interpreter.allocate_tensors()
  interpreter.set_tensor(tensor, sounds(1, 333))
  interpreter.invoke()
  found = [interpreter.get_tensor(details['index']) for details in interpreter.get_output_details()]
  expected = heard_by_torch(model, sounds(1, 333))['logits']
  assert any(x.shape == expected.shape and np.allclose(x, expected, atol=1e-4) for x in found)


def test_versions_count_up_and_the_highest_is_loaded(tmp_path):
  (tmp_path / '9').mkdir()
  (tmp_path / 'notes').mkdir()
  classes = {'teacher': ['x', 'y']}
  path = serving.export(student(classes), settings_for(classes), tmp_path)
  assert path == tmp_path / '10'
  assert serving.load(tmp_path).class_names == ['x', 'y']
  assert serving.load(path).predict(sounds(4, 50))['top_classes'].shape == (4, 2)


def test_several_heads(tmp_path):
  classes = {'objects': ['o1', 'o2', 'o3'], 'places': ['p1', 'p2']}
  model = student(classes)
  served = serving.load(serving.export(model, settings_for(classes), tmp_path))
  waveform = sounds(2, 900)
  answers = served.predict(waveform)
  assert served.class_names == ['o1', 'o2', 'o3']
  assert_same(answers, heard_by_torch(model, waveform, 'objects'))
  for head in classes:
    expected = heard_by_torch(model, waveform, head)['probabilities']
    np.testing.assert_allclose(answers[f'{head}/probabilities'], expected, rtol=1e-4)


@pytest.mark.parametrize(
  ('signature', 'rank', 'output'),
  [('serving_default', 2, 'embedding'), ('windows', 1, 'probabilities'), ('windows', 1, 'top_classes')],
)
def test_an_artifact_that_answers_otherwise_is_not_kept(tmp_path, monkeypatch, signature, rank, output):
  classes = {'teacher': ['x', 'y', 'z']}
  signatures = serving.signatures

  def one_is_wrong(model, settings):
    right = signatures(model, settings)

    @tf.function(input_signature=[tf.TensorSpec([None] * rank, name='waveform')])
    def wrong(waveform):
      outputs = dict(right[signature](waveform))
      value = outputs[output]
      outputs[output] = tf.reverse(value, [1]) if output == 'top_classes' else value + 1e-2
      return outputs

    return right | {signature: wrong.get_concrete_function()}

  monkeypatch.setattr(serving, 'signatures', one_is_wrong)
  with pytest.raises(RuntimeError, match=signature):
    serving.export(student(classes), settings_for(classes), tmp_path)
  assert not list(tmp_path.iterdir())


def test_a_student_that_is_not_finite_is_refused(tmp_path):
  classes = {'teacher': ['x', 'y']}
  model = student(classes)
  model.weights[0].assign(np.full(model.weights[0].shape, np.nan))
  with pytest.raises(UserError, match='not finite'):
    serving.export(model, settings_for(classes), tmp_path)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ('classes', 'message'), [({'teacher': ['x']}, '1 class names'), ({'t': ['x']}, 'no such head')]
)
def test_settings_that_do_not_fit_are_refused(tmp_path, classes, message):
  with pytest.raises(UserError, match=message):
    serving.export(student({'teacher': ['x', 'y']}), settings_for(classes), tmp_path / 'new')
  assert not (tmp_path / 'new').exists()


def save_module(folder, function, settings=None):
  """A SavedModel of `function` as serving_default and windows, with the settings of a student."""
  module = tf.Module()
  module.function = tf.function(function, input_signature=[tf.TensorSpec([None, None], name='waveform')])
  concrete = module.function.get_concrete_function()
  tf.saved_model.save(module, str(folder), signatures={'serving_default': concrete, 'windows': concrete})
  (folder / 'assets').mkdir(exist_ok=True)
  text = json.dumps(settings or vars(settings_for({'teacher': ['x', 'y']})))
  (folder / 'assets/settings.json').write_text(text)


def reads_a_file_in_a_branch(waveform):
  secret = tf.cond(tf.size(waveform) > 7, lambda: tf.io.read_file('/etc/passwd'), lambda: '')
  return {'probabilities': waveform, 'secret': secret}


def test_a_model_that_reaches_out_in_a_branch_is_refused_unread(tmp_path, monkeypatch):
  save_module(tmp_path, reads_a_file_in_a_branch)
  monkeypatch.setattr(tf.saved_model, 'load', None)
  with pytest.raises(UserError, match='refused.*ReadFile'):
    serving.load(tmp_path)


def test_what_is_no_export_is_refused_in_one_line(tmp_path, folder):
  def refused(path, message):
    with pytest.raises(UserError, match=message) as error:
      serving.load(path)
    assert '\n' not in str(error.value)

  refused(tmp_path / 'missing', 'no SavedModel here')
  refused(tmp_path, 'no SavedModel here')
  (tmp_path / 'student.keras').touch()
  refused(tmp_path / 'student.keras', 'weights alone; .*export --model=.*student.keras --output=DIR makes a SavedModel')
  plain = tmp_path / 'plain'
  every = export_checks.expected_outputs(settings_for({'teacher': ['x', 'y']}))['windows']
  save_module(plain, lambda waveform: dict.fromkeys(every, waveform))
  (plain / 'assets/settings.json').unlink()
  refused(plain, 'settings.json is missing')
  good = vars(settings_for({'teacher': ['x', 'y']}))
  bad = ({}, [], {**good, 'classes': []}, {**good, 'classes': {'t': 'xy'}}, {**good, 'classes': {'t': [1]}})
  for document in (*bad, {**good, 'window_seconds': 'long'}, {**good, 'sample_rate_hz': 0}, {**good, 'more': 1}):
    (plain / 'assets/settings.json').write_text(json.dumps(document))
    refused(plain, 'not the settings of a student')
  (plain / 'assets/settings.json').write_text(json.dumps(good))
  refused(plain, '2 class names')
  (plain / 'assets/settings.json').write_text(json.dumps({**good, 'classes': {}}))
  refused(plain, 'audionet names nothing')
  (plain / 'assets/settings.json').write_text(json.dumps(good))
  (plain / 'saved_model.pb').write_bytes(b'rubbish')
  refused(plain, 'not a readable SavedModel')
  (plain / 'saved_model.pb').write_bytes((folder / '1/saved_model.pb').read_bytes())
  refused(plain, 'not a readable export')


def export_command(*arguments):
  return commands.run('audionet_tf.export', *arguments)


def test_command(tmp_path):
  classes = {'teacher': ['x', 'y']}
  model = student(classes)
  (tmp_path / 'run').mkdir()
  students.save(tmp_path / 'run/student.keras', model, settings_for(classes))
  done = export_command(f'--run_dir={tmp_path / "run"}', f'--output={tmp_path / "out"}', '--tflite')
  assert done.returncode == 0, done.stderr
  assert done.stdout.strip() == str(tmp_path / 'out/1')
  assert (tmp_path / 'out/1/model.tflite').is_file()
  assert_same(serving.load(tmp_path / 'out').predict(sounds(2, 640)), heard_by_torch(model, sounds(2, 640)))


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--output=out'], 'one of --run_dir and --model, got neither'),
    (['--output=out', '--model=a', '--run_dir=b'], 'got run_dir and model'),
    (['--model=a.keras'], 'needs --output'),
    (['--model=a.keras', '--output=out', 'more'], "unexpected argument 'more'"),
  ],
)
def test_command_refuses(arguments, message):
  done = export_command(*arguments)
  assert done.returncode == 1
  assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1
  assert message in done.stderr
