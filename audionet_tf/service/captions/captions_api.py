"""Captions over HTTP: an upload or, where that is allowed, the URL of a video comes in, events or WebVTT go out."""

import asyncio
import contextlib
import functools
import json

from absl import logging
from starlette.background import BackgroundTask
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.responses import Response, StreamingResponse

from audionet_tf.captioning import formats
from audionet_tf.core import text
from audionet_tf.core.errors import UserError
from audionet_tf.service import bodies, early_ends, own_words, predict_api
from audionet_tf.service.captions import jobs, timeline
from audionet_tf.service.settings import RequestRefused

NAME_CHARACTERS = 120
FIELD_BYTES = 1 << 16
SPOOLED_BYTES = 1 << 16  # of an upload in memory; the rest goes to an unnamed file
MEDIA_TYPES = {
  'json': 'application/json',
  'vtt': 'text/vtt; charset=utf-8',
  'srt': 'application/x-subrip; charset=utf-8',
  'csv': 'text/csv; charset=utf-8',
  'labels': 'text/plain; charset=utf-8',
  'rttm': 'text/plain; charset=utf-8',
}
HEARTBEAT_SECONDS = 10  # of a stream: so that clients that are gone are noticed
STREAM_HEADERS = {'Cache-Control': 'no-store', 'X-Accel-Buffering': 'no'}  # no proxy may hold progress back


class UploadParser(MultiPartParser):
  """Starlette's, which keeps less in memory."""

  spool_max_size = SPOOLED_BYTES


async def upload_of(request, limits, take):
  """(file object, name, classes) of a multipart request; the caller closes the file. The classes are text, or None.

  Args:
    request: Starlette's.
    limits: settings.Limits.
    take: as for bodies.body_of.

  Raises:
    RequestRefused: not such a request, too large, or too slow.
  """
  kind = request.headers.get('content-type', '').partition(';')[0].strip().lower()
  if kind != 'multipart/form-data':
    raise RequestRefused(415, 'expected is multipart/form-data with the field "file", as curl -F file=@NAME sends it')
  chunks = bodies.chunks_of(request, limits.upload_bytes, take)
  parser = UploadParser(request.headers, chunks, max_files=1, max_fields=8, max_part_size=FIELD_BYTES)
  try:
    with jobs.space():
      async with asyncio.timeout(limits.upload_seconds):
        form = await parser.parse()
  except MultiPartException as error:
    raise RequestRefused(400, f'malformed upload: {error.message}') from None
  except UnicodeError:  # the header names one of Python's codecs, and some raise this whatever they are asked
    raise RequestRefused(400, 'malformed upload: its names are not in its charset') from None
  except TimeoutError:
    raise RequestRefused(408, f'the upload did not arrive within {limits.upload_seconds:g} s') from None
  upload = form.get('file')
  if not hasattr(upload, 'file'):
    raise RequestRefused(400, 'no field "file" in the upload')
  return upload.file, display_name(upload.filename), form.get(own_words.FIELD)


def display_name(name):
  """What a client calls a file, safe to print; it is never used as a path."""
  last = str(name or '').replace('\\', '/').rpartition('/')[2]
  return text.printable(last)[:NAME_CHARACTERS] or 'sound'


def threshold_of(request, default):
  """The probability in the query's `threshold`, or `default`. RequestRefused: it is out of range."""
  value = request.query_params.get('threshold')
  try:
    threshold = default if value is None else float(value)
  except ValueError:
    threshold = -1
  least = timeline.LEAST_THRESHOLD
  if not least <= threshold <= 1:
    raise RequestRefused(400, f'threshold is {str(value)[:20]!r}, allowed is {least} to 1')
  return threshold


def description(service, identity, result, threshold):
  """What a response says about a file, without its events: JSON-able dict."""
  return {
    'id': identity,
    'file': result.name,
    'seconds': round(result.seconds, 3),
    'model': service.name,
    'threshold': threshold,
    'repeats': result.scores.frames.repeats,
    'warnings': result.warnings,
  } | ({} if result.scores.unknown_seconds is None else {'unknown_seconds': result.scores.unknown_seconds})


def render(service, identity, result, threshold, suffix):
  """(text, media type) of the captions of a file. `suffix`: key of MEDIA_TYPES."""
  _, writer = formats.FORMATS[suffix]
  about = description(service, identity, result, threshold)
  return writer(*timeline.detect(result.scores, threshold), about), MEDIA_TYPES[suffix]


