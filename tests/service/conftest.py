"""The service of a student that knows two tones, one for each file of tests."""

import pytest
import tone_service

from audionet_tf.saved_model import loader
from audionet_tf.service import app


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
  return tone_service.export(tmp_path_factory.mktemp('exports'))


@pytest.fixture(scope='module')
def served(exported):
  return loader.load(exported)


@pytest.fixture(scope='module')
def made(served):
  return app.make(served, limits=tone_service.LIMITS)


@pytest.fixture(scope='module')
def client(made):
  with tone_service.client(made) as client:
    yield client
