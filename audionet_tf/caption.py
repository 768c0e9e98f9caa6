r"""Captions the sounds of a video: which sound occurs when, as subtitles, tables and labels.

  python -m audionet_tf.caption clip.mp4 song.flac

prints the events that the starter hears, a student in the package that knows ten kinds of sound; --model=runs/clips
takes your own. With --output=captions it writes captions/clip.mp4.vtt and, the same for song.flac,

  vtt, srt  subtitles: WebVTT for browsers, SRT for players; cues never overlap and last a second or longer
  ass       the same at the top of the picture, for editors and players; only if --format names it
  json      clip.mp4.events.json: every event with its mean and highest score; audionet_tf.plot timeline draws it
  csv       clip.mp4.events.csv: the same as a table
  labels    clip.mp4.labels.txt: a label track for Audacity
  rttm      for tools that compare events
  raven     clip.mp4.selections.txt: a selection table for Raven; only if --format names it

of which --format=vtt,json chooses, and settings.json, a copy of the settings. --burn=soft adds
captions/clip.mp4.captioned.mp4, the unchanged video with the captions as a stream that players can switch on;
--burn=hard draws them into the pictures, which are encoded again.

--style=brackets writes subtitles for the hard of hearing, [dog barking]. --merge=speech.srt, or .vtt, puts the sounds
between the lines of speech, which stay as they are: a sound keeps the times outside speech that last a second, or moves
by at most a second into a gap; where there is none, it becomes a line of its own, above the speech of the same cue.

An event of a class needs a score of at least --threshold; it starts where the score rises above --release times that,
and ends where it falls below again. The scores of most students sum to one over all classes: above 0.5 there is only
one class at a time, two that sound together have about half each, and a thousand classes rarely leave 0.3 for one; 0.2
suits most. YAMNet, and students that were trained with --loss=cross_entropy or focal on several labels per clip, score
each class independently; there 0.5 is a good start. If too few events are found, inspect the scores that
audionet_tf.infer writes. --names=CSV with class_name and display_name renames classes, and joins those with the same
name (--join); --thresholds=CSV has thresholds for single classes; --stop=speech,music leaves classes out.

A row of scores is a window of the student, or a step of a SoundNet, or a patch of a network of log-mel patches (yamnet,
vggish, Hershey's), the last of which is padded with silence, so that the end of the sound is covered; cues end with
the sound. --window_ms and --hop_ms choose other windows. With overlap, the start of a sound is located more precisely
if the student recognizes it from a part of a window, and later if it must fill one: try both on a clip that you know.
--blocks=5,2,10 takes blocks of five patches of 0.96 s, one every two, repeated twice to ten (Caption4Sound). Of a
student with several heads the first is used, or --head=NAME.

A student that learned embeddings of pictures (docs/words.md) captions the classes of --classes=words.txt, in your own
words, without training again.

Students with a class `unknown`, such as the starter, get no caption where that is as probable as all others together,
and none of `unknown` itself, but for --unknown; how many seconds it lasts is printed.
"""

import pathlib

from absl import flags

from audionet_tf import event_flags
from audionet_tf.captioning import formats, speech
from audionet_tf.core import cli, durations, files, system, text
from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import clip_tables
from audionet_tf.models import student_paths
from audionet_tf.teachers import student_words

