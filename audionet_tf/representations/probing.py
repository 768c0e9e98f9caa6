"""The linear probe: features of labelled clips, one classifier per layer and fold, one row of results per layer."""

import dataclasses

import numpy as np
import tqdm

from audionet_tf.core import confusion, text
from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.media import prefetch
from audionet_tf.models import registry
from audionet_tf.representations import extraction, files, linear_probe
from audionet_tf.representations.baselines import BASELINES, MONO, SAMPLE_RATE_HZ, statistics

REPEATED_SECONDS = 10.0  # as in SoundNet's own evaluation of clips of 5 s
POOLS = {  # f32 [T, width] -> f32 [1, n]
  'mean': lambda steps: steps.mean(0, keepdims=True),
  'statistics': statistics,
}


@dataclasses.dataclass(frozen=True)
class ProbeConfig:
  """Settings of the samples and the classifier.

  Attributes:
    window_seconds: length of the windows of steps.
    hop_steps: steps from one window to the next.
    pool: 'windows', or key of POOLS for one sample per clip.
    classifier: key of linear_probe.CLASSIFIERS.
    c: inverse strength of the regularisation; None chooses it within the training folds.
    standardize: whether values are standardised; None standardises baselines only.
  """

  window_seconds: float = 1.0
  hop_steps: int = 1
  pool: str = 'windows'
  classifier: str = 'svm'
  c: float | None = None
  standardize: bool | None = None


def layer_features(load, layers, clips, folder, clip_seconds):
  """Features of a network's layers, written to a folder of their own below `folder`.

  Args:
    load: function of a list of layers to layer_outputs.LayerOutputs.
    layers: list of str.
    clips: list of clip_tables.Clip.
    folder: existing pathlib.Path.
    clip_seconds: length to which every sound is repeated or truncated; None: 10 s for SoundNets, else as it is; 0: as
      it is.

  Returns:
    (dict of layer to dict of path to (f32 [T, width], seconds of sound), list of paths that cannot be read).
  """
  model = load(layers)
  network = registry.network(model.settings.student)
  repeats = network.short_input == 'repeat' and network.layer_windows
  seconds = (REPEATED_SECONDS if repeats else None) if clip_seconds is None else clip_seconds or None
  feature_folder = folder / 'features' / '-'.join([model.digest[:12], *layers, *([f'{seconds:g}s'] if seconds else [])])
  feature_folder.mkdir(parents=True, exist_ok=True)
  paths, names = [clip.path for clip in clips], [clip.name for clip in clips]
  done = extraction.extract(model, paths, feature_folder, clip_seconds=seconds, names=names)
  features = {layer: {} for layer in layers}
  for path, file in done['outputs'].items():
    about, arrays = files.read(file, layers)
    for layer in layers:
      features[layer][path] = arrays[layer][0], about['sound_seconds']
  return features, done['unreadable']


def baseline_features(names, clips):
  """Features without a network.

  Args:
    names: keys of baselines.BASELINES.
    clips: list of clip_tables.Clip.

  Returns:
    (dict of name to dict of path to (f32 [T, width], seconds of sound), list of paths that cannot be read).
  """
  features, unreadable = {name: {} for name in names}, []

  def sound(clip, decoded):
    chunks = [pcm for _, pcm in prefetch.sound_of(clip.path, SAMPLE_RATE_HZ, MONO, decoded)]
    if not chunks:
      raise MediaError(clip.path, f'shorter than a sample at {SAMPLE_RATE_HZ} Hz')
    return np.concatenate(chunks)

  opened = prefetch.opened_ahead([clip.path for clip in clips], clips, sound)
  for clip, future in tqdm.tqdm(opened, total=len(clips), desc='spectra', unit=' clips', delay=2):
    try:
      pcm = future.result()
    except MediaError as error:
      extraction.tell(clip.path, error, unreadable)
      continue
    for name in names:
      features[name][clip.path] = BASELINES[name](pcm), len(pcm) / SAMPLE_RATE_HZ
  return features, unreadable


def samples_of(features, clips, settings):
  """Samples of the clips that have features.

  Args:
    features: dict of path to (f32 [T, width], seconds of sound).
    clips: list of clip_tables.Clip.
    settings: ProbeConfig.

  Returns:
    (linear_probe.Samples, list of clip_tables.Clip that they index).

  Raises:
    UserError: no clip has features, or a clip is shorter than a window.
  """
  readable = [clip for clip in clips if clip.path in features]
  if not readable:
    raise UserError('none of the clips can be read; paths start from the folder of the CSV or --media_root')
  longest, seconds = max((features[clip.path] for clip in readable), key=lambda pair: len(pair[0]))
  size = linear_probe.window_steps(settings.window_seconds, seconds, len(longest))
  vectors = []
  for clip in readable:
    steps = features[clip.path][0]
    pool = None if settings.pool == 'windows' else POOLS[settings.pool]
    clip_vectors = pool(steps) if pool else linear_probe.windows(steps, size, settings.hop_steps)
    if not len(clip_vectors):
      raise UserError(f'{clip.path}: {len(steps)} steps, a window has {size}; --clip_seconds makes clips equally long')
    vectors.append(clip_vectors)
  samples = linear_probe.gather(vectors, [clip.category for clip in readable], [clip.fold for clip in readable])
  return samples, readable


