"""The page on which events are reviewed, as an ASGI application behind the checks of the service.

| request | response |
|---|---|
| `GET /v1/review` | `labels`, `events` and `decided`, as in `captioning/review_folder.py` |
| `POST /v1/review/NUMBER` | `{}`, to `{"label": "dog"}`, `{"label": null}` (reject) or `{}` (take it back) |
| `GET /sounds/NAME.wav` | the sound of an event |
| `GET /` | the page, `review_web/` |
"""

import json

import fastapi
from fastapi import Request
from starlette.staticfiles import StaticFiles

from audionet_tf.captioning import review_folder
from audionet_tf.core import text
from audionet_tf.service import bodies, middleware
from audionet_tf.service.app import add_errors
from audionet_tf.service.metrics import Metrics
from audionet_tf.service.settings import RequestRefused

BODY_BYTES, BODY_SECONDS = 4096, 10


def application(review, host_names=()):
  """The ASGI application of a review_folder.Review. `host_names`: allowed in the Host header; empty for any."""
  app = fastapi.FastAPI(title='audionet review', openapi_url=None, docs_url=None, redoc_url=None)
  add_errors(app)

  @app.get('/v1/review')
  async def whole():
    return {'labels': review.labels, 'events': review.events, 'decided': review.decided}

  @app.post('/v1/review/{number}')
  async def decide(request: Request, number: int):
    asked = parsed(await bodies.body_of(request, BODY_BYTES, BODY_SECONDS))
    try:
      if 'label' in asked:
        review.decide(number, asked['label'])
      else:
        review.undo(number)
    except ValueError as error:
      raise RequestRefused(400, str(error)) from None
    return {}

  app.mount('/sounds', StaticFiles(directory=review.folder / review_folder.SOUNDS))
  app.mount('/', StaticFiles(packages=[(__package__, 'review_web')], html=True))
  return middleware.guarded(app, host_names, (), Metrics())


def parsed(body):
  """The JSON object of a body, whose `label`, if there is one, is str or None. RequestRefused for others."""
  try:
    asked = json.loads(body)
  except (ValueError, RecursionError) as error:
    raise RequestRefused(400, f'the body is not JSON ({text.brief(error)})') from None
  if not isinstance(asked, dict) or not isinstance(asked.get('label'), str | None):
    raise RequestRefused(400, 'expected is {"label": TEXT}, {"label": null} or {}')
  return asked
