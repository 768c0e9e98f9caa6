"""The caption service as an ASGI application: TensorFlow Serving's REST API, captions, the page.

| request | response |
|---|---|
| `GET /v1/models/NAME`, `.../metadata`, `POST ...:predict`, `...:classify`; also `/versions/N` | `predict_api` |
| `POST /v1/captions`, `GET /v1/captions/ID.FORMAT`, `/v1/captions/ID/timeline` | `captions_api` |
| `GET /v1/service` | what a client needs to know: limits, sample rate, how to send live sound |
| `GET /healthz`, `/readyz`, `/metrics` | alive; ready; Prometheus |
| `GET /` | the page, `web/` |

An error is `{"error": "one line"}` with its status.
"""

import asyncio
import contextlib
import dataclasses
import functools
import mimetypes
from collections.abc import Callable

import fastapi
import numpy as np
from absl import logging
from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from audionet_tf.captioning import captioner
from audionet_tf.models import starter
from audionet_tf.saved_model import loader, signatures
from audionet_tf.service import bodies, early_ends, middleware, openapi, own_words, predict_api, predict_cost
from audionet_tf.service import description as about_student
from audionet_tf.service import metrics as service_metrics
from audionet_tf.service.batching import Batcher
from audionet_tf.service.captions import captions_api
from audionet_tf.service.captions import jobs as service_jobs
from audionet_tf.service.settings import EXTENSION_ORIGIN, Budget, Limits, RequestRefused

ANY_METHOD = ('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE')
PIECE_BYTES = 1 << 16
WARM_BATCHES = (1, 2, 8)
SWEEP_SECONDS = 60


@dataclasses.dataclass
class Service:
  """State that all requests share.

  Attributes:
    served: loader.LoadedExport.
    name: of the model in URLs.
    limits: Limits.
    threshold: score that an event must reach, where a request does not say.
    metrics: service_metrics.Metrics.
    batcher: Batcher of `serving_default`.
    jobs: service_jobs.Jobs.
    bodies: Budget for the bodies of prediction requests.
    answers: Budget for the arrays of their responses.
    uploads: Budget for the bodies of uploads.
    work: early_ends.Work, all that `stop` ends.
    fetch: coroutine function, URL -> (file object, name); None where downloads are not allowed.
    hosts: sites whose videos may be downloaded.
    head: name of the head that captions and classifies; None for the first.
    words: own_words.OwnWords of requests; None where the service knows no texts.
    ready: whether the warm-up is over.
    failure: why the warm-up failed, '' where it did not.
  """

  served: loader.LoadedExport
  name: str
  limits: Limits
  threshold: float
  metrics: service_metrics.Metrics
  batcher: Batcher
  jobs: service_jobs.Jobs
  bodies: Budget
  answers: Budget
  uploads: Budget
  work: early_ends.Work
  fetch: Callable | None = None
  hosts: tuple = ()
  head: str | None = None
  words: own_words.OwnWords | None = None
  ready: bool = False
  failure: str = ''


class HeldResponse(Response):
  """JSON that is sent as fast as its client reads it; then `release` is called."""

  def __init__(self, body, release):
    super().__init__(body, media_type='application/json')
    self.release = release

  async def __call__(self, scope, receive, send):
    try:
      await send({'type': 'http.response.start', 'status': self.status_code, 'headers': self.raw_headers})
      for begin in range(0, len(self.body), PIECE_BYTES):
        piece = self.body[begin : begin + PIECE_BYTES]
        more = begin + PIECE_BYTES < len(self.body)
        await send({'type': 'http.response.body', 'body': piece, 'more_body': more})
    finally:
      self.release()


