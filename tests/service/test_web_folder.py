"""The page without a service: the same scores as the service, nothing leaves the browser, hostile files do no harm."""

import json
import math
import re
import shutil

import chromium
import keras
import numpy as np
import pytest

if chromium.PROGRAM is None:
  pytest.skip('no Chromium here (Debian: apt install chromium)', allow_module_level=True)

import flips
import media_clips
import soundnets
import static_site
import tones
import web_folders

from audionet_tf.captioning import captioner
from audionet_tf.core.errors import UserError
from audionet_tf.inference import predict
from audionet_tf.models import registry, student_file, student_paths, student_settings
from audionet_tf.saved_model import for_files, loader, signatures
from audionet_tf.service import npm_packages, web_folder

NAMES = ['silence', 'low', 'high <b>tone</b> --> & more']
SHOWN = "!document.querySelector('#result').hidden"
PROBLEM = "document.querySelector('#problem').textContent"


@pytest.fixture(scope='module')
def starter():
  """loader.LoadedExport of the student in the package: log-mel bands, categories with `unknown`, two heads."""
  model, settings = student_file.load(student_paths.STARTER_FOLDER / student_paths.STUDENT_FILE)
  first, *_ = settings.classes
  functions = signatures.all_signatures(model, settings)
  return loader.LoadedExport(settings, settings.classes[first], functions, model)


@pytest.fixture(scope='module')
def folders(starter, tmp_path_factory):
  """dict of student to the folder of its page."""
  return {
    'audionet': web_folders.write(tones.student(NAMES), tmp_path_factory),
    'starter': web_folders.write(starter, tmp_path_factory, is_starter=True),
  }


@pytest.fixture(scope='module')
def browser():
  with chromium.running() as browser:
    yield browser


@pytest.fixture(scope='module')
def tone_page(browser, folders):
  """(page of the student of two tones, paths that were asked for)."""
  with static_site.running(folders['audionet']) as (address, asked):
    page = browser.page(address)
    page.wait("document.querySelector('#about').textContent.includes('kinds of sound')")
    page.run("import('./local/model.js').then((m) => m.load()).then(() => 1)")
    page.run("import('./local/decode.js').then(() => 1)")
    yield page, asked


def choose(page, path):
  """Gives a file to a page that other tests have used: what these left on it does not count as shown."""
  page.run("document.querySelector('#result').hidden = true")
  page.choose('#chooser', path)


ROWS = """(async (file) => {
  const { decode } = await import('./local/decode.js');
  const { predict } = await import('./local/model.js');
  const student = await (await fetch('labels.json')).json();
  const { rows } = await import(student.steps ? './local/steps.js' : './local/windows.js');
  const wanted = { rate: student.sample_rate_hz, mono: student.mono, most: 60 };
  const { pcm } = await decode(file, wanted, () => {}, new AbortController().signal);
  const found = [];
  for await (const row of rows(pcm, student, predict)) found.push([row.start, row.end, ...row.probabilities]);
  return found;
})(window.chosen)"""

CAPTIONS = """(async (file) => {
  const { connect } = await import('./source.js');
  const source = connect();
  const { id, events, repeats } = await source.caption(file, 0.2, () => {}, new AbortController().signal);
  const { classes } = await source.timeline(id);
  return { events, repeats, starts: classes.start_seconds };
})(window.chosen)"""


def answer(page, path, call):
  """The value of a call with `window.chosen`, a file, in the page."""
  page.run(
    "document.querySelector('#replay').addEventListener('change', (e) => { window.chosen = e.target.files[0]; }, "
    '{ capture: true, once: true })'
  )
  page.run("document.querySelector('#fileless').hidden = false")
  page.choose('#replay', path)
  page.wait('Boolean(window.chosen)')
  found = page.run(call)
  page.run('window.chosen = null')
  return found


def expected_rows(served, path):
  """f64 [rows, 2 + classes]: start, end and probabilities of a file, as the service computes them."""
  blocks = list(predict.blocks(captioner.predictor(served), path))
  joined = {key: np.concatenate([block[key] for block in blocks]) for key in ('start_seconds', 'end_seconds')}
  probabilities = np.concatenate([block['probabilities'] for block in blocks])
  return np.column_stack([*joined.values(), probabilities])


