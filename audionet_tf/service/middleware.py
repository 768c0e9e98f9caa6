"""ASGI middleware around the service: which sites may use it, headers of every response, metrics of every request.

A page of another site must not use the service through the browser of someone who runs it: neither directly (Origin)
nor under a host name of its own that it resolves to this machine (Host, DNS rebinding). Starlette's
TrustedHostMiddleware and CORSMiddleware do most of it. What they lack is here: a Host that is a numeric address always
passes, because rebinding needs a name; a foreign Origin is refused before anything runs, where CORS only hides the
response from the page; and every refusal has the service's form, {"error": "one line"}.
"""

import ipaddress
import time
import urllib.parse

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response

from audionet_tf.service import predict_api

RESPONSE_HEADERS = {
  'Cache-Control': 'no-cache',  # the page of a new version is seen at once
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Content-Security-Policy': (
    "default-src 'self'; media-src 'self' blob:; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
  ),
}
REFUSED_STATUSES = (400, 403, 421)  # of requests that reach no route


def refusal(status, reason, headers=None):
  """The response to a request that is refused: TensorFlow Serving's form."""
  return Response(predict_api.dump({'error': reason}), status, headers, 'application/json')


def guarded(app, hosts, origins, metrics):
  """The ASGI application `app` behind all checks.

  Args:
    app: ASGI application.
    hosts: allowed host names, lower case, beside numeric addresses; empty for any.
    origins: other sites and extensions that may send requests.
    metrics: service_metrics.Metrics.
  """
  app = CORSMiddleware(app, allow_origins=origins, allow_methods=('GET', 'POST'), allow_private_network=True)
  app = OriginCheck(app, origins)
  if hosts:
    app = HostCheck(app, hosts)
  return ResponseHeaders(app, metrics)


def is_numeric(host):
  """Whether a Host header is an IP address, with or without a port."""
  try:
    return bool(ipaddress.ip_address(urllib.parse.urlsplit(f'//{host}').hostname))
  except ValueError:
    return False


class HostCheck:
  """Starlette's check of the Host header; numeric addresses pass, refusals are JSON with status 421."""

  def __init__(self, app, hosts):
    self.app, self.hosts = app, list(hosts)

  async def __call__(self, scope, receive, send):
    if scope['type'] != 'http' or is_numeric(Headers(scope=scope).get('host', '')):
      await self.app(scope, receive, send)
      return

    async def admit(scope, receive, _):
      await self.app(scope, receive, send)

    async def refuse(message):
      if message['type'] == 'http.response.start':
        await refusal(421, 'Host header not allowed; see --allowed_host')(scope, receive, send)

    await TrustedHostMiddleware(admit, self.hosts, www_redirect=False)(scope, receive, refuse)


class OriginCheck:
  """Refuses requests of pages that are neither the service's own nor of an allowed origin."""

  def __init__(self, app, origins):
    self.app, self.origins = app, frozenset(origins)

  async def __call__(self, scope, receive, send):
    answer = self.refused(Headers(scope=scope)) if scope['type'] == 'http' else None
    await (answer or self.app)(scope, receive, send)

  def refused(self, headers):
    """The refusal of a request with these headers; None where it may pass."""
    origin = headers.get('origin')
    if origin is None or origin in self.origins:
      return None
    try:
      place = urllib.parse.urlsplit(origin).netloc
    except ValueError:
      return refusal(400, 'Origin header is not an origin')
    return None if place == headers.get('host') else refusal(403, 'Origin not allowed; see --allowed_origin')


class ResponseHeaders:
  """Adds RESPONSE_HEADERS to every response, and counts and times every request."""

  def __init__(self, app, metrics):
    self.app, self.metrics = app, metrics

  async def __call__(self, scope, receive, send):
    if scope['type'] != 'http':
      await self.app(scope, receive, send)
      return
    start, status = time.perf_counter(), 0

    async def respond(message):
      nonlocal status
      if message['type'] == 'http.response.start':
        status = message['status']
        headers = MutableHeaders(scope=message)
        for name, value in RESPONSE_HEADERS.items():
          headers.setdefault(name, value)
      await send(message)

    try:
      await self.app(scope, receive, respond)
    finally:
      method = scope['method'] if scope['method'] in ('GET', 'POST', 'HEAD', 'OPTIONS') else 'other'
      self.metrics.request(route_name(scope, status), method, status, time.perf_counter() - start)


def route_name(scope, status):
  """Name of a request's route for the metrics: one of the service's own, never a path that a client made up."""
  if 'endpoint' in scope:
    return getattr(scope['endpoint'], '__name__', 'unknown')
  if scope['method'] == 'OPTIONS' or status in REFUSED_STATUSES:
    return 'refused' if status in REFUSED_STATUSES else 'preflight'
  return 'page' if status in (200, 206, 304) else 'unknown'
