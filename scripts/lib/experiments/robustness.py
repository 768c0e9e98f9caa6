"""Accuracy on held-out clips when the sound is changed: channels, levels, noise, rooms, length.

  scripts/benchmark_robustness --model=best='runs/transfer/runs/best/seed{seed}/without{fold}' --seeds=0,1,2 \
    --clips=VIDEOS/videos.csv --groups=DATA/esc10/groups.csv --outside=baby_cry=DATA/outside/baby_cry

--model is NAME=PATH of a run, an export or a .keras file, repeated; {fold} in it stands for the evaluation fold and
{seed} for a seed, as in the folders of scripts/benchmark_transfer. Each clip is evaluated unchanged and in each
form of audionet_tf/media/perturbations.py; `changed` is the mean over all forms but 40 dB softer, which rounds soft
sound to a few steps. --outside=CATEGORY=FOLDER, repeated, evaluates recordings from elsewhere.

Prints a table in percent, writes WORK/robustness.json and .png. Finished evaluations are kept.
"""

import pathlib
import sys

import tqdm
from absl import flags

from audionet_tf.core import cli, files
from experiments import folds, robustness_table

FLAGS = flags.FLAGS
flags.DEFINE_multi_string('model', [], 'NAME=PATH, with {fold} and perhaps {seed}; repeated.')
flags.DEFINE_string('clips', None, 'CSV of clips: path, category, fold.')
flags.DEFINE_string('groups', None, 'CSV of the classes of each category.')
flags.DEFINE_multi_string('outside', [], 'CATEGORY=FOLDER of recordings of others; repeated.')
flags.DEFINE_list('folds', ['1', '2', '3', '4'], 'Folds to evaluate on.')
flags.DEFINE_list('seeds', ['0'], 'Values of {seed}.')
flags.DEFINE_string('work', 'runs/robustness', 'Folder for results.')


def evaluate(path, fold, outside):
  """dict of figure to share of one student: forms, `changed`, and `outside <category>` of each folder."""
  from audionet_tf.evaluation import clip_accuracy, predictor

  student = predictor.load_student(path)
  groups = clip_accuracy.read_groups(FLAGS.groups, student.class_names)
  clips = clip_accuracy.read_clips(FLAGS.clips, None, [fold])
  shares = {}
  for form in robustness_table.FORMS:
    perturb = None if form == robustness_table.AS_IT_IS else form
    shares[form] = clip_accuracy.evaluate_clips(student, clips, groups, perturb=perturb)['accuracy']
  changed = [shares[form] for form in robustness_table.changed_forms()]
  shares |= {robustness_table.CHANGED: sum(changed) / len(changed), robustness_table.WORST: min(changed)}
  for category, folder in outside.items():
    others = [(file, category) for file in sorted(pathlib.Path(folder).iterdir()) if file.is_file()]
    shares[f'outside {category}'] = clip_accuracy.evaluate_clips(student, others, groups)['accuracy']
  return shares


def pairs(flag):
  """dict of the NAME=VALUE of a repeated flag."""
  for word in FLAGS[flag].value:
    cli.require('=' in word, f'--{flag}={word}: expected is NAME=PATH')
  return dict(word.split('=', 1) for word in FLAGS[flag].value)


def main(argv):
  cli.require(len(argv) == 1, f'unexpected argument {argv[-1]!r}; all settings are flags, see --help')
  models, outside = pairs('model'), pairs('outside')
  cli.require(models and FLAGS.clips and FLAGS.groups, 'benchmark_robustness needs --model, --clips and --groups')
  for folder in outside.values():
    cli.require(pathlib.Path(folder).is_dir(), f'--outside: {folder} is no folder')
  work = pathlib.Path(FLAGS.work)
  work.mkdir(parents=True, exist_ok=True)
  students = [
    (name, fold, seed)
    for name, path in models.items()
    for seed in (FLAGS.seeds if '{seed}' in path else ['-'])
    for fold in FLAGS.folds
  ]
  results = []
  for name, fold, seed in tqdm.tqdm(students, desc='students', unit='student', file=sys.stderr):
    path = models[name].replace('{fold}', fold).replace('{seed}', seed)
    settings = {'path': path, 'clips': FLAGS.clips, 'outside': outside, 'forms': list(robustness_table.FORMS)}
    output = work / f'judged/{name}/seed{seed}/fold{fold}.json'
    measured = folds.read(output) if output.exists() else {}
    if measured.get('asked') != settings:
      measured = {'asked': settings, 'shares': evaluate(path, fold, outside)}
      files.write_json(output, measured)
    results.append({'row': name, 'fold': fold, 'seed': seed, 'shares': measured['shares']})
  lines = robustness_table.with_worst(folds.summary(results))
  files.write_json(work / 'robustness.json', {'results': results, 'summary': lines})
  robustness_table.draw(lines, work / 'robustness.png')
  print(folds.table(lines, dict.fromkeys(models, robustness_table.Required())))
  print(work / 'robustness.json')


if __name__ == '__main__':
  cli.run(main)
