"""What a client needs to know of a student: the page, the extension and the page without a service."""

from audionet_tf.data.tables.class_lists import UNKNOWN
from audionet_tf.models import registry
from audionet_tf.saved_model import signatures

LIVE_SECONDS = 1.0  # of live sound per request, unless the student needs more
LONGEST_LIVE_SECONDS = 5.0
MOST_NAMES = 24  # of classes in the description


def of_student(settings, class_names, is_starter, threshold):
  """JSON-able dict.

  Args:
    settings: student_settings.StudentConfig.
    class_names: of the head that captions and classifies.
    is_starter: whether the student is that of the package.
    threshold: score that an event must reach, where the client does not say.
  """
  return {
    'student': settings.student,
    'starter': is_starter,
    'classes': len(class_names),
    'names': class_names if len(class_names) <= MOST_NAMES else [],
    'unknown': UNKNOWN in class_names,
    'sample_rate_hz': settings.sample_rate_hz,
    'threshold': threshold,
  }


def live(settings, longest_seconds=LONGEST_LIVE_SECONDS):
  """How the student gets live sound: dict with the number of `examples` and of `samples` in each.

  The examples follow one another and end with the latest sample. An example is a window of at most `longest_seconds`.
  """
  rate, window = settings.sample_rate_hz, signatures.window_samples(settings)
  shortest = registry.shortest_samples(settings.student)
  samples = max(shortest, min(window, round(longest_seconds * rate)))
  return {'samples': samples, 'examples': max(1, round(LIVE_SECONDS * rate) // samples)}
