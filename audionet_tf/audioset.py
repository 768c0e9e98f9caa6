"""AudioSet's list of clips, and the clips themselves by yt-dlp (extra `download`).

AudioSet (Gemmeke et al. 2017) names clips of ten seconds by YouTube id, start and end, in CSV files such as
`eval_segments.csv`. The download keeps no labels; `label_tables` reads them.
"""

import csv
import math
import os
import pathlib
import re
import sys
import tempfile
import urllib.parse

import tqdm

from audionet_tf.errors import UserError

VIDEO_ID = re.compile(r'[A-Za-z0-9_-]{11}')
HOSTS = ('youtube.com', 'www.youtube.com', 'm.youtube.com', 'music.youtube.com', 'youtu.be')

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
          segments[video_id(row[0])] = checked_span(float(row[1]), float(row[2]))
  except (ValueError, IndexError, csv.Error) as error:
    raise UserError(f'{path}: line {reader.line_num} is not YTID, start_seconds, end_seconds ({error})') from None
  return segments


def checked_span(start, end):
  if not 0 <= start < end < math.inf:
    raise ValueError(f'from {start} to {end} s is no span')
  return start, end


def video_id(text):
  """The YouTube id in `text`, an id or the address of a video. UserError for anything else."""
  text = text.strip()
  if VIDEO_ID.fullmatch(text):
    return text
  address = urllib.parse.urlsplit(text)
  if address.scheme in ('http', 'https') and address.hostname in HOSTS:
    queried = urllib.parse.parse_qs(address.query).get('v', [])
    found = [part for part in (*queried, address.path.rpartition('/')[2]) if VIDEO_ID.fullmatch(part)]
    if found:
      return found[0]
  raise UserError(
    f'{text[:100]!r} is neither a YouTube id, eleven letters, digits, - and _, nor the address of a video'
  )


def choose(ids, segments, source):
  """dict of id to (start, end) of the wanted clips; `source` is where `segments` come from, for the message."""
  wanted = [video_id(text) for text in ids]
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
        fetched = fetch(name, span, partial, stem)
        os.replace(fetched, folder / fetched.name)
      outcome['downloaded'].append(name)
    except (UserError, OSError) as error:
      outcome['failed'].append(name)
      tqdm.tqdm.write(f'{name}: {" ".join(str(error).split())}', file=sys.stderr)
  return outcome


def import_yt_dlp():
  """The yt_dlp module; UserError where it is not installed."""
  try:
    import yt_dlp
  except ImportError:
    raise UserError("downloading needs yt-dlp: pip install 'audionet_tf[download]'") from None
  return yt_dlp


def fetch(name, span, folder, stem):
  """Downloads one clip with yt-dlp, cut to `span`, and returns its path in `folder`.

  The picture is taken at 480 lines or fewer: a teacher sees 224. Cutting between key frames needs the ffmpeg program.
  """
  yt_dlp = import_yt_dlp()
  options = {
    'format': 'bv*[height<=480]+ba/b[height<=480]/bv*+ba/b',
    'merge_output_format': 'mkv',
    'paths': {'home': str(folder)},
    'outtmpl': {'default': f'{stem}.%(ext)s'},
    'download_ranges': yt_dlp.utils.download_range_func(None, [span]),
    'force_keyframes_at_cuts': True,
    'allowed_extractors': ['youtube'],
    'noplaylist': True,
    'cachedir': False,
    'socket_timeout': 30,
    'retries': 3,
    'quiet': True,
    'no_warnings': True,
    'noprogress': True,
    'logger': Silent(),
  }
  try:
    with yt_dlp.YoutubeDL(options) as downloader:
      downloader.download([f'https://www.youtube.com/watch?v={name}'])
  except yt_dlp.utils.YoutubeDLError as error:
    plain = re.sub(r'\x1b\[[\d;]*m', '', str(error))  # without its colours
    raise UserError(plain.removeprefix('ERROR:').strip()) from error
  found = [path for path in pathlib.Path(folder).iterdir() if path.stem == stem and path.stat().st_size]
  if len(found) != 1:
    raise UserError(f'yt-dlp left {len(found)} files instead of one')
  return found[0]


class Silent:
  """yt-dlp's messages; what matters comes as an exception."""

  def debug(self, message):
    pass

  info = warning = error = debug
