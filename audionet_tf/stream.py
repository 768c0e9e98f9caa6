r"""Listens to a pipe or a microphone: what a sound is like, a line per window, and each event when it is over.

  ffmpeg -loglevel error -i clip.mp4 -f wav - | python -m audionet_tf.stream
  arecord -f S16_LE -r 16000 -t raw | python -m audionet_tf.stream --sample_rate=16000
  python -m audionet_tf.stream --microphone --hop_ms=500

names the sounds that the starter hears, or --model's student. Sound comes as WAV, whose header may leave its length
open, or with --sample_rate as raw 16-bit samples (s16le). Each window of the student gives a line as soon as its last
sample is there, and the next one follows --hop_ms later: a network that hears five seconds answers after five, then
once per hop. Scores are those of audionet_tf.infer on the same sound; of networks with steps or patches, those of
infer --window_ms.

Events are those of audionet_tf.caption: the same thresholds, the same class `unknown`, the same files of names. An
event is printed when nothing can be merged with it any more, `--merge_ms` after its end. --format=json prints a JSON
object per line: of a window start_seconds, end_seconds, classes, and sounding, the events that are going on; of an
event its name as event, start_seconds, end_seconds, score and peak. The end of the pipe, or Ctrl-C, ends what is going
on. Memory does not grow.
"""

import functools
import json
import os
import sys

from absl import flags

from audionet_tf import event_flags
from audionet_tf.core import cli, durations, system, text
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
SAMPLE_RATE = flags.DEFINE_integer(
  'sample_rate', None, 'Rate in hertz of raw 16-bit samples; default: WAV.', lower_bound=1
)
CHANNELS = flags.DEFINE_integer('channels', 1, 'Of raw samples, interleaved.', lower_bound=1)
MICROPHONE = flags.DEFINE_bool('microphone', False, 'Listen to the microphone (extra microphone) in place of a pipe.')
DEVICE = flags.DEFINE_string('device', None, 'Name, a part of it, or number of the microphone; default: the usual one.')
WINDOW_MS = flags.DEFINE_float(
  'window_ms', None, 'Length of a window, milliseconds; default: as in training.', lower_bound=1
)
HOP_MS = flags.DEFINE_float('hop_ms', None, 'From window to window; default: the length of a window.', lower_bound=1)
FORMAT = flags.DEFINE_enum('format', 'text', ['text', 'json'], 'Of the lines.')
flags.adopt_module_key_flags(event_flags)

TOPICS = {'model': 'Student', 'sample_rate': 'Sound', 'window_ms': 'Windows', 'format': 'Results', **event_flags.TOPICS}


def check_arguments():
  """Path of the student. Raises UserError for mistakes that show before anything is loaded."""
  raw = SAMPLE_RATE.value is not None
  cli.require(not (MICROPHONE.value and raw), '--microphone has its own sample rate: leave out --sample_rate')
  cli.require(raw or CHANNELS.value == 1, '--channels goes with --sample_rate: a WAV header has them')
  cli.require(MICROPHONE.value or DEVICE.value is None, '--device goes with --microphone')
  cli.require(
    MICROPHONE.value or not sys.stdin.isatty(),
    'nothing is piped in: ffmpeg -i FILE -f wav - | python -m audionet_tf.stream, or use --microphone',
  )
  event_flags.require_files()
  if MICROPHONE.value:
    cli.require_installed(['sounddevice'], 'microphone')
  return student_words.find(MODEL.value, CLASSES.value)


def make_predictor(served):
  """(predict.FilePredictor of single windows, live_events.LiveEvents), as the flags say, ready to answer at once."""
  import numpy as np

  from audionet_tf.captioning import live_events
  from audionet_tf.inference import predict

  window_seconds, hop_seconds = durations.seconds(WINDOW_MS.value), durations.seconds(HOP_MS.value)
  predictor = predict.live_predictor(served, window_seconds, hop_seconds, HEAD.value)
  rules = event_flags.detection_config(served.settings, predictor.class_names, HEAD.value)
  framing = predictor.framing
  predictor.predict(np.zeros([1, framing.window_samples], np.int16), 1)  # the first call is slow
  events = live_events.LiveEvents(predictor.class_names, rules, framing.window_seconds, framing.hop_seconds)
  return predictor, events


def sound_chunks(framing):
  """Iterator over (start_sample, int16 [n]) of the pipe or the microphone. `framing`: params.Framing."""
  from audionet_tf.media import microphone, pipe

  if MICROPHONE.value:
    return microphone.chunks(framing.sample_rate_hz, DEVICE.value)
  return pipe.Pipe(sys.stdin.buffer, SAMPLE_RATE.value, CHANNELS.value).chunks(framing.sample_rate_hz, framing.mono)


def window_line(start, end, probabilities, class_names, sounding):
  """The line of a window. `probabilities`: f32 [classes]; `sounding`: names of the events that are going on."""
  best = (-probabilities).argsort(kind='stable')[: event_flags.TOP.value or None].tolist()
  if FORMAT.value == 'json':
    classes = {class_names[i]: float(f'{probabilities[i]:.7g}') for i in reversed(best)}  # of two with a name the first
    classes = dict(reversed(classes.items()))
    return json.dumps({'start_seconds': start, 'end_seconds': end, 'classes': classes, 'sounding': sounding})
  return f'{start:10.2f} {end:10.2f}  ' + '  '.join(
    f'{text.one_line(class_names[i])} {probabilities[i]:.2f}' for i in best
  )


def event_line(event):
  """The line of an event_detection.Event."""
  if FORMAT.value == 'json':
    times = {'start_seconds': event.start_seconds, 'end_seconds': event.end_seconds}
    scores = {'score': float(f'{event.score:.7g}'), 'peak': float(f'{event.peak:.7g}')}
    return json.dumps({'event': event.name} | times | scores)
  return f'{event.start_seconds:10.2f} {event.end_seconds:10.2f}  event: {event.name} {event.score:.2f}'


def listen(predictor, events, chunks, write):
  """Writes a line per window and per event until the sound ends or Ctrl-C is pressed."""
  from audionet_tf.inference import predict

  end = 0.0
  try:
    for block in predict.live_blocks(predictor, chunks):
      start, end = float(block['start_seconds'][0]), float(block['end_seconds'][0])
      over = events.add(start, end, block['probabilities'][0])
      end = min(end, block['sound_seconds'][1])
      write(window_line(start, end, block['probabilities'][0], predictor.class_names, events.sounding()))
      for event in over:
        write(event_line(event))
  finally:
    for event in events.end(end):
      write(event_line(event))


def main(argv):
  cli.no_arguments(argv)
  model = check_arguments()
  system.keep_freed_memory()
  from audionet_tf.inference import lite_student

  predictor, events = make_predictor(lite_student.load(model, CLASSES.value))
  try:
    listen(predictor, events, sound_chunks(predictor.framing), functools.partial(print, flush=True))
  except BrokenPipeError:  # whoever read the lines has ended, such as head
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends


def run():
  cli.run(main, TOPICS)


if __name__ == '__main__':
  run()
