"""The memory of the machine that this runs on."""

import contextlib
import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # glibc, malloc.h
LARGE_BYTES = (1 << 31) - 1


def keep_freed_memory():
  """Tells glibc to keep freed memory for the next allocation, in one pool for all threads. Elsewhere it does nothing.

  TensorFlow allocates every tensor anew. glibc returns large ones to the kernel, which clears each page again at the
  next step. The price: the process keeps the largest amount of memory that it once needed.
  """
  with contextlib.suppress(AttributeError, OSError):
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_MMAP_THRESHOLD, 1 << 30)
    mallopt(M_TRIM_THRESHOLD, LARGE_BYTES)
    mallopt(M_ARENA_MAX, 1)