def probe(features, clips, folds, settings, standardize):
  """Evaluates the features of one layer.

  Args:
    features: dict of path to (f32 [T, width], seconds of sound).
    clips: list of clip_tables.Clip.
    folds: list of str, the folds to evaluate.
    settings: ProbeConfig.
    standardize: bool.

  Returns:
    dict for JSON: `folds` (dict of fold to `accuracy`, `c`, `clips`, `predictions`); `mean` and `deviation` (standard
    deviation) of their accuracies; `windows`, number of samples; `numbers`, width of a sample; `standardized`;
    `class_names`; `confusion`, list of lists of int; `results`, a list of dicts, one per clip, of `path`, `fold`,
    `category` and `named`, the predicted category.
  """
  samples, readable = samples_of(features, clips, settings)
  by_fold = linear_probe.cross_validate(samples, folds, settings.classifier, settings.c, standardize)
  results = []
  for fold, result in by_fold.items():
    for number, label in zip(result['clips'], result['predictions'], strict=True):
      clip = readable[number]
      row = {'path': str(clip.path), 'fold': fold, 'category': clip.category, 'named': samples.classes[label]}
      results.append(row)
  pairs = [(samples.labels[result['clips']], result['predictions']) for result in by_fold.values()]
  true, predicted = map(np.concatenate, zip(*pairs, strict=True))
  accuracies = [result['accuracy'] for result in by_fold.values()]
  return {
    'folds': {fold: {**result, 'clips': len(result['clips'])} for fold, result in by_fold.items()},
    'mean': float(np.mean(accuracies)),
    'deviation': float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else None,
    'windows': len(samples.vectors),
    'numbers': samples.vectors.shape[1],
    'standardized': standardize,
    'class_names': samples.classes,
    'confusion': confusion.matrix(true, predicted, len(samples.classes)).tolist(),
    'results': results,
  }


def judge_layers(load, layers, clips, folds, folder, settings, clip_seconds=None):
  """Evaluates every layer on the same clips.

  Args:
    load: function of a list of layers to layer_outputs.LayerOutputs; not called where all are baselines.
    layers: names of layers, or keys of baselines.BASELINES.
    clips: list of clip_tables.Clip, labelled.
    folds: list of str, the folds to evaluate, each by a classifier that is trained on all others.
    folder: existing pathlib.Path; features are written below it.
    settings: ProbeConfig.
    clip_seconds: length to which every sound is repeated or truncated; None: 10 s for SoundNets, else as it is; 0: as
      it is.

  Returns:
    dict for JSON: `settings`; `unreadable`, list of paths; `layers`, dict of layer to the dict of `probe`.

  Raises:
    UserError: a layer is not known, or its clips or folds are of no use.
  """
  of_network = [layer for layer in layers if layer not in BASELINES]
  features, unreadable = {}, []
  if of_network:
    features, unreadable = layer_features(load, of_network, clips, folder, clip_seconds)
  baselines = [layer for layer in layers if layer not in of_network]
  if baselines:
    spectra, unreadable_spectra = baseline_features(baselines, clips)
    features |= spectra
    unreadable = sorted({*unreadable, *unreadable_spectra})
  results = {}
  for layer in layers:
    standardize = layer in baselines if settings.standardize is None else settings.standardize
    try:
      results[layer] = probe(features[layer], clips, folds, settings, standardize)
    except UserError as error:
      raise UserError(f'{layer}: {error}') from None
  return {'settings': dataclasses.asdict(settings), 'unreadable': unreadable, 'layers': results}


def table(measured):
  """Text of the results of `judge_layers`: accuracy per fold, their mean and standard deviation, and the chosen C."""
  layers = measured['layers']
  folds = list(next(iter(layers.values()))['folds'])
  rows = [['layer', *(f'fold {fold}' for fold in folds), 'mean', 'deviation', 'C']]
  for layer, results in layers.items():
    accuracies = [f'{100 * results["folds"][fold]["accuracy"]:.1f} %' for fold in folds]
    deviation = '-' if results['deviation'] is None else f'{100 * results["deviation"]:.1f} %'
    chosen = ' '.join(dict.fromkeys(f'{results["folds"][fold]["c"]:g}' for fold in folds))
    rows.append([layer, *accuracies, f'{100 * results["mean"]:.1f} %', deviation, chosen])
  return text.aligned(rows)
