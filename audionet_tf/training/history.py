"""Reads the statistics that training leaves in a run: the KL of every video in every epoch."""

import json
import pathlib
import re

import numpy as np

from audionet_tf.core import text
from audionet_tf.core.errors import UserError
from audionet_tf.data import video_table

STATS_NAME = 'stats.json'
VIDEOS_FOLDER = 'videos'  # of a run on too many videos for STATS_NAME: a file for each epoch
PERCENTILES = (5, 25, 50, 75, 95)


def videos_file(epoch):
  """Path of the statistics of the videos in an epoch, below the run."""
  return f'{VIDEOS_FOLDER}/epoch-{epoch:06d}.parquet'


def whole_lines(path, is_row):
  """Number of lines at the start of a file that are whole: JSON for which `is_row(value, number of the line)` holds."""
  count = 0
  if pathlib.Path(path).is_file():
    with open(path, 'rb') as lines:
      for line in lines:
        try:
          whole = line.endswith(b'\n') and is_row(json.loads(line), count)
        except (ValueError, RecursionError):
          break
        if not whole:
          break
        count += 1
  return count


def epoch_range(text, trained):
  """Parses '0:50' as range(0, 50): epochs count from 0, the end is excluded; either side may be empty.

  Args:
    text: 'begin:end', 'begin:', ':end', ':' or ''.
    trained: number of epochs of the run.

  Raises:
    UserError: another form, an empty range, or one that ends after the last epoch.
  """
  match = re.fullmatch(r'(\d*):(\d*)', text or ':')
  if not match:
    raise UserError(f'epochs is {text!r}, allowed is BEGIN:END, counted from 0, END excluded, such as 0:50')
  begin, end = int(match[1] or 0), int(match[2] or trained)
  if not 0 <= begin < end <= trained:
    raise UserError(f'epochs is {text!r}, but the run has {trained} epochs: allowed is 0:{trained} or a part of it')
  return range(begin, end)


def read_mean_kl(run_dir, epochs=''):
  """Reads the mean KL of every video in every epoch; of videos in files of their own, PERCENTILES in place of videos.

  Args:
    run_dir: folder of a run, or its stats.json.
    epochs: as for `epoch_range`.

  Returns:
    (range of epochs, dict of video name to f64 [epochs]); NaN if an epoch lacks a video.

  Raises:
    UserError: there are no statistics, they hold no KL, they are damaged, or the range does not fit.
  """
  path = pathlib.Path(run_dir)
  path = path / STATS_NAME if path.is_dir() else path
  if not path.is_file():
    raise UserError(f'{path}: no statistics here; --run_dir is a folder that audionet_tf.train wrote')
  try:
    listed = json.loads(path.read_text(encoding='utf-8'))['epochs']
    chosen = epoch_range(epochs, len(listed))
    videos = [_percentiles(path.parent, i) if 'videos_file' in listed[i] else listed[i]['videos'] for i in chosen]
    table = {name: np.full(len(chosen), np.nan) for names in videos for name in names}
    for row in range(len(chosen)):
      for name, video in videos[row].items():
        if not {'kldiv', 'kldiv_per_frame'} & video.keys():
          raise UserError(f'{path}: holds no KL of {name}, but {", ".join(video) or "nothing"}')
        table[name][row] = video['kldiv'] if 'kldiv' in video else np.mean(video['kldiv_per_frame'])
  except UserError:
    raise
  except (ValueError, OSError, KeyError, TypeError, AttributeError, RecursionError) as error:
    raise UserError(f'{path}: not the statistics of a run ({text.brief(error)})') from None
  if not table:
    raise UserError(f'{path}: no videos in these epochs; choose others with --epochs')
  return chosen, table


def _percentiles(folder, epoch):
  """As the `videos` of an epoch in stats.json, of percentiles of all videos, from the epoch's file."""
  _, values = video_table.read_epoch(folder / videos_file(epoch), 'kldiv')
  found = zip(PERCENTILES, np.percentile(values, PERCENTILES).tolist(), strict=True)
  return {f'{percentile}th percentile': {'kldiv': value} for percentile, value in found}
