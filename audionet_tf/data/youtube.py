"""Downloads with yt-dlp: the only module that uses it."""

import pathlib
import re
import urllib.parse

from audionet_tf.core.errors import UserError, missing_extra

VIDEO_ID = re.compile(r'[A-Za-z0-9_-]{11}')
HOSTS = ('youtube.com', 'www.youtube.com', 'm.youtube.com', 'music.youtube.com', 'youtu.be')


def video_id(text):
  """The YouTube id in `text`, which is an id or the address of a video. UserError for anything else."""
  text = text.strip()
  if VIDEO_ID.fullmatch(text):
    return text
  address = urllib.parse.urlsplit(text)
  if address.scheme in ('http', 'https') and address.hostname in HOSTS:
    queried = urllib.parse.parse_qs(address.query).get('v', [])
    ids = [part for part in (*queried, address.path.rpartition('/')[2]) if VIDEO_ID.fullmatch(part)]
    if ids:
      return ids[0]
  raise UserError(f'{text[:100]!r} is neither a YouTube id (eleven letters, digits, - or _) nor the address of a video')


def import_yt_dlp():
  """Imports yt_dlp. UserError if it is not installed."""
  try:
    import yt_dlp
  except ImportError:
    raise missing_extra('downloading', 'yt-dlp', 'download') from None
  return yt_dlp


def fetch(name, span, folder, stem):
  """Downloads one clip of a YouTube video, at 480 lines or fewer: teachers use 224.

  Cutting between key frames needs the ffmpeg program.

  Args:
    name: YouTube id.
    span: (start, end) in seconds.
    folder: where the file goes.
    stem: of the file's name.

  Returns:
    pathlib.Path of the file.

  Raises:
    UserError: yt-dlp is missing or fails.
  """
  download_video(
    f'https://www.youtube.com/watch?v={name}',
    'youtube',
    folder,
    stem,
    format='bv*[height<=480]+ba/b[height<=480]/bv*+ba/b',
    merge_output_format='mkv',
    download_ranges=import_yt_dlp().utils.download_range_func(None, [span]),
    force_keyframes_at_cuts=True,
  )
  return only_file([path for path in pathlib.Path(folder).iterdir() if path.stem == stem and path.stat().st_size])


def download_video(address, extractor, folder, stem, **options):
  """Downloads a video as `folder/<stem>.<suffix>`.

  Args:
    address: of the video's page.
    extractor: yt-dlp's name for the site. No other extractor is tried, in particular not the generic one, which sends
      requests to any server.
    folder: where the file goes.
    stem: of the file's name.
    **options: further options of yt_dlp.YoutubeDL.

  Returns:
    The title of the video, str.

  Raises:
    UserError: yt-dlp is missing or fails.
  """
  yt_dlp = import_yt_dlp()
  options = {
    'paths': {'home': str(folder)},
    'outtmpl': {'default': f'{stem}.%(ext)s'},
    'allowed_extractors': [extractor],
    'noplaylist': True,
    'playlist_items': '1',
    'cachedir': False,
    'socket_timeout': 20,
    'retries': 3,
    'quiet': True,
    'no_warnings': True,
    'noprogress': True,
    'logger': Silent(),
    **options,
  }
  try:
    with yt_dlp.YoutubeDL(options) as downloader:
      video = downloader.extract_info(address)
  except yt_dlp.utils.YoutubeDLError as error:
    message = re.sub(r'\x1b\[[\d;]*m', '', str(error))  # without terminal colors
    raise UserError(message.removeprefix('ERROR:').strip()) from error
  return str(video.get('title') or 'video')


def only_file(paths):
  """The only path in a list. UserError if a download left no file or several."""
  if len(paths) != 1:
    raise UserError(f'yt-dlp left {len(paths)} files instead of one; try again')
  return paths[0]


class Silent:
  """A logger for yt-dlp that drops all messages: errors come as exceptions."""

  def debug(self, message):
    pass

  info = warning = error = debug
