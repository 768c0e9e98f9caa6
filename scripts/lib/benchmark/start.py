"""The time until a command answers: its help, and ten seconds of sound from the shell."""

import statistics
import sys

from benchmark import data
from benchmark.measure import Line, first_cpus, run, verdict

SECONDS = 10


def start(context):
  """Wall-clock time of `infer --help`, and of `infer` with the student of the package and with AudioNet's export."""
  sound, model = context.work / 'start.wav', context.work / 'start_model'
  data.make_sounds(sound, context.work / 'start.mp3', SECONDS)
  run([sys.executable, '-m', 'benchmark.tensorflow', 'model', str(model)])
  infer, output = [sys.executable, '-m', 'audionet_tf.infer'], f'--output={context.work / "started"}'
  commands = {
    'infer --help': ([*infer, '--helpshort'], 0.3),
    f'infer, {SECONDS} s of WAV, the student of the package': ([*infer, str(sound), output], 1.5),
    f'infer, {SECONDS} s of WAV, export of AudioNet': ([*infer, f'--model={model}', str(sound), output], 3),
  }
  cpus, lines = first_cpus(2), []
  for what, (command, most) in commands.items():
    seconds = [run(command, cpus).wall_seconds for _ in range(context.sizes.start_turns)]
    median = statistics.median(seconds)
    raw, shown = {'wall_seconds': seconds}, [' '.join(command)]
    lines.append(Line(what, '-', f'<= {most} s', f'{median:.2f} s', None, verdict(median, most=most), raw, shown))
  return lines
