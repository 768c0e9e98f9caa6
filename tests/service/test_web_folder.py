"""The page without a service: the same scores as the service, nothing leaves the browser, hostile files do no harm."""

import hashlib
import json
import math
import re

import chromium
import numpy as np
import pytest

if chromium.PROGRAM is None:
  pytest.skip('no Chromium here (Debian: apt install chromium)', allow_module_level=True)

import media_clips
import soundnets
import static_site
import tones
import web_folders

from audionet_tf.captioning import captioner
from audionet_tf.core.errors import UserError
from audionet_tf.inference import predict
from audionet_tf.models import registry, student_file, student_paths
from audionet_tf.saved_model import for_files, loader, signatures
from audionet_tf.service import web_folder

NAMES = ['silence', 'low', 'high <b>tone</b> --> & more']
SHOWN = "!document.querySelector('#result').hidden"
PROBLEM = "document.querySelector('#problem').textContent"


def test_names_of_classes_are_text(folders):
  student = json.loads((folders['audionet'] / web_folder.LABELS_FILE).read_text())
  assert student['labels'] == NAMES and student['silent'] == [False] * 3


def test_a_folder_replaces_an_earlier_one_only(folders, tmp_path_factory):
  packages = web_folders.packages(tmp_path_factory)
  student = tones.student(NAMES)
  digest = hashlib.sha256((folders['audionet'] / 'model.tflite').read_bytes()).digest()
  web_folder.write(student.module, student.settings, folders['audionet'], packages=packages)
  assert hashlib.sha256((folders['audionet'] / 'model.tflite').read_bytes()).digest() == digest
  assert [path.name for path in folders['audionet'].parent.iterdir()] == ['site']


def test_students_that_cannot_be_in_the_page_are_refused():
  with pytest.raises(UserError, match='no heads'):
    web_folder.check(student_file.StudentConfig('autoencoder', 22050, 'mean', 5.0, {}))
  with pytest.raises(UserError, match='has no heads.*; name classes with --classes'):
    web_folder.check(student_file.StudentConfig('logmel_cnn', 22050, 'mean', 5.0, {}, embeddings={'pictures': 8}))
  with pytest.raises(UserError, match='shorter than logmel_cnn takes'):
    web_folder.check(student_file.StudentConfig('logmel_cnn', 22050, 'mean', 0.04, {'teacher': ['a', 'b']}))
  web_folder.check(tones.student(NAMES).settings)
