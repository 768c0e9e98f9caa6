"""Captions for a long 720p video by the command, start-up included; started by the benchmark.

scripts/lib/run benchmark.captions EXPORT VIDEO SECONDS    an untrained AudioNet of 1000 classes, and the video
"""

import pathlib
import sys

import av

from benchmark import data, measure

SECONDS, LEAST = 600, 60  # of the video; times real time
SHAPE = (720, 1280, 3)
LOOP_SECONDS = 10  # are encoded; the video repeats them


def captions(context):
  """The caption command on a video, all formats, on two cores."""
  seconds, turns = min(SECONDS, context.sizes.sound_seconds), context.sizes.inference_turns
  export, video = context.work / 'captions_export', context.work / 'long.mp4'
  measure.run([sys.executable, '-m', 'benchmark.captions', str(export), str(video), str(seconds)])
  command = [sys.executable, '-m', 'audionet_tf.caption', f'--model={export}', str(video)]
  outputs = [f'--output={context.work / f"captions{turn}"}' for turn in range(turns)]
  what = f'captions of {seconds} s of 720p video, AudioNet'
  return [measure.real_time_line(what, command, outputs, seconds, LEAST)]


def write_model(folder):
  """Exports an untrained AudioNet."""
  from audionet_tf.models import registry, student_settings
  from audionet_tf.saved_model import export

  settings = student_settings.StudentConfig(
    'audionet', 16000, 'mean', 0.04, {'teacher': [f'class {i}' for i in range(1000)]}
  )
  student = registry.build('audionet', {'teacher': 1000})
  dense = student.get_layer('dense_teacher')
  dense.kernel.assign(200 * dense.kernel)  # surer than an untrained one: it finds events
  export.export(student, settings, folder)


def write_video(path, seconds):
  """Writes H.264 and AAC: a clip of LOOP_SECONDS, whose packets are repeated."""
  clips = pathlib.Path(f'{path}.clips')
  data.make_clips(clips, 1, LOOP_SECONDS, SHAPE)
  with av.open(path, 'w') as out:
    streams, last = None, {}
    for turn in range(-(-seconds // LOOP_SECONDS)):
      with av.open(str(clips / 'clip0.mp4')) as clip:
        streams = streams or [out.add_stream_from_template(stream) for stream in clip.streams]
        for packet in clip.demux():
          number = packet.stream.index
          if packet.dts is None:
            continue
          shift = round(turn * LOOP_SECONDS / packet.time_base)
          packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
          if packet.dts > last.get(number, packet.dts - 1):  # a clip is a tenth longer than LOOP_SECONDS
            last[number], packet.stream = packet.dts, streams[number]
            out.mux(packet)


if __name__ == '__main__':
  write_model(sys.argv[1])
  write_video(sys.argv[2], int(sys.argv[3]))
