"""Stored soft labels, read back with NumPy and TensorFlow's own Example, against direct calls of the teacher."""

import dataclasses
import errno
import fcntl
import json
import os

import numpy as np
import pytest
import tensorflow as tf
from teacher_passes import CLASSES, Interrupted, expected, make_teacher, predict, read_shard, write_records

from audionet_tf.core import tf_data
from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import store_mirror
from audionet_tf.data import batch_keys, input_pipeline, soft_labels, video_table
from audionet_tf.data import params as data_params
from audionet_tf.teachers import frozen_teacher, labelling
from tfrecords import label_inspection


@pytest.mark.parametrize(('pictures', 'in_graph', 'batch_size'), [(1, False, 4), (2, True, 64), (5, False, 3)])
def test_stored_outputs_equal_direct_calls(tmp_path, monkeypatch, pictures, in_graph, batch_size):
  monkeypatch.setattr(input_pipeline, 'BLOCK_WINDOWS', 4)  # seven windows per shard: a whole block and a small one
  manifest, written = write_records(tmp_path, pictures)
  batch_sizes = []
  teacher = make_teacher(None if in_graph else batch_sizes, in_graph=in_graph)
  folder = labelling.ensure(tmp_path, manifest, [teacher], batch_size)
  assert folder.parent == tmp_path / 'labels'
  for number, shard in enumerate(written):
    stored = read_shard(folder / f'labels-{number:05d}-of-00003.tfrecord', pictures)
    for window, (video, index, pcm, colours) in zip(stored, shard, strict=True):
      assert (window['video'], window['index']) == (video, index)
      np.testing.assert_array_equal(window['pcm'], pcm)
      np.testing.assert_allclose(window['outputs'], expected(colours), rtol=2e-3, atol=1e-7)
  assert not batch_sizes or max(batch_sizes) <= batch_size


def test_outputs_in_a_file_are_stored_with_their_windows(tmp_path):
  manifest, written = write_records(tmp_path / 'records')
  rng = np.random.default_rng(1)
  outputs = {video['id']: rng.dirichlet(np.ones(CLASSES), 2 * video['windows']) for video in manifest['videos']}
  np.savez(tmp_path / 'outputs.npz', **outputs)
  teacher = frozen_teacher.load(str(tmp_path / 'outputs.npz'), 'colours')
  folder = labelling.ensure(tmp_path / 'records', manifest, [teacher])
  for number, shard in enumerate(written):
    stored = read_shard(folder / f'labels-{number:05d}-of-00003.tfrecord')
    for window, (video, index, *_) in zip(stored, shard, strict=True):
      rows = outputs[f'video {video}'][2 * index : 2 * index + 2]
      np.testing.assert_allclose(window['outputs'], rows, rtol=2e-3, atol=1e-7)


def test_the_manifest_describes_records_and_teachers(tmp_path):
  manifest, written = write_records(tmp_path)
  stored = soft_labels.read_manifest(labelling.ensure(tmp_path, manifest, [make_teacher(dtype='float32')]))
  assert stored['records_digest'] == 'records 1' and stored['params'] == manifest['params']
  assert stored['windows'] == 21 and stored['videos'] == ['video 0', 'video 1']
  assert stored['teachers']['colours'] == {
    'description': {'source': 'a test', 'dtype': 'float32'},
    'digest': 'd1',
    'classes': [f'colour {i}' for i in range(CLASSES)],
  }
  assert [shard['windows'] for shard in stored['shards']] == [len(shard) for shard in written]


