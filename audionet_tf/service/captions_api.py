"""Captions over HTTP: an upload (or, where that is allowed, the address of a video) in, events or WebVTT out."""

import asyncio
import contextlib
import functools
import json

from absl import logging
from starlette.background import BackgroundTask
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse

from audionet_tf.captioning import formats
from audionet_tf.core import text
from audionet_tf.core.errors import UserError
from audionet_tf.service import predict_api, timeline
from audionet_tf.service.settings import RequestRefused, sizes

NAME_CHARACTERS = 120
FIELD_BYTES = 1 << 14
KINDS = {
  'json': 'application/json',
  'vtt': 'text/vtt; charset=utf-8',
  'srt': 'application/x-subrip; charset=utf-8',
  'csv': 'text/csv; charset=utf-8',
  'labels': 'text/plain; charset=utf-8',
  'rttm': 'text/plain; charset=utf-8',
}
HEARTBEAT_SECONDS = 10  # of a stream: those who are gone are noticed
STREAM_HEADERS = {'Cache-Control': 'no-store', 'X-Accel-Buffering': 'no'}  # no proxy holds progress back


async def body_of(request, most, seconds, take=lambda count: None):
  """The bytes of a request's body.

  Args:
    request: starlette's.
    most: bytes.
    seconds: for it to arrive.
    take: called with the bytes of each part that arrives; may refuse.

  Raises:
    RequestRefused: too much, too slow, broken off.
  """
  parts = []
  try:
    async with asyncio.timeout(seconds):
      async for chunk in chunks_of(request, most):
        take(len(chunk))
        parts.append(chunk)
  except TimeoutError:
    raise RequestRefused(408, f'the request took longer than {seconds:g} s to arrive') from None
  return b''.join(parts)


async def chunks_of(request, most):
  """The body as it comes. RequestRefused where it is declared to be, or is, longer than `most` bytes, or breaks off."""
  declared = request.headers.get('content-length', '0')
  total = int(declared) if declared.isdecimal() else 0
  too_large = RequestRefused(413, f'{sizes(total)} are too much, allowed are {sizes(most)}')
  if total > most:
    raise too_large
  total = 0
  try:
    async for chunk in request.stream():
      total += len(chunk)
      if total > most:
        raise RequestRefused(413, f'more than the {sizes(most)} allowed')
      yield chunk
  except ClientDisconnect:
    raise RequestRefused(400, 'the upload broke off') from None


async def upload_of(request, limits):
  """(file object, name) of the file in a multipart request; the caller closes it.

  Raises:
    RequestRefused: not such a request, too large, too slow.
  """
  kind = request.headers.get('content-type', '').partition(';')[0].strip().lower()
  if kind != 'multipart/form-data':
    raise RequestRefused(415, 'expected is multipart/form-data with the field file, as curl -F file=@NAME sends it')
  parser = MultiPartParser(
    request.headers, chunks_of(request, limits.upload_bytes), max_files=1, max_fields=8, max_part_size=FIELD_BYTES
  )
  try:
    async with asyncio.timeout(limits.upload_seconds):
      form = await parser.parse()
  except MultiPartException as error:
    raise RequestRefused(400, f'not a proper upload: {error.message}') from None
  except TimeoutError:
    raise RequestRefused(408, f'the upload took longer than {limits.upload_seconds:g} s') from None
  upload = form.get('file')
  if not hasattr(upload, 'file'):
    raise RequestRefused(400, 'no file in the upload; its field is called file')
  return upload.file, shown_name(upload.filename)


def shown_name(name):
  """What a sender calls a file, fit to be shown; it is never used as a path."""
  last = str(name or '').replace('\\', '/').rpartition('/')[2]
  return text.printable(last)[:NAME_CHARACTERS] or 'sound'


def threshold_of(request, default):
  """The probability in the query's `threshold`, or `default`. RequestRefused where it is none."""
  given = request.query_params.get('threshold')
  try:
    threshold = default if given is None else float(given)
  except ValueError:
    threshold = -1
  least = timeline.LEAST_THRESHOLD
  if not least <= threshold <= 1:
    raise RequestRefused(400, f'threshold is {str(given)[:20]!r}, allowed is {least} to 1')
  return threshold


def description(service, identity, result, threshold):
  """What a client is told about a file, its events aside: JSON-able dict."""
  return {
    'id': identity,
    'file': result.name,
    'seconds': round(result.seconds, 3),
    'model': service.name,
    'threshold': threshold,
    'repeats': result.heard.scored.repeats,
  }


def written(service, identity, result, threshold, suffix):
  """(text, kind of media) of a file's captions. `suffix`: key of KINDS."""
  _, writer = formats.FORMATS[suffix]
  about = description(service, identity, result, threshold)
  return writer(*timeline.found(result.heard, threshold), about), KINDS[suffix]


