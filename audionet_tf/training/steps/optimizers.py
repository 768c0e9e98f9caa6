"""Optimizers and learning-rate schedules, by name."""

import keras

OPTIMIZERS = {
  'sgd': lambda rate, config: keras.optimizers.SGD(
    rate, config.momentum, config.nesterov, weight_decay=config.weight_decay or None
  ),
  'adam': lambda rate, config: keras.optimizers.Adam(
    rate, beta_1=config.momentum, weight_decay=config.weight_decay or None
  ),
}
SCHEDULES = ('constant', 'cosine')


def optimizer(config, steps_per_epoch):
  """The keras optimizer of a TrainingConfig, with its learning-rate schedule; with float16 it scales the loss."""
  inner = OPTIMIZERS[config.optimizer](learning_rate(config, steps_per_epoch), config)
  return keras.optimizers.LossScaleOptimizer(inner) if config.mixed_precision == 'float16' else inner


def learning_rate(config, steps_per_epoch):
  """A float, or a Keras schedule: linear from 0 during warm-up, then constant, or half a cosine down to 0."""
  warmup, steps = config.warmup_epochs * steps_per_epoch, config.epochs * steps_per_epoch
  if config.schedule == 'cosine':
    begin = 0.0 if warmup else config.learning_rate
    return keras.optimizers.schedules.CosineDecay(
      begin, steps - warmup, warmup_target=config.learning_rate if warmup else None, warmup_steps=warmup
    )
  if warmup:
    return keras.optimizers.schedules.PolynomialDecay(0.0, warmup, config.learning_rate)
  return config.learning_rate