MODEL = flags.DEFINE_string(
  'model', None, 'A run, an export (a version or the folder of versions), or a student.keras; default: the starter.'
)
HEAD = flags.DEFINE_string('head', None, "Of several heads, the teacher's name of the one to use; default: the first.")
CLASSES = flags.DEFINE_string(
  'classes',
  None,
  'For a student of embeddings: classes in your own words, one per line, or a .npz table of their vectors.',
)
WINDOW_MS = flags.DEFINE_float(
  'window_ms', None, 'Length of a window, or of a patch of --blocks, milliseconds; default: see above.', lower_bound=1
)
HOP_MS = flags.DEFINE_float('hop_ms', None, 'From window to window; default: the length of a window.', lower_bound=1)
BLOCKS = flags.DEFINE_list('blocks', None, 'PATCHES,HOP,TOTAL: sliding blocks of patches, such as 5,2,10.')
BATCH_SIZE = flags.DEFINE_integer('batch_size', None, 'Windows per call; default: as many as are fast.', lower_bound=1)
OUTPUT = flags.DEFINE_string('output', None, 'Folder for the captions, made if missing; default: only print events.')
FORMAT = cli.restricted(
  flags.DEFINE_list('format', formats.USUAL, 'What to write, one or more of these.'),
  formats.FORMATS,
)
STYLE = flags.DEFINE_enum(
  'style', None, formats.STYLES, 'How sounds are written in subtitles; default: plain, with --merge brackets.'
)
MERGE = flags.DEFINE_string('merge', None, 'With --output and one FILE: its speech as SRT or WebVTT, to add sounds to.')
BURN = flags.DEFINE_enum(
  'burn', None, ['soft', 'hard'], 'With --output: a copy of the video with captions, as a stream or drawn in.'
)
FONT = flags.DEFINE_string(
  'font',
  None,
  'With --burn=hard: a font file (TrueType, OpenType); default: DejaVu Sans, or another that is installed.',
)

flags.adopt_module_key_flags(event_flags)

TOPICS = {'model': 'Student', 'window_ms': 'Windows', 'output': 'Results', **event_flags.TOPICS}
NEEDS = (('FILE after the flags',),)
SETTINGS_NAME = 'settings.json'
SHOWN = '{desc}: {percentage:3.0f}% {n:.0f} of {total:.0f} s [{elapsed}<{remaining}{postfix}]'
SHOWN_WITHOUT_END = '{desc}: {n:.0f} s [{elapsed}{postfix}]'
MOST_EVENTS = 50  # on the screen


def check_arguments(paths):
  """Path of the student. Raises UserError for mistakes that show before anything is loaded."""
  cli.require(OUTPUT.value or not BURN.value, '--burn needs --output, a folder for the video with captions')
  if BLOCKS.value is not None:
    numbers = len(BLOCKS.value) == 3 and all(word.isdecimal() for word in BLOCKS.value)
    cli.require(numbers, f'blocks is {",".join(BLOCKS.value)!r}, allowed is PATCHES,HOP,TOTAL such as 5,2,10')
  check_merge(paths)
  clip_tables.check_names([pathlib.Path(path).name for path in paths])
  event_flags.require_files()
  cli.require_files([FONT.value] if FONT.value else [])
  cli.require_any_file(paths)
  return student_words.find(MODEL.value, CLASSES.value)


def check_merge(paths):
  """Raises UserError where --merge does not fit the other flags, or its file cannot be read."""
  if not MERGE.value:
    return
  cli.require(OUTPUT.value and len(paths) == 1, '--merge needs --output, and one FILE: the one whose speech it is')
  cli.require(not BURN.value, '--burn shows sounds only: use it without --merge')
  cli.require(
    {*FORMAT.value} & {*formats.WITH_SPEECH},
    f'--merge goes with --format of {", ".join(formats.WITH_SPEECH)}; the others hold no speech',
  )
  for key in formats.WITH_SPEECH:
    written = pathlib.Path(OUTPUT.value) / (pathlib.Path(paths[0]).name + formats.FORMATS[key][0])
    cli.require(
      not (written.exists() and pathlib.Path(MERGE.value).exists() and written.samefile(MERGE.value)),
      f'{written}: the captions would overwrite the speech; choose another --output',
    )
  speech.read(MERGE.value)


def bar(name):
  """(progress bar, function (seconds done, seconds in all or None) that updates it), for work on a file."""
  import tqdm

  shown = tqdm.tqdm(desc=text.printable(name), bar_format=SHOWN_WITHOUT_END, delay=1)

  def progress(seconds, total):
    if total:
      shown.total, shown.bar_format = max(total, seconds), SHOWN
    shown.set_postfix_str(f'{seconds / max(1e-3, shown.format_dict["elapsed"]):.0f} x real time', refresh=False)
    shown.update(seconds - shown.n)

  return shown, progress


