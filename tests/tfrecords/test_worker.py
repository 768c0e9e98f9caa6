"""Windows hold the sound and the pictures of the same time."""

import dataclasses
import gzip
import io
import os
import pathlib
from fractions import Fraction

import built_records
import media_clips
import numpy as np
import pytest
from PIL import Image

from audionet_tf.core.errors import MediaError
from audionet_tf.core.stores import object_store
from audionet_tf.data import records
from audionet_tf.data.params import RecordParams
from tfrecords import jobs, worker


def job_of(path, part):
  """A Job for a video."""
  return jobs.Job('a', str(path), str(part), built_records.PNG, 1 << 32)


def test_sound_and_picture_of_a_window_have_the_same_time(tmp_path):
  media_clips.write(tmp_path / 'a.mkv', seconds=2)
  summary = built_records.build(tmp_path / 'a.mkv', tmp_path / 'out')
  windows = built_records.by_index(tmp_path / 'out', 'a.mkv')
  assert summary.windows == len(windows) == 50
  for index, row in windows.items():
    assert row['window/start_us'] == [index * 40_000]
    assert row['image/time_us'] == [index * 40_000 + 20_000]
    assert built_records.greys(row) == [media_clips.grey(index * 0.04, 2)]
    np.testing.assert_allclose(
      built_records.pcm(row), media_clips.ramp(32000, 16000, 2)[index * 640 : index * 640 + 640], atol=1e-4
    )


@pytest.mark.parametrize(
  'name, suffix', [('音' * 100 + '.tar.wav', '.tar.wav'), ('a.wav.gz', '.wav.gz'), ('a.' + '音' * 100, None)]
)
def test_the_copy_of_a_video_in_a_store_has_a_name_that_a_disk_can_hold(tmp_path, name, suffix):
  address = f'memory://long-names/{name}'
  object_store.put_bytes(address, b'sound')
  job = jobs.Job('a', address, str(tmp_path / 'part'), built_records.PNG, 1 << 32, object_store.stat(address))
  with worker.at_hand(job, lambda count: None) as local:
    (path,) = (path for path in tmp_path.rglob('*') if path.is_file())
    assert str(path) == local.path and path.read_bytes() == b'sound'
    assert suffix is None or path.name.endswith(f'copy{suffix}')
  assert not list(tmp_path.iterdir())


def job_in_store(folder, name, content):
  """A Job for an object in a store."""
  address = f'memory://copies/{name}'
  object_store.put_bytes(address, content)
  return jobs.Job(name, address, str(folder / name), built_records.PNG, 1 << 32, object_store.stat(address))


def test_copies_of_two_machines_that_share_a_folder_do_not_meet(tmp_path):
  """In containers, both processes may have the same number, as this one has."""
  first, second = (job_in_store(tmp_path, name, name.encode()) for name in ('a.mkv', 'b.mkv'))
  again = jobs.Job('a.mkv', first.path, first.part, built_records.PNG, 1 << 32, first.stored)  # on a second machine
  with worker.at_hand(first, lambda count: None) as one, worker.at_hand(second, lambda count: None) as two:
    with worker.at_hand(again, lambda count: None) as three:
      pathlib.Path(three.path).write_bytes(b'other')
    assert [pathlib.Path(job.path).read_bytes() for job in (one, two)] == [b'a.mkv', b'b.mkv']
  assert not list(tmp_path.iterdir())
  assert jobs.partial_path(first, 7) != jobs.partial_path(again, 7)


def test_the_copy_is_gone_when_the_outcome_is_sent(tmp_path, monkeypatch):
  """Then the process is killed."""
  monkeypatch.setattr(worker, 'set_limits', lambda *a: None)
  monkeypatch.setattr(worker.signal, 'signal', lambda *a: None)
  monkeypatch.setattr(worker, 'write_part', lambda *a: 3)
  left = {}

  class Connection:
    def send(self, message):
      left[message] = list(tmp_path.iterdir())

  worker.work(Connection(), job_in_store(tmp_path, 'a.mkv', b'sound'), {})
  assert left[jobs.Outcome(windows=3)] == []


