"""The devices that a run trains on, and what its workers tell each other.

Every worker is a process that runs the same program: it trains on its own rows of each batch and sums the gradients
with the others. Only the chief, the first one, reads and writes the run.
"""

import contextlib
import dataclasses
import functools
import json
import os
import subprocess
import sys

import numpy as np
import tensorflow as tf

from audionet_tf.core import interruption, notices, text
from audionet_tf.core.errors import UserError
from audionet_tf.data.input_pipeline import Share

MOST_ON_PROCESSOR = 64
# What TensorFlow raises in a worker if another one is gone.
LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)
SUM = tf.distribute.ReduceOp.SUM


def make(replicas=0, task=None):
  """Makes the tf.distribute strategy of a run.

  Args:
    replicas: number of copies of the student in this process; 0 takes every GPU, or the processor if there is none.
      Several are possible on a machine without GPUs, for tests: the processor is divided into logical devices, once per
      process and before it computes anything.
    task: None, or the cluster.Task of this worker; it must come before TensorFlow computes anything, and waits for the
      other workers.

  Returns:
    MultiWorkerMirroredStrategy with `task`; MirroredStrategy on GPUs, one or many; OneDeviceStrategy on the processor.

  Raises:
    UserError: more replicas than GPUs, or more than MOST_ON_PROCESSOR without a GPU; a port that is taken, or workers
      that do not come.
  """
  gpus = tf.config.list_physical_devices('GPU')
  for gpu in gpus:
    tf.config.experimental.set_memory_growth(gpu, True)
  if replicas < 0 or (gpus and replicas > len(gpus)):
    raise UserError(f'--replicas={replicas}: this machine has {len(gpus)} GPUs; allowed is 0 (all) to {len(gpus)}')
  if replicas > MOST_ON_PROCESSOR and not gpus:
    raise UserError(f'--replicas={replicas}: without a GPU allowed is 0 (the processor) to {MOST_ON_PROCESSOR}')
  if gpus and replicas:
    tf.config.set_visible_devices(gpus[:replicas], 'GPU')
  if not gpus and replicas > 1:
    cpu = tf.config.list_physical_devices('CPU')[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
  if task:
    return _join(task)
  if gpus:
    return tf.distribute.MirroredStrategy([f'GPU:{i}' for i in range(replicas or len(gpus))])
  if replicas > 1:
    return tf.distribute.MirroredStrategy([f'CPU:{i}' for i in range(replicas)])
  # A processor alone: MirroredStrategy would add its bookkeeping to every step.
  return tf.distribute.OneDeviceStrategy('CPU:0')


def _join(task):
  """The MultiWorkerMirroredStrategy of a worker, once all others are there."""
  spec = tf.train.ClusterSpec({'worker': task.addresses})
  resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
    spec, task_type='worker', task_id=task.index, rpc_layer='grpc'
  )
  with _watched(task):
    try:
      return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except tf.errors.OpError as error:
      raise UserError(f'{task.name}: cannot join the others ({text.brief(error)})') from error


@contextlib.contextmanager
def _watched(task):
  """A context in which the process is killed, with one line, if the others do not come in time.

  TensorFlow waits for them for ever, in C++ and with Python's lock, so that only another process can end that.
  """
  words = [sys.executable, '-c', 'from audionet_tf.training import cluster; cluster.watch()', str(os.getpid())]
  words += [json.dumps(dataclasses.asdict(task))]
  environment = os.environ | {'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}
  watcher = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=interruption.screen, env=environment)
  try:
    yield
  finally:
    watcher.stdin.close()  # by which it ends, as by the end of this process
    watcher.wait()


@contextlib.contextmanager
def losses_named(task):
  """A context for a worker, in which an error of TensorFlow that another one has caused ends the process with one line.

  At once: TensorFlow's own end would wait for the worker that is gone.

  Args:
    task: cluster.Task, or None for one worker: then the context has no effect.
  """
  if task is None:
    yield
    return
  with notices.hidden():
    try:
      yield
    except LOST as error:
      sys.stderr.flush()
      reason = text.brief_value((error.message.partition('aborted by: ')[2] or error.message).partition('\n')[0], 80)
      message = f'{task.name}: another worker is gone ({reason}); start all again with --resume'
      os.write(interruption.screen, f'error: {message}\n'.encode())
      os._exit(1)


