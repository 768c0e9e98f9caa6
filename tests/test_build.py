"""The builder, from files to shards that TensorFlow reads."""

import contextlib
import errno
import gzip
import hashlib
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from fractions import Fraction

import clips
import numpy as np
import pytest
from PIL import Image

from audionet_tf import records
from audionet_tf.errors import UserError
from audionet_tf.params import RecordParams
from tfrecords import assemble, builder, pool, sources, worker

PNG = RecordParams(image_format='png', image_size=16)


def build(videos, output, params=PNG, **kwargs):
  return builder.build([str(v) for v in np.atleast_1d(videos)], output, params, **kwargs)


def read(folder):
  """Every window, in the order of the shards: list of dict of feature name to list of values; CRCs are checked."""
  found, manifest = [], records.read_manifest(folder)
  for path in records.shard_paths(folder, manifest):
    data = pathlib.Path(path).read_bytes()
    for offset, length in records.record_offsets(path):
      payload = data[offset + 12 : offset + length - 4]
      assert records.framed(payload) == data[offset : offset + length]
      example = records.example_class().FromString(payload)
      features = example.features.feature
      found.append({k: list(features[k].bytes_list.value or features[k].int64_list.value) for k in features})
  return found


def by_index(folder, video_id):
  rows = [row for row in read(folder) if row['video/id'] == [video_id.encode()]]
  return dict(sorted((row['window/index'][0], row) for row in rows))


def greys(row):
  return [np.asarray(Image.open(io.BytesIO(data)))[8, 8, 0] for data in row['image/encoded']]


def pcm(row):
  return np.frombuffer(row['audio/pcm'][0], '<i2') / 32768


def shard_bytes(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == '.tfrecord'}


def test_sound_and_picture_of_a_window_are_of_one_time(tmp_path):
  clips.write(tmp_path / 'a.mkv', seconds=2)
  summary = build(tmp_path / 'a.mkv', tmp_path / 'out')
  windows = by_index(tmp_path / 'out', 'a.mkv')
  assert summary.windows == len(windows) == 50
  for index, row in windows.items():
    assert row['window/start_us'] == [index * 40_000]
    assert row['image/time_us'] == [index * 40_000 + 20_000]
    assert greys(row) == [clips.grey(index * 0.04, 2)]
    np.testing.assert_allclose(pcm(row), clips.ramp(32000, 16000, 2)[index * 640 : index * 640 + 640], atol=1e-4)


def test_a_picture_that_starts_at_the_very_moment_is_shown(tmp_path):
  clips.write(tmp_path / 'a.mkv', fps=50)
  build(tmp_path / 'a.mkv', tmp_path / 'out')
  for index, row in by_index(tmp_path / 'out', 'a.mkv').items():
    assert greys(row) == [clips.grey(index * 0.04 + 0.02, 1)]


def test_long_windows_that_overlap_and_variable_frame_rate(tmp_path):
  times = [Fraction(ms, 1000) for ms in (0, 90, 100, 350, 600, 620, 1500)]
  clips.write(tmp_path / 'a.mkv', seconds=2, times=times)
  params = RecordParams(0.5, 0.2, images_per_window=3, image_format='png', image_size=16)
  build(tmp_path / 'a.mkv', tmp_path / 'out', params)
  windows = by_index(tmp_path / 'out', 'a.mkv')
  assert list(windows) == [k for k in range(20) if 0.2 * k + 0.5 <= 1.5 + 0.04]  # the last picture lasts a 25th
  for index, row in windows.items():
    asked = [Fraction(index, 5) + Fraction(2 * i + 1, 12) for i in range(3)]
    assert greys(row) == [clips.grey(max(t for t in times if t <= moment), 2) for moment in asked]
    assert len(pcm(row)) == 8000


@pytest.mark.parametrize(
  'options, expected',
  [
    ({'sound_start': 0.3}, range(8, 25)),
    ({'times': [Fraction(i, 25) + Fraction(1, 2) for i in range(20)]}, range(13, 25)),
    ({'sounds': [clips.ramp(8000, 16000, 1)]}, range(12)),
    ({'sounds': [clips.ramp(48000, 16000, 3)]}, range(25)),
    ({'fps': 24}, range(25)),
    ({'fps': Fraction(30000, 1001)}, range(25)),
    ({'sounds': [clips.ramp(16000, 16000, 1), clips.ramp(3200, 16000, 1)]}, range(25)),
    ({'format': 'matroska', 'options': {'live': '1'}}, range(25)),
  ],
)
def test_windows_are_what_both_streams_cover(tmp_path, options, expected):
  clips.write(tmp_path / 'a.mkv', **options)
  build(tmp_path / 'a.mkv', tmp_path / 'out')
  assert list(by_index(tmp_path / 'out', 'a.mkv')) == list(expected)


