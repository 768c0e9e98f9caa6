"""Reads a generator ahead in a thread."""

from concurrent import futures

import joblib


def ahead(items):
  """Yields the items of a generator, never None; with several cores, a thread computes the next one meanwhile."""
  if joblib.cpu_count() == 1:
    yield from items
    return
  with futures.ThreadPoolExecutor(1) as pool:
    future = pool.submit(next, items, None)
    while (item := future.result()) is not None:
      future = pool.submit(next, items, None)
      yield item
