"""Captions for what a video sounds like: who sounds when, as subtitles, tables and labels.

  python -m audionet_tf.caption --model=runs/sounds --output=captions clip.mp4 song.flac

writes captions/clip.mp4.vtt and, the same for song.flac,

  vtt, srt  subtitles: WebVTT for browsers, SRT for players; cues never overlap and last a second or longer
  json      clip.mp4.events.json: every event with its mean and highest score; audionet_tf.plot timeline draws it
  csv       clip.mp4.events.csv: the same as a table
  labels    clip.mp4.labels.txt: a label track for Audacity
  rttm      for tools that compare events

of which --format=vtt,json chooses, and settings.json, a copy of the settings. --burn=soft adds
captions/clip.mp4.captioned.mp4, the video as it is with the captions as a stream that players can switch on;
--burn=hard draws them into the pictures, which are encoded anew.

A class that reaches --threshold is told from where its score rises above --release of that until it falls below it
again. The scores of most students sum to one over all classes: above 0.5 only one class at a time can be told, two that
sound together have about half each, and a thousand classes rarely leave 0.3 for one; 0.2 suits most. YAMNet, and what
was trained with --loss=cross_entropy or focal on several labels a clip, give every class a score of its own, for which
0.5 is a good begin. Where too little is told, look at the scores that audionet_tf.infer writes. --names=CSV with
class_name and display_name renames classes, and joins those of one name (--join); --thresholds=CSV has thresholds of
their own; --stop=speech,music says what is not to be told.

A row of scores is a window of the student, or a step of a SoundNet, or a patch of a network of log-mel patches (yamnet,
vggish, Hershey's), the last of which is filled up with silence, so that the end of the sound is heard; cues end with
the sound. --window_ms and --hop_ms choose other windows. Overlap tells when a sound begins more finely where the
student knows it from a part of a window, and later where it must fill one: try both on a clip that you know.
--blocks=5,2,10 takes blocks of five patches of 0.96 s, one every two, heard twice over as ten (Caption4Sound). Of a
student with several heads the first is told; audionet_tf.infer writes any.
"""

import json
import pathlib
import sys

from absl import flags

from audionet_tf.core import cli, durations, system, text
from audionet_tf.core.errors import UserError

flags.DEFINE_string('model', None, 'a run, or a SavedModel of audionet_tf.export: a version or the folder of versions')
flags.DEFINE_string('output', None, 'folder for the captions; made when missing')
flags.DEFINE_list('format', 'vtt,srt,json,csv,labels,rttm', 'what to write, one or more of these')
flags.DEFINE_enum('burn', None, ['soft', 'hard'], 'a copy of the video with captions: as a stream, or drawn in')
flags.DEFINE_string('font', None, 'burn=hard: a font file (TrueType, OpenType); default DejaVu Sans, or what there is')
flags.DEFINE_float('threshold', 0.2, 'score that a class must reach to be told')
flags.DEFINE_string('thresholds', None, 'CSV with class_name and threshold: classes with one of their own')
flags.DEFINE_float('release', 0.7, 'a class is told as long as its score is at least this share of its threshold')
flags.DEFINE_float('smooth_ms', 400, 'length of the running median over the scores; 0 for none')
flags.DEFINE_float('merge_ms', 500, 'events of one class with no longer gap than this are one')
flags.DEFINE_float('shortest_ms', 200, 'shorter events are dropped')
flags.DEFINE_integer('top', 3, 'classes at a time; 0 for all')
flags.DEFINE_list('stop', [], 'classes not to be told, or a file of them, one a line')
flags.DEFINE_string('names', None, 'CSV with class_name (or mid, or index) and display_name')
flags.DEFINE_enum(
  'join',
  None,
  ['sum', 'max'],
  'score of several classes with one display name; default: sum where classes exclude each other (softmax), else max',
)
flags.DEFINE_float('window_ms', None, 'length of a window, or of a patch of --blocks; default: see above')
flags.DEFINE_float('hop_ms', None, 'from the start of a window to the next; default: the window')
flags.DEFINE_list('blocks', None, 'PATCHES,HOP,TOTAL: sliding blocks of patches, such as 5,2,10')
flags.DEFINE_integer('batch_size', None, 'windows in a call; default: as many as are fast')

SETTINGS_NAME = 'settings.json'
SHOWN = '{desc}: {percentage:3.0f}% {n:.0f} of {total:.0f} s [{elapsed}<{remaining}{postfix}]'
SHOWN_WITHOUT_END = '{desc}: {n:.0f} s [{elapsed}{postfix}]'


