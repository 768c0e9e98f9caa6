"""What a run needs is looked at before TensorFlow is imported, and the commands that make it are named."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import h5py
import numpy as np
import pytest
import synthetic_records

from audionet_tf.core.errors import UserError
from audionet_tf.data import params, records
from audionet_tf.models import alignment, student_names
from audionet_tf.teachers import teacher_config
from audionet_tf.training import run_checks
from tfrecords import build

# Runs a command as python -m does, in a process where importing TensorFlow or Keras fails the test.
WITHOUT_TENSORFLOW = """
import runpy, sys
for name in ('tensorflow', 'keras'):
  sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
"""


def run(folder, *words):
  done = subprocess.run(
    [sys.executable, '-c', WITHOUT_TENSORFLOW, 'audionet_tf.train', *words], cwd=folder, capture_output=True, text=True
  )
  assert done.returncode == 1 and done.stderr.count('\n') == 1 and done.stderr.startswith('error: '), done.stderr
  return done.stderr


@pytest.fixture(scope='module')
def world(tmp_path_factory):
  folder = tmp_path_factory.mktemp('world')
  synthetic_records.write_records(folder / 'records', {'a.mp4': 3, 'b.mp4': 2})
  synthetic_records.write_records(folder / 'sound', {'a.mp4': 3}, params.RecordParams(images_per_window=0))
  synthetic_records.write_records(
    folder / 'long', {'a.mp4': 3}, params.RecordParams(window_seconds=0.08, hop_seconds=0.08)
  )
  (folder / 'run').mkdir()
  (folder / 'run/settings.json').write_text('{}')
  (folder / 'file').write_text('')
  (folder / 'labels.csv').write_text('filename,category\na.mp4,dog\n')
  (folder / 'names.txt').write_text('dog\n')
  (folder / 'words.txt').write_text('dog\ncat\n')
  (folder / 'x.tflite').write_bytes(b'nonsense')
  (folder / 'x.keras').write_bytes(b'nonsense')
  (folder / 'x.h5').write_bytes(b'')
  with h5py.File(folder / 'weights.h5', 'w') as file:
    file['top/kernel'] = np.zeros([2, 2])
  (folder / 'saved').mkdir()
  for name in (b'caf\xe9/x/saved_model.pb', b'caf\xe9/x.tflite'):
    (path := folder / os.fsdecode(name)).parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'nonsense')
  np.savez(folder / 'answers.npz', **{'a.mp4': np.full([2, 4], 0.25)})
  return folder


@pytest.mark.parametrize(
  ('words', 'message'),
  [
    ('--records= --run_dir=', 'train needs --records or --embeddings or --sounds, and --run_dir or --sounds'),
    ('--run_dir=', 'train needs --run_dir'),
    ('--run_dir=run', 'run: holds a run already; go on with --resume'),
    ('--run_dir=file', 'file: not a folder'),
    (os.fsdecode(b'--run_dir=caf\xe9'), 'the name is not valid UTF-8'),
    ('--teacher=./x.keras --classes=words.txt', 'teacher teacher (./x.keras) knows no texts: --classes is'),
    ('--teacher=labels.csv --teacher_temperature=1', 'teacher teacher (labels.csv) looks at no pictures'),
    ('--teacher=clip:tiny', 'clip:tiny needs --classes=FILE'),
    ('--teacher=clip:tiny --classes=none.txt', 'none.txt: no such file or directory; expected classes, one per line'),
    ('--teacher=clip:tiny --classes=names.txt', 'names.txt: 1 classes; a distribution needs two'),
    ('--teacher=clip:tiny --classes=words.txt --teacher_labels=names.txt', 'clip:tiny has weights, classes'),
    ('--teacher=clip:tiny --classes=words.txt --teacher_temperature=0', 'temperature of teacher is 0.0, allowed'),
    ('--teacher=clip:tiny --classes=words.txt --teacher_temperature=hot', 'temperature is hot; expected is a number'),
    ('--student=nonet', '--student=nonet is not known; known are audionet, '),
    ('--records=none', 'none: no records here'),
    ('--validation=none', 'none: no records here'),
    ('--validation=none', 'tfrecords.build --videos=held_out_clips --output=none'),  # not what is trained on
    ('--records=none', 'tfrecords.build --videos=clips --output=none'),
    ('--validation=long', 'long: window_seconds is 0.08, of the records to train on 0.04'),
    ('--records=sound', 'the records hold no pictures'),
    ('--teacher=none.tflite', 'none.tflite: no such teacher'),
    ('--teacher=x.tflite', 'x.tflite: not a .tflite file, or damaged'),
    ('--teacher=x.keras', 'x.keras: not a readable .keras file'),
    ('--teacher=x.h5', 'x.h5: not a readable HDF5 file'),
    ('--teacher=none.h5', 'none.h5: no such teacher'),
    ('--teacher=weights.h5', 'weights without a network'),
    ('--teacher=./saved', 'no saved_model.pb in this folder'),
    ('--teacher=./none', 'no such teacher'),
    (os.fsdecode(b'--teacher=./caf\xe9/x'), 'x: the name is not valid UTF-8'),
    (os.fsdecode(b'--teacher=./caf\xe9/x.tflite'), 'x.tflite: the name is not valid UTF-8'),
    (os.fsdecode(b'--teacher=sound:./caf\xe9/x'), 'x: the name is not valid UTF-8'),
    ('--teacher=vgg16 --teacher_weights=none.h5', 'none.h5: no such file of weights'),
    ('--teacher_labels=none.txt', 'none.txt: no such file or directory; expected class names'),
    ('--teacher=labels.csv', 'no row for b.mp4 of the records'),
    ('--teacher=labels.csv --teacher_labels=names.txt', 'its own categories are the class names'),
    ('--teacher=answers.npz', 'answers.npz: no outputs for b.mp4'),
    ('--teacher=none.csv', 'none.csv: no such file'),
    ('--teacher=labels.csv --teacher_mode=online', 'cannot run in the step'),
    ('--init=none', 'none: no such student to start from'),
    ('--profile=3', 'expected is FIRST:LAST'),
  ],
)
def test_mistakes_are_found_without_tensorflow(world, words, message):
  given = ['--records=records', '--run_dir=new', *words.split()]
  assert message in run(world, *given)
  assert not (world / 'new').exists()


@pytest.mark.parametrize(
  ('words', 'message'),
  [
    ('--embeddings=none.tfrecord --teacher_labels=names.txt', 'none.tfrecord: no such file of embeddings'),
    ('--embeddings=file --teacher_labels=none.txt', 'none.txt: no such file or directory; expected class names'),
    ('--embeddings=file --records=records', 'either --records or --embeddings'),
    ('--embeddings=file --teacher_labels=names.txt --classes=a', '--classes belongs to a teacher; --embed'),
    ('--embeddings=file --teacher_labels=names.txt --teacher_temperature=1', '--teacher_temperature belongs to'),
    ('--embeddings=file --validation=records', '--validation needs sound'),
  ],
)
def test_mistakes_about_embeddings_are_found_without_tensorflow(world, words, message):
  assert message in run(world, '--run_dir=new', *words.split())


def build_flags(line):
  """RecordParams of a tfrecords.build command line."""
  values = dict(word.removeprefix('--').split('=', 1) for word in shlex.split(line)[3:])
  assert set(values) <= {flag.name for flag in vars(build).values() if hasattr(flag, 'name')}
  seconds = float(values.get('window_ms', 40)) / 1000
  return values, params.RecordParams(
    window_seconds=seconds,
    hop_seconds=seconds,
    images_per_window=int(values.get('images_per_window', 1)),
    sample_rate_hz=int(values.get('sample_rate', 16000)),
  )


@pytest.mark.parametrize('student', student_names.STUDENTS)
def test_the_commands_that_are_named_make_records_that_suit_the_student(tmp_path, student):
  with pytest.raises(UserError, match='audionet_tf.download --output=clips') as caught:
    run_checks.check_records(tmp_path / 'none', student, student != 'autoencoder')
  assert '\n' not in str(caught.value)
  line = re.search('python -m tfrecords.build .*', str(caught.value))[0]
  values, cut = build_flags(line)
  assert (values['videos'], values['output']) == ('clips', str(tmp_path / 'none'))
  weights = alignment.for_student(student, cut)  # UserError where the student cannot use them
  assert weights.shape[1] == cut.answers_per_window
  with pytest.raises(UserError, match='--images_per_window=0') as caught:
    run_checks.check_records(tmp_path / 'none', student, pictures=False)
  assert str(caught.value).count('images_per_window') == 1


def test_large_tables_are_left_to_training(world, monkeypatch):
  monkeypatch.setattr(teacher_config, 'QUICK_BYTES', 1)
  manifest = records.read_manifest(world / 'records')
  teacher_config.check([teacher_config.TeacherConfig(str(world / 'labels.csv'))], 'stored', manifest)


def test_presets_name_records_that_suit_their_student():
  folder = pathlib.Path(run_checks.__file__).parent / 'presets'
  for path in folder.glob('*.flags'):
    values = dict(line[2:].partition('=')[::2] for line in path.read_text().splitlines() if line.startswith('--'))
    built = re.search(r'tfrecords\.build (.*?)\n#   python', path.read_text().replace('\\\n#', ''), re.DOTALL)
    if built:
      default = {'output': 'data/clips'}
      assert (default | dict(word[2:].split('=') for word in built[1].split()))['output'] == values['records']


def test_an_unknown_student_is_named_with_those_there_are(tmp_path):
  with pytest.raises(UserError, match="student 'nonet' is not known; known are audionet, "):
    run_checks.check([tmp_path], tmp_path / 'run', False, 'nonet', (), 'stored', None)
