"""The probe command: its table, results and figures, and the mistakes that it refuses."""

import csv
import json
import re
import shutil

import commands
import media_clips
import numpy as np
import pytest
import scipy.signal
import soundnets

from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import clip_tables
from audionet_tf.models import registry, student_file
from audionet_tf.representations import baselines, linear_probe

RATE = 22_050


@pytest.fixture(scope='module')
def pitches(tmp_path_factory):
  """(CSV, folder of sounds): three classes that differ by pitch, three folds, two clips of each, several formats."""
  folder = tmp_path_factory.mktemp('pitches')
  rng, rows = np.random.default_rng(0), []
  for fold in (1, 2, 3):
    for target, hertz in enumerate((200, 900, 4000)):
      for take, (suffix, rate) in enumerate((('wav', RATE), ('flac', 48_000))):
        name = f'{fold}-{target}-{take}.{suffix}'
        time = np.arange(round(1.2 * rate)) / rate
        saw = scipy.signal.sawtooth(2 * np.pi * hertz * rng.uniform(0.95, 1.05) * time)
        sound = (0.2 * saw + rng.normal(scale=0.02, size=time.size)).astype(np.float32)
        codec = {'wav': 'pcm_s16le', 'flac': 'flac'}[suffix]
        media_clips.write(folder / name, times=[], sounds=[sound], rate_hz=rate, audio_codec=codec)
        rows.append([name, fold, target, ('low', 'middle', 'high')[target]])
  with open(folder / 'clips.csv', 'w', newline='') as file:
    csv.writer(file).writerows([['filename', 'fold', 'target', 'category'], *rows])
  return folder / 'clips.csv', folder


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  path = tmp_path_factory.mktemp('model') / 'student.keras'
  student_file.save(path, soundnets.student('soundnet5'), soundnets.settings('soundnet5', 3.0))
  return path


def probe(*arguments):
  return commands.run('audionet_tf.probe', *arguments)


def test_command(pitches, model, tmp_path):
  (table, _), output = pitches, tmp_path / 'out'
  flags = [f'--clips={table}', f'--model={model}', f'--output={output}', '--layer=pool3,embedding,mfcc', '--c=0.01']
  done = probe(*flags, '--clip_seconds=3')
  assert done.returncode == 0, done.stderr
  measured = json.loads((output / 'probe.json').read_text())
  assert list(measured['layers']) == ['pool3', 'embedding', 'mfcc']
  lines = done.stdout.splitlines()
  assert lines[0].split() == ['layer', 'fold', '1', 'fold', '2', 'fold', '3', 'mean', 'deviation', 'C']
  for line, (layer, result) in zip(lines[1:], measured['layers'].items(), strict=True):
    assert result['class_names'] == ['high', 'low', 'middle'] and np.sum(result['confusion']) == 18
    assert result['mean'] == pytest.approx(np.trace(result['confusion']) / 18)
    assert line.split()[0] == layer and f'{100 * result["mean"]:.1f}' in line
    assert (output / f'confusion-{layer}.png').read_bytes()[:4] == b'\x89PNG'
    assert {row['fold'] for row in result['results']} == {'1', '2', '3'}
  layers = measured['layers']
  assert layers['mfcc']['mean'] > 0.9 and layers['pool3']['mean'] > 0.6 and layers['mfcc']['standardized']
  steps = len(registry.step_seconds('soundnet5', 3 * RATE, RATE, 'pool3')[0])
  size = linear_probe.window_steps(1, 3, steps)
  assert layers['pool3']['windows'] == 18 * (steps - size + 1) and layers['pool3']['numbers'] == size * 128
  assert layers['embedding']['windows'] == 18 and layers['embedding']['numbers'] == 256
  assert len(list(output.glob('features/*/*.npz'))) == 18


def test_command_names_unreadable_files(pitches, tmp_path):
  table, folder = pitches
  rows = table.read_text().splitlines()
  (tmp_path / 'clips.csv').write_text('\n'.join([*rows, 'missing.wav,1,0,low']))
  flags = [f'--clips={tmp_path / "clips.csv"}', f'--audio={folder}', f'--output={tmp_path}', '--layer=logmel']
  done = probe(*flags, '--folds=1,2', '--judge=1', '--c=0.1', '--pool=mean', '--classifier=softmax')
  assert done.returncode == 1
  assert 'missing.wav: no such file' in done.stderr and 'Traceback' not in done.stderr
  found = json.loads((tmp_path / 'probe.json').read_text())['layers']['logmel']
  assert list(found['folds']) == ['1'] and found['deviation'] is None and found['windows'] == 12


