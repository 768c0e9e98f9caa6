"""What the page computes without a service, against the Python that does it for the service, in a real Chromium."""

import base64
import csv
import dataclasses
import io
import json
import wave

import chromium
import numpy as np
import pytest
import static_site

if chromium.PROGRAM is None:
  pytest.skip('no Chromium here (Debian: apt install chromium)', allow_module_level=True)

from audionet_tf.captioning import captioner, event_detection, formats
from audionet_tf.data.params import Framing
from audionet_tf.inference import steps, windows
from audionet_tf.media import decoding
from audionet_tf.models import receptive_field, registry
from audionet_tf.service import web_folder
from audionet_tf.service.captions import timeline

NAMES = ['dog', 'a <b> & {c}, "d"', 'unknown', 'rain', 'siren']
RULES = event_detection.DetectionConfig()


@pytest.fixture(scope='module')
def page():
  with static_site.running(web_folder.WEB) as (address, _), chromium.running() as browser:
    yield browser.page(f'{address}blank')


def run(page, module, expression, **values):
  """The value of an expression of JavaScript that uses `values` and, as `m`, a module of local/."""
  names = ', '.join(values)
  given = ', '.join(map(json.dumps, values.values()))
  return page.run(f"import('./local/{module}.js').then((m) => (({names}) => {expression})({given}))")


def f32_of(page, module, expression, **values):
  """f32 [n]: the value of an expression that is a Float32Array, without rounding."""
  text = (
    '(async (a) => { a = await a; let s = ""; for (const b of new Uint8Array(a.buffer, a.byteOffset, a.byteLength)) '
    f's += String.fromCharCode(b); return btoa(s); }})({expression})'
  )
  return np.frombuffer(base64.b64decode(run(page, module, text, **values)), np.float32)


def test_rounding_is_that_of_numpy_and_python(page):
  rng = np.random.default_rng(0)
  wide = np.concatenate([rng.uniform(0, 1, 500), 2.0 ** rng.uniform(-26, 0, 500), [0, 1, 2**-14, 2**-25]])
  values = np.concatenate([wide, (np.arange(2048) + 0.5) / 2048 / 8]).astype(np.float32)  # and ties
  assert run(page, 'rounding', 'x.map(m.half)', x=values.tolist()) == values.astype(np.float16).tolist()
  decimals = [0.0005, 2.0625, 0.0625, 1.0005, 3.5, 0.1875, 0.3125, *np.round(rng.uniform(0, 99, 300), 4).tolist()]
  assert run(page, 'rounding', 'x.map((v) => m.roundTo(v, 3))', x=decimals) == [round(x, 3) for x in decimals]
  halves = [0.5, 1.5, 2.5, 2.4999, -0.5, -1.5, 7.0]
  assert run(page, 'rounding', 'x.map((v) => m.roundEven(v) + 0)', x=halves) == np.rint(halves).tolist()


def random_frames(seed):
  """captioner.FrameScores of a random kind: steady or jumping scores, windows that overlap or not, or a single one."""
  rng = np.random.default_rng(seed)
  count = int(rng.choice([1, 2, 3, 40, 400]))
  hop, window = (float(rng.choice(lengths)) for lengths in ([0.04, 0.1, 0.5], [0.04, 0.96, 5.0]))
  starts = np.round(np.arange(count) * hop, 6)
  ends = starts + max(window, hop)
  logits = rng.normal(0, 3, [count, len(NAMES)])
  logits = np.cumsum(logits, 0) / 3 if rng.random() < 0.5 else logits
  powers = np.exp(logits - logits.max(1, keepdims=True))
  scores = (powers / powers.sum(1, keepdims=True)).astype(np.float16)
  return captioner.FrameScores(starts, ends, scores, float(starts[-1] + rng.uniform(hop / 2, ends[-1] - starts[-1])), 1)


def random_rules(seed):
  rng = np.random.default_rng(seed)
  rules = {
    'threshold': rng.choice([0.05, 0.2, 0.5]),
    'top': int(rng.choice([0, 1, 3])),
    'join': rng.choice(['sum', 'max']),
  }
  rules |= {
    'smooth_seconds': rng.choice([0, 0.4, 2]),
    'merge_seconds': rng.choice([0, 0.5]),
    'release': rng.choice([0.7, 1]),
  }
  rules |= {'cue_seconds': rng.choice([0, 1.0, 3.0])}
  return dataclasses.replace(RULES, **{k: v.item() if isinstance(v, np.generic) else v for k, v in rules.items()})


