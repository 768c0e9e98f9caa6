"""Files of features: layer activations of one clip as .npz, HDF5, or for `pca` in AudioSet's format of embeddings.

| array                      | dtype, shape         | HDF5                     |
|----------------------------|----------------------|--------------------------|
| `<layer>`                  | f32 [T, width]       | the same name            |
| `<layer>/center_seconds`   | f64 [T]              | `center_seconds/<layer>` |
| `about`                    | str [1], JSON        | the same name            |

A time is the centre of the receptive field of a step. Where sound was repeated, it may be after the end of the clip.
`about`: `source` and its `source_sha256`, `student`, `model` (SHA-256 of the weights), `sample_rate_hz`, `layers`,
`clip_seconds` (null, or the length to which every sound was repeated or truncated), `repeats`, `repeated_for` (null, or
the layer that it was too short for), `sound_seconds` (including repetitions), `heard_seconds` (the part that the rows
cover: a remainder that fills no window or patch is dropped).
"""

import json
import pathlib

import numpy as np

from audionet_tf.core import array_files, text
from audionet_tf.core.errors import UserError
from audionet_tf.data import audioset_embeddings

CENTERS = 'center_seconds'
LEAST_REMAINDER_SECONDS = 0.01  # smallest remainder that is reported: less is rounding of the resampler
SAME = ('model', 'clip_seconds')  # keys of `about`: a file that differs in one belongs to another run, and is kept


def hdf5_name(name):
  """Name of an array in HDF5."""
  layer, _, centers = name.rpartition('/')
  return f'{centers}/{layer}' if layer else name


# Format to its writer and its function of the name of an array.
FORMATS = {
  'npz': (array_files.npz, lambda name: name),
  'h5': (array_files.hdf5, hdf5_name),
  'tfrecord': (audioset_embeddings.write, lambda name: name),
}


def read(path, layers):
  """Reads layers from a file of features.

  Args:
    path: of a file in one of FORMATS.
    layers: names.

  Returns:
    (about, dict of layer to (f32 [T, width], f64 [T] centres in seconds)).

  Raises:
    UserError: the file is missing, damaged, or does not have one of the layers.
  """
  about, arrays = _read(path, layers)
  for layer in layers:
    values, centers = arrays[layer]
    if values.ndim != 2 or values.dtype.kind != 'f' or centers.shape != values.shape[:1]:
      raise UserError(
        f'{path}: {layer} is {values.dtype} {list(values.shape)}, expected is float [T, width] with times'
      )
  return about, arrays


def read_about(path):
  """The dict `about` of a file. UserError where the file is missing or damaged."""
  return _read(path, [])[0]


def _read(path, layers):
  """`read` without checks of the arrays."""
  path = pathlib.Path(path)
  try:
    if path.suffix == '.tfrecord':
      about, embeddings = audioset_embeddings.read_features(path)
      arrays = {layer: embeddings[layer] for layer in layers}
    elif path.suffix == '.h5':
      import h5py

      with h5py.File(path) as file:
        about = file['about'].asstr()[0]
        arrays = {layer: (file[layer][:], file[hdf5_name(f'{layer}/{CENTERS}')][:]) for layer in layers}
    else:
      with array_files.load_npz(path) as file:
        about = str(file['about'][0])
        # What is no array in a damaged archive comes as bytes.
        arrays = {layer: tuple(np.asarray(file[name]) for name in (layer, f'{layer}/{CENTERS}')) for layer in layers}
    about = json.loads(about)
    if not isinstance(about, dict):
      raise ValueError('about is no dict')
  except FileNotFoundError:
    raise UserError(f'{path}: no such file of features') from None
  except Exception as error:  # NumPy, zipfile and HDF5 raise whatever damaged bytes hit
    raise UserError(f'{path}: not a file of these features ({text.brief(error)})') from None
  return about, arrays


def done(path, about):
  """Whether an existing file holds the features that `about` describes.

  False where its source has changed, or has no `source_sha256`: then the same run writes it again.

  Raises:
    UserError: the file is from another model or another length of clips, or does not have all layers.
  """
  existing = read_about(path)
  for key in SAME:
    if existing.get(key) != about[key]:
      raise UserError(
        f'{path}: its {key} is {existing.get(key)}, that of this run {about[key]}; delete it or use another --output'
      )
  if existing.get('source_sha256') != about['source_sha256']:
    return False
  listed = existing.get('layers')
  missing = [layer for layer in about['layers'] if not isinstance(listed, list) or layer not in listed]
  if missing:
    raise UserError(f'{path}: without layer {", ".join(missing)}; delete it or use another --output')
  return True


def remarks(outputs):
  """Remarks on sounds that were repeated, and on remainders that were dropped.

  Args:
    outputs: dict of source, pathlib.Path, to its file of features.

  Returns:
    list of str, one line each.
  """
  repeated, remainders, truncated = {}, [], []
  for source, path in outputs.items():
    about = read_about(path)
    if about['repeats'] > 1 and not about['clip_seconds']:
      repeated.setdefault(about['repeated_for'], []).append(f'{source.name} ({about["repeats"]} times)')
    remainder = about['sound_seconds'] - about['heard_seconds']
    if remainder >= LEAST_REMAINDER_SECONDS:
      remainders.append(remainder)
      truncated.append(source.name)
  lines = [
    f'too short for {layer or "a window"}, repeated: {text.first_of(names)}; '
    + ('all layers see the repeated sound; times refer to it' if layer else 'times refer to the repeated sound')
    for layer, names in repeated.items()
  ]
  if remainders:
    lines.append(f'up to {max(remainders):.2f} s of a sound fill no window and are dropped: {text.first_of(truncated)}')
  return lines
