"""Features of clips, a vector each, and the groups that colour them."""

import collections
import pathlib

import numpy as np
import tqdm

from audionet_tf.core import text
from audionet_tf.core.errors import UserError
from audionet_tf.data import clip_tables
from audionet_tf.inference import readers
from audionet_tf.plotting import tsne
from audionet_tf.representations import files

SUFFIXES = ('.npz', '.h5', '.tfrecord')


def read_features(paths, layer):
  """The mean over time of a layer, a row a clip.

  Args:
    paths: files of audionet_tf.features, or folders of them with their sub-folders: `<name of the clip>.npz` or `.h5`.
    layer: name of the layer.

  Returns:
    (names of the clips: of files their own, in folders the paths there; f32 [clips, width]).

  Raises:
    UserError: no such files, too few of them, another kind of file, no such layer, or widths that differ.
  """
  paths = [pathlib.Path(path) for path in paths]
  inside = {path: sorted(p for p in path.rglob('*') if p.suffix in SUFFIXES) for path in paths if path.is_dir()}
  found = {file: path if path in inside else file.parent for path in paths for file in inside.get(path, [path])}
  if len(found) < tsne.FEWEST:
    places = ', '.join(map(str, paths[:3]))
    raise UserError(f'{places}: {len(found)} clips with features, a map needs {tsne.FEWEST}; features writes them')
  rows = [read_mean(file, layer) for file in tqdm.tqdm(found, desc='reading', unit=' clips', delay=2)]
  for file, row in zip(found, rows, strict=True):
    if row.shape != rows[0].shape:
      raise UserError(f'{file}: {layer} has {row.size} channels, that of {next(iter(found)).name} has {rows[0].size}')
  return [file.relative_to(folder).with_suffix('').as_posix() for file, folder in found.items()], np.stack(rows)


def read_mean(path, layer):
  """f32 [width], the mean over time of one clip's layer."""
  known = files.read_about(path).get('layers', [])
  if layer not in known:
    raise UserError(f'{path}: no layer {layer!r} in it; it has {", ".join(map(str, known))}')
  values, _ = files.read(path, [layer])[1][layer]  # [T, width]
  if not values.size or not np.isfinite(values).all():
    raise UserError(f'{path}: {layer} holds no finite numbers')
  return values.mean(0, dtype=np.float64).astype(np.float32)


def categories(path, names):
  """The category of every clip, from a table of clips (`clip_tables`).

  Args:
    path: of the CSV.
    names: of the clips: their paths in the table, or file names that only one of these has.

  Raises:
    UserError: not such a table, or clips whose category it does not list.
  """
  clips = {clip.name: clip for clip in clip_tables.read(path)}
  files = collections.Counter(clip.path.name for clip in clips.values())
  known = {clip.path.name: clip.category for clip in clips.values() if files[clip.path.name] == 1}
  known |= {name: clip.category for name, clip in clips.items()}
  missing = [name for name in names if not known.get(name)]
  if missing:
    raise UserError(f'{path}: lists no category of {text.first_of(missing)}')
  return [known[name] for name in names]


def student_top1(folder, names):
  """The class of highest mean probability of every clip, from `<name>.npz` or `<name>.json` of audionet_tf.infer.

  Args:
    folder: of the inferences.
    names: file names of the clips.
  """
  folder = pathlib.Path(folder)
  found = []
  for name in tqdm.tqdm(names, desc='opinions', unit=' clips', delay=2):
    paths = [folder / f'{name}{suffix}' for suffix in ('.npz', '.json')]
    heard = readers.read_inference(next((path for path in paths if path.is_file()), paths[0]))
    found.append(heard.class_names[int(heard.probabilities.mean(0, dtype=np.float64).argmax())])
  return found
