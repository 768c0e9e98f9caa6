"""Events as files: WebVTT and SRT for players, JSON and CSV for programs, labels for Audacity, RTTM for other tools.

Names are untrusted. `event_detection.group_classes` has made them single lines; what a format would take for its own
marks is escaped here, or, where the format has no escape, replaced by a look-alike.
"""

import csv
import dataclasses
import html
import io
import json
import math
import pathlib

import webvtt
from webvtt.models import Timestamp

from audionet_tf.captioning import event_detection
from audionet_tf.core import files
from audionet_tf.core.errors import UserError

# SRT has no escapes: players take these for tags and for commands of other formats.
SRT_LOOKALIKES = str.maketrans('<>{}', '‹›()')
SEPARATOR = ' · '  # between the names in a cue


def vtt_text(cue):
  """The cue's names as text of WebVTT."""
  return html.escape(SEPARATOR.join(cue.names), quote=False)


def srt_text(cue):
  """The cue's names as text of SRT."""
  return SEPARATOR.join(cue.names).translate(SRT_LOOKALIKES)


def plain_text(cue):
  """The cue's names as they are."""
  return SEPARATOR.join(cue.names)


def cue_file(cues, text, format):
  """The file of a player: `text` is one of the functions above, `format` 'vtt' or 'srt'."""
  written = io.StringIO()
  times = [(str(Timestamp.from_seconds(time)) for time in (cue.start_seconds, cue.end_seconds)) for cue in cues]
  captions = [webvtt.Caption(*pair, text(cue)) for pair, cue in zip(times, cues, strict=True)]
  webvtt.WebVTT(captions=captions).write(written, format)
  return written.getvalue().rstrip('\n') + '\n'


def vtt(events, cues, about):
  return cue_file(cues, vtt_text, 'vtt')


def srt(events, cues, about):
  return cue_file(cues, srt_text, 'srt')


def json_text(events, cues, about):
  """`about`, and `events`: list of objects with the attributes of events.Event."""
  return json.dumps(about | {'events': [rounded(event) for event in events]}, indent=1) + '\n'


def rounded(event):
  """The Event as a dict, to microseconds and a millionth."""
  return {key: value if key == 'name' else round(value, 6) for key, value in dataclasses.asdict(event).items()}


def csv_text(events, cues, about):
  """RFC 4180, a row an event: start_seconds, end_seconds, name, score, peak."""
  written = io.StringIO()
  writer = csv.DictWriter(written, [field.name for field in dataclasses.fields(event_detection.Event)])
  writer.writeheader()
  writer.writerows(rounded(event) for event in events)
  return written.getvalue()


def audacity(events, cues, about):
  """A label track: start, end, name, with tabs between them."""
  return ''.join(f'{event.start_seconds:.6f}\t{event.end_seconds:.6f}\t{event.name}\n' for event in events)


def rttm(events, cues, about):
  """NIST's Rich Transcription Time Marked: a row of type SPEAKER, as other tools expect, for every event."""
  file = '_'.join(about['file'].split())
  return ''.join(
    f'SPEAKER {file} 1 {event.start_seconds:.3f} {event.end_seconds - event.start_seconds:.3f} <NA> <NA> '
    f'{event.name.replace(" ", "_")} <NA> <NA>\n'
    for event in events
  )


# Format to what stands behind the name of the file that was heard, and to the text: (events, cues, about) -> str.
FORMATS = {
  'vtt': ('.vtt', vtt),
  'srt': ('.srt', srt),
  'json': ('.events.json', json_text),
  'csv': ('.events.csv', csv_text),
  'labels': ('.labels.txt', audacity),
  'rttm': ('.rttm', rttm),
}


def write(folder, name, formats, events, cues, about):
  """Writes `folder/<name><suffix>` for every format.

  Args:
    folder: pathlib.Path, exists.
    name: of the file that was heard.
    formats: keys of FORMATS.
    events: list of Event. cues: list of Cue.
    about: JSON-able dict, with `file`.
  """
  texts = {suffix: text(events, cues, about) for suffix, text in (FORMATS[key] for key in formats)}
  for suffix, text in texts.items():
    with files.atomic_write(folder / (name + suffix)) as file:
      file.write(text)


def read_events(path):
  """list of Event from a JSON file of this module, or of the service. UserError: it is none."""
  path = pathlib.Path(path)
  try:
    listed = json.loads(path.read_text(encoding='utf-8'))['events']
    found = [event_detection.Event(**event) for event in listed]
    numbers = [value for event in found for value in dataclasses.astuple(event) if value is not event.name]
    if not all(isinstance(event.name, str) for event in found) or not all(map(math.isfinite, numbers)):
      raise ValueError('a name that is no text, or a time or score that is no number')
    if not all(0 <= event.start_seconds < event.end_seconds for event in found):
      raise ValueError('an event that ends before it begins')
  except FileNotFoundError:
    raise UserError(f'{path}: no such file; audionet_tf.caption writes one') from None
  except (ValueError, TypeError, KeyError, RecursionError) as error:
    raise UserError(f'{path}: no events can be read ({type(error).__name__}: {error})') from None
  return found
