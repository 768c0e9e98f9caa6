import itertools
import json
import pathlib
import subprocess
import sys
import wave

import av
import commands
import numpy as np
import pytest
from torch_or_skip import needs_torch, torch

from audionet_tf.core.errors import UserError
from benchmark import build, data, log_mel, main, measure, quantize, rows, soundnet, start, stream, teacher, web

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / 'scripts'


def test_help_names_the_parts():
  done = subprocess.run([SCRIPTS / 'benchmark', '--help'], capture_output=True, text=True, timeout=60)
  shown = ' '.join(done.stdout.split())
  assert (
    'build, build_sparse, workers, teacher, epoch, soundnet, pipeline, inference, features, captions, service, stream, '
    'web, start, log_mel, quantize, learning, whole_run'
    in shown
    and '--data' in shown
  ), done.stderr


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [(['--only=epohc'], 'known are build, build_sparse'), (['--data=nowhere'], 'no such folder'), (['build'], "'build'")],
)
def test_a_mistake_is_one_line(arguments, message):
  done = commands.run('benchmark.main', *arguments)
  assert done.returncode == 1
  assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1 and message in done.stderr


def test_the_long_part_runs_only_on_request():
  parts = main.chosen_parts
  assert parts(None, False) == [
    'build',
    'build_sparse',
    'workers',
    'teacher',
    'epoch',
    'soundnet',
    'pipeline',
    'inference',
    'features',
    'captions',
    'service',
    'stream',
    'web',
    'start',
    'log_mel',
    'quantize',
    'learning',
  ]
  assert parts(None, True)[-1] == 'whole_run'
  assert parts(['whole_run', 'epoch'], False) == ['epoch', 'whole_run']


@pytest.mark.parametrize(
  ('value', 'least', 'most', 'expected'),
  [(2.0, None, 2.0, 'ok'), (2.01, None, 2.0, 'short'), (299, 300, None, 'short'), (0.94, 0.95, 1.05, 'short')]
  + [(1.06, 0.95, 1.05, 'short'), (1.0, 0.95, 1.05, 'ok'), (7, None, None, '-')],
)
def test_verdict(value, least, most, expected):
  assert measure.verdict(value, least, most) == expected


def test_ratios_are_taken_of_neighbours():
  # A machine three times slower in the second turn: the medians' ratio would be 3 / 4.
  assert measure.median_ratio([1, 3, 1, 3, 3], [4, 12, 4, 12, 4]) == 0.25


def test_table_is_aligned():
  lines = [
    measure.Line('epoch', 'PyTorch', '<= 0.45x', '0.1 s : 0.4 s', 0.25, 'ok', {}, []),
    measure.Line('run', 'nothing', '-', '1 min', None, '-', {}, []),
  ]
  assert measure.table(lines).splitlines() == [
    'what   against  required  measured       ratio  verdict',
    '-------------------------------------------------------',
    'epoch  PyTorch  <= 0.45x  0.1 s : 0.4 s  0.25   ok',
    'run    nothing  -         1 min          -      -',
  ]


def test_a_command_is_charged_with_its_descendants():
  busy = 'import time\nwhile time.process_time() < 0.3: pass'
  # The second child is left behind by its parent, as the builder leaves the server of its decoders.
  parent = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {busy!r}])
subprocess.Popen([sys.executable, "-c", {busy!r}])
held = bytes([1]) * 90_000_000
"""
  usage = measure.run([sys.executable, '-c', parent])
  assert usage.cpu_seconds >= 0.6  # twice what each uses before it ends; the parent's own is not known
  assert 90e6 < usage.peak_bytes < 180e6
  with pytest.raises(UserError, match='exit code 3'):
    measure.run([sys.executable, '-c', 'raise SystemExit(3)'])


def test_processes_take_turns_on_the_processors_they_may_use(tmp_path):
  # Each turn notes its name in one file and answers with its number and its processors; other output is no answer.
  program = f"""
import itertools, os, sys
from benchmark import measure
numbers = itertools.count()
def turn():
  print("noise")
  with open({str(tmp_path / 'log')!r}, "a") as log:
    log.write(sys.argv[1])
  return [next(numbers), len(os.sched_getaffinity(0))]
