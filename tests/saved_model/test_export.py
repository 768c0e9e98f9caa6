"""Exporting: version numbers, exports that are rejected, and the command."""

import os

import audionets
import commands
import numpy as np
import pytest
import tensorflow as tf

from audionet_tf.core.errors import UserError
from audionet_tf.models import student_file
from audionet_tf.saved_model import export, loader, signatures


def test_versions_are_counted_and_the_highest_is_loaded(tmp_path):
  (tmp_path / '9').mkdir()
  (tmp_path / 'notes').mkdir()
  classes = {'teacher': ['x', 'y']}
  path = export.export(audionets.student(classes), audionets.settings_for(classes), tmp_path)
  assert path == tmp_path / '10'
  assert loader.load(tmp_path).class_names == ['x', 'y']
  assert loader.load(path).predict(audionets.sounds(4, 50))['top_classes'].shape == (4, 2)


def test_a_folder_that_tensorflow_cannot_name_is_one_line(tmp_path):
  folder, classes = tmp_path / os.fsdecode(b'caf\xe9'), {'teacher': ['x', 'y']}
  with pytest.raises(UserError, match='the name is not valid UTF-8'):
    export.export(audionets.student(classes), audionets.settings_for(classes), folder)
  assert not folder.exists()
  export.export(audionets.student(classes), audionets.settings_for(classes), tmp_path / 'other')
  (tmp_path / 'other').rename(folder)
  with pytest.raises(UserError, match='the name is not valid UTF-8'):
    loader.load(folder)


@pytest.mark.parametrize(
  ('signature', 'rank', 'output'),
  [('serving_default', 2, 'embedding'), ('windows', 1, 'probabilities'), ('windows', 1, 'top_classes')],
)
def test_an_export_that_differs_from_the_model_is_removed(tmp_path, monkeypatch, signature, rank, output):
  classes = {'teacher': ['x', 'y', 'z']}
  all_signatures = signatures.all_signatures

  def all_but_one(model, settings):
    functions = all_signatures(model, settings)

    @tf.function(input_signature=[tf.TensorSpec([None] * rank, name='waveform')])
    def wrong(waveform):
      outputs = dict(functions[signature](waveform))
      value = outputs[output]
      outputs[output] = tf.reverse(value, [1]) if output == 'top_classes' else value + 1e-2
      return outputs

    return functions | {signature: wrong.get_concrete_function()}

  monkeypatch.setattr(signatures, 'all_signatures', all_but_one)
  with pytest.raises(RuntimeError, match=signature):
    export.export(audionets.student(classes), audionets.settings_for(classes), tmp_path)
  assert [path.name for path in tmp_path.iterdir()] in ([], ['.lock'])


def test_a_diverged_student_is_refused(tmp_path):
  classes = {'teacher': ['x', 'y']}
  model = audionets.student(classes)
  model.weights[0].assign(np.full(model.weights[0].shape, np.nan))
  with pytest.raises(UserError, match='not finite'):
    export.export(model, audionets.settings_for(classes), tmp_path)
  assert [path.name for path in tmp_path.iterdir()] in ([], ['.lock'])


@pytest.mark.parametrize(
  ('classes', 'message'), [({'teacher': ['x']}, '1 class names'), ({'t': ['x']}, 'no such head')]
)
def test_settings_of_another_student_are_refused(tmp_path, classes, message):
  with pytest.raises(UserError, match=message):
    export.export(audionets.student({'teacher': ['x', 'y']}), audionets.settings_for(classes), tmp_path / 'new')
  assert not (tmp_path / 'new').exists()


def run_export(*arguments):
  return commands.run('audionet_tf.export', *arguments)


def test_command(tmp_path):
  classes = {'teacher': ['x', 'y']}
  model = audionets.student(classes)
  (tmp_path / 'run').mkdir()
  student_file.save(tmp_path / 'run/student.keras', model, audionets.settings_for(classes))
  done = run_export(f'--run_dir={tmp_path / "run"}', f'--output={tmp_path / "out"}', '--tflite')
  assert done.returncode == 0, done.stderr
  assert done.stdout.strip() == str(tmp_path / 'out/1')
  assert (tmp_path / 'out/1/model.tflite').is_file()
  audionets.assert_same(
    loader.load(tmp_path / 'out').predict(audionets.sounds(2, 640)),
    audionets.torch_predictions(model, audionets.sounds(2, 640)),
  )


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--output=out'], 'export needs --model'),
    (['--output=out', '--run_dir=b'], 'b/student.keras: no such student'),
    (['--model=a.keras'], 'export needs --output'),
    (['--model=a.keras', '--output=out', 'more'], "unexpected argument 'more'"),
  ],
)
def test_command_mistakes_are_one_line(arguments, message):
  done = run_export(*arguments)
  assert done.returncode == 1
  assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1
  assert message in done.stderr
