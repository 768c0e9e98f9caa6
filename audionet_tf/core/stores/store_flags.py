"""Addresses on the command line: before a command works, local files and folders take their place.

What the library resolves itself stays an address: students, videos, and the flags that a command names.
"""

import contextlib

from audionet_tf.core.errors import UserError
from audionet_tf.core.stores import hub, object_store, store_cache, store_folder, store_mirror

BY_THE_LIBRARY = ('model', 'init', 'videos', 'flagfile')
RECORDS, OUTPUT = ('records', 'validation'), 'output'


@contextlib.contextmanager
def resolved(flags, arguments, own):
  """Context in which flags and arguments hold local paths; what was written is uploaded at the end.

  Args:
    flags: absl's FlagValues.
    arguments: list of str, the command line without its flags.
    own: names of flags that the command resolves itself; with '*' it does so with all, and with its arguments.

  Yields:
    The arguments.

  Raises:
    UserError: an address cannot be read or written.
  """
  with contextlib.ExitStack() as stack:
    if '*' not in own:
      for flag in {id(flags[name]): flags[name] for name in flags if name not in (*BY_THE_LIBRARY, *own)}.values():
        if flag.name not in BY_THE_LIBRARY and has_address(flag.value):
          flag.value = local(stack, flag.name, flag.value)
      arguments = [arguments[0], *map(store_cache.kept, arguments[1:])]
    yield arguments


def has_address(value):
  """Whether the value of a flag is an address, NAME=ADDRESS, or a list with one of these."""
  values = value if isinstance(value, list) else [value]
  return any(isinstance(each, str) and object_store.is_elsewhere(object_store.named_path(each)[1]) for each in values)


def local(stack, name, value):
  """The value of a flag with local paths. `stack`: ExitStack, whose end uploads what was written."""
  if isinstance(value, list):
    return [local(stack, name, each) for each in value]
  if name == OUTPUT:
    return str(output(stack, value))
  prefix, path = object_store.named_path(value)
  return prefix + str((store_mirror.mirrored if name in RECORDS else store_cache.kept)(path))


def output(stack, address):
  """The local path in place of the address of a folder, or of a file, which has a suffix."""
  if hub.is_address(address):
    raise UserError(f'{address}: only students go to the Hub, by audionet_tf.train, export and convert')
  address = object_store.checked(address)
  folder, _, name = address.rpartition('/')
  if '.' not in name or folder.endswith('/'):  # of a bucket alone
    return stack.enter_context(store_folder.written(address, wanted=store_folder.nothing))
  return stack.enter_context(store_folder.written(folder, wanted=store_folder.nothing)) / name
