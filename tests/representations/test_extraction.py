"""Features equal those of one pass over the whole sound, with their times, in files that are complete or absent."""

import hashlib
import json
import zipfile

import commands
import h5py
import media_clips
import numpy as np
import pytest
import soundnets

from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.media import decoding
from audionet_tf.models import registry, student_file, student_settings
from audionet_tf.representations import extraction, files
from audionet_tf.saved_model import layer_outputs, writer

RATE = 22_050
SETTINGS = soundnets.settings('soundnet5', window_seconds=3.0)


@pytest.fixture(scope='module')
def model():
  return soundnets.student('soundnet5')


@pytest.fixture(scope='module')
def run(model, tmp_path_factory):
  """A folder with student.keras and export/1, as training leaves it."""
  folder = tmp_path_factory.mktemp('run')
  student_file.save(folder / 'student.keras', model, SETTINGS)
  writer.write(model, SETTINGS, folder / 'export/1')
  return folder


def write_sound(path, seconds, rate_hz=RATE, channels=1, seed=0, **more):
  sound = np.stack([soundnets.noise(1, round(seconds * rate_hz), seed + i)[0] for i in range(channels)])
  return media_clips.write(path, times=[], sounds=[sound], rate_hz=rate_hz, **more)


def one_pass(model, path, layer, repeats=1):
  """f32 [T, width], from the whole sound at once."""
  pcm = np.concatenate([pcm for _, pcm in decoding.decode_audio(path, RATE, 'first')])
  sound = np.tile(pcm, repeats)[None] / np.float32(32768)
  return registry.layer_model(model, 'soundnet5', [layer])(sound, training=False)[layer].numpy()[0]


