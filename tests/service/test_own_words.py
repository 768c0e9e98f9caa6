"""Classes that requests name in their own words: their scores, their limits, and what becomes of the texts.

The text model knows two words, `deep` and `shrill`, whose vectors are those of the student's two tones.
"""

import asyncio
import threading

import media_clips
import numpy as np
import pytest
import tone_service
import tones

from audionet_tf.captioning import captioner
from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import word_tables
from audionet_tf.models import student_file, words
from audionet_tf.saved_model import for_files
from audionet_tf.service import app, own_words
from audionet_tf.service.settings import Limits, RequestRefused
from audionet_tf.teachers import picture_text, student_words

AXES = {'deep': 1, 'shrill': 2}
GIVEN, OWN = ['silence', 'a deep tone'], ['nothing', 'deep | a deep sound | deep', 'shrill', 'never | 0.5 deep']
NAMES = ['nothing', 'deep', 'shrill', 'never']
TONES = [('low', 1, 2), ('high', 3, 4.2)]
CLASSIFY = '/v1/models/audionet:classify'
LIMITS = Limits(words_prompts=8, words_characters=200, words_waiting=2, words_kept=6)


def vector_of(text):
  """f32 [3]: the axis of the word that a text holds, or of silence; `0.5` halves the angle to silence."""
  axis = next((number for word, number in AXES.items() if word in text), 0)
  return np.eye(3)[[axis, 0] if '0.5' in text else [axis]].mean(0) * (2**0.5 if '0.5' in text and axis else 1)


class Texts:
  """A text model; `asked` are the lists of texts that it got. It answers while `go` is set."""

  def __init__(self):
    self.asked, self.go, self.at_once, self.most = [], threading.Event(), 0, 0
    self.go.set()

  def embed(self, texts):
    self.at_once += 1
    self.most = max(self.most, self.at_once)
    self.asked.append(list(texts))
    self.go.wait(20)
    self.at_once -= 1
    return np.stack([vector_of(text) for text in texts]).astype(np.float32)


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  folder = tmp_path_factory.mktemp('student')
  tones.write_embedding_student(folder, ['a', 'b', 'c'])
  return folder / 'run/student.keras'


@pytest.fixture(scope='module')
def texts():
  return Texts()


@pytest.fixture(scope='module')
def student(path, texts):
  model, settings = student_file.load(path)
  text_model = picture_text.PictureTextModel(None, texts.embed, None, 20.0, 3, '')
  return student_words.TextStudent(model, settings, 'space', 0.05, text_model)


def with_table(path, names, vectors):
  """The LoadedExport of the student with classes, as a command makes it from a table of vectors."""
  table = word_tables.make(names, vectors, 0.05)
  return for_files.of_model(*words.with_classes(*student_file.load(path), 'space', table), path)


@pytest.fixture(scope='module')
def served(path):
  return with_table(path, GIVEN, np.eye(3)[:2])


@pytest.fixture(scope='module')
def own(path):
  """The student with the classes OWN."""
  return with_table(path, NAMES, [*np.eye(3), vector_of('0.5 deep')])


@pytest.fixture(scope='module')
def made(served, student):
  return app.make(served, limits=LIMITS, text_student=student)


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
  path = tmp_path_factory.mktemp('clips') / 'clip.mkv'
  return media_clips.write(path, 5, fps=5, sounds=[tones.sound(5, *TONES)], audio_codec='flac')


def upload(client, path, **fields):
  with open(path, 'rb') as file:
    return client.post('/v1/captions', files={'file': (path.name, file)}, data=fields)


def test_captions_are_those_of_a_student_with_the_classes(client, own, clip):
  document = upload(client, clip, classes='\r\n'.join(OWN)).json()
  expected = captioner.captions(captioner.predictor(own), clip)
  assert [event.name for event in expected.events][:3] == ['nothing', 'deep', 'nothing']
  assert [(e['name'], e['start_seconds'], e['end_seconds']) for e in document['events']] == [
    (e.name, e.start_seconds, e.end_seconds) for e in expected.events
  ]
  np.testing.assert_allclose([e['score'] for e in document['events']], [e.score for e in expected.events], atol=1e-3)
  again = client.get(f'/v1/captions/{document["id"]}.json?threshold=0.3').json()
  assert {event['name'] for event in again['events']} <= {*NAMES}
  timeline = client.get(f'/v1/captions/{document["id"]}/timeline').json()
  assert {*timeline['classes']['names']} == {*NAMES}
  plain = upload(client, clip).json()['events']
  assert {event['name'] for event in plain} == {*GIVEN}


def test_classification_is_that_of_a_student_with_the_classes(client, own):
  sound = [tones.sound(0.04, (name, 0, 1)) for name in ('low', 'high')]
  examples = [{'waveform': row.tolist()} for row in sound]
  rows = client.post(CLASSIFY, json={'examples': examples, 'classes': '\n'.join(OWN)}).json()['results']
  expected = own.predict(np.stack(sound))
  assert [row[0][0] for row in rows] == ['deep', 'shrill']
  assert [[name for name, _ in row] for row in rows] == expected['top_classes'].tolist()
  np.testing.assert_allclose([[p for _, p in row] for row in rows], expected['top_probabilities'], atol=1e-5)
  plain = client.post(CLASSIFY, json={'examples': examples}).json()['results']
  assert {name for name, _ in plain[0]} == {*GIVEN}


