"""Modules of the page and the extension in a real Chromium, with scores that the test makes: no service, no student."""

import json
import shutil

import chromium
import pytest
import static_site

if chromium.PROGRAM is None:
  pytest.skip('no Chromium here (Debian: apt install chromium)', allow_module_level=True)

from audionet_tf.service import web_folder

# A source whose captions the test finishes; an event's name has the threshold that it was asked for.
SOURCE = """
const about = {
  student: 'x', classes: 1, names: ['a'], unknown: false, sound_seconds: 60, upload_bytes: 1e9, threshold: 0.2,
  formats: ['vtt'], download_hosts: [], words_characters: 200, sample_rate_hz: 16000,
  live: { examples: 1, samples: 1600 },
};
const times = { start_seconds: 0, end_seconds: 1 };
const events = (threshold) => [{ name: `above ${Math.round(100 * threshold)}`, score: 1, ...times }];
const made = (id, threshold) => (
  { id, file: id, seconds: 1, repeats: 1, warnings: [], threshold, events: events(threshold) });
const shown = {
  seconds: 1, wave: { block_seconds: 1, low: [0], high: [0] },
  mel: { columns: 1, bands: 1, column_seconds: 1, levels: 'AA==' },
  classes: { names: ['a'], start_seconds: [0], end_seconds: [1], top: [[[0, 50]]], bars: [{ name: 0, values: [50] }] },
};
export function connect() {
  return {
    needsService: true, keeps: true, about: async () => (await window.held?.('about'), about),
    timeline: async () => shown, address: () => 'blank',
    result: async (id, threshold) => {
      if (id === 'gone') throw new Error('no such captions');
      return made(id, threshold);
    },
    caption: (file, threshold, report, signal, classes) => new Promise((finish) => {
      window.asked = [...(window.asked ?? []), [file.name, classes]];
      report('Listening', 0.5);
      window.finish = () => finish(made(file.name, threshold));
    }),
    classify: async (samples, classes) => [[classes.split('\\n')[0] || 'a', 1]],
  };
}
"""
NAME = "document.querySelector('#name').textContent"
EVENTS = "document.querySelector('#events span').textContent"
UNDER_WAY = "!document.querySelector('#work').hidden"
# A stream of this page's own making, which no device is behind.
STREAM = (
  'window.stream = new AudioContext().createMediaStreamDestination().stream; window.track = stream.getTracks()[0];'
)


@pytest.fixture(scope='module')
def site(tmp_path_factory):
  """(Browser, address of the page's files with SOURCE in the place of source.js, a file to choose)."""
  folder = tmp_path_factory.mktemp('page')
  shutil.copytree(web_folder.WEB, folder / 'web')
  (folder / 'web/source.js').write_text(SOURCE)
  (folder / 'new').write_text('a sound')
  with static_site.running(folder / 'web') as (address, _), chromium.running() as browser:
    yield browser, address, folder / 'new'


@pytest.fixture
def page(site):
  """The page, with the result `old`."""
  page = site[0].page(f'{site[1]}index.html#old')
  page.wait(f"{NAME} === 'old'")
  yield page
  page.call('Page.close')


@pytest.fixture
def blank(site):
  """A page of the same site without anything on it."""
  page = site[0].page(f'{site[1]}blank')
  yield page
  page.call('Page.close')


def test_going_back_drops_no_file_under_way(page, site):
  page.choose('#chooser', site[2])
  page.wait(f'window.finish && {UNDER_WAY}')
  for address, then in (('older', f"{NAME} === 'older'"), ('', "document.querySelector('#result').hidden")):
    page.run(f'location.hash = {json.dumps(address)}')
    page.wait(then)
  page.run("location.hash = 'gone'")
  page.wait("document.querySelector('#problem').textContent.includes('no such captions')")
  assert page.run(UNDER_WAY)
  page.run('finish()')
  page.wait(f"{NAME} === 'new' && !({UNDER_WAY}) && location.hash === '#new'")


