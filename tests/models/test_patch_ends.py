"""An incomplete last patch or window: treated as in the original programs, and never lost in captions."""

import json
import math
import types

import media_clips
import numpy as np
import pytest
import tensorflow as tf

from audionet_tf.captioning import captioner, event_detection
from audionet_tf.core.errors import UserError
from audionet_tf.inference import chunking, predict
from audionet_tf.models import registry, student_settings
from audionet_tf.models.networks import patch_classifier
from audionet_tf.representations import extraction
from audionet_tf.saved_model import loader

RATE, PATCH = 16_000, 15_600
HOPS = {'vggish': 15_360, 'yamnet': 7_680}


def table(name):
  return registry.network(name).layer_windows[patch_classifier.LOGITS]


def as_yamnet_pads(samples):
  """Number of patches, by the formula of YAMNet's `pad_waveform`."""
  samples = max(samples, PATCH)
  return 1 + math.ceil((samples - PATCH) / HOPS['yamnet'])


@pytest.mark.parametrize('samples', [1, PATCH - 1, PATCH, PATCH + 1, PATCH + 7680, PATCH + 7681, 160_000, 192_000])
def test_silence_completes_the_last_patch(samples):
  sound = np.arange(samples, dtype=np.int32).astype(np.int16)
  chunks = [sound[:1000], sound[1000:]]
  whole = np.concatenate(list(chunking.padded(chunks, table('yamnet'))))
  assert whole[:samples].tolist() == sound.tolist() and not whole[samples:].any()
  assert (len(whole) - PATCH) / HOPS['yamnet'] == as_yamnet_pads(samples) - 1
  short = np.concatenate(list(chunking.padded(chunks, table('yamnet'), keep_remainder=False)))
  assert len(short) == max(samples, PATCH)
  with pytest.raises(UserError, match='no sound'):
    list(chunking.padded([], table('yamnet')))


def served(name):
  """An export on patches whose scores are their loudness; nothing is trained."""
  settings = student_settings.StudentConfig(name, RATE, 'mean', 1.0, {'t': ['loud', 'still']})

  def layers(waveform):
    loudness = tf.reduce_mean(tf.abs(tf.signal.frame(waveform, PATCH, HOPS[name])), -1, keepdims=True)  # [B, T, 1]
    return {'patch_embedding': loudness, 'logits_t': tf.concat([100 * loudness, 5 * tf.ones_like(loudness)], -1)}

  return loader.LoadedExport(settings, ['loud', 'still'], {'layers': layers, 'serving_default': None}, None)


def write(path, seconds, begin):
  """Writes a sound that is silent before `begin` and loud after it, in seconds."""
  sound = 0.5 * (np.arange(round(seconds * RATE)) >= begin * RATE)
  return media_clips.write(path, times=[], sounds=[sound], rate_hz=RATE)


@pytest.mark.parametrize('name', HOPS)
@pytest.mark.parametrize('seconds', [12.0, 9.7, 0.3])
def test_captions_cover_the_whole_sound(name, seconds, tmp_path):
  path = write(tmp_path / 'a.wav', seconds, max(0, seconds - 0.3))
  scores = captioner.captions(
    captioner.predictor(served(name)), path, event_detection.DetectionConfig(stop=('still',), smooth_seconds=0)
  )
  (event,) = scores.events
  assert event.end_seconds == pytest.approx(seconds) and scores.seconds == seconds and scores.repeats == 1
  assert event.start_seconds >= max(0, seconds - 0.3 - PATCH / RATE)


@pytest.mark.parametrize(
  ('name', 'seconds', 'rows', 'end'),
  [('vggish', 10, 10, 9.615), ('yamnet', 10, 20, 10), ('vggish', 0.5, 1, 0.5), ('yamnet', 0.5, 1, 0.5)],
)
def test_infer_has_as_many_patches_as_the_original(name, seconds, rows, end, tmp_path):
  path = write(tmp_path / 'a.wav', seconds, 0)
  summary = predict.predict_file(predict.file_predictor(served(name), ['npz']), path, tmp_path, 'm')
  with np.load(tmp_path / 'a.wav.npz') as arrays:
    assert len(arrays['start_seconds']) == rows == summary.windows
    assert end - 0.16 < arrays['end_seconds'][-1] <= end
    assert (np.diff(arrays['end_seconds']) > 0).all() and (arrays['end_seconds'] > arrays['start_seconds']).all()
  assert summary.repeats == 1


