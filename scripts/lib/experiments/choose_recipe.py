"""Compares training settings inside the training folds: the evaluation fold is never used.

  scripts/choose_recipe --data=FOLDER --videos=FOLDER --work=runs/chosen --seeds=0,1,2

For each evaluation fold F of scripts/benchmark_transfer, F is left out altogether; students are trained on two of the
other three and evaluated on the third, the one after F in their order (--thorough: each of the three in turn). A
candidate is the flagfile of a row of scripts/benchmark_transfer, --student, with one thing changed; --rows names the
candidates. Further flags are those of scripts/benchmark_folds.

--plan=FILE has candidates of your own, a line each: NAME FLAG=VALUE ..., the flags of training without --; what is
behind # is not read. A plan of many hours may be stopped at any time: the same command goes on with it.

tensorboard --logdir=WORK/tensorboard compares the candidates in its tab HParams.
"""

import dataclasses
import pathlib
import sys

import tqdm
from absl import flags

from audionet_tf.core import cli, files
from experiments import folds

FLAGS = flags.FLAGS
folds.define_flags('runs/chosen', 'chosen.json')
flags.adopt_module_key_flags(folds)  # so that --help lists them
flags.DEFINE_bool('thorough', False, 'Evaluate on each of the three remaining folds.')

BEST = ('shift', 'crop', 'mix', 'reverb', 'noise', 'equalizer', 'band')  # augmentations of best.flags
LOG_MEL = {  # name: flags of training, after those of the flagfile
  'as_it_is': (),
  'half_the_epochs': ('epochs=50',),
  'twice_the_epochs': ('epochs=200',),
  'constant_rate': ('schedule=constant',),
  'no_decay': ('weight_decay=0',),
  'rate_x_2.5': ('learning_rate=5e-3',),
  'batch_32': ('batch_size=32',),
  'no_contrast': ('student=logmel_cnn_level',),
  'all_mixed': (f'augment={",".join(BEST).replace("mix", "mix=1")}',),
  'masks': (f'augment={",".join(BEST)},time_mask,frequency_mask',),
  'speed': (f'augment={",".join(BEST)},speed',),
  'codec': (f'augment={",".join(BEST)},codec',),
  'no_augmentation': ('augment=',),
  **{f'no_{name}': (f'augment={",".join(other for other in BEST if other != name)}',) for name in BEST},
}
CHANGED = 'codec,shift,speed=0.25,crop,background,noise,equalizer,band'  # augmentations of transfer_soundnet8.flags
RAW = {
  'as_it_is': (),
  'half_the_epochs': ('epochs=100',),
  'constant_rate': ('schedule=constant',),
  'decay': ('weight_decay=1e-2',),
  'batch_8': ('batch_size=8',),
  'reverb': (f'augment={CHANGED},reverb',),
  'mixing': (f'augment={CHANGED},mix',),
  'no_augmentation': ('augment=',),
}
LABELLED = {
  'as_it_is': (),
  'half_the_epochs': ('epochs=30',),
  'constant_rate': ('schedule=constant',),
  'decay': ('weight_decay=1e-2',),
  'batch_8': ('batch_size=8',),
  'speed': ('augment=shift,speed,gain',),
  'mixing': ('augment=shift,gain,mix',),
  'no_augmentation': ('augment=',),
}
CANDIDATES = {'best': LOG_MEL, 'labels': LOG_MEL, 'soundnet8': RAW, 'labels5': LABELLED, 'labels8': LABELLED}
flags.DEFINE_string('plan', None, 'File of candidates: NAME FLAG=VALUE ... a line; in place of those built in.')
flags.DEFINE_enum('student', 'best', list(CANDIDATES), 'The row whose candidates are compared.')


def main(argv):
  candidates = folds.read_plan(FLAGS.plan) if FLAGS.plan else CANDIDATES[FLAGS.student]
  names, whole = folds.chosen(argv, candidates)
  row = dataclasses.replace(folds.ROWS[FLAGS.student], layers=())  # only its own predictions are compared
  output = pathlib.Path(FLAGS.output or whole.work / 'chosen.json')
  count = None if FLAGS.thorough else 1
  students = [
    (name, left_out, fold, seed)
    for seed in FLAGS.seeds
    for name in names
    for left_out in FLAGS.folds
    for fold in folds.inner_folds(FLAGS.folds, left_out)[:count]
  ]
  results = []
  for name, left_out, fold, seed in tqdm.tqdm(students, desc='students', unit='student', file=sys.stderr):
    place = dataclasses.replace(
      whole, work=whole.work / f'{FLAGS.student}/inside{left_out}', left_out=(left_out, *others(whole))
    )
    extra = [*candidates[name], *FLAGS.train_flags]
    shares = folds.evaluate(place, name, row, fold, seed, extra)
    folds.write_hparams(whole.work / f'tensorboard/{name}/without{left_out}_fold{fold}_seed{seed}', name, extra, shares)
    results.append({'row': name, 'left_out': left_out, 'fold': fold, 'seed': seed, 'shares': shares})
    lines = folds.summary(results)
    files.write_json(output, {'results': results, 'summary': lines, 'train_flags': FLAGS.train_flags})
  print(folds.table(lines, dict.fromkeys(names, folds.Row(None))))
  print(output)


def others(place):
  """The folds of `place` that are not in --folds."""
  return tuple(fold for fold in place.folds() if fold not in FLAGS.folds)


if __name__ == '__main__':
  cli.run(main)
