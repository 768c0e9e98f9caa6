"""What is mutated, and the tests that must notice it: those that say what a file computes, quick ones first.

`survivors.txt` lists the mutants that none can or need notice.
"""

import pathlib

SURVIVORS = pathlib.Path(__file__).with_name('survivors.txt')

TARGETS = {
  'audionet_tf/data/records.py': ('tests/data/test_records.py', 'tests/tfrecords/test_verification.py'),
  'audionet_tf/data/record_manifest.py': ('tests/data/test_record_manifest.py', 'tests/tfrecords/test_verification.py'),
  'audionet_tf/data/shards/tfrecord_io.py': ('tests/data/shards/test_tfrecord_io.py',),
  'audionet_tf/data/batch_keys.py': ('tests/training/steps/test_losses.py', 'tests/data/test_input_pipeline.py'),
  'audionet_tf/data/input_pipeline.py': ('tests/data/test_input_pipeline.py', 'tests/teachers/test_labelling.py'),
  'audionet_tf/data/soft_labels.py': ('tests/teachers/test_labelling.py', 'tests/data/test_input_pipeline.py'),
  'audionet_tf/teachers/labelling.py': (
    'tests/teachers/test_labelling_steps.py',
    'tests/teachers/test_labelling.py',
    'tests/teachers/test_labelling_at_once.py',
    'tests/commands/test_label.py',
    'tests/teachers/test_sound_tagger.py',
    'tests/teachers/test_precomputed.py',
  ),
  'audionet_tf/training/steps/losses.py': ('tests/training/steps/test_losses.py',),
  'audionet_tf/models/receptive_field.py': ('tests/models/test_receptive_field.py',),
  'audionet_tf/models/alignment.py': ('tests/models/test_alignment.py',),
  'audionet_tf/media/timeline.py': ('tests/media/test_timeline.py', 'tests/media/test_decoding.py'),
  'audionet_tf/inference/windows.py': ('tests/inference/test_windows.py',),
  'audionet_tf/captioning/event_detection.py': ('tests/captioning/test_event_detection.py',),
}


def listed_survivors():
  """dict of 'path | line of code | change' to the reason why no test notices it."""
  lines = [line for line in SURVIVORS.read_text().splitlines() if line and not line.startswith('#')]
  return dict(line.rsplit(' | ', 1) for line in lines)
