"""The flags of sound event detection that caption, stream, evaluate and review share. No command itself."""

from absl import flags

from audionet_tf.core import cli, durations

THRESHOLD = flags.DEFINE_float('threshold', 0.2, 'Score that a class must reach.')
THRESHOLDS = flags.DEFINE_string('thresholds', None, 'CSV with class_name and threshold, for single classes.')
RELEASE = flags.DEFINE_float('release', 0.7, 'An event lasts while the score is at least this share of the threshold.')
SMOOTH_MS = flags.DEFINE_float('smooth_ms', 400, 'Length of the running median over the scores; 0 for none.')
MERGE_MS = flags.DEFINE_float('merge_ms', 500, 'Events of one class with a gap of at most this length are merged.')
SHORTEST_MS = flags.DEFINE_float('shortest_ms', 200, 'Shorter events are dropped.')
TOP = flags.DEFINE_integer('top', 3, 'Classes at a time; 0 for all.')
STOP = flags.DEFINE_list('stop', [], 'Classes without events, or a file of them, one per line.')
NAMES = flags.DEFINE_string('names', None, 'CSV with class_name (or mid, or index) and display_name.')
JOIN = flags.DEFINE_enum(
  'join',
  None,
  ['sum', 'max'],
  'Score of several classes with one display name; default: sum if classes exclude each other (softmax), else max.',
)
UNKNOWN = flags.DEFINE_bool('unknown', False, 'Events of `unknown` too, of students that have it.')

HOLDERS = (THRESHOLD, THRESHOLDS, RELEASE, SMOOTH_MS, MERGE_MS, SHORTEST_MS, TOP, STOP, NAMES, JOIN, UNKNOWN)
TOPICS = {'threshold': 'Events', 'stop': 'Classes'}


def require_files():
  """UserError if a file that a flag names is missing."""
  cli.require_files([path for path in (THRESHOLDS.value, NAMES.value) if path])


def detection_config(settings, class_names, head=None):
  """event_detection.DetectionConfig of the flags, checked.

  Args:
    settings: student_settings.StudentConfig.
    class_names: of the head.
    head: its name; None for the first.
  """
  from audionet_tf.captioning import captioner

  return captioner.detection_config(
    settings,
    class_names,
    head,
    names=NAMES.value,
    thresholds=THRESHOLDS.value,
    stop=STOP.value,
    join=JOIN.value,
    threshold=THRESHOLD.value,
    release=RELEASE.value,
    top=TOP.value,
    smooth_seconds=durations.seconds(SMOOTH_MS.value),
    merge_seconds=durations.seconds(MERGE_MS.value),
    shortest_seconds=durations.seconds(SHORTEST_MS.value),
    unknown=UNKNOWN.value,
  )