def test_max_seconds_and_jpeg(tmp_path):
  clips.write(tmp_path / 'a.mkv', seconds=2)
  build(tmp_path / 'a.mkv', tmp_path / 'out', RecordParams(max_seconds=0.5))
  windows = by_index(tmp_path / 'out', 'a.mkv')
  assert list(windows) == list(range(12))
  picture = Image.open(io.BytesIO(windows[3]['image/encoded'][0]))
  assert (picture.format, picture.size, picture.mode) == ('JPEG', (224, 224), 'RGB')
  assert abs(int(np.asarray(picture)[100, 100, 0]) - clips.grey(0.12, 2)) <= 2


def test_tensorflow_reads_the_records(tmp_path):
  import tensorflow as tf

  clips.write(tmp_path / 'a.mkv')
  build(tmp_path / 'a.mkv', tmp_path / 'out')
  manifest = records.read_manifest(tmp_path / 'out')
  dataset = tf.data.TFRecordDataset(records.shard_paths(tmp_path / 'out', manifest)).batch(30)
  batch = next(iter(dataset.map(lambda s: records.parse_batch(s, manifest['params'], images=True))))
  order = np.argsort(batch['index'].numpy())
  np.testing.assert_allclose(batch['audio'].numpy()[order].ravel(), clips.ramp(16000, 16000, 1), atol=1e-4)
  picture = tf.io.decode_image(batch['image/encoded'][order[7], 0]).numpy()
  assert (picture == clips.grey(0.28, 1)).all()


def three(folder):
  folder.mkdir()
  for i, name in enumerate(('a.mkv', 'b.mkv', 'c.mkv')):
    clips.write(folder / name, seconds=0.6 + 0.2 * i)
  return folder


def test_the_bytes_do_not_depend_on_workers(tmp_path):
  videos = three(tmp_path / 'videos')
  build(videos, tmp_path / 'one', workers=1)
  build(videos, tmp_path / 'two', workers=2)
  assert shard_bytes(tmp_path / 'one') == shard_bytes(tmp_path / 'two')
  assert (tmp_path / 'one/manifest.json').read_text() == (tmp_path / 'two/manifest.json').read_text()


def test_shards_are_balanced_and_mixed(tmp_path):
  build(three(tmp_path / 'videos'), tmp_path / 'out', shards=3)
  manifest = json.loads((tmp_path / 'out/manifest.json').read_text())
  assert [shard['windows'] for shard in manifest['shards']] == [20, 20, 20]
  assert [v['id'] for v in manifest['videos']] == ['a.mkv', 'b.mkv', 'c.mkv']
  assert [v['windows'] for v in manifest['videos']] == [15, 20, 25]
  rows = [(row['video/id'][0], row['window/index'][0]) for row in read(tmp_path / 'out')]
  assert len(set(rows)) == 60
  assert rows != sorted(rows)
  assert all(len({video for video, _ in rows[i : i + 20]}) == 3 for i in (0, 20, 40))
  assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == sorted(
    ['failures.json', 'manifest.json'] + [shard['name'] for shard in manifest['shards']]
  )


def test_a_second_run_builds_what_is_missing_and_nothing_else(tmp_path, monkeypatch):
  videos, out = three(tmp_path / 'videos'), tmp_path / 'out'
  build(videos, out)
  decoded, decode = [], builder._decode

  def counted(jobs, *args):
    decoded.append([job.video_id for job in jobs])
    return decode(jobs, *args)

  monkeypatch.setattr(builder, '_decode', counted)
  before = {path.name: path.stat().st_mtime_ns for path in out.iterdir() if path.name != 'failures.json'}
  summary = build(videos, out)
  assert (summary.built, summary.kept, summary.windows) == (0, 3, 60)
  assert {path.name: path.stat().st_mtime_ns for path in out.iterdir() if path.name != 'failures.json'} == before
  clips.write(videos / 'b.mkv', seconds=0.4)
  clips.write(videos / 'd.mkv', seconds=0.8)
  (videos / 'a.mkv').unlink()
  summary = build(videos, out)
  assert (summary.built, summary.kept, summary.windows) == (2, 1, 10 + 25 + 20)
  assert decoded == [[], ['b.mkv', 'd.mkv']]
  build(videos, tmp_path / 'fresh')
  assert shard_bytes(out) == shard_bytes(tmp_path / 'fresh')
  next(out.glob('*00000-of-00002.tfrecord')).write_bytes(b'')
  assert build(videos, out).built == 3
  assert shard_bytes(out) == shard_bytes(tmp_path / 'fresh')


