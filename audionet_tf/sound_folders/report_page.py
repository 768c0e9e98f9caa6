"""The report of a student on held-out sounds: numbers of its classes, and what it mistook, to listen to."""

import html
import itertools
import pathlib
import sys

import numpy as np
from sklearn import metrics

from audionet_tf.core import files, html_page, text
from audionet_tf.core.errors import UserError
from audionet_tf.media import decoding, wav_file
from audionet_tf.media.containers import integrity
from audionet_tf.sound_folders.run_folder import REPORT_MARK

SOUNDS = 'sounds'
MOST_PLAYED = 200  # mistakes, the surest first
PLAYED_SECONDS = 10
PLAYED_RATE_HZ = 22050
MOST_COLUMNS = 60  # classes whose confusion matrix is shown

STYLE = """
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0 1rem }
th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--line); text-align: right }
th:first-child, td:first-child { text-align: left }
.wide { overflow-x: auto }
.mistake { color: var(--quiet) }
td.correct { background: var(--field) }
audio { height: 2.2rem; vertical-align: middle }
"""


def per_class(measured):
  """Numbers of every class.

  Args:
    measured: from `clip_accuracy.evaluate_clips`.

  Returns:
    dict of class to dict of `clips`, its number of clips; `precision`, `recall` and `f1`, None without clips or
    predictions to divide by.
  """
  names = measured['categories']
  true, predicted = ([row[key] for row in measured['results']] for key in ('category', 'named'))
  values = metrics.precision_recall_fscore_support(true, predicted, labels=names, zero_division=np.nan)
  rows = zip(names, zip(*values, strict=True), strict=True)
  return {
    name: {
      'clips': int(clips),
      **{key: None if np.isnan(x) else float(x) for key, x in zip(('precision', 'recall', 'f1'), shares, strict=True)},
    }
    for name, (*shares, clips) in rows
  }


def mistakes(measured):
  """The results of the clips that were taken for another class, the surest first."""
  wrong = [row for row in measured['results'] if row['named'] != row['category']]
  return sorted(wrong, key=lambda row: (-max(row['scores']), row['path']))


def write(folder, title, introduction, measured):
  """Writes `folder`/index.html and `folder`/sounds/*.wav, the sounds that were mistaken, in place of earlier ones.

  Args:
    folder: pathlib.Path.
    title: of the page.
    introduction: list of str, a paragraph each; the first stands below the title.
    measured: from `clip_accuracy.evaluate_clips`.

  Returns:
    pathlib.Path of the page.

  Raises:
    UserError: `folder` holds something else.
  """
  with files.replaced_folder(folder, REPORT_MARK) as partial:
    (partial / SOUNDS).mkdir()
    (partial / REPORT_MARK).write_text('This folder is replaced when the run is resumed.\n')
    write_page(partial, title, introduction, measured)
  return folder / 'index.html'


def write_page(folder, title, introduction, measured):
  """Fills a new folder with the page and its sounds. Arguments as for `write`."""
  wrong = mistakes(measured)
  played = {row['path']: write_sound(folder, number, row['path']) for number, row in enumerate(wrong[:MOST_PLAYED], 1)}
  correct = measured['clips'] - len(wrong)
  body = [f'<p>{html.escape(line)}</p>' for line in introduction[1:]]
  body += [f'<p><strong>Accuracy {measured["accuracy"]:.1%}</strong>: {correct} of {measured["clips"]} sounds.</p>']
  body += [class_table(per_class(measured)), confusion_table(measured), mistake_table(wrong, played)]
  page = html_page.document(title, introduction[0], '\n'.join(body), STYLE)
  (folder / 'index.html').write_text(page, encoding='utf-8')


def write_sound(folder, number, path):
  """Writes the beginning of a sound as WAV; returns its path relative to `folder`, or None if it cannot be read."""
  try:
    with integrity.decompressed(path) as sound:
      chunks = decoding.decode_audio(sound, PLAYED_RATE_HZ)  # of a second; the first where the sound begins
      pcm = np.concatenate([pcm for _, pcm in itertools.islice(chunks, PLAYED_SECONDS + 1)])
  except (UserError, OSError) as error:
    print(f'{path}: {getattr(error, "reason", error)}', file=sys.stderr)
    return None
  name = f'{SOUNDS}/{number:04}.wav'
  wav_file.write(folder / name, pcm[: PLAYED_SECONDS * PLAYED_RATE_HZ], PLAYED_RATE_HZ)
  return name


def class_table(classes):
  """HTML of the numbers of `per_class`."""
  heading = '<tr><th>class</th><th>held out</th><th>recall</th><th>precision</th><th>F1</th></tr>'
  rows = [
    f'<tr><td>{html.escape(name)}</td><td>{values["clips"]}</td>'
    + ''.join(f'<td>{share(values[key])}</td>' for key in ('recall', 'precision', 'f1'))
    + '</tr>'
    for name, values in classes.items()
  ]
  return '\n'.join(['<h2>Classes</h2>', '<table>', heading, *rows, '</table>'])


def share(value):
  """0.5 as '50.0 %'; None as a dash."""
  return '–' if value is None else f'{value:.1%}'


def confusion_table(measured):
  """HTML of the confusion matrix; '' for more than MOST_COLUMNS classes."""
  names = measured['categories']
  if len(names) > MOST_COLUMNS:
    return ''
  head = ''.join(f'<th title="{html.escape(name)}">{number}</th>' for number, name in enumerate(names, 1))
  rows = [
    f'<tr><th scope="row">{number} {html.escape(name)}</th>'
    + ''.join(
      f'<td{" class=correct" if column == number else ""}>{count or ""}</td>' for column, count in enumerate(counts, 1)
    )
    + '</tr>'
    for number, (name, counts) in enumerate(zip(names, measured['confusion'], strict=True), 1)
  ]
  heading = f'<tr><th>true \\ predicted</th>{head}</tr>'
  return '\n'.join(['<h2>Confusion</h2>', '<div class="wide"><table>', heading, *rows, '</table></div>'])


def mistake_table(wrong, played):
  """HTML of the mistakes. `wrong`: from `mistakes`; `played`: dict of path to the path of a sound, or None."""
  if not wrong:
    return '<h2>Mistakes</h2>\n<p>None.</p>'
  heading = '<tr><th>sound</th><th>is</th><th>was taken for</th><th>score</th><th>file</th></tr>'
  rows = []
  for row in wrong[:MOST_PLAYED]:
    name = html.escape(text.printable(pathlib.Path(row['path']).name))
    sound = played[row['path']]
    player = ''
    if sound:
      player = f'<audio controls preload="none" src="{html_page.address(sound)}" aria-label="{name}"></audio>'
    cells = [player, html.escape(row['category']), html.escape(row['named'])]
    cells += [f'{max(row["scores"]):.2f}', f'<span class="mistake">{name}</span>']
    rows.append('<tr>' + ''.join(f'<td>{cell}</td>' for cell in cells) + '</tr>')
  more = [f'<p>and {len(wrong) - MOST_PLAYED} more.</p>'] if len(wrong) > MOST_PLAYED else []
  return '\n'.join(['<h2>Mistakes</h2>', '<div class="wide"><table>', heading, *rows, '</table></div>', *more])