async def post_captions(service, request):
  """Captions of an upload, as the Accept header asks: JSON, `text/vtt`, or `text/event-stream` with progress."""
  threshold, accept = threshold_of(request, service.threshold), request.headers.get('accept', '')
  service.jobs.check_room()  # before an upload that would be in vain
  bodies.check_encoding(request)
  messages = asyncio.Queue()
  with contextlib.ExitStack() as stack:
    async with service.work.until_stopped():
      source, name, classes = await source_of(service, request, stack)
      prompts = own_words.prompts_of(service.words, classes)
    task = asyncio.create_task(caption(service, source, name, prompts, messages.put_nowait))
    cleanup = stack.pop_all()
    task.add_done_callback(lambda _: (cleanup.close(), messages.put_nowait(None)))
  task.add_done_callback(functools.partial(count_seconds, service))
  if 'text/event-stream' in accept:
    return stream_response(task, progress_lines(service, task, messages, threshold))
  identity, result = await early_ends.while_connected(request, task)
  suffix = 'vtt' if 'text/vtt' in accept else 'json'
  body, media_type = await asyncio.to_thread(render, service, identity, result, threshold, suffix)
  return Response(body, 200, {'Location': f'/v1/captions/{identity}'}, media_type)


async def source_of(service, request, stack):
  """(file object, name, classes) of what is to be captioned; the classes are text, or None.

  `stack` gets what ends with it: its place and its file.
  An upload has no place before it has arrived: slow ones keep nobody out.
  """
  if request.headers.get('content-type', '').startswith('application/json'):
    address, classes = await address_of(service, request)
    stack.enter_context(service.jobs.place())
    source, name = await early_ends.while_connected(request, download(service, address))
    stack.callback(source.close)
  else:
    take = stack.enter_context(service.uploads.share())
    source, name, classes = await upload_of(request, service.limits, take)
    stack.callback(source.close)
    stack.enter_context(service.jobs.place())
  return source, name, classes


async def caption(service, source, name, prompts, report):
  """`Jobs.caption`, which ends where the service stops. `prompts`: from `own_words.prompts_of`."""
  async with service.work.until_stopped():
    predictor = None
    if prompts:
      report({'stage': 'waiting'})
      predictor = await service.words.predictor(prompts, service.jobs.predictor)
    return await service.jobs.caption(source, name, report, predictor)


def stream_response(task, lines):
  """The response that sends `lines`, the progress of the task, and cancels the task when the client leaves."""

  # Where the client leaves before the first line, `lines` is never started, and its `finally` does not run.
  async def end():  # a plain function would be called in another thread, where no task may be cancelled
    task.cancel()

  return StreamingResponse(
    lines, media_type='text/event-stream', headers=STREAM_HEADERS, background=BackgroundTask(end)
  )


def count_seconds(service, task):
  """Counts the seconds of sound of a finished task."""
  if not task.cancelled() and task.exception() is None:
    service.metrics.captioned.inc(task.result()[1].seconds)


async def address_of(service, request):
  """(URL of a video, classes or None) in the request. RequestRefused: there is none, or downloads are not allowed."""
  if service.fetch is None:
    raise RequestRefused(403, 'this service downloads no videos; it was started without --allow_download')
  body = await bodies.body_of(request, FIELD_BYTES, service.limits.predict_seconds)
  document = predict_api.parse(body)
  address = document.get('url')
  if not isinstance(address, str):
    raise RequestRefused(400, 'expected is {"url": "https://..."}')
  return address, document.get(own_words.FIELD)


async def download(service, address):
  """(file object, title) of the video at a URL. RequestRefused: this fails."""
  try:
    with jobs.space():
      return await service.fetch(address)
  except UserError as error:
    raise RequestRefused(422, error) from None


async def progress_lines(service, task, messages, threshold):
  """Yields server-sent events: `progress` with the reports of `Jobs.caption`, then `result` or `error`."""
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
      body, _ = await asyncio.to_thread(render, service, identity, result, threshold, 'json')
      yield event('result', json.loads(body))
    except RequestRefused as error:
      yield event('error', {'error': error.reason, 'status': error.status})
    except Exception as error:  # the response has begun: its status can only be an event
      logging.exception('captions: %s', type(error).__name__)
      yield event('error', {'error': 'internal error; see the server log', 'status': 500})
  finally:
    task.cancel()


def event(name, data):
  """A server-sent event as text."""
  return f'event: {name}\ndata: {json.dumps(data)}\n\n'


async def get_captions(service, request, identity, suffix):
  """The captions of a kept result, in a format of MEDIA_TYPES, for any threshold."""
  if suffix not in MEDIA_TYPES:
    raise RequestRefused(404, f'no such format; allowed are {", ".join(MEDIA_TYPES)}')
  result = service.jobs.results.get(identity)
  threshold = threshold_of(request, service.threshold)
  body, media_type = await asyncio.to_thread(render, service, identity, result, threshold, suffix)
  return Response(body, media_type=media_type, headers={'Cache-Control': 'no-store'})


def get_timeline(service, identity):
  """The data of a timeline: what `timeline.picture` gives, `seconds`, and as `classes` the scores over time."""
  result = service.jobs.results.get(identity)
  timeline = result.picture | {'seconds': result.seconds, 'classes': result.scores.timeline}
  return Response(predict_api.dump(timeline), media_type='application/json', headers={'Cache-Control': 'no-store'})
