"""The index of a collection: made once, extended by what is new, made again where it is damaged."""

import contextlib
import os
import zipfile

import numpy as np
import pytest

from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.retrieval import index

WIDTH = 26


class Embedder:
  """Counts what it reads; a file has as many windows as letters."""

  def __init__(self):
    self.asked = []

  def __call__(self, path):
    self.asked.append(path.name)
    letters = path.read_text()
    if not letters:
      raise MediaError(path, 'no sound in it')
    vectors = np.eye(WIDTH, dtype=np.float16)[[ord(letter) - ord('a') for letter in letters]]
    return np.stack([np.arange(len(letters)), np.arange(len(letters)) + 1.0], 1), vectors


@pytest.fixture
def collection(tmp_path):
  for name, letters in (('one.wav', 'abc'), ('two.wav', 'd'), ('silent.wav', '')):
    (tmp_path / name).write_text(letters)
  return tmp_path


def extended(folder, embed, model='student'):
  found, unreadable = index.extended(folder / 'x.npz', model, WIDTH, sorted(folder.glob('*.wav')), embed)
  letters = {os.path.basename(path): entry.vectors.argmax(1).tolist() for path, entry in found.items()}
  return letters, [path.name for path in unreadable]


def test_only_new_and_changed_files_are_read(collection, capsys):
  embed = Embedder()
  first = extended(collection, embed)
  assert first == ({'one.wav': [0, 1, 2], 'two.wav': [3]}, ['silent.wav'])
  assert 'silent.wav: no sound in it' in capsys.readouterr().err
  assert extended(collection, embed) == first and embed.asked[3:] == ['silent.wav']
  (collection / 'new.wav').write_text('zz')
  (collection / 'two.wav').write_text('ef')
  (collection / 'one.wav').unlink()
  embed.asked.clear()
  assert extended(collection, embed)[0] == {'new.wav': [25, 25], 'two.wav': [4, 5]}
  assert embed.asked == ['new.wav', 'silent.wav', 'two.wav']
  assert len(index.read(collection / 'x.npz', 'student', WIDTH)) == 2


@pytest.mark.parametrize('other', ['arrays', 'empty', 'half', 'sound', 'zip'])
def test_a_file_that_is_no_index_is_left_alone(collection, other):
  path = collection / 'x.npz'
  if other == 'arrays':
    np.savez(path, names=['a'], vectors=np.eye(1))
  elif other == 'zip':
    with zipfile.ZipFile(path, 'w') as archive:
      archive.writestr('letter.txt', 'dear')
  else:
    path.write_bytes({'empty': b'', 'half': b'PK', 'sound': b'RIFF....WAVE'}[other])
  before = path.read_bytes()
  with pytest.raises(UserError, match=r'x.npz: not an index; choose another --index=FILE'):
    extended(collection, Embedder())
  assert path.read_bytes() == before


@pytest.mark.parametrize('damage', ['compressed', 'counts', 'flipped', 'nan', 'objects', 'truncated', 'width'])
def test_a_damaged_index_is_reported_in_a_line_and_made_again(collection, capsys, damage):
  whole = extended(collection, Embedder())[0]
  path = collection / 'x.npz'
  content = bytearray(path.read_bytes())
  arrays = dict(np.load(path))
  if damage == 'truncated':
    path.write_bytes(content[: len(content) // 2])
  elif damage == 'flipped':
    place = content.index(arrays['times'].tobytes())
    content[place] ^= 1
    path.write_bytes(content)
  elif damage == 'compressed':  # 134 MB of zeros fit in 130 kB
    np.savez_compressed(path, **arrays)
  else:
    arrays |= {
      'counts': {'counts': arrays['counts'] + 1},
      'nan': {'vectors': arrays['vectors'] * np.float16('nan')},
      'objects': {'paths': arrays['paths'].astype(object)},
      'width': {'vectors': arrays['vectors'][:, :3]},
    }[damage]
    np.savez(path, **arrays)
  capsys.readouterr()
  embed = Embedder()
  assert extended(collection, embed)[0] == whole and len(embed.asked) == 3
  lines = [line for line in capsys.readouterr().err.splitlines() if 'x.npz' in line]
  assert len(lines) == 1 and 'damaged' in lines[0] and lines[0].endswith('it is made again')
  assert len(index.read(path, 'student', WIDTH)) == 2


def test_an_index_of_another_student_is_made_again(collection, capsys):
  extended(collection, Embedder())
  embed = Embedder()
  extended(collection, embed, 'other')
  assert len(embed.asked) == 3 and 'of another student' in capsys.readouterr().err


def test_what_was_read_before_an_interruption_is_kept(collection):
  embed = Embedder()

  def interrupted(path):
    if path.name == 'two.wav':
      raise KeyboardInterrupt
    return embed(path)

  with pytest.raises(KeyboardInterrupt):
    extended(collection, interrupted)
  embed.asked.clear()
  assert len(extended(collection, embed)[0]) == 2 and 'one.wav' not in embed.asked


@pytest.mark.parametrize('interrupted', [False, True])
def test_files_that_vanish_while_they_are_read_leave_no_index(collection, interrupted):
  embed = Embedder()

  def vanishing(path):
    if path.name == 'two.wav' and interrupted:
      raise KeyboardInterrupt
    found = embed(path)
    path.unlink()
    return found

  (collection / 'silent.wav').unlink()
  with pytest.raises(KeyboardInterrupt) if interrupted else contextlib.nullcontext():
    assert extended(collection, vanishing) == ({'one.wav': [0, 1, 2], 'two.wav': [3]}, [])
  assert not (collection / 'x.npz').exists()


def test_nothing_readable(tmp_path):
  (tmp_path / 'silent.wav').write_text('')
  with pytest.raises(UserError, match='none of the 1 files can be read'):
    extended(tmp_path, Embedder())
  assert not (tmp_path / 'x.npz').exists()


def test_two_searches_that_write_at_once_leave_a_whole_index(tmp_path, monkeypatch):
  path, save = tmp_path / 'x.npz', np.savez
  entry = index.Entry((1, 1), np.array([[0.0, 1.0]]), np.eye(1, WIDTH, dtype=np.float16))

  def save_while_another_does(file, **arrays):
    monkeypatch.setattr(np, 'savez', save)
    index.write(path, 'student', {'other.wav': entry})
    save(file, **arrays)

  monkeypatch.setattr(np, 'savez', save_while_another_does)
  index.write(path, 'student', {'own.wav': entry})
  assert list(index.read(path, 'student', WIDTH)) == ['own.wav']
  assert list(tmp_path.iterdir()) == [path]
