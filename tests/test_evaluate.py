"""What a student is judged by: against SciPy and scikit-learn, and on students whose answers are known."""

import csv
import dataclasses
import io
import json
import pathlib

import clips
import commands
import numpy as np
import pytest
import synthetic
from PIL import Image
from scipy import special
from sklearn import metrics

from audionet_tf import (
  clip_accuracy,
  evaluation,
  evaluation_tables,
  label_evaluation,
  media,
  serving,
  students,
  teacher_files,
  teachers,
)
from audionet_tf import params as params_lib
from audionet_tf.errors import UserError

NAMES = ['low', 'high', 'golden retriever', 'crane', 'crane', 'German shepherd, German police dog', 'boxer']


def distributions(*shape, seed=0):
  return np.random.default_rng(seed).dirichlet(np.full(shape[-1], 0.3), shape[:-1])


def known_student(folder, class_names=tuple('abcde'), scale=40.0, teacher=None, **settings):
  """student.keras that hears: at 16 kHz, filter 0 answers tones of 1 kHz, filter 1 of 4 kHz; it names class 0 or 1."""
  model = students.build('audionet', {'teacher': len(class_names)})
  n = np.arange(64)
  kernel = np.zeros([64, 1, 16], np.float32)
  kernel[:, 0, 0] = np.cos(2 * np.pi * n * 1000 / 16000) / 32
  kernel[:, 0, 1] = np.cos(2 * np.pi * n * 4000 / 16000) / 32
  model.get_layer('conv').set_weights([kernel, np.zeros(16)])
  dense = np.zeros([16, len(class_names)], np.float32)
  dense[0, 0] = dense[1, 1] = scale
  model.get_layer('dense_teacher').set_weights([dense, np.zeros(len(class_names))])
  described = {'teacher': teacher.description} if teacher else {}
  plain = {'student': 'audionet', 'sample_rate_hz': 16000, 'mono': 'mean', 'window_seconds': 0.04}
  made = students.StudentSettings(**(plain | settings), classes={'teacher': list(class_names)}, teachers=described)
  folder.mkdir(exist_ok=True)
  students.save(folder / 'student.keras', model, made)
  return model, made


@pytest.fixture(scope='module')
def scene(tmp_path_factory):
  """A folder with records, a teacher of five classes, RUN with a student of it, RUN/export/1."""
  folder = tmp_path_factory.mktemp('scene')
  pcm = synthetic.write_records(folder / 'records', {'a.mp4': 5, 'b.mp4': 12, 'c.mp4': 1})
  teacher = teachers.load(synthetic.colour_teacher(folder / 'teacher.keras'))
  model, settings = known_student(folder / 'run', teacher=teacher)
  serving.export(model, settings, folder / 'run' / 'export')
  return folder, pcm, teacher, model


def expected_measures(scene):
  """The numbers of every video, from the pictures and sounds themselves: dict of id to [windows, 3]."""
  _, pcm, teacher, model = scene
  measures = {}
  for number, video in enumerate(['a.mp4', 'b.mp4', 'c.mp4']):
    colour = ((number * 83) % 256, (number * 47 + 90) % 256, (number * 29 + 160) % 256)
    picture = np.asarray(Image.open(io.BytesIO(synthetic.picture(colour, 32))))[None]
    answer = np.asarray(teacher.probabilities(picture), np.float64)[0]
    sounds = np.stack([values for (name, _), values in sorted(pcm.items()) if name == video]) / 32768
    said = special.softmax(model(sounds.astype(np.float32))['logits/teacher'].numpy()[:, 0].astype(np.float64), -1)
    ranks = (said > said[:, answer.argmax()][:, None]).sum(-1)
    measures[video] = np.stack([special.rel_entr(answer, said).sum(-1), ranks < 1, ranks < 5], -1)
  return measures


