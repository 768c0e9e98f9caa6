r"""Writes the activations of a student's layers on sound or video files: arrays of time x width, with times.

  python -m audionet_tf.features --model=runs/deep --layer=pool5,conv7 --output=features clip.mp4 song.flac
  python -m audionet_tf.features --model=student.keras --layer=pool5 --output=features --clips=esc10.csv \
    --media_root=sounds

writes features/clip.mp4.npz and so on: one array per layer, `pool5` f32 [steps, 256], and `pool5/center_seconds`, the
middle of each step's receptive field; `about` says which model and which sound. --format=h5 writes HDF5, with the times
in the group `center_seconds`. Clips of a CSV keep their sub-folders: dogs/1.wav becomes features/dogs/1.wav.npz. A long
file is computed in pieces, and its steps are those of one pass over the whole.

--layer=pca --format=tfrecord, of a student vggish_pca (audionet_tf.convert), writes AudioSet's form, 128 bytes for
every 0.96 s in SequenceExamples: docs/labels.md.

`embedding` is the mean of the last hidden layer over a file. Students without steps in time, such as AudioNet, give one
vector per window of their training's length; a remainder that fills none is dropped, and reported. Sound too short for
one of the layers is repeated for all of them, as in SoundNet's own code. The first steps of padded layers may have
negative times: the middle of their receptive field lies in the padding.

Features that exist for a sound of the same bytes are kept, so that a stopped run goes on. Those of another
sound of the same name are replaced, and reported; those of another model are not. A file that cannot be read is named,
the others are computed, and the exit code is 1.
"""

import pathlib

from absl import flags

from audionet_tf.core import cli, system
from audionet_tf.data.tables import clip_tables
from audionet_tf.models import student_paths
from audionet_tf.representations import files

MODEL = flags.DEFINE_string('model', None, 'A run, a student.keras, an export, or starter.')
LAYER = flags.DEFINE_list('layer', 'pool5', 'One layer or several; a wrong name lists the right ones.')
CLIPS = flags.DEFINE_string('clips', None, 'CSV with a column filename or path, instead of files after the flags.')
MEDIA_ROOT = flags.DEFINE_string(
  'media_root', None, 'Folder that the paths in --clips start from; default: that of the CSV.'
)
flags.DEFINE_alias('audio', 'media_root')  # the old name
CLIP_SECONDS = flags.DEFINE_float(
  'clip_seconds',
  None,
  "Repeat or truncate every sound to this length; 10 in SoundNet's evaluation.",
  lower_bound=0.001,
  upper_bound=3600,
)
OUTPUT = flags.DEFINE_string('output', None, 'Folder for the results, made if missing.')
FORMAT = flags.DEFINE_enum('format', 'npz', list(files.FORMATS), 'File format; tfrecord is for the layer pca.')

TOPICS = {'model': 'Student', 'clips': 'Sounds', 'output': 'Results'}
NEEDS = (('--model',), ('--layer',), ('--output',), ('FILE after the flags', '--clips'))


def check_arguments(paths):
  """Raises UserError for mistakes that show before anything is loaded."""
  bytes_only = FORMAT.value != 'tfrecord' or LAYER.value == ['pca']
  cli.require(bytes_only, f'format tfrecord is for --layer=pca alone, not {",".join(LAYER.value)}')
  cli.require(not (paths and CLIPS.value), 'features takes files after the flags, or --clips, not both')
  cli.require(CLIPS.value or not MEDIA_ROOT.value, '--media_root goes with --clips')


def sounds(paths):
  """(paths of the sounds, names of their results), of the files after the flags or of --clips."""
  if CLIPS.value:
    clips = clip_tables.read(CLIPS.value, MEDIA_ROOT.value)
    clip_tables.check_clips(clips)
    paths, names = [clip.path for clip in clips], [clip.name for clip in clips]
  else:
    names = [pathlib.Path(path).name for path in paths]
    clip_tables.check_names(names)
  cli.require_any_file(paths)
  return paths, names


def main(argv):
  check_arguments(argv[1:])
  paths, names = sounds(argv[1:])
  student_paths.find(MODEL.value)
  system.keep_freed_memory()
  cli.import_tensorflow()
  from audionet_tf.representations import extraction
  from audionet_tf.saved_model import layer_outputs

  model = layer_outputs.load(MODEL.value, LAYER.value)
  folder = pathlib.Path(OUTPUT.value)
  folder.mkdir(parents=True, exist_ok=True)
  done = extraction.extract(model, paths, folder, FORMAT.value, CLIP_SECONDS.value, names)
  cli.tell(f'{folder}: {len(done["outputs"])} files of {", ".join(LAYER.value)}')
  if done['renewed']:
    print(f'{len(done["renewed"])} of them held another sound of that name and were computed again')
  for line in files.remarks(done['outputs']):
    print(line)
  return 1 if done['unreadable'] else 0


def run():
  cli.run(main, TOPICS, NEEDS)


if __name__ == '__main__':
  run()
