"""Building records against ffmpeg that decodes and drops, and with two workers against one."""

import json
import pathlib
import shutil
import statistics
import sys

from benchmark.measure import Line, Skipped, first_cpus, median_ratio, run, verdict
from tfrecords import videos

MANY_TIMES = 8
SPARSE = ('--window_ms=5000', '--sample_rate=22050', '--short_videos=repeat')  # SoundNet's: a picture for five seconds


def dense(context):
  """Processor time with a picture for each window of 40 ms, as AudioNet has it."""
  return against_ffmpeg(context, 'build', (), most=1.4)


def sparse(context):
  """Processor time with a picture for each five seconds, as SoundNet has it."""
  return against_ffmpeg(context, 'build, a picture for 5 s', SPARSE, most=1.0)


def against_ffmpeg(context, what, flags, most):
  """Processor time of one worker, over all files and over the usable ones, in turns with ffmpeg.

  Args:
    context: rows.Context.
    what: text of the first column.
    flags: of the build.
    most: required ratio, over all files.
  """
  clips = clips_of(context)
  if not shutil.which('ffmpeg'):
    raise Skipped('needs the ffmpeg command (Debian: apt-get install ffmpeg)')
  paths = {video.id: video.path for video in videos.find([str(clips)])}
  seconds = {'ours': [], 'ours_usable': [], 'ffmpeg': [], 'ffmpeg_usable': []}
  usable = None
  for turn in range(context.sizes.build_turns):
    output = context.work / f'build{len(flags)}_{turn}'
    command = build_command([clips], output, '--workers=1', *flags)
    seconds['ours'].append(run(command).cpu_seconds)
    usable = usable or [video['id'] for video in json.loads((output / 'manifest.json').read_text())['videos']]
    files = {name: run(ffmpeg_command(path)).cpu_seconds for name, path in paths.items()}
    seconds['ffmpeg'].append(sum(files.values()))
    seconds['ffmpeg_usable'].append(sum(files[name] for name in usable))
    usable_command = build_command([paths[name] for name in usable], f'{output}_usable', '--workers=1', *flags)
    seconds['ours_usable'].append(run(usable_command).cpu_seconds)
  against = 'ffmpeg -threads 1 -f null, same files'
  lines = []
  for kind, files, limit in (('', len(paths), most), ('_usable', len(usable), None)):
    ratio = median_ratio(seconds['ours' + kind], seconds['ffmpeg' + kind])
    ours, theirs = (statistics.median(seconds[who + kind]) for who in ('ours', 'ffmpeg'))
    lines.append(
      Line(
        f'{what}, 1 worker, {files} {"usable " if kind else ""}files, processor time',
        against,
        f'<= {limit}x' if limit else 'for information',
        f'{ours:.2f} s : {theirs:.2f} s',
        ratio,
        verdict(ratio, most=limit),
        {'ours_seconds': seconds['ours' + kind], 'ffmpeg_seconds': seconds['ffmpeg' + kind]},
        [' '.join(usable_command if kind else command), ' '.join(ffmpeg_command('FILE'))],
      )
    )
  return lines


def workers(context):
  """Wall-clock time of two workers against one, in turns: with the clips, and with MANY_TIMES as many copies of them.

  Of so few clips the start of the program is a good part, which no worker shares.
  """
  clips, many = clips_of(context), context.work / 'many_clips'
  if len(first_cpus(2)) < 2:
    raise Skipped('needs two processors')
  many.mkdir(parents=True)
  for path in clips.iterdir():
    for number in range(MANY_TIMES):
      shutil.copy(path, many / f'{number}_{path.name}')
  return [two_workers(context, clips), two_workers(context, many)]


def two_workers(context, videos):
  """The Line of two workers on a folder of videos."""
  cpus, least = first_cpus(2), 1.8
  seconds, commands = {1: [], 2: []}, {}
  for turn in range(context.sizes.build_turns):
    for count, measured in seconds.items():
      output = context.work / f'{videos.name}_workers{count}_{turn}'
      commands[count] = build_command([videos], output, f'--workers={count}')
      measured.append(run(commands[count], cpus).wall_seconds)
  ratio = median_ratio(seconds[1], seconds[2])
  two, one = (statistics.median(seconds[count]) for count in (2, 1))
  raw = {f'seconds_of_{count}': measured for count, measured in seconds.items()}
  shown = [' '.join(command) for command in commands.values()]
  measured = f'{two:.2f} s : {one:.2f} s'
  what = f'build, 2 workers, {len(list(videos.iterdir()))} files, speed'
  return Line(what, '1 worker, same files', f'>= {least}x', measured, ratio, verdict(ratio, least=least), raw, shown)


def clips_of(context):
  """The folder of real clips. Skipped without one."""
  if not context.data or not (context.data / 'clips').is_dir():
    raise Skipped('needs real clips: --data=FOLDER with clips/ in it')
  return context.data / 'clips'


def build_command(videos, output, *flags):
  """Command line of tfrecords.build."""
  videos = [f'--videos={pathlib.Path(video).resolve()}' for video in videos]
  return [sys.executable, '-m', 'tfrecords.build', *videos, f'--output={output}', *flags]


def ffmpeg_command(path):
  """Command line that decodes a file and drops the result."""
  return ['ffmpeg', '-nostdin', '-v', 'quiet', '-threads', '1', '-i', path, '-f', 'null', '-']
