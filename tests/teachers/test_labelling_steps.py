"""The pass that stores answers, step by step: what it checks before it loads, what it asks, shows and shares."""

import contextlib
import dataclasses
import shutil

import numpy as np
import pytest
from teacher_passes import make_teacher, write_records

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import store_folder, store_mirror
from audionet_tf.data import input_pipeline, records, soft_labels
from audionet_tf.data.shards import tfrecord_io
from audionet_tf.teachers import answers, frozen_teacher, labelling, precision, teacher_config

SHARDS = [f'labels-{number:05d}-of-00003.tfrecord' for number in range(3)]


@pytest.fixture
def loading(monkeypatch):
  """List of the steps of loading teachers, in place of which a Teacher of the tests is loaded."""
  steps = []

  def load(**arguments):
    steps.append(('load', arguments['source'], arguments['dtype']))
    return make_teacher()

  def choose(config, teacher, folder, manifest, is_stored):
    steps.append(('choose', config.dtype, is_stored))
    return dataclasses.replace(teacher, digest='chosen')

  monkeypatch.setattr(frozen_teacher, 'try_loading', lambda *arguments: steps.append(('try', *arguments)))
  monkeypatch.setattr(frozen_teacher, 'load', load)
  monkeypatch.setattr(precision, 'chosen', choose)
  monkeypatch.setattr(answers, 'check', lambda folder, manifest, teachers: steps.append(('check', len(teachers))))
  return steps


def test_a_teacher_is_tried_loaded_and_its_answers_are_looked_at_unless_they_are_stored(tmp_path, loading):
  manifest, _ = write_records(tmp_path)
  config = teacher_config.TeacherConfig('mobilenet_v2', input_range=(0, 1))
  expected = [('try', 'mobilenet_v2', 'imagenet', 'float32', (0, 1)), ('load', 'mobilenet_v2', 'float32')]
  (teacher,) = labelling.load(tmp_path, (config,))[1]
  assert loading == [*expected, ('check', 1)]
  labelling.ensure(tmp_path, manifest, [teacher])
  loading.clear()
  labelling.load(tmp_path, (config,))
  assert loading == expected


def test_arithmetic_that_is_left_to_the_program_is_chosen(tmp_path, loading):
  manifest, _ = write_records(tmp_path)
  config = teacher_config.TeacherConfig('mobilenet_v2', dtype=teacher_config.AUTO)
  for is_stored in (False, True):
    assert labelling.load_teacher(config, tmp_path, manifest).digest == 'chosen'
    assert loading == [('load', 'mobilenet_v2', 'float32'), ('choose', 'auto', is_stored)]
    loading.clear()
    labelling.ensure(tmp_path, manifest, [make_teacher()])


def test_records_without_pictures_are_refused_before_a_classifier_of_pictures_is_loaded(tmp_path, loading):
  manifest, _ = write_records(tmp_path, pictures=0)
  with pytest.raises(UserError, match='the records hold no pictures'):
    labelling.load(tmp_path, (teacher_config.TeacherConfig('mobilenet_v2'),))
  assert not loading
  with pytest.raises(UserError, match='the records hold no pictures'):
    labelling.ensure(tmp_path, manifest, [make_teacher()])
  assert not (tmp_path / 'labels').exists()


class Bar:
  """In place of tqdm: what is shown."""

  shown = []

  def __init__(self, **settings):
    self.settings, self.updates = settings, []

  def __enter__(self):
    Bar.shown.append(self)
    return self

  def __exit__(self, *error):
    pass

  def update(self, count):
    self.updates.append(count)


@pytest.fixture
def bars(monkeypatch):
  """The Bars that were shown."""
  monkeypatch.setattr(labelling.tqdm, 'tqdm', Bar)
  monkeypatch.setattr(Bar, 'shown', [])
  return Bar.shown


def listener(name='ears', digest='e1'):
  """A tagger of sound that gives the same to every window."""
  teacher = make_teacher(name=name, digest=digest)
  return dataclasses.replace(teacher, probabilities=None, hears=lambda waveform, rate_hz: np.full(5, 0.2, np.float32))


def from_file(name='file', digest='f1'):
  """A teacher whose answers are in a file: the same for every picture."""
  rows = np.full([2, 5], 0.2, np.float32)
  teacher = make_teacher(name=name, digest=digest)
  return dataclasses.replace(teacher, probabilities=None, precomputed=lambda manifest: lambda video, index: rows)


def test_the_bar_tells_whether_a_teacher_runs_and_what_is_counted(tmp_path, bars):
  manifest, _ = write_records(tmp_path)
  runs, copies = 'running the teacher', 'copying outputs and sound'
  expected = []
  for teachers, line in (
    ([make_teacher()], (runs, ' pictures')),
    ([make_teacher(), make_teacher(name='other', digest='d2')], (runs, ' pictures')),
    ([make_teacher(), from_file()], (copies, ' outputs')),  # that of the pictures is stored by now
    ([listener()], (runs, ' outputs')),
    ([listener(), from_file()], (copies, ' outputs')),
    ([listener(), make_teacher(name='new', digest='d3')], (runs, ' pictures')),
  ):
    labelling.ensure(tmp_path, manifest, teachers)
    expected.append(line)
    assert [(bar.settings['desc'], bar.settings['unit']) for bar in bars] == expected
    assert bars[-1].settings['total'] == sum(bars[-1].updates) == 2 * 21 and bars[-1].settings['initial'] == 0


