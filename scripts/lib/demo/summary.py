"""What a demo ends with: per clip what the teacher saw and the student heard, a confusion matrix, where things are."""

import json
import os
import pathlib
import sys

import numpy as np

from demo import folders

COLUMNS = ('clip', 'the teacher saw', 'the student heard', 'KL', 'same')
NAME_WIDTH = 28
FEW_VIDEOS = 40
MOST_CLASSES = 24  # in the confusion matrix


def summarize(run, seconds):
  """Writes figures/confusion.png and summary.txt; returns the text. Needs what `pipeline.run_all` made."""
  measured = json.loads((run / 'evaluation.json').read_text())['records']
  saw, class_names = teacher_answers(measured['source'])
  rows, pairs = [], []
  for name, figures in measured['videos'].items():
    with np.load(run / 'heard' / f'{name}.npz', allow_pickle=False) as heard_file:
      heard = heard_file['probabilities'].mean(0, dtype=np.float64)
    pair = int(saw[name].argmax()), int(heard.argmax())
    pairs.append(pair)
    opinions = [f'{shortened(class_names[c])} {p[c]:.0%}' for c, p in zip(pair, (saw[name], heard), strict=True)]
    rows.append([shortened(name), *opinions, f'{figures["kl"]:.2f}', 'yes' if pair[0] == pair[1] else 'no'])
  draw_confusion(run / 'figures/confusion.png', pairs, class_names)
  same = sum(a == b for a, b in pairs)
  text = f'\n{table([COLUMNS, *rows])}\n\n{closing(run, measured, same, len(pairs), seconds)}'
  folders.write_text(run / folders.SUMMARY_NAME, text)
  return text


def closing(run, measured, same, count, seconds):
  """The lines below the table."""
  judged = 'unheard' if (run / 'videos/unheard').is_dir() else 'heard'
  figures = ', '.join(sorted(path.name for path in (run / 'figures').glob('*.png')))
  share = f'{same / count:.0%}'
  learnt = len(list((run / 'videos/heard').iterdir()))
  few = f'\nIt learnt from {learnt} videos: expect it to know only sounds like theirs.' if learnt < FEW_VIDEOS else ''
  folder = os.path.relpath(pathlib.Path(sys.executable).parent)
  return f"""The student, who never had a label, names {same} of {count} {judged} clips as the teacher does ({share}).
Mean KL(teacher || student) {measured['kl']:.2f}; {measured['top1']:.0%} of {measured['windows']} windows alike.{few}

{run}/videos       the clips; those of the table are in {judged}/
{run}/figures      {figures}
{run}/train        student.keras, export/1 (SavedModel), stats.json, tensorboard/
{run}/heard        what the student heard, ten times a second, for NumPy
{run}/summary.txt  this text

Name any sound:  {folder}/python -m audionet_tf.infer --model={run}/train/export --output=heard FILE...
Caption a video: {folder}/python -m audionet_tf.caption --model={run}/train/export --output=captions FILE...
Use the page:    {folder}/python -m audionet_tf.serve --model={run}/train/export, then http://127.0.0.1:8501
Look closer:     {folder}/tensorboard --logdir={run}/train/tensorboard
{seconds:.0f} s in all.
"""


def teacher_answers(records_folder):
  """(dict of video id to f64 [classes], the teacher's mean answer; class names) from the labels beside records."""
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
  """Counts of clips: rows what the teacher saw, columns what the student heard; the most frequent classes."""
  from audionet_tf.plotting import clips, style

  classes, counts = np.unique(np.array(pairs), return_counts=True)
  kept = sorted(classes[np.argsort(-counts, kind='stable')][:MOST_CLASSES])
  place = {number: i for i, number in enumerate(kept)}
  matrix = np.zeros([len(kept), len(kept)], int)
  for seen, heard in pairs:
    if seen in place and heard in place:
      matrix[place[seen], place[heard]] += 1
  figure = clips.confusion(matrix, [class_names[number] for number in kept])
  figure.axes[0].set_ylabel('seen by the teacher')
  style.save(figure, path)


def shortened(text):
  clean = ''.join(c if c.isprintable() else '?' for c in text)
  return clean if len(clean) <= NAME_WIDTH else f'{clean[: NAME_WIDTH - 12]}...{clean[-9:]}'


def table(rows):
  """Aligned text lines of rows of str; numbers to the right."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = []
  for row in rows:
    cells = [c.rjust(w) if i == 3 else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
    lines.append('  '.join(cells).rstrip())
  return '\n'.join([lines[0], '  '.join('-' * w for w in widths), *lines[1:]])
