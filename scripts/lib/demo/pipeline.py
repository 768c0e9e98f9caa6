"""The steps of the demo, each a command that a user could type. A step whose result exists is skipped."""

import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

from audionet_tf.core import files
from audionet_tf.core.errors import UserError
from demo import clips, folders

ROOT = pathlib.Path(os.path.relpath(pathlib.Path(__file__).parents[3]))
PYTHON = os.path.relpath(sys.executable)
WEIGHTS_URL = 'https://storage.googleapis.com/tensorflow/keras-applications/vgg16/'
NETWORK_SECONDS = 5
WINDOW_MS, HOP_MS = (
  250,
  1000,
)  # a quarter of the sound and one picture per second: VGG16 takes six per second on two cores
CUT = f' --window_ms={WINDOW_MS} --hop_ms={HOP_MS}'
FINE_HOP_MS = 100  # for inference, which is cheap
SHOWN = 3  # clips whose signals are drawn
DESCRIPTIONS = {'train': 'training', 'held_out': 'held-out'}  # of the parts of the videos


def hear(run):
  """Has the starter name a sound of the demo: a clock, which it knows, and birds, which it does not. Once for a run."""
  path = run / 'clock_and_birds.wav'
  if path.exists():
    return
  clips.write_sound(path, ('clock', 'bird'), seconds=5)
  step(
    'before any training: the starter, which comes with the project, names a sound',
    f'-m audionet_tf.infer {quoted(path)}',
  )


def run_all(run, own, values):
  """Runs all steps up to the figures.

  Args:
    run: pathlib.Path of the demo's folder.
    own: folder of own videos, or None.
    values: the flags, as a dict.
  """
  # Before own videos are decoded, which takes minutes: the teacher may be missing.
  teacher = chosen_teacher(run, own, values) if own and not is_trained(run) else None
  if own:
    own_videos(run, own, values['max_seconds'])
  else:
    step(
      'draw and synthesise ten things',
      f'-m demo.make_videos --output={run}/videos --train={values["train"]} --held_out={values["held_out"]}',
    )
  part = 'held_out' if (run / 'videos/held_out').is_dir() else 'train'
  if part == 'train':
    print('one usable video: none is left to hold out, so the student is evaluated on its training video')
  limit = limited(values['max_seconds']) if own else ''
  for name in dict.fromkeys(['train', part]):
    step(
      f'build records of the {DESCRIPTIONS[name]} videos',
      f'-m tfrecords.build --videos={quoted(run / "videos" / name)} --output={quoted(run / "records" / name)}'
      f'{CUT}{limit}',
    )
  learn(run, own, values, teacher)
  evaluate(run, part)
  draw(run, part, values['epochs'])


def limited(max_seconds):
  """The flag of tfrecords.build that truncates long videos."""
  return f' --max_seconds={max_seconds:g}'


def own_videos(run, own, max_seconds):
  """Finds the usable videos, and splits them.

  The windows are those of training, so that a video whose sound starts late or ends early is usable in both or neither.
  """
  if (run / 'videos/.split').exists():
    return
  step(
    'find the videos with sound and pictures',
    f'-m tfrecords.build --videos={quoted(own)} --output={quoted(run / "records/probe")}'
    f'{CUT}{limited(max_seconds)} --image_size=16',
  )
  folders.split(own, run / 'records/probe', run / 'videos')
  (run / 'videos/.split').touch()


def is_trained(run):
  """Whether the student of the demo is finished."""
  return (run / 'train/export/1').is_dir() and (run / 'train/student.json').exists()


def learn(run, own, values, teacher):
  """Trains the student. `teacher`: its flags, or None to choose it here."""
  if is_trained(run):
    return
  teacher = teacher or chosen_teacher(run, own, values)
  resume = ' --resume' if (run / 'train/settings.json').exists() else ''
  step(
    'train the student to predict from sound what the teacher predicts from pictures',
    f'-m audionet_tf.train --preset=demo --records={quoted(run / "records/train")} --run_dir={quoted(run / "train")}'
    f' --epochs={values["epochs"]} {teacher}{resume}',
  )


def chosen_teacher(run, own, values):
  """The flags of the teacher, for the training command. UserError if there is none for own videos."""
  if values['teacher'] not in ('auto', 'small'):
    labels = f' --teacher_labels={quoted(values["teacher_labels"])}' if values['teacher_labels'] else ''
    return f'--teacher={quoted(values["teacher"])}{labels}'
  reason = no_vgg16() if values['teacher'] == 'auto' else None
  if own and (reason or values['teacher'] == 'small'):
    why = f'VGG16 with ImageNet weights is not available ({reason})' if reason else 'it knows ten drawings only'
    raise UserError(
      f'the small teacher of the demo is not for your own videos: {why}; name a picture classifier with --teacher=FILE '
      '(.tflite, .keras or a SavedModel folder) and --teacher_labels=FILE'
    )
  small = run / 'teacher.keras'
  flags = f'--teacher={quoted(small)} --teacher_labels={quoted(small.with_suffix(".txt"))}'
  if values['teacher'] == 'auto' and not reason:
    return '--teacher=vgg16'
  if small.exists():
    return flags
  if reason:
    print(f'\nVGG16 with ImageNet weights is not available ({reason}): the demo trains a small teacher instead.')
  step(
    'train a small teacher on labelled drawings (no sound)',
    f'-m demo.train_teacher --output={quoted(small)} --stills={values["stills"]}',
  )
  return flags


