"""Multi-label students: losses against PyTorch, and one run from records to predictions."""

import csv
import json

import numpy as np
import pytest
import synthetic_records
from torch_or_skip import torch

from audionet_tf.core.errors import UserError
from audionet_tf.data import params
from audionet_tf.evaluation import predictor
from audionet_tf.inference import predict
from audionet_tf.models import registry, student_file, student_settings
from audionet_tf.saved_model import loader
from audionet_tf.training import config, trainer
from audionet_tf.training.steps import losses
from audionet_tf.training.steps.distiller import MultiLabelTrainer

VIDEOS = {'a.mp4': 6, 'b.mp4': 6, 'c.mp4': 6}
LABELS = {'a.mp4': 'low', 'b.mp4': 'low;any', 'c.mp4': ''}


def labels_and_logits(seed=0):
  rng = np.random.default_rng(seed)
  labels = (rng.uniform(size=(4, 3, 7)) < 0.3).astype(np.float32)
  return labels, rng.normal(0, 3, labels.shape).astype(np.float32)


@pytest.mark.parametrize('smoothing', [0, 0.2])
def test_cross_entropy_and_focal_loss_equal_pytorchs(smoothing):
  labels, logits = labels_and_logits()
  smooth = torch.tensor(labels * (1 - smoothing) + smoothing / 2)
  terms = torch.nn.functional.binary_cross_entropy_with_logits(torch.tensor(logits), smooth, reduction='none')
  cross_entropy = losses.binary_loss('cross_entropy', labels, logits, smoothing)
  np.testing.assert_allclose(cross_entropy, terms.sum(-1).mean(-1), rtol=1e-5)
  p = torch.sigmoid(torch.tensor(logits))
  missed = smooth * (1 - p) + (1 - smooth) * p
  focal = (0.25 * smooth + 0.75 * (1 - smooth)) * missed**2 * terms
  np.testing.assert_allclose(losses.binary_loss('focal', labels, logits, smoothing), focal.sum(-1).mean(-1), rtol=1e-4)


def test_one_target_is_used_for_every_step():
  labels, logits = labels_and_logits()
  repeated = np.repeat(labels[:, :1], 3, axis=1)
  expected = losses.binary_loss('cross_entropy', repeated, logits)
  np.testing.assert_array_equal(losses.binary_loss('cross_entropy', labels[:, :1], logits), expected)


def test_top1_is_whether_the_first_class_is_a_label():
  labels, logits = labels_and_logits(1)
  best = logits.argmax(-1)
  expected = np.take_along_axis(labels, best[..., None], -1).mean((1, 2))
  assert 0 < expected.mean() < 1
  np.testing.assert_allclose(losses.top1_is_label(labels, logits), expected)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  folder = tmp_path_factory.mktemp('weak')
  window = params.RecordParams(images_per_window=0)
  synthetic_records.write_records(folder / 'records', VIDEOS, window)
  with open(folder / 'labels.csv', 'w', newline='') as file:
    csv.writer(file).writerows([('file', 'labels'), *LABELS.items()])
  teacher = config.TeacherConfig(str(folder / 'labels.csv'))
  run_config = config.TrainingConfig(
    teachers=(teacher,),
    epochs=40,
    batch_size=6,
    optimizer='adam',
    learning_rate=0.02,
    loss='cross_entropy',
    loss_reduction='mean',
    per_frame=True,
  )
  trainer.train(folder / 'records', folder / 'run', run_config)
  return folder


def test_a_run_learns_and_names_its_metrics(run):
  rows = [json.loads(line) for line in (run / 'run/metrics.jsonl').read_text().splitlines()]
  assert rows[-1]['cross_entropy'] < 0.7 * rows[0]['cross_entropy'] and 'kl' not in rows[0]
  assert rows[0]['cross_entropy'] == pytest.approx(2 * np.log(2), rel=0.3)  # two classes, undecided
  last = json.loads((run / 'run/stats.json').read_text())['epochs'][-1]['videos']['b.mp4']
  assert last['cross_entropy'] == pytest.approx(np.mean(last['cross_entropy_per_frame']), rel=1e-4)


@pytest.mark.parametrize(('loss', 'smoothing'), [('cross_entropy', 0.0), ('cross_entropy', 0.2), ('focal', 0.0)])
def test_the_trained_loss_is_a_metric_unless_it_is_plain_cross_entropy(loss, smoothing):
  labels, logits = labels_and_logits()
  distiller = MultiLabelTrainer(
    registry.build('audionet', {'t': labels.shape[-1]}), ['t'], 1, loss=loss, label_smoothing=smoothing
  )
  targets, outputs = {'t': labels}, {'logits/t': logits}
  distances = distiller.losses_by_head(targets, outputs)
  values = distiller.metric_values(targets, outputs, distances)
  assert list(values) == distiller.metric_names()
  own = loss != 'cross_entropy' or smoothing
  assert ('loss' in values) == bool(own)
  expected = losses.binary_loss(loss, labels, logits, smoothing)
  np.testing.assert_allclose(values['loss' if own else 'cross_entropy'][0], expected, rtol=1e-6)
  np.testing.assert_allclose(distiller.example_losses(targets, outputs, distances), expected, rtol=1e-6)


def test_probabilities_do_not_exclude_each_other_wherever_they_are_given(run):
  model, settings = student_file.load(run / 'run/student.keras')
  assert settings.activations == {'teacher': 'sigmoid'} and settings.classes == {'teacher': ['any', 'low']}
  sound = np.random.default_rng(0).normal(0, 0.1, [3, 640]).astype(np.float32)
  logits = model(sound)['logits/teacher'].numpy()[:, 0]
  expected = 1 / (1 + np.exp(-logits.astype(np.float64)))
  served = loader.load(run / 'run')
  np.testing.assert_allclose(served.predict(sound)['probabilities'], expected, atol=1e-6)
  np.testing.assert_allclose(predictor.load_student(run / 'run').probabilities(logits), expected, atol=1e-6)
  outputs = predict.file_predictor(served, ('csv',)).predict(np.zeros([512, 640], np.int16), 1)
  silence = model(np.zeros([1, 640], np.float32))['logits/teacher'].numpy()[0, 0]
  np.testing.assert_allclose(outputs['sum'], 1 / (1 + np.exp(-silence)), atol=1e-6)


def test_several_labels_need_a_loss_for_them(run):
  teacher = config.TeacherConfig(str(run / 'labels.csv'))
  with pytest.raises(UserError, match='several labels or none; use --loss=cross_entropy or focal'):
    trainer.train(run / 'records', run / 'other', config.TrainingConfig(teachers=(teacher,)))
  with pytest.raises(UserError, match='label_smoothing goes with loss cross_entropy or focal'):
    config.TrainingConfig(label_smoothing=0.1)
  with pytest.raises(TypeError, match='allowed are softmax, sigmoid'):
    student_settings.StudentConfig('audionet', 16000, 'mean', 0.04, {'a': ['x']}, activations={'a': 'exp'})
