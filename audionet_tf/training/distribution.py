"""The devices that a run trains on."""

import tensorflow as tf

from audionet_tf.core.errors import UserError

MOST_ON_PROCESSOR = 64


def make(replicas=0):
  """Makes the tf.distribute strategy for `replicas` copies of the student.

  Args:
    replicas: number of copies; 0 takes every GPU, or the processor if there is none. Several are possible on a machine
      without GPUs, for tests: the processor is divided into logical devices, once per process and before it computes
      anything.

  Returns:
    tf.distribute.MirroredStrategy, or OneDeviceStrategy for one copy.

  Raises:
    UserError: more replicas than GPUs, or more than MOST_ON_PROCESSOR without a GPU.
  """
  gpus = tf.config.list_physical_devices('GPU')
  for gpu in gpus:
    tf.config.experimental.set_memory_growth(gpu, True)
  if replicas < 0 or (gpus and replicas > len(gpus)):
    raise UserError(f'--replicas={replicas}: this machine has {len(gpus)} GPUs; allowed is 0 (all) to {len(gpus)}')
  if replicas > MOST_ON_PROCESSOR and not gpus:
    raise UserError(f'--replicas={replicas}: without a GPU allowed is 0 (the processor) to {MOST_ON_PROCESSOR}')
  if not gpus and replicas > 1:
    cpu = tf.config.list_physical_devices('CPU')[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
    return tf.distribute.MirroredStrategy([f'CPU:{i}' for i in range(replicas)])
  count = replicas or len(gpus)
  if count > 1:
    return tf.distribute.MirroredStrategy([f'GPU:{i}' for i in range(count)])
  # One device: MirroredStrategy would add its bookkeeping to every step and forbid several steps in one call.
  return tf.distribute.OneDeviceStrategy('GPU:0' if gpus else 'CPU:0')