@pytest.mark.parametrize('pictures', [0, 2])
def test_long_sound_is_read_from_the_records(tmp_path, monkeypatch, pictures):
  """The batches are those of a folder with the sound in it, and a verification finds both whole."""
  monkeypatch.setattr(input_pipeline, 'BLOCK_WINDOWS', 4)
  teachers, batches, read = [make_teacher()] if pictures else [], [], os.fsdecode(b'r\xe9ad')  # not UTF-8
  for name in ('copied', read):
    monkeypatch.setattr(soft_labels, 'reads_records', lambda params, name=name: name == read)
    manifest, _ = write_records(tmp_path / name, pictures)
    folder = labelling.ensure(tmp_path / name, manifest, teachers)
    assert label_inspection.inspect(folder, manifest | {'digest': 'of others'}) == []
    stored = soft_labels.read_manifest(folder)
    assert ('sound' in stored) == (name == read)
    source = soft_labels.label_source(folder, stored)
    batches.append(list(input_pipeline.training_batches(source, 5, seed=3).take(9).as_numpy_iterator()))
  sizes = [sum(path.stat().st_size for path in (tmp_path / n).glob('labels/*/labels-*')) for n in ('copied', read)]
  assert sizes[0] - sizes[1] > 21 * 2 * manifest['params'].window_samples
  for copied, other in zip(*batches, strict=True):
    assert copied.keys() == other.keys()
    for name in copied:
      np.testing.assert_array_equal(copied[name], other[name], err_msg=name)
  swapped = manifest['shards'][1:] + manifest['shards'][:1]
  renamed = manifest | {'shards': [shard | {'name': f'other-{shard["name"]}'} for shard in manifest['shards']]}
  descriptions = labelling.descriptions(teachers)
  assert soft_labels.is_whole(folder, manifest, descriptions)
  assert not soft_labels.is_whole(folder, renamed, descriptions)
  other = soft_labels.label_source(folder, stored | {'sound': [shard['name'] for shard in swapped]})
  with pytest.raises(tf.errors.InvalidArgumentError, match='not the windows'):
    list(input_pipeline.sequential_batches(other, 5))


@pytest.mark.parametrize(
  ('seconds', 'hertz', 'pictures', 'expected'),
  [(20, 22050, 4, True), (5, 22050, 4, False), (0.04, 16000, 1, False), (0.04, 16000, 0, False), (5, 16000, 0, True)]
  + [(2.048, 16000, 0, True), (2.0, 16000, 0, False)]  # 65,536 bytes, and fewer
  + [(3, 16000, 1, True), (2.9, 16000, 1, False)],  # four times the bytes of a picture, 24,000, and fewer
)
def test_which_windows_are_read_from_the_records(seconds, hertz, pictures, expected):
  params = data_params.RecordParams(seconds, seconds, hertz, images_per_window=pictures)
  assert soft_labels.reads_records(params) == expected


def test_training_reads_what_was_stored(tmp_path):
  manifest, written = write_records(tmp_path)
  folder = labelling.ensure(tmp_path, manifest, [make_teacher()])
  stored = soft_labels.read_manifest(folder)
  batch = next(iter(input_pipeline.sequential_batches(soft_labels.label_source(folder, stored), 100)))
  windows = [window for shard in written for window in shard]
  outputs = np.stack([expected(colours) for *_, colours in windows])
  np.testing.assert_allclose(batch['teacher/colours'], outputs, rtol=2e-3, atol=1e-7)
  assert (batch['audio'].numpy() * 32768 == np.stack([pcm for _, _, pcm, _ in windows])).all()
  assert batch['video_id'].numpy().tolist() == [video for video, *_ in windows]


@pytest.mark.parametrize(('outputs', 'total'), [(batch_keys.MULTI_LABEL, 0.5), (None, 1)])
def test_outputs_of_several_labels_at_once_keep_their_sum(tmp_path, outputs, total):
  manifest, _ = write_records(tmp_path)
  teacher = dataclasses.replace(make_teacher(outputs=outputs), probabilities=lambda images: predict(images) / 2)
  folder = labelling.ensure(tmp_path, manifest, [teacher])
  source = soft_labels.label_source(folder, soft_labels.read_manifest(folder))
  batch = next(iter(input_pipeline.sequential_batches(source, 100)))
  np.testing.assert_allclose(batch['teacher/colours'].numpy().sum(-1), total, rtol=2e-3)


