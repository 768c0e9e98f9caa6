"""The probe: features of labelled clips, one linear classifier a fold, one row a layer."""

import dataclasses
import json
import pathlib

import numpy as np
import tqdm

from audionet_tf.core import files as core_files
from audionet_tf.core import text
from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.media import prefetch
from audionet_tf.models import registry
from audionet_tf.representations import baselines as representations_baselines
from audionet_tf.representations import extraction, files, linear_probe

BASELINES = tuple(representations_baselines.BASELINES)
REPEATED_SECONDS = 10.0  # as SoundNet's own evaluation of clips of 5 s
POOLS = {  # f32 [T, width] -> f32 [1, numbers]
  'mean': lambda steps: steps.mean(0, keepdims=True),
  'statistics': representations_baselines.statistics,
}


@dataclasses.dataclass(frozen=True)
class ProbeConfig:
  """How features become samples and samples a classifier.

  Attributes:
    window_seconds: of the windows of steps.
    hop_steps: from a window to the next.
    pool: 'windows', or key of POOLS: one sample a clip.
    classifier: key of linear_probe.CLASSIFIERS.
    c: None chooses by the training folds.
    standardize: None: baselines only.
  """

  window_seconds: float = 1.0
  hop_steps: int = 1
  pool: str = 'windows'
  classifier: str = 'svm'
  c: float | None = None
  standardize: bool | None = None


def layer_features(load, layers, clips, folder, clip_seconds):
  """Features of a network's layers, kept in a folder of their own below `folder`.

  Args:
    load: layers -> layer_models.LayerModel.
    layers: names.
    clips: list of clip_tables.Clip.
    folder: exists.
    clip_seconds: as in extraction.extract; None: 10 s for SoundNets; 0: as they are.

  Returns:
    (dict of layer to dict of path to (f32 [T, width], seconds of sound), paths that cannot be read).
  """
  model = load(layers)
  network = registry.network(model.settings.student)
  repeats = network.short_input == 'repeat' and network.layer_windows
  seconds = (REPEATED_SECONDS if repeats else None) if clip_seconds is None else clip_seconds or None
  kept = folder / 'features' / '-'.join([model.digest[:12], *layers, *([f'{seconds:g}s'] if seconds else [])])
  kept.mkdir(parents=True, exist_ok=True)
  paths, names = [clip.path for clip in clips], [clip.name for clip in clips]
  done = extraction.extract(model, paths, kept, clip_seconds=seconds, names=names)
  found = {layer: {} for layer in layers}
  for path, file in done['outputs'].items():
    about, arrays = files.read(file, layers)
    for layer in layers:
      found[layer][path] = arrays[layer][0], about['sound_seconds']
  return found, done['unreadable']


def baseline_features(names, clips):
  """As `layer_features`, of `baselines.BASELINES`."""
  found, unreadable = {name: {} for name in names}, []

  def sound(clip, decoded):
    rate, mono = representations_baselines.SAMPLE_RATE_HZ, representations_baselines.MONO
    return np.concatenate([pcm for _, pcm in prefetch.sound_of(clip.path, rate, mono, decoded)])

  opened = prefetch.opened_ahead([clip.path for clip in clips], clips, sound)
  for clip, future in tqdm.tqdm(opened, total=len(clips), desc='spectra', unit=' clips', delay=2):
    try:
      pcm = future.result()
    except MediaError as error:
      extraction.tell(clip.path, error, unreadable)
      continue
    for name in names:
      seconds = len(pcm) / representations_baselines.SAMPLE_RATE_HZ
      found[name][clip.path] = representations_baselines.BASELINES[name](pcm), seconds
  return found, unreadable


def samples_of(features, clips, settings):
  """(linear_probe.Samples, list of Clip) of the clips that have features.

  Args:
    features: dict of path to (f32 [T, width], seconds of sound).
    clips: list of clip_tables.Clip.
    settings: Settings.

  Raises:
    UserError: a clip shorter than a window.
  """
  there = [clip for clip in clips if clip.path in features]
  if not there:
    raise UserError('none of the clips can be read; paths start from the folder of the CSV or --audio')
  longest, seconds = max((features[clip.path] for clip in there), key=lambda pair: len(pair[0]))
  size = linear_probe.window_steps(settings.window_seconds, seconds, len(longest))
  vectors = []
  for clip in there:
    steps = features[clip.path][0]
    pool = None if settings.pool == 'windows' else POOLS[settings.pool]
    cut = pool(steps) if pool else linear_probe.windows(steps, size, settings.hop_steps)
    if not len(cut):
      raise UserError(f'{clip.path}: {len(steps)} steps, a window has {size}; --clip_seconds makes clips equally long')
    vectors.append(cut)
  samples = linear_probe.gather(vectors, [clip.category for clip in there], [clip.fold for clip in there])
  return samples, there


