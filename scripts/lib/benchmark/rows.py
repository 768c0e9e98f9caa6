"""The parts of the benchmark: each is a function from a Context to a list of Line, or raises Skipped."""

import dataclasses
import json
import pathlib
import statistics
import sys

from benchmark import build, captions, data, features, log_mel, measure, quantize, service, start, stream, teacher, web
from benchmark import soundnet as benchmark_soundnet
from benchmark.build import build_command, clips_of
from benchmark.measure import Line, Skipped, in_turns, median_ratio, run, verdict

THREADS = 2  # of the parts that do not run on one core
PIPELINE_WINDOWS_PER_SECOND = 100_000
PAPER_MINUTES = 9 * 60  # Bryce 2018, section 5: four Tesla M60
# Mean KL of an epoch on the first ten seconds of eight real clips, three seeds of an independent PyTorch program.
REFERENCE_KL = {1: (4.03, 4.07), 10: (3.48, 3.65), 20: (2.82, 2.88), 50: (2.34, 2.36), 100: (2.16, 2.16)}
REFERENCE_KL |= {200: (2.05, 2.05)}
REQUIRED_EPOCHS = (20, 50, 200)


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Sizes of the measurements."""

  build_turns: int = 3
  epoch_turns: int = 9
  epochs: int = 20  # per turn
  soundnet: benchmark_soundnet.Sizes = benchmark_soundnet.Sizes()
  whole_run_epochs: int = 5000
  pipeline_turns: int = 7
  pipeline_batches: int = 400
  sound_seconds: int = 3600
  inference_turns: int = 3
  learning_epochs: int = 200
  service_turns: int = 5
  service_seconds: int = 10
  teacher_turns: int = 3
  teachers: tuple = (('mobilenet_v2', 4000), ('vgg16', 800))  # and the milliseconds of ten clips, 25 pictures a second
  start_turns: int = 5
  stream_windows: int = 300
  web_turns: int = 5
  quantize_sounds: int | None = None  # all


QUICK = Sizes(1, 2, 3, benchmark_soundnet.QUICK, 5, 2, 20, 30, 1, 20, 1, 1, 1, (('mobilenet_v2', 40),), 1, 20, 1, 4)


@dataclasses.dataclass(frozen=True)
class Context:
  """The folders and sizes of a benchmark.

  Attributes:
    data: None or a folder with `clips/`, `esc10/audio/` and `teacher/` (a .tflite file and its class names, .txt).
    work: an empty folder for all files that are made.
    sizes: Sizes.
  """

  data: pathlib.Path | None
  work: pathlib.Path
  sizes: Sizes


def teacher_flags(context):
  """Flags of the training command for the teacher in the data folder."""
  folder = context.data / 'teacher' if context.data else None
  models, labels = ([*folder.glob('*.tflite')], [*folder.glob('*.txt')]) if folder else ([], [])
  if len(models) != 1 or len(labels) != 1:
    raise Skipped('needs a teacher: --data=FOLDER with one .tflite and one .txt of class names in teacher/')
  return [f'--teacher={models[0].resolve()}', f'--teacher_labels={labels[0].resolve()}']


def train_command(records, run_dir, *flags):
  """Command line of training with the paper's flags."""
  command = [sys.executable, '-m', 'audionet_tf.train', '--flagfile=flags.txt']
  return [*command, f'--records={records}', f'--run_dir={run_dir}', *flags]


def tensorflow_command(*arguments):
  """Command line of a part in `benchmark.tensorflow`."""
  return [sys.executable, '-m', 'benchmark.tensorflow', *map(str, arguments)]


def small_records(context):
  """Ten clips of 250 windows with small pictures, made once: for the lines that only read sound and labels."""
  records = context.work / 'small_records'
  if not records.exists():
    clips = context.work / 'clips'
    if not clips.exists():
      data.make_clips(clips)
    run(build_command([clips], records, '--max_seconds=10', '--image_size=32'))
  return records, json.loads((records / 'manifest.json').read_text())['windows']


