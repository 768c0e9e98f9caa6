"""The builder over several runs: what it builds, keeps, refuses and reports."""

import errno
import gzip
import json
import os
from fractions import Fraction

import built_records
import media_clips
import pytest

from audionet_tf.core.errors import DiskFullError, UserError
from audionet_tf.data import record_manifest
from audionet_tf.data.params import RecordParams
from tfrecords import builder, jobs, pool, shards, worker


def test_records_do_not_depend_on_the_number_of_workers(tmp_path):
  videos = built_records.three(tmp_path / 'videos')
  built_records.build(videos, tmp_path / 'one', workers=1)
  built_records.build(videos, tmp_path / 'two', workers=2)
  assert built_records.shard_bytes(tmp_path / 'one') == built_records.shard_bytes(tmp_path / 'two')
  assert (tmp_path / 'one/manifest.json').read_text() == (tmp_path / 'two/manifest.json').read_text()


def test_shards_are_balanced_and_shuffled(tmp_path):
  built_records.build(built_records.three(tmp_path / 'videos'), tmp_path / 'out', shard_count=3)
  manifest = json.loads((tmp_path / 'out/manifest.json').read_text())
  assert [shard['windows'] for shard in manifest['shards']] == [20, 20, 20]
  assert [v['id'] for v in manifest['videos']] == ['a.mkv', 'b.mkv', 'c.mkv']
  assert [v['windows'] for v in manifest['videos']] == [15, 20, 25]
  rows = [(row['video/id'][0], row['window/index'][0]) for row in built_records.read(tmp_path / 'out')]
  assert len(set(rows)) == 60
  assert rows != sorted(rows)
  assert all(len({video for video, _ in rows[i : i + 20]}) == 3 for i in (0, 20, 40))
  assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == sorted(
    ['.lock', 'failures.json', 'manifest.json', 'manifest.backup.json']
    + [shard['name'] for shard in manifest['shards']]
  )


def test_a_second_run_builds_only_what_is_missing(tmp_path, monkeypatch):
  videos, out = built_records.three(tmp_path / 'videos'), tmp_path / 'out'
  built_records.build(videos, out)
  decoded, decode = [], builder._decode

  def counted(jobs, *args):
    decoded.append([job.video_id for job in jobs])
    return decode(jobs, *args)

  monkeypatch.setattr(builder, '_decode', counted)
  before = {path.name: path.stat().st_mtime_ns for path in out.iterdir() if path.name != 'failures.json'}
  summary = built_records.build(videos, out)
  assert (summary.built, summary.kept, summary.windows) == (0, 3, 60)
  assert {path.name: path.stat().st_mtime_ns for path in out.iterdir() if path.name != 'failures.json'} == before
  media_clips.write(videos / 'b.mkv', seconds=0.4)
  media_clips.write(videos / 'd.mkv', seconds=0.8)
  (videos / 'a.mkv').unlink()
  summary = built_records.build(videos, out)
  assert (summary.built, summary.kept, summary.windows) == (2, 1, 10 + 25 + 20)
  assert decoded == [[], ['b.mkv', 'd.mkv']]
  built_records.build(videos, tmp_path / 'fresh')
  assert built_records.shard_bytes(out) == built_records.shard_bytes(tmp_path / 'fresh')
  next(out.glob('*00000-of-00002.tfrecord')).write_bytes(b'')
  assert built_records.build(videos, out).built == 3
  assert built_records.shard_bytes(out) == built_records.shard_bytes(tmp_path / 'fresh')


def test_a_video_that_cannot_be_read_any_more_stays_in_the_records(tmp_path, capsys):
  videos, out = built_records.three(tmp_path / 'videos'), tmp_path / 'out'
  built_records.build(videos, out)
  before = {path.name: path.read_bytes() for path in out.iterdir() if path.name != 'failures.json'}
  content = (videos / 'b.mkv').read_bytes()
  (videos / 'b.mkv').unlink()
  (videos / 'b.mkv').symlink_to('/sys/class/net/lo/speed')  # whose every read fails
  capsys.readouterr()
  summary = built_records.build(videos, out)
  assert (summary.videos, summary.kept) == (3, 3) and summary.failures == {'b.mkv': 'invalid argument'}
  told = capsys.readouterr().err
  assert 'skipped b.mkv: invalid argument\n' in told and told.endswith('what the records hold of them stays: b.mkv\n')
  assert json.loads((out / 'failures.json').read_text()) == summary.failures
  assert {path.name: path.read_bytes() for path in out.iterdir() if path.name != 'failures.json'} == before
  next(out.glob('*00000-of-00002.tfrecord')).write_bytes(b'')  # what is lost of it cannot be built again
  assert built_records.build(videos, out).videos == 2
  (videos / 'b.mkv').unlink()
  (videos / 'b.mkv').write_bytes(content)
  assert built_records.build(videos, out).videos == 3
  assert {path.name: path.read_bytes() for path in out.iterdir() if path.name != 'failures.json'} == before


