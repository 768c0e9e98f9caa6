"""Bodies of requests, read within limits of size and time."""

import asyncio

from starlette.requests import ClientDisconnect

from audionet_tf.core import text
from audionet_tf.service.settings import RequestRefused, sizes

SILENT_SECONDS = 20  # in which some of a body must arrive


async def body_of(request, max_bytes, seconds, take=lambda count: None):
  """The bytes of a request's body.

  Args:
    request: Starlette's.
    max_bytes: largest body.
    seconds: time limit.
    take: called with the size of each part that arrives, such as from `Budget.share`; may raise RequestRefused.

  Raises:
    RequestRefused: too large, too slow, or the client left.
  """
  parts = []
  try:
    async with asyncio.timeout(seconds):
      async for chunk in chunks_of(request, max_bytes, take):
        parts.append(chunk)
  except TimeoutError:
    raise RequestRefused(408, f'the request did not arrive within {seconds:g} s') from None
  return b''.join(parts)


async def chunks_of(request, max_bytes, take=lambda count: None):
  """Yields the body as it arrives.

  Args:
    request: Starlette's.
    max_bytes: largest body.
    take: as for `body_of`.

  Raises:
    RequestRefused: it is, or is declared, too large; nothing came for SILENT_SECONDS; or the client left.
  """
  declared = request.headers.get('content-length', '0')
  total = int(declared) if declared.isdecimal() else 0
  if total > max_bytes:
    raise RequestRefused(413, f'the body has {sizes(total)}, allowed are {sizes(max_bytes)}')
  async for chunk in bounded(request.stream(), max_bytes):
    take(len(chunk))
    yield chunk


async def bounded(chunks, max_bytes):
  """Yields the chunks of a body: bytes.

  Args:
    chunks: asynchronous iterator of bytes: of a body as it arrives, or decoded.
    max_bytes: largest body.

  Raises:
    RequestRefused: there are more; nothing came for SILENT_SECONDS; or the client left.
  """
  total, chunks = 0, aiter(chunks)
  while True:
    try:
      async with asyncio.timeout(SILENT_SECONDS):
        chunk = await anext(chunks)
    except StopAsyncIteration:
      return
    except ClientDisconnect:
      raise RequestRefused(400, 'client disconnected') from None
    except TimeoutError:
      raise RequestRefused(408, f'nothing of the request arrived for {SILENT_SECONDS} s') from None
    total += len(chunk)
    if total > max_bytes:
      raise RequestRefused(413, f'the body has more than the {sizes(max_bytes)} allowed')
    yield chunk


def check_encoding(request):
  """Raises RequestRefused for a body with a Content-Encoding, where none is taken."""
  encoding = request.headers.get('content-encoding', '').strip().lower()
  if encoding not in ('', 'identity'):
    raise RequestRefused(415, f'Content-Encoding is {text.printable(encoding)[:40]!r}, allowed is none')
