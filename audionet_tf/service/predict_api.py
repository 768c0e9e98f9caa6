"""TensorFlow Serving's REST interface (its documentation, "RESTful API") over an export: status, metadata, predict.

Requests and responses have its two forms: row format (`instances`, `predictions`) and columnar format (`inputs`,
`outputs`). Beyond it, `:classify` takes `{"examples": [{"waveform": [...]}]}`, for which TensorFlow Serving needs a
signature of another kind, and returns `{"results": [[[class, probability], ...]]}`, the highest first.
"""

import asyncio
import zlib

import numpy as np
import orjson
import tensorflow as tf

from audionet_tf.media import waveforms
from audionet_tf.models import registry
from audionet_tf.saved_model import signatures
from audionet_tf.service.settings import RequestRefused, sizes

DEFAULT = 'serving_default'
METHODS = ('predict', 'classify')
PREDICT_METHOD = 'tensorflow/serving/predict'  # what exports call it


def decoded(body, encoding, most_bytes, take):
  """The body of a request without its Content-Encoding: gzip or none, as TensorFlow Serving takes them.

  Args:
    body: bytes.
    encoding: value of the header, or ''.
    most_bytes: largest size; more is not decompressed.
    take: called with the size of the decompressed body; may raise RequestRefused.

  Raises:
    RequestRefused: another encoding, a damaged body, or too large a one.
  """
  encoding = encoding.strip().lower()
  if encoding in ('', 'identity'):
    return body
  if encoding not in ('gzip', 'x-gzip'):
    raise RequestRefused(415, f'Content-Encoding is {encoding[:40]!r}, allowed are gzip and identity')
  reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
  try:
    content = reader.decompress(body, most_bytes + 1)
  except zlib.error as error:
    raise RequestRefused(400, f'the body is not gzip, or damaged ({error})') from None
  if len(content) > most_bytes:
    raise RequestRefused(413, f'the body has more than the {sizes(most_bytes)} allowed, decompressed')
  if not reader.eof:
    raise RequestRefused(400, 'the gzip body is truncated')
  take(len(content))
  return content


def parse(body):
  """The JSON object in the bytes of a request. RequestRefused: they are none."""
  try:
    document = orjson.loads(body)
  except orjson.JSONDecodeError as error:
    raise RequestRefused(400, f'not JSON: {error}') from None
  if not isinstance(document, dict):
    raise RequestRefused(400, 'the request is not a JSON object')
  return document


def predict_request(body, served):
  """Parses the body of a `:predict` request.

  Args:
    body: bytes.
    served: loader.LoadedExport.

  Returns:
    (signature name, waveform, 'instances' or 'inputs'); the waveform is f32 [batch, samples], or [samples] where the
    signature takes that.

  Raises:
    RequestRefused: not such a request.
  """
  document = parse(body)
  signature = document.get('signature_name') or DEFAULT
  if not isinstance(signature, str) or signature not in served.signatures:
    raise RequestRefused(400, f'signature_name is {str(signature)[:100]!r}, allowed are {", ".join(served.signatures)}')
  forms = [form for form in ('instances', 'inputs') if form in document]
  if len(forms) != 1:
    raise RequestRefused(400, 'expected is either "instances" (row format) or "inputs" (columnar format)')
  value = document[forms[0]]
  if forms[0] == 'instances':
    if not isinstance(value, list) or not value:
      raise RequestRefused(400, '"instances" must be a non-empty list')
    value = [waveform_of(item) for item in value] if isinstance(value[0], dict) else value
  else:
    value = waveform_of(value)
  return signature, checked_waveform(value, signature, served), forms[0]


def waveform_of(value):
  """The value of `waveform` in a dict with no other key; any other value unchanged."""
  if not isinstance(value, dict):
    return value
  if set(value) != {'waveform'}:
    raise RequestRefused(400, f'inputs are {", ".join(sorted(value))[:200] or "none"}, expected is waveform')
  return value['waveform']


def checked_waveform(value, signature, served):
  """f32 [batch, samples] or [samples] from nested lists, as the signature takes it. RequestRefused: it does not fit."""
  rank = rank_of(served, signature)
  form = 'batch x samples' if rank == 2 else 'samples'
  try:
    array = np.asarray(value)
  except ValueError:
    array = np.array(None)
  if array.dtype.kind not in 'if' or array.ndim != rank or not array.size:
    raise RequestRefused(400, f'waveform of {signature} must be an array of numbers, {form}')
  if array.size > signatures.SAMPLES_AT_ONCE:
    raise RequestRefused(
      413, f'waveform has {array.size} samples, allowed are {signatures.SAMPLES_AT_ONCE} per request'
    )
  settings = served.settings
  shortest = 1 if signature == 'windows' else registry.shortest_samples(settings.student)
  if array.shape[-1] < shortest:
    raise RequestRefused(400, f'waveform has {array.shape[-1]} samples, {settings.student} needs {shortest}')
  with np.errstate(over='ignore'):
    waveform = array.astype(np.float32)
  if not np.isfinite(waveform).all():
    raise RequestRefused(400, 'waveform has values outside the range of float32')
  peak = np.abs(waveform).max()
  if peak > waveforms.MAX_PEAK:  # of int16: predictions would be certain, and wrong
    raise RequestRefused(400, f'waveform reaches {peak:g}, allowed is -1 to 1; divide int16 by 32768')
  return waveform


def rank_of(served, signature):
  """Rank of the waveform that a signature takes."""
  return len(inputs_of(served.signatures[signature])['waveform'].shape)


def inputs_of(function):
  """dict of input to tf.TensorSpec, of a signature: by name in a loaded export, by position in a .keras file's."""
  by_position, by_name = function.structured_input_signature
  return {spec.name: spec for spec in by_position} | by_name