@pytest.mark.parametrize(
  ('changed', 'same'),
  [
    ({}, True),
    ({'source': 'elsewhere'}, True),
    ({'dtype': 'bfloat16'}, False),
    ({'input_range': [0, 1]}, False),
    ({'outputs': batch_keys.MULTI_LABEL}, False),
  ],
)
def test_the_name_of_the_folder_is_that_of_what_changes_outputs(changed, same):
  about = {'source': 'a test', 'dtype': 'float32', 'input_range': None, 'outputs': 'probabilities'}
  teachers = {name: {'digest': name, 'description': about} for name in ('a', 'b')}
  other = {'b': teachers['b'], 'a': {'digest': 'a', 'description': about | changed}}  # in another order too
  assert (soft_labels.key('records', teachers) == soft_labels.key('records', other)) == same
  assert len(soft_labels.key('records', teachers)) == 16
  for records_digest, digest in (('others', 'a'), ('records', 'c')):
    different = teachers | {'a': {'digest': digest, 'description': about}}
    assert soft_labels.key(records_digest, different) != soft_labels.key('records', teachers)


def test_outputs_of_other_windows_are_not_whole(tmp_path):
  manifest, _ = write_records(tmp_path)
  folder, about = labelling.ensure(tmp_path, manifest, [make_teacher()]), labelling.descriptions([make_teacher()])
  assert soft_labels.is_whole(folder, manifest, about)
  shards = [shard | {'windows': windows} for shard, windows in zip(manifest['shards'], (6, 8, 7), strict=True)]
  renamed = {'colours': about['colours'] | {'classes': list('abcde')}}
  others = [{'shards': shards}, {'videos': manifest['videos'][::-1]}, {'digest': 'records 2'}]
  assert not any(soft_labels.is_whole(folder, manifest | other, about) for other in others)
  assert not soft_labels.is_whole(folder, manifest, renamed)
  assert soft_labels.is_whole(tmp_path, manifest, about) is False
  assert soft_labels.is_finished(folder / 'labels-00000-of-00003.tfrecord', 7)
  assert soft_labels.is_finished(folder / 'none.tfrecord', 7) is False


def test_several_teachers_stand_side_by_side(tmp_path):
  manifest, written = write_records(tmp_path)
  folder = labelling.ensure(tmp_path, manifest, [make_teacher(), make_teacher(name='again', in_graph=True)])
  path = folder / 'labels-00002-of-00003.tfrecord'
  for one, other in zip(read_shard(path), read_shard(path, teacher='again'), strict=True):
    np.testing.assert_allclose(one['outputs'], other['outputs'], rtol=2e-3)
  with pytest.raises(UserError, match='expected are different names'):
    labelling.ensure(tmp_path, manifest, [make_teacher(), make_teacher()])


def test_the_decoder_of_pictures_is_traced_once(tmp_path):
  manifest, _ = write_records(tmp_path)
  labelling.decoder.cache_clear()
  labelling.ensure(tmp_path, manifest, [make_teacher()])
  assert labelling.decoder(manifest['params'], True).experimental_get_tracing_count() == 1


@pytest.mark.parametrize('images', [True, False])
def test_threads_are_given_the_size_of_a_block(tmp_path, monkeypatch, images):
  manifest, _ = write_records(tmp_path, shards=1, windows=input_pipeline.BLOCK_WINDOWS)
  sizes = []
  monkeypatch.setattr(tf_data, 'threads', lambda size: sizes.append(size) or 1)
  batches = labelling.batches(str(tmp_path / 'records-0.tfrecord'), manifest['params'], images=images)
  (block,) = batches.as_numpy_iterator()
  assert sizes == [sum(block[name].nbytes for name in ('audio', 'image') if name in block)]


def test_equal_pictures_are_classified_once_per_block(tmp_path):
  manifest, _ = write_records(tmp_path, same_picture=True)
  batch_sizes = []
  labelling.ensure(tmp_path, manifest, [make_teacher(batch_sizes)], batch_size=64)
  assert batch_sizes == [1, 1, 1]  # one for each shard


def test_a_teacher_whose_outputs_are_stored_does_not_run_again(tmp_path):
  manifest, _ = write_records(tmp_path)
  first, second = [], []
  folder = labelling.ensure(tmp_path, manifest, [make_teacher(first)])
  assert labelling.ensure(tmp_path, manifest, [make_teacher(second)]) == folder
  assert first and not second
  others = [make_teacher(digest='d2'), make_teacher(dtype='bfloat16'), make_teacher(name='other')]
  folders = {labelling.ensure(tmp_path, manifest, [other]) for other in others}
  folders.add(labelling.ensure(tmp_path, manifest | {'digest': 'records 2'}, [make_teacher()]))
  assert len(folders | {folder}) == 5


