"""From the last sample of a window in the pipe of `audionet_tf.stream` to its line, fed as fast as sound is."""

import contextlib
import json
import math
import statistics
import subprocess
import sys
import threading
import time

import numpy as np
import tqdm

from audionet_tf.core.errors import UserError
from benchmark import data
from benchmark.measure import ROOT, Line, first_cpus, pinned, run, verdict

MOST_MS = 50  # of the slowest window
RATE_HZ = data.SAMPLE_RATE_HZ  # other than the students': what the resampler holds back is in the figure
PIECE_SAMPLES = RATE_HZ // 100  # that come at a time
LEAD_SECONDS = 0.2  # after the first window, so that its line comes: then the student is ready


def stream(context):
  """Median and largest delay of windows of AudioNet, each 40 ms, and of the starter's, five seconds every 100 ms."""
  model = context.work / 'stream_model'
  run([sys.executable, '-m', 'benchmark.tensorflow', 'model', str(model)])
  command = [sys.executable, '-m', 'audionet_tf.stream', f'--sample_rate={RATE_HZ}', '--format=json']
  students = {
    'AudioNet, a window of 40 ms every 40 ms': ([*command, f'--model={model}'], 0.04, 0.04),
    'the student of the package, 5 s every 100 ms': ([*command, '--hop_ms=100'], 5, 0.1),
  }
  lines, count = [], context.sizes.stream_windows
  for what, (words, window_seconds, hop_seconds) in students.items():
    milliseconds = 1000 * np.array(delays(words, window_seconds, count * hop_seconds))
    median, largest = statistics.median(milliseconds), max(milliseconds)
    measured = f'median {median:.1f} ms, largest {largest:.1f} ms'
    raw, result = {'milliseconds': milliseconds.tolist()}, verdict(largest, most=MOST_MS)
    what = f'stream, {what}, {len(milliseconds)} windows, 2 cores'
    lines.append(Line(what, '-', f'<= {MOST_MS} ms each', measured, None, result, raw, [' '.join(words)]))
  return lines


def delays(command, window_seconds, seconds):
  """Seconds from the last sample of each window to its line.

  Args:
    command: of the stream, list of str.
    window_seconds: length of the first window, whose sound comes at once.
    seconds: of the sound that follows in real time.
  """
  lead = math.ceil((window_seconds + LEAD_SECONDS) * RATE_HZ / PIECE_SAMPLES)
  count = lead + math.ceil(seconds * RATE_HZ / PIECE_SAMPLES)
  block = data.noise_and_tones(np.random.default_rng(0), count * PIECE_SAMPLES)
  pieces = [piece.tobytes() for piece in np.split(block.astype('<i2'), count)]
  lines, entered, is_ready = [], [], threading.Event()

  def read(pipe):
    for line in pipe:
      lines.append((time.perf_counter(), line))
      is_ready.set()
    is_ready.set()  # it has ended, perhaps without a line

  with pinned(first_cpus(2)):
    child = subprocess.Popen(
      command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    )
  with child:
    reader = threading.Thread(target=read, args=[child.stdout])
    reader.start()
    with contextlib.suppress(BrokenPipeError):  # its exit code is told below
      feed(child.stdin, pieces, lead, is_ready, entered)
    child.stdin.close()
    reader.join()
  if child.returncode:
    raise UserError(f'exit code {child.returncode} of {" ".join(command)}')
  return delays_of(entered, lines, lead)


def feed(pipe, pieces, lead, is_ready, entered):
  """Writes pieces, those behind the first `lead` in real time; appends the clock of each to `entered`."""
  for piece in pieces[:lead]:
    entered.append(time.perf_counter())
    pipe.write(piece)
  is_ready.wait()
  began = time.perf_counter()
  for number, piece in enumerate(tqdm.tqdm(pieces[lead:], desc='stream', unit='piece'), 1):
    time.sleep(max(0, began + number * PIECE_SAMPLES / RATE_HZ - time.perf_counter()))
    entered.append(time.perf_counter())
    pipe.write(piece)


def delays_of(entered, lines, lead):
  """list of seconds, of the windows that end behind the first `lead` pieces.

  Args:
    entered: clock at which each piece entered the pipe.
    lines: list of (clock, line of JSON); those of events are passed over.
    lead: number of pieces that did not come in real time.
  """
  found = []
  for clock, line in lines:
    window = json.loads(line)
    if 'event' in window:
      continue
    last = math.ceil(round(window['end_seconds'] * RATE_HZ / PIECE_SAMPLES, 6)) - 1  # the piece with its last sample
    if lead <= last < len(entered):
      found.append(clock - entered[last])
  return found
