"""A web site of a folder, and an empty page at /blank on it, in a thread of the test."""

import contextlib
import functools
import http.server
import threading


class Handler(http.server.SimpleHTTPRequestHandler):
  """Quiet; keeps the paths that were asked for, or posted to, in `asked` of its server."""

  def do_GET(self):
    self.server.asked.append(self.path)
    if self.path != '/blank':
      super().do_GET()
      return
    self.send_response(200)
    self.send_header('Content-Type', 'text/html')
    self.end_headers()
    self.wfile.write(b'<!doctype html><title>blank</title>')

  def do_POST(self):
    self.server.asked.append(self.path)
    self.send_error(501)

  def log_message(self, *_):
    pass


@contextlib.contextmanager
def running(folder):
  """(address with a slash at its end, list of the paths that are asked for) of a web site with the folder's files."""
  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=folder))
  server.asked = []
  threading.Thread(target=server.serve_forever, daemon=True).start()
  try:
    yield f'http://127.0.0.1:{server.server_port}/', server.asked
  finally:
    server.shutdown()
    server.server_close()
