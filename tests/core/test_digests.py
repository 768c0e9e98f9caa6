"""Digests. Stored labels, features, runs and records are found by them, so their values must not change."""

import hashlib

import pytest

from audionet_tf.core import digests

ABC = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'  # FIPS 180-2, appendix B.1


@pytest.fixture
def file(tmp_path):
  path = tmp_path / 'abc'
  path.write_bytes(b'abc')
  return path


def test_texts_and_files(file):
  assert digests.of_text('abc') == digests.of_file(file) == ABC
  assert digests.of_files([file, file]) == hashlib.sha256(2 * bytes.fromhex(ABC)).hexdigest()


def test_saved_model_depends_on_names_and_contents(tmp_path):
  (tmp_path / 'variables').mkdir()
  for name in ('saved_model.pb', 'variables/b', 'variables/a'):
    (tmp_path / name).write_bytes(b'abc')
  lines = f'saved_model.pb {ABC}\na {ABC}\nb {ABC}'
  assert digests.of_saved_model(tmp_path) == hashlib.sha256(lines.encode()).hexdigest()


def test_media_and_records(file):
  expected = 'cf4ab791c62b8d2b2109c90275287816'  # b2sum --length=128
  with open(file, 'rb') as opened:
    assert digests.blake2b(opened) == digests.blake2b(b'abc') == expected


def test_digests_published_by_keras(file):
  assert digests.matches(file, ABC) and digests.matches(file, '900150983cd24fb0d6963f7d28e17f72')  # RFC 1321
  assert not digests.matches(file, ABC[::-1])