def assert_close(values, expected):
  assert values.shape == expected.shape
  np.testing.assert_allclose(values, expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize('part', ['student.keras', 'export'])
def test_features_equal_those_of_one_pass(model, run, tmp_path, part):
  """Batches of equal length, pieces of long sound, sample rates, channels and silence change nothing."""
  paths = [write_sound(tmp_path / f'{i}.wav', 3.0, seed=i) for i in range(5)]
  paths += [write_sound(tmp_path / 'long.wav', 60.1), write_sound(tmp_path / 'stereo.wav', 3.0, 48_000, 2)]
  paths += [write_sound(tmp_path / 'eight.wav', 4.0, 8_000)]
  paths += [media_clips.write(tmp_path / 'silence.wav', times=[], sounds=[np.zeros(90_000, np.float32)], rate_hz=RATE)]
  layers = ['pool3', 'conv5', 'embedding']
  loaded = layer_outputs.load(run if part == 'student.keras' else run / part, layers)
  done = extraction.extract(loaded, paths, tmp_path)
  assert list(done['outputs']) == paths and not done['unreadable']
  for path in paths:
    about, arrays = files.read(done['outputs'][path], layers)
    expected = {layer: one_pass(model, path, layer) for layer in ('pool3', 'conv5')}
    expected['embedding'] = one_pass(model, path, 'conv4').mean(0, keepdims=True)
    samples = sum(len(pcm) for _, pcm in decoding.decode_audio(path, RATE, 'first'))
    for layer, values in expected.items():
      assert_close(arrays[layer][0], values)
      if layer != 'embedding':
        centers = registry.step_seconds('soundnet5', samples, RATE, layer)[0]
        np.testing.assert_allclose(arrays[layer][1], centers, rtol=1e-12)
    np.testing.assert_allclose(arrays['embedding'][1], [samples / RATE / 2])
    assert about['repeats'] == 1 and about['heard_seconds'] == samples / RATE and about['layers'] == layers


@pytest.mark.parametrize(('seconds', 'repeats'), [(0.1, 26), (1 / RATE, 56_798)])
def test_short_sound_is_repeated_with_a_remark(model, run, tmp_path, seconds, repeats):
  path = write_sound(tmp_path / 'a.wav', seconds)
  done = extraction.extract(layer_outputs.load(run, ['conv5', 'conv1']), [path], tmp_path)
  about, arrays = files.read(done['outputs'][path], ['conv5', 'conv1'])
  assert about['repeats'] == repeats
  assert_close(arrays['conv5'][0], one_pass(model, path, 'conv5', repeats))
  assert_close(arrays['conv1'][0], one_pass(model, path, 'conv1', repeats))
  (line,) = files.remarks(done['outputs'])
  assert line.startswith(f'too short for conv5, repeated: a.wav ({repeats} times); all layers')


def test_short_sound_in_windows_is_repeated_with_a_remark(tmp_path):
  student, settings = registry.build('logmel_cnn', {'teacher': 7}), soundnets.settings('logmel_cnn', 0.5)
  student_file.save(tmp_path / 'mel.keras', student, settings)
  paths = [write_sound(tmp_path / f'{seconds}.wav', seconds) for seconds in (0.1, 0.6)]
  done = extraction.extract(layer_outputs.load(tmp_path / 'mel.keras', ['embedding']), paths, tmp_path)
  about = [files.read_about(path) for path in done['outputs'].values()]
  assert [(row['repeats'], row['heard_seconds']) for row in about] == [(5, 0.5), (1, 0.5)]
  line, remainder = files.remarks(done['outputs'])
  assert 'too short for a window, repeated: 0.1.wav (5 times);' in line and 'layers' not in line
  assert remainder.startswith('up to 0.10 s') and remainder.endswith(': 0.6.wav')


@pytest.mark.parametrize(('seconds', 'start', 'rows'), [(1.2, 0, 2), (1.0, 0, 2), (1.3, 0.3, 2), (0.6, 0.3, 1)])
def test_remainder_is_dropped_with_a_remark(tmp_path, seconds, start, rows):
  student, settings = registry.build('logmel_cnn', {'teacher': 7}), soundnets.settings('logmel_cnn', 0.5)
  student_file.save(tmp_path / 'mel.keras', student, settings)
  sound = soundnets.noise(1, round(seconds * RATE))[0]
  path = media_clips.write(tmp_path / 'a.mkv', 2.0, sounds=[sound], rate_hz=RATE, sound_start=start)
  done = extraction.extract(layer_outputs.load(tmp_path / 'mel.keras', ['embedding']), [path], tmp_path)
  about, arrays = files.read(done['outputs'][path], ['embedding'])
  assert len(arrays['embedding'][0]) == rows and about['heard_seconds'] == rows * 0.5
  assert about['sound_seconds'] == pytest.approx(seconds, abs=1e-3)
  lines = files.remarks(done['outputs'])
  remainder = seconds - rows * 0.5
  assert [line.split(' s ')[0] for line in lines] == ([f'up to {remainder:.2f}'] if remainder else [])


def test_clips_of_one_length(model, run, tmp_path):
  paths = [write_sound(tmp_path / f'{n}.wav', n) for n in (1.5, 7.0)]
  done = extraction.extract(layer_outputs.load(run, ['pool3']), paths, tmp_path, clip_seconds=4)
  for path in paths:
    pcm = np.concatenate([pcm for _, pcm in decoding.decode_audio(path, RATE, 'first')])
    sound = np.resize(pcm, 4 * RATE)[None] / np.float32(32768)
    expected = registry.layer_model(model, 'soundnet5', ['pool3'])(sound, training=False)['pool3'].numpy()[0]
    about, arrays = files.read(done['outputs'][path], ['pool3'])
    assert_close(arrays['pool3'][0], expected)
    assert about['heard_seconds'] == 4


def test_sound_that_starts_late_keeps_its_times(run, tmp_path):
  path = media_clips.write(tmp_path / 'a.mkv', 2.0, sounds=[soundnets.noise(1, RATE)[0]], rate_hz=RATE, sound_start=0.5)
  done = extraction.extract(layer_outputs.load(run, ['pool3', 'embedding']), [path], tmp_path)
  _, arrays = files.read(done['outputs'][path], ['pool3', 'embedding'])
  first = registry.step_seconds('soundnet5', RATE, RATE, 'pool3')[0][0]
  assert arrays['pool3'][1][0] == pytest.approx(0.5 + first, abs=1e-3)
  assert arrays['embedding'][1][0] == pytest.approx(1.0, abs=1e-3)


def test_hdf5_holds_the_same(run, tmp_path):
  path, model = write_sound(tmp_path / 'a.wav', 60.0), layer_outputs.load(run, ['pool3', 'embedding'])
  for kind in ('npz', 'h5'):
    extraction.extract(model, [path], tmp_path, kind)
  (about, npz), (same, h5) = (files.read(tmp_path / f'a.wav.{k}', ['pool3', 'embedding']) for k in ('npz', 'h5'))
  assert about == same
  for layer in npz:
    for one, other in zip(npz[layer], h5[layer], strict=True):
      assert one.dtype == other.dtype and np.array_equal(one, other)
  with h5py.File(tmp_path / 'a.wav.h5') as file:
    assert np.array_equal(file['center_seconds/pool3'][:], npz['pool3'][1])
  with np.load(tmp_path / 'a.wav.npz', allow_pickle=False) as file:
    assert set(file) == {'pool3', 'pool3/center_seconds', 'embedding', 'embedding/center_seconds', 'about'}


def test_networks_without_steps_give_one_vector_per_window(tmp_path):
  model = registry.build('audionet', {'teacher': 3})
  student_file.save(
    tmp_path / 'a.keras',
    model,
    student_settings.StudentConfig('audionet', 16_000, 'mean', 0.04, {'teacher': list('abc')}),
  )
  path = write_sound(tmp_path / 'a.wav', 1.0, 16_000)
  done = extraction.extract(layer_outputs.load(tmp_path / 'a.keras', ['embedding']), [path], tmp_path)
  _, arrays = files.read(done['outputs'][path], ['embedding'])
  pcm = np.concatenate([pcm for _, pcm in decoding.decode_audio(path, 16_000)])
  assert_close(arrays['embedding'][0], model(pcm.reshape(25, 640) / np.float32(32768))['embedding'].numpy())
  np.testing.assert_allclose(arrays['embedding'][1], np.arange(25) * 0.04 + 0.02)


def test_finished_files_are_skipped_and_those_of_other_models_kept(run, tmp_path, monkeypatch):
  path, model = write_sound(tmp_path / 'a.wav', 1.0), layer_outputs.load(run, ['pool3', 'conv1'])
  output = extraction.extract(model, [path], tmp_path)['outputs'][path]
  before = output.read_bytes()
  monkeypatch.setattr(decoding, 'decode_audio', None)
  again = layer_outputs.load(run, ['conv1'])
  assert extraction.extract(again, [path], tmp_path)['outputs'] == {path: output}
  for other, message in (
    (layer_outputs.load(run, ['pool1']), 'without layer pool1'),
    (layer_outputs.load(run / 'export', ['pool3']), 'model is'),
  ):
    with pytest.raises(UserError, match=message):
      extraction.extract(other, [path], tmp_path)
  with pytest.raises(UserError, match='clip_seconds is None'):
    extraction.extract(again, [path], tmp_path, clip_seconds=3)
  assert output.read_bytes() == before


def test_changed_sound_of_equal_name_and_size_is_extracted_again(model, run, tmp_path):
  loaded, folder = layer_outputs.load(run, ['pool3']), tmp_path / 'out'
  for name in ('a', 'b', 'out'):
    (tmp_path / name).mkdir()
  paths = [write_sound(tmp_path / name / 'x.wav', 1.0, seed=seed) for seed, name in enumerate('ab')]
  assert paths[0].stat().st_size == paths[1].stat().st_size
  for path, renewed in ((paths[0], []), (paths[1], [folder / 'x.wav.npz']), (paths[1], [])):
    done = extraction.extract(loaded, [path], folder)
    about, arrays = files.read(done['outputs'][path], ['pool3'])
    assert_close(arrays['pool3'][0], one_pass(model, path, 'pool3'))
    assert about['source_sha256'] == hashlib.sha256(path.read_bytes()).hexdigest() and done['renewed'] == renewed
  before = (folder / 'x.wav.npz').read_bytes()
  with pytest.raises(UserError, match='model is'):
    extraction.extract(layer_outputs.load(run / 'export', ['pool3']), paths[:1], folder)
  assert (folder / 'x.wav.npz').read_bytes() == before


def test_features_without_a_digest_are_extracted_again(model, run, tmp_path):
  """Files from before sources had digests."""
  path, loaded = write_sound(tmp_path / 'a.wav', 1.0), layer_outputs.load(run, ['pool3'])
  output = extraction.extract(loaded, [path], tmp_path)['outputs'][path]
  about, arrays = files.read(output, ['pool3'])
  del about['source_sha256']
  values, centers = arrays['pool3']
  np.savez(output, about=[json.dumps(about)], pool3=values + 1, **{'pool3/center_seconds': centers})
  assert extraction.extract(loaded, [path], tmp_path)['renewed'] == [output]
  assert_close(files.read(output, ['pool3'])[1]['pool3'][0], one_pass(model, path, 'pool3'))


def test_damaged_file_leaves_nothing_and_other_files_are_extracted(model, run, tmp_path, monkeypatch, capsys):
  good = [write_sound(tmp_path / f'{name}.wav', 3.0) for name in 'ab']
  broken, long = tmp_path / 'broken.wav', tmp_path / 'breaks_late.wav'
  broken.write_bytes(b'no sound')
  long.write_bytes(b'stands for a long one')
  real = decoding.decode_audio

  def breaks(path, *arguments):
    if path != long:
      yield from real(path, *arguments)
      return
    yield 0, np.zeros(1_000_000, np.int16)
    raise MediaError(path, 'damaged')

  monkeypatch.setattr(decoding, 'decode_audio', breaks)
  monkeypatch.setattr(extraction, 'SOUND_SAMPLES', 900_000)
  sources = [good[0], broken, long, tmp_path / 'missing.wav', good[1]]
  (tmp_path / 'out').mkdir()
  done = extraction.extract(layer_outputs.load(run, ['conv4']), sources, tmp_path / 'out')
  assert list(done['outputs']) == good
  assert sorted(done['unreadable']) == sorted(map(str, [broken, long, tmp_path / 'missing.wav']))
  assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['a.wav.npz', 'b.wav.npz']
  for path in good:
    assert_close(files.read(done['outputs'][path], ['conv4'])[1]['conv4'][0], one_pass(model, path, 'conv4'))
  printed = capsys.readouterr().err
  assert 'breaks_late.wav: damaged' in printed and 'missing.wav: no such file' in printed


def test_known_layers_are_listed(run):
  with pytest.raises(UserError, match="'pool9' is not known; soundnet5 has conv1, .*conv5_teacher.*, embedding"):
    layer_outputs.load(run, ['pool9'])
  with pytest.raises(UserError, match="'conv1_norm' is not known; soundnet5 has conv1, pool1, .*, embedding"):
    layer_outputs.load(run / 'export', ['conv1_norm'])


def test_activations_that_are_not_finite_are_refused(run, tmp_path):
  model = layer_outputs.load(run, ['conv1'])
  hear = lambda pcm: {'conv1': np.full([len(pcm), 99_999, 32], np.nan, np.float32)}  # noqa: E731
  bad = layer_outputs.LayerOutputs(hear, model.sources, model.tables, model.settings, 'x')
  with pytest.raises(UserError, match='not finite'):
    extraction.extract(bad, [write_sound(tmp_path / 'a.wav', 1.0)], tmp_path)
  assert [path.name for path in tmp_path.iterdir()] == ['a.wav']


@pytest.mark.parametrize('content', [b'', b'PK rubbish', None])
def test_error_names_damaged_files(tmp_path, content):
  path = tmp_path / 'a.npz'
  if content is not None:
    path.write_bytes(content)
  with pytest.raises(UserError, match='a.npz: '):
    files.read(path, ['pool3'])


@pytest.mark.parametrize('name', ['pool3.npy', 'pool3/center_seconds.npy'])
def test_what_is_no_array_in_an_archive_is_named(tmp_path, name):
  path = tmp_path / 'a.npz'
  arrays = {'pool3.npy': np.zeros([2, 4], np.float32), f'pool3/{files.CENTERS}.npy': np.zeros(2)}
  assert name in arrays
  np.savez(path, about=['{}'], **{key.removesuffix('.npy'): value for key, value in arrays.items() if key != name})
  with zipfile.ZipFile(path, 'a') as archive:
    archive.writestr(name, b'no array')
  with pytest.raises(UserError, match='a.npz: pool3 is .* expected is float'):
    files.read(path, ['pool3'])


def test_command(run, tmp_path):
  write_sound(tmp_path / 'a.wav', 1.0)
  write_sound(tmp_path / 'b.wav', 0.2)
  (tmp_path / 'bad.wav').write_bytes(b'no sound')
  (tmp_path / 'x').mkdir()
  write_sound(tmp_path / 'x/a.wav', 2.0)
  (tmp_path / 'clips.csv').write_text('filename,fold\na.wav,1\nbad.wav,2\nb.wav,1\nx/a.wav,2\n')
  flags = [f'--model={run}', '--layer=pool3', f'--output={tmp_path / "out"}', f'--clips={tmp_path / "clips.csv"}']
  done = commands.run('audionet_tf.features', *flags)
  assert done.returncode == 1 and 'Traceback' not in done.stderr
  assert [line for line in done.stderr.splitlines() if 'error: ' in line and 'bad.wav: ' in line]
  seconds = [
    json.loads(np.load(tmp_path / f'out/{name}.wav.npz')['about'][0])['heard_seconds'] for name in ('a', 'x/a')
  ]
  assert seconds == [1, 2]
  assert '3 files of pool3' in done.stdout and 'b.wav (2 times)' not in done.stdout
  assert json.loads(np.load(tmp_path / 'out/b.wav.npz')['about'][0])['repeats'] == 1


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ([], 'needs --model, --output, and FILE after the flags or --clips'),
    (['--model=m', '--output=o', '--clips=c', 'a.wav'], 'not both'),
    (['--model=m', '--output=o', '--format=csv', 'a.wav'], 'value should be one of <npz|h5|tfrecord>'),
    (['--model=m', '--output=o', 'a.wav'], 'no such file: a.wav'),
    (['--model=m', '--output=o', __file__], 'm: no SavedModel here'),
    (['--model=m', '--output=o', '--format=tfrecord', 'a.wav'], 'tfrecord is for --layer=pca alone, not pool5'),
    (['--model=m', '--output=o', 'x/a.wav', 'y/a.wav'], '2 inputs are called a.wav'),
    (['--model=m', '--output=o', '--clips=no.csv'], 'no.csv: no such file'),
  ],
)
def test_command_refuses(tmp_path, arguments, message):
  done = commands.run('audionet_tf.features', *arguments, cwd=tmp_path)
  assert done.returncode == 1 and not list(tmp_path.iterdir())
  assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1 and message in done.stderr
