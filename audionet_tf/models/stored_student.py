"""A student in a store: the local copy of what predicting and starting from it need."""

import functools
import re

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import object_store, store_cache

VERSION = re.compile(r'((?:export/)?(\d+)/).+')
OF_RUN = re.compile(r'student\.(keras|json)|export/.+')  # what is of use without training


@functools.cache
def fetched(address):
  """pathlib.Path of a local copy of the student at an address: of a run what only training needs is left out.

  Of an export only the newest whole version is fetched: one whose graph, which is uploaded last, is there.

  Args:
    address: of a run, an export, a version of one, or a .keras file, its .json beside it.

  Raises:
    UserError: there is no student, it is larger than the cache, or the store cannot be read.
  """
  address = object_store.checked(address)
  if address.endswith('.keras'):
    folder, _, name = address.rpartition('/')
    found = {each: object_store.stat(f'{folder}/{each}') for each in (name, f'{name.removesuffix(".keras")}.json')}
    if not found[name]:
      raise UserError(f'{address}: no such student; training writes it as RUN/student.keras')
    return store_cache.fetched_tree(folder, {each: stored for each, stored in found.items() if stored}) / name
  listed = store_cache.listed(address)
  listed = {name: listed[name] for name in listed if OF_RUN.fullmatch(name)} or listed
  if not any(name.endswith(('.keras', 'saved_model.pb')) for name in listed):
    raise UserError(f'{address}: no student here; expected is a run, an export or a student.keras')
  return store_cache.fetched_tree(address, newest_version(listed))


def newest_version(listed):
  """The objects of a run or an export without those of versions that are old or not whole.

  Args:
    listed: dict of name to object_store.Stored.
  """
  version_of = {name: VERSION.fullmatch(name) for name in listed}
  whole = [match for match in version_of.values() if match and f'{match[1]}saved_model.pb' in listed]
  newest = max(whole, key=lambda match: int(match[2]), default=None)
  return {name: listed[name] for name, match in version_of.items() if not match or (newest and match[1] == newest[1])}
