"""The page and the extension in a real Chromium, against the real service and a real export.

What does not need the service is tried twice: with it, and with the student in the browser (`web_folder`).
"""

import dataclasses
import itertools
import json
import time

import chromium
import pytest

if chromium.PROGRAM is None:
  pytest.skip('no Chromium here (Debian: apt install chromium)', allow_module_level=True)

import media_clips
import running_service
import static_site
import tones
import web_folders

from audionet_tf.saved_model import export, loader
from audionet_tf.service import app, web_folder
from audionet_tf.service.settings import EXTENSION_ORIGIN, Limits

NAMES = ['silence', 'low', 'high <b>tone</b> --> & more']
TONES = [('low', 1, 2), ('high', 3, 4.2)]
SHOWN = "!document.querySelector('#result').hidden"
PROBLEM = "document.querySelector('#problem').textContent"
CUES = "[...document.querySelector('#video').textTracks[0].activeCues ?? []].map((c) => c.text)"


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A folder with clips: sounds.webm with the tones, low.wav with one for the microphone, bad.mp4, large.wav."""
  folder = tmp_path_factory.mktemp('site')
  codecs = {'video_codec': 'libvpx', 'pix_fmt': 'yuv420p', 'audio_codec': 'libopus', 'size': (320, 180)}
  media_clips.write(folder / 'sounds.webm', 5, fps=10, sounds=[tones.sound(5, *TONES)], **codecs)
  media_clips.write(folder / 'low.wav', 3, times=[], sounds=[tones.sound(3, ('low', 0, 3))])
  media_clips.write(folder / 'long.webm', 30, fps=5, sounds=[tones.sound(30, ('high', 0, 30))], **codecs)
  (folder / 'bad.mp4').write_bytes(b'no video')
  with open(folder / 'large.wav', 'wb') as large:
    large.truncate((2 << 30) + 1)
  for name, source in (('short', 'sounds'), ('long', 'long')):
    page = '<!doctype html><title>A page</title><video width=320></video><script>'
    page += f"fetch('{source}.webm').then((r) => r.blob()).then((blob) => {{"
    page += "document.querySelector('video').src = URL.createObjectURL(blob); })</script>"  # so that it can be sought
    (folder / f'{name}.html').write_text(page)
  return folder


@pytest.fixture(scope='module')
def student():
  return tones.student(NAMES)


@pytest.fixture(scope='module')
def made(student, tmp_path_factory):
  exported = export.export(student.module, student.settings, tmp_path_factory.mktemp('exports'))
  return app.make(loader.load(exported), limits=Limits(upload_bytes=1 << 20))


@pytest.fixture(scope='module')
def service_address(made):
  with running_service.running(made, host_names=('127.0.0.1',)) as address:
    yield address


@pytest.fixture(scope='module')
def local_folder(student, tmp_path_factory):
  return web_folders.write(student, tmp_path_factory)


@pytest.fixture(scope='module', params=['service', 'browser'])
def address(request):
  """Of the page: where scores come from the service, and where they come from the student in the browser."""
  if request.param == 'service':
    yield request.getfixturevalue('service_address')
    return
  with static_site.running(request.getfixturevalue('local_folder')) as (address, _):
    yield address


@pytest.fixture(scope='module')
def browser(folder):
  with chromium.running(
    '--use-fake-ui-for-media-stream',
    '--use-fake-device-for-media-stream',
    f'--use-file-for-fake-audio-capture={folder / "low.wav"}',
  ) as browser:
    yield browser


def extended(folder=web_folder.WEB):
  """A browser with the extension, which may capture tabs without a click. A fake microphone would prevent that."""
  return chromium.running(
    f'--load-extension={folder}',
    '--disable-features=DisableLoadExtensionCommandLineSwitch',
    f'--allowlisted-extension-id={EXTENSION_ORIGIN.rpartition("/")[2]}',
  )


@pytest.fixture
def page(browser, address):
  """The page; nothing has gone wrong on it at the end of the test."""
  yield from opened(browser, address)


@pytest.fixture
def service_page(browser, service_address):
  """As `page`, of the service only."""
  yield from opened(browser, service_address)


def opened(browser, address):
  page = browser.page()
  page.call('Runtime.enable')
  page.call('Log.enable')
  page.open(address)
  page.wait("document.querySelector('#about').textContent.includes('kinds of sound')")
  yield page
  page.run('1')  # pending messages have arrived
  assert not [m for m in page.messages if m['method'] == 'Runtime.exceptionThrown']
  assert not [m for m in page.messages if m['method'] == 'Log.entryAdded' and m['params']['entry']['level'] == 'error']
  page.call('Page.close')


def seek(page, seconds):
  page.run(f"document.querySelector('#video').currentTime = {seconds}")
  page.wait("!document.querySelector('#video').seeking")


def test_from_a_file_to_a_cue_at_the_right_time(page, folder, tmp_path):
  page.choose('#chooser', folder / 'sounds.webm')
  page.wait(SHOWN)
  page.wait("document.querySelector('#video').readyState > 1")
  page.wait("document.querySelector('#video').textTracks[0].cues?.length")
  for seconds, name in (
    (0.5, 'silence'),
    (0.94, 'silence'),
    (1.06, 'low'),
    (1.9, 'low'),
    (3.06, 'high'),
    (4.3, 'silence'),
  ):
    seek(page, seconds)
    (text,) = page.wait(f'{CUES}.length === 1 && {CUES}')
    assert text.startswith(name)
    assert page.wait("document.querySelector('#top span').textContent").startswith(name)
  assert page.run("document.querySelector('#video').textTracks[0].mode") == 'showing'
  names = page.run("[...document.querySelectorAll('#events span:first-of-type')].map((e) => e.textContent)")
  assert names == ['silence', 'low', 'silence', NAMES[2], 'silence']  # as text, not as markup
  assert page.run("document.querySelector('#threshold').getAttribute('aria-valuetext')") == '20 %'
  page.run("document.querySelector('#threshold').value = 95")
  assert page.run("document.querySelectorAll('#downloads a').length") == 6
  page.call('Browser.setDownloadBehavior', behavior='allow', downloadPath=str(tmp_path))
  page.run("document.querySelector('#downloads a[download$=vtt]').click()")
  running_service.wait((tmp_path / 'sounds.webm.vtt').is_file)
  text = (tmp_path / 'sounds.webm.vtt').read_text()
  assert text.startswith('WEBVTT') and '00:00:01.000 --> 00:00:02.000' in text


def test_a_file_is_dropped_on_the_page(page, folder):
  """Its place is marked while the file is over it. What is dropped beside it is taken too."""
  page.run("""window.over = []; new MutationObserver(() => over.push(document.querySelector('#drop').className))
    .observe(document.querySelector('#drop'), { attributeFilter: ['class'] })""")
  for place, name in (('#drop', 'sounds.webm'), ('h1', 'low.wav')):
    page.drop(place, folder / name)
    page.wait(f"document.querySelector('#name').textContent === '{name}' && {SHOWN}")
    page.wait("document.querySelector('#video').textTracks[0].cues?.length")
  assert page.run('over') == ['over', ''] * 2
  assert page.run('location.pathname') == '/'  # the browser did not open the file itself


def test_what_is_lost_of_the_sound_is_shown(page, tmp_path):
  sounds = [20_000 * tones.sound(1, ('low', 0, 1))]
  loud = media_clips.write(tmp_path / 'loud.wav', 1, times=[], sounds=sounds, audio_codec='pcm_f32le')
  page.choose('#chooser', loud)
  page.wait(SHOWN)
  status = page.run("document.querySelector('#status').textContent")
  assert 'Warning: samples reach 8000, beyond 1 they are clipped' in status


def test_no_classes_are_asked_for_where_no_text_model_is(page):
  assert page.run("document.querySelector('#words').hidden")


def test_a_reload_shows_the_result_again_and_the_file_can_be_added(service_page, folder):
  events = "[...document.querySelectorAll('#events li')].map((e) => e.textContent).join()"
  service_page.choose('#chooser', folder / 'sounds.webm')
  service_page.wait(SHOWN)
  before = service_page.run(events)
  service_page.run('window.before = true')
  service_page.call('Page.reload')
  service_page.wait(f'!window.before && document.querySelector("#name") && {SHOWN}')
  assert (
    service_page.run("document.querySelector('#name').textContent") == 'sounds.webm'
    and service_page.run(events) == before
  )
  assert service_page.run("document.querySelector('#video').hidden && !document.querySelector('#fileless').hidden")
  service_page.run("document.querySelector('#timeline').focus()")
  for _ in range(2):
    service_page.press('ArrowRight', 39)
  service_page.wait("document.querySelector('#top span').textContent === 'silence'")
  service_page.choose('#replay', folder / 'sounds.webm')
  service_page.wait("document.querySelector('#video').readyState > 1 && document.querySelector('#fileless').hidden")
  seek(service_page, 1.5)
  service_page.wait(f"{CUES}.join() === 'low'")
  service_page.run("location.hash = ''")
  service_page.wait("document.querySelector('#result').hidden && !document.querySelector('#try').hidden")


def test_a_result_that_is_gone_is_a_message(browser, service_address):
  page = browser.page(f'{service_address}/#nothing')
  assert 'no such captions' in page.wait(PROBLEM)
  assert not page.run(SHOWN) and page.run('location.hash') == ''
  page.call('Page.close')


def test_an_example_can_be_tried_without_a_file(page):
  page.run("document.querySelector('#example').click()")
  page.wait(SHOWN)
  assert page.run("document.querySelector('#name').textContent") == 'example.wav'
  names = page.run("[...document.querySelectorAll('#events span:first-of-type')].map((e) => e.textContent)")
  assert {'silence', 'low'} <= set(names)  # its beeps are of 1000 Hz
  page.wait("Math.abs(document.querySelector('#video').duration - 8) < 0.01")
  assert page.run("document.querySelector('#try').hidden")


def cue_box(page):
  """(left, right, top, bottom) of the cue on the screen."""

  def find(node):
    if 'pseudo' in node.get('attributes', []) and '-webkit-media-text-track-display' in node['attributes']:
      yield node
    for child in (*node.get('shadowRoots', ()), *node.get('children', ())):
      yield from find(child)

  node = next(find(page.call('DOM.getDocument', depth=-1, pierce=True)['root']))
  corners = page.call('DOM.getBoxModel', nodeId=node['nodeId'])['model']['border']
  return min(corners[::2]), max(corners[::2]), min(corners[1::2]), max(corners[1::2])


def test_a_long_cue_wraps_inside_the_video(page, folder):
  page.choose('#chooser', folder / 'sounds.webm')
  page.wait(SHOWN)
  page.wait("document.querySelector('#video').textTracks[0].cues?.length")
  page.run("document.querySelector('#video').textTracks[0].cues[0].text = 'a long name of a class '.repeat(6)")
  seek(page, 0.5)
  page.wait(f'{CUES}.length')
  page.run("document.querySelector('#video').scrollIntoView()")
  edges = '(({ left, right, top, bottom }) => [left, right, top, bottom])(%s.getBoundingClientRect())'
  left, right, top, bottom = page.run(edges % "document.querySelector('#video')")
  box = cue_box(page)
  assert left <= box[0] + 1 and box[1] - 1 <= right and top <= box[2] + 1 and box[3] <= bottom
  assert box[3] - box[2] > 40 and box[2] - top < 20  # several lines, at the top


def test_rows_of_classes_are_scaled_to_the_largest_score(service_page, folder):
  """As of a thousand classes: no score is above 2 %."""
  service_page.run(
    'window.plain = fetch; window.fetch = async (address) => { const answer = await plain(address); '
    "if (!String(address).includes('timeline')) return answer; const shown = await answer.json(); "
    'for (const bar of shown.classes.bars) bar.values = bar.values.map((value) => value / 50); '
    'return new Response(JSON.stringify(shown)); }'
  )
  service_page.choose('#chooser', folder / 'sounds.webm')
  service_page.wait(SHOWN)
  heights = service_page.wait(
    '((rows) => rows.length && rows[0].width > 300 && rows.map((canvas) => { '
    "const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height); "
    'const first = data.findIndex((value, i) => i % 4 === 3 && value); '
    'return first < 0 ? 0 : 1 - Math.floor(first / 4 / canvas.width) / canvas.height; }))'
    "([...document.querySelectorAll('.row.class canvas')])"
  )
  assert len(heights) == 3 and min(heights) > 0.8 and max(heights) == 1
  assert service_page.run("document.querySelector('#scale').textContent").startswith('Classes: full height is 2 %')


def test_seeking_by_keyboard_and_mouse(page, folder):
  page.choose('#chooser', folder / 'sounds.webm')
  page.wait(SHOWN)
  page.wait("document.querySelector('#video').readyState > 1")
  page.run("document.querySelector('#timeline').focus()")
  for key, code, seconds in (
    ('ArrowRight', 39, 1),
    ('ArrowUp', 38, 2),
    ('ArrowLeft', 37, 1),
    ('End', 35, 5),
    ('Home', 36, 0),
  ):
    page.press(key, code)
    page.wait(f"Math.abs(document.querySelector('#video').currentTime - {seconds}) < 0.1")
    assert abs(float(page.run("document.querySelector('#timeline').getAttribute('aria-valuenow')")) - seconds) < 0.11
  page.press(' ', 32, ' ')
  page.wait("!document.querySelector('#video').paused")
  page.press(' ', 32, ' ')
  page.wait("document.querySelector('#video').paused")
  box = page.run(
    '((canvas) => { canvas.scrollIntoView(); const { left, width, top } = canvas.getBoundingClientRect(); '
    "return [left, width, top]; })(document.querySelector('.wave canvas'))"
  )
  page.click(box[0] + 0.7 * box[1], box[2] + 10)
  page.wait("Math.abs(document.querySelector('#video').currentTime - 3.5) < 0.1")
  page.run("document.querySelectorAll('#events button')[1].click()")
  page.wait("Math.abs(document.querySelector('#video').currentTime - 1) < 0.1")


def test_everything_can_be_reached_by_tab(page, folder):
  page.choose('#chooser', folder / 'sounds.webm')
  page.wait(SHOWN)
  page.run("document.querySelector('#chooser').focus()")
  reached = []
  for _ in range(40):
    page.press('Tab', 9)
    reached.append(page.run("document.activeElement.id || document.activeElement.closest('[id]')?.id"))
  order = [name for name, _ in itertools.groupby(reached)]
  expected = ['video', 'threshold', 'downloads', 'timeline', 'events', 'microphone']
  assert [name for name in order if name in expected][: len(expected)] == expected


def test_a_file_that_another_one_took_the_place_of_is_not_shown(service_page, folder):
  """The first one's timeline is slow to come; the second is chosen meanwhile."""
  service_page.run(
    'window.names = []; window.late = 0; window.plainFetch = fetch; window.fetch = async (address) => { '
    "if (String(address).includes('timeline') && !late++) await new Promise((go) => { window.go = go; }); "
    'return plainFetch(address); }; '
    "new MutationObserver(() => names.push(document.querySelector('#name').textContent))"
    ".observe(document.querySelector('#name'), { childList: true })"
  )
  service_page.choose('#chooser', folder / 'sounds.webm')
  service_page.wait('window.late === 1')
  service_page.choose('#chooser', folder / 'low.wav')
  service_page.wait('window.go && window.names.length')
  service_page.run('window.go()')
  service_page.run('new Promise((done) => setTimeout(done, 300))')
  assert service_page.run('window.names.join()') == 'low.wav'


