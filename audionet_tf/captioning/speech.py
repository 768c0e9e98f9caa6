"""Subtitles of speech, SRT or WebVTT, with the sounds between their lines (`caption --merge`).

A speech cue keeps its times and its lines. Where a format lacks the markup of the other, words stay and markup goes.
"""

import dataclasses
import html
import io
import pathlib
import re

import webvtt
from webvtt.errors import MalformedCaptionError, MalformedFileError
from webvtt.models import Timestamp

from audionet_tf.captioning import event_detection
from audionet_tf.core import text
from audionet_tf.core.errors import UserError

SUFFIXES = ('.srt', '.vtt')
SRT_MARKUP = re.compile(r'(</?[biu]>)|</?font\b[^>]*>|\{\\[^}]*\}', re.IGNORECASE)  # group 1: in WebVTT as well
ASS_LOOKALIKES = str.maketrans('{}\\', '()⧵')  # ASS has no escapes
CUE_WITH_TEXT = re.compile(r'\d[ \t]*-->[ \t]*\d.*\n[^\S\n]*\S')


@dataclasses.dataclass(frozen=True)
class Speech:
  """The text of a speech cue.

  Attributes:
    srt, vtt: the lines, in each format.
    caption: webvtt.Caption that it was read from, whose identifier, settings and comments WebVTT keeps.
    document: webvtt.WebVTT, the whole file, whose header and styles WebVTT keeps.
  """

  srt: str
  vtt: str
  caption: webvtt.Caption
  document: webvtt.WebVTT


def read(path):
  """list of event_detection.Cue with `speech` and no names, by start. UserError: cues that cannot be read, or none."""
  path = pathlib.Path(path)
  kind = path.suffix.lower().removeprefix('.')
  if f'.{kind}' not in SUFFIXES:
    raise UserError(f'{path}: speech is read from {" and ".join(SUFFIXES)}; convert it')
  try:
    content = path.read_bytes().decode('utf-8-sig')
    content = content.replace('\r\n', '\n').replace('\r', '\n')
    document = webvtt.WebVTT.from_buffer(io.StringIO(content), kind)
  except FileNotFoundError:
    raise UserError(f'{path}: no such file') from None
  except UnicodeDecodeError:
    raise UserError(f'{path}: not in UTF-8; convert it, such as with iconv -f WINDOWS-1252 -t UTF-8') from None
  except (MalformedFileError, MalformedCaptionError) as error:
    raise UserError(f'{path}: cannot read subtitles ({text.brief(error)})') from None
  readable = sum(bool(caption.raw_text.strip()) for caption in document)
  declared = len(CUE_WITH_TEXT.findall(content))
  if readable < declared:  # the parser leaves malformed cues out
    raise UserError(f'{path}: {declared - readable} of {declared} cues cannot be read; check the times')
  if not readable:
    raise UserError(f'{path}: no cues')
  return sorted((cue_of(caption, document, kind) for caption in document), key=lambda cue: cue.start_seconds)


def cue_of(caption, document, kind):
  """The Cue of a webvtt.Caption from a file of `kind` 'srt' or 'vtt'."""
  start, end = (Timestamp.from_string(stamp).in_milliseconds() / 1000 for stamp in (caption.start, caption.end))
  raw = caption.raw_text
  srt, vtt = (raw, srt_to_vtt(raw)) if kind == 'srt' else (vtt_to_srt(caption, document.styles), raw)
  return event_detection.Cue(start, end, (), Speech(srt, vtt, caption, document))


def srt_to_vtt(lines):
  """SRT text as WebVTT text: bold, italic and underlined; colours and positions go."""
  pieces, position = [], 0
  for found in SRT_MARKUP.finditer(lines):
    pieces += [html.escape(lines[position : found.start()], quote=False), (found[1] or '').lower()]
    position = found.end()
  return ''.join(pieces) + html.escape(lines[position:], quote=False)


