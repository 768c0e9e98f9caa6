r"""Draws the figures of a training run, of a student and of its predictions (Bryce 2018; Aytar et al. 2016).

  python -m audionet_tf.plot kl --run_dir=runs/clips --epochs=0:50 --output=kl.png

draws the mean KL of every video over the epochs, from runs/clips/stats.json. --epochs=BEGIN:END counts from 0
and excludes END: 0:50 are the first fifty. The default is all.

  python -m audionet_tf.plot signals --inference=clip.mp4.json --media=clip.mp4 --output=clip.png
  python -m audionet_tf.plot timeline --inference=clip.mp4.npz --media=clip.mp4 --output=clip.png

draw the most probable classes over time: as lines above the waveform, or as rows of colour below the waveform and its
log-mel spectrogram. The inference is a .json or .npz file of audionet_tf.infer, or a .json of the original program.
With timeline, --events=clip.mp4.events.json adds the events of audionet_tf.caption.

  python -m audionet_tf.plot filters --model=runs/soundnet --output=filters.png

draws the filters of the first layer and their spectra, sorted by frequency.

  python -m audionet_tf.plot tsne --features=features --layer=pool5 --clips=esc10.csv --output=tsne.png

draws a t-SNE map of clips by their features (audionet_tf.features), coloured by their category in the CSV (columns
filename, category); with --inference=FOLDER in place of --clips, by the most probable class in `<file name>.npz`
there; with --teacher=vgg16 --clips=FOLDER, by the teacher's top-1 class for the pictures of the videos with these names
in the folder.

  python -m audionet_tf.plot confusion --evaluation=clips.json --output=confusion.png

draws the confusion matrix of audionet_tf.evaluate, or of audionet_tf.probe (--probe=probe.json --layer=pool5).

  python -m audionet_tf.plot units --model=runs/soundnet --layer=pool5 --clips=clips --output=page

writes page/index.html with the sounds, and the pictures of videos, that activate units of the layer most: those of
--unit=3,7, or the most selective. --clips is a folder, searched with its sub-folders, or files.

A figure is written as PNG, PDF or SVG, by the ending of --output.
"""

import pathlib

import numpy as np
from absl import flags

from audionet_tf.core import cli, text
from audionet_tf.models import student_paths

RUN_DIR = flags.DEFINE_string('run_dir', None, 'kl: folder of a run of audionet_tf.train.')
EPOCHS = flags.DEFINE_string('epochs', '', 'kl: BEGIN:END, counted from 0, END excluded; default: all.')
INFERENCE = flags.DEFINE_string(
  'inference', None, 'signals, timeline: file of audionet_tf.infer; tsne: folder of such files.'
)
MEDIA = flags.DEFINE_string('media', None, 'signals, timeline: the sound or video file of the inference.')
TOP = flags.DEFINE_integer(
  'top', None, 'signals, timeline: number of classes, by their mean probability; default: 3, 10.'
)
EVENTS = flags.DEFINE_string('events', None, 'timeline: JSON file of audionet_tf.caption.')
LABELS = flags.DEFINE_string(
  'labels', None, 'signals, timeline: class names, one per line, if the inference file has none.'
)
MODEL = flags.DEFINE_string('model', None, 'filters, units: a run, an export, a student.keras, or starter.')
LAYER = flags.DEFINE_string('layer', None, 'tsne, units: name of the layer; confusion: which of several.')
FEATURES = flags.DEFINE_list('features', None, 'tsne: folder of audionet_tf.features, or its files.')
CLIPS = flags.DEFINE_list('clips', None, 'tsne: CSV of categories; units: folder of sound or video files, or files.')
TEACHER = flags.DEFINE_string('teacher', None, 'tsne: as in training; it classifies the videos in --clips.')
TEACHER_LABELS = flags.DEFINE_string(
  'teacher_labels', None, 'tsne: with --teacher, file of its class names; default: its own.'
)
SEED = flags.DEFINE_integer('seed', 0, 'tsne: seed of the layout.', lower_bound=0, upper_bound=2**32 - 1)
UNIT = flags.DEFINE_list('unit', [], 'units: numbers of the units to show; default: the most selective.')
EVALUATION = flags.DEFINE_string('evaluation', None, 'confusion: JSON file of audionet_tf.evaluate.')
PROBE = flags.DEFINE_string('probe', None, 'confusion: JSON file of audionet_tf.probe.')
OUTPUT = flags.DEFINE_string('output', None, 'The figure, or the folder of the page, to write. (required)')

