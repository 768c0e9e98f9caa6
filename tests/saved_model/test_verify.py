"""Signatures and outputs that an export must have."""

import json
import types

import pytest
import tensorflow as tf

from audionet_tf.core.errors import UserError
from audionet_tf.models import student_settings
from audionet_tf.saved_model import loader, verify

NAMES = ['x', 'y']
AUDIONET = student_settings.StudentConfig('audionet', 16000, 'mean', 0.04, {'teacher': NAMES})
SOUNDNET = student_settings.StudentConfig('soundnet5', 22050, 'first', 5.0, {'objects': NAMES})
EVERY = ('embedding', 'probabilities', 'logits', 'top_classes', 'top_probabilities')
TIMES = ('start_seconds', 'end_seconds')
LAYERS = ('conv1', 'pool1', 'conv2', 'pool2', 'conv3', 'pool3', 'conv4', 'conv5', 'conv5_objects')


def complete_signatures():
  """Fake signatures with all outputs of SOUNDNET: dict of name to object."""
  layers = (name + suffix for name in LAYERS for suffix in ('', '/center_seconds'))
  outputs = {'serving_default': EVERY, 'windows': EVERY + TIMES, 'layers': layers}
  shapes = {name: dict.fromkeys(keys, types.SimpleNamespace(shape=(None, 2))) for name, keys in outputs.items()}
  return {name: types.SimpleNamespace(structured_outputs=shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
  ('signature', 'output', 'missing'),
  [
    ('windows', None, 'the signature windows'),
    ('serving_default', None, 'the signature serving_default'),
    ('layers', 'conv5_objects', 'conv5_objects of the signature layers'),  # as in the first exports with layers
    ('layers', 'conv4/center_seconds', 'conv4/center_seconds of the signature layers'),
    ('serving_default', 'embedding', 'embedding of the signature serving_default'),
    ('serving_default', 'probabilities', 'probabilities of the signature serving_default'),
    ('windows', 'end_seconds', 'end_seconds of the signature windows'),
  ],
)
def test_missing_outputs_are_named(signature, output, missing):
  functions = complete_signatures()
  verify.check_signatures('m', functions, SOUNDNET)
  if output:
    del functions[signature].structured_outputs[output]
  else:
    del functions[signature]
  with pytest.raises(UserError, match=f'^m: an export that lacks {missing}; export the student again'):
    verify.check_signatures('m', functions, SOUNDNET)


def test_the_signature_layers_may_be_missing():
  functions = complete_signatures()
  del functions['layers']
  verify.check_signatures('m', functions, SOUNDNET)


def test_loading_names_a_missing_signature(tmp_path):
  module = tf.Module()
  spec = tf.TensorSpec([None, 2], name='waveform')
  module.function = tf.function(lambda waveform: {'probabilities': waveform}, [spec])
  tf.saved_model.save(module, str(tmp_path), signatures={'serving_default': module.function.get_concrete_function()})
  (tmp_path / 'assets').mkdir(exist_ok=True)
  (tmp_path / 'assets/settings.json').write_text(json.dumps(vars(AUDIONET)))
  with pytest.raises(UserError, match='lacks the signature windows') as error:
    loader.load(tmp_path)
  assert '\n' not in str(error.value) and 'KeyError' not in str(error.value)
