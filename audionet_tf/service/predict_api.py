"""TensorFlow Serving's REST interface (its documentation, "RESTful API") over an export: status, metadata, predict.

Requests and answers have its two forms: `instances` and `predictions`, a row each, or `inputs` and `outputs`, a tensor
each. Beyond it, `:classify` answers for `{"examples": [{"waveform": [...]}]}`, with which TensorFlow Serving would
want a signature of another kind: `{"results": [[[class, probability], ...]]}`, the best first.
"""

import asyncio

import numpy as np
import orjson
import tensorflow as tf

from audionet_tf.models import registry
from audionet_tf.saved_model import signatures
from audionet_tf.service.settings import Refused, sizes

DEFAULT = 'serving_default'
METHODS = ('predict', 'classify')


def parsed(body):
  """The JSON object in a request's bytes. Refused unless it is one."""
  try:
    document = orjson.loads(body)
  except orjson.JSONDecodeError as error:
    raise Refused(400, f'not JSON: {error}') from None
  if not isinstance(document, dict):
    raise Refused(400, 'the request is not a JSON object')
  return document


def predict_request(body, served):
  """(signature name, waveform, 'instances' or 'inputs') of the bytes of a request to predict.

  Args:
    body: bytes.
    served: serving.Served.

  Returns:
    The waveform is f32 [batch, samples], or [samples] for signatures that take that.

  Raises:
    Refused: anything else than such a request.
  """
  document = parsed(body)
  signature = document.get('signature_name') or DEFAULT
  if not isinstance(signature, str) or signature not in served.signatures:
    raise Refused(400, f'signature_name is {str(signature)[:100]!r}, known are {", ".join(served.signatures)}')
  forms = [form for form in ('instances', 'inputs') if form in document]
  if len(forms) != 1:
    raise Refused(400, 'expected is either "instances", a row each, or "inputs", a tensor each')
  value = document[forms[0]]
  if forms[0] == 'instances':
    if not isinstance(value, list) or not value:
      raise Refused(400, '"instances" is not a list with something in it')
    value = [named(item) for item in value] if isinstance(value[0], dict) else value
  else:
    value = named(value)
  return signature, checked_waveform(value, signature, served), forms[0]


def named(value):
  """What stands under `waveform` in a dict of nothing else; any other value as it is."""
  if not isinstance(value, dict):
    return value
  if set(value) != {'waveform'}:
    raise Refused(400, f'inputs are {", ".join(sorted(value))[:200] or "none"}, expected is waveform')
  return value['waveform']


def checked_waveform(value, signature, served):
  """f32 [batch, samples] or [samples] from lists of numbers, fit for the signature. Refused where it is not."""
  rank = rank_of(served, signature)
  form = 'batch x samples' if rank == 2 else 'samples'
  try:
    array = np.asarray(value)
  except ValueError:
    array = np.array(None)
  if array.dtype.kind not in 'if' or array.ndim != rank or not array.size:
    raise Refused(400, f'waveform of {signature} is not a table of numbers, {form}')
  if array.size > signatures.SAMPLES_AT_ONCE:
    raise Refused(413, f'waveform has {array.size} samples, allowed are {signatures.SAMPLES_AT_ONCE} in a request')
  settings = served.settings
  shortest = 1 if signature == 'windows' else registry.shortest_samples(settings.student)
  if array.shape[-1] < shortest:
    raise Refused(400, f'waveform has {array.shape[-1]} samples, {settings.student} needs {shortest}')
  with np.errstate(over='ignore'):
    waveform = array.astype(np.float32)
  if not np.isfinite(waveform).all():
    raise Refused(400, 'waveform has numbers that are no float32')
  return waveform


def rank_of(served, signature):
  """Dimensions of the waveform that a signature takes."""
  return len(served.signatures[signature].structured_input_signature[1]['waveform'].shape)


def answers(served, signature):
  """A function from a waveform to the signature's outputs, a dict of NumPy arrays; strings are bytes."""
  function = served.signatures[signature]

  def answer(waveform):
    return {name: output.numpy() for name, output in function(waveform=tf.constant(waveform)).items()}

  return answer


