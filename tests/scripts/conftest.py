import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope='session', autouse=True)
def modules_of_scripts_are_found_by_children():
  """As scripts/lib/run has it."""
  with pytest.MonkeyPatch.context() as patched:
    patched.setenv('PYTHONPATH', os.pathsep.join([str(ROOT / 'scripts/lib'), str(ROOT)]))
    yield
