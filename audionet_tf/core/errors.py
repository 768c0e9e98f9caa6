"""Errors shown without a traceback: UserError, MediaError for one media file, DiskFullError for what is written."""


class UserError(ValueError):
  """Invalid data or an invalid argument. The message is one line: what came, what is allowed, what to do.

  `cli.run` prints it without a traceback and exits with code 1.
  """


class MediaError(UserError):
  """A media file cannot be used.

  Attributes:
    path: of the file.
    reason: the message without the path.
  """

  def __init__(self, path, reason):
    super().__init__(f'{path}: {reason}')
    self.path, self.reason = path, reason

  def __reduce__(self):
    return MediaError, (self.path, self.reason)


class DiskFullError(Exception):
  """A disk is full.

  It is neither UserError nor OSError, which end the work on one of several files: no further one could be written.

  Attributes:
    folder: on that disk.
    then: what to do once there is space.
  """

  def __init__(self, folder, then='repeat the command'):
    super().__init__(folder, then)
    self.folder, self.then = folder, then

  def __str__(self):
    return f'{self.folder}: no space left on its disk, or in your quota; make space, then {self.then}'


def missing_extra(task, package, extra):
  """UserError that says how to install an extra of setup.cfg: from a clone, as no package index has the project."""
  how = f"scripts/setup {extra}, or pip install '.[{extra}]'"
  return UserError(f"{task} needs {package}: in the project's folder run {how}")
