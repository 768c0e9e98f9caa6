"""The pass of a teacher over the records in a folder, as a program: python teacher_pass.py FOLDER."""

import pathlib
import sys

from audionet_tf.data import records
from audionet_tf.teachers import frozen_teacher, labelling

folder = pathlib.Path(sys.argv[1])
teacher = frozen_teacher.load(str(folder / 'teacher.keras'))
labelling.ensure(folder / 'records', records.read_manifest(folder / 'records'), [teacher], batch_size=8)
