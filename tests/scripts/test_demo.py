"""The demo: its clips, its folders, and two small runs from videos to the table."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import av
import media_clips
import numpy as np
import pytest
import synthetic_records
from scipy.io import wavfile

from audionet_tf.core.errors import UserError
from audionet_tf.data import params
from demo import (
  clips,
  folders,
  pipeline,
  summary,
  synthesis,
)

ROOT = pathlib.Path(__file__).resolve().parents[2]


def sound_of(thing, number, seconds=1.0):
  clip = clips.clip(thing, number)
  return synthesis.sound(getattr(synthesis, thing), clip.voice, seconds)


def band_shares(sound):
  """Shares of the energy below 250, 500, 1000, ... Hz."""
  power = np.abs(np.fft.rfft(sound)) ** 2
  edges = np.array([0, 250, 500, 1000, 2000, 3000, 5000, 12000]) * len(sound) / synthesis.RATE_HZ
  bands = np.array([power[int(a) : int(b)].sum() for a, b in zip(edges, edges[1:], strict=False)])
  return bands / bands.sum()


@pytest.mark.parametrize('thing', clips.THINGS)
def test_a_clip_is_the_same_on_every_call_and_differs_from_the_next(thing):
  first, again, other = (sound_of(thing, number) for number in (3, 3, 4))
  np.testing.assert_array_equal(first, again)
  assert np.abs(first - other).max() > 0.05
  assert 0.3 < np.abs(first).max() <= 1
  pictures = [clips.picture(clips.clip(thing, number), t) for number, t in ((3, 0.1), (3, 0.4), (4, 0.1))]
  assert (pictures[0] != pictures[1]).any(), 'nothing moves'
  assert (pictures[0] != pictures[2]).any()


def test_things_differ_in_spectrum():
  """The nearest mean spectrum of five clips names most of five others: what AudioNet can use is enough."""
  means = np.array([np.mean([band_shares(sound_of(t, n)) for n in range(5)], 0) for t in clips.THINGS])
  hits = [
    np.abs(means - band_shares(sound_of(thing, number))).sum(1).argmin() == index
    for index, thing in enumerate(clips.THINGS)
    for number in range(5, 10)
  ]
  assert np.mean(hits) > 0.8


def test_a_written_clip_has_its_pictures_and_its_sound(tmp_path):
  clip = clips.clip('kettle', 0)
  clips.write(tmp_path / 'kettle.mp4', clip, 2)
  assert [path.name for path in tmp_path.iterdir()] == ['kettle.mp4']
  with av.open(str(tmp_path / 'kettle.mp4')) as container:
    frames = [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
  with av.open(str(tmp_path / 'kettle.mp4')) as container:
    sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
  assert len(frames) == 2 * clips.FRAMES_PER_SECOND
  assert np.abs(frames[5].astype(int) - clips.picture(clip, 5 / clips.FRAMES_PER_SECOND)).mean() < 6
  peak = np.abs(np.fft.rfft(sound)).argmax() * synthesis.RATE_HZ / len(sound)
  assert abs(peak / (2200 * clip.voice.pitch) - 1) < 0.05


def test_finished_and_foreign_folders_are_left_alone(tmp_path):
  output, settings = tmp_path / 'demo', {'epochs': 3}
  with folders.claimed(output, settings) as folder:
    assert folder == output
    with folders.claimed(output, settings) as other:  # in use
      assert other == tmp_path / 'demo-2'
  with folders.claimed(output, settings) as folder:
    assert folder == output  # unfinished: resumed
    (folder / folders.SUMMARY_NAME).write_text('done')
  with folders.claimed(output, settings) as folder:
    assert folder == tmp_path / 'demo-2'
  with folders.claimed(output, {'epochs': 4}) as folder:
    assert folder == tmp_path / 'demo-3'
  (tmp_path / 'other').mkdir()
  (tmp_path / 'other/thesis.txt').write_text('text')
  with folders.claimed(tmp_path / 'other', settings) as folder:
    assert folder == tmp_path / 'other-2'


@pytest.mark.parametrize('count, held_out', [(1, 0), (2, 1), (9, 1), (10, 2), (23, 4)])
def test_a_fifth_of_the_videos_is_held_out(tmp_path, count, held_out):
  names = [f'day {n % 2}/film {n}.mp4' for n in range(count)]
  small = params.RecordParams(image_size=16, window_seconds=0.01, hop_seconds=0.01, image_format='png')
  synthetic_records.write_records(tmp_path / 'probe', dict.fromkeys(names, 2), small)
  for name in names:
    (tmp_path / 'own' / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / 'own' / name).write_text(name)
  for _ in range(2):  # again: the same parts
    folders.split(tmp_path / 'own', tmp_path / 'probe', tmp_path / 'videos')
    parts = {part: list((tmp_path / 'videos').glob(f'{part}/*')) for part in ('train', 'held_out')}
    assert {part: len(links) for part, links in parts.items()} == {'train': count - held_out, 'held_out': held_out}
  assert sorted(link.read_text() for links in parts.values() for link in links) == sorted(names)


@pytest.mark.parametrize('make', [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_text('x')])
def test_a_folder_without_videos_is_one_line(tmp_path, make):
  make(tmp_path / 'films')
  with pytest.raises(UserError, match='give (one|a folder) with videos'):
    folders.check_videos(str(tmp_path / 'films'))


def test_without_a_network_the_reason_is_given(monkeypatch, tmp_path):
  monkeypatch.setenv('KERAS_HOME', str(tmp_path))
  monkeypatch.setattr(pipeline, 'WEIGHTS_URL', 'https://127.0.0.1:9/')  # the discard port: refused
  for name in ('http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY'):
    monkeypatch.delenv(name, raising=False)
  assert 'refused' in pipeline.no_vgg16()  # the server's answer, not the time limit of the look-up


def test_table_is_aligned():
  lines = summary.table([summary.COLUMNS, ['a', 'bell 100%', 'bird 9%', '0.01', 'no']]).splitlines()
  for column, cell in (('teacher', 'bell'), ('student', 'bird'), ('same', 'no')):
    assert lines[0].index(column) == lines[2].index(cell)
  assert lines[2].index('0.01') + 4 == lines[0].index('KL') + 2
  assert len(summary.shortened('x' * 200)) == summary.NAME_WIDTH


def demo(folder, *arguments):
  """A demo as a child in a session of its own."""
  line = [sys.executable, '-m', 'demo.main', f'--output={folder / "demo"}', *arguments]
  return subprocess.Popen(
    line, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
  )


def check_results(run, out, count):
  """The table, the files that it names, and its figures against those of `evaluate`."""
  assert (run / 'summary.txt').read_text() in out
  rows = re.findall(r'^(\S+\.mp4) .* (\d+\.\d\d)  (yes|no)$', out, re.MULTILINE)
  assert len(rows) == count
  measured = json.loads((run / 'evaluation.json').read_text())['records']['videos']
  assert {name: f'{videos["kl"]:.2f}' for name, videos in measured.items()} == {name: kl for name, kl, _ in rows}
  assert f'names {sum(same == "yes" for *_, same in rows)} of {count}' in out
  for name in ('figures/kl.png', 'figures/confusion.png', 'train/student.keras', 'train/export/1/saved_model.pb'):
    assert (run / name).stat().st_size
  assert not list(run.rglob('*.partial*'))


@pytest.mark.parametrize('says', [True, False])
@pytest.mark.parametrize('group', [True, False])
def test_an_interrupt_is_told_once(tmp_path, says, group):
  """Ctrl-C reaches the demo and its child; SIGINT from elsewhere the demo alone. A child may die without a word."""
  child = f"""