def check_arguments(values, paths):
  """Raises UserError for what can be known to be wrong before anything is loaded."""
  from audionet_tf.captioning import formats
  from audionet_tf.data import clip_tables

  for name in ('model', 'output'):
    cli.require(values[name], f'caption needs --{name}')
  cli.require(paths, 'caption needs the files to listen to, after the flags')
  for key in values['format'] or ['']:
    known = ', '.join(formats.FORMATS)
    cli.require(key in formats.FORMATS, f'format is {key!r}, allowed is one or more of {known}')
  for name in ('window_ms', 'hop_ms', 'batch_size'):
    value = values[name]
    cli.require(value is None or value > 0, f'{name} is {value}, allowed is more than 0')
  blocks = values['blocks']
  if blocks is not None:
    numbers = len(blocks) == 3 and all(word.isdecimal() for word in blocks)
    cli.require(numbers, f'blocks is {",".join(blocks)!r}, allowed is PATCHES,HOP,TOTAL such as 5,2,10')
  clip_tables.check_names([pathlib.Path(path).name for path in paths])


def rules_of(values, served):
  """event_detection.DetectionConfig of the flags, checked."""
  from audionet_tf.captioning import event_detection
  from audionet_tf.captioning import rules as captioning_rules

  class_names = served.class_names
  exclusive = served.settings.activation(next(iter(served.settings.classes))) == 'softmax'
  rules = event_detection.DetectionConfig(
    **{name: values[name] for name in ('threshold', 'release', 'top')},
    join=values['join'] or ('sum' if exclusive else 'max'),
    **{f'{name}_seconds': durations.seconds(values[f'{name}_ms']) for name in ('smooth', 'merge', 'shortest')},
    stop=captioning_rules.read_stop(values['stop']),
    names=captioning_rules.read_names(values['names'], class_names) if values['names'] else {},
    thresholds=captioning_rules.read_thresholds(values['thresholds']) if values['thresholds'] else {},
  )
  event_detection.check(rules, class_names)
  return rules


def bar(name):
  """(progress bar, function (seconds done, seconds in all or None)) for something that goes on in seconds of a file."""
  import tqdm

  shown = tqdm.tqdm(desc=text.printable(name), bar_format=SHOWN_WITHOUT_END, delay=1)

  def progress(seconds, total):
    if total:
      shown.total, shown.bar_format = max(total, seconds), SHOWN
    shown.set_postfix_str(f'{seconds / max(1e-3, shown.format_dict["elapsed"]):.0f} x real time', refresh=False)
    shown.update(seconds - shown.n)

  return shown, progress


def caption_file(listener, rules, path, folder, values):
  """Writes everything for one file; returns its Captions."""
  from audionet_tf.captioning import captioner, formats

  name = pathlib.Path(path).name
  shown, progress = bar(name)
  with shown:
    heard = captioner.captions(listener, path, rules, progress)
  about = {'file': name, 'seconds': round(heard.seconds, 6), 'model': values['model']}
  formats.write(folder, name, values['format'], heard.events, heard.cues, about)
  if values['burn']:
    from audionet_tf.captioning import burn_in

    shown, progress = bar(f'{name}: burning')
    with shown:
      burn_in.burn(path, folder, heard.cues, values['burn'], values['font'], progress)
  return heard


def write_settings(folder, values, paths, settings):
  """A copy of what this was called with, and of the student's rate, window and teachers."""
  from audionet_tf.core import files

  student = {name: getattr(settings, name) for name in ('student', 'sample_rate_hz', 'mono', 'window_seconds')}
  with files.atomic_write(folder / SETTINGS_NAME) as file:
    json.dump({'flags': values, 'files': paths, 'student': student}, file, indent=1)


def main(argv):
  values, paths = cli.flag_values(__name__), argv[1:]
  check_arguments(values, paths)
  system.keep_freed_memory()
  with cli.pretend_missing('sklearn', 'matplotlib'):  # as in audionet_tf.infer
    from audionet_tf.captioning import captioner
    from audionet_tf.saved_model import loader

  served = loader.load(values['model'])
  rules = rules_of(values, served)
  seconds = (durations.seconds(values[name]) for name in ('window_ms', 'hop_ms'))
  blocks = values['blocks'] and tuple(map(int, values['blocks']))
  listener = captioner.listener(served, *seconds, blocks, values['batch_size'])
  folder = pathlib.Path(values['output'])
  folder.mkdir(parents=True, exist_ok=True)
  write_settings(folder, values, paths, served.settings)
  failed = 0
  for path in paths:
    try:
      heard = caption_file(listener, rules, path, folder, values)
      short = f', too short: heard {heard.repeats} times over' if heard.repeats > 1 else ''
      name = text.printable(pathlib.Path(path).name)
      print(f'{name}: {len(heard.events)} events in {heard.seconds:.1f} s{short}')
    except (UserError, OSError) as error:
      failed += 1
      told = str(error) if str(path) in str(error) else f'{path}: {error}'
      print(f'error: {text.printable(" ".join(told.split()))}', file=sys.stderr)
  return 1 if failed else 0


def run():
  cli.run(main)


if __name__ == '__main__':
  run()
