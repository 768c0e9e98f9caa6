"""A student that predicts sound, and what it predicts."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import store_cache

if TYPE_CHECKING:
  import numpy as np
  import pandas
  from numpy.typing import ArrayLike

  from audionet_tf.captioning.event_detection import Event
  from audionet_tf.models.student_settings import StudentConfig
  from audionet_tf.plotting.style import Figure
  from audionet_tf.saved_model.loader import LoadedExport

  Path = str | os.PathLike
  Sound = Path | ArrayLike

PLOT_RATE_HZ = 16000


class Top(NamedTuple):
  """A class and its mean probability over the sound."""

  class_name: str
  probability: float


class Features(NamedTuple):
  """Activations of a layer: `values` f32 [T, width] and `seconds` f64 [T], the centres of the receptive fields."""

  values: np.ndarray
  seconds: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
  """What a student predicts for one sound.

  Attributes:
    times: f64 [N, 2], start and end in seconds of each window, or step, of the sound.
    probabilities: f32 [N, classes].
    class_names: the classes, in the order of the columns. Two may have the same name.
    repeats: number of repetitions of sound that is too short for the student; 1 for sound that is long enough.
    sound: pathlib.Path or waveforms.Waveform of the predictions, for `plot`.
  """

  times: np.ndarray
  probabilities: np.ndarray
  class_names: list[str]
  repeats: int = 1
  sound: Any = dataclasses.field(default=None, repr=False)

  def top(self, k: int = 5) -> list[Top]:
    """The `k` classes with the highest mean probability over the sound, the highest first.

    Args:
      k: number of classes; all if there are fewer.

    Raises:
      UserError: `k` is below 1.
    """
    return [Top(self.class_names[i], float(mean)) for i, mean in self._ranked(k)]

  def to_pandas(self) -> pandas.DataFrame:
    """A DataFrame with a row for each window: `start_seconds`, `end_seconds`, and a column for each class.

    Raises:
      UserError: pandas is not installed.
    """
    import numpy as np

    try:
      import pandas
    except ImportError:
      raise UserError('to_pandas needs pandas, which is not installed: pip install pandas') from None
    rows = np.concatenate([self.times, self.probabilities], axis=1)
    return pandas.DataFrame(rows, columns=['start_seconds', 'end_seconds', *self.class_names])

  def plot(self, top: int = 10, events: Sequence[Event] = ()) -> Figure:
    """The waveform, its log-mel spectrogram, and the probabilities of the highest classes over time.

    Args:
      top: number of classes, 1 to 40.
      events: from `Predictor.detect_events`, drawn below.

    Returns:
      matplotlib Figure. `figure.savefig('clip.png')` writes it; a notebook shows it.

    Raises:
      UserError: `top` is out of range.
    """
    from audionet_tf.media import overview, waveforms
    from audionet_tf.plotting import sound as plotting_sound

    if not 1 <= top <= plotting_sound.MOST_ROWS:
      raise UserError(f'top is {top}, allowed is 1 to {plotting_sound.MOST_ROWS}')
    best = [i for i, _ in self._ranked(top)]
    classes = {
      'start_seconds': self.times[:, 0],
      'end_seconds': self.times[:, 1],
      'probabilities': self.probabilities[:, best],
      'class_names': [self.class_names[i] for i in best],
    }
    mel = overview.MelPicture(PLOT_RATE_HZ)
    with waveforms.unpacked(self.sound) as sound:
      wave = overview.envelope(mel.watch(waveforms.chunks(sound, PLOT_RATE_HZ)))
    title = '' if isinstance(self.sound, waveforms.Waveform) else self.sound.name
    return plotting_sound.timeline(title, classes, wave, mel.picture(), PLOT_RATE_HZ, list(events))

  def _ranked(self, k: int) -> list[tuple[int, float]]:
    """(number of a class, mean probability) of the `k` highest."""
    if k < 1:
      raise UserError(f'k is {k}, allowed is 1 or more')
    means = self.probabilities.mean(0, dtype='float64')
    return [(i, means[i]) for i in (-means).argsort(kind='stable')[:k].tolist()]


class Predictor:
  """A student that predicts sound. `load` makes one.

  The methods take `sound` as the path of a sound or video file (which may be compressed as .gz), or as an array with
  `sample_rate_hz`: int16, or floating point in [-1, 1]; [samples] or [samples, channels]. Sound of any rate is
  resampled to the student's and mixed down, as when its records were built.

  Attributes:
    path: the run, export or .keras file that it was loaded from.
    settings: StudentConfig: `student`, `sample_rate_hz`, `mono`, `window_seconds`, `classes`, `teachers`.
  """

  path: pathlib.Path
  settings: StudentConfig

  def __init__(self, path: pathlib.Path, served: LoadedExport):
    self.path, self.settings, self._served = path, served.settings, served
    self._file_predictors: dict = {}
    self._layers: dict = {}

  def __repr__(self) -> str:
    classes = ', '.join(f'{len(names)} classes ({head})' for head, names in self.settings.classes.items())
    return f'<audionet_tf.Predictor {self.path}: {self.settings.student}, {classes or "no classes"}>'

  @property
  def class_names(self) -> list[str]:
    """Names of the classes of the first head; empty for a student without heads."""
    return list(self._served.class_names)

  @property
  def heads(self) -> list[str]:
    """Names of the heads, one for each teacher."""
    return list(self.settings.classes)

  def predict(
    self,
    sound: Sound,
    sample_rate_hz: int | None = None,
    *,
    window_seconds: float | None = None,
    hop_seconds: float | None = None,
    head: str | None = None,
  ) -> Predictions:
    """Probabilities over time: what `audionet_tf.infer` writes (of the starter about that: it is run by LiteRT there).

    Args:
      sound: path of a file, or an array (see `Predictor`).
      sample_rate_hz: of an array; left out for files.
      window_seconds: length of a window. None: as the student was trained; a student with steps in time (SoundNet,
        VGGish, YAMNet) predicts for the whole sound, a row for each step.
      hop_seconds: from the start of a window to the next. None: the window.
      head: of a student with several heads, the one whose classes are predicted. None: the first.

    Raises:
      UserError: an array without sample rate, or of another dtype, shape or range; a window or hop out of range; an
        unknown head, or a student without heads.
      MediaError: a UserError: the file is unreadable, damaged or without sound.
    """
    import numpy as np

    from audionet_tf.inference import predict
    from audionet_tf.media import waveforms

    sound = self._checked(sound, sample_rate_hz)
    predictor = self._file_predictor(
      predict.file_predictor, ('json',), **_windows(window_seconds, hop_seconds), head=head
    )
    with waveforms.unpacked(sound) as opened:
      blocks = list(predict.blocks(predictor, opened))
    times = [np.stack([block['start_seconds'], block['end_seconds']], 1) for block in blocks]
    probabilities = np.concatenate([block['probabilities'] for block in blocks])
    return Predictions(np.concatenate(times), probabilities, list(predictor.class_names), blocks[-1]['repeats'], sound)

  def detect_events(
    self,
    sound: Sound,
    sample_rate_hz: int | None = None,
    *,
    threshold: float = 0.2,
    release: float = 0.7,
    smooth_seconds: float = 0.4,
    merge_seconds: float = 0.5,
    shortest_seconds: float = 0.2,
    thresholds: dict[str, float] | None = None,
    stop: Iterable[str] = (),
    names: dict[str, str] | None = None,
    join: str | None = None,
    window_seconds: float | None = None,
    hop_seconds: float | None = None,
    blocks: tuple[int, int, int] | None = None,
    head: str | None = None,
    unknown: bool = False,
  ) -> list[Event]:
    """Sound event detection: the events of `audionet_tf.caption`, with their start and end.

    Args:
      sound: path of a file, or an array (see `Predictor`).
      sample_rate_hz: of an array; left out for files.
      threshold: score that an event must reach, above 0 and up to 1.
      release: an event lasts while its score is at least this share of its threshold.
      smooth_seconds: length of a running median over the scores; 0 for none.
      merge_seconds: events of one class with a gap of at most this length are merged.
      shortest_seconds: shorter events are dropped.
      thresholds: class name to a threshold of its own.
      stop: names of classes without events.
      names: class name to the name of its events; the scores of classes with the same name are joined.
      join: 'sum' or 'max' of these. None: 'sum' if classes exclude each other (softmax), else 'max'.
      window_seconds: length of a window, or of a patch of `blocks`. None: as for `predict`.
      hop_seconds: from the start of a window to the next. None: the window.
      blocks: (patches, hop, total), sliding blocks of patches, as `--blocks` of audionet_tf.caption.
      head: name of the head. None: the first.
      unknown: whether `unknown` is an event too, of students that have it. Where it is as probable as all other classes
        together, these have no events.

    Returns:
      Events by start, each with `start_seconds`, `end_seconds`, `name`, mean score `score` and highest score `peak`.

    Raises:
      UserError: the sound, window, hop or head cannot be used, as for `predict`; or a threshold, length or name does
        not fit.
      MediaError: a UserError: the file is unreadable, damaged or without sound.
    """
    from audionet_tf.captioning import captioner, event_detection

    sound = self._checked(sound, sample_rate_hz)
    arguments = _windows(window_seconds, hop_seconds) | {'blocks': blocks and tuple(blocks), 'head': head}
    predictor = self._file_predictor(captioner.predictor, **arguments)
    rules = event_detection.DetectionConfig(
      threshold=threshold,
      release=release,
      smooth_seconds=smooth_seconds,
      merge_seconds=merge_seconds,
      shortest_seconds=shortest_seconds,
      thresholds=dict(thresholds or {}),
      stop=tuple(stop),
      names=dict(names or {}),
      join=join or captioner.default_join(self.settings, head),
      unknown=unknown,
    )
    return captioner.captions(predictor, sound, rules).events

  def features(
    self,
    sound: Sound,
    sample_rate_hz: int | None = None,
    *,
    layer: str = 'embedding',
    clip_seconds: float | None = None,
  ) -> Features:
    """Activations of a layer: what `audionet_tf.features` writes.

    Args:
      sound: path of a file, or an array (see `Predictor`).
      sample_rate_hz: of an array; left out for files.
      layer: name of a layer, such as 'pool5' of SoundNet. 'embedding' is the mean of the last hidden layer over the
        whole sound; of a student without steps in time, such as AudioNet, a vector for each window.
      clip_seconds: the sound is repeated or truncated to this length. None: only sound too short for the layer is
        repeated.

    Returns:
      (values f32 [T, width], seconds f64 [T], the centres of the receptive fields).

    Raises:
      UserError: an unknown layer, with a list of all; a `clip_seconds` out of range; or the sound cannot be used, as
        for `predict`.
      MediaError: a UserError: the file is unreadable, damaged or without sound.
    """
    from audionet_tf.representations import extraction
    from audionet_tf.saved_model import layer_outputs

    sound = self._checked(sound, sample_rate_hz)
    if clip_seconds is not None and not 0 < clip_seconds <= 3600:
      raise UserError(f'clip_seconds is {clip_seconds}, allowed is up to 3600')
    if layer not in self._layers:
      self._layers[layer] = layer_outputs.load(self.path, [layer])
    return Features(*extraction.features(self._layers[layer], sound, clip_seconds)[layer])

  def _checked(self, sound: Sound, sample_rate_hz: int | None) -> Any:
    """A pathlib.Path or a waveforms.Waveform."""
    from audionet_tf.media import waveforms

    if not isinstance(sound, str | os.PathLike):
      return waveforms.of_array(sound, sample_rate_hz)
    if sample_rate_hz is not None:
      raise UserError(f'sample_rate_hz is {sample_rate_hz}, but {sound} is a file, which holds its own; leave it out')
    return pathlib.Path(store_cache.fetched(sound))

  def _file_predictor(self, make: Any, *arguments: Any, **options: Any) -> Any:
    """`make(served, *arguments, **options)`, cached: TensorFlow compiles a function for each FilePredictor."""
    from audionet_tf.models import student_settings

    student_settings.check_names(self.path, self.settings)
    key = make, arguments, tuple(options.values())
    if key not in self._file_predictors:
      self._file_predictors[key] = make(self._served, *arguments, **options)
    return self._file_predictors[key]


def _windows(window_seconds: float | None, hop_seconds: float | None) -> dict[str, float | None]:
  """The two as keyword arguments. UserError unless each is None or above 0."""
  lengths = {'window_seconds': window_seconds, 'hop_seconds': hop_seconds}
  for name, value in lengths.items():
    if value is not None and not value > 0:
      raise UserError(f'{name} is {value}, allowed is more than 0')
  return lengths


def load(path: Path | None = None, *, classes: Path | None = None) -> Predictor:
  """Loads a student for prediction: `load()` the starter, which one line on stderr announces.

  Args:
    path: a run (its export, if it has one), an export (a version, or the folder of versions: the highest), or a student
      (.keras, with its .json beside it), or the address of one, `s3://...` or `hf://user/repository`; None, or
      'starter', for the student in the package, which knows ten kinds of sound and calls all others `unknown`.
    classes: for a student of embeddings: a file of classes in words, or a .npz table of their vectors.

  Raises:
    UserError: there is none of these, or it is damaged.
  """
  from audionet_tf.models import starter

  if classes is not None:
    from audionet_tf.teachers import student_words

    classes = store_cache.fetched(os.fspath(classes))
    path = student_words.find(path, classes)
    return Predictor(path, student_words.load(path, classes))
  path = pathlib.Path(starter.chosen(path))
  from audionet_tf.saved_model import for_files

  return Predictor(path, for_files.load(path, names=False))
