"""Mixtures of several sounds in ten seconds, with weak labels: which sounds occur, not when."""

import csv
import pathlib

import numpy as np
import tqdm
from scipy.io import wavfile

from audionet_tf.core import files
from audionet_tf.data.tables import clip_tables
from audionet_tf.media import decoding

RATE_HZ, SECONDS = 22050, 10
MOST_SOUNDS = 3  # in a mixture
QUIETEST_DB, LOUDEST_DB = -12.0, 0.0
FULL_SCALE = 0.9


def make(table, audio, folds, count, seed, folder):
  """Writes `folder`/mixture-<number>.wav and, last, `folder`/labels.csv (file, labels), unless this exists.

  A mixture has one to three clips of different categories; each starts at a random time, unclipped if it is short
  enough, with a random gain. Mixture i is a function of (seed, i) and of the clips.

  Args:
    table: CSV of clips: filename, fold, category.
    audio: folder of the clips.
    folds: list of str, the folds of the clips.
    count: number of mixtures.
    seed: int.
    folder: pathlib.Path.
  """
  if (folder / 'labels.csv').exists():
    return
  folder.mkdir(parents=True, exist_ok=True)
  clips = [clip for clip in clip_tables.read(table, audio, labelled=True) if clip.fold in folds]
  sounds = {clip.path: read_sound(clip.path) for clip in tqdm.tqdm(clips, desc='reading clips', unit=' clips', delay=1)}
  categories = sorted({clip.category for clip in clips})
  rows = []
  for number in tqdm.tqdm(range(count), desc='mixing', unit=' mixtures', delay=1):
    draws = np.random.default_rng([seed, number])
    chosen = draws.choice(categories, draws.integers(1, MOST_SOUNDS + 1), replace=False)
    mixture = np.zeros(RATE_HZ * SECONDS)
    for category in chosen:
      of_category = [clip.path for clip in clips if clip.category == category]
      add(mixture, sounds[of_category[draws.integers(len(of_category))]], draws)
    mixture *= min(1, FULL_SCALE / max(FULL_SCALE, np.abs(mixture).max()))
    name = f'mixture-{number:05d}.wav'
    wavfile.write(folder / name, RATE_HZ, np.rint(mixture * 32767).astype(np.int16))
    rows.append([name, ';'.join(sorted(chosen))])
  with files.atomic_write(folder / 'labels.csv') as file:
    csv.writer(file).writerows([['file', 'labels'], *rows])


def read_sound(path):
  """f64 [samples] of a clip in [-1, 1]."""
  samples = np.concatenate([pcm for _, pcm in decoding.decode_audio(path, RATE_HZ)]).astype(np.float64)
  return samples / max(1.0, np.abs(samples).max())


def add(mixture, sound, draws):
  """Adds a sound to a mixture, at a time and with a gain drawn from `draws`, a Generator."""
  sound = sound[: len(mixture)]
  start = draws.integers(len(mixture) - len(sound) + 1)
  mixture[start : start + len(sound)] += sound * 10 ** (draws.uniform(QUIETEST_DB, LOUDEST_DB) / 20)


def folds_of(table, audio):
  """The folds of the clips, list of str."""
  return sorted({clip.fold for clip in clip_tables.read(pathlib.Path(table), audio, labelled=True)})
