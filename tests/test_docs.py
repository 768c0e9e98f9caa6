"""Documents are right: Python examples, the quickstart and the notebook as they stand, the reference, the site."""

import ast
import os
import pathlib
import shutil
import subprocess
import sys

import commands
import documents
import pytest
import synthetic_records

import audionet_tf
from demo import clips

ROOT = pathlib.Path(__file__).parents[1]

QUICKSTART = 'docs/quickstart.md'
# The paper's run is long: a small teacher and few epochs stand in for it. Appended, so that they override flags.txt.
SMALL = {
  'tfrecords.build': ['--image_size=32'],
  'audionet_tf.train': ['--teacher=teacher.keras', '--epochs=50', '--learning_rate=1e-4'],
}
PYTHON_BLOCKS = [
  pytest.param(block, id=f'{document}-{number}')
  for document in documents.DOCUMENTS
  for number, (language, block) in enumerate(documents.blocks(document))
  if language == 'python'
]


@pytest.mark.parametrize('block', PYTHON_BLOCKS)
def test_python_block(block):
  names = {
    node.attr
    for node in ast.walk(ast.parse(block))
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == 'audionet_tf'
  }
  assert [name for name in sorted(names) if not hasattr(audionet_tf, name)] == []


def test_readme_fits_on_a_few_screens():
  assert len((ROOT / 'README.md').read_text().splitlines()) <= 150


def test_command_reference_is_what_the_programs_say():
  script = ROOT / 'scripts/lib/docs_tools/command_reference.py'
  printed = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout
  assert (ROOT / 'docs/commands.md').read_text() == printed, 'scripts/command_reference > docs/commands.md'


def test_every_page_is_in_the_navigation():
  navigation = (ROOT / 'mkdocs.yml').read_text().partition('nav:')[2]
  assert [path.name for path in documents.PAGES if f': {path.name}\n' not in navigation] == []


@pytest.mark.long
def test_site_builds_and_needs_no_other_host(tmp_path):
  command = [sys.executable, '-m', 'mkdocs', 'build', '--strict', f'--site-dir={tmp_path}']
  environment = os.environ | {'NO_MKDOCS_2_WARNING': '1'}
  child = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
  assert child.returncode == 0, child.stderr[-2000:]
  for page in tmp_path.rglob('*.html'):
    text = page.read_text()
    assert 'src="http' not in text and 'rel="stylesheet" href="http' not in text, page


@pytest.mark.long
def test_quickstart_runs_from_videos_to_export(tmp_path):
  """All its blocks in their order, on two clips, with a small teacher and few epochs."""
  (tmp_path / 'clips').mkdir()
  for thing in ('kettle', 'drum'):
    clips.write(tmp_path / f'clips/{thing}.mp4', clips.clip(thing, 0), 1)
  clips.write(tmp_path / 'cat.mp4', clips.clip('kettle', 1), 1)
  synthetic_records.colour_teacher(tmp_path / 'teacher.keras')
  shutil.copy(ROOT / 'flags.txt', tmp_path)
  printed = []
  for language, block in documents.blocks(QUICKSTART):
    if language == 'python':
      child = subprocess.run([sys.executable, '-c', block], cwd=tmp_path, capture_output=True, text=True)
      assert child.returncode == 0, f'{block}: {child.stderr[-1500:]}'
      printed.append(child.stdout)
    for words in documents.commands_in(block) if language == 'sh' else ():
      if module := documents.module_of(words):
        child = commands.run(module, *words[3:], *SMALL.get(module, []), cwd=tmp_path)
        assert child.returncode == 0, f'{" ".join(words)}: {child.stderr[-1500:]}'
  assert (tmp_path / 'captions/cat.mp4.vtt').read_text().startswith('WEBVTT')
  for name in ('predictions/cat.mp4.csv', 'captions/cat.mp4.captioned.mp4', 'exports/clips/1/model.tflite'):
    assert (tmp_path / name).stat().st_size
  for name in ('kl', 'signals', 'timeline', 'filters'):
    assert (tmp_path / f'figures/{name}.png').read_bytes().startswith(b'\x89PNG')
  with_api, with_tensorflow = printed
  assert with_api.startswith('class ') and "b'class" in with_tensorflow


@pytest.mark.long
def test_notebook_runs(tmp_path):
  import nbclient
  import nbformat

  notebook = nbformat.read(ROOT / 'docs/quickstart.ipynb', as_version=4)
  assert all(not cell.get('outputs') for cell in notebook.cells), 'commit the notebook without outputs'
  nbclient.NotebookClient(notebook, timeout=240, resources={'metadata': {'path': tmp_path}}).execute()
  outputs = [output for cell in notebook.cells for output in cell.get('outputs', [])]
  figures = [output for output in outputs if 'image/png' in output.get('data', {})]
  assert len(figures) == 2  # the timeline, the confusion matrix
  # Three tones, three colours: what is told apart by the teacher is told apart by the student.
  assert outputs[-1].text == 'accuracy: 100%\n'
