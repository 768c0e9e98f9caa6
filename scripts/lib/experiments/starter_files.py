"""The files of the starter besides its student, and the compression of its weights: for scripts/make_starter."""

import pathlib
import re
import zipfile

import numpy as np

from audionet_tf.core import cli, files

MANTISSA_BITS = 12


def shortened(path):
  """Rewrites a .keras file with weights rounded to MANTISSA_BITS of the mantissa, which compress to half the size."""
  import keras

  model = keras.saving.load_model(path, compile=False)
  for layer in model.layers:
    layer.set_weights([rounded(x) if x.dtype == np.float32 else x for x in layer.get_weights()])
  model.save(path)
  with zipfile.ZipFile(path) as file:
    parts = {name: file.read(name) for name in file.namelist()}
  with files.atomic_write(path, 'wb') as whole, zipfile.ZipFile(whole, 'w', zipfile.ZIP_DEFLATED) as file:
    for name, content in parts.items():
      file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, 9)


def rounded(x):
  """f32 with MANTISSA_BITS of the mantissa, rounded to the nearest."""
  spare = 23 - MANTISSA_BITS
  bits = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64) + (1 << (spare - 1))
  return (bits >> spare << spare).astype(np.uint32).view(np.float32)


def without_folders(description):
  """The description of a teacher with the names of its files in place of their paths."""
  names = {key: pathlib.Path(description[key]).name for key in ('source', 'labels') if description[key]}
  return description | names


CREDITS = """The student in this folder was trained on ESC-10 (Piczak 2015, CC BY 3.0), of these recordings:

"""


def credits(licenses, names):
  """Text of the authors of the clips `names`, from ESC-10's LICENSES.txt. UserError if one is missing there."""
  authors = {}
  for line in pathlib.Path(licenses).read_text(encoding='utf-8').splitlines():
    match = re.fullmatch(r'- \[(.+)\.\w+\]:\s+clip derived from (.+)', line)
    if match:
      authors[match[1]] = match[2]
  missing = [name for name in names if name not in authors]
  cli.require(not missing, f'{licenses}: nothing of {", ".join(missing[:3])}')
  return CREDITS + ''.join(f'{name}: {authors[name]}\n' for name in names)


def areas_under_curve(known, others):
  """AUROC of familiarity, f32 [N], of known sounds against a dict of kinds of others: dict by kind, and `all`."""
  from sklearn.metrics import roc_auc_score

  def area(values):
    return float(roc_auc_score(np.repeat([1, 0], [len(known), len(values)]), np.concatenate([known, values])))

  return {kind: area(values) for kind, values in others.items()} | {'all': area(np.concatenate([*others.values()]))}


CARD = """# The student in the box

A log-mel network (`{student}`) trained with MobileNet v2 (Google, Apache-2.0) as teacher, on pictures added to
{clips} recordings of ESC-10 (folds {folds}), without labels; made by `scripts/make_starter`. Its categories are sums of
the teacher's classes; all of these are its head `{teacher}`. Windows of {seconds:g} s at {rate} Hz.

| category |
|---|
{categories}

It is not made for other sounds; the prediction for sounds unlike its training data is `unknown`. In a student that was
trained without fold {held_out}, {missed:.0f} % of the clips of this fold are below the threshold. The area under the
ROC curve of its familiarity is {area:.3f} for those clips against new sounds of the kinds that were its examples of no
category; {alarms:.1f} windows of these per minute are above the threshold. By kind:
{kinds}.

Accuracy, and the effect of channels, noise and rooms: docs/transfer.md, measured on students of three folds.

The recordings are by the authors that NOTICE names, CC BY 3.0 (Piczak 2015, "ESC: Dataset for Environmental Sound
Classification"). Neither they nor the photographs are shipped.
"""
