r"""Verifies records on disk, and what is stored with them; --repair builds again what is damaged.

  python -m tfrecords.verify data/clips
  python -m tfrecords.verify data/clips --repair

compares every checksum, count and digest, and the order of records, of stored outputs of teachers and of codec variants
with the manifests, and prints a line for each fault. --repair decodes the videos of damaged records again, from where
the manifest says they were; the bytes are the same as before. Stores that it names are asked with --from_store alone:
requests to them carry your credentials, so give it for manifests that you trust. A damaged manifest is restored from
its second copy, manifest.backup.json. Stored outputs and codec variants that are damaged are deleted: the next training
with their teacher, or with --augment=codec, makes these again and keeps the others. Nothing is changed in the shards if
a video is missing or has changed. The exit code is 1 where damage is found, or remains.
"""

import sys

from absl import flags

from audionet_tf.core import cli
from audionet_tf.core.stores import object_store, store_cache, store_mirror

REPAIR = flags.DEFINE_bool('repair', False, 'Build again what is damaged.')
FROM_STORE = flags.DEFINE_bool(
  'from_store', False, 'With --repair: look for the videos in the stores that the manifest names, too.'
)
WORKERS = flags.DEFINE_integer(
  'workers', None, 'Videos decoded in parallel; default: one per processor.', lower_bound=1
)
TIMEOUT = flags.DEFINE_float(
  'timeout_seconds', 120, 'Give up a video that finishes no window for this long.', lower_bound=1, upper_bound=1e9
)
MEMORY = flags.DEFINE_integer('memory_mb', 4096, 'Address space of a decoding process, MiB.', lower_bound=256)

TOPICS = {'repair': 'Repair'}
NEEDS = (('DIR',),)


def main(argv):
  cli.require(len(argv) == 2, f'{argv[1:]}: expected is one folder of records')
  in_store = object_store.is_address(argv[1])
  cli.require(not (REPAIR.value and in_store), f'{argv[1]}: --repair needs a folder on this machine; copy it there')
  folder = store_mirror.mirrored(argv[1])
  import joblib

  from audionet_tf.data import record_manifest
  from tfrecords import verification

  if REPAIR.value:
    workers = WORKERS.value or joblib.cpu_count()
    faults, left = verification.repair(folder, workers, TIMEOUT.value, MEMORY.value << 20, FROM_STORE.value)
  else:
    faults = left = verification.verify(folder)
  for fault in faults:
    print(store_cache.addressed(fault))
  if REPAIR.value and left:
    print(*left, sep='\n', file=sys.stderr)
  if left:
    advice = '' if REPAIR.value or in_store else f'; --repair mends them: python -m tfrecords.verify {folder} --repair'
    return cli.fail(f'{folder}: {len(left)} faults{" are left" if REPAIR.value else advice}')
  manifest = record_manifest.read(folder)
  mended = f', {len(faults)} faults mended' if faults else ''
  counts = f'{len(manifest["shards"])} shards, {manifest["windows"]} windows, {len(manifest["videos"])} videos'
  print(f'{argv[1]}: {counts}: whole{mended}', file=sys.stderr)
  return None


def run():
  cli.run(main, TOPICS, NEEDS, addresses='*')


if __name__ == '__main__':
  run()