@pytest.mark.parametrize(
  ('name', 'seconds', 'clip_seconds', 'patches', 'repeats'),
  [('vggish', 10, None, 10, 1), ('yamnet', 10, None, 20, 1), ('vggish', 0.5, None, 1, 2), ('yamnet', 0.5, None, 1, 1),
   ('yamnet', 0.5, 2.0, 4, 4)],
)  # fmt: skip
def test_features_have_as_many_patches_as_the_original(name, seconds, clip_seconds, patches, repeats, tmp_path):
  student, layer = served(name), patch_classifier.HIDDEN
  model = types.SimpleNamespace(
    settings=student.settings, digest='0', tables={layer: table(name)}, sources={layer: layer}
  )
  model.activations = lambda pcm: {layer: student.signatures['layers'](pcm / np.float32(32768))[layer].numpy()}
  model.is_mean = lambda _: False
  path = write(tmp_path / 'a.wav', seconds, 0)
  result = extraction.extract(model, [path], tmp_path, clip_seconds=clip_seconds)
  with np.load(result['outputs'][path]) as arrays:
    assert len(arrays[layer]) == patches
    about = json.loads(str(arrays['about'][0]))
  assert about['repeats'] == repeats and about['sound_seconds'] == (clip_seconds or seconds * repeats)
  dropped = {'vggish': about['sound_seconds'] - (0.96 * (patches - 1) + 0.975), 'yamnet': 0}[name]
  assert about['heard_seconds'] == pytest.approx(about['sound_seconds'] - dropped)


def window_student(name):
  """An export on windows of 5 s whose scores are their loudness."""
  settings = student_settings.StudentConfig(name, RATE, 'mean', 5.0, {'t': ['loud', 'still']})

  def default(waveform):
    loudness = tf.reduce_mean(tf.abs(waveform), -1, keepdims=True)
    return {'probabilities': tf.concat([loudness, 1 - loudness], -1), 'embedding': loudness}

  return loader.LoadedExport(settings, ['loud', 'still'], {'serving_default': default}, None)


@pytest.mark.parametrize(
  ('name', 'seconds', 'options', 'spans'),
  [
    ('logmel_cnn', 12, {}, [(0, 5), (5, 10), (7, 12)]),
    ('logmel_cnn', 10, {}, [(0, 5), (5, 10)]),
    ('logmel_cnn', 10.4, {}, [(0, 5), (5, 10)]),  # less than a tenth of a window
    ('logmel_cnn', 10.6, {}, [(0, 5), (5, 10), (5.6, 10.6)]),
    ('logmel_cnn', 3, {}, [(0, 3)]),
    ('logmel_cnn', 12, {'window_seconds': 5.0}, [(0, 5), (5, 10)]),
    ('logmel_cnn', 12, {'hop_seconds': 5.0}, [(0, 5), (5, 10)]),
    ('audionet', 12, {}, [(0, 5), (5, 10)]),
  ],
)
def test_last_window_ends_with_the_sound_by_default(name, seconds, options, spans, tmp_path):
  """Only the last second of the sound is loud: students that repeat short sound lose none of it."""
  path = write(tmp_path / 'a.wav', seconds, seconds - 1)
  summary = predict.predict_file(predict.file_predictor(window_student(name), ['npz'], **options), path, tmp_path, 'm')
  with np.load(tmp_path / 'a.wav.npz') as arrays:
    assert list(zip(arrays['start_seconds'].tolist(), arrays['end_seconds'].tolist(), strict=True)) == spans
    loud = [max(0, end - max(begin, seconds - 1)) / (end - begin) / 2 for begin, end in spans]
    if seconds >= 5:
      np.testing.assert_allclose(arrays['probabilities'][:, 0], loud, atol=1e-3)
  assert (summary.windows, summary.seconds) == (len(spans), spans[-1][1])