measure.answer_turns(turn)
"""
  commands = {name: [sys.executable, '-c', program, name] for name in 'AB'}
  measurements = measure.in_turns(commands, measure.first_cpus(1), 3, 'test')
  assert measurements == {name: [[1, 1], [2, 1], [3, 1]] for name in 'AB'}  # number 0 was the warm-up
  assert (tmp_path / 'log').read_text() == 'AB' * 4


def test_a_broken_process_is_named_with_its_log():
  with pytest.raises(UserError, match='no such luck'):
    measure.in_turns({'A': [sys.executable, '-c', 'raise SystemExit("no such luck")']}, None, 1, 'test')


@needs_torch
def test_pytorch_network_is_audionet():
  from benchmark import pytorch  # which imports torch

  net = pytorch.AudioNet()
  assert sum(p.numel() for p in net.parameters()) == 18_040  # Bryce 2018, table 1
  assert net(torch.zeros(3, 1, 640)).shape == (3, 1000)


@needs_torch
def test_pytorch_network_is_soundnet():
  net = soundnet.torch_network()
  assert sum(p.numel() for p in net.parameters()) == 14_352_713  # with 1000 and 401 classes, those of the original
  with torch.no_grad():
    assert [tuple(logits.shape) for logits in net(torch.zeros(1, 1, 441_000))] == [(1, 1000, 4), (1, 401, 4)]


@needs_torch
@pytest.mark.long
def test_steps_of_soundnet_are_measured():
  (line,) = rows.PARTS['soundnet'](rows.Context(None, None, rows.QUICK))
  assert len(line.raw['ours_seconds']) == len(line.raw['pytorch_seconds']) == 1
  assert line.ratio == pytest.approx(line.raw['ours_seconds'][0] / line.raw['pytorch_seconds'][0])


def test_log_mel_is_stated_by_the_median(monkeypatch):
  monkeypatch.setattr(log_mel.measure, 'in_turns', lambda commands, *_: {'ours': [3.0, 9.0, 4.0]})
  (line,) = rows.PARTS['log_mel'](rows.Context(None, None, rows.Sizes(sound_seconds=3600)))
  assert (line.ratio, line.verdict) == (900, 'ok')


def test_clips_and_sounds_are_as_long_as_asked(tmp_path, monkeypatch):
  monkeypatch.setattr(data, 'BLOCK_SECONDS', 2)
  data.make_clips(tmp_path / 'clips', count=2, seconds=1)
  for path in sorted((tmp_path / 'clips').iterdir()):
    with av.open(str(path)) as container:
      frames = [frame.time for frame in container.decode(video=0)]
    assert np.allclose(frames, np.arange(len(frames)) / 25) and 25 <= len(frames) <= 28
    with av.open(str(path)) as container:
      assert sum(frame.samples for frame in container.decode(audio=0)) >= 44100
  data.make_sounds(tmp_path / 'a.wav', tmp_path / 'a.mp3', 6)
  with wave.open(str(tmp_path / 'a.wav')) as sound:
    assert (sound.getframerate(), sound.getnchannels(), sound.getnframes()) == (44100, 1, 6 * 44100)
  with av.open(str(tmp_path / 'a.mp3')) as container:
    assert float(container.duration / av.time_base) == pytest.approx(6, abs=0.2)


def test_learning_is_held_against_the_curve(tmp_path, monkeypatch):
  for name in ('clips', 'teacher', 'work/learning', 'work/learning_records'):
    (tmp_path / name).mkdir(parents=True)
  for name in ('a.tflite', 'a.txt'):
    (tmp_path / 'teacher' / name).touch()
  (tmp_path / 'work/learning_records/manifest.json').write_text('{"windows": 1640}')
  kl = {1: 5.0, 10: 3.5, 20: 2.85, 50: 2.35 * 1.051, 100: 2.16, 200: 2.05 * 0.951}
  epochs = [json.dumps({'kl': kl.get(epoch, 0)}) for epoch in range(1, 201)]
  (tmp_path / 'work/learning/metrics.jsonl').write_text('\n'.join(epochs))
  ran = []
  monkeypatch.setattr(rows, 'run', ran.append)
  lines = rows.learning(rows.Context(tmp_path, tmp_path / 'work', rows.Sizes()))
  assert [line.verdict for line in lines] == ['-', '-', 'ok', 'short', '-', 'ok']
  assert [command[2] for command in ran] == ['tfrecords.build', 'audionet_tf.train'] and '--epochs=200' in ran[1]


def costing(monkeypatch, module, seconds):
  """Lets `run` of a part write a manifest of whole.mp4 in place of running, at costs that repeat; list of commands."""
  costs, ran = itertools.cycle(seconds), []

  def run(command, cpus=None):
    for folder in [pathlib.Path(flag.partition('=')[2]) for flag in command if flag.startswith('--output=')]:
      folder.mkdir(parents=True, exist_ok=True)
      (folder / 'manifest.json').write_text(json.dumps({'videos': [{'id': 'whole.mp4'}]}))
    ran.append(command)
    cost = next(costs)
    return measure.Usage(cost, cost, 0)

  monkeypatch.setattr(module, 'run', run)
  return ran


@pytest.fixture
def two_clips(tmp_path):
  (tmp_path / 'clips').mkdir()
  for name in ('broken.mp4', 'whole.mp4'):
    (tmp_path / 'clips' / name).touch()
  return rows.Context(tmp_path, tmp_path / 'work', rows.Sizes())


@pytest.mark.parametrize(
  ('part', 'first', 'verdict'), [('build', 4, 'ok'), ('build', 5, 'short'), ('build_sparse', 4, 'short')]
)
def test_build_compares_the_same_files(two_clips, monkeypatch, part, first, verdict):
  monkeypatch.setattr(build.shutil, 'which', lambda name: name)
  costing(monkeypatch, build, [first, 1, 2, 3])  # build; ffmpeg of broken.mp4 and of whole.mp4; build of whole.mp4
  everything, usable = rows.PARTS[part](two_clips)
  assert everything.ratio == pytest.approx(first / 3) and everything.verdict == verdict
  assert usable.ratio == 1.5  # 3 against 2


def test_two_workers_are_compared_with_one(two_clips, monkeypatch):
  monkeypatch.setattr(build, 'first_cpus', lambda count: set(range(count)))
  ran = costing(monkeypatch, build, [9, 5])
  few, many = rows.PARTS['workers'](two_clips)
  assert (few.ratio, few.verdict, many.ratio) == (1.8, 'ok', 1.8)
  assert [command[-1] for command in ran[:2]] == ['--workers=1', '--workers=2']
  assert ', 2 files,' in few.what and ', 16 files,' in many.what
  monkeypatch.setattr(build, 'first_cpus', lambda count: {0})
  with pytest.raises(measure.Skipped, match='two processors'):
    rows.PARTS['workers'](two_clips)


def test_the_pass_of_a_teacher_is_compared_with_its_network(two_clips, monkeypatch):
  costing(monkeypatch, teacher, [1])
  (two_clips.work / 'clips').mkdir(parents=True)
  turns = {'pass': [90, 45], 'alone': [100, 50], 'tried': [(2.0, 1e-4), (4.0, 1e-4)]}
  monkeypatch.setattr(teacher, 'in_turns', lambda commands, *_: {name: turns[name] for name in commands})
  lines = rows.PARTS['teacher'](two_clips)
  assert [(line.ratio, line.verdict) for line in lines] == [(0.9, 'ok'), (3.0, '-'), (0.9, 'ok'), (3.0, 'ok')]


@pytest.mark.long
def test_parts_of_the_teacher_answer_turns(tmp_path):
  records = tmp_path / 'records'
  data.make_clips(tmp_path / 'clips', count=1, seconds=1)
  measure.run(build.build_command([tmp_path / 'clips'], records, '--max_seconds=0.2'))
  for arguments in (('pass', 'mobilenet', records), ('alone', 'mobilenet', 5), ('bfloat16', 'mobilenet', records)):
    (turn,) = measure.in_turns({'it': teacher.part(*arguments)}, None, 1, '')['it']
    assert turn[1] >= 0 and turn[0] > 0 if arguments[0] == 'bfloat16' else turn > 0


def test_starting_is_measured_from_the_shell(two_clips, monkeypatch):
  two_clips.work.mkdir()
  ran = costing(monkeypatch, start, [1.0])
  helped, own, exported = rows.PARTS['start'](two_clips)
  assert [line.verdict for line in (helped, own, exported)] == ['short', 'ok', 'ok']
  assert [command[2] for command in ran] == ['benchmark.tensorflow', *['audionet_tf.infer'] * 15]


def test_delays_of_a_stream_are_from_the_last_sample_of_each_window():
  # Pieces of 10 ms that enter at 0, 1, 2 ...; those of the lead, here six, came all at once.
  lines = [
    (5.5, '{"start_seconds": 0.0, "end_seconds": 0.04}'),
    (7.25, '{"start_seconds": 0.04, "end_seconds": 0.08}'),
    (7.5, '{"event": "rain", "start_seconds": 0.0, "end_seconds": 0.08}'),
    (12.5, '{"start_seconds": 0.08, "end_seconds": 0.115}'),  # ends inside a piece
    (99.0, '{"start_seconds": 0.12, "end_seconds": 0.16}'),  # of the end of the pipe
  ]
  assert stream.delays_of([float(n) for n in range(12)], lines, lead=6) == [0.25, 1.5]


def test_a_stream_is_fed_until_it_ends():
  """A stand-in for the command that answers every four pieces, and one that breaks."""
  piece = 2 * stream.PIECE_SAMPLES
  program = f"""