def test_other_arguments_are_refused(tmp_path):
  videos, out = three(tmp_path / 'videos'), tmp_path / 'out'
  build(videos, out)
  before = shard_bytes(out)
  with pytest.raises(UserError, match='window_seconds was 0.04 and is now 0.08'):
    build(videos, out, RecordParams(0.08, image_format='png', image_size=16))
  with pytest.raises(UserError, match='shards_asked was None and is now 3'):
    build(videos, out, shards=3)
  with pytest.raises(UserError, match='sources was'):
    build(videos / 'a.mkv', out)
  (tmp_path / 'odd').mkdir()
  (tmp_path / 'odd/manifest.json').write_text('{"videos": [1]}')
  with pytest.raises(UserError, match='not a manifest'):
    build(videos, tmp_path / 'odd')
  assert shard_bytes(out) == before


def test_files_that_cannot_be_used_are_named(tmp_path, capsys):
  videos = three(tmp_path / 'videos')
  (videos / 'sub').mkdir()
  clips.write(videos / 'silent.mkv', sounds=[])
  clips.write(videos / 'sub/sound.wav', times=[])
  clips.write(videos / 'short.mkv', seconds=1, times=[Fraction(0)], fps=100)
  (videos / 'text.mp4').write_text('#EXTM3U\n/etc/passwd\n')
  (videos / 'notes.txt').write_text('no video')
  (videos / 'cut.mkv').write_bytes((videos / 'c.mkv').read_bytes()[:-3000])
  (videos / 'bad.mkv.gz').write_bytes(gzip.compress((videos / 'b.mkv').read_bytes())[:-100])
  (videos / 'good.mkv.gz').write_bytes(gzip.compress((videos / 'a.mkv').read_bytes()))
  os.mkfifo(videos / 'fifo.mp4')
  (videos / 'gone.mp4').symlink_to('nowhere')
  summary = build(videos, tmp_path / 'out')
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
  assert len(by_index(tmp_path / 'out', 'good.mkv.gz')) == 15
  assert not [path for path in (tmp_path / 'out').rglob('*') if 'part' in path.name or 'unpacked' in path.name]


def hang(connection, job):
  connection.send(1)
  time.sleep(0 if job.video_id == 'good' else 60)
  connection.send(worker.Outcome(windows=2))


def die(connection, job):
  os.kill(os.getpid(), signal.SIGSEGV)


def leave(connection, job):
  os._exit(3)


def test_a_worker_that_hangs_or_dies_costs_one_video(tmp_path, monkeypatch):
  jobs = [worker.Job(name, name, str(tmp_path / name), PNG, 1 << 32) for name in ('bad', 'good')]
  outcomes = {}
  for work in (hang, die, leave):
    monkeypatch.setattr(worker, 'work', work)
    for job, event in pool.run(jobs, 2, timeout_seconds=1.5 if work is hang else 20):
      if isinstance(event, worker.Outcome):
        outcomes[work.__name__, job.video_id] = event
  assert outcomes['hang', 'good'].windows == 2
  assert 'within 1.5 s' in outcomes['hang', 'bad'].reason
  assert 'SIGSEGV' in outcomes['die', 'bad'].reason
  assert 'exit code 3' in outcomes['leave', 'good'].reason


def test_a_part_whose_build_is_gone_does_not_appear(tmp_path):
  job = worker.Job('a', str(clips.write(tmp_path / 'a.mkv')), str(tmp_path / 'part'), PNG, 1 << 32)

  def report(count):
    if count == 25:
      raise BrokenPipeError

  with pytest.raises(BrokenPipeError):
    worker.write_part(job, report)
  assert [path.name for path in tmp_path.iterdir()] == ['a.mkv']


def test_too_little_memory_is_a_reason(tmp_path):
  clips.write(tmp_path / 'a.mkv', size=(1920, 1080), seconds=0.4)
  summary = build(tmp_path / 'a.mkv', tmp_path / 'out', memory_bytes=1 << 20)
  assert summary.windows == 0
  assert 'a.mkv' in summary.failures


