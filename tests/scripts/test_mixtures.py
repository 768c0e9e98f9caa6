"""Mixtures with weak labels: they contain the sounds of their table."""

import csv

import numpy as np
from scipy.io import wavfile

from experiments import mixture_clips, mixtures

HERTZ = {'low': 500, 'middle': 2000, 'high': 5000}


def test_mixtures_hold_the_sounds_of_their_labels(tmp_path):
  time = np.arange(2 * 22050) / 22050
  rows = [['filename', 'fold', 'category']]
  for fold, loudness in (('1', 0.5), ('2', 0.0)):
    for category, hertz in HERTZ.items():
      rows.append([f'{category}{fold}.wav', fold, category])
      sound = loudness * 32767 * np.sin(2 * np.pi * hertz * time)
      wavfile.write(tmp_path / rows[-1][0], 22050, sound.astype(np.int16))
  with open(tmp_path / 'x.csv', 'w', newline='') as file:
    csv.writer(file).writerows(rows)
  for folder, seed in (('one', 0), ('again', 0), ('other', 1)):
    mixture_clips.make(tmp_path / 'x.csv', tmp_path, ['1'], 12, seed, tmp_path / folder)
  with open(tmp_path / 'one/labels.csv') as file:
    table = list(csv.DictReader(file))
  assert {len(row['labels'].split(';')) for row in table} == {1, 2, 3}
  starts = set()
  for row in table:
    rate, sound = wavfile.read(tmp_path / 'one' / row['file'])
    assert (rate, sound.shape, sound.dtype) == (22050, (220500,), np.int16)
    power = np.abs(np.fft.rfft(sound / 32768)) / 22050
    names = [name for name, hertz in sorted(HERTZ.items()) if power[hertz * 10 - 5 : hertz * 10 + 5].max() > 0.05]
    assert names == sorted(row['labels'].split(';'))
    starts.add(int(np.flatnonzero(sound)[0]))
  assert len(starts) > 6
  texts = [(tmp_path / folder / 'labels.csv').read_text() for folder in ('one', 'again', 'other')]
  assert texts[0] == texts[1] != texts[2]
  assert mixture_clips.folds_of(tmp_path / 'x.csv', tmp_path) == ['1', '2']


def test_the_table_gives_means_and_deviations():
  figures = {'average_precision': 0.5, 'roc_auc': 0.7, 'd_prime_of_mean_auc': 1.0}
  lines = mixtures.table({'attention': {'0': figures, '1': figures | {'roc_auc': 0.9}}, 'mean': {'0': figures}})
  assert lines.splitlines()[1].split() == [
    'attention',
    '2',
    '0.500',
    '±',
    '0.000',
    '0.800',
    '±',
    '0.141',
    '1.000',
    '±',
    '0.000',
  ]
  assert lines.splitlines()[2].split() == ['mean', '1', '0.500', '0.700', '1.000']
