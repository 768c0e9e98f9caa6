"""How sound is cut into windows, and how records are built: rates in hertz, times in seconds."""

import dataclasses
import functools

from audionet_tf.core import durations
from audionet_tf.core.errors import UserError

MONO_MODES = ('mean', 'first')
IMAGE_FORMATS = ('jpeg', 'png')
SHORT_VIDEOS = ('skip', 'repeat')


@dataclasses.dataclass(frozen=True)
class Framing:
  """How sound is cut into windows.

  Attributes:
    window_seconds: length of a window.
    hop_seconds: time from the start of a window to the start of the next.
    sample_rate_hz: sample rate of the sound.
    mono: 'mean' of all channels, or the 'first' channel.

  Raises:
    UserError: a value is out of range.
  """

  window_seconds: float = 0.04
  hop_seconds: float = 0.04
  sample_rate_hz: int = 16000
  mono: str = 'mean'

  def __post_init__(self):
    self.check_ranges(window_seconds=(0.001, 3600), hop_seconds=(0.001, 3600), sample_rate_hz=(1000, 192000))
    self.check_choices(mono=MONO_MODES)

  def check_ranges(self, **ranges):
    """Raises UserError unless each named attribute lies within (low, high)."""
    for name, (low, high) in ranges.items():
      value = getattr(self, name)
      if not low <= value <= high:
        raise UserError(f'{name} is {value}; must be from {low} to {high}')

  def check_choices(self, **choices):
    """Raises UserError unless each named attribute has one of the allowed values."""
    for name, allowed in choices.items():
      if getattr(self, name) not in allowed:
        raise UserError(f'{name} is {getattr(self, name)!r}; must be {" or ".join(allowed)}')

  @property
  def window_samples(self):
    """Samples in a window: length times rate, rounded."""
    return round(durations.exact(self.window_seconds) * self.sample_rate_hz)

  def start_seconds(self, index):
    """Start of window `index` as an exact Fraction, so that long sound does not drift."""
    return index * durations.exact(self.hop_seconds)

  def start_sample(self, index):
    """First sample of window `index`, counted from time zero."""
    return round(self.start_seconds(index) * self.sample_rate_hz)


@dataclasses.dataclass(frozen=True)
class RecordParams(Framing):
  """How videos are cut into windows of paired sound and pictures.

  The defaults are those of AudioNet. Source: Bryce 2018 and `frames.py` of its code, AmyBryce/audionet.

  Attributes in addition to those of Framing:
    images_per_window: T. Picture i is the one shown at the middle of the i-th of T equal parts; 0 for sound only.
    image_size: width and height of the stored pictures in pixels.
    image_format: 'jpeg' or 'png'.
    jpeg_quality: 1 to 95; unused for PNG.
    max_seconds: windows end at or before this time; None for the whole video.
    short_videos: videos shorter than a window are left out ('skip') or repeated to fill one ('repeat').
  """

  images_per_window: int = 1
  image_size: int = 224
  image_format: str = 'jpeg'
  jpeg_quality: int = 95
  max_seconds: float | None = None
  short_videos: str = 'skip'

  def __post_init__(self):
    super().__post_init__()
    self.check_ranges(images_per_window=(0, 1000), image_size=(16, 1024), jpeg_quality=(1, 95))
    self.check_choices(image_format=IMAGE_FORMATS, short_videos=SHORT_VIDEOS)
    if self.max_seconds is not None and self.max_seconds < self.window_seconds:
      raise UserError(f'max_seconds is {self.max_seconds}; must be at least one window, {self.window_seconds} s')

  def image_seconds(self, index):
    """The T times of the pictures of window `index`, as exact Fractions."""
    return self.middles(index, self.images_per_window)

  @property
  def answers_per_window(self):
    """Number of targets per window: one per picture, or one (for labels) where there are no pictures."""
    return max(1, self.images_per_window)

  def answer_seconds(self, index):
    """The times that the targets of window `index` refer to, as exact Fractions."""
    return self.middles(index, self.answers_per_window)

  def middles(self, index, parts):
    """The middles of `parts` equal parts of window `index`, as exact Fractions."""
    start = self.start_seconds(index)
    return [start + offset for offset in _middle_offsets(self.window_seconds, parts)]


@functools.cache
def _middle_offsets(window_seconds, parts):
  """Seconds from the start of a window to the middles of its equal parts, a tuple of exact Fractions."""
  return tuple(durations.exact(window_seconds) * (2 * i + 1) / (2 * parts) for i in range(parts))