def test_a_full_disk_is_an_error_of_the_build(tmp_path, monkeypatch):
  job = worker.Job('a', str(clips.write(tmp_path / 'a.mkv')), '/dev/full/part', PNG, 1 << 32)
  sent = []

  class Connection:
    send = staticmethod(sent.append)

  def refuse(*args):
    raise OSError(errno.ENOSPC, 'No space left on device')

  monkeypatch.setattr(worker.resource, 'setrlimit', lambda *a: None)
  monkeypatch.setattr(worker.signal, 'signal', lambda *a: None)
  monkeypatch.setattr(worker, 'write_part', refuse)
  worker.work(Connection, job)
  assert sent[-1].errno == errno.ENOSPC
  monkeypatch.setattr(pool, 'run', lambda jobs, *a: ((job, sent[-1]) for job in jobs))
  with pytest.raises(OSError, match='No space left'):
    build(tmp_path / 'a.mkv', tmp_path / 'out')


def test_what_an_interrupted_build_finished_is_used(tmp_path, monkeypatch):
  videos, out = three(tmp_path / 'videos'), tmp_path / 'out'

  def interrupted(jobs, *args):
    for i, (job, event) in enumerate(run(jobs, *args)):
      if i and isinstance(event, worker.Outcome):
        raise KeyboardInterrupt
      yield job, event

  run = pool.run
  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(pool, 'run', interrupted)
    build(videos, out)
  assert not (out / 'manifest.json').exists()
  finished = {path.name for path in (out / '.parts').iterdir()}
  assert finished
  assert all(name.endswith('.tfrecord') for name in finished)
  (out / '.parts/half.partial').write_bytes(b'x')
  decoded = []
  monkeypatch.setattr(pool, 'run', lambda jobs, *a: decoded.extend(jobs) or run(jobs, *a))
  assert build(videos, out).windows == 60
  assert len(decoded) == 3 - len(finished)
  assert not (out / '.parts').exists()
  build(videos, tmp_path / 'fresh')
  assert shard_bytes(out) == shard_bytes(tmp_path / 'fresh')


def test_two_builds_do_not_share_a_folder(tmp_path):
  videos = three(tmp_path / 'videos')
  (tmp_path / 'out').mkdir()
  with builder._locked(tmp_path / 'out'), pytest.raises(UserError, match='another build'):
    build(videos, tmp_path / 'out')
  assert build(videos, tmp_path / 'out').windows == 60


def plain_hash(video_id, index):
  """SplitMix64 as Steele, Lea and Flood print it, its state started from the video id."""
  seed = int.from_bytes(hashlib.blake2b(video_id.encode(), digest_size=8).digest(), 'little')
  z = (seed + index * 0x9E3779B97F4A7C15) % 2**64
  z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
  z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
  return z ^ (z >> 31)


def test_order_is_a_hash_and_stays_when_videos_come():
  videos = [('a', 0, 40), ('b', 3, 30)]
  more = [('a', 0, 40), ('aa', 0, 99), ('b', 3, 30)]
  place = lambda rows: [(v, f + i) for v, f, n in rows for i in range(n)]  # noqa: E731
  few = [place(videos)[i] for i in assemble.hashed_order(videos)]
  many = [place(more)[i] for i in assemble.hashed_order(more)]
  assert [row for row in many if row[0] != 'aa'] == few
  assert sorted(few) == place(videos)
  assert few == sorted(place(videos), key=lambda row: plain_hash(*row))


class TestSources:
  def ids(self, *arguments):
    return [video.id for video in sources.find([str(a) for a in arguments])]

  def tree(self, folder):
    for name in ('x/a.mp4', 'x/y/b.MKV', 'x/y/c.mp4.gz', 'x/notes.txt', 'x/.hidden.mp4', 'x/.git/d.mp4', 'z/a.mp4'):
      path = folder / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(name.encode())
    return folder

  def test_ids_are_paths_below_what_was_given(self, tmp_path):
    root = self.tree(tmp_path)
    assert self.ids(root) == ['x/a.mp4', 'x/y/b.MKV', 'x/y/c.mp4.gz', 'z/a.mp4']
    assert self.ids(root / 'x') == ['a.mp4', 'y/b.MKV', 'y/c.mp4.gz']
    assert self.ids(root / 'x/a.mp4') == ['a.mp4']
    assert self.ids(root / '*/a.mp4') == ['x/a.mp4', 'z/a.mp4']
    assert self.ids(root / 'x/**') == ['a.mp4', 'notes.txt', 'y/b.MKV', 'y/c.mp4.gz']
    assert self.ids(root / '[xz]') == ['x/a.mp4', 'x/y/b.MKV', 'x/y/c.mp4.gz', 'z/a.mp4']

  def test_a_file_counts_once(self, tmp_path):
    root = self.tree(tmp_path)
    (root / 'link.mp4').symlink_to('x/a.mp4')
    assert self.ids(root / 'x', root / 'x/a.mp4', root / 'link.mp4') == ['a.mp4', 'y/b.MKV', 'y/c.mp4.gz']

  def test_two_files_of_one_name_are_refused(self, tmp_path):
    root = self.tree(tmp_path)
    with pytest.raises(UserError, match=r'x/a\.mp4 and .*z/a\.mp4 would both be called'):
      self.ids(root / 'x', root / 'z')

  @pytest.mark.parametrize('argument', ['', 'none.mp4', '*.avi', 'empty'])
  def test_nothing_found_is_an_error(self, tmp_path, monkeypatch, argument):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='no such video'):
      self.ids(argument)


