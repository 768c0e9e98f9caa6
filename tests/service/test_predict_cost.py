"""What prediction requests cost is known before they are parsed and computed; work that nobody waits for stops."""

import asyncio
import http.client
import json
import threading

import numpy as np
import pytest
import running_service
import soundnets
import tone_service

from audionet_tf.saved_model import loader, signatures
from audionet_tf.service import app, predict_api, predict_cost
from audionet_tf.service.batching import Batcher
from audionet_tf.service.settings import Limits, RequestRefused

MODEL = '/v1/models/audionet'


@pytest.mark.parametrize(
  'document',
  [
    {'inputs': np.zeros([1, 640]).tolist()},
    {'instances': np.zeros([7, 640]).tolist()},
    {'instances': [{'waveform': [0.5, 1]}] * 9},
    {'signature_name': 'windows', 'inputs': {'waveform': np.zeros([6400]).tolist()}},
    {'signature_name': 'windows', 'inputs': [1]},
  ],
)
def test_the_size_of_a_response_is_known_before(served, document):
  signature, waveform, _ = predict_api.predict_request(json.dumps(document).encode(), served)
  outputs = predict_api.predict_fn(served, signature)(waveform)
  arrays = sum(64 * x.size if x.dtype == object else x.nbytes for x in outputs.values())
  assert predict_cost.answer_bytes(served, signature, waveform.shape) == arrays + 1024 * len(outputs['logits'])


@pytest.fixture(scope='module')
def layered():
  """A student with the signature `layers`."""
  model, settings = soundnets.student('soundnet5'), soundnets.settings('soundnet5')
  return loader.LoadedExport(settings, soundnets.NAMES, signatures.all_signatures(model, settings), model)


@pytest.mark.parametrize('samples', [30_000, 50_001])
def test_the_size_of_activations_is_known_before(layered, samples):
  outputs = predict_api.predict_fn(layered, 'layers')(np.zeros([2, samples], np.float32))
  arrays = sum(values.nbytes for values in outputs.values())
  assert predict_cost.answer_bytes(layered, 'layers', (2, samples)) == arrays + 2 * 1024


def test_activations_have_no_row_format(layered):
  request = {'signature_name': 'layers', 'instances': [[0.0] * 30_000]}
  with pytest.raises(RequestRefused, match='columnar') as refused:
    predict_api.predict_request(json.dumps(request).encode(), layered)
  assert refused.value.status == 400


LARGE = {
  'rows': b'{"instances": [' + b'[0],' * 100_000 + b'[0]]}',
  'named rows': b'{"instances": [' + b'{"waveform":[0]},' * 100_000 + b'{"waveform":[0]}]}',
  'examples': b'{"examples": [' + b'{"waveform":[0]},' * 100_000 + b'{"waveform":[0]}]}',
  'empty lists': b'{"instances": [' + b'[],' * 1_000_000 + b'[]]}',
  'empty objects': b'{"instances": [' + b'{},' * 1_000_000 + b'{}]}',
  'strings': b'{"inputs": [[' + b'"ab",' * 1_000_000 + b'0]]}',
  'names': b'{' + b','.join(b'"%x":0' % i for i in range(300_000)) + b'}',
  'numbers': b'{"inputs": [[' + b'0,' * 3_000_000 + b'0]]}',
}


@pytest.mark.parametrize('method', ['predict', 'classify'])
@pytest.mark.parametrize('name', LARGE)
def test_large_requests_are_refused_before_anything_is_computed(served, method, name):
  calls = []
  batcher = Batcher(lambda waveform: calls.append(waveform.shape), 1, 1)
  with pytest.raises(RequestRefused) as refused:
    asyncio.run(predict_api.respond(method, LARGE[name], served, batcher, Limits()))
  expected = (413, 400) if (method == 'classify') != (name == 'examples') else (413,)
  assert refused.value.status in expected and not calls


