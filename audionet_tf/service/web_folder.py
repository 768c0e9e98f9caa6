"""The page without a service: a folder of files that any web server can serve, and the extension in the same folder.

The folder is that of the service's page, `web/`, with the student in it: `source.js` then takes the scores from
`local/`, which runs the student by LiteRT in the browser, and not from the service.
"""

import pathlib
import shutil

import numpy as np

from audionet_tf.captioning import captioner, event_detection
from audionet_tf.core import durations, files, notices
from audionet_tf.core.errors import UserError
from audionet_tf.models import registry, student_paths
from audionet_tf.saved_model import signatures, tflite, tflite_pieces
from audionet_tf.service import description, npm_packages

WEB = pathlib.Path(__file__).parent / 'web'
MODEL_FILE, LABELS_FILE = 'model.tflite', 'labels.json'
SOURCE = "// Where the scores come from.\n\nexport { connect } from './local/source.js';\n"
NOTICE = 'NOTICE'
MOST_BYTES = 15_000_000  # of a folder that opens soon


def write(model, settings, folder, threshold=0.2, is_starter=False, packages=None):
  """Writes the folder, which replaces an earlier one.

  Args:
    model: keras.Model of a student.
    settings: its student_settings.StudentConfig.
    folder: pathlib.Path.
    threshold: score that an event must reach at first.
    is_starter: whether the student is that of the package.
    packages: as `archives` of npm_packages.write.

  Returns:
    int, bytes in the folder.

  Raises:
    UserError: the student has no heads; the folder holds something else, or another process writes it; or a package is
      missing.
    DiskFullError: no space for the folder.
  """
  check(settings)
  with files.replaced_folder(folder, npm_packages.LICENSES_FILE) as partial:
    shutil.copytree(WEB, partial, dirs_exist_ok=True)
    npm_packages.write(partial, packages)
    write_model = tflite_pieces.write if has_steps(settings) else tflite.write_first_head
    notices.quietly(write_model, model, settings, partial / MODEL_FILE)
    files.write_json(partial / LABELS_FILE, labels(settings, threshold, is_starter))
    (partial / 'source.js').write_text(SOURCE)
    if is_starter:  # whose licence wants the recordings named
      shutil.copy(student_paths.STARTER_FOLDER / NOTICE, partial / NOTICE)
    return sum(path.stat().st_size for path in partial.rglob('*') if path.is_file())


def check(settings):
  """Raises UserError where the student cannot run in the page."""
  if not settings.classes:
    advice = '; name classes with --classes' if settings.embeddings else ''
    raise UserError(f'{settings.student} has no heads: the page has nothing to name{advice}')
  if registry.shortest_samples(settings.student) > signatures.window_samples(settings):
    raise UserError(f'a window of {settings.window_seconds:g} s is shorter than {settings.student} takes')


def has_steps(settings):
  """Whether the student has steps in time, which the page reads piece by piece, and not windows."""
  return bool(registry.network(settings.student).layer_windows)


def steps(settings):
  """What the page needs for steps in time, JSON-able dict: as in `tflite_pieces`; None for a student of windows."""
  if not has_steps(settings):
    return None
  return {
    'table': tflite_pieces.table(settings),
    'piece_samples': tflite_pieces.piece_samples(settings),
    'shortest_samples': registry.shortest_samples(settings.student),
  }


def labels(settings, threshold, is_starter):
  """What the page needs to know of the student, JSON-able dict: `description`, and how sound becomes events.

  `window` is its length in seconds as a fraction, [numerator, denominator]; `labels` are display names, with the
  indices of their classes as `groups`; `rules` are those of event_detection; `steps` as of that function.
  """
  first, *_ = settings.classes
  class_names = settings.classes[first]
  rules = event_detection.DetectionConfig(join=captioner.default_join(settings, first))
  names, groups, thresholds = event_detection.group_classes(class_names, rules)
  window = durations.exact(settings.window_seconds)
  return description.of_student(settings, class_names, is_starter, threshold) | {
    'live': description.live(settings) if has_steps(settings) else description.live(settings, settings.window_seconds),
    'steps': steps(settings),
    'mono': settings.mono,
    'window': [window.numerator, window.denominator],
    'window_samples': signatures.window_samples(settings),
    'repeats_short_sound': registry.network(settings.student).short_input == 'repeat',
    'labels': names,
    'groups': groups,
    'silent': [not np.isfinite(value) for value in thresholds.tolist()],
    'rules': {
      name: getattr(rules, name)
      for name in ('release', 'smooth_seconds', 'merge_seconds', 'shortest_seconds', 'top', 'cue_seconds', 'join')
    },
  }
