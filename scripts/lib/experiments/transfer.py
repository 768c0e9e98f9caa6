"""Accuracy on held-out sounds: trains on all folds but one and evaluates on that one, for every fold.

  scripts/benchmark_transfer --data=FOLDER --videos=FOLDER --work=runs/transfer

--data has esc10/ (esc10.csv, groups.csv, audio/) and teacher/ (a .tflite and its class names as .txt). --videos has a
folder fold<F> for each fold and videos.csv (path, fold, category), which only the evaluation reads. The rows:

  best        the student of --preset=best, which learns from the teacher, without labels. Then, with the
              labels of its training folds, a linear SVM on its features
  soundnet8   the same with SoundNet-8 on sound at one level, its heads on every step of the last hidden layer
  joined      the students of these two rows, each trained by its own recipe, joined into one
  labels5     SoundNet-5 on labels, from scratch
  labels8     SoundNet-8, a head on every step, on labels, from scratch
  labels      the network of `best` on labels, from scratch
  mfcc        an SVM on MFCC, and on log-mel statistics

Every step is a command of this project, shown when it runs; finished steps are kept, and an interrupted run is resumed.
--folds=1,5 --rows=best,mfcc chooses some. --seeds=0,1,2 trains each with several seeds. The evaluated epoch is the last
one of the flagfile for every fold.
"""

import pathlib
import sys

import tqdm
from absl import flags

from audionet_tf.core import cli, files
from experiments import folds

FLAGS = flags.FLAGS
folds.define_flags('runs/transfer', 'transfer.json')
flags.adopt_module_key_flags(folds)  # so that --help lists them


def main(argv):
  names, place = folds.chosen(argv, folds.ROWS)
  output = pathlib.Path(FLAGS.output or place.work / 'transfer.json')
  students = [(name, fold, seed) for name in names for seed in seeds_of(name) for fold in FLAGS.folds]
  results = []
  for name, fold, seed in tqdm.tqdm(students, desc='students', unit='student', file=sys.stderr):
    shares = folds.evaluate(place, name, folds.ROWS[name], fold, seed, FLAGS.train_flags)
    results.append({'row': name, 'fold': fold, 'seed': seed, 'shares': shares})
    lines = folds.summary(results)
    files.write_json(output, {'results': results, 'summary': lines, 'train_flags': FLAGS.train_flags})
  print(folds.table(lines, folds.ROWS))
  print(output)


def seeds_of(name):
  """The seeds of a row; a baseline has none."""
  return FLAGS.seeds if folds.ROWS[name].preset else [None]


if __name__ == '__main__':
  cli.run(main)
