"""Stored codec variants: order, resume after a kill, damage, verification, and their use as an augmentation."""

import errno
import json
import os

import built_records
import flips
import numpy as np
import pytest
import synthetic_records
import tensorflow as tf
from augmented_batches import batch_of

from audionet_tf.core.errors import DiskFullError, UserError
from audionet_tf.data import augmentation, codec_pass, codec_variants, record_manifest, records
from audionet_tf.data.params import RecordParams
from audionet_tf.data.shards import tfrecord_io
from audionet_tf.media import codecs
from tfrecords import codec_inspection, label_inspection, verification

PARAMS = RecordParams(window_seconds=0.05, hop_seconds=0.05, sample_rate_hz=16000, images_per_window=0)
VIDEOS = {'a.mp4': 4, 'b.mp4': 6, 'c.mp4': 3}
RATE, SAMPLES = PARAMS.sample_rate_hz, PARAMS.window_samples


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """(folder of records, their sound by (video, index), manifest, Variants); never changed for good."""
  folder = tmp_path_factory.mktemp('records')
  pcm = synthetic_records.write_records(folder, VIDEOS, PARAMS, first_window=2)
  manifest = records.read_manifest(folder)
  return folder, pcm, manifest, codec_pass.ensure(folder, manifest)


@pytest.fixture
def stored(made):
  """Folder of the variants; it is put back after the test."""
  (folder,) = (made[0] / codec_variants.FOLDER).iterdir()
  kept = flips.contents(folder)
  yield folder
  flips.put_back(folder, kept)


def files_of(folder):
  return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name[0] != '.'}


def test_each_variant_is_that_of_its_window(made):
  _, pcm, manifest, variants = made
  ids = [video['id'] for video in manifest['videos']]
  assert variants.count == len(codecs.CODECS) and len(pcm) == 13
  for (video, index), sound in pcm.items():
    place = np.full(variants.count, ids.index(video)), np.full(variants.count, index)
    for name, coded in zip(codecs.CODECS, variants.read(*place, np.arange(variants.count)), strict=True):
      np.testing.assert_array_equal(coded, codecs.through(sound, RATE, name))


def test_variants_serve_where_nothing_can_be_written(made, monkeypatch):
  def read_only(*_, **__):
    raise OSError(errno.EROFS, 'Read-only file system')

  monkeypatch.setattr('pathlib.Path.mkdir', read_only)
  monkeypatch.setattr(codec_pass.files, 'locked', read_only)
  assert codec_pass.ensure(made[0], made[2]).digest == made[3].digest


def test_a_full_disk_names_the_folder_of_the_variants(made, tmp_path, monkeypatch):
  def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(codec_pass, 'make', full)
  with pytest.raises(DiskFullError, match=f'^{tmp_path}/.*: no space left'):
    codec_pass.ensure(tmp_path, made[2])


def test_a_second_training_makes_nothing(made, stored, monkeypatch, capsys):
  before = files_of(stored)
  monkeypatch.setattr(codecs, 'through', None)
  again = codec_pass.ensure(made[0], made[2])
  assert again.digest == made[3].digest and files_of(stored) == before and not capsys.readouterr().err


def test_a_killed_pass_goes_on_after_its_last_whole_window(made, stored, monkeypatch, capsys):
  whole = files_of(stored)
  calls, through = [], codecs.through

  def killed(pcm, rate_hz, name):
    calls.append(name)
    if len(calls) > 5 * len(codecs.CODECS):
      raise KeyboardInterrupt
    return through(pcm, rate_hz, name)

  for path in stored.iterdir():
    path.unlink()
  monkeypatch.setattr(codecs, 'through', killed)
  monkeypatch.setattr(codec_pass, 'WINDOWS_AT_ONCE', 1)
  monkeypatch.setattr(codec_pass.joblib, 'cpu_count', lambda: 1)
  with pytest.raises(KeyboardInterrupt):
    codec_pass.ensure(made[0], made[2])
  assert 'MB in ' in capsys.readouterr().err
  (partial,) = stored.glob('.*.partial')
  assert not list(stored.glob('codecs-*'))
  with open(partial, 'ab') as file:
    file.write(b'half a record')
  calls.clear()
  monkeypatch.setattr(codecs, 'through', lambda *arguments: calls.append(arguments[2]) or through(*arguments))
  codec_pass.ensure(made[0], made[2])
  assert len(calls) == (13 - 5) * len(codecs.CODECS)
  assert files_of(stored) == whole


