"""A run's windows in TensorBoard: embedding projector, t-SNE map, confusion matrix, top activations of units."""

import collections
import csv
import pathlib
import time

import keras
import numpy as np
import tensorflow as tf
import tqdm
from tensorboard.plugins import projector as plugin

from audionet_tf.core import confusion, files
from audionet_tf.data import input_pipeline
from audionet_tf.media import overview, timeline
from audionet_tf.models import heads
from audionet_tf.models.heads import LOGITS
from audionet_tf.plotting import clips, style, tsne
from audionet_tf.plotting import sound as plotting_sound
from audionet_tf.units import activations

MOST_WINDOWS = 2000
SAMPLES_AT_ONCE = 1 << 21
FOLDER = 'projector'
FEWEST_POINTS, MOST_POINTS = 20, 200  # of the map
MOST_CLASSES = 20  # of the confusion matrix
UNIT_WINDOWS = 5  # shown per unit
OTHERS = '(another)'
SHARE = 100  # before the last epoch, pictures take at most 1 / SHARE of the time
FIRST_COST_SECONDS = 5.0  # assumed for the first pictures


class Projector(keras.callbacks.Callback):
  """Shows the first MOST_WINDOWS windows in the order of the files, as pictures and as the projector's files.

  They are written after the last epoch, and before it as often as SHARE allows.

  Args:
    folder: of TensorBoard's event files.
    writer: of the event file: TensorBoard reads one per folder.
    batches: dataset of batches in the order of the files, of `batch_size` windows.
    class_names: dict of head to names.
    video_ids: list of str, the videos by number.
    sample_rate_hz: of the windows.
    windows: number of windows.
    encoded: dataset of the same windows' encoded pictures, string [B, T]; None if the records have none.
  """

  def __init__(self, folder, writer, batches, class_names, video_ids, sample_rate_hz, windows, encoded=None):
    super().__init__()
    self.windows = windows
    self.folder, self.writer, self.batches, self.encoded = folder, writer, batches, encoded
    self.class_names, self.video_ids, self.sample_rate_hz = class_names, video_ids, sample_rate_hz
    self.cost_seconds = FIRST_COST_SECONDS

  def on_train_begin(self, logs=None):
    self.shown_at = time.monotonic()

  def on_epoch_end(self, epoch, logs=None):
    """Writes pictures and projector files, unless the last ones were written too recently for what they cost."""
    begin, last = time.monotonic(), epoch + 1 == self.params['epochs']
    if not last and begin - self.shown_at < SHARE * self.cost_seconds:
      return
    embeddings, rows = embed(self.model, self.batches, self.class_names, self.video_ids, self.windows)
    with self.writer.as_default(step=epoch):
      for name, figure in pictures(embeddings, rows, self.class_names):
        tf.summary.image(name, style.to_rgb(figure)[None])
      self.write_units(embeddings, rows)
    write(self.folder, embeddings, rows)
    self.shown_at = time.monotonic()
    self.cost_seconds = self.shown_at - begin

  def write_units(self, embeddings, rows):
    """Writes a picture of the windows that activate the most selective units most, and the first window as sound.

    Args:
      embeddings, rows: from `embed`.
    """
    windows_of_units = strongest(embeddings)
    if not windows_of_units:
      return
    numbers = {window for pairs in windows_of_units.values() for window, _ in pairs}
    waveforms = sounds(self.batches, numbers)
    frames = {} if self.encoded is None else middle_pictures(self.encoded, numbers)
    figure = units(windows_of_units, waveforms, rows, self.sample_rate_hz, frames)
    tf.summary.image('units', style.to_rgb(figure)[None])
    for unit, ((window, _), *_) in windows_of_units.items():
      name = name_of(rows[window])
      tf.summary.audio(f'units/{unit}', waveforms[window][None, :, None], self.sample_rate_hz, description=name)


