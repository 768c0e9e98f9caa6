"""Orders more records than memory holds: they are partitioned by the first bits of their keys, then ordered inside.

Partitions are unnamed files, which vanish with the process, however it ends.
"""

import contextlib
import struct
import tempfile

MEMORY_BYTES = 32 << 20  # of records that are ordered at a time
MOST_BITS = 7  # of a key by which one pass partitions: 128 open files
BUFFER_BYTES = 1 << 16  # of each open file
HEAD = struct.Struct('<QQQQ')  # before a record in a partition: its key, its length


def ordered(records, total_bytes, folder, bits_used=0):
  """Yields framed records in the order of their keys.

  Args:
    records: iterable of (key, bytes); a key is (64-bit hash, int, int), different for all records.
    total_bytes: of all records.
    folder: for the partitions, which need as much space as the records.
    bits_used: number of first bits that all hashes share.

  Yields:
    bytes.
  """
  bits = min(MOST_BITS, (2 * total_bytes // MEMORY_BYTES).bit_length(), 64 - bits_used)
  if total_bytes <= MEMORY_BYTES or not bits:
    for _, framed in sorted(records):
      yield framed
    return
  shift, mask = 64 - bits_used - bits, (1 << bits) - 1
  with contextlib.ExitStack() as stack:
    files = [stack.enter_context(tempfile.TemporaryFile(buffering=BUFFER_BYTES, dir=folder)) for _ in range(1 << bits)]
    sizes = [0] * len(files)
    for key, framed in records:
      number = key[0] >> shift & mask
      files[number].write(HEAD.pack(*key, len(framed)) + framed)
      sizes[number] += len(framed)
    for file, size in zip(files, sizes, strict=True):
      file.seek(0)
      yield from _ordered(file) if size <= MEMORY_BYTES else ordered(_read(file), size, folder, bits_used + bits)
      file.close()  # and its space is free again


def _ordered(file):
  """Yields the records of a partition that memory holds, in order; it is read as one piece, which is faster."""
  content, position, spans = file.read(), 0, []
  while position < len(content):
    *key, length = HEAD.unpack_from(content, position)
    begin = position + HEAD.size
    position = begin + length
    spans.append((*key, begin, position))
  spans.sort()
  for *_, begin, end in spans:
    yield content[begin:end]


def _read(file):
  """Yields the (key, bytes) of a partition."""
  while head := file.read(HEAD.size):
    *key, length = HEAD.unpack(head)
    yield tuple(key), file.read(length)
