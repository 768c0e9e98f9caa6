"""Makes the starter student, audionet_tf/starter/, trained without labels on all folds.

  scripts/make_starter --data=FOLDER
  scripts/make_starter --data=FOLDER --videos=FOLDER --outside=baby_cry=FOLDER --others=FOLDER

--data and --videos (default: DATA/videos) are those of scripts/benchmark_transfer. A student of --preset=best is
trained on every fold, and one more without --held_out, the fold that calibrates `unknown` and whose clips, as they are
and changed, give the figures of the card. outside_sounds.py makes the sounds of no category;
audionet_tf/models/categories.py adds the head `category` with `unknown`; groups.csv maps the teacher's classes to
categories. Writes student.keras, student.json, card.md and NOTICE, at most 3 MB together (the weights keep 12 bits of
their mantissa), and student.tflite, the same student for LiteRT, at most 2.1 MB. The card is printed too.

It takes two and a half times as long as a training of --preset=best on 240 clips, whose header says how long, and some
minutes for the figures. An interrupted run goes on in --work where it was, after the last epoch that was saved.
"""

import dataclasses
import pathlib

import numpy as np
from absl import flags

import run_command
from audionet_tf.core import cli, files
from experiments import folds, outside_sounds, starter_figures, starter_files

FLAGS = flags.FLAGS
folds.define_flags('runs/starter', 'starter.json')
flags.adopt_module_key_flags(folds)  # so that --help lists them
flags.DEFINE_string('held_out', '4', 'The fold that calibrates `unknown`.')
flags.DEFINE_multi_string('outside', [], 'CATEGORY=FOLDER of recordings of others, for the card; repeated.')
flags.DEFINE_string('others', None, 'Folder of recordings with no sound of a category, for the card.')
flags.DEFINE_string('starter', str(run_command.ROOT / 'audionet_tf/starter'), 'Folder to write.')

EVERYTHING = '_nothing'  # the fold that a student of all folds is trained without
EACH, SEEDS = 30, (1, 2)  # sounds per kind as examples; those of the second seed are for evaluation
MOST_BYTES = 3_000_000


def clips_of(place, folds):
  """list of (path, category) of the videos of the folds."""
  from audionet_tf.evaluation import clip_accuracy

  return clip_accuracy.read_clips(place.videos / 'videos.csv', None, folds)


def embeddings(model, sounds):
  """f32 [N, width] of f32 [N, samples]."""
  parts = [
    model(sounds[start : start + 32], training=False)['embedding'].numpy() for start in range(0, len(sounds), 32)
  ]
  return np.concatenate(parts)


def together(parts):
  """The arrays of a dict as one."""
  return np.concatenate(list(parts.values()))


def calibration(model, settings, clips, held_out):
  """(layer Familiarity, threshold, slope, dict of figures for the card), from a student not trained on `held_out`.

  Args:
    model, settings: of that student.
    clips, held_out: f32 [N, samples], the windows that it was trained on, and held-out ones.
  """
  from audionet_tf.models import categories

  examples, fresh = (
    {kind: embeddings(model, part) for kind, part in outside_sounds.sounds(EACH, settings.window_seconds, seed).items()}
    for seed in SEEDS
  )
  clips, held_out = embeddings(model, clips), embeddings(model, held_out)
  layer = categories.familiarity_of(clips, together(examples))
  known, unfamiliar = layer(held_out).numpy(), {kind: layer(part).numpy() for kind, part in fresh.items()}
  threshold, slope = categories.calibrated(known, together(unfamiliar))
  strange = {}  # kinds that the layer has no example of
  for kind in fresh:
    other = categories.familiarity_of(clips, together({name: x for name, x in examples.items() if name != kind}))
    strange |= starter_figures.areas_under_curve(other(held_out).numpy(), {kind: other(fresh[kind]).numpy()})
  areas = starter_figures.areas_under_curve(known, unfamiliar)
  alarms = {
    kind: starter_figures.alarms_per_minute(values, threshold, settings.window_seconds)
    for kind, values in (unfamiliar | {'all': together(unfamiliar)}).items()
  }
  figures = {'areas': areas, 'strange': strange | {'all': float(np.mean([strange[kind] for kind in fresh]))}}
  figures |= {'alarms': alarms, 'missed': float(np.mean(known < threshold)), 'held_out_clips': len(known)}
  return layer, threshold, slope, figures


