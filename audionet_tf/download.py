"""Downloads clips of AudioSet from YouTube, for research, by yt-dlp (the extra `download`: scripts/setup download).

  python -m audionet_tf.download --output=data/paper

fetches the ten clips of the paper (Bryce 2018).

  python -m audionet_tf.download --segments=eval_segments.csv --ids=-OAyRsvFGgc,67GZuUxV27w --output=data/clips

fetches others, by YouTube id or address; when they begin and end is looked up in a CSV of AudioSet. Clips are cut to
that span and named <id>_<start>.<suffix>, ready for tfrecords.build. What is there already is not fetched again. A
clip that has gone from YouTube is reported, the rest go on; the exit code is 1 if any failed.
"""

from absl import flags

from audionet_tf.core import cli

flags.DEFINE_string('segments', None, 'CSV of AudioSet: YTID, start_seconds, end_seconds, labels')
flags.DEFINE_multi_string(
  'ids', [], 'YouTube ids or addresses, separated by commas or repeated; default: the ten of the paper'
)
flags.DEFINE_string('output', None, 'folder to put the clips into')


def main(argv):
  from audionet_tf.data import audioset, youtube

  values = cli.flag_values(__name__)
  cli.require(len(argv) == 1, f'unexpected argument {argv[-1]!r}; clips are given as --ids=ID,ID')
  cli.require(values['output'], 'download needs --output')
  segments, source = audioset.PAPER_CLIPS, "the paper's ten clips"
  if values['segments']:
    segments, source = audioset.read_segments(values['segments']), values['segments']
  ids = [part for text in values['ids'] for part in text.split(',') if part.strip()]
  clips = audioset.choose(ids or audioset.PAPER_CLIPS, segments, source)
  youtube.import_yt_dlp()
  outcome = audioset.download_clips(clips, values['output'])
  print(', '.join(f'{len(names)} {what}' for what, names in outcome.items()) + f': {values["output"]}')
  return 1 if outcome['failed'] else 0


def run():
  cli.run(main)


if __name__ == '__main__':
  run()
