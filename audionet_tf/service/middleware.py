"""ASGI middleware around the service: which sites may use it, headers of every response, metrics of every request.

A page of another site must not use the service through the browser of someone who runs it: neither directly (Origin)
nor under a host name of its own that it resolves to this machine (Host, DNS rebinding). Starlette's
TrustedHostMiddleware and CORSMiddleware do most of it. What they lack is here: a Host that is a numeric address always
passes, because rebinding needs a name; a foreign Origin is refused before anything runs, where CORS only hides the
response from the page; and every refusal has the service's form, {"error": "one line"}.
"""

import asyncio
import ipaddress
import re
import time
import urllib.parse

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response

from audionet_tf.service import predict_api
from audionet_tf.service.settings import Limits

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
REFUSED_STATUSES = (400, 403, 421, 503)  # of requests that reach no route
HOST = re.compile(r'(\[[\da-f:.]+\]|[\w.-]+)(:\d{0,5})?', re.ASCII | re.IGNORECASE)
ORIGIN = re.compile(r'null|[a-z][a-z\d+.-]*://(\[[\da-f:.]+\]|[\w.-]+)(:\d{1,5})?', re.ASCII | re.IGNORECASE)


def refusal(status, reason, headers=None):
  """The response to a request that is refused: TensorFlow Serving's form."""
  return Response(predict_api.dump({'error': reason}), status, headers, 'application/json')


def guarded(app, hosts, origins, metrics, requests_at_once=Limits.requests_at_once):
  """The ASGI application `app` behind all checks.

  Args:
    app: ASGI application.
    hosts: allowed host names, lower case, beside numeric addresses; empty for any.
    origins: other sites and extensions that may send requests.
    metrics: service_metrics.Metrics.
    requests_at_once: most requests in progress.
  """
  app = CORSMiddleware(app, allow_origins=origins, allow_methods=('GET', 'POST'), allow_private_network=True)
  app = OriginCheck(app, origins)
  if hosts:
    app = HostCheck(app, hosts)
  app = Turnstile(HeaderCheck(app), requests_at_once)
  return ResponseHeaders(app, metrics)


def is_numeric(host):
  """Whether a Host header is an IP address, with or without a port."""
  try:
    return bool(ipaddress.ip_address(urllib.parse.urlsplit(f'//{host}').hostname))
  except ValueError:
    return False


class Turnstile:
  """Refuses requests where too many are in progress."""

  def __init__(self, app, most):
    self.app, self.most, self.count = app, most, 0

  async def __call__(self, scope, receive, send):
    if scope['type'] != 'http':
      await self.app(scope, receive, send)
      return
    if self.count >= self.most:
      answer = refusal(503, f'{self.count} requests are in progress; try again', {'Retry-After': '1'})
      await answer(scope, receive, send)
      return
    self.count += 1
    try:
      await self.app(scope, receive, send)
    finally:
      self.count -= 1


class HeaderCheck:
  """Refuses a Host or Origin that is none, before anything makes an address of it."""

  def __init__(self, app):
    self.app = app

  async def __call__(self, scope, receive, send):
    answer = self.refused(Headers(scope=scope)) if scope['type'] == 'http' else None
    await (answer or self.app)(scope, receive, send)

  def refused(self, headers):
    """The refusal of a request with these headers; None where it may pass."""
    for name, form, example in (('host', HOST, 'NAME:PORT'), ('origin', ORIGIN, 'SCHEME://NAME:PORT')):
      values = headers.getlist(name)
      if len(values) > 1:
        return refusal(400, f'{len(values)} headers {name.title()}, expected is one')
      if values == [''] and name == 'host':  # of HTTP/1.0
        continue
      if values and not (form.fullmatch(values[0]) and port_of(values[0]) <= 65535):
        return refusal(400, f'the header {name.title()} is not of the form {example}')
    return None


def port_of(value):
  """The port at the end of a Host or Origin; 0 where there is none."""
  port = value.rpartition(':')[2]
  return int(port) if port.isdecimal() else 0


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
    place = origin.rpartition('://')[2]
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
    except asyncio.CancelledError:  # the server ends and waits no longer
      if not status:
        await refusal(503, 'the service is shutting down', {'Connection': 'close'})(scope, receive, respond)
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