def test_too_small_a_disk_is_said_before_anything_is_written(made, stored, monkeypatch):
  for path in stored.iterdir():
    path.unlink()
  usage = type('Usage', (), {'free': 1 << 20})
  monkeypatch.setattr(codec_pass.shutil, 'disk_usage', lambda folder: usage)
  with pytest.raises(UserError, match=r'codec take 0 MB and 1 MB are free; make room') as caught:
    codec_pass.ensure(made[0], made[2])
  assert '\n' not in str(caught.value) and not files_of(stored)


def test_damaged_records_are_named(tmp_path):
  synthetic_records.write_records(tmp_path, VIDEOS, PARAMS)
  flips.flip(tmp_path / 'records-1.tfrecord', 1, 20, 1000)
  with pytest.raises(UserError, match=r'records-1.tfrecord: record at byte 0: wrong checksum; .* --repair') as caught:
    codec_pass.ensure(tmp_path, records.read_manifest(tmp_path))
  assert '\n' not in str(caught.value)


def augment(variants, batch, value=0.3, seed=(0, 0), mapped=False, **more):
  """As `augmented_batches.augmented`, with variants."""
  change = augmentation.augmenter({'codec': value, **more}, RATE, variants)
  if mapped:
    dataset = tf.data.Dataset.from_tensor_slices(batch).batch(len(batch['mask']))
    return next(iter(dataset.map(lambda x: change(x, tf.constant(seed, tf.int64)))))
  return change({name: tf.constant(x) for name, x in batch.items()}, tf.constant(seed, tf.int64))


def windows_batch(made):
  """A batch of all windows, as from the records."""
  _, pcm, manifest, _ = made
  ids = [video['id'] for video in manifest['videos']]
  batch = batch_of(len(pcm), SAMPLES)
  batch['audio'] = np.stack([sound / np.float32(32768) for sound in pcm.values()])
  batch['video_id'] = np.array([ids.index(video) for video, _ in pcm], np.int64)
  batch['index'] = np.array([index for _, index in pcm], np.int64)
  return batch


@pytest.mark.parametrize('mapped', [False, True])
def test_a_share_of_the_windows_gets_one_of_its_own_variants(made, mapped):
  _, pcm, _, variants = made
  batch, drawn = windows_batch(made), []
  coded = [[codecs.through(sound, RATE, name) / np.float32(32768) for name in codecs.CODECS] for sound in pcm.values()]
  for number in range(30):
    result = augment(variants, batch, 0.3, (1, number), mapped)
    np.testing.assert_array_equal(result['teacher/a'], batch['teacher/a'])
    for before, after, variants_of in zip(batch['audio'], result['audio'].numpy(), coded, strict=True):
      (form,) = [i for i, form in enumerate([before, *variants_of]) if np.array_equal(form, after)]
      drawn.append(form)
  counts = np.bincount(drawn, minlength=5)
  assert 0.22 < 1 - counts[0] / len(drawn) < 0.38
  assert counts[1:].min() > 0.6 * counts[1:].mean()


def test_what_a_window_gets_depends_on_seed_pass_video_and_index_alone(made):
  batch = windows_batch(made)
  whole = augment(made[3], batch, 0.5, (5, 3))['audio'].numpy()
  chosen = [9, 2, 7]
  some = augment(made[3], {name: x[chosen] for name, x in batch.items()}, 0.5, (5, 3), mapped=True)['audio'].numpy()
  np.testing.assert_array_equal(some, whole[chosen])
  for seed in ((5, 4), (6, 3)):
    assert (augment(made[3], batch, 0.5, seed)['audio'].numpy() != whole).any()
  nobody = augment(made[3], batch, 1e-9)
  np.testing.assert_array_equal(nobody['audio'], batch['audio'])


def test_codec_comes_before_all_others(made):
  batch = windows_batch(made)
  coded = augment(made[3], batch, 1)
  both = augment(made[3], batch, 1, gain=12)
  gain = augmentation.augmenter({'gain': 12}, RATE)(coded, tf.constant([0, 0], tf.int64))
  np.testing.assert_array_equal(both['audio'], gain['audio'])
  assert next(iter(augmentation.parse(['gain', 'mix', 'codec']))) == 'codec'
  assert augmentation.parse(['codec']) == {'codec': 0.3}


def test_the_draws_of_the_others_keep_their_values():
  """As they were when `codec` was not in the table: shift, speed, band, background_level."""
  seeds = augmentation.example_seeds(*(tf.constant(x, tf.int64) for x in ([4, 2], [3, 0], [5, 9])))
  expected = [[0.79553092, 0.78472531, 0.21899998, 0.73153305], [0.52619219, 0.51802206, 0.08877945, 0.05637157]]
  columns = [augmentation.DRAWS.index(name) for name in ('shift', 'speed', 'band', 'background_level')]
  assert columns == [0, 9, 20, 29]
  np.testing.assert_allclose(augmentation.uniform_draws(seeds).numpy()[:, columns], expected, atol=1e-7)