async def post_captions(service, request):
  """Captions of an upload, as the request's Accept says: JSON, `text/vtt`, or `text/event-stream` with progress."""
  threshold, accept = threshold_of(request, service.threshold), request.headers.get('accept', '')
  service.jobs.admit()
  with contextlib.ExitStack() as stack:
    stack.callback(service.jobs.leave)
    if request.headers.get('content-type', '').startswith('application/json'):
      source, name = await downloaded(service, request)
    else:
      source, name = await upload_of(request, service.limits)
    stack.callback(source.close)
    messages = asyncio.Queue()
    task = asyncio.create_task(service.jobs.caption(source, name, messages.put_nowait))
    ends = stack.pop_all()
    task.add_done_callback(lambda _: (ends.close(), messages.put_nowait(None)))
  task.add_done_callback(functools.partial(counted, service))
  if 'text/event-stream' in accept:
    return streamed(task, progress_lines(service, task, messages, threshold))
  gone = asyncio.create_task(disconnected(request))
  try:
    await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
  finally:
    gone.cancel()
    task.cancel()
  if not task.done():
    raise RequestRefused(400, 'nobody waits for the answer')
  identity, result = task.result()
  suffix = 'vtt' if 'text/vtt' in accept else 'json'
  body, kind = await asyncio.to_thread(written, service, identity, result, threshold, suffix)
  return Response(body, 200, {'Location': f'/v1/captions/{identity}'}, kind)


def streamed(task, lines):
  """The answer that sends `lines`, the progress of the task, and stops the task with a client that leaves."""
  # Where the client leaves before the first line, `lines` never begin, and what stands in their `finally` is not run.
  return StreamingResponse(
    lines, media_type='text/event-stream', headers=STREAM_HEADERS, background=BackgroundTask(task.cancel)
  )


def counted(service, task):
  """Takes note of the sound of a finished task."""
  if not task.cancelled() and task.exception() is None:
    service.metrics.heard.inc(task.result()[1].seconds)


async def downloaded(service, request):
  """(file object, name) of the video whose address the request holds.

  Raises:
    RequestRefused: the service may not fetch it, or cannot.
  """
  if service.fetch is None:
    raise RequestRefused(403, 'this service fetches no videos; it was started without --allow_download')
  address = predict_api.parsed(await body_of(request, FIELD_BYTES, service.limits.predict_seconds)).get('url')
  if not isinstance(address, str):
    raise RequestRefused(400, 'expected is {"url": "https://..."}')
  try:
    return await service.fetch(address)
  except UserError as error:
    raise RequestRefused(422, error) from None


async def disconnected(request):
  """Returns when the client is gone."""
  while (await request.receive())['type'] != 'http.disconnect':
    pass


async def progress_lines(service, task, messages, threshold):
  """Server-sent events: `progress` with what `Jobs.caption` reports, then `result` or `error`."""
  try:
    while True:
      try:
        message = await asyncio.wait_for(messages.get(), HEARTBEAT_SECONDS)
      except TimeoutError:
        yield ': still here\n\n'
        continue
      if message is None:
        break
      yield event('progress', message)
    try:
      identity, result = task.result()
      body, _ = await asyncio.to_thread(written, service, identity, result, threshold, 'json')
      yield event('result', json.loads(body))
    except RequestRefused as error:
      yield event('error', {'error': error.reason, 'status': error.status})
    except Exception as error:  # the answer has begun: what is left of a status is an event
      logging.exception('captions: %s', type(error).__name__)
      yield event('error', {'error': 'the service failed at this; its log says how', 'status': 500})
  finally:
    task.cancel()


def event(name, data):
  return f'event: {name}\ndata: {json.dumps(data)}\n\n'


async def get_captions(service, request, identity, suffix):
  """Captions that were made before, in a format of KINDS, for any threshold."""
  if suffix not in KINDS:
    raise RequestRefused(404, f'captions come as {", ".join(KINDS)}')
  result = service.jobs.results.get(identity)
  threshold = threshold_of(request, service.threshold)
  body, kind = await asyncio.to_thread(written, service, identity, result, threshold, suffix)
  return Response(body, media_type=kind, headers={'Cache-Control': 'no-store'})


def get_timeline(service, identity):
  """What a timeline shows: `picture` of service_sound, and as `classes` what it says of these."""
  result = service.jobs.results.get(identity)
  shown = result.picture | {'seconds': result.seconds, 'classes': result.heard.timeline}
  return Response(predict_api.dumped(shown), media_type='application/json', headers={'Cache-Control': 'no-store'})