@pytest.mark.parametrize('change', ['deleted', 'emptied', 'no video', 'moved'])
def test_a_video_that_its_owner_took_away_leaves_the_records_and_is_told(tmp_path, capsys, change):
  videos, out = built_records.three(tmp_path / 'videos'), tmp_path / 'out'
  built_records.build(videos, out)
  if change == 'deleted':
    (videos / 'b.mkv').unlink()
  elif change == 'moved':
    (videos / 'b.mkv').rename(videos / 'd.mkv')
  else:
    (videos / 'b.mkv').write_bytes(b'' if change == 'emptied' else b'text')
  capsys.readouterr()
  summary = built_records.build(videos, out)
  assert summary.kept == 2 and summary.failures.keys() == ({'b.mkv'} if change in ('emptied', 'no video') else set())
  told = capsys.readouterr().err.splitlines()
  assert told[-1] == 'their windows leave the records, as the files are gone or cannot be used any more: b.mkv'
  assert change != 'emptied' or 'skipped b.mkv: empty file' in told
  built_records.build(videos, tmp_path / 'fresh')
  assert built_records.shard_bytes(out) == built_records.shard_bytes(tmp_path / 'fresh')
  capsys.readouterr()
  built_records.build(videos, out)
  assert 'their windows' not in capsys.readouterr().err


def test_other_arguments_for_existing_records_are_refused(tmp_path):
  videos, out = built_records.three(tmp_path / 'videos'), tmp_path / 'out'
  built_records.build(videos, out)
  before = built_records.shard_bytes(out)
  with pytest.raises(UserError, match='window_seconds was 0.04 and is now 0.08'):
    built_records.build(videos, out, RecordParams(0.08, image_format='png', image_size=16))
  with pytest.raises(UserError, match='shards_asked was None and is now 3'):
    built_records.build(videos, out, shard_count=3)
  with pytest.raises(UserError, match='sources was'):
    built_records.build(videos / 'a.mkv', out)
  (tmp_path / 'odd').mkdir()
  (tmp_path / 'odd/manifest.json').write_text('{"videos": [1]}')
  with pytest.raises(UserError, match='not a manifest'):
    built_records.build(videos, tmp_path / 'odd')
  assert built_records.shard_bytes(out) == before


def test_unusable_files_are_reported(tmp_path, capsys):
  videos = built_records.three(tmp_path / 'videos')
  (videos / 'sub').mkdir()
  media_clips.write(videos / 'silent.mkv', sounds=[])
  media_clips.write(videos / 'sub/sound.wav', times=[])
  media_clips.write(videos / 'short.mkv', seconds=1, times=[Fraction(0)], fps=100)
  (videos / 'text.mp4').write_text('#EXTM3U\n/etc/passwd\n')
  (videos / 'notes.txt').write_text('no video')
  (videos / 'cut.mkv').write_bytes((videos / 'c.mkv').read_bytes()[:-3000])
  (videos / 'bad.mkv.gz').write_bytes(gzip.compress((videos / 'b.mkv').read_bytes())[:-100])
  (videos / 'good.mkv.gz').write_bytes(gzip.compress((videos / 'a.mkv').read_bytes()))
  os.mkfifo(videos / 'fifo.mp4')
  (videos / 'gone.mp4').symlink_to('nowhere')
  summary = built_records.build(videos, tmp_path / 'out')
  reasons = {
    'silent.mkv': 'no sound',
    'sub/sound.wav': 'no picture',
    'short.mkv': 'do not share one window',
    'text.mp4': 'not a media file',
    'cut.mkv': 'truncated',
    'bad.mkv.gz': 'truncated .gz',
    'fifo.mp4': 'not a regular file',
    'gone.mp4': 'no such file',
  }
  written = json.loads((tmp_path / 'out/failures.json').read_text())
  assert written == summary.failures
  assert set(written) == set(reasons)
  shown = capsys.readouterr().err
  for name, reason in reasons.items():
    assert reason in written[name]
    assert f'skipped {name}: {written[name]}' in shown
  assert summary.videos == 4
  assert len(built_records.by_index(tmp_path / 'out', 'good.mkv.gz')) == 15
  assert not [path for path in (tmp_path / 'out').rglob('*') if 'part' in path.name or 'unpacked' in path.name]


