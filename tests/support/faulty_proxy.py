"""A proxy before an HTTP server that fails on request: errors, bodies that are cut, answers that never come."""

import contextlib
import http.client
import http.server
import threading
import urllib.parse

CUT, STALL, DROP = 'cut', 'stall', 'drop'  # half the body; no answer until the client gives up; no answer at all
HOP_BY_HOP = {'connection', 'transfer-encoding', 'content-length', 'keep-alive'}


class Faults:
  """What the proxy does.

  Attributes:
    next: list of what the next matching requests get, each once: a status such as 503, CUT, STALL or DROP.
    after: list of the same; the request reaches the server, and the answer is replaced.
    matches: function of (method, path) that says which requests these are.
    seen: list of (method, path) of all requests.
    before: function of (method, path) that is called before a request is passed on.
  """

  def __init__(self):
    self.next, self.after, self.matches, self.seen = [], [], lambda method, path: True, []
    self.before = lambda method, path: None
    self.over, self.lock = threading.Event(), threading.Lock()

  def take(self, faults, method, path):
    """The fault of a request, or None. `faults`: `next` or `after`."""
    with self.lock:
      return faults.pop(0) if faults and self.matches(method, path) else None


@contextlib.contextmanager
def running(upstream):
  """(address of a proxy before the server at `upstream`, its Faults)."""
  faults, target = Faults(), urllib.parse.urlsplit(upstream)

  class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def handle_any(self):
      faults.seen.append((self.command, self.path))
      fault = faults.take(faults.next, self.command, self.path)
      body = self.body()
      faults.before(self.command, self.path)
      if fault == STALL:
        faults.over.wait(60)
      if fault in (STALL, DROP):
        self.close_connection = True
        return
      if isinstance(fault, int):
        self.answer(fault, [], b'')
        return
      connection = http.client.HTTPConnection(target.hostname, target.port, timeout=60)
      connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
      for name, value in self.headers.items():
        if name.lower() not in HOP_BY_HOP:
          connection.putheader(name, value)
      connection.putheader('Content-Length', str(len(body)))
      connection.endheaders(body)
      response = connection.getresponse()
      content = response.read()
      if faults.take(faults.after, self.command, self.path) == DROP:
        self.close_connection = True
        return
      length = response.getheader('Content-Length') if self.command == 'HEAD' else None
      self.answer(response.status, response.getheaders(), content, length, cut=fault == CUT)
      connection.close()

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any

    def body(self):
      """The body of the request."""
      if 'chunked' in self.headers.get('Transfer-Encoding', ''):
        content = b''
        while size := int(self.rfile.readline().split(b';')[0], 16):
          content += self.rfile.read(size)
          self.rfile.readline()
        self.rfile.readline()
        return content
      return self.rfile.read(int(self.headers.get('Content-Length', 0)))

    def answer(self, status, headers, content, length=None, cut=False):
      """Sends a response; `cut`: half of what it announces."""
      self.send_response_only(status)
      for name, value in headers:
        if name.lower() not in HOP_BY_HOP:
          self.send_header(name, value)
      self.send_header('Content-Length', length or str(len(content)))
      self.end_headers()
      self.wfile.write(content[: len(content) // 2] if cut else content)
      self.close_connection = self.close_connection or cut

    def log_message(self, *_):
      pass

  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
  server.daemon_threads = True
  thread = threading.Thread(target=server.serve_forever, daemon=True)
  thread.start()
  try:
    yield f'http://127.0.0.1:{server.server_address[1]}', faults
  finally:
    faults.over.set()
    server.shutdown()
    thread.join(10)
    server.server_close()