def test_events_are_those_of_the_threshold_that_is_shown(page, site):
  page.choose('#chooser', site[2])
  page.wait('!!window.finish')
  page.run(
    "const slider = document.querySelector('#threshold'); slider.value = 55; slider.dispatchEvent(new Event('change'))"
  )
  page.wait(f"{EVENTS} === 'above 55'")  # of the result that is still there
  page.run('finish()')
  page.wait(f"{NAME} === 'new' && {EVENTS} === 'above 55'")


def test_classes_that_are_typed_go_with_the_next_file_and_with_the_last_again(page, site):
  again = "document.querySelector('#again')"
  assert page.run(f"{again}.disabled && !document.querySelector('#words').hidden")
  page.choose('#chooser', site[2])
  page.wait('!!window.finish')
  page.run('finish()')
  page.wait(f"{NAME} === 'new' && !{again}.disabled")
  page.run("document.querySelector('#classes').focus()")
  page.call('Input.insertText', text=' dog\nrain | hail \n')
  page.press('Tab', 9)  # to the button: the field is left by keyboard
  assert page.run('document.activeElement.id') == 'again'
  page.press('Enter', 13, '\r')
  page.wait('asked.length === 2')
  assert page.run('asked') == [['new', ''], ['new', 'dog\nrain | hail']]
  page.run('finish()')


def test_the_microphone_takes_the_classes_that_were_typed_before(page):
  page.run(f'{STREAM} navigator.mediaDevices.getUserMedia = async () => stream; 0')
  page.run("document.querySelector('#classes').value = 'dog\\nrain'")
  page.run("document.querySelector('#microphone').click()")
  page.wait("document.querySelector('#live-top span')?.textContent === 'dog'")
  page.run("document.querySelector('#classes').value = 'cat\\nrain'")
  page.run("document.querySelector('#live-top').replaceChildren()")
  page.wait("document.querySelector('#live-top span')?.textContent === 'dog'")
  page.run("document.querySelector('#microphone').click()")


def test_the_field_of_classes_has_a_name_and_fits_a_telephone(page):
  tree = page.call('Accessibility.getFullAXTree')['nodes']
  (field,) = [node for node in tree if node.get('role', {}).get('value') == 'textbox']
  assert field['name']['value'] == 'Classes, one per line'
  assert field['description']['value'].startswith('For the next file')
  assert 'The words' in [node['name']['value'] for node in tree if node.get('role', {}).get('value') == 'region']
  page.call('Emulation.setDeviceMetricsOverride', width=390, height=800, deviceScaleFactor=1, mobile=True)
  assert page.run("document.querySelector('#classes').getBoundingClientRect().right") <= 390
  assert page.run('document.documentElement.scrollWidth') <= 390


def listening(about='{ live: { examples: 1, samples: 1600 }, sample_rate_hz: 16000 }', recorder='/recorder.js'):
  """An expression that listens to `stream`; what goes wrong is in `problems`."""
  return (
    f"{STREAM} window.problems = []; import('/live.js').then(({{ listen }}) => listen(stream, {{ about: {about}, "
    f"source: {{ classify: async () => [] }}, recorder: '{recorder}', onScores() {{}}, "
    'onError(error) { problems.push(error.message); } })).then(() => {}, (error) => { problems.push(error.message); })'
  )


@pytest.mark.parametrize('wrong', [{'recorder': '/gone.js'}, {'about': 'null'}])
def test_no_sound_is_taken_after_a_failed_start(blank, wrong):
  blank.run(
    'window.opened = []; const Plain = AudioContext; '
    'window.AudioContext = class extends Plain { constructor() { super(); opened.push(this); } }'
  )
  blank.run(listening(**wrong))
  assert blank.run('problems.length') == 1
  assert blank.run('track.readyState') == 'ended'
  blank.wait("opened.slice(1).every(({ state }) => state === 'closed')")  # but for the one that made the stream


def test_sound_that_ends_is_told_once(blank):
  blank.run(listening())
  assert blank.run('[problems.length, track.readyState]') == [0, 'live']
  blank.run("track.dispatchEvent(new Event('ended')); track.dispatchEvent(new Event('ended'))")  # as of a pulled plug
  assert blank.run('problems') == ['the sound ended; is the microphone still plugged in?']
  assert blank.run('track.readyState') == 'ended'


