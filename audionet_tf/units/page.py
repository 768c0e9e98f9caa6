"""A page of the sounds, and the pictures, that excite the units of a layer most (Aytar et al. 2016, figure 6)."""

import pathlib
import wave

import numpy as np
import tqdm
from PIL import Image

from audionet_tf.core import files, text
from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.media import decoding, integrity
from audionet_tf.media.timeline import PCM_SCALE
from audionet_tf.models import receptive_field
from audionet_tf.units import html
from audionet_tf.units.activations import chosen_units, top_moments
from audionet_tf.units.search import listen_to_all

SHORTEST_CUT_SECONDS = 1.5
PICTURE_SIZE = 256
JPEG_QUALITY = 85


def cut(chunks, spans):
  """The samples in each span, zeros where there is no sound.

  Args:
    chunks: of `decoding.decode_audio`.
    spans: list of (begin, end), in samples from time zero.

  Returns:
    List of (int16 [n]): n is less than end - begin where the sound ends before.
  """
  cuts = [np.zeros(end - begin, np.int16) for begin, end in spans]
  last, stop = 0, max(end for _, end in spans)
  for start, pcm in chunks:
    last = start + len(pcm)
    for samples, (begin, end) in zip(cuts, spans, strict=True):
      low, high = max(begin, start), min(end, last)
      if low < high:
        samples[low - begin : high - begin] = pcm[low - start : high - start]
    if last >= stop:
      break
  return [samples[: max(1, last - begin)] for samples, (begin, _) in zip(cuts, spans, strict=True)]


def write_sounds(ear, path, centers, folder, stem):
  """Cuts the moments of a file out and writes them; see `write_page` for the names.

  Args:
    ear: Ear.
    path: of the file.
    centers: of the moments, in samples, distinct.
    folder: holds `sounds`.
    stem: beginning of the files' names.

  Returns:
    dict of center to dict: `sound`, path from `folder`; `wave` f32 [n]; `heard`, shares of it.
  """
  rate, field = ear.settings.sample_rate_hz, receptive_field.receptive_field(ear.table).size
  half = max(field, SHORTEST_CUT_SECONDS * rate) / 2
  spans = [(max(0, round(center - half)), round(center + half)) for center in centers]
  cuts = cut(decoding.decode_audio(path, rate, ear.settings.mono), spans)
  written = {}
  for center, (begin, _), pcm in zip(centers, spans, cuts, strict=True):
    name = f'sounds/{stem}-{round(center / rate * 1000)}ms.wav'
    with files.atomic_write(folder / name, 'wb') as file, wave.open(file, 'wb') as out:
      out.setnchannels(1)
      out.setsampwidth(pcm.itemsize)
      out.setframerate(rate)
      out.writeframes(pcm.astype('<i2').tobytes())
    heard = [min(1.0, max(0.0, (center + side * field / 2 - begin) / len(pcm))) for side in (-1, 1)]
    written[center] = {'sound': name, 'wave': pcm.astype(np.float32) / PCM_SCALE, 'heard': heard}
  return written


def write_pictures(ear, path, centers, folder, stem):
  """dict of center to the path from `folder` of a JPEG: what the video shows at that time. Empty without a video."""
  rate, small, written = ear.settings.sample_rate_hz, decoding.frame_resizer(PICTURE_SIZE), {}
  left = sorted(centers)
  try:
    for _, end, frame in decoding.decode_frames(path):
      if left and left[0] / rate < end:
        picture = Image.fromarray(small(frame))
      while left and left[0] / rate < end:
        center = left.pop(0)
        name = f'pictures/{stem}-{round(center / rate * 1000)}ms.jpg'
        with files.atomic_write(folder / name, 'wb') as file:
          picture.save(file, 'JPEG', quality=JPEG_QUALITY)
        written[center] = name
      if not left:
        break
  except MediaError:  # sound without pictures; damaged ones are no reason to keep the sound back
    return written
  return written


def write_page(ear, paths, folder, units=()):
  """Writes `folder`/index.html, sounds/*.wav and pictures/*.jpg: for each unit the sounds that excite it most.

  From every piece of sound (`chunking`: some 24 seconds) a unit has one moment at most.

  Args:
    ear: Ear.
    paths: sound and video files.
    folder: new or empty.
    units: their numbers; none for the most selective.

  Returns:
    (path of the page, list of paths that could not be read).

  Raises:
    UserError: a folder with something in it, no file that can be read, no such unit.
  """
  folder = pathlib.Path(folder)
  if folder.exists() and any(folder.iterdir()):
    raise UserError(f'{folder}: is not empty; choose a new folder for the page')
  found, unreadable = listen_to_all(ear, paths)
  shown = {unit: top_moments(found, unit) for unit in chosen_units(found, units)}
  for name in ('sounds', 'pictures'):
    (folder / name).mkdir(parents=True, exist_ok=True)
  parts = {}
  wanted = sorted({(file, center) for listed in shown.values() for file, center, _ in listed})
  by_file = {file: [c for f, c in wanted if f == file] for file, _ in wanted}
  for file, centers in tqdm.tqdm(by_file.items(), desc='cutting', unit=' files', delay=1):
    with integrity.decompressed(paths[file]) as path:
      sounds = write_sounds(ear, path, centers, folder, f'{file:05}')
      pictures = write_pictures(ear, path, centers, folder, f'{file:05}')
    for center, part in sounds.items():
      parts[file, center] = part | {'picture': pictures.get(center), 'file': text.printable(paths[file].name)}
  page = folder / 'index.html'
  with files.atomic_write(page) as out:
    out.write(html.page(*heading(ear, found, len(paths) - len(unreadable)), described(ear, found, shown, parts)))
  return page, unreadable


def heading(ear, found, files_heard):
  """(title, introduction) of the page."""
  steps = receptive_field.receptive_field(ear.table)
  hears, every = (1000 * samples / ear.settings.sample_rate_hz for samples in (steps.size, steps.stride))
  return (
    f'What excites the units of {ear.layer}',
    f'{ear.settings.student}, {len(found.sums)} units. {files_heard:,} files, {found.steps:,} steps; a step hears '
    f'{hears:,.0f} ms, every {every:,.0f} ms. Shaded: what the unit heard.',
  )


def described(ear, found, shown, parts):
  """The units as `html.page` takes them."""
  selectivity, spread = found.selectivity(), found.deviation()
  rate = ear.settings.sample_rate_hz
  return [
    {
      'number': unit,
      'note': f'mean activation {found.sums[unit] / found.steps:.3g}, deviation {spread[unit]:.3g}; '
      f'these sounds lie {selectivity[unit]:.1f} deviations above the mean',
      'moments': [
        {'seconds': center / rate, 'activation': value} | parts[file, center] for file, center, value in listed
      ],
    }
    for unit, listed in shown.items()
  ]
