"""Students from records, and from folders of labelled sounds."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import hub, object_store, store_cache, store_folder, store_mirror
from audionet_tf.python_api.building import build_records

if TYPE_CHECKING:
  from audionet_tf.teachers.teacher_config import TeacherConfig
  from audionet_tf.training import cluster

  Path = str | os.PathLike


def _run_in_store(train_in_folder: Any) -> Any:
  """`train` that takes the address of a run, too: it works in a local folder, which is uploaded at each checkpoint.

  What goes to the Hub is the student alone, at the end.
  """

  @functools.wraps(train_in_folder)
  def train_anywhere(records: Path | None = None, run_dir: Path | None = None, **arguments: Any) -> Any:
    from audionet_tf.training import cluster, run_checks

    is_other_worker = arguments.get('distribute') == 'multiworker' and not cluster.find().is_chief
    if run_dir is None or is_other_worker or not object_store.is_elsewhere(run_dir):
      return train_in_folder(records, run_dir, **arguments)
    if hub.is_address(run_dir):
      from audionet_tf.saved_model import hub_run

      with hub_run.written(os.fspath(run_dir), arguments.get('resume', False)) as local:
        train_in_folder(records, local, **arguments)
      return os.fspath(run_dir)
    busy = 'another training is running there; wait for it, or choose another --run_dir'
    check = functools.partial(
      run_checks.check_stored, object_store.checked(run_dir), resume=arguments.get('resume', False)
    )
    with store_folder.written(run_dir, busy, check=check) as local:
      train_in_folder(records, local, **arguments)
    return os.fspath(run_dir)

  return train_anywhere


@_run_in_store
@store_cache.keeping()
def train(
  records: Path | None = None,
  run_dir: Path | None = None,
  *,
  student: str = 'audionet',
  teacher: str | Sequence[str] | dict[str, str] | None = None,
  teacher_weights: str | Sequence[str] | dict[str, str] = 'imagenet',
  teacher_labels: str | Sequence[str] | dict[str, str] | None = None,
  teacher_input_range: Any = None,
  teacher_dtype: str | Sequence[str] | dict[str, str] = 'auto',
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
    distribute: 'mirrored', or 'multiworker' for one of several workers, which TF_CONFIG, Slurm or Kubernetes names.
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
  _check(distribute in ('mirrored', 'multiworker'), f'distribute is {distribute!r}, allowed is mirrored or multiworker')
  _check(checkpoint_minutes >= 0, f'checkpoint_minutes is {checkpoint_minutes}, allowed is 0 or more')
  _check(settings.get('trainable', 'all') == 'all' or settings.get('init'), "trainable='head' needs init, a student")
  is_reconstruction = settings.get('loss') == 'reconstruction'
  _check(not (is_reconstruction and teacher), "loss='reconstruction' has no teacher; leave teacher out")
  if embeddings:
    _check_embeddings(teacher, teacher_labels, settings.get('loss'), graph or projector or profile or validation)
    with_texts = classes or teacher_temperature  # the command gives empty lists
    _check(not with_texts, 'classes and teacher_temperature belong to a teacher; embeddings have none')

  from audionet_tf.training import run_checks

  task = _worker(wait_seconds) if distribute == 'multiworker' else None
  own_run = run_dir if task is None or task.is_chief else None
  records, validation = store_mirror.mirrored(records), store_mirror.mirrored(validation)
  embeddings = [os.fspath(store_cache.fetched(path)) for path in embeddings]
  teachers, settings = _teachers(
    {
      'source': 'embeddings' if embeddings else teacher,
      'weights': teacher_weights,
      'labels': teacher_labels,
      'dtype': 'float32' if embeddings else teacher_dtype,
      'input_range': teacher_input_range,
      'texts': classes,
      'temperature': teacher_temperature,
      'loss_weight': loss_weight,
    },
    settings,
  )
  if embeddings:
    run_checks.check_embeddings(embeddings, own_run, resume, teachers[0].labels, settings.get('init'))
  else:
    folders = [records] if validation is None else [records, validation]
    mode = settings.get('teacher_mode', 'stored')
    run_checks.check(folders, own_run, resume, student, teachers, mode, settings.get('init'))

  from audionet_tf.data import augmentation
  from audionet_tf.training import config, embedding_trainer, trainer

  _check_settings(settings, config.TrainingConfig)
  augmentations = augmentation.parse(_texts(augment))
  configuration = config.TrainingConfig(
    student=student, teachers=teachers, per_frame=kldiv_per_frame, augment=augmentations, **settings
  )
  if embeddings:
    embedding_trainer.train(embeddings, run_dir, configuration, resume, checkpoint_every, checkpoint_minutes, task)
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


def _check_embeddings(teacher: Any, teacher_labels: Any, loss: str | None, of_sound: Any) -> None:
  """UserError for arguments of `train` that do not go with embeddings; `of_sound`: those that show sound, if any."""
  _check(teacher is None, "embeddings have AudioSet's labels in them; leave teacher out")
  _check(isinstance(teacher_labels, str | os.PathLike), 'embeddings need teacher_labels, the file of the classes')
  _check(loss != 'cosine', "loss='cosine' is of vectors; embeddings have AudioSet's labels in them")
  _check(not of_sound, 'graph, projector, profile and validation need sound, which embeddings lack')


def _worker(wait_seconds: float) -> cluster.Task:
  """The worker of a cluster that this process is, with its port free."""
  from audionet_tf.training import cluster

  task = cluster.find(wait_seconds)
  cluster.require_free_port(task)
  return task


def _teachers(given: dict[str, Any], settings: dict[str, Any]) -> tuple[tuple[TeacherConfig, ...], dict[str, Any]]:
  """The teachers, and the settings without a loss that only says what the teachers give.

  Args:
    given: dict of fields of TeacherConfig to values as `train` takes them.
    settings: of `train`.
  """
  from audionet_tf.teachers import teacher_config

  source, loss = given.pop('source'), settings.get('loss')
  default = [] if loss == 'reconstruction' else 'vgg16'
  sources = _local(default if source is None else source)
  files = {'weights', 'labels', 'texts'}
  values = {name: (_local if name in files else _texts)(value) for name, value in given.items()}
  teachers = teacher_config.named_teachers(sources, **values)
  if loss != 'cosine':
    return teachers, settings
  return teacher_config.of_embeddings(teachers), {name: value for name, value in settings.items() if name != 'loss'}


# Arguments of `train` that `train_on_sounds` passes on, and that are no field of TrainingConfig in this form.
WITH_SOUNDS = ('student', 'augment', 'checkpoint_every', 'checkpoint_minutes', 'graph', 'projector', 'profile')


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
    run_dir: folder of the run, which neither contains `folder` nor lies in it: new, or with `resume` an old one. None:
      runs/ and the name of `folder`. Both are on this machine; or hf://user/repository, which gets the student.
    init: run or student to start from: first a head on its frozen features is trained, then all layers; the student
      that names more of the held-out sounds is kept.
    resume: go on from where the run was interrupted.
    **settings: of `train`, in place of the recipe's (the presets sounds, sounds_head and sounds_tune); all but
      those on teachers, their loss, records and workers.

  Returns:
    dict: `accuracy`; `clips`, the number of held-out sounds; `categories` and `confusion`; `results`, a dict for each
    sound; `skipped`, dict of unreadable files to reasons; `report`, path of the page.

  Raises:
    UserError: no class, one class, or a class with a single sound; no readable sound; `run_dir` holds something else
      than a run; an argument that the sounds decide; or as `train`.
  """
  from audionet_tf.sound_folders import pipeline

  for path in (folder, run_dir):
    is_elsewhere = path is not None and object_store.is_elsewhere(path)
    is_allowed = path is run_dir and is_elsewhere and hub.is_address(path)
    _check(not is_elsewhere or is_allowed, f'{path}: training on sounds takes folders of this machine, no addresses')
  decided = sorted(settings.keys() & set(pipeline.DECIDED))
  _check(not decided, f'train_on_sounds has no argument {", ".join(decided)}: it makes records and labels itself')
  fields = {name: value for name, value in settings.items() if name not in WITH_SOUNDS}
  if fields:
    from audionet_tf.training import config

    _check_settings(fields, config.TrainingConfig)
  run_dir = pipeline.default_run_dir(folder) if run_dir is None else run_dir
  with contextlib.ExitStack() as stack:
    if hub.is_address(run_dir):
      from audionet_tf.saved_model import hub_run

      run_dir = stack.enter_context(hub_run.written(os.fspath(run_dir), resume))
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
