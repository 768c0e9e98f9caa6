"""The one error that a user can cause and mend."""


class UserError(ValueError):
  """Bad data or a bad argument. The message is one line: what came, what is allowed, what to do.

  Commands print it without a traceback and exit with code 1 (`command.run`).
  """
