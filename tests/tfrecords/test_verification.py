"""Damaged records are found, named and built again to the same bytes; manifests edited by hand are refused."""

import json
import os
import shutil
import types

import built_records
import commands
import flips
import media_clips
import numpy as np
import pytest

from audionet_tf.core import digests
from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import object_store, store_mirror
from audionet_tf.data import records, soft_labels
from audionet_tf.data.shards import tfrecord_io
from tfrecords import inspection, verification

SEEDS = range(30)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """(folder of the videos, folder of their records, its files), never changed by a test for good."""
  folder = tmp_path_factory.mktemp('whole')
  videos = built_records.three(folder / 'videos')
  built_records.build(videos, folder / 'records', shard_count=3)
  return videos, folder / 'records', flips.contents(folder / 'records')


@pytest.fixture
def built(whole):
  """As `whole`; the files are put back after the test."""
  yield whole
  flips.put_back(whole[1], whole[2])


def shards_of(folder):
  return sorted(folder.glob('records-*.tfrecord'))


def build(built):
  return built_records.build(built[0], built[1], shard_count=3)


def faults_of(folder):
  return verification.verify(folder)


def test_whole_records_have_no_fault(built):
  assert faults_of(built[1]) == []
  before = {path: path.stat().st_mtime_ns for path in built[1].iterdir()}
  assert verification.repair(built[1]) == ([], [])
  assert {path: path.stat().st_mtime_ns for path in built[1].iterdir() if path.name != '.lock'} == {
    path: time for path, time in before.items() if path.name != '.lock'
  }


@pytest.mark.parametrize('seed', SEEDS)
def test_a_flipped_bit_of_a_shard_is_named_and_mended_by_the_build_and_by_repair(built, seed):
  _, folder, files = built
  shard = shards_of(folder)[seed % 3]
  flips.flip(shard, seed)
  faults = faults_of(folder)
  assert len(faults) in (1, 2) and all('\n' not in fault for fault in faults) and str(shard) in faults[0]
  if seed % 2:
    summary = build(built)
    assert summary.built >= 1 and summary.windows == 60
  else:
    found, left = verification.repair(folder)
    assert found == faults and left == []
  assert flips.contents(folder) == files
  assert faults_of(folder) == []


def test_only_the_videos_of_damaged_records_are_decoded_again(built):
  shard = shards_of(built[1])[1]
  offset, length = tfrecord_io.record_offsets(shard)[5]
  flips.flip(shard, 0, offset + 12, offset + length)
  assert (build(built).built, build(built).built) == (1, 0)
  assert flips.contents(built[1]) == built[2]


def test_a_damaged_record_is_never_copied_into_new_shards(built, tmp_path):
  videos = shutil.copytree(built[0], tmp_path / 'videos')
  built_records.build(videos, tmp_path / 'out')
  shard = shards_of(tmp_path / 'out')[0]
  offset, _ = tfrecord_io.record_offsets(shard)[2]
  flips.flip(shard, 3, offset + 12, offset + 40)
  media_clips.write(videos / 'd.mkv', seconds=0.8)
  assert built_records.build(videos, tmp_path / 'out').built == 2
  built_records.build(videos, tmp_path / 'fresh')
  assert built_records.shard_bytes(tmp_path / 'out') == built_records.shard_bytes(tmp_path / 'fresh')


class Killed(Exception):
  """Stands for the end of the process."""


def killed(path, **options):
  """shutil.rmtree of a process that dies where it would remove the parts."""
  if path.name == '.parts':
    raise Killed


