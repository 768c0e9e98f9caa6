"""Videos of known sites, downloaded by yt-dlp (extra `download`) in a process of its own, for the caption service.

  python -m audionet_tf.service.captions.video_download SETTINGS

SETTINGS is a JSON object: `address`, of `address_of`; `extractor`; `folder`, where the sound goes; `most_bytes`. On
standard output comes one JSON line: {"name": title} or {"error": reason}.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import tempfile
import urllib.parse

from audionet_tf.core.errors import UserError
from audionet_tf.data import youtube
from audionet_tf.service.captions import subprocesses

# Site to yt-dlp's name for it.
EXTRACTORS = {'youtube.com': 'youtube', 'vimeo.com': 'vimeo', 'dailymotion.com': 'dailymotion'}
OTHER_NAMES = {'youtu.be': 'youtube.com', 'dai.ly': 'dailymotion.com'}
PATH = re.compile(r'/[\w/-]{1,200}', re.ASCII)
FORMAT = 'ba[abr<=160]/ba/wv*+ba/w'  # sound only, where there is such a format


def checked_hosts(names):
  """The hosts as a tuple. UserError: one is unknown, or yt-dlp is missing."""
  for name in names:
    if name not in EXTRACTORS:
      raise UserError(f'download_hosts has {name!r}, allowed are {", ".join(EXTRACTORS)}')
  youtube.import_yt_dlp()
  return tuple(names)


def address_of(text, hosts):
  """(address, extractor) of a video, the address composed anew from checked parts.

  Args:
    text: str, untrusted.
    hosts: allowed keys of EXTRACTORS.

  Raises:
    UserError: not the address of a video on one of the hosts.
  """
  try:
    parts = urllib.parse.urlsplit(text.strip()[:500])
    name = (parts.hostname or '').removeprefix('www.').removeprefix('m.').removeprefix('music.')
    host = OTHER_NAMES.get(name, name)
    plain = parts.scheme in ('http', 'https') and parts.port is None and parts.username is None
  except ValueError:
    plain, host = False, ''
  if not plain or host not in hosts:
    raise UserError(f'not the address of a video on {" or ".join(hosts) or "an allowed host"}')
  if host == 'youtube.com':
    return f'https://www.youtube.com/watch?v={youtube.video_id(text)}', EXTRACTORS[host]
  if not PATH.fullmatch(parts.path):
    raise UserError(f'not the address of a video on {host}')
  return f'https://{name}{parts.path}', EXTRACTORS[host]


def download(settings):
  """Downloads the sound of a video to `settings['folder']`; returns its title. UserError: yt-dlp fails."""
  return youtube.download_video(
    settings['address'],
    settings['extractor'],
    settings['folder'],
    'video',
    format=FORMAT,
    max_filesize=settings['most_bytes'],
  )


def fetcher(hosts, most_bytes, seconds):
  """A coroutine function: address -> (file object, title). It raises UserError.

  Args:
    hosts: keys of EXTRACTORS.
    most_bytes: largest file.
    seconds: time limit of a download.
  """

  async def fetch(text):
    address, extractor = address_of(text, hosts)
    with tempfile.TemporaryDirectory(prefix='audionet-') as folder:
      settings = {'address': address, 'extractor': extractor, 'folder': folder, 'most_bytes': most_bytes}
      title = await run_download(settings, seconds)
      files = [path for path in pathlib.Path(folder).iterdir() if path.is_file() and not path.is_symlink()]
      return open(youtube.only_file(files), 'rb'), title  # it outlives its name

  return fetch


async def run_download(settings, seconds):
  """Runs `download` in a process of its own; returns the title. UserError: it fails, or takes too long."""
  command = [sys.executable, '-m', 'audionet_tf.service.captions.video_download', json.dumps(settings)]
  async with subprocesses.started(command, stdin=subprocess.DEVNULL, start_new_session=True) as (process, output):
    try:
      async with asyncio.timeout(seconds):
        text = await output.read()
        await subprocesses.wait(process)
    except TimeoutError:
      raise UserError(f'the video was not downloaded within {seconds:g} s') from None
    finally:
      with contextlib.suppress(ProcessLookupError):  # with its children
        os.killpg(process.pid, signal.SIGKILL)
  try:
    result = json.loads(text)
  except ValueError:
    raise UserError(f'the download failed without a message (exit code {process.returncode})') from None
  if 'error' in result:
    raise UserError(result['error'])
  return result['name']


def main():
  settings = json.loads(sys.argv[1])
  resource.setrlimit(resource.RLIMIT_FSIZE, (settings['most_bytes'],) * 2)
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  try:
    print(json.dumps({'name': download(settings)}))
  except (UserError, OSError) as error:  # the service finds in the text that a disk is full
    print(json.dumps({'error': str(error)}))


if __name__ == '__main__':
  main()