@pytest.mark.parametrize('place', ['run', 'run/export', 'run/export/1', 'run/student.keras'])
def test_evaluate_records(scene, place):
  folder, _, teacher, _ = scene
  student = evaluation.load_student(folder / place)
  assert student.class_names == list('abcde')
  found = evaluation.evaluate_records(student, folder / 'records', teacher, batch_size=4)
  expected = expected_measures(scene)
  assert list(found['videos']) == list(expected) and found['windows'] == 18
  for video, values in expected.items():
    row = found['videos'][video]
    assert row['windows'] == len(values)
    np.testing.assert_allclose([row[k] for k in evaluation.MEASURES], values.mean(0), rtol=2e-3)  # float16 answers
  everything = np.concatenate(list(expected.values()))
  np.testing.assert_allclose([found[k] for k in evaluation.MEASURES], everything.mean(0), rtol=2e-3)
  np.testing.assert_allclose(found['kl_of_videos'], np.mean([v[:, 0].mean() for v in expected.values()]), rtol=2e-3)


def test_the_teacher_comes_from_the_settings(scene, tmp_path):
  folder, _, teacher, _ = scene
  student = evaluation.load_student(folder / 'run')
  assert evaluation.load_teacher(student, evaluation.named_teacher(student)).digest == teacher.digest
  known_student(tmp_path / 'converted')
  with pytest.raises(UserError, match='--teacher'):
    evaluation.named_teacher(evaluation.load_student(tmp_path / 'converted'))
  known_student(tmp_path / 'other', class_names=('x', 'y'))
  with pytest.raises(UserError, match='knows 5 classes, the student 2'):
    evaluation.load_teacher(evaluation.load_student(tmp_path / 'other'), {'source': folder / 'teacher.keras'})


def test_a_teacher_that_changed_is_noticed_unless_it_is_given(scene, tmp_path):
  _, _, teacher, _ = scene
  changed = synthetic.colour_teacher(tmp_path / 'changed.keras', size=16)
  named = teacher.description | {'source': str(changed)}
  known_student(tmp_path / 'run', teacher=dataclasses.replace(teacher, description=named))
  student = evaluation.load_student(tmp_path / 'run')
  digests = teacher_files.file_digest(changed)[:16], teacher.digest[:16]
  with pytest.raises(UserError, match='{}.*{}'.format(*digests)):
    evaluation.load_teacher(student, evaluation.named_teacher(student))
  assert evaluation.load_teacher(student, {'source': changed}).class_names == teacher.class_names
  older = {key: value for key, value in named.items() if key != 'digest'}
  known_student(tmp_path / 'run', teacher=dataclasses.replace(teacher, description=older))
  student = evaluation.load_student(tmp_path / 'run')
  assert evaluation.load_teacher(student, evaluation.named_teacher(student)).digest != teacher.digest


@pytest.mark.parametrize('said', ['vgg16', {'source': 5}, {'source': 'x', 'weights': None, 'dtype': 'float32'}])
def test_a_teacher_that_no_program_wrote_down_is_damaged(scene, tmp_path, said):
  _, _, teacher, _ = scene
  known_student(tmp_path / 'run', teacher=dataclasses.replace(teacher, description=said))
  with pytest.raises(UserError, match='damaged'):
    evaluation.named_teacher(evaluation.load_student(tmp_path / 'run'))


def test_records_that_sound_otherwise_are_refused(scene, tmp_path):
  folder, _, teacher, _ = scene
  known_student(tmp_path / 'run', sample_rate_hz=22050)
  with pytest.raises(UserError, match='sample_rate_hz of the records is 16000, of the student 22050'):
    evaluation.evaluate_records(evaluation.load_student(tmp_path / 'run'), folder / 'records', teacher)


def test_a_student_that_diverged_is_told(tmp_path):
  known_student(tmp_path / 'run', scale=float('nan'))
  student = evaluation.load_student(tmp_path / 'run')
  with pytest.raises(UserError, match='not finite'):
    student.logits(np.ones([1, 640], np.float32))


