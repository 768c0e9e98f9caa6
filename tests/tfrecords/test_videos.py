"""Which files are found, and their ids."""

import pytest

from audionet_tf.core.errors import UserError
from tfrecords import videos


class TestFind:
  def ids(self, *arguments):
    return [video.id for video in videos.find([str(a) for a in arguments])]

  def tree(self, folder):
    for name in ('x/a.mp4', 'x/y/b.MKV', 'x/y/c.mp4.gz', 'x/notes.txt', 'x/.hidden.mp4', 'x/.git/d.mp4', 'z/a.mp4'):
      path = folder / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(name.encode())
    return folder

  def test_ids_are_paths_relative_to_the_argument(self, tmp_path):
    root = self.tree(tmp_path)
    assert self.ids(root) == ['x/a.mp4', 'x/y/b.MKV', 'x/y/c.mp4.gz', 'z/a.mp4']
    assert self.ids(root / 'x') == ['a.mp4', 'y/b.MKV', 'y/c.mp4.gz']
    assert self.ids(root / 'x/a.mp4') == ['a.mp4']
    assert self.ids(root / '*/a.mp4') == ['x/a.mp4', 'z/a.mp4']
    assert self.ids(root / 'x/**') == ['a.mp4', 'notes.txt', 'y/b.MKV', 'y/c.mp4.gz']
    assert self.ids(root / '[xz]') == ['x/a.mp4', 'x/y/b.MKV', 'x/y/c.mp4.gz', 'z/a.mp4']

  def test_a_name_with_brackets_is_one_before_it_is_a_glob(self, tmp_path):
    fsspec = pytest.importorskip('fsspec')
    system = fsspec.filesystem('memory')
    folder = tmp_path.name
    try:
      for name in ('take[1].mp4', 'take1.mp4', 'take2.mp4'):
        system.pipe_file(f'/{folder}/{name}', name.encode())
        (tmp_path / name).write_text(name)
      for root in (tmp_path, f'memory://{folder}'):
        assert self.ids(f'{root}/take[1].mp4') == ['take[1].mp4']
        assert self.ids(f'{root}/take[2].mp4') == ['take2.mp4']
    finally:
      system.rm(f'/{folder}', recursive=True)

  def test_files_count_once(self, tmp_path):
    root = self.tree(tmp_path)
    (root / 'link.mp4').symlink_to('x/a.mp4')
    assert self.ids(root / 'x', root / 'x/a.mp4', root / 'link.mp4') == ['a.mp4', 'y/b.MKV', 'y/c.mp4.gz']

  def test_files_with_the_same_id_are_refused(self, tmp_path):
    root = self.tree(tmp_path)
    with pytest.raises(UserError, match=r'x/a\.mp4 and .*z/a\.mp4 would both have the id'):
      self.ids(root / 'x', root / 'z')

  @pytest.mark.parametrize('argument', ['', 'none.mp4', '*.avi', 'empty'])
  def test_arguments_without_videos_are_refused(self, tmp_path, monkeypatch, argument):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='no such video'):
      self.ids(argument)