@pytest.mark.parametrize(
  ('name', 'message'), [('bad.mp4', 'not a media file'), ('large.wav', 'at most {mib} MiB are allowed')]
)
def test_a_bad_file_is_refused_in_words(request, page, folder, name, message):
  page.choose('#chooser', folder / name)
  text = page.wait(PROBLEM)
  mib = {'service': 1, 'browser': 2048}[request.node.callspec.params['address']]
  assert message.format(mib=mib) in text and name in text
  assert page.run("document.querySelector('#work').hidden") and not page.run(SHOWN)
  page.choose('#chooser', folder / 'sounds.webm')  # and it goes on
  page.wait(SHOWN)
  assert page.run("document.querySelector('#problem').hidden")


def test_two_users_at_once(page, browser, address, folder):
  other = browser.page(address)
  page.choose('#chooser', folder / 'sounds.webm')
  other.choose('#chooser', folder / 'low.wav')
  page.wait(SHOWN)
  other.wait(SHOWN)
  heading = "document.querySelector('#name').textContent"
  assert (page.run(heading), other.run(heading)) == ('sounds.webm', 'low.wav')
  assert other.run("document.querySelectorAll('#events li').length") == 1
  other.call('Page.close')


def test_the_microphone_is_named_as_it_sounds(page):
  page.run("document.querySelector('#microphone').click()")
  page.wait("document.querySelector('#live-top span')?.textContent === 'low'")
  assert page.wait("document.querySelector('#live-log span')?.textContent").startswith('low')
  page.run("document.querySelector('#microphone').click()")
  assert page.run("document.querySelector('#microphone').textContent") == 'Listen'