def epoch(context):
  """An epoch of the training command's own path against PyTorch and against a plain Keras fit, in turns."""
  records, windows = small_records(context)
  epochs = context.sizes.epochs
  commands = {
    'ours': tensorflow_command('epoch', records, context.work / 'epoch_runs', epochs),
    'pytorch': [sys.executable, '-m', 'benchmark.pytorch', str(windows), str(epochs), str(THREADS)],
    'stock': tensorflow_command('stock', windows, epochs),
  }
  cpus = measure.first_cpus(THREADS)
  seconds = in_turns(commands, cpus, context.sizes.epoch_turns, 'epochs')
  lines = []
  for other, against, most in (('pytorch', 'PyTorch, same network and step', 0.45), ('stock', 'plain Keras fit', None)):
    ratio = median_ratio(seconds['ours'], seconds[other])
    ours, theirs = statistics.median(seconds['ours']), statistics.median(seconds[other])
    lines.append(
      Line(
        f'epoch of AudioNet, {windows} windows, stored labels, {len(cpus)} threads',
        against,
        f'<= {most}x' if most else 'for information',
        f'{ours:.4f} s : {theirs:.4f} s',
        ratio,
        verdict(ratio, most=most),
        {'ours_seconds': seconds['ours'], f'{other}_seconds': seconds[other]},
        [' '.join(commands['ours']), ' '.join(commands[other])],
      )
    )
  return lines


def whole_run(context):
  """Ten clips of ten seconds with the paper's flags, from videos to export, in wall time."""
  clips = context.work / 'clips'
  if not clips.exists():
    data.make_clips(clips)
  try:
    teacher, name = teacher_flags(context), 'the .tflite teacher'
  except Skipped:
    teacher, name = ['--teacher=mobilenet_v2', '--teacher_weights=none'], 'an untrained MobileNetV2 as teacher'
  epochs = context.sizes.whole_run_epochs
  records = context.work / 'whole_run_records'
  commands = [
    build_command([clips], records, '--max_seconds=10'),
    train_command(records, context.work / 'whole_run', f'--epochs={epochs}', *teacher),
  ]
  cpus = measure.first_cpus(THREADS)
  minutes = [run(command, cpus).wall_seconds / 60 for command in commands]
  ratio = sum(minutes) / PAPER_MINUTES
  return [
    Line(
      f'whole run, 10 clips of 10 s, {epochs} epochs, {name}, {len(cpus)} cores',
      "the paper's 9 h on four Tesla M60",
      'minutes',
      f'{sum(minutes):.1f} min',
      ratio,
      verdict(sum(minutes), most=60),
      {'build_minutes': minutes[0], 'train_and_export_minutes': minutes[1]},
      [' '.join(command) for command in commands],
    )
  ]


def pipeline(context):
  """Windows per second of the input pipeline alone, from stored labels, on one core."""
  records, windows = small_records(context)
  lines = []
  for repeats in (1, 20):
    command = tensorflow_command('pipeline', records, repeats, context.sizes.pipeline_batches)
    cpus = measure.first_cpus(1)
    turns = in_turns({'ours': command}, cpus, context.sizes.pipeline_turns, 'pipeline')['ours']
    rates, cpu_rates = zip(*turns, strict=True)
    ratio = statistics.median(rates) / PIPELINE_WINDOWS_PER_SECOND
    lines.append(
      Line(
        f'input pipeline, stored labels, {repeats * windows:,} windows, 1 core',
        f'{PIPELINE_WINDOWS_PER_SECOND:,} per second',
        '>= 1x',
        f'{statistics.median(rates):,.0f} per second',
        ratio,
        verdict(ratio, least=1),
        {'windows_per_second': rates, 'windows_per_processor_second': cpu_rates},
        [' '.join(command)],
      )
    )
  return lines


