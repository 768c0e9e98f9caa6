"""Makes the demo's videos: clips of ten things that look and sound different, some of them held out.

  python demo.make_videos --output=runs/demo/videos

writes OUTPUT/train/<thing>-<number>.mp4 for training and OUTPUT/held_out/<thing>-<number>.mp4 for evaluation. A clip is
a function of its thing and number alone. Clips that exist are kept.
"""

from absl import flags

from audionet_tf.core import cli
from demo import clips

OUTPUT = flags.DEFINE_string('output', None, 'Folder for the videos.')
TRAIN = flags.DEFINE_integer('train', 6, 'Clips of each thing for training.', lower_bound=1)
HELD_OUT = flags.DEFINE_integer('held_out', 2, 'Clips of each thing for evaluation.', lower_bound=1)
SECONDS = flags.DEFINE_float('seconds', 4, 'Length of a clip.', lower_bound=1, upper_bound=60)


def main(argv):
  cli.require(len(argv) == 1, f'unexpected argument {argv[-1]!r}; flags begin with --')
  cli.require(OUTPUT.value, '--output=FOLDER is missing: where to put the videos')
  clips.write_all(OUTPUT.value, TRAIN.value, HELD_OUT.value, SECONDS.value)


if __name__ == '__main__':
  cli.run(main)
