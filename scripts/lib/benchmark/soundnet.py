"""A training step of SoundNet-8, ours and PyTorch's; started by the benchmark, turn by turn.

  scripts/lib/run benchmark.soundnet ours SECONDS BATCH STEPS
  scripts/lib/run benchmark.soundnet pytorch SECONDS BATCH STEPS

The network of Aytar 2016, table 2, in float32: windows of SECONDS at 22,050 Hz, the mean KL of two heads (1000 and 401
classes), Adam. Ours is the Distiller in `fit`, with all that it logs; PyTorch logs nothing. Both get the
same batch from memory in every step.
"""

import dataclasses
import statistics
import sys
import time

import joblib
import numpy as np

from audionet_tf.data import params
from audionet_tf.models import receptive_field
from audionet_tf.models.networks import soundnet
from benchmark import measure

HEADS = {'objects': 1000, 'scenes': 401}
SAMPLE_RATE_HZ = 22050
MOST = 1.0  # times PyTorch's step


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Sizes of the measurement."""

  seconds: int = 20  # of a window
  batch: int = 8
  steps: int = 4  # per turn
  turns: int = 7


QUICK = Sizes(10, 2, 1, 1)


def step(context):
  """A training step of SoundNet-8 against the same network in PyTorch, in turns."""
  sizes = context.sizes.soundnet
  arguments = [str(n) for n in (sizes.seconds, sizes.batch, sizes.steps)]
  commands = {name: [sys.executable, '-m', 'benchmark.soundnet', name, *arguments] for name in WORKERS}
  cpus = measure.first_cpus(2)
  seconds = measure.in_turns(commands, cpus, sizes.turns, 'steps of SoundNet-8')
  ratio = measure.median_ratio(seconds['ours'], seconds['pytorch'])
  ours, theirs = (statistics.median(seconds[name]) for name in WORKERS)
  return [
    measure.Line(
      f'training step of SoundNet-8, {sizes.batch} windows of {sizes.seconds} s, {len(cpus)} threads',
      'PyTorch, same network and step',
      f'<= {MOST:g}x',
      f'{ours:.3f} s : {theirs:.3f} s',
      ratio,
      measure.verdict(ratio, most=MOST),
      {f'{name}_seconds': turns for name, turns in seconds.items()},
      [' '.join(command) for command in commands.values()],
    )
  ]


def arrays(seconds, batch):
  """(sound f32 [B, samples], dict of head to targets f32 [B, T, classes]), with T steps of the network."""
  rng = np.random.default_rng(0)
  samples = seconds * SAMPLE_RATE_HZ
  steps = receptive_field.output_length(samples, soundnet.windows(soundnet.SOUNDNET8))
  targets = {head: rng.dirichlet(np.full(n, 0.1), (batch, steps)).astype(np.float32) for head, n in HEADS.items()}
  return rng.uniform(-0.5, 0.5, (batch, samples)).astype(np.float32), targets


def ours(seconds, batch, steps):
  """Measures seconds per step of the Distiller, built as the training command builds it."""
  import keras
  import tensorflow as tf

  from audionet_tf.core import system
  from audionet_tf.teachers import frozen_teacher
  from audionet_tf.training import config, run_models

  system.keep_freed_memory()
  sound, targets = arrays(seconds, batch)
  images = next(iter(targets.values())).shape[1]
  record_params = params.RecordParams(
    window_seconds=seconds, hop_seconds=seconds, sample_rate_hz=SAMPLE_RATE_HZ, images_per_window=images
  )
  run_config = config.TrainingConfig(
    student='soundnet8',
    teachers=tuple(config.TeacherConfig(head, name=head) for head in HEADS),
    batch_size=batch,
    optimizer='adam',
    learning_rate=1e-3,
    loss_reduction='mean',
  )
  teachers = [
    frozen_teacher.Teacher(
      head, [f'class {i}' for i in range(classes)], None, False, {'outputs': 'probabilities'}, 'random'
    )
    for head, classes in HEADS.items()
  ]
  manifest = {'params': record_params, 'windows': batch, 'videos': [{'first_window': 0, 'windows': batch}]}
  distiller = run_models.build_distiller(manifest, teachers, run_config)
  data = {'audio': sound, 'video_id': np.zeros(batch, np.int64), 'index': np.arange(batch)}
  data |= {'mask': np.ones(batch, np.float32)} | {f'teacher/{head}': answer for head, answer in targets.items()}
  dataset = tf.data.Dataset.from_tensors(data).cache().repeat()

  def turn():
    ended = []  # after the last step: fit may return seconds later, when a thread of tf.data wakes up
    stamp = keras.callbacks.LambdaCallback(on_train_end=lambda logs: ended.append(time.perf_counter()))
    began = time.perf_counter()
    distiller.fit(dataset, steps_per_epoch=steps, verbose=0, shuffle=False, callbacks=[stamp])
    return (ended[0] - began) / steps

  measure.answer_turns(turn)


def torch_network():
  """SoundNet-8 in PyTorch, from the same table: a module from [B, 1, samples] to a list of logits [B, classes, T]."""
  import torch

  class SoundNet(torch.nn.Module):
    def __init__(self):
      super().__init__()
      layers, channels = [], 1
      for _, filters, kernel, stride, padding in soundnet.SOUNDNET8:
        if filters is None:
          layers.append(torch.nn.MaxPool1d(kernel, stride))
        elif filters == soundnet.HEADS:
          heads = [torch.nn.Conv1d(channels, classes, kernel, stride, padding) for classes in HEADS.values()]
        else:
          layers.append(torch.nn.Conv1d(channels, filters, kernel, stride, padding))
          layers += [torch.nn.BatchNorm1d(filters), torch.nn.ReLU(inplace=True)]
          channels = filters
      self.body, self.heads = torch.nn.Sequential(*layers), torch.nn.ModuleList(heads)

    def forward(self, sound):
      hidden = self.body(sound * soundnet.SCALE)
      return [head(hidden) for head in self.heads]

  return SoundNet()


def pytorch(seconds, batch, steps):
  """Measures seconds per step in PyTorch, with one thread per processor."""
  import torch
  from torch.nn import functional

  torch.set_num_threads(joblib.cpu_count())
  torch.manual_seed(0)
  sound, targets = arrays(seconds, batch)
  sound = torch.tensor(sound)[:, None]
  targets = [torch.tensor(answer.transpose(0, 2, 1)) for answer in targets.values()]
  net = torch_network()
  optimizer = torch.optim.Adam(net.parameters(), 1e-3)

  def turn():
    began = time.perf_counter()
    for _ in range(steps):
      optimizer.zero_grad()
      log_probabilities = [functional.log_softmax(logits, 1) for logits in net(sound)]
      losses = [functional.kl_div(a, b, reduction='sum') for a, b in zip(log_probabilities, targets, strict=True)]
      (sum(losses) / (batch * targets[0].shape[2])).backward()
      optimizer.step()
    return (time.perf_counter() - began) / steps

  measure.answer_turns(turn)


WORKERS = {'ours': ours, 'pytorch': pytorch}

if __name__ == '__main__':
  WORKERS[sys.argv[1]](*map(int, sys.argv[2:]))