@pytest.mark.parametrize('name', ['a.mkv', 'a.wav', 'a.mkv.gz'])
def test_a_file_that_cannot_be_read_costs_one_video(tmp_path, name, monkeypatch):
  """A file of the kernel that looks as any other, and whose every read fails, as those of a network that is gone do."""
  videos = built_records.three(tmp_path / 'videos')
  (videos / name).unlink(missing_ok=True)
  (videos / name).symlink_to('/sys/class/net/lo/speed')
  summary = built_records.build(videos, tmp_path / 'out')
  assert summary.videos == (2 if name == 'a.mkv' else 3) and summary.failures == {name: 'invalid argument'}
  monkeypatch.setattr(builder.videos, 'digest', lambda video: '0' * 32)  # it could be read a moment ago
  summary = built_records.build(videos / name, tmp_path / 'later')
  assert summary.failures.keys() == {name} and 'nvalid argument' in summary.failures[name]


def test_a_video_that_goes_before_it_is_decoded_costs_itself(tmp_path, monkeypatch):
  videos, digest = built_records.three(tmp_path / 'videos'), builder.videos.digest

  def remove(video):
    found = digest(video)
    if video.id == 'b.mkv':
      os.remove(video.path)
    return found

  monkeypatch.setattr(builder.videos, 'digest', remove)
  summary = built_records.build(videos, tmp_path / 'out')
  assert summary.videos == 2 and summary.failures == {'b.mkv': 'no such file or directory'}


def test_names_that_are_not_utf8_are_reported(tmp_path, capsys):
  videos = built_records.three(tmp_path / 'videos')
  (videos / os.fsdecode(b'caf\xe9')).mkdir()
  for name in (b'caf\xe9.mkv', b'caf\xe9/inside.mkv'):
    (videos / os.fsdecode(name)).write_bytes((videos / 'a.mkv').read_bytes())
  summary = built_records.build(videos, tmp_path / 'out')
  assert summary.videos == 3
  written = json.loads((tmp_path / 'out/failures.json').read_text(encoding='utf-8'))
  assert {os.fsencode(name) for name in written} == {b'caf\xe9.mkv', b'caf\xe9/inside.mkv'}
  assert all('not valid UTF-8; rename the file' in reason for reason in written.values())
  shown = capsys.readouterr().err
  assert 'skipped caf?.mkv: the name' in shown and 'skipped caf?/inside.mkv: the name' in shown
  # A folder of such a name that is an argument is no part of an id.
  folder = videos / os.fsdecode(b'caf\xe9')
  assert built_records.build(folder, tmp_path / 'inside').videos == 1
  assert built_records.build(folder, tmp_path / 'inside').kept == 1


def test_too_little_memory_skips_the_video(tmp_path):
  media_clips.write(tmp_path / 'a.mkv', size=(1920, 1080), seconds=0.4)
  summary = built_records.build(tmp_path / 'a.mkv', tmp_path / 'out', memory_bytes=1 << 20)
  assert summary.windows == 0
  assert 'a.mkv' in summary.failures


@pytest.mark.parametrize('name, ends', [('a.mkv', False), ('out/.parts/part', True), (None, True)])
def test_errors_of_the_output_end_the_build_and_those_of_a_video_do_not(tmp_path, monkeypatch, name, ends):
  job = jobs.Job('a', str(tmp_path / 'a.mkv'), str(tmp_path / 'out/.parts/part'), built_records.PNG, 1 << 32)
  sent = []

  class Connection:
    send = staticmethod(sent.append)

  def refuse(*args):
    raise OSError(errno.EIO, 'Input/output error', name and str(tmp_path / name))

  monkeypatch.setattr(worker.resource, 'setrlimit', lambda *a: None)
  monkeypatch.setattr(worker.signal, 'signal', lambda *a: None)
  monkeypatch.setattr(worker, 'write_part', refuse)
  worker.work(Connection, job, {})
  assert 'Input/output error' in sent[-1].reason and sent[-1].errno == (errno.EIO if ends else None)


def test_a_full_disk_ends_the_build(tmp_path, monkeypatch):
  job = jobs.Job('a', str(media_clips.write(tmp_path / 'a.mkv')), '/dev/full/part', built_records.PNG, 1 << 32)
  sent = []

  class Connection:
    send = staticmethod(sent.append)

  def refuse(*args):
    raise OSError(errno.ENOSPC, 'No space left on device')

  monkeypatch.setattr(worker.resource, 'setrlimit', lambda *a: None)
  monkeypatch.setattr(worker.signal, 'signal', lambda *a: None)
  monkeypatch.setattr(worker, 'write_part', refuse)
  worker.work(Connection, job, {})
  assert sent[-1].errno == errno.ENOSPC
  monkeypatch.setattr(pool, 'run', lambda jobs, *a: ((job, sent[-1]) for job in jobs))
  with pytest.raises(DiskFullError, match='no space left'):
    built_records.build(tmp_path / 'a.mkv', tmp_path / 'out')


