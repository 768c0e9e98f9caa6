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
  formats: ['vtt'], sample_rate_hz: 16000, live: { examples: 1, samples: 1600 },
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
    needsService: true, keeps: true, about: async () => about, timeline: async () => shown, address: () => 'blank',
    result: async (id, threshold) => {
      if (id === 'gone') throw new Error('no such captions');
      return made(id, threshold);
    },
    caption: (file, threshold, report) => new Promise((finish) => {
      report('Listening', 0.5);
      window.finish = () => finish(made(file.name, threshold));
    }),
    classify: async () => [['a', 1]],
  };
}
"""
NAME = "document.querySelector('#name').textContent"
EVENTS = "document.querySelector('#events span').textContent"
UNDER_WAY = "!document.querySelector('#work').hidden"


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
