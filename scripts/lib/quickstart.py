"""From two videos to captions, with the installed commands beside this Python.

  python scripts/lib/quickstart.py FOLDER

makes FOLDER/clips and FOLDER/teacher.keras, has the starter predict a clip, then builds records, trains, infers and
captions in FOLDER. Exits with 1 if a command fails or prints messages of libraries.
"""

import pathlib
import re
import subprocess
import sys

import av
import numpy as np

from audionet_tf.core import cli  # noqa: F401 - TensorFlow is imported without its notices

FPS, RATE_HZ, SECONDS, SIZE = 25, 16_000, 3, 64
CLIPS = {'red': ((220, 30, 30), 440), 'blue': ((30, 30, 220), 1760)}  # name to colour and pitch in Hz
NOISE = re.compile('Traceback|CUDA|cuda|oneDNN|Warning')  # messages of libraries that no user can act on


def write_clip(path, colour, pitch_hz):
  """A video of one colour and one tone."""
  with av.open(str(path), 'w') as out:
    video = out.add_stream('mpeg4', rate=FPS, width=SIZE, height=SIZE, pix_fmt='yuv420p')
    audio = out.add_stream('aac', rate=RATE_HZ, layout='mono')
    picture = np.full((SIZE, SIZE, 3), colour, np.uint8)
    for _ in range(FPS * SECONDS):
      out.mux(video.encode(av.VideoFrame.from_ndarray(picture, 'rgb24')))
    tone = np.sin(2 * np.pi * pitch_hz * np.arange(RATE_HZ * SECONDS) / RATE_HZ) / 2
    for start in range(0, len(tone), 1024):
      frame = av.AudioFrame.from_ndarray(tone[None, start : start + 1024].astype(np.float32), 'fltp', 'mono')
      frame.sample_rate, frame.pts = RATE_HZ, start
      out.mux(audio.encode(frame))
    out.mux(video.encode(None))
    out.mux(audio.encode(None))


def write_teacher(path):
  """A classifier of pictures with two classes, red and blue, by their mean colour."""
  import keras

  pictures = keras.Input([SIZE, SIZE, 3])
  colour = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 32)(pictures))
  model = keras.Model(pictures, keras.layers.Dense(2, activation='softmax')(colour))
  model.layers[-1].set_weights([np.array([[1, -1], [0, 0], [-1, 1]], np.float32), np.zeros(2, np.float32)])
  model.save(path)


def run(folder, program, *arguments):
  """Runs an installed command in the folder; exits if it fails, or if a command of this project prints NOISE."""
  print('$', program, *arguments, flush=True)
  command = [pathlib.Path(sys.executable).with_name(program), *arguments]
  done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
  if done.returncode or (program.startswith('audionet-') and NOISE.search(done.stdout)):
    sys.exit(f'{done.stdout}\n{program}: exit code {done.returncode}, or messages of libraries')


def main(folder):
  (folder / 'clips').mkdir()
  for name, (colour, pitch_hz) in CLIPS.items():
    write_clip(folder / f'clips/{name}.mp4', colour, pitch_hz)
  write_teacher(folder / 'teacher.keras')
  run(folder, 'audionet-infer', 'clips/red.mp4')
  run(folder, 'audionet-build', '--videos=clips', '--output=records', f'--image_size={SIZE}')
  run(folder, 'audionet-train', '--records=records', '--run_dir=run', '--teacher=teacher.keras', '--epochs=2')
  run(folder, 'audionet-infer', '--model=run', '--output=inferred', *(f'clips/{name}.mp4' for name in CLIPS))
  run(folder, 'audionet-caption', '--model=run', '--output=captions', 'clips/red.mp4')
  run(folder, 'tensorboard', '--version')
  captions = (folder / 'captions/red.mp4.vtt').read_text()
  if not captions.startswith('WEBVTT') or not (folder / 'inferred/blue.mp4.json').stat().st_size:
    sys.exit('no captions, or no predictions')


if __name__ == '__main__':
  main(pathlib.Path(sys.argv[1]))