def test_the_bar_of_a_run_that_goes_on_begins_where_the_first_one_ended(tmp_path, monkeypatch, bars):
  monkeypatch.setattr(input_pipeline, 'BLOCK_WINDOWS', 4)  # a shard of seven windows has two blocks
  manifest, _ = write_records(tmp_path)
  folder = labelling.ensure(tmp_path, manifest, [make_teacher()])
  first, second, _ = (folder / name for name in SHARDS)
  content, (_, (start, _)) = second.read_bytes(), tfrecord_io.record_offsets(second)
  second.unlink()
  tfrecord_io.unfinished(second).write_bytes(content[:start])
  labelling.ensure(tmp_path, manifest, [make_teacher()])
  assert bars[-1].settings['initial'] == 2 * 14 and bars[-1].updates == [2 * 4, 2 * 3]
  assert second.read_bytes() == content
  # One whose last block is whole, and whose name alone is missing.
  second.rename(tfrecord_io.unfinished(second))
  labelling.ensure(tmp_path, manifest, [make_teacher()])
  assert bars[-1].updates == [2 * 7]


def test_blocks_behind_a_damaged_one_do_not_count(tmp_path):
  whole = tfrecord_io.framed(b'one block')
  damaged = whole[:12] + b'?' + whole[13:]
  (tmp_path / 'partial').write_bytes(whole + damaged + whole)
  assert labelling.finished_blocks(tmp_path / 'partial') == (1, len(whole))


def test_a_file_that_another_run_finishes_meanwhile_is_left_and_the_rest_written(tmp_path, monkeypatch):
  manifest, _ = write_records(tmp_path)
  folder = labelling.ensure(tmp_path, manifest, [make_teacher()])
  expected = {path.name: path.read_bytes() for path in folder.iterdir()}
  shutil.copytree(folder, tmp_path / 'finished')
  for path in folder.iterdir():
    path.unlink()

  @contextlib.contextmanager
  def alone(folder, name):
    if name == SHARDS[0]:
      shutil.copy(tmp_path / 'finished' / name, folder)
    yield

  monkeypatch.setattr(labelling, 'alone', alone)
  asked = []
  labelling.ensure(tmp_path, manifest, [make_teacher(asked)])
  assert sum(asked) == 2 * 14  # of the other two
  assert {path.name: path.read_bytes() for path in folder.iterdir()} == expected


def test_outputs_are_found_behind_a_folder_that_is_not_finished(tmp_path):
  manifest, _ = write_records(tmp_path)
  (tmp_path / 'labels/0').mkdir(parents=True)  # before all others
  labelling.ensure(tmp_path, manifest, [make_teacher()])
  asked = []
  labelling.ensure(tmp_path, manifest, [make_teacher(asked, name='renamed')])
  assert not asked


@pytest.fixture
def store(monkeypatch):
  """List of what is asked of a store."""
  asked = []
  monkeypatch.setattr(store_mirror, 'refresh', lambda folder: asked.append('refresh'))
  monkeypatch.setattr(store_folder, 'publish_beside_records', lambda folder: asked.append('publish'))
  return asked


def test_a_run_looks_into_the_store_under_its_lock_and_puts_there_what_it_made(tmp_path, store):
  manifest, _ = write_records(tmp_path)
  labelling.ensure(tmp_path, manifest, [make_teacher()])
  assert store == ['refresh', 'publish']
  store.clear()
  labelling.ensure(tmp_path, manifest, [make_teacher(digest='d2')], share=(0, 2))
  assert store == ['refresh', 'publish', 'refresh', 'publish']  # others may need its share, and it theirs


def test_what_came_into_the_store_meanwhile_is_not_asked_again(tmp_path, monkeypatch):
  manifest, _ = write_records(tmp_path)
  folder = labelling.ensure(tmp_path, manifest, [make_teacher()])
  shutil.move(folder, tmp_path / 'finished')
  monkeypatch.setattr(
    store_mirror, 'refresh', lambda folder: shutil.copytree(tmp_path / 'finished', folder, dirs_exist_ok=True)
  )
  asked = []
  assert labelling.ensure(tmp_path, manifest, [make_teacher(asked)]) == folder
  assert not asked and soft_labels.read_manifest(folder)['windows'] == 21


def test_shares_that_are_in_the_store_count_without_being_fetched(tmp_path, monkeypatch, loading):
  manifest, _ = write_records(tmp_path)
  config = teacher_config.TeacherConfig('mobilenet_v2')
  folder, count, missing = labelling.label(tmp_path, (config,), share=(0, 2))
  assert (count, missing) == (3, [SHARDS[1]]) and not (folder / records.MANIFEST_NAME).exists()
  monkeypatch.setattr(store_mirror, 'is_remote', lambda path: path.name == SHARDS[1])
  size_here = store_mirror.size
  monkeypatch.setattr(store_mirror, 'size', lambda path: size_here(path) or 1)
  assert labelling.label(tmp_path, (config,), share=(0, 2))[2] == []
  assert (folder / records.MANIFEST_NAME).exists()
