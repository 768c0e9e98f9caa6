"""Errors caused by user input, shown without a traceback: UserError, and MediaError for one media file."""


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


def missing_extra(task, package, extra):
  """UserError that says how to install an extra of setup.cfg: from a clone, as no package index has the project."""
  how = f"scripts/setup {extra}, or pip install '.[{extra}]'"
  return UserError(f"{task} needs {package}: in the project's folder run {how}")
