"""How often the starter's smaller .tflite files name the class of the one in float32, on real sound."""

import re
import subprocess
import sys

from audionet_tf.core.errors import UserError
from benchmark.measure import ROOT, Line, Skipped, verdict

LEAST_PERCENT = 99


def quantize(context):
  """Agreement of int8 and float16 with float32 on the windows of DATA/esc10/audio, as the export tells it."""
  folder = context.data / 'esc10' / 'audio' if context.data else None
  sounds = sorted(folder.iterdir())[: context.sizes.quantize_sounds] if folder and folder.is_dir() else []
  if not sounds:
    raise Skipped('needs real sound: --data=FOLDER with esc10/audio/ in it')
  command = [sys.executable, '-m', 'audionet_tf.export', '--model=starter', f'--output={context.work / "quantized"}']
  command += ['--tflite', '--quantize=int8', '--quantize=float16']
  flags = [f'--sounds={path}' for path in sounds]
  done = subprocess.run([*command, *flags], cwd=ROOT, capture_output=True, text=True, check=False)
  if done.returncode:
    raise UserError(f'exit code {done.returncode} of {" ".join(command)}: {done.stderr[-500:]}')
  return [line_of(kind, *agreement, [*command, f'--sounds={folder}']) for kind, *agreement in agreements(done.stderr)]


def agreements(text):
  """(type, windows that agree, windows) of each smaller file, from what the export says."""
  pattern = r'model_(\w+)\.tflite: .* in (\d+) of (\d+) windows'
  return [(kind, int(same), int(count)) for kind, same, count in re.findall(pattern, text)]


def line_of(kind, same, count, command):
  """The Line of a file."""
  percent = 100 * same / count
  return Line(
    f'starter as .tflite in {kind}, first class in {count} windows of real sound',
    'float32',
    f'>= {LEAST_PERCENT} %',
    f'{percent:.1f} %',
    same / count,
    verdict(percent, least=LEAST_PERCENT),
    {'same': same, 'windows': count},
    [' '.join(command)],
  )