def other_records(made):
  """The manifest of other records: those of this test are not in the builder's order, which the inspection expects."""
  return made[2] | {'digest': 'others'}


def test_whole_variants_have_no_fault(made, stored):
  counted = []
  assert codec_inspection.inspect(stored, other_records(made), counted.append) == [] and sum(counted) == 13


@pytest.mark.parametrize('seed', range(6))
def test_a_flipped_bit_is_named_and_only_its_file_made_again(made, stored, seed):
  whole = files_of(stored)
  path = sorted(stored.glob('codecs-*'))[seed % 2]
  flips.flip(path, seed)
  ((damaged, fault),) = codec_inspection.inspect(stored, other_records(made))
  assert damaged == path and fault.startswith(f'{path}: ') and '\n' not in fault
  label_inspection.take_away(stored, {path})  # as --repair does
  times = {p: p.stat().st_mtime_ns for p in stored.glob('codecs-*')}
  assert codec_pass.ensure(made[0], made[2]).digest == made[3].digest
  assert files_of(stored) == whole and all(p.stat().st_mtime_ns == time for p, time in times.items())


def swap_windows(path):
  """Two windows change places, with right checksums."""
  content, length = path.read_bytes(), codec_variants.record_bytes(SAMPLES) * len(codecs.CODECS)
  path.write_bytes(content[length : 2 * length] + content[:length] + content[2 * length :])


def test_no_file_outside_the_folder_is_taken_for_one_of_it(made, stored, tmp_path):
  manifest = json.loads((stored / 'manifest.json').read_text())
  del manifest['checksum']
  manifest['shards'][0]['name'] = str(tmp_path / 'mine')
  (stored / 'manifest.json').write_text(json.dumps(manifest))
  ((damaged, fault),) = codec_inspection.inspect(stored, other_records(made))
  assert damaged == stored / 'manifest.json' and 'is outside the folder' in fault


@pytest.mark.parametrize('way', ['cut', 'empty', 'gone', 'longer', 'swapped'])
def test_other_damage_is_found(made, stored, way):
  path = sorted(stored.glob('codecs-*'))[0]
  content = path.read_bytes()
  if way == 'gone':
    path.unlink()
  elif way == 'swapped':
    swap_windows(path)
  else:
    path.write_bytes({'cut': content[:-7], 'empty': b'', 'longer': content + tfrecord_io.framed(b'')}[way])
  ((damaged, _),) = codec_inspection.inspect(stored, other_records(made))
  assert damaged == path


@pytest.mark.parametrize('edit', [{'codecs': []}, {'windows': 3}, {'shards': 7}, {'format_version': 9}])
def test_an_edited_manifest_is_found_and_written_anew(made, stored, edit):
  path = stored / 'manifest.json'
  kept = path.read_bytes()
  manifest = json.loads(kept)
  del manifest['checksum']
  path.write_text(json.dumps(manifest | edit))
  faults = codec_inspection.inspect(stored, other_records(made))
  assert any(damaged == path and '\n' not in fault for damaged, fault in faults)
  codec_pass.ensure(made[0], made[2])
  assert path.read_bytes() == kept


def test_verify_reads_variants_of_built_records_and_repair_takes_damage_away(tmp_path):
  built_records.build(built_records.three(tmp_path / 'videos'), tmp_path / 'records')
  folder = tmp_path / 'records'
  codec_pass.ensure(folder, record_manifest.read(folder))
  assert verification.verify(folder) == []
  path = sorted(folder.glob('codecs/*/codecs-*'))[1]
  content = path.read_bytes()
  flips.flip(path, 0)
  (fault,) = verification.verify(folder)
  assert fault.startswith(f'{path}: ')
  assert verification.repair(folder) == ([fault], [])
  assert not path.exists() and verification.verify(folder) == []
  codec_pass.ensure(folder, record_manifest.read(folder))
  assert path.read_bytes() == content and verification.verify(folder) == []


@pytest.mark.parametrize('windows', [1, 10**13, 10**400])
def test_a_manifest_with_other_numbers_of_windows_is_a_fault(made, stored, windows):
  content = json.loads((stored / 'manifest.json').read_text())
  del content['checksum']
  content['windows'] += windows - content['shards'][0]['windows']
  content['shards'][0]['windows'] = windows
  (stored / 'manifest.json').write_text(json.dumps(content))
  (fault,) = (fault for _, fault in codec_inspection.inspect(stored, other_records(made)))
  assert fault.endswith(f'has not {len(codecs.CODECS)} variants of {windows} windows')
