"""A run in TensorBoard: settings, curves, first-layer filters, weight histograms, examples as pictures and sound."""

import math

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from audionet_tf.data import input_pipeline
from audionet_tf.media import overview, timeline
from audionet_tf.models import heads, registry
from audionet_tf.models.heads import LOGITS
from audionet_tf.plotting import sound as plotting_sound
from audionet_tf.plotting import style
from audionet_tf.saved_model import filters
from audionet_tf.training import resume
from audionet_tf.training.callbacks import VALIDATION

EXAMPLES = 4
TIMELINE_CLASSES = 8
CANDIDATE_BYTES = 4 << 20  # of sound, from which the examples are picked, one per video


class Summaries(keras.callbacks.Callback):
  """Writes scalars after every epoch; images, histograms and examples after epochs 1, 2, 5, 10, 20, ... and the last.

  Args:
    folder: of the event files.
    log: callbacks.RunLog, whose `row` and `videos` hold the metrics of the epoch.
    class_names: dict of head to names.
    examples: from `pick_examples`.
    settings: dict, the content of settings.json.
    profile: None or (first, last) epoch to profile, counted from 0.
    graph: whether to write the graph of the student.
  """

  def __init__(self, folder, log, class_names, examples, settings, profile=None, graph=False):
    super().__init__()
    self.folder = str(folder)
    self.log, self.class_names, self.examples = log, class_names, examples
    self.settings = settings
    self.profile, self.graph, self.profiling = profile, graph, False
    self.writer = tf.summary.create_file_writer(self.folder)
    # A folder of its own: TensorBoard then draws the curves of one name into one chart.
    self.validation_writer = tf.summary.create_file_writer(f'{self.folder}/validation') if log.validate else None

  def on_train_begin(self, logs=None):
    with self.writer.as_default(step=0):
      self.write_settings()
      for i, name in enumerate(self.examples['names']):
        if self.examples['image'].shape[1]:
          tf.summary.image(f'examples/{i} picture', self.examples['image'][i, :1], description=name)
        sound = self.examples['audio'][i][None, :, None]
        tf.summary.audio(f'examples/{i} sound', sound, self.examples['sample_rate_hz'], description=name)
      if self.graph:
        student = self.model.student
        traced = tf.function(lambda waveform: student(waveform)).get_concrete_function(self.examples['audio'])
        tf.summary.graph(traced.graph)

  def write_settings(self):
    """Writes the tab HParams: without a list of metrics it would show all scalars, those of every video too."""
    values = flat_settings(self.settings)
    folders = ['', 'validation'] if self.log.validate else ['']
    metrics = [hparams.Metric(name, group=folder) for folder in folders for name in self.model.means]
    hparams.hparams_config([hparams.HParam(name) for name in values], metrics)
    hparams.hparams(values)

  def on_epoch_begin(self, epoch, logs=None):
    if self.profile and self.profile[0] <= epoch <= self.profile[1] and not self.profiling:
      tf.profiler.experimental.start(self.folder)
      self.profiling = True

  def on_epoch_end(self, epoch, logs=None):
    """Writes the scalars of the epoch, those of held-out records, and at some epochs the details."""
    if self.profiling and epoch == self.profile[1]:
      self.stop_profiling()
    with self.writer.as_default(step=epoch):
      for name, value in self.log.row.items():
        if name != 'epoch' and not name.startswith(VALIDATION):
          tf.summary.scalar(name, value)
      for name, values in self.log.videos.items():
        tf.summary.scalar(f'{self.model.distance}_of_video/{name}', values[self.model.stats_key])
      if in_series(epoch + 1) or epoch + 1 == self.params['epochs']:
        self.write_details()
    if self.validation_writer:
      with self.validation_writer.as_default(step=epoch):
        for name, value in self.log.row.items():
          if name.startswith(VALIDATION):
            tf.summary.scalar(name.removeprefix(VALIDATION), value)

  def write_details(self):
    """Writes weight histograms, first-layer filters, and the student's outputs for the examples."""
    student = self.model.student
    for variable in student.trainable_variables:
      tf.summary.histogram(f'weights/{variable.path}', variable.numpy())
    kernel = filters.first_kernel(student.trainable_variables)
    if kernel is not None:
      figure = plotting_sound.filters(kernel, self.examples['sample_rate_hz'], 'the first layer')
      tf.summary.image('filters', style.to_rgb(figure)[None])
    outputs = self.model(self.examples['audio'], training=False)
    for i, name in enumerate(self.examples['names'] if 'waveform' in outputs else []):
      sound = outputs['waveform'][i][None, :, None]
      tf.summary.audio(f'examples/{i} given back', sound, self.examples['sample_rate_hz'], description=name)
    for head, names in self.class_names.items():
      probabilities = heads.ACTIVATIONS[self.model.activation](outputs[LOGITS + head]).numpy()  # [N, T, classes]
      tf.summary.text(f'examples/{head}', predictions_table(self.examples, head, probabilities.mean(axis=1), names))
      if registry.network(student.name).layer_windows:
        for i in range(len(probabilities)):
          figure = example_timeline(self.examples, i, probabilities[i], names, student.name)
          tf.summary.image(f'examples/{i} {head}', style.to_rgb(figure)[None], description=self.examples['names'][i])

  def stop_profiling(self):
    tf.profiler.experimental.stop()
    self.profiling = False

  def on_train_end(self, logs=None):
    if self.profiling:
      self.stop_profiling()
    for writer in filter(None, (self.writer, self.validation_writer)):
      writer.close()


