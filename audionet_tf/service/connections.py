"""HTTP connections of clients that are slow, endless or gone: deadlines and limits that uvicorn leaves to a proxy.

uvicorn's protocol for httptools bounds neither the time nor the size of a request's head, nor what follows a response.
`Connection` adds that. A connection is in one of these states, each but one with a deadline:

| state | the client owes | deadline |
|---|---|---|
| `head` | the rest of a request's head, on a new connection all of it | HEAD_SECONDS, then 408 |
| `request` | a body, or nothing: it waits for its response | those of the endpoints, see settings.Limits |
| `excess` | the rest of a body that nobody wants: the response is complete | EXCESS_SECONDS |
| `idle` | nothing: it may send another request | IDLE_SECONDS |

Besides, a client that does not read its response is cut off, and when CONNECTIONS are open, a new one takes the place
of that whose client sends least: half-open connections shut nobody out.
"""

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from audionet_tf.service import middleware

CONNECTIONS = 512
HEAD_SECONDS = 10
EXCESS_SECONDS = 5
IDLE_SECONDS = 30
STALL_SECONDS = 20  # in which a client must read some of a response
LEAST_READ_BYTES = 20 << 10  # in STALL_SECONDS
HEAD_BYTES = 32 << 10
PIPELINED = 8  # requests that wait for the response to an earlier one
PIECES, LEAST_PIECE_BYTES = 1 << 15, 64  # most chunks of a body that are smaller on average
YOUNG_SECONDS = 1.0  # before which nobody is judged by what it sends


class Refused(Exception):
  """What arrives is refused before it reaches the application: HTTP `status` and `reason`."""

  def __init__(self, status, reason):
    super().__init__(reason)
    self.status, self.reason = status, reason