@pytest.mark.parametrize('images', [0, 1])
@pytest.mark.parametrize('seconds', [0.4, 1])
def test_warnings_about_copies_name_the_video(tmp_path, capsys, images, seconds):
  """Here one that is shorter or longer than a window, unpacked from a copy of an object in a store."""
  path = media_clips.write(tmp_path / 'a.mp4', seconds, **media_clips.CODED, tick=Fraction(1, 12800))
  content = gzip.compress(path.read_bytes() + path.read_bytes())  # of which only the first is read
  params = RecordParams(images_per_window=images, window_seconds=0.5, hop_seconds=0.5, short_videos='repeat')
  job = dataclasses.replace(job_in_store(tmp_path, 'talks/a.mp4.gz', content), part=str(tmp_path / 'p'), params=params)
  with worker.at_hand(job, lambda count: None) as local:
    worker.write_part(local, lambda count: None)
  told = set(capsys.readouterr().err.splitlines())
  line = '1 more behind the first recording in it is not read; join by ffmpeg -f concat'
  assert told == {f'warning: talks/a.mp4.gz: {line}'}


def test_a_picture_that_starts_at_the_image_time_is_shown(tmp_path):
  media_clips.write(tmp_path / 'a.mkv', fps=50)
  built_records.build(tmp_path / 'a.mkv', tmp_path / 'out')
  windows = built_records.by_index(tmp_path / 'out', 'a.mkv')
  assert list(windows) == list(range(25))
  for index, row in windows.items():
    assert built_records.greys(row) == [media_clips.grey(index * 0.04 + 0.02, 1)]


def test_overlapping_windows_and_variable_frame_rate(tmp_path):
  times = [Fraction(ms, 1000) for ms in (0, 90, 100, 350, 600, 620, 1500)]
  media_clips.write(tmp_path / 'a.mkv', seconds=2, times=times)
  params = RecordParams(0.5, 0.2, images_per_window=3, image_format='png', image_size=16)
  built_records.build(tmp_path / 'a.mkv', tmp_path / 'out', params)
  windows = built_records.by_index(tmp_path / 'out', 'a.mkv')
  assert list(windows) == [k for k in range(20) if 0.2 * k + 0.5 <= 1.5 + 0.04]  # the last picture lasts 1/25 s
  for index, row in windows.items():
    image_times = [Fraction(index, 5) + Fraction(2 * i + 1, 12) for i in range(3)]
    assert built_records.greys(row) == [
      media_clips.grey(max(t for t in times if t <= moment), 2) for moment in image_times
    ]
    assert len(built_records.pcm(row)) == 8000


@pytest.mark.parametrize(
  'options, expected',
  [
    ({'sound_start': 0.3}, range(8, 25)),
    ({'times': [Fraction(i, 25) + Fraction(1, 2) for i in range(20)]}, range(13, 25)),
    ({'sounds': [media_clips.ramp(8000, 16000, 1)]}, range(12)),
    ({'sounds': [media_clips.ramp(48000, 16000, 3)]}, range(25)),
    ({'fps': 24}, range(25)),
    ({'fps': Fraction(30000, 1001)}, range(25)),
    ({'sounds': [media_clips.ramp(16000, 16000, 1), media_clips.ramp(3200, 16000, 1)]}, range(25)),
    ({'format': 'matroska', 'options': {'live': '1'}}, range(25)),
  ],
)
def test_windows_are_covered_by_both_streams(tmp_path, options, expected):
  media_clips.write(tmp_path / 'a.mkv', **options)
  built_records.build(tmp_path / 'a.mkv', tmp_path / 'out')
  assert list(built_records.by_index(tmp_path / 'out', 'a.mkv')) == list(expected)


def test_max_seconds_and_jpeg(tmp_path):
  media_clips.write(tmp_path / 'a.mkv', seconds=2)
  built_records.build(tmp_path / 'a.mkv', tmp_path / 'out', RecordParams(max_seconds=0.5))
  windows = built_records.by_index(tmp_path / 'out', 'a.mkv')
  assert list(windows) == list(range(12))
  picture = Image.open(io.BytesIO(windows[3]['image/encoded'][0]))
  assert (picture.format, picture.size, picture.mode) == ('JPEG', (224, 224), 'RGB')
  assert abs(int(np.asarray(picture)[100, 100, 0]) - media_clips.grey(0.12, 2)) <= 2


COLOURS = np.array([[[210, 40, 60], [30, 190, 80]], [[50, 70, 220], [230, 220, 40]]], np.uint8)


