"""From a clip that is dropped on the page without a service, in the starter's folder, to its first cue.

scripts/lib/run benchmark.web SITE CLIP    turns: seconds, in a Chromium that has just opened the page
"""

import functools
import http.server
import importlib.util
import pathlib
import shutil
import statistics
import sys
import threading

import chromium
import numpy as np

from benchmark import data, measure
from benchmark.measure import Line, Skipped, first_cpus, in_turns, run, verdict

SECONDS, MOST = 10, 3  # of the clip; seconds to its first cue
FIRST_CUE = """new Promise((done) => {
  const look = setInterval(() => {
    if (!document.querySelector('#video').textTracks[0]?.cues?.length) return;
    clearInterval(look);
    done((performance.now() - window.dropped) / 1000);
  }, 5);
})"""


def web(context):
  """Seconds from a dropped clip of ten seconds to its first cue, in Chromium."""
  if not (chromium.PROGRAM and shutil.which('npm') and importlib.util.find_spec('websockets')):
    raise Skipped('needs Chromium, npm, and the extra dev (Debian: apt-get install chromium npm)')
  site, clips = context.work / 'site', context.work / 'dropped'
  run([sys.executable, '-m', 'audionet_tf.export', f'--web={site}'])
  data.make_clips(clips, 1, SECONDS, sound=white_noise)
  command = [sys.executable, '-m', 'benchmark.web', str(site), str(clips / 'clip0.mp4')]
  seconds = in_turns({'ours': command}, first_cpus(2), context.sizes.web_turns, 'web')['ours']
  median, raw = statistics.median(seconds), {'seconds': seconds}
  what = f'page without a service, {SECONDS} s dropped to the first cue, the student of the package, 2 cores'
  return [
    Line(what, '-', f'<= {MOST} s', f'{median:.2f} s', None, verdict(median, most=MOST), raw, [' '.join(command)])
  ]


def white_noise(rng, samples):
  """int16 [samples], which the student calls rain: of what it does not know there is no cue."""
  return (6000 * rng.normal(size=samples)).clip(-32768, 32767).astype(np.int16)


def first_cue(address, clip):
  """Seconds from the drop to the first cue, in a browser of its own."""
  with chromium.running() as browser:
    page = browser.page(address)
    page.wait("document.querySelector('#about').textContent.includes('kinds of sound')")
    page.run("addEventListener('drop', () => { window.dropped = performance.now(); }, true)")
    page.drop('#drop', clip)
    return page.run(FIRST_CUE)


def main(site, clip):
  """Serves the folder, and answers turns."""
  handler = functools.partial(Quiet, directory=site)
  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  measure.answer_turns(lambda: first_cue(f'http://127.0.0.1:{server.server_port}/', pathlib.Path(clip)))


class Quiet(http.server.SimpleHTTPRequestHandler):
  def log_message(self, *_):
    pass


if __name__ == '__main__':
  main(*sys.argv[1:])