def noisy_sound(seconds, rate, channels, seed=0):
  """f32 [n, channels]: noise in bands that come and go, as sound outdoors is."""
  rng = np.random.default_rng(seed)
  noise = rng.normal(size=[round(seconds * rate), channels])
  smooth = np.cumsum(noise, 0)
  smooth -= np.linspace(smooth[0], smooth[-1], len(smooth))
  share = (0.5 + 0.5 * np.sin(np.arange(len(noise)) / rate * 3))[:, None]
  return (0.1 * share * noise + 0.3 * (1 - share) * smooth / np.abs(smooth).max()).astype(np.float32)


@pytest.mark.parametrize('name', ['audionet', 'starter'])
def test_scores_are_those_of_the_service(browser, folders, starter, tmp_path, name):
  """Of WAVs of several rates and channels, and of a sound that is shorter than a window."""
  served = starter if name == 'starter' else tones.student(NAMES)
  with static_site.running(folders[name]) as (address, _):
    page = browser.page(address)
    page.wait("document.querySelector('#about').textContent.includes('kinds of sound')")
    for rate, channels, seconds, codec in (
      (44100, 2, 11.3, 'pcm_s16le'),
      (48000, 1, 5.02, 'pcm_f32le'),
      (16000, 1, 2, 'pcm_s16le'),
      (22050, 2, 0.03, 'pcm_s32le'),
      (48000, 2, 7, 'flac'),
    ):
      sound = noisy_sound(seconds, rate, channels)
      path = tmp_path / f'{codec}.{"flac" if codec == "flac" else "wav"}'
      media_clips.write(path, seconds, times=[], sounds=[sound.T], audio_codec=codec, rate_hz=rate)
      found, expected = np.array(answer(page, path, ROWS)), expected_rows(served, path)
      assert found.shape == expected.shape, codec
      np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4, err_msg=codec)
    page.call('Page.close')


def stepwise(name):
  """loader.LoadedExport of a random student with steps in time, whose scores differ from step to step."""
  if name != 'yamnet':
    return for_files.of_model(
      soundnets.student(name), soundnets.settings(name, 20.0 if name == 'soundnet5' else 5.0), ''
    )
  keras.utils.set_random_seed(0)
  model = registry.build(name, {'teacher': len(NAMES)})
  head = model.get_layer('logits_teacher')
  embedding = model(soundnets.noise(1, 160000), training=False)['embedding'].numpy()
  head.set_weights(
    [np.random.default_rng(0).normal(size=head.kernel.shape) / embedding.std() / 192, np.zeros(len(NAMES))]
  )
  return for_files.of_model(model, student_settings.StudentConfig(name, 16000, 'mean', 0.975, {'teacher': NAMES}), '')


