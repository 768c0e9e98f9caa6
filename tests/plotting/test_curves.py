"""Figures and their data. Commands run as processes, as the flags of two modules do not share one."""

import json
import zipfile

import av
import commands
import numpy as np
import pytest
from PIL import Image

from audionet_tf.core.errors import UserError
from audionet_tf.inference import readers
from audionet_tf.media import overview
from audionet_tf.plotting import curves, sound, style
from audionet_tf.training import history

CLASS_NAMES = ['rooster', 'fire truck', 'harmonica', 'race car']


def plot(*arguments):
  """(exit code, stdout, stderr) of audionet_tf.plot."""
  done = commands.run('audionet_tf.plot', *arguments)
  return done.returncode, done.stdout, done.stderr


def write_stats(folder, names, epochs, key='kldiv'):
  """stats.json in which video v has KL 10 v + e / 10 in epoch e."""
  folder.mkdir(exist_ok=True)

  def video(v, e):
    mean = 10 * v + e / 10
    return {key: mean if key == 'kldiv' else [mean - 1, mean + 1]}

  listed = [{'videos': {n: video(v, e) for v, n in enumerate(names)}, 'training_time': 1.0} for e in range(epochs)]
  (folder / 'stats.json').write_text(json.dumps({'num_epochs': epochs, 'epochs': listed}))
  return folder


def write_inference(path, probabilities, **more):
  document = {'video_file': 'a.mp4', 'model_file': 'm', 'sample_period_msec': 40}
  path.write_text(json.dumps(document | {'frame_probabilities': np.asarray(probabilities).tolist()} | more))
  return path


def write_wav(path, seconds, rate=16000):
  """A 440 Hz tone of half the full scale."""
  tone = (16384 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)).astype(np.int16)
  with av.open(str(path), 'w') as out:
    stream = out.add_stream('pcm_s16le', rate=rate, layout='mono')
    frame = av.AudioFrame.from_ndarray(tone[None], format='s16', layout='mono')
    frame.sample_rate = rate
    for packet in [*stream.encode(frame), *stream.encode(None)]:
      out.mux(packet)
  return path


@pytest.mark.parametrize('key', ['kldiv', 'kldiv_per_frame'])
def test_mean_kl_of_stats_of_this_and_of_the_original_program(tmp_path, key):
  epochs, table = history.read_mean_kl(write_stats(tmp_path / 'run', ['a', 'b'], 20, key), '5:8')
  assert list(epochs) == [5, 6, 7]
  np.testing.assert_allclose(table['a'], [0.5, 0.6, 0.7])
  np.testing.assert_allclose(table['b'], [10.5, 10.6, 10.7])


@pytest.mark.parametrize('text, expected', [('', (0, 20)), ('0:20', (0, 20)), ('18:', (18, 20)), (':3', (0, 3))])
def test_epoch_range_is_half_open(text, expected):
  assert history.epoch_range(text, 20) == range(*expected)


@pytest.mark.parametrize('text', ['0:21', '5:5', '7:3', '20:', 'a:b', '3', '-1:4'])
def test_epoch_range_beyond_the_run_is_refused(text):
  with pytest.raises(UserError, match='epochs is'):
    history.epoch_range(text, 20)


@pytest.mark.parametrize(
  'text',
  ['', '[]', '{"epochs": 3}', '{"epochs": [{"videos": {"a": {}}}]}', '{"epochs": [{"videos": {}}]}', '[' * 100_000],
)
def test_damaged_statistics(tmp_path, text):
  (tmp_path / 'stats.json').write_text(text)
  with pytest.raises(UserError, match='stats.json'):
    history.read_mean_kl(tmp_path)


def test_lines_of_24_videos_differ_and_the_legend_is_sorted():
  names = ['_A30xsFBMXA', '-OAyRsvFGgc', 'a$b$c', *(f'clip {i:02}' for i in range(21))]
  figure = curves.kl_per_video(range(50), {name: np.linspace(5, i / 10, 50) for i, name in enumerate(names)})
  axes = figure.axes[0]
  texts = [text.get_text() for text in axes.get_legend().get_texts()]
  assert texts == [*sorted(names), 'mean of the 24 videos']
  assert not any(text.get_parse_math() for text in axes.get_legend().get_texts())
  styles = {(line.get_color(), line.get_linestyle(), str(line._dash_pattern)) for line in axes.lines}
  assert len(styles) == 25
  mean = axes.lines[-1]
  np.testing.assert_allclose(mean.get_ydata()[-1], np.mean(np.arange(24) / 10))
  assert mean.get_linewidth() > 2 * axes.lines[0].get_linewidth()