def probe(features, clips, folds, settings, standardize):
  """Judges one layer.

  Args:
    features, clips: as in `samples_of`.
    folds: to judge.
    settings: Settings.
    standardize: bool.

  Returns:
    dict for JSON: `folds` (of fold to `accuracy`, `c`, `clips`), `mean` and `deviation` of the folds' accuracies,
    `windows`, `numbers` (in a window), `standardized`, `class_names`, `confusion` (int lists) and `results`, a dict a
    clip: `path`, `fold`, `category`, `named`.
  """
  samples, there = samples_of(features, clips, settings)
  judged = linear_probe.cross_validate(samples, folds, settings.classifier, settings.c, standardize)
  results, matrix = [], np.zeros([len(samples.classes)] * 2, int)
  for fold, found in judged.items():
    np.add.at(matrix, (samples.labels[found['clips']], found['said']), 1)
    for number, label in zip(found['clips'], found['said'], strict=True):
      clip = there[number]
      row = {'path': str(clip.path), 'fold': fold, 'category': clip.category, 'named': samples.classes[label]}
      results.append(row)
  accuracies = [found['accuracy'] for found in judged.values()]
  return {
    'folds': {fold: {**found, 'clips': len(found['clips'])} for fold, found in judged.items()},
    'mean': float(np.mean(accuracies)),
    'deviation': float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else None,
    'windows': len(samples.vectors),
    'numbers': samples.vectors.shape[1],
    'standardized': standardize,
    'class_names': samples.classes,
    'confusion': matrix.tolist(),
    'results': results,
  }


def judge_layers(load, layers, clips, folds, folder, settings, clip_seconds=None):
  """Judges every layer on the same clips: dict for JSON, `layers` of `probe` by name, `unreadable` and the settings.

  Args:
    load: layers -> layer_outputs.LayerOutputs; not called where all are baselines.
    layers: names of layers, or keys of sound_statistics.BASELINES.
    clips: list of clip_tables.Clip, labelled.
    folds: to judge; all others are trained on in each turn.
    folder: a pathlib.Path, exists; features are kept there.
    settings: Settings.
    clip_seconds: as in `layer_features`.
  """
  of_network = [layer for layer in layers if layer not in representations_baselines.BASELINES]
  features, unreadable = {}, []
  if of_network:
    features, unreadable = layer_features(load, of_network, clips, folder, clip_seconds)
  baselines = [layer for layer in layers if layer not in of_network]
  if baselines:
    spectra, lost = baseline_features(baselines, clips)
    features |= spectra
    unreadable = sorted({*unreadable, *lost})
  found = {}
  for layer in layers:
    standardize = layer in baselines if settings.standardize is None else settings.standardize
    try:
      found[layer] = probe(features[layer], clips, folds, settings, standardize)
    except UserError as error:
      raise UserError(f'{layer}: {error}') from None
  return {'settings': dataclasses.asdict(settings), 'unreadable': unreadable, 'layers': found}


def table(measured):
  """Lines for the screen: accuracy of every fold, their mean and deviation, the C of every fold."""
  layers = measured['layers']
  folds = list(next(iter(layers.values()))['folds'])
  rows = [['layer', *(f'fold {fold}' for fold in folds), 'mean', 'deviation', 'C']]
  for layer, found in layers.items():
    accuracies = [f'{100 * found["folds"][fold]["accuracy"]:.1f} %' for fold in folds]
    deviation = '-' if found['deviation'] is None else f'{100 * found["deviation"]:.1f} %'
    chosen = ' '.join(dict.fromkeys(f'{found["folds"][fold]["c"]:g}' for fold in folds))
    rows.append([layer, *accuracies, f'{100 * found["mean"]:.1f} %', deviation, chosen])
  return text.aligned(rows)


def write_json(path, measured):
  """Writes `probe.json`, whole or not at all."""
  with core_files.atomic_write(pathlib.Path(path)) as file:
    json.dump(measured, file, indent=1)
