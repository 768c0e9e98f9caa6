"""Responses to uploads, without a service around them."""

import asyncio
import threading
import types

import uvloop

from audionet_tf.service.captions import captions_api


def test_a_client_that_leaves_before_the_first_line_cancels_its_job():
  async def run():
    began, task, threads = asyncio.Event(), asyncio.create_task(asyncio.sleep(60)), []
    watched = types.SimpleNamespace(cancel=lambda: (threads.append(threading.current_thread()), task.cancel()))

    async def lines():
      began.set()
      yield 'never sent'

    async def leave():
      return {'type': 'http.disconnect'}

    async def send(message):
      await asyncio.sleep(60)

    answer = captions_api.stream_response(watched, lines())
    await asyncio.wait_for(answer({'type': 'http', 'asgi': {'spec_version': '2.3'}}, leave, send), 20)
    await asyncio.wait([task], timeout=20)
    return began.is_set(), task.cancelled(), set(threads)

  assert uvloop.run(run()) == (False, True, {threading.current_thread()})  # of the loop: no other may cancel
