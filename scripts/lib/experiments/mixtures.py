"""Weak labels: compares a student with attention pooling with one that averages over its steps.

  scripts/benchmark_mixtures --data=FOLDER --work=runs/mixtures

--data has esc10.csv (filename, fold, category) and audio/. The training mixtures of ten seconds are made from the clips
of all --folds but --judge, with one to three sounds each, and labelled with the sounds in them, not their times; the
test mixtures from the clips of --judge. Both students are the log-mel network, trained alike, once per seed, and
evaluated by mAP, ROC AUC and d', averaged over the classes. The preset mixtures has the settings; the last epoch is
evaluated. Every step is a command of this project; finished steps are kept.

  scripts/benchmark_mixtures --data=FOLDER --work=runs/few --count=20 --judged=10 --seeds=0 \\
    --train_flags=epochs=1,warmup_epochs=0

is a trial of a few minutes.
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
  flags.DEFINE_string('judge', '4', 'The one of these folds to evaluate on.')
  flags.DEFINE_integer('count', 400, 'Training mixtures.', lower_bound=1)
  flags.DEFINE_integer('judged', 200, 'Test mixtures.', lower_bound=1)
  flags.DEFINE_list('seeds', ['0', '1', '2'], 'Seeds of the students.')
  flags.DEFINE_list('train_flags', [], 'Further flags of training.')


def prepared(data, work):
  """(records to train on, their labels.csv, labels.csv of the test mixtures), made if missing."""
  table, audio = data / 'esc10.csv', data / 'audio'
  folds = [fold for fold in FLAGS.folds if fold != FLAGS.judge]
  train, test = work / f'{FLAGS.count}-without{FLAGS.judge}', work / f'{FLAGS.judged}-of{FLAGS.judge}'
  mixture_clips.make(table, audio, folds, FLAGS.count, 0, train)
  mixture_clips.make(table, audio, [FLAGS.judge], FLAGS.judged, 1, test)
  records = work / f'records/{train.name}'
  if not (records / 'manifest.json').exists():
    windows = [
      f'--window_ms={1000 * mixture_clips.SECONDS}',
      f'--sample_rate={mixture_clips.RATE_HZ}',
      '--images_per_window=0',
    ]
    run('tfrecords.build', f'--videos={train}', f'--output={records}', *windows)
  return records, train / 'labels.csv', test / 'labels.csv'


def measured(name, seed, work, records, labels, test_labels):
  """dict of FIGURES of one student and seed."""
  run_dir = work / f'runs/{records.name}/{name}/seed{seed}'
  if not (run_dir / 'export/1').exists():
    extra = [f'--{flag}' for flag in FLAGS.train_flags]
    arguments = [f'--records={records}', f'--run_dir={run_dir}', f'--student={STUDENTS[name]}', f'--teacher={labels}']
    run('audionet_tf.train', '--preset=mixtures', *arguments, f'--seed={seed}', '--resume', *extra)
  output = run_dir / f'{test_labels.parent.name}.json'
  if not output.exists():
    run('audionet_tf.evaluate', f'--model={run_dir}', f'--labels={test_labels}', f'--output={output}')
  means = json.loads(output.read_text(encoding='utf-8'))['labels']['means']
  return {figure: means[figure] for figure in FIGURES}


def table(results):
  """The table as text: a row per student, with means over its seeds, and deviations if there are several."""
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
  folds = mixture_clips.folds_of(data / 'esc10.csv', data / 'audio')
  for fold in (*FLAGS.folds, FLAGS.judge):
    cli.require(fold in folds, f'no fold {fold} in {data}; there are {", ".join(folds)}')
  cli.require(set(FLAGS.folds) - {FLAGS.judge}, '--folds: at least one besides --judge')
  records, labels, test_labels = prepared(data, work)
  results = {
    name: {seed: measured(name, seed, work, records, labels, test_labels) for seed in FLAGS.seeds} for name in STUDENTS
  }
  files.write_json(work / 'mixtures.json', {'results': results, 'train_flags': FLAGS.train_flags})
  print(table(results))
  print(work / 'mixtures.json')


if __name__ == '__main__':
  define_flags()
  cli.run(main)
