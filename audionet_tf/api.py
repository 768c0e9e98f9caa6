"""The Python API: what the commands do, for notebooks and programs.

    import audionet_tf

    audionet_tf.build_records('clips', 'data/clips')
    audionet_tf.train(records='data/clips', run_dir='runs/clips', epochs=50)
    predictor = audionet_tf.load('runs/clips')
    predictions = predictor.predict('clip.mp4')
    events = predictor.detect_events('clip.mp4', threshold=0.3)
    embeddings, seconds = predictor.features('clip.mp4', layer='embedding')

Users reach these names as `audionet_tf.load` and so on. Nothing heavy is imported before it is needed. A mistake of the
caller raises `audionet_tf.UserError`, a ValueError, whose message is one line.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from audionet_tf.core import object_store, store_cache, store_folder, store_mirror
from audionet_tf.core.errors import UserError

if TYPE_CHECKING:
  import numpy as np
  import pandas
  from numpy.typing import ArrayLike

  from audionet_tf.captioning.event_detection import Event
  from audionet_tf.models.student_file import StudentConfig
  from audionet_tf.plotting.style import Figure
  from audionet_tf.saved_model.loader import LoadedExport
  from tfrecords.builder import Summary

  Path = str | os.PathLike
  Sound = Path | ArrayLike

# Before TensorFlow is imported: its start-up notices are about hardware. A level that is set already stays.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

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
    """Probabilities over time: what `audionet_tf.infer` writes.

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
    from audionet_tf.models import student_file

    student_file.check_names(self.path, self.settings)
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

    path = student_words.find(path, os.fspath(classes))
    return Predictor(path, student_words.load(path, os.fspath(classes)))
  path = pathlib.Path(starter.chosen(path))
  from audionet_tf.saved_model import for_files

  return Predictor(path, for_files.load(path, names=False))


def build_records(
  videos: Path | Iterable[Path],
  output: Path = 'data/clips',
  *,
  window_seconds: float = 0.04,
  hop_seconds: float | None = None,
  images_per_window: int = 1,
  sample_rate_hz: int = 16000,
  mono: str = 'mean',
  image_size: int = 224,
  image_format: str = 'jpeg',
  jpeg_quality: int = 95,
  max_seconds: float | None = None,
  short_videos: str = 'skip',
  shards: int | None = None,
  workers: int | None = None,
  timeout_seconds: float = 120,
  memory_mb: int = 4096,
) -> Summary:
  """Builds the records of videos, or those that are missing, as `tfrecords.build` does. Needs no TensorFlow.

  Args:
    videos: a file, glob or folder, or several; or addresses of these in a store, such as s3://bucket/clips.
    output: folder of the records, or its address in a store; made if missing.
    window_seconds: length of a window, 0.001 to 3600.
    hop_seconds: from the start of a window to the next. None: the window.
    images_per_window: number of pictures, each from the middle of an equal part of the window; 0 for sound alone.
    sample_rate_hz: of the stored sound, 1000 to 192000.
    mono: 'mean' of all channels, or the 'first'.
    image_size: width and height of the stored pictures, pixels.
    image_format: 'jpeg' or 'png'.
    jpeg_quality: 1 to 95.
    max_seconds: use the first seconds of each video only.
    short_videos: 'skip' or 'repeat' videos shorter than a window.
    shards: number of files. None: about 128 MB each, at least two.
    workers: number of videos decoded at a time. None: one per processor.
    timeout_seconds: a video is skipped if it finishes no window for this long.
    memory_mb: address space of the process that decodes a video, MiB.

  Returns:
    Summary: `videos`, `windows`, `built`, `kept`, `shards`, `bytes`, `seconds`, `failures` (name to reason).

  Raises:
    UserError: an argument is out of range, there is no such video, `output` holds records of other arguments, or no
      video can be used.
  """
  import joblib

  from audionet_tf.data import params
  from tfrecords import builder

  for name, value, least in (
    ('shards', shards, 1),
    ('workers', workers, 1),
    ('timeout_seconds', timeout_seconds, 1),
    ('memory_mb', memory_mb, 256),
  ):
    if value is not None and not least <= value < 1e9:
      raise UserError(f'{name} is {value}, allowed is {least} or more')
  arguments = [videos] if isinstance(videos, str | os.PathLike) else list(videos)
  record_params = params.RecordParams(
    window_seconds=window_seconds,
    hop_seconds=window_seconds if hop_seconds is None else hop_seconds,
    images_per_window=images_per_window,
    sample_rate_hz=sample_rate_hz,
    mono=mono,
    image_size=image_size,
    image_format=image_format,
    jpeg_quality=jpeg_quality,
    max_seconds=max_seconds,
    short_videos=short_videos,
  )
  busy = 'another build is running there; wait for it or choose another --output'
  with store_folder.written(output, busy, lambda name: '/' not in name) as folder:  # no outputs of teachers
    summary = builder.build(
      arguments=[os.fspath(argument) for argument in arguments],
      output=folder,
      params=record_params,
      shard_count=shards,
      workers=workers or joblib.cpu_count(),
      timeout_seconds=timeout_seconds,
      memory_bytes=memory_mb << 20,
    )
  if not summary.windows:
    raise UserError(
      f'nothing was built: none of {len(summary.failures)} files can be used; {output}/failures.json says why'
    )
  return summary


