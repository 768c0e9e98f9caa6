"""Flips bits of files at places drawn from a seed."""

import random
import shutil


def flip(path, seed, start=0, end=None):
  """Flips one bit of a file within bytes [start, end); returns the byte's position."""
  draw = random.Random(seed)
  content = bytearray(path.read_bytes())
  place = draw.randrange(start, len(content) if end is None else end)
  content[place] ^= 1 << draw.randrange(8)
  path.write_bytes(bytes(content))
  return place


def contents(folder, skipped=('.lock', '.manifest.lock', 'failures.json')):
  """dict of relative path to content of all files below a folder, except those named in `skipped`."""
  files = (path for path in sorted(folder.rglob('*')) if path.is_file() and path.name not in skipped)
  return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def put_back(folder, files):
  """Makes the folder hold exactly the files of `contents`."""
  shutil.rmtree(folder)
  for name, content in files.items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
