"""The files of the starter besides its student, and the compression of its weights: for scripts/make_starter."""

import pathlib
import re
import textwrap
import zipfile

import numpy as np

from audionet_tf.core import cli, files
from experiments import starter_figures

MANTISSA_BITS = 12
MOST_LITE_BYTES = 2_100_000
LITE_TOLERANCE, LITE_TOLERANCE_OF_TONES = 0.005, 0.05  # of probabilities
WIDTH = 112  # of the card, in characters


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


def write_lite(path):
  """Writes the .tflite file of a student beside its .keras file, with weights in float16.

  Raises:
    UserError: it is too large.
    RuntimeError: its probabilities are not the student's, or not finite.
  """
  import tempfile

  from audionet_tf.models import student_file
  from audionet_tf.saved_model import signatures, tflite, verify

  model, settings = student_file.load(path)
  content = tflite.of_any_length(model, settings, quantize='float16')
  cli.require(len(content) <= MOST_LITE_BYTES, f'{path}: {len(content)} bytes in LiteRT, allowed are {MOST_LITE_BYTES}')
  length = signatures.window_samples(settings)
  with tempfile.TemporaryDirectory() as folder:
    trial = pathlib.Path(folder) / 'student.tflite'
    tflite.write_file(trial, content)
    tflite.check_finite(trial, length)
    run = tflite.runner(trial)
    for waveform in verify.probe_waveforms(length):
      expected = verify.expected_predictions(model, settings, waveform)['probabilities']
      is_tone = np.isin(np.arange(len(waveform)), verify.TONES)[:, None]
      allowed = np.where(is_tone, LITE_TOLERANCE_OF_TONES, LITE_TOLERANCE)
      if not (abs(run(waveform=waveform)['probabilities'] - expected) <= allowed).all():
        raise RuntimeError(f'{path}: other probabilities in LiteRT')
  tflite.write_file(path.with_suffix('.tflite'), content)


def rounded(x):
  """f32 with MANTISSA_BITS of the mantissa, rounded to the nearest."""
  spare = 23 - MANTISSA_BITS
  bits = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64) + (1 << (spare - 1))
  return (bits >> spare << spare).astype(np.uint32).view(np.float32)


def without_folders(description):
  """The description of a teacher with the names of its files in place of their paths."""
  names = {key: pathlib.Path(description[key]).name for key in ('source', 'labels') if description[key]}
  return description | names


LINE = re.compile(r'- \[(.+)\.\w+\]:\s+clip derived from (.+ \(\S+\) by (.+) \[(.+)\])')  # of ESC-10's LICENSES.txt


def credits(licenses, names):
  """dict of the clips `names` to (source, author, licence), from LICENSES.txt. UserError if one is missing there."""
  lines = pathlib.Path(licenses).read_text(encoding='utf-8').splitlines()
  known = {match[1]: (match[2], match[3], match[4]) for match in map(LINE.fullmatch, lines) if match}
  missing = [name for name in names if name not in known]
  cli.require(not missing, f'{licenses}: nothing of {", ".join(missing[:3])}')
  return {name: known[name] for name in names}


NOTICE = """The student in this folder was trained on {count} recordings of ESC-10: Dataset for Environmental Sound
Classification (Karol J. Piczak, 2015, https://doi.org/10.7910/DVN/YDEPUT), CC BY 3.0
(https://creativecommons.org/licenses/by/3.0/). They were cut, converted and added to pictures; none of them
is in this folder. By clip, with the licence of its source:

"""


def notice(credits):
  """The text of NOTICE. `credits`: dict of that function."""
  return NOTICE.format(count=len(credits)) + ''.join(f'{name}: {source}\n' for name, (source, *_) in credits.items())


