"""Names that downloaders of AudioSet give, looked up in its table."""

import numpy as np
import pytest

from audionet_tf.data.params import RecordParams
from audionet_tf.data.tables import segment_names, weak_labels
from audionet_tf.teachers import clip_labels

AUDIOSET = """--PJHxphWEs, 30.000, 40.000, "/m/1"
-0RWZT-miFs, 420.000, 430.000, "/m/2,/m/1"
Y_0W_T-miFs, 0.500, 10.500, "/m/2"
"""


@pytest.fixture
def path(tmp_path):
  (tmp_path / 'x.csv').write_text(AUDIOSET)
  return tmp_path / 'x.csv'


def names(video, start, end):
  """File names of the clip of a video, as Python formats its times."""
  for prefix in ('', 'Y'):
    for form in ('{:g}', '{:.1f}', '{:.2f}', '{:.3f}', '{:.6f}'):
      yield f'{prefix}{video}_{form.format(start)}'
      for mark in '_-':
        yield f'{prefix}{video}_{form.format(start)}{mark}{form.format(end)}'
    yield f'{prefix}{video}_{round(start * 1000)}_{round(end * 1000)}'
    yield f'{prefix}{video}_{round(start * 1000)}'
  yield f'Y{video}'


@pytest.mark.parametrize(
  ('video', 'start', 'end', 'labels'),
  [('--PJHxphWEs', 30, 40, (0,)), ('-0RWZT-miFs', 420, 430, (1, 0)), ('Y_0W_T-miFs', 0.5, 10.5, (1,))],
)
def test_every_name_of_a_segment_is_found_without_times(path, video, start, end, labels):
  table = weak_labels.read(path)
  for name in names(video, start, end):
    for file in (f'{name}.wav', f'train/{name}.flac', f'{name}.mp4.gz', name):
      rows = table.find(file)
      assert rows is not None, file
      assert [(row.start, row.end, row.labels) for row in rows] == [(None, None, labels)], file
  title = f'A title (live) [{video}]'
  for file in (f'{video}.webm', f'{title}.webm', f'{title}.f140.m4a', f'{video}.f251-1.webm', f'A - title-{video}.mp4'):
    assert [(row.start, row.end, row.labels) for row in table.find(file)] == [(start, end, labels)]


@pytest.mark.parametrize(
  'name',
  [
    '--PJHxphWEs_31.wav',
    '--PJHxphWEs_30_35.wav',
    '--PJHxphWEs_300.wav',
    '--PJHxphWE.wav',
    'XX--PJHxphWEs.wav',
    '_30.wav',
  ],
)
def test_other_segments_and_other_videos_are_not_found(path, name):
  assert weak_labels.read(path).find(name) is None


def test_of_several_segments_of_a_video_the_named_one_is_found(tmp_path):
  (tmp_path / 'x.csv').write_text('--PJHxphWEs,30,40,a\n--PJHxphWEs,30,40,b\n--PJHxphWEs,50,60,c\n')
  table = weak_labels.read(tmp_path / 'x.csv')
  assert [row.labels for row in table.find('--PJHxphWEs_30.wav')] == [(0,), (1,)]
  assert [row.labels for row in table.find('--PJHxphWEs_50.000-60.000.wav')] == [(2,)]
  assert table.find('Y--PJHxphWEs.wav') is None  # it may be either


def test_a_file_too_short_to_be_the_video_is_the_segment():
  assert segment_names.is_whole_file({(30, 40)}, 10) and segment_names.is_whole_file({(5, 15)}, 10)
  assert not segment_names.is_whole_file({(30, 40)}, 180) and not segment_names.is_whole_file({(0, 10)}, 10)
  assert not segment_names.is_whole_file({(None, None)}, 10)
  assert not segment_names.is_whole_file({(30, 40), (60, 70)}, 10)


def test_targets_of_records_of_cut_clips(path):
  """Without the names of downloaders, clips of ten seconds called by the id have no sound at 420 s."""
  files = ['Y--PJHxphWEs.wav', '-0RWZT-miFs.wav', 'Y_0W_T-miFs_500_10500.flac']
  params = RecordParams(window_seconds=5, hop_seconds=5, images_per_window=0)
  videos = [{'id': name, 'windows': 2, 'first_window': 0} for name in files]
  targets = clip_labels.load_table(path).targets({'params': params, 'videos': videos})
  for name, expected in zip(files, ([1, 0], [1, 1], [0, 1]), strict=True):
    np.testing.assert_array_equal([targets(name, window)[0] for window in (0, 1)], [expected] * 2)