def test_what_is_no_student(tmp_path):
  with pytest.raises(UserError, match='nowhere'):
    evaluation.load_student(tmp_path / 'nowhere')
  known_student(tmp_path / 'run')
  settings = json.loads((tmp_path / 'run' / 'student.json').read_text())
  (tmp_path / 'run' / 'student.json').write_text(json.dumps(settings | {'classes': {'other': ['a']}}))
  with pytest.raises(UserError, match='head other'):
    evaluation.load_student(tmp_path / 'run')


def write_csv(path, rows):
  with open(path, 'w', newline='', encoding='utf-8') as file:
    csv.writer(file).writerows(rows)
  return path


def groups_csv(tmp_path, *rows):
  return write_csv(tmp_path / 'groups.csv', [['category', 'imagenet_index', 'class_name'], *rows])


def test_groups_by_name(tmp_path):
  path = groups_csv(
    tmp_path,
    ['dog', 235, 'german shepherd'],
    ['dog', 242, 'Boxer'],
    ['dog', 207, 'golden_retriever'],
    ['dog', 999, 'a class that this model lacks'],
    ['bird', 4, 'crane'],
    ['birds', 900, 'crane'],
  )
  assert clip_accuracy.read_groups(path, NAMES) == {'dog': [2, 5, 6], 'bird': [4], 'birds': [3, 4]}


def test_groups_of_a_model_with_background_count_one_on(tmp_path):
  names = ['background', 'crane', 'x', 'crane']
  assert clip_accuracy.read_groups(groups_csv(tmp_path, ['bird', 2, 'crane']), names) == {'bird': [3]}


def test_groups_by_index_only_without_names(tmp_path):
  path = groups_csv(tmp_path, ['dog', 207, 'golden retriever'], ['dog', 7, 'cock'])
  assert clip_accuracy.read_groups(path, [f'class {i}' for i in range(1000)]) == {'dog': [7, 207]}
  for names in ([f'class {i}' for i in range(999)], [f'name {i}' for i in range(1000)]):
    with pytest.raises(UserError, match="no class of category 'dog'"):
      clip_accuracy.read_groups(path, names)


def test_groups_without_an_index(tmp_path):
  path = write_csv(tmp_path / 'groups.csv', [['category', 'class_name'], ['tone', 'low']])
  assert clip_accuracy.read_groups(path, NAMES) == {'tone': [0]}


@pytest.mark.parametrize(
  'text, expected', [('', 'no rows'), ('a,b\n1,2\n', 'no column category'), ('category\nx\n', 'class_name')]
)
def test_damaged_tables(tmp_path, text, expected):
  (tmp_path / 'groups.csv').write_text(text)
  with pytest.raises(UserError, match=expected):
    clip_accuracy.read_groups(tmp_path / 'groups.csv', NAMES)


def test_clips_of_folds(tmp_path):
  rows = [['filename', 'fold', 'target', 'category'], ['a.ogg', 1, 0, 'x'], ['b/c.ogg', 4, 1, 'y']]
  path = write_csv(tmp_path / 'clips.csv', rows)
  assert clip_accuracy.read_clips(path) == [(tmp_path / 'a.ogg', 'x'), (tmp_path / 'b' / 'c.ogg', 'y')]
  assert clip_accuracy.read_clips(path, '/media', ['4']) == [(pathlib.Path('/media/b/c.ogg'), 'y')]
  with pytest.raises(UserError, match='no clips of fold 5; there are 1, 4'):
    clip_accuracy.read_clips(path, None, ['5'])


def test_group_scores_are_sums():
  probabilities = distributions(20, 7)
  scores = clip_accuracy.group_scores(probabilities, {'a': [0, 3], 'b': [6]})
  np.testing.assert_allclose(scores, [[p[0] + p[3], p[6]] for p in probabilities])