def is_several(strategy):
  """Whether several workers train."""
  return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def share_of(strategy, task):
  """The input_pipeline.Share of this worker."""
  workers, worker = (len(task.addresses), task.index) if task else (1, 0)
  return Share(strategy.num_replicas_in_sync, worker, workers)


def iterate(strategy, batches):
  """Iterator over the batches of this worker, an endless dataset, that hands each of its replicas an equal part."""
  mirrored = isinstance(strategy, tf.distribute.MirroredStrategy | tf.distribute.MultiWorkerMirroredStrategy)
  devices = strategy.extended.worker_devices if mirrored else ()
  if len(devices) <= 1 and not any(':GPU:' in device for device in devices):
    return iter(batches)  # those that read ahead onto devices keep autotune (core/tf_data), which a processor needs not
  replicas = len(devices)

  def parts(batch):
    return tf.data.Dataset.from_tensor_slices(
      {name: tf.reshape(x, tf.concat([[replicas, -1], tf.shape(x)[1:]], 0)) for name, x in batch.items()}
    )

  if replicas > 1:
    shapes = {name: spec.shape for name, spec in batches.element_spec.items()}
    batches = batches.flat_map(parts).map(
      lambda part: {name: tf.ensure_shape(x, [None, *shapes[name][1:]]) for name, x in part.items()}
    )
  # Of a finite dataset every step would ask all workers whether there is a next batch.
  endless = batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
  return iter(strategy.distribute_datasets_from_function(lambda context: endless))


def total(strategy, numbers):
  """Sums a list of int over the workers."""
  return _summed(strategy, np.array(numbers, np.int64)).tolist() if is_several(strategy) else numbers


def of_chief(strategy, is_chief, arrays):
  """The NumPy arrays of the chief, a list; the other workers pass arrays of the same shapes and dtypes."""
  if not is_several(strategy):
    return arrays
  # The bytes as integers: a sum of them with zeros is exact, whatever they mean.
  content = b''.join(x.tobytes() for x in arrays)
  words = np.frombuffer(content + bytes(-len(content) % 8), np.int64)
  content = _summed(strategy, words if is_chief else np.zeros_like(words)).tobytes()
  ends = np.cumsum([x.nbytes for x in arrays])
  return [
    np.frombuffer(content[end - x.nbytes : end], x.dtype).reshape(x.shape) for x, end in zip(arrays, ends, strict=True)
  ]


def text_of_chief(strategy, is_chief, message):
  """The chief's str on all workers."""
  encoded = np.frombuffer(message.encode(), np.uint8)
  (size,) = of_chief(strategy, is_chief, [np.array([len(encoded)])])
  (content,) = of_chief(strategy, is_chief, [encoded if is_chief else np.zeros(size[0], np.uint8)])
  return content.tobytes().decode()


def _summed(strategy, numbers):
  """Sums int64 [N] over the workers."""
  return strategy.experimental_local_results(_summing(strategy)(tf.constant(numbers)))[0].numpy()


@functools.cache
def _summing(strategy):
  """The tf.function of `_summed`; one per strategy, as each new one would be traced."""
  replicas = len(strategy.extended.worker_devices)

  @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
  def summed(numbers):
    def of_replica():
      context = tf.distribute.get_replica_context()
      is_first = context.replica_id_in_sync_group % replicas == 0
      return context.all_reduce(SUM, tf.where(is_first, numbers, tf.zeros_like(numbers)))

    return strategy.run(of_replica)

  return summed


def replica_values(strategy, variables):
  """A function that returns the values of metric variables on every replica of every worker.

  It returns a list of [replicas, ...], equal on all workers.
  """
  replicas = strategy.num_replicas_in_sync

  @tf.function
  def read():
    def of_replica():
      context = tf.distribute.get_replica_context()
      is_own = tf.range(replicas) == context.replica_id_in_sync_group
      values = [tf.convert_to_tensor(v) for v in variables]
      rows = [tf.where(tf.reshape(is_own, [-1] + [1] * x.shape.rank), x[None], tf.zeros_like(x)[None]) for x in values]
      return [context.all_reduce(SUM, x) for x in rows]

    return strategy.run(of_replica)

  return lambda: [strategy.experimental_local_results(x)[0] for x in read()]


def set_replica_values(strategy, variables, values):
  """Gives metric variables what `replica_values` returned."""

  @tf.function
  def write():
    def of_replica():
      number = tf.distribute.get_replica_context().replica_id_in_sync_group
      for variable, rows in zip(variables, values, strict=True):
        variable.assign(rows[number])

    strategy.run(of_replica)

  write()