def batch_size(window_samples):
  """Number of windows per call of the student."""
  return max(1, min(MOST_WINDOWS, SAMPLES_AT_ONCE // window_samples))


def embed(distiller, batches, class_names, video_ids, windows):
  """Predicts the first MOST_WINDOWS windows.

  Args:
    distiller: Distiller.
    batches, class_names, video_ids, windows: as for `Projector`.

  Returns:
    (f32 [n, width] embeddings, list of n dicts of column to str: video, window, top-1 classes of teacher and student).
  """
  embeddings, rows = [], []
  with tqdm.tqdm(total=min(windows, MOST_WINDOWS), desc='embeddings', unit=' windows', delay=2) as bar:
    for batch in batches:
      real = np.flatnonzero(batch['mask'].numpy())[: MOST_WINDOWS - len(rows)]
      outputs, targets = distiller(batch['audio'], training=False), distiller.targets(batch)
      embeddings.append(outputs['embedding'].numpy()[real].astype(np.float32))
      columns = {'video': [video_ids[i] for i in batch['video_id'].numpy()], 'window': batch['index'].numpy()}
      for head, names in class_names.items():
        predictions = heads.ACTIVATIONS[distiller.activation](outputs[LOGITS + head])
        for column, probabilities in zip(columns_of(head), (targets[head], predictions), strict=True):
          columns[column] = [names[i] for i in probabilities.numpy().mean(1).argmax(1)]
      rows += [{name: str(values[i]) for name, values in columns.items()} for i in real]
      bar.update(len(real))
      if len(rows) == MOST_WINDOWS:
        break
  return np.concatenate(embeddings), rows


def columns_of(head):
  """Names of the columns with the top-1 class of the teacher and of the student."""
  return f'{head}: teacher', f'{head}: student'


def pictures(embeddings, rows, heads):
  """Yields (name, Figure): for every head a t-SNE map, if there are enough windows, and a confusion matrix.

  Args:
    embeddings, rows: from `embed`.
    heads: list of str.
  """
  chosen = np.linspace(0, len(rows) - 1, min(len(rows), MOST_POINTS)).round().astype(int)
  spread = len(chosen) >= FEWEST_POINTS and np.ptp(embeddings[chosen], axis=0).any()
  points = tsne.plane(embeddings[chosen]) if heads and spread else None
  for head in heads:
    teacher, student = ([row[column] for row in rows] for column in columns_of(head))
    if points is not None:
      title = f'{len(chosen)} windows by their embedding (t-SNE), coloured by the prediction of {head}'
      yield f'map/{head}', clips.plane(points, [teacher[i] for i in chosen], title)
    counts, names = confusion_matrix(teacher, student)
    words = f'predicted by {head}', 'predicted by the student', 'agree'
    yield f'confusion/{head}', clips.confusion(counts, names, "the teacher's most frequent classes", words)


def strongest(embeddings):
  """The windows that activate the most selective units most.

  Args:
    embeddings: f32 [windows, width].

  Returns:
    dict of unit, the most selective first, to a list of (window, activation), the strongest first.
  """
  top = activations.top_in_windows(embeddings)
  moments = {unit: activations.top_moments(top, unit)[:UNIT_WINDOWS] for unit in activations.chosen_units(top, [])}
  return {unit: [(window, value) for window, _, value in row] for unit, row in moments.items() if row}


def sounds(batches, numbers):
  """dict of window to f32 [samples], for the set `numbers` of windows, counted as `embed` counts them."""
  waveforms, count = {}, 0
  for batch in batches:
    real = np.flatnonzero(batch['mask'].numpy())
    chosen = sorted(numbers & set(range(count, count + len(real))))
    rows = tf.gather(batch['audio'], [real[window - count] for window in chosen]).numpy() if chosen else []
    waveforms |= dict(zip(chosen, rows, strict=True))
    count += len(real)
    if len(waveforms) == len(numbers):
      break
  return waveforms


def middle_pictures(encoded, numbers):
  """dict of window to u8 [H, W, 3], its middle picture.

  Args:
    encoded: as for `Projector`.
    numbers: set of windows, counted as `embed` counts them.
  """
  frames = {}
  for window, pictures in enumerate(encoded.unbatch()):
    if window in numbers:
      frames[window] = input_pipeline.decode_picture(pictures[len(pictures) // 2]).numpy()
    if len(frames) == len(numbers):
      break
  return frames


def units(windows_of_units, waveforms, rows, sample_rate_hz, frames):
  """Figure of the windows that activate units most.

  Args:
    windows_of_units: from `strongest`.
    waveforms: from `sounds`.
    rows: from `embed`.
    sample_rate_hz: of the windows.
    frames: from `middle_pictures`; empty if the records have none.
  """
  drawn = {}
  for window, sound in waveforms.items():
    mel = overview.MelPicture(sample_rate_hz)
    list(mel.watch([(0, np.rint(sound * timeline.PCM_SCALE).astype(np.int16))]))
    drawn[window] = {
      'name': name_of(rows[window]),
      'decibels': mel.picture()['decibels'],
      'picture': frames.get(window),
    }
  return plotting_sound.units('windows that activate units of the embedding most', windows_of_units, drawn)


def name_of(row):
  """'clip.mp4, 3' of a window."""
  return f'{row["video"]}, {row["window"]}'


def confusion_matrix(teacher, student):
  """The confusion matrix of the MOST_CLASSES classes that the teacher predicts most often.

  Args:
    teacher, student: class names, one per window.

  Returns:
    (int [n, n], names [n]): rows are the teacher's classes, columns the student's; the last is OTHERS, if the student
    predicts a class outside of these. Windows of the teacher's other classes are left out.
  """
  names = sorted(name for name, _ in collections.Counter(teacher).most_common(MOST_CLASSES))
  index = {name: i for i, name in enumerate(names)}
  pairs = [
    (index[one], index.get(other, len(names))) for one, other in zip(teacher, student, strict=True) if one in index
  ]
  if any(column == len(names) for _, column in pairs):
    names.append(OTHERS)
  return confusion.matrix(*zip(*pairs, strict=True), len(names)), names


def write(folder, embeddings, rows):
  """Writes projector/tensors.tsv, projector/metadata.tsv and, last, the projector's configuration into `folder`.

  Args:
    folder: of TensorBoard's event files.
    embeddings: f32 [windows, width].
    rows: list of dict of column to str, all with the same columns.
  """
  folder = pathlib.Path(folder)
  (folder / FOLDER).mkdir(parents=True, exist_ok=True)
  with files.atomic_write(folder / FOLDER / 'tensors.tsv') as file:
    np.savetxt(file, embeddings, fmt='%.7g', delimiter='\t')
  with files.atomic_write(folder / FOLDER / 'metadata.tsv') as file:
    # The projector does not parse quotes: a tab or line break in a name would start a new column or row.
    lines = csv.writer(file, delimiter='\t', quoting=csv.QUOTE_NONE, quotechar=None, lineterminator='\n')
    lines.writerows([' '.join(cell.split()) for cell in row] for row in [rows[0], *(row.values() for row in rows)])
  config = plugin.ProjectorConfig()
  embedding = config.embeddings.add()
  embedding.tensor_name = 'embedding'
  embedding.tensor_path, embedding.metadata_path = f'{FOLDER}/tensors.tsv', f'{FOLDER}/metadata.tsv'
  plugin.visualize_embeddings(str(folder), config)
