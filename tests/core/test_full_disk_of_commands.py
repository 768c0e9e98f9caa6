"""Downloads and evaluations on a full disk: one line that names the folder, and the same command goes on afterwards."""

import pathlib

import full_disk
import pytest

ARTIFACTS = pathlib.Path(__file__).resolve().parents[1] / 'artifacts'

# A yt-dlp that writes to the disk, and tells of a full one as yt-dlp does, or lets the error through.
FAKE_YT_DLP = """
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
    name = self.options['outtmpl']['default'] % {'ext': 'mkv'}
    try:
      with open(pathlib.Path(self.options['paths']['home'], name), 'wb') as file:
        for _ in range(20):
          file.write(bytes(10_000))
    except OSError as error:
      if 'raw' in address:
        raise
      raise YoutubeDLError(f'ERROR: unable to write data: {error}') from error
    return {'title': 'A title'}
"""

COMMANDS = """
import json, os, pathlib, subprocess, sys
import full_disk

disk, work, artifacts = map(pathlib.Path, sys.argv[1:])
out = {}

def command(name, module, *words, free=0, temporary=disk):
  # Not by TMPDIR: Python takes another folder where that is full at the start.
  program = f"import tempfile; tempfile.tempdir = '{temporary}'; from {module} import run; run()"
  def run():
    path = f'{work}{os.pathsep}{os.environ["PYTHONPATH"]}'
    variables = os.environ | {'PYTHONPATH': path}
    done = subprocess.run([sys.executable, '-c', program, *words], capture_output=True, text=True, env=variables)
    if done.returncode:
      raise RuntimeError(done.stderr)
  if name not in out:
    out[name] = []
  out[name].append(full_disk.tried(run, disk, free))
  try:
    run()
    out[name].append('')
  except RuntimeError as error:
    out[name].append(str(error))

for free in (0, 60_000, 300_000):
  command('download', 'audionet_tf.download', '--ids=-OAyRsvFGgc,_A30xsFBMXA', f'--output={disk}/clips', free=free)
  for path in (disk / 'clips').iterdir():
    path.unlink()

evaluate = ['audionet_tf.evaluate', f'--model={artifacts}/trained', f'--labels={work}/labels.csv']
command('labels', *evaluate)
command('output', *evaluate, f'--output={disk}/out/measured.json', temporary=work)
command('figure', *evaluate, f'--figure={disk}/out/curves.png', temporary=work)
print(json.dumps(out))
"""


def ran(program, tmp_path, *arguments):
  (tmp_path / 'yt_dlp.py').write_text(FAKE_YT_DLP)
  return full_disk.run(program, tmp_path / 'disk', tmp_path, *arguments)


@pytest.mark.long
def test_commands_on_a_full_disk(tmp_path):
  wav = ARTIFACTS / 'sound.wav'
  names = ['red', 'green']
  for number in range(3):
    (tmp_path / f'{number}.wav').write_bytes(wav.read_bytes())
  rows = [f'{number}.wav,"{names[number % 2]}"' for number in range(3)]
  (tmp_path / 'labels.csv').write_text('\n'.join(['path,labels', *rows]))
  told = ran(COMMANDS, tmp_path, ARTIFACTS)
  assert sorted(told) == ['download', 'figure', 'labels', 'output']
  for name, rounds in told.items():
    for (kind, text, left), again in zip(rounds[::2], rounds[1::2], strict=True):
      lines = [line for line in text.splitlines() if line.startswith('error:')]
      assert kind == 'RuntimeError' and len(lines) == 1 and 'Traceback' not in text, (name, text)
      assert lines[0].startswith(f'error: {tmp_path}/disk'), (name, text)
      assert lines[0].endswith('no space left on its disk, or in your quota; make space, then repeat the command')
      assert not [file for file in left if 'partial' in file], (name, left)
      assert again == '', (name, again)


SERVICE = """
import asyncio, json, os, pathlib, sys, tempfile
import full_disk

disk, work = map(pathlib.Path, sys.argv[1:])
sys.path.insert(0, str(work))
os.environ['PYTHONPATH'] = f'{work}{os.pathsep}{os.environ["PYTHONPATH"]}'
tempfile.tempdir = str(disk)
from audionet_tf.core.errors import UserError
from audionet_tf.service.captions import captions_api, video_download

class Service:
  fetch = staticmethod(video_download.fetcher(('vimeo.com',), 1 << 20, 60))

def fetch(name):
  source, title = asyncio.run(captions_api.download(Service, f'https://vimeo.com/{name}'))
  with source:
    return [len(source.read()), title]

out = []
for name in ('1', 'raw'):
  for free in (0, 60_000):
    full_disk.leave(disk, free)
    try:
      fetch(name)
    except Exception as error:
      out.append([type(error).__name__, getattr(error, 'status', None), getattr(error, 'reason', str(error))])
    (disk / 'filler').unlink()
    out.append([fetch(name), sorted(path.name for path in disk.iterdir())])
print(json.dumps(out))
"""


def test_a_video_that_fills_the_disk_of_the_service(tmp_path):
  told = ran(SERVICE, tmp_path)
  for refused, (fetched, left) in zip(told[::2], told[1::2], strict=True):
    assert refused == ['RequestRefused', 507, 'no space left for uploads on the server; try again later']
    assert fetched == [200_000, 'A title'] and left == []
