"""Files that are nearly right: random changes of bytes, text, JSON, and of what containers hold.

A container's checksums would catch most changes of its bytes before any code of this project saw them. So three of four
changes are made inside: of a member of a ZIP archive, of the payload of a record, which get valid checksums again.
"""

import gzip
import io
import json
import random
import re
import struct
import zipfile

from audionet_tf.data.shards import tfrecord_io

BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFF)
NUMBERS = (0, 1, -1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 10**9)
WORDS = [
  '', '0', '-1', '1e999', 'nan', 'inf', '-0.0', '99999999999999999999', '1_000', '0x10', '٣', 'null', 'true', '""', '"',
  "'", ',', ';', '\t', '\n', '\r', '\0', '\ufeff', '\u202e', '../../x', '/dev/zero', '%s', '{', '[', '\\', 'x' * 5000,
]  # fmt: skip
LONG_TEXT = 2000  # characters; the lines of longer ones are not multiplied
VALUES = (None, True, 0, -1, 1e300, 10**30, '', 'x', '\0', [], [[]], {}, {'x': 1}, ['x'] * 3, 'x' * 5000)


def of_bytes(data, rng):
  """One to four changes of bytes."""
  data = bytearray(data)
  for _ in range(rng.randint(1, 4)):
    if not data:
      return b'\0'
    # Headers are at the ends of files.
    place = rng.choice(
      [rng.randrange(len(data)), rng.randrange(min(256, len(data))), -1 - rng.randrange(min(64, len(data)))]
    )
    place %= len(data)
    length = min(rng.choice([1, 2, 4, 16, 256, 4096]), len(data) - place)
    match rng.randrange(10):
      case 0 | 1:
        data[place] ^= 1 << rng.randrange(8)
      case 2:
        data[place] = rng.choice(BYTES)
      case 3 | 4:
        number = rng.choice(NUMBERS) & 0xFFFFFFFF
        data[place : place + 4] = struct.pack(rng.choice('<>') + 'I', number)
      case 5:
        del data[place:]
      case 6:
        del data[place : place + length]
      case 7:
        data[place:place] = data[place : place + length] * rng.choice([1, 1, 20])
      case 8:
        data[place : place + length] = bytes(length)
      case 9:
        data[place : place + length] = rng.randbytes(length)
  return bytes(data)


def of_text(data, rng):
  """One to three changes of words, numbers or lines of UTF-8 text; sometimes of its bytes or its encoding."""
  if rng.random() < 0.15:
    return of_bytes(data, rng)
  text = data.decode('utf-8', 'replace')
  for _ in range(rng.randint(1, 3)):
    words = list(re.finditer(r'[-+\w.]+|[^\w\s]', text)) or [re.match('', text)]
    word = rng.choice(words)
    lines = text.splitlines(keepends=True) or ['']
    number = rng.randrange(len(lines))
    match rng.randrange(6):
      case 0 | 1:
        text = text[: word.start()] + rng.choice(WORDS) + text[word.end() :]
      case 2:
        text = text[: word.start()] + rng.choice(WORDS) + text[word.start() :]
      case 3:
        text = ''.join(lines[:number] + lines[number + 1 :])
      case 4:
        times = rng.choice([1, 200]) if len(text) < LONG_TEXT else 1
        text = ''.join(lines[:number] + [lines[number]] * times + lines[number:])
      case 5:
        text = text[: word.start()] + rng.choice(words).group() + text[word.end() :]
  return text.encode(rng.choice(['utf-8'] * 8 + ['utf-16', 'utf-8-sig']), 'replace')


def of_json(data, rng):
  """One node of the document is replaced, removed or nested; sometimes the text is changed instead."""
  if rng.random() < 0.3:
    return of_text(data, rng)
  tree = json.loads(data)
  places = list(_places(tree))
  parent, key = rng.choice(places)
  match rng.randrange(5):
    case 0 | 1:
      parent[key] = rng.choice(VALUES)
    case 2:
      del parent[key]
    case 3:
      parent[key] = rng.choice(places)[0] if rng.random() < 0.5 else [parent[key]]
    case 4:
      value = parent[key]
      parent[key] = value * rng.choice([-1, 10**6]) if isinstance(value, int | float) else str(value)
  try:
    text = json.dumps(tree)
  except (ValueError, RecursionError):  # a node within itself
    text = '[' * 100_000
  return text.encode()


def _places(tree):
  """(parent, key) of every node below the root."""
  keys = tree if isinstance(tree, dict) else range(len(tree))
  for key in list(keys)[:200]:
    yield tree, key
    if isinstance(tree[key], dict | list):
      yield from _places(tree[key])


def in_zip(data, rng):
  """A mutation of one member of a ZIP archive, JSON as JSON."""
  if rng.random() < 0.25:
    return of_bytes(data, rng)
  source, out = zipfile.ZipFile(io.BytesIO(data)), io.BytesIO()
  chosen = rng.choice(source.namelist())
  with zipfile.ZipFile(out, 'w') as target:
    for name in source.namelist():
      member = source.read(name)
      if name == chosen:
        member = (of_json if name.endswith('.json') else of_bytes)(member, rng)
      target.writestr(name, member)
  return out.getvalue()


def in_gzip(data, rng):
  """A mutation of what is compressed, or of the compressed bytes."""
  return of_bytes(data, rng) if rng.random() < 0.5 else gzip.compress(of_bytes(gzip.decompress(data), rng), 1)


def in_records(data, rng):
  """A mutation of one record of a TFRecord file, or of their order or number; its checksums are right again."""
  if rng.random() < 0.25:
    return of_bytes(data, rng)
  payloads, position = [], 0
  while position < len(data):
    (length,) = struct.unpack_from('<Q', data, position)
    payloads.append(data[position + 12 : position + 12 + length])
    position += 16 + length
  number = rng.randrange(len(payloads))
  match rng.randrange(6):
    case 0:
      payloads.insert(number, payloads[-1])
    case 1:
      del payloads[number]
    case 2:
      rng.shuffle(payloads)
    case _:
      payloads[number] = of_bytes(payloads[number], rng)
  return b''.join(map(tfrecord_io.framed, payloads))


def seeded(seed, kind, number):
  """The random.Random of one file."""
  return random.Random(f'{seed} {kind} {number}')