def test_a_teacher_that_has_run_does_not_run_again_beside_another(tmp_path, monkeypatch):
  monkeypatch.setattr(input_pipeline, 'BLOCK_WINDOWS', 2)
  manifest, _ = write_records(tmp_path)
  first = labelling.ensure(tmp_path, manifest, [make_teacher()])
  again, other = [], []
  pair = [make_teacher(again, name='renamed'), make_teacher(other, name='other', digest='d2')]
  with pytest.raises(Interrupted):  # in the second of four blocks of the first shard
    labelling.ensure(tmp_path, manifest, [pair[0], make_teacher([], 1, name='other', digest='d2')])
  both = labelling.ensure(tmp_path, manifest, pair)
  assert other and not again
  for shard in ('labels-00000-of-00003.tfrecord', 'labels-00001-of-00003.tfrecord', 'labels-00002-of-00003.tfrecord'):
    rows = read_shard(first / shard), read_shard(both / shard, teacher='renamed')
    assert len(rows[0]) == len(rows[1]) == 7
    for one, same in zip(*rows, strict=True):
      assert (one['video'], one['index']) == (same['video'], same['index'])
      np.testing.assert_array_equal(one['outputs'], same['outputs'])
      np.testing.assert_array_equal(one['pcm'], same['pcm'])
  alone = []
  labelling.ensure(tmp_path, manifest, [make_teacher(alone, name='other', digest='d2')])
  assert not alone  # one of two, without the other
  labelling.ensure(tmp_path, manifest, [make_teacher(alone, name='other', digest='d2', dtype='bfloat16')])
  assert alone


def test_stored_outputs_that_are_damaged_are_one_line(tmp_path):
  manifest, _ = write_records(tmp_path)
  first = labelling.ensure(tmp_path, manifest, [make_teacher()])
  shard = first / 'labels-00001-of-00003.tfrecord'
  content = shard.read_bytes()
  shard.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
  with pytest.raises(UserError, match=f'{shard.name}: damaged .*tfrecords.verify {tmp_path} --repair') as caught:
    labelling.ensure(tmp_path, manifest, [make_teacher(name='renamed')])
  assert '\n' not in str(caught.value)


def test_pictures_are_read_only_for_a_teacher_that_runs(tmp_path, monkeypatch):
  manifest, _ = write_records(tmp_path)
  real, with_pictures = labelling.batches, []
  monkeypatch.setattr(labelling, 'batches', lambda *of: (with_pictures.append(of[3]), real(*of))[1])
  for teacher, reads in ((make_teacher(), True), (make_teacher(name='renamed'), False)):
    labelling.ensure(tmp_path, manifest, [teacher])
    assert set(with_pictures) == {reads}
    with_pictures.clear()


def test_stored_outputs_of_other_windows_are_one_line(tmp_path):
  manifest, _ = write_records(tmp_path)
  first = labelling.ensure(tmp_path, manifest, [make_teacher()])
  one, other = (first / f'labels-0000{number}-of-00003.tfrecord' for number in (0, 1))
  contents = one.read_bytes(), other.read_bytes()
  assert len(contents[0]) == len(contents[1])
  one.write_bytes(contents[1])
  other.write_bytes(contents[0])
  with pytest.raises(UserError, match=f'{one}: not the windows of the records; .*tfrecords.verify {tmp_path} --repair'):
    labelling.ensure(tmp_path, manifest, [make_teacher(name='renamed')])


def test_other_class_names_are_stored_without_running_the_teacher(tmp_path):
  manifest, _ = write_records(tmp_path)
  labelling.ensure(tmp_path, manifest, [make_teacher()])
  batch_sizes = []
  renamed = dataclasses.replace(make_teacher(batch_sizes), class_names=list('abcde'))
  folder = labelling.ensure(tmp_path, manifest, [renamed])
  assert soft_labels.read_manifest(folder)['teachers']['colours']['classes'] == list('abcde')
  assert not batch_sizes


