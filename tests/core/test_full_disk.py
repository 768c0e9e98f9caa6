"""Full disks: one line that names the folder, nothing half-written, and the same call succeeds once there is space."""

import errno
import gzip
import os
import pathlib
import subprocess
import sys

import built_records
import full_disk
import media_clips
import numpy as np
import pytest
import synthetic_records
import tensorflow as tf

from audionet_tf.core import array_files, cli, files
from audionet_tf.core.errors import DiskFullError, MediaError, UserError
from audionet_tf.media.containers import integrity

ARTIFACTS = pathlib.Path(__file__).resolve().parents[1] / 'artifacts'
NO_SPACE = os.strerror(errno.ENOSPC)


@pytest.mark.parametrize(
  'error',
  [
    OSError(errno.ENOSPC, NO_SPACE),
    OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
    tf.errors.ResourceExhaustedError(None, None, f'/runs/a/ckpt-1_temp/part-00000; {NO_SPACE}'),
    tf.errors.InternalError(None, None, f'Could not append to the internal temporary file: {NO_SPACE}'),
    RuntimeError(f"Can't decrement id ref count (file write failed: errno = 28, error message = '{NO_SPACE}')"),
    UserError(f'yt-dlp: unable to write data: [Errno 28] {NO_SPACE}'),
  ],
)
def test_whatever_tells_of_a_full_disk_names_the_folder(tmp_path, error):
  with pytest.raises(DiskFullError) as caught, files.space_in(tmp_path):
    raise error
  assert str(caught.value).startswith(f'{tmp_path}: no space left')
  with pytest.raises(DiskFullError) as caught, files.space_in(tmp_path):
    try:
      raise error
    except type(error) as cause:
      raise RuntimeError('while saving') from cause
  with pytest.raises(DiskFullError, match='^/other: '), files.space_in(tmp_path), files.space_in('/other'):
    raise error


@pytest.mark.parametrize(
  'error',
  [OSError(errno.EIO, 'Input/output error'), ValueError('x'), tf.errors.ResourceExhaustedError(None, None, 'OOM')],
)
def test_other_errors_stay(tmp_path, error):
  with pytest.raises(type(error)) as caught, files.space_in(tmp_path):
    raise error
  assert caught.value is error


def test_commands_say_it_in_one_line(capsys):
  def main(argv):
    with files.space_in('/runs/a'):
      raise OSError(errno.ENOSPC, NO_SPACE)

  with pytest.raises(SystemExit) as caught:
    cli.run(main, argv=['x'])
  assert caught.value.code == 1
  assert capsys.readouterr().err == (
    'error: /runs/a: no space left on its disk, or in your quota; make space, then repeat the command\n'
  )


def test_a_full_disk_behind_stdout_is_told(tmp_path):
  code = 'from audionet_tf.core import cli\ndef main(argv): print("x")\ncli.run(main)'
  with open('/dev/full', 'w') as full:
    done = subprocess.run([sys.executable, '-c', code], stdout=full, stderr=subprocess.PIPE, text=True)
  assert done.returncode == 1 and done.stderr.startswith('error: output: no space left'), done.stderr
  assert 'Traceback' not in done.stderr


LIBRARY = """
import json, pathlib, shutil, sys
import full_disk, synthetic_records
from audionet_tf.inference import predict, writers
from audionet_tf.models import student_file
from audionet_tf.representations import extraction
from audionet_tf.saved_model import export, layer_outputs, loader
from audionet_tf.training import config, trainer
from audionet_tf.captioning import burn_in, event_detection
from audionet_tf.teachers import frozen_teacher, labelling
from audionet_tf.data import records

disk, work, artifacts = map(pathlib.Path, sys.argv[1:])
out = {}

def attempt(name, function, *frees):
  out[name] = [full_disk.tried(function, disk, free) for free in frees]
  try:
    function()
    out[name].append(None)
  except Exception as error:
    out[name].append(f'{type(error).__name__}: {error}')

model, settings = student_file.load(artifacts / 'trained/student.keras')
attempt('export', lambda: export.export(model, settings, disk / 'exports'), 0, 20_000, 60_000)
attempt('save', lambda: student_file.save(disk / 's.keras', model, settings), 0, 20_000)

cues = [event_detection.Cue(0.2, 0.8, ('rain',))]
for how in ('soft', 'hard'):
  attempt(how, lambda: burn_in.burn(work / 'a.mkv', disk, cues, how), 0, 20_000)

served = loader.load(artifacts / 'exported')
predictor = predict.file_predictor(served, list(writers.FORMATS))
attempt('infer', lambda: predict.predict_file(predictor, work / 'a.mkv', disk, 'm'), 0, 4096)

layers = layer_outputs.load(artifacts / 'trained', ['embedding'])
for kind in ('npz', 'h5'):
  folder = disk / kind
  folder.mkdir()
  sounds = [work / 'a.mkv', work / 'b.mkv', work / 'c.mkv']
  attempt(f'features {kind}', lambda: extraction.extract(layers, sounds, folder, kind), 0, 8192)

(disk / 'records').mkdir()
for path in (work / 'records').iterdir():
  shutil.copy(path, disk / 'records')
teacher = config.TeacherConfig(str(work / 'teacher.keras'))
def train(run, resume=True):
  configuration = config.TrainingConfig(teachers=(teacher,), epochs=2, batch_size=16)
  return trainer.train(disk / 'records', run, configuration, resume, 1)
attempt('labels', lambda: train(work / 'run'), 0, 8192)
attempt('train', lambda: train(disk / 'run'), 0, 30_000, 60_000)  # less than an export takes
weights = [student_file.load(folder / 'run/student.keras')[0].get_weights() for folder in (disk, work)]
out['equal'] = all((a == b).all() for a, b in zip(*weights))
print(json.dumps(out))
"""