def make(served, name='audionet', limits=None, threshold=0.2, fetch=None, hosts=(), head=None, text_student=None):
  """A Service; arguments as its attributes. UserError: the student has no such head.

  `text_student`: the student_words.TextStudent for the words of requests, or None.
  """
  limits, metrics = limits or Limits(), service_metrics.Metrics()
  predict = predict_api.predict_fn(served, predict_api.DEFAULT)
  least = predict_cost.least_samples(served.settings)
  batcher = Batcher(predict, signatures.SAMPLES_AT_ONCE, limits.predictions_waiting, metrics.batch, least)
  jobs = service_jobs.Jobs(captioner.predictor(served, head=head), limits)
  metrics.captioning.set_function(lambda: jobs.admitted)
  budgets = (
    Budget(limits.requests_bytes),
    Budget(limits.answers_bytes, 'responses'),
    Budget(limits.uploads_bytes, 'uploads'),
  )
  work = early_ends.Work()
  words = text_student and own_words.OwnWords(text_student, limits)
  hosts = tuple(hosts)
  return Service(served, name, limits, threshold, metrics, batcher, jobs, *budgets, work, fetch, hosts, head, words)


def application(service, host_names=(), origins=(EXTENSION_ORIGIN,)):
  """The ASGI application of a Service.

  Args:
    service: Service.
    host_names: allowed in the Host header; empty for any.
    origins: other sites and extensions that may send requests from a browser.
  """
  app = fastapi.FastAPI(
    title='audionet', openapi_url=None, docs_url=None, redoc_url=None, lifespan=lambda _: lifespan(service)
  )
  add_errors(app)
  add_model(app, service)
  add_captions(app, service)
  add_monitoring(app, service)
  add_page(app)
  return middleware.guarded(app, host_names, origins, service.metrics, service.limits.requests_at_once)


@contextlib.asynccontextmanager
async def lifespan(service):
  """Warms up while the first requests are served, drops expired results, stops the threads at the end."""
  tasks = [asyncio.create_task(warm_up(service)), asyncio.create_task(sweep(service))]
  try:
    yield
  finally:
    service.ready = False
    for task in tasks:
      task.cancel()
    service.batcher.close()
    service.jobs.close()
    if service.words:
      service.words.close()


async def warm_up(service):
  """Calls the student once with each usual shape; then the service is ready."""
  samples = signatures.window_samples(service.served.settings)
  windows = predict_api.predict_fn(service.served, 'windows')
  try:
    for batch in WARM_BATCHES:
      await service.batcher.call(service.batcher.predict, np.zeros([batch, samples], np.float32))
    await service.batcher.call(windows, np.zeros([samples], np.float32))
  except Exception as error:  # whatever the student raises: /readyz reports it
    logging.error('warm-up: %s: %s', type(error).__name__, error)
    service.failure = 'the student fails at warm-up; see the server log'
  service.ready = not service.failure


async def sweep(service):
  """Drops expired results, for ever."""
  while True:
    await asyncio.sleep(SWEEP_SECONDS)
    service.jobs.results.drop_expired()


def add_errors(app):
  """Every error has one form."""

  @app.exception_handler(RequestRefused)
  async def refused(request, error):
    return middleware.refusal(error.status, error.reason, error.headers)

  @app.exception_handler(HTTPException)
  async def http_error(request, error):
    allowed = (error.headers or {}).get('Allow')
    reason = f'{request.method} {str(error.detail).lower()}' + (f'; allowed here: {allowed}' if allowed else '')
    return middleware.refusal(error.status_code, reason, error.headers)

  @app.exception_handler(Exception)
  async def internal_error(request, error):
    logging.error('%s %s: %s: %s', request.method, request.scope['path'], type(error).__name__, error)
    return middleware.refusal(500, 'internal error; see the server log')


