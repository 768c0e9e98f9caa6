"""Draws the figures of a training run, of a student and of what it hears (Bryce 2018; Aytar et al. 2016).

  python -m audionet_tf.plot kl --run_dir=runs/paper --epochs=0:50 --output=kl.png

draws the mean KL of every video over the epochs, from runs/paper/stats.json. --epochs=BEGIN:END counts from 0
and leaves END out: 0:50 are the first fifty. Without it, all.

  python -m audionet_tf.plot signals --inference=clip.mp4.json --media=clip.mp4 --output=clip.png
  python -m audionet_tf.plot timeline --inference=clip.mp4.npz --media=clip.mp4 --output=clip.png

draw the classes heard most over time: as lines above the sound, or as rows of colour below the sound and its log-mel
spectrogram. The inference is a .json or .npz file of audionet_tf.infer, or a .json of the original program. To
timeline, --events=clip.mp4.events.json adds the events of audionet_tf.caption.

  python -m audionet_tf.plot filters --model=runs/soundnet --output=filters.png

draws the filters of the first layer and their spectra, sorted by frequency.

  python -m audionet_tf.plot tsne --features=features --layer=pool5 --clips=esc10.csv --output=tsne.png

lays clips out by t-SNE of their features (audionet_tf.features), coloured by the category that the CSV gives them
(columns filename, category); with --inference=FOLDER in place of --clips, by the class that the student, or whoever
wrote `<file name>.npz` there, finds most probable; with --teacher=vgg16 --clips=FOLDER, by what the teacher sees in the
videos of these names in the folder.

  python -m audionet_tf.plot confusion --evaluation=clips.json --output=confusion.png

draws the confusion matrix of audionet_tf.evaluate, or of audionet_tf.probe (--probe=probe.json --layer=pool5).

  python -m audionet_tf.plot units --model=runs/soundnet --layer=pool5 --clips=clips --output=page

writes page/index.html with the sounds, and the pictures of videos, that excite units of the layer most: those of
--unit=3,7, or the most selective. --clips is a folder, with what lies in its folders, or files.

A figure is written as PNG, PDF or SVG, by the ending of --output.
"""

import pathlib

import numpy as np
from absl import flags

from audionet_tf.core import cli

flags.DEFINE_string('run_dir', None, 'kl: folder that audionet_tf.train has written')
flags.DEFINE_string('epochs', '', 'kl: BEGIN:END, counted from 0, END left out; default all')
flags.DEFINE_string('inference', None, 'signals, timeline: file of audionet_tf.infer; tsne: folder of such files')
flags.DEFINE_string('media', None, 'signals, timeline: the sound or video file that was listened to')
flags.DEFINE_integer('top', None, 'signals, timeline: how many classes, by their mean probability; default 3, 10')
flags.DEFINE_string('events', None, 'timeline: JSON file of audionet_tf.caption')
flags.DEFINE_string('labels', None, 'signals, timeline: class names, one a line, where the inference file has none')
flags.DEFINE_string('model', None, 'filters, units: folder of a run or an export, or a .keras file')
flags.DEFINE_string('layer', None, 'tsne, units: name of the layer; confusion: which of several')
flags.DEFINE_list('features', None, 'tsne: folder of audionet_tf.features, or its files')
flags.DEFINE_list('clips', None, 'tsne: CSV of categories; units: folder of sound or video files, or such files')
flags.DEFINE_string('teacher', None, 'tsne: as in training; it looks at the videos in --clips')
flags.DEFINE_string(
  'teacher_labels', None, 'tsne: with --teacher, file of its class names; default: those it comes with'
)
flags.DEFINE_string('evaluation', None, 'confusion: JSON file of audionet_tf.evaluate')
flags.DEFINE_string('probe', None, 'confusion: JSON file of audionet_tf.probe')
flags.DEFINE_list('unit', [], 'units: numbers of the units to show; default the most selective')
flags.DEFINE_integer('seed', 0, 'tsne: of the layout', lower_bound=0, upper_bound=2**32 - 1)
flags.DEFINE_string('output', None, 'the figure, or the folder of the page, to write')

WAVE_RATE_HZ = 16000


def kl(values):
  """The figure of mean KL over epochs. `values`: the flags, as a dict."""
  from audionet_tf.plotting import curves
  from audionet_tf.training import history

  return curves.kl_per_video(*history.read_mean_kl(values['run_dir'], values['epochs']))


def heard_most(values, default, most):
  """(Inference, positions of its classes of highest mean probability)."""
  from audionet_tf.inference import readers

  top = default if values['top'] is None else values['top']
  cli.require(1 <= top <= most, f'top is {top}, allowed is 1 to {most}')
  heard = readers.read_inference(values['inference'], values['labels'])
  return heard, np.argsort(-heard.probabilities.mean(0, dtype=np.float64), kind='stable')[:top]


def signals(values):
  """The figure of probabilities over time and sound."""
  from audionet_tf.media import decoding, overview
  from audionet_tf.plotting import sound, style

  heard, best = heard_most(values, 3, style.MOST_LINES)
  wave = overview.envelope(decoding.decode_audio(values['media'], WAVE_RATE_HZ))
  names = [heard.class_names[i] for i in best]
  title = pathlib.Path(values['media']).name
  return sound.signals(
    title, heard.start_seconds, heard.end_seconds, heard.probabilities[:, best], names, wave, WAVE_RATE_HZ
  )