def _run_in_store(train_in_folder: Any) -> Any:
  """`train` that takes the address of a run, too: it works in a local folder, which is uploaded at each checkpoint."""

  @functools.wraps(train_in_folder)
  def train_anywhere(records: Path | None = None, run_dir: Path | None = None, **arguments: Any) -> Any:
    from audionet_tf.training import cluster

    is_other_worker = arguments.get('distribute') == 'multiworker' and not cluster.find().is_chief
    if run_dir is None or is_other_worker or not object_store.is_address(run_dir):
      return train_in_folder(records, run_dir, **arguments)
    busy = 'another training is running there; wait for it, or choose another --run_dir'
    with store_folder.written(run_dir, busy) as local:
      train_in_folder(records, local, **arguments)
    return os.fspath(run_dir)

  return train_anywhere


@_run_in_store
def train(
  records: Path | None = None,
  run_dir: Path | None = None,
  *,
  student: str = 'audionet',
  teacher: str | Sequence[str] | dict[str, str] | None = None,
  teacher_weights: str | Sequence[str] | dict[str, str] = 'imagenet',
  teacher_labels: str | Sequence[str] | dict[str, str] | None = None,
  teacher_input_range: Any = None,
  teacher_dtype: str | Sequence[str] | dict[str, str] = 'float32',
  classes: str | Sequence[str] | dict[str, str] | None = None,
  teacher_temperature: float | Sequence[str] | dict[str, float] | None = None,
  loss_weight: float | str | Sequence[str] | dict[str, float | str] = 1,
  embeddings: Path | Sequence[Path] = (),
  augment: Sequence[str] | dict[str, float | None] = (),
  kldiv_per_frame: bool = False,
  resume: bool = False,
  checkpoint_every: int = 0,
  checkpoint_minutes: float = 1,
  distribute: str = 'mirrored',
  wait_seconds: float = 300,
  graph: bool = False,
  projector: bool | None = None,
  profile: tuple[int, int] | None = None,
  validation: Path | None = None,
  **settings: Any,
) -> pathlib.Path:
  """Trains a student, as `audionet_tf.train` does. The arguments are its flags, which `--help` explains.

      audionet_tf.train('data/clips', 'runs/clips', teacher='vgg16', epochs=50)
      audionet_tf.train('data/clips', 'runs/both', teacher={'objects': 'vgg16', 'scenes': 'places.npz'})

  Args:
    records: folder of `build_records`. It, `run_dir` and all files may be addresses in a store, such as s3://....
    run_dir: folder of the run: new, or with `resume` an old one.
    student: name of a network.
    teacher: name of a keras.applications classifier, a .keras or .tflite file, a SavedModel, a file of outputs or of
      labels; for several a dict of name to source, or a list of 'NAME=SOURCE'. None: vgg16, and no teacher for
      loss='reconstruction'.
    teacher_weights, teacher_labels, teacher_input_range, teacher_dtype, classes, teacher_temperature, loss_weight: a
      value for all teachers, or a dict of name to value. An input range is a pair of numbers; `classes` is the file of
      the classes of a teacher 'clip:PRESET'.
    embeddings: files of AudioSet's embeddings, in place of `records`.
    augment: dict of augmentation to its value, None for its default; or a list of 'NAME' and 'NAME=VALUE'.
    kldiv_per_frame: keep the KL of each window of each epoch in stats.json.
    resume: go on from the newest checkpoint of the run.
    checkpoint_every: epochs between checkpoints; 0: by `checkpoint_minutes`.
    checkpoint_minutes: minutes between checkpoints, at the end of an epoch, or inside one that takes longer.
    distribute: 'mirrored', or 'multiworker' for one of several workers, which TF_CONFIG or a Slurm step names.
    wait_seconds: how long one of several workers waits for the others.
    graph: write the student's graph for TensorBoard.
    projector: show windows in TensorBoard. None: where the teacher's outputs are stored.
    profile: (first, last) epoch to profile for TensorBoard, counted from 0.
    validation: folder of held-out records, which are evaluated after each epoch.
    **settings: `teacher_mode`, `epochs`, `batch_size`, `optimizer`, `learning_rate`, `momentum`, `nesterov`,
      `schedule`, `warmup_epochs`, `weight_decay`, `loss`, `label_smoothing`, `balance`, `loss_reduction`,
      `gate`, `target_steps`, `replicas`, `seed`, `init`, `trainable`, `mixed_precision`, with the defaults of the
      flags.

  Returns:
    Path of the run, or its address, for `load`.

  Raises:
    UserError: an argument is unknown, missing or out of range; records, teacher or run folder cannot be used; or a loss
      is not finite.
  """
  embeddings = [embeddings] if isinstance(embeddings, str | os.PathLike) else list(embeddings)
  _check(run_dir is not None, 'train needs run_dir, the folder of the run')
  _check((records is None) == bool(embeddings), 'train needs either records, or embeddings in their place')
  if embeddings:
    _check(teacher is None, "embeddings have AudioSet's labels in them; leave teacher out")
    _check(isinstance(teacher_labels, str | os.PathLike), 'embeddings need teacher_labels, the file of the classes')
    with_sound = graph or projector or profile or validation
    _check(not with_sound, 'graph, projector, profile and validation need sound, which embeddings lack')
  without_teacher = settings.get('loss') == 'reconstruction'
  _check(not (without_teacher and teacher), "loss='reconstruction' has no teacher; leave teacher out")
  _check(settings.get('trainable', 'all') == 'all' or settings.get('init'), "trainable='head' needs init, a student")

  from audionet_tf.teachers import teacher_config
  from audionet_tf.training import cluster, run_checks

  _check(distribute in ('mirrored', 'multiworker'), f'distribute is {distribute!r}, allowed is mirrored or multiworker')
  _check(checkpoint_minutes >= 0, f'checkpoint_minutes is {checkpoint_minutes}, allowed is 0 or more')
  task = cluster.find(wait_seconds) if distribute == 'multiworker' else None
  if task:
    cluster.require_free_port(task)
  records, validation = store_mirror.mirrored(records), store_mirror.mirrored(validation)
  embeddings = list(map(store_cache.fetched, embeddings))
  teacher_labels = _local(teacher_labels)
  own_run = run_dir if task is None or task.is_chief else None
  init = settings.get('init')
  if embeddings:
    teachers = (teacher_config.TeacherConfig('embeddings', labels=os.fspath(teacher_labels[0])),)
    run_checks.check_embeddings(embeddings, own_run, resume, teachers[0].labels, init)
  else:
    teachers = teacher_config.named_teachers(
      [] if without_teacher else _local('vgg16' if teacher is None else teacher),
      weights=_local(teacher_weights),
      labels=teacher_labels,
      dtype=_texts(teacher_dtype),
      input_range=_texts(teacher_input_range),
      texts=_texts(classes),
      temperature=_texts(teacher_temperature),
      loss_weight=_texts(loss_weight),
    )
    if settings.get('loss') == 'cosine':
      teachers = teacher_config.of_embeddings(teachers)
      del settings['loss']
    folders = [records] if validation is None else [records, validation]
    mode = settings.get('teacher_mode', 'stored')
    run_checks.check(folders, own_run, resume, student, teachers, mode, init)

  from audionet_tf.data import augmentation
  from audionet_tf.training import config, embedding_trainer, trainer

  _check_settings(settings, config.TrainingConfig)
  augmentations = augmentation.parse(_texts(augment))
  configuration = config.TrainingConfig(
    student=student, teachers=teachers, per_frame=kldiv_per_frame, augment=augmentations, **settings
  )
  if embeddings:
    paths = list(map(os.fspath, embeddings))
    embedding_trainer.train(paths, run_dir, configuration, resume, checkpoint_every, checkpoint_minutes, task)
  else:
    trainer.train(
      records,
      run_dir,
      configuration,
      resume,
      checkpoint_every,
      profile=profile,
      graph=graph,
      projected=configuration.teacher_mode == 'stored' if projector is None else projector,
      validation_folder=validation,
      checkpoint_minutes=checkpoint_minutes,
      task=task,
    )
  return pathlib.Path(run_dir)


