"""TensorFlow Lite files: fixed shapes, numbers only, metadata, smaller files, and the command that writes them."""

import io
import struct
import zipfile

import audionets
import commands
import numpy as np
import pytest
import soundnets
from scipy import special
from scipy.io import wavfile

from audionet_tf.core import tflite_interpreter
from audionet_tf.models import registry, student_file
from audionet_tf.saved_model import tflite, verify

CLASSES = {'things': ['rooster', 'crane', 'crane', 'Türglocke, "alt"'], 'a_place': ['x', 'y\n2']}
WINDOW = 640  # of audionets.settings_for


@pytest.fixture(scope='module')
def model():
  return audionets.student(CLASSES)


@pytest.fixture(scope='module')
def folder(model, tmp_path_factory):
  """Folder with every file of an AudioNet of two heads, the second of which comes first in the alphabet."""
  folder = tmp_path_factory.mktemp('tflite')
  tflite.write(model, audionets.settings_for(CLASSES), folder, ('float16', 'int8'), [np.zeros(WINDOW, np.int16)])
  return folder


def opened(path):
  interpreter = tflite_interpreter.interpreter(path)
  interpreter.allocate_tensors()
  return interpreter


@pytest.mark.parametrize('file', ['model.tflite', 'model_float16.tflite', 'model_int8.tflite'])
def test_shapes_are_fixed_and_outputs_are_numbers_the_first_head_first(folder, model, file):
  interpreter = opened(folder / file)
  (sound,), outputs = interpreter.get_input_details(), interpreter.get_output_details()
  assert (sound['shape_signature'].tolist(), sound['dtype']) == ([1, WINDOW], np.float32)
  assert [output['shape_signature'].tolist() for output in outputs] == [[1, 4], [1, 2]]
  assert {output['dtype'] for output in outputs} == {np.float32}
  waveform = audionets.sounds(1, WINDOW)
  interpreter.set_tensor(sound['index'], waveform)
  interpreter.invoke()
  tolerance = 2e-5 if file == 'model.tflite' else 0.05
  for head, output in zip(CLASSES, outputs, strict=True):
    expected = audionets.torch_predictions(model, waveform, head)['probabilities']
    np.testing.assert_allclose(interpreter.get_tensor(output['index']), expected, atol=tolerance)


def test_any_length_has_logits_and_embedding_too(folder, model):
  run = opened(folder / 'model_any_length.tflite').get_signature_runner('serving_default')
  for samples in (1, 639, 5000):
    waveform = audionets.sounds(2, samples)
    outputs = run(waveform=waveform)
    assert {*outputs} == {'probabilities', 'a_place/probabilities', 'logits', 'embedding'}
    audionets.assert_same(outputs, audionets.torch_predictions(model, waveform, 'things'))


@pytest.mark.parametrize('name', ['logmel_cnn', 'logmel_cnn_contrast', 'soundnet5'])
def test_students_answer_as_keras_does(name, tmp_path):
  seconds = 5.0 if name == 'soundnet5' else 1.0
  model, settings = soundnets.student(name), soundnets.settings(name, seconds)
  tflite.write(model, settings, tmp_path)
  waveform = soundnets.noise(1, round(seconds * 22_050))
  logits = model(waveform, training=False)['logits/teacher'].numpy().astype(np.float64)
  found = tflite.runner(tmp_path / 'model.tflite')(waveform=waveform)
  np.testing.assert_allclose(found['probabilities'], special.softmax(logits, -1).mean(1), atol=1e-4)


def table(data, place):
  """Function of a field's number that gives its place in a flatbuffer, or None; `place` is that of the table."""
  fields = place - struct.unpack_from('<i', data, place)[0]
  size = struct.unpack_from('<H', data, fields)[0]

  def field(number):
    offset = struct.unpack_from('<H', data, fields + 4 + 2 * number)[0] if 6 + 2 * number <= size else 0
    return place + offset if offset else None

  return field


def followed(data, place):
  return place + struct.unpack_from('<I', data, place)[0]


def tables(data, place):
  """The tables in the vector that a field refers to."""
  begin = followed(data, place)
  return [table(data, followed(data, begin + 4 + 4 * i)) for i in range(struct.unpack_from('<I', data, begin)[0])]


def words(data, place):
  begin = followed(data, place)
  return data[begin + 4 : begin + 4 + struct.unpack_from('<I', data, begin)[0]].decode()


def test_metadata_have_the_rate_and_the_class_names_of_every_output(folder):
  """Read by the schema's numbers, byte by byte: ModelMetadata, its subgraph, the tensors, their content and files."""
  content = (folder / 'model.tflite').read_bytes()
  data = content[content.index(b'M001') - 4 :]
  (graph,) = tables(data, table(data, followed(data, 0))(3))
  (sound,), outputs = tables(data, graph(2)), tables(data, graph(3))
  about = table(data, followed(data, sound(3)))
  audio = table(data, followed(data, about(1)))
  assert data[about(0)] == 4  # AudioProperties
  assert [struct.unpack_from('<I', data, audio(number))[0] for number in (0, 1)] == [16_000, 1]
  assert [words(data, output(0)) for output in outputs] == ['things', 'a_place']
  files = [tables(data, output(6))[0] for output in outputs]
  assert [data[file(2)] for file in files] == [2, 2]  # TENSOR_AXIS_LABELS
  with zipfile.ZipFile(io.BytesIO(content)) as archive:
    assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
    labels = [archive.read(words(data, file(0))).decode().splitlines() for file in files]
  assert labels == [CLASSES['things'], ['x', 'y 2']]


