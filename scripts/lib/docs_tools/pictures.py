"""Draws docs/images/overview.png: frames of a video, its sound, and the captions of a student.

  scripts/demo
  scripts/docs_pictures

The video is put together from clips that the demo draws and synthesises but never trains on. The student is the one
that the demo trained, in runs/demo; its captions come from audionet_tf.caption. No recorded media is involved.
"""

import argparse
import io
import json
import pathlib
import subprocess
import sys
import tempfile

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image
from scipy import signal
from scipy.io import wavfile

from demo import clips, synthesis

ROOT = pathlib.Path(__file__).resolve().parents[3]
# The scenes of the video, in order: (thing, seconds).
SCENES = (('kettle', 2.9), ('rain', 2.9), ('bell', 2.6), ('engine', 1.6), ('siren', 2.6))
CLIP = 2000  # number of the clips; those of the demo are far below
FADE_SECONDS = 0.05
FRAMES = 8
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00')  # Okabe and Ito 2008
WIDTH, INK, GREY = 11.0, '#1f2328', '#656d76'


def soundtrack():
  """f32 [n] at synthesis.RATE_HZ: the scenes' sounds, joined with short fades."""
  parts = []
  for thing, seconds in SCENES:
    voice = clips.clip(thing, CLIP).voice
    sound = synthesis.sound(getattr(synthesis, thing), voice, seconds)
    fade = np.minimum(1, np.arange(len(sound)) / (FADE_SECONDS * synthesis.RATE_HZ))
    parts.append(sound * fade * fade[::-1])
  return np.concatenate(parts).astype(np.float32)


def frames():
  """[(seconds, u8 [height, width, 3])]: FRAMES pictures of the video at equal distances."""
  ends = np.cumsum([seconds for _, seconds in SCENES])
  pictures = []
  for seconds in (np.arange(FRAMES) + 0.5) / FRAMES * ends[-1]:
    scene = int(np.searchsorted(ends, seconds))
    pictures.append((seconds, clips.picture(clips.clip(SCENES[scene][0], CLIP), seconds)))
  return pictures


def captions(model, sound, folder):
  """The events of audionet_tf.caption for the sound track: list of dict."""
  path = folder / 'overview.wav'
  wavfile.write(path, synthesis.RATE_HZ, sound)
  command = [sys.executable, '-m', 'audionet_tf.caption', f'--model={model}', f'--output={folder}']
  command += ['--format=json', '--threshold=0.5', '--hop_ms=50', str(path)]
  subprocess.run(command, check=True, cwd=ROOT)
  return json.loads((folder / 'overview.wav.events.json').read_text())['events']


def spectrogram(sound):
  """(seconds [T], kilohertz [F], decibels [F, T]) of the sound track."""
  hertz, seconds, power = signal.spectrogram(sound, synthesis.RATE_HZ, nperseg=512, noverlap=384)
  return seconds, hertz / 1000, 10 * np.log10(power / power.max() + 1e-8)


def draw(sound, events):
  """The Figure: frames above, the spectrogram in the middle, captions as bars below."""
  duration = len(sound) / synthesis.RATE_HZ
  names = list(dict.fromkeys(event['name'] for event in events))
  matplotlib.rcParams.update({'font.size': 11, 'text.color': INK, 'axes.labelcolor': GREY})
  figure = Figure(figsize=(WIDTH, 4.05), facecolor='white')
  left, width = 0.075, 0.915

  film = figure.add_axes([left, 0.735, width, 0.25])
  film.set_xlim(0, duration)
  film.set_ylim(0, 1)
  film.axis('off')
  for seconds, pixels in frames():
    half = 0.488 * duration / FRAMES
    film.imshow(pixels, extent=(seconds - half, seconds + half, 0, 1), aspect='auto', interpolation='antialiased')
  film.set_xlim(0, duration)
  film.text(-0.008 * duration, 0.5, 'video', ha='right', va='center', color=GREY)

  mel = figure.add_axes([left, 0.47, width, 0.24])
  seconds, kilohertz, decibels = spectrogram(sound)
  mel.pcolormesh(seconds, kilohertz, decibels, cmap='magma', vmin=-70, vmax=-5, shading='auto', rasterized=True)
  mel.set_xlim(0, duration)
  mel.set_ylim(0.05, 8)
  mel.set_xticks([])
  mel.set_yticks([2, 4, 6, 8], ['2', '4', '6', '8 kHz'], fontsize=9, color=GREY)

  rows = figure.add_axes([left, 0.075, width, 0.37])
  rows.set_xlim(0, duration)
  rows.set_ylim(len(names) - 0.45, -0.55)
  for row, name in enumerate(names):
    colour = COLOURS[row % len(COLOURS)]
    rows.axhline(row, color='#e6e8eb', linewidth=1, zorder=0)
    rows.text(-0.008 * duration, row, name, ha='right', va='center', fontsize=11)
    for event in (event for event in events if event['name'] == name):
      start, end = event['start_seconds'], event['end_seconds']
      rows.add_patch(
        FancyBboxPatch(
          (start, row - 0.33), end - start, 0.66, boxstyle='round,pad=0,rounding_size=0.06', facecolor=colour, lw=0
        )
      )
      score = f'{name}  {100 * event["score"]:.0f} %'
      if end - start > 1:
        rows.text((start + end) / 2, row, score, ha='center', va='center', color='white', fontsize=10, weight='bold')
  rows.set_yticks([])
  rows.set_xticks(range(int(duration) + 1), [f'{second} s' for second in range(int(duration) + 1)], fontsize=9)
  rows.tick_params(colors=GREY, length=3)
  for axes in (mel, rows):
    axes.spines[['top', 'right', 'left', 'bottom']].set_visible(False)
  return figure


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--demo', default=str(ROOT / 'runs/demo'), help='a finished run of scripts/demo')
  parser.add_argument('--output', default=str(ROOT / 'docs/images/overview.png'), help='the PNG to write')
  arguments = parser.parse_args()
  model = pathlib.Path(arguments.demo).resolve() / 'train/export'
  if not model.is_dir():
    parser.error(f'{model}: no such folder; run scripts/demo first, or name its folder with --demo')
  sound = soundtrack()
  with tempfile.TemporaryDirectory() as folder:
    figure = draw(sound, captions(model, sound, pathlib.Path(folder)))
  with io.BytesIO() as drawn:
    figure.savefig(drawn, dpi=140)
    Image.open(drawn).convert('RGB').quantize(128).save(arguments.output, optimize=True)
  print(arguments.output)


if __name__ == '__main__':
  main()
