"""The demo's clips: ten things that look and sound different, and the variation between clips."""

import dataclasses
import pathlib
import zlib

import av
import numpy as np
from scipy.io import wavfile
from tqdm import tqdm

from audionet_tf.core import files
from demo import drawing, synthesis

THINGS = ('bell', 'bird', 'clock', 'drum', 'engine', 'kettle', 'rain', 'siren', 'violin', 'waves')
FRAMES_PER_SECOND = 12
SOUND_BLOCK = 1024


@dataclasses.dataclass(frozen=True)
class Clip:
  """One clip: how it looks and sounds."""

  thing: str
  look: drawing.Look
  voice: synthesis.Voice


def clip(thing, number):
  """Clip `number` of a thing; the same on every call."""
  rng = np.random.default_rng([number, zlib.crc32(thing.encode())])
  look = drawing.Look(
    hue=rng.uniform(-0.04, 0.04),
    light=rng.uniform(0.75, 1.15),
    background=tuple(int(c) for c in rng.integers(135, 235, 3)),
    size=rng.uniform(0.24, 0.36),
    x=rng.uniform(-0.2, 0.2),
    y=rng.uniform(-0.1, 0.1),
    tempo=rng.uniform(0.8, 1.25),
    phase=rng.uniform(),
  )
  voice = synthesis.Voice(
    pitch=2 ** rng.uniform(-0.15, 0.15),
    tempo=look.tempo,
    loudness=rng.uniform(0.5, 0.9),
    noise=rng.uniform(0, 0.06),
    rng=rng,
  )
  return Clip(thing, look, voice)


def picture(clip, t_seconds):
  """u8 [height, width, 3]: what the clip shows at a time."""
  return drawing.picture(getattr(drawing, clip.thing), clip.look, t_seconds)


def write(path, clip, seconds):
  """Encodes a clip as H.264 and AAC. The file gets its name only when it is complete."""
  with files.atomic_write(path, 'wb', files.partial_path(path)) as file, av.open(file.name, 'w') as container:
    video = container.add_stream('libx264', rate=FRAMES_PER_SECOND, options={'preset': 'ultrafast', 'crf': '23'})
    video.width, video.height, video.pix_fmt = drawing.WIDTH, drawing.HEIGHT, 'yuv420p'
    audio = container.add_stream('aac', rate=synthesis.RATE_HZ, layout='mono')
    for number in range(round(seconds * FRAMES_PER_SECOND)):
      frame = av.VideoFrame.from_ndarray(picture(clip, number / FRAMES_PER_SECOND), format='rgb24')
      container.mux(video.encode(frame))
    container.mux(video.encode(None))
    sound = synthesis.sound(getattr(synthesis, clip.thing), clip.voice, seconds)
    for start in range(0, len(sound), SOUND_BLOCK):
      frame = av.AudioFrame.from_ndarray(sound[None, start : start + SOUND_BLOCK], format='fltp', layout='mono')
      frame.sample_rate, frame.pts = synthesis.RATE_HZ, start
      container.mux(audio.encode(frame))
    container.mux(audio.encode(None))


def write_sound(path, things, seconds):
  """Writes a WAV of several things, one after the other, `seconds` each."""
  sounds = [synthesis.sound(getattr(synthesis, thing), clip(thing, 0).voice, seconds) for thing in things]
  with files.atomic_write(path, 'wb') as file:
    wavfile.write(file, synthesis.RATE_HZ, np.rint(32767 * np.concatenate(sounds)).astype(np.int16))


def write_all(folder, train, held_out, seconds):
  """Writes the missing clips of each thing: the first `train` are for training, the following `held_out` are not."""
  numbers = {
    pathlib.Path(folder) / ('train' if number < train else 'held_out') / f'{thing}-{number:02d}.mp4': (thing, number)
    for thing in THINGS
    for number in range(train + held_out)
  }
  missing = [path for path in numbers if not path.exists()]
  for path in tqdm(missing, desc='drawing and recording', unit='clip', disable=not missing):
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, clip(*numbers[path]), seconds)
