"""Addresses behind the prefixes of teachers: what is a store's is fetched, what is a path is left alone."""

import json
import pathlib

import numpy as np
import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import object_store, store_cache
from audionet_tf.python_api import training

PREFIXES = ['', 'a=', 'a=clip:', 'a=embedding:', 'a=sound:', 'clip:', 'embedding:', 'embedding:clip:', 'sound:',
            'sound@22050:']  # fmt: skip


@pytest.mark.parametrize('prefix', PREFIXES)
def test_an_address_has_the_whole_prefix_before_it(prefix):
  assert object_store.named_path(f'{prefix}memory://b/x.npz') == (prefix, 'memory://b/x.npz')


@pytest.mark.parametrize('prefix', PREFIXES)
@pytest.mark.parametrize('path', ['/home/me/x', '//home/me/x', 'x', './x'])
def test_a_local_path_stays_a_whole(prefix, path):
  assert object_store.named_path(prefix + path) == ('', prefix + path)
  assert not object_store.is_address(prefix + path)


def test_training_takes_absolute_paths_and_fetches_addresses(tmp_path, monkeypatch):
  monkeypatch.setenv('AUDIONET_CACHE', str(tmp_path))
  object_store.put_bytes('memory://vectors/x.npz', b'content')

  def sources(teacher):
    return [config.source for config in training._teachers({'source': teacher}, {})[0]]

  ears = {'ears': f'sound:{tmp_path}/yamnet', 'eyes': f'clip:{tmp_path}', 'words': f'embedding:{tmp_path}/x.npz'}
  assert sources(ears) == list(ears.values())
  (fetched,) = sources('embedding:memory://vectors/x.npz')
  local = fetched.removeprefix('embedding:')
  assert pathlib.Path(local).read_bytes() == b'content'
  assert store_cache.addressed(fetched) == 'embedding:memory://vectors/x.npz'
  with pytest.raises(UserError, match='no store of this kind is known'):
    sources('embedding:unknown://x.npz')


def test_a_teacher_in_words_describes_its_address_not_its_copy(tmp_path, monkeypatch):
  from audionet_tf.teachers import frozen_teacher

  monkeypatch.setenv('AUDIONET_CACHE', str(tmp_path / 'cache'))
  np.savez(tmp_path / 'x.npz', clip=np.eye(3, dtype=np.float32))
  object_store.put_bytes('memory://described/x.npz', (tmp_path / 'x.npz').read_bytes())
  local = store_cache.fetched('memory://described/x.npz')
  described = frozen_teacher.load(f'embedding:{local}').description
  assert described['source'] == 'embedding:memory://described/x.npz'
  assert str(tmp_path) not in str(described)


def test_the_input_range_of_vectors_is_that_of_json(tmp_path):
  import keras

  from audionet_tf.teachers import frozen_teacher

  image = keras.Input([None, None, 3])
  keras.Model(image, keras.layers.GlobalAveragePooling2D()(image)).save(tmp_path / 'colours.keras')
  described = frozen_teacher.load(f'embedding:{tmp_path}/colours.keras', input_range=(0, 1)).description
  assert described['input_range'] == [0, 1] and json.loads(json.dumps(described)) == described
