"""Requests that wait while the student answers others are answered together, in one call."""

import asyncio
import collections
import time
from concurrent import futures

import numpy as np

from audionet_tf.service.settings import RequestRefused


class Batcher:
  """Joins waiting requests of one length into a call. Nobody waits for company: an idle student answers at once.

  Args:
    answer: f32 [n, samples] -> dict of arrays [n, ...]; called in one thread of its own, never twice at a time.
    most_samples: in a call, unless a single request has more.
    most_waiting: requests, and as many calls of `other`; more are refused.
    watch: called with (requests joined, seconds that the first of them waited) for every call.
  """

  def __init__(self, answer, most_samples, most_waiting, watch=lambda joined, seconds: None):
    self.answer, self.most_samples, self.most_waiting, self.watch = answer, most_samples, most_waiting, watch
    self.waiting = collections.deque()  # of (f32 [n, samples], future, time of arrival)
    self.thread = futures.ThreadPoolExecutor(1, 'predict')
    self.turns = None
    self.others = 0

  async def ask(self, waveform):
    """The answers for f32 [n, samples]: dict of arrays [n, ...]. RequestRefused where too many wait."""
    if len(self.waiting) >= self.most_waiting:
      raise RequestRefused(503, f'{self.most_waiting} requests wait already', retry_seconds=1)
    future = asyncio.get_running_loop().create_future()
    self.waiting.append((waveform, future, time.monotonic()))
    if self.turns is None:
      self.turns = asyncio.create_task(self.take_turns())
    return await future

  async def other(self, function, *arguments):
    """`function(*arguments)` in the thread of the answers. RequestRefused where too many wait."""
    if self.others >= self.most_waiting:
      raise RequestRefused(503, f'{self.most_waiting} requests wait already', retry_seconds=1)
    self.others += 1
    try:
      return await self.called(function, *arguments)
    finally:
      self.others -= 1

  async def called(self, function, *arguments):
    return await asyncio.get_running_loop().run_in_executor(self.thread, function, *arguments)

  async def take_turns(self):
    try:
      while joined := self.joined():
        rows = np.concatenate([row for row, _, _ in joined]) if len(joined) > 1 else joined[0][0]
        self.watch(len(joined), time.monotonic() - joined[0][2])
        await self.give(rows, joined)
    finally:
      self.turns = None

  async def give(self, rows, joined):
    """Answers `rows`, and gives each of the requests its own."""
    try:
      outputs = await self.called(self.answer, rows)
    except Exception as error:  # whatever the student raises is for those who asked, not for the next ones
      outputs = error
    begin = 0
    for row, future, _ in joined:
      if not future.done() and isinstance(outputs, Exception):
        future.set_exception(outputs)
      elif not future.done():
        future.set_result({name: values[begin : begin + len(row)] for name, values in outputs.items()})
      begin += len(row)

  def joined(self):
    """The next requests that belong into one call, taken from those that wait; those given up are dropped."""
    wanted = [item for item in self.waiting if not item[1].done()]
    taken, left, samples = [], collections.deque(), 0
    for item in wanted:
      same = not taken or item[0].shape[1] == taken[0][0].shape[1]
      if same and (not taken or samples + item[0].size <= self.most_samples):
        taken.append(item)
        samples += item[0].size
      else:
        left.append(item)
    self.waiting = left
    return taken

  def close(self):
    self.thread.shutdown(wait=False, cancel_futures=True)
