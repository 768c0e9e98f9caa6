"""The download of AudioSet's clips, with a fake yt-dlp."""

import os
import pathlib
import subprocess
import sys

import pytest
import yt_dlp

from audionet_tf.core.errors import UserError
from audionet_tf.data import audioset, youtube

CSV = """# Segments csv created Sun Mar  5 10:54:25 2017
# num_ytids=3, num_segs=3, num_unique_labels=4
# YTID, start_seconds, end_seconds, positive_labels
-OAyRsvFGgc, 30.000, 40.000, "/m/09x0r,/t/dd00088"
_A30xsFBMXA, 40.500, 50.500, "/m/0140xf"
eHIlPlNWISg, 0.000, 9.250, "/m/0140xf,/m/02rr_"
"""


@pytest.fixture
def segments(tmp_path):
  path = tmp_path / 'eval_segments.csv'
  path.write_text(CSV)
  return path


class FakeDownloader:
  """Replaces yt_dlp.YoutubeDL: writes a file, or fails for the ids in `gone`; records (address, options) in `calls`."""

  calls = []
  gone = set()

  def __init__(self, options):
    self.options = options

  def __enter__(self):
    return self

  def __exit__(self, *_):
    pass

  def extract_info(self, address):
    self.calls.append((address, self.options))
    if address[-11:] in self.gone:
      raise yt_dlp.utils.DownloadError('\x1b[0;31mERROR:\x1b[0m [youtube] Video unavailable\nThis video is private')
    name = self.options['outtmpl']['default'] % {'ext': 'mkv'}
    pathlib.Path(self.options['paths']['home'], name).write_bytes(b'clip')
    return {'title': 'A title'}


@pytest.fixture
def downloader(monkeypatch):
  monkeypatch.setattr(yt_dlp, 'YoutubeDL', FakeDownloader)
  monkeypatch.setattr(FakeDownloader, 'calls', [])
  monkeypatch.setattr(FakeDownloader, 'gone', set())
  return FakeDownloader


def test_read_segments(segments):
  expected = {'-OAyRsvFGgc': (30, 40), '_A30xsFBMXA': (40.5, 50.5), 'eHIlPlNWISg': (0, 9.25)}
  assert audioset.read_segments(segments) == expected


@pytest.mark.parametrize(
  'line',
  ['-OAyRsvFGgc, 30', '-OAyRsvFGgc, x, 40, "a"', '../etc/passw, 3, 4, "a"', '-OAyRsvFGgc, 40, 30, "a"', 'a, 1, 2'],
)
def test_invalid_lines_are_named(segments, line):
  segments.write_text(f'# comment\n{line}\n')
  with pytest.raises(UserError, match='line 2 is not YTID'):
    audioset.read_segments(segments)


@pytest.mark.parametrize(
  'text',
  [
    '-OAyRsvFGgc',
    'https://www.youtube.com/watch?v=-OAyRsvFGgc',
    'https://www.youtube.com/watch?list=x&v=-OAyRsvFGgc&t=30s',
    'https://youtu.be/-OAyRsvFGgc?t=3',
    'http://m.youtube.com/shorts/-OAyRsvFGgc',
  ],
)
def test_video_id_from_an_address(text):
  assert youtube.video_id(text) == '-OAyRsvFGgc'


@pytest.mark.parametrize(
  'text',
  ['', '--exec=harm', '-OAyRsvFGg', '-OAyRsvFGgc1', 'a b c d e f', '../../../etc', 'https://evil.com/watch?v=-OAyRsvFGgc',
   'file:///youtube.com/-OAyRsvFGgc', 'https://youtube.com/playlist'],
)  # fmt: skip
def test_invalid_ids_are_refused(text):
  with pytest.raises(UserError, match='neither a YouTube id'):
    youtube.video_id(text)


def test_choose_names_every_missing_id(segments):
  clips = audioset.choose(['eHIlPlNWISg', '-OAyRsvFGgc'], audioset.read_segments(segments), segments)
  assert clips == {'eHIlPlNWISg': (0, 9.25), '-OAyRsvFGgc': (30, 40)}
  with pytest.raises(UserError, match='aaaaaaaaaaa, bbbbbbbbbbb: not in .*eval_segments.csv'):
    audioset.choose(['aaaaaaaaaaa', '-OAyRsvFGgc', 'bbbbbbbbbbb'], audioset.read_segments(segments), segments)


