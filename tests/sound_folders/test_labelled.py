"""Labelled sounds are found in folders and tables, and mistakes are told in a line."""

import os

import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.sound_folders import labelled


def make(folder, *names):
  for name in names:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b'')
  return folder


def found(folder):
  return [(sound.name, sound.label, sound.part) for sound in labelled.read(folder)]


def test_a_folder_per_class(tmp_path, capsys):
  names = ('dog/1.wav', 'dog/yard/2.MP3', 'cat/a.flac.gz', 'cat/b.mp4')
  make(tmp_path / 'set', *names, 'cat/notes.txt', 'cat/.hidden.wav', '.git/x.wav', 'loose.wav', 'empty/notes.txt')
  make(tmp_path / 'elsewhere', '1.wav', '2.wav')
  (tmp_path / 'set/owl').symlink_to(tmp_path / 'elsewhere')  # a class may be a link to its folder
  assert found(tmp_path / 'set') == sorted(
    [(name, name.partition('/')[0], '') for name in names] + [('owl/1.wav', 'owl', ''), ('owl/2.wav', 'owl', '')]
  )
  told = capsys.readouterr().err
  assert 'loose.wav' in told and 'folders without a sound file: empty' in told and 'notes' not in told


def test_names_that_no_table_holds_are_skipped(tmp_path, capsys):
  make(
    tmp_path, 'dog/1.wav', 'dog/2.wav', 'cat/1.wav', 'cat/2.wav', 'cat/caf\udce9.wav', 'b\udcffr/3.wav', 'dog/a\nb.wav'
  )
  assert {name.partition('/')[0] for name, _, _ in found(tmp_path)} == {'cat', 'dog'} and len(found(tmp_path)) == 4
  assert 'not UTF-8, or of several lines; rename them: b?r/3.wav, cat/caf?.wav, dog/a?b.wav' in capsys.readouterr().err


def test_an_audiofolder_with_a_table(tmp_path, capsys):
  make(tmp_path, 'a/1.wav', 'a/2.wav', 'b.wav', 'c.wav', 'unlisted.wav', 'd.txt')
  rows = ('a/1.wav,dog', 'a/2.wav,dog', 'b.wav,cat', '"./c.wav",cat', 'gone.wav,cat', 'd.txt,cat', 'p.wav,cat')
  (tmp_path / 'metadata.csv').write_text('\n'.join(['file_name,label', *rows]))
  os.mkfifo(tmp_path / 'p.wav')  # named where it is read
  expected = [('a/1.wav', 'dog', ''), ('a/2.wav', 'dog', ''), ('b.wav', 'cat', ''), ('c.wav', 'cat', '')]
  expected.append(('p.wav', 'cat', ''))
  assert found(tmp_path) == expected
  told = capsys.readouterr().err
  assert 'gone.wav' in told and 'd.txt' in told and 'p.wav' not in told


def test_parts_that_the_folders_name(tmp_path):
  make(tmp_path, 'train/dog/1.wav', 'train/cat/1.wav', 'test/dog/2.wav', 'validation/cat/2.wav')
  expected = [('test/dog/2.wav', 'dog', 'held_out'), ('train/cat/1.wav', 'cat', 'train')]
  expected += [('train/dog/1.wav', 'dog', 'train'), ('validation/cat/2.wav', 'cat', 'held_out')]
  assert found(tmp_path) == expected
  (tmp_path / 'metadata.csv').write_text('file_name,label\n' + ''.join(f'{n},{x}\n' for n, x, _ in expected))
  assert found(tmp_path) == expected


def test_classes_below_train_alone(tmp_path):
  make(tmp_path, 'train/dog/1.wav', 'train/dog/2.wav', 'train/cat/1.wav', 'train/cat/2.wav')
  expected = [(f'{label}/{number}.wav', label, '') for label in ('cat', 'dog') for number in (1, 2)]
  assert found(tmp_path) == expected


def test_train_beside_others_is_a_class(tmp_path):
  make(tmp_path, 'train/1.wav', 'train/2.wav', 'plane/1.wav', 'plane/2.wav')
  assert [label for _, label, _ in found(tmp_path)] == ['plane', 'plane', 'train', 'train']


@pytest.mark.parametrize(
  ('names', 'message'),
  [
    ((), 'no class; expected is a folder of sounds per class'),
    (('1.wav', '2.wav'), 'no class'),
    (('dog/1.wav', 'dog/2.wav'), "one class alone, 'dog'"),
    (('dog/1.wav', 'dog/2.wav', 'cat/1.wav', 'owl/1.wav'), 'a single sound of cat, owl;'),
    (
      ('train/dog/1.wav', 'train/cat/1.wav', 'test/cat/2.wav', 'test/owl/1.wav', 'test/owl/2.wav'),
      'single sound of dog',
    ),
    (('train/cat/1.wav', 'train/cat/2.wav', 'test/owl/1.wav', 'test/owl/2.wav'), 'no sound of owl is in train'),
  ],
)
def test_what_cannot_be_trained_on(tmp_path, names, message):
  with pytest.raises(UserError, match=message):
    labelled.read(make(tmp_path, *names))


@pytest.mark.parametrize(
  ('table', 'message'),
  [
    ('file_name,category\na.wav,x\n', 'no column label'),
    ('file_name,label\n../a.wav,x\n', 'expected is a path below'),
    ('file_name,label\n/etc/a.wav,x\n', 'expected is a path below'),
    ('file_name,label\na.wav,x\na.wav,y\n', "a.wav is 'x' and 'y'; expected is one label"),
    ('file_name,label\na.wav,\n', 'no label for a.wav'),
    ('file_name,label\na.wav,x\n', 'one class alone'),
  ],
)
def test_tables_that_are_refused(tmp_path, table, message):
  make(tmp_path, 'a.wav')
  (tmp_path / 'metadata.csv').write_text(table)
  with pytest.raises(UserError, match=message):
    labelled.read(tmp_path)


def test_a_missing_folder(tmp_path):
  with pytest.raises(UserError, match='no such folder; expected is one with a folder of sounds per class'):
    labelled.read(tmp_path / 'none')
