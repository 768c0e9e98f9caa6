"""Agreement of a student with its teacher on records: KL divergence, top-1 and top-5, per window and per video."""

import numpy as np
import tqdm

from audionet_tf.core.errors import UserError
from audionet_tf.data import batch_keys, input_pipeline, records, soft_labels
from audionet_tf.data.shards import damage
from audionet_tf.teachers import described, frozen_teacher, labelling
from audionet_tf.training.steps import losses

MEASURES = ('kl', 'top1', 'top5')
ADVICE = 'name the teacher with --teacher'


def named_teacher(settings):
  """The teacher that a student's settings record for its first head. Settings are untrusted input.

  Args:
    settings: student_settings.StudentConfig.

  Returns:
    dict of arguments of `frozen_teacher.load`, and `digest`, which is None in older settings.

  Raises:
    UserError: the settings record no teacher, or are damaged.
  """
  about = described.of_head(settings, next(iter(settings.classes), None), ADVICE, needed=('source', 'weights', 'dtype'))
  if not about:
    raise UserError(f'the model does not record its teacher; {ADVICE}')
  described.refuse_addresses(about, ADVICE)
  return about


def load_teacher(student, arguments):
  """Loads the teacher to compare a student with.

  Args:
    student: predictor.LogitsModel.
    arguments: dict of arguments of `frozen_teacher.load` except the name, and optionally `digest`, which the teacher's
      weights must have.

  Returns:
    frozen_teacher.Teacher.

  Raises:
    UserError: the teacher cannot be loaded, has changed, or has another number of classes.
  """
  digest = arguments.get('digest')
  arguments = {key: value for key, value in arguments.items() if key != 'digest'}
  teacher = frozen_teacher.load(**arguments, name=student.head)
  if digest not in (None, teacher.digest):
    raise UserError(
      f'{arguments["source"]}: not the teacher that the model was trained with; the digest of its weights is'
      f' {teacher.digest[:16]}, expected {digest[:16]}'
    )
  if teacher.description['outputs'] == batch_keys.EMBEDDING:
    raise UserError(
      f'the student learned vectors of {arguments["source"]}, no distribution to compare with; evaluate it on --clips'
    )
  teacher_classes, student_classes = len(teacher.class_names), len(student.class_names)
  if teacher_classes != student_classes:
    raise UserError(f'the teacher ({arguments["source"]}) has {teacher_classes} classes, the student {student_classes}')
  return teacher


def evaluate_records(student, records_folder, teacher, batch_size=512):
  """Compares a student with its teacher on every window of a folder of records.

  The teacher's predictions are stored with the records, as for training.

  Args:
    student: predictor.LogitsModel.
    records_folder: written by `tfrecords.build`.
    teacher: frozen_teacher.Teacher with the student's classes.
    batch_size: windows per step.

  Returns:
    dict: `windows`, their number; `kl` (nats), `top1` and `top5` (fractions), means over all windows; `kl_of_videos`,
    the mean of the videos' means; `videos`, dict of id to dict of `windows`, `kl`, `top1` and `top5`.

  Raises:
    UserError: the student is multi-label, or the records cannot be read or do not match the student's sound.
  """
  if student.settings.activation(student.head) != 'softmax':
    raise UserError(
      f'{student.head}: a multi-label head, for which KL and top-k agreement are not defined; use --labels'
    )
  manifest = records.read_manifest(records_folder)
  check_sound(student.settings, manifest['params'], records_folder)
  folder = labelling.ensure(records_folder, manifest, [teacher])
  stored = soft_labels.read_manifest(folder)
  source = soft_labels.label_source(folder, stored)
  batches = input_pipeline.sequential_batches(source, batch_size)
  ids = [video['id'] for video in manifest['videos']]
  totals = np.zeros([1 + len(MEASURES), len(ids)])  # per video: windows, and sums of the measures
  bar = tqdm.tqdm(total=stored['windows'], desc='comparing', unit=' windows', delay=1)
  paths = dict.fromkeys([*source.paths, *records.shard_paths(records_folder, manifest)])  # these may hold the sound
  with bar, damage.named(paths, soft_labels.advice_for(folder), input_pipeline.file_reader(source)):
    for batch in batches.as_numpy_iterator():
      logits, targets = student.logits(batch['audio']), batch[batch_keys.TEACHER + teacher.name]
      targets = losses.align_targets(targets, student.alignment(manifest['params']))
      measures = [losses.kl_divergence(targets, logits), *(losses.top_k_agreement(targets, logits, k) for k in (1, 5))]
      for row, values in enumerate((np.ones(len(logits)), *measures)):
        totals[row] += np.bincount(batch['video_id'], values, len(ids))
      bar.update(len(logits))
  return summary(ids, totals)


def summary(ids, totals):
  """Averages the sums of `evaluate_records`, whose result this is.

  Args:
    ids: list of the videos' ids.
    totals: f64 [1 + measures, videos], windows and sums of the measures.
  """
  used = totals[0] > 0
  means = totals[1:, used] / totals[0, used]  # [measures, videos]
  overall = totals[1:].sum(1) / totals[0].sum()
  videos = {}
  for name, windows, values in zip(np.array(ids, object)[used], totals[0, used], means.T, strict=True):
    videos[name] = {'windows': int(windows)} | dict(zip(MEASURES, values.tolist(), strict=True))
  return {
    'windows': int(totals[0].sum()),
    **dict(zip(MEASURES, overall.tolist(), strict=True)),
    'kl_of_videos': float(means[0].mean()),
    'videos': videos,
  }


def check_sound(settings, params, folder):
  """Raises UserError unless records have the student's sample rate and downmix."""
  for name in ('sample_rate_hz', 'mono'):
    value, expected = getattr(params, name), getattr(settings, name)
    if value != expected:
      raise UserError(f'{folder}: {name} of the records is {value}, of the student {expected}; build matching records')