def add_model(app, service):
  """The routes of TensorFlow Serving."""
  served = service.served

  def check(name, version=None):
    if name != service.name or version not in (None, predict_api.version(served)):
      available = f'{service.name}, version {predict_api.version(served)}'
      raise RequestRefused(404, f'no such model; available is {available}')

  async def status(name: str, version: str | None = None):
    check(name, version)
    return predict_api.status(served)

  @functools.cache
  def metadata_json():
    return predict_api.dump(predict_api.metadata(service.name, served))

  async def metadata(name: str, version: str | None = None):
    check(name, version)
    return Response(await asyncio.to_thread(metadata_json), media_type='application/json')

  async def predict(request: Request):
    parts, limits = request.path_params, service.limits
    check(parts['name'], parts.get('version'))
    if parts['method'] not in predict_api.METHODS:
      raise RequestRefused(404, f'no such method; available are {", ".join(predict_api.METHODS)}')
    if request.method != 'POST':
      reason = f'{request.method} asks for no prediction: send the waveforms with POST to :{parts["method"]}'
      raise RequestRefused(405, reason, headers={'Allow': 'POST'})
    with contextlib.ExitStack() as held:
      take_answer = held.enter_context(service.answers.share())
      async with service.work.until_stopped():
        with service.bodies.share() as take:
          body = await bodies.body_of(request, limits.request_bytes, limits.predict_seconds, take)
          encoding = request.headers.get('content-encoding', '')
          body = await predict_api.decoded(body, encoding, limits.request_bytes, take)
          waiting = (served, service.batcher, limits, service.head, take_answer, service.words)
          answer = predict_api.respond(parts['method'], body, *waiting)
          document = await early_ends.while_connected(request, answer)
      return HeldResponse(document, held.pop_all().close)

  for path in ('/v1/models/{name}', '/v1/models/{name}/versions/{version}'):
    app.router.add_route(path + ':{method}', predict, methods=ANY_METHOD)
    app.get(path)(status)
    app.get(path + '/metadata')(metadata)


def add_captions(app, service):
  """The routes of captions."""

  @app.post('/v1/captions')
  async def caption(request: Request):
    return await captions_api.post_captions(service, request)

  @app.get('/v1/captions/{identity}.{suffix}')
  async def captions_as(request: Request, identity: str, suffix: str):
    return await captions_api.get_captions(service, request, identity, suffix)

  @app.get('/v1/captions/{identity}')
  async def captions_of(request: Request, identity: str):
    return await captions_api.get_captions(service, request, identity, 'json')

  @app.get('/v1/captions/{identity}/timeline')
  async def timeline(identity: str):
    return captions_api.get_timeline(service, identity)


def add_monitoring(app, service):
  """The routes for health checks and metrics, and the description of the service."""

  @app.api_route('/healthz', methods=['GET', 'HEAD'])
  async def health():
    return {'status': 'alive'}

  @app.api_route('/readyz', methods=['GET', 'HEAD'])
  async def readiness():
    if not service.ready:
      raise RequestRefused(503, service.failure or 'warming up', retry_seconds=1)
    return {'status': 'ready'}

  @app.get('/metrics')
  async def metrics():
    body, media_type = service.metrics.text()
    return Response(body, headers={'Content-Type': media_type})

  @app.get('/v1/service')
  async def about():
    return description(service)

  described = openapi.document(service.name, service.served, captions_api.MEDIA_TYPES)

  @app.get('/openapi.json')
  async def openapi_json():
    return described


def description(service):
  """What a client needs to know: JSON-able dict."""
  settings, limits, class_names = service.served.settings, service.limits, service.jobs.predictor.class_names
  is_starter = starter.is_starter(service.served.path)
  return about_student.of_student(settings, class_names, is_starter, service.threshold) | {
    'model': service.name,
    'live': about_student.live(settings),
    'formats': list(captions_api.MEDIA_TYPES),
    'upload_bytes': limits.upload_bytes,
    'sound_seconds': limits.sound_seconds,
    'results_seconds': limits.results_seconds,
    'words_characters': limits.words_characters if service.words else 0,
    'download_hosts': list(service.hosts),
  }


def add_page(app):
  """The page, `web/`: whatever no route matches is one of its files, or missing."""
  mimetypes.add_type('text/javascript', '.js')  # the system's own table may say otherwise; browsers insist
  static = StaticFiles(packages=[(__package__, 'web')], html=True)

  async def page(scope, receive, send):
    async def send_unless_refused(message):
      if message.get('status') in (400, 416):  # of a Range header; Starlette would answer in plain text
        raise RequestRefused(message['status'], 'the Range header is malformed, or outside the file')
      await send(message)

    await static(scope, receive, send_unless_refused)

  app.router.default = page
