"""Figures of sets of clips."""

import numpy as np
import pytest
from sklearn import metrics

from audionet_tf.plotting import clips, style


def test_confusion_shows_every_count():
  figure = clips.confusion([[3, 0, 1], [0, 2, 0], [1, 1, 0]], ['rain', 'dog_bark', 'x$\\no$'])
  style.to_rgb(figure)
  counts = {tuple(map(int, text.get_position())): text.get_text() for text in figure.axes[0].texts}
  assert counts == {(0, 0): '3', (2, 0): '1', (1, 1): '2', (0, 2): '1', (1, 2): '1'}  # (column, row)
  assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ['rain', 'dog_bark', 'x$\\no$']


def test_confusion_shows_the_accuracy():
  rng = np.random.default_rng(0)
  true, predicted = rng.integers(0, 5, (2, 200))
  predicted[:120] = true[:120]
  figure = clips.confusion(metrics.confusion_matrix(true, predicted), list('abcde'), 'pool5, x$\\no$')
  style.to_rgb(figure)
  assert figure.axes[0].get_title() == f'pool5, x$\\no$\n{metrics.accuracy_score(true, predicted):.1%} of 200 correct'


@pytest.mark.parametrize('classes', [1, 50, 300])
def test_confusion_of_any_size(classes):
  names = [f'a long name of a category, as ImageNet has them, {i}' for i in range(classes)]
  image = style.to_rgb(clips.confusion(np.eye(classes, dtype=int) * 1234, names))
  assert max(image.shape) < 2000


def test_map_has_a_colour_and_shape_for_each_group():
  groups = [f'{i % 50:02} $\\no$' for i in range(150)]
  points = np.random.default_rng(0).normal(size=(150, 2)).astype(np.float32)
  figure = clips.plane(points, groups, 'x$\\no$')
  style.to_rgb(figure)
  axes = figure.axes[0]
  styles = {(tuple(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes()) for c in axes.collections}
  assert len(axes.collections) == len(styles) == 50
  texts = [text.get_text() for text in axes.get_legend().get_texts()]
  assert texts[:2] == ['00 $\\no$ (3)', '01 $\\no$ (3)']
  np.testing.assert_array_equal(axes.collections[7].get_offsets(), points[7::50])
  box = axes.get_legend().get_window_extent()
  assert box.x0 > axes.get_window_extent().x1 and box.x1 <= figure.bbox.x1 and box.y0 >= 0


def test_smallest_of_too_many_groups_are_grey():
  groups = [f'{i:03}' for i in range(100)] + ['099'] * 5
  figure = clips.plane(np.random.default_rng(0).normal(size=(105, 2)), groups)
  style.to_rgb(figure)
  texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
  assert texts[0] == '099 (6)' and texts[-1] == f'{100 - clips.MOST_GROUPS} others (36)'
  assert sum(len(c.get_offsets()) for c in figure.axes[0].collections) == 105