# What the extension asks of the browser; `stored.tabs` are those with captions, `sent` is what was sent to tabs and
# pages, `shown` whether there is an offscreen page. `held(name)` is waited for where the browser takes its time.
CHROME = """
window.sent = []; window.stored = { tabs: { 7: 'The service is fetching the video.' } }; window.shown = true;
window.listens = []; const event = { addListener(listener) { window.listens.push(listener); } };
window.held = async () => {}; window.streamId = async () => 'stream';
window.chrome = {
  runtime: { id: 'x', onMessage: event, sendMessage: async (message) => { sent.push(message); } },
  storage: {
    session: {
      get: async () => structuredClone(stored), set: async (values) => { await null; Object.assign(stored, values); },
    },
    local: { get: async (defaults) => defaults },
  },
  scripting: { executeScript: () => held('executeScript') },
  offscreen: {
    hasDocument: async () => shown, closeDocument: async () => { shown = false; },
    createDocument: async () => { await held('createDocument'); shown = true; },
  },
  tabs: {
    get: async () => (await held('get'), { url: 'https://example.org/' }),
    sendMessage: async (tabId, message) => { sent.push({ tabId, ...message }); }, onRemoved: { addListener() {} },
    onUpdated: { addListener() {} },
  },
  tabCapture: { getMediaStreamId: async () => (await held('getMediaStreamId'), streamId()) },
};
window.receive = (message) => new Promise((answer) => listens[0](message, { id: 'x' }, answer));
window.ask = (type, tabId) => receive({ to: 'background', type, tabId });
"""


def extension(blank, module):
  blank.run(f"{CHROME} import('/extension/{module}.js').then(() => true)")


def test_a_capture_that_is_refused_is_told_in_the_tab(blank):
  extension(blank, 'background')
  blank.run("window.streamId = async () => { throw new Error('not allowed'); }")
  blank.run("receive({ to: 'background', type: 'unfetched', tabId: 7, base: '', about: {} }).then(() => true)")
  told = {'tabId': 7, 'type': 'text', 'text': 'Captions ended: not allowed'}
  assert blank.run('sent') == [told, {'to': 'offscreen', 'type': 'stop', 'tabId': 7}]
  assert blank.run('stored.tabs') == {} and not blank.run('shown')


@pytest.mark.parametrize('when', ['before', 'meanwhile'])
def test_a_tab_that_was_switched_off_is_not_captured(blank, when):
  extension(blank, 'background')
  blank.run("window.streamId = async () => 'stream'")
  off = 'stored.tabs = {};'
  blank.run(off if when == 'before' else f"window.streamId = async () => {{ {off} return 'stream'; }}")
  blank.run("receive({ to: 'background', type: 'unfetched', tabId: 7, base: '', about: {} }).then(() => true)")
  assert blank.run('sent') == [] and blank.run('stored.tabs') == {}


@pytest.mark.parametrize('where', ['about', 'get', 'executeScript', 'createDocument', 'getMediaStreamId'])
def test_a_tab_that_is_switched_off_while_it_starts_is_not_captured(blank, where):
  extension(blank, 'background')
  blank.run('stored.tabs = {}; shown = false; 0')
  blank.run(f"held = (name) => name === '{where}' ? new Promise((go) => {{ window.go = go; }}) : Promise.resolve(); 0")
  blank.run("window.started = ask('start', 7); 0")
  blank.wait('!!window.go')
  assert blank.run("ask('state', 7)")['on']
  off = {'on': False, 'state': ''}
  blank.run("window.stopped = ask('stop', 7); 0")
  if where != 'createDocument':  # which a stop waits for
    assert blank.run('stopped') == off
  blank.run('go()')
  assert blank.run('started') == blank.run('stopped') == off
  assert not [message for message in blank.run('sent') if message['type'] == 'listen']
  assert blank.run('stored.tabs') == {} and not blank.run('shown')
  if where in ('executeScript', 'createDocument', 'getMediaStreamId'):  # the overlay may have come after the stop
    assert blank.run('sent.at(-1)') == {'tabId': 7, 'type': 'remove'}


