"""Digests of files and folders."""

import functools
import hashlib


def of_text(text):
  """sha256 of a text, hex."""
  return hashlib.sha256(text.encode()).hexdigest()


def sha256(file):
  """sha256 of an open binary file, hex."""
  return hashlib.file_digest(file, 'sha256').hexdigest()


def of_file(path):
  """sha256 of a file, hex."""
  with open(path, 'rb') as file:
    return sha256(file)


def of_files(paths):
  """sha256 over the sha256 of several files, in their order, hex."""
  return hashlib.sha256(b''.join(bytes.fromhex(of_file(path)) for path in paths)).hexdigest()


def of_saved_model(folder):
  """sha256 over the names and contents of a SavedModel's graph and variables, hex. `folder`: pathlib.Path."""
  paths = [folder / 'saved_model.pb', *sorted((folder / 'variables').glob('*'))]
  return of_text('\n'.join(f'{path.name} {of_file(path)}' for path in paths))


def of_weights(model):
  """sha256 of the bytes of all weights of a keras.Model, hex."""
  digest = hashlib.sha256()
  for weight in model.weights:
    digest.update(weight.numpy().tobytes())
  return digest.hexdigest()


def blake2b(data):
  """128 bits of blake2b, hex, of bytes or of an open binary file: a name for media files and records."""
  if isinstance(data, bytes):
    return hashlib.blake2b(data, digest_size=16).hexdigest()
  return hashlib.file_digest(data, functools.partial(hashlib.blake2b, digest_size=16)).hexdigest()


def matches(path, expected):
  """Whether a file has the digest that Keras publishes: MD5, or SHA-256 where it is 64 characters long."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256' if len(expected) == 64 else 'md5').hexdigest() == expected