@pytest.mark.parametrize('way', ['build', 'repair'])
def test_what_a_killed_run_left_beside_whole_records_is_removed(built, monkeypatch, way):
  """All is written again, and its parts still stand; partial files are of other moments."""
  _, folder, files = built
  flips.flip(shards_of(folder)[0], 0, 12, 1000)
  with monkeypatch.context() as patched, pytest.raises(Killed):
    patched.setattr(shutil, 'rmtree', killed)
    verification.repair(folder)
  assert list((folder / '.parts').glob('*.tfrecord')) and faults_of(folder) == []
  partial = (
    '.manifest.partial.json',
    '.manifest.backup.partial.json',
    'records-00000000-00000-of-00003.tfrecord.partial',
  )
  for name in partial:
    (folder / name).write_bytes(b'torn')
  if way == 'build':
    build(built)
  else:
    (folder / '.failures.partial.json').touch()
    (folder / '.parts/0.partial').touch()
    assert verification.repair(folder) == ([], [])
  assert flips.contents(folder) == files and not (folder / '.parts').exists()


def test_a_repair_keeps_finished_parts_of_videos_that_are_still_to_come(built):
  part = built[1] / '.parts/of-another-video.tfrecord'
  part.parent.mkdir()
  part.write_bytes(b'records')
  assert verification.repair(built[1]) == ([], [])
  assert part.read_bytes() == b'records'


def change(damage):
  """The ways to spoil the three shards of a folder that are no flip: cut, gone, longer, swapped, a record replaced."""
  first, second, _ = paths = damage['paths']
  if damage['kind'] == 'cut':
    first.write_bytes(first.read_bytes()[: damage['at']])
  elif damage['kind'] == 'gone':
    first.unlink()
  elif damage['kind'] == 'longer':
    first.write_bytes(first.read_bytes() + tfrecord_io.framed(b'more'))
  elif damage['kind'] == 'swapped':
    contents = [path.read_bytes() for path in paths]
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
  elif damage['kind'] == 'replaced':  # by another one whose checksums are right
    spans, content = tfrecord_io.record_offsets(first), first.read_bytes()
    framed = [content[offset : offset + length] for offset, length in spans]
    first.write_bytes(b''.join([framed[1], *framed[1:]]))
  else:  # sound of the right length and checksum, but not what was built
    (offset, length), content = tfrecord_io.record_offsets(first)[0], first.read_bytes()
    example = tfrecord_io.example_class().FromString(content[offset + 12 : offset + length - 4])
    example.features.feature['audio/pcm'].bytes_list.value[0] = bytes(1280)
    first.write_bytes(tfrecord_io.framed(example.SerializeToString(deterministic=True)) + content[offset + length :])


@pytest.mark.parametrize('way', ['build', 'repair'])
@pytest.mark.parametrize('kind', ['cut 0', 'cut 1', 'cut 5000', 'gone', 'longer', 'swapped', 'replaced', 'other sound'])
def test_other_damage_is_mended_too(built, kind, way):
  name, _, at = kind.partition(' ')
  change({'paths': shards_of(built[1]), 'kind': name, 'at': int(at) if at.isdigit() else 0})
  assert faults_of(built[1])
  if way == 'build':
    build(built)
  else:
    assert verification.repair(built[1])[1] == []
  assert flips.contents(built[1]) == built[2]


@pytest.mark.parametrize('seed', SEEDS)
def test_a_flipped_bit_of_a_manifest_is_refused_and_repaired(built, seed):
  """Flips of white space and of names of keys' order change no value: they are mended too, but nothing refuses them."""
  _, folder, files = built
  path = folder / ('manifest.json' if seed % 3 else 'manifest.backup.json')
  flips.flip(path, seed)
  faults = faults_of(folder)
  assert len(faults) == 1 and str(path) in faults[0] and '\n' not in faults[0]
  try:
    changed = json.loads(path.read_text()) != json.loads(files[path.name])
  except ValueError:
    changed = True
  if changed and path.name == 'manifest.json':
    for use in (records.read_manifest, lambda folder: build(built)):
      with pytest.raises(UserError, match=r'manifest.json: .*tfrecords.verify .* --repair') as caught:
        use(folder)
      assert '\n' not in str(caught.value)
  assert verification.repair(folder) == (faults, [])
  assert flips.contents(folder) == files


def deep(text):
  return text[:-2] + ', "more": ' + '[' * 100_000 + ']' * 100_000 + '}'


