"""Events as files: WebVTT and SRT for players, JSON and CSV for programs, labels for Audacity, RTTM for other tools.

Names are untrusted. `event_detection.group_classes` has made them single lines; characters that have a meaning in a
format are escaped here, or replaced by similar ones where the format has no escape.
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
from audionet_tf.core import files, text
from audionet_tf.core.errors import UserError

# SRT has no escapes: players take these for tags, and for commands of other formats.
SRT_LOOKALIKES = str.maketrans('<>{}', '‹›()')
SEPARATOR = ' · '  # between the names in a cue


def vtt_text(cue):
  """The names of a cue as WebVTT text."""
  return html.escape(SEPARATOR.join(cue.names), quote=False)


def srt_text(cue):
  """The names of a cue as SRT text."""
  return SEPARATOR.join(cue.names).translate(SRT_LOOKALIKES)


def plain_text(cue):
  """The names of a cue as plain text."""
  return SEPARATOR.join(cue.names)


def cue_file(cues, text, format):
  """A subtitle file: `text` is one of the functions above, `format` 'vtt' or 'srt'."""
  file = io.StringIO()
  times = [(str(Timestamp.from_seconds(time)) for time in (cue.start_seconds, cue.end_seconds)) for cue in cues]
  captions = [webvtt.Caption(*pair, text(cue)) for pair, cue in zip(times, cues, strict=True)]
  webvtt.WebVTT(captions=captions).write(file, format)
  return file.getvalue().rstrip('\n') + '\n'


def vtt(events, cues, about):
  return cue_file(cues, vtt_text, 'vtt')


def srt(events, cues, about):
  return cue_file(cues, srt_text, 'srt')


def json_text(events, cues, about):
  """`about`, and `events`: list of objects with the attributes of events.Event."""
  return json.dumps(about | {'events': [rounded(event) for event in events]}, indent=1) + '\n'


def rounded(event):
  """An Event as a dict, its numbers rounded to six decimals."""
  return {key: value if key == 'name' else round(value, 6) for key, value in dataclasses.asdict(event).items()}


def csv_text(events, cues, about):
  """RFC 4180, one row per event: start_seconds, end_seconds, name, score, peak."""
  file = io.StringIO()
  writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(event_detection.Event)])
  writer.writeheader()
  writer.writerows(rounded(event) for event in events)
  return file.getvalue()


def audacity(events, cues, about):
  """A label track: start, end and name, separated by tabs."""
  return ''.join(f'{event.start_seconds:.6f}\t{event.end_seconds:.6f}\t{event.name}\n' for event in events)


def rttm(events, cues, about):
  """NIST's Rich Transcription Time Marked: one row per event, of type SPEAKER, which other tools expect."""
  source = '_'.join(about['file'].split())
  return ''.join(
    f'SPEAKER {source} 1 {event.start_seconds:.3f} {event.end_seconds - event.start_seconds:.3f} <NA> <NA> '
    f'{event.name.replace(" ", "_")} <NA> <NA>\n'
    for event in events
  )


# Format to the suffix of its files, after the name of the captioned file, and a function (events, cues, about) -> text.
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
    name: of the captioned file.
    formats: keys of FORMATS.
    events: list of Event. cues: list of Cue.
    about: JSON-able dict, with `file`.
  """
  texts = {suffix: text(events, cues, about) for suffix, text in (FORMATS[key] for key in formats)}
  for suffix, content in texts.items():
    with files.atomic_write(folder / (name + suffix)) as file:
      file.write(content)


def read_events(path):
  """list of Event from a JSON file of this module or of the service. UserError: it has none."""
  path = pathlib.Path(path)
  try:
    rows = json.loads(path.read_text(encoding='utf-8'))['events']
    events = [event_detection.Event(**row) for row in rows]
    numbers = [value for event in events for value in dataclasses.astuple(event) if value is not event.name]
    if not all(isinstance(event.name, str) for event in events) or not all(map(math.isfinite, numbers)):
      raise ValueError('a name that is not text, or a time or score that is not a number')
    if not all(0 <= event.start_seconds < event.end_seconds for event in events):
      raise ValueError('an event that ends before it starts')
  except FileNotFoundError:
    raise UserError(f'{path}: no such file; audionet_tf.caption writes one') from None
  except (ValueError, TypeError, KeyError, RecursionError) as error:
    raise UserError(f'{path}: cannot read events ({text.brief(error)})') from None
  return events
