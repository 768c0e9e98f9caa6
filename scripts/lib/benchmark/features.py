"""Features of a long sound by the command, start-up included; started by the benchmark.

scripts/lib/run benchmark.features FILE.keras    an untrained SoundNet-8 with heads of 1000 and 401 classes
"""

import sys

from benchmark import data, measure

LAYER = 'pool5'
LEAST = 200  # times real time


def features(context):
  """The features command on a long sound, SoundNet-8, on two cores."""
  seconds, turns = context.sizes.sound_seconds, context.sizes.inference_turns
  model, sound = context.work / 'soundnet8.keras', context.work / 'long.wav'
  measure.run([sys.executable, '-m', 'benchmark.features', str(model)])
  data.make_sounds(sound, context.work / 'long.mp3', seconds)
  command = [sys.executable, '-m', 'audionet_tf.features', f'--model={model}', f'--layer={LAYER}', str(sound)]
  outputs = [f'--output={context.work / f"features{turn}"}' for turn in range(turns)]
  what = f'features of {seconds} s of 44.1 kHz WAV, SoundNet-8 {LAYER}'
  return [measure.real_time_line(what, command, outputs, seconds, LEAST)]


def write_model(path):
  """Saves an untrained SoundNet-8."""
  from audionet_tf.models import registry, student_file, student_settings

  heads = {'objects': 1000, 'scenes': 401}
  classes = {head: [f'class {i}' for i in range(count)] for head, count in heads.items()}
  settings = student_settings.StudentConfig('soundnet8', 22050, 'first', 20, classes)
  student_file.save(path, registry.build('soundnet8', heads), settings)


if __name__ == '__main__':
  write_model(sys.argv[1])