def predict_fn(served, signature):
  """The signature as a function: waveform -> dict of NumPy arrays; strings are bytes."""
  function = served.signatures[signature]

  def predict(waveform):
    return {name: output.numpy() for name, output in function(waveform=tf.constant(waveform)).items()}

  return predict


def predict_response(outputs, form):
  """The JSON bytes of the response to a `:predict` request of the form 'instances' or 'inputs'.

  Args:
    outputs: dict of arrays; with 'instances' all have the same first dimension.
    form: from `predict_request`.
  """
  outputs = {name: strings(values) if values.dtype == object else values for name, values in outputs.items()}
  if form == 'inputs':
    return dump({'outputs': outputs})
  rows = [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
  return dump({'predictions': rows})


def strings(values):
  """Nested lists of str from an array of bytes, TensorFlow's strings."""
  return [strings(value) if isinstance(value, np.ndarray) else value.decode('utf-8', 'replace') for value in values]


def dump(document):
  """The JSON bytes of a document, which may hold NumPy arrays."""
  return orjson.dumps(document, default=np.ascontiguousarray, option=orjson.OPT_SERIALIZE_NUMPY)


def classify_request(body, served):
  """f32 [batch, samples] from the body of a `:classify` request. RequestRefused: not such a request."""
  examples = parse(body).get('examples')
  if not isinstance(examples, list) or not examples or not all(isinstance(item, dict) for item in examples):
    raise RequestRefused(400, 'expected is {"examples": [{"waveform": [...]}, ...]}')
  return checked_waveform([waveform_of(item) for item in examples], DEFAULT, served)


def classify_response(outputs, settings, head=None):
  """The JSON bytes of the response to a `:classify` request. `head`: whose classes these are; None for the first."""
  names, values = strings(outputs['top_classes']), outputs['top_probabilities'].tolist()
  if head not in (None, next(iter(settings.classes))):
    probabilities = outputs[f'{head}/probabilities']
    top = np.argsort(-probabilities, 1, 'stable')[:, : signatures.TOP]
    names = [[settings.classes[head][number] for number in row] for row in top]
    values = np.take_along_axis(probabilities, top, 1).tolist()
  return dump({'results': [list(zip(*row, strict=True)) for row in zip(names, values, strict=True)]})


async def respond(method, body, served, batcher, limits, head=None):
  """The JSON bytes of the response to a request.

  Args:
    method: one of METHODS.
    body: bytes of the request.
    served: loader.LoadedExport.
    batcher: batching.Batcher for the default signature.
    limits: settings.Limits.
    head: of `classify_response`.

  Raises:
    RequestRefused: a malformed request, too many that wait, a timeout, or too large a response.
  """
  if method == 'classify':
    signature, waveform, form = DEFAULT, classify_request(body, served), None
  else:
    signature, waveform, form = predict_request(body, served)
  try:
    async with asyncio.timeout(limits.predict_seconds):
      if signature == DEFAULT:
        outputs = await batcher.submit(waveform)
      else:
        outputs = await batcher.call(predict_fn(served, signature), waveform)
  except TimeoutError:
    raise RequestRefused(504, f'no prediction within {limits.predict_seconds:g} s', retry_seconds=1) from None
  size = sum(values.nbytes for values in outputs.values())
  if size > limits.answer_bytes:
    allowed = sizes(limits.answer_bytes)
    raise RequestRefused(413, f'the response has {sizes(size)}, allowed are {allowed}; send less sound')
  return predict_response(outputs, form) if form else classify_response(outputs, served.settings, head)


def version(served):
  """The version of an export in TensorFlow Serving's sense: the name of its folder, '1' where that is no number."""
  return served.path.name if served.path is not None and served.path.name.isdecimal() else '1'


def status(served):
  """The response to a request for the model's status."""
  ok = {'error_code': 'OK', 'error_message': ''}
  return {'model_version_status': [{'version': version(served), 'state': 'AVAILABLE', 'status': ok}]}


def signature_def(function):
  """The protobuf SignatureDef of a signature that no export holds: a concrete function of `waveform`."""
  from tensorflow.core.protobuf import meta_graph_pb2

  def infos(specs):
    return {
      name: meta_graph_pb2.TensorInfo(
        name=f'{name}:0', dtype=spec.dtype.as_datatype_enum, tensor_shape=spec.shape.as_proto()
      )
      for name, spec in specs.items()
    }

  return meta_graph_pb2.SignatureDef(
    inputs=infos(inputs_of(function)), outputs=infos(function.structured_outputs), method_name=PREDICT_METHOD
  )


def metadata(name, served):
  """The response to a request for the model's metadata: the signatures, read from the export where there is one."""
  from google import protobuf
  from google.protobuf import json_format
  from tensorflow.core.protobuf import saved_model_pb2

  file = served.path and served.path / 'saved_model.pb'
  if file and file.is_file():
    definitions = saved_model_pb2.SavedModel.FromString(file.read_bytes()).meta_graphs[0].signature_def
  else:
    definitions = {key: signature_def(function) for key, function in served.signatures.items()}
  renamed = int(protobuf.__version__.partition('.')[0]) >= 5
  defaults = 'always_print_fields_with_no_presence' if renamed else 'including_default_value_fields'
  options = {defaults: True, 'preserving_proto_field_name': True}
  signatures = {}
  for key, definition in definitions.items():
    message = json_format.MessageToDict(definition, **options)
    signatures[key] = {part: message[part] for part in ('inputs', 'outputs', 'method_name')}
  spec = {'name': name, 'signature_name': '', 'version': version(served)}
  return {'model_spec': spec, 'metadata': {'signature_def': {'signature_def': signatures}}}
