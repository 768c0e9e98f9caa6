"""AudioSet's list of clips, and the clips themselves by yt-dlp (extra `download`).

AudioSet (Gemmeke et al. 2017) names clips of ten seconds by YouTube id, start and end, in CSV files such as
`eval_segments.csv`. The download keeps no labels; `weak_labels` reads them.
"""

import csv
import math
import os
import pathlib
import sys
import tempfile

import tqdm

from audionet_tf.core.errors import UserError
from audionet_tf.data import youtube

# Bryce 2018, table 2: id to (start, end) in seconds. The ids are those of its code; the paper misprints two.
PAPER_CLIPS = {
  '-OAyRsvFGgc': (30, 40),
  '-XilaFMUwng': (50, 60),
  '67GZuUxV27w': (30, 40),
  '9PmzQI8ZYpg': (30, 40),
  'BUGx2e7OgFE': (30, 40),
  '_A30xsFBMXA': (40, 50),
  'eHIlPlNWISg': (90, 100),
  'eV5JX81GzqA': (150, 160),
  'rTh92nlG9io': (30, 40),
  'rctt0dhCHxs': (16, 25),
}


def read_segments(path):
  """The clips of one of AudioSet's CSV files: dict of id to (start, end) in seconds.

  Raises UserError: no such file, a line that is not `YTID, start_seconds, end_seconds, ...`.
  """
  path, segments = pathlib.Path(path), {}
  if not path.is_file():
    raise UserError(f'{path}: no such file; expected is a CSV of AudioSet, such as eval_segments.csv')
  try:
    with open(path, newline='', encoding='utf-8') as file:
      reader = csv.reader(file, skipinitialspace=True)
      for row in reader:
        if row and not row[0].startswith('#'):
          segments[youtube.video_id(row[0])] = checked_span(float(row[1]), float(row[2]))
  except (ValueError, IndexError, csv.Error) as error:
    raise UserError(f'{path}: line {reader.line_num} is not YTID, start_seconds, end_seconds ({error})') from None
  return segments


def checked_span(start, end):
  if not 0 <= start < end < math.inf:
    raise ValueError(f'from {start} to {end} s is no span')
  return start, end


def choose(ids, segments, source):
  """dict of id to (start, end) of the wanted clips; `source` is where `segments` come from, for the message."""
  wanted = [youtube.video_id(text) for text in ids]
  missing = [name for name in wanted if name not in segments]
  if missing:
    raise UserError(f'{", ".join(missing)}: not in {source}; give a CSV of AudioSet that lists them with --segments')
  return {name: segments[name] for name in wanted}


def download_clips(clips, folder):
  """Downloads clips that are not in `folder` yet, each under a temporary name first; failures are reported on stderr.

  Args:
    clips: dict of id to (start, end) in seconds.
    folder: where <id>_<start>.<suffix> go; made if it is not there.

  Returns:
    dict with lists of ids: `downloaded`, `present`, `failed`.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  outcome = {'downloaded': [], 'present': [], 'failed': []}
  for name, span in tqdm.tqdm(clips.items(), desc='downloading', unit=' clips'):
    stem = f'{name}_{span[0]:g}'
    present = {path.name.removesuffix('.gz').rpartition('.')[0] for path in folder.iterdir() if path.is_file()}
    if stem in present:
      outcome['present'].append(name)
      continue
    try:
      with tempfile.TemporaryDirectory(dir=folder, prefix='.partial-') as partial:
        fetched = youtube.fetch(name, span, partial, stem)
        os.replace(fetched, folder / fetched.name)
      outcome['downloaded'].append(name)
    except (UserError, OSError) as error:
      outcome['failed'].append(name)
      tqdm.tqdm.write(f'{name}: {" ".join(str(error).split())}', file=sys.stderr)
  return outcome
