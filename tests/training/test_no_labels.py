"""No label reaches a student that learns without labels: folders named by class, and a CSV beside them, change nothing.

An id is the path below the folder that was given: the one place where a person may have written a class. It names
videos in figures; a batch holds a number in its place.
"""

import json
import shutil

import built_records
import media_clips
import numpy as np
import pytest
import synthetic_records

from audionet_tf.data import input_pipeline, records, soft_labels
from audionet_tf.teachers import frozen_teacher, labelling

CATEGORIES = ('zebrafinch', 'marimbaphone')


@pytest.fixture(scope='module')
def world(tmp_path_factory):
  """Folder with named/ (folders called by class) and plain/ (others): the same videos."""
  folder = tmp_path_factory.mktemp('world')
  for number, category in enumerate(CATEGORIES):
    for clip in range(2):
      path = folder / 'named' / category / f'{number}{clip}.mkv'
      path.parent.mkdir(parents=True, exist_ok=True)
      media_clips.write(
        path, seconds=0.2 + 0.1 * clip, picture=lambda t, n=number: np.full((48, 64), 60 + 90 * n, np.uint8)
      )
    shutil.copytree(folder / 'named' / category, folder / 'plain' / str(number))
  rows = [f'{number}{clip}.mkv,{category}' for number, category in enumerate(CATEGORIES) for clip in range(2)]
  (folder / 'named' / 'labels.csv').write_text('\n'.join(['filename,category', *rows]))
  synthetic_records.colour_teacher(folder / 'teacher.keras', size=16)
  return folder


def stored(world, name, videos):
  """Builds records and runs the teacher: (folder of records, its manifest, folder of soft labels)."""
  built_records.build(videos, world / name)
  manifest = records.read_manifest(world / name)
  return (
    world / name,
    manifest,
    labelling.ensure(world / name, manifest, [frozen_teacher.load(world / 'teacher.keras')]),
  )


def test_no_file_of_records_or_soft_labels_names_a_category(world):
  folder, _, labels = stored(world, 'files', sorted((world / 'named').glob('*/*.mkv')))
  written = [path for path in [*folder.rglob('*'), *labels.rglob('*')] if path.is_file()]
  assert len(written) >= 6
  for path in written:
    content = path.read_bytes()
    if (
      path.parent == folder and path.suffix == '.json' and 'manifest' in path.name
    ):  # its `sources` are the builder's arguments, for its next run
      content = json.dumps({k: v for k, v in json.loads(content).items() if k != 'sources'}).encode()
    for category in CATEGORIES:
      assert category.encode() not in content and category not in path.name


def windows_of(folder):
  """dict of (video's number, window) to the batch that a student gets of that window, as bytes by name."""
  source = soft_labels.label_source(folder, soft_labels.read_manifest(folder))
  windows = {}
  for batch in input_pipeline.sequential_batches(source, 1):
    assert not [name for name, x in batch.items() if x.dtype.name == 'string']
    key = int(batch['video_id'][0]), int(batch['index'][0])
    windows[key] = {name: x.numpy().tobytes() for name, x in batch.items() if name != 'video_id'}
  return windows


def test_folders_named_by_class_teach_what_others_teach(world):
  _, named, named_labels = stored(world, 'from_named', world / 'named')
  _, plain, plain_labels = stored(world, 'from_plain', world / 'plain')
  ids = [[video['id'] for video in manifest['videos']] for manifest in (named, plain)]
  number = [[int(video[-6:-4], 10) for video in listed] for listed in ids]  # of the clip, whatever its folder is called
  from_named = {(number[0][v], k): batch for (v, k), batch in windows_of(named_labels).items()}
  from_plain = {(number[1][v], k): batch for (v, k), batch in windows_of(plain_labels).items()}
  assert len(from_named) == 2 * (5 + 7) and from_named == from_plain
