"""Makes the demo's videos: ten things that look and sound different, in clips that vary, some of them kept apart.

  python demo.make_videos --output=runs/demo/videos

writes OUTPUT/heard/<thing>-<number>.mp4 to learn from and OUTPUT/unheard/<thing>-<number>.mp4 to judge by. A clip is a
function of its thing and number alone. Clips that are there already are kept.
"""

from absl import flags

from audionet_tf.core import cli
from demo import clips

OUTPUT = flags.DEFINE_string('output', None, 'Folder for the videos.')
HEARD = flags.DEFINE_integer('heard', 6, 'Clips of each thing to learn from.', lower_bound=1)
UNHEARD = flags.DEFINE_integer('unheard', 2, 'Clips of each thing to judge by.', lower_bound=1)
SECONDS = flags.DEFINE_float('seconds', 4, 'Length of a clip.', lower_bound=1, upper_bound=60)


def main(argv):
  cli.require(len(argv) == 1, f'unexpected argument {argv[-1]!r}; flags begin with --')
  cli.require(OUTPUT.value, '--output=FOLDER is missing: where to put the videos')
  clips.write_all(OUTPUT.value, HEARD.value, UNHEARD.value, SECONDS.value)


if __name__ == '__main__':
  cli.run(main)