def test_unknown_sound_is_said_to_be_unknown_and_has_no_caption(browser, folder):
  """Of a student whose silence is called unknown."""
  student = app.make(tones.student(['unknown', 'low', 'high_tone']))
  with running_service.running(student, host_names=('127.0.0.1',)) as address:
    page = browser.page(address)
    page.wait("document.querySelector('#about').textContent.includes('kinds of sound')")
    text = page.run("document.querySelector('#about').textContent")
    assert '2 kinds of sound (low, high tone), and all others unknown' in text
    assert page.run("document.querySelector('#starter').hidden")
    page.choose('#chooser', folder / 'sounds.webm')
    page.wait(SHOWN)
    names = page.run("[...document.querySelectorAll('#events span:first-of-type')].map((e) => e.textContent)")
    assert names == ['low', 'high tone']
    assert page.run("document.querySelector('#status').textContent").endswith(
      '3 seconds are unlike all that this student knows.'
    )
    assert 'unknown' in page.run("document.querySelector('#rows').textContent")
    page.wait("document.querySelector('#top span')?.textContent === 'unknown'")  # at the start of the sound
    page.call('Page.close')


def test_live_scores_of_unknown_sound_are_not_captioned(page):
  shown = page.run(
    "import('/live.js').then(({ captioned }) => [[['dog', 0.3], ['unknown', 0.6]], "
    "[['dog', 0.6], ['unknown', 0.4]], [['dog', 0.5], ['cat', 0.5]]].map((scores) => captioned(scores)))"
  )
  assert shown == [[], [['dog', 0.6]], [['dog', 0.5], ['cat', 0.5]]]


