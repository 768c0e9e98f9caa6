"""Students that are trained one after the other, in folders below that of their joined student (`train --members`)."""

import pathlib

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import object_store
from audionet_tf.models import student_paths
from audionet_tf.training import run_checks


def folders(members, run_dir):
  """dict of each of `members`, list of presets or flag files, to its folder. UserError unless their names differ."""
  found = {member: f'{run_dir}/members/{pathlib.Path(member).stem}' for member in members}
  if not len({*found.values()}) == len(members) > 1 or not all(members):
    raise UserError(f'--members={",".join(members)}: give two or more presets or flag files with different names')
  return found


def check_run(run_dir, resume):
  """UserError if `run_dir`, or its address, holds a run of one student, or a joined one that is not to be resumed."""
  names = run_checks.SETTINGS_NAME, student_paths.STUDENT_FILE
  if object_store.is_address(run_dir):
    single, student = (object_store.stat(f'{run_dir}/{name}') for name in names)
  else:
    single, student = ((pathlib.Path(run_dir) / name).exists() for name in names)
  if single:
    raise UserError(f'{run_dir}: holds a run of one student; choose another --run_dir for --members')
  if student and not resume:
    raise UserError(f'{run_dir}: holds a run already; go on with --resume, or choose another --run_dir')


def check_alike(name, values):
  """UserError unless the members have the same value of the flag `name`. `values`: list, one for each."""
  if any(value != values[0] for value in values):
    raise UserError(f'--members: they have different --{name}; students that are joined need the same')