def test_command_takes_a_clip_of_one_sample(pitches, model, tmp_path):
  table, folder = pitches
  media_clips.write(folder / 'one.wav', times=[], sounds=[np.full(1, 0.3, np.float32)], rate_hz=RATE)
  (tmp_path / 'clips.csv').write_text(f'{table.read_text()}one.wav,1,0,low\n')
  flags = [f'--clips={tmp_path / "clips.csv"}', f'--audio={folder}', f'--model={model}', f'--output={tmp_path}']
  flags += ['--layer=pool3,mfcc', '--folds=1,2', '--judge=1', '--c=0.1']
  done = probe(*flags)
  assert done.returncode == 0, done.stderr
  measured = json.loads((tmp_path / 'probe.json').read_text())
  assert measured['unreadable'] == []
  for result in measured['layers'].values():
    assert [row['category'] for row in result['results'] if row['path'].endswith('one.wav')] == ['low']
  done = probe(*flags, '--clip_seconds=0')  # as it is
  assert done.returncode == 1 and 'one.wav: 1 steps, a window has' in done.stderr and 'Traceback' not in done.stderr


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--clips=c.csv'], 'needs --output'),
    (['--clips=none.csv', '--output=o', '--layer=mfcc'], 'none.csv: no such file'),
    (['--clips=c.csv', '--output=o'], f'layer pool5 needs --model; only {" and ".join(baselines.BASELINES)}'),
    (['--clips=c.csv', '--output=o', '--model=m'], 'm: no SavedModel here'),
    (['--clips=c.csv', '--output=o', '--layer=mfcc', '--folds=7'], 'no clips of fold 7; there are 1, 2'),
    (['--clips=c.csv', '--output=o', '--layer=mfcc', '--folds=1', '--judge=2'], 'must be among'),
    (['--clips=c.csv', '--output=o', '--pool=max'], 'value should be one of <windows|mean|statistics>'),
    (['--clips=c.csv', '--output=o', '--c=0'], '--c=0: 0.0 is not number >= 1e-12'),
    (['--clips=c.csv', '--output=o', '--layer=mfcc,mfcc'], 'names one twice'),
  ],
)
def test_command_refuses(tmp_path, arguments, message):
  (tmp_path / 'c.csv').write_text('filename,fold,target\na.wav,1,0\nb.wav,2,1\n')
  done = commands.run('audionet_tf.probe', *arguments, cwd=tmp_path)
  assert done.returncode == 1 and len(list(tmp_path.iterdir())) == 1
  assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1 and message in done.stderr


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ('', 'no rows'),
    ('filename,fold\na.wav,1\n', 'no column category or target; it has filename, fold'),
    ('filename,fold,target\na.wav,1,0\nb.wav,,1\n', 'line 3 has no fold'),
    ('fold,target\n1,0\n', 'no column filename or path'),
  ],
)
def test_unsuitable_tables_are_refused(tmp_path, content, message):
  (tmp_path / 'c.csv').write_text(content)
  with pytest.raises(UserError, match=message):
    clip_tables.read(tmp_path / 'c.csv', labelled=True)


def test_tables_with_byte_order_mark_and_umlauts(tmp_path):
  (tmp_path / 'c.csv').write_bytes('\ufefffilename,fold,target,category\nä.wav,1,7,dog\n'.encode())
  assert clip_tables.read(tmp_path / 'c.csv', 'sounds', True) == [
    clip_tables.Clip(clip_tables.pathlib.Path('sounds/ä.wav'), 'dog', '1', 'ä.wav')
  ]


def test_clips_of_equal_names_in_folders_are_kept_apart(pitches, model, tmp_path):
  table, folder = pitches
  for row in csv.DictReader(table.open()):
    fold, name = row['filename'].split('-', 1)
    (tmp_path / fold).mkdir(exist_ok=True)
    shutil.copy(folder / row['filename'], tmp_path / fold / name)
  (tmp_path / 'c.csv').write_text(re.sub('^([0-9])-', r'\1/', table.read_text(), flags=re.MULTILINE))
  found = {}
  for key, csv_file in (('plain', table), ('folders', tmp_path / 'c.csv')):
    output = tmp_path / key
    flags = [f'--clips={csv_file}', f'--model={model}', f'--output={output}', '--layer=pool3,mfcc', '--c=0.01']
    done = probe(*flags)
    assert done.returncode == 0, done.stderr
    found[key] = json.loads((output / 'probe.json').read_text())['layers']
  assert len(list((tmp_path / 'folders').glob('features/*/[123]/*.npz'))) == 18
  for layer in ('pool3', 'mfcc'):
    assert found['folders'][layer]['folds'] == found['plain'][layer]['folds']
    predictions = [[row['named'] for row in found[key][layer]['results']] for key in found]
    assert predictions[0] == predictions[1]