def shows(page, name, expected=True):
  """Waits until the overlay of a page shows a name, or does not any more."""
  end = time.monotonic() + chromium.WAIT_SECONDS
  while (name in (shown := page.shadow_text())) != expected:
    assert time.monotonic() < end, shown
    time.sleep(0.1)


class Popup:
  """The extension's popup as a page of its own, and the tab of a page that it speaks of."""

  def __init__(self, browser, home, service_address):
    self.popup = browser.page(f'{EXTENSION_ORIGIN}/extension/popup.html')
    self.page = browser.page(home)
    self.page.wait("document.querySelector('video').readyState > 1")
    self.set(port=int(service_address.rpartition(':')[2]), threshold=0.2)
    self.tab = self.popup.run("chrome.tabs.query({ url: 'http://127.0.0.1/*' }).then((all) => all.at(-1).id)")

  def set(self, **settings):
    self.popup.run(f'chrome.storage.local.set({json.dumps(settings)})')

  def ask(self, kind):
    message = {'to': 'background', 'type': kind, 'tabId': self.tab}
    return self.popup.run(f'chrome.runtime.sendMessage({json.dumps(message)})')


def test_the_extension_names_the_sound_of_a_page(service_address, folder):
  with extended() as browser, static_site.running(folder) as (home, _):
    popup = Popup(browser, f'{home}long.html', service_address)
    popup.page.run("document.querySelector('video').play()")
    assert popup.ask('start') == {'on': True, 'state': 'Listening to the tab.'}
    shows(popup.page, NAMES[2])
    assert popup.ask('stop') == {'on': False, 'state': ''}
    shows(popup.page, NAMES[2], False)
    popup.set(port=9)
    assert 'No service answers' in popup.ask('start')['state']
    assert popup.popup.run("document.querySelector('#service').getClientRects().length")


