"""Figures of sets of clips."""

import numpy as np
import pytest
from sklearn import metrics

from audionet_tf import plots, plots_sets


def test_confusion_shows_every_count():
  figure = plots_sets.confusion([[3, 0, 1], [0, 2, 0], [1, 1, 0]], ['rain', 'dog_bark', 'x$\\no$'])
  plots.to_rgb(figure)
  counts = {tuple(map(int, text.get_position())): text.get_text() for text in figure.axes[0].texts}
  assert counts == {(0, 0): '3', (2, 0): '1', (1, 1): '2', (0, 2): '1', (1, 2): '1'}  # (column, row)
  assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ['rain', 'dog_bark', 'x$\\no$']


def test_confusion_says_the_accuracy():
  rng = np.random.default_rng(0)
  true, said = rng.integers(0, 5, (2, 200))
  figure = plots_sets.confusion(metrics.confusion_matrix(true, said), list('abcde'), 'pool5, x$\\no$')
  plots.to_rgb(figure)
  assert figure.axes[0].get_title() == f'pool5, x$\\no$\n{metrics.accuracy_score(true, said):.1%} of 200 right'


@pytest.mark.parametrize('classes', [1, 50, 300])
def test_confusion_of_any_size(classes):
  names = [f'a long name of a category, as ImageNet has them, {i}' for i in range(classes)]
  image = plots.to_rgb(plots_sets.confusion(np.eye(classes, dtype=int) * 1234, names))
  assert max(image.shape) < 2000
