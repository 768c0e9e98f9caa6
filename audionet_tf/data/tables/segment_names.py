"""Names that downloaders of AudioSet give to their files, `<id>` being a YouTube id of eleven characters.

| name without suffix                      | the file holds                                      |
|------------------------------------------|-----------------------------------------------------|
| `<id>`, `<title> [<id>]`, `<title>-<id>` | the video, or the segment if it is too short for it |
| `Y<id>`                                  | the segment                                         |
| `<id>_30`, `<id>_30.000`                 | the segment that starts at 30 s                     |
| `<id>_30_40`, `<id>_30.000-40.000`       | the segment from 30 s to 40 s                       |
| `<id>_30000`, `<id>_30000_40000`         | the same in milliseconds                            |

Y may stand before the last three too. Times may have any number of decimals; without decimals they may be rounded.
yt-dlp leaves `.f140`, the number of a format, behind the name of sound that it did not merge with pictures.
"""

import math
import re

ID = r'[A-Za-z0-9_-]{11}'
TITLED = re.compile(rf'.*(?:\[({ID})\]|-({ID}))', re.DOTALL)
FORMAT = re.compile(r'\.f[0-9]+(-[0-9]+)?$')
PREFIXED = re.compile(rf'Y({ID})')
TIME = r'(\d+(?:\.\d+)?)'
TIMED = (re.compile(rf'(.+)_{TIME}[_-]{TIME}', re.DOTALL), re.compile(rf'(.+)_{TIME}()', re.DOTALL))
ROUNDED_SECONDS = 0.06  # one decimal


def is_id(name):
  """Whether a name may be a YouTube id."""
  return re.fullmatch(ID, name) is not None


def whole_names(stem):
  """Names of the videos that a file may hold as a whole, by its name without suffix."""
  names = [stem, FORMAT.sub('', stem)]
  titled = TITLED.fullmatch(names[1])
  return list(dict.fromkeys([*names, *(filter(None, titled.groups()) if titled else ())]))


def parts(stem):
  """The segments that a file may hold, by its name without suffix.

  Returns:
    list of (name of the video, start, end), the times str as in the name, '' where it has none.
  """
  found = [(stem, '', '')] if PREFIXED.fullmatch(stem) else []
  found += [match.groups() for match in (pattern.fullmatch(stem) for pattern in TIMED) if match]
  without = [(PREFIXED.fullmatch(name)[1], start, end) for name, start, end in found if PREFIXED.fullmatch(name)]
  return [part for part in found if part[1]] + without


def is_time(text, seconds):
  """Whether a time in a file's name, str, is that of a table, in seconds; '' may be any."""
  if not text:
    return True
  value = float(text)
  whole = '.' not in text and math.floor(seconds) <= value <= math.ceil(seconds)
  return whole or abs(value - seconds) < ROUNDED_SECONDS or abs(value - 1000 * seconds) < 1


def is_whole_file(spans, seconds):
  """Whether a file that is named after its video can only hold the segment: the video would be longer.

  Args:
    spans: set of (start, end) in seconds, of the rows for the video; (None, None) for rows without times.
    seconds: length of the file.
  """
  if len(spans) != 1 or (None, None) in spans:
    return False
  ((start, end),) = spans
  return seconds <= start or (start > 0 and seconds < end - 1 and abs(seconds - (end - start)) < 0.5)