def test_a_killed_run_goes_on_after_its_finished_shards(tmp_path):
  manifest, _ = write_records(tmp_path, pictures=1)
  whole = labelling.ensure(tmp_path, manifest, [make_teacher()], batch_size=4)
  expected_files = {path.name: path.read_bytes() for path in whole.iterdir()}
  for path in whole.iterdir():
    path.unlink()
  with pytest.raises(Interrupted):  # seven windows per shard, two batches each: in the middle of the second shard
    labelling.ensure(tmp_path, manifest, [make_teacher([], stop_after=3)], batch_size=4)
  left = {path.name for path in whole.iterdir()}
  assert 'labels-00000-of-00003.tfrecord' in left and '.labels-00001-of-00003.tfrecord.partial' in left
  assert 'labels-00001-of-00003.tfrecord' not in left and 'manifest.json' not in left
  with pytest.raises(UserError, match='no finished soft labels'):
    soft_labels.read_manifest(whole)
  (whole / '.labels-00000-of-00003.tfrecord.lock').touch()  # of a run that was killed before it removed it
  batch_sizes = []
  assert labelling.ensure(tmp_path, manifest, [make_teacher(batch_sizes)], batch_size=4) == whole
  assert sum(batch_sizes) == 14
  assert {path.name: path.read_bytes() for path in whole.iterdir()} == expected_files


@pytest.mark.parametrize('tail', [b'', b'torn', b'\0' * 40, b'\0' * 100_000])
def test_a_killed_run_goes_on_inside_a_shard(tmp_path, monkeypatch, tail):
  monkeypatch.setattr(input_pipeline, 'BLOCK_WINDOWS', 2)  # ten blocks of two windows, one of one
  manifest, _ = write_records(tmp_path, pictures=1, shards=1)
  whole = labelling.ensure(tmp_path, manifest, [make_teacher()])
  expected_files = {path.name: path.read_bytes() for path in whole.iterdir()}
  for path in whole.iterdir():
    path.unlink()
  with pytest.raises(Interrupted):
    labelling.ensure(tmp_path, manifest, [make_teacher([], stop_after=6)])
  with open(whole / '.labels-00000-of-00001.tfrecord.partial', 'ab') as file:
    file.write(tail)
  batch_sizes = []
  labelling.ensure(tmp_path, manifest, [make_teacher(batch_sizes)])
  assert batch_sizes == [2, 2, 2, 2, 1]
  assert {path.name: path.read_bytes() for path in whole.iterdir()} == expected_files


def test_a_shard_that_is_cut_or_gone_is_made_again(tmp_path):
  manifest, _ = write_records(tmp_path, pictures=1)
  folder = labelling.ensure(tmp_path, manifest, [make_teacher()])
  first, second = (folder / f'labels-0000{number}-of-00003.tfrecord' for number in (0, 1))
  expected_files = first.read_bytes(), second.read_bytes()
  first.write_bytes(expected_files[0][:-5])
  second.unlink()
  with pytest.raises(UserError, match='labels-00000-of-00003.tfrecord: missing or truncated'):
    soft_labels.read_manifest(folder)
  batch_sizes = []
  labelling.ensure(tmp_path, manifest, [make_teacher(batch_sizes)])
  assert sum(batch_sizes) == 14 and (first.read_bytes(), second.read_bytes()) == expected_files


def test_untrusted_manifests_are_checked(tmp_path):
  manifest, _ = write_records(tmp_path)
  folder = labelling.ensure(tmp_path, manifest, [make_teacher()])
  path = folder / 'manifest.json'
  content = json.loads(path.read_text())
  path.write_text(json.dumps(content | {'windows': 22}))
  with pytest.raises(UserError, match='was changed after it was written'):
    soft_labels.read_manifest(folder)
  del content['checksum']  # as older versions wrote it
  for change, line in (
    ({'format_version': 99}, 'format 99, but this program reads 1'),
    (
      {'windows': 7, 'shards': [{'name': '../../records-0.tfrecord', 'windows': 7, 'bytes': 1}]},
      'is outside the folder',
    ),
    ({'shards': 3}, 'not a manifest of soft labels'),
    ({'windows': 22}, '22 windows, but shards with others'),
    ({'windows': 21.0}, 'not a manifest of soft labels'),
    ({'params': {'unknown': 1}}, 'not a manifest of soft labels'),
    ({'teachers': {'colours': {}}}, 'not a manifest of soft labels'),
    ({'teachers': ['colours']}, 'not a manifest of soft labels'),
    ({'shards': [content['shards'][0] | {'windows': 21, 'bytes': '1'}]}, 'not a manifest of soft labels'),
    ({'sound': ['a.tfrecord', '../b.tfrecord', 'c.tfrecord']}, 'is outside the folder'),
    ({'sound': ['a.tfrecord']}, 'other names of shards with sound'),
  ):
    path.write_text(json.dumps(content | change))
    with pytest.raises(UserError, match=line):
      soft_labels.read_manifest(folder)
  path.write_text('{')
  with pytest.raises(UserError, match='not a manifest'):
    soft_labels.read_manifest(folder)


