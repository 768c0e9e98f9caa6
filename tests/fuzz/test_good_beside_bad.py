"""What is good is built and predicted as if nothing bad lay beside it."""

import json
import pathlib

import built_records
import commands
import kinds_of_data
import media_clips
import mutating
import pytest
import tones

from audionet_tf.saved_model import export

pytestmark = pytest.mark.long
SUFFIXES = ('wav', 'mp3', 'flac', 'ogg', 'mp4', 'mkv', 'avi', 'ts')
BAD = 25  # of each


def spoil(folder, seed, count):
  """Writes so many mutated files of every suffix into a folder."""
  for suffix in SUFFIXES:
    good = kinds_of_data.KINDS[suffix].make(folder)
    content = good.read_bytes()
    good.unlink()
    for number in range(count):
      rng = mutating.seeded(seed, f'beside {suffix}', number)
      (folder / f'bad {number}.{suffix}').write_bytes(mutating.of_bytes(content, rng))


@pytest.fixture(scope='module')
def folders(tmp_path_factory, seed, share):
  """(folder with three good clips, folder with the same three among bad ones)."""
  alone, beside = tmp_path_factory.mktemp('alone'), tmp_path_factory.mktemp('beside')
  spoil(beside, seed, share(BAD))
  for folder in (alone, beside):
    media_clips.write(folder / 'a good.mkv', seconds=1)
    media_clips.write(folder / 'c good.mp4', seconds=1.2, audio_codec='aac', rate_hz=44100, **kinds_of_data.VIDEO)
    media_clips.write(folder / 'z good.mkv', seconds=0.8)
  return alone, beside


def test_builds(folders, tmp_path, seed, share):
  windows = []
  for number, folder in enumerate(folders):
    output = tmp_path / str(number)
    flags = ['--image_size=16', '--image_format=png', '--timeout_seconds=60', '--memory_mb=2048']
    done = commands.run('tfrecords.build', f'--videos={folder}', f'--output={output}', *flags)
    assert done.returncode == 0 and 'Traceback' not in done.stderr, f'seed {seed}: {done.stderr[-2000:]}'
    rows = built_records.read(output)
    good = [row for row in rows if b'good' in row['video/id'][0]]
    windows.append(
      sorted((row['video/id'], row['window/index'], row['audio/pcm'], row['image/encoded']) for row in good)
    )
  assert windows[0] == windows[1] and {row[0][0] for row in windows[0]} == {b'a good.mkv', b'c good.mp4', b'z good.mkv'}
  names = {row['video/id'][0].decode() for row in rows}
  failures = json.loads((tmp_path / '1/failures.json').read_text())
  assert not names & failures.keys()
  assert len(names | failures.keys()) == 3 + len(SUFFIXES) * share(BAD)
  assert all(reason and '\n' not in reason for reason in failures.values())


def test_predictions(folders, tmp_path, seed):
  student = tones.student()
  exported = export.export(student.module, student.settings, tmp_path / 'exports')
  results = []
  for number, folder in enumerate(folders):
    files = sorted(folder.iterdir(), key=lambda path: path.name)
    done = commands.run(
      'audionet_tf.infer', f'--model={exported}', f'--output={tmp_path}/{number}', '--format=json', *files
    )
    assert 'Traceback' not in done.stderr and done.returncode in (0, 1), f'seed {seed}: {done.stderr[-2000:]}'
    documents = [json.loads(path.read_text()) for path in sorted(pathlib.Path(tmp_path / str(number)).glob('*good*'))]
    results.append([{name: value for name, value in each.items() if name != 'video_file'} for each in documents])
  assert len(results[0]) == 3 and results[0] == results[1]
  lines = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
  made = {path.name.removesuffix('.json') for path in (tmp_path / '1').iterdir()}
  assert len(made) + len(lines) == len(files), done.stderr[-2000:]
