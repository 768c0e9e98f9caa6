"""Builds, teachers' passes and exports that are killed give the same bytes as undisturbed ones. See `killing`."""

import pathlib
import shutil

import killing
import media_clips
import pytest
import synthetic_records

from audionet_tf.models import registry, student_file, student_settings

pytestmark = pytest.mark.long
KILLS = 50


@pytest.fixture(scope='module')
def source(tmp_path_factory):
  """Folder with videos/, records/, teacher.keras, student.keras."""
  folder = tmp_path_factory.mktemp('source')
  (folder / 'videos').mkdir()
  for number in range(5):
    media_clips.write(folder / f'videos/{number}.mkv', seconds=1 + 0.4 * number)
  (folder / 'videos/broken.mkv').write_bytes(b'no video')
  synthetic_records.write_records(folder / 'records', {'a': 150, 'b': 90, 'c': 110}, shards=3)
  synthetic_records.colour_teacher(folder / 'teacher.keras')
  model = registry.build('audionet', {'teacher': 3})
  settings = student_settings.StudentConfig('audionet', 16000, 'mean', 0.04, {'teacher': ['a', 'b', 'c']})
  student_file.save(folder / 'student.keras', model, settings)
  return folder


def copy(source, place):
  shutil.copytree(source / 'records', place / 'records')
  shutil.copy(source / 'teacher.keras', place)


def all_bytes(folder):
  return {name: path.read_bytes() for name, path in killing.files_of(folder).items()}


def versions(folder):
  """The files of an export: a kill behind the rename leaves a whole version, and the next process writes one more."""
  files = {}
  for name, path in killing.files_of(folder).items():
    version, _, rest = name.partition('/')
    files.setdefault(rest if version.isdigit() else name, set()).add(killing.comparable(path))
  return {name: b''.join(contents) for name, contents in files.items()}


def test_build(source, tmp_path, seed, share):
  def words(place):
    flags = ['--image_size=32', '--image_format=png', '--shards=3', '--workers=2']
    return ['tfrecords.build', f'--videos={source}/videos', f'--output={place}', *flags]

  killing.check(None, words, all_bytes, tmp_path, share(KILLS), seed)


def test_teacher_pass(source, tmp_path, seed, share):
  program = str(pathlib.Path(__file__).with_name('teacher_pass.py'))
  killing.check(
    lambda place: copy(source, place), lambda place: [program, place], all_bytes, tmp_path, share(KILLS), seed
  )


def test_export(source, tmp_path, seed, share):
  def words(place):
    return ['audionet_tf.export', f'--model={source}/student.keras', f'--output={place}', '--tflite']

  killing.check(None, words, versions, tmp_path, share(KILLS), seed)


def test_repair(source, tmp_path, seed, share):
  """Two of three shards are damaged."""

  def damage(place):
    killing.run(
      ['tfrecords.build', f'--videos={source}/videos', f'--output={place}', '--image_size=32', '--shards=3'], place
    )
    for path in sorted(place.glob('*.tfrecord'))[:2]:
      content = bytearray(path.read_bytes())
      content[len(content) // 2] ^= 4
      path.write_bytes(content)

  killing.check(damage, lambda place: ['tfrecords.verify', place, '--repair'], all_bytes, tmp_path, share(KILLS), seed)