def vtt_to_srt(caption, styles):
  """The text of a WebVTT caption as SRT text: bold, italic, underlined and coloured; voices and positions go."""
  file = io.StringIO()
  webvtt.WebVTT(captions=[caption], styles=styles).write(file, 'srt', keep_formatting=True)
  lines = file.getvalue().split('\n')[2:]
  return html.unescape('\n'.join(lines).replace('&lt;', '‹').replace('&gt;', '›'))  # SRT would take < for a tag


def ass(speech):
  """A Speech in ASS, which has tags for bold, italic and underlined, and SRT's positions as they are."""
  pieces, position = [], 0
  for found in SRT_MARKUP.finditer(speech.srt):
    markup, tag = found[0], found[1]
    own = f'{{\\{tag[-2].lower()}{int(tag[1] != "/")}}}' if tag else markup if markup[0] == '{' else ''
    pieces += [speech.srt[position : found.start()].translate(ASS_LOOKALIKES), own]
    position = found.end()
  return ''.join([*pieces, speech.srt[position:].translate(ASS_LOOKALIKES)]).replace('\n', r'\N')


def merge(sounds, lines, shortest_seconds, sound_seconds):
  """Puts the cues of sounds between the lines of speech, without overlap.

  A sound keeps the parts outside speech that last `shortest_seconds`, or all of it where no speech touches it.
  Without such a part it moves into a gap, by at most `shortest_seconds`. Without a gap its label becomes a line of the
  speech cue that it overlaps most.

  Args:
    sounds: list of event_detection.Cue that do not overlap.
    lines: list of Cue, from `read`.
    shortest_seconds: shortest time that a sound's own cue is shown.
    sound_seconds: end of the sound, and of the last moved cue.

  Returns:
    list of Cue, by start: as many with `speech` as `lines`, with the same times and `speech`.
  """
  spans = [milliseconds(line) for line in lines]
  busy = [(start, end) for start, end in spans if start < end]
  shortest, placed, crowded = round(1000 * shortest_seconds), [], []
  for sound in sounds:
    span = milliseconds(sound)
    parts = free(span, busy)
    kept = parts if parts == [span] else long_enough(parts, shortest)
    placed += [(*part, sound.names) for part in kept]
    crowded += [] if kept else [sound]
  names = [()] * len(lines)
  for sound in crowded:
    start, end = milliseconds(sound)
    reach = max(0, start - shortest), min(end + shortest, round(1000 * sound_seconds))
    gaps = long_enough(free(reach, [*busy, *(part[:2] for part in placed)]), shortest)
    if gaps:
      placed.append((*slot(start, end, gaps, shortest), sound.names))
    else:
      best = max(range(len(spans)), key=lambda i: min(end, spans[i][1]) - max(start, spans[i][0]))
      names[best] = tuple(dict.fromkeys(names[best] + sound.names))
  spoken = [dataclasses.replace(line, names=label) for line, label in zip(lines, names, strict=True)]
  sound_cues = [event_detection.Cue(start / 1000, end / 1000, label) for start, end, label in placed]
  return sorted([*spoken, *sound_cues], key=lambda cue: cue.start_seconds)


def milliseconds(cue):
  """(start, end) of a Cue, int: seconds as floats would overlap by rounding."""
  return round(1000 * cue.start_seconds), round(1000 * cue.end_seconds)


def free(span, busy):
  """The parts of a span (start, end) outside the spans `busy`, in order."""
  (start, end), parts = span, []
  for low, high in sorted(busy):
    parts.append((start, min(low, end)))
    start = max(start, high)
  return [(low, high) for low, high in [*parts, (start, end)] if low < high]


def long_enough(spans, shortest):
  return [(start, end) for start, end in spans if end - start >= shortest]


def slot(start, end, gaps, shortest):
  """(start, end) in one of the gaps, each `shortest` or longer, as close to `start` as possible."""
  begins = [(min(max(start, low), high - shortest), high) for low, high in gaps]
  begin, high = min(begins, key=lambda pair: abs(pair[0] - start))
  return begin, min(high, max(begin + shortest, end))