def train_on_sounds(
  folder: Path,
  run_dir: Path | None = None,
  *,
  init: Path | None = None,
  resume: bool = False,
  **settings: Any,
) -> dict[str, Any]:
  """Trains a student on labelled sounds, and reports on some that are held out: `audionet_tf.train --sounds`.

      audionet_tf.train_on_sounds('sounds', 'runs/sounds')
      audionet_tf.train_on_sounds('few_sounds', init='runs/sounds')

  Args:
    folder: with a folder of sounds for each class, or with metadata.csv (`file_name`, `label`).
    run_dir: folder of the run: new, or with `resume` an old one. None: runs/ and the name of `folder`.
    init: run or student to start from: first a head on its frozen features is trained, then all layers; the student
      that names more of the held-out sounds is kept.
    resume: go on from where the run was interrupted.
    **settings: of `train`, in place of the recipe's (the presets sounds, sounds_head and sounds_tune).

  Returns:
    dict: `accuracy`; `clips`, the number of held-out sounds; `categories` and `confusion`; `results`, a dict for each
    sound; `skipped`, dict of unreadable files to reasons; `report`, path of the page.

  Raises:
    UserError: no class, one class, or a class with a single sound; no readable sound; or as `train`.
  """
  from audionet_tf.sound_folders import pipeline

  run_dir = pipeline.default_run_dir(folder) if run_dir is None else run_dir
  return pipeline.run(folder, run_dir, build_records, train, settings, init, resume)


