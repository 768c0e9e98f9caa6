"""How good are a student's features? One linear classifier a fold, on labelled clips, as SoundNet was judged.

  python -m audionet_tf.probe --clips=esc10.csv --audio=sounds --model=runs/deep --layer=pool5,mfcc --output=probed

prints the accuracy of every fold, their mean and deviation, and writes probed/probe.json, a confusion matrix a layer
as probed/confusion-pool5.png, and the features, which the next call reads again where the sounds are the same.

The CSV has columns filename, fold and category or target (ESC-10, ESC-50, DCASE or your own); sound may have any
format. The protocol is that of SoundNet's code: a clip is repeated to 10 s (for a SoundNet), windows of
--window_seconds move over the layer's steps, every window is a sample with the clip's label for a linear SVM, one class
against the rest; a clip is given the class with the largest mean decision value. Each fold is judged by a classifier
trained on the others; C is chosen on these alone, or fixed with --c=0.01, as the original does. Longer clips are cut to
these 10 s: for DCASE's of 30 s as the original has them give --window_seconds=5 --clip_seconds=30. Two things of the
original are left out: its scale of the sound, 2^-22, and that values below 0 count as 0.

--layer takes any layer of audionet_tf.features, and the baselines mfcc and logmel (mean and deviation over time,
which need no --model). --pool=statistics makes one sample of a clip instead of windows, as of these: mean and deviation
of every number over time, the deviation 0 where there is one step; --pool=mean the mean alone.
"""

import pathlib
import sys

from absl import flags

from audionet_tf.core import cli, files, system
from audionet_tf.data import clip_tables

flags.DEFINE_string('clips', None, 'CSV of labelled clips: filename, fold, category or target')
flags.DEFINE_string('audio', None, 'folder that the paths in --clips start from; default: that of the CSV')
flags.DEFINE_string('model', None, 'a run, a student (.keras), or a SavedModel of audionet_tf.export')
flags.DEFINE_list('layer', 'pool5', 'one layer or several, mfcc and logmel among them')
flags.DEFINE_string('output', None, 'folder for the results; made when missing')
flags.DEFINE_list('folds', [], 'use only the clips of these folds; default: all')
flags.DEFINE_list('judge', [], 'judge only these folds, trained on all others in use; default: each in turn')
flags.DEFINE_float('window_seconds', 1.0, 'length of the windows of steps; 5 for DCASE, with --clip_seconds=30')
flags.DEFINE_integer('hop_steps', 1, 'steps from a window to the next')
flags.DEFINE_string('pool', 'windows', 'samples: windows of steps; or of each clip its mean, or statistics, over time')
flags.DEFINE_string('classifier', 'svm', 'svm or softmax')
flags.DEFINE_float('c', None, 'fixed C; default: chosen on the training folds')
flags.DEFINE_bool('standardize', None, 'mean 0 and deviation 1 for every number; default: the baselines only')
flags.DEFINE_float('clip_seconds', None, 'repeat or cut clips to this length; 0: never; default: 10 for SoundNets')


def check_arguments(values, argv):
  """Raises UserError for what can be known to be wrong before anything is loaded."""
  cli.require(len(argv) == 1, f'unexpected argument {argv[-1]!r}; all settings are flags, see --help')
  for name in ('clips', 'output', 'layer'):
    cli.require(values[name], f'probe needs --{name}')
  for name in ('window_seconds', 'hop_steps', 'c'):
    cli.require(values[name] is None or values[name] > 0, f'{name} is {values[name]}, allowed is more than 0')
  seconds = values['clip_seconds']
  cli.require(seconds is None or 0 <= seconds <= 3600, f'clip_seconds is {seconds}, allowed is 0 to 3600')
  for name, known in (('pool', ('windows', 'mean', 'statistics')), ('classifier', ('svm', 'softmax'))):
    cli.require(values[name] in known, f'{name} is {values[name]!r}, allowed is one of {", ".join(known)}')
  cli.require(len(set(values['layer'])) == len(values['layer']), f'layer {",".join(values["layer"])} names one twice')


def chosen_clips(values):
  """(list of Clip, folds to judge) as the flags say."""
  clips = clip_tables.read(values['clips'], values['audio'], labelled=True)
  clip_tables.check_clips(clips)
  there = {clip.fold: None for clip in clips}
  for name in ('folds', 'judge'):
    for fold in values[name]:
      cli.require(fold in there, f'{name}: no clips of fold {fold}; there are {", ".join(there)}')
  used = values['folds'] or list(there)
  judged = values['judge'] or used
  cli.require(set(judged) <= set(used), f'--judge={",".join(judged)} must be among --folds={",".join(used)}')
  return [clip for clip in clips if clip.fold in used], judged


def main(argv):
  values = cli.flag_values(__name__)
  check_arguments(values, argv)
  clips, folds = chosen_clips(values)
  system.keep_freed_memory()
  from audionet_tf.plotting import clips as plotting_clips
  from audionet_tf.plotting import style
  from audionet_tf.representations import probing
  from audionet_tf.saved_model import layer_outputs

  def load(layers):
    cli.require(values['model'], f'layer {", ".join(layers)} needs --model; {" and ".join(probing.BASELINES)} do not')
    return layer_outputs.load(values['model'], layers)

  folder = pathlib.Path(values['output'])
  folder.mkdir(parents=True, exist_ok=True)
  names = ('window_seconds', 'hop_steps', 'pool', 'classifier', 'c', 'standardize')
  settings = probing.ProbeConfig(**{name: values[name] for name in names})
  measured = probing.judge_layers(load, values['layer'], clips, folds, folder, settings, values['clip_seconds'])
  measured = {'clips': values['clips'], 'model': values['model']} | measured
  files.write_json(folder / 'probe.json', measured)
  for layer, found in measured['layers'].items():
    figure = plotting_clips.confusion(found['confusion'], found['class_names'], f'{layer}, {values["classifier"]}')
    style.save(figure, folder / f'confusion-{layer}.png')
  print(probing.table(measured))
  if measured['unreadable']:
    print(f'{len(measured["unreadable"])} clips cannot be read and are left out', file=sys.stderr)
  return 1 if measured['unreadable'] else 0


def run():
  cli.run(main)


if __name__ == '__main__':
  run()
