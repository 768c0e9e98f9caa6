"""Clips and sounds that the benchmark makes for itself."""

import wave

import av
import numpy as np
import tqdm

SAMPLE_RATE_HZ = 44100
FRAME_RATE_HZ = 25
FRAME_SHAPE = (240, 320, 3)
BLOCK_SECONDS = 60


def make_clips(folder, count=10, seconds=10, shape=FRAME_SHAPE, sound=None):
  """Writes `count` H.264 and AAC clips, each with moving colours and a pitch of its own.

  Args:
    folder: pathlib.Path, made if missing.
    count: number of clips.
    seconds: length of each; a tenth of a second is added, so that the last window is covered in spite of codec padding.
    shape: of the pictures, height first.
    sound: function like `noise_and_tones`, which is the default.
  """
  folder.mkdir(parents=True, exist_ok=True)
  for number in tqdm.trange(count, desc='making clips', unit='clip'):
    rng = np.random.default_rng(number)
    with av.open(str(folder / f'clip{number}.mp4'), 'w') as out:
      picture = out.add_stream('libx264', rate=FRAME_RATE_HZ, options={'preset': 'veryfast'})
      picture.height, picture.width = shape[:2]
      picture.pix_fmt = 'yuv420p'
      track = out.add_stream('aac', rate=SAMPLE_RATE_HZ, layout='stereo')
      for pixels in pictures(rng, round((seconds + 0.1) * FRAME_RATE_HZ), shape):
        out.mux(picture.encode(av.VideoFrame.from_ndarray(pixels, format='rgb24')))
      out.mux(picture.encode(None))
      pcm = np.repeat((sound or noise_and_tones)(rng, round((seconds + 0.1) * SAMPLE_RATE_HZ)), 2)
      mux_sound(out, track, pcm, 'stereo')


def pictures(rng, count, shape=FRAME_SHAPE):
  """`count` pictures u8 of a shape [H, W, 3]: a coloured plane with a grain that drifts over it."""
  colour = rng.integers(0, 200, 3)
  grain = rng.integers(0, 56, shape)
  for number in range(count):
    yield (colour + np.roll(grain, number, axis=1)).astype(np.uint8)


def noise_and_tones(rng, samples):
  """int16 [samples]: low-passed noise and three tones."""
  time_s = np.arange(samples) / SAMPLE_RATE_HZ
  noise = np.convolve(rng.normal(size=samples), np.full(16, 1 / 16), 'same')
  tones = sum(np.sin(2 * np.pi * hz * time_s) for hz in rng.uniform(100, 4000, 3))
  return (4000 * noise + 4000 * tones).astype(np.int16)


def mux_sound(out, stream, pcm, layout):
  """Encodes interleaved int16 `pcm` into a container."""
  frame = av.AudioFrame.from_ndarray(pcm[None], format='s16', layout=layout)
  frame.sample_rate = SAMPLE_RATE_HZ
  out.mux(stream.encode(frame))
  out.mux(stream.encode(None))


def make_sounds(wav_path, mp3_path, seconds):
  """Writes the same mono sound of `seconds` as 16-bit WAV and as MP3: a block of up to a minute, repeated."""
  block = noise_and_tones(np.random.default_rng(0), min(BLOCK_SECONDS, seconds) * SAMPLE_RATE_HZ)
  with wave.open(str(wav_path), 'wb') as wav, av.open(str(mp3_path), 'w') as mp3:
    wav.setparams((1, 2, SAMPLE_RATE_HZ, 0, 'NONE', None))
    stream = mp3.add_stream('libmp3lame', rate=SAMPLE_RATE_HZ, layout='mono')
    for _ in tqdm.trange(-(-seconds // BLOCK_SECONDS), desc='making sound', unit='block'):
      wav.writeframesraw(block.astype('<i2').tobytes())
      frame = av.AudioFrame.from_ndarray(block[None], format='s16', layout='mono')
      frame.sample_rate = SAMPLE_RATE_HZ
      mp3.mux(stream.encode(frame))
    mp3.mux(stream.encode(None))
