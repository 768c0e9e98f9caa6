"""What the layers of a network heard in one clip, as a file: .npz, HDF5, or of `pca` AudioSet's `embedding_files`.

| array                      | dtype, shape         | HDF5                     |
|----------------------------|----------------------|--------------------------|
| `<layer>`                  | f32 [T, width]       | the same name            |
| `<layer>/center_seconds`   | f64 [T]              | `center_seconds/<layer>` |
| `about`                    | str [1], JSON        | the same name            |

A time is that of the middle of what the step hears, in the sound as it was heard: of repeated sound, behind the clip's
own end. `about`: `source` and its `source_sha256`, `student`, `model` (sha256 of the weights), `sample_rate_hz`,
`layers`, `clip_seconds` (null, or what every sound was repeated or cut to), `repeats`, `repeated_for` (null, or the
layer that it was too short for), `sound_seconds` (with its repeats), `heard_seconds` (of these, what the rows cover: a
rest that fills no window or patch is dropped).
"""

import json
import pathlib
import zipfile

import numpy as np

from audionet_tf.core import array_files, text
from audionet_tf.core.errors import UserError
from audionet_tf.data import audioset_embeddings

CENTERS = 'center_seconds'
LEAST_REST_SECONDS = 0.01  # that is told: less is a resampler's rounding
SAME = ('model', 'clip_seconds')  # of `about`: a file that differs here is another run's, and kept


def hdf5_name(name):
  layer, _, centers = name.rpartition('/')
  return f'{centers}/{layer}' if layer else name


# Format to its writer and how it names the arrays.
FORMATS = {
  'npz': (array_files.npz, lambda name: name),
  'h5': (array_files.hdf5, hdf5_name),
  'tfrecord': (audioset_embeddings.write, lambda name: name),
}


def read(path, layers):
  """(about, dict of layer to (f32 [T, width], f64 [T] seconds)) from a file of either format.

  Raises:
    UserError: missing, damaged, or without one of the layers.
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
  """The dict `about` of a file. UserError where there is none."""
  return _read(path, [])[0]


def _read(path, layers):
  path = pathlib.Path(path)
  try:
    if path.suffix == '.tfrecord':
      about, found = audioset_embeddings.read_features(path)
      arrays = {layer: found[layer] for layer in layers}
    elif path.suffix == '.h5':
      import h5py

      with h5py.File(path) as file:
        about = file['about'].asstr()[0]
        arrays = {layer: (file[layer][:], file[hdf5_name(f'{layer}/{CENTERS}')][:]) for layer in layers}
    else:
      with np.load(path, allow_pickle=False) as file:
        about = str(file['about'][0])
        arrays = {layer: (file[layer], file[f'{layer}/{CENTERS}']) for layer in layers}
    about = json.loads(about)
    if not isinstance(about, dict):
      raise ValueError('about is no dict')
  except FileNotFoundError:
    raise UserError(f'{path}: no such file of features') from None
  except (KeyError, ValueError, IndexError, OSError, AttributeError, TypeError, EOFError, zipfile.BadZipFile) as error:
    raise UserError(f'{path}: not a file of these features ({text.brief(error)})') from None
  return about, arrays


def done(path, about):
  """Whether `path`, which is there, holds what `about` describes. Of another source, or of an unknown one as in files
  without `source_sha256`, it does not: the same run may write it again, as it does when its sound has changed.

  Raises:
    UserError: it holds what another model heard, another length of clips, or too few layers of this sound.
  """
  found = read_about(path)
  for key in SAME:
    if found.get(key) != about[key]:
      raise UserError(
        f'{path}: its {key} is {found.get(key)}, that of this run {about[key]}; delete it or use another --output'
      )
  if found.get('source_sha256') != about['source_sha256']:
    return False
  missing = [layer for layer in about['layers'] if layer not in found.get('layers', ())]
  if missing:
    raise UserError(f'{path}: without layer {", ".join(missing)}; delete it or use another --output')
  return True


def remarks(outputs):
  """Lines on what was done to sounds too short for a layer, and on what is not heard of others.

  Args:
    outputs: dict of source to its file.
  """
  repeated, rests, unheard = {}, [], []
  for source, path in outputs.items():
    about = read_about(path)
    if about['repeats'] > 1 and not about['clip_seconds']:
      repeated.setdefault(about['repeated_for'], []).append(f'{source.name} ({about["repeats"]} times)')
    rest = about['sound_seconds'] - about['heard_seconds']
    if rest >= LEAST_REST_SECONDS:
      rests.append(rest)
      unheard.append(source.name)
  lines = [
    f'too short for {layer or "a window"}, repeated: {text.first_of(names)}; '
    + ('all layers heard the repeated sound, and times are its' if layer else 'times are those of the repeated sound')
    for layer, names in repeated.items()
  ]
  if rests:
    lines.append(f'up to {max(rests):.2f} s of a sound fill no window and are not heard: {text.first_of(unheard)}')
  return lines