def test_confusion_matrix_is_that_of_scikit_learn():
  true, said = np.random.default_rng(0).integers(0, 4, [2, 50])
  expected = metrics.confusion_matrix(true, said, labels=range(5))
  np.testing.assert_array_equal(clip_accuracy.confusion_matrix(true, said, 5), expected)


def tone(path, hertz, seconds=0.5, rate_hz=16000):
  n = np.arange(round(seconds * rate_hz))
  sound = (0.5 * np.cos(2 * np.pi * hertz * n / rate_hz)).astype(np.float32)
  clips.write(path, seconds=seconds, times=[], sounds=[sound], rate_hz=rate_hz)


@pytest.fixture
def tones(tmp_path):
  """videos.csv of three low and two high tones, one of them labelled wrongly; groups.csv."""
  rows = [['path', 'fold', 'target', 'category']]
  for name, hertz, fold, category in (
    ('a.wav', 1000, 1, 'deep'),
    ('b.wav', 1000, 1, 'deep'),
    ('c.wav', 1000, 2, 'shrill'),
    ('d.wav', 4000, 2, 'shrill'),
    ('e.wav', 4000, 1, 'shrill'),
  ):
    tone(tmp_path / name, hertz)
    rows.append([name, fold, 0, category])
  write_csv(tmp_path / 'videos.csv', rows)
  groups_csv(tmp_path, ['shrill', '', 'high'], ['deep', '', 'low'], ['dog', '', 'boxer'])
  known_student(tmp_path / 'run', class_names=NAMES)
  return tmp_path


def test_evaluate_clips(tones):
  student = evaluation.load_student(tones / 'run')
  groups = clip_accuracy.read_groups(tones / 'groups.csv', student.class_names)
  found = clip_accuracy.evaluate_clips(student, clip_accuracy.read_clips(tones / 'videos.csv'), groups)
  assert found['categories'] == ['shrill', 'deep', 'dog']
  assert found['confusion'] == [[2, 1, 0], [0, 2, 0], [0, 0, 0]]
  assert (found['accuracy'], found['clips'], found['unreadable']) == (0.8, 5, [])
  text = evaluation_tables.of_clips(found)
  assert 'accuracy: 80.0% (4 of 5 clips)' in text and '1 shrill' in text


def test_the_classes_of_a_student_of_labels_are_the_categories(tones):
  known_student(tones / 'labels', class_names=['deep', 'shrill', *NAMES[2:]])
  done = evaluate(f'--model={tones}/labels', f'--clips={tones}/videos.csv', f'--output={tones}/x.json')
  assert done.returncode == 0, done.stderr
  found = json.loads((tones / 'x.json').read_text())['clips']
  assert found['categories'][:2] == ['deep', 'shrill'] and found['accuracy'] == 0.8


def test_a_clip_is_the_mean_over_its_windows(tones):
  student = evaluation.load_student(tones / 'run')
  cut = params_lib.RecordParams()
  probabilities = clip_accuracy.clip_probabilities(student, tones / 'a.wav', cut)
  n = np.arange(8000)
  pcm = np.rint(0.5 * np.cos(2 * np.pi * 1000 * n / 16000) * 32768) / 32768
  windows = pcm[: 12 * 640].reshape(12, 640).astype(np.float32)
  expected = special.softmax(student.logits(windows)[:, 0].astype(np.float64), -1).mean(0)
  np.testing.assert_allclose(probabilities, expected, rtol=1e-3)
  longer = clip_accuracy.clip_probabilities(student, tones / 'a.wav', params_lib.RecordParams(0.5, 0.5))
  np.testing.assert_allclose(longer, special.softmax(student.logits(pcm[None].astype(np.float32))[0, 0]), rtol=1e-3)


