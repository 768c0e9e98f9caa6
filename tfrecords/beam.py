r"""Builds training records with Apache Beam, on one machine or on a cluster: what tfrecords.build builds.

  pip install '.[beam]'
  python -m tfrecords.beam --videos=clips --output=data/clips -- --runner=FnApiRunner \
    --direct_running_mode=multi_processing --direct_num_workers=2

The flags are those of tfrecords.build, but for --workers. Options after -- are Beam's: the runner and its own. Without
a runner, one process of this machine does all.

  python -m tfrecords.beam --videos=/shared/clips --output=/shared/records -- \
    --runner=apache_beam.runners.dask.dask_runner.DaskRunner --dask_client_address=tcp://scheduler:8786

runs on a cluster of dask.distributed. All workers must see the videos and the output folder, by the same paths. The
files are those of tfrecords.build, byte for byte, and later runs of it go on with them. A run that is killed is begun
again by the same command: videos that are decoded are not decoded again. Videos that cannot be used are listed in
OUTPUT/failures.json.
"""

import sys

from absl import flags

from audionet_tf.core import cli, text
from audionet_tf.core.stores import object_store
from audionet_tf.data import params
from tfrecords import build

flags.adopt_module_key_flags(build)

NEEDS = build.NEEDS
TOPICS = build.TOPICS


def main(argv):
  cli.require_installed(['apache_beam'], 'beam')
  cli.require_beam_options(argv, 'videos are given as --videos=FILE|GLOB|FOLDER')
  cli.require(not flags.FLAGS['workers'].present, '--workers is of tfrecords.build; runners have options after --')
  in_store = object_store.is_address(build.OUTPUT.value)
  cli.require(not in_store, '--output: workers share a folder; build there, then copy it to the store')
  from tfrecords import beam_pipelines

  settings = build.window_settings()
  summary = beam_pipelines.build(
    build.VIDEOS.value,
    build.OUTPUT.value,
    params.RecordParams(**settings | {'hop_seconds': settings['hop_seconds'] or settings['window_seconds']}),
    build.SHARDS.value,
    build.TIMEOUT.value,
    build.MEMORY.value << 20,
    argv[1:],
  )
  for video, reason in summary.failures.items():
    print(text.printable(f'skipped {video}: {reason}'), file=sys.stderr)
  cli.require(summary.windows, f'nothing was built: none of {len(summary.failures)} files can be used')
  print(build.described(summary), file=sys.stderr)


def run():
  cli.run(main, TOPICS, NEEDS, addresses='*')


if __name__ == '__main__':
  run()
