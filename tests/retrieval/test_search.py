"""The command on an untrained student whose teacher knows the colours of pictures: queries by class, sound, picture."""

import json
import os
import shutil

import commands
import keras
import numpy as np
import PIL.Image
import pytest
import scipy.io.wavfile

from audionet_tf.core import digests
from audionet_tf.data.tables import word_tables
from audionet_tf.models import registry, student_file, student_settings

WIDTH = 3


@pytest.fixture(scope='module')
def world(tmp_path_factory):
  """A teacher of mean colours, an untrained student of its vectors, and noises beside what is no sound."""
  folder = tmp_path_factory.mktemp('world')
  image = keras.Input([None, None, 3])
  keras.Model(image, keras.layers.GlobalAveragePooling2D()(image)).save(folder / 'colours.keras')
  about = {'source': './colours.keras', 'weights': 'imagenet', 'labels': None, 'dtype': 'float32', 'input_range': None}
  about['digest'] = digests.of_file(folder / 'colours.keras')
  about['source'] = f'embedding:{about["source"]}'
  settings = student_settings.StudentConfig(
    'audionet', 16000, 'mean', 0.5, {}, {'space': about}, embeddings={'space': WIDTH}
  )
  keras.utils.set_random_seed(0)
  (folder / 'run').mkdir()
  model = registry.build('audionet', {'space': WIDTH})
  student_file.save(folder / 'run/student.keras', model, settings)
  (folder / 'sounds/deep').mkdir(parents=True)
  rng, vectors = np.random.default_rng(0), {}
  for number, name in enumerate(['a.wav', 'deep/b.wav', 'c.wav']):
    pcm = (rng.normal(size=16000) * 3000 * np.sin(np.arange(16000) * (0.02 + 0.3 * number))).astype(np.int16)
    scipy.io.wavfile.write(folder / 'sounds' / name, 16000, pcm)
    raw = model(pcm[None].astype(np.float32) / 32768)['logits/space'].numpy()[0, 0]
    vectors[name] = raw / np.linalg.norm(raw)
  (folder / 'sounds/broken.wav').write_text('nonsense')
  os.mkfifo(folder / 'sounds/pipe.wav')
  word_tables.write(folder / 'words.npz', word_tables.make(vectors, list(vectors.values())))
  return folder, vectors


def search(folder, *flags, code=1):
  done = commands.run('audionet_tf.search', '--model=run', *flags, 'sounds', cwd=folder)
  assert done.returncode == code, done.stderr[-2000:]
  return done


def moments(folder, *flags, output='found', **options):
  done = search(folder, *flags, f'--output={output}', **options)
  assert 'broken.wav: ' in done.stderr and 'pipe.wav: not a regular file' in done.stderr
  found = json.loads((folder / output / 'moments.json').read_text())['moments']
  return [(moment['path'].partition('/sounds/')[2], moment['cosine']) for moment in found]


def test_a_class_of_a_table_a_sound_and_a_picture_are_found(world):
  folder, vectors = world
  for name, vector in vectors.items():
    found = moments(folder, f'--query={name}', '--classes=words.npz', '--per_file=1', '--window_ms=1000')
    expected = sorted(vectors, key=lambda other: -vectors[other] @ vector)
    assert [path for path, _ in found] == expected and found[0][0] == name
    np.testing.assert_allclose([c for _, c in found], [vectors[other] @ vector for other in expected], atol=2e-3)
  by_sound = moments(folder, '--query=sounds/a.wav', '--per_file=1', '--window_ms=1000')
  expected = sorted(set(vectors) - {'a.wav'}, key=lambda other: -vectors[other] @ vectors['a.wav'])
  assert [path for path, _ in by_sound] == expected
  PIL.Image.new('RGB', (40, 30), (200, 30, 90)).save(folder / 'red.png')
  colour = np.array([200, 30, 90]) / np.linalg.norm([200, 30, 90])
  by_picture = moments(folder, '--query=red.png', '--per_file=1', '--window_ms=1000')
  expected = sorted(vectors, key=lambda other: -vectors[other] @ colour)
  assert [path for path, _ in by_picture] == expected
  np.testing.assert_allclose([c for _, c in by_picture], [vectors[other] @ colour for other in expected], atol=2e-3)


def test_names_that_are_no_utf8(world):
  folder, _ = world
  (folder / 'names').mkdir()
  shutil.copy(folder / 'sounds/a.wav', os.fsencode(folder / 'names') + b'/caf\xe9.wav')
  flags = ('--query=sounds/a.wav', '--output=of_names', '--window_ms=1000')
  for _ in range(2):  # the second time from the index
    done = commands.run('audionet_tf.search', '--model=run', *flags, 'names', cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
  assert 'caf%E9.wav' in (folder / 'of_names/index.html').read_text()


def test_mistakes_are_one_line(world):
  folder, _ = world
  (folder / 'no.png').write_text('nonsense')
  word_tables.write(folder / 'wide.npz', word_tables.make(['cat', 'dog'], np.eye(2, WIDTH + 1)))
  for flags, message in (
    (['--query=dog barking'], "'dog barking': the teacher of this student (./colours.keras) knows no texts"),
    (['--query=dog', '--classes=words.npz'], "words.npz: no class 'dog'; there are a.wav, deep/b.wav, c.wav"),
    (['--query=no.png'], 'no.png: not a readable picture'),
    (['--query=dog', '--classes=words.txt'], 'expected is a .npz table of vectors'),
    (['--query=none.wav'], '--query=none.wav: no such file'),
    (['--query=sounds/pipe.wav'], '--query=sounds/pipe.wav: not a regular file'),
    (['--query=sounds'], '--query=sounds: a folder; expected is a text, or a sound, video or picture file'),
    (['--query=dog', '--classes=wide.npz'], 'wide.npz: vectors of 4 numbers, but the student learned 3'),
    (['--query=sounds/a.wav', '--index=words.npz'], 'words.npz: not an index; choose another --index=FILE'),
    (['--query=sounds/a.wav', '--index=no/x.npz'], 'no/x.npz: the index cannot be written there'),
    ([], 'search needs --query'),
  ):
    done = search(folder, *flags)
    assert message in done.stderr and done.stderr.count('\n') == 1, done.stderr


def test_a_text_may_be_longer_than_the_name_of_a_file(world):
  done = search(world[0], f'--query={"a dog that barks, " * 20}')
  assert 'knows no texts' in done.stderr and done.stderr.count('\n') == 1, done.stderr
