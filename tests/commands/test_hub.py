"""A teacher from the Hugging Face Hub, students to it and back, by commands, with a stand-in for the Hub."""

import json
import zipfile

import built_records
import hub_stand_in
import numpy as np
import pytest
import scipy.io.wavfile
import synthetic_records
from torch_or_skip import needs_torch, torch

TRAIN = ['--epochs=1', '--batch_size=8', '--noprojector', '--nograph']


@pytest.fixture(scope='module')
def place(tmp_path_factory):
  """Folder with a sound and records; `hub` there has a teacher as Keras saves it to the Hub."""
  folder = tmp_path_factory.mktemp('hub')
  built_records.three(folder / 'clips')
  built_records.build(folder / 'clips', folder / 'data')
  synthetic_records.colour_teacher(folder / 'eyes.keras', 4)
  eyes = folder / 'hub/me/eyes'
  zipfile.ZipFile(folder / 'eyes.keras').extractall(eyes)
  (eyes / 'README.md').write_text('made by Keras')
  return folder


def run(place, *words, fails=False):
  done = hub_stand_in.run(place / 'hub', *map(str, words))
  assert done.returncode == fails, done.stderr
  assert not fails or done.stderr.count('\n') == 1, done.stderr
  return done.stderr if fails else done.stdout


def test_from_a_teacher_on_the_hub_to_a_student_there(place):
  flags = [f'--records={place}/data', '--teacher=hf://me/eyes', *TRAIN]
  shown = run(place, 'audionet_tf.train', *flags, '--run_dir=hf://me/ears')
  assert 'student: hf://me/ears/student.keras' in shown
  there = place / 'hub/me/ears'
  names = {path.relative_to(there).as_posix() for path in there.rglob('*') if path.is_file()}
  assert {'README.md', 'student.keras', 'student.json', 'export/1/saved_model.pb'} <= names
  assert all(name.startswith(('README.md', 'student.', 'export/1/')) for name in names), names
  assert json.loads((there / 'student.json').read_text())['teachers']['teacher']['source'] == 'hf://me/eyes'
  # The same from local files.
  local = [f'--records={place}/data', f'--teacher={place}/eyes.keras', *TRAIN, f'--run_dir={place}/run']
  run(place, 'audionet_tf.train', *local)
  sound = place / 'clips/a.mkv'
  assert run(place, 'audionet_tf.infer', '--model=hf://me/ears', sound) == run(
    place, 'audionet_tf.infer', f'--model={place}/run', sound
  )
  # The run stays on this machine, and goes on there.
  message = run(place, 'audionet_tf.train', *flags, '--run_dir=hf://me/ears', fails=True)
  assert 'hf://me/ears: holds a student already; choose another --run_dir' in message
  more = [flag.replace('epochs=1', 'epochs=2') for flag in flags]
  (there / 'README.md').write_text('written by hand')
  run(place, 'audionet_tf.train', *more, '--run_dir=hf://me/ears', '--resume')
  assert (there / 'README.md').read_text() == 'written by hand'
  assert (there / 'export/2/saved_model.pb').is_file()
  (place / 'hub-cache').rename(place / 'elsewhere')
  message = run(place, 'audionet_tf.train', *more, '--run_dir=hf://me/ears', '--resume', fails=True)
  assert 'whose run is not on this machine; start from it by --init=hf://me/ears' in message


def test_sounds_by_class_to_a_student_there(place):
  for name, hertz in (('low', 220), ('high', 1760)):
    for number in range(4):
      path = place / f'sounds/{name}/{number}.wav'
      path.parent.mkdir(parents=True, exist_ok=True)
      sound = 12_000 * np.sin(2 * np.pi * (hertz + 10 * number) * np.arange(8000) / 16_000)
      scipy.io.wavfile.write(path, 16_000, sound.astype(np.int16))
  flags = [f'--sounds={place}/sounds', '--student=audionet', '--epochs=1', '--noprojector', '--nograph']
  shown = run(place, 'audionet_tf.train', *flags, '--run_dir=hf://me/pitch')
  assert 'student: hf://me/pitch/student.keras' in shown
  assert '| accuracy |' in (place / 'hub/me/pitch/README.md').read_text()
  assert 'low' in run(place, 'audionet_tf.infer', '--model=hf://me/pitch', place / 'sounds/low/0.wav')


@needs_torch
def test_convert_writes_to_the_hub(place):
  shapes = {'conv.weight': [16, 1, 64], 'conv.bias': [16], 'dense.weight': [5, 16], 'dense.bias': [5]}
  torch.save({name: torch.rand(shape) for name, shape in shapes.items()}, place / 'audionet.pth')
  run(place, 'audionet_tf.convert', f'--from={place}/audionet.pth', '--output=hf://me/converted')
  assert (place / 'hub/me/converted/README.md').is_file()
  sound = place / 'clips/a.mkv'
  assert 'a.mkv' in run(place, 'audionet_tf.infer', '--model=hf://me/converted', sound)


def test_a_training_that_cannot_be_makes_no_repository(place):
  flags = ['audionet_tf.train', '--records=nowhere', '--teacher=hf://me/eyes', '--run_dir=hf://me/new']
  assert 'nowhere: no records here' in run(place, *flags, fails=True)
  done = hub_stand_in.run(place / 'hub', *flags, SIGNED_OUT='1')
  assert done.returncode == 1 and done.stderr.startswith('error: hf://: nobody is signed in (')
  assert not (place / 'hub/me/new').exists()


def test_other_results_do_not_go_there(place):
  message = run(place, 'audionet_tf.infer', '--output=hf://me/results', place / 'clips/a.mkv', fails=True)
  assert 'hf://me/results: only students go to the Hub' in message
  words = ['--student=soundnet8', '--from=x.npy', '--output=hf://me/a/b']
  assert 'hf://me/a/b: a path in a repository' in run(place, 'audionet_tf.convert', *words, fails=True)