@pytest.mark.parametrize(
  ('classes', 'status', 'message'),
  [
    ('', 400, 'classes: 0 classes; a distribution needs two'),
    ('dog\n', 400, 'classes: 1 classes'),
    ('dog\ndog', 400, "classes: line 2 repeats the class 'dog'"),
    ('dog\n| x', 400, 'classes: line 2 has no class before'),
    ('a\nb\nc\nd\ne', 400, 'classes: 10 prompts, allowed are up to 8'),
    ('a\n' + 'x' * 199, 413, 'classes has 201 characters, allowed are 200'),
    ('a\n\0', 400, 'classes must be a text, one class per line'),
  ],
)
def test_classes_that_are_none_are_refused_in_a_line(client, clip, texts, classes, status, message):
  before = len(texts.asked)
  examples = [{'waveform': [0.0] * 640}]
  for answer in (
    upload(client, clip, classes=classes),
    client.post(CLASSIFY, json={'examples': examples, 'classes': classes}),
  ):
    assert answer.status_code == status and message in answer.json()['error'] and '\n' not in answer.json()['error']
  assert len(texts.asked) == before


def test_long_names_count_in_the_size_of_the_response(served, student):
  limits = Limits(answer_bytes=20_000)
  examples = [{'waveform': [0.0] * 640}] * 4
  with tone_service.client(app.make(served, limits=limits, text_student=student)) as client:
    for length, status in ((10, 200), (4000, 413)):
      classes = '\n'.join(f'{letter * length} | {letter}' for letter in 'abc')
      answer = client.post(CLASSIFY, json={'examples': examples, 'classes': classes})
      assert answer.status_code == status
  assert 'the response would have' in answer.json()['error']


@pytest.mark.parametrize('classes', [5, ['a', 'b'], {'a': 'b'}, True])
def test_classes_that_are_no_text_are_refused(client, classes):
  answer = client.post(CLASSIFY, json={'examples': [{'waveform': [0.0] * 640}], 'classes': classes})
  assert answer.status_code == 400 and 'must be a text' in answer.json()['error']


def test_the_service_says_whether_it_takes_classes(client, served, clip):
  assert client.get('/v1/service').json()['words_characters'] == 200
  with tone_service.client(app.make(served)) as plain:
    assert plain.get('/v1/service').json()['words_characters'] == 0
    for answer in (
      upload(plain, clip, classes='a\nb'),
      plain.post(CLASSIFY, json={'examples': [{'waveform': [0.0] * 640}], 'classes': 'a\nb'}),
    ):
      assert answer.status_code == 403
      assert answer.json()['error'].startswith('this service takes no classes of a request: it was not started with')


def prompts(*names):
  return {name: [f'the {name}'] for name in names}


def test_a_text_is_embedded_once_and_few_are_kept(student, texts):
  own = own_words.OwnWords(student, LIMITS)
  texts.asked.clear()

  async def ask():
    for names in ('ab', 'ba', 'abc'):
      table = await own.table(prompts(*names))
      assert table.names == [*names]
    await own.table({'x': ['the a', 'the new'], 'y': ['the new']})
    for number in range(9):
      await own.table(prompts(f'{number}', 'a'))

  asyncio.run(ask())
  assert texts.asked[:3] == [['the a', 'the b'], ['the c'], ['the new']]
  assert len(own.vectors) == LIMITS.words_kept
  own.close()


def test_one_request_is_embedded_at_a_time_and_few_wait(student, texts):
  """Also where clients leave while theirs are embedded."""
  own = own_words.OwnWords(student, LIMITS)
  texts.asked.clear()
  texts.most = 0

  async def ask():
    texts.go.clear()
    left = asyncio.create_task(own.table(prompts('a', 'b')))
    while not texts.asked:
      await asyncio.sleep(0.001)
    left.cancel()
    await asyncio.wait([left])
    waiting = [asyncio.create_task(own.table(prompts(f'{number}', 'c'))) for number in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(RequestRefused, match='2 requests with classes of their own are waiting') as caught:
      await own.table(prompts('d', 'e'))
    assert caught.value.status == 503 and caught.value.headers['Retry-After']
    texts.go.set()
    await asyncio.gather(*waiting)

  asyncio.run(ask())
  assert texts.most == 1 and own.waiting == 0
  own.close()


def test_no_text_model_is_loaded_for_a_table(path):
  served, student = student_words.load_with_texts(path, path.parents[1] / 'words.npz')
  assert student is None and served.class_names == ['a', 'b', 'c']
  (path.parents[1] / 'words.txt').write_text('a\nb\n')
  with pytest.raises(UserError, match=r'words.txt: the teacher of this student \(unknown\) knows no texts'):
    student_words.load_with_texts(path, path.parents[1] / 'words.txt')
