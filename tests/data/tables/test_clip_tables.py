"""Names of the results for the clips of a table."""

import pathlib

import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import clip_tables


@pytest.mark.parametrize('audio', ['sounds', '/data/sounds', '../sounds', '.'])
def test_results_are_named_by_relative_paths_and_stay_in_their_folder(tmp_path, audio):
  names = {'x.wav': 'x.wav', './a//x.wav': 'a/x.wav', 'b/x.wav': 'b/x.wav', '/data/sounds/c/x.wav': 'x.wav'}
  names |= {'../y.wav': 'y.wav', 'a/../../z.wav': 'z.wav', '/etc/w.wav': 'w.wav'}
  if audio.startswith('/'):
    names['/data/sounds/c/x.wav'] = 'c/x.wav'
  (tmp_path / 'c.csv').write_text('\n'.join(['path', *names]))
  assert [clip.name for clip in clip_tables.read(tmp_path / 'c.csv', audio)] == list(names.values())


def test_only_equal_names_are_refused():
  one, other = (clip_tables.Clip(pathlib.Path(name), name=name) for name in ('a/x.wav', 'b/x.wav'))
  clip_tables.check_clips([one, other])
  with pytest.raises(UserError, match='2 inputs are called a/x.wav: .*--media_root'):
    clip_tables.check_clips([one, other, one])
