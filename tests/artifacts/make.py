"""Made the files of this folder, at version 0.1.0; `tests/test_old_artifacts.py` holds later versions against them.

It is kept to show where they come from. It names the modules of version 0.1.0, and runs with these alone:

  git worktree add ../audionet-0.1.0 <the commit that added this file>
  cd ../audionet-0.1.0/tests/artifacts && PYTHONPATH=../..:.. python make.py

| what                                      | how                                                                     |
|-------------------------------------------|-------------------------------------------------------------------------|
| `sound.wav`                               | 1 s, 8 kHz, 16 bit: two tones and noise                                 |
| `teacher.keras`, `labels.txt`             | a classifier of mean colours                                            |
| `recorded/`                               | tfrecords.build of two clips of 1 s: 40 ms, 8 kHz, PNG of 32 x 32       |
| `recorded/labels/<key>/`                  | the teacher's answers, as training stored them                          |
| `trained/`                                | audionet_tf.train, 4 epochs, a checkpoint every 2, without tensorboard/ |
| `students/*.keras`, `*.json`              | one for each custom layer, by the networks' functions, few filters      |
| `exported/1`                              | audionet_tf.export of students/soundnet5.keras: signature `layers`      |
| `heard/`, `features/`                     | audionet_tf.infer, caption and features of sound.wav                    |
| `evaluation.json`, `probe.json`           | audionet_tf.evaluate and probe, with confusion matrices                 |
| `expected.json`                           | for each student and export, what it answers to sound.wav               |
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import wave

import numpy as np

RATE_HZ = 8000
HERE = pathlib.Path(__file__).resolve().parent
SHOWN = 12  # values of every output that are kept

SOUNDNET5 = {'conv1': 4, 'conv2': 4, 'conv3': 6, 'conv4': 8}
LOGMEL_CNN = (('conv1', 3, (7, 5), (4, 2)), ('pool1', None, 2, 2), ('conv2', 4, 3, 1), ('pool3', None, 4, 4))
YAMNET = ((1, 4), (2, 6), (2, 6))
VGGISH = (('conv1', 2), ('pool1', None), ('pool2', None), ('conv3_1', 4), ('pool3', None), ('pool4', None))
VGGISH_DENSE = (('fc1_1', 6), ('fc2', 8))


def sounds():
  """sound.wav, and eight clips of two categories in two folds for evaluation and probe."""
  rng, time = np.random.default_rng(3), np.arange(RATE_HZ) / RATE_HZ
  whole = 0.3 * np.sin(2 * np.pi * 440 * time) * (time < 0.5) + 0.2 * np.sin(2 * np.pi * 1700 * time) * (time > 0.4)
  write_wav('sound.wav', whole + 0.01 * rng.normal(size=RATE_HZ))
  pathlib.Path('clips').mkdir()
  rows = ['path,category,fold']
  for number in range(8):
    hertz, category = ((300, 'red'), (1500, 'green'))[number % 2]
    tone = 0.3 * np.sin(2 * np.pi * (hertz + 20 * number) * time[: RATE_HZ // 4])
    write_wav(f'clips/{number}.wav', tone + 0.05 * rng.normal(size=tone.size))
    rows.append(f'{number}.wav,{category},{1 + number // 4}')
  pathlib.Path('clips/clips.csv').write_text('\n'.join(rows) + '\n')


def write_wav(path, samples):
  with wave.open(str(path), 'wb') as file:
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(RATE_HZ)
    file.writeframes(np.rint(samples * 32767).astype('<i2').tobytes())


def recorded():
  """Records of two clips whose colours and sounds differ, and the teacher that tells the colours apart."""
  import clips
  import synthetic

  from audionet_tf import params
  from tfrecords import builder

  synthetic.colour_teacher('teacher.keras', classes=3)
  pathlib.Path('labels.txt').write_text('red\ngreen\nblue\n')
  rng = np.random.default_rng(4)
  with tempfile.TemporaryDirectory() as folder:
    for number, name in enumerate(('a.mkv', 'b.mkv')):
      colour = np.array([[200, 40, 90], [20, 160, 210]][number])
      tone = 0.4 * np.sin(2 * np.pi * (350 + 1100 * number) * np.arange(RATE_HZ) / RATE_HZ)
      sound = (tone + 0.05 * rng.normal(size=RATE_HZ)).astype(np.float32)

      def picture(t, colour=colour):
        return np.broadcast_to((colour * (0.6 + 0.4 * float(t))).astype(np.uint8), [48, 64, 3]).copy()

      clips.write(f'{folder}/{name}', rate_hz=RATE_HZ, sounds=[sound], picture=picture, pix_fmt='bgr0')
    how = params.RecordParams(sample_rate_hz=RATE_HZ, image_size=32, image_format='png')
    builder.build([folder], 'recorded', how, shards=2)
  manifest = json.loads(pathlib.Path('recorded/manifest.json').read_text())
  manifest['sources'] = ['/videos']  # not the temporary folder
  pathlib.Path('recorded/manifest.json').write_text(json.dumps(manifest, indent=1))


def command(module, *arguments):
  subprocess.run([sys.executable, '-m', f'audionet_tf.{module}', *arguments], check=True)


def commands():
  """What the commands write."""
  teacher = ['--teacher=./teacher.keras', '--teacher_labels=labels.txt']
  how = ['--epochs=4', '--checkpoint_every=2', '--batch_size=16', '--optimizer=adam', '--learning_rate=1e-2']
  command('train', '--records=recorded', '--run_dir=trained', *teacher, *how, '--kldiv_per_frame', '--noprojector')
  shutil.rmtree('trained/tensorboard')
  pathlib.Path(*pathlib.Path('recorded/labels').glob('*'), '.lock').unlink()
  command('infer', '--model=trained', '--output=heard', 'sound.wav')
  command('caption', '--model=trained', '--output=heard', '--format=json', '--threshold=0.4', 'sound.wav')
  pathlib.Path('heard/settings.json').unlink()
  command('export', '--model=students/soundnet5.keras', '--output=exported')
  for folder in ('trained/export', 'exported'):
    shutil.rmtree(f'{folder}/1/assets.extra')  # up to nine megabytes of zeros, which TensorFlow Serving alone reads
  command('features', '--model=students/soundnet5.keras', '--layer=conv4,embedding', '--output=features', 'sound.wav')
  clips = ['--clips=clips/clips.csv', '--model=trained']
  command('evaluate', *clips, '--records=recorded', '--output=evaluation.json')
  command('probe', *clips, '--layer=embedding', '--output=probed')
  shutil.move('probed/probe.json', 'probe.json')
  shutil.rmtree('probed')
  shutil.rmtree('clips')


def thin(table, filters):
  """The table of a SoundNet with fewer filters."""
  return tuple((row[0], filters.get(row[0], row[1]), *row[2:]) for row in table)


def students():
  """Students that hold every custom layer; their weights are random, and move every output away from zero."""
  from audionet_tf import autoencoder, mel_network, soundnet, vggish, yamnet
  from audionet_tf import students as students_lib

  pathlib.Path('students').mkdir()
  two, one = {'objects': ['a', 'b', 'c'], 'scenes': ['in', 'out']}, {'teacher': ['a', 'b', 'c']}
  counts = {head: len(names) for head, names in two.items()}
  encoder = thin(autoencoder.ENCODER, {'conv1': 3, 'conv2': 4, 'conv3': 4, 'conv4': 4})
  made = {
    'soundnet5': (soundnet.soundnet(thin(soundnet.SOUNDNET5, SOUNDNET5), counts, 'soundnet5'), two, 22050, 3.0),
    'autoencoder': (autoencoder.autoencoder({}, encoder), {}, 22050, 1.0),
    'logmel_attention': (
      mel_network.logmel_cnn({'teacher': 3}, LOGMEL_CNN, mel_network.attended, 'logmel_attention'),
      one,
      22050,
      1.0,
    ),
    'yamnet': (yamnet.yamnet({'teacher': 3}, YAMNET, first_filters=3), one, 16000, 1.0),
    'vggish_pca': (
      vggish.vggish({'teacher': 3}, quantised=True, convolutions=VGGISH, dense=VGGISH_DENSE),
      one,
      16000,
      1.0,
    ),
  }
  rng = np.random.default_rng(0)
  for name, (model, classes, rate_hz, window_seconds) in made.items():
    for variable in model.weights:
      if 'seed' in variable.path:
        continue
      shape, kind = variable.shape, variable.path.rsplit('/', 1)[-1]
      fan = np.prod(shape[:-1], initial=1.0)
      drawn = rng.uniform(0.5, 1.5, shape) if 'variance' in kind or 'gamma' in kind else rng.normal(0, 0.3, shape)
      variable.assign(drawn if len(shape) < 2 else rng.normal(0, fan**-0.5, shape))
    settings = students_lib.StudentSettings(name, rate_hz, 'mean', window_seconds, classes)
    students_lib.save(f'students/{name}.keras', model, settings)


def expected():
  """expected.json: what loaded students and exports answer; of each output its shape and its first values."""
  from audionet_tf import serving
  from audionet_tf import students as students_lib

  with wave.open('sound.wav') as file:
    pcm = np.frombuffer(file.readframes(RATE_HZ), '<i2')
  answers = {}
  for path in (*sorted(pathlib.Path('students').glob('*.keras')), pathlib.Path('trained/student.keras')):
    model, settings = students_lib.load(path)
    samples = round(1.5 * settings.window_seconds * settings.sample_rate_hz)
    waveform = (np.resize(pcm, samples) / 32768).astype(np.float32)[None]
    answers[str(path)] = {'samples': samples, 'outputs': shown(model(waveform, training=False))}
  for path in ('trained', 'exported'):
    served = serving.load(path)
    samples = round(1.5 * serving.window_samples(served.settings))
    waveform = (np.resize(pcm, samples) / 32768).astype(np.float32)
    answers[path] = {'samples': samples, 'signatures': {}}
    for name, function in served.signatures.items():
      outputs = function(waveform=waveform if name == 'windows' else waveform[None])
      floats = {key: value for key, value in outputs.items() if value.dtype.is_floating}
      answers[path]['signatures'][name] = shown(floats)
  pathlib.Path('expected.json').write_text(json.dumps(answers, indent=1))


def shown(outputs):
  arrays = {key: np.asarray(value, np.float64) for key, value in outputs.items()}
  return {
    key: {'shape': list(array.shape), 'values': [float(f'{x:.7g}') for x in array.ravel()[:SHOWN]]}
    for key, array in sorted(arrays.items())
  }


if __name__ == '__main__':
  for old in HERE.iterdir():
    if old.name != 'make.py':
      (shutil.rmtree if old.is_dir() else pathlib.Path.unlink)(old)
  for step in (sounds, recorded, students, commands, expected):
    step()
