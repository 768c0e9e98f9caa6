"""Long sound in pieces gives the same steps as one pass over all of it."""

import itertools
import tracemalloc

import keras
import numpy as np
import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.inference import chunking
from audionet_tf.models import receptive_field, registry

LAYERS = ('conv1', 'pool2', 'conv4', 'pool5')


@pytest.fixture(scope='module')
def student():
  """SoundNet-8 whose activations are not zero in the padding's place: batch norm shifts them."""
  keras.utils.set_random_seed(0)
  student = registry.build('soundnet8', {'a': 3})
  rng = np.random.default_rng(0)
  for layer in student.layers:
    if isinstance(layer, keras.layers.BatchNormalization):
      size = layer.gamma.shape
      layer.set_weights([rng.uniform(0.5, 2, size), rng.uniform(0, 1, size), rng.normal(size=size), np.ones(size)])
  return student


def tables(*layers):
  return {layer: registry.network('soundnet8').layer_windows[layer] for layer in layers}


def chunked(sound, size):
  return (sound[i : i + size] for i in range(0, len(sound), size))


def noise(samples, seed=0):
  return np.random.default_rng(seed).integers(-(1 << 14), 1 << 14, samples).astype(np.int16)


def chunked_outputs(student, sound, layers, samples, chunk=22_050):
  model, kept = registry.layer_model(student, 'soundnet8', layers), {layer: [] for layer in layers}
  for piece in chunking.pieces(chunked(sound, chunk), tables(*layers), samples):
    outputs = model(piece.pcm[None] / np.float32(32768), training=False)
    for layer, (begin, end) in piece.keep.items():
      kept[layer].append(outputs[layer][0, begin:end].numpy())
  return {layer: np.concatenate(parts) for layer, parts in kept.items()}


@pytest.mark.parametrize('samples', [4_574, 65_536, 65_537, 131_072, 196_607, 200_000])
def test_steps_of_several_layers_are_those_of_one_pass(student, samples):
  sound = noise(samples)
  outputs = chunked_outputs(student, sound, LAYERS, 65_536)
  expected = registry.layer_model(student, 'soundnet8', LAYERS)(sound[None] / np.float32(32768), training=False)
  for layer, values in expected.items():
    assert outputs[layer].shape == values[0].shape
    np.testing.assert_allclose(outputs[layer], values[0], rtol=1e-5, atol=1e-5 * np.abs(values).max())


def test_the_deepest_layers(student):
  sound = noise(900_001)
  outputs = chunked_outputs(student, sound, ('conv7', 'conv8'), 524_288)
  expected = registry.layer_model(student, 'soundnet8', ['conv7', 'conv8'])(sound[None] / np.float32(32768))
  for layer, values in expected.items():
    np.testing.assert_allclose(outputs[layer], values[0], rtol=1e-5, atol=1e-5 * np.abs(values).max())


@pytest.mark.parametrize('name', ['soundnet5', 'soundnet8'])
def test_every_step_once_whatever_the_chunks(name):
  windows = registry.network(name).layer_windows
  for layers in itertools.combinations(windows, 2):
    chosen = {layer: windows[layer] for layer in layers}
    for total, chunk in ((3_000_000, 777_777), (chunking.piece_samples(chosen) + 1, 100_000)):
      sound, counts = np.zeros(total, np.int8), dict.fromkeys(layers, 0)
      for piece in chunking.pieces(chunked(sound, chunk), chosen):
        for layer, (begin, end) in piece.keep.items():
          assert 0 <= begin <= end <= receptive_field.output_length(len(piece.pcm), chosen[layer])
          counts[layer] += end - begin
      assert counts == {layer: receptive_field.output_length(total, table) for layer, table in chosen.items()}


def test_pieces_that_are_too_short_are_refused():
  with pytest.raises(ValueError, match='too short'):
    list(chunking.pieces(chunked(np.zeros(400_000, np.int16), 1000), tables('conv8'), 65_536))


def test_memory_is_constant():
  second = np.zeros(22_050, np.int16)

  def peak(seconds):
    tracemalloc.start()
    for _ in chunking.pieces((second.copy() for _ in range(seconds)), tables('pool5')):
      pass
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak_bytes

  assert peak(600) < 1.1 * peak(150)


@pytest.mark.parametrize(
  ('samples', 'shortest', 'times'), [(1, 10, 10), (4, 10, 3), (5, 10, 2), (10, 10, 1), (25, 10, 1)]
)
def test_short_sound_is_repeated_whole_times(samples, shortest, times):
  sound = noise(samples)
  repetitions, chunks = chunking.repeated(chunked(sound, 3), shortest)
  assert repetitions == times
  assert np.concatenate(list(chunks)).tolist() == sound.tolist() * times


def test_no_sound_is_an_error():
  with pytest.raises(UserError, match='no sound'):
    chunking.repeated(iter([]), 10)
