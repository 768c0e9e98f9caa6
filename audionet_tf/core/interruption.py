"""Ctrl-C and SIGTERM as an exception that carries the exit code."""

import contextlib
import signal
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
  """A signal ends the run. It is a KeyboardInterrupt, so that `except Exception` does not catch it.

  Attributes:
    number: of the signal.
    exit_code: what shells expect of a process ended by the signal: 130 or 143.
  """

  def __init__(self, number):
    super().__init__({signal.SIGINT: 'interrupted', signal.SIGTERM: 'terminated'}[number])
    self.number, self.exit_code = number, 128 + number


@contextlib.contextmanager
def handled(handler):
  """Within the context, `handler(number, frame)` receives both signals, except ignored ones, as under nohup.

  Only the main thread can set handlers: in other threads the context has no effect.
  """
  if threading.current_thread() is not threading.main_thread():
    yield
    return
  before = {number: signal.getsignal(number) for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN}
  for number in before:
    signal.signal(number, handler)
  try:
    yield
  finally:
    for number, old in before.items():
      signal.signal(number, old)


def raised():
  """A context in which both signals raise Interrupted."""
  return handled(interrupt)


def interrupt(number, frame=None):
  """Signal handler that raises Interrupted."""
  raise Interrupted(number)
