"""Students trained one after the other, each by its own recipe, and joined: `train --members`."""

import json

import commands
import numpy as np
import pytest
import s3_server
import synthetic_records
from scipy import special

from audionet_tf.data.params import RecordParams
from audionet_tf.models import student_file


def train(folder, *words, environment=None):
  return commands.run('audionet_tf.train', *words, cwd=folder, environment=environment)


def weights(path):
  return student_file.load(path / 'student.keras')[0].get_weights()


def epochs(run):
  return len((run / 'metrics.jsonl').read_text().splitlines())


@pytest.fixture(scope='module')
def world(tmp_path_factory):
  """Records, labels, two recipes, and a run of both."""
  folder = tmp_path_factory.mktemp('world')
  synthetic_records.write_records(folder / 'records', {'a.wav': 5, 'b.wav': 4}, RecordParams(images_per_window=0))
  (folder / 'labels.csv').write_text('filename,category\na.wav,dog\nb.wav,cat\n')
  (folder / 'first.flags').write_text('--epochs=3\n--optimizer=adam\n--learning_rate=0.05\n--batch_size=4\n')
  (folder / 'second.flags').write_text('--epochs=2\n--learning_rate=0.1\n--batch_size=9\n--run_dir=elsewhere\n')
  (folder / 'both.flags').write_text(
    '--records=records\n--teacher=labels=labels.csv\n--run_dir=run\n--members=first.flags,second.flags\n'
  )
  done = train(folder, '--flagfile=both.flags', '--seed=3')
  assert done.returncode == 0, done.stderr
  return folder, done


def test_each_is_trained_by_its_own_recipe(world):
  folder, _ = world
  for name in ('first', 'second'):
    alone = folder / f'alone_{name}'
    words = '--records=records', '--teacher=labels=labels.csv', '--seed=3', f'--run_dir={alone}'
    done = train(folder, f'--flagfile={name}.flags', *words)
    assert done.returncode == 0, done.stderr
    for ours, expected in zip(weights(folder / f'run/members/{name}'), weights(alone), strict=True):
      np.testing.assert_array_equal(ours, expected)
  assert [epochs(folder / f'run/members/{name}') for name in ('first', 'second')] == [3, 2]
  assert not (folder / 'elsewhere').exists()


def test_the_run_has_their_mean(world):
  folder, done = world
  assert done.stdout == 'student: run/student.keras\nSavedModel: run/export/1\n'
  sound = np.random.default_rng(0).uniform(-1, 1, [4, 640]).astype(np.float32)

  def probabilities(path):
    logits = student_file.load(folder / path / 'student.keras')[0](sound)['logits/labels']
    return special.softmax(np.float64(logits), -1).mean(1)

  expected = np.mean([probabilities(f'run/members/{name}') for name in ('first', 'second')], 0)
  np.testing.assert_allclose(probabilities('run'), expected, atol=1e-6)
  assert json.loads((folder / 'run/student.json').read_text())['student'] == 'audionet+audionet'


def test_it_is_resumed_where_it_stopped(world):
  folder, _ = world
  words = '--records=records', '--teacher=labels=labels.csv', '--seed=3'
  done = train(folder, '--flagfile=first.flags', *words, '--run_dir=later/members/first')
  assert done.returncode == 0, done.stderr  # as if the run had been killed in the second
  again = '--flagfile=both.flags', '--seed=3', '--run_dir=later'
  refused = train(folder, *again)
  assert refused.returncode == 1 and 'later/members/first: holds a run already; go on with --resume' in refused.stderr
  resumed = train(folder, *again, '--resume')
  assert resumed.returncode == 0, resumed.stderr
  for ours, expected in zip(weights(folder / 'later'), weights(folder / 'run'), strict=True):
    np.testing.assert_array_equal(ours, expected)
  before = (folder / 'later/student.keras').read_bytes()
  assert train(folder, *again, '--resume').returncode == 0
  assert (folder / 'later/student.keras').read_bytes() == before
  longer = train(folder, *again, '--resume', '--epochs=4')
  assert longer.returncode == 0, longer.stderr
  assert [epochs(folder / f'later/members/{name}') for name in ('first', 'second')] == [4, 4]
  assert longer.stdout.endswith('SavedModel: later/export/2\n')


def test_the_run_may_be_in_a_store(world, tmp_path, monkeypatch):
  folder, _ = world
  with s3_server.running() as endpoint:
    variables = s3_server.variables(endpoint, tmp_path / 'cache')
    for name, value in variables.items():
      monkeypatch.setenv(name, value)
    system = s3_server.system()
    system.mkdir('sounds')
    words = '--flagfile=both.flags', '--seed=3', '--run_dir=s3://sounds/run/'
    done = train(folder, *words, environment=variables)
    assert done.returncode == 0, done.stderr
    stored = {path.removeprefix('sounds/run/') for path in system.find('sounds/run')}
    assert stored >= {
      'student.json',
      'export/1/saved_model.pb',
      *(f'members/{n}/student.keras' for n in ('first', 'second')),
    }
    for name in ('student.keras', 'student.json'):
      system.get_file(f'sounds/run/{name}', str(tmp_path / name))
    for ours, expected in zip(weights(tmp_path), weights(folder / 'run'), strict=True):
      np.testing.assert_array_equal(ours, expected)
    refused = train(folder, *words, environment=variables)
    assert refused.returncode == 1 and 's3://sounds/run: holds a run already' in refused.stderr
    assert train(folder, *words, '--resume', environment=variables).returncode == 0
    system.invalidate_cache()
    assert {path.removeprefix('sounds/run/') for path in system.find('sounds/run')} == stored


@pytest.mark.parametrize(
  ('words', 'message'),
  [
    (['--members=first.flags'], 'give two or more presets or flag files with different names'),
    (['--members=first.flags,first.flags'], 'give two or more presets or flag files with different names'),
    (['--members=first.flags,nothing'], 'nothing: no such flag file or preset'),
    (['--members=first.flags,'], 'give two or more'),
    (['--members=first.flags,wrong.flags'], "Unknown command line flag 'epoch'"),
    (['--members=first.flags,latin.flags'], 'a flag file is not UTF-8 text'),
    (['--members=first.flags,joined'], 'joined has members of its own; name those'),
    (['--members=first.flags,loss.flags'], 'they have different --loss'),
    (['--members=first.flags,sounds.flags'], '--sounds does not go with --members'),
    (['--sounds=records'], '--sounds does not go with --members'),
    (['--init=run'], '--init does not go with --members'),
    (['--distribute=multiworker'], 'leave --distribute out'),
    (['--run_dir=hf://user/model'], 'audionet_tf.export puts students on the Hub'),
    (['--student=nonet'], '--student=nonet is not known'),
    (['--student=audionet+audionet'], 'is joined of several'),
    (['--run_dir=run'], 'run: holds a run already; go on with --resume'),
    (['--run_dir=run/members/first', '--resume'], 'run/members/first: holds a run of one student'),
  ],
)
def test_mistakes_are_told_before_anything_is_trained(world, words, message):
  folder, _ = world
  (folder / 'wrong.flags').write_text('--epoch=3\n')
  (folder / 'latin.flags').write_bytes(b'--student=audionet\n# caf\xe9\n')
  (folder / 'loss.flags').write_text('--loss=l2\n')
  (folder / 'sounds.flags').write_text('--sounds=records\n')
  done = train(folder, '--flagfile=both.flags', '--run_dir=none', *words)
  assert done.returncode == 1 and done.stderr.count('\n') == 1 and message in done.stderr, done.stderr
  assert not (folder / 'none').exists()
