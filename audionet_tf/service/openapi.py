"""The service's description of itself, OpenAPI 3.1, at /openapi.json."""

from audionet_tf.service import predict_api
from audionet_tf.service.captions import timeline

NUMBER, STRING = {'type': 'number'}, {'type': 'string'}
SAMPLES = {'type': 'array', 'items': NUMBER, 'minItems': 1}
ROWS = {'type': 'array', 'items': SAMPLES, 'minItems': 1}
ERRORS = {
  '400': 'malformed',
  '403': 'of a site that is not allowed, or asks for what this service does not do',
  '404': 'unknown',
  '405': 'another method is allowed',
  '408': 'arrived too slowly',
  '413': 'too large, or its response would be',
  '415': 'of a type that is not taken',
  '421': 'for another host',
  '422': 'without sound that can be decoded',
  '431': 'with too large a head',
  '503': 'too much is in progress, or the service stops',
  '504': 'not predicted in time',
  '507': 'no space left for uploads',
}


def obj(required=(), **properties):
  return {'type': 'object', 'required': list(required), 'properties': properties}


def named(value):
  return obj(['waveform'], waveform=value) | {'additionalProperties': False}


def json_of(schema):
  return {'application/json': {'schema': schema}}


def operation(summary, content, errors=(), body=None, parameters=()):
  """One operation; `errors`: statuses beside those that every request can get."""
  statuses = sorted({'400', '403', '405', '421', '431', '503', *errors})
  error = json_of({'$ref': '#/components/schemas/Error'})
  refusals = {status: {'description': f'Refused: {ERRORS[status]}.', 'content': error} for status in statuses}
  made = {'summary': summary, 'responses': {'200': {'description': summary, 'content': content}} | refusals}
  if body:
    made['requestBody'] = {'required': True, 'content': body}
  if parameters:
    made['parameters'] = list(parameters)
  return made


def in_path(name, **schema):
  return {'name': name, 'in': 'path', 'required': True, 'schema': STRING | schema}


CLASSES = STRING | {
  'description': 'Classes in words, one per line: NAME, or NAME | text | text. Only where /v1/service has '
  'words_characters, their most.'
}
THRESHOLD = {
  'name': 'threshold',
  'in': 'query',
  'schema': NUMBER | {'minimum': timeline.LEAST_THRESHOLD, 'maximum': 1},
  'description': 'Score that a class must reach.',
}


def model_paths(name, served):
  """dict of path to its operations: those of TensorFlow Serving. Arguments as for `document`."""
  model, version = in_path('name', enum=[name]), in_path('version', enum=[predict_api.version(served)])
  signature = {'enum': list(served.signatures)}
  named_rows = {'type': 'array', 'items': named(SAMPLES), 'minItems': 1}
  by_row = {'anyOf': [ROWS, SAMPLES, named_rows]}
  by_column = {'anyOf': [ROWS, SAMPLES, named(ROWS), named(SAMPLES)]}
  rows_body = obj(['instances'], signature_name=signature, instances=by_row)
  columns_body = obj(['inputs'], signature_name=signature, inputs=by_column)
  predict_body = {'oneOf': [rows_body, columns_body]}
  predictions = {
    'oneOf': [
      obj(['predictions'], predictions={'type': 'array', 'items': {'type': 'object'}}),
      obj(['outputs'], outputs={'type': 'object'}),
    ]
  }
  pair = {'type': 'array', 'items': {'type': ['string', 'number']}, 'minItems': 2, 'maxItems': 2}
  results = obj(['results'], results={'type': 'array', 'items': {'type': 'array', 'items': pair}})
  examples = obj(['examples'], classes=CLASSES, examples={'type': 'array', 'items': named(SAMPLES), 'minItems': 1})
  status = obj(['model_version_status'], model_version_status={'type': 'array', 'items': {'type': 'object'}})
  about = obj(['model_spec', 'metadata'], model_spec={'type': 'object'}, metadata={'type': 'object'})
  refused = ('404', '408', '413', '415', '504')
  paths = {}
  for path, parameters in (('/v1/models/{name}', [model]), ('/v1/models/{name}/versions/{version}', [model, version])):
    paths |= {
      path: {'get': operation('Status of the model.', json_of(status), ['404'])},
      f'{path}/metadata': {'get': operation('Signatures of the model.', json_of(about), ['404'])},
      f'{path}:predict': {'post': operation('Outputs.', json_of(predictions), refused, json_of(predict_body))},
      f'{path}:classify': {'post': operation('The best classes.', json_of(results), refused, json_of(examples))},
    }
    for made in paths.values():
      made.setdefault('parameters', parameters)
  return paths


def caption_paths(formats):
  """dict of path to its operations: captions. `formats`: dict of format to media type."""
  upload = obj(['file'], classes=CLASSES, file={'type': 'string', 'contentMediaType': 'application/octet-stream'})
  bodies = {
    'multipart/form-data': {'schema': upload},
    'application/json': {'schema': obj(['url'], url=STRING, classes=CLASSES)},
  }
  captions = {'$ref': '#/components/schemas/Captions'}
  forms = json_of(captions) | {kind: {'schema': STRING} for kind in ('text/vtt', 'text/event-stream')}
  files = {kind: {'schema': STRING} for kind in formats.values()} | json_of(captions)
  identity, again = in_path('identity', pattern='^[A-Za-z0-9_-]+$'), '/v1/captions/{identity}'
  timeline_of = obj(['wave', 'mel', 'seconds', 'classes'], seconds=NUMBER)
  post = operation('Captions of a file.', forms, ['408', '413', '415', '422', '507'], bodies, [THRESHOLD])
  return {
    '/v1/captions': {'post': post},
    again: {'get': operation('Captions again.', json_of(captions), ['404'], None, [identity, THRESHOLD])},
    f'{again}.{{suffix}}': {
      'get': operation(
        'Captions in a format.', files, ['404'], None, [identity, in_path('suffix', enum=list(formats)), THRESHOLD]
      )
    },
    f'{again}/timeline': {'get': operation('What sounds when.', json_of(timeline_of), ['404'], None, [identity])},
  }


def document(name, served, formats):
  """The description, a JSON-able dict.

  Args:
    name: of the model in addresses.
    served: loader.LoadedExport.
    formats: dict of a format of captions to its media type.
  """
  any_object, state = json_of({'type': 'object'}), json_of(obj(['status'], status=STRING))
  others = {
    '/v1/service': operation('Limits, sample rate, how to send live sound.', any_object),
    '/openapi.json': operation('This description.', any_object),
    '/healthz': operation('The service is alive.', state),
    '/readyz': operation('The student is warmed up.', state),
    '/metrics': operation('Metrics for Prometheus.', {'text/plain': {'schema': STRING}}),
  }
  event = obj(['name', 'start_seconds', 'end_seconds'], name=STRING, start_seconds=NUMBER, end_seconds=NUMBER)
  captions = obj(['id', 'file', 'seconds', 'warnings', 'events'], id=STRING, file=STRING, seconds=NUMBER)
  captions['properties']['warnings'] = {'type': 'array', 'items': STRING, 'description': 'What is lost of the sound.'}
  captions['properties']['events'] = {'type': 'array', 'items': event}
  return {
    'openapi': '3.1.0',
    'info': {'title': 'audionet', 'version': predict_api.version(served)},
    'paths': model_paths(name, served) | caption_paths(formats) | {path: {'get': get} for path, get in others.items()},
    'components': {'schemas': {'Error': obj(['error'], error=STRING), 'Captions': captions}},
  }