@pytest.mark.parametrize('pix_fmt', ['bgr0', 'gray', 'yuv420p', 'yuv422p', 'yuv444p'])
@pytest.mark.parametrize('image_size', [64, 75])
def test_jpeg_has_the_colours_and_places_of_the_picture(tmp_path, pix_fmt, image_size):
  """Whatever form a video stores its pixels in; the expected colours are those that were encoded."""
  picture = np.kron(COLOURS, np.ones([64, 80, 1], np.uint8))  # [128, 160, 3], a colour in each quarter
  media_clips.write(
    tmp_path / 'a.mkv', seconds=0.2, size=(160, 128), picture=lambda t: picture, pix_fmt=pix_fmt, video_codec='ffv1'
  )
  built_records.build(tmp_path / 'a.mkv', tmp_path / 'out', RecordParams(image_size=image_size))
  jpeg = Image.open(io.BytesIO(built_records.by_index(tmp_path / 'out', 'a.mkv')[0]['image/encoded'][0]))
  centres = np.asarray(jpeg)[image_size // 4 :: image_size // 2, image_size // 4 :: image_size // 2][:2, :2]
  grey = np.round(COLOURS @ [0.299, 0.587, 0.114])[..., None]
  np.testing.assert_allclose(centres, np.tile(grey, 3) if pix_fmt == 'gray' else COLOURS, atol=4)


def test_jpeg_differs_from_png_by_its_compression_only(tmp_path):
  """Smooth colours and a quarter turn by the display matrix."""
  y, x = np.mgrid[:96, :128]
  smooth = np.stack([x * 2, 255 - y * 2, 60 + x + y // 2], -1).astype(np.uint8)
  turned = {'matrix': [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30], 'tick': Fraction(1, 12800)}
  options = {'video_codec': 'mpeg4', 'pix_fmt': 'yuv420p', 'audio_codec': 'aac'} | turned
  media_clips.write(tmp_path / 'a.mp4', size=(128, 96), picture=lambda t: smooth, **options)
  pictures = []
  for image_format in ('jpeg', 'png'):
    built_records.build(
      tmp_path / 'a.mp4', tmp_path / image_format, RecordParams(image_size=64, image_format=image_format)
    )
    encoded = built_records.by_index(tmp_path / image_format, 'a.mp4')[3]['image/encoded'][0]
    pictures.append(np.asarray(Image.open(io.BytesIO(encoded))).astype(int))
  np.testing.assert_allclose(*pictures, atol=8)
  assert abs(pictures[0] - pictures[1]).mean() < 2


def test_tensorflow_parses_the_records(tmp_path):
  import tensorflow as tf

  media_clips.write(tmp_path / 'a.mkv')
  built_records.build(tmp_path / 'a.mkv', tmp_path / 'out')
  manifest = records.read_manifest(tmp_path / 'out')
  dataset = tf.data.TFRecordDataset(records.shard_paths(tmp_path / 'out', manifest)).batch(30)
  batch = next(iter(dataset.map(lambda s: records.parse_batch(s, manifest['params'], images=True))))
  order = np.argsort(batch['index'].numpy())
  np.testing.assert_allclose(batch['audio'].numpy()[order].ravel(), media_clips.ramp(16000, 16000, 1), atol=1e-4)
  picture = tf.io.decode_image(batch['image/encoded'][order[7], 0]).numpy()
  assert (picture == media_clips.grey(0.28, 1)).all()


def test_parts_are_synced_before_they_are_renamed(tmp_path, monkeypatch):
  part, synced = tmp_path / 'part', []
  sync = os.fsync
  monkeypatch.setattr(os, 'fsync', lambda handle: synced.append(part.exists()) or sync(handle))
  worker.write_part(job_of(media_clips.write(tmp_path / 'a.mkv'), part), lambda count: None)
  assert synced == [False] and part.exists()


def test_a_small_file_cannot_give_endless_windows(tmp_path, monkeypatch):
  path = media_clips.write(tmp_path / 'a.mkv', seconds=2)
  monkeypatch.setattr(worker, 'FREE_SECONDS', 1)
  assert worker.write_part(job_of(path, tmp_path / 'part'), lambda count: None) == 50
  monkeypatch.setattr(worker, 'LEAST_BYTES_PER_SECOND', path.stat().st_size)  # allows one second, and one is free
  assert worker.write_part(job_of(path, tmp_path / 'part'), lambda count: None) == 50
  monkeypatch.setattr(worker, 'LEAST_BYTES_PER_SECOND', 1.1 * path.stat().st_size)
  with pytest.raises(MediaError, match='too small a file for more than'):
    worker.write_part(job_of(path, tmp_path / 'other'), lambda count: None)
  assert sorted(file.name for file in tmp_path.iterdir()) == ['a.mkv', 'part']


def test_no_part_appears_after_its_build_has_ended(tmp_path):
  job = job_of(media_clips.write(tmp_path / 'a.mkv'), tmp_path / 'part')

  def report(count):
    if count == 25:
      raise BrokenPipeError

  with pytest.raises(BrokenPipeError):
    worker.write_part(job, report)
  assert [path.name for path in tmp_path.iterdir()] == ['a.mkv']