def test_legend_lies_inside_the_figure_and_outside_the_axes(tmp_path):
  figure = curves.kl_per_video(
    range(50), {f'a rather long name of a video, number {i}': np.ones(50) for i in range(20)}
  )
  style.save(figure, tmp_path / 'x.png')
  box = figure.axes[0].get_legend().get_window_extent()
  assert box.x0 > figure.axes[0].get_window_extent().x1
  assert 0 < box.x1 < figure.bbox.x1 and box.y0 > 0 and box.y1 <= figure.bbox.y1


def test_extremes_of_more_than_24_videos_are_coloured():
  figure = curves.kl_per_video(range(5), {f'{i:02}': np.full(5, float(i)) for i in range(60)})
  texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
  assert texts == [
    *(f'{i:02}' for i in [*range(10), *range(50, 60)]),
    'mean of the 60 videos',
    '40 others, which end between these',
  ]
  assert len(figure.axes[0].lines) == 61


def test_shortened_names_stay_distinct():
  long, other = (30 * 'x' + middle + 30 * 'x' for middle in 'yz')
  short = style.shorten(long)
  assert style.distinct(['a', long, other]) == ['a', f'{short} (1)', f'{short} (2)']
  assert len(style.shorten(long, 34)) == 34
  assert style.shorten('ab' * 40 + 'END', 21).endswith('END')