@pytest.mark.long
def test_every_writer_on_a_full_disk(tmp_path):
  for name in ('a.mkv', 'b.mkv', 'c.mkv'):
    media_clips.write(tmp_path / name, 2, video_codec='mpeg4', pix_fmt='yuv420p', size=(320, 240))
  synthetic_records.write_records(tmp_path / 'records', {'a.mp4': 30, 'b.mp4': 30})
  synthetic_records.colour_teacher(tmp_path / 'teacher.keras')
  tried = full_disk.run(LIBRARY, tmp_path / 'disk', tmp_path, ARTIFACTS)
  assert tried.pop('equal')
  for name, (*full, at_last) in tried.items():
    assert at_last is None, (name, at_last)
    for kind, text, left in full:
      assert kind == 'DiskFullError', (name, kind, text)
      assert text.startswith(str(tmp_path / 'disk')), (name, text)
      partial = [file for file in left if 'partial' in file and '.labels-' not in file]  # blocks of these are kept
      assert not partial, (name, left)


BUILD = """
import json, pathlib, sys
import built_records, full_disk

disk, work = map(pathlib.Path, sys.argv[1:])
out = disk / 'records'
build = lambda: built_records.build(work / 'videos', out, workers=2)
tried = [full_disk.tried(build, disk, free) for free in (0, 60_000)]
summary = build()
built_records.build(work / 'videos', work / 'fresh')
same = built_records.shard_bytes(out) == built_records.shard_bytes(work / 'fresh')
# A bomb: it must not fill the disk, and the others are built.
bombs = built_records.build(work / 'bombs', disk / 'bombs', workers=2)
print(json.dumps([tried, summary.videos, same, bombs.videos, bombs.failures, str(disk)]))
"""


def test_a_build_on_a_full_disk_goes_on_later(tmp_path):
  built_records.three(tmp_path / 'videos')
  (tmp_path / 'bombs').mkdir()
  media_clips.write(tmp_path / 'bombs/a.mkv')
  for name in ('b.wav.gz', 'c.mp4.gz'):
    with gzip.open(tmp_path / 'bombs' / name, 'wb') as file:
      for _ in range(64):
        file.write(bytes(1 << 20))
  tried, videos, same, good, failures, disk = full_disk.run(BUILD, tmp_path / 'disk', tmp_path)
  for kind, text, left in tried:
    assert kind == 'DiskFullError' and text.startswith(f'{disk}/records: no space left'), (kind, text)
    assert not [name for name in left if name.endswith(('.partial', 'manifest.json'))], left
  assert videos == 3 and same
  assert good == 1 and set(failures) == {'b.wav.gz', 'c.mp4.gz'}
  assert all('more than half of the space free' in reason for reason in failures.values())


def test_a_gzip_file_within_the_limits(tmp_path, monkeypatch):
  path = tmp_path / 'a.bin.gz'
  path.write_bytes(gzip.compress(bytes(3 << 20)))
  with integrity.decompressed(path, tmp_path) as unpacked:
    assert unpacked.stat().st_size == 3 << 20
  monkeypatch.setattr(integrity, 'MAX_UNPACKED_BYTES', 2 << 20)
  with pytest.raises(MediaError, match='the limit of a .gz'), integrity.decompressed(path, tmp_path):
    pass
  assert [item.name for item in tmp_path.iterdir()] == ['a.bin.gz']


def test_a_gzip_file_that_fills_the_disk_all_the_same(tmp_path, monkeypatch):
  path = tmp_path / 'a.bin.gz'
  path.write_bytes(gzip.compress(bytes(3 << 20)))
  monkeypatch.setattr(integrity.tempfile, 'NamedTemporaryFile', lambda **_: open('/dev/full', 'wb'))  # noqa: SIM115
  with pytest.raises(MediaError, match='a.bin.gz: unpacked it needs more'), integrity.decompressed(path, tmp_path):
    pass
  monkeypatch.undo()
  with pytest.raises(OSError, match='of the user'), integrity.decompressed(path, tmp_path):
    raise OSError(errno.ENOSPC, 'of the user')  # of what is written meanwhile, elsewhere


def test_hdf5_never_meets_a_full_disk(tmp_path, monkeypatch):
  free = [1 << 30, 1 << 30, 100]
  usage = type('Usage', (), {})
  monkeypatch.setattr(array_files.shutil, 'disk_usage', lambda folder: setattr(usage, 'free', free.pop(0)) or usage)
  with pytest.raises(DiskFullError), array_files.hdf5(tmp_path / 'a.h5') as add:
    for _ in range(3):
      add('x', np.zeros([10, 2], np.float32))
  assert not list(tmp_path.iterdir())
