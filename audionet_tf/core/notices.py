"""Hides notices that TensorFlow writes to stderr and that no environment variable silences."""

import os
import re
import sys
import tempfile

from audionet_tf.core import interruption

NOTICE = re.compile(rb'WARNING: All log messages before absl::InitializeLog|[IW]\d{4} |\d[\d:. -]*: [IW] ')


def quietly(function, *arguments):
  """Calls the function, then prints what it wrote to stderr except for the notices; returns what it returned."""
  sys.stderr.flush()
  screen = interruption.screen = os.dup(2)
  with tempfile.TemporaryFile() as file:
    os.dup2(file.fileno(), 2)
    try:
      return function(*arguments)
    finally:
      sys.stderr.flush()
      os.dup2(screen, 2)
      interruption.screen = 2
      os.close(screen)
      file.seek(0)
      for line in file:
        if not NOTICE.match(line):
          os.write(2, line)