@pytest.mark.parametrize('samples, limit', [(1, 8), (7, 8), (8, 8), (9, 8), (1000, 8), (1003, 64), (64, 64)])
def test_envelope_is_the_range_of_every_block(samples, limit):
  pcm = np.random.default_rng(samples).integers(-32768, 32767, samples, np.int16)
  cuts = [0, *sorted(np.random.default_rng(1).integers(0, samples, 5)), samples]
  wave = overview.envelope([(100 + a, pcm[a:b]) for a, b in zip(cuts, cuts[1:], strict=False)], limit)
  block = wave['block_samples']
  expected = [pcm[i : i + block] / 32768 for i in range(0, samples, block)]
  np.testing.assert_array_equal(wave['low'], [e.min() for e in expected])
  np.testing.assert_array_equal(wave['high'], [e.max() for e in expected])
  assert (wave['start_sample'], wave['samples']) == (100, samples)
  assert len(wave['low']) <= limit and (block == 1 or len(wave['low']) >= limit // 2)


def test_envelope_of_nothing():
  assert overview.envelope([])['samples'] == 0


def test_inference_json_with_times_and_names(tmp_path):
  table = np.random.default_rng(0).dirichlet(np.ones(4), 6)
  starts = [0.5 + 0.1 * i for i in range(6)]
  more = {'window_start_seconds': starts, 'class_names': CLASS_NAMES, 'window_msec': 250}
  path = write_inference(tmp_path / 'x.json', table, **more)
  inference = readers.read_inference(path)
  np.testing.assert_allclose(inference.probabilities, table, rtol=1e-6)
  np.testing.assert_allclose(inference.start_seconds, starts)
  np.testing.assert_allclose(inference.end_seconds, np.array(starts) + 0.25)
  assert inference.class_names == CLASS_NAMES


def test_inference_json_of_the_original_program(tmp_path):
  path = write_inference(tmp_path / 'x.json', [[0.5, 0.5]] * 3)
  inference = readers.read_inference(path)
  np.testing.assert_allclose(inference.start_seconds, [0, 0.04, 0.08])
  assert inference.class_names == ['class 0', 'class 1']
  (tmp_path / 'names.txt').write_text('yes\nno\n')
  assert readers.read_inference(path, tmp_path / 'names.txt').class_names == ['yes', 'no']
  (tmp_path / 'names.txt').write_text('yes\n')
  with pytest.raises(UserError, match='1 class names for 2 classes'):
    readers.read_inference(path, tmp_path / 'names.txt')


def test_inference_json_is_read_in_pieces_of_any_size(tmp_path, monkeypatch):
  table = np.random.default_rng(0).random((7, 3)).astype(np.float32)
  path = write_inference(tmp_path / 'x.json', table, video_file='odd ] "frame_probabilities": [[1]] name')
  for characters in (1, 7, 64):
    monkeypatch.setattr(readers, 'CHUNK_CHARACTERS', characters)
    np.testing.assert_array_equal(readers.read_inference(path).probabilities, table)


def test_inference_npz(tmp_path):
  table = np.random.default_rng(0).random((5, 4)).astype(np.float16)
  times = np.arange(5) * 0.04
  np.savez(
    tmp_path / 'x.npz', probabilities=table, start_seconds=times, end_seconds=times + 0.04, class_names=CLASS_NAMES
  )
  inference = readers.read_inference(tmp_path / 'x.npz')
  np.testing.assert_array_equal(inference.probabilities, table)
  np.testing.assert_array_equal(inference.end_seconds, times + 0.04)
  assert inference.class_names == CLASS_NAMES


@pytest.mark.parametrize(
  'text',
  [
    '',
    '{"sample_period_msec": 40}',
    '{"sample_period_msec": 40, "frame_probabilities": []}',
    '{"sample_period_msec": 40, "frame_probabilities": [0.1, 0.9]}',
    '{"sample_period_msec": 40, "frame_probabilities": [[0.1], [0.1, 0.2]]}',
    '{"sample_period_msec": 40, "frame_probabilities": [[NaN]]}',
    '{"sample_period_msec": 40, "frame_probabilities": [[[0.5]]]}',
    '{"sample_period_msec": 0, "frame_probabilities": [[0.5]]}',
    '{"frame_probabilities": [[0.5]]}',
    '{"sample_period_msec": 40, "frame_probabilities": [[0.5]], "window_start_seconds": [1, 2]}',
    '{"sample_period_msec": 40, "frame_probabilities": [[0.5], [0.',
  ],
)
def test_damaged_inference_json(tmp_path, text):
  (tmp_path / 'x.json').write_text(text)
  with pytest.raises(UserError, match='x.json'):
    readers.read_inference(tmp_path / 'x.json')


@pytest.mark.parametrize(
  'strange',
  [
    {'probabilities': np.array([['x']])},
    {'probabilities': np.array([[1j]])},
    {'start_seconds': np.array([np.nan])},
    {'end_seconds': np.array([np.inf])},
    {'end_seconds': np.array([-1.0])},
  ],
)
def test_arrays_that_are_no_inference(tmp_path, strange):
  good = {'probabilities': np.ones([1, 1]), 'start_seconds': np.zeros(1), 'end_seconds': np.ones(1)}
  np.savez(tmp_path / 'x.npz', **good)
  readers.read_inference(tmp_path / 'x.npz')
  np.savez(tmp_path / 'x.npz', **good | strange)
  with pytest.raises(UserError, match='x.npz'):
    readers.read_inference(tmp_path / 'x.npz')


def test_damaged_inference_npz(tmp_path):
  (tmp_path / 'x.npz').write_bytes(b'PK\x03\x04 cut short')
  np.savez(tmp_path / 'y.npz', probabilities=np.array([{}], dtype=object), start_seconds=[0.0], end_seconds=[1.0])
  np.savez(tmp_path / 'z.npz', start_seconds=[0.0])
  np.savez(tmp_path / 'a.npz', start_seconds=[0.0], end_seconds=[1.0])
  with zipfile.ZipFile(tmp_path / 'a.npz', 'a') as archive:
    archive.writestr('probabilities.npy', b'no array')
  for name in 'xyza':
    with pytest.raises(UserError, match=f'{name}.npz'):
      readers.read_inference(tmp_path / f'{name}.npz')


@pytest.mark.parametrize('seconds', [0.04, 1, 3600])
def test_signals_of_any_length(tmp_path, seconds):
  windows = round(seconds / 0.04)
  starts = np.arange(windows) * 0.04
  probabilities = np.random.default_rng(0).random((windows, 2))
  tone = (9000 * np.sin(np.arange(round(seconds * 16000)) / 6)).astype(np.int16)
  wave = overview.envelope((i, tone[i : i + 65536]) for i in range(0, len(tone), 65536))
  figure = sound.signals('x$\\no$y', starts, starts + 0.04, probabilities, ['$\\no$', 'b' * 200], wave, 16000)
  style.save(figure, tmp_path / 'x.png')
  above, below = figure.axes
  areas = [path for axes in figure.axes for collection in axes.collections for path in collection.get_paths()]
  points = sum(len(path.vertices) for path in areas) + sum(len(line.get_xdata()) for line in above.lines)
  assert points < 20_000  # an hour has 57.6 million samples and 90,000 windows
  for axes in (above, below):
    np.testing.assert_allclose(axes.get_xlim(), (0, seconds))
  np.testing.assert_allclose(above.lines[0].get_ydata().mean(), probabilities[:, 0].mean(), rtol=0.01)
  drawn = below.collections[0].get_paths()[0].vertices
  np.testing.assert_allclose(
    [drawn[:, 1].min(), drawn[:, 1].max()], [tone.min() / 32768, tone.max() / 32768], rtol=1e-6
  )


def test_signals_puts_probabilities_and_late_sound_at_their_times():
  wave = overview.envelope([(8000, np.full(8000, 16384, np.int16))])
  figure = sound.signals('x', [0.0, 0.5], [0.5, 1.0], [[0.2], [0.7]], ['a'], wave, 16000)
  above, below = figure.axes
  np.testing.assert_allclose(above.lines[0].get_xydata(), [[0.25, 0.2], [0.75, 0.7]], rtol=1e-6)
  assert 0.5 <= below.collections[0].get_paths()[0].vertices[:, 0].min() < 0.501


def test_clock():
  assert [style.clock(s, s > 3600) for s in (65, 600, 3725)] == ['1:05', '10:00', '1:02:05']


def test_save_refuses_other_formats_and_leaves_nothing_half_written(tmp_path):
  figure = curves.kl_per_video(range(2), {'a': np.ones(2)})
  with pytest.raises(UserError, match='.png, .pdf, .svg'):
    style.save(figure, tmp_path / 'x.exe')
  style.save(figure, tmp_path / 'new' / 'x.svg')
  assert [path.name for path in (tmp_path / 'new').iterdir()] == ['x.svg']


def test_command_kl(tmp_path):
  run = write_stats(tmp_path / 'run', [f'video {i}' for i in range(20)], 60)
  code, out, _ = plot('kl', f'--run_dir={run}', '--epochs=0:50', f'--output={tmp_path}/figures/x.png')
  assert code == 0 and out.strip().endswith('x.png')
  with Image.open(tmp_path / 'figures' / 'x.png') as image:
    assert image.format == 'PNG' and image.width == 1500
    assert len(np.unique(np.asarray(image.convert('RGB')).reshape(-1, 3), axis=0)) > 50


def test_command_signals(tmp_path):
  table = np.random.default_rng(0).dirichlet(np.ones(4), 25)
  inference = write_inference(tmp_path / 'x.json', table, class_names=CLASS_NAMES)
  sound = write_wav(tmp_path / 'clip.wav', 1)
  code, _, error = plot('signals', f'--inference={inference}', f'--media={sound}', f'--output={tmp_path}/y.png')
  assert code == 0, error
  with Image.open(tmp_path / 'y.png') as image:
    assert image.format == 'PNG'


@pytest.mark.parametrize(
  'arguments, expected',
  [
    ([], 'plot needs FIGURE (kl, signals, '),
    (['kk'], 'kl or signals'),
    (['kl', 'more'], 'kl or signals'),
    (['kl', '--output=x.png'], '--run_dir'),
    (['kl', '--run_dir=nowhere', '--output=x.png'], 'nowhere'),
    (['kl', '--run_dir=nowhere', '--output=x.gif'], 'x.gif'),
    (['signals', '--output=x.png'], 'plot signals needs --inference, and --media'),
    (['signals', '--inference=no.json', '--media=no.wav', '--output=x.png'], 'no such file: no.json, no.wav'),
    (['signals', f'--inference={__file__}', f'--media={__file__}', '--output=x.png', '--top=0'], 'top is 0'),
  ],
)
def test_command_mistakes_are_one_line(arguments, expected):
  code, out, error = plot(*arguments)
  assert code == 1 and expected in error and not out
  assert len(error.strip().splitlines()) == 1