TOPICS = {
  'run_dir': 'Of a training run',
  'inference': 'Of predictions',
  'model': 'Of a student and its layers',
  'evaluation': 'Of an evaluation',
  'output': 'Results',
}
WAVE_RATE_HZ = 16000


def kl():
  """The figure of mean KL over epochs."""
  from audionet_tf.plotting import curves
  from audionet_tf.training import history

  return curves.kl_per_video(*history.read_mean_kl(RUN_DIR.value, EPOCHS.value))


def most_probable(default, most):
  """(Inference, positions of its classes of highest mean probability)."""
  from audionet_tf.inference import readers

  top = default if TOP.value is None else TOP.value
  cli.require(1 <= top <= most, f'top is {top}, allowed is 1 to {most}')
  predictions = readers.read_inference(INFERENCE.value, LABELS.value)
  return predictions, np.argsort(-predictions.probabilities.mean(0, dtype=np.float64), kind='stable')[:top]


def signals():
  """The figure of probabilities over time and sound."""
  from audionet_tf.media import decoding, overview
  from audionet_tf.plotting import sound, style

  predictions, best = most_probable(3, style.MOST_LINES)
  wave = overview.envelope(decoding.decode_audio(MEDIA.value, WAVE_RATE_HZ))
  names = [predictions.class_names[i] for i in best]
  title = pathlib.Path(MEDIA.value).name
  return sound.signals(
    title,
    predictions.start_seconds,
    predictions.end_seconds,
    predictions.probabilities[:, best],
    names,
    wave,
    WAVE_RATE_HZ,
  )


def timeline():
  """The figure of sound, spectrogram and classes over time."""
  import tqdm

  from audionet_tf.captioning import formats
  from audionet_tf.media import decoding, overview
  from audionet_tf.plotting import sound

  predictions, best = most_probable(10, sound.MOST_ROWS)
  events = formats.read_events(EVENTS.value) if EVENTS.value else []
  classes = {
    'start_seconds': predictions.start_seconds,
    'end_seconds': predictions.end_seconds,
    'probabilities': predictions.probabilities[:, best],
    'class_names': [predictions.class_names[i] for i in best],
  }
  mel = overview.MelPicture(WAVE_RATE_HZ)
  chunks = mel.watch(decoding.decode_audio(MEDIA.value, WAVE_RATE_HZ))
  wave = overview.envelope(tqdm.tqdm(chunks, desc='reading', unit=' s of sound', delay=2))  # a chunk is a second
  title = pathlib.Path(MEDIA.value).name
  return sound.timeline(title, classes, wave, mel.picture(), WAVE_RATE_HZ, events)


def filters():
  """The figure of the first layer's filters."""
  student_paths.find(MODEL.value)
  from audionet_tf.plotting import sound
  from audionet_tf.saved_model import filters as saved_model_filters

  kernel, settings = saved_model_filters.load(MODEL.value)
  return sound.filters(kernel, settings.sample_rate_hz, f'{settings.student}: its first layer')


def tsne():
  """The figure of clips laid out by their features."""
  from audionet_tf.plotting import clips
  from audionet_tf.plotting import tsne as plotting_tsne
  from audionet_tf.representations import maps

  cli.require(bool(CLIPS.value) != bool(INFERENCE.value), 'plot tsne needs --clips=CSV or --inference=FOLDER')
  cli.require(CLIPS.value or not TEACHER.value, 'plot tsne --teacher needs --clips, the folder of the videos')
  names, features = maps.read_features(FEATURES.value, LAYER.value)
  if TEACHER.value:
    groups = teacher_classes(names)
  elif CLIPS.value:
    cli.require(len(CLIPS.value) == 1, 'plot tsne: --clips is one CSV')
    groups = maps.categories(CLIPS.value[0], names)
  else:
    groups = maps.student_top1(INFERENCE.value, names)
  points = plotting_tsne.plane(features, SEED.value)
  return clips.plane(points, groups, f'{LAYER.value}: t-SNE of {len(names):,} clips')


