"""A headless Chromium, driven by its DevTools protocol over a WebSocket."""

import base64
import contextlib
import json
import pathlib
import shutil
import subprocess
import tempfile
import time
import urllib.request

PROGRAM = shutil.which('chromium') or shutil.which('chromium-browser')
START_SECONDS, WAIT_SECONDS = 30, 20


class Page:
  """A page, or another target: `await`-free calls of the protocol.

  Args:
    address: of the target's WebSocket.
  """

  def __init__(self, address):
    from websockets.sync import client

    self.socket = contextlib.ExitStack().enter_context(client.connect(address, max_size=None, origin=None))
    self.number, self.messages = 0, []

  def call(self, method, **parameters):
    """The result of a method of the protocol."""
    self.number += 1
    self.socket.send(json.dumps({'id': self.number, 'method': method, 'params': parameters}))
    while True:
      message = json.loads(self.socket.recv(timeout=WAIT_SECONDS))
      if message.get('id') == self.number:
        assert 'error' not in message, (method, message)
        return message['result']
      self.messages.append(message)

  def run(self, expression):
    """The value of a JavaScript expression; promises are waited for."""
    options = {'returnByValue': True, 'awaitPromise': True, 'userGesture': True}
    result = self.call('Runtime.evaluate', expression=expression, **options)
    assert 'exceptionDetails' not in result, result['exceptionDetails']
    return result['result'].get('value')

  def wait(self, expression, seconds=WAIT_SECONDS):
    """The value of an expression once it is true."""
    end = time.monotonic() + seconds
    while not (value := self.run(expression)):
      assert time.monotonic() < end, f'never true: {expression}'
      time.sleep(0.05)
    return value

  def open(self, address):
    self.call('Page.navigate', url=address)
    self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

  def choose(self, selector, path):
    """Gives a file to an input."""
    node = self.call('Runtime.evaluate', expression=f'document.querySelector({selector!r})')['result']['objectId']
    self.call('DOM.setFileInputFiles', files=[str(path)], objectId=node)

  def drop(self, selector, path):
    """Drags a file onto the middle of an element, and drops it there."""
    x, y = self.run(f"""((element) => {{
      element.scrollIntoView({{ block: 'center' }});
      const {{ left, right, top, bottom }} = element.getBoundingClientRect();
      return [(left + right) / 2, (top + bottom) / 2];
    }})(document.querySelector({selector!r}))""")
    data = {'items': [], 'files': [str(path)], 'dragOperationsMask': 1}
    for event in ('dragEnter', 'dragOver', 'drop'):
      self.call('Input.dispatchDragEvent', type=event, x=x, y=y, data=data)

  def press(self, key, code=0, text=''):
    kind = {'text': text} if text else {}
    for event in ('keyDown', 'keyUp'):
      self.call('Input.dispatchKeyEvent', type=event, key=key, code=key, windowsVirtualKeyCode=code, **kind)

  def click(self, x, y):
    for event in ('mousePressed', 'mouseReleased'):
      self.call('Input.dispatchMouseEvent', type=event, x=x, y=y, button='left', clickCount=1)

  def shadow_text(self):
    """All text in shadow trees of the page, closed ones too."""

    def texts(node, inside):
      inside = inside or node['nodeName'] == '#document-fragment'
      if inside and node['nodeName'] == '#text':
        yield node['nodeValue']
      if node['nodeName'] != 'STYLE':
        for child in (*node.get('shadowRoots', ()), *node.get('children', ())):
          yield from texts(child, inside)

    return ' '.join(texts(self.call('DOM.getDocument', depth=-1, pierce=True)['root'], False))

  def look(self, path, width=1200, height=1000, dark=False):
    """Writes a screenshot of the whole page."""
    self.call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=False)
    scheme = {'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}
    self.call('Emulation.setEmulatedMedia', features=[scheme])
    time.sleep(0.3)
    picture = self.call('Page.captureScreenshot', captureBeyondViewport=True)['data']
    pathlib.Path(path).write_bytes(base64.b64decode(picture))


class Browser:
  """What `running` gives: the browser at a port of this machine."""

  def __init__(self, port):
    self.port = port

  def targets(self):
    with urllib.request.urlopen(f'http://127.0.0.1:{self.port}/json/list') as answer:
      return json.load(answer)

  def page(self, address='about:blank'):
    """A new Page at an address."""
    request = urllib.request.Request(f'http://127.0.0.1:{self.port}/json/new?about:blank', method='PUT')
    with urllib.request.urlopen(request) as answer:
      page = Page(json.load(answer)['webSocketDebuggerUrl'])
    page.call('Page.enable')
    if address != 'about:blank':
      page.open(address)
    return page


@contextlib.contextmanager
def running(*flags):
  """A Browser with a profile of its own, gone at the end."""
  with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
    command = [
      PROGRAM,
      '--headless=new',
      '--no-sandbox',
      '--disable-gpu',
      '--remote-debugging-port=0',
      '--no-first-run',
    ]
    command += ['--disable-dev-shm-usage', '--autoplay-policy=no-user-gesture-required']
    command += ['--disable-background-networking', '--disable-component-update', f'--user-data-dir={profile}', *flags]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
      file, end = pathlib.Path(profile, 'DevToolsActivePort'), time.monotonic() + START_SECONDS
      while not (file.is_file() and '\n' in file.read_text()):
        assert process.poll() is None and time.monotonic() < end, 'Chromium does not start'
        time.sleep(0.1)
      yield Browser(int(file.read_text().splitlines()[0]))
    finally:
      process.terminate()
      process.wait()