@pytest.mark.parametrize(
  ('student', 'window_seconds', 'rows', 'repeats'),
  [('soundnet5', 5.0, 1, 1), ('soundnet5', 0.2, 2, 13), ('logmel_cnn', 0.2, 2, 2), ('audionet', 5.0, 1, 0)],
)
def test_short_sound_is_repeated_for_those_that_repeat(tones, student, window_seconds, rows, repeats):
  """Windows without end of a sound of half a second, of which `rows` begin within it; AudioNet hears silence behind."""
  heard = []

  def logits(waveform):
    heard.append(waveform)
    return np.zeros([len(waveform), 1, 2], np.float32)

  settings = students.StudentSettings(student, 22_050, 'mean', window_seconds, {'t': ['x', 'y']})
  cut = params_lib.RecordParams(window_seconds, window_seconds, sample_rate_hz=22_050)
  found = clip_accuracy.clip_probabilities(
    evaluation.Student(logits, settings, None, 't', ['x', 'y']), tones / 'a.wav', cut
  )
  np.testing.assert_allclose(found, [0.5, 0.5])
  pcm = np.concatenate([pcm for _, pcm in media.sound_chunks(tones / 'a.wav', 22_050, 'mean')]) / 32768
  size = cut.window_samples
  whole = np.resize(pcm, rows * size) if repeats else np.pad(pcm, [0, size - len(pcm)])
  expected = np.tile(whole.reshape(rows, size), [1, max(repeats, 1)])
  assert expected.shape[1] >= students.shortest_samples(student)
  np.testing.assert_array_equal(np.concatenate(heard), expected.astype(np.float32))


@pytest.mark.parametrize(
  ('student', 'window_seconds', 'rows'), [('logmel_cnn', None, 3), ('logmel_cnn', 0.2, 2), ('audionet', None, 2)]
)
def test_clips_end_as_infer_hears_them(tones, student, window_seconds, rows):
  """Clips of 0.5 s in windows of 0.2 s: a third one ends with the clip where no length is asked for."""
  heard = []

  def logits(waveform):
    heard.append(waveform)
    return np.zeros([len(waveform), 1, 2], np.float32)

  settings = students.StudentSettings(student, 16_000, 'mean', 0.2, {'t': ['deep', 'shrill']})
  judged = evaluation.Student(logits, settings, None, 't', ['deep', 'shrill'])
  clip_accuracy.evaluate_clips(judged, [(tones / 'a.wav', 'deep')], {'deep': [0], 'shrill': [1]}, window_seconds)
  table = label_evaluation.read(
    write_csv(tones / 'one.csv', [['file', 'labels'], ['a.wav', 'deep']]), ['deep', 'shrill']
  )
  label_evaluation.evaluate(judged, table, tones, window_seconds)
  pcm = np.concatenate([pcm for _, pcm in media.sound_chunks(tones / 'a.wav', 16_000, 'mean')]) / 32768
  expected = [pcm[:3200], pcm[3200:6400], pcm[-3200:]][:rows]
  for found in heard:
    np.testing.assert_array_equal(found[:, :3200], np.array(expected, np.float32))
  assert len(heard) == 2


def test_unreadable_clips_are_named_and_left_out(tones, capsys):
  (tones / 'b.wav').write_bytes(b'no sound at all')
  (tones / 'c.wav').unlink()
  student = evaluation.load_student(tones / 'run')
  groups = clip_accuracy.read_groups(tones / 'groups.csv', student.class_names)
  found = clip_accuracy.evaluate_clips(student, clip_accuracy.read_clips(tones / 'videos.csv'), groups)
  assert (found['accuracy'], found['clips']) == (1, 3)
  assert found['unreadable'] == [str(tones / 'b.wav'), str(tones / 'c.wav')]
  assert 'b.wav' in capsys.readouterr().err


def test_a_category_without_a_group_is_named(tones):
  student = evaluation.load_student(tones / 'run')
  with pytest.raises(UserError, match='no group for the categories shrill of the clips'):
    clip_accuracy.evaluate_clips(student, clip_accuracy.read_clips(tones / 'videos.csv'), {'deep': [0]})


def evaluate(*arguments):
  return commands.run('audionet_tf.evaluate', *arguments)