def measured(place, run, outside):
  """(threshold, slope, dict of figures for the card), of the run that was trained without --held_out."""
  from audionet_tf.models import categories, student_file

  model, settings = student_file.load(run / 'student.keras')
  parts = [[fold for fold in place.folds() if fold != FLAGS.held_out], [FLAGS.held_out]]
  sounds = [starter_figures.windows([path for path, _ in clips_of(place, folds)], settings, 1) for folds in parts]
  layer, threshold, slope, figures = calibration(model, settings, *sounds)
  judged = categories.added(model, settings, groups_of(place, settings), layer, threshold, slope)
  figures['accuracy'] = starter_figures.accuracy(*judged, clips_of(place, parts[1]), outside)
  recordings = starter_figures.other_recordings(FLAGS.others, settings)
  if recordings is not None:
    known, others = (layer(embeddings(model, part)).numpy() for part in (sounds[1], recordings))
    alarms = starter_figures.alarms_per_minute(others, threshold, settings.window_seconds)
    area = starter_figures.areas_under_curve(known, {'others': others})['others']
    figures['others'] = {'windows': len(others), 'area': area, 'alarms': alarms}
  return threshold, slope, figures


def groups_of(place, settings):
  """dict of category to positions in the classes of the teacher."""
  from audionet_tf.evaluation import clip_accuracy

  class_names, *_ = settings.classes.values()
  return clip_accuracy.read_groups(place.data / 'esc10/groups.csv', class_names)


def write(place, run, threshold, slope, figures):
  """Writes the files of the starter, from the run that was trained on all clips; returns their size in bytes."""
  from audionet_tf.models import categories, student_file

  model, settings = student_file.load(run / 'student.keras')
  paths = [path for path, _ in clips_of(place, ())]
  examples = together(outside_sounds.sounds(EACH, settings.window_seconds, SEEDS[0]))
  layer = categories.familiarity_of(
    embeddings(model, starter_figures.windows(paths, settings, 1)), embeddings(model, examples)
  )
  settings = dataclasses.replace(
    settings,
    teachers={name: starter_files.without_folders(description) for name, description in settings.teachers.items()},
  )
  groups = groups_of(place, settings)
  starter = pathlib.Path(FLAGS.starter)
  starter.mkdir(parents=True, exist_ok=True)
  (starter / 'student.tflite').unlink(missing_ok=True)  # that of another student
  student_file.save(starter / 'student.keras', *categories.added(model, settings, groups, layer, threshold, slope))
  starter_files.shortened(starter / 'student.keras')
  starter_files.write_lite(starter / 'student.keras')
  credits = starter_files.credits(place.data / 'esc10/LICENSES.txt', [path.stem for path in paths])
  about = {'groups': groups, 'folds': place.folds(), 'held_out': FLAGS.held_out, 'credits': credits}
  card = starter_files.card(settings, figures, **about)
  print(card)
  for name, content in (('card.md', card), ('NOTICE', starter_files.notice(credits))):
    with files.atomic_write(starter / name) as file:
      file.write(content)
  return sum(path.stat().st_size for path in starter.iterdir() if path.suffix != '.tflite')


def main(argv):
  cli.require(len(argv) == 1, f'unexpected argument {argv[-1]!r}; all settings are flags, see --help')
  if FLAGS.data and not FLAGS.videos:
    FLAGS.videos = f'{FLAGS.data}/videos'
  place, row, seed = folds.check_place(), folds.ROWS['best'], FLAGS.seeds[0]
  cli.require(FLAGS.held_out in place.folds(), f'--held_out={FLAGS.held_out}: no such fold in {place.videos}')
  outside = dict(word.partition('=')[::2] for word in FLAGS.outside)
  folders = [*outside.values(), *([FLAGS.others] if FLAGS.others else [])]
  for folder in folders:
    cli.require(pathlib.Path(folder).is_dir(), f'{folder}: no such folder')
  place.work.mkdir(parents=True, exist_ok=True)
  folds.check_settings(place, 'best', row, FLAGS.train_flags)
  runs = [folds.train(place, 'best', row, fold, seed, FLAGS.train_flags) for fold in (FLAGS.held_out, EVERYTHING)]
  threshold, slope, figures = measured(place, runs[0], outside)
  files.write_json(pathlib.Path(FLAGS.output or place.work / 'starter.json'), figures)
  size = write(place, runs[1], threshold, slope, figures)
  print(f'{FLAGS.starter}: {size / 1e6:.2f} MB, AUROC of unknown {figures["areas"]["all"]:.3f}')
  cli.require(size <= MOST_BYTES, f'{FLAGS.starter}: {size} bytes, allowed are {MOST_BYTES}')


if __name__ == '__main__':
  cli.run(main)