def inference(context):
  """The inference command on a long sound, start-up included, on one core."""
  seconds = context.sizes.sound_seconds
  model, output = context.work / 'model', context.work / 'predictions'
  run(tensorflow_command('model', model))
  sounds = {'WAV': context.work / 'long.wav', 'MP3': context.work / 'long.mp3'}
  short = context.work / 'short.wav'
  data.make_sounds(short, context.work / 'short.mp3', 1)
  data.make_sounds(*sounds.values(), seconds)
  command = [sys.executable, '-m', 'audionet_tf.infer', f'--model={model}', f'--output={output}', '--format=csv']
  cpus = measure.first_cpus(1)
  start_seconds = run([*command, str(short)], cpus).wall_seconds
  lines = []
  for kind, path in sounds.items():
    turns = context.sizes.inference_turns if kind == 'WAV' else 1
    usages = [run([*command, str(path)], cpus) for _ in range(turns)]
    speed = statistics.median(seconds / usage.wall_seconds for usage in usages)
    peak = max(usage.peak_bytes for usage in usages)
    raw = {name: [getattr(u, name) for u in usages] for name in ('wall_seconds', 'cpu_seconds', 'peak_bytes')}
    raw['wall_seconds_of_one_second'] = start_seconds
    least, most = (300, 1e9) if kind == 'WAV' else (None, None)
    what, commands = f'inference, {seconds} s of 44.1 kHz {kind}, csv, 1 core', [' '.join([*command, str(path)])]
    limits = ('>= 300x', '< 1 GB') if least else ('for information',) * 2
    median = statistics.median(raw['wall_seconds'])
    lines += [
      Line(what, 'real time', limits[0], f'{median:.1f} s', speed, verdict(speed, least=least), raw, commands),
      Line('  its memory', '1 GB', limits[1], f'{peak / 1e6:.0f} MB', peak / 1e9, verdict(peak, most=most), raw, []),
    ]
  return lines


def learning(context):
  """Mean KL of the paper's flags on real clips, beside the curve of an independent program."""
  clips, teacher = clips_of(context), teacher_flags(context)
  records, run_dir = context.work / 'learning_records', context.work / 'learning'
  epochs = context.sizes.learning_epochs
  commands = [
    build_command([clips], records, '--max_seconds=10'),
    train_command(records, run_dir, f'--epochs={epochs}', *teacher),
  ]
  for command in commands:
    run(command)
  kl = [json.loads(row)['kl'] for row in (run_dir / 'metrics.jsonl').read_text().splitlines()]
  windows = json.loads((records / 'manifest.json').read_text())['windows']
  lines = []
  for number, (low, high) in REFERENCE_KL.items():
    if number > len(kl):
      continue
    ratio = kl[number - 1] / ((low + high) / 2)
    what = f'mean KL of epoch {number}, {windows} windows of the real clips'
    against, measured = f'{low:.2f}' if low == high else f'{low:.2f} to {high:.2f}', f'{kl[number - 1]:.3f}'
    required, limits = ('within 5 %', (0.95, 1.05)) if number in REQUIRED_EPOCHS else ('for information', ())
    raw, ran = ({}, []) if lines else ({'mean_kl': kl}, [' '.join(command) for command in commands])
    lines.append(Line(what, against, required, measured, ratio, verdict(ratio, *limits), raw, ran))
  return lines


PARTS = {'build': build.dense, 'build_sparse': build.sparse, 'workers': build.workers, 'teacher': teacher.teacher}
PARTS |= {'epoch': epoch, 'soundnet': benchmark_soundnet.step, 'pipeline': pipeline}
PARTS |= {'inference': inference, 'features': features.features, 'captions': captions.captions}
PARTS |= {'service': service.service, 'stream': stream.stream, 'web': web.web}
PARTS |= {'start': start.start, 'log_mel': log_mel.log_mel}
PARTS |= {'quantize': quantize.quantize, 'learning': learning, 'whole_run': whole_run}
