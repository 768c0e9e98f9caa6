"""Signals as exceptions: which are handled, and when."""

import os
import signal
import threading

import pytest

from audionet_tf.core import interruption


@pytest.mark.parametrize(('number', 'exit_code'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_are_raised_only_within_the_context(number, exit_code):
  before = signal.getsignal(number)
  with pytest.raises(interruption.Interrupted) as caught, interruption.raised():
    os.kill(os.getpid(), number)
    signal.pause()
  assert caught.value.exit_code == exit_code and isinstance(caught.value, KeyboardInterrupt)
  assert signal.getsignal(number) is before


def test_ignored_signals_stay_ignored():
  before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a shell's background jobs
  try:
    with interruption.raised():
      assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
      assert signal.getsignal(signal.SIGTERM) is interruption.interrupt
  finally:
    signal.signal(signal.SIGINT, before)


def test_other_threads_do_not_handle_signals():
  handlers = []

  def work():
    with interruption.raised():
      handlers.append(signal.getsignal(signal.SIGTERM))

  thread = threading.Thread(target=work)
  before = signal.getsignal(signal.SIGTERM)
  thread.start()
  thread.join()
  assert handlers == [before]
