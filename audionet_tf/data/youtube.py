"""Clips from YouTube by yt-dlp: the only user of yt-dlp."""

import pathlib
import re
import urllib.parse

from audionet_tf.core.errors import UserError, missing_extra

VIDEO_ID = re.compile(r'[A-Za-z0-9_-]{11}')
HOSTS = ('youtube.com', 'www.youtube.com', 'm.youtube.com', 'music.youtube.com', 'youtu.be')


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


def import_yt_dlp():
  """The yt_dlp module; UserError where it is not installed."""
  try:
    import yt_dlp
  except ImportError:
    raise missing_extra('downloading', 'yt-dlp', 'download') from None
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
