"""From folders of tones to a student and its report; a report's numbers are those of lists written down here."""

import csv
import dataclasses
import hashlib
import html.parser
import json
import types
import wave

import commands
import media_clips
import numpy as np
import pytest
import scipy.io.wavfile

import audionet_tf
from audionet_tf.core.errors import UserError
from audionet_tf.models import registry, student_file, student_settings
from audionet_tf.models.networks import vggish, yamnet
from audionet_tf.sound_folders import pipeline, report_page, run_folder

RATE = 16000
QUICK = {
  'student': 'audionet',
  'epochs': 12,
  'learning_rate': 0.02,
  'batch_size': 64,
  'augment': [],
  'schedule': 'constant',
  'projector': False,
}

FEW = {'epochs': 20, 'learning_rate': 0.02, 'batch_size': 32, 'augment': [], 'projector': False}


def tone(path, hertz, seconds=0.5):
  path.parent.mkdir(parents=True, exist_ok=True)
  time = np.arange(round(seconds * RATE)) / RATE
  scipy.io.wavfile.write(path, RATE, (12000 * np.sin(2 * np.pi * hertz * time)).astype(np.int16))


def tones(folder, classes=(('deep', 700), ('shrill', 3000)), count=6):
  """A folder per class with a.wav, b.wav and so on, and an unreadable file in the first."""
  for label, hertz in classes:
    for number in range(count):
      tone(folder / label / f'{"abcdef"[number]}.wav', hertz + 20 * number)
  (folder / classes[0][0] / 'broken.wav').write_bytes(b'RIFF nonsense')
  return folder


class Players(html.parser.HTMLParser):
  """Sounds that a page plays, and its scripts."""

  def __init__(self, text):
    super().__init__()
    self.sounds, self.scripts = [], 0
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.scripts += tag == 'script'
    self.sounds += [dict(attrs)['src']] if tag == 'audio' else []


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """(folder of sounds, run on them, what it measured)."""
  place = tmp_path_factory.mktemp('trained')
  folder = tones(place / 'sounds')
  return folder, place / 'run', audionet_tf.train_on_sounds(folder, place / 'run', **QUICK)


