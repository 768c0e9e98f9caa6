"""A generator read ahead by a thread."""

from concurrent import futures

import joblib


def ahead(items):
  """The items of a generator, the next one made in another thread meanwhile where there is a core for it."""
  if joblib.cpu_count() == 1:
    yield from items
    return
  with futures.ThreadPoolExecutor(1) as pool:
    future = pool.submit(next, items, None)
    while (item := future.result()) is not None:
      future = pool.submit(next, items, None)
      yield item