def as_json(frames):
  times = {'starts': frames.start_seconds, 'ends': frames.end_seconds, 'rows': frames.scores.astype(float)}
  return {name: values.tolist() for name, values in times.items()} | {'seconds': frames.seconds}


DETECT = """cases.map(({ frames, rules, silent, names }) => {
  frames.rows = frames.rows.map((row) => Float32Array.from(row));
  const events = m.detect(frames, names, silent, rules);
  return [events, m.unknownSeconds(frames, names, rules)];
})"""


@pytest.fixture(scope='module')
def cases():
  """list of (FrameScores, rules, events, cues)."""
  made = []
  for seed in range(60):
    frames, rules = random_frames(seed), random_rules(1000 + seed)
    names, _, thresholds = event_detection.group_classes(NAMES, rules)
    events = captioner.detect(frames, names, thresholds, rules)
    made.append((frames, rules, events, event_detection.cues(events, rules.top, rules.cue_seconds, frames.seconds)))
  assert sum(len(events) for _, _, events, _ in made) > 500
  return made


def test_events_are_those_of_event_detection(page, cases):
  names, _, thresholds = event_detection.group_classes(NAMES, RULES)
  silent = np.isinf(thresholds).tolist()
  given = [
    {'frames': as_json(frames), 'rules': dataclasses.asdict(rules), 'silent': silent, 'names': names}
    for frames, rules, _, _ in cases
  ]
  for (frames, rules, events, _), (found, unknown) in zip(
    cases, run(page, 'detection', DETECT, cases=given), strict=True
  ):
    assert [event['name'] for event in found] == [event.name for event in events]
    numbers = [[event[key] for key in ('start_seconds', 'end_seconds', 'score', 'peak')] for event in found]
    expected = [[event.start_seconds, event.end_seconds, event.score, event.peak] for event in events]
    np.testing.assert_allclose(np.reshape(numbers, [-1, 4]), np.reshape(expected, [-1, 4]), rtol=0, atol=1e-9)
    assert abs(unknown - captioner.unknown_seconds(frames, names, rules)) < 1e-3


def test_cues_are_those_of_event_detection(page, cases):
  given = [
    [list(map(dataclasses.asdict, events)), rules.top, rules.cue_seconds, f.seconds] for f, rules, events, _ in cases
  ]
  found = run(page, 'cues', 'cases.map((given) => m.cues(...given))', cases=given)
  for (_, _, _, cues), shown in zip(cases, found, strict=True):
    assert [(c['start'], c['end'], c['names']) for c in shown] == [
      (c.start_seconds, c.end_seconds, list(c.names)) for c in cues
    ]


def test_files_are_those_of_formats(page, cases):
  about = {'file': 'a  clip.mp4'}
  for _, _, events, cues in cases[::4]:
    plain = [{'start': c.start_seconds, 'end': c.end_seconds, 'names': c.names} for c in cues]
    given = {'events': list(map(dataclasses.asdict, events)), 'cues': plain, 'about': about}
    write = 'Object.fromEntries(Object.entries(m.FORMATS).map(([key, [, write]]) => [key, write(events, cues, about)]))'
    found = run(page, 'formats', write, **given)
    expected = {key: formats.FORMATS[key][1](events, cues, about) for key in formats.USUAL}
    assert json.loads(found.pop('json')) == json.loads(expected.pop('json'))
    tables = [list(csv.reader(io.StringIO(each.pop('csv'), newline=''))) for each in (found, expected)]
    assert [[row[2] for row in table] for table in tables][0] == [row[2] for row in tables[1]]
    numbers = [[[float(x) for x in row[:2] + row[3:]] for row in table[1:]] for table in tables]
    assert numbers[0] == numbers[1] and tables[0][0] == tables[1][0]
    assert found == expected


