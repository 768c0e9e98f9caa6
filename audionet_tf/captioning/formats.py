"""Events as files: WebVTT, SRT and ASS, tables as JSON and CSV, label tracks for Audacity, RTTM, and Raven's tables.

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

import pysubs2
import webvtt
from webvtt.models import Timestamp

from audionet_tf.captioning import event_detection, speech
from audionet_tf.core import files, text
from audionet_tf.core.errors import UserError

# SRT has no escapes: players take these for tags, and for commands of other formats.
SRT_LOOKALIKES = str.maketrans('<>{}', '‹›()')
BRACKETS = str.maketrans('[]', '()')
STYLES = ('plain', 'brackets')
HEARD_HZ = (0, 8000)  # of a selection: events have no band of their own
SEPARATOR = ' · '  # between the names in a cue
HEADER = ('styles', 'regions', 'header_comments', 'footer_comments', 'header_text', 'metadata')  # of webvtt.WebVTT


def styled(cues, style):
  """The cues with names in one of STYLES; 'brackets' is that of subtitles for the hard of hearing, `[dog barking]`."""
  if style == 'plain':
    return cues
  return [dataclasses.replace(cue, names=(' '.join(map(bracketed, cue.names)),)) if cue.names else cue for cue in cues]


def bracketed(name):
  """`[dog barking]` for the names 'dog_barking' and 'Dog barking'; names with more capitals keep them all."""
  words = ' '.join(name.replace('_', ' ').split()) or '?'
  words = words[0].lower() + words[1:] if words[1:].islower() or len(words) == 1 else words
  return f'[{words.translate(BRACKETS)}]'


def plain_text(cue):
  """The names of a cue as plain text."""
  return SEPARATOR.join(cue.names)


def with_speech(sound, spoken):
  """The sound on a line of its own, above the speech. Both are str, '' for none."""
  return '\n'.join(part for part in (sound, spoken) if part)


def vtt_text(cue):
  """A cue as WebVTT text."""
  return with_speech(html.escape(plain_text(cue), quote=False), cue.speech.vtt if cue.speech else '')


def srt_text(cue):
  """A cue as SRT text."""
  return with_speech(plain_text(cue).translate(SRT_LOOKALIKES), cue.speech.srt if cue.speech else '')


def vtt(events, cues, about):
  """WebVTT. Cues of a WebVTT file of speech keep their identifiers, settings and comments, and the file its header."""
  file = io.StringIO()
  document = next((cue.speech.document for cue in cues if cue.speech), webvtt.WebVTT())
  captions = [vtt_caption(cue) for cue in cues]
  header = {name: getattr(document, name) for name in HEADER}
  webvtt.WebVTT(captions=captions, **header).write(file, 'vtt')
  return file.getvalue().rstrip('\n') + '\n'


def vtt_caption(cue):
  """The webvtt.Caption of a cue."""
  kept = cue.speech.caption if cue.speech else webvtt.Caption()
  caption = webvtt.Caption(*stamps(cue), vtt_text(cue), kept.identifier, str(kept.settings))
  caption.comments = kept.comments
  return caption


def stamps(cue):
  """(start, end) of a cue as in WebVTT, hours first."""
  return tuple(str(Timestamp.from_seconds(time)) for time in (cue.start_seconds, cue.end_seconds))


def srt(events, cues, about):
  """SubRip. Not by webvtt-py, which takes '<' in speech for a tag."""
  blocks = []
  for number, cue in enumerate(cues, 1):
    times = ' --> '.join(stamps(cue)).replace('.', ',')
    blocks.append(f'{number}\n{times}\n{srt_text(cue)}\n')
  return '\n'.join(blocks) or '\n'


def ass(events, cues, about):
  """Advanced SubStation Alpha: speech at the bottom, sounds at the top, each in a style that editors change at once."""
  subtitles = pysubs2.SSAFile()
  subtitles.info |= {'PlayResX': '384', 'PlayResY': '288'}
  size = {'fontsize': 16, 'outline': 1, 'shadow': 0, 'marginl': 10, 'marginr': 10, 'marginv': 10}
  subtitles.styles = {
    'Default': pysubs2.SSAStyle(**size, alignment=pysubs2.Alignment.BOTTOM_CENTER),
    'Sound': pysubs2.SSAStyle(**size, alignment=pysubs2.Alignment.TOP_CENTER),
  }
  for cue in cues:
    times = {'start': round(1000 * cue.start_seconds), 'end': round(1000 * cue.end_seconds)}
    if cue.names:
      subtitles.append(pysubs2.SSAEvent(**times, style='Sound', text=plain_text(cue).translate(speech.ASS_LOOKALIKES)))
    if cue.speech:
      subtitles.append(pysubs2.SSAEvent(**times, text=speech.ass(cue.speech)))
  return subtitles.to_string('ass')


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


def raven(events, cues, about):
  """A selection table of Raven: one selection per event, over HEARD_HZ, in the view of the first spectrogram."""
  file = io.StringIO()
  writer = csv.writer(file, dialect='excel-tab', lineterminator='\n')
  writer.writerow(
    ['Selection', 'View', 'Channel', 'Begin Time (s)', 'End Time (s)', 'Low Freq (Hz)', 'High Freq (Hz)']
    + ['Begin File', 'Annotation', 'Score']
  )
  for number, event in enumerate(events, 1):
    times = [f'{seconds:.6f}' for seconds in (event.start_seconds, event.end_seconds)]
    source = ' '.join(about['file'].split())
    row = [number, 'Spectrogram 1', 1, *times, *HEARD_HZ, source, event.name, f'{event.score:.6f}']
    writer.writerow(row)
  return file.getvalue()


# Format to the suffix of its files, after the name of the captioned file, and a function (events, cues, about) -> text.
FORMATS = {
  'vtt': ('.vtt', vtt),
  'srt': ('.srt', srt),
  'ass': ('.ass', ass),
  'json': ('.events.json', json_text),
  'csv': ('.events.csv', csv_text),
  'labels': ('.labels.txt', audacity),
  'rttm': ('.rttm', rttm),
  'raven': ('.selections.txt', raven),
}

WITH_SPEECH = ('vtt', 'srt', 'ass')
USUAL = [key for key in FORMATS if key not in ('ass', 'raven')]


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
