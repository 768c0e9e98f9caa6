r"""Builds training records from videos: windows of sound, each with the pictures shown at that time.

  python -m tfrecords.build --videos=clips --videos='more/**/*.mp4'

writes data/clips, which flags.txt trains on; --output=FOLDER writes elsewhere. --videos takes files, globs and folders
(searched recursively). Files that cannot be used are skipped and listed with the reason on the screen and in
OUTPUT/failures.json. A second run with the same arguments builds only what is missing.

Videos shorter than a window are skipped, or with --short_videos=repeat give one window, as in SoundNet: if n of the T
image times lie within the video, the sound is truncated or zero-padded to n / T of the window and repeated, and so are
the pictures. A video that ends before the first image time, such as 5 s of a 20 s window with one picture, has none.

  python -m tfrecords.build --videos=clips --output=data/soundnet --window_ms=20000 --images_per_window=4 \
    --sample_rate=22050 --mono=first --short_videos=repeat

--images_per_window=0 keeps sound alone, of any sound or video file, to train on labels or on precomputed teacher
outputs.

Paths may be addresses in an object store, such as s3://bucket/clips: docs/stores.md.

Train on the records with python -m audionet_tf.train --flagfile=flags.txt --records=OUTPUT.
"""

import sys

from absl import flags

from audionet_tf import api
from audionet_tf.core import cli, durations
from audionet_tf.data import params

VIDEOS = flags.DEFINE_multi_string(
  'videos', None, 'File, glob or folder of videos, or its address; may be given several times.'
)
MAX_SECONDS = flags.DEFINE_float('max_seconds', None, 'Use only the first N seconds of each video.', lower_bound=0)
SHORT = flags.DEFINE_enum(
  'short_videos', 'skip', params.SHORT_VIDEOS, 'Skip videos shorter than a window, or repeat them.'
)
WINDOW_MS = flags.DEFINE_float('window_ms', 40, 'Length of a window, milliseconds.', lower_bound=1, upper_bound=1e9)
HOP_MS = flags.DEFINE_float(
  'hop_ms',
  None,
  'From the start of a window to the next; default: the length of a window.',
  lower_bound=1,
  upper_bound=1e9,
)
SAMPLE_RATE = flags.DEFINE_integer('sample_rate', 16000, 'Sample rate of the stored sound, hertz.')
MONO = flags.DEFINE_enum('mono', 'mean', params.MONO_MODES, 'Mono sound: the mean of all channels, or the first.')
IMAGES = flags.DEFINE_integer(
  'images_per_window', 1, 'Pictures per window, from the middles of its equal parts; 0: sound only.'
)
IMAGE_SIZE = flags.DEFINE_integer('image_size', 224, 'Width and height of the stored pictures, pixels.')
IMAGE_FORMAT = flags.DEFINE_enum('image_format', 'jpeg', params.IMAGE_FORMATS, 'Format of the stored pictures.')
JPEG_QUALITY = flags.DEFINE_integer('jpeg_quality', 95, 'JPEG quality, 1 to 95.')
OUTPUT = flags.DEFINE_string('output', 'data/clips', 'Folder for the records, or its address.')
SHARDS = flags.DEFINE_integer(
  'shards', None, 'Number of files; default: about 128 MB each, at least two.', lower_bound=1, upper_bound=10**5
)
WORKERS = flags.DEFINE_integer(
  'workers', None, 'Videos decoded in parallel; default: one per processor.', lower_bound=1, upper_bound=1024
)
TIMEOUT = flags.DEFINE_float(
  'timeout_seconds', 120, 'Skip a video that finishes no window for this long.', lower_bound=1, upper_bound=1e9
)
MEMORY = flags.DEFINE_integer(
  'memory_mb', 4096, 'Address space of a decoding process, MiB.', lower_bound=256, upper_bound=1 << 24
)

TOPICS = {
  'videos': 'Videos',
  'window_ms': 'Windows of sound',
  'images_per_window': 'Pictures',
  'output': 'Records',
  'workers': 'Resources',
}
NEEDS = (('--videos',), ('--output',))


def main(argv):
  cli.require(len(argv) == 1, f'{argv[1:]}: unexpected; videos are given as --videos=FILE|GLOB|FOLDER')
  summary = api.build_records(
    VIDEOS.value,
    OUTPUT.value,
    **window_settings(),
    shards=SHARDS.value,
    workers=WORKERS.value,
    timeout_seconds=TIMEOUT.value,
    memory_mb=MEMORY.value,
  )
  print(described(summary), file=sys.stderr)


def window_settings():
  """dict of the arguments of RecordParams that flags give."""
  return {
    'window_seconds': durations.seconds(WINDOW_MS.value),
    'hop_seconds': durations.seconds(HOP_MS.value),
    'images_per_window': IMAGES.value,
    'sample_rate_hz': SAMPLE_RATE.value,
    'mono': MONO.value,
    'image_size': IMAGE_SIZE.value,
    'image_format': IMAGE_FORMAT.value,
    'jpeg_quality': JPEG_QUALITY.value,
    'max_seconds': MAX_SECONDS.value,
    'short_videos': SHORT.value,
  }


def described(summary):
  """A builder.Summary in a line."""
  return (
    f'{OUTPUT.value}: {summary.windows} windows of {summary.videos} videos ({summary.built} built now, {summary.kept} '
    f'already there, {len(summary.failures)} skipped) in {summary.shards} shards, {summary.bytes / 1e6:.1f} MB, '
    f'{summary.seconds:.1f} s'
  )


def run():
  cli.run(main, TOPICS, NEEDS, addresses='*')


if __name__ == '__main__':
  run()