import json, sys
for number in range(1, 1000):
  if len(sys.stdin.buffer.read(4 * {piece})) < 4 * {piece}:
    break
  print(json.dumps({{"start_seconds": 0.04 * (number - 1), "end_seconds": 0.04 * number}}), flush=True)
"""
  found = stream.delays([sys.executable, '-c', program], 0.04, 0.2)
  assert len(found) == 5 and min(found) >= 0
  with pytest.raises(UserError, match='exit code 3'):
    stream.delays([sys.executable, '-c', 'raise SystemExit(3)'], 0.04, 0.2)


@pytest.mark.parametrize(('delays', 'verdict'), [([0.01, 0.02, 0.05], 'ok'), ([0.01, 0.01, 0.051], 'short')])
def test_the_slowest_window_of_a_stream_is_judged(two_clips, monkeypatch, delays, verdict):
  costing(monkeypatch, stream, [1])
  monkeypatch.setattr(stream, 'delays', lambda command, window_seconds, seconds: delays)
  lines = rows.PARTS['stream'](two_clips)
  assert [line.verdict for line in lines] == [verdict] * 2
  assert lines[0].measured == f'median {1000 * delays[1]:.1f} ms, largest {1000 * delays[2]:.1f} ms'


def test_the_page_is_judged_by_the_median_of_its_first_cues(two_clips, monkeypatch):
  two_clips.work.mkdir()
  monkeypatch.setattr(web.chromium, 'PROGRAM', 'chromium')
  monkeypatch.setattr(web.shutil, 'which', lambda name: name)
  monkeypatch.setattr(web.importlib.util, 'find_spec', lambda name: name)
  ran = costing(monkeypatch, web, [1])
  monkeypatch.setattr(web, 'in_turns', lambda commands, *_: {'ours': [9.0, 3.1, 1.0]})
  (line,) = rows.PARTS['web'](two_clips)
  assert (line.measured, line.verdict) == ('3.10 s', 'short') and ran[0][2] == 'audionet_tf.export'
  with av.open(str(two_clips.work / 'dropped/clip0.mp4')) as clip:
    assert float(clip.duration / av.time_base) == pytest.approx(10.1, abs=0.1)
  monkeypatch.setattr(web.shutil, 'which', lambda name: None)
  with pytest.raises(measure.Skipped, match='npm'):
    rows.PARTS['web'](two_clips)


def test_smaller_files_are_judged_by_what_the_export_tells(two_clips, monkeypatch):
  (two_clips.data / 'esc10/audio').mkdir(parents=True)
  (two_clips.data / 'esc10/audio/a.wav').touch()
  told = [
    'using the starter',
    'warning: model_float16.tflite: 1.87 MB of 3.71, first class as in float32 in 98 of 100 windows (98.0%), less ...',
    'model_int8.tflite: 1.10 MB of 3.71, first class as in float32 in 396 of 400 windows (99.0%)',
  ]
  done = subprocess.CompletedProcess([], 0, '', '\n'.join(told))
  monkeypatch.setattr(quantize.subprocess, 'run', lambda *_, **__: done)
  lines = rows.PARTS['quantize'](two_clips)
  assert [(line.measured, line.verdict) for line in lines] == [('98.0 %', 'short'), ('99.0 %', 'ok')]
  assert lines[1].raw == {'same': 396, 'windows': 400} and 'int8' in lines[1].what


def test_what_is_not_given_is_skipped(tmp_path):
  for folder in (None, tmp_path):
    for part in ('build', 'build_sparse', 'workers', 'quantize', 'learning'):
      with pytest.raises(measure.Skipped, match='--data=FOLDER'):
        rows.PARTS[part](rows.Context(folder, tmp_path, rows.QUICK))
