r"""Downloads clips of AudioSet from YouTube, for research, by yt-dlp (pip install 'audionet_tf[download]').

  python -m audionet_tf.download --output=data/paper

downloads the ten clips of the paper (Bryce 2018).

  python -m audionet_tf.download --segments=eval_segments.csv --ids=-OAyRsvFGgc,67GZuUxV27w --output=data/clips

downloads others, by YouTube id or address; their start and end are looked up in a CSV of AudioSet. Clips are cut to
that span and named <id>_<start>.<suffix>, ready for tfrecords.build. Clips that exist are not downloaded again. A
clip that is no longer on YouTube is reported and the others go on; the exit code is 1 if any failed.
"""

from absl import flags

from audionet_tf.core import cli

SEGMENTS = flags.DEFINE_string('segments', None, 'CSV of AudioSet: YTID, start_seconds, end_seconds, labels.')
IDS = flags.DEFINE_multi_string(
  'ids', [], 'YouTube ids or addresses, separated by commas or repeated; default: the ten of the paper.'
)
OUTPUT = flags.DEFINE_string('output', None, 'Folder for the clips.')

TOPICS = {'segments': 'Clips', 'output': 'Results'}
NEEDS = (('--output',),)


def main(argv):
  from audionet_tf.data import audioset, youtube

  cli.require(len(argv) == 1, f'unexpected argument {argv[-1]!r}; clips are given as --ids=ID,ID')
  segments, source = audioset.PAPER_CLIPS, "the paper's ten clips"
  if SEGMENTS.value:
    segments, source = audioset.read_segments(SEGMENTS.value), SEGMENTS.value
  ids = [part for value in IDS.value for part in value.split(',') if part.strip()]
  clips = audioset.choose(ids or audioset.PAPER_CLIPS, segments, source)
  youtube.import_yt_dlp()
  outcome = audioset.download_clips(clips, OUTPUT.value)
  cli.tell(', '.join(f'{len(names)} {what}' for what, names in outcome.items()) + f': {OUTPUT.value}')
  return 1 if outcome['failed'] else 0


def run():
  cli.run(main, TOPICS, NEEDS)


if __name__ == '__main__':
  run()
