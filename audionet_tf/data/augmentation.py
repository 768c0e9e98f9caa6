"""Augmentation of training batches: each pass changes the sound of a window, and its targets along with it.

How an example is changed is a function of (seed, pass, video, index), and for `mix` also of the other examples of the
batch, which depend on (seed, pass) alone: a resumed run augments as the interrupted one would have. Each augmentation
has its own random numbers, so that enabling one more leaves the others as they are.

AUGMENTATIONS is the table. Augmentations are applied in its order, whatever their order on the command line.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable

import tensorflow as tf

from audionet_tf.core.errors import UserError
from audionet_tf.data import records, spectral_augmentation
from audionet_tf.data.batch_keys import HIDDEN_FREQUENCY, HIDDEN_TIME, NEEDS_WHOLE_BATCH, TEACHER, WEIGHT

# Columns of uniform random numbers. A new one goes to the end, so that the others keep their values.
DRAWS = (
  *('shift', 'gain', 'mix', 'partner', 'share', 'time_width', 'time_place', 'frequency_width', 'frequency_place'),
  'speed',
  *('crop', 'crop_length', 'crop_place', 'crop_repeats'),
  *('reverb', 'reverb_time', 'reverb_level'),
  *('noise', 'noise_ratio', 'noise_slope'),
  *('band', 'low_pass', 'low_pass_hz', 'high_pass', 'high_pass_hz', 'band_order'),
  'level',
  *('background', 'background_partner', 'background_level'),
  *('codec', 'codec_variant'),
)


def codec(batch, value, draws, variants):
  """With probability `value`, the sound as a lossy codec brings it, each as likely: one of its stored `variants`.

  Source: Vu, Zeng, Xu, Chng 2019, "Audio codec simulation based data augmentation for telephony speech recognition";
  `media/codecs.py` has the codecs.
  """
  rows = tf.where(draws['codec'] < value)
  number = tf.cast(draws['codec_variant'] * variants.count, tf.int32)
  places = [tf.gather_nd(x, rows) for x in (batch['video_id'], batch['index'], number)]
  pcm = tf.numpy_function(variants.read, places, tf.int16, stateful=False)
  coded = records.scaled_pcm(tf.ensure_shape(pcm, [None, batch['audio'].shape[1]]))
  return batch | {'audio': tf.tensor_scatter_nd_update(batch['audio'], rows, coded)}


def shift(batch, value, draws):
  """Shifts the sound circularly by up to `value` of the window's length in either direction, and the targets with it.

  Each of T targets covers one T-th of the window; targets are interpolated linearly in between.
  """
  samples = tf.cast(tf.shape(batch['audio'])[1], tf.float32)
  offsets = tf.cast(tf.round((2 * draws['shift'] - 1) * value * samples), tf.int32)  # [B]
  audio = tf.map_fn(lambda pair: tf.roll(*pair, axis=0), (batch['audio'], offsets), fn_output_signature=tf.float32)
  audio = tf.ensure_shape(audio, batch['audio'].shape)
  fractions = tf.cast(offsets, tf.float32)[:, None] / samples
  return batch | {'audio': audio} | targets_at(batch, lambda x: indices(x) - fractions * length(x))


def speed(batch, value, draws):
  """Plays the sound faster or slower by a factor of up to 1 + `value`, log-uniform; the pitch changes with it.

  Faster sound ends early and starts again from its beginning. Samples are interpolated linearly, which is good enough
  for training, not for listening.

  Source: Tokozume, Ushiku, Harada 2018 (between-class learning), section 4.1 (scale augmentation).
  """
  factors = (1 + value) ** (2 * draws['speed'] - 1)[:, None]  # [B, 1]
  audio = interpolate(batch['audio'][..., None], factors * indices(batch['audio']))[..., 0]
  audio = tf.ensure_shape(audio, batch['audio'].shape)
  return batch | {'audio': audio} | targets_at(batch, lambda x: factors * (indices(x) + 0.5) - 0.5)


def targets_at(batch, positions):
  """The batch's targets, dict of name to f32 [B, T, classes], interpolated at new positions.

  Args:
    batch: dict of tensors.
    positions: function from targets f32 [B, T, classes] to positions f32 [B, T] in them.
  """
  return {name: interpolate(batch[name], positions(batch[name])) for name in target_names(batch)}


def length(x):
  """T of x [B, T, ...], f32."""
  return tf.cast(tf.shape(x)[1], tf.float32)


def indices(x):
  """0 to T - 1 for x [B, T, ...], f32 [T]."""
  return tf.range(length(x))


def interpolate(x, positions):
  """Reads a circular signal f32 [B, T, C] at positions f32 [B, P] by linear interpolation: f32 [B, P, C]."""
  below = tf.floor(positions)
  fraction = (positions - below)[..., None]
  first = tf.cast(below, tf.int32) % tf.shape(x)[1]
  second = (first + 1) % tf.shape(x)[1]
  return (1 - fraction) * tf.gather(x, first, batch_dims=1) + fraction * tf.gather(x, second, batch_dims=1)


def gain(batch, value, draws):
  """Changes the level by up to `value` dB, uniform in dB, without clipping: samples may leave [-1, 1)."""
  return batch | {'audio': batch['audio'] * 10 ** ((2 * draws['gain'] - 1) * value / 20)[:, None]}


def level(batch, value, draws):
  """Changes the level by up to `value` dB, uniform in dB, after mixing: the gain of a microphone."""
  return batch | {'audio': batch['audio'] * spectral_augmentation.decibels((2 * draws['level'] - 1) * value)[:, None]}


def crop(batch, value, draws):
  """With probability `value`, keeps only a part of 0.2 to 1 of the window, repeated or followed by silence.

  Source: Tokozume, Ushiku, Harada 2018, section 4.1 (random sections, zeros around them).
  """
  samples = tf.shape(batch['audio'])[1]
  chosen = draws['crop'] < value
  fraction = tf.where(chosen, 0.2 + 0.8 * draws['crop_length'], 1.0)
  count = tf.maximum(tf.cast(fraction * tf.cast(samples, tf.float32), tf.int32), 1)  # [B]
  begin = tf.cast(draws['crop_place'] * tf.cast(samples - count + 1, tf.float32), tf.int32)
  sources = begin[:, None] + tf.range(samples) % count[:, None]
  silent = (tf.range(samples) >= count[:, None]) & (draws['crop_repeats'] < 0.5)[:, None]
  audio = tf.where(silent, 0.0, tf.gather(batch['audio'], tf.minimum(sources, samples - 1), batch_dims=1))
  return batch | {'audio': tf.ensure_shape(audio, batch['audio'].shape)}


def mix(batch, value, draws):
  """With probability `value`, mixes an example with another of its batch in the ratio r to 1 - r, targets included.

  Weights are mixed as targets are. r is uniform in [0, 1). The sound is divided by sqrt(r^2 + (1 - r)^2), which
  preserves the power of uncorrelated sounds. Examples of mask 0 are not mixed and are no partners.

  Source: Tokozume, Ushiku, Harada 2018 (between-class learning), section 3.2, without its weighting by loudness.
  """
  partner, has_partner = partners(batch['mask'], draws['partner'])
  ratio = tf.where(has_partner & (draws['mix'] < value), draws['share'], 1.0)
  norm = tf.sqrt(ratio**2 + (1 - ratio) ** 2)
  names = [*target_names(batch), *(name for name in batch if name == WEIGHT)]
  targets = {name: blend(batch[name], partner, ratio, 1 - ratio) for name in names}
  return batch | {'audio': blend(batch['audio'], partner, ratio / norm, (1 - ratio) / norm)} | targets


def background(batch, value, draws):
  """With probability `value`, another example of the batch is 10 to 40 dB softer behind it; targets stay.

  Both are uniform, the level in dB. Examples of mask 0 get none and are none. Source: Salamon and Bello 2017, section
  II-B (background noise).
  """
  partner, has_partner = partners(batch['mask'], draws['background_partner'])
  level = tf.sqrt(tf.reduce_mean(batch['audio'] ** 2, 1))  # [B]
  others = tf.gather(level, partner)
  gain = spectral_augmentation.decibels(-10 - 30 * draws['background_level']) * tf.math.divide_no_nan(level, others)
  gain = tf.where(has_partner & (draws['background'] < value), gain, 0.0)
  return batch | {'audio': batch['audio'] + gain[:, None] * tf.gather(batch['audio'], partner)}


def blend(x, partner, own, other):
  """`own` f32 [B] times each example of x plus `other` f32 [B] times its partner, int32 [B]."""
  ones = [1] * (x.shape.rank - 1)
  return tf.reshape(own, [-1, *ones]) * x + tf.reshape(other, [-1, *ones]) * tf.gather(x, partner)


def time_mask(batch, value, draws):
  """Marks up to `value` of the spectrogram's time axis as hidden; the model hides it, as it computes the spectrogram.

  Source: Park et al. 2019 (SpecAugment), section 2.
  """
  return batch | {HIDDEN_TIME: interval(value, draws['time_width'], draws['time_place'])}


def frequency_mask(batch, value, draws):
  """Marks up to `value` of the spectrogram's frequency bands as hidden.

  Source: Park et al. 2019 (SpecAugment), section 2.
  """
  return batch | {HIDDEN_FREQUENCY: interval(value, draws['frequency_width'], draws['frequency_place'])}


def interval(value, width, place):
  """Start and end of an interval as fractions of an axis, f32 [B, 2]; it covers up to `value` of the axis.

  Args:
    value: largest width.
    width: f32 [B], random in [0, 1).
    place: f32 [B], random in [0, 1).
  """
  begin = place * (1 - value * width)
  return tf.stack([begin, begin + value * width], 1)


def partners(mask, draw):
  """Draws another example of mask 1 for each example, uniformly.

  Args:
    mask: f32 [B], 0 or 1.
    draw: f32 [B], random in [0, 1).

  Returns:
    (int32 [B], bool [B]): the partner of each example, and whether it has one.
  """
  order = tf.argsort(mask, direction='DESCENDING', stable=True)  # examples of mask 1 come first
  count = tf.math.count_nonzero(mask, dtype=tf.int32)
  rank = tf.argsort(order)
  others = tf.maximum(count - 1, 1)
  step = tf.minimum(1 + tf.cast(draw * tf.cast(others, tf.float32), tf.int32), others)
  return tf.gather(order, (rank + step) % tf.maximum(count, 1)), (mask > 0) & (count > 1)


def target_names(batch):
  """Keys of the targets in a batch."""
  return [name for name in batch if name.startswith(TEACHER)]


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """A row of the table.

  Attributes:
    apply: (batch, value, dict of the names in DRAWS to f32 [B]) -> batch.
    default: value used when only the name is given.
    highest: values are above 0 and at most this.
    moves_answers: whether it changes targets, which must then be in the batch (`teacher/<name>`).
    spectrogram: whether it is for students with a spectrogram only.
    mixes: whether examples of a batch are mixed, so that it needs them all.
    spectral: whether `apply` is (spectrum complex64 [B, F], value, draws, Hertz) -> spectrum instead. Neighbours in the
      table share one transform.
    stored: whether `apply` takes `variants` too, the codec_variants.Variants of the records.
  """

  apply: Callable
  default: float
  highest: float
  moves_answers: bool = False
  spectrogram: bool = False
  spectral: bool = False
  mixes: bool = False
  stored: bool = False


AUGMENTATIONS = {
  'codec': Augmentation(codec, 0.3, 1, stored=True),
  'shift': Augmentation(shift, 1, 1, moves_answers=True),
  'speed': Augmentation(speed, 0.25, 1, moves_answers=True),
  'gain': Augmentation(gain, 6, 60),
  'crop': Augmentation(crop, 0.5, 1),
  'mix': Augmentation(mix, 0.5, 1, moves_answers=True, mixes=True),
  'background': Augmentation(background, 0.5, 1, mixes=True),
  'reverb': Augmentation(spectral_augmentation.reverb, 0.3, 1, spectral=True),
  'noise': Augmentation(spectral_augmentation.noise, 0.5, 1, spectral=True),
  'equalizer': Augmentation(spectral_augmentation.equalizer, 6, 60, spectral=True),
  'band': Augmentation(spectral_augmentation.band, 0.7, 1, spectral=True),
  'level': Augmentation(level, 30, 60),
  'time_mask': Augmentation(time_mask, 0.2, 1, spectrogram=True),
  'frequency_mask': Augmentation(frequency_mask, 0.2, 1, spectrogram=True),
}


def parse(words):
  """Parses the values of --augment.

  Args:
    words: list of str, `NAME` or `NAME=VALUE`.

  Returns:
    dict of name to value, in the table's order.

  Raises:
    UserError: an unknown name, a name given twice, a value that is not a number or out of range.
  """
  values = {}
  for word in words:
    name, equals, text = word.partition('=')
    if name in values:
      raise UserError(f'augment {name!r} is given twice; give it once')
    row = AUGMENTATIONS.get(name)
    try:
      values[name] = float(text) if equals else float(row.default) if row else None
    except ValueError:
      raise UserError(f'augment {word!r}: the value is not a number; expected NAME or NAME=VALUE') from None
  check(values)
  return {name: values[name] for name in AUGMENTATIONS if name in values}


def check(values):
  """Raises UserError if a name or value of a dict of name to value is not allowed."""
  for name, value in values.items():
    if name not in AUGMENTATIONS:
      raise UserError(f'unknown augment {name!r}; choose from {", ".join(AUGMENTATIONS)}')
    if not 0 < value <= AUGMENTATIONS[name].highest:
      raise UserError(f'augment {name}={value:g}: must be above 0 and at most {AUGMENTATIONS[name].highest:g}')


def moving_answers(values):
  """Names of those augmentations that change targets, which a teacher inside the train step cannot provide."""
  return [name for name in values if AUGMENTATIONS[name].moves_answers]


def hiding_bands(values):
  """Names of those augmentations that need a student with a spectrogram."""
  return [name for name in values if AUGMENTATIONS[name].spectrogram]


def with_variants(values):
  """Names of those augmentations that read variants of the sound stored with the records."""
  return [name for name in values if AUGMENTATIONS[name].stored]


def augmenter(values, sample_rate_hz=22050, variants=None):
  """The function that augments batches, for `input_pipeline.training_batches`.

  Args:
    values: dict of name to value, as `parse` returns it.
    sample_rate_hz: sample rate of the sound.
    variants: codec_variants.Variants of the records, needed by `codec` alone.

  Returns:
    A function (batch, int64 [2] of seed and pass) -> batch; None if there are no augmentations.

  Raises:
    UserError: a name or value is not allowed.
  """
  check(values)
  if not values:
    return None
  rows = [(row, value) for name, row in AUGMENTATIONS.items() if (value := values.get(name))]
  chosen = [
    (row.spectral, functools.partial(row.apply, variants=variants) if row.stored else row.apply, value)
    for row, value in rows
  ]

  def augment(batch, seed):
    seeds = example_seeds(seed, batch['video_id'], batch['index'])  # [B, 2]
    draws = dict(zip(DRAWS, tf.unstack(uniform_draws(seeds), axis=1), strict=True))
    draws[spectral_augmentation.SEEDS] = seeds
    for spectral, rows in itertools.groupby(chosen, lambda row: row[0]):
      rows = [row[1:] for row in rows]
      if spectral:
        batch = spectral_augmentation.transformed(batch, rows, draws, sample_rate_hz)
        continue
      for apply, value in rows:
        batch = apply(batch, value, draws)
    return batch

  setattr(augment, NEEDS_WHOLE_BATCH, any(AUGMENTATIONS[name].mixes for name in values))
  return augment


def example_seeds(seed, video_id, index):
  """A seed for each example that does not depend on the other examples, int64 [B, 2]."""
  fold_in = tf.random.experimental.stateless_fold_in
  return tf.map_fn(lambda window: fold_in(fold_in(seed, window[0]), window[1]), tf.stack([video_id, index], 1))


def uniform_draws(seeds):
  """Uniform random numbers, a row per seed, f32 [B, len(DRAWS)]."""
  return tf.map_fn(lambda seed: tf.random.stateless_uniform([len(DRAWS)], seed), seeds, fn_output_signature=tf.float32)
