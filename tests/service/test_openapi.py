"""The service's OpenAPI describes what it does."""

import unittest.mock

import fastapi
import hypothesis
import pytest
import running_service
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from audionet_tf.service import app, predict_api

CHECKS = (
  not_a_server_error,
  checks.status_code_conformance,
  checks.content_type_conformance,
  checks.response_schema_conformance,
)

SETTINGS = hypothesis.settings(
  max_examples=40, database=None, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)


@pytest.fixture(scope='module')
def described(client, made):
  running_service.wait(lambda: made.ready)
  return schemathesis.openapi.from_url(f'{str(client.base_url).rstrip("/")}/openapi.json')


def test_every_route_is_described_and_answers_as_described(client):
  paths = client.get('/openapi.json').json()['paths']
  known = {'name': 'audionet', 'version': '1', 'identity': 'x', 'suffix': 'vtt', 'method': 'predict'}
  routes = {route.path.replace('{method}', name) for route in app_routes() for name in predict_api.METHODS}
  assert set(paths) == routes
  for path, operations in paths.items():
    for method in set(operations) - {'parameters'}:
      answer = client.request(method, path.format(**known))
      assert answer.status_code != 405 and str(answer.status_code) in operations[method]['responses']


def app_routes():
  """The routes of an application like the service's."""
  made = fastapi.FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
  for add in (app.add_model, app.add_captions, app.add_monitoring):
    add(made, unittest.mock.MagicMock(name='audionet'))
  return made.routes


@pytest.mark.long
def test_random_requests_get_what_is_described(described, seed):
  operations = [result.ok() for result in described.get_all_operations()]
  assert len(operations) == len(described.raw_schema['paths']) - 1  # it leaves the description itself out
  for operation in operations:

    @hypothesis.seed(seed)
    @SETTINGS
    @hypothesis.given(case=operation.as_strategy())
    def check(case):
      case.call_and_validate(checks=CHECKS, timeout=300)

    check()
