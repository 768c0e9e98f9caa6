"""Agreement with the teacher on records, compared with SciPy; the teacher in the settings; the command."""

import dataclasses
import io
import json
import pathlib
import types

import evaluation_fixtures
import numpy as np
import pytest
import synthetic_records
from PIL import Image
from scipy import special

from audionet_tf.core import digests
from audionet_tf.core.errors import UserError
from audionet_tf.evaluation import predictor, teacher_agreement
from audionet_tf.saved_model import export
from audionet_tf.teachers import frozen_teacher


@pytest.fixture(scope='module')
def scene(tmp_path_factory):
  """(folder of records, run and export; sounds; teacher of five classes; student)."""
  folder = tmp_path_factory.mktemp('scene')
  pcm = synthetic_records.write_records(folder / 'records', {'a.mp4': 5, 'b.mp4': 12, 'c.mp4': 1})
  teacher = frozen_teacher.load(synthetic_records.colour_teacher(folder / 'teacher.keras'))
  model, settings = evaluation_fixtures.known_student(folder / 'run', teacher=teacher)
  export.export(model, settings, folder / 'run' / 'export')
  return folder, pcm, teacher, model


def expected_measures(scene):
  """The measures computed from the pictures and sounds themselves: dict of video to f64 [windows, 3]."""
  _, pcm, teacher, model = scene
  measures = {}
  for number, video in enumerate(['a.mp4', 'b.mp4', 'c.mp4']):
    colour = ((number * 83) % 256, (number * 47 + 90) % 256, (number * 29 + 160) % 256)
    picture = np.asarray(Image.open(io.BytesIO(synthetic_records.picture(colour, 32))))[None]
    target = np.asarray(teacher.probabilities(picture), np.float64)[0]
    sounds = np.stack([values for (name, _), values in sorted(pcm.items()) if name == video]) / 32768
    logits = model(sounds.astype(np.float32))['logits/teacher'].numpy()[:, 0].astype(np.float64)
    predicted = special.softmax(logits, -1)
    ranks = (predicted > predicted[:, target.argmax()][:, None]).sum(-1)
    measures[video] = np.stack([special.rel_entr(target, predicted).sum(-1), ranks < 1, ranks < 5], -1)
  return measures


@pytest.mark.parametrize('place', ['run', 'run/export', 'run/export/1', 'run/student.keras'])
def test_evaluate_records(scene, place):
  folder, _, teacher, _ = scene
  student = predictor.load_student(folder / place)
  assert student.class_names == list('abcde')
  measured = teacher_agreement.evaluate_records(student, folder / 'records', teacher, batch_size=4)
  expected = expected_measures(scene)
  assert list(measured['videos']) == list(expected) and measured['windows'] == 18
  for video, values in expected.items():
    row = measured['videos'][video]
    assert row['windows'] == len(values)
    np.testing.assert_allclose(
      [row[k] for k in teacher_agreement.MEASURES], values.mean(0), rtol=2e-3
    )  # targets are float16
  everything = np.concatenate(list(expected.values()))
  np.testing.assert_allclose([measured[k] for k in teacher_agreement.MEASURES], everything.mean(0), rtol=2e-3)
  np.testing.assert_allclose(measured['kl_of_videos'], np.mean([v[:, 0].mean() for v in expected.values()]), rtol=2e-3)


def test_the_settings_name_the_teacher(scene, tmp_path):
  folder, _, teacher, _ = scene
  student = predictor.load_student(folder / 'run')
  named = teacher_agreement.named_teacher(student.settings)
  assert teacher_agreement.load_teacher(student, named).digest == teacher.digest
  evaluation_fixtures.known_student(tmp_path / 'converted')
  with pytest.raises(UserError, match='--teacher'):
    teacher_agreement.named_teacher(predictor.load_student(tmp_path / 'converted').settings)
  evaluation_fixtures.known_student(tmp_path / 'other', class_names=('x', 'y'))
  with pytest.raises(UserError, match='has 5 classes, the student 2'):
    teacher_agreement.load_teacher(predictor.load_student(tmp_path / 'other'), {'source': folder / 'teacher.keras'})


def test_a_changed_teacher_is_refused_unless_it_is_named(scene, tmp_path):
  _, _, teacher, _ = scene
  changed = synthetic_records.colour_teacher(tmp_path / 'changed.keras', size=16)
  named = teacher.description | {'source': str(changed)}
  evaluation_fixtures.known_student(tmp_path / 'run', teacher=dataclasses.replace(teacher, description=named))
  student = predictor.load_student(tmp_path / 'run')
  prefixes = digests.of_file(changed)[:16], teacher.digest[:16]
  with pytest.raises(UserError, match='{}.*{}'.format(*prefixes)):
    teacher_agreement.load_teacher(student, teacher_agreement.named_teacher(student.settings))
  assert teacher_agreement.load_teacher(student, {'source': changed}).class_names == teacher.class_names
  older = {key: value for key, value in named.items() if key != 'digest'}
  evaluation_fixtures.known_student(tmp_path / 'run', teacher=dataclasses.replace(teacher, description=older))
  student = predictor.load_student(tmp_path / 'run')
  named = teacher_agreement.named_teacher(student.settings)
  assert teacher_agreement.load_teacher(student, named).digest != teacher.digest