@pytest.mark.parametrize('where', ['about', 'get', 'executeScript', 'getMediaStreamId'])
@pytest.mark.parametrize('first', ['early', 'late'])
def test_a_tab_that_is_switched_off_and_on_within_one_start_is_captured_once(blank, where, first):
  extension(blank, 'background')
  blank.run('stored.tabs = {}; shown = false; window.going = []; 0')
  blank.run(f"held = (name) => name === '{where}' ? new Promise((go) => going.push(go)) : Promise.resolve(); 0")
  blank.run("window.one = ask('start', 7); 0")
  blank.wait('going.length === 1')
  blank.run("ask('stop', 7).then(() => { window.two = ask('start', 7); })")
  blank.wait('going.length === 2')
  blank.run('going[0](); 0' if first == 'early' else 'going[1](); window.two.then(() => going[0]())')
  blank.run('window.one' if first == 'early' else 'window.two')
  blank.run('going[1](); 0')
  on = {'on': True, 'state': 'Listening to the tab.'}
  assert blank.run('two') == on and blank.run('one')['on'] and blank.run("ask('state', 7)") == on
  assert [message['type'] for message in blank.run('sent')].count('listen') == 1 and blank.run('shown')


def test_a_start_that_ended_with_its_worker_is_off(blank):
  blank.run(f"{CHROME} stored.tabs = {{ 7: 'Starting.', 8: 'Listening to the tab.' }}; 0")
  blank.run("import('/extension/background.js').then(() => true)")
  assert blank.run("ask('state', 7)") == {'on': False, 'state': ''}
  assert blank.run("ask('state', 8)") == {'on': True, 'state': 'Listening to the tab.'}


def test_tabs_that_start_and_stop_at_once_are_all_noted(blank):
  extension(blank, 'background')
  blank.run('stored.tabs = {}; shown = false; 0')
  answers = blank.run("Promise.all([7, 8, 9].map((tabId) => ask('start', tabId)))")
  assert answers == [{'on': True, 'state': 'Listening to the tab.'}] * 3
  listening = [message['tabId'] for message in blank.run('sent') if message['type'] == 'listen']
  assert sorted(listening) == [7, 8, 9] and set(blank.run('stored.tabs')) == {'7', '8', '9'}
  blank.run("Promise.all([ask('stop', 7), ask('start', 10), ask('stop', 9)])")
  assert set(blank.run('stored.tabs')) == {'8', '10'} and blank.run('shown')
  blank.run("Promise.all([ask('stop', 8), ask('stop', 10)])")
  assert blank.run('stored.tabs') == {} and not blank.run('shown')


def test_captions_that_cannot_begin_are_off(blank):
  """Where no service answers, and where the offscreen page is gone by the time that it is needed."""
  extension(blank, 'background')
  blank.run("stored.tabs = {}; held = async (name) => { if (name === 'about') throw new Error('no answer'); }; 0")
  assert blank.run("ask('start', 7)") == {'on': False, 'state': 'no answer'} and blank.run('stored.tabs') == {}
  blank.run("shown = true; held = async (name) => { if (name === 'getMediaStreamId') shown = false; }; 0")
  answer = blank.run("ask('start', 7)")
  assert not answer['on'] and answer['state'].startswith('Not here: ') and blank.run('stored.tabs') == {}


def test_events_of_a_tab_that_is_off_switch_nothing_on(blank):
  extension(blank, 'background')
  tell = "receive({ to: 'background', type: 'events', tabId: 7, events: [1] }).then(() => stored.tabs)"
  assert blank.run(tell) == {'7': '1 sounds found.'}
  blank.run('stored.tabs = {}; 0')
  assert blank.run(tell) == {}


def test_a_stop_while_a_capture_begins_ends_it(blank):
  extension(blank, 'offscreen')
  blank.run(f'{STREAM} navigator.mediaDevices.getUserMedia = () => new Promise((go) => {{ window.go = go; }})')
  about = '{ live: { examples: 1, samples: 1600 }, sample_rate_hz: 16000 }'
  tell = "listens[0]({ to: 'offscreen', tabId: 7, %s }, { id: 'x' })"
  blank.run(tell % f"type: 'listen', streamId: 'x', base: '', about: {about}")
  blank.wait('!!window.go')
  blank.run(tell % "type: 'stop'")
  blank.run('go(stream)')
  blank.wait("track.readyState === 'ended'")
  assert blank.run('sent') == []
