"""Students of classes in words: a tiny CLIP teaches beside a classifier, stored and online."""

import contextlib
import io
import json
import shutil

import commands
import numpy as np
import picture_text_presets
import PIL.Image
import pytest
import scipy.io.wavfile
import synthetic_records
import tone_service

from audionet_tf.data import soft_labels
from audionet_tf.models import student_file
from audionet_tf.service import app
from audionet_tf.teachers import frozen_teacher, picture_text, student_words

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


@pytest.fixture(scope='module')
def space(world):
  """The student of a run on the vectors of the CLIP: keras.Model."""
  train(world, 'space', '--teacher=space=embedding:clip:tiny')
  model, settings = student_file.load(world / 'space/student.keras')
  assert settings.embeddings == {'space': picture_text_presets.WIDTH} and settings.classes == {}
  return model


def vector_of(model, pcm):
  """f32 [width], of length 1: what the student says about int16 sound."""
  vector = model(pcm[None].astype(np.float32) / 32768)['logits/space'].numpy()[0, 0]
  return vector / np.linalg.norm(vector)


def mean_of_texts(text_model, *texts):
  """f32 [width], of length 1."""
  mean = text_model.embed_texts(list(texts)).mean(0)
  return mean / np.linalg.norm(mean)


def stored_answers(world, heads):
  """(manifest, list of blocks of the first file) of the only folder of stored answers that has those of `heads`."""
  folders = [path.parent for path in world.glob('records/labels/*/manifest.json')]
  (folder,) = [folder for folder in folders if set(soft_labels.read_manifest(folder)['teachers']) == heads]
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
  manifest, blocks = stored_answers(world, {'words', 'colours'})
  teacher = frozen_teacher.load(f'clip:{world / "tiny"}', texts=world / 'words.txt')
  assert manifest['teachers']['words']['digest'] == teacher.digest
  pictures = [np.asarray(picture_of(number)) for number in range(len(VIDEOS))]
  expected = np.asarray(teacher.probabilities(np.stack(pictures)))
  for block in blocks:
    rows = np.asarray(block['teacher/words'])[:, 0]
    np.testing.assert_allclose(rows, expected[np.asarray(block['video'])], atol=1e-3)
  done = train(world, 'again', *teachers)
  assert 'running the teacher' not in done.stderr
  train(world, 'online', *teachers, '--teacher_mode=online', '--kldiv_per_frame')
  stats = [json.loads((world / run / 'stats.json').read_text())['epochs'][-1]['videos'] for run in ('two', 'online')]
  for video in VIDEOS:
    np.testing.assert_allclose(*(each[video]['kldiv_per_frame'] for each in stats), rtol=1e-3)


def picture_of(number):
  """u8 [32, 32, 3], the picture of a video, as `synthetic_records` draws it."""
  colour = ((number * 83) % 256, (number * 47 + 90) % 256, (number * 29 + 160) % 256)
  return PIL.Image.open(io.BytesIO(synthetic_records.picture(colour, 32)))


def test_evaluation_finds_the_teacher_that_the_model_names(world):
  def sets_of_answers():
    return set(world.glob('records/labels/*/manifest.json'))

  others = sets_of_answers()  # of the other tests, in whatever order these ran
  train(world, 'one', '--teacher=clip:tiny', '--classes=words.txt', '--teacher_temperature=0.5')
  flags = '--model=one/export', '--records=records', '--output=agreement.json'
  done = commands.run('audionet_tf.evaluate', *flags, cwd=world)
  assert done.returncode == 0, done.stderr[-2000:]
  assert "'clip:tiny', 'words.txt'" in done.stdout
  measured = json.loads((world / 'agreement.json').read_text())
  again = '--teacher=clip:tiny', '--classes=words.txt', '--teacher_temperature=0.5'
  done = commands.run('audionet_tf.evaluate', *flags, *again, cwd=world)
  assert done.returncode == 0, done.stderr[-2000:]
  assert json.loads((world / 'agreement.json').read_text()) == measured
  assert len(sets_of_answers() - others) == 1
  done = commands.run('audionet_tf.label', '--records=records', *again, cwd=world)
  assert done.returncode == 0, done.stderr[-2000:]
  assert ': complete' in done.stderr and len(sets_of_answers() - others) == 1


def test_a_student_of_vectors_is_asked_in_words_of_its_teacher_only(world, space, tmp_path):
  pcm = np.random.default_rng(0).integers(-9999, 9999, 640, np.int16)
  scipy.io.wavfile.write(world / 'noise.wav', 16000, pcm)
  files = '--classes=words.txt', '--format=json', f'--output={tmp_path}', 'noise.wav'
  done = commands.run('audionet_tf.infer', '--model=space', *files, cwd=world)
  assert done.returncode == 0, done.stderr[-2000:]
  text_model = picture_text.load(f'clip:{world / "tiny"}')
  texts = np.stack([mean_of_texts(text_model, *of) for of in (['a dog'], ['rain', 'the sound of rain'])])
  powers = np.exp(texts @ vector_of(space, pcm) / 0.07)  # the random model's temperature
  (row,) = json.loads((tmp_path / 'noise.wav.json').read_text())['frame_probabilities']
  np.testing.assert_allclose(row, powers / powers.sum(), atol=1e-4)
  picture_text_presets.clip(world / 'other', seed=1)
  shutil.copytree(world / 'space', world / 'changed')
  text = (world / 'space/student.json').read_text().replace('clip:tiny', 'clip:other')
  (world / 'changed/student.json').write_text(text)
  done = commands.run('audionet_tf.infer', '--model=changed', *files, cwd=world)
  assert done.returncode == 1 and 'clip:other: not the model that taught this student' in done.stderr


