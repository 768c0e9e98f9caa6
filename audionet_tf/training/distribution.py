"""On which devices a run trains."""

import tensorflow as tf

from audionet_tf.core.errors import UserError


def make(replicas=0):
  """The tf.distribute strategy for `replicas` copies of the student.

  Args:
    replicas: 0 takes every GPU, or the processor where there is none. More than there are GPUs is possible on a machine
      without any: the processor is cut into logical devices, once in a process and before it computes anything;
      tests use it.

  Raises:
    UserError: more replicas than GPUs.
  """
  gpus = tf.config.list_physical_devices('GPU')
  for gpu in gpus:
    tf.config.experimental.set_memory_growth(gpu, True)
  if replicas < 0 or (gpus and replicas > len(gpus)):
    raise UserError(f'--replicas={replicas}: this machine has {len(gpus)} GPUs; allowed is 0 (all) to {len(gpus)}')
  if not gpus and replicas > 1:
    cpu = tf.config.list_physical_devices('CPU')[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
    return tf.distribute.MirroredStrategy([f'CPU:{i}' for i in range(replicas)])
  count = replicas or len(gpus)
  if count > 1:
    return tf.distribute.MirroredStrategy([f'GPU:{i}' for i in range(count)])
  # One device: MirroredStrategy would add its bookkeeping to every step and forbid several steps in one call.
  return tf.distribute.OneDeviceStrategy('GPU:0' if gpus else 'CPU:0')
