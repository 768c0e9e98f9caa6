"""Draws the figures of a training run and of an inference (Bryce 2018, figures 3 and 4 to 13).

  python -m audionet_tf.plot kl --run_dir=runs/paper --epochs=0:50 --output=kl.png

draws the mean KL of every video over the epochs, from runs/paper/stats.json. --epochs=BEGIN:END counts from 0
and leaves END out: 0:50 are the first fifty. Without it, all.

  python -m audionet_tf.plot signals --inference=clip.mp4.json --media=clip.mp4 --output=clip.png

draws the probabilities of the classes heard most over time, and the sound below. The inference is a .json or
.npz file of audionet_tf.infer, or a .json of the original program.

A figure is written as PNG, PDF or SVG, by the ending of --output.
"""

import pathlib

import numpy as np
from absl import flags

from audionet_tf import command

flags.DEFINE_string('run_dir', None, 'kl: folder that audionet_tf.train has written')
flags.DEFINE_string('epochs', '', 'kl: BEGIN:END, counted from 0, END left out; default all')
flags.DEFINE_string('inference', None, 'signals: .json or .npz file of audionet_tf.infer')
flags.DEFINE_string('media', None, 'signals: the sound or video file that was listened to')
flags.DEFINE_integer('top', 3, 'signals: how many classes, those with the highest mean probability')
flags.DEFINE_string('labels', None, 'signals: file of class names, one a line, where the inference file has none')
flags.DEFINE_string('output', None, 'the figure to write')

WAVE_RATE_HZ = 16000


def kl(values):
  """The figure of mean KL over epochs. `values`: the flags, as a dict."""
  from audionet_tf import plots, results

  return plots.kl_per_video(*results.read_mean_kl(values['run_dir'], values['epochs']))


def signals(values):
  """The figure of probabilities over time and sound. `values`: the flags, as a dict."""
  from audionet_tf import media, plots, results

  command.check(1 <= values['top'] <= plots.MOST_LINES, f'top is {values["top"]}, allowed is 1 to {plots.MOST_LINES}')
  heard = results.read_inference(values['inference'], values['labels'])
  wave = results.envelope(media.sound_chunks(values['media'], WAVE_RATE_HZ))
  best = np.argsort(-heard.probabilities.mean(0, dtype=np.float64), kind='stable')[: values['top']]
  names = [heard.class_names[i] for i in best]
  title = pathlib.Path(values['media']).name
  return plots.signals(
    title, heard.start_seconds, heard.end_seconds, heard.probabilities[:, best], names, wave, WAVE_RATE_HZ
  )


FIGURES = {'kl': (kl, ('run_dir', 'output')), 'signals': (signals, ('inference', 'media', 'output'))}


def main(argv):
  came = ' '.join(argv[1:]) or 'nothing'
  command.check(came in FIGURES, f'which figure? {came!r} came, allowed is {" or ".join(FIGURES)}')
  figure, required = FIGURES[came]
  values = command.flag_values(__name__)
  for name in required:
    command.check(values[name], f'plot {came} needs --{name}')
  from audionet_tf import plots

  path = plots.check_path(values['output'])
  plots.save(figure(values), path)
  print(path)


def run():
  command.run(main)


if __name__ == '__main__':
  run()
