"""Videos shorter than a window, and records of sound only, compared with the clip's ramp and NumPy's tile."""

import json

import built_records
import media_clips
import numpy as np
import pytest

from audionet_tf.data import records
from audionet_tf.data.params import RecordParams

RATE_HZ = 16000


def params(pictures, window=2, **changes):
  return RecordParams(
    window,
    window,
    images_per_window=pictures,
    image_format='png',
    image_size=16,
    **{'short_videos': 'repeat'} | changes,
  )


@pytest.mark.parametrize(
  ('pictures', 'seconds', 'covered'),
  [
    (2, 1.0, 1),  # image times 0.5, 1.5: half the window, twice
    (4, 1.0, 2),  # 0.25, 0.75, 1.25, 1.75
    (4, 1.7, 3),  # 1.5 s, and a third of it again
    (4, 0.8, 2),  # 0.2 s of zeros to the end of the second part
    (1, 1.6, 1),  # the whole window, with silence at its end
  ],
)
def test_sound_and_pictures_are_repeated_together(tmp_path, pictures, seconds, covered):
  media_clips.write(tmp_path / 'a.mkv', seconds=seconds)
  built_records.build(tmp_path / 'a.mkv', tmp_path / 'out', params(pictures))
  (row,) = built_records.read(tmp_path / 'out')
  part = 2 / pictures
  times = [(i + 0.5) * part for i in range(covered)]
  greys = [media_clips.grey(int(t * 25 + 1e-6) / 25, seconds) for t in times]
  assert built_records.greys(row) == [greys[i % covered] for i in range(pictures)]
  assert row['image/time_us'] == [round(times[i % covered] * 1e6) for i in range(pictures)]
  length = round(covered * part * RATE_HZ)
  once = np.zeros(length)
  sound = media_clips.ramp(round(seconds * RATE_HZ), RATE_HZ, seconds)[:length]
  once[: len(sound)] = sound
  np.testing.assert_allclose(built_records.pcm(row), np.tile(once, 5)[: 2 * RATE_HZ], atol=1e-4)
  assert row['window/index'] == [0]


def test_late_sound_keeps_its_time(tmp_path):
  media_clips.write(tmp_path / 'a.mkv', sound_start=0.3, sounds=[np.full(8000, 0.5, np.float32)])
  built_records.build(tmp_path / 'a.mkv', tmp_path / 'out', params(2))
  (row,) = built_records.read(tmp_path / 'out')
  expected = np.tile(np.repeat([0, 0.5, 0], [4800, 8000, 3200]), 2)
  np.testing.assert_allclose(built_records.pcm(row), expected, atol=1e-3)


def test_longer_videos_are_not_repeated(tmp_path):
  media_clips.write(tmp_path / 'a.mkv', seconds=3)
  for name in ('skip', 'repeat'):
    built_records.build(tmp_path / 'a.mkv', tmp_path / name, params(2, window=1, short_videos=name))
  rows = [built_records.by_index(tmp_path / name, 'a.mkv') for name in ('skip', 'repeat')]
  assert rows[0] == rows[1] and list(rows[0]) == [0, 1, 2]


def test_videos_that_cannot_be_repeated_are_reported(tmp_path):
  (tmp_path / 'in').mkdir()
  media_clips.write(tmp_path / 'in' / 'a.mkv', seconds=0.8)
  media_clips.write(tmp_path / 'in' / 'b.mkv', seconds=2)
  media_clips.write(tmp_path / 'in' / 'c.mkv', sounds=[])
  summary = built_records.build(tmp_path / 'in', tmp_path / 'out', params(1))
  assert summary.videos == 1
  assert summary.failures == {
    'a.mkv': 'shorter than a window of 2 s, and no picture at its first time, 1.0 s',
    'c.mkv': 'no sound',
  }
  skipped = built_records.build(tmp_path / 'in', tmp_path / 'skipped', params(2, short_videos='skip')).failures
  assert skipped['a.mkv'] == 'sound and picture do not share one window of 2 s'


def test_older_records_without_the_setting_are_kept(tmp_path):
  media_clips.write(tmp_path / 'a.mkv')
  built_records.build(tmp_path / 'a.mkv', tmp_path / 'out')
  path = tmp_path / 'out' / records.MANIFEST_NAME
  manifest = json.loads(path.read_text())
  del manifest['params']['short_videos'], manifest['checksum']
  path.write_text(json.dumps(manifest))
  summary = built_records.build(tmp_path / 'a.mkv', tmp_path / 'out')
  assert (summary.kept, summary.built) == (1, 0)
  assert records.read_manifest(tmp_path / 'out')['params'].short_videos == 'skip'


def test_records_of_sound_only_need_no_picture(tmp_path):
  (tmp_path / 'in').mkdir()
  media_clips.write(tmp_path / 'in' / 'a.mkv', seconds=3)
  media_clips.write(tmp_path / 'in' / 'b.wav', seconds=2.5, times=[])
  media_clips.write(tmp_path / 'in' / 'c.wav', seconds=0.5, times=[])
  media_clips.write(tmp_path / 'in' / 'd.mkv', sounds=[])
  summary = built_records.build(tmp_path / 'in', tmp_path / 'out', params(0, window=1, short_videos='skip'))
  assert summary.windows == 5
  assert summary.failures == {'c.wav': 'the sound does not fill one window of 1 s', 'd.mkv': 'no sound'}
  rows = built_records.by_index(tmp_path / 'out', 'b.wav')
  assert list(rows) == [0, 1] and not {'image/encoded', 'image/time_us'} & set(rows[0])
  np.testing.assert_allclose(built_records.pcm(rows[1]), media_clips.ramp(40000, RATE_HZ, 2.5)[16000:32000], atol=1e-4)
  built_records.build(tmp_path / 'in', tmp_path / 'repeated', params(0, window=1))
  (row,) = built_records.by_index(tmp_path / 'repeated', 'c.wav').values()
  np.testing.assert_allclose(built_records.pcm(row), np.tile(media_clips.ramp(8000, RATE_HZ, 0.5), 2), atol=1e-4)
