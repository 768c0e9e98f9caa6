"""Embeddings of a run's windows for TensorBoard's projector: what the student takes to be alike."""

import csv
import pathlib

import keras
import numpy as np
import tqdm
from tensorboard.plugins import projector as plugin

from audionet_tf import files, losses
from audionet_tf.students import LOGITS

MOST_WINDOWS = 2000
SAMPLES_AT_ONCE = 1 << 21
FOLDER = 'projector'


class Projector(keras.callbacks.Callback):
  """At the end of training, writes the embeddings of the first MOST_WINDOWS windows in the order of the files.

  Args:
    folder: of TensorBoard's event files.
    batches: dataset of training's batches in the order of the files, of `batch_size` windows.
    class_names: dict of head to names.
    video_ids: names of the videos, by number.
  """

  def __init__(self, folder, batches, class_names, video_ids):
    super().__init__()
    self.folder, self.batches, self.class_names, self.video_ids = folder, batches, class_names, video_ids

  def on_train_end(self, logs=None):
    write(self.folder, *embed(self.model, self.batches, self.class_names, self.video_ids))


def batch_size(window_samples):
  """Windows that are heard at once."""
  return max(1, min(MOST_WINDOWS, SAMPLES_AT_ONCE // window_samples))


def embed(distiller, batches, class_names, video_ids):
  """(f32 [windows, width], list of dict of column to str): embeddings, and what is known of each window.

  Args:
    distiller: Distiller.
    batches, class_names, video_ids: see `Projector`.
  """
  embeddings, rows = [], []
  with tqdm.tqdm(total=MOST_WINDOWS, desc='embeddings', unit=' windows', delay=2) as bar:
    for batch in batches:
      real = np.flatnonzero(batch['mask'].numpy())[: MOST_WINDOWS - len(rows)]
      outputs, targets = distiller.student(batch['audio'], training=False), distiller.targets(batch)
      embeddings.append(outputs['embedding'].numpy()[real].astype(np.float32))
      columns = {'video': [video_ids[i] for i in batch['video_id'].numpy()], 'window': batch['index'].numpy()}
      for head, names in class_names.items():
        heard = losses.ACTIVATIONS[distiller.activation](outputs[LOGITS + head])
        for who, said in ((f'{head} saw', targets[head]), (f'{head}, heard', heard)):
          columns[who] = [names[i] for i in said.numpy().mean(1).argmax(1)]
      rows += [{name: str(values[i]) for name, values in columns.items()} for i in real]
      bar.update(len(real))
      if len(rows) == MOST_WINDOWS:
        break
  return np.concatenate(embeddings), rows


def write(folder, embeddings, rows):
  """Writes projector/tensors.tsv, projector/metadata.tsv and, last, the projector's configuration into `folder`.

  Args:
    folder: of TensorBoard's event files.
    embeddings: f32 [windows, width].
    rows: list of dict of column to str, all with the same columns.
  """
  folder = pathlib.Path(folder)
  (folder / FOLDER).mkdir(parents=True, exist_ok=True)
  with files.named_when_whole(folder / FOLDER / 'tensors.tsv') as file:
    np.savetxt(file, embeddings, fmt='%.7g', delimiter='\t')
  with files.named_when_whole(folder / FOLDER / 'metadata.tsv') as file:
    # The projector knows no quotes: a tab or a line's end in a name would be a column or a row of its own.
    lines = csv.writer(file, delimiter='\t', quoting=csv.QUOTE_NONE, quotechar=None, lineterminator='\n')
    lines.writerows([' '.join(cell.split()) for cell in row] for row in [rows[0], *(row.values() for row in rows)])
  config = plugin.ProjectorConfig()
  embedding = config.embeddings.add()
  embedding.tensor_name = 'embedding'
  embedding.tensor_path, embedding.metadata_path = f'{FOLDER}/tensors.tsv', f'{FOLDER}/metadata.tsv'
  plugin.visualize_embeddings(str(folder), config)