@pytest.mark.long
@pytest.mark.parametrize('name', ['soundnet5', 'soundnet8_steps', 'yamnet'])
def test_steps_are_those_of_the_service(browser, tmp_path_factory, name):
  """Their times, scores and events: of sound that takes several pieces, one piece, and that is too short for a step."""
  served = stepwise(name)
  assert registry.network(name).layer_windows
  folder = web_folders.write(served, tmp_path_factory)
  with static_site.running(folder) as (address, _):
    page = browser.page(address)
    page.wait("document.querySelector('#about').textContent.includes('kinds of sound')")
    for seconds in (47.3, 11.31, 0.05):
      path = folder.parent / f'{seconds}.wav'
      media_clips.write(path, seconds, times=[], sounds=[noisy_sound(seconds, 44100, 2).T], rate_hz=44100)
      rows, shown = answer(page, path, f'(async () => [await {ROWS}, await {CAPTIONS}])()')
      found, expected = np.array(rows), expected_rows(served, path)
      assert found.shape == expected.shape and (seconds < 40 or len(found) > 8)
      np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4, err_msg=str(seconds))
      assert len(found) < 2 or np.ptp(expected[:, 2:], 0).max() > 0.01
      whole = captioner.captions(captioner.predictor(served), path)
      assert shown['repeats'] == whole.repeats
      events = [(event['name'], event['start_seconds'], event['end_seconds']) for event in shown['events']]
      assert events == [(event.name, event.start_seconds, event.end_seconds) for event in whole.events]
      np.testing.assert_allclose(shown['starts'], expected[:, 0], rtol=0, atol=6e-4)  # milliseconds
    live = page.run("""(async () => {
      const source = (await import('./source.js')).connect();
      const { live } = await source.about();
      return source.classify(new Float32Array(live.samples * live.examples).map((_, i) => Math.sin(i * i / 1e5) / 2));
    })()""")
    student = json.loads((folder / web_folder.LABELS_FILE).read_text())
    count = student['live']['samples'] * student['live']['examples']
    sound = (np.sin(np.arange(count) ** 2 / 1e5) / 2).astype(np.float32).reshape(student['live']['examples'], -1)
    probabilities = served.predict(sound)['probabilities'].mean(0)
    assert math.isclose(dict(live)[student['labels'][0]], probabilities[0], abs_tol=1e-4)
    page.call('Page.close')


def test_the_folder_is_small_and_says_whose_its_parts_are(folders):
  sizes = {
    path.relative_to(folders['starter']).as_posix(): path.stat().st_size
    for path in folders['starter'].rglob('*')
    if path.is_file()
  }
  assert sum(sizes.values()) <= web_folder.MOST_BYTES
  assert {'NOTICE', 'vendor/LICENSES.txt', 'vendor/MPL-2.0.txt', 'local/Apache-2.0.txt', 'manifest.json'} <= set(sizes)
  assert 'NOTICE' not in {path.name for path in folders['audionet'].iterdir()}
  licences = (folders['starter'] / 'vendor/LICENSES.txt').read_text().splitlines()
  assert [line.split(',')[0] for line in licences] == [f'{p.name} {p.version}' for p in npm_packages.PACKAGES]


def test_nothing_is_asked_for_after_the_page_has_loaded(tone_page, tmp_path):
  page, asked = tone_page
  media_clips.write(tmp_path / 'low.wav', 3, times=[], sounds=[tones.sound(3, ('low', 1, 2))])
  before = len(asked)
  choose(page, tmp_path / 'low.wav')
  page.wait(SHOWN)
  page.wait("document.querySelector('#video').textTracks[0].cues?.length")
  assert asked[before:] == []


def test_no_other_host_can_be_asked(tone_page, tmp_path):
  page, _ = tone_page
  (tmp_path / 'x.js').write_text('window.hostile = 1')
  with static_site.running(tmp_path) as (elsewhere, asked):
    for attempt in (
      f"fetch('{elsewhere}x.js').then(() => 'let through', () => 'refused')",
      f"import('{elsewhere}x.js').then(() => 'let through', () => 'refused')",
      "new Promise((done) => { const image = new Image(); image.onload = () => done('let through'); "
      f"image.onerror = () => done('refused'); image.src = '{elsewhere}x.png'; }})",
    ):
      assert page.run(attempt) == 'refused', attempt
    page.run(f"navigator.sendBeacon('{elsewhere}x')")  # whose answer says nothing of what becomes of it
    page.run('new Promise((done) => setTimeout(done, 200))')
    assert asked == []


