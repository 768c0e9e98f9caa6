"""What the pages of a Parquet file unpack to, by the head of each: none is unpacked.

The sizes and encodings at the end of such a file are claims of whoever wrote it; pyarrow allocates what the heads of
pages say, up to 2 GiB each, and a page of a few KiB can hold that.
"""

import os

MOST_HEAD = 1 << 16  # bytes of the head of a page
DATA, DATA_V2 = 0, 3  # types of pages; others are indices and dictionaries
DATA_HEADS = {DATA: (5, 2), DATA_V2: (8, 4)}  # field of the head for the type, and in it the field of the encoding
PLAIN = 0
DEEPEST = 4  # structs in one another


def check(path, metadata, most_bytes):
  """ValueError unless all columns are of PLAIN values in pages that unpack to so many bytes together.

  The work is bounded by the size of the file: no columns may share bytes of it, nor have many pages without any.

  Args:
    path: of the file.
    metadata: pyarrow.parquet.FileMetaData of it.
    most_bytes: allowed.
  """
  total = packed_total = 0
  with open(path, 'rb') as file:
    file_bytes = os.fstat(file.fileno()).st_size
    for number in range(metadata.num_row_groups):
      group = metadata.row_group(number)
      for column in map(group.column, range(group.num_columns)):
        place, end = column.data_page_offset, column.data_page_offset + column.total_compressed_size
        if column.dictionary_page_offset is not None or not 0 <= place <= end <= file_bytes:
          raise ValueError(f'{column.path_in_schema}: not pages of plain values within the file')
        packed_total += end - place
        if packed_total > file_bytes:
          raise ValueError(f'its columns take {packed_total} bytes or more, more than the file')
        empty = 0
        while place < end:
          file.seek(place)
          kind, unpacked, packed, encoding, head = page(file.read(min(MOST_HEAD, file_bytes - place)))
          if kind not in DATA_HEADS or encoding != PLAIN:
            raise ValueError(f'{column.path_in_schema}: a page of type {kind}, encoding {encoding}, expected is PLAIN')
          empty += not unpacked
          if empty > 1:
            raise ValueError(f'{column.path_in_schema}: empty pages')
          total += unpacked
          if total > most_bytes:
            raise ValueError(f'its pages unpack to {total} bytes or more, allowed are {most_bytes}')
          place += head + packed
        if place != end:
          raise ValueError(f'{column.path_in_schema}: its pages do not end where they should')


def page(data):
  """(type, bytes unpacked, bytes packed, encoding, bytes of the head) of a page. `data`: bytes that begin with it.

  Raises:
    ValueError: these are none.
  """
  try:
    fields, place = _struct(data, 0)
    kind, unpacked, packed = fields[1], fields[2], fields[3]
    head, encoding = DATA_HEADS.get(kind, (None, None))
    if not (0 <= unpacked < 1 << 31 and 0 <= packed < 1 << 31):
      raise ValueError('a page of impossible size')
    return kind, unpacked, packed, fields[head][encoding] if head else None, place
  except (IndexError, KeyError, TypeError):
    raise ValueError('damaged head of a page') from None


def _struct(data, place, depth=0):
  """(dict of field to value, place behind it) of a struct in Thrift's compact protocol; texts and doubles are None."""
  fields, field = {}, 0
  if depth > DEEPEST:
    raise ValueError('damaged head of a page')
  while lead := data[place]:
    place += 1
    kind = lead & 15
    if lead >> 4:
      field += lead >> 4
    else:
      field, place = _integer(data, place)
    if field in fields or not 0 < field < 1 << 15:  # one reader would take another value than the other
      raise ValueError('damaged head of a page')
    if kind in (1, 2):  # a bool is its type
      fields[field] = kind == 1
    elif kind == 3:
      fields[field], place = data[place], place + 1
    elif kind in (4, 5, 6):
      fields[field], place = _integer(data, place)
    elif kind == 7:
      fields[field], place = None, place + 8
    elif kind == 8:
      size, place = _varint(data, place)
      fields[field], place = None, place + size
    elif kind == 12:
      fields[field], place = _struct(data, place, depth + 1)
    else:
      raise ValueError('damaged head of a page')
  return fields, place + 1


def _integer(data, place):
  """(int, place behind it): signs alternate."""
  value, place = _varint(data, place)
  return value >> 1 ^ -(value & 1), place


def _varint(data, place):
  """(int, place behind it), seven bits a byte, the lowest first."""
  value = shift = 0
  while True:
    byte = data[place]
    value |= (byte & 127) << shift
    place, shift = place + 1, shift + 7
    if byte < 128:
      return value, place
    if shift > 63:
      raise ValueError('damaged head of a page')
