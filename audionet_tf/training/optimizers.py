"""Optimizers and learning-rate schedules, by name."""

import keras

OPTIMIZERS = {
  'sgd': lambda rate, options: keras.optimizers.SGD(
    rate, options.momentum, options.nesterov, weight_decay=options.weight_decay or None
  ),
  'adam': lambda rate, options: keras.optimizers.Adam(
    rate, beta_1=options.momentum, weight_decay=options.weight_decay or None
  ),
}
SCHEDULES = ('constant', 'cosine')


def optimizer(options, steps_per_epoch):
  """The optimizer of Options, its learning rate a function of the step."""
  return OPTIMIZERS[options.optimizer](learning_rate(options, steps_per_epoch), options)


def learning_rate(options, steps_per_epoch):
  """A number, or a schedule: linear from 0 in the warm-up, then constant, or half a cosine down to 0."""
  warmup, steps = options.warmup_epochs * steps_per_epoch, options.epochs * steps_per_epoch
  if options.schedule == 'cosine':
    begin = 0.0 if warmup else options.learning_rate
    return keras.optimizers.schedules.CosineDecay(
      begin, steps - warmup, warmup_target=options.learning_rate if warmup else None, warmup_steps=warmup
    )
  if warmup:
    return keras.optimizers.schedules.PolynomialDecay(0.0, warmup, options.learning_rate)
  return options.learning_rate
