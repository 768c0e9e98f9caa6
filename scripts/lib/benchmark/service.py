"""Latency of the service with eight clients, from the first byte of a request for one AudioNet window to the response.

scripts/lib/run benchmark.service PORT CLIENTS SECONDS PAUSE_MS    runs the clients
"""

import json
import socket
import sys
import threading
import time

CLIENTS, PAUSE_MS = 8, 40  # a window is 40 ms: the request rate of a live client
P50_MS, P99_MS = 10, 50
START_SECONDS = 120
EXPORT = """
import sys
from audionet_tf.saved_model import export
from audionet_tf.models import student_settings
from audionet_tf.models import registry
names = [f'class {i}' for i in range(1000)]
settings = student_settings.StudentConfig('audionet', 16000, 'mean', 0.04, {'teacher': names})
export.export(registry.build('audionet', {'teacher': 1000}), settings, sys.argv[1])
"""


def request_bytes(port):
  """A request of one window, as bytes."""
  window = [round(((i * 7919) % 2000 - 1000) / 1000, 4) for i in range(640)]
  body = json.dumps({'instances': [window]}).encode()
  head = f'POST /v1/models/audionet:predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(body)}\r\n\r\n'
  return head.encode() + body


def latency(connection, request):
  """Sends a request and reads the response; returns the seconds that this took."""
  began, response = time.perf_counter(), b''
  connection.sendall(request)
  while b'\r\n\r\n' not in response:
    response += connection.recv(1 << 16)
  head, _, body = response.partition(b'\r\n\r\n')
  if not head.startswith(b'HTTP/1.1 200'):
    raise SystemExit(response[:300].decode())
  size = int(head.lower().partition(b'content-length:')[2].split()[0])
  missing = size - len(body)
  while missing:
    missing -= len(connection.recv(1 << 16))
  return time.perf_counter() - began


def client(port, seconds, pause_ms, latencies):
  """Sends requests for `seconds`, one every `pause_ms` if the responses allow it; appends to `latencies`."""
  request, end = request_bytes(port), time.monotonic() + seconds
  with socket.create_connection(('127.0.0.1', port)) as connection:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while (now := time.monotonic()) < end:
      latencies.append(latency(connection, request))
      time.sleep(max(0, now + pause_ms / 1000 - time.monotonic()))


def main():
  port, clients, seconds, pause_ms = (int(word) for word in sys.argv[1:])
  client(port, 1, 0, [])
  latencies = []
  threads = [threading.Thread(target=client, args=(port, seconds, pause_ms, latencies)) for _ in range(clients)]
  for i, thread in enumerate(threads):
    thread.start()
    time.sleep(pause_ms / 1000 / clients * (i + 1 < clients))
  for thread in threads:
    thread.join()
  latencies.sort()
  print(
    json.dumps(
      {f'p{p}': 1000 * latencies[int(len(latencies) * p / 100)] for p in (50, 90, 99)} | {'requests': len(latencies)}
    )
  )


def free_port():
  """A port that no process uses now."""
  with socket.socket() as unused:
    unused.bind(('127.0.0.1', 0))
    return unused.getsockname()[1]


def service(context):
  """The Lines of live clients, and of clients that send the next request at once."""
  import subprocess

  from benchmark import measure

  exports, port = context.work / 'service', free_port()
  measure.run([sys.executable, '-c', EXPORT, str(exports)])
  command = [sys.executable, '-m', 'audionet_tf.serve', f'--model={exports}', f'--port={port}']
  with measure.pinned(measure.first_cpus(2)):
    server = subprocess.Popen(command, cwd=measure.ROOT, stderr=subprocess.DEVNULL)
    try:
      wait_for(server, port)
      return [line(context, port, pause, command) for pause in (PAUSE_MS, 0)]
    finally:
      server.terminate()
      server.wait()


def wait_for(server, port):
  """Waits until the service is ready."""
  from urllib import error, request

  end = time.monotonic() + START_SECONDS
  while server.poll() is None and time.monotonic() < end:
    try:
      request.urlopen(f'http://127.0.0.1:{port}/readyz').close()
      return
    except (error.URLError, ConnectionError):
      time.sleep(0.2)
  raise SystemExit('the service does not start')


def line(context, port, pause_ms, command):
  """The Line of several turns of clients, with their medians."""
  import statistics
  import subprocess

  from benchmark import measure

  clients = [sys.executable, '-m', 'benchmark.service', str(port), str(CLIENTS)]
  clients += [str(context.sizes.service_seconds), str(pause_ms)]
  turns = [
    json.loads(subprocess.run(clients, stdout=subprocess.PIPE, check=True).stdout)
    for _ in range(context.sizes.service_turns)
  ]
  p50, p99 = (statistics.median(turn[key] for turn in turns) for key in ('p50', 'p99'))
  fits = p50 <= P50_MS and p99 <= P99_MS
  rate = f'one request per {pause_ms} ms each' if pause_ms else 'requests without pause'
  return measure.Line(
    f'service, :predict of one window, {CLIENTS} clients, {rate}, 2 cores',
    '',
    f'p50 <= {P50_MS}, p99 <= {P99_MS} ms',
    f'{p50:.1f} / {p99:.1f} ms',
    None,
    'ok' if fits else 'short',
    {'turns': turns},
    [' '.join(command), ' '.join(clients)],
  )


if __name__ == '__main__':
  main()