def test_a_student_without_heads_gives_its_embedding(tmp_path):
  model = registry.build('audionet', {})
  tflite.write(model, audionets.settings_for({}), tmp_path)
  waveform = audionets.sounds(1, WINDOW)
  found = tflite.runner(tmp_path / 'model.tflite')(waveform=waveform)
  assert [*found] == ['embedding']
  np.testing.assert_allclose(found['embedding'], model(waveform)['embedding'], atol=1e-5)


def test_weights_in_float16_answer_silence(tmp_path):
  """The square of SameLevel's softest level is below what float16 holds: 0 / 0 without its scale."""
  model, settings = soundnets.student('logmel_cnn_level'), soundnets.settings('logmel_cnn_level', 1.0)
  (line,) = tflite.write(model, settings, tmp_path, ['float16'], [np.zeros(22_050, np.int16)])
  assert 'in 1 of 1 windows' in line
  size = {name: (tmp_path / name).stat().st_size for name in ('model.tflite', 'model_float16.tflite')}
  assert size['model_float16.tflite'] < 0.6 * size['model.tflite']


def test_weights_in_int8_leave_the_bands_of_the_spectrum_as_they_are(tmp_path):
  """The matrix of 513 frequencies x 64 bands, whose products range over many powers of ten."""
  model, settings = soundnets.student('logmel_cnn_level'), soundnets.settings('logmel_cnn_level', 1.0)
  tflite.write(model, settings, tmp_path, ['int8'], [np.zeros(22_050, np.int16)])
  tensors = opened(tmp_path / 'model_int8.tflite').get_tensor_details()
  small = [sorted(tensor['shape'].tolist()) for tensor in tensors if tensor['dtype'] == np.int8]
  assert small and [64, 513] not in small
  assert (tmp_path / 'model_int8.tflite').stat().st_size < 0.4 * (tmp_path / 'model.tflite').stat().st_size


@pytest.mark.parametrize(('wrong', 'is_warning'), [(1, False), (2, True)])
def test_less_than_99_percent_of_agreement_is_said(folder, monkeypatch, wrong, is_warning):
  """Windows are numbered by their samples; the smaller file differs in the first `wrong` ones."""

  def runner(path):
    def run(waveform):
      differs = path.name == 'model_int8.tflite' and waveform[0, 0] * 32768 < wrong
      return {'probabilities': np.array([[0.1, 0.9] if differs else [0.9, 0.1]])}

    return run

  monkeypatch.setattr(tflite, 'runner', runner)
  windows = [np.full(WINDOW, number, np.int16) for number in range(100)]
  (line,) = tflite.agreements(folder, ['int8'], 'probabilities', windows)
  assert f'{100 - wrong} of 100 windows ({100 - wrong}.0%)' in line
  assert line.startswith('warning: ') == is_warning and line.endswith('less than 99 %') == is_warning


def test_files_that_differ_from_the_model_are_refused(model, tmp_path, monkeypatch):
  real = verify.expected_predictions
  shifted = lambda *of: {name: value + 1e-3 for name, value in real(*of).items()}  # noqa: E731
  monkeypatch.setattr(verify, 'expected_predictions', shifted)
  with pytest.raises(RuntimeError, match=r'model.tflite, 640 samples: '):
    tflite.write(model, audionets.settings_for(CLASSES), tmp_path)


def test_command_compares_on_real_sound(model, tmp_path):
  student_file.save(tmp_path / 'student.keras', model, audionets.settings_for(CLASSES))
  (tmp_path / 'sounds').mkdir()
  rng = np.random.default_rng(0)
  wavfile.write(tmp_path / 'sounds/a.wav', 16_000, rng.integers(-9000, 9000, 3 * WINDOW, np.int16))
  wavfile.write(tmp_path / 'sounds/b.wav', 16_000, rng.integers(-9000, 9000, WINDOW // 2, np.int16))
  arguments = [
    f'--model={tmp_path / "student.keras"}',
    f'--output={tmp_path / "out"}',
    '--tflite',
    '--quantize=float16',
  ]
  done = commands.run('audionet_tf.export', *arguments, f'--sounds={tmp_path / "sounds"}')
  assert done.returncode == 0, done.stderr
  assert done.stdout.strip() == str(tmp_path / 'out/1')
  assert 'model_float16.tflite: ' in done.stderr and ' of 4 windows' in done.stderr
  assert (tmp_path / 'out/1/model_float16.tflite').is_file() and not (tmp_path / 'out/1/model_int8.tflite').exists()


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--quantize=int8'], '--quantize needs --tflite'),
    (['--quantize=int8', '--tflite'], '--quantize needs --sounds'),
    (['--quantize=int8', '--tflite', '--sounds=nowhere'], '--sounds=nowhere: no such file or folder'),
    (['--quantize=int4', '--tflite'], 'int4'),
  ],
)
def test_command_mistakes_are_one_line(arguments, message):
  done = commands.run('audionet_tf.export', '--model=starter', '--output=out', *arguments)
  assert done.returncode == 1
  assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1
  assert message in done.stderr