def test_clips_of_the_paper():
  assert len(audioset.PAPER_CLIPS) == 10
  assert all(youtube.video_id(name) == name for name in audioset.PAPER_CLIPS)
  assert [end - start for start, end in audioset.PAPER_CLIPS.values()] == [10] * 9 + [9]
  assert audioset.PAPER_CLIPS['eV5JX81GzqA'] == (150, 160)


def test_address_and_options_passed_to_yt_dlp(tmp_path, downloader):
  outcome = audioset.download_clips({'-OAyRsvFGgc': (30, 40), '_A30xsFBMXA': (40.5, 50.5)}, tmp_path / 'new')
  assert outcome == {'downloaded': ['-OAyRsvFGgc', '_A30xsFBMXA'], 'present': [], 'failed': []}
  assert sorted(path.name for path in (tmp_path / 'new').iterdir()) == ['-OAyRsvFGgc_30.mkv', '_A30xsFBMXA_40.5.mkv']
  (address, options), _ = downloader.calls
  assert address == 'https://www.youtube.com/watch?v=-OAyRsvFGgc'
  assert list(options['download_ranges']({}, None)) == [{'start_time': 30, 'end_time': 40}]
  folder = pathlib.Path(options['paths']['home'])
  assert folder.parent == tmp_path / 'new' and folder.name.startswith('.partial-')
  assert options['allowed_extractors'] == ['youtube'] and options['noplaylist']  # one video of one site


def test_yt_dlp_accepts_the_options(tmp_path, monkeypatch):
  real, made = yt_dlp.YoutubeDL, []

  class Unconnected(real):
    def extract_info(self, address):
      made.append(self)
      path = self.prepare_filename({'id': 'x', 'title': 'x', 'ext': 'mkv', 'extractor': 'youtube'})
      pathlib.Path(path).write_bytes(b'clip')
      return {}

  monkeypatch.setattr(yt_dlp, 'YoutubeDL', Unconnected)
  assert audioset.download_clips({'-OAyRsvFGgc': (30, 40)}, tmp_path)['downloaded']
  assert (tmp_path / '-OAyRsvFGgc_30.mkv').is_file()
  list(made[0].build_format_selector(made[0].params['format'])({'formats': [], 'incomplete_formats': False}))
  assert set(made[0]._ies) == {'Youtube'}


def test_existing_files_are_not_downloaded_again(tmp_path, downloader):
  (tmp_path / '-OAyRsvFGgc_30.mp4').write_bytes(b'present')
  (tmp_path / '_A30xsFBMXA_40.5.mkv').write_bytes(b'another start')
  (tmp_path / 'eHIlPlNWISg_0.mkv.gz').write_bytes(b'as the original program left it')
  clips = {'-OAyRsvFGgc': (30, 40), '_A30xsFBMXA': (40, 50), 'eHIlPlNWISg': (0, 9.25)}
  outcome = audioset.download_clips(clips, tmp_path)
  assert outcome == {'downloaded': ['_A30xsFBMXA'], 'present': ['-OAyRsvFGgc', 'eHIlPlNWISg'], 'failed': []}
  assert (tmp_path / '-OAyRsvFGgc_30.mp4').read_bytes() == b'present'


def test_failures_are_reported_and_do_not_stop_the_others(tmp_path, downloader, capsys):
  downloader.gone.add('_A30xsFBMXA')
  outcome = audioset.download_clips({'_A30xsFBMXA': (40, 50), 'eHIlPlNWISg': (0, 9.25)}, tmp_path)
  assert outcome == {'downloaded': ['eHIlPlNWISg'], 'present': [], 'failed': ['_A30xsFBMXA']}
  assert '_A30xsFBMXA: [youtube] Video unavailable This video is private' in capsys.readouterr().err
  assert [path.name for path in tmp_path.iterdir()] == ['eHIlPlNWISg_0.mkv']


