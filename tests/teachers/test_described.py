"""What students say about their teachers is untrusted, whichever command asks for it."""

import types

import numpy as np
import pytest

from audionet_tf.core.errors import UserError
from audionet_tf.data.tables import word_tables
from audionet_tf.evaluation import teacher_agreement
from audionet_tf.retrieval import vectors
from audionet_tf.teachers import student_words

PLAIN = {'source': 'x.keras', 'weights': 'none', 'dtype': 'float32'}


def student(**about):
  """Settings of a student of embeddings that got classes too, so that all commands ask for the same teacher."""
  teachers = {'space': PLAIN | about} if about else {}
  return types.SimpleNamespace(
    student='audionet', classes={'space': ['a', 'b']}, teachers=teachers, embeddings={'space': 3}
  )


def evaluated(settings, folder):
  return teacher_agreement.named_teacher(settings)


def sought_by_picture(settings, folder):
  return vectors.of_picture(settings, folder / 'gone.jpg')


def sought_by_text(settings, folder):
  return vectors.of_text(settings, 'dog')


def with_words(settings, folder):
  (folder / 'words.txt').write_text('dog\ncat\n')
  return student_words.with_classes('run', None, settings, folder / 'words.txt')


def with_table(settings, folder):
  word_tables.write(folder / 'words.npz', word_tables.make(['dog', 'cat'], np.eye(2, 3)))
  return student_words.with_classes('run', None, settings, folder / 'words.npz')


ALL = [evaluated, sought_by_picture, sought_by_text, with_words]


@pytest.mark.parametrize('ask', ALL)
def test_no_address_is_followed(tmp_path, ask):
  with pytest.raises(UserError, match='the teacher has its source at embedding:clip:s3://b/t; '):
    ask(student(source='embedding:clip:s3://b/t'), tmp_path)
  with pytest.raises(UserError, match='the teacher has its weights at s3://b/w'):
    ask(student(source='clip:x', weights='s3://b/w'), tmp_path)


@pytest.mark.parametrize('ask', [*ALL, with_table])
@pytest.mark.parametrize(
  'about', [{'source': 5}, {'weights': ['x']}, {'temperature': 'x'}, {'temperature': -1.0}, {'input_range': 'x'}]
)
def test_damaged_descriptions_are_told_in_a_line(tmp_path, ask, about):
  with pytest.raises(UserError, match=f'the record of the teacher in the model is damaged .{next(iter(about))}.; '):
    ask(student(**about), tmp_path)


@pytest.mark.parametrize(
  ('ask', 'message'),
  [
    (evaluated, 'does not record its teacher; name the teacher with --teacher'),
    (sought_by_picture, 'does not record its teacher, which could see .*gone.jpg; ask by a sound'),
    (sought_by_text, r"'dog': the teacher of this student \(unknown\) knows no texts; expected is a table"),
    (with_words, r'words.txt: the teacher of this student \(unknown\) knows no texts; expected is a table'),
  ],
)
def test_students_that_record_no_teacher(tmp_path, ask, message):
  with pytest.raises(UserError, match=message):
    ask(student(), tmp_path)
