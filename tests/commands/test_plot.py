"""The subcommands of plot that draw sets of clips and students, as processes; and what they read."""

import csv
import json

import commands
import keras
import numpy as np
import pytest
from PIL import Image

from audionet_tf.core.errors import UserError
from audionet_tf.evaluation import confusion
from audionet_tf.models import registry, student_file, student_settings
from audionet_tf.saved_model import export, filters


def plot(*arguments):
  """(exit code, stdout, stderr) of audionet_tf.plot."""
  done = commands.run('audionet_tf.plot', *arguments)
  return done.returncode, done.stdout, done.stderr


def is_drawn(path):
  """Whether a picture has more than 20 colours."""
  with Image.open(path) as image:
    return len(np.unique(np.asarray(image.convert('RGB')).reshape(-1, 3), axis=0)) > 20


MATRIX = {'confusion': [[3, 1], [0, 2]], 'class_names': ['cat', 'dog']}


def test_confusion_matrices_are_found_at_any_depth(tmp_path):
  path = tmp_path / 'x.json'
  clips = {'categories': ['a', 'b', 'c'], 'confusion': np.eye(3, dtype=int).tolist(), 'accuracy': 1.0}
  path.write_text(json.dumps({'clips': clips, 'layers': {'pool5': MATRIX | {'mean': 0.8}, 'conv4': [MATRIX]}}))
  matrices = confusion.read_confusions(path)
  assert list(matrices) == ['clips', 'layers.pool5', 'layers.conv4.0']
  np.testing.assert_array_equal(matrices['clips'][0], np.eye(3))
  assert matrices['layers.pool5'][1] == ['cat', 'dog']


@pytest.mark.parametrize(
  'text',
  [
    '',
    '[1]',
    '{"confusion": [[1]]}',
    '{"confusion": [[1, 2]], "categories": ["a"]}',
    '{"confusion": [[1.5]], "categories": ["a"]}',
    '{"confusion": [[-1]], "categories": ["a"]}',
    '{"confusion": [[true]], "categories": ["a"]}',
    '{"confusion": [["x"]], "categories": ["a"]}',
    '{"confusion": [[1, 2], [3]], "categories": ["a", "b"]}',
    '{"confusion": [], "categories": []}',
    '[' * 100000,
  ],
)
def test_other_files_are_refused(tmp_path, text):
  (tmp_path / 'x.json').write_text(text)
  with pytest.raises(UserError, match='x.json.* confusion matri(x|ces)'):
    confusion.read_confusions(tmp_path / 'x.json')


def test_command_confusion(tmp_path):
  path = tmp_path / 'x.json'
  path.write_text(json.dumps({'layers': {'pool5': MATRIX, 'conv4': MATRIX}}))
  code, _, error = plot('confusion', f'--probe={path}', f'--output={tmp_path}/x.png')
  assert code == 1 and 'choose by --layer' in error
  code, _, error = plot('confusion', f'--probe={path}', '--layer=pool5', f'--output={tmp_path}/x.png')
  assert code == 0 and is_drawn(tmp_path / 'x.png'), error


def test_command_tsne(tmp_path):
  folder = tmp_path / 'features'
  folder.mkdir()
  with open(tmp_path / 'clips.csv', 'w', newline='') as file:
    table = csv.writer(file)
    table.writerow(['filename', 'category'])
    for i in range(12):
      values = np.random.default_rng(i).normal(i % 2, 0.1, (3, 8)).astype(np.float32)
      about = json.dumps({'layers': ['pool5']})
      np.savez(folder / f'{i}.wav.npz', about=[about], pool5=values, **{'pool5/center_seconds': np.arange(3.0)})
      table.writerow([f'{i}.wav', f'category {i % 2}'])
  arguments = [f'--features={folder}', '--layer=pool5', f'--output={tmp_path}/x.svg']
  code, _, error = plot('tsne', *arguments, f'--clips={tmp_path}/clips.csv')
  assert code == 0, error
  assert (tmp_path / 'x.svg').read_text().startswith('<?xml')
  code, _, error = plot('tsne', *arguments)
  assert code == 1 and '--clips=CSV or --inference=FOLDER' in error
  code, _, error = plot('tsne', *arguments, '--teacher=answers.npz', f'--clips={tmp_path}')
  assert code == 1 and 'answers.npz looks at no pictures' in error
  code, _, error = plot('tsne', *arguments, '--teacher=mobilenet_v2', f'--clips={tmp_path}')
  assert code == 1 and 'no sound or video files' in error


def test_command_timeline(tmp_path):
  import media_clips

  table = np.random.default_rng(0).dirichlet(np.ones(4), 25)
  times = np.arange(25) * 0.04
  np.savez(tmp_path / 'x.npz', probabilities=table, start_seconds=times, end_seconds=times + 0.04)
  sound = media_clips.write(tmp_path / 'clip.wav', times=[])
  arguments = ['timeline', f'--inference={tmp_path}/x.npz', f'--media={sound}', f'--output={tmp_path}/y.png']
  code, _, error = plot(*arguments)
  assert code == 0 and is_drawn(tmp_path / 'y.png'), error
  code, _, error = plot(*arguments, '--top=41')
  assert code == 1 and 'top is 41, allowed is 1 to 40' in error


@pytest.fixture(scope='module')
def audionet(tmp_path_factory):
  """(path of a student.keras, its settings, model)."""
  keras.utils.set_random_seed(0)
  model = registry.build('audionet', {'teacher': 3})
  settings = student_settings.StudentConfig('audionet', 16000, 'mean', 0.04, {'teacher': ['a', 'b', 'c']})
  path = tmp_path_factory.mktemp('run') / 'student.keras'
  student_file.save(path, model, settings)
  return path, settings, model


def test_first_layer_of_a_run_a_file_and_an_export(audionet):
  path, settings, model = audionet
  exported = export.export(model, settings, path.parent / 'new')
  expected = model.get_layer('conv').weights[0].numpy()[:, 0]
  for place in (path, path.parent, exported):
    kernel, loaded = filters.load(place)
    np.testing.assert_array_equal(kernel, expected)
    assert loaded == settings


def test_command_filters(audionet, tmp_path):
  code, _, error = plot('filters', f'--model={audionet[0].parent}', f'--output={tmp_path}/x.png')
  assert code == 0 and is_drawn(tmp_path / 'x.png'), error


@pytest.mark.parametrize(
  'arguments, expected',
  [
    (['filters', '--output=x.png'], '--model'),
    (['confusion', '--output=x.png'], '--evaluation or --probe'),
    (['confusion', '--evaluation=no.json', '--output=x.png'], 'no.json'),
    (['tsne', '--features=nowhere', '--layer=pool5', '--clips=no.csv', '--output=x.png'], 'nowhere'),
    (['units', '--model=m', '--layer=pool5', '--clips=c', '--output=page', '--unit=3,x'], "unit is 'x'"),
    (['units', '--model=nowhere', '--layer=pool5', '--clips=c', '--output=page'], 'nowhere'),
  ],
)
def test_command_mistakes_are_one_line(arguments, expected):
  code, out, error = plot(*arguments)
  assert code == 1 and expected in error and not out
  assert len(error.strip().splitlines()) == 1
