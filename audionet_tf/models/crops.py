"""A trained student that answers with the mean over circular crops of its sound (`layers/circular_crops.py`)."""

import keras

from audionet_tf.core.errors import UserError
from audionet_tf.layers.circular_crops import CircularCrops, MeanOfCrops
from audionet_tf.models import heads, registry

MOST = 16


def with_crops(model, name, count):
  """The student with the mean logits and embedding over `count` crops; the weights are shared.

  Args:
    model: keras.Model of a student.
    name: key of registry.STUDENTS.
    count: from 1 (the student itself) to MOST.

  Returns:
    keras.Model of the same input and outputs.

  Raises:
    UserError: the count is out of range, or the student has several steps in time, which a shift would mix up.
  """
  if not 1 <= count <= MOST:
    raise UserError(f'--crops={count}: must be from 1 to {MOST}')
  if count == 1:
    return model
  steps = [output.shape[1] for key, output in model.output.items() if key.startswith(heads.LOGITS)]
  if registry.network(name).layer_windows or not steps or set(steps) != {1}:
    raise UserError(f'--crops={count}: {name} answers per step; crops are for students with one answer per window')
  outputs = model(CircularCrops(count, name='crops')(model.input))
  means = {key: MeanOfCrops(count, name=f'mean_{key.replace("/", "_")}')(x) for key, x in outputs.items()}
  return keras.Model(model.input, means, name=model.name)