def test_command_on_records_and_clips(scene, tones):
  folder, _, _, _ = scene
  groups = write_csv(tones / 'own.csv', [['category', 'class_name'], ['deep', 'a'], ['shrill', 'b']])
  done = evaluate(
    f'--model={folder}/run',
    f'--records={folder}/records',
    f'--clips={tones}/videos.csv',
    f'--groups={groups}',
    '--folds=1',
    f'--output={tones}/out/x.json',
    f'--figure={tones}/out/confusion.png',
  )
  assert done.returncode == 0, done.stderr
  measured = json.loads((tones / 'out' / 'x.json').read_text())
  assert done.stdout.startswith(f"teacher, as the model names it: '{folder}/teacher.keras'\n")
  assert f'{measured["records"]["kl"]:.4f}' in done.stdout and 'b.mp4' in done.stdout
  assert 'accuracy: 100.0% (3 of 3 clips)' in done.stdout and measured['clips']['accuracy'] == 1
  assert (tones / 'out' / 'confusion.png').read_bytes().startswith(b'\x89PNG')


def test_command_says_where_it_looked_for_the_teacher(scene, tmp_path):
  folder, _, teacher, _ = scene
  named = teacher.description | {'source': 'gone/teacher.keras'}
  known_student(tmp_path / 'run', teacher=dataclasses.replace(teacher, description=named))
  done = evaluate(f'--model={tmp_path}/run', f'--records={folder}/records')
  assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1
  assert 'gone/teacher.keras: no such teacher' in done.stderr
  assert f'looked for from {pathlib.Path.cwd()}; --teacher' in done.stderr


@pytest.mark.parametrize(
  'arguments, expected',
  [
    (['--records=x'], '--model'),
    (['--model=x'], '--records'),
    (['--model=x', '--records=y', '--groups=z'], '--groups goes with'),
    (['--model=x', '--records=y', '--figure=z.png'], '--figure goes with'),
    (['--model=x', '--clips=y', '--groups=z', '--figure=z.gif'], 'z.gif'),
    (['--model=x', '--records=y', 'z'], 'unexpected argument'),
  ],
)
def test_command_mistakes_are_one_line(arguments, expected):
  done = evaluate(*arguments)
  assert done.returncode == 1 and expected in done.stderr
  assert len(done.stderr.strip().splitlines()) == 1


def test_folds_are_judged_by_their_own_models_and_added_up(tones):
  known_student(tones / 'run1', class_names=NAMES)
  known_student(tones / 'run2', class_names=NAMES[1::-1] + NAMES[2:])  # takes low for high
  done = evaluate(
    f'--model={tones}/run{{fold}}',
    '--folds=1,2',
    f'--clips={tones}/videos.csv',
    f'--groups={tones}/groups.csv',
    f'--output={tones}/x.json',
  )
  assert done.returncode == 0, done.stderr
  found = json.loads((tones / 'x.json').read_text())['clips']
  # Fold 1: a and b low, e high, all right. Fold 2: c is low and labelled high: right by mistake; d is taken for low.
  assert found['folds'] == {'1': 1.0, '2': 0.5}
  assert (found['accuracy'], found['mean'], found['clips']) == (0.8, 0.75, 5)
  assert found['deviation'] == pytest.approx(np.std([1, 0.5], ddof=1))
  assert np.sum(found['confusion']) == 5
  assert 'folds 1: 100.0%, 2: 50.0%; mean 75.0%' in done.stdout


def test_one_fold_deviates_from_nothing():
  part = {'accuracy': 0.5, 'clips': 2, 'unreadable': [], 'categories': ['a', 'b'], 'results': []}
  found = clip_accuracy.together({'3': part | {'confusion': [[1, 0], [1, 0]]}})
  assert (found['folds'], found['mean'], found['deviation']) == ({'3': 0.5}, 0.5, None)
  assert 'folds 3: 50.0%; mean 50.0%, deviation -' in evaluation_tables.of_clips(found).splitlines()
