"""Runs the whole pipeline once: videos, records, a teacher for pictures, a student for sound, figures, a table.

  scripts/demo                on ten things that the demo draws and synthesises itself
  scripts/demo FOLDER         on your own videos; a fifth of them is held out

First the starter, a student that comes with the project, names a sound that the demo makes: a few seconds. Then each
step is a command and is shown as you would type it. Finished steps are kept: after Ctrl-C the same command
continues. A finished run is never overwritten: the next one goes to runs/demo-2.

The teacher is VGG16 with ImageNet weights (528 MB, downloaded once by Keras). If they cannot be downloaded, the
demo trains a small teacher on its own labelled drawings instead; your own videos then need --teacher.
"""

import os
import pathlib
import signal
import sys
import time

from absl import flags

from audionet_tf.core import cli
from demo import folders, pipeline, summary

flags.DEFINE_string('output', 'runs/demo', 'Folder of the results: new, or that of an interrupted demo.')
flags.DEFINE_string(
  'teacher', 'auto', 'auto, small, or as in training: vgg16 and so on, a .keras or .tflite file, a SavedModel folder.'
)
flags.DEFINE_string('teacher_labels', None, "Text file with the teacher's class names, one per line.")
flags.DEFINE_integer('epochs', 60, 'Passes over all windows.', lower_bound=1)
flags.DEFINE_integer('train', 6, 'Drawn clips of each thing for training.', lower_bound=1)
flags.DEFINE_integer('held_out', 2, 'Drawn clips of each thing for evaluation.', lower_bound=1)
flags.DEFINE_integer('stills', 80, 'Labelled drawings of each thing for the small teacher.', lower_bound=10)
flags.DEFINE_float('max_seconds', 30, 'Use only the first N seconds of each of your own videos.', lower_bound=1)


def main(argv):
  values = {flag.name: flag.value for flag in flags.FLAGS.get_key_flags_for_module('__main__')}
  cli.require(len(argv) <= 2, f'unexpected argument {argv[-1]!r}; expected is one folder of videos, or none')
  own = os.path.abspath(argv[1]) if len(argv) == 2 else None
  if own:
    folders.check_videos(own)
  for name in ('teacher', 'teacher_labels'):
    if values[name] and os.path.exists(values[name]):
      values[name] = os.path.abspath(values[name])
  settings = {name: value for name, value in values.items() if name != 'output'} | {'folder': own}
  began = time.monotonic()
  with folders.claimed(pathlib.Path(values['output']), settings) as run:
    pipeline.hear(run)
    pipeline.run_all(run, own, values)
    print(summary.summarize(run, time.monotonic() - began), end='')


def stop(signum, frame):
  raise KeyboardInterrupt


if __name__ == '__main__':
  signal.signal(signal.SIGTERM, stop)
  sys.stdout.reconfigure(line_buffering=True)
  cli.run(main)
