"""Digests of files and folders."""

import hashlib


def file_digest(path):
  """sha256 of a file, hex."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def folder_digest(folder):
  """sha256 over the names and contents of a SavedModel's graph and variables, hex."""
  paths = [folder / 'saved_model.pb', *sorted((folder / 'variables').glob('*'))]
  lines = [f'{path.name} {file_digest(path)}' for path in paths]
  return hashlib.sha256('\n'.join(lines).encode()).hexdigest()
