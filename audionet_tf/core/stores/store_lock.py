"""The lock of a folder in a store: an object that only one process can make, by a conditional put (If-None-Match).

A process that is killed leaves its lock. The next one takes it over once it has not been renewed for a while, or at
once if it can see that its owner on this machine is gone.
"""

import contextlib
import errno
import json
import os
import pathlib
import socket
import sys
import threading
import time
import uuid

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import object_store, store_retries

NAME = '.lock'
CONDITIONAL = ('s3', 's3a', 'gs', 'gcs', 'memory')  # elsewhere fsspec looks first and then writes
LEASE_SECONDS = 45.0  # a lock that is not renewed for so long has lost its owner


class Lock:
  """A lock that this process holds.

  Attributes:
    is_lost: whether it is gone, or another process's, as this one could not renew it in time.
  """

  def __init__(self, address, content):
    self.address, self.content = f'{address}/{NAME}', content
    self.is_lost, self.over, self.seconds = False, threading.Event(), lease_seconds() / 4
    self.thread = threading.Thread(target=self.renew, daemon=True)

  def renew(self):
    """Writes the lock again and again, until it is released or lost."""
    while not self.over.wait(self.seconds):
      self.content['renewals'] += 1
      with contextlib.suppress(UserError, FileNotFoundError):  # it may work the next time
        self.while_ours(lambda system, path: system.pipe_file(path, written(self.content)))
      if self.is_lost:
        return

  def while_ours(self, function):
    """`function(file system, path)` of the lock, unless it is lost.

    A request is tried again for longer than the lease: whose lock it is must be looked at before every attempt.
    """

    def attempt(system, path):
      try:
        content = system.cat_file(path)
      except FileNotFoundError:
        content = None
      self.is_lost |= token_of(content) != self.content['token']
      if not self.is_lost:
        function(system, path)

    object_store.attempt(self.address, attempt)

  def is_ours(self):
    """Whether the store still holds this lock: a process that slept for longer than the lease may have lost it."""
    self.while_ours(lambda system, path: None)
    return not self.is_lost

  def check(self):
    """UserError if the lock is lost, or the store does not say whether it is."""
    if not self.is_ours():
      raise UserError(f'{self.address}: another process has taken this lock over; nothing more is written there')

  def release(self):
    """Removes the lock, unless it is another's by now."""
    self.over.set()
    self.thread.join()
    with contextlib.suppress(UserError, FileNotFoundError):
      self.while_ours(lambda system, path: system.rm_file(path))


def lease_seconds():
  """LEASE_SECONDS, or what AUDIONET_LEASE_SECONDS says."""
  return store_retries.positive('AUDIONET_LEASE_SECONDS', LEASE_SECONDS)


@contextlib.contextmanager
def locked(address, busy):
  """Holds the lock of a folder in a store.

  Args:
    address: of the folder.
    busy: what another process is doing there, and what to do about it, for the message.

  Yields:
    Lock.

  Raises:
    UserError: another process holds the lock.
  """
  content = {'host': host(), 'pid': os.getpid(), 'token': uuid.uuid4().hex, 'renewals': 0}
  lock = Lock(address, content)
  if not is_made(lock, address):
    take_over(lock.address, content, busy)
  lock.thread.start()
  try:
    yield lock
  finally:
    lock.release()


def is_made(lock, address):
  """Whether the lock could be made, as there was none; one line where the store cannot tell two writers apart."""
  if object_store.read_bytes(lock.address) is not None:  # which a store without conditional writes would replace
    return False
  content, is_conditional = written(lock.content), object_store.protocol_of(address) in CONDITIONAL
  try:
    made = object_store.put_bytes(lock.address, content, new=True)
    is_conditional = is_conditional and not (made and object_store.put_bytes(lock.address, content, new=True))
  except UserError as error:
    if getattr(error.__cause__, 'errno', None) != errno.ENOSYS:
      raise
    is_conditional = False
    made = object_store.read_bytes(lock.address) is None and object_store.put_bytes(lock.address, content)
  if not is_conditional:
    advice = 'see that only one process writes there'
    print(f'warning: {address}: this store has no conditional writes; {advice}', file=sys.stderr)
  return made


def take_over(address, content, busy):
  """Makes a lock ours whose owner is gone. UserError: the owner is at work, or another process was faster.

  Args:
    address: of the lock.
    content: dict of ours.
    busy: as for `locked`.
  """
  before = object_store.read_bytes(address)
  if token_of(before) == content['token']:
    return  # it was made, and its answer was lost
  await_death(address, busy)
  # Of several processes that see the same dead lock, the one that makes this object is its heir.
  heir = f'{address}-after-{token_of(before)}'
  if not object_store.put_bytes(heir, written(content), new=True):
    take_over(heir, content, busy)  # an heir may be killed, too
  try:
    if object_store.read_bytes(address) != before:
      raise UserError(f'{address.rpartition("/")[0]}: {busy}')
    object_store.put_bytes(address, written(content))
  finally:
    object_store.remove(heir)


def await_death(address, busy):
  """Returns when a lock is as it is for a lease, or its owner is gone. UserError: it has changed."""
  before = object_store.read_bytes(address)
  if before is None or is_dead_here(before):
    return
  print(f'{address}: waiting up to {lease_seconds():.0f} s for a sign of its owner ...', file=sys.stderr)
  end = time.monotonic() + lease_seconds()
  while time.monotonic() < end:
    time.sleep(min(1.0, lease_seconds() / 8))
    if object_store.read_bytes(address) != before:
      raise UserError(f'{address.rpartition("/")[0]}: {busy}')


def host():
  """What tells machines, and containers on one, apart."""
  with contextlib.suppress(OSError):
    boot = pathlib.Path('/proc/sys/kernel/random/boot_id').read_text(encoding='ascii').strip()
    return f'{socket.gethostname()} {boot} {os.stat("/proc/self/ns/pid").st_ino}'
  return f'{socket.gethostname()} {uuid.getnode()}'


def is_dead_here(content):
  """Whether a lock is of a process on this machine that has ended."""
  with contextlib.suppress(ValueError, TypeError, AttributeError):
    owner = json.loads(content)
    if owner.get('host') == host() and owner.get('pid') != os.getpid():
      return not os.path.exists(f'/proc/{int(owner["pid"])}')
  return False


def token_of(content):
  """The token of a lock's content; 'none' for none, or what is no lock of ours."""
  with contextlib.suppress(ValueError, TypeError, AttributeError):
    token = str(json.loads(content or b'').get('token'))
    return token if token.isalnum() else 'none'
  return 'none'


def written(content):
  """The bytes of a lock."""
  return json.dumps(content).encode()