import pathlib, signal, time
from audionet_tf.core import cli
def main(argv):
  pathlib.Path({str(tmp_path / 'ready')!r}).touch()
  {'' if says else 'signal.signal(signal.SIGINT, signal.SIG_DFL)'}
  {'' if group or says else 'signal.signal(signal.SIGTERM, signal.SIG_DFL)'}
  time.sleep(60)
cli.run(main)
"""
  program = f"""
import sys
from audionet_tf.core import cli
from demo import pipeline
cli.run(lambda argv: pipeline.run_child([sys.executable, '-c', {child!r}]).returncode)
"""
  parent = subprocess.Popen(
    [sys.executable, '-c', program], stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
  )
  while not (tmp_path / 'ready').exists() and parent.poll() is None:
    time.sleep(0.05)
  (os.killpg if group else os.kill)(parent.pid, signal.SIGINT)
  errors = parent.communicate(timeout=60)[1]
  assert parent.returncode == 130 and errors.count('error:') == 1 and 'Traceback' not in errors, errors


@pytest.mark.long
def test_small_demo_is_interrupted_and_goes_on(tmp_path):
  small = ('--teacher=small', '--train=1', '--held_out=1', '--stills=10', '--epochs=5')
  child = demo(tmp_path, *small)
  while not list(tmp_path.glob('demo/videos/train/*.mp4')) and child.poll() is None:
    time.sleep(0.1)
  os.killpg(child.pid, signal.SIGINT)
  out, errors = child.communicate(timeout=60)
  assert child.returncode == 130 and errors.count('error:') == 1 and 'Traceback' not in errors
  child = demo(tmp_path, *small)
  out, errors = child.communicate(timeout=280)
  assert child.returncode == 0, errors[-2000:]
  assert f'resuming in {tmp_path / "demo"}' in out
  check_results(tmp_path / 'demo', out, 10)
  assert '-m audionet_tf.train --preset=demo --records=' in out


def test_the_starter_is_heard_first_and_once(tmp_path, monkeypatch):
  lines = []
  monkeypatch.setattr(pipeline, 'step', lambda title, line: lines.append((title, line)))
  for _ in range(2):
    pipeline.hear(tmp_path)
  ((title, line),) = lines
  path = tmp_path / 'clock_and_birds.wav'
  assert 'starter' in title and line == f'-m audionet_tf.infer {path}'  # without --model
  rate_hz, samples = wavfile.read(path)
  assert samples.shape == (10 * rate_hz,) and samples.dtype == np.int16
  clock, birds = (np.abs(np.fft.rfft(part)) for part in np.split(samples / 2**15, 2))
  hertz = np.fft.rfftfreq(5 * rate_hz, 1 / rate_hz)
  assert hertz[birds.argmax()] > 2400 and hertz[clock.argmax()] < hertz[birds.argmax()] and clock.max() > 0


def test_own_videos_are_probed_and_split(tmp_path, capfd):
  own = tmp_path / 'my films'
  own.mkdir()
  for number in range(2):
    clips.write(own / f'film {number}.mp4', clips.clip('waves', number), 1.5)
  # As phones write it: the sound begins some hundredths of a second after the pictures.
  media_clips.write(own / 'film 2.mkv', seconds=2, sound_start=0.044)
  (own / 'broken.mp4').write_bytes(b'not a film')
  for _ in range(2):
    pipeline.own_videos(tmp_path / 'demo', str(own), 30)
  screen = capfd.readouterr()
  assert 'broken.mp4' in screen.err
  assert screen.out.count('tfrecords.build') == 1  # done once
  parts = {part: len(list((tmp_path / 'demo/videos').glob(f'{part}/film*'))) for part in ('train', 'held_out')}
  assert parts == {'train': 2, 'held_out': 1}


def test_the_small_teacher_replaces_vgg16_and_says_so(tmp_path, capsys, monkeypatch):
  lines = []
  monkeypatch.setattr(pipeline, 'no_vgg16', lambda: 'no network')
  monkeypatch.setattr(pipeline, 'step', lambda title, line: lines.append(line))
  flags = pipeline.chosen_teacher(tmp_path, None, {'teacher': 'auto', 'stills': 10})
  assert flags == f'--teacher={tmp_path}/teacher.keras --teacher_labels={tmp_path}/teacher.txt'
  assert len(lines) == 1 and 'demo.train_teacher' in lines[0]
  assert 'is not available (no network)' in capsys.readouterr().out


@pytest.mark.parametrize('teacher, why', [('auto', 'is not available .no network.'), ('small', 'ten drawings')])
def test_own_videos_need_a_real_teacher(tmp_path, monkeypatch, teacher, why):
  monkeypatch.setattr(pipeline, 'no_vgg16', lambda: 'no network')
  monkeypatch.setattr(pipeline, 'step', lambda *_: pytest.fail('nothing is begun'))
  values = {'teacher': teacher, 'stills': 10, 'max_seconds': 30, 'teacher_labels': None}
  with pytest.raises(UserError, match=f'not for your own videos: .*{why}.*--teacher=FILE'):
    pipeline.run_all(tmp_path, '/films', values)
  monkeypatch.setattr(pipeline, 'no_vgg16', lambda: None)
  assert pipeline.chosen_teacher(tmp_path, '/films', values | {'teacher': 'auto'}) == '--teacher=vgg16'


def test_the_demo_ends_by_naming_captions_and_page(tmp_path):
  (tmp_path / 'videos/train').mkdir(parents=True)
  text = summary.closing(tmp_path, {'kl': 1.0, 'top1': 0.5, 'windows': 8}, 1, 2, 3.0)
  for module in ('caption', 'serve'):
    assert f'-m audionet_tf.{module} --model={tmp_path}/train/export' in text


def test_a_failing_step_is_one_line(tmp_path):
  with pytest.raises(UserError, match='exit code 1'):
    pipeline.step('', f'-m tfrecords.build --videos={tmp_path}/none.mp4 --output={tmp_path}/records')
