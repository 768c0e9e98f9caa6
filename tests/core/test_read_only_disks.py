"""What lies where nothing can be written is read; what would be written there is one line."""

import errno
import json
import os
import pathlib

import full_disk
import pytest

ARTIFACTS = pathlib.Path(__file__).resolve().parents[1] / 'artifacts'
DENIED = os.strerror(errno.EROFS)

PROGRAM = """
import json, os, pathlib, shutil, subprocess, sys

disk, work, artifacts = map(pathlib.Path, sys.argv[1:])
shutil.copytree(artifacts, disk, dirs_exist_ok=True)
(disk / 'cache').mkdir()
for name in ('sounds/a', 'sounds/b'):
  (disk / name).parent.mkdir(parents=True, exist_ok=True)
  shutil.copy(disk / 'sound.wav', disk / f'{name}.wav')
indexed = [f'--model={disk}/trained', f'--query={disk}/sound.wav', f'--index={disk}/whole.npz', disk / 'sounds']
subprocess.run([sys.executable, '-m', 'audionet_tf.search', *indexed], capture_output=True, check=True)
subprocess.run(['mount', '-o', 'remount,ro', disk], check=True)
os.chdir(disk)  # where the run finds its teacher
caches = ('HOME', 'KERAS_HOME', 'MPLCONFIGDIR', 'XDG_CACHE_HOME', 'HF_HOME', 'TFHUB_CACHE_DIR')
os.environ |= dict.fromkeys(caches, str(disk / 'cache'))
import commands

out = {}
for name, words in json.loads((work / 'commands.json').read_text()).items():
  done = commands.run(*(word.format(disk=disk, work=work) for word in words))
  out[name] = [done.returncode, done.stderr]
print(json.dumps(out))
"""

TRAIN = ['audionet_tf.train', '--records={disk}/recorded', '--epochs=1', '--batch_size=16', '--optimizer=adam']
TEACHER = ['--teacher=./teacher.keras', '--teacher_labels=labels.txt']
SOUND = '{disk}/sound.wav'
EVALUATE = ['audionet_tf.evaluate', '--model={disk}/trained', '--records={disk}/recorded']
EXPORT = ['audionet_tf.export', '--model={disk}/trained']
LABEL = ['audionet_tf.label', '--records={disk}/recorded', *TEACHER]
SEARCH = ['audionet_tf.search', '--model={disk}/trained', '--query={disk}/sound.wav', '{disk}/sounds']
VERIFY = ['tfrecords.verify', '{disk}/recorded']
# By name: the words, and what of the disk the error names; None where the command works.
COMMANDS = {
  'infer': (['audionet_tf.infer', '--model={disk}/exported', SOUND], None),
  'infer there': (['audionet_tf.infer', '--model={disk}/exported', '--output={disk}/out', SOUND], '/out'),
  'caption': (['audionet_tf.caption', '--model={disk}/trained', '--output={work}/captions', SOUND], None),
  'features': (
    ['audionet_tf.features', '--model={disk}/trained', '--layer=embedding', '--output={work}/features', SOUND],
    None,
  ),
  'evaluate': ([*EVALUATE, '--output={work}/e.json'], None),
  'evaluate there': ([*EVALUATE, '--output={disk}/e.json'], '/e.json'),
  'plot': (['audionet_tf.plot', 'kl', '--run_dir={disk}/trained', '--output={work}/kl.png'], None),
  'export': ([*EXPORT, '--output={work}/exported'], None),
  'export there': ([*EXPORT, '--output={disk}/exported'], '/exported/.lock'),
  'verify': (VERIFY, None),
  'repair': ([*VERIFY, '--repair'], '/recorded/.lock'),
  'build there': (['tfrecords.build', f'--videos={SOUND}', '--output={disk}/built', '--images_per_window=0'], '/built'),
  'train': ([*TRAIN, *TEACHER, '--run_dir={work}/run'], None),
  'train there': ([*TRAIN, *TEACHER, '--run_dir={disk}/run'], '/run'),
  'go on there': ([*TRAIN, *TEACHER, '--run_dir={disk}/trained', '--resume'], '/trained/.lock'),
  'other answers': ([*TRAIN, *TEACHER, '--teacher_input_range=0,1', '--run_dir={work}/other'], '/recorded/labels/'),
  'label': (LABEL, None),
  'label there': ([*LABEL, '--teacher_input_range=0,2'], '/recorded/labels/'),
  'search': ([*SEARCH, '--index={work}/sounds.npz', '--output={work}/found'], None),
  'search in an index there': ([*SEARCH, '--index={disk}/whole.npz'], None),
  'search there': (SEARCH, '/sounds/audionet-search.npz'),
  'found there': ([*SEARCH, '--index={work}/sounds.npz', '--output={disk}/found'], '/found'),
  'caption there': (['audionet_tf.caption', '--model={disk}/trained', '--output={disk}/captions', SOUND], '/captions'),
  'features there': (
    ['audionet_tf.features', '--model={disk}/trained', '--layer=embedding', '--output={disk}/layers', SOUND],
    '/layers',
  ),
  'plot there': (['audionet_tf.plot', 'kl', '--run_dir={disk}/trained', '--output={disk}/kl.png'], '/kl.png'),
  'codecs': ([*TRAIN, *TEACHER, '--augment=codec', '--run_dir={work}/codecs'], '/recorded/codecs'),
}


