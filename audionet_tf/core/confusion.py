"""Confusion matrices."""


def matrix(true, predicted, classes):
  """int [classes, classes]: a row of a true class counts what was predicted in its place.

  Args:
    true, predicted: positions of classes, int [n]; none at all gives zeros.
    classes: number of classes.
  """
  from sklearn import metrics  # takes a second to import, at the end of a run that may never get here

  return metrics.confusion_matrix(true, predicted, labels=range(classes))
