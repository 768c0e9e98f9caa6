"""How well a student says what its teacher sees, on records: KL and agreement, per window and per video."""

import numpy as np
import tqdm

from audionet_tf.core.errors import UserError
from audionet_tf.data import batch_keys, input_pipeline, records, soft_labels
from audionet_tf.teachers import frozen_teacher, labelling
from audionet_tf.training import losses

MEASURES = ('kl', 'top1', 'top5')


def named_teacher(student):
  """What a student's settings say of the teacher of its first head: arguments of frozen_teacher.load, and `digest`.

  Older settings have no digest: it is None. UserError where they name no teacher; they may come from a stranger.
  """
  described = student.settings.teachers
  described = described.get(student.head) if isinstance(described, dict) else None
  if not described:
    raise UserError('the model does not say who taught it; name its teacher with --teacher')
  kinds = {'source': str, 'weights': str, 'labels': str | None, 'dtype': str, 'input_range': list | None}
  kinds['digest'] = str | None
  if not isinstance(described, dict) or not all(isinstance(described.get(key), kind) for key, kind in kinds.items()):
    raise UserError('what the model says of its teacher is damaged; name it with --teacher')
  return {key: described.get(key) for key in kinds}


def load_teacher(student, arguments):
  """The Teacher to compare with.

  Args:
    student: Student.
    arguments: of frozen_teacher.load, the name apart. With `digest` it must be that of the teacher's weights.

  Raises:
    UserError: a teacher that cannot be loaded, that has changed, or of another number of classes.
  """
  digest = arguments.get('digest')
  arguments = {key: value for key, value in arguments.items() if key != 'digest'}
  teacher = frozen_teacher.load(**arguments, name=student.head)
  if digest not in (None, teacher.digest):
    raise UserError(
      f'{arguments["source"]}: not the teacher that taught the model; the digest of its weights is'
      f' {teacher.digest[:16]}, of those {digest[:16]}'
    )
  theirs, ours = len(teacher.class_names), len(student.class_names)
  if theirs != ours:
    raise UserError(f'the teacher ({arguments["source"]}) knows {theirs} classes, the student {ours}')
  return teacher


def evaluate_records(student, records_folder, teacher, batch_size=512):
  """Compares a student with its teacher on every window of a folder of records; the teacher's answers are stored.

  Args:
    student: Student.
    records_folder: what tfrecords.build wrote.
    teacher: frozen_teacher.Teacher with the student's classes.
    batch_size: windows in a step.

  Returns:
    dict: `windows`; `kl` (nats), `top1`, `top5` (shares), means over all windows; `kl_of_videos`, the mean of the
    videos' means; `videos`: dict of id to `windows`, `kl`, `top1`, `top5`.
  """
  if student.settings.activation(student.head) != 'softmax':
    raise UserError(
      f'{student.head}: its classes do not exclude each other, so that KL and agreement say nothing; use --labels'
    )
  manifest = records.read_manifest(records_folder)
  check_sound(student.settings, manifest['params'], records_folder)
  folder = labelling.ensure(records_folder, manifest, [teacher])
  stored = soft_labels.read_manifest(folder)
  batches = input_pipeline.sequential_batches(soft_labels.label_source(folder, stored), batch_size)
  totals = np.zeros([1 + len(MEASURES), len(stored['videos'])])  # count and sums of every video
  with tqdm.tqdm(total=stored['windows'], desc='comparing', unit=' windows', delay=1) as bar:
    for batch in batches.as_numpy_iterator():
      logits, answers = student.logits(batch['audio']), batch[batch_keys.TEACHER + teacher.name]
      answers = losses.align_targets(answers, student.alignment(manifest['params']))
      found = [losses.kl_divergence(answers, logits), *(losses.top_k_agreement(answers, logits, k) for k in (1, 5))]
      for row, values in enumerate((np.ones(len(logits)), *found)):
        totals[row] += np.bincount(batch['video_id'], values, len(stored['videos']))
      bar.update(len(logits))
  return summary(stored['videos'], totals)


def summary(ids, totals):
  """The dict of `evaluate_records`. `totals`: f64 [1 + measures, videos], windows and sums."""
  heard = totals[0] > 0
  means = totals[1:, heard] / totals[0, heard]  # [measures, videos]
  overall = totals[1:].sum(1) / totals[0].sum()
  videos = {}
  for name, windows, values in zip(np.array(ids, object)[heard], totals[0, heard], means.T, strict=True):
    videos[name] = {'windows': int(windows)} | dict(zip(MEASURES, values.tolist(), strict=True))
  return {
    'windows': int(totals[0].sum()),
    **dict(zip(MEASURES, overall.tolist(), strict=True)),
    'kl_of_videos': float(means[0].mean()),
    'videos': videos,
  }


def check_sound(settings, params, folder):
  """Raises UserError where records do not sound as the student was trained to hear."""
  for name in ('sample_rate_hz', 'mono'):
    theirs, ours = getattr(params, name), getattr(settings, name)
    if theirs != ours:
      raise UserError(f'{folder}: {name} of the records is {theirs}, of the student {ours}; build them alike')
