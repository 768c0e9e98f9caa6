r"""Evaluates features: one linear classifier per fold on labelled clips, as in SoundNet's evaluation.

  python -m audionet_tf.probe --clips=esc10.csv --media_root=sounds --model=runs/deep --layer=pool5,mfcc --output=probed

prints the accuracy of every fold, their mean and standard deviation, and writes probed/probe.json, one confusion matrix
per layer as probed/confusion-pool5.png, and the features, which the next call reads again if the sounds are the same.

The CSV has columns filename, fold and category or target (ESC-10, ESC-50, DCASE or your own); sound may have any
format. The protocol is that of SoundNet's code: a clip is repeated to 10 s (for a SoundNet), windows of
--window_seconds move over the layer's steps, every window is a sample with the clip's label for a linear SVM, one class
against all others; a clip is given the class with the largest mean decision value. Each fold is evaluated by a
classifier trained on the others; C is chosen on these alone, or fixed with --c=0.01, as in the original. Longer clips
are truncated to these 10 s: for DCASE's of 30 s, as in the original, give --window_seconds=5 --clip_seconds=30. Two
details of the original are left out: it scales the sound by 2^-22, and sets values below 0 to 0.

--layer takes any layer of audionet_tf.features, and the baselines mfcc and logmel (mean and standard deviation over
time, which need no --model). --pool=statistics makes one sample per clip instead of windows, as for these: mean and
standard deviation of every number over time, the deviation 0 if there is one step; --pool=mean the mean alone.
"""

import pathlib
import sys

from absl import flags

from audionet_tf.core import cli, files, system
from audionet_tf.data.tables import clip_tables
from audionet_tf.models import student_paths

CLIPS = flags.DEFINE_string('clips', None, 'CSV of labelled clips: filename, fold, category or target.')
MEDIA_ROOT = flags.DEFINE_string(
  'media_root', None, 'Folder that the paths in --clips start from; default: that of the CSV.'
)
flags.DEFINE_alias('audio', 'media_root')  # the old name
CLIP_SECONDS = flags.DEFINE_float(
  'clip_seconds',
  None,
  'Repeat or truncate clips to this length; 0: never; default: 10 for SoundNets.',
  lower_bound=0,
  upper_bound=3600,
)
FOLDS = flags.DEFINE_list('folds', [], 'Use only the clips of these folds; default: all.')
JUDGE = flags.DEFINE_list(
  'judge', [], 'Evaluate only these folds, trained on all others in use; default: each in turn.'
)
MODEL = flags.DEFINE_string('model', None, 'A run, a student.keras, an export, or starter; the baselines need none.')
LAYER = flags.DEFINE_list('layer', 'pool5', 'One layer or several, mfcc and logmel among them.')
POOL = flags.DEFINE_enum(
  'pool',
  'windows',
  ['windows', 'mean', 'statistics'],
  'Samples: windows of steps; or of each clip its mean, or statistics, over time.',
)
WINDOW_SECONDS = flags.DEFINE_float(
  'window_seconds', 1.0, 'Length of the windows of steps; 5 for DCASE, with --clip_seconds=30.', lower_bound=0.001
)
HOP_STEPS = flags.DEFINE_integer('hop_steps', 1, 'Steps from window to window.', lower_bound=1, upper_bound=10**6)
CLASSIFIER = flags.DEFINE_enum('classifier', 'svm', ['svm', 'softmax'], 'The linear classifier.')
C = flags.DEFINE_float('c', None, 'Fixed C; default: chosen on the training folds.', lower_bound=1e-12)
STANDARDIZE = flags.DEFINE_bool(
  'standardize', None, 'Mean 0 and standard deviation 1 for every number; default: the baselines only.'
)
OUTPUT = flags.DEFINE_string('output', None, 'Folder for the results, made if missing.')

TOPICS = {'clips': 'Clips', 'model': 'Features', 'pool': 'Samples', 'classifier': 'Classifier', 'output': 'Results'}
NEEDS = (('--clips',), ('--layer',), ('--output',))
BASELINES = ('mfcc', 'logmel')


def check_arguments(argv):
  """Raises UserError for mistakes that show before anything is loaded."""
  cli.no_arguments(argv)
  layers = LAYER.value
  cli.require(len(set(layers)) == len(layers), f'layer {",".join(layers)} names one twice')
  student_layers = [layer for layer in layers if layer not in BASELINES]
  if student_layers:
    cli.require(
      MODEL.value, f'layer {", ".join(student_layers)} needs --model; only {" and ".join(BASELINES)} need none'
    )
    student_paths.find(MODEL.value)


def chosen_clips():
  """(list of Clip, folds to evaluate) as the flags say."""
  clips = clip_tables.read(CLIPS.value, MEDIA_ROOT.value, labelled=True)
  clip_tables.check_clips(clips)
  folds = list(dict.fromkeys(clip.fold for clip in clips))
  for flag in (FOLDS, JUDGE):
    for fold in flag.value:
      cli.require(fold in folds, f'{flag.name}: no clips of fold {fold}; there are {", ".join(folds)}')
  used = FOLDS.value or folds
  evaluated = JUDGE.value or used
  cli.require(set(evaluated) <= set(used), f'--judge={",".join(evaluated)} must be among --folds={",".join(used)}')
  return [clip for clip in clips if clip.fold in used], evaluated


def main(argv):
  check_arguments(argv)
  clips, folds = chosen_clips()
  system.keep_freed_memory()
  from audionet_tf.plotting import clips as plotting_clips
  from audionet_tf.plotting import style
  from audionet_tf.representations import probing
  from audionet_tf.saved_model import layer_outputs

  folder = pathlib.Path(OUTPUT.value)
  folder.mkdir(parents=True, exist_ok=True)
  config = probing.ProbeConfig(
    window_seconds=WINDOW_SECONDS.value,
    hop_steps=HOP_STEPS.value,
    pool=POOL.value,
    classifier=CLASSIFIER.value,
    c=C.value,
    standardize=STANDARDIZE.value,
  )
  measured = probing.judge_layers(
    lambda layers: layer_outputs.load(MODEL.value, layers),
    LAYER.value,
    clips,
    folds,
    folder,
    config,
    CLIP_SECONDS.value,
  )
  measured = {'clips': CLIPS.value, 'model': MODEL.value} | measured
  files.write_json(folder / 'probe.json', measured)
  for layer, result in measured['layers'].items():
    figure = plotting_clips.confusion(result['confusion'], result['class_names'], f'{layer}, {CLASSIFIER.value}')
    style.save(figure, folder / f'confusion-{layer}.png')
  print(probing.table(measured))
  if measured['unreadable']:
    print(f'{len(measured["unreadable"])} clips cannot be read and are left out', file=sys.stderr)
  return 1 if measured['unreadable'] else 0


def run():
  cli.run(main, TOPICS, NEEDS)


if __name__ == '__main__':
  run()