OWN_ARGUMENTS = ('student', 'teachers', 'augment', 'per_frame')  # fields of TrainingConfig that `train` names itself


def _check_settings(settings: dict[str, Any], config_class: type) -> None:
  """UserError for settings that the dataclass `config_class` lacks, or that are of another type."""
  defaults = {
    field.name: field.default for field in dataclasses.fields(config_class) if field.name not in OWN_ARGUMENTS
  }
  for name, value in settings.items():
    if name not in defaults:
      raise UserError(f'train has no argument {name!r}; further ones are {", ".join(defaults)}')
    kind = type(defaults[name])
    is_whole_float = kind is float and type(value) is int
    if defaults[name] is not None and not (isinstance(value, kind) or is_whole_float):
      raise UserError(f'{name} is {value!r}, allowed is a value of type {kind.__name__}')


def _check(condition: Any, message: str) -> None:
  """UserError with `message` unless the condition holds."""
  if not condition:
    raise UserError(message)


def _texts(value: Any) -> list[str]:
  """A value for all, a dict of name to value, or a list of these, as the texts of a repeated flag."""
  if value is None:
    return []
  if isinstance(value, dict):
    return [name if item is None else f'{name}={_text(item)}' for name, item in value.items()]
  if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
    return list(value)
  return [_text(value)]


def _local(value: Any) -> list[str]:
  """As `_texts`, with the local copies of files in a store."""
  if isinstance(value, os.PathLike):
    value = os.fspath(value)
  return [name + store_cache.fetched(path) for name, path in map(object_store.named_path, _texts(value))]


def _text(value: Any) -> str:
  """'0,255' of a pair of numbers; anything else as `str` has it."""
  return ','.join(map(str, value)) if isinstance(value, list | tuple) else str(value)
