"""Confusion matrices."""


def matrix(true, predicted, classes):
  """Counts the pairs of true and predicted classes.

  Args:
    true: int [n], positions of classes.
    predicted: int [n], positions of classes.
    classes: number of classes.

  Returns:
    int [classes, classes], a row per true class; zeros for n = 0.
  """
  from sklearn import metrics  # imported late, as it takes a second

  return metrics.confusion_matrix(true, predicted, labels=range(classes))
