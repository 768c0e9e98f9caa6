import os

import pytest

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')


@pytest.fixture(scope='session', autouse=True)
def pictures_at_the_end():
  """TensorBoard's pictures after the last epoch only: they would take half the time of runs as small as these."""
  from audionet_tf import summaries

  with pytest.MonkeyPatch.context() as patched:
    patched.setattr(summaries, 'in_series', lambda number: False)
    yield