def test_answers_in_a_store_are_deleted_by_hand(tmp_path, monkeypatch):
  monkeypatch.setattr(store_mirror, 'mirror_of', lambda folder: (tmp_path, None))
  assert soft_labels.advice_for(tmp_path / 'labels/1') == f'delete {tmp_path}/labels/1 and train again'


@pytest.mark.parametrize(('most', 'listed'), [(2, ['video 0', 'video 1']), (1, [])])
def test_the_ids_of_many_videos_are_not_listed_again(tmp_path, monkeypatch, most, listed):
  monkeypatch.setattr(video_table, 'IN_JSON', most)
  assert soft_labels.listed_videos(write_records(tmp_path)[0]) == listed


@pytest.mark.parametrize('teachers', [{}, {'colours': {}}, {'colours': 3}, []])
def test_a_manifest_without_its_teacher_is_written_again(tmp_path, teachers):
  manifest, _ = write_records(tmp_path)
  folder = labelling.ensure(tmp_path, manifest, [make_teacher()])
  path = folder / 'manifest.json'
  whole = path.read_text()
  path.write_text(json.dumps(json.loads(whole) | {'teachers': teachers}))
  assert not labelling.is_stored(tmp_path, manifest, [make_teacher()])
  labelling.ensure(tmp_path, manifest, [make_teacher()])
  assert json.loads(path.read_text()) == json.loads(whole)


def test_damaged_records_are_one_line(tmp_path):
  manifest, _ = write_records(tmp_path)
  path = tmp_path / 'records-1.tfrecord'
  content = path.read_bytes()
  path.write_bytes(content[:200] + b'\x00\x01\x02\x03' + content[204:])
  with pytest.raises(UserError, match='records-1.tfrecord: record at byte .*tfrecords.verify .* --repair') as caught:
    labelling.ensure(tmp_path, manifest, [make_teacher()])
  assert '\n' not in str(caught.value)
  path.write_bytes(b'')  # whole, but not the seven windows that the manifest lists
  with pytest.raises(UserError, match='records-1.tfrecord: not the windows of its manifest'):
    labelling.ensure(tmp_path, manifest, [make_teacher()])
  path.write_bytes(content)
  larger = manifest | {'params': dataclasses.replace(manifest['params'], image_size=24)}
  with pytest.raises(UserError, match='records-0.tfrecord: not the windows of its manifest; .* --repair'):
    labelling.ensure(tmp_path, larger, [make_teacher(digest='d4')])
  renamed = manifest | {'videos': [{'id': 'another', 'digest': '', 'windows': 0, 'first_window': 0}]}
  with pytest.raises(UserError, match='is not in the manifest'):
    labelling.ensure(tmp_path, renamed, [make_teacher(digest='d3')])


def test_stored_outputs_serve_where_nothing_can_be_written(tmp_path, monkeypatch):
  manifest, _ = write_records(tmp_path)
  folder = labelling.ensure(tmp_path, manifest, [make_teacher()])

  def read_only(*_, **__):
    raise OSError(errno.EROFS, 'Read-only file system')

  monkeypatch.setattr(fcntl, 'flock', read_only)
  monkeypatch.setattr('pathlib.Path.mkdir', read_only)
  monkeypatch.setattr(
    'builtins.open',
    lambda path, mode='r', *_, open=open, **k: read_only() if set(mode) & set('wax+') else open(path, mode, *_, **k),
  )
  assert labelling.ensure(tmp_path, manifest, [make_teacher()]) == folder
  with pytest.raises(OSError, match='Read-only'):
    labelling.ensure(tmp_path, manifest, [make_teacher(digest='d2')])