def teacher_classes(names):
  """The class that the teacher predicts for the pictures of each of the videos called `names`."""
  from audionet_tf.evaluation import vision
  from audionet_tf.teachers import frozen_teacher, teacher_config
  from audionet_tf.units import search

  cli.require(
    teacher_config.needs_pictures(TEACHER.value),
    f'--teacher={TEACHER.value} looks at no pictures; a map needs a network that classifies them',
  )
  paths = [(f'/{path.as_posix()}', path) for path in search.media_files(CLIPS.value)]
  matches = {name: [path for text, path in paths if text.endswith(f'/{name}')] for name in names}
  wrong = [f'{len(same)} of {name}' for name, same in matches.items() if len(same) != 1]
  cli.require(not wrong, f'--clips={",".join(CLIPS.value)}: holds {text.first_of(wrong)}; expected is one of each')
  frozen_teacher.try_loading(TEACHER.value)
  teacher = frozen_teacher.load(TEACHER.value, labels=TEACHER_LABELS.value)
  return vision.teacher_top1(teacher, [matches[name][0] for name in names])


def confusion():
  """The figure of a confusion matrix."""
  from audionet_tf.evaluation import confusion as evaluation_confusion
  from audionet_tf.plotting import clips

  path = EVALUATION.value or PROBE.value
  cli.require(path and not (EVALUATION.value and PROBE.value), 'plot confusion needs --evaluation or --probe')
  matrices = evaluation_confusion.read_confusions(path)
  if LAYER.value:
    chosen = {key: matrix for key, matrix in matrices.items() if LAYER.value in key.split('.')}
    cli.require(chosen, f'{path}: no confusion matrix of {LAYER.value}; there are {", ".join(matrices)}')
    matrices = chosen
  cli.require(len(matrices) == 1, f'{path}: holds several confusion matrices, {", ".join(matrices)}: choose by --layer')
  ((counts, names),) = matrices.values()
  return clips.confusion(counts, names, LAYER.value or '')


def units():
  """Writes the page of units; returns the exit code."""
  wrong = [unit for unit in UNIT.value if not unit.isdecimal()]
  cli.require(not wrong, f'unit is {" ".join(wrong)!r}, allowed are numbers from 0 up, as in --unit=3,7')
  numbers = list(dict.fromkeys(map(int, UNIT.value)))
  student_paths.find(MODEL.value)
  from audionet_tf.units.page import write_page
  from audionet_tf.units.search import load_unit_probe, media_files

  probe = load_unit_probe(MODEL.value, LAYER.value)
  page, unreadable = write_page(probe, media_files(CLIPS.value), OUTPUT.value, numbers)
  cli.tell(page)
  return 1 if unreadable else 0


# Name to (function that draws it, required flags besides --output).
FIGURES = {
  'kl': (kl, ('--run_dir',)),
  'signals': (signals, ('--inference', '--media')),
  'timeline': (timeline, ('--inference', '--media')),
  'filters': (filters, ('--model',)),
  'tsne': (tsne, ('--features', '--layer')),
  'confusion': (confusion, ()),
}
PAGES = {'units': (units, ('--model', '--layer', '--clips'))}
NEEDS = ((f'FIGURE ({", ".join(FIGURES | PAGES)})',),)


def save(draw):
  """Writes a figure and prints its path; returns the exit code."""
  from audionet_tf.plotting import style

  path = style.check_path(OUTPUT.value)
  style.save(draw(), path)
  cli.tell(path)
  return 0


def main(argv):
  name, figures = ' '.join(argv[1:]), FIGURES | PAGES
  cli.require(name in figures, f'{name!r} is no figure, allowed is {" or ".join(figures)}')
  draw, needs = figures[name]
  cli.require_given(f'plot {name}', [(need,) for need in (*needs, '--output')])
  missing = [path for path in (INFERENCE.value, MEDIA.value) if path and not pathlib.Path(path).exists()]
  cli.require(not missing, f'no such file: {text.first_of(missing)}')
  return draw() if name in PAGES else save(draw)


def run():
  cli.run(main, TOPICS, NEEDS)


if __name__ == '__main__':
  run()