def test_a_long_string_beside_numbers_makes_no_array(served):
  document = {'inputs': [[0] * 200_000 + ['a' * 1_000_000]]}  # 800 GB as NumPy holds them
  with pytest.raises(RequestRefused, match='array of numbers'):
    predict_api.predict_request(json.dumps(document).encode(), served)


def test_a_batch_goes_to_the_student_in_parts_and_comes_back_in_order(served):
  shapes = []

  def predict(waveform):
    shapes.append(waveform.shape)
    return {'sum': waveform.sum(1, keepdims=True), 'rows': np.arange(len(waveform))}

  sound = np.arange(1000, dtype=np.float32)[:, None] / 1000
  batcher = Batcher(predict, signatures.SAMPLES_AT_ONCE, 10)
  outputs = asyncio.run(predict_api.in_parts('serving_default', sound, served, batcher))
  np.testing.assert_array_equal(outputs['sum'], sound)
  assert len(outputs['rows']) == 1000 and max(shapes) <= (signatures.WINDOWS_AT_ONCE, 1)


def test_joined_requests_have_no_more_rows_than_one_call_may(made):
  shapes, go = [], threading.Event()

  def predict(waveform):
    shapes.append(waveform.shape)
    go.wait(20)
    return {'x': waveform}

  async def run():
    batcher = Batcher(predict, signatures.SAMPLES_AT_ONCE, 100, least_samples=made.batcher.least_samples)
    tasks = [asyncio.create_task(batcher.submit(np.zeros([100, 1], np.float32))) for _ in range(20)]
    await asyncio.sleep(0)
    go.set()
    return await asyncio.gather(*tasks)

  assert len(asyncio.run(run())) == 20 and max(shapes)[0] <= signatures.WINDOWS_AT_ONCE


@pytest.mark.parametrize(
  'rows', [[[1.5, -2e-7]], [[3.0], [0.1], [-0.0]], [[[1, 2], [3, 4]], [[5, 6], [7, 8.5]]], [1, 2.5], [[], []]]
)
def test_rows_are_written_as_their_array_is(rows):
  array = np.array(rows, np.float32)
  outputs = {'a': array, 'names': np.array([[b'],[', b'x']] * len(rows), object)}
  document = json.loads(predict_api.predict_response(outputs, 'instances'))
  assert document['predictions'] == [{'a': row, 'names': ['],[', 'x']} for row in json.loads(predict_api.dump(array))]


def test_work_stops_when_its_client_leaves(served):
  """Between two parts: the first one is computed, the client leaves, the others never are."""
  entered, go, calls = threading.Event(), threading.Event(), []

  def predict(waveform):
    calls.append(len(waveform))
    entered.set()
    go.wait(20)
    return predict_api.predict_fn(served, 'serving_default')(waveform)

  made = app.make(served)
  body = json.dumps({'instances': [[0]] * 5000}).encode()
  with running_service.running(made) as address:
    running_service.wait(lambda: made.ready)
    made.batcher.predict = predict
    connection = http.client.HTTPConnection(address.removeprefix('http://'))
    connection.request('POST', f'{MODEL}:predict', body)
    assert entered.wait(20) and made.answers.held and made.bodies.held
    connection.close()
    running_service.wait(lambda: not made.bodies.held)
    assert not made.answers.held
    go.set()
  assert len(calls) == 1


def test_answers_share_a_budget_that_is_given_back(served):
  limits = Limits(answers_bytes=3 << 20)
  made = app.make(served, limits=limits)
  with tone_service.client(made) as client:
    assert client.post(f'{MODEL}:predict', json={'instances': [[0]] * 1000}).status_code == 200
    running_service.wait(lambda: not made.answers.held)
    answer = client.post(f'{MODEL}:predict', json={'instances': [[0]] * 5000})
    assert answer.status_code == 503 and 'responses' in answer.json()['error']
    assert not made.answers.held