def test_an_interrupted_build_is_continued(tmp_path, monkeypatch):
  videos, out = built_records.three(tmp_path / 'videos'), tmp_path / 'out'

  def interrupted(asked, *args):
    for i, (job, event) in enumerate(run(asked, *args)):
      if i and isinstance(event, jobs.Outcome):
        raise KeyboardInterrupt
      yield job, event

  run = pool.run
  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(pool, 'run', interrupted)
    built_records.build(videos, out)
  assert not (out / 'manifest.json').exists()
  finished = {path.name for path in (out / '.parts').iterdir()}
  assert finished
  assert all(name.endswith('.tfrecord') for name in finished)
  (out / '.parts/half.partial').write_bytes(b'x')
  decoded = []
  monkeypatch.setattr(pool, 'run', lambda jobs, *a: decoded.extend(jobs) or run(jobs, *a))
  assert built_records.build(videos, out).windows == 60
  assert len(decoded) == 3 - len(finished)
  assert not (out / '.parts').exists()
  built_records.build(videos, tmp_path / 'fresh')
  assert built_records.shard_bytes(out) == built_records.shard_bytes(tmp_path / 'fresh')


@pytest.mark.parametrize('left', [0, 5, 0.5, -1])
def test_damaged_parts_are_decoded_again(tmp_path, monkeypatch, left):
  videos, out = built_records.three(tmp_path / 'videos'), tmp_path / 'out'
  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(shards, 'write', interrupt)
    built_records.build(videos, out)
  parts = sorted((out / '.parts').iterdir())
  assert len(parts) == 3
  content = parts[1].read_bytes()
  parts[1].write_bytes(content[: int(left * len(content)) if 0 < left < 1 else left])
  decoded, run = [], pool.run
  monkeypatch.setattr(pool, 'run', lambda jobs, *a: decoded.extend(jobs) or run(jobs, *a))
  assert built_records.build(videos, out).windows == 60
  assert [job.part for job in decoded] == [str(parts[1])]
  built_records.build(videos, tmp_path / 'fresh')
  assert built_records.shard_bytes(out) == built_records.shard_bytes(tmp_path / 'fresh')


def interrupt(*arguments):
  raise KeyboardInterrupt


def test_shards_and_manifest_are_synced_before_they_are_renamed(tmp_path, monkeypatch):
  videos, events = built_records.three(tmp_path / 'videos'), []
  for name in ('fsync', 'replace'):
    real = getattr(os, name)
    monkeypatch.setattr(os, name, lambda *args, name=name, real=real: events.append(name) or real(*args))
  built_records.build(videos, tmp_path / 'out', shard_count=3)
  files = ['fsync', 'replace'] * 3  # failures, manifest and its second copy; other processes write the parts
  assert events == files[:2] + ['fsync'] * 3 + ['replace'] * 3 + files[2:]


def test_two_builds_cannot_share_a_folder(tmp_path):
  videos = built_records.three(tmp_path / 'videos')
  (tmp_path / 'out').mkdir()
  with builder.locked(tmp_path / 'out'), pytest.raises(UserError, match='another build'):
    built_records.build(videos, tmp_path / 'out')
  assert built_records.build(videos, tmp_path / 'out').windows == 60


def test_stores_that_a_manifest_names_are_asked_only_if_the_user_says_so(tmp_path, monkeypatch):
  """A stranger's manifest would be asked for with the user's credentials."""
  asked = []
  monkeypatch.setattr(builder.videos, 'find', lambda sources: asked.extend(sources) or [])
  rows = [{'id': 'a.mkv', 'digest': '1'}, {'id': 'b.mkv', 'digest': '2'}]
  manifest = {'videos': rows, 'sources': ['ftp://elsewhere/x', '/here', 's3://private/x']}
  reasons = builder.rebuild(tmp_path, manifest, {'b.mkv': None}, 1, 10, 1 << 30)
  assert asked == ['/here'] and list(reasons) == ['a.mkv']
  assert reasons['a.mkv'].endswith('--from_store looks in ftp://elsewhere/x, s3://private/x, as the manifest says')
  asked.clear()
  reasons = builder.rebuild(tmp_path, manifest, {'b.mkv': None}, 1, 10, 1 << 30, from_store=True)
  assert asked == manifest['sources'] and reasons == {'a.mkv': 'not found where the records were built from'}


def test_copies_that_a_killed_build_left_are_removed(tmp_path):
  videos, out = media_clips.write(tmp_path / 'a.mkv'), tmp_path / 'out'
  for parts in ('first', 'second'):
    (out / '.parts/part.token-copy').mkdir(parents=True)
    (out / '.parts/part.token-copy/copy.mkv').write_bytes(b'half')
    if parts == 'second':
      builder.remove_leftovers(out, record_manifest.read(out))
    else:
      built_records.build(videos, out)
    assert not (out / '.parts').exists()
