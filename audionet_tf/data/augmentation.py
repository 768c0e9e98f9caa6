"""Augmentation of training batches: the same window sounds otherwise in each pass, and its targets follow.

What an example undergoes is a function of (seed, pass, video, index), and for `mix` of the batch that it is in, which
is one of (seed, pass): a resumed run augments as the killed one would have. Each augmentation has draws of its own, so
that asking for one more changes none of the others.

AUGMENTATIONS is the table. They are applied in its order, whatever the order in which they are asked for.
"""

import dataclasses
import itertools
from collections.abc import Callable

import tensorflow as tf

from audionet_tf.core.errors import UserError
from audionet_tf.data import spectral_augmentation
from audionet_tf.data.batch_keys import HIDDEN_FREQUENCY, HIDDEN_TIME, TEACHER

# Columns of uniform numbers; a new one goes to the end.
DRAWS = (
  *('shift', 'gain', 'mix', 'partner', 'share', 'time_width', 'time_place', 'frequency_width', 'frequency_place'),
  'speed',
  *('crop', 'crop_length', 'crop_place', 'crop_repeats'),
  *('reverb', 'reverb_time', 'reverb_level'),
  *('noise', 'noise_ratio', 'noise_slope'),
  *('band', 'low_pass', 'low_pass_hz', 'high_pass', 'high_pass_hz', 'band_order'),
  'level',
)


def shift(batch, value, draws):
  """Circular shift by up to `value` of the window's length either way; answers move along.

  Of T answers each stands for one T-th of the window; between two of them the targets are interpolated linearly.
  """
  samples = tf.cast(tf.shape(batch['audio'])[1], tf.float32)
  offsets = tf.cast(tf.round((2 * draws['shift'] - 1) * value * samples), tf.int32)  # [B]
  sounds = tf.map_fn(lambda pair: tf.roll(*pair, axis=0), (batch['audio'], offsets), fn_output_signature=tf.float32)
  sounds = tf.ensure_shape(sounds, batch['audio'].shape)
  parts = tf.cast(offsets, tf.float32)[:, None] / samples
  return batch | {'audio': sounds} | answers_at(batch, lambda x: places(x) - parts * length(x))


def speed(batch, value, draws):
  """Played faster or slower by a factor of up to 1 + `value`, uniform in its logarithm; the pitch follows.

  What is played faster ends too early and begins anew. Samples are interpolated linearly: fit to learn from, not to
  listen to. Source: Tokozume, Ushiku, Harada 2018, section 4.1 (scale augmentation).
  """
  factors = (1 + value) ** (2 * draws['speed'] - 1)[:, None]  # [B, 1]
  sounds = read_at(batch['audio'][..., None], factors * places(batch['audio']))[..., 0]
  sounds = tf.ensure_shape(sounds, batch['audio'].shape)
  return batch | {'audio': sounds} | answers_at(batch, lambda x: factors * (places(x) + 0.5) - 0.5)


def answers_at(batch, positions):
  """The batch's answers f32 [B, T, classes], each read at `positions` of it: f32 [B, T]."""
  return {name: read_at(batch[name], positions(batch[name])) for name in answer_names(batch)}


def length(x):
  return tf.cast(tf.shape(x)[1], tf.float32)


def places(x):
  """f32 [T]: 0 to T - 1, for x of [B, T, ...]."""
  return tf.range(length(x))


def read_at(x, positions):
  """f32 [B, T, C] at positions f32 [B, P] of a circle of T, linear between them: f32 [B, P, C]."""
  below = tf.floor(positions)
  share = (positions - below)[..., None]
  first = tf.cast(below, tf.int32) % tf.shape(x)[1]
  second = (first + 1) % tf.shape(x)[1]
  return (1 - share) * tf.gather(x, first, batch_dims=1) + share * tf.gather(x, second, batch_dims=1)


def gain(batch, value, draws):
  """Louder or softer by up to `value` dB, uniform in dB. Nothing is clipped: the sound may leave [-1, 1)."""
  return batch | {'audio': batch['audio'] * 10 ** ((2 * draws['gain'] - 1) * value / 20)[:, None]}


def level(batch, value, draws):
  """As `gain`, of what was mixed: how far the microphone was turned up."""
  return batch | {'audio': batch['audio'] * spectral_augmentation.decibels((2 * draws['level'] - 1) * value)[:, None]}