@pytest.mark.long
def test_from_folders_to_a_report(trained):
  folder, run, measured = trained
  assert measured['accuracy'] == 1 and measured['clips'] == 2
  assert list(measured['skipped']) == ['deep/broken.wav'] and 'broken.wav' in measured['summary'][-1]
  with open(run / 'sounds.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  held = {row['path'] for row in rows if row['fold'] == 'held_out'}
  assert len(rows) == 12 and {row['path'].split('/')[0] for row in rows} == {'deep', 'shrill'}
  heard = {video['id'] for video in json.loads((run / 'records/train/manifest.json').read_text())['videos']}
  assert len(heard) == 10 and not heard & held
  predictor = audionet_tf.load(run)
  assert predictor.class_names == ['deep', 'shrill']
  assert predictor.predict(folder / 'shrill/a.wav').top(1)[0].class_name == 'shrill'
  report = json.loads((run / 'report.json').read_text())
  assert report['classes']['deep'] == {'clips': 1, 'precision': 1, 'recall': 1, 'f1': 1}
  assert Players((run / 'report/index.html').read_text()).sounds == []
  with pytest.raises(UserError, match='holds a run already; go on with --resume'):
    audionet_tf.train_on_sounds(folder, run, **QUICK)


def layer(path, name):
  """The weights of a layer of a run's student, one array."""
  weights = student_file.load(path / 'student.keras')[0].get_layer(name).get_weights()
  return np.concatenate([weight.ravel() for weight in weights])


def exported(run):
  """The digests of the students and exports of a run and its stages."""
  paths = [*run.rglob('student.keras'), *run.rglob('saved_model.pb')]
  return {path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.mark.long
def test_few_sounds_from_another_student(trained, tmp_path):
  _, before, _ = trained
  few = tones(tmp_path / 'few', (('low', 400), ('middle', 1500), ('high', 5000)), 4)
  run = tmp_path / 'run'
  measured = audionet_tf.train_on_sounds(few, run, init=before, **FEW)
  assert measured['accuracy'] > 0.5 and measured['clips'] == 3
  kept = next(line for line in measured['summary'] if line.startswith('Kept: ')).split()[1].rstrip('.')
  heard = [(row['path'], row['category']) for row in measured['results']]
  accuracy = {name: pipeline.evaluate(run / name, heard)['accuracy'] for name in ('head', 'tuned')}
  assert accuracy[kept] == max(accuracy.values()) == measured['accuracy']
  np.testing.assert_array_equal(layer(run, 'dense_labels'), layer(run / kept, 'dense_labels'))
  np.testing.assert_array_equal(layer(run / 'head', 'conv'), layer(before, 'conv'))  # frozen
  assert not np.array_equal(layer(run / 'tuned', 'conv'), layer(before, 'conv'))
  assert audionet_tf.load(run).class_names == ['high', 'low', 'middle']  # the export
  before_resume = exported(run)
  (run / 'tuned/student.keras').unlink()  # as if the second stage had been interrupted, the first being complete
  again = audionet_tf.train_on_sounds(few, run, init=before, resume=True, **FEW)
  assert again['accuracy'] == measured['accuracy']
  after = exported(run)
  assert after.keys() == before_resume.keys()
  assert {name for name in after if after[name] != before_resume[name]} <= {'tuned/student.keras', 'student.keras'}
  assert after['head/student.keras'] == before_resume['head/student.keras']
  audionet_tf.train_on_sounds(few, run, init=before, resume=True, **FEW)
  assert exported(run) == after


NETWORKS = {  # small ones, of the layers of the published networks
  'yamnet': (lambda heads: yamnet.yamnet(heads, ((1, 6), (2, 8)), 3), {'teacher': ['a', 'b', 'c', 'd']}, 'layer2_conv'),
  'vggish': (
    lambda heads: vggish.vggish(heads, convolutions=(('conv1', 4), ('pool1', None)), dense=(('fc1_1', 8), ('fc2', 12))),
    {},  # VGGish has no heads
    'fc1_1',
  ),
}


@pytest.mark.long
@pytest.mark.parametrize('name', NETWORKS)
def test_few_sounds_from_the_layers_of_a_published_network(tmp_path, monkeypatch, name):
  build, classes, inner = NETWORKS[name]
  monkeypatch.setitem(registry.STUDENTS, name, dataclasses.replace(registry.STUDENTS[name], build=build))
  settings = student_settings.StudentConfig(name, RATE, 'mean', 0.975, classes)
  before, few, run = tmp_path / 'before', tmp_path / 'few', tmp_path / 'run'
  before.mkdir()
  model = registry.build(name, {head: len(names) for head, names in classes.items()})
  student_file.save(before / 'student.keras', model, settings)
  for label, hertz in (('low', 400), ('high', 3000)):
    for letter in 'abcd':
      tone(few / label / f'{letter}.wav', hertz, 1)
  measured = audionet_tf.train_on_sounds(few, run, init=before / 'student.keras', **FEW | {'epochs': 2})
  assert measured['clips'] == 2 and measured['summary'][-1].startswith('Kept: ')
  np.testing.assert_array_equal(layer(run / 'head', inner), layer(before, inner))  # frozen
  assert not np.array_equal(layer(run / 'tuned', inner), layer(before, inner))
  trained_settings = student_settings.read_settings(run / 'student.keras')
  assert (trained_settings.student, trained_settings.window_seconds) == (name, 0.975)
  assert trained_settings.classes == {'labels': ['high', 'low']}
  rows = audionet_tf.load(run / 'export').predict(few / 'low/a.wav').probabilities
  assert np.isfinite(rows).all() and rows.shape[1] == 2


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--sounds=none'], 'none: no such folder'),
    (['--sounds=one'], "one class alone, 'deep'"),
    (['--sounds=one', '--records=data'], '--records does not go with --sounds'),
    (['--sounds=one', '--teacher=vgg16'], '--teacher does not go with --sounds'),
    (['--sounds=one', '--classes=a.txt'], '--classes does not go with --sounds'),
    (['--sounds=one', '--teacher_temperature=1'], '--teacher_temperature does not go with --sounds'),
    (['--sounds=one', '--wait_seconds=9'], '--wait_seconds does not go with --sounds'),
    (['--sounds=s3://bucket/one'], 's3://bucket/one: training on sounds takes folders of this machine'),
    (['--sounds=one', '--run_dir=s3://bucket/run'], 's3://bucket/run: training on sounds takes folders'),
    (['--sounds=one', '--init=nowhere'], 'nowhere: no such student to start from'),
    (['--sounds=one', '--student=nothing'], '--student=nothing is not known'),
    (['--sounds=one', '--resume=0', '--run_dir=one/deep/a.wav'], 'not a folder'),
  ],
)
def test_mistakes_are_one_line(tmp_path, arguments, message):
  tone(tmp_path / 'one/deep/a.wav', 700)
  tone(tmp_path / 'one/deep/b.wav', 700)
  done = commands.run('audionet_tf.train', *arguments, cwd=tmp_path)
  assert done.returncode == 1 and message in done.stderr
  assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1
  assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'teacher': 'vgg16'}, 'train_on_sounds has no argument teacher'),
    ({'classes': 'x.txt', 'loss': 'kl'}, 'no argument classes, loss'),
    ({'epoch': 3}, "no argument 'epoch'"),
    ({'epochs': 'three'}, "epochs is 'three', allowed is a value of type int"),
  ],
)
def test_arguments_are_checked_before_anything_else(tmp_path, arguments, message):
  with pytest.raises(UserError, match=message):
    audionet_tf.train_on_sounds(tmp_path / 'none', tmp_path / 'run', **arguments)