def test_names_of_one_label_are_pooled(page):
  probabilities, groups = np.float32([0.1, 0.7, 0.6, 0.2]), [[0, 3], [1], [2, 1]]
  for join in event_detection.JOINS:
    found = run(
      page, 'detection', 'Array.from(m.pooled(Float32Array.from(p), g, j))', p=probabilities.tolist(), g=groups, j=join
    )
    expected = event_detection.pool_scores(probabilities[None], groups, join)[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(('window_seconds', 'rate'), [(0.04, 16000), (5.0, 22050), (0.0333, 22050)])
@pytest.mark.parametrize('repeat', [False, True])
def test_windows_are_those_of_inference(page, window_seconds, rate, repeat):
  framing = Framing(window_seconds, window_seconds, rate)
  window = windows.durations.exact(window_seconds)
  student = {'window': [window.numerator, window.denominator], 'window_samples': framing.window_samples}
  student |= {'sample_rate_hz': rate, 'repeats_short_sound': repeat}
  for samples in (1, framing.window_samples - 1, framing.window_samples, 7 * framing.window_samples + 3):
    pcm = (np.arange(samples) % 30000 + 1).astype(np.int16)
    cut = list(windows.windows(iter([(0, pcm)]), framing, repeat, 0.0))
    starts, ends = windows.times(np.array([index for index, _ in cut], np.float64), framing)
    call = """(({ length }) => {
      const pcm = Int16Array.from({ length }, (_, i) => (i % 30000) + 1);
      const cut = m.windows(length, student);
      const weighted = (sum, value, i) => sum + value * 32768 * (i % 7 + 1);
      const sums = cut.map(({ first }) => m.samplesOf(pcm, first, student).reduce(weighted, 0));
      return [cut.map((w) => w.start), cut.map((w) => w.end), sums, m.repetitions(length, student)];
    })({ length: samples })"""
    found = run(page, 'windows', call, samples=samples, student=student)
    weights = np.arange(framing.window_samples) % 7 + 1
    np.testing.assert_allclose(found[0], starts, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found[1], ends, rtol=0, atol=1e-9)
    assert found[2] == [float((window.astype(np.float64) * weights).sum()) for _, window in cut]
    assert found[3] == (windows.repetitions(samples, framing) if repeat else 1)


STEPS = """(async () => {
  const pcm = Int16Array.from({ length }, (_, i) => (i * 7919) % 30011);
  const sample = (waveform, i) => waveform[Math.max(0, middle + i * hop)] ?? 0;
  const predict = async (waveform) => Float32Array.from({ length: 300 }, (_, i) => sample(waveform, i));
  const found = [];
  for await (const row of m.rows(pcm, student, predict)) found.push([row.start, row.end, ...row.probabilities]);
  return [found, m.repetitions(length, student)];
})()"""


@pytest.mark.parametrize('name', ['soundnet5', 'soundnet8', 'soundnet8_5s', 'soundnet8_steps', 'yamnet', 'vggish'])
def test_steps_are_those_of_inference(page, name):
  """With a student that answers by the sample in the middle of each step."""
  network, rate = registry.network(name), 16000
  tables = {'hidden': list(network.layer_windows.values())[-2], 'logits': list(network.layer_windows.values())[-1]}
  field, shortest = receptive_field.receptive_field(tables['logits']), registry.shortest_samples(name)
  middle, most = int(field.first_center), -(-3 * field.size // field.stride) * field.stride
  student = {'steps': {'table': tables['logits'], 'piece_samples': most, 'shortest_samples': shortest}, 'classes': 1}
  student |= {'sample_rate_hz': rate, 'repeats_short_sound': network.short_input == 'repeat'}

  def predict(pcm):
    hidden, count = (receptive_field.output_length(pcm.shape[1], table) for table in tables.values())
    padded = np.pad(pcm[0], [0, count * field.stride + field.size])
    places = np.maximum(0, middle + field.stride * np.arange(count))
    return np.zeros([hidden, 1], np.float32), (padded[places] / 32768).astype(np.float32)[:, None]

  for samples in (7, shortest - 1, shortest, shortest + 1, most, 2 * most + 12345):
    sound = ((np.arange(samples) * 7919) % 30011).astype(np.int16)
    keep_remainder = None if student['repeats_short_sound'] else True
    made = steps.step_blocks(iter([(0, sound)]), predict, tables, rate, 1, keep_remainder)
    blocks = list(steps.extend_ends(made))
    expected = [np.concatenate([b[key] for b in blocks]) for key in ('start_seconds', 'end_seconds', 'probabilities')]
    found, repeats = run(page, 'steps', STEPS, length=samples, student=student, middle=middle, hop=field.stride)
    np.testing.assert_allclose(found, np.column_stack(expected), rtol=0, atol=1e-6, err_msg=str(samples))
    assert repeats == blocks[-1]['repeats']


RESAMPLE = """(() => {
  const resampler = new m.Resampler(from, to);
  const bytes = Uint8Array.from(atob(sound), (c) => c.charCodeAt(0));
  const whole = new Float32Array(bytes.buffer);
  const out = [];
  for (let at = 0; at < whole.length; at += block) out.push(...resampler.push(whole.subarray(at, at + block)));
  out.push(...resampler.end());
  return Float32Array.from(out);
})()"""


def resampled(page, sound, rates, block=4099):
  encoded = base64.b64encode(sound.astype(np.float32).tobytes()).decode()
  return f32_of(
    page, 'resampler', RESAMPLE, sound=encoded, **dict(zip(('from', 'to'), rates, strict=True)), block=block
  )


def expected_pcm(sound, rates):
  """f32 [n], what media/decoding.py makes of it, before int16."""
  chunks = list(decoding._resampled(iter([(0, rates[0], sound.astype(np.float32))]), rates[1]))
  return np.concatenate([samples for _, samples in chunks])


RATES = [(8000, 22050), (11025, 16000), (44056, 22050), (44100, 16000), (44100, 22050), (48000, 16000), (48000, 22050)]


@pytest.mark.parametrize('rates', RATES)
def test_resampling_is_that_of_decoding(page, rates):
  sound = np.random.default_rng(0).uniform(-1, 1, 30011)
  found, expected = resampled(page, sound, rates), expected_pcm(sound, rates)
  assert len(found) == len(expected)
  np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize('samples', [1, 5, 40, 80])
def test_resampling_takes_sound_that_is_shorter_than_its_filter(page, samples):
  found = resampled(page, np.full(samples, 0.5), (44100, 22050))
  assert len(found) == -(-samples // 2) and abs(found - 0.5).max() < 0.01


def test_no_alias_of_a_tone_above_half_the_new_rate(page):
  time = np.arange(44100) / 44100
  alias = resampled(page, np.sin(2 * np.pi * 13000 * time), (44100, 22050))[2000:-2000]
  tone = resampled(page, np.sin(2 * np.pi * 5000 * time), (44100, 22050))[2000:-2000]
  decibels = 20 * np.log10(np.abs(np.fft.rfft(alias * np.hanning(len(alias)))).max() / len(alias) * 4)
  assert decibels < -80 and abs(tone.std() - np.sqrt(0.5)) < 1e-3


@pytest.mark.parametrize('samples', [100, 16000, 70000, 400000])
def test_the_picture_is_that_of_the_service(page, tmp_path, samples):
  rng = np.random.default_rng(0)
  pcm = (20000 * np.sin(np.arange(samples) ** 1.5 / 300) + rng.normal(0, 300, samples)).astype(np.int16)
  with wave.open(str(tmp_path / 'sound.wav'), 'wb') as file:
    file.setparams((1, 2, 16000, 0, 'NONE', ''))
    file.writeframes(pcm.tobytes())
  call = """(() => {
    const pcm = new Int16Array(Uint8Array.from(atob(sound), (c) => c.charCodeAt(0)).buffer);
    return m.picture(pcm, 16000, async () => {});
  })()"""
  found = run(page, 'overview', call, sound=base64.b64encode(pcm.tobytes()).decode())
  expected = timeline.picture(tmp_path / 'sound.wav', 16000)
  assert found['wave'] == expected['wave']
  levels = [
    np.frombuffer(base64.b64decode(each['mel'].pop('levels')), np.uint8).astype(int) for each in (found, expected)
  ]
  assert np.abs(levels[0] - levels[1]).max() <= 1
  del expected['mel']['edges_hz']
  assert found['mel'] == expected['mel']


@pytest.mark.parametrize('seed', range(6))
def test_classes_over_time_are_those_of_the_service(page, seed):
  frames = random_frames(seed)
  many = dataclasses.replace(
    frames, **{name: np.repeat(getattr(frames, name), 4, 0) for name in ('start_seconds', 'end_seconds', 'scores')}
  )
  ends = np.minimum(many.end_seconds, many.seconds)
  expected = timeline.classes_over_time(many.start_seconds, ends, many.scores, NAMES)
  found = run(page, 'overview', 'm.classesOverTime(frames, names)', frames=as_json(many), names=NAMES)
  assert found['names'] == expected['names'] and found['bars'] == expected['bars'] and found['top'] == expected['top']
  np.testing.assert_allclose(found['start_seconds'], expected['start_seconds'], rtol=0, atol=1e-9)
  np.testing.assert_allclose(found['end_seconds'], expected['end_seconds'], rtol=0, atol=1e-9)
