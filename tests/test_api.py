"""The Python API gives what the commands write, for every kind of path and for arrays as for files."""

import dataclasses
import gzip
import importlib
import inspect
import json
import pathlib
import shutil
import subprocess
import sys
import types

import commands
import media_clips
import numpy as np
import pytest
import soundnets
import synthetic_records
import tones
from matplotlib.figure import Figure

import audionet_tf
from audionet_tf import api
from audionet_tf.captioning import event_detection
from audionet_tf.core.stores import object_store
from audionet_tf.data import params
from audionet_tf.models import student_file, student_settings
from audionet_tf.models.networks import soundnet
from audionet_tf.python_api import predictor, training
from audionet_tf.representations import files
from audionet_tf.saved_model import export
from audionet_tf.teachers import student_words
from audionet_tf.training import config, run_checks

HEARD = [('low', 0.5, 1.5), ('high', 2.0, 3.0)]
SECONDS = 3.5
THIN = {'conv1': 4, 'conv2': 4, 'conv3': 6, 'conv4': 8}
HEADS = {'objects': ['a', 'b', 'c'], 'scenes': ['in', 'out']}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A run and an export of two students: tones/ hears windows, steps/ has steps in time and two heads; and a.wav."""
  folder = tmp_path_factory.mktemp('api')
  made = {'tones': (tones.student().module, tones.student().settings), 'steps': thin_soundnet()}
  for name, (model, settings) in made.items():
    (folder / name).mkdir()
    student_file.save(folder / name / 'student.keras', model, settings)
    export.export(model, settings, folder / name / 'export')
  media_clips.write(folder / 'a.wav', SECONDS, times=[], sounds=[tones.sound(SECONDS, *HEARD)])
  return folder


def thin_table():
  return tuple((row[0], THIN.get(row[0], row[1]), *row[2:]) for row in soundnet.SOUNDNET5)


def thin_soundnet():
  """(keras.Model, StudentConfig) of a SoundNet with few filters."""
  model = soundnet.soundnet(thin_table(), {head: len(names) for head, names in HEADS.items()}, 'soundnet5')
  rng = np.random.default_rng(0)
  for variable in model.weights:
    fan = np.prod(variable.shape[:-1], initial=1.0)
    drawn = rng.uniform(0.5, 1.5, variable.shape) if len(variable.shape) == 1 else rng.normal(size=variable.shape)
    variable.assign(drawn * (1 if len(variable.shape) == 1 else fan**-0.5))
  return model, soundnets.settings('soundnet5', 3.0, HEADS)


@pytest.fixture(scope='module')
def predictors(folder):
  return {name: audionet_tf.load(folder / name) for name in ('tones', 'steps')}


def pcm(seconds=SECONDS, channels=1, rate_hz=16000, seed=0):
  """int16 [samples, channels] of noise."""
  sound = np.random.default_rng(seed).normal(0, 3000, [round(seconds * rate_hz), channels])
  return np.clip(sound, -32768, 32767).astype(np.int16)


def in_python(code, **more):
  return subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True, **more).stdout


def test_importing_the_package_loads_nothing_heavy():
  heavy = {'tensorflow', 'keras', 'numpy', 'scipy', 'matplotlib', 'av', 'absl'}
  code = f'import sys, audionet_tf; dir(audionet_tf); audionet_tf.load; print({heavy} & set(sys.modules))'
  assert in_python(code).strip() == 'set()'


def test_the_package_names_its_functions():
  assert set(audionet_tf.__all__) <= set(dir(audionet_tf))
  assert audionet_tf.load is api.load and audionet_tf.Predictor is api.Predictor
  assert issubclass(audionet_tf.UserError, ValueError)
  with pytest.raises(AttributeError, match="module 'audionet_tf' has no attribute 'lode'"):
    audionet_tf.lode  # noqa: B018
  # The command of the same name is another thing, and can be imported.
  code = 'import audionet_tf.train, sys; print(audionet_tf.train.__module__, sys.modules["audionet_tf.train"].run)'
  assert in_python(code).startswith('audionet_tf.python_api.training <function run')
  assert not isinstance(audionet_tf.train, types.ModuleType)
  assert importlib.import_module('audionet_tf.api') is api


@pytest.mark.parametrize(
  ('name', 'flags', 'options'),
  [
    ('tones', [], {}),
    ('tones', ['--window_ms=100', '--hop_ms=30'], {'window_seconds': 0.1, 'hop_seconds': 0.03}),
    ('steps', ['--head=scenes'], {'head': 'scenes'}),
    ('steps', ['--window_ms=3000'], {'window_seconds': 3.0}),
  ],
)
def test_predictions_are_those_of_infer(folder, predictors, tmp_path, name, flags, options):
  model, path = folder / name, folder / 'a.wav'
  commands.run('audionet_tf.infer', f'--model={model}', f'--output={tmp_path}', *flags, path, check=True)
  found = predictors[name].predict(path, **options)
  with np.load(tmp_path / 'a.wav.npz') as expected:
    np.testing.assert_array_equal(found.times[:, 0], expected['start_seconds'])
    np.testing.assert_array_equal(found.times[:, 1], expected['end_seconds'])
    np.testing.assert_allclose(found.probabilities, expected['probabilities'], rtol=1e-5, atol=1e-7)
    assert found.class_names == expected['class_names'].tolist()
    assert [found.repeats] == expected['repeats'].tolist()
  assert (found.times.dtype, found.probabilities.dtype) == (np.float64, np.float32)


@pytest.mark.parametrize('name', ['tones', 'steps'])
def test_events_are_those_of_caption(folder, predictors, tmp_path, name):
  path, flags = folder / 'a.wav', ['--threshold=0.3', '--stop=silence'] if name == 'tones' else ['--threshold=0.3']
  commands.run('audionet_tf.caption', f'--model={folder / name}', f'--output={tmp_path}', *flags, path, check=True)
  written = json.loads((tmp_path / 'a.wav.events.json').read_text())['events']
  stop = ['silence'] if name == 'tones' else []
  found = predictors[name].detect_events(path, threshold=0.3, stop=stop)
  assert [(e.name, e.start_seconds, e.end_seconds) for e in found] == [
    (e['name'], e['start_seconds'], e['end_seconds']) for e in written
  ]
  np.testing.assert_allclose([e.score for e in found], [e['score'] for e in written], atol=1e-3)
  if name == 'tones':
    assert [event.name for event in found] == [name for name, *_ in HEARD]
    assert all(isinstance(event, event_detection.Event) for event in found)


def test_events_of_another_head(predictors, folder):
  found = predictors['steps'].detect_events(folder / 'a.wav', threshold=0.3, head='scenes')
  assert {event.name for event in found} <= {'in', 'out'}


@pytest.mark.parametrize(
  ('name', 'layer', 'options'),
  [
    ('tones', 'embedding', {}),
    ('steps', 'pool2', {}),
    ('steps', 'embedding', {}),
    ('steps', 'conv4', {'clip_seconds': 5}),
  ],
)
def test_features_are_those_of_the_command(folder, predictors, tmp_path, name, layer, options):
  path = folder / 'a.wav'
  flags = [f'--model={folder / name}', f'--layer={layer}', f'--output={tmp_path}']
  flags += [f'--{key}={value}' for key, value in options.items()]
  commands.run('audionet_tf.features', *flags, path, check=True)
  _, arrays = files.read(tmp_path / 'a.wav.npz', [layer])
  values, seconds = predictors[name].features(path, layer=layer, **options)
  np.testing.assert_allclose(values, arrays[layer][0], rtol=1e-5, atol=1e-6 * np.abs(values).max())
  np.testing.assert_array_equal(seconds, arrays[layer][1])


@pytest.mark.parametrize('name', ['tones', 'steps'])
@pytest.mark.parametrize(('channels', 'rate_hz'), [(1, 16000), (2, 44100)])
def test_arrays_give_what_files_give(predictors, tmp_path, name, channels, rate_hz):
  sound = pcm(channels=channels, rate_hz=rate_hz)
  floats = sound.astype(np.float64) / 32768
  # Exact: clips.write scales by 32767.
  path = media_clips.write(tmp_path / 'b.wav', times=[], sounds=[(sound / 32767).T], rate_hz=rate_hz)
  predictor = predictors[name]
  expected, embedding = predictor.predict(path), predictor.features(path)
  arrays = [sound, floats, floats.astype(np.float32)]
  arrays += [sound[:, 0], floats[:, 0].tolist()] if channels == 1 else []
  for array in arrays:
    found = predictor.predict(array, rate_hz)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    np.testing.assert_array_equal(found.times, expected.times)
    for a, b in zip(predictor.features(array, rate_hz), embedding, strict=True):
      np.testing.assert_array_equal(a, b)
    how = {'threshold': 0.2, 'merge_seconds': 0.0}
    assert predictor.detect_events(array, rate_hz, **how) == predictor.detect_events(path, **how)


@pytest.mark.parametrize('name', ['tones', 'steps'])
def test_every_kind_of_path_gives_the_same(folder, predictors, tmp_path, name):
  run = folder / name
  alone = tmp_path / 'run'
  alone.mkdir()
  for file in ('student.keras', 'student.json'):
    shutil.copy(run / file, alone / file)
  expected = predictors[name].predict(folder / 'a.wav')
  layer = 'embedding' if name == 'tones' else 'pool3'
  features = predictors[name].features(folder / 'a.wav', layer=layer)
  for path in (run / 'export/1', run / 'export', run / 'student.keras', str(alone)):
    predictor = audionet_tf.load(path)
    found = predictor.predict(folder / 'a.wav')
    np.testing.assert_array_equal(found.times, expected.times)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=1e-4, atol=1e-6)
    assert found.class_names == expected.class_names == predictor.class_names
    for a, b in zip(predictor.features(folder / 'a.wav', layer=layer), features, strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())
  assert predictor.heads == (['teacher'] if name == 'tones' else ['objects', 'scenes'])
  described = {'tones': 'audionet, 3 classes (teacher)', 'steps': 'soundnet5, 3 classes (objects), 2 classes (scenes)'}
  assert repr(predictor) == f'<audionet_tf.Predictor {alone}: {described[name]}>'


def test_short_sound_and_packed_files(folder, predictors, tmp_path):
  (tmp_path / 'a.wav.gz').write_bytes(gzip.compress((folder / 'a.wav').read_bytes()))
  expected = predictors['tones'].predict(folder / 'a.wav')
  found = predictors['tones'].predict(tmp_path / 'a.wav.gz')
  np.testing.assert_array_equal(found.probabilities, expected.probabilities)
  short = predictors['steps'].predict(pcm(0.5), 16000)
  assert len(short.times) == 1 and short.repeats > 1
  np.testing.assert_allclose(short.times, [[0, 0.5]], atol=1e-3)


FLOATS = np.zeros(1000, np.float32)


@pytest.mark.parametrize(
  ('array', 'rate_hz', 'message'),
  [
    (FLOATS, None, r'sample_rate_hz is missing: an array does not hold its rate; give it in hertz, such as 16000'),
    (FLOATS, 0, r'sample_rate_hz is 0, allowed are whole numbers up to 768000'),
    (FLOATS, 16000.5, r'sample_rate_hz is 16000.5, allowed'),
    (FLOATS, float('nan'), r'sample_rate_hz is nan, allowed'),
    (FLOATS, '16k', r"sample_rate_hz is '16k', allowed"),
    (FLOATS.astype(np.int32), 16000, r'the array is int32, allowed are int16, and floating point from -1 to 1'),
    (FLOATS.astype(complex), 16000, r'the array is complex128, allowed'),
    ([['a']], 16000, r'the array is <U1, allowed'),
    (FLOATS + 20000, 16000, r'the array reaches 20000, allowed is -1 to 1; divide it by its full scale, or pass int16'),
    (FLOATS * np.nan, 16000, r'sample 0 of the array is \[nan\], allowed are finite numbers'),
    (np.append(FLOATS, np.inf), 16000, r'sample 1000 of the array is \[inf\], allowed'),
    (FLOATS.reshape(10, 10, 10), 16000, r'the array is \[10, 10, 10\], allowed are \[samples\] and \[samples, chann'),
    (np.float32(0), 16000, r'the array is \[\], allowed are \[samples\]'),
    (FLOATS.reshape(2, 500), 16000, r'the array is \[2, 500\], allowed is \[samples, channels\]; transpose it'),
    (FLOATS[:0], 16000, r'the array is \[0\]: no sound in it'),
  ],
)
def test_arrays_that_are_no_sound(predictors, array, rate_hz, message):
  for method in ('predict', 'detect_events', 'features'):
    with pytest.raises(audionet_tf.UserError, match=message) as raised:
      getattr(predictors['tones'], method)(array, rate_hz)
    assert '\n' not in str(raised.value)


def test_what_exceeds_full_scale_a_little_is_clipped(predictors):
  loud = 1.5 * np.sin(np.arange(16000) / 3)
  a, b = (predictors['tones'].predict(sound, 16000).probabilities for sound in (loud, np.clip(loud, -1, 32767 / 32768)))
  np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
  ('call', 'message'),
  [
    (lambda p: p.predict('a.wav', 16000), 'sample_rate_hz is 16000, but a.wav is a file, which holds its own'),
    (lambda p: p.predict(FLOATS, 16000, window_seconds=0), 'window_seconds is 0, allowed is more than 0'),
    (lambda p: p.predict(FLOATS, 16000, hop_seconds=-1), 'hop_seconds is -1, allowed is more than 0'),
    (lambda p: p.predict(FLOATS, 16000, head='x'), "head is 'x', allowed is one of objects, scenes"),
    (lambda p: p.detect_events(FLOATS, 16000, head='x'), "head is 'x', allowed is one of objects, scenes"),
    (lambda p: p.detect_events(FLOATS, 16000, threshold=2), 'threshold is 2, allowed is 0 to 1'),
    (lambda p: p.detect_events(FLOATS, 16000, stop=['dog']), "the student has no class 'dog'"),
    (lambda p: p.features(FLOATS, 16000, layer='x'), "layer 'x' is not known; soundnet5 has conv1, pool1, "),
    (lambda p: p.features(FLOATS, 16000, clip_seconds=0), 'clip_seconds is 0, allowed is up to 3600'),
    (lambda p: p.predict(FLOATS, 16000).top(0), 'k is 0, allowed is 1 or more'),
    (lambda p: p.predict(FLOATS, 16000).plot(99), 'top is 99, allowed is 1 to 40'),
    (lambda p: p.predict(FLOATS, 16000).plot(0), 'top is 0, allowed is 1 to 40'),
  ],
)
def test_arguments_out_of_range(predictors, call, message):
  with pytest.raises(audionet_tf.UserError, match=message):
    call(predictors['steps'])


@pytest.mark.parametrize('method', ['predict', 'detect_events', 'features'])
def test_files_that_are_no_sound_are_named(predictors, tmp_path, method):
  (tmp_path / 'a.wav').write_bytes(b'nothing')
  (tmp_path / 'b.wav.gz').write_bytes(gzip.compress(b'nothing'))
  for name, reason in (('a.wav', 'not a media file'), ('b.wav.gz', 'not a media file'), ('c.wav', 'no such file')):
    with pytest.raises(audionet_tf.UserError, match=rf'{name}: {reason}'):
      getattr(predictors['tones'], method)(tmp_path / name)


def test_paths_that_are_no_student(folder, tmp_path):
  (tmp_path / 'empty').mkdir()
  (tmp_path / 'b.keras').write_bytes(b'nothing')
  shutil.copy(folder / 'tones/student.json', tmp_path / 'b.json')
  for name, message in (('none', 'no SavedModel here'), ('empty', 'no SavedModel here'), ('b.keras', 'not a readable')):
    with pytest.raises(audionet_tf.UserError, match=message):
      audionet_tf.load(tmp_path / name)
  with pytest.raises(audionet_tf.UserError, match='no such student'):
    audionet_tf.load(tmp_path / 'c.keras')


def test_a_student_without_classes_has_features_only(tmp_path):
  model = soundnet.soundnet(thin_table(), {}, 'soundnet5')
  student_file.save(tmp_path / 'a.keras', model, student_settings.StudentConfig('soundnet5', 22050, 'mean', 3.0, {}))
  predictor = audionet_tf.load(tmp_path / 'a.keras')
  assert (predictor.class_names, predictor.heads) == ([], [])
  values, seconds = predictor.features(pcm(), 16000, layer='pool2')
  assert values.shape == (len(seconds), THIN['conv2'])
  with pytest.raises(audionet_tf.UserError, match='soundnet5 has no classes'):
    predictor.predict(pcm(), 16000)


def test_the_highest_classes(predictors, folder):
  found = predictors['tones'].predict(folder / 'a.wav')
  means = found.probabilities.astype(np.float64).mean(0)
  top = found.top(2)
  assert [row.class_name for row in top] == [tones.NAMES[i] for i in (-means).argsort()[:2]]
  assert [row.probability for row in top] == pytest.approx(sorted(means, reverse=True)[:2])
  assert len(found.top(99)) == len(tones.NAMES)


def test_a_table_for_pandas(predictors, folder, monkeypatch):
  found = predictors['tones'].predict(folder / 'a.wav')
  monkeypatch.setitem(sys.modules, 'pandas', None)  # as if it were not installed
  with pytest.raises(audionet_tf.UserError, match='to_pandas needs pandas, which is not installed: pip install pandas'):
    found.to_pandas()
  pandas = types.SimpleNamespace(DataFrame=lambda rows, columns: (rows, columns))
  monkeypatch.setitem(sys.modules, 'pandas', pandas)
  rows, columns = found.to_pandas()
  assert columns == ['start_seconds', 'end_seconds', *tones.NAMES]
  np.testing.assert_array_equal(rows[:, :2], found.times)
  np.testing.assert_array_equal(rows[:, 2:], found.probabilities)


def test_the_figure(predictors, folder):
  predictor = predictors['tones']
  events_found = predictor.detect_events(folder / 'a.wav', stop=['silence'])
  figure = predictor.predict(folder / 'a.wav').plot(top=2, events=events_found)
  assert isinstance(figure, Figure)
  sound, _, classes, named = figure.axes[:4]
  assert sound.get_title() == 'a.wav'
  assert len(classes.get_yticklabels()) == 2
  assert {label.get_text() for label in named.get_yticklabels()} == {'low', 'high'}
  figure = predictor.predict(pcm(1.0), 16000).plot()
  assert figure.axes[0].get_title() == '' and figure.axes[0].get_xlim()[1] == pytest.approx(1.0)


SCRIPT = """
import audionet_tf
# At the top level: a process that decodes a video must not run this script.
summary = audionet_tf.build_records('clips', 'data', sample_rate_hz=8000, image_size=32, image_format='png', workers=2)
print(summary.windows, sorted(summary.failures))
run = audionet_tf.train(
  'data', 'run', teacher={'colours': './teacher.keras'}, epochs=2, batch_size=16, learning_rate=1e-2, projector=False
)
print(audionet_tf.load(run).predict('clips/a.mkv').probabilities.shape)
"""


@pytest.mark.long
def test_from_videos_to_predictions_as_the_commands_do_it(tmp_path):
  (tmp_path / 'clips').mkdir()
  for name in ('a.mkv', 'b.mkv'):
    media_clips.write(tmp_path / 'clips' / name, seconds=1.0)
  (tmp_path / 'clips/c.mkv').write_bytes(b'nothing')
  synthetic_records.colour_teacher(tmp_path / 'teacher.keras')
  (tmp_path / 'script.py').write_text(SCRIPT)
  done = subprocess.run([sys.executable, 'script.py'], cwd=tmp_path, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-2000:]
  lines = done.stdout.splitlines()
  assert lines[0] == "50 ['c.mkv']" and lines[-1] == '(25, 5)'
  flags = ['--sample_rate=8000', '--image_size=32', '--image_format=png']
  commands.run('tfrecords.build', '--videos=clips', '--output=data2', *flags, cwd=tmp_path, check=True)
  for folder in ('data', 'data2'):
    assert len(list((tmp_path / folder).glob('*.tfrecord'))) == 2
  assert {p.read_bytes() for p in (tmp_path / 'data').glob('*.tfrecord')} == {
    p.read_bytes() for p in (tmp_path / 'data2').glob('*.tfrecord')
  }
  flags = [
    '--teacher=colours=./teacher.keras',
    '--epochs=2',
    '--batch_size=16',
    '--learning_rate=1e-2',
    '--noprojector',
  ]
  commands.run('audionet_tf.train', '--records=data', '--run_dir=run2', *flags, cwd=tmp_path, check=True)
  one, two = (json.loads((tmp_path / run / 'settings.json').read_text()) for run in ('run', 'run2'))
  assert one == two
  for a, b in zip(
    *(student_file.load(tmp_path / run / 'student.keras')[0].weights for run in ('run', 'run2')), strict=True
  ):
    np.testing.assert_array_equal(a.numpy(), b.numpy())


def flag_defaults(module):
  """dict of the flags that a command defines to their defaults."""
  code = f'import json, {module} as m; from absl import flags; print(json.dumps({{f.name: f.default for f in '
  code += f'flags.FLAGS.flags_by_module_dict()[{module!r}]}}))'
  return json.loads(in_python(code.replace(f'{module} as m', module)))


@pytest.mark.parametrize('level', [None, '1'])
def test_tensorflow_starts_quietly_unless_told_otherwise(level, monkeypatch):
  monkeypatch.delenv('TF_CPP_MIN_LOG_LEVEL')
  if level:
    monkeypatch.setenv('TF_CPP_MIN_LOG_LEVEL', level)
  code = 'import os, audionet_tf; audionet_tf.load; print(os.environ["TF_CPP_MIN_LOG_LEVEL"])'
  assert in_python(code).strip() == (level or '3')


def test_train_has_the_flags_of_the_command_and_their_defaults():
  flags = flag_defaults('audionet_tf.train')
  own = {name: p.default for name, p in inspect.signature(api.train).parameters.items() if name != 'settings'}
  fields = {field.name: field.default for field in dataclasses.fields(config.TrainingConfig)}
  settings = {name: value for name, value in fields.items() if name not in training.OWN_ARGUMENTS}
  assert set(flags) == {'preset', 'members', 'sounds', *own, *settings}  # sounds: of train_on_sounds; members: of join
  assert set(settings) == {word for word in inspect.getdoc(api.train).split('`') if word in settings}
  for name, value in settings.items():
    assert flags[name] == value, name
  for name in ('resume', 'checkpoint_every', 'graph', 'projector', 'profile', 'kldiv_per_frame', 'student'):
    assert flags[name] == own[name], name
  assert flags['teacher'] == ['vgg16'] and own['teacher'] is None


def test_records_have_the_defaults_of_their_parameters():
  own = {name: p.default for name, p in inspect.signature(api.build_records).parameters.items()}
  assert own['hop_seconds'] is None  # the window
  for name, value in dataclasses.asdict(params.RecordParams()).items():
    assert own[name] == value or name == 'hop_seconds', name


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'records': 'x'}, 'train needs run_dir'),
    ({'run_dir': 'x'}, 'train needs either records, or embeddings in their place'),
    ({'records': 'x', 'embeddings': 'y', 'run_dir': 'z'}, 'train needs either records, or embeddings'),
    ({'embeddings': 'y', 'run_dir': 'z', 'teacher': 'a.npz'}, "embeddings have AudioSet's labels in them"),
    ({'embeddings': 'y', 'run_dir': 'z'}, 'embeddings need teacher_labels'),
    (
      {'embeddings': 'y', 'run_dir': 'z', 'teacher_labels': 'l', 'classes': 'w'},
      'classes and teacher_temperature belong',
    ),
    (
      {'embeddings': 'y', 'run_dir': 'z', 'teacher_labels': 'l', 'teacher_temperature': 1.0},
      'belong to a teacher; emb',
    ),
    ({'embeddings': 'y', 'run_dir': 'z', 'teacher_labels': 'l', 'loss': 'cosine'}, "loss='cosine' is of vectors"),
    ({'embeddings': 'y', 'run_dir': 'z', 'teacher_labels': 'l', 'graph': True}, 'need sound, which embeddings lack'),
    ({'records': 'x', 'run_dir': 'z', 'loss': 'reconstruction', 'teacher': 'vgg16'}, 'has no teacher'),
    ({'records': 'x', 'run_dir': 'z', 'trainable': 'head'}, "trainable='head' needs init"),
    ({'records': 'x', 'run_dir': 'z', 'epoch': 3}, "train has no argument 'epoch'; further ones are teacher_mode, epo"),
    ({'records': 'x', 'run_dir': 'z', 'epochs': '3'}, "epochs is '3', allowed is a value of type int"),
    ({'records': 'x', 'run_dir': 'z', 'learning_rate': 'x'}, "learning_rate is 'x', allowed is a value of type float"),
    ({'records': 'x', 'run_dir': 'z', 'epochs': 0}, 'epochs is 0, allowed is 1'),
    ({'records': 'x', 'run_dir': 'z', 'teacher': {'a': 'b'}, 'loss_weight': {'c': 1}}, 'no teacher is called c'),
    ({'records': 'x', 'run_dir': 'z', 'augment': {'x': 1}}, 'augment'),
  ],
)
def test_training_that_cannot_be(arguments, message, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(run_checks, 'check', lambda *_: None)  # of what is on the disk
  with pytest.raises(audionet_tf.UserError, match=message):
    audionet_tf.train(**arguments)
  assert not list(pathlib.Path().iterdir())


def test_classes_of_a_student_may_be_in_a_store(tmp_path, monkeypatch):
  monkeypatch.setenv('AUDIONET_CACHE', str(tmp_path))
  object_store.put_bytes('memory://classes/words.txt', b'dog\nrain\n')
  monkeypatch.setattr(student_words, 'find', lambda path, classes: pathlib.Path(classes).read_text())
  monkeypatch.setattr(student_words, 'load', lambda path, classes: pathlib.Path(classes).read_text())
  monkeypatch.setattr(predictor, 'Predictor', lambda *given: given)
  assert audionet_tf.load('run', classes='memory://classes/words.txt') == ('dog\nrain\n',) * 2


@pytest.mark.parametrize(
  ('value', 'texts'),
  [
    (None, []),
    ((), []),
    ('vgg16', ['vgg16']),
    (0.5, ['0.5']),
    ((0, 255), ['0,255']),
    ([-1.0, 1.0], ['-1.0,1.0']),
    (pathlib.Path('a.npz'), ['a.npz']),
    (['a=b', 'c=d'], ['a=b', 'c=d']),
    ({'a': 'b', 'c': (0, 1)}, ['a=b', 'c=0,1']),
    ({'shift': None, 'gain': 6}, ['shift', 'gain=6']),
  ],
)
def test_values_become_the_texts_of_flags(value, texts):
  assert training._texts(value) == texts


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'workers': 0}, 'workers is 0, allowed is 1 or more'),
    ({'memory_mb': 1}, 'memory_mb is 1, allowed is 256 or more'),
    ({'window_seconds': 0}, 'window_seconds is 0; must be from 0.001 to 3600'),
    ({'mono': 'x'}, "mono is 'x'; must be mean or first"),
    ({}, 'no such video'),
  ],
)
def test_records_that_cannot_be(tmp_path, arguments, message):
  with pytest.raises(audionet_tf.UserError, match=message):
    audionet_tf.build_records(tmp_path / 'none', tmp_path / 'data', **arguments)


def test_nothing_that_can_be_used(tmp_path):
  (tmp_path / 'a.mkv').write_bytes(b'nothing')
  with pytest.raises(audionet_tf.UserError, match='nothing was built: none of 1 files can be used'):
    audionet_tf.build_records([tmp_path / 'a.mkv'], tmp_path / 'data')
