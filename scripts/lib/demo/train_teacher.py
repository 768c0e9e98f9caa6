"""Trains the demo's small teacher: a classifier of pictures, on labelled stills that the demo draws itself.

  python demo.train_teacher --output=runs/demo/teacher.keras

writes the classifier and, beside it, teacher.txt with the names of its classes. The stills are from other clips than
the videos. It replaces VGG16 if ImageNet's weights are not available; it knows only the demo's ten things.
"""

import pathlib

import numpy as np
from absl import flags
from PIL import Image

from audionet_tf.core import cli, files
from audionet_tf.data.tables import class_lists
from demo import clips

FETCH = flags.DEFINE_string('fetch', None, 'Only make sure that the ImageNet weights of this teacher are downloaded.')
OUTPUT = flags.DEFINE_string('output', None, 'The classifier to write: a .keras file.')
STILLS = flags.DEFINE_integer('stills', 80, 'Labelled pictures of each thing.', lower_bound=10)
EPOCHS = flags.DEFINE_integer('epochs', 8, 'Passes over the stills.', lower_bound=1)

SIZE = 64  # side of its pictures, pixels
FIRST_CLIP = 1000  # the videos have lower numbers
CLIP_SECONDS = 4
HELD_OUT = 0.1  # share of the stills for evaluation


def stills(count):
  """(pictures u8 [N, SIZE, SIZE, 3], classes int [N]) of `count` clips of each thing, at random times."""
  rng = np.random.default_rng(0)
  pictures, classes = [], []
  for number in range(FIRST_CLIP, FIRST_CLIP + count):
    for label, thing in enumerate(clips.THINGS):
      drawn = clips.picture(clips.clip(thing, number), rng.uniform(0, CLIP_SECONDS))
      small = Image.fromarray(drawn).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
      pictures.append(np.asarray(small))
      classes.append(label)
  return np.stack(pictures), np.array(classes)


def network():
  """Pictures in 0..255, [N, SIZE, SIZE, 3], to probabilities: four convolutions, 60,000 parameters."""
  import keras

  layers = [keras.Input([SIZE, SIZE, 3]), keras.layers.Rescaling(1 / 127.5, -1)]
  layers.append(keras.layers.Conv2D(16, 5, strides=2, padding='same', activation='relu'))
  for filters in (32, 64, 64):
    layers += [keras.layers.Conv2D(filters, 3, padding='same', activation='relu'), keras.layers.MaxPooling2D()]
  layers += [keras.layers.GlobalMaxPooling2D(), keras.layers.Dense(len(clips.THINGS), activation='softmax')]
  return keras.Sequential(layers)


def train(path, stills_per_thing, epochs):
  """Trains a teacher, writes it with its class names beside it; returns its accuracy on held-out stills."""
  import keras

  keras.utils.set_random_seed(0)
  pictures, classes = stills(stills_per_thing)
  held_out = round(len(classes) * HELD_OUT)
  model = network()
  model.compile(keras.optimizers.Adam(2e-3), 'sparse_categorical_crossentropy', metrics=['accuracy'], jit_compile=False)
  model.fit(pictures[held_out:], classes[held_out:], batch_size=32, epochs=epochs, verbose=0)
  _, accuracy = model.evaluate(pictures[:held_out], classes[:held_out], verbose=0)
  path.parent.mkdir(parents=True, exist_ok=True)
  class_lists.write_class_names(path.with_suffix('.txt'), clips.THINGS)
  with files.atomic_write(path, 'wb', files.partial_path(path)) as file:
    model.save(file.name)
  return accuracy


def main(argv):
  cli.require(len(argv) == 1, f'unexpected argument {argv[-1]!r}; flags begin with --')
  if FETCH.value:
    from audionet_tf.teachers import frozen_teacher

    frozen_teacher.load(FETCH.value)
    return
  cli.require(
    OUTPUT.value and OUTPUT.value.endswith('.keras'), '--output=FILE.keras is missing: where to put the classifier'
  )
  accuracy = train(pathlib.Path(OUTPUT.value), STILLS.value, EPOCHS.value)
  print(f'{OUTPUT.value}: accuracy {accuracy:.0%} on held-out stills')


if __name__ == '__main__':
  cli.run(main)
