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

from audionet_tf.media import decoding
from audionet_tf.models import registry
from audionet_tf.saved_model import signatures
from audionet_tf.service import own_words, predict_cost
from audionet_tf.service.settings import RequestRefused, sizes

DEFAULT = 'serving_default'
METHODS = ('predict', 'classify')
PREDICT_METHOD = 'tensorflow/serving/predict'  # what exports call it
LARGE_BYTES = 1 << 18  # of a request or a response: some milliseconds
DECOMPRESSED_BYTES = 1 << 22  # of a body at once


async def decoded(body, encoding, most_bytes, take):
  """The body of a request without its Content-Encoding: gzip or none, as TensorFlow Serving takes them.

  Args:
    body: bytes.
    encoding: value of the header, or ''.
    most_bytes: largest size; little more is decompressed.
    take: called with the size of each part that is decompressed; may raise RequestRefused.

  Raises:
    RequestRefused: another encoding, a damaged body, or too large a one.
  """
  encoding = encoding.strip().lower()
  if encoding in ('', 'identity'):
    return body
  if encoding not in ('gzip', 'x-gzip'):
    raise RequestRefused(415, f'Content-Encoding is {encoding[:40]!r}, allowed are gzip and identity')
  reader, content, rest = zlib.decompressobj(16 + zlib.MAX_WBITS), bytearray(), body
  while not reader.eof:
    try:
      part = await asyncio.to_thread(reader.decompress, rest, DECOMPRESSED_BYTES)
    except zlib.error as error:
      raise RequestRefused(400, f'the body is not gzip, or damaged ({error})') from None
    rest = reader.unconsumed_tail
    if not part and not rest:
      raise RequestRefused(400, 'the gzip body is truncated')
    content += part
    if len(content) > most_bytes:
      raise RequestRefused(413, f'the body has more than the {sizes(most_bytes)} allowed, decompressed')
    take(len(part))
  return bytes(content)


def parse(body):
  """The JSON object in the bytes of a request. RequestRefused: they are none, or it would take much memory."""
  predict_cost.check_size(body)
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
    if any(name.endswith(signatures.CENTERS) for name in served.signatures[signature].structured_outputs):
      raise RequestRefused(400, f'{signature} has outputs that are not one per row; send "inputs" (columnar format)')
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
  rows = value if rank == 2 else [value]
  if not is_rectangle(rows):
    raise RequestRefused(400, f'waveform of {signature} must be an array of numbers, {form}')
  size, samples = len(rows) * len(rows[0]), len(rows[0])
  if size > signatures.SAMPLES_AT_ONCE:
    raise RequestRefused(413, f'waveform has {size} samples, allowed are {signatures.SAMPLES_AT_ONCE} per request')
  settings = served.settings
  shortest = 1 if signature == 'windows' else registry.shortest_samples(settings.student)
  if samples < shortest:
    raise RequestRefused(400, f'waveform has {samples} samples, {settings.student} needs {shortest}')
  with np.errstate(over='ignore'):
    waveform = np.array(value, np.float32)
  if not np.isfinite(waveform).all():
    raise RequestRefused(400, 'waveform has values outside the range of float32')
  peak = np.abs(waveform).max()
  if peak > decoding.MAX_PEAK:  # of int16: predictions would be certain, and wrong
    raise RequestRefused(400, f'waveform reaches {peak:g}, allowed is -1 to 1; divide int16 by 32768')
  return waveform


def is_rectangle(rows):
  """Whether a JSON value is a list of lists of numbers, of one length that is not 0.

  Types are looked at one by one: NumPy would make each number as wide as the longest string beside it.
  """
  return (
    isinstance(rows, list)
    and bool(rows)
    and all(isinstance(row, list) for row in rows)
    and {len(row) for row in rows} == {len(rows[0]) or -1}
    and all({int, float}.issuperset(map(type, row)) for row in rows)
  )


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
  by_row = [values if isinstance(values, list) else row_texts(values) for values in outputs.values()]
  rows = [dict(zip(outputs, row, strict=True)) for row in zip(*by_row, strict=True)]
  return dump({'predictions': rows})


def row_texts(values):
  """The JSON of each row of an array [rows, ...] of numbers: one call of orjson, where one per row takes long."""
  if not len(values) or not values[0].size:
    return list(values)
  text, inside = dump(values), values.ndim - 1
  between, end = b']' * inside + b',' + b'[' * inside, len(text) - values.ndim
  return [orjson.Fragment(b'[' * inside + row + b']' * inside) for row in text[values.ndim : end].split(between)]


def strings(values):
  """Nested lists of str from an array of bytes, TensorFlow's strings."""
  return [strings(value) if isinstance(value, np.ndarray) else value.decode('utf-8', 'replace') for value in values]


