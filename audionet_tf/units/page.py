"""Writes a page of the sounds and pictures that activate the units of a layer most.

Source: Aytar, Vondrick, Torralba 2016, figure 6.
"""

import pathlib

import numpy as np
import tqdm
from PIL import Image

from audionet_tf.core import files, text
from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.media import decoding, resizing, wav_file
from audionet_tf.media.containers import integrity
from audionet_tf.media.timeline import PCM_SCALE
from audionet_tf.models import receptive_field
from audionet_tf.units import html
from audionet_tf.units.activations import chosen_units, top_moments
from audionet_tf.units.search import search_files

SHORTEST_CUT_SECONDS = 1.5
PICTURE_SIZE = 256
JPEG_QUALITY = 85


def cut(chunks, spans):
  """Cuts spans out of a sound.

  Args:
    chunks: iterable of (start_sample, int16 [n]), contiguous, from `decoding.decode_audio`.
    spans: list of (begin, end), in samples from time zero.

  Returns:
    list of int16 [n], zeros before the first chunk; n is less than end - begin where the sound ends earlier.
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


def write_sounds(probe, path, centers, folder, stem):
  """Writes the sounds of the moments of a file as `folder`/sounds/<stem>-<milliseconds>ms.wav.

  Args:
    probe: UnitProbe.
    path: of the file.
    centers: of the moments, in samples, distinct.
    folder: pathlib.Path that holds a folder `sounds`.
    stem: beginning of the files' names.

  Returns:
    dict of center to dict of `sound`, path relative to `folder`; `wave` f32 [n] in [-1, 1]; `field`, [begin, end] of
    the receptive field as fractions of the wave.
  """
  rate, size = probe.settings.sample_rate_hz, receptive_field.receptive_field(probe.table).size
  half = max(size, SHORTEST_CUT_SECONDS * rate) / 2
  spans = [(max(0, round(center - half)), round(center + half)) for center in centers]
  cuts = cut(decoding.decode_audio(path, rate, probe.settings.mono), spans)
  written = {}
  for center, (begin, _), pcm in zip(centers, spans, cuts, strict=True):
    name = f'sounds/{stem}-{round(center / rate * 1000)}ms.wav'
    wav_file.write(folder / name, pcm, rate)
    field = [min(1.0, max(0.0, (center + side * size / 2 - begin) / len(pcm))) for side in (-1, 1)]
    written[center] = {'sound': name, 'wave': pcm.astype(np.float32) / PCM_SCALE, 'field': field}
  return written


def write_pictures(probe, path, centers, folder, stem):
  """Writes what a video shows at the moments as `folder`/pictures/<stem>-<milliseconds>ms.jpg.

  Args:
    probe: UnitProbe.
    path: of the file.
    centers: of the moments, in samples, distinct.
    folder: pathlib.Path that holds a folder `pictures`.
    stem: beginning of the files' names.

  Returns:
    dict of center to path relative to `folder`; empty for a file without video.
  """
  rate, resize, written = probe.settings.sample_rate_hz, resizing.frame_resizer(PICTURE_SIZE), {}
  remaining = sorted(centers)
  try:
    for _, end, frame in decoding.decode_frames(path):
      if remaining and remaining[0] / rate < end:
        picture = Image.fromarray(resize(frame))
      while remaining and remaining[0] / rate < end:
        center = remaining.pop(0)
        name = f'pictures/{stem}-{round(center / rate * 1000)}ms.jpg'
        with files.atomic_write(folder / name, 'wb') as file:
          picture.save(file, 'JPEG', quality=JPEG_QUALITY)
        written[center] = name
      if not remaining:
        break
  except MediaError:  # no pictures, or damaged ones, which do not hold up the sounds
    return written
  return written


def write_page(probe, paths, folder, units=()):
  """Writes `folder`/index.html, sounds/*.wav and pictures/*.jpg: the sounds that activate each unit most.

  A unit has at most one moment per piece of sound (`chunking`, about 24 seconds).

  Args:
    probe: UnitProbe.
    paths: list of pathlib.Path of sound and video files.
    folder: new or empty.
    units: numbers of the units; empty for the most selective ones.

  Returns:
    (pathlib.Path of the page, list of paths that cannot be read).

  Raises:
    UserError: the folder is not empty, no file can be read, or there is no such unit.
  """
  folder = pathlib.Path(folder)
  if folder.exists() and any(folder.iterdir()):
    raise UserError(f'{folder}: is not empty; choose a new folder for the page')
  top, unreadable = search_files(probe, paths)
  moments = {unit: top_moments(top, unit) for unit in chosen_units(top, units)}
  for name in ('sounds', 'pictures'):
    (folder / name).mkdir(parents=True, exist_ok=True)
  parts = {}
  places = sorted({(file, center) for listed in moments.values() for file, center, _ in listed})
  by_file = {file: [c for f, c in places if f == file] for file, _ in places}
  for file, centers in tqdm.tqdm(by_file.items(), desc='cutting', unit=' files', delay=1):
    with integrity.decompressed(paths[file]) as path:
      sounds = write_sounds(probe, path, centers, folder, f'{file:05}')
      pictures = write_pictures(probe, path, centers, folder, f'{file:05}')
    for center, part in sounds.items():
      parts[file, center] = part | {'picture': pictures.get(center), 'file': text.printable(paths[file].name)}
  page = folder / 'index.html'
  with files.atomic_write(page) as out:
    title, introduction = heading(probe, top, len(paths) - len(unreadable))
    out.write(html.page(title, introduction, unit_rows(probe, top, moments, parts)))
  return page, unreadable


def heading(probe, top, file_count):
  """(title, introduction) of the page."""
  field = receptive_field.receptive_field(probe.table)
  size_ms, stride_ms = (1000 * samples / probe.settings.sample_rate_hz for samples in (field.size, field.stride))
  return (
    f'What activates the units of {probe.layer}',
    f'{probe.settings.student}, {len(top.sums)} units. {file_count:,} files, {top.steps:,} steps; receptive field '
    f'{size_ms:,.0f} ms (shaded), stride {stride_ms:,.0f} ms.',
  )


def unit_rows(probe, top, moments, parts):
  """The units as `html.page` takes them.

  Args:
    probe: UnitProbe.
    top: TopActivations.
    moments: dict of unit to its `top_moments`.
    parts: dict of (index of the file, center) to dict of `sound`, `wave`, `field`, `picture` and `file`.
  """
  selectivity, std = top.selectivity(), top.std()
  rate = probe.settings.sample_rate_hz
  return [
    {
      'number': unit,
      'note': f'mean activation {top.sums[unit] / top.steps:.3g}, standard deviation {std[unit]:.3g}; these sounds are '
      f'{selectivity[unit]:.1f} standard deviations above the mean',
      'moments': [
        {'seconds': center / rate, 'activation': value} | parts[file, center] for file, center, value in listed
      ],
    }
    for unit, listed in moments.items()
  ]