def crop(batch, value, draws):
  """With probability `value`, only a part of 0.2 to 1 of the window is heard: again and again, or once before silence.

  Source: Tokozume, Ushiku, Harada 2018, section 4.1 (random sections, zeros around them).
  """
  samples = tf.shape(batch['audio'])[1]
  chosen = draws['crop'] < value
  share = tf.where(chosen, 0.2 + 0.8 * draws['crop_length'], 1.0)
  count = tf.maximum(tf.cast(share * tf.cast(samples, tf.float32), tf.int32), 1)  # [B]
  begin = tf.cast(draws['crop_place'] * tf.cast(samples - count + 1, tf.float32), tf.int32)
  heard = begin[:, None] + tf.range(samples) % count[:, None]
  silent = (tf.range(samples) >= count[:, None]) & (draws['crop_repeats'] < 0.5)[:, None]
  sounds = tf.where(silent, 0.0, tf.gather(batch['audio'], tf.minimum(heard, samples - 1), batch_dims=1))
  return batch | {'audio': tf.ensure_shape(sounds, batch['audio'].shape)}


def mix(batch, value, draws):
  """With probability `value`, r of the example and 1 - r of another one of its batch, their answers alike.

  r is uniform in [0, 1). The sum is divided by sqrt(r^2 + (1 - r)^2), which keeps the power of unrelated sounds.
  Examples of mask 0 neither are partners nor get one.

  Source: Tokozume, Ushiku, Harada 2018 (between-class learning), section 3.2, without its gains by loudness.
  """
  partner, found = partners(batch['mask'], draws['partner'])
  share = tf.where(found & (draws['mix'] < value), draws['share'], 1.0)
  power = tf.sqrt(share**2 + (1 - share) ** 2)
  answers = {name: blend(batch[name], partner, share, 1 - share) for name in answer_names(batch)}
  return batch | {'audio': blend(batch['audio'], partner, share / power, (1 - share) / power)} | answers


def blend(x, partner, own, other):
  """`own` of each example of x plus `other` of its partner's; both f32 [B]."""
  ones = [1] * (x.shape.rank - 1)
  return tf.reshape(own, [-1, *ones]) * x + tf.reshape(other, [-1, *ones]) * tf.gather(x, partner)


def time_mask(batch, value, draws):
  """A stretch of up to `value` of the spectrogram's time is hidden: by the model, which makes the spectrogram.

  Source: Park et al. 2019 (SpecAugment), section 2.
  """
  return batch | {HIDDEN_TIME: stretch(value, draws['time_width'], draws['time_place'])}


def frequency_mask(batch, value, draws):
  """As `time_mask`, a stretch of up to `value` of its bands."""
  return batch | {HIDDEN_FREQUENCY: stretch(value, draws['frequency_width'], draws['frequency_place'])}


def stretch(value, width, place):
  """f32 [B, 2]: where it begins and ends, in shares of the axis; up to `value` of it."""
  begin = place * (1 - value * width)
  return tf.stack([begin, begin + value * width], 1)


def partners(mask, draw):
  """Another example for each, uniformly: (int32 [B], bool [B] whether there is one). Mask 0 does not count."""
  order = tf.argsort(mask, direction='DESCENDING', stable=True)  # the examples of mask 1 first
  count = tf.math.count_nonzero(mask, dtype=tf.int32)
  rank = tf.argsort(order)
  others = tf.maximum(count - 1, 1)
  step = tf.minimum(1 + tf.cast(draw * tf.cast(others, tf.float32), tf.int32), others)
  return tf.gather(order, (rank + step) % tf.maximum(count, 1)), (mask > 0) & (count > 1)


def answer_names(batch):
  return [name for name in batch if name.startswith(TEACHER)]


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """A row of the table.

  Attributes:
    apply: (batch, value, dict of name of DRAWS to f32 [B]) -> batch.
    default: value where only the name is given.
    highest: values are above 0 and up to this.
    spectrogram: it is for students that have one.
    moves_answers: it needs the answers in the batch (`teacher/<name>`), because it changes them.
    spectral: `apply` is (spectrum complex64 [B, F], value, draws, Hertz) -> spectrum. These stand one after another.
  """

  apply: Callable
  default: float
  highest: float
  moves_answers: bool = False
  spectrogram: bool = False
  spectral: bool = False