@pytest.mark.parametrize('description', [{'source': 5}, {'source': 'x', 'weights': None, 'dtype': 'float32'}])
def test_damaged_records_of_the_teacher_are_refused(scene, tmp_path, description):
  _, _, teacher, _ = scene
  evaluation_fixtures.known_student(tmp_path / 'run', teacher=dataclasses.replace(teacher, description=description))
  with pytest.raises(UserError, match='damaged'):
    teacher_agreement.named_teacher(predictor.load_student(tmp_path / 'run').settings)


@pytest.mark.parametrize('key', ['labels', 'source', 'texts', 'weights'])
@pytest.mark.parametrize('address', ['s3://b/x', 'embedding:clip:s3://b/x'])
def test_a_model_makes_no_connection_of_its_own(key, address):
  described = {'source': 'x', 'weights': 'none', 'dtype': 'float32'}  # older models record no labels
  settings = types.SimpleNamespace(classes={'a': 2}, teachers={'a': described | {key: address}})
  with pytest.raises(UserError, match=f'the teacher has its {key} at {address}'):
    teacher_agreement.named_teacher(settings)
  settings.teachers['a'] = described
  assert teacher_agreement.named_teacher(settings)['labels'] is None


def test_records_with_another_sample_rate_are_refused(scene, tmp_path):
  folder, _, teacher, _ = scene
  evaluation_fixtures.known_student(tmp_path / 'run', sample_rate_hz=22050)
  with pytest.raises(UserError, match='sample_rate_hz of the records is 16000, of the student 22050'):
    teacher_agreement.evaluate_records(predictor.load_student(tmp_path / 'run'), folder / 'records', teacher)


def test_a_diverged_student_is_reported(tmp_path):
  evaluation_fixtures.known_student(tmp_path / 'run', scale=float('nan'))
  student = predictor.load_student(tmp_path / 'run')
  with pytest.raises(UserError, match='not finite'):
    student.logits(np.ones([1, 640], np.float32))


def test_folders_without_a_student_are_named(tmp_path):
  with pytest.raises(UserError, match='nowhere'):
    predictor.load_student(tmp_path / 'nowhere')
  evaluation_fixtures.known_student(tmp_path / 'run')
  settings = json.loads((tmp_path / 'run' / 'student.json').read_text())
  (tmp_path / 'run' / 'student.json').write_text(json.dumps(settings | {'classes': {'other': ['a']}}))
  with pytest.raises(UserError, match='head other'):
    predictor.load_student(tmp_path / 'run')


@pytest.fixture
def tones(tmp_path):
  return evaluation_fixtures.tones(tmp_path)


def test_command_on_records_and_clips(scene, tones):
  folder, _, _, _ = scene
  groups = evaluation_fixtures.write_csv(
    tones / 'own.csv', [['category', 'class_name'], ['deep', 'a'], ['shrill', 'b']]
  )
  done = evaluation_fixtures.evaluate(
    f'--model={folder}/run',
    f'--records={folder}/records',
    f'--clips={tones}/videos.csv',
    f'--groups={groups}',
    '--folds=1',
    f'--output={tones}/out/x.json',
    f'--figure={tones}/out/confusion.png',
  )
  assert done.returncode == 0, done.stderr
  measured = json.loads((tones / 'out' / 'x.json').read_text())
  assert done.stdout.startswith(f"teacher, as the model names it: '{folder}/teacher.keras'\n")
  assert f'{measured["records"]["kl"]:.4f}' in done.stdout and 'b.mp4' in done.stdout
  assert 'accuracy: 100.0% (3 of 3 clips)' in done.stdout and measured['clips']['accuracy'] == 1
  assert (tones / 'out' / 'confusion.png').read_bytes().startswith(b'\x89PNG')


def test_command_names_the_folder_where_it_looked_for_the_teacher(scene, tmp_path):
  folder, _, teacher, _ = scene
  named = teacher.description | {'source': 'gone/teacher.keras'}
  evaluation_fixtures.known_student(tmp_path / 'run', teacher=dataclasses.replace(teacher, description=named))
  done = evaluation_fixtures.evaluate(f'--model={tmp_path}/run', f'--records={folder}/records')
  assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1
  assert 'gone/teacher.keras: no such teacher' in done.stderr
  assert f'looked for from {pathlib.Path.cwd()}; --teacher' in done.stderr


@pytest.mark.parametrize(
  'arguments, expected',
  [
    (['--records=x'], '--model'),
    (['--model=x'], '--records'),
    (['--model=x', '--records=y', '--groups=z'], '--groups goes with'),
    (['--model=x', '--records=y', '--figure=z.png'], '--figure goes with'),
    (['--model=x', '--clips=y', '--groups=z', '--figure=z.gif'], 'z.gif'),
    (['--model=x', '--records=y', '--teacher=clip:z'], 'clip:z needs --classes=FILE'),
    (['--model=x', '--records=y', '--classes=z'], '--classes goes with --teacher=clip:PRESET or with --events'),
    (['--model=x', '--records=y', '--teacher_temperature=1'], '--teacher_temperature goes with --teacher'),
    (['--model=x', '--records=y', 'z'], 'unexpected argument'),
  ],
)
def test_command_mistakes_are_one_line(arguments, expected):
  done = evaluation_fixtures.evaluate(*arguments)
  assert done.returncode == 1 and expected in done.stderr
  assert len(done.stderr.strip().splitlines()) == 1
