"""The summary of a demo: predictions of teacher and student per clip, a confusion matrix, the paths of all results."""

import json
import os
import pathlib
import sys

import numpy as np

from demo import folders
from demo.pipeline import DESCRIPTIONS

COLUMNS = ('clip', 'teacher', 'student', 'KL', 'same')
NAME_WIDTH = 28
FEW_VIDEOS = 40
MOST_CLASSES = 24  # in the confusion matrix


def summarize(run, seconds):
  """Writes figures/confusion.png and summary.txt, from the results of `pipeline.run_all`; returns the text."""
  measured = json.loads((run / 'evaluation.json').read_text())['records']
  targets, class_names = teacher_predictions(measured['source'])
  rows, pairs = [], []
  for name, metrics in measured['videos'].items():
    with np.load(run / 'predictions' / f'{name}.npz', allow_pickle=False) as file:
      predictions = file['probabilities'].mean(0, dtype=np.float64)
    pair = int(targets[name].argmax()), int(predictions.argmax())
    pairs.append(pair)
    cells = [f'{shortened(class_names[c])} {p[c]:.0%}' for c, p in zip(pair, (targets[name], predictions), strict=True)]
    rows.append([shortened(name), *cells, f'{metrics["kl"]:.2f}', 'yes' if pair[0] == pair[1] else 'no'])
  draw_confusion(run / 'figures/confusion.png', pairs, class_names)
  same = sum(a == b for a, b in pairs)
  text = f'\n{table([COLUMNS, *rows])}\n\n{closing(run, measured, same, len(pairs), seconds)}'
  folders.write_text(run / folders.SUMMARY_NAME, text)
  return text


def closing(run, measured, same, count, seconds):
  """The lines below the table."""
  part = 'held_out' if (run / 'videos/held_out').is_dir() else 'train'
  figures = ', '.join(sorted(path.name for path in (run / 'figures').glob('*.png')))
  share = f'{same / count:.0%}'
  count_train = len(list((run / 'videos/train').iterdir()))
  few = ''
  if count_train < FEW_VIDEOS:
    few = f'\nIt was trained on {count_train} videos: expect it to know only sounds like theirs.'
  folder, clips = os.path.relpath(pathlib.Path(sys.executable).parent), f'{DESCRIPTIONS[part]} clips'
  return f"""The student, trained without labels, names {same} of {count} {clips} as the teacher does ({share}).
Mean KL(teacher || student) {measured['kl']:.2f}; {measured['top1']:.0%} of {measured['windows']} windows agree.{few}

{run}/videos       the clips; those of the table are in {part}/
{run}/figures      {figures}
{run}/train        student.keras, export/1 (SavedModel), stats.json, tensorboard/
{run}/predictions  ten predictions per second of each clip, for NumPy
{run}/summary.txt  this text

Name any sound:  {folder}/python -m audionet_tf.infer --model={run}/train/export --output=predictions FILE...
Caption a video: {folder}/python -m audionet_tf.caption --model={run}/train/export --output=captions FILE...
Use the page:    {folder}/python -m audionet_tf.serve --model={run}/train/export, then http://127.0.0.1:8501
Look closer:     {folder}/tensorboard --logdir={run}/train/tensorboard
Finished in {seconds:.0f} s.
"""


def teacher_predictions(records_folder):
  """(dict of video id to f64 [classes], the teacher's mean probabilities; class names), from stored soft labels."""
  from audionet_tf.data import batch_keys, input_pipeline, soft_labels

  folder = max(pathlib.Path(records_folder, soft_labels.FOLDER).iterdir(), key=lambda path: path.stat().st_mtime)
  stored = soft_labels.read_manifest(folder)
  head, teacher = next(iter(stored['teachers'].items()))
  sums = np.zeros([len(stored['videos']), len(teacher['classes'])])
  counts = np.zeros([len(stored['videos']), 1])
  for batch in input_pipeline.sequential_batches(soft_labels.label_source(folder, stored), 256).as_numpy_iterator():
    np.add.at(sums, batch['video_id'], batch[batch_keys.TEACHER + head].mean(1))
    np.add.at(counts, batch['video_id'], 1)
  return dict(zip(stored['videos'], sums / np.maximum(counts, 1), strict=True)), teacher['classes']


def draw_confusion(path, pairs, class_names):
  """Draws the confusion matrix of clips: rows are the teacher's, columns the student's most frequent classes."""
  from audionet_tf.plotting import clips, style

  classes, counts = np.unique(np.array(pairs), return_counts=True)
  kept = sorted(classes[np.argsort(-counts, kind='stable')][:MOST_CLASSES])
  index = {number: i for i, number in enumerate(kept)}
  matrix = np.zeros([len(kept), len(kept)], int)
  for teacher, student in pairs:
    if teacher in index and student in index:
      matrix[index[teacher], index[student]] += 1
  figure = clips.confusion(matrix, [class_names[number] for number in kept])
  figure.axes[0].set_ylabel('predicted by the teacher')
  style.save(figure, path)


def shortened(text):
  """A printable text of at most NAME_WIDTH characters."""
  clean = ''.join(c if c.isprintable() else '?' for c in text)
  return clean if len(clean) <= NAME_WIDTH else f'{clean[: NAME_WIDTH - 12]}...{clean[-9:]}'


def table(rows):
  """Rows of str as aligned lines; the KL is right-aligned."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = []
  for row in rows:
    cells = [c.rjust(w) if i == 3 else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
    lines.append('  '.join(cells).rstrip())
  return '\n'.join([lines[0], '  '.join('-' * w for w in widths), *lines[1:]])