@pytest.mark.parametrize(
  ('name', 'given', 'windows', 'expected'),
  [
    ('sounds', {}, 240, {'epochs': 200, 'warmup_epochs': 10, 'batch_size': 16, 'learning_rate': 2e-3}),
    ('sounds', {}, 6400, {'epochs': 100, 'warmup_epochs': 10}),  # 400 steps an epoch, 40,000 in all
    ('sounds', {}, 10**6, {'epochs': 10, 'warmup_epochs': 1}),
    ('sounds', {'epochs': 3}, 10**6, {'epochs': 3, 'warmup_epochs': 0}),
    ('sounds', {'student': 'yamnet', 'augment': []}, 240, {'student': 'yamnet', 'augment': []}),
    ('sounds_head', {}, 24, {'trainable': 'head', 'epochs': 60, 'augment': ['shift', 'gain']}),
    ('sounds_tune', {}, 24, {'trainable': 'all', 'learning_rate': 3e-4}),
  ],
)
def test_recipes(name, given, windows, expected):
  settings = pipeline.with_recipe(name, given, windows)
  assert expected.items() <= settings.items()
  assert not {'records', 'run_dir'} & settings.keys()


@pytest.mark.parametrize('part', ['all', 'held_out', 'one_class'])
def test_unreadable_sounds_are_left_out_before_the_split(tmp_path, part):
  """With a builder and a training that do nothing but tell what they are given."""
  names = [f'{label}/{name}.wav' for label in ('x', 'y') for name in 'abcd']
  for name in names:
    (tmp_path / 'set' / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / 'set' / name).write_bytes(b'')
  sounds, _, _ = pipeline.split(pipeline.labelled.read(tmp_path / 'set'))
  held = [sound.name for sound in sounds if sound.part == 'held_out']
  broken = {'all': names, 'held_out': held, 'one_class': [n for n in names if n[0] == 'x'][1:]}[part]

  def build(place, output, **arguments):
    own = [path.relative_to(place).as_posix() for path in place.rglob('*.wav')]
    failures = {name: 'broken' for name in own if name in broken}
    output.mkdir(parents=True, exist_ok=True)
    (output / 'failures.json').write_text(json.dumps(failures))
    if len(failures) == len(own):
      raise UserError('nothing was built')
    return types.SimpleNamespace(failures=failures)

  def train(**arguments):
    raise KeyError('trained')

  message = {
    'all': 'none of 8 sounds can be read; x/a.wav: broken',
    'one_class': r'a single sound of x;.*3 cannot be read',
  }
  if part in message:
    with pytest.raises(UserError, match=message[part]):
      pipeline.run(tmp_path / 'set', tmp_path / 'run', build, train, {'student': 'audionet'})
    return
  with pytest.raises(UserError, match='manifest.json is missing'):  # which this builder does not write
    pipeline.run(tmp_path / 'set', tmp_path / 'run', build, train, {'student': 'audionet'})
  with open(tmp_path / 'run/sounds.csv', newline='') as file:
    rows = {row['path']: row['fold'] for row in csv.DictReader(file)}
  assert rows.keys() == {*names} - {*held} and {*rows.values()} == {'train', 'held_out'}
  linked = [path.relative_to(tmp_path / 'run/sounds').as_posix() for path in (tmp_path / 'run/sounds').rglob('*.wav')]
  assert sorted(linked) == sorted(f'{fold}/{name}' for name, fold in rows.items())


