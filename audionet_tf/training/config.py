"""The configuration of a training run, with its checks."""

import dataclasses

from audionet_tf.core.errors import UserError
from audionet_tf.data import augmentation
from audionet_tf.models import alignment, registry
from audionet_tf.teachers.teacher_config import TeacherConfig
from audionet_tf.training import warm_start
from audionet_tf.training.steps import losses, loudness
from audionet_tf.training.steps.optimizers import OPTIMIZERS, SCHEDULES

# Keras's policies: bfloat16 has float32's range; float16 needs its loss scaled.
PRECISIONS = {'none': 'float32', 'bfloat16': 'mixed_bfloat16', 'float16': 'mixed_float16'}
LOSSES = (*sorted(losses.LOSSES | losses.MULTI_LABEL_LOSSES), losses.RECONSTRUCTION)


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
  """All that decides the result of a run. The defaults are those of the paper (Bryce 2018, table 3) and its code.

  Attributes:
    student: key of registry.STUDENTS.
    teachers: tuple of TeacherConfig, one head each; the loss is the sum over heads of weight x loss. Empty for an
      autoencoder.
    teacher_mode: 'stored' runs each teacher once and stores its outputs, 'online' runs it in every step.
    epochs: number of passes over the records.
    batch_size: windows per step, over all replicas.
    optimizer: key of OPTIMIZERS.
    learning_rate: above 0; the peak of a schedule.
    momentum: of SGD; beta 1 of Adam.
    nesterov: whether SGD uses Nesterov momentum.
    schedule: one of SCHEDULES, of the learning rate.
    warmup_epochs: number of first epochs in which the learning rate rises linearly from 0.
    weight_decay: decoupled (Loshchilov and Hutter 2019): a step subtracts learning rate x weight_decay x weight.
    loss: key of losses.LOSSES; of losses.MULTI_LABEL_LOSSES if classes do not exclude each other; or
      losses.RECONSTRUCTION.
    label_smoothing: 0 to 0.5, with a loss of MULTI_LABEL_LOSSES.
    balance: draw the classes in turn (`data/balanced_sampling.py`) instead of every window once per pass.
    loss_reduction: 'sum' or 'mean' over the global batch.
    gate: one of loudness.GATES: which weight a window has in the loss.
    target_steps: key of alignment.TARGET_STEPS: which pictures are the targets of a step of the student.
    augment: dict of key of augmentation.AUGMENTATIONS to value, from `augmentation.parse`.
    replicas: number of copies of the student; 0: one per GPU, or one on the processor.
    seed: of initial weights, order of the data, dropout.
    per_frame: keep the KL of every window in stats.json.
    init: None, or the RUN or .keras file of a student to start from (`warm_start`).
    trainable: 'all', or 'head' for the heads alone.
    mixed_precision: key of PRECISIONS: in which type the layers of the student compute. Weights, spectrogram, logits
      and losses are float32 in any case, and so is the student that is exported.

  Raises:
    UserError: a value is out of range, or values do not go together.
  """

  student: str = 'audionet'
  teachers: tuple = (TeacherConfig('vgg16'),)
  teacher_mode: str = 'stored'
  epochs: int = 5000
  batch_size: int = 512
  optimizer: str = 'sgd'
  learning_rate: float = 1e-4
  momentum: float = 0.9
  nesterov: bool = True
  schedule: str = 'constant'
  warmup_epochs: int = 0
  weight_decay: float = 0.0
  loss: str = 'kl'
  label_smoothing: float = 0.0
  balance: bool = False
  loss_reduction: str = 'sum'
  gate: str = 'none'
  target_steps: str = 'covered'
  augment: dict = dataclasses.field(default_factory=dict)
  replicas: int = 0
  seed: int = 0
  per_frame: bool = False
  init: str | None = None
  trainable: str = 'all'
  mixed_precision: str = 'none'

  def __post_init__(self):
    for name, allowed in (
      ('student', sorted(registry.STUDENTS)),
      ('teacher_mode', ['online', 'stored']),
      ('optimizer', sorted(OPTIMIZERS)),
      ('schedule', SCHEDULES),
      ('loss', LOSSES),
      ('loss_reduction', ['mean', 'sum']),
      ('gate', loudness.GATES),
      ('target_steps', sorted(alignment.TARGET_STEPS)),
      ('trainable', warm_start.TRAINABLE),
      ('mixed_precision', sorted(PRECISIONS)),
    ):
      if getattr(self, name) not in allowed:
        raise UserError(f'{name} is {getattr(self, name)!r}, allowed is {" or ".join(allowed)}')
    for name, low, high in (
      ('epochs', 1, 10**9),
      ('batch_size', 1, 10**6),
      ('momentum', 0, 0.9999),
      ('warmup_epochs', 0, self.epochs - 1),
      ('weight_decay', 0, 1),
      ('label_smoothing', 0, 0.5),
      ('seed', 0, 2**32 - 1),
    ):
      if not low <= getattr(self, name) <= high:
        raise UserError(f'{name} is {getattr(self, name)}, allowed is {low} to {high}')
    self.check_learning()
    if self.balance and (len(self.teachers) != 1 or self.teacher_mode != 'stored' or self.per_frame):
      raise UserError('balance needs one teacher, a table of labels, and keeps no figures of single windows')
    augmentation.check(self.augment)
    moving = augmentation.moving_answers(self.augment)
    hiding = augmentation.hiding_bands(self.augment)
    if hiding and not registry.network(self.student).spectrogram:
      with_spectrogram = [name for name, network in registry.STUDENTS.items() if network.spectrogram]
      raise UserError(
        f'augment {", ".join(hiding)}: {self.student} has no spectrogram to mask; students that have one: '
        f'{", ".join(with_spectrogram)}'
      )
    if moving and self.teacher_mode == 'online':
      raise UserError(f'augment {", ".join(moving)}: changes stored targets; use --teacher_mode=stored')
    if not self.learning_rate > 0:
      raise UserError(f'learning_rate is {self.learning_rate}, allowed is any number above 0')

  def steps_per_epoch(self, windows):
    """Number of batches that hold each of the windows once; the last may be smaller."""
    return -(-windows // self.batch_size)

  def check_learning(self):
    """UserError unless an autoencoder has no teachers, and every other student has some."""
    is_autoencoder = registry.network(self.student).is_autoencoder
    if is_autoencoder != (self.loss == losses.RECONSTRUCTION):
      allowed = losses.RECONSTRUCTION if is_autoencoder else ' or '.join(LOSSES[:-1])
      raise UserError(f'loss is {self.loss!r}, for {self.student} allowed is {allowed}')
    if is_autoencoder and (self.teachers or self.teacher_mode == 'online' or self.trainable != 'all'):
      raise UserError(
        f'{self.student} has neither teacher nor head; leave out --teacher, --teacher_mode and --trainable'
      )
    if not is_autoencoder and not self.teachers:
      raise UserError(f'{self.student} learns from teachers; name one with --teacher')
    if self.label_smoothing and self.loss not in losses.MULTI_LABEL_LOSSES:
      raise UserError(f'label_smoothing goes with loss {" or ".join(losses.MULTI_LABEL_LOSSES)}, not with {self.loss}')