@pytest.mark.parametrize(
  ('name', 'content', 'message'),
  [
    ('text.mp4', b'no video at all\n' * 100, 'not a media file'),
    ('empty.wav', b'', 'not a media file'),
    (
      'header.wav',
      b'RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\x80>\0\0\0}\0\0\x02\0\x10\0data\0\0\0\0',
      'no sound',
    ),
    (
      'rate.wav',
      b'RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\xff\xff\xff\x7f\0}\0\0\x02\0\x10\0data\0\x10\0\0'
      + bytes(4096),
      'sample rate is 2147483647 Hz',
    ),
    ('<img src=x onerror=alert(1)>.mp4', b'\0\0\0\x18ftypmp42\0\0\0\0mp42isom' + bytes(200), '<img src=x'),
    ('list.m3u8', b'#EXTM3U\n#EXTINF:10,\nhttp://example.com/x.ts\n', 'not a media file'),
  ],
)
def test_a_hostile_file_is_one_line_and_the_page_goes_on(tone_page, tmp_path, name, content, message):
  page, _ = tone_page
  (tmp_path / name).write_bytes(content)
  choose(page, tmp_path / name)
  line = page.wait(f'document.querySelector("#work").hidden && {PROBLEM}')
  assert message in line and name in line and '\n' not in line and len(line) < 300
  assert page.run("document.querySelectorAll('#problem *').length") == 0
  media_clips.write(tmp_path / 'low.wav', 1, times=[], sounds=[tones.sound(1, ('low', 0, 1))])
  choose(page, tmp_path / 'low.wav')
  page.wait(f"document.querySelector('#problem').hidden && {SHOWN}")