def test_an_interrupt_leaves_no_partial_files(tmp_path, monkeypatch):
  def interrupt(name, span, folder, stem):
    pathlib.Path(folder, stem + '.mkv.part').write_bytes(b'half')
    raise KeyboardInterrupt

  monkeypatch.setattr(youtube, 'fetch', interrupt)
  with pytest.raises(KeyboardInterrupt):
    audioset.download_clips({'-OAyRsvFGgc': (30, 40)}, tmp_path)
  assert not list(tmp_path.iterdir())


def test_a_download_without_a_file_is_a_failure(tmp_path, downloader, monkeypatch):
  monkeypatch.setattr(downloader, 'extract_info', lambda self, address: {})
  assert audioset.download_clips({'-OAyRsvFGgc': (30, 40)}, tmp_path)['failed'] == ['-OAyRsvFGgc']


def test_missing_yt_dlp_names_the_extra(monkeypatch):
  monkeypatch.setitem(sys.modules, 'yt_dlp', None)
  with pytest.raises(UserError, match=r"yt-dlp: .* scripts/setup download, or pip install '\.\[download\]'"):
    youtube.import_yt_dlp()


FAKE_MODULE = """
import pathlib, types

class YoutubeDLError(Exception):
  pass

utils = types.SimpleNamespace(YoutubeDLError=YoutubeDLError, download_range_func=lambda _, ranges: ranges)

class YoutubeDL:
  def __init__(self, options):
    self.options = options
  def __enter__(self):
    return self
  def __exit__(self, *_):
    pass
  def extract_info(self, address):
    if 'rctt0dhCHxs' in address:
      raise YoutubeDLError('ERROR: gone')
    name = self.options['outtmpl']['default'] % {'ext': 'mkv'}
    pathlib.Path(self.options['paths']['home'], name).write_text(f'{address} {self.options["download_ranges"]}')
    return {}
"""


def download(tmp_path, *arguments):
  """Runs audionet_tf.download with a fake yt_dlp that writes its address and ranges to the file."""
  (tmp_path / 'fake').mkdir(exist_ok=True)
  (tmp_path / 'fake' / 'yt_dlp.py').write_text(FAKE_MODULE)
  command = [sys.executable, '-m', 'audionet_tf.download', *map(str, arguments)]
  environment = os.environ | {'PYTHONPATH': str(tmp_path / 'fake')}
  return subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)


def test_command_accepts_ids_that_begin_with_a_dash(tmp_path, segments):
  ids = '-OAyRsvFGgc,https://www.youtube.com/watch?v=_A30xsFBMXA'
  done = download(tmp_path, f'--segments={segments}', f'--ids={ids}', f'--output={tmp_path}/clips')
  assert done.returncode == 0, done.stderr
  assert '2 downloaded, 0 present, 0 failed' in done.stdout
  text = (tmp_path / 'clips' / '-OAyRsvFGgc_30.mkv').read_text()
  assert text == 'https://www.youtube.com/watch?v=-OAyRsvFGgc [(30.0, 40.0)]'
  assert (tmp_path / 'clips' / '_A30xsFBMXA_40.5.mkv').is_file()


def test_command_defaults_to_the_papers_clips_and_counts_failures(tmp_path):
  done = download(tmp_path, f'--output={tmp_path}/clips')
  assert done.returncode == 1
  assert '9 downloaded, 0 present, 1 failed' in done.stdout
  assert 'rctt0dhCHxs: gone' in done.stderr
  assert len(list((tmp_path / 'clips').iterdir())) == 9
  again = download(tmp_path, f'--output={tmp_path}/clips')
  assert '0 downloaded, 9 present, 1 failed' in again.stdout


@pytest.mark.parametrize(
  'arguments, expected',
  [
    ([], '--output'),
    (['--output=x', 'more'], 'unexpected argument'),
    (['--output=x', '--ids=aaaaaaaaaaa'], 'aaaaaaaaaaa: not in'),
    (['--output=x', '--ids=--exec=harm'], 'neither a YouTube id'),
    (['--output=x', '--segments=nowhere.csv'], 'nowhere.csv'),
  ],
)
def test_command_mistakes_are_one_line(tmp_path, arguments, expected):
  done = download(tmp_path, *arguments)
  assert done.returncode == 1 and expected in done.stderr
  assert len(done.stderr.strip().splitlines()) == 1