def test_the_extension_names_the_sound_of_a_page_without_a_service(local_folder, folder):
  with extended(local_folder) as browser, static_site.running(folder) as (home, _):
    popup = Popup(browser, f'{home}long.html', 'http://127.0.0.1:9')
    popup.page.run("document.querySelector('video').play()")
    assert popup.ask('start') == {'on': True, 'state': 'Listening to the tab.'}
    shows(popup.page, NAMES[2])
    assert popup.ask('stop') == {'on': False, 'state': ''}
    assert not popup.popup.run("document.querySelector('#service').getClientRects().length")


def test_the_extension_captions_a_video_that_the_service_may_fetch(made, folder):
  async def fetch(url):
    assert url.endswith('/short.html')
    return open(folder / 'sounds.webm', 'rb'), 'a video'

  fetching = dataclasses.replace(made, fetch=fetch, hosts=('127.0.0.1',))
  with (
    running_service.running(fetching) as address,
    static_site.running(folder) as (home, _),
    extended() as browser,
  ):
    popup = Popup(browser, f'{home}short.html', address)
    popup.ask('start')
    for seconds, name in ((1.5, 'low'), (3.5, NAMES[2]), (1.1, 'low')):
      popup.page.run(f"document.querySelector('video').currentTime = {seconds}")
      shows(popup.page, name)
    assert popup.ask('state') == {'on': True, 'state': '5 sounds found.'}
    popup.page.run("document.querySelector('video').currentTime = 0.5")
    shows(popup.page, 'silence')
    popup.set(threshold=0.999)
    shows(popup.page, 'silence', False)