@pytest.mark.parametrize('place', ['', 'head', 'tuned'])
def test_a_run_in_training_is_not_resumed_with_other_sounds(tmp_path, place):
  """And nothing in it is changed. With a builder that does nothing but name a file that it cannot read."""
  folder, run = tmp_path / 'set', tmp_path / 'run'
  for name in (f'{label}/{name}.wav' for label in ('x', 'y') for name in 'abcd'):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b'')

  broken = {'x/a.wav'}

  def build(links, output, **arguments):
    return types.SimpleNamespace(failures={name: 'broken' for name in broken if (links / name).exists()})

  def prepare():
    return pipeline.prepare(folder, run, pipeline.labelled.read(folder), build, {})

  def content():
    paths = [path for path in run.rglob('*') if path.is_symlink() or path.is_file()]
    return {path: path.readlink() if path.is_symlink() else path.read_bytes() for path in paths}

  assert len(prepare()[0]) == 7
  (folder / 'y/new.wav').write_bytes(b'')
  assert len(prepare()[0]) == 8  # nothing has been trained
  (run / place).mkdir(exist_ok=True)
  (run / place / 'settings.json').write_text('{}')
  before = content()
  assert len(prepare()[0]) == 8 and content() == before
  (folder / 'y/more.wav').write_bytes(b'')
  (folder / 'x/c.wav').rename(folder / 'y/moved.wav')
  with pytest.raises(UserError, match='cannot be resumed with other sounds: x/c.wav, y/more.wav, y/moved.wav came'):
    prepare()
  assert content() == before
  (folder / 'y/more.wav').unlink()
  (folder / 'y/moved.wav').rename(folder / 'x/c.wav')
  assert len(prepare()[0]) == 8
  broken.clear()  # what was left out can be read now, and stays out
  sounds, _, _, unreadable = prepare()
  assert len(sounds) == 8 and unreadable == {'x/a.wav': 'broken'} and content() == before
  broken.add('y/b.wav')
  with pytest.raises(UserError, match=r'without sounds that were readable: y/b.wav \(broken\)'):
    prepare()
  assert content() == before


@pytest.mark.parametrize('content', [b'', b'{"a', b'\xff', b'[]', b'[' * 100_000])
def test_a_damaged_list_of_failures_is_no_list(tmp_path, content):
  (tmp_path / 'failures.json').write_bytes(content)
  assert pipeline.build_failures(tmp_path) == {} == pipeline.build_failures(tmp_path / 'none')


