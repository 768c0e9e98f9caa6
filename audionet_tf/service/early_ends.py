"""Work that ends before it is done: because the service stops, or because its client is gone."""

import asyncio
import contextlib

from audionet_tf.service.settings import RequestRefused


class Work:
  """All work of a service that takes time. `stop` ends what is under way and refuses what comes."""

  def __init__(self):
    self.deadlines, self.stopped = set(), False

  @contextlib.asynccontextmanager
  async def until_stopped(self):
    """Runs the context unless the service stops. RequestRefused: it stops."""
    if self.stopped:
      raise stopping()
    try:
      async with asyncio.timeout(None) as deadline:
        self.deadlines.add(deadline)
        try:
          yield
        finally:
          self.deadlines.discard(deadline)
    except TimeoutError:
      if not deadline.expired():
        raise
      raise stopping() from None

  def stop(self):
    """Ends what is under way. Called again, it does nothing: a deadline that expires cannot be set."""
    if not self.stopped:
      self.stopped = True
      for deadline in self.deadlines:
        deadline.reschedule(0)


def stopping():
  """The refusal of a service that stops."""
  return RequestRefused(503, 'the service is shutting down', retry_seconds=5)


async def while_connected(request, work):
  """The result of `work`, which is cancelled when the client leaves.

  Args:
    request: Starlette's, its body read.
    work: coroutine or task.

  Raises:
    RequestRefused: the client left. What `work` raises.
  """
  task, gone = asyncio.ensure_future(work), asyncio.create_task(disconnection(request))
  try:
    await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
  finally:
    gone.cancel()
    task.cancel()
  if not task.done():
    raise RequestRefused(400, 'client disconnected')
  return task.result()


async def disconnection(request):
  """Returns when the client has disconnected."""
  while (await request.receive())['type'] != 'http.disconnect':
    pass
