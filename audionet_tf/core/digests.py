"""Hexadecimal digests of texts, files and models. Stored data is found by them, so their values must not change."""

import functools
import hashlib


def of_text(text):
  """SHA-256 of a text."""
  return hashlib.sha256(text.encode()).hexdigest()


def sha256(file):
  """SHA-256 of an open binary file."""
  return hashlib.file_digest(file, 'sha256').hexdigest()


def of_file(path):
  """SHA-256 of a file."""
  with open(path, 'rb') as file:
    return sha256(file)


def of_files(paths):
  """SHA-256 of the concatenated SHA-256 digests of several files, in their order."""
  return hashlib.sha256(b''.join(bytes.fromhex(of_file(path)) for path in paths)).hexdigest()


def of_saved_model(folder):
  """SHA-256 of the names and contents of a SavedModel's graph and variables. `folder`: pathlib.Path."""
  paths = [folder / 'saved_model.pb', *sorted((folder / 'variables').glob('*'))]
  return of_text('\n'.join(f'{path.name} {of_file(path)}' for path in paths))


def of_weights(model):
  """SHA-256 of the bytes of all weights of a keras.Model."""
  digest = hashlib.sha256()
  for weight in model.weights:
    digest.update(weight.numpy().tobytes())
  return digest.hexdigest()


def of_array(array):
  """SHA-256 of the bytes of an array."""
  return hashlib.sha256(array.tobytes()).hexdigest()


def blake2b(data):
  """BLAKE2b, 128 bits, of bytes or of an open binary file. It identifies media files and records."""
  if isinstance(data, bytes):
    return hashlib.blake2b(data, digest_size=16).hexdigest()
  return hashlib.file_digest(data, functools.partial(hashlib.blake2b, digest_size=16)).hexdigest()


def of_content(path):
  """BLAKE2b, 128 bits, of a file."""
  with open(path, 'rb') as file:
    return blake2b(file)


def matches(path, expected):
  """Whether a file has the digest that Keras publishes for it: SHA-256 if it is 64 characters long, otherwise MD5."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256' if len(expected) == 64 else 'md5').hexdigest() == expected
