"""Writes what the layers of a student hear in sound or video files: arrays of time x width, with times.

  python -m audionet_tf.features --model=runs/deep --layer=pool5,conv7 --output=features clip.mp4 song.flac
  python -m audionet_tf.features --model=student.keras --layer=pool5 --output=features --clips=esc10.csv --audio=sounds

writes features/clip.mp4.npz and so on: an array a layer, `pool5` f32 [steps, 256], and `pool5/center_seconds`, the
middle of what each step hears; `about` says which model and which sound. --format=h5 writes HDF5, with the times in the
group `center_seconds`. Clips of a CSV keep their sub-folders: dogs/1.wav becomes features/dogs/1.wav.npz. A long file
is heard in pieces, and its steps are those of one pass over the whole.

--layer=pca --format=tfrecord, of a student vggish_pca (audionet_tf.convert), writes AudioSet's form, 128 bytes for
every 0.96 s in SequenceExamples: audionet_tf/embedding_files.py.

`embedding` is the mean of the last hidden layer over a file. Students without steps in time, such as AudioNet, give one
vector a window of their training's length; a rest that fills none is not heard, which is said. Sound too short for one
of the layers is repeated for all of them, as SoundNet's own code does. The first steps of padded layers may have
negative times: the middle of what they hear lies in the padding.

What is done is skipped, so that a stopped run goes on: the features of a source of the same bytes. Those of another
sound of the same name are replaced, which is said; those of another model are not. A file that cannot be read is named,
the others are heard, and the exit code is 1.
"""

import pathlib

from absl import flags

from audionet_tf.core import cli, system
from audionet_tf.data import clip_tables

flags.DEFINE_string('model', None, 'a run, a student (.keras), or a SavedModel of audionet_tf.export')
flags.DEFINE_list('layer', 'pool5', 'one layer or several; a wrong name lists the right ones')
flags.DEFINE_string('output', None, 'folder for the results; made when missing')
flags.DEFINE_string('format', 'npz', 'npz or h5; tfrecord for the layer pca')
flags.DEFINE_string('clips', None, 'CSV with a column filename or path, instead of files after the flags')
flags.DEFINE_string('audio', None, 'folder that the paths in --clips start from; default: that of the CSV')
flags.DEFINE_float('clip_seconds', None, 'repeat or cut every sound to this length, as SoundNet is judged: 10')


def check_arguments(values, paths):
  """Raises UserError for what can be known to be wrong before anything is loaded."""
  from audionet_tf.representations import files

  for name in ('model', 'output', 'layer'):
    cli.require(values[name], f'features needs --{name}')
  known = ' or '.join(files.FORMATS)
  cli.require(values['format'] in files.FORMATS, f'format is {values["format"]!r}, allowed is {known}')
  bytes_only = values['format'] != 'tfrecord' or values['layer'] == ['pca']
  cli.require(bytes_only, f'format tfrecord is for --layer=pca alone, not {",".join(values["layer"])}')
  seconds = values['clip_seconds']
  cli.require(seconds is None or 0 < seconds <= 3600, f'clip_seconds is {seconds}, allowed is up to 3600')
  cli.require(bool(paths) != bool(values['clips']), 'features needs files after the flags, or --clips')
  cli.require(values['clips'] or not values['audio'], '--audio goes with --clips')


def main(argv):
  values, paths = cli.flag_values(__name__), argv[1:]
  check_arguments(values, paths)
  if values['clips']:
    clips = clip_tables.read(values['clips'], values['audio'])
    clip_tables.check_clips(clips)
    paths, names = [clip.path for clip in clips], [clip.name for clip in clips]
  else:
    names = [pathlib.Path(path).name for path in paths]
    clip_tables.check_names(names)
  system.keep_freed_memory()
  with cli.pretend_missing('sklearn', 'matplotlib'):  # Keras would import both for what nothing here uses
    from audionet_tf.representations import extraction, files
    from audionet_tf.saved_model import layer_outputs

  model = layer_outputs.load(values['model'], values['layer'])
  folder = pathlib.Path(values['output'])
  folder.mkdir(parents=True, exist_ok=True)
  done = extraction.extract(model, paths, folder, values['format'], values['clip_seconds'], names)
  print(f'{folder}: {len(done["outputs"])} files of {", ".join(values["layer"])}')
  if done['renewed']:
    print(f'{len(done["renewed"])} of them held another sound of that name and were heard again')
  for line in files.remarks(done['outputs']):
    print(line)
  return 1 if done['unreadable'] else 0


def run():
  cli.run(main)


if __name__ == '__main__':
  run()
