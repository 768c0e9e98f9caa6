"""Weak labels measured: a student that pools by attention against one that takes the mean over its steps.

  scripts/benchmark_mixtures --data=FOLDER --work=runs/mixtures

--data has esc10.csv (filename, fold, category) and audio/. From the clips of all --folds but --judge mixtures of ten
seconds are made, of one to three sounds each, and labelled with what is in them, not when; from those of --judge
others. Both students are the log-mel network, trained alike on the mixtures of the first, once a seed, and judged on
the second: mAP, ROC AUC and d', balanced over the classes. the preset mixtures says how they are trained; the
epoch that is judged is the last one. Every step is a command of this project; what is done already is not done again.

  scripts/benchmark_mixtures --data=FOLDER --work=runs/few --count=20 --judged=10 --seeds=0 \\
    --train_flags=epochs=1,warmup_epochs=0

shows in a few minutes that it works.
"""

import json
import pathlib
import statistics

from absl import flags

from audionet_tf.core import cli, files, text
from experiments import mixture_clips
from run_command import run

FLAGS = flags.FLAGS
STUDENTS = {'attention': 'logmel_attention', 'mean': 'logmel_steps'}
FIGURES = {'average_precision': 'mAP', 'roc_auc': 'ROC AUC', 'd_prime_of_mean_auc': "d'"}


def define_flags():
  """Defines the flags of this command; not on import, which tests of the table do."""
  flags.DEFINE_string('data', None, 'Folder with esc10.csv and audio/.')
  flags.DEFINE_string('work', 'runs/mixtures', 'Folder for mixtures, records, runs and results.')
  flags.DEFINE_list('folds', ['1', '2', '3', '4'], 'Folds that are used.')
  flags.DEFINE_string('judge', '4', 'The fold of them that judges.')
  flags.DEFINE_integer('count', 400, 'Mixtures to learn from.', lower_bound=1)
  flags.DEFINE_integer('judged', 200, 'Mixtures to judge by.', lower_bound=1)
  flags.DEFINE_list('seeds', ['0', '1', '2'], 'Seeds of the students.')
  flags.DEFINE_list('train_flags', [], 'Further flags of training.')


def prepared(data, work):
  """(records to learn from, their labels.csv, labels.csv to judge by), made where they are missing."""
  table, audio = data / 'esc10.csv', data / 'audio'
  folds = [fold for fold in FLAGS.folds if fold != FLAGS.judge]
  learnt, judged = work / f'{FLAGS.count}-without{FLAGS.judge}', work / f'{FLAGS.judged}-of{FLAGS.judge}'
  mixture_clips.make(table, audio, folds, FLAGS.count, 0, learnt)
  mixture_clips.make(table, audio, [FLAGS.judge], FLAGS.judged, 1, judged)
  records = work / f'records/{learnt.name}'
  if not (records / 'manifest.json').exists():
    cut = [
      f'--window_ms={1000 * mixture_clips.SECONDS}',
      f'--sample_rate={mixture_clips.RATE_HZ}',
      '--images_per_window=0',
    ]
    run('tfrecords.build', f'--videos={learnt}', f'--output={records}', *cut)
  return records, learnt / 'labels.csv', judged / 'labels.csv'


def measured(name, seed, work, records, labels, judged):
  """dict of FIGURES of one student and seed."""
  run_dir = work / f'runs/{records.name}/{name}/seed{seed}'
  if not (run_dir / 'export/1').exists():
    how = [f'--{flag}' for flag in FLAGS.train_flags]
    what = [f'--records={records}', f'--run_dir={run_dir}', f'--student={STUDENTS[name]}', f'--teacher={labels}']
    run('audionet_tf.train', '--preset=mixtures', *what, f'--seed={seed}', '--resume', *how)
  output = run_dir / f'{judged.parent.name}.json'
  if not output.exists():
    run('audionet_tf.evaluate', f'--model={run_dir}', f'--labels={judged}', f'--output={output}')
  means = json.loads(output.read_text(encoding='utf-8'))['labels']['means']
  return {figure: means[figure] for figure in FIGURES}


def table(results):
  """Lines for the screen: a row a student, means over its seeds, deviation where there are several."""
  rows = [['student', 'seeds', *FIGURES.values()]]
  for name, by_seed in results.items():
    cells = []
    for figure in FIGURES:
      values = [row[figure] for row in by_seed.values() if row[figure] is not None]
      spread = f' ± {statistics.stdev(values):.3f}' if len(values) > 1 else ''
      cells.append(f'{statistics.mean(values):.3f}{spread}' if values else '-')
    rows.append([name, str(len(by_seed)), *cells])
  return text.aligned(rows, (0,))


def main(argv):
  cli.require(len(argv) == 1, f'unexpected argument {argv[-1]!r}; all settings are flags, see --help')
  data, work = pathlib.Path(FLAGS.data or '').resolve(), pathlib.Path(FLAGS.work).resolve()
  cli.require(FLAGS.data and (data / 'esc10.csv').is_file(), f'--data={FLAGS.data}: no esc10.csv in it')
  there = mixture_clips.folds_of(data / 'esc10.csv', data / 'audio')
  for fold in (*FLAGS.folds, FLAGS.judge):
    cli.require(fold in there, f'no fold {fold} in {data}; there are {", ".join(there)}')
  cli.require(set(FLAGS.folds) - {FLAGS.judge}, '--folds: at least one beside --judge')
  records, labels, judged = prepared(data, work)
  results = {
    name: {seed: measured(name, seed, work, records, labels, judged) for seed in FLAGS.seeds} for name in STUDENTS
  }
  files.write_json(work / 'mixtures.json', {'results': results, 'train_flags': FLAGS.train_flags})
  print(table(results))
  print(work / 'mixtures.json')


if __name__ == '__main__':
  define_flags()
  cli.run(main)