def test_a_truncated_file_gives_its_sounds_or_a_line(tone_page, tmp_path):
  page, _ = tone_page
  media_clips.write(tmp_path / 'whole.flac', 4, times=[], sounds=[tones.sound(4, ('low', 0, 4))], audio_codec='flac')
  content = (tmp_path / 'whole.flac').read_bytes()
  (tmp_path / 'cut.flac').write_bytes(content[: len(content) // 2])
  choose(page, tmp_path / 'cut.flac')
  page.wait(f'document.querySelector("#work").hidden && ({PROBLEM} || {SHOWN})')
  line, name = page.run(PROBLEM), page.run("document.querySelector('#name').textContent")
  assert line.startswith('cut.flac: ') or name == 'cut.flac'


@pytest.mark.parametrize(
  ('name', 'options'),
  [
    ('clip.mp4', {'audio_codec': 'aac'}),
    ('clip.webm', {'audio_codec': 'libopus', 'video_codec': 'libvpx', 'pix_fmt': 'yuv420p'}),
    ('clip.mkv', {'audio_codec': 'flac'}),
    ('clip.mp3', {'audio_codec': 'mp3', 'times': []}),
    ('clip.ogg', {'audio_codec': 'libopus', 'times': []}),
    ('clip.ts', {'audio_codec': 'aac', 'times': []}),
  ],
)
def test_sound_of_every_usual_format_has_its_time(tone_page, tmp_path, name, options):
  page, _ = tone_page
  sounds = [tones.sound(4, ('low', 1, 2), ('high', 3, 4))]
  media_clips.write(tmp_path / name, 4, sounds=sounds, **options)
  choose(page, tmp_path / name)
  page.wait(f"document.querySelector('#name').textContent === '{name}' && {SHOWN}")
  events = page.run("[...document.querySelectorAll('#events button')].map((b) => b.innerText.split('\\n').join(' '))")
  times = {re.search(r'low|high', e)[0]: float(re.search(r'00:0(\d\.\d)', e)[1]) for e in events if 'silence' not in e}
  assert times.keys() == {'low', 'high'}
  assert math.isclose(times['low'], 1, abs_tol=0.11) and math.isclose(times['high'], 3, abs_tol=0.11)


def test_the_page_at_the_width_of_a_telephone(tone_page, tmp_path):
  page, _ = tone_page
  media_clips.write(
    tmp_path / 'a_very_long_name_without_any_space_in_it_of_a_file_that_somebody_has.wav',
    1,
    times=[],
    sounds=[tones.sound(1)],
  )
  page.call('Emulation.setDeviceMetricsOverride', width=390, height=800, deviceScaleFactor=1, mobile=True)
  choose(page, next(tmp_path.glob('*.wav')))
  page.wait(f"document.querySelector('#name').textContent.startsWith('a_very') && {SHOWN}")
  assert page.run('document.documentElement.scrollWidth') <= 390
  wide = 'filter((e) => e.getBoundingClientRect().right > 391).map((e) => e.id || e.tagName)'
  assert page.run(f"[...document.querySelectorAll('main *')].{wide}") == []
  page.call('Emulation.clearDeviceMetricsOverride')


def test_what_a_screen_reader_finds(tone_page, tmp_path):
  """Landmarks, headings, names of all that can be operated, and regions that speak."""
  page, _ = tone_page
  media_clips.write(tmp_path / 'low.wav', 1, times=[], sounds=[tones.sound(1, ('low', 0, 1))])
  choose(page, tmp_path / 'low.wav')
  page.wait(SHOWN)
  tree = page.call('Accessibility.getFullAXTree')['nodes']
  value = lambda node, key: node.get(key, {}).get('value', '')  # noqa: E731
  shown = [node for node in tree if not node.get('ignored')]
  found = {(value(node, 'role'), value(node, 'name')) for node in shown}
  roles = {role for role, _ in found}
  assert {'banner', 'main', 'region', 'heading', 'status', 'slider', 'list'} <= roles
  assert {
    ('region', 'A file'),
    ('region', 'The microphone'),
    ('button', 'Listen'),
    ('slider', 'Position in the sound'),
  } <= found
  operable = {'button', 'slider', 'link', 'textbox', 'checkbox', 'combobox'}
  assert [node for node in shown if value(node, 'role') in operable and not value(node, 'name')] == []


def test_what_changes_is_announced(browser, folders, tmp_path):
  """By a region that is there before: the file under way, what was found, and what another threshold finds."""
  path = tmp_path / 'two tones.wav'
  media_clips.write(path, 4, times=[], sounds=[tones.sound(4, ('low', 1, 2), ('high', 3, 4))])
  with static_site.running(folders['audionet']) as (address, _):
    page = browser.page(address)
    page.wait("document.querySelector('#about').textContent.includes('kinds of sound')")
    tree = page.call('Accessibility.getFullAXTree')['nodes']
    assert 'status' in [node['role']['value'] for node in tree if not node['ignored']]
    page.run("""window.said = [];
      new MutationObserver(() => said.push(document.querySelector('#status').textContent))
        .observe(document.querySelector('#status'), { childList: true });""")
    page.choose('#chooser', path)
    page.wait(SHOWN)
    assert page.run('said') == ['Finding the sounds in two tones.wav …', '4 sounds in 00:04.']
    page.run("""(() => { const slider = document.querySelector('#threshold'); slider.value = 5;
      slider.dispatchEvent(new Event('change')); })()""")
    page.wait('said.length === 3')
    page.call('Page.close')


def test_the_page_gets_the_names_of_the_classes_as_they_are(folders):
  student = json.loads((folders['audionet'] / web_folder.LABELS_FILE).read_text())
  assert student['labels'] == NAMES and student['silent'] == [False] * 3


def test_a_folder_replaces_an_earlier_one(folders, tmp_path, tmp_path_factory):
  shutil.copytree(folders['audionet'], tmp_path / 'site')
  (tmp_path / 'site/of the earlier one').touch()
  student, packages = tones.student(NAMES), web_folders.packages(tmp_path_factory)
  web_folder.write(student.module, student.settings, tmp_path / 'site', packages=packages)
  assert flips.contents(tmp_path / 'site') == flips.contents(folders['audionet'])
  assert [path.name for path in tmp_path.iterdir()] == ['site']


def test_students_that_cannot_be_in_the_page_are_refused():
  with pytest.raises(UserError, match='no heads'):
    web_folder.check(student_settings.StudentConfig('autoencoder', 22050, 'mean', 5.0, {}))
  with pytest.raises(UserError, match='has no heads.*; name classes with --classes'):
    web_folder.check(student_settings.StudentConfig('logmel_cnn', 22050, 'mean', 5.0, {}, embeddings={'pictures': 8}))
  with pytest.raises(UserError, match='shorter than logmel_cnn takes'):
    web_folder.check(student_settings.StudentConfig('logmel_cnn', 22050, 'mean', 0.04, {'teacher': ['a', 'b']}))
  web_folder.check(tones.student(NAMES).settings)
