"""Commands without --model, and others with --model=starter."""

import json

import media_clips
import pytest
import soundnets
import starters

import audionet_tf
from audionet_tf.models import student_paths


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  """dict of threshold to the folder of a starter."""
  folder = tmp_path_factory.mktemp('starters')
  thresholds = {'all': starters.KNOWS_ALL, 'nothing': starters.KNOWS_NOTHING}
  made = {name: starters.write(folder / name, threshold).parent for name, threshold in thresholds.items()}
  return made | {'nothing in LiteRT': starters.write(folder / 'lite', starters.KNOWS_NOTHING, lite=True).parent}


@pytest.fixture(params=['nothing', 'nothing in LiteRT'])
def knows_nothing(request, folders):
  """The folder of a starter that knows nothing, which TensorFlow or LiteRT runs."""
  return folders[request.param]


@pytest.fixture
def sound(tmp_path):
  """A WAV of two seconds."""
  noise = soundnets.noise(1, 44_100)[0]
  return media_clips.write(tmp_path / 'noise.wav', 2.0, times=[], sounds=[noise], rate_hz=22_050)


def announced(done):
  """The lines of stderr that speak of the starter."""
  assert done.returncode == 0, done.stderr
  return [line for line in done.stderr.splitlines() if 'starter' in line]


def test_infer_announces_the_starter_and_has_a_row_unknown(knows_nothing, sound):
  done = starters.run(knows_nothing, 'audionet_tf.infer', '--top=2', sound)
  (line,) = announced(done)
  assert 'knows dog bark, rain and calls all else unknown' in line and 'audionet-train' in line
  summary = done.stdout[done.stdout.index('file ') :].splitlines()
  assert summary[1].split()[2:] == ['unknown', '1.0000'] and summary[2].split()[0] in ('dog_bark', 'rain')
  assert '--head chooses another: teacher' in summary[-1]


def test_the_classes_of_the_teacher_are_there(knows_nothing, sound, tmp_path):
  flags = ['--head=teacher', '--format=json', f'--output={tmp_path}/out', sound]
  done = starters.run(knows_nothing, 'audionet_tf.infer', *flags)
  announced(done)
  document = json.loads((tmp_path / 'out/noise.wav.json').read_text())
  assert set(soundnets.NAMES) <= set(json.dumps(document, ensure_ascii=False).replace('\\"', '"').split('"')) | {
    soundnets.NAMES[3]
  }
  assert document['model_file'] == 'starter'
  done = starters.run(knows_nothing, 'audionet_tf.caption', '--head=teacher', '--threshold=0.01', sound)
  announced(done)
  assert 'unknown' not in done.stdout and any(name in done.stdout for name in soundnets.NAMES)


def test_unknown_sound_has_no_caption_unless_asked_for(folders, knows_nothing, sound, tmp_path):
  done = starters.run(knows_nothing, 'audionet_tf.caption', '--threshold=0.01', f'--output={tmp_path}/out', sound)
  assert len(announced(done)) == 1
  assert done.stdout.splitlines()[0] == 'noise.wav: 0 events in 2.0 s, 2.0 s unknown'
  document = json.loads((tmp_path / 'out/noise.wav.events.json').read_text())
  assert document['unknown_seconds'] == 2.0 and document['events'] == [] and document['model'] == 'starter'
  done = starters.run(knows_nothing, 'audionet_tf.caption', '--unknown', sound)
  assert [line.split() for line in done.stdout.splitlines()[1:]] == [['0.00', '2.00', 'unknown', '1.00']]
  done = starters.run(folders['all'], 'audionet_tf.caption', sound)
  assert 'unknown' not in done.stdout and ('dog_bark' in done.stdout or 'rain' in done.stdout)


@pytest.mark.parametrize('command', ['infer', 'caption'])
def test_words_are_refused_by_a_student_of_classes(knows_nothing, sound, tmp_path, command):
  (tmp_path / 'words.txt').write_text('dog\ncat\n')
  words = ['--model=starter', f'--classes={tmp_path}/words.txt']
  done = starters.run(knows_nothing, f'audionet_tf.{command}', *words, sound)
  assert done.returncode == 1 and 'learned no embeddings' in done.stderr


def test_a_damaged_starter_is_one_line(sound, tmp_path):
  path = starters.write(tmp_path / 'box').with_suffix('.tflite')
  path.write_bytes(b'no model' * 99)
  done = starters.run(path.parent, 'audionet_tf.infer', sound)
  *_, line = done.stderr.splitlines()
  assert done.returncode == 1 and line.startswith(f'error: {path}: damaged') and 'Traceback' not in done.stderr


@pytest.mark.parametrize(
  ('module', 'flags'),
  [
    ('audionet_tf.export', ['--output={}/out']),
    ('audionet_tf.features', ['--layer=embedding', '--output={}/out', '{}/noise.wav']),
    ('audionet_tf.evaluate', ['--clips={}/clips.csv']),
  ],
)
def test_other_commands_take_it_by_its_name(folders, sound, tmp_path, module, flags):
  (tmp_path / 'clips.csv').write_text('path,category\nnoise.wav,dog_bark\n')
  done = starters.run(folders['all'], module, '--model=starter', *(flag.format(tmp_path) for flag in flags))
  assert done.returncode == 0, done.stderr
  if module != 'audionet_tf.evaluate':
    assert list((tmp_path / 'out').iterdir())


def test_python_loads_it_too(folders, sound, monkeypatch, capsys):
  monkeypatch.setattr(student_paths, 'STARTER_FOLDER', folders['nothing'])
  predictor = audionet_tf.load()
  (line,) = capsys.readouterr().err.splitlines()
  assert 'dog bark, rain' in line
  assert predictor.heads == ['category', 'teacher'] and predictor.class_names == starters.NAMES
  assert predictor.predict(sound).top(1)[0].class_name == 'unknown'
  assert predictor.predict(sound, head='teacher').class_names == soundnets.NAMES
  assert predictor.detect_events(sound, threshold=0.01) == []
  (event,) = predictor.detect_events(sound, unknown=True)
  assert (event.name, event.start_seconds, event.end_seconds) == ('unknown', 0, 2)
  audionet_tf.load('starter')
  assert not capsys.readouterr().err
