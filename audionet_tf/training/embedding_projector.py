"""What the student makes of a run's windows, for TensorBoard: its projector, a map, who is taken for whom, units."""

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
MOST_CLASSES = 20  # of who is taken for whom
UNIT_WINDOWS = 5  # that excite a unit most
OTHERS = '(another)'
SHARE = 100  # before the end, pictures take one part of so many of the time
FIRST_COST_SECONDS = 5.0  # what the first ones are taken to cost


class Projector(keras.callbacks.Callback):
  """Shows the first MOST_WINDOWS windows in the order of the files, as pictures and as the projector's files: while
  training takes long, and at its end.

  Args:
    folder: of TensorBoard's event files.
    writer: of the event file: TensorBoard reads one a folder.
    batches: dataset of training's batches in the order of the files, of `batch_size` windows.
    class_names: dict of head to names.
    video_ids: names of the videos, by number.
    sample_rate_hz: of the windows.
    windows: how many there are.
    encoded: dataset of the same windows' encoded pictures, string [B, T]; None where there are none.
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
    """A picture of the windows that excite the most selective units of the embedding, and for each unit one to hear."""
    shown = strongest(embeddings)
    if not shown:
      return
    wanted = {window for row in shown.values() for window, _ in row}
    windows = sounds(self.batches, wanted)
    seen = {} if self.encoded is None else middle_pictures(self.encoded, wanted)
    tf.summary.image('units', style.to_rgb(units(shown, windows, rows, self.sample_rate_hz, seen))[None])
    for unit, ((window, _), *_) in shown.items():
      name = name_of(rows[window])
      tf.summary.audio(f'units/{unit}', windows[window][None, :, None], self.sample_rate_hz, description=name)


def batch_size(window_samples):
  """Windows that are heard at once."""
  return max(1, min(MOST_WINDOWS, SAMPLES_AT_ONCE // window_samples))


def embed(distiller, batches, class_names, video_ids, windows):
  """(f32 [windows, width], list of dict of column to str): embeddings, and what is known of each window.

  Args:
    distiller: Distiller.
    batches, class_names, video_ids, windows: see `Projector`.
  """
  embeddings, rows = [], []
  with tqdm.tqdm(total=min(windows, MOST_WINDOWS), desc='embeddings', unit=' windows', delay=2) as bar:
    for batch in batches:
      real = np.flatnonzero(batch['mask'].numpy())[: MOST_WINDOWS - len(rows)]
      outputs, targets = distiller.student(batch['audio'], training=False), distiller.targets(batch)
      embeddings.append(outputs['embedding'].numpy()[real].astype(np.float32))
      columns = {'video': [video_ids[i] for i in batch['video_id'].numpy()], 'window': batch['index'].numpy()}
      for head, names in class_names.items():
        heard = heads.ACTIVATIONS[distiller.activation](outputs[LOGITS + head])
        for who, said in zip(columns_of(head), (targets[head], heard), strict=True):
          columns[who] = [names[i] for i in said.numpy().mean(1).argmax(1)]
      rows += [{name: str(values[i]) for name, values in columns.items()} for i in real]
      bar.update(len(real))
      if len(rows) == MOST_WINDOWS:
        break
  return np.concatenate(embeddings), rows


def columns_of(head):
  """Names of the columns with the teacher's first class and the student's."""
  return f'{head} saw', f'{head}, heard'


def pictures(embeddings, rows, heads):
  """Yields (name, Figure): for every head a map of windows, where there are enough, and who is taken for whom.

  Args:
    embeddings, rows: of `embed`.
    heads: their names.
  """
  chosen = np.linspace(0, len(rows) - 1, min(len(rows), MOST_POINTS)).round().astype(int)
  spread = len(chosen) >= FEWEST_POINTS and np.ptp(embeddings[chosen], axis=0).any()
  points = tsne.plane(embeddings[chosen]) if heads and spread else None
  for head in heads:
    saw, heard = ([row[column] for row in rows] for column in columns_of(head))
    if points is not None:
      title = f'{len(chosen)} windows by what the student hears (t-SNE), coloured by what {head} saw'
      yield f'map/{head}', clips.plane(points, [saw[i] for i in chosen], title)
    counts, names = taken_for(saw, heard)
    words = f'{head} saw', 'the student heard', 'agree'
    yield f'confusion/{head}', clips.confusion(counts, names, 'the classes seen most', words)


def strongest(embeddings):
  """dict of unit, the most selective first, to list of (window, activation), the strongest first.

  Args:
    embeddings: f32 [windows, width].
  """
  found = activations.top_in_windows(embeddings)
  listed = {unit: activations.top_moments(found, unit)[:UNIT_WINDOWS] for unit in activations.chosen_units(found, [])}
  return {unit: [(window, value) for window, _, value in row] for unit, row in listed.items() if row}


def sounds(batches, wanted):
  """dict of window to f32 [samples], of the windows `wanted`, counted as `embed` counts them."""
  found, count = {}, 0
  for batch in batches:
    real = np.flatnonzero(batch['mask'].numpy())
    here = sorted(wanted & set(range(count, count + len(real))))
    rows = tf.gather(batch['audio'], [real[window - count] for window in here]).numpy() if here else []
    found |= dict(zip(here, rows, strict=True))
    count += len(real)
    if len(found) == len(wanted):
      break
  return found


def middle_pictures(encoded, wanted):
  """dict of window to u8 [H, W, 3], the picture in the middle of each of the windows `wanted`.

  Args:
    encoded: see `Projector`.
    wanted: set of windows, counted as `embed` counts them.
  """
  found = {}
  for window, pictures in enumerate(encoded.unbatch()):
    if window in wanted:
      found[window] = input_pipeline.decode_picture(pictures[len(pictures) // 2]).numpy()
    if len(found) == len(wanted):
      break
  return found


def units(shown, windows, rows, sample_rate_hz, seen):
  """Figure of the windows that excite units.

  Args:
    shown: of `strongest`.
    windows: of `sounds`.
    rows: of `embed`.
    sample_rate_hz: of the windows.
    seen: of `middle_pictures`; empty where there are none.
  """
  drawn = {}
  for window, sound in windows.items():
    mel = overview.MelPicture(sample_rate_hz)
    list(mel.watch([(0, np.rint(sound * timeline.PCM_SCALE).astype(np.int16))]))
    drawn[window] = {'name': name_of(rows[window]), 'decibels': mel.picture()['decibels'], 'picture': seen.get(window)}
  return plotting_sound.units('windows that excite units of the embedding most, and how much', shown, drawn)


def name_of(row):
  return f'{row["video"]}, {row["window"]}'


def taken_for(saw, heard):
  """Who is taken for whom, of the MOST_CLASSES classes that the teacher saw most.

  Args:
    saw, heard: class names, one a window.

  Returns:
    (int [n, n], names [n]): rows what was seen, columns what was heard; the last of each is OTHERS, where the student
    heard a class that is not among them. Windows of classes that were seen less often are left out.
  """
  names = sorted(name for name, _ in collections.Counter(saw).most_common(MOST_CLASSES))
  place = {name: i for i, name in enumerate(names)}
  pairs = [(place[one], place.get(other, len(names))) for one, other in zip(saw, heard, strict=True) if one in place]
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
    # The projector knows no quotes: a tab or a line's end in a name would be a column or a row of its own.
    lines = csv.writer(file, delimiter='\t', quoting=csv.QUOTE_NONE, quotechar=None, lineterminator='\n')
    lines.writerows([' '.join(cell.split()) for cell in row] for row in [rows[0], *(row.values() for row in rows)])
  config = plugin.ProjectorConfig()
  embedding = config.embeddings.add()
  embedding.tensor_name = 'embedding'
  embedding.tensor_path, embedding.metadata_path = f'{FOLDER}/tensors.tsv', f'{FOLDER}/metadata.tsv'
  plugin.visualize_embeddings(str(folder), config)
