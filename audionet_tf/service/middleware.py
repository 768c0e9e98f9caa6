"""What every request passes: who may ask, what every answer says about itself, and the figures about it."""

import ipaddress
import time
import urllib.parse

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

from audionet_tf.service import predict_api

ANSWER_HEADERS = {
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Content-Security-Policy': (
    "default-src 'self'; media-src 'self' blob:; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
  ),
}
CROSS_ORIGIN = {'Access-Control-Allow-Methods': 'GET, POST', 'Access-Control-Allow-Headers': 'content-type, accept'}
PREFLIGHT_SECONDS = 600


def refusal(status, reason, headers=None):
  """The answer to a request that is refused: TensorFlow Serving's form."""
  return Response(predict_api.dumped({'error': reason}), status, headers, 'application/json')


def host_name(host):
  """The name in a Host header or an address, without its port; '' where there is none."""
  try:
    return urllib.parse.urlsplit(f'//{host}').hostname or ''
  except ValueError:
    return ''


def is_address(name):
  """Whether a host's name is a number, which no site can make point elsewhere."""
  try:
    return bool(ipaddress.ip_address(name))
  except ValueError:
    return False


class Guard:
  """ASGI middleware.

  A page of another site may not use the service through the browser of someone who runs it: neither directly (Origin)
  nor under a name of its own that it makes point to this machine (Host).

  Args:
    app: ASGI application.
    hosts: names under which the service may be asked, beside addresses in numbers; empty for any.
    origins: of other sites and extensions that may ask.
    metrics: service_metrics.Metrics.
  """

  def __init__(self, app, hosts, origins, metrics):
    self.app, self.hosts, self.origins, self.metrics = app, frozenset(hosts), frozenset(origins), metrics

  async def __call__(self, scope, receive, send):
    if scope['type'] != 'http':
      await self.app(scope, receive, send)
      return
    began, status = time.perf_counter(), 0
    origin = Headers(scope=scope).get('origin')

    async def answer(message):
      nonlocal status
      if message['type'] == 'http.response.start':
        status = message['status']
        headers = MutableHeaders(scope=message)
        for name, value in ANSWER_HEADERS.items():
          headers.setdefault(name, value)
        if origin in self.origins:
          headers['Access-Control-Allow-Origin'] = origin
          headers['Vary'] = 'Origin'
      await send(message)

    refused = self.refused(scope, origin)
    try:
      await (refused or self.app)(scope, receive, answer)
    finally:
      endpoint = scope.get('endpoint')
      route = 'refused' if refused else getattr(endpoint, '__name__', 'unknown')
      method = scope['method'] if scope['method'] in ('GET', 'POST', 'HEAD', 'OPTIONS') else 'other'
      self.metrics.request(route, method, status, time.perf_counter() - began)

  def refused(self, scope, origin):
    """The answer to those who may not ask, and to a browser's question whether another site may; else None."""
    host = Headers(scope=scope).get('host', '')
    name = host_name(host)
    if self.hosts and name not in self.hosts and not is_address(name):
      return refusal(421, 'asked under a name that is not its own; see --allowed_host')
    own = origin is None or urllib.parse.urlsplit(origin).netloc == host
    if not own and origin not in self.origins:
      return refusal(403, 'asked by a page of another site; see --allowed_origin')
    if scope['method'] == 'OPTIONS' and not own:
      return Response(status_code=204, headers=CROSS_ORIGIN | {'Access-Control-Max-Age': str(PREFLIGHT_SECONDS)})
    return None
