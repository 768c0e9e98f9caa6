"""The student that is shipped: it is there, small, credited, and in the wheel."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
import soundnets

import audionet_tf
from audionet_tf.models import student_file, student_paths

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = ROOT / 'audionet_tf/starter'
LITE = 'student.tflite'  # the same for LiteRT
FILES = ['NOTICE', 'card.md', 'student.json', 'student.keras', LITE]
MOST_BYTES, MOST_LITE_BYTES = 3_000_000, 2_100_000
CATEGORIES = {
  *('dog_bark', 'rain', 'sea_waves', 'baby_cry', 'clock_tick', 'person_sneeze', 'helicopter', 'chainsaw', 'rooster'),
  *('fire_crackling', 'unknown'),
}
CREDIT = re.compile(r'([1-5])-\d+-[A-Z]: .+ \(\S+\) by (.+) \[CC.*\]')  # clip, source, author, licence


def test_it_is_where_commands_look_for_it_and_small():
  assert student_paths.STARTER_FOLDER == FOLDER
  assert sorted(path.name for path in FOLDER.iterdir()) == FILES
  assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.name != LITE) <= MOST_BYTES
  assert (FOLDER / LITE).stat().st_size <= MOST_LITE_BYTES


def test_it_names_the_categories_and_keeps_the_classes_of_its_teacher():
  model, settings = student_file.load(FOLDER / 'student.keras')
  (first, names), (teacher, classes) = settings.classes.items()
  assert first == 'category' and set(names) == CATEGORIES and names[-1] == 'unknown' and len(classes) >= 1000
  logits = model(soundnets.noise(1, 110_250), training=False)
  assert logits['logits/category'].shape == (1, 1, 11) and logits[f'logits/{teacher}'].shape == (1, 1, len(classes))
  assert '/' not in json.dumps([[description.get(key) for key in ('source', 'labels')]
                                for description in settings.teachers.values()])  # fmt: skip


def test_every_author_of_the_clips_is_credited():
  lines = (FOLDER / 'NOTICE').read_text('utf-8').splitlines()
  credits = [match for match in map(CREDIT.fullmatch, lines) if match]
  assert len({match[0].partition(':')[0] for match in credits}) == 320
  for fold in '1234':
    assert sum(match[1] == fold for match in credits) == 80
  card = ' '.join((FOLDER / 'card.md').read_text('utf-8').split())
  listed = card.rpartition('Their authors:')[2].strip().removesuffix('.').split(', ')
  assert set(listed) == {match[2] for match in credits}
  for text in (card, '\n'.join(lines)):
    assert 'Piczak' in text and 'CC BY 3.0' in text


def test_the_card_has_its_figures_and_limits():
  card = (FOLDER / 'card.md').read_text('utf-8')
  for row in ('as it is', 'telephone', 'changed', 'worst'):
    assert re.search(rf'^\| {row} \| \d+\.\d \|', card, re.MULTILINE)
  assert re.search(r'^\| all \| [01]\.\d\d \| [01]\.\d\d \| \d+\.\d \|$', card, re.MULTILINE)  # of `unknown`
  assert '## Limits' in card


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
  """Names of the files in a wheel that is built from the tree."""
  source, built = (tmp_path_factory.mktemp(name) for name in ('source', 'built'))
  for name in ('setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE', 'NOTICE'):
    shutil.copy(ROOT / name, source)
  for name in ('audionet_tf', 'tfrecords'):
    shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns('__pycache__'))
  code = f'from setuptools import build_meta; build_meta.build_wheel({str(built)!r})'
  environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
  done = subprocess.run([sys.executable, '-c', code], cwd=source, env=environment, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-2000:]
  (path,) = built.iterdir()
  with zipfile.ZipFile(path) as file:
    return file.namelist()


def test_a_wheel_holds_all_files_that_are_no_modules(wheel):
  package = pathlib.Path(audionet_tf.__file__).parent
  wanted = {
    path.relative_to(package.parent).as_posix()
    for path in package.rglob('*')
    if path.is_file() and path.suffix not in ('.py', '.pyc')
  }
  assert not wanted - set(wheel)
  assert {f'audionet_tf/starter/{name}' for name in FILES} <= set(wheel)
  assert [name for name in wheel if name.endswith('licenses/NOTICE')]
