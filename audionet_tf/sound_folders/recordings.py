"""Which sounds are of one recording, as far as their names tell, and which recordings are held out.

Pieces of one recording sound alike: a student that learned from one knows the others, and accuracy on these says
little about new sound. All of a recording are therefore trained on, or all are held out.

| names                                       | recording                                          |
|---------------------------------------------|----------------------------------------------------|
| ESC-50's fold-clip-take-target, 1-17150-A-9 | clip, 17150                                        |
| UrbanSound8K's id-class-occurrence-slice    | id                                                 |
| Freesound's id__user__title                 | id                                                 |
| name_001, name (2), 17150_3                 | what stands before the number                      |
| others                                      | the file                                           |

A number at the end may count pieces of a recording (`yard_01`, `yard_02`, `street_01`) or all sounds of a class
(`dog_001`, `dog_002`). It counts pieces where a class has three such names or more and none has more than half of its
sounds.
"""

import collections
import pathlib
import re

from audionet_tf.core import digests, text
from audionet_tf.sound_folders.labelled import HELD_OUT, TRAIN

HELD_OUT_SHARE = 0.2

# Rule: what a recording is called, in the names without suffix.
PUBLISHED = {
  "ESC-50's names (fold-clip-take)": re.compile(r'\d-(\d+)-[A-Z](?:-\d+)?'),
  "UrbanSound8K's names (id-class-occurrence-slice)": re.compile(r'(\d+)-\d+-\d+-\d+'),
  "Freesound's names (id__user__title)": re.compile(r'(\d+)__.+', re.DOTALL),
}
NUMBERED = re.compile(r'(.*[^ _.(-])[ _.(-]+\d+\)?|(.*[^\W\d_])\d+', re.DOTALL)
NUMBERS, FILES = 'numbers at the end of names', 'files'


def recordings(sounds):
  """Which recording every sound is of.

  Args:
    sounds: list of labelled.Sound.

  Returns:
    (list of str, a name of the recording of each sound; dict of rule to the sorted list of classes that it was used
    for).
  """
  by_label, found, rules = collections.defaultdict(list), {}, collections.defaultdict(set)
  for sound in sounds:
    by_label[sound.label].append(sound)
  for label, own in sorted(by_label.items()):
    named = {sound.name: recording(sound) for sound in own}
    if not is_plausible(named.values()):
      named = {sound.name: (FILES, sound.name) for sound in own}
    for rule, _ in named.values():
      rules[rule].add(label)
    found |= named
  return [' '.join(found[sound.name]) for sound in sounds], {rule: sorted(labels) for rule, labels in rules.items()}


def recording(sound):
  """(rule, name of the recording) of a sound, by its name alone."""
  path = pathlib.PurePosixPath(sound.name)
  stem = path.name.partition('.')[0] if path.suffix == '.gz' else path.stem
  for rule, pattern in PUBLISHED.items():
    if match := pattern.fullmatch(stem):
      return rule, match[1]
  match = NUMBERED.fullmatch(stem)
  return (NUMBERS, match[1] or match[2]) if match else (FILES, sound.name)


def is_plausible(named):
  """Whether the (rule, recording) of the sounds of a class may be its recordings: enough of them to hold some out."""
  counts = collections.Counter(named)
  numbered = {pair: count for pair, count in counts.items() if pair[0] == NUMBERS}
  if numbered and (len(counts) < 3 or 2 * max(numbered.values()) > counts.total()):
    return False
  return len(counts) > 1


def parts(sounds, names, share=HELD_OUT_SHARE):
  """Holds out about a share of the sounds of every class, whole recordings, the same ones every time.

  Recordings are taken in the order of a digest of their names, so that new sounds change little.

  Args:
    sounds: list of labelled.Sound.
    names: list of str, the recording of each.
    share: of the sounds of a class, above 0 and below 1.

  Returns:
    list of TRAIN or HELD_OUT, one per sound. Every class has a sound to train on.
  """
  counts = collections.defaultdict(collections.Counter)  # of a recording, by class
  for sound, name in zip(sounds, names, strict=True):
    counts[name][sound.label] += 1
  order = sorted(counts, key=lambda name: digests.of_text(name))
  totals, left = collections.Counter(sound.label for sound in sounds), collections.Counter()
  for name in counts:
    left.update(counts[name].keys())  # recordings of a class that may still be held out
  wanted = {label: max(1, round(share * total)) for label, total in totals.items()}
  held, taken = collections.Counter(), set()

  def excess(name):
    return sum(max(0, held[label] + count - wanted[label]) for label, count in counts[name].items())

  def hold_out(name):
    taken.add(name)
    held.update(counts[name])
    left.subtract(counts[name].keys())

  for label in sorted(totals, key=lambda label: (totals[label], label)):
    own = [name for name in order if label in counts[name]]
    for name in own:  # in one pass: what does not fit now fits no better later
      if name not in taken and not excess(name) and can_spare(name, counts, left):
        hold_out(name)
    while 2 * held[label] < wanted[label]:
      free = [name for name in own if name not in taken and can_spare(name, counts, left)]
      if not free:
        break
      hold_out(min(free, key=excess))
  return [HELD_OUT if name in taken else TRAIN for name in names]


def can_spare(name, counts, left):
  """Whether every class of a recording has another one to train on."""
  return all(left[label] > 1 for label in counts[name])


def summary(sounds, names, rules):
  """Lines for the screen and the report: what is held out, and by which rule.

  Args:
    sounds: list of labelled.Sound, with their parts.
    names, rules: from `recordings`; no rules where the folder itself says what is held out.
  """
  held = [name for sound, name in zip(sounds, names, strict=True) if sound.part == HELD_OUT]
  classes = len({sound.label for sound in sounds})
  line = f'{len(sounds)} sounds of {classes} classes; held out: {len(held)} sounds'
  if not rules:
    return f'{line}, as the folders say'
  told = []
  for rule, labels in rules.items():
    where = '' if len(rules) == 1 else f' in {text.first_of(labels)}'
    told.append(f'{"each file counts as one" if rule == FILES else f"by {rule}"}{where}')
  return f'{line}, {len(set(held))} of {len(set(names))} recordings ({"; ".join(told)})'