CARD = """# The student in the box

A log-mel network (`{student}`) that was trained with MobileNet v2 (Google, Apache-2.0) as teacher, on
pictures added to {clips} recordings of ESC-10 (folds {folds}), without labels; made by
`scripts/make_starter`. Windows of {seconds:g} s at {rate} Hz. Its head `category` names {categories}, each
a sum of the teacher's classes, and `unknown`; its head `{teacher}` has all {classes} of them
(`audionet-infer --head={teacher}`).

## Figures

They are of the same network trained without fold {held_out}, on the {held_out_clips} clips of this fold, in
percent. The changed forms are those of `scripts/benchmark_robustness`, and `changed` and `worst` leave out
40 dB softer. The first two columns are of the most probable of the ten and `unknown`, which is never right here;
the last is of the most probable of the ten.

{accuracy}

Its threshold makes {missed:.0f} % of this fold's clips `unknown`, and is chosen on them, so this is no
test. Against sounds of no category that the script makes, from another seed than its examples:

{unknown}

The column "no example" is without examples of the kind. A false alarm is a window of {seconds:g} s that is
taken for known, of {most:g} a minute.{others}

## Limits

* It knows ten categories as ESC-10 has them, and nothing else. Other sound should be `unknown`, but see the
  table: noise is easily taken for rain or sea waves, and speech, music and animals that it never heard may be
  taken for a category.
* It hears windows of {seconds:g} s: a short sound is found, but not when exactly. Shorter files are repeated.
* It was trained on {clips} clips. Other microphones, rooms and noise cost accuracy; measure on your own
  recordings before you rely on it. No decision about safety should.

## Authors

The recordings are from ESC-10, CC BY 3.0 (Karol J. Piczak, "ESC: Dataset for Environmental Sound
Classification", ACM Multimedia 2015). Neither they nor the photographs are shipped. NOTICE lists each with its
source and licence. Their authors:

{authors}."""


def wrapped(text):
  """Markdown with lines of at most WIDTH characters, tables, headings and lists apart."""
  parts = text.split('\n\n')
  prose = [not part.startswith(('#', '|', '*')) for part in parts]
  fill = textwrap.TextWrapper(WIDTH, break_long_words=False, break_on_hyphens=False).fill
  return '\n\n'.join(fill(part) if plain else part for part, plain in zip(parts, prose, strict=True)) + '\n'


def unknown_table(figures):
  """Rows of Markdown: per kind AUROC, AUROC without examples of it, and false alarms per minute."""
  lines = ['| sound | AUROC | AUROC, no example | false alarms per minute |', '|---|---|---|---|']
  for kind, area in figures['areas'].items():
    lines.append(f'| {kind} | {area:.2f} | {figures["strange"][kind]:.2f} | {figures["alarms"][kind]:.1f} |')
  return '\n'.join(lines)


def card(settings, figures, groups, folds, held_out, credits):
  """The text of card.md.

  Args:
    settings: student_settings.StudentConfig of the student without the head `category`.
    figures: dict of `make_starter.measured`.
    groups: dict of category to positions of the teacher's classes.
    folds, held_out: list of str, str.
    credits: dict of `credits`.
  """
  (teacher, class_names), *_ = settings.classes.items()
  others = figures.get('others')
  recordings = (
    f' On {others["windows"]} windows of other recordings with no sound of a category, AUROC is {others["area"]:.2f}, '
    f'with {others["alarms"]:.1f} false alarms per minute.'
    if others
    else ''
  )
  text = CARD.format(
    student=settings.student,
    teacher=teacher,
    classes=len(class_names),
    clips=len(credits),
    folds=', '.join(folds),
    held_out=held_out,
    held_out_clips=figures['held_out_clips'],
    seconds=settings.window_seconds,
    rate=settings.sample_rate_hz,
    most=60 / settings.window_seconds,
    categories=', '.join(f'`{name}`' for name in groups),
    accuracy=starter_figures.table(figures['accuracy']),
    missed=100 * figures['missed'],
    unknown=unknown_table(figures),
    others=recordings,
    authors=', '.join(sorted({author for _, author, _ in credits.values()}, key=str.casefold)),
  )
  return wrapped(text)
