"""AudioSet's segment lists, and the download of their clips with yt-dlp (extra `download`).

AudioSet (Gemmeke et al. 2017, "Audio Set: An ontology and human-labeled dataset for audio events") identifies clips of
ten seconds by YouTube id, start and end, in CSV files such as `eval_segments.csv`. The download ignores the labels;
`weak_labels` reads them.
"""

import math
import os
import pathlib
import sys
import tempfile

import tqdm

from audionet_tf.core import files
from audionet_tf.core.errors import UserError
from audionet_tf.data import youtube
from audionet_tf.data.tables import csv_files

# Bryce 2018, table 2: id to (start, end) in seconds. The ids come from the paper's code: the table misprints two.
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
  """Reads one of AudioSet's CSV files.

  Args:
    path: of the CSV, with lines `YTID, start_seconds, end_seconds, ...`; lines that begin with # are comments.

  Returns:
    dict of YouTube id to (start, end) in seconds.

  Raises:
    UserError: there is no such file, it has no segments, a line has another form, or a video several segments.
  """
  segments = {}
  for line, row in csv_files.read_rows(path, 'an AudioSet CSV such as eval_segments.csv'):
    if csv_files.is_comment(row) or (not segments and row[0].lower() == 'ytid'):
      continue
    try:
      name, span = youtube.video_id(row[0]), checked_span(float(row[1]), float(row[2]))
    except (ValueError, IndexError) as error:
      raise UserError(f'{path}: line {line} is not YTID, start_seconds, end_seconds ({error})') from None
    if segments.setdefault(name, span) != span:
      raise UserError(f'{path}: line {line} has another segment of {name}; expected is one of each video')
  if not segments:
    raise UserError(f'{path}: holds no segments; expected are lines YTID, start_seconds, end_seconds, ...')
  return segments


def checked_span(start, end):
  """(start, end); ValueError unless they are finite, not negative, and in this order."""
  if not 0 <= start < end < math.inf:
    raise ValueError(f'start {start} s, end {end} s: end must be after start')
  return start, end


def choose(ids, segments, source):
  """Selects clips by id.

  Args:
    ids: list of YouTube ids or addresses of videos.
    segments: dict of id to (start, end) in seconds, as `read_segments` returns it.
    source: name of the file that `segments` come from, for the error message.

  Returns:
    dict of id to (start, end) in seconds, in the order of `ids`.

  Raises:
    UserError: an id is not valid, or is not among the segments.
  """
  requested = [youtube.video_id(text) for text in ids]
  missing = [name for name in requested if name not in segments]
  if missing:
    raise UserError(f'{", ".join(missing)}: not in {source}; pass an AudioSet CSV that lists them as --segments')
  return {name: segments[name] for name in requested}


def download_clips(clips, folder):
  """Downloads the clips that are not in `folder` yet. A clip appears there when it is complete.

  Failures are reported on stderr and do not stop the others.

  Args:
    clips: dict of id to (start, end) in seconds.
    folder: for the files `<id>_<start>.<suffix>`; created if missing.

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
      with files.space_in(folder), tempfile.TemporaryDirectory(dir=folder, prefix='.partial-') as partial:
        fetched = youtube.fetch(name, span, partial, stem)
        os.replace(fetched, folder / fetched.name)
      outcome['downloaded'].append(name)
    except (UserError, OSError) as error:
      outcome['failed'].append(name)
      tqdm.tqdm.write(f'{name}: {" ".join(str(error).split())}', file=sys.stderr)
  return outcome
