"""Files of classes in the user's words, against literal lists."""

import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import class_prompts


def test_names_prompts_and_templates(tmp_path):
  path = tmp_path / 'words.txt'
  path.write_text('# my sounds\nrain | rain on a\twindow |  | hail\n\n  dog   barking\nsea |\n', encoding='utf-8-sig')
  assert class_prompts.read(path) == {
    'rain': ['rain on a window', 'hail'],
    'dog barking': ['a photo of dog barking', 'the sound of dog barking'],
    'sea': ['a photo of sea', 'the sound of sea'],
  }


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ('', '0 classes'),
    ('dog\n', '1 classes; a distribution needs two'),
    ('dog\ncat\ndog | hound\n', "line 3 repeats the class 'dog'"),
    ('dog\n | a cat\n', 'line 2 has no class before the first'),
    ('dog\ncat | ' + 'x' * 1001, 'line 2: a prompt of 1001 characters'),
    ('\n'.join(map(str, range(10_001))), '20002 prompts, allowed are up to 20000'),
    ('dog barking in a yard\n\0\n', 'line 2 holds a NUL'),
  ],
)
def test_mistakes_are_named(tmp_path, content, message):
  path = tmp_path / 'words.txt'
  path.write_text(content)
  with pytest.raises(UserError, match=message) as caught:
    class_prompts.read(path)
  assert str(path) in str(caught.value)