def no_vgg16():
  """None if VGG16 and its weights are present or were just downloaded; else the reason why not."""
  home = pathlib.Path(os.environ.get('KERAS_HOME') or '~/.keras').expanduser()
  if not (home / 'models/vgg16_weights_tf_dim_ordering_tf_kernels.h5').is_file():
    # In a child with a time limit, because looking up a host name has none.
    probe = [sys.executable, '-m', 'demo.pipeline', WEIGHTS_URL]
    try:
      reason = subprocess.run(probe, capture_output=True, text=True, timeout=2 * NETWORK_SECONDS).stdout.strip()
    except subprocess.TimeoutExpired:
      reason = 'no answer from the network'
    if reason:
      return reason
  loading = [sys.executable, '-m', 'demo.train_teacher', '--fetch=vgg16']
  fetched = run_child(loading, stderr=subprocess.PIPE)
  return None if fetched.returncode == 0 else fetched.errors.strip().removeprefix('error: ') or 'download failed'


def network_fault(url):
  """'' if a server can be reached at `url`; else the reason why not."""
  try:
    urllib.request.urlopen(urllib.request.Request(url, method='HEAD'), timeout=NETWORK_SECONDS).close()
  except urllib.error.HTTPError as error:
    return '' if error.code == 404 or error.code < 400 else f'HTTP {error.code}'
  except OSError as error:
    return f'no network: {getattr(error, "reason", error)}'
  return ''


def evaluate(run, part):
  """Evaluates the student against the teacher, and predicts every clip of `part`."""
  step(
    f'evaluate the student against the teacher on the {DESCRIPTIONS[part]} clips',
    f'-m audionet_tf.evaluate --model={quoted(run / "train")} --records={quoted(run / "records" / part)}'
    f' --output={quoted(run / "evaluation.json")}',
    stdout=run / 'evaluation.txt',
    done=run / 'evaluation.json',
  )
  files = ' '.join(quoted(path) for path in media(run, part))
  step(
    f'predict the {DESCRIPTIONS[part]} clips',
    f'-m audionet_tf.infer --model={quoted(run / "train/export")} --output={quoted(run / "predictions")} --format=npz'
    f' --hop_ms={FINE_HOP_MS} {files}',
    stdout=run / 'predictions.txt',
    done=[run / 'predictions' / f'{path.name}.npz' for path in media(run, part)],
  )


def draw(run, part, epochs):
  """Draws the paper's figures."""
  step(
    'figures',
    f'-m audionet_tf.plot kl --run_dir={quoted(run / "train")} --epochs=0:{epochs}'
    f' --output={quoted(run / "figures/kl.png")}',
    done=run / 'figures/kl.png',
  )
  clips = media(run, part)
  for path in clips[:: max(1, -(-len(clips) // SHOWN))]:
    predictions = run / 'predictions' / f'{path.name}.npz'
    step(
      '',
      f'-m audionet_tf.plot signals --inference={quoted(predictions)} --media={quoted(path)}'
      f' --output={quoted(run / "figures" / f"{path.stem}.png")}',
      done=run / 'figures' / f'{path.stem}.png',
    )


def media(run, part):
  """The clips of a part of the videos, sorted."""
  folder = run / 'videos' / part
  return sorted(path for path in folder.iterdir() if not path.name.startswith('.'))


def quoted(path):
  return shlex.quote(str(path))


def step(title, line, stdout=None, done=()):
  """Shows a Python command and runs it, unless the files `done` exist. UserError if it fails."""
  done = [done] if isinstance(done, pathlib.Path) else list(done)
  if done and all(path.exists() for path in done):
    return
  if title:
    print(f'\n== {title}')
  arguments = shlex.split(line)
  names = [argument for argument in arguments if not argument.startswith('-')]
  shown = line if len(names) <= 4 else f'{shlex.join(a for a in arguments if a not in names[2:])} ...'
  is_demo_module = line.startswith('-m demo.')
  print(f'$ {ROOT / "scripts/lib/run"} {shown[3:]}' if is_demo_module else f'$ {PYTHON} {shown}')
  began = time.monotonic()
  if stdout:
    with files.atomic_write(stdout) as file:
      code = run_child([sys.executable, *arguments], stdout=file).returncode
  else:
    code = run_child([sys.executable, *arguments]).returncode
  if code:
    raise UserError(
      f'the step above failed (exit code {code}); fix the cause, then the same scripts/demo command continues'
    )
  if time.monotonic() - began > 1:
    print(f'   {time.monotonic() - began:.0f} s')


class Child(subprocess.Popen):
  """A finished child; `errors` is what it wrote to a piped stderr."""

  errors = ''


def run_child(arguments, **streams):
  """Runs a child process to its end. An interrupted child gets a few seconds to end before it is terminated.

  After one that has said that it was interrupted, the demo ends without a word.
  """
  child = Child(arguments, text=True, **streams)
  try:
    child.errors = child.communicate()[1] or ''
  except KeyboardInterrupt:
    try:
      child.wait(5)
    except subprocess.TimeoutExpired:
      child.terminate()
      child.wait()
    if child.stderr is None and child.returncode > 0:  # it has said so itself
      sys.exit(128 + signal.SIGINT)
    raise
  return child


if __name__ == '__main__':
  print(network_fault(sys.argv[1]))
