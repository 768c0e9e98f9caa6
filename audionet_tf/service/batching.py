"""Dynamic batching: requests that wait while the student is busy are answered in one call."""

import asyncio
import collections
import time
from concurrent import futures

import numpy as np

from audionet_tf.service.settings import RequestRefused


class Batcher:
  """Joins waiting requests of equal length into batches. An idle student is called at once.

  Args:
    predict: f32 [n, samples] -> dict of arrays [n, ...]; called in one thread of its own, never twice at a time.
    max_samples: of a batch, unless a single request has more.
    max_waiting: requests, and as many of `call`; more are refused.
    on_batch: called with (requests, seconds that the first of them waited) for every batch.
    least_samples: as which a shorter row counts.
  """

  def __init__(self, predict, max_samples, max_waiting, on_batch=lambda requests, seconds: None, least_samples=1):
    self.predict, self.max_samples, self.max_waiting, self.on_batch = predict, max_samples, max_waiting, on_batch
    self.least_samples = least_samples
    self.waiting = collections.deque()  # of (f32 [n, samples], future, time of arrival)
    self.thread = futures.ThreadPoolExecutor(1, 'predict')
    self.task = None
    self.calls = 0

  async def submit(self, waveform):
    """The outputs for f32 [n, samples]: dict of arrays [n, ...]. RequestRefused where too many wait."""
    if len(self.waiting) >= self.max_waiting:
      raise RequestRefused(503, f'{self.max_waiting} requests are waiting', retry_seconds=1)
    future = asyncio.get_running_loop().create_future()
    self.waiting.append((waveform, future, time.monotonic()))
    if self.task is None:
      self.task = asyncio.create_task(self.run_batches())
    return await future

  async def call(self, function, *arguments):
    """`function(*arguments)` in the thread of `predict`. RequestRefused where too many wait."""
    if self.calls >= self.max_waiting:
      raise RequestRefused(503, f'{self.max_waiting} requests are waiting', retry_seconds=1)
    self.calls += 1
    try:
      return await self.in_thread(function, *arguments)
    finally:
      self.calls -= 1

  async def in_thread(self, function, *arguments):
    return await asyncio.get_running_loop().run_in_executor(self.thread, function, *arguments)

  async def run_batches(self):
    """Answers batch after batch until no request waits."""
    try:
      while batch := self.next_batch():
        rows = np.concatenate([row for row, _, _ in batch]) if len(batch) > 1 else batch[0][0]
        self.on_batch(len(batch), time.monotonic() - batch[0][2])
        await self.answer(rows, batch)
    finally:
      self.task = None

  async def answer(self, rows, batch):
    """Calls `predict` with `rows`, and gives each request of the batch its outputs."""
    try:
      outputs = await self.in_thread(self.predict, rows)
    except Exception as error:  # whatever the student raises fails this batch, not the next one
      outputs = error
    begin = 0
    for row, future, _ in batch:
      if not future.done() and isinstance(outputs, Exception):
        future.set_exception(outputs)
      elif not future.done():
        future.set_result({name: values[begin : begin + len(row)] for name, values in outputs.items()})
      begin += len(row)

  def next_batch(self):
    """Takes the next requests that fit into one batch from those that wait; drops cancelled ones."""
    pending = [item for item in self.waiting if not item[1].done()]
    batch, others, samples = [], collections.deque(), 0
    for item in pending:
      same_length = not batch or item[0].shape[1] == batch[0][0].shape[1]
      size = len(item[0]) * max(item[0].shape[1], self.least_samples)
      if same_length and (not batch or samples + size <= self.max_samples):
        batch.append(item)
        samples += size
      else:
        others.append(item)
    self.waiting = others
    return batch

  def close(self):
    self.thread.shutdown(wait=False, cancel_futures=True)
