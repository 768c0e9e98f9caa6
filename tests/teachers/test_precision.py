"""A teacher computes in bfloat16 where the processor can, a trial shows that it pays, and the answers are the same."""

import json

import numpy as np
import pytest
import synthetic_records

import audionet_tf
from audionet_tf.core.errors import UserError
from audionet_tf.data import records
from audionet_tf.teachers import labelling, precision, teacher_config

CPU = 'processor\t: 0\nflags\t\t: fpu avx512f {}\nbugs\t\t: none\n'


@pytest.fixture
def world(tmp_path, monkeypatch):
  """A folder with records of 23 pictures, on a processor that computes in bfloat16, twice as fast."""
  synthetic_records.colour_teacher(tmp_path / 'teacher.keras')
  synthetic_records.write_records(tmp_path / 'records', {'a.mp4': 9, 'b.mp4': 14})
  (tmp_path / 'cpuinfo').write_text(CPU.format('amx_bf16 amx_tile'))
  monkeypatch.setattr(precision, 'CPU_INFO', tmp_path / 'cpuinfo')
  monkeypatch.setattr(precision, 'LEAST_PICTURES', 23)
  monkeypatch.setattr(precision, 'speed_gain', lambda functions, images: 2.0)
  return tmp_path


def loaded(world, source=None, **fields):
  """The dtype that is chosen for a teacher."""
  (config,) = teacher_config.named_teachers([str(source or world / 'teacher.keras')], dtype=['auto'], **fields)
  folder = world / 'records'
  return labelling.load_teacher(config, folder, records.read_manifest(folder)).description['dtype']


def choices(world):
  path = world / 'records/labels/dtypes.json'
  return precision.kept_choices(path)


def test_it_is_chosen_said_and_kept(world, monkeypatch, capfd):
  assert loaded(world) == 'bfloat16'
  line = capfd.readouterr().err
  assert line.startswith('teacher teacher computes in bfloat16: bfloat16 is 2.0 times as fast here, its KL ')
  assert list(choices(world).values()) == ['bfloat16']
  monkeypatch.setattr(precision, 'tried', None)  # a machine without such a processor takes what was chosen
  (world / 'cpuinfo').write_text(CPU.format(''))
  assert loaded(world) == 'bfloat16' and capfd.readouterr().err == ''


@pytest.mark.parametrize('flags', ['', 'amx_tile avx512_vnni', 'avx512_bf16x'])
def test_a_processor_without_bfloat16_tries_nothing(world, monkeypatch, flags):
  monkeypatch.setattr(precision, 'tried', None)
  (world / 'cpuinfo').write_text(CPU.format(flags))
  assert loaded(world) == 'float32'
  (world / 'cpuinfo').write_text(CPU.format('amx_bf16'))
  assert loaded(world) == 'float32'  # as kept
  monkeypatch.setattr(precision, 'CPU_INFO', world / 'none')
  assert not precision.has_instructions()


def test_it_is_not_chosen_where_it_is_slower(world, monkeypatch, capfd):
  monkeypatch.setattr(precision, 'speed_gain', lambda functions, images: 0.7)
  assert loaded(world) == 'float32'
  assert 'computes in float32: bfloat16 is 0.7 times as fast' in capfd.readouterr().err


def test_it_is_not_chosen_where_answers_differ(world, monkeypatch, capfd):
  monkeypatch.setattr(precision, 'MOST_KL', 0.0)
  assert loaded(world) == 'float32'
  assert 'computes in float32: bfloat16 is 2.0 times as fast' in capfd.readouterr().err


def test_few_pictures_are_not_worth_a_trial(world, monkeypatch):
  monkeypatch.setattr(precision, 'LEAST_PICTURES', 24)
  assert loaded(world) == 'float32' and not (world / 'records/labels').exists()


def test_records_that_are_read_only_keep_float32(world, monkeypatch):
  monkeypatch.setattr(precision.os, 'access', lambda path, mode: False)  # root may write whatever the mode says
  assert loaded(world) == 'float32' and not (world / 'records/labels').exists()


def test_a_choice_that_was_kept_holds_where_nothing_can_be_written(world, monkeypatch):
  assert loaded(world) == 'bfloat16'
  monkeypatch.setattr(precision.os, 'access', lambda path, mode: False)
  assert loaded(world) == 'bfloat16'


def test_a_choice_that_was_kept_holds_beside_outputs_of_the_other(world):
  assert loaded(world) == 'bfloat16'
  labelling.label(world / 'records', (teacher_config.TeacherConfig(str(world / 'teacher.keras')),))
  assert loaded(world) == 'bfloat16'


def test_outputs_that_are_stored_decide(world, monkeypatch):
  labelling.label(world / 'records', (teacher_config.TeacherConfig(str(world / 'teacher.keras')),))
  monkeypatch.setattr(precision, 'tried', None)
  assert loaded(world) == 'float32' and choices(world) == {}


def test_answers_of_both_are_kept_apart(world):
  source = str(world / 'teacher.keras')
  halves = labelling.label(world / 'records', (teacher_config.TeacherConfig(source, dtype='auto'),))
  exact = labelling.label(world / 'records', (teacher_config.TeacherConfig(source),))
  manifests = [json.loads((folder / 'manifest.json').read_text()) for folder, _, _ in (halves, exact)]
  assert [each['teachers']['teacher']['description']['dtype'] for each in manifests] == ['bfloat16', 'float32']
  assert halves[0] != exact[0]


@pytest.mark.long
def test_a_run_says_what_was_chosen(world):
  audionet_tf.train(world / 'records', world / 'run', teacher=str(world / 'teacher.keras'), epochs=1)
  (teacher,) = json.loads((world / 'run/settings.json').read_text())['teachers']
  assert teacher['dtype'] == 'bfloat16'


@pytest.mark.parametrize('source', ['embedding:teacher.keras', 'folder', 'model.tflite', 'answers.npz', 'sound:yamnet'])
def test_other_teachers_have_one_arithmetic(source):
  assert not precision.is_choosable(source)


@pytest.mark.parametrize(
  'source', ['vgg16', 'MobileNetV2', 'teacher.keras', 'teacher.h5', 'clip:clip_vit_base_patch32']
)
def test_keras_models_have_two(source):
  assert precision.is_choosable(source)


def test_files_of_outputs_and_taggers_of_sound_take_auto_for_float32():
  teachers = teacher_config.named_teachers(['a=x.npz', 'b=sound:yamnet', 'c=vgg16'], dtype=['auto'])
  assert [teacher.dtype for teacher in teachers] == ['float32', 'float32', 'auto']


def test_the_divergence_is_that_of_the_formula():
  p, q = (
    np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]], np.float32),
    np.array([[0.25, 0.75, 0.0], [0.2, 0.3, 0.5]], np.float32),
  )
  expected = (0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)) / 2
  np.testing.assert_allclose(precision.kl(p, q), expected, rtol=1e-6)


def test_a_damaged_file_is_one_line(world):
  loaded(world)
  path = world / 'records/labels/dtypes.json'
  path.write_text(path.read_text().replace('bfloat16', 'bfloat17'))
  with pytest.raises(UserError, match='dtypes.json.*delete it'):
    loaded(world)
