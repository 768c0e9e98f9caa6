"""Tables of classes and vectors, and what is refused of them."""

import numpy as np
import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import word_tables


def test_a_table_is_read_as_it_was_written(tmp_path):
  table = word_tables.make(['rain', 'Hündin'], np.array([[3, 4], [0, -2]], np.float16), 0.2)
  word_tables.write(tmp_path / 'words.npz', table)
  read = word_tables.read(tmp_path / 'words.npz')
  assert (read.names, read.temperature) == (['rain', 'Hündin'], 0.2)
  np.testing.assert_allclose(read.vectors, [[0.6, 0.8], [0, -1]], rtol=1e-6)


@pytest.mark.parametrize(
  ('arrays', 'message'),
  [
    ({'names': ['a', 'b']}, 'KeyError'),
    ({'names': ['a', 'b'], 'vectors': np.eye(3)}, r'2 names, vectors \[3, 3\]'),
    ({'names': ['a'], 'vectors': np.eye(1)}, 'expected are two classes or more'),
    ({'names': ['a', 'a'], 'vectors': np.eye(2)}, 'names are empty or repeat'),
    ({'names': ['a', 'b'], 'vectors': np.zeros([2, 2])}, 'a vector is zero'),
    ({'names': ['a', 'b'], 'vectors': np.full([2, 2], np.nan)}, 'or not finite'),
    ({'names': ['a', 'b'], 'vectors': np.eye(2, dtype=int)}, 'vectors int64'),
    ({'names': np.array(['a', 'b'], object), 'vectors': np.eye(2)}, 'allow_pickle=False'),
    ({'names': ['a', 'b'], 'vectors': np.eye(2), 'temperature': 0.0}, 'temperature is 0.0'),
    ({'names': ['a', 'b'], 'vectors': np.ones([2, 40_000])}, 'vectors float64'),
  ],
)
def test_other_forms_are_one_line(tmp_path, arrays, message):
  path = tmp_path / 'words.npz'
  np.savez(path, **arrays)
  with pytest.raises(UserError, match=message) as caught:
    word_tables.read(path)
  assert str(path) in str(caught.value) and '\n' not in str(caught.value)


def test_damaged_and_missing_files(tmp_path):
  (tmp_path / 'words.npz').write_bytes(b'PK\3\4nonsense')
  for path, message in ((tmp_path / 'words.npz', 'not a table'), (tmp_path / 'none.npz', 'no such file')):
    with pytest.raises(UserError, match=message):
      word_tables.read(path)


def test_a_bomb_is_refused_unread(tmp_path, monkeypatch):
  monkeypatch.setattr(word_tables, 'MOST_BYTES', 100)
  np.savez_compressed(tmp_path / 'words.npz', names=['a', 'b'], vectors=np.ones([2, 100]))
  with pytest.raises(UserError, match='allowed are up to 100'):
    word_tables.read(tmp_path / 'words.npz')
