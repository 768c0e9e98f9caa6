"""What lies in the starter beside its student, and how its file is made small: for scripts/make_starter."""

import pathlib
import re
import zipfile

import numpy as np

from audionet_tf.core import cli, files

MANTISSA_BITS = 12


def shortened(path):
  """Writes a .keras file again, its weights rounded to MANTISSA_BITS of the mantissa, which compress to a half."""
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


def nameless(described):
  """What is told of a teacher, its files without the folders of the machine where they lay."""
  return described | {key: pathlib.Path(described[key]).name for key in ('source', 'labels') if described[key]}


CREDITS = """The student in this folder learned from ESC-10 (Piczak 2015, CC BY 3.0), of these recordings:

"""


def credits(licenses, names):
  """Text of the authors of the clips `names`, from ESC-10's LICENSES.txt. UserError where one is not in it."""
  found = {}
  for line in pathlib.Path(licenses).read_text(encoding='utf-8').splitlines():
    match = re.fullmatch(r'- \[(.+)\.\w+\]:\s+clip derived from (.+)', line)
    if match:
      found[match[1]] = match[2]
  missing = [name for name in names if name not in found]
  cli.require(not missing, f'{licenses}: nothing of {", ".join(missing[:3])}')
  return CREDITS + ''.join(f'{name}: {found[name]}\n' for name in names)


def judged(known, others):
  """dict: AUROC of familiarity, f32 [N], of known sounds against dicts of others; by kind and of all."""
  from sklearn.metrics import roc_auc_score

  def area(values):
    return float(roc_auc_score(np.repeat([1, 0], [len(known), len(values)]), np.concatenate([known, values])))

  return {kind: area(values) for kind, values in others.items()} | {'all': area(np.concatenate([*others.values()]))}


CARD = """# The student in the box

A log-mel network (`{student}`) taught by MobileNet v2 (Google, Apache-2.0) on pictures put to {clips} recordings of
ESC-10 (folds {folds}), without a label; made by `scripts/make_starter`. Its categories are sums of the teacher's
classes; all of these are its head `{teacher}`. Windows of {seconds:g} s at {rate} Hz.

| category |
|---|
{categories}

What it is not made for: anything but these. `unknown` is said of sounds unlike those it has learned. The threshold
takes {missed:.0f} % of the clips of fold {held_out} for unknown, by a student that never heard them. The area under the
ROC curve of its familiarity is {area:.3f} for those clips against new sounds of the kinds that it was shown as no
category; {alarms:.1f} windows of these a minute are above the threshold. By kind:
{kinds}.

How well it names, and what channels, noise and rooms do to that: docs/transfer.md, measured on students of three folds.

The recordings are by the authors that NOTICE names, CC BY 3.0 (Piczak 2015, "ESC: Dataset for Environmental Sound
Classification"). Neither they nor the photographs are shipped.
"""
