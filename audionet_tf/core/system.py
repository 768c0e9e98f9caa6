"""Settings of the process's memory allocator."""

import contextlib
import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # glibc, malloc.h
LARGE_BYTES = (1 << 31) - 1


def keep_freed_memory():
  """Makes glibc keep freed memory for later allocations, in one pool for all threads. No effect with other libraries.

  TensorFlow allocates every tensor anew. By default glibc returns large ones to the kernel, which clears every page
  again at the next step. The cost: the process keeps the most memory that it ever needed.
  """
  with contextlib.suppress(AttributeError, OSError):
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_MMAP_THRESHOLD, 1 << 30)
    mallopt(M_TRIM_THRESHOLD, LARGE_BYTES)
    mallopt(M_ARENA_MAX, 1)