def caption_file(predictor, config, path, folder):
  """The captioner.Captions of one file, written to the folder unless that is None."""
  from audionet_tf.captioning import captioner

  name = pathlib.Path(path).name
  shown, progress = bar(name)
  with shown:
    captions = captioner.captions(predictor, path, config, progress)
  if folder is None:
    return captions
  about = {'file': name, 'seconds': round(captions.seconds, 6), 'model': MODEL.value or student_paths.STARTER}
  about |= {} if captions.unknown_seconds is None else {'unknown_seconds': captions.unknown_seconds}
  cues = captions.cues
  if MERGE.value:
    cues = speech.merge(cues, speech.read(MERGE.value), config.cue_seconds, captions.seconds)
  cues = formats.styled(cues, STYLE.value or ('brackets' if MERGE.value else 'plain'))
  formats.write(folder, name, FORMAT.value, captions.events, cues, about)
  if BURN.value:
    from audionet_tf.captioning import burn_in

    shown, progress = bar(f'{name}: burning')
    with shown:
      burn_in.burn(path, folder, cues, BURN.value, FONT.value, progress)
  return captions


def report(path, captions, folder):
  """Lines for the screen: how many events, which, and where the files are."""
  name = pathlib.Path(path).name
  short = f', too short: repeated {captions.repeats} times' if captions.repeats > 1 else ''
  unknown = f', {captions.unknown_seconds:.1f} s unknown' if captions.unknown_seconds else ''
  lines = [f'{text.printable(name)}: {len(captions.events)} events in {captions.seconds:.1f} s{unknown}{short}']
  rows = [
    [f'  {event.start_seconds:.2f}', f'{event.end_seconds:.2f}', event.name, f'{event.score:.2f}']
    for event in captions.events[:MOST_EVENTS]
  ]
  lines += [text.aligned(rows, [2])] if rows else []
  more = len(captions.events) - MOST_EVENTS
  lines += [f'  and {more} more'] if more > 0 else []
  if folder:
    suffixes = [formats.FORMATS[key][0] for key in FORMAT.value]
    lines.append(text.printable(f'  {folder / name}{", ".join(suffixes)}'))
  return '\n'.join(lines)


def write_settings(folder, paths, settings):
  """Writes settings.json: the flags, the files, and the student's sample rate, mixdown and window."""
  holders = [*(value for value in globals().values() if isinstance(value, flags.FlagHolder)), *event_flags.HOLDERS]
  student = {name: getattr(settings, name) for name in ('student', 'sample_rate_hz', 'mono', 'window_seconds')}
  content = {'flags': {holder.name: holder.value for holder in holders}, 'files': paths, 'student': student}
  files.write_json(folder / SETTINGS_NAME, content)


def main(argv):
  paths = argv[1:]
  model = check_arguments(paths)
  system.keep_freed_memory()
  from audionet_tf.captioning import captioner
  from audionet_tf.inference import lite_student

  served = lite_student.load(model, CLASSES.value)
  blocks = BLOCKS.value and tuple(map(int, BLOCKS.value))
  window_seconds, hop_seconds = durations.seconds(WINDOW_MS.value), durations.seconds(HOP_MS.value)
  predictor = captioner.predictor(served, window_seconds, hop_seconds, blocks, BATCH_SIZE.value, HEAD.value)
  config = event_flags.detection_config(served.settings, predictor.class_names, HEAD.value)
  folder = pathlib.Path(OUTPUT.value) if OUTPUT.value else None
  if folder:
    folder.mkdir(parents=True, exist_ok=True)
    write_settings(folder, paths, served.settings)
  failed = 0
  for path in paths:
    try:
      cli.tell(report(path, caption_file(predictor, config, path, folder), folder))
    except (UserError, OSError) as error:
      failed += 1
      cli.fail_file(path, error)
  return 1 if failed else 0


def run():
  cli.run(main, TOPICS, NEEDS)


if __name__ == '__main__':
  run()
