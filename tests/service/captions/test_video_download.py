"""Videos that the service downloads: addresses, hosts, and that a download leaves nothing behind."""

import asyncio
import contextlib
import pathlib

import pytest
import running_service
import yt_dlp

from audionet_tf.core.errors import UserError
from audionet_tf.data import youtube
from audionet_tf.service.captions import video_download


@pytest.mark.parametrize(
  ('text', 'address', 'extractor'),
  [
    ('https://www.youtube.com/watch?v=-OAyRsvFGgc&t=3', 'https://www.youtube.com/watch?v=-OAyRsvFGgc', 'youtube'),
    ('https://youtu.be/-OAyRsvFGgc', 'https://www.youtube.com/watch?v=-OAyRsvFGgc', 'youtube'),
    ('https://vimeo.com/76979871?x=http://10.0.0.1/', 'https://vimeo.com/76979871', 'vimeo'),
  ],
)
def test_addresses_of_videos_are_composed_anew(text, address, extractor):
  assert video_download.address_of(text, ('youtube.com', 'vimeo.com')) == (address, extractor)


@pytest.mark.parametrize(
  'text',
  [
    'http://127.0.0.1/latest/meta-data',
    'file:///etc/passwd',
    'https://youtube.com.evil.example/watch?v=-OAyRsvFGgc',
    'https://youtube.com@evil.example/watch?v=-OAyRsvFGgc',
    'https://user@www.youtube.com/watch?v=-OAyRsvFGgc',
    'https://www.youtube.com:8080/watch?v=-OAyRsvFGgc',
    'https://www.youtube.com/watch?v=../../etc',
    'https://vimeo.com/a%0ab',
    'https://vimeo.com//evil.example:80/',
    'https://www.dailymotion.com/video/x1',
    'https://[::1',
    '-OAyRsvFGgc',
    '',
  ],
)
def test_other_addresses_are_refused(text):
  with pytest.raises(UserError):
    video_download.address_of(text, ('youtube.com', 'vimeo.com'))


def test_hosts_are_of_a_list(monkeypatch):
  monkeypatch.setattr(youtube, 'import_yt_dlp', lambda: None)
  assert video_download.checked_hosts(['youtube.com']) == ('youtube.com',)
  with pytest.raises(UserError, match='dailymotion'):
    video_download.checked_hosts(['example.org'])


def test_yt_dlp_gets_one_site_and_a_limit_and_says_why_it_fails(tmp_path, monkeypatch):
  calls = []

  class Downloader(contextlib.nullcontext):
    def __enter__(self):
      return self

    def extract_info(self, address):
      calls.append((address, self.enter_result))  # which holds the options
      if address.endswith('2'):
        raise yt_dlp.utils.DownloadError('\x1b[0;31mERROR:\x1b[0m gone')
      return {'title': 'A title'}

  monkeypatch.setattr(yt_dlp, 'YoutubeDL', Downloader)
  settings = {'address': 'https://vimeo.com/1', 'extractor': 'vimeo', 'folder': str(tmp_path), 'most_bytes': 1000}
  assert video_download.download(settings) == 'A title'
  ((address, options),) = calls
  assert address == 'https://vimeo.com/1' and options['paths']['home'] == str(tmp_path)
  assert (options['allowed_extractors'], options['max_filesize'], options['cachedir']) == (['vimeo'], 1000, False)
  with pytest.raises(UserError, match='^gone$'):
    video_download.download(settings | {'address': 'https://vimeo.com/2'})


def test_a_download_is_one_file_and_leaves_nothing(tmp_path, monkeypatch):
  """yt-dlp is replaced by a function that leaves some files."""
  monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
  left = ['video.webm']

  async def run_download(settings, seconds):
    assert settings['address'] == 'https://vimeo.com/1' and settings['extractor'] == 'vimeo'
    for name in left:
      pathlib.Path(settings['folder'], name).write_bytes(b'sound')
    return 'A title'

  monkeypatch.setattr(video_download, 'run_download', run_download)
  fetch = video_download.fetcher(('vimeo.com',), 1000, 10)
  source, name = asyncio.run(fetch('https://vimeo.com/1'))
  with source:
    assert (source.read(), name) == (b'sound', 'A title')
  left.append('other')
  with pytest.raises(UserError, match='2 files'):
    asyncio.run(fetch('https://vimeo.com/1'))
  assert not list(tmp_path.iterdir())


def test_a_download_that_times_out_is_killed_with_its_children(tmp_path, monkeypatch):
  program, started = tmp_path / 'python', tmp_path / 'started'
  program.write_text(f'#!/bin/sh\nsleep 60 &\necho $! > {started}\nwait\n')
  program.chmod(0o755)
  monkeypatch.setattr(video_download.sys, 'executable', str(program))
  with pytest.raises(UserError, match='not downloaded within'):
    asyncio.run(asyncio.wait_for(video_download.run_download({}, 2), 20))
  stat = pathlib.Path('/proc') / started.read_text().strip() / 'stat'
  running_service.wait(lambda: not stat.exists() or stat.read_text().rpartition(')')[2].split()[0] == 'Z')