def test_the_service_names_the_words_of_a_request_as_the_command_does(world, space, tmp_path):
  noise = np.random.default_rng(0).integers(-9999, 9999, 32000)
  scipy.io.wavfile.write(tmp_path / 'a.wav', 16000, (noise * np.linspace(0, 1, 32000)).astype(np.int16))
  model, settings = student_file.load(world / 'space/student.keras')
  for variable in model.weights:  # after two epochs, all sounds are much the same
    variable.assign(np.random.default_rng(0).normal(size=variable.shape))
  (tmp_path / 'run').mkdir()
  student_file.save(tmp_path / 'run/student.keras', model, settings)
  (tmp_path / 'own.txt').write_text('sea | the sea\nhail\nrain\n')
  flags = '--model=' + str(tmp_path / 'run'), f'--output={tmp_path}', '--format=json', str(tmp_path / 'a.wav')
  commands.run('audionet_tf.caption', '--classes=' + str(tmp_path / 'own.txt'), *flags, cwd=world, check=True)
  expected = json.loads((tmp_path / 'a.wav.events.json').read_text())['events']
  path = student_words.find(tmp_path / 'run', world / 'words.txt')
  with contextlib.chdir(world):  # where the teacher's preset is
    served, text_student = student_words.load_with_texts(path, world / 'words.txt')
  assert served.class_names == ['dog', 'rain']
  with (
    tone_service.client(app.make(served, text_student=text_student)) as client,
    open(tmp_path / 'a.wav', 'rb') as sound,
  ):
    fields = {'classes': (tmp_path / 'own.txt').read_text()}
    events = client.post('/v1/captions', files={'file': ('a.wav', sound)}, data=fields).json()['events']
    assert expected and len(events) == len(expected)
    for event, other in zip(events, expected, strict=True):
      assert event == other | {'score': event['score']}
      assert abs(event['score'] - other['score']) < 1e-3
    # Whatever is text has vectors; scores of it are probabilities.
    hostile = '\u202e\U0001f600 | <|endoftext|> | ' + 'x' * 1000 + '\n' + '\x07 \uffff\n' + '</w>' * 9
    asked = {
      'examples': [{'waveform': [0.1] * 640}],
      'classes': hostile,
    }
    (row,) = client.post('/v1/models/audionet:classify', json=asked).json()['results']
    assert len(row) == 3 and abs(sum(value for _, value in row) - 1) < 1e-5


def test_moments_that_fit_a_text_or_a_picture_are_found_by_its_teacher(world, space):
  """In the order of the cosines of vectors that are computed apart; `a dog` and the picture have other orders."""
  (world / 'sounds').mkdir()
  rng, vectors = np.random.default_rng(0), {}
  model, settings = student_file.load(world / 'space/student.keras')
  for variable in model.weights:  # after two epochs, all sounds are much the same
    variable.assign(rng.normal(size=variable.shape))
  (world / 'random').mkdir()
  student_file.save(world / 'random/student.keras', model, settings)
  for number, hertz in enumerate((200, 600, 1500, 6000)):
    name = f'{number}.wav'
    pcm = (9000 * np.sin(2 * np.pi * hertz * np.arange(16000) / 16000)).astype(np.int16)
    scipy.io.wavfile.write(world / 'sounds' / name, 16000, pcm)
    vectors[name] = vector_of(model, pcm)
  picture = rng.integers(0, 256, [224, 224, 3], np.uint8)  # of the size of pictures in records: it is not resized
  PIL.Image.fromarray(picture).save(world / 'picture.png')
  teacher = picture_text.load(f'clip:{world / "tiny"}')
  queries = {
    'a dog': mean_of_texts(teacher, 'a photo of a dog', 'the sound of a dog'),
    'picture.png': np.asarray(teacher.embed_pictures(picture[None].astype(np.float32)))[0],
  }
  orders = []
  for query, vector in queries.items():
    done = commands.run(
      'audionet_tf.search', '--model=random', f'--query={query}', '--output=found', 'sounds', cwd=world
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((world / 'found/moments.json').read_text())['moments']
    orders.append([moment['path'].rpartition('/')[2] for moment in found])
    assert orders[-1] == sorted(vectors, key=lambda name: -vectors[name] @ vector)
    np.testing.assert_allclose([m['cosine'] for m in found], [vectors[n] @ vector for n in orders[-1]], atol=2e-3)
  assert orders[0] != orders[1]