def dump(document):
  """The JSON bytes of a document, which may hold NumPy arrays."""
  return orjson.dumps(document, default=np.ascontiguousarray, option=orjson.OPT_SERIALIZE_NUMPY)


def classify_request(body, served):
  """As `predict_request`, of a `:classify` request: in the place of the form its own classes, or None."""
  document = parse(body)
  examples = document.get('examples')
  if not isinstance(examples, list) or not examples or not all(isinstance(item, dict) for item in examples):
    raise RequestRefused(400, 'expected is {"examples": [{"waveform": [...]}, ...]}')
  return (
    DEFAULT,
    checked_waveform([waveform_of(item) for item in examples], DEFAULT, served),
    document.get(own_words.FIELD),
  )


def classify_response(outputs, settings, head=None):
  """The JSON bytes of the response to a `:classify` request. `head`: whose classes these are; None for the first."""
  names, values = strings(outputs['top_classes']), outputs['top_probabilities'].tolist()
  if head not in (None, next(iter(settings.classes))):
    return best_classes(outputs[f'{head}/probabilities'], settings.classes[head])
  return results(names, values)


def names_bytes(names):
  """The most bytes that such names, which a client chose, take in a row of the response to a `:classify` request."""
  return sum(sorted(len(dump(name)) for name in names)[-signatures.TOP :])


def best_classes(probabilities, class_names):
  """As `classify_response`, of probabilities f32 [rows, classes]."""
  top = np.argsort(-probabilities, 1, 'stable')[:, : signatures.TOP]
  return results(
    [[class_names[number] for number in row] for row in top], np.take_along_axis(probabilities, top, 1).tolist()
  )


def results(names, values):
  """The JSON bytes of the response to a `:classify` request: lists of the names and the probabilities of each row."""
  return dump({'results': [list(zip(*row, strict=True)) for row in zip(names, values, strict=True)]})


async def respond(method, body, served, batcher, limits, head=None, take=lambda count: None, words=None):
  """The JSON bytes of the response to a request.

  Args:
    method: one of METHODS.
    body: bytes of the request.
    served: loader.LoadedExport.
    batcher: batching.Batcher for the default signature.
    limits: settings.Limits.
    head: of `classify_response`.
    take: called with the size of the response's arrays before they are computed; may raise RequestRefused.
    words: own_words.OwnWords, or None.

  Raises:
    RequestRefused: a malformed request, too many that wait, a timeout, or too large a response.
  """
  read = classify_request if method == 'classify' else predict_request
  signature, waveform, form = await away(len(body), read, body, served)
  prompts = own_words.prompts_of(words, form) if method == 'classify' else None
  size = predict_cost.answer_bytes(served, signature, waveform.shape) + len(waveform) * names_bytes(prompts or ())
  if size > limits.answer_bytes:
    allowed = sizes(limits.answer_bytes)
    raise RequestRefused(413, f'the response would have {sizes(size)}, allowed are {allowed}; send less sound')
  take(size)
  try:
    async with asyncio.timeout(limits.predict_seconds):
      table = prompts and await words.table(prompts)
      predict = table and words.predict_fn(table)
      outputs = await in_parts(signature, waveform, served, batcher, predict)
  except TimeoutError:
    raise RequestRefused(504, f'no prediction within {limits.predict_seconds:g} s', retry_seconds=1) from None
  if table:
    return await away(size, best_classes, outputs['probabilities'], table.names)
  if method == 'classify':
    return await away(size, classify_response, outputs, served.settings, head)
  return await away(size, predict_response, outputs, form)


async def away(size, function, *arguments):
  """`function(*arguments)`, in a thread where `size`, the bytes it deals with, would keep other requests waiting."""
  if size < LARGE_BYTES:
    return function(*arguments)
  return await asyncio.to_thread(function, *arguments)


async def in_parts(signature, waveform, served, batcher, predict=None):
  """The outputs of a signature: dict of arrays. A batch goes to the student in parts, others' requests in between.

  `predict`: a function as of `predict_fn`, in the place of the signature's; None for that.
  """
  rows = predict_cost.rows_at_once(served.settings, waveform.shape[-1]) if waveform.ndim == 2 else len(waveform)
  parts = []
  for begin in range(0, len(waveform), rows):
    part = waveform[begin : begin + rows]
    if signature == DEFAULT and predict is None:
      parts.append(await batcher.submit(part))
    else:
      parts.append(await batcher.call(predict or predict_fn(served, signature), part))
  if len(parts) == 1:
    return parts[0]
  return {
    name: values if name.endswith(signatures.CENTERS) else np.concatenate([part[name] for part in parts])
    for name, values in parts[0].items()
  }


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
