"""PyTorch for tests: `from torch_or_skip import torch`. The one place that decides whether they may run without it.

`scripts/test --latest` may, and says so: what uses PyTorch is skipped there. Elsewhere PyTorch must be installed.
"""

import importlib
import os

import pytest


class NoTorch:
  """Whoever uses anything of it is skipped: a test, or a module at its import."""

  def __getattr__(self, name):
    if name.startswith(('_', 'pytest')):  # pytest looks at all that a module holds
      raise AttributeError(name)
    pytest.skip('PyTorch is not installed', allow_module_level=True)


WITHOUT = os.environ.get('TESTS_WITHOUT_TORCH') == '1'
needs_torch = pytest.mark.skipif(WITHOUT, reason='PyTorch is not installed')  # for tests of code that imports it
torch = NoTorch() if WITHOUT else importlib.import_module('torch')
