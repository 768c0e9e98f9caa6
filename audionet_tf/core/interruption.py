"""Ctrl-C and SIGTERM as an exception that carries the exit code; while modules are imported, as the end at once."""

import contextlib
import os
import signal
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM)
screen = 2  # file descriptor of stderr, also while 2 is redirected


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
  """Signal handler that raises Interrupted; during an import it ends the process."""
  if is_importing(frame):
    end_at_once(number)
  raise Interrupted(number)


def is_importing(frame):
  """Whether a frame, or one that called it, imports a module."""
  while frame is not None:
    if frame.f_code.co_filename.startswith('<frozen importlib'):
      return True
    frame = frame.f_back
  return False


def end_at_once(number, frame=None):
  """Signal handler for where nothing has to be tidied up: prints one line and ends the process.

  Modules that are being imported swallow exceptions, report them themselves, or raise others in their place.
  """
  os.write(screen, f'error: {Interrupted(number)}\n'.encode())
  os._exit(128 + number)


def set_ctrl_c(handler):
  """Sets the handler of Ctrl-C for the rest of the process, unless it is ignored, as under nohup."""
  if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
    signal.signal(signal.SIGINT, handler)
