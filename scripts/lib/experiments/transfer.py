"""What a student hears in sounds that it never heard: train on all folds but one, judge on that one, for every fold.

  scripts/benchmark_transfer --data=FOLDER --videos=FOLDER --work=runs/transfer

--data has esc10/ (esc10.csv, groups.csv, audio/) and teacher/ (a .tflite and its class names as .txt). --videos has a
folder fold<F> for each fold and videos.csv (path, fold, category): only the judge reads that. The rows of the table:

  best        the student of --preset=best, taught by the teacher; no label reaches it. Then, with the labels
              of the folds it was trained on, a linear SVM on its features
  soundnet8   the same with SoundNet-8, its heads on every step of the last hidden layer
  labels5     SoundNet-5 from nothing on labels
  labels8     SoundNet-8, a head on every step, from nothing on labels
  labels      the network of `best` from nothing on labels
  mfcc        MFCC and an SVM; log-mel statistics beside it

Every step is a command of this project, shown when it runs; what is done already is not done again, and a run that was
interrupted goes on. --folds=1,5 --rows=best,mfcc judges some. --seeds=0,1,2 trains each that often. The epoch that is
judged is the last one of the flagfile, whatever fold judges.
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
  wanted = [(name, fold, seed) for name in names for seed in seeds_of(name) for fold in FLAGS.folds]
  results = []
  for name, fold, seed in tqdm.tqdm(wanted, desc='students', unit='student', file=sys.stderr):
    shares = folds.judge(place, name, folds.ROWS[name], fold, seed, FLAGS.train_flags)
    results.append({'row': name, 'fold': fold, 'seed': seed, 'shares': shares})
    found = folds.summary(results)
    files.write_json(output, {'results': results, 'summary': found, 'train_flags': FLAGS.train_flags})
  print(folds.table(found, folds.ROWS))
  print(output)


def seeds_of(name):
  """The seeds of a row; what is not trained has none."""
  return FLAGS.seeds if folds.ROWS[name].preset else [None]


if __name__ == '__main__':
  cli.run(main)