def command(*arguments):
  return subprocess.run(
    [sys.executable, '-m', 'tfrecords.build', *map(str, arguments)], capture_output=True, text=True, timeout=60
  )


def test_the_command(tmp_path):
  videos = three(tmp_path / 'videos')
  clips.write(videos / 'silent.mkv', sounds=[])
  places = ['--videos', videos / 'a.mkv', '--videos', videos / '[bs]*', '--output', tmp_path / 'out']
  sizes = ['--window_ms=80', '--hop_ms=33.3', '--sample_rate=8000', '--image_size=32']
  done = command(*places, *sizes, '--mono=first', '--jpeg_quality=80')
  assert done.returncode == 0, done.stderr
  assert 'skipped silent.mkv: no sound' in done.stderr
  assert '2 videos' in done.stderr
  params = records.read_manifest(tmp_path / 'out')['params']
  assert params == RecordParams(
    0.08, 0.0333, sample_rate_hz=8000, mono='first', image_size=32, image_format='jpeg', jpeg_quality=80
  )


def test_the_command_fails_with_one_line(tmp_path):
  clips.write(tmp_path / 'silent.mkv', sounds=[])
  out = f'--output={tmp_path / "out"}'
  cases = {
    'silent.mkv': [f'--videos={tmp_path}/silent.mkv', out],
    '--videos=FILE': [out],
    '--output=FOLDER': [f'--videos={tmp_path}'],
    'unexpected': [f'--videos={tmp_path}', out, 'more'],
    'no such video': ['--videos=/nowhere/at/all', out],
    'window_ms is nan': [f'--videos={tmp_path}', out, '--window_ms=nan'],
    'jpeg_quality is 0': [f'--videos={tmp_path}', out, '--jpeg_quality=0'],
  }
  for words, arguments in cases.items():
    done = command(*arguments)
    assert done.returncode == 1, (words, done.stderr)
    assert words in done.stderr
    assert 'Traceback' not in done.stderr
    assert not (tmp_path / 'out/manifest.json').exists()


def test_help_is_quick_and_no_tensorflow_is_loaded():
  program = (
    'import sys, tfrecords.build, tfrecords.builder\n'
    'assert not {"tensorflow", "keras", "matplotlib"} & set(sys.modules), sorted(sys.modules)\n'
  )
  subprocess.run([sys.executable, '-c', program], check=True)
  shown = command('--help')
  assert 'python -m tfrecords.build --videos' in shown.stdout
  assert '--images_per_window' in shown.stdout


def test_ctrl_c_leaves_nothing_half_written(tmp_path):
  clips.write(tmp_path / 'long.mkv', seconds=60, size=(320, 240))
  process = subprocess.Popen(
    [sys.executable, '-m', 'tfrecords.build', f'--videos={tmp_path}/long.mkv', f'--output={tmp_path}/out'],
    stderr=subprocess.PIPE, text=True, start_new_session=True,
  )  # fmt: skip
  deadline = time.monotonic() + 30
  while not list((tmp_path / 'out').glob('.parts/*.partial')) and time.monotonic() < deadline:
    time.sleep(0.02)
  os.killpg(process.pid, signal.SIGINT)
  _, shown = process.communicate(timeout=20)
  assert process.returncode == 1
  assert shown.strip().endswith('error: interrupted'), shown
  assert 'Traceback' not in shown
  assert not [path for path in (tmp_path / 'out').rglob('*') if path.is_file()]
  with contextlib.suppress(ProcessLookupError):
    while time.monotonic() < deadline + 10:
      os.killpg(process.pid, 0)
      time.sleep(0.05)
    pytest.fail('a process is left')