class Connection(HttpToolsProtocol):
  """uvicorn's protocol with deadlines and limits."""

  def __init__(self, *args, **kwargs):
    super().__init__(*args, **kwargs)
    self.state, self.since, self.deadline, self.stall = 'head', self.loop.time(), None, None
    self.arrived, self.pieces = 0, 0  # bytes of the current head or body, and in how many chunks
    self.head_bytes = 0  # of the lines of the current head, and of the trailers of its body
    self.unparsed = 0  # bytes since the parser last passed a head or a piece of a body on
    self.cycles = []  # requests without a complete response
    self.refused = None
    self.deaf = False  # whether what still arrives is dropped

  def enter(self, state, seconds=None):
    """Begins a state, with its deadline."""
    self.state, self.since, self.arrived, self.pieces = state, self.loop.time(), 0, 0
    if self.deadline:
      self.deadline.cancel()
    self.deadline = seconds and self.loop.call_later(seconds, self.too_late)

  def too_late(self):
    """The client missed its deadline."""
    if self.state == 'head' and self.unparsed and not self.transport.is_closing():
      self.refuse(408, f'the head of the request did not arrive within {HEAD_SECONDS} s')
    elif self.transport.is_closing() or self.transport.get_write_buffer_size():
      self.transport.abort()
    else:
      self.transport.close()

  def refuse(self, status, reason):
    """Closes the connection, after a refusal where none has begun and after the responses to earlier requests."""
    self.deaf = True
    pending = [cycle for cycle in self.cycles if not cycle.response_complete]
    if pending and not pending[-1].more_body:  # a later request is at fault
      pending[-1].keep_alive = False
      return
    unanswered = not pending or (len(pending) == 1 and not pending[0].response_started)
    if unanswered and self.state != 'excess':
      answer = middleware.refusal(status, reason, middleware.RESPONSE_HEADERS | {'Connection': 'close'})
      head = b''.join(b'%s: %s\r\n' % item for item in answer.raw_headers)
      self.transport.write(b'%s%s\r\n%s' % (STATUS_LINE[status], head, answer.body))
    for cycle in pending:  # their work ends
      cycle.disconnected = True
      cycle.message_event.set()
    self.enter('excess', EXCESS_SECONDS)
    self.transport.close()

  # What the transport calls.

  def connection_made(self, transport):
    super().connection_made(transport)
    self.enter('head', HEAD_SECONDS)
    if len(self.connections) > CONNECTIONS:
      make_room(self.connections, self.loop.time())

  def connection_lost(self, error):
    for cycle in self.cycles:  # uvicorn tells the latest only
      cycle.disconnected = True
      cycle.message_event.set()
    for timer in (self.deadline, self.stall):
      if timer:
        timer.cancel()
    super().connection_lost(error)

  def data_received(self, data):
    if self.deaf:
      return
    if self.state == 'idle':
      self.enter('head', HEAD_SECONDS)
    if self.state == 'head':
      self.arrived += len(data)
    self.unparsed += len(data)
    super().data_received(data)
    if self.unparsed > HEAD_BYTES and not self.deaf:
      self.refuse(431, f'the head of the request has more than the {HEAD_BYTES >> 10} KiB allowed')

  def pause_writing(self):
    super().pause_writing()
    self.watch_reader(self.transport.get_write_buffer_size())

  def watch_reader(self, before):
    """Looks every STALL_SECONDS whether the client reads."""

    def look():
      left = self.transport.get_write_buffer_size()
      if left > before - LEAST_READ_BYTES:
        self.transport.abort()
      else:
        self.watch_reader(left)

    self.stall = self.loop.call_later(STALL_SECONDS, look)

  def resume_writing(self):
    super().resume_writing()
    if self.stall:
      self.stall.cancel()

  # What the parser calls. An exception ends the parsing; uvicorn then calls `send_400_response`.

  def send_400_response(self, msg):
    error = self.refused or Refused(400, 'not a valid HTTP request')
    self.refuse(error.status, error.reason)

  def fail(self, status, reason):
    self.refused = Refused(status, reason)
    raise self.refused

  def on_message_begin(self):
    super().on_message_begin()
    self.head_bytes = 0

  def count_head(self, size):
    self.head_bytes += size
    if self.head_bytes > HEAD_BYTES:
      self.fail(431, f'the head of the request has more than the {HEAD_BYTES >> 10} KiB allowed')

  def on_url(self, url):
    super().on_url(url)
    self.count_head(len(url))

  def on_header(self, name, value):
    super().on_header(name, value)
    self.count_head(len(name) + len(value) + len(b': \r\n'))

  def on_headers_complete(self):
    self.unparsed = 0
    if len(self.pipeline) >= PIPELINED:
      self.fail(400, 'too many requests at once on one connection')
    has_body = any(name in (b'content-length', b'transfer-encoding') for name, _ in self.headers)
    if has_body and self.parser.should_upgrade():
      self.fail(400, 'a request with a body cannot ask for another protocol; leave the header Upgrade out')
    super().on_headers_complete()
    self.cycles = [cycle for cycle in self.cycles if not cycle.response_complete] + [self.cycle]
    self.enter('request')

  def on_chunk_header(self):
    self.unparsed = 0

  def on_body(self, body):
    self.unparsed = 0
    self.arrived += len(body)
    self.pieces += 1
    if self.pieces > PIECES and self.arrived < LEAST_PIECE_BYTES * self.pieces:
      self.fail(400, f'the body comes in more than {PIECES} chunks of a few bytes; send larger ones')
    super().on_body(body)

  def on_message_complete(self):
    self.unparsed = 0
    super().on_message_complete()
    self.cycle.more_body = False
    if self.state == 'excess':
      self.enter('idle', IDLE_SECONDS)

  def on_response_complete(self):
    super().on_response_complete()
    if not self.cycle.response_complete:
      return  # a later request waits
    if self.cycle.more_body or self.transport.is_closing():
      self.enter('excess', EXCESS_SECONDS if self.cycle.more_body else IDLE_SECONDS)
    else:
      self.enter('idle', IDLE_SECONDS)

  def waits(self):
    """Whether it is for the client to do something."""
    return self.state != 'request' or self.cycle.more_body


def make_room(connections, now):
  """Closes the connection of the client that sends least, the one that does so for longest."""

  def rank(connection):
    seconds = now - connection.since
    young = seconds < YOUNG_SECONDS
    return young, 0 if young else connection.arrived / seconds, -seconds

  waiting = [each for each in connections if each.waits() and not each.transport.is_closing()]
  if waiting:
    min(waiting, key=rank).transport.abort()
