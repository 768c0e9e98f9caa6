"""Trainings with `augment codec`: what they store, that they resume exactly, and what they refuse."""

import json

import flips
import numpy as np
import pytest
import synthetic_records

from audionet_tf.core.errors import UserError
from audionet_tf.data.shards import tfrecord_io
from audionet_tf.models import student_file
from audionet_tf.training import config, trainer

SHARE = {'codec': 0.8}


@pytest.fixture(scope='module')
def world(tmp_path_factory):
  """Folder with records/, teacher.keras and whole/, a run of four epochs with codec."""
  folder = tmp_path_factory.mktemp('world')
  synthetic_records.write_records(folder / 'records', {'a.mp4': 6, 'b.mp4': 5})
  synthetic_records.colour_teacher(folder / 'teacher.keras')
  train(folder, 'plain', augment={})
  assert not (folder / 'records/codecs').exists()
  train(folder, 'whole')
  return folder


@pytest.fixture
def codecs(world):
  """The folder of the variants; it is put back after the test."""
  (folder,) = (world / 'records/codecs').iterdir()
  kept = flips.contents(folder)
  yield folder
  flips.put_back(folder, kept)


def train(world, name, resume=False, **changes):
  teacher = config.TeacherConfig(str(world / 'teacher.keras'))
  settings = {'teachers': (teacher,), 'epochs': 4, 'batch_size': 8, 'learning_rate': 1e-2, 'augment': SHARE}
  trainer.train(world / 'records', world / name, config.TrainingConfig(**settings | changes), resume)


def weights_of(run_dir):
  return [w.numpy() for w in student_file.load(run_dir / 'student.keras')[0].weights]


@pytest.mark.long
def test_a_resumed_run_hears_what_an_uninterrupted_one_hears(world, capsys):
  train(world, 'halves', epochs=2)
  assert 'is stored once' not in capsys.readouterr().err  # by the first of all runs
  train(world, 'halves', resume=True)
  for whole, halves in zip(weights_of(world / 'whole'), weights_of(world / 'halves'), strict=True):
    np.testing.assert_array_equal(whole, halves)
  changed = zip(weights_of(world / 'whole'), weights_of(world / 'plain'), strict=True)
  assert any((a != b).any() for a, b in changed)


def test_stored_and_online_targets_are_heard_with_the_same_variants(world):
  train(world, 'online', teacher_mode='online', epochs=1)
  first = [(world / name / 'metrics.jsonl').read_text().splitlines()[0] for name in ('whole', 'online', 'plain')]
  whole, online, plain = (json.loads(line)['kl'] for line in first)
  assert online == pytest.approx(whole, rel=1e-4) and plain != pytest.approx(whole, rel=1e-4)


def test_a_damaged_variant_is_named(world, codecs):
  path = sorted(codecs.glob('codecs-*'))[1]
  for start, length in tfrecord_io.record_offsets(path)[:-1]:  # whichever variant is drawn
    flips.flip(path, int(start), int(start) + 12, int(start + length))
  with pytest.raises(UserError) as caught:
    train(world, 'damaged', augment={'codec': 1})
  message = str(caught.value)
  assert message.startswith(f'{path}: record at byte 0: ') and '\n' not in message
  assert f'python -m tfrecords.verify {world / "records"} --repair' in message


def test_a_run_is_not_resumed_with_other_variants(world):
  path = world / 'whole/settings.json'
  settings = json.loads(path.read_text())
  assert len(settings['codec_variants']) == 64
  path.write_text(json.dumps(settings | {'codec_variants': 'f' * 64}))
  try:
    with pytest.raises(UserError, match='cannot resume with other settings: codec_variants was ffff'):
      train(world, 'whole', resume=True)
  finally:
    path.write_text(json.dumps(settings))
  assert 'codec_variants' not in json.loads((world / 'plain/settings.json').read_text())


def test_other_augmentations_go_with_it(world):
  augment = SHARE | {'shift': 1.0, 'mix': 0.5, 'noise': 0.5, 'band': 0.7}
  train(world, 'more', augment=augment, epochs=1, gate='loudness', batch_size=11)
  assert (world / 'more/student.keras').exists()
