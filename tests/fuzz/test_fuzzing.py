"""The fuzzer finds what it looks for: errors, the end of the process, hanging, memory."""

import os
import re
import time

import fuzzing
import mutating
import pytest

from audionet_tf.core.errors import UserError


def make(folder):
  (folder / 'x').write_bytes(b'good')
  return folder / 'x'


def numbered(data, rng):
  return str(rng.randrange(6)).encode()


def open_file(path):
  text = path.read_text()
  if text == '1':
    raise UserError('refused')
  if text == '2':
    raise KeyError('no key')
  if text == '3':
    os.abort()
  if text == '4':
    bytearray(fuzzing.MEMORY_BYTES + (1 << 30))  # also where the process has given some back meanwhile
  while text == '5':
    time.sleep(0.1)
  (path.parent / 'left').write_text('left') if text == '0' else None
  assert text == '0' or not (path.parent / 'left').exists()


def test_findings_are_told_apart_and_the_others_are_tried(tmp_path):
  texts = [numbered(b'', mutating.seeded(8, 'x', number)).decode() for number in range(12)]
  assert set(texts) == set('012345')
  found, accepted = fuzzing.findings('x', fuzzing.Kind(12, make, open_file, numbered), tmp_path / 'x', 12, 8, 5)
  assert accepted == texts.count('0')
  kinds = {'2': 'KeyError', '3': r'ended by -\d+', '4': 'MemoryError', '5': 'Timeout'}
  expected = [f'x {number}, seed 8.*{kinds[text]}' for number, text in enumerate(texts) if text in kinds]
  assert len(found) == len(expected)
  for line, pattern in zip(found, expected, strict=True):
    assert re.search(pattern, line, re.DOTALL), line


def fail(path):
  raise UserError('never')


def test_a_good_file_that_is_refused_fails_the_test(tmp_path):
  with pytest.raises(AssertionError, match='the good file is not accepted'):
    fuzzing.findings('x', fuzzing.Kind(1, make, fail, numbered), tmp_path / 'x', 1, 0)


@pytest.mark.parametrize('change', [mutating.of_bytes, mutating.of_text, mutating.of_json])
def test_mutations_differ_and_are_the_same_again(change):
  data = b'{"a": [1, 2.5, "x"], "b": {"c": null}}'
  results = [change(data, mutating.seeded(1, 'k', number)) for number in range(200)]
  assert results == [change(data, mutating.seeded(1, 'k', number)) for number in range(200)]
  assert len(set(results)) > 60 and results.count(data) < 40