def results(*pairs):
  """A measured dict of pairs of true and predicted class, 'a', 'b' or 'c'."""
  names = ['a', 'b', 'c']
  counts = np.zeros([3, 3], int)
  for true, predicted in pairs:
    counts[names.index(true), names.index(predicted)] += 1
  rows = [
    {'path': f'{i}.wav', 'category': true, 'named': predicted, 'scores': [0.1 * i, 0, 0]}
    for i, (true, predicted) in enumerate(pairs)
  ]
  accuracy = np.mean([true == predicted for true, predicted in pairs])
  return {'accuracy': accuracy, 'clips': len(pairs), 'categories': names, 'confusion': counts.tolist(), 'results': rows}


def test_numbers_of_classes():
  measured = results(('a', 'a'), ('a', 'b'), ('b', 'b'), ('b', 'b'))
  classes = report_page.per_class(measured)
  assert classes['a'] == {'clips': 2, 'precision': 1.0, 'recall': 0.5, 'f1': pytest.approx(2 / 3)}
  assert classes['b'] == {'clips': 2, 'precision': pytest.approx(2 / 3), 'recall': 1.0, 'f1': pytest.approx(0.8)}
  assert classes['c']['clips'] == 0 and classes['c']['recall'] is None


def test_the_page_plays_the_surest_mistake_first_and_needs_no_script(tmp_path):
  measured = results(('a', 'a'), ('a', 'b'), ('b', 'c'))
  for row, hertz in zip(measured['results'], (300, 1000, 2000), strict=True):
    row['path'] = str(tmp_path / f'<b>{row["path"]}')
    tone(tmp_path / f'<b>{hertz}.wav', hertz)
    (tmp_path / f'<b>{hertz}.wav').rename(row['path'])
  page = report_page.write(tmp_path / 'report', 'A <title>', ['first', 'second & third'], measured)
  text = page.read_text()
  players = Players(text)
  assert players.sounds == ['sounds/0001.wav', 'sounds/0002.wav'] and not players.scripts
  assert '<b>' not in text and 'A &lt;title&gt;' in text and 'second &amp; third' in text and '33.3%' in text
  for name, hertz in zip(players.sounds, (2000, 1000), strict=True):
    with wave.open(str(tmp_path / 'report' / name)) as sound:
      rate, pcm = sound.getframerate(), np.frombuffer(sound.readframes(10**7), '<i2')
    assert len(pcm) == pytest.approx(0.5 * rate, abs=2)
    assert np.abs(np.fft.rfft(pcm)).argmax() * rate / len(pcm) == pytest.approx(hertz, abs=3)
  report_page.write(tmp_path / 'report', 'again', ['x'], results(('a', 'a')))
  assert sorted(path.name for path in (tmp_path / 'report').rglob('*')) == [
    'index.html',
    'sounds',
    run_folder.REPORT_MARK,
  ]


def test_a_mistake_that_begins_late_is_played_and_one_that_cannot_be_read_is_still_named(tmp_path):
  measured = results(('a', 'b'), ('a', 'c'), ('b', 'c'))
  late, gone, empty = (tmp_path / name for name in ('late.mkv', 'gone.wav', 'empty.wav'))
  sound = media_clips.tone(1000, 1, 16000)
  media_clips.write(late, 14, fps=1, sounds=[sound], sound_start=report_page.PLAYED_SECONDS + 2)
  tone(empty, 700, seconds=0)
  for row, path in zip(measured['results'], (gone, late, empty), strict=True):
    row['path'] = str(path)
  text = report_page.write(tmp_path / 'report', 'title', ['first'], measured).read_text()
  assert [f'>{path.name}<' in text for path in (gone, late, empty)] == [True] * 3
  (name,) = Players(text).sounds
  rate, pcm = scipy.io.wavfile.read(tmp_path / 'report' / name)
  assert len(pcm) == pytest.approx(rate, abs=2)
  assert np.abs(np.fft.rfft(pcm)).argmax() * rate / len(pcm) == pytest.approx(1000, abs=3)
