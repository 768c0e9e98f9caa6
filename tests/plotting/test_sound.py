"""Figures of filters and of timelines."""

import keras
import numpy as np
import pytest

from audionet_tf.captioning import event_detection
from audionet_tf.media import overview
from audionet_tf.models import registry
from audionet_tf.plotting import sound, style
from audionet_tf.saved_model import filters

RATE_HZ = 22050


def tones(frequencies_hz, samples=256):
  times = np.arange(samples) / RATE_HZ
  return np.stack([np.sin(2 * np.pi * hz * times) for hz in frequencies_hz], 1).astype(np.float32)


def test_filters_are_sorted_by_their_frequency():
  figure = sound.filters(tones([5000, 300, 9000, 1200]), RATE_HZ, 'x$\\no$')
  columns = [(axes, spectra) for axes, spectra in np.array(figure.axes, object).reshape(-1, 2)]
  # Left to right, then down: the first row has the two lowest.
  titles = [axes.texts[row].get_text() for row in range(2) for axes, _ in columns]
  assert [title.partition(':')[0] for title in titles] == ['1', '3', '0', '2']
  hertz = [float(title.partition(':')[2].replace(',', '').replace('Hz', '')) for title in titles]
  np.testing.assert_allclose(hertz, [300, 1200, 5000, 9000], atol=25)
  drawn = columns[0][0].lines[0].get_ydata()
  assert np.corrcoef(drawn, tones([300])[:, 0])[0, 1] > 0.9999
  below = columns[0][1].collections[1].get_paths()[0].vertices  # 5 kHz
  assert abs(below[below[:, 1].argmax(), 0] - 5.0) < 0.03
  assert -2 < below[:, 1].min() < below[:, 1].max() < -1  # the second row
  style.to_rgb(figure)


@pytest.mark.parametrize('count', [1, 5, 64, 200])
def test_any_number_of_filters(count):
  kernel = np.random.default_rng(0).normal(size=(64, count))
  kernel[:, 0] = 0
  image = style.to_rgb(sound.filters(kernel, RATE_HZ))
  assert image.min() < 255 and max(image.shape) < 4000


def test_first_kernel_is_that_of_the_first_layer():
  student = registry.build('soundnet5', {'teacher': 3})
  kernel = filters.first_kernel(student.variables)
  np.testing.assert_array_equal(kernel, student.get_layer('conv1_conv').kernel.numpy()[:, 0])
  assert filters.first_kernel(keras.layers.Dense(3).variables) is None


def picture(seconds, columns=50, bands=8):
  return {
    'edges_seconds': np.linspace(0, seconds, columns + 1),
    'edges_hz': np.geomspace(50, 8000, bands + 1),
    'decibels': np.full((columns, bands), -20.0, np.float32),
  }


def timeline(starts, ends, probabilities, names):
  predictions = {'start_seconds': starts, 'end_seconds': ends, 'probabilities': probabilities, 'class_names': names}
  wave = overview.envelope([(0, np.full(round(ends[-1] * 16000), 9000, np.int16))])
  figure = sound.timeline('x$\\no$', predictions, wave, picture(ends[-1]), 16000)
  style.to_rgb(figure)
  return figure


def test_timeline_shows_every_class_at_its_time():
  table = np.random.default_rng(0).dirichlet(np.ones(3), 4)
  starts = np.array([0.0, 0.5, 1.0, 1.5])
  figure = timeline(starts, starts + 0.5, table, ['$\\no$', 'b' * 90, 'c'])
  sound, spectrum, classes, *_ = figure.axes
  rows = classes.collections[0]
  np.testing.assert_allclose(rows.get_array().reshape(3, 4), table.T, rtol=1e-6)
  np.testing.assert_allclose(rows.get_coordinates()[0, :, 0], [0, 0.5, 1, 1.5, 2])
  assert classes.get_ylim() == (3, 0)  # the first on top
  assert [text.get_text() for text in classes.get_yticklabels()][::2] == ['$\\no$', 'c']
  for axes in (sound, spectrum, classes):
    np.testing.assert_allclose(axes.get_xlim(), (0, 2))


def test_overlapping_windows_meet_in_the_middle():
  starts = np.array([0.0, 1.0, 2.0])
  figure = timeline(starts, starts + 2, np.eye(3), list('abc'))
  np.testing.assert_allclose(figure.axes[2].collections[0].get_coordinates()[0, :, 0], [0, 1.5, 2.5, 4])


def test_brief_sound_in_an_hour_stays_visible():
  starts = np.arange(9000) * 0.4
  table = np.zeros([9000, 2])
  table[4321, 1] = 0.9
  figure = timeline(starts, starts + 0.4, table, ['a', 'b'])
  rows = figure.axes[2].collections[0]
  values, edges = rows.get_array().reshape(2, -1), rows.get_coordinates()[0, :, 0]
  assert values.shape[1] <= style.MOST_STEPS
  place = values[1].argmax()
  assert values[1, place] == np.float32(0.9) and edges[place] <= 4321.5 * 0.4 <= edges[place + 1]
  np.testing.assert_allclose(edges[-1], 3600)


def test_timeline_shows_events_by_their_length(tmp_path):
  starts = np.arange(4) * 0.5
  predictions = {
    'start_seconds': starts,
    'end_seconds': starts + 0.5,
    'probabilities': np.eye(4),
    'class_names': list('abcd'),
  }
  wave = overview.envelope([(0, np.full(32000, 9000, np.int16))])
  spans = [('dog', 0.2, 0.6, 0.9), ('$\\rain$', 0.0, 1.5, 0.1), ('dog', 1.0, 1.4, 0.5)]
  events = [event_detection.Event(start, end, name, score, score) for name, start, end, score in spans]
  figure = sound.timeline('x', predictions, wave, picture(2), 16000, events)
  style.to_rgb(figure)
  axes = figure.axes[3]
  assert [label.get_text() for label in axes.get_yticklabels()] == ['$\\rain$', 'dog']
  bars = [[path.get_extents() for path in row.get_paths()] for row in axes.collections]
  assert [[(round(bar.x0, 6), round(bar.x1, 6)) for bar in row] for row in bars] == [[(0, 1.5)], [(0.2, 0.6), (1, 1.4)]]
  assert bars[1][0].y0 > 1 and axes.get_xlim() == (0, 2) and axes.get_xlabel()
  shades = axes.collections[1].get_facecolor()[:, 3]
  assert shades[0] > shades[1]