EDITS = {
  'id': lambda m: m['videos'][0].update(id='aa.mkv'),
  'twice the same id': lambda m: m['videos'][1].update(id='a.mkv'),
  'lone surrogate': lambda m: m['videos'][0].update(id='\ud800'),
  'order': lambda m: m['videos'].reverse(),
  'count of a video': lambda m: m['videos'][0].update(windows=14),
  'moved count': lambda m: (m['videos'][0].update(windows=14), m['videos'][1].update(windows=21)),
  'negative count': lambda m: (m['videos'][0].update(windows=-5), m['videos'][1].update(windows=40)),
  'true': lambda m: m['videos'][0].update(windows=True),
  'first window': lambda m: m['videos'][0].update(first_window=1),
  'negative first window': lambda m: m['videos'][0].update(first_window=-1),
  'huge first window': lambda m: m['videos'][0].update(first_window=10**30),
  'digest': lambda m: m['videos'][0].update(digest='0' * 32),
  'digest of all': lambda m: m.update(digest='0' * 32),
  'total': lambda m: m.update(windows=61),
  '1e12 windows': lambda m: (m.update(windows=10**12), m['videos'][0].update(windows=10**12 - 45)),
  '1e12 everywhere': lambda m: (
    m.update(windows=10**12),
    m['videos'][0].update(windows=10**12 - 45),
    m['shards'][0].update(windows=10**12 - 40),
  ),
  'float': lambda m: m.update(windows=60.0),
  'no shards': lambda m: m.update(shards=[]),
  'no videos': lambda m: m.update(videos=[]),
  'one shard': lambda m: m['shards'].pop(),
  'twice a shard': lambda m: m['shards'].__setitem__(1, m['shards'][0]),
  'shard outside': lambda m: m['shards'][0].update(name='../x.tfrecord'),
  'sample rate': lambda m: m['params'].update(sample_rate_hz=8000),
  'window': lambda m: m['params'].update(window_seconds='0.04'),
  'nan': lambda m: m['params'].update(max_seconds=float('nan')),
  'sources': lambda m: m.update(sources=['/']),
  'list': lambda m: [],
}


@pytest.mark.parametrize('sealed', [True, False], ids=['with checksum', 'as older versions wrote them'])
@pytest.mark.parametrize('edit', EDITS)
def test_edited_manifests_are_refused_and_never_mixed(built, edit, sealed):
  videos, folder, files = built
  path = folder / 'manifest.json'
  manifest = json.loads(path.read_text())
  if not sealed:
    (folder / 'manifest.backup.json').unlink()
    del manifest['checksum']
  changed = EDITS[edit](manifest)
  path.write_text(json.dumps([] if changed == [] else manifest))
  faults = faults_of(folder)
  if sealed or edit not in ('sources', 'digest'):  # nobody else knows these two
    assert faults and all('\n' not in fault for fault in faults)
  if sealed:
    for use in (records.read_manifest, lambda folder: build(built)):
      with pytest.raises(UserError, match='manifest.json: ') as caught:
        use(folder)
      assert '\n' not in str(caught.value)
    assert verification.repair(folder) == (faults, [])
    assert flips.contents(folder) == files
    return
  try:
    build(built)
  except UserError as error:
    assert '\n' not in str(error)
  else:  # never mixed: what an older manifest cannot prove is built again
    assert built_records.shard_bytes(folder) == {k: v for k, v in files.items() if k.endswith('.tfrecord')}


@pytest.mark.parametrize('content', [b'', b'\xff\xfe', b'{}', b'3', b'[' * 200_000, b'{"a":' * 200_000, None])
def test_what_is_no_manifest_is_one_line_and_comes_back(built, content):
  _, folder, files = built
  path = folder / 'manifest.json'
  path.write_bytes(deep(files['manifest.json'].decode()).encode() if content is None else content)
  for use in (records.read_manifest, lambda folder: build(built)):
    with pytest.raises(UserError, match='not a manifest') as caught:
      use(folder)
    assert '\n' not in str(caught.value)
  assert verification.repair(folder)[1] == []
  assert flips.contents(folder) == files