AUGMENTATIONS = {
  'shift': Augmentation(shift, 1, 1, moves_answers=True),
  'speed': Augmentation(speed, 0.25, 1, moves_answers=True),
  'gain': Augmentation(gain, 6, 60),
  'crop': Augmentation(crop, 0.5, 1),
  'mix': Augmentation(mix, 0.5, 1, moves_answers=True),
  'reverb': Augmentation(spectral_augmentation.reverb, 0.3, 1, spectral=True),
  'noise': Augmentation(spectral_augmentation.noise, 0.5, 1, spectral=True),
  'equalizer': Augmentation(spectral_augmentation.equalizer, 6, 60, spectral=True),
  'band': Augmentation(spectral_augmentation.band, 0.7, 1, spectral=True),
  'level': Augmentation(level, 30, 60),
  'time_mask': Augmentation(time_mask, 0.2, 1, spectrogram=True),
  'frequency_mask': Augmentation(frequency_mask, 0.2, 1, spectrogram=True),
}


def parse(words):
  """What was asked for, in the table's order: dict of name to value.

  Args:
    words: list of str, `NAME` or `NAME=VALUE`.

  Raises:
    UserError: an unknown name, a name given twice, a value that is no number or out of its range.
  """
  found = {}
  for word in words:
    name, equals, text = word.partition('=')
    if name in found:
      raise UserError(f'augment {name!r} is given twice')
    known = AUGMENTATIONS.get(name)
    try:
      found[name] = float(text) if equals else float(known.default) if known else None
    except ValueError:
      raise UserError(f'augment {word!r}: the value is no number; expected is NAME or NAME=VALUE') from None
  check(found)
  return {name: found[name] for name in AUGMENTATIONS if name in found}


def check(values):
  """UserError for a dict of name to value that the table does not allow."""
  for name, value in values.items():
    if name not in AUGMENTATIONS:
      raise UserError(f'augment {name!r} is not known; known are {", ".join(AUGMENTATIONS)}')
    if not 0 < value <= AUGMENTATIONS[name].highest:
      raise UserError(f'augment {name}={value:g}: allowed is above 0 and up to {AUGMENTATIONS[name].highest:g}')


def moving_answers(values):
  """Names of those of `values` that need the answers in the batch: they cannot be had from a teacher in the step."""
  return [name for name in values if AUGMENTATIONS[name].moves_answers]


def hiding_bands(values):
  """Names of those of `values` that only a student with a spectrogram undergoes."""
  return [name for name in values if AUGMENTATIONS[name].spectrogram]


def augmenter(values, sample_rate_hz=22050):
  """Function (batch, seed int64 [2] of seed and pass) -> batch, for `input_pipeline.training_batches`.

  Args:
    values: dict of `parse`; None is returned where it is empty.
    sample_rate_hz: of the sound.
  """
  check(values)
  if not values:
    return None
  chosen = [(row.spectral, row.apply, values[name]) for name, row in AUGMENTATIONS.items() if name in values]

  def augment(batch, seed):
    seeds = example_seeds(seed, batch['video_id'], batch['index'])  # [B, 2]
    draws = dict(zip(DRAWS, tf.unstack(draws_of(seeds), axis=1), strict=True)) | {spectral_augmentation.SEEDS: seeds}
    for spectral, rows in itertools.groupby(chosen, lambda row: row[0]):
      rows = [row[1:] for row in rows]
      if spectral:
        batch = spectral_augmentation.transformed(batch, rows, draws, sample_rate_hz)
        continue
      for apply, value in rows:
        batch = apply(batch, value, draws)
    return batch

  return augment


def example_seeds(seed, video_id, index):
  """int64 [B, 2]: a seed for each example, whatever else is in its batch."""

  fold_in = tf.random.experimental.stateless_fold_in
  return tf.map_fn(lambda window: fold_in(fold_in(seed, window[0]), window[1]), tf.stack([video_id, index], 1))


def draws_of(seeds):
  """f32 [B, len(DRAWS)] uniform numbers, a row of each seed."""
  return tf.map_fn(lambda seed: tf.random.stateless_uniform([len(DRAWS)], seed), seeds, fn_output_signature=tf.float32)