def flat_settings(settings):
  """settings.json as a dict of dotted names to str, bool, int or float; `augment` as on the command line."""
  augment = ','.join(f'{name}={value:g}' for name, value in settings['augment'].items())
  flat = resume.flat({name: x for name, x in settings.items() if name != 'prolonged'} | {'augment': augment})
  return {name: '' if x is None else x for name, x in flat.items()}


def in_series(number):
  """Whether `number` is one of 1, 2, 5, 10, 20, 50, 100, ..."""
  leading = number / 10 ** int(math.log10(number))
  return leading in (1, 2, 5)


def predictions_table(examples, head, probabilities, class_names, top=3):
  """Markdown table: for each example, the most probable classes of the teacher and of the student.

  Args:
    examples: from `pick_examples`.
    head: str.
    probabilities: f32 [N, classes], of the student.
    class_names: list of str [classes].
    top: number of classes.
  """
  rows = ['| example | video | teacher | student |', '|---|---|---|---|']
  for i, name in enumerate(examples['names']):
    predictions = [
      ', '.join(f'{class_names[c]} {p[c]:.0%}' for c in np.argsort(-p)[:top])
      for p in (examples['teacher'][head][i], probabilities[i])
    ]
    cells = [cell.replace('|', '\\|') for cell in (name, *predictions)]
    rows.append(f'| {i} | ' + ' | '.join(cells) + ' |')
  return '\n'.join(rows)


def example_timeline(examples, i, probabilities, class_names, network):
  """Figure of example `i`: waveform, log-mel spectrogram, and its most probable classes over time.

  Args:
    examples: from `pick_examples`.
    i: number of the example.
    probabilities: f32 [T, classes].
    class_names: list of str [classes].
    network: key of registry.STUDENTS.
  """
  rate = examples['sample_rate_hz']
  pcm = np.rint(examples['audio'][i].numpy() * timeline.PCM_SCALE).astype(np.int16)
  centers, hop = registry.step_seconds(network, len(pcm), rate)
  mel = overview.MelPicture(rate)
  wave = overview.envelope(mel.watch([(0, pcm)]))
  best = np.argsort(-probabilities.mean(0))[:TIMELINE_CLASSES]
  steps = {
    'start_seconds': np.maximum(centers - hop / 2, 0),
    'end_seconds': np.minimum(centers + hop / 2, len(pcm) / rate),
    'probabilities': probabilities[:, best],
    'class_names': [class_names[c] for c in best],
  }
  return plotting_sound.timeline(examples['names'][i], steps, wave, mel.picture(), rate)


def candidates(params):
  """Number of windows that the examples are picked from."""
  return max(EXAMPLES, CANDIDATE_BYTES // (4 * params.window_samples))


def pick_examples(records_folder, manifest, batches, targets):
  """Picks a few windows of different videos, the same ones in every run on these records.

  Args:
    records_folder, manifest: of the records, which hold the pictures.
    batches: dataset of batches in the order of the files, of `candidates` windows.
    targets: function from a batch to the targets, dict of head to f32 [B, T, classes].

  Returns:
    dict: `names` of the videos; `audio` f32 [N, samples]; `image` u8 [N, T, size, size, 3]; `sample_rate_hz`;
    `teacher`: dict of head to f32 [N, classes], the mean over time.
  """
  params = manifest['params']
  batch = next(iter(batches))
  _, first = np.unique(batch['video_id'].numpy(), return_index=True)
  chosen = np.sort(first)[:EXAMPLES]
  predictions = targets({name: tf.gather(x, chosen) for name, x in batch.items()})
  encoded = [[]] * len(chosen)
  if params.images_per_window:
    first_pictures = next(iter(input_pipeline.encoded_pictures(records_folder, manifest, candidates(params))))
    encoded = tf.gather(first_pictures, chosen)
  return {
    'names': [manifest['videos'][int(v)]['id'] for v in tf.gather(batch['video_id'], chosen)],
    'audio': tf.gather(batch['audio'], chosen),
    'image': tf.stack([[input_pipeline.decode_picture(x) for x in row] for row in encoded]),
    'sample_rate_hz': params.sample_rate_hz,
    'teacher': {head: p.numpy().mean(axis=1) for head, p in predictions.items()},
  }
