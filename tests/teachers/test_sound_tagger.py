"""Taggers of sound as teachers, against what they compute, written in NumPy; and their mistakes in a line."""

import concurrent.futures
import json
import os

import commands
import numpy as np
import pytest
import scipy.signal
import synthetic_records
import tensorflow as tf
import tones

from audionet_tf.core.errors import UserError
from audionet_tf.data import input_pipeline, records, soft_labels
from audionet_tf.data.params import RecordParams
from audionet_tf.saved_model import export
from audionet_tf.teachers import frozen_teacher, labelling, sound_tagger, teacher_config

FRAME = 400
CLASSES = 3


class Tagger(tf.Module):
  """In YAMNet's form: of every frame of 400 samples, its energy, how often it crosses zero, and a constant."""

  def __init__(self, shape=(None,), outputs=('scores', 'embedding'), last=tf.identity):
    super().__init__()
    self.outputs, self.last, self.gain = outputs, last, tf.Variable(2.0)
    self.function = tf.function(self.answer, [tf.TensorSpec(shape, tf.float32, 'waveform')])

  def answer(self, waveform):
    flat = tf.reshape(waveform, [-1])
    frames = tf.reshape(flat[: FRAME * (tf.size(flat) // FRAME)], [-1, FRAME])
    energy = self.gain * tf.reduce_mean(frames**2, 1)
    crossings = tf.reduce_mean(tf.cast(frames[:, 1:] * frames[:, :-1] < 0, tf.float32), 1)
    scores = self.last(tf.stack([energy, crossings, 0.25 + 0 * energy], 1))  # [frames, classes]
    return {name: scores if number == 0 else frames for number, name in enumerate(self.outputs)}

  def save(self, path):
    tf.saved_model.save(self, str(path), signatures={'serving_default': self.function})
    return path

  def to_tflite(self, path):
    converter = tf.lite.TFLiteConverter.from_concrete_functions([self.function.get_concrete_function()], self)
    path.write_bytes(converter.convert())
    return path


def expected(sound):
  """The tagger's scores f64 [frames, 3] in NumPy."""
  frames = np.asarray(sound, np.float64)[: FRAME * (len(sound) // FRAME)].reshape(-1, FRAME)
  crossings = (frames[:, 1:] * frames[:, :-1] < 0).mean(1)
  return np.stack([2 * (frames**2).mean(1), crossings, np.full(len(frames), 0.25)], 1)


def tone(hertz, seconds=0.5, rate_hz=16000):
  return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def normalized(row):
  return row / row.sum()


@pytest.mark.parametrize('shape', [(None,), (1, None)])
@pytest.mark.parametrize('kind', ['saved_model', 'tflite'])
def test_answers_are_means_over_the_frames_of_a_window(tmp_path, shape, kind):
  tagger = Tagger(shape, outputs=('scores',) if kind == 'tflite' else ('scores', 'embedding'))
  path = tagger.to_tflite(tmp_path / 'x.tflite') if kind == 'tflite' else tagger.save(tmp_path / 'x')
  teacher = frozen_teacher.load(f'sound:{path}')
  assert teacher.description['outputs'] == 'scores' and not teacher.needs_pictures
  for hertz in (300, 2000):
    row = teacher.hears(tone(hertz), 16000)
    np.testing.assert_allclose(row, normalized(expected(tone(hertz)).mean(0)), rtol=1e-4)


@pytest.mark.parametrize('kind', ['saved_model', 'tflite'])
def test_threads_that_ask_at_once_get_their_own_answers(tmp_path, kind):
  path = Tagger(outputs=('scores',)).to_tflite(tmp_path / 'x.tflite') if kind == 'tflite' else Tagger().save(tmp_path)
  teacher = frozen_teacher.load(f'sound:{path}')
  sounds = [tone(hertz, seconds) for hertz, seconds in [(300, 0.5), (2000, 0.2)] * 200]
  with concurrent.futures.ThreadPoolExecutor(2) as pool:
    rows = list(pool.map(lambda sound: teacher.hears(sound, 16000), sounds))
  np.testing.assert_allclose(rows, [normalized(expected(sound).mean(0)) for sound in sounds], rtol=1e-4)


def test_a_path_that_tensorflow_cannot_name_is_one_line(tmp_path):
  folder = tmp_path / 'cafe'
  Tagger().save(folder / 'x')
  Tagger(outputs=('scores',)).to_tflite(folder / 'x.tflite')
  folder = folder.rename(tmp_path / os.fsdecode(b'caf\xe9'))
  for name in ('x', 'x.tflite'):
    with pytest.raises(UserError, match=f'{name}: the name is not valid UTF-8, as TensorFlow needs it'):
      frozen_teacher.load(f'sound:{folder / name}')


def test_sound_of_another_rate_is_resampled(tmp_path):
  teacher = frozen_teacher.load(f'sound:{Tagger().save(tmp_path / "x")}')
  other = frozen_teacher.load(f'sound@8000:{tmp_path}/x')
  assert teacher.digest != other.digest
  sound = tone(443.7, rate_hz=44100)  # whose samples at the other rates are not zero
  for loaded, rate_hz in ((teacher, 16000), (other, 8000)):
    resampled = scipy.signal.resample(sound, round(0.5 * rate_hz))
    want = normalized(expected(resampled).mean(0))
    np.testing.assert_allclose(loaded.hears(sound, 44100), want, atol=0.01)


def test_a_fixed_length_is_heard_in_pieces(tmp_path):
  path = Tagger((1000,), outputs=('scores',)).to_tflite(tmp_path / 'x.tflite')
  model = sound_tagger.load(path)
  sound = np.random.default_rng(0).normal(0, 0.1, 2300).astype(np.float32)
  pieces = [sound[:1000], sound[1000:2000], sound[1300:]]
  np.testing.assert_allclose(model.outputs(sound), np.concatenate([expected(p) for p in pieces]), rtol=1e-4)
  short = np.concatenate([sound[:700], np.zeros(300)])
  np.testing.assert_allclose(model.outputs(sound[:700]), expected(short), rtol=1e-4)


@pytest.mark.parametrize(
  ('last', 'kind'), [(tf.identity, 'scores'), (tf.nn.softmax, 'probabilities'), (lambda x: 9 * x - 4, 'logits')]
)
def test_what_outputs_are_is_found_by_probes(tmp_path, last, kind):
  teacher = frozen_teacher.load(f'sound:{Tagger(last=last).save(tmp_path / "x")}')
  assert teacher.description['outputs'] == kind
  rows = expected(tone(900))
  powers = np.exp(rows if kind == 'probabilities' else 9 * rows - 4)
  rows = rows if kind == 'scores' else powers / powers.sum(1, keepdims=True)
  np.testing.assert_allclose(teacher.hears(tone(900), 16000), normalized(rows.mean(0)), rtol=1e-3)


@pytest.mark.parametrize('pictures', [0, 2])
def test_answers_are_stored_as_those_of_others(tmp_path, pictures):
  params = RecordParams(images_per_window=pictures, image_size=16, image_format='png')
  synthetic_records.write_records(tmp_path / 'records', {'low.wav': 8, 'top.wav': 8}, params)
  manifest = records.read_manifest(tmp_path / 'records')
  teacher = frozen_teacher.load(f'sound:{Tagger().save(tmp_path / "x")}', name='ears')
  folder = labelling.ensure(tmp_path / 'records', manifest, [teacher])
  source = soft_labels.label_source(folder, soft_labels.read_manifest(folder))
  for batch in input_pipeline.sequential_batches(source, 5).as_numpy_iterator():
    assert batch['teacher/ears'].shape[1:] == (max(1, pictures), CLASSES)
    for sound, answers in zip(batch['audio'], batch['teacher/ears'], strict=True):
      for row in answers:
        np.testing.assert_allclose(row, normalized(expected(sound).mean(0)), rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize(
  ('make', 'message'),
  [
    (lambda path: Tagger((2, None)).save(path), r'its input is \[2, None\]'),
    (lambda path: Tagger(outputs=('a', 'b')).save(path), r"gives \['a', 'b'\]"),
    (lambda path: Tagger(last=lambda x: x / 0).save(path), 'not finite'),
    (lambda path: Tagger(last=lambda x: x[:, :1]).save(path), r'a tagger gives \[frames, classes\]'),
    (lambda path: path.mkdir(), 'no saved_model.pb'),
  ],
)
def test_files_that_are_no_taggers(tmp_path, make, message):
  make(tmp_path / 'x')
  with pytest.raises(UserError, match=message):
    frozen_teacher.load(f'sound:{tmp_path}/x')


def test_a_window_too_short_for_a_frame_is_named(tmp_path):
  teacher = frozen_teacher.load(f'sound:{Tagger().save(tmp_path / "x")}')
  with pytest.raises(UserError, match='gives no frame; windows must be longer for 100 samples'):
    teacher.hears(np.zeros(100, np.float32), 16000)


@pytest.mark.parametrize(
  ('arguments', 'mode', 'message'),
  [
    ({'source': 'sound:none'}, 'stored', 'none: no such tagger of sound'),
    ({'source': 'sound:x.keras'}, 'stored', 'x.keras: no such tagger of sound'),
    ({'source': 'sound@5:x'}, 'stored', 'a sample rate of 5 Hz, allowed is 1000 to 192000'),
    ({'source': 'sound:empty'}, 'stored', 'no saved_model.pb'),
    ({'source': 'sound:empty'}, 'online', 'cannot run in the step'),
    ({'source': 'sound:empty', 'dtype': 'bfloat16'}, 'stored', 'leave out weights, dtype and input range'),
    ({'source': 'sound:empty', 'labels': 'gone.txt'}, 'stored', 'gone.txt: no such file'),
    ({'source': 'sound:bad.tflite'}, 'stored', 'bad.tflite: not a .tflite file'),
  ],
)
def test_mistakes_show_before_tensorflow(tmp_path, monkeypatch, arguments, mode, message):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'empty').mkdir()
  for name in ('x.keras', 'bad.tflite'):
    (tmp_path / name).write_bytes(b'0' * 100)
  manifest = {'params': RecordParams(images_per_window=0)}
  with pytest.raises(UserError, match=message):
    teacher_config.check([teacher_config.TeacherConfig(**arguments)], mode, manifest)


@pytest.mark.long
def test_a_student_learns_what_a_tagger_hears(tmp_path):
  params = RecordParams(images_per_window=0)
  synthetic_records.write_records(tmp_path / 'records', {'low.wav': 8, 'middle.wav': 8, 'top.wav': 8}, params)
  Tagger().save(tmp_path / 'tagger')
  (tmp_path / 'names.txt').write_text('loud\nbright\nconstant\n')
  words = ['--records=records', '--run_dir=run', '--teacher=ears=sound:tagger', '--teacher_labels=names.txt']
  words += ['--epochs=30', '--batch_size=8', '--optimizer=adam', '--learning_rate=0.05', '--loss_reduction=mean']
  done = commands.run('audionet_tf.train', *words, cwd=tmp_path, check=True)
  assert 'gives scores from 0 to 1 that do not sum to 1' in done.stderr
  rows = [json.loads(line) for line in (tmp_path / 'run/metrics.jsonl').read_text().splitlines()]
  assert rows[-1]['kl'] < 0.5 * rows[0]['kl']
  assert json.loads((tmp_path / 'run/student.json').read_text())['classes'] == {'ears': ['loud', 'bright', 'constant']}
  done = commands.run('audionet_tf.evaluate', '--model=run', '--records=records', cwd=tmp_path, check=True)
  assert 'low.wav' in done.stdout


def test_an_export_of_a_student_is_a_tagger(tmp_path):
  """The starter-like student of two tones, exported, hears them as a teacher."""
  served = tones.student()
  folder = export.export(served.module, served.settings, tmp_path / 'export')
  teacher = frozen_teacher.load(f'sound:{folder}')
  for number, name in enumerate(tones.NAMES):
    sound = tones.sound(0.5, *([] if name == 'silence' else [(name, 0, 0.5)]))
    assert teacher.hears(sound, tones.RATE).argmax() == number