def predict_answer(outputs, form):
  """Bytes of the JSON that answers a request of the form 'instances' or 'inputs'.

  Args:
    outputs: dict of arrays; with 'instances' all of one first dimension.
    form: as `predict_request` gives it.
  """
  outputs = {name: strings(values) if values.dtype == object else values for name, values in outputs.items()}
  if form == 'inputs':
    return dumped({'outputs': outputs})
  rows = [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
  return dumped({'predictions': rows})


def strings(values):
  """Nested lists of str from an array of bytes, as TensorFlow gives strings."""
  return [strings(value) if isinstance(value, np.ndarray) else value.decode('utf-8', 'replace') for value in values]


def dumped(document):
  return orjson.dumps(document, default=np.ascontiguousarray, option=orjson.OPT_SERIALIZE_NUMPY)


def classify_request(body, served):
  """f32 [batch, samples] of the bytes of a request to classify. Refused: anything else."""
  examples = parsed(body).get('examples')
  if not isinstance(examples, list) or not examples or not all(isinstance(item, dict) for item in examples):
    raise Refused(400, 'expected is {"examples": [{"waveform": [...]}, ...]}')
  return checked_waveform([named(item) for item in examples], DEFAULT, served)


def classify_answer(outputs):
  """Bytes of the JSON that answers a request to classify."""
  names, values = strings(outputs['top_classes']), outputs['top_probabilities'].tolist()
  return dumped({'results': [list(zip(*row, strict=True)) for row in zip(names, values, strict=True)]})


async def answered(method, body, served, batcher, limits):
  """The bytes that answer the bytes of a request.

  Args:
    method: of METHODS.
    body: bytes.
    served: serving.Served.
    batcher: batching.Batcher of the default signature.
    limits: service_settings.Limits.

  Raises:
    Refused: not a proper request; too many wait; too late; too long an answer.
  """
  if method == 'classify':
    signature, waveform, form = DEFAULT, classify_request(body, served), None
  else:
    signature, waveform, form = predict_request(body, served)
  try:
    async with asyncio.timeout(limits.predict_seconds):
      if signature == DEFAULT:
        outputs = await batcher.ask(waveform)
      else:
        outputs = await batcher.other(answers(served, signature), waveform)
  except TimeoutError:
    raise Refused(504, f'not answered within {limits.predict_seconds:g} s', retry_seconds=1) from None
  size = sum(values.nbytes for values in outputs.values())
  if size > limits.answer_bytes:
    raise Refused(413, f'the answer has {sizes(size)}, allowed are {sizes(limits.answer_bytes)}; ask about less sound')
  return predict_answer(outputs, form) if form else classify_answer(outputs)


def version(served):
  """The version of an export as TensorFlow Serving counts: the name of its folder, 1 where that is no number."""
  return served.path.name if served.path is not None and served.path.name.isdecimal() else '1'


def status(served):
  """The answer about the model's status."""
  fine = {'error_code': 'OK', 'error_message': ''}
  return {'model_version_status': [{'version': version(served), 'state': 'AVAILABLE', 'status': fine}]}


def metadata(name, served):
  """The answer about the model's signatures, from the export itself."""
  from google import protobuf
  from google.protobuf import json_format
  from tensorflow.core.protobuf import saved_model_pb2

  saved = saved_model_pb2.SavedModel.FromString((served.path / 'saved_model.pb').read_bytes())
  renamed = int(protobuf.__version__.partition('.')[0]) >= 5
  defaults = 'always_print_fields_with_no_presence' if renamed else 'including_default_value_fields'
  options = {defaults: True, 'preserving_proto_field_name': True}
  signatures = {}
  for key, definition in saved.meta_graphs[0].signature_def.items():
    told = json_format.MessageToDict(definition, **options)
    signatures[key] = {part: told[part] for part in ('inputs', 'outputs', 'method_name')}
  spec = {'name': name, 'signature_name': '', 'version': version(served)}
  return {'model_spec': spec, 'metadata': {'signature_def': {'signature_def': signatures}}}