def test_without_any_manifest_there_is_nothing_to_verify(built, tmp_path):
  with pytest.raises(UserError, match='no records here'):
    verification.verify(tmp_path)
  for name in ('manifest.json', 'manifest.backup.json'):
    (built[1] / name).write_text('{')
  faults, left = verification.repair(built[1])
  assert len(faults) == 2 and len(left) == 2 and all('build the records again' in fault for fault in left)


def test_what_cannot_be_built_again_is_left_as_it_is(built, tmp_path):
  videos, folder = shutil.copytree(built[0], tmp_path / 'videos'), tmp_path / 'records'
  built_records.build(videos, folder)
  before = flips.contents(folder)
  for shard in shards_of(folder):
    flips.flip(shard, 1, 12, 100)  # in the first record
  damaged = flips.contents(folder)
  ids = sorted(path.name for path in videos.iterdir())
  for name in ids:
    (videos / name).rename(tmp_path / name)
    media_clips.write(videos / name, seconds=0.9)
  faults, left = verification.repair(folder)
  assert len(faults) == 2 and any('has changed since' in fault for fault in left)
  assert flips.contents(folder) == damaged
  for name in ids:
    (videos / name).unlink()
  assert any('not found' in fault for fault in verification.repair(folder)[1])
  for name in ids:
    (tmp_path / name).rename(videos / name)
  media_clips.write(videos / 'new.mkv', seconds=0.5)  # not of these records
  assert verification.repair(folder)[1] == []
  assert flips.contents(folder) == before


def store_labels(folder, seed=0):
  """Stored answers of a teacher 'a' with three classes, as the labelling pass writes them, in blocks of ten windows."""
  manifest = records.read_manifest(folder)
  rows, position = built_records.read(folder), {video['id']: i for i, video in enumerate(manifest['videos'])}
  description = {'dtype': 'float32', 'outputs': 'probabilities'}
  teacher = {'a': {'description': description, 'digest': 'd', 'classes': ['x', 'y', 'z']}}
  labels = folder / 'labels' / soft_labels.key(manifest['digest'], teacher)
  labels.mkdir(parents=True)
  draw, shards = np.random.default_rng(seed), []
  for number, shard in enumerate(manifest['shards']):
    part, rows = rows[: shard['windows']], rows[shard['windows'] :]
    content = b''
    for start in range(0, len(part), 10):
      block = part[start : start + 10]
      answers = draw.dirichlet(np.ones(3), len(block)).astype('<f2')
      features = {
        'audio/pcm': [b''.join(row['audio/pcm'][0] for row in block)],
        'video': [position[row['video/id'][0].decode()] for row in block],
        'index': [row['window/index'][0] for row in block],
        'teacher/a': [answers.tobytes()],
      }
      content += tfrecord_io.framed(tfrecord_io.serialize(features))
    name = f'labels-{number:05d}-of-{len(manifest["shards"]):05d}.tfrecord'
    (labels / name).write_bytes(content)
    shards.append((name, shard['windows']))
  soft_labels.write_manifest(labels, manifest, teacher, shards)
  return labels


@pytest.mark.parametrize('seed', SEEDS)
def test_a_flipped_bit_of_stored_answers_is_named_and_set_aside(built, seed):
  labels = store_labels(built[1])
  assert faults_of(built[1]) == []
  path = sorted(labels.iterdir())[seed % 4]  # three shards, and the manifest
  before = path.read_bytes()
  flips.flip(path, seed)
  if path.suffix == '.json' and json_equal(path.read_bytes(), before):
    return
  faults, left = verification.repair(built[1])
  assert len(faults) == 1 and str(path) in faults[0] and left == []
  assert not (labels / 'manifest.json').exists()  # so that the next training completes the folder
  assert not path.exists()
  assert faults_of(built[1]) == []
  # What the next training takes over is as it was.
  kept = {name for name in flips.contents(labels) if name.startswith('labels-')}
  assert len(kept) == (3 if path.suffix == '.json' else 2)


