"""Ctrl-C and SIGTERM as an exception with the exit code that belongs to each."""

import contextlib
import signal
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
  """A signal that ends the run. A KeyboardInterrupt, because nothing that catches errors should catch it.

  Attributes:
    exit_code: what a shell expects of a process that ended so: 130 or 143.
  """

  def __init__(self, number):
    super().__init__({signal.SIGINT: 'interrupted', signal.SIGTERM: 'terminated'}[number])
    self.number, self.exit_code = number, 128 + number


@contextlib.contextmanager
def handled(handler):
  """Within, `handler` (number, frame) gets both signals, but for those that are ignored, as by nohup.

  Signals reach the main thread only: elsewhere nothing changes.
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
  """A context in which the signals raise Interrupted at once."""
  return handled(interrupt)


def interrupt(number, frame=None):
  raise Interrupted(number)
