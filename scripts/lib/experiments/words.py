"""Students of embeddings on held-out sounds: they learn a teacher's vectors, and get their classes afterwards.

  scripts/benchmark_words --data=FOLDER --videos=FOLDER --work=runs/words

--data and --videos are those of benchmark_transfer. For every fold, a student learns the vectors of the classifier's
pictures of all other folds by cosine distance; no label and no class name takes part. Then tables of vectors stand for
the ten categories, as texts would with CLIP, and the student names the clips of the fold:

  centroids   a category is the mean vector of its training videos; their labels are used for this alone
  names       a category is its classes of ImageNet (groups.csv), each equally probable: no video is used

The rows are presets. Every step is a command of this project, shown when it runs; finished steps are kept, and an
interrupted run is resumed.

  scripts/benchmark_words --data=FOLDER --videos=FOLDER --work=runs/few --rows=logmel_cnn --folds=1 \\
    --train_flags=epochs=2,warmup_epochs=0

is a trial of a minute or two.
"""

import csv
import pathlib
import sys

import numpy as np
import tqdm
from absl import flags

from audionet_tf.core import cli, files
from audionet_tf.data.tables import word_tables
from experiments import folds
from run_command import run

FLAGS = flags.FLAGS
ROWS = {name: folds.Row(name) for name in ('best', 'logmel_cnn')}
HEAD, TEMPERATURE = 'space', 0.05


def train(place, name, fold, seed, extra):
  """Trains the student of a row on the vectors of all folds but `fold`; returns its run folder."""
  run_dir = place.work / f'runs/{name}/seed{seed}/without{fold}'
  if not (run_dir / 'export/1').exists():
    model = place.teacher()[0].removeprefix('--teacher=')
    arguments = [f'--records={folds.records(place, fold)}', f'--run_dir={run_dir}', f'--seed={seed}', '--resume']
    teacher = f'--teacher={HEAD}=embedding:{model}'
    run('audionet_tf.train', f'--preset={name}', *arguments, teacher, *(f'--{flag}' for flag in extra))
  return run_dir


def read_csv(path):
  """Rows of a CSV, dicts."""
  with open(path, encoding='utf-8', newline='') as file:
    return list(csv.DictReader(file))


def video_vectors(records_folder):
  """dict of the name of a video's file to its mean vector f32 [width], from what is stored beside records."""
  from audionet_tf.data import batch_keys, soft_labels

  for path in sorted((records_folder / soft_labels.FOLDER).glob('*/manifest.json')):
    manifest = soft_labels.read_manifest(path.parent)
    if manifest['teachers'].get(HEAD, {}).get('description', {}).get('outputs') == batch_keys.EMBEDDING:
      break
  else:
    raise FileNotFoundError(f'{records_folder}: no stored vectors')
  source, sums = soft_labels.label_source(path.parent, manifest), {}
  for shard in source.paths:
    for block in source.blocks(str(shard)):
      batch = source.finish(block)
      rows = batch[batch_keys.TEACHER + HEAD].numpy().mean(1)
      for video, row in zip(batch['video_id'].numpy(), rows, strict=True):
        name = pathlib.Path(manifest['videos'][video]).name
        sums[name] = sums.get(name, 0) + row
  return {name: row / np.linalg.norm(row) for name, row in sums.items()}


def centroids(vectors, categories):
  """The WordTable of the mean vector of each category's videos.

  Args:
    vectors: dict of the name of a file to f32 [width].
    categories: dict of the name of a file to its category; others are ignored.
  """
  rows = {}
  for name, vector in vectors.items():
    rows.setdefault(categories[name], []).append(vector)
  means = {category: np.mean(rows[category], 0) for category in sorted(rows)}
  return word_tables.make(means, list(means.values()), TEMPERATURE)


def names(groups, width):
  """The WordTable of each category's classes of ImageNet: square roots of a uniform distribution over them.

  Args:
    groups: rows of groups.csv, with `category` and `imagenet_index`, from 0.
    width: 1000, or 1001 with a background class before the others.
  """
  tables = {}
  for row in groups:
    vector = tables.setdefault(row['category'], np.zeros(width, np.float32))
    vector[int(row['imagenet_index']) + width - 1000] = 1
  return word_tables.make(tables, list(tables.values()), TEMPERATURE)


def evaluate(place, name, fold, seed, extra):
  """dict of table to accuracy, of one student on one fold."""
  folds.check_settings(place, name, ROWS[name], extra)
  run_dir = train(place, name, fold, seed, extra)
  vectors = video_vectors(folds.records(place, fold))
  categories = {pathlib.Path(row['path']).name: row['category'] for row in read_csv(place.videos / 'videos.csv')}
  width = len(next(iter(vectors.values())))
  tables = {
    'centroids': centroids(vectors, categories),
    'names': names(read_csv(place.data / 'esc10/groups.csv'), width),
  }
  return {key: accuracy(place, run_dir, fold, key, table) for key, table in tables.items()}


def accuracy(place, run_dir, fold, key, table):
  """Share of the clips of a fold that a student names right with the classes of a table."""
  output, classes = run_dir / f'{key}.json', run_dir / f'{key}.npz'
  if not output.exists():
    word_tables.write(classes, table)
    run('audionet_tf.export', f'--model={run_dir}', f'--classes={classes}', f'--output={run_dir / key}')
    clips = [f'--clips={place.videos / "videos.csv"}', f'--media_root={place.videos}', f'--folds={fold}']
    run('audionet_tf.evaluate', f'--model={run_dir / key}', *clips, f'--output={output}')
  return folds.read(output)['clips']['accuracy']


def main(argv):
  rows, place = folds.chosen(argv, ROWS)
  output = pathlib.Path(FLAGS.output or place.work / 'words.json')
  students = [(name, fold, seed) for name in rows for seed in FLAGS.seeds for fold in FLAGS.folds]
  results = []
  for name, fold, seed in tqdm.tqdm(students, desc='students', unit='student', file=sys.stderr):
    shares = evaluate(place, name, fold, seed, FLAGS.train_flags)
    results.append({'row': name, 'fold': fold, 'seed': seed, 'shares': shares})
    lines = folds.summary(results)
    files.write_json(output, {'results': results, 'summary': lines, 'train_flags': FLAGS.train_flags})
  print(folds.table(lines, ROWS))
  print(output)


if __name__ == '__main__':
  folds.define_flags('runs/words', 'words.json')
  flags.adopt_module_key_flags(folds)  # so that --help lists them
  cli.run(main)