def json_equal(*texts):
  try:
    first, second = map(json.loads, texts)
  except ValueError:
    return False
  return first == second


@pytest.mark.parametrize('spoil', ['order', 'other windows', 'not finite', 'too short', 'folder name', 'gone'])
def test_stored_answers_that_do_not_belong_to_the_records_are_found(built, spoil):
  labels = store_labels(built[1])
  path = labels / 'labels-00001-of-00003.tfrecord'
  content, spans = path.read_bytes(), tfrecord_io.record_offsets(path)
  blocks = [tfrecord_io.example_class().FromString(content[o + 12 : o + n - 4]) for o, n in spans]
  if spoil == 'order':
    blocks.reverse()
  elif spoil == 'other windows':
    blocks[0].features.feature['index'].int64_list.value[3] += 1
  elif spoil == 'not finite':
    blocks[1].features.feature['teacher/a'].bytes_list.value[0] = np.full([10, 3], np.nan, '<f2').tobytes()
  elif spoil == 'too short':
    blocks[1].features.feature['teacher/a'].bytes_list.value[0] = bytes(12)
  path.write_bytes(b''.join(tfrecord_io.framed(b.SerializeToString(deterministic=True)) for b in blocks))
  if spoil == 'folder name':
    labels = labels.rename(labels.with_name('0' * 16))
  elif spoil == 'gone':
    path.unlink()
  faults, left = verification.repair(built[1])
  assert len(faults) == 1 and str(labels) in faults[0] and left == []
  assert not (labels / 'manifest.json').exists()
  assert faults_of(built[1]) == []


@pytest.mark.parametrize('key', ['video', 'index'])
@pytest.mark.parametrize('finished', [True, False])
def test_a_block_with_other_numbers_of_videos_than_of_windows_is_a_fault(built, key, finished):
  labels = store_labels(built[1])
  path = labels / 'labels-00001-of-00003.tfrecord'
  offset, length = tfrecord_io.record_offsets(path)[0]
  block = tfrecord_io.example_class().FromString(path.read_bytes()[offset + 12 : offset + length - 4])
  block.features.feature[key].int64_list.value.append(0)
  path.write_bytes(tfrecord_io.framed(block.SerializeToString(deterministic=True)))
  if not finished:
    (labels / 'manifest.json').unlink()
  assert faults_of(built[1]) == [f'{path}: record at byte 0: it has other numbers of videos than of windows']


@pytest.mark.parametrize('way', ['absolute', 'above'])
def test_no_file_outside_the_folder_of_answers_is_taken_away(built, tmp_path, way):
  labels = store_labels(built[1])
  victim = tmp_path / 'mine'
  victim.write_text('kept')
  manifest = json.loads((labels / 'manifest.json').read_text())
  del manifest['checksum']
  manifest['shards'][0]['name'] = str(victim) if way == 'absolute' else os.path.relpath(victim, labels)
  (labels / 'manifest.json').write_text(json.dumps(manifest))
  faults, left = verification.repair(built[1])
  assert victim.read_text() == 'kept' and len(faults) == 1 and 'is outside the folder' in faults[0] and left == []


@pytest.mark.parametrize('lacking', ['sources', 'digest'])
def test_a_manifest_that_does_not_say_of_what_it_was_built_is_left_as_it_is(built, lacking):
  _, folder, files = built
  manifest = json.loads(files['manifest.json'])
  del manifest['checksum']
  for row in [manifest] if lacking == 'sources' else manifest['videos']:
    del row[lacking]
  for name in ('manifest.json', 'manifest.backup.json'):
    (folder / name).write_text(json.dumps(manifest))
  shard = shards_of(folder)[0]
  flips.flip(shard, 3)
  damaged = shard.read_bytes()
  _, left = verification.repair(folder)
  assert any('cannot be built again' in fault for fault in left) and shard.read_bytes() == damaged