def timeline(values):
  """The figure of sound, spectrogram and classes over time."""
  import tqdm

  from audionet_tf.captioning import formats
  from audionet_tf.media import decoding, overview
  from audionet_tf.plotting import sound

  heard, best = heard_most(values, 10, sound.MOST_ROWS)
  events = formats.read_events(values['events']) if values['events'] else []
  classes = {
    'start_seconds': heard.start_seconds,
    'end_seconds': heard.end_seconds,
    'probabilities': heard.probabilities[:, best],
    'class_names': [heard.class_names[i] for i in best],
  }
  mel = overview.MelPicture(WAVE_RATE_HZ)
  chunks = mel.watch(decoding.decode_audio(values['media'], WAVE_RATE_HZ))
  wave = overview.envelope(tqdm.tqdm(chunks, desc='reading', unit=' s of sound', delay=2))  # a chunk is a second
  title = pathlib.Path(values['media']).name
  return sound.timeline(title, classes, wave, mel.picture(), WAVE_RATE_HZ, events)


def filters(values):
  """The figure of the first layer's filters."""
  from audionet_tf.plotting import sound
  from audionet_tf.saved_model import filters as saved_model_filters

  kernel, settings = saved_model_filters.load(values['model'])
  return sound.filters(kernel, settings.sample_rate_hz, f'{settings.student}: its first layer')


def tsne(values):
  """The figure of clips laid out by their features."""
  from audionet_tf.plotting import clips
  from audionet_tf.plotting import tsne as plotting_tsne
  from audionet_tf.representations import maps

  cli.require(bool(values['clips']) != bool(values['inference']), 'plot tsne needs --clips=CSV or --inference=FOLDER')
  cli.require(values['clips'] or not values['teacher'], 'plot tsne --teacher needs --clips, the folder of the videos')
  names, features = maps.read_features(values['features'], values['layer'])
  if values['teacher']:
    groups = seen(values, names)
  elif values['clips']:
    cli.require(len(values['clips']) == 1, 'plot tsne: --clips is one CSV')
    groups = maps.categories(values['clips'][0], names)
  else:
    groups = maps.student_top1(values['inference'], names)
  points = plotting_tsne.plane(features, values['seed'])
  return clips.plane(points, groups, f'{values["layer"]}: t-SNE of {len(names):,} clips')


def seen(values, names):
  """What the teacher sees in the videos called `names`, a class name each."""
  from audionet_tf.evaluation import vision
  from audionet_tf.teachers import frozen_teacher
  from audionet_tf.units import search

  cli.require(
    not frozen_teacher.is_given(values['teacher']),
    f'--teacher={values["teacher"]} is a file of answers; a map needs a network that looks at pictures',
  )
  paths = [(f'/{path.as_posix()}', path) for path in search.media_files(values['clips'])]
  found = {name: [path for place, path in paths if place.endswith(f'/{name}')] for name in names}
  wrong = [f'{len(same)} of {name}' for name, same in found.items() if len(same) != 1]
  cli.require(not wrong, f'--clips={",".join(values["clips"])}: holds {", ".join(wrong[:3])}; expected is one of each')
  teacher = frozen_teacher.load(values['teacher'], labels=values['teacher_labels'])
  return vision.teacher_top1(teacher, [found[name][0] for name in names])


def confusion(values):
  """The figure of a confusion matrix."""
  from audionet_tf.evaluation import confusion as evaluation_confusion
  from audionet_tf.plotting import clips

  path = values['evaluation'] or values['probe']
  cli.require(path and not (values['evaluation'] and values['probe']), 'plot confusion needs --evaluation or --probe')
  found = evaluation_confusion.read_confusions(path)
  if values['layer']:
    chosen = {place: matrix for place, matrix in found.items() if values['layer'] in place.split('.')}
    cli.require(chosen, f'{path}: no confusion matrix of {values["layer"]}; there are {", ".join(found)}')
    found = chosen
  cli.require(len(found) == 1, f'{path}: holds several confusion matrices, {", ".join(found)}: choose by --layer')
  ((counts, names),) = found.values()
  return clips.confusion(counts, names, values['layer'] or '')


def units(values):
  """Writes the page of units; returns the exit code."""
  wrong = [unit for unit in values['unit'] if not unit.isdecimal()]
  cli.require(not wrong, f'unit is {" ".join(wrong)!r}, allowed are numbers from 0 up, as in --unit=3,7')
  numbers = list(dict.fromkeys(map(int, values['unit'])))
  from audionet_tf.units.page import write_page
  from audionet_tf.units.search import load_unit_probe, media_files

  probe = load_unit_probe(values['model'], values['layer'])
  page, unreadable = write_page(probe, media_files(values['clips']), values['output'], numbers)
  print(page)
  return 1 if unreadable else 0


# What each draws, and which flags it cannot do without.
FIGURES = {
  'kl': (kl, ('run_dir', 'output')),
  'signals': (signals, ('inference', 'media', 'output')),
  'timeline': (timeline, ('inference', 'media', 'output')),
  'filters': (filters, ('model', 'output')),
  'tsne': (tsne, ('features', 'layer', 'output')),
  'confusion': (confusion, ('output',)),
}
PAGES = {'units': (units, ('model', 'layer', 'clips', 'output'))}


def save(draw, values):
  """Writes a figure, says where; returns the exit code."""
  from audionet_tf.plotting import style

  path = style.check_path(values['output'])
  style.save(draw(values), path)
  print(path)
  return 0


def main(argv):
  came, known = ' '.join(argv[1:]) or 'nothing', FIGURES | PAGES
  cli.require(came in known, f'which figure? {came!r} came, allowed is {" or ".join(known)}')
  draw, required = known[came]
  values = cli.flag_values(__name__)
  for name in required:
    cli.require(values[name], f'plot {came} needs --{name}')
  return draw(values) if came in PAGES else save(draw, values)


def run():
  cli.run(main)


if __name__ == '__main__':
  run()
