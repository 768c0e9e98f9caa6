"""Students of classes in words: a tiny CLIP teaches beside a classifier, stored and online."""

import json

import commands
import numpy as np
import picture_text_presets
import pytest
import synthetic_records

from audionet_tf.data import soft_labels
from audionet_tf.teachers import frozen_teacher

VIDEOS = {'a.mp4': 5, 'b.mp4': 6}


@pytest.fixture(scope='module')
def world(tmp_path_factory):
  folder = tmp_path_factory.mktemp('world')
  synthetic_records.write_records(folder / 'records', VIDEOS)
  synthetic_records.colour_teacher(folder / 'teacher.keras')
  picture_text_presets.clip(folder / 'tiny')
  (folder / 'words.txt').write_text('dog | a dog\nrain | rain | the sound of rain\n')
  return folder


def train(world, run_dir, *flags):
  done = commands.run(
    'audionet_tf.train', '--records=records', f'--run_dir={run_dir}', '--epochs=2', '--batch_size=4',
    '--learning_rate=0.01', *flags, cwd=world,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr[-2000:]
  return done


def stored_answers(world):
  """dict of head to float16 rows of all stored answers, of the only folder that has them."""
  (folder,) = [path.parent for path in world.glob('records/labels/*/manifest.json')]
  manifest = soft_labels.read_manifest(folder)
  batches = list(soft_labels.label_source(folder, manifest).blocks(str(folder / manifest['shards'][0]['name'])))
  return manifest, batches


def test_a_clip_teaches_beside_a_classifier_and_its_answers_are_stored_once(world):
  teachers = '--teacher=words=clip:tiny', '--classes=words=words.txt', '--teacher=colours=./teacher.keras'
  done = train(world, 'two', *teachers, '--kldiv_per_frame')
  assert 'running the teacher' in done.stderr
  settings = json.loads((world / 'two/student.json').read_text())
  assert settings['classes']['words'] == ['dog', 'rain'] and len(settings['classes']['colours']) == 5
  assert settings['teachers']['words']['prompts'] == {'dog': ['a dog'], 'rain': ['rain', 'the sound of rain']}
  manifest, blocks = stored_answers(world)
  teacher = frozen_teacher.load(f'clip:{world / "tiny"}', texts=world / 'words.txt')
  assert manifest['teachers']['words']['digest'] == teacher.digest
  pictures = [np.asarray(picture_of(number)) for number in range(len(VIDEOS))]
  expected = np.asarray(teacher.probabilities(np.stack(pictures)))
  for block in blocks:
    rows = np.asarray(block['teacher/words'])[:, 0]
    np.testing.assert_allclose(rows, expected[np.asarray(block['video'])], atol=1e-3)
  done = train(world, 'again', *teachers)
  assert 'running the teacher' not in done.stderr
  online = train(world, 'online', *teachers, '--teacher_mode=online', '--kldiv_per_frame')
  assert online.returncode == 0
  stats = [json.loads((world / run / 'stats.json').read_text())['epochs'][-1]['videos'] for run in ('two', 'online')]
  for video in VIDEOS:
    np.testing.assert_allclose(*(each[video]['kldiv_per_frame'] for each in stats), rtol=1e-3)


def picture_of(number):
  """u8 [32, 32, 3], the picture of a video, as `synthetic_records` draws it."""
  import io

  import PIL.Image

  colour = ((number * 83) % 256, (number * 47 + 90) % 256, (number * 29 + 160) % 256)
  return PIL.Image.open(io.BytesIO(synthetic_records.picture(colour, 32)))


def test_evaluation_finds_the_teacher_that_the_model_names(world):
  train(world, 'one', '--teacher=clip:tiny', '--classes=words.txt', '--teacher_temperature=0.5')
  flags = '--model=one/export', '--records=records', '--output=agreement.json'
  done = commands.run('audionet_tf.evaluate', *flags, cwd=world)
  assert done.returncode == 0, done.stderr[-2000:]
  assert "'clip:tiny', 'words.txt'" in done.stdout