def test_records_in_a_store_are_verified_with_what_is_stored_beside_them(built, tmp_path, monkeypatch):
  monkeypatch.setenv('AUDIONET_CACHE', str(tmp_path / 'cache'))
  labels = store_labels(built[1])
  for name, content in flips.contents(built[1]).items():
    object_store.put_bytes(f'memory://verified/{name}', content)
  monkeypatch.setattr(inspection.shutil, 'disk_usage', lambda path: types.SimpleNamespace(total=1))
  assert faults_of(store_mirror.mirrored('memory://verified')) == []
  below = labels.relative_to(built[1]).as_posix()
  flipped = bytearray((labels / 'labels-00001-of-00003.tfrecord').read_bytes())
  flipped[40] ^= 1
  object_store.put_bytes(f'memory://verified/{below}/labels-00001-of-00003.tfrecord', bytes(flipped))
  half = shards_of(built[1])[0].read_bytes()
  object_store.put_bytes(f'memory://verified/{shards_of(built[1])[0].name}', half[: len(half) // 2])
  faults = faults_of(store_mirror.mirrored('memory://verified'))
  assert len(faults) == 2 and not any(fault.endswith(': missing') for fault in faults)
  # A folder that no run has finished has no manifest.
  object_store.remove(f'memory://verified/{below}/manifest.json')
  shutil.rmtree(tmp_path / 'cache')
  assert any('labels-00001' in fault for fault in faults_of(store_mirror.mirrored('memory://verified')))


def test_answers_for_other_records_are_no_fault_unless_damaged(built):
  labels = store_labels(built[1])
  manifest = json.loads((labels / 'manifest.json').read_text())
  del manifest['checksum']
  manifest['records_digest'] = 'f' * 32
  other = labels.rename(labels.with_name(soft_labels.key('f' * 32, manifest['teachers'])))
  (other / 'manifest.json').write_text(json.dumps(manifest))
  assert faults_of(built[1]) == []
  flips.flip(other / 'labels-00000-of-00003.tfrecord', 5)
  assert len(faults_of(built[1])) == 1


def test_the_command(built, tmp_path):
  folder, files = built[1], built[2]
  done = commands.run('tfrecords.verify', folder, check=True)
  assert done.stdout == '' and '3 shards, 60 windows' in done.stderr
  shard = shards_of(folder)[2]
  flips.flip(shard, 7, 12, 1000)
  done = commands.run('tfrecords.verify', folder)
  assert done.returncode == 1 and done.stdout.startswith(f'{shard}: ') and done.stdout.count('\n') == 1
  assert '--repair' in done.stderr
  done = commands.run('tfrecords.verify', folder, '--repair', check=True)
  assert done.stdout.startswith(f'{shard}: ') and done.stdout.count('\n') == 1
  assert flips.contents(folder) == files
  for words, message in (((), 'DIR'), ((tmp_path / 'nowhere',), 'no records here'), ((folder, folder), 'one folder')):
    done = commands.run('tfrecords.verify', *words)
    assert done.returncode == 1 and message in done.stderr and done.stderr.count('\n') == 1


def test_it_reads_where_it_may_not_write(built):
  os.chmod(built[1], 0o555)
  try:
    assert faults_of(built[1]) == []
  finally:
    os.chmod(built[1], 0o755)


def test_expected_digest_is_that_of_all_framed_records(built):
  """What the manifest's digest means, computed from the files alone."""
  content = b''.join(path.read_bytes() for path in shards_of(built[1]))
  assert digests.blake2b(content) == records.read_manifest(built[1])['digest']


@pytest.mark.parametrize('key', ['checksum', 'sources'])
def test_a_damaged_name_of_a_key_is_noticed(built, key):
  path = built[1] / 'manifest.json'
  path.write_text(path.read_text().replace(f'"{key}"', f'"{key[:-1]}q"'))
  faults = faults_of(built[1])
  assert len(faults) == 1 and str(path) in faults[0]
  assert verification.repair(built[1]) == (faults, [])
  assert flips.contents(built[1]) == built[2]