@pytest.mark.long
def test_commands_on_a_disk_that_is_read_only(tmp_path):
  (tmp_path / 'commands.json').write_text(json.dumps({name: words for name, (words, _) in COMMANDS.items()}))
  told = full_disk.run(PROGRAM, tmp_path / 'disk', tmp_path, ARTIFACTS, size='64m', timeout=900)
  for name, (_, place) in COMMANDS.items():
    code, text = told[name]
    errors = [line for line in text.splitlines() if 'error:' in line]
    assert 'Traceback' not in text, (name, text)
    if place is None:
      assert (code, errors) == (0, []), (name, text)
    else:
      assert code == 1 and len(errors) == 1, (name, text)
      assert errors[0].startswith(f'error: {tmp_path}/disk{place}'), (name, text)
      assert errors[0].endswith((DENIED, '--index=FILE')), (name, text)


# The only folder for temporary files is read-only: by name, the words, and what the error says or None.
WITHOUT_TEMPORARY = {
  'infer': (['audionet_tf.infer', '--model={disk}/exported', '--output={work}/out', SOUND], None),
  'serve': (['audionet_tf.serve', '--port=0', '--model={disk}/exported'], 'TMPDIR'),
}

TEMPORARY = """
import json, os, pathlib, shutil, subprocess, sys

disk, work, artifacts = map(pathlib.Path, sys.argv[1:])
shutil.copytree(artifacts, disk, dirs_exist_ok=True)
subprocess.run(['mount', '-o', 'remount,ro', disk], check=True)
out = {}
for name, (module, *words) in json.loads((work / 'commands.json').read_text()).items():
  program = f"import tempfile; tempfile.tempdir = '{disk}'; from {module} import run; run()"
  words = [word.format(disk=disk, work=work) for word in words]
  done = subprocess.run([sys.executable, '-c', program, *words], capture_output=True, text=True, timeout=250)
  out[name] = [done.returncode, done.stderr]
print(json.dumps(out))
"""


@pytest.mark.long
def test_without_a_folder_for_temporary_files(tmp_path):
  (tmp_path / 'commands.json').write_text(json.dumps({name: words for name, (words, _) in WITHOUT_TEMPORARY.items()}))
  told = full_disk.run(TEMPORARY, tmp_path / 'disk', tmp_path, ARTIFACTS, size='64m', timeout=600)
  for name, (_, said) in WITHOUT_TEMPORARY.items():
    code, text = told[name]
    assert 'Traceback' not in text, (name, text)
    errors = [line for line in text.splitlines() if 'error:' in line]
    assert (code, len(errors)) == ((1, 1) if said else (0, 0)) and (not said or said in errors[0]), (name, text)
