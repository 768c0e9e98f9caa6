"""Which worker of a cluster this process is, as TF_CONFIG, Slurm's or Kubernetes' variables say.

It is found before TensorFlow computes.

TF_CONFIG is the JSON {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}, the same for
every worker but for the index. A cluster may name its first worker `chief`.
"""

import contextlib
import dataclasses
import json
import os
import re
import select
import shutil
import signal
import socket
import sys

from audionet_tf.core import text
from audionet_tf.core.errors import UserError

JOBS = ('chief', 'worker')
EXPECTED = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
SLURM = 'SLURM_STEP_NODELIST'
SLURM_PORT, MOST_TASKS = 8888, 4096  # of the first task on a host; on a host
KUBERNETES, WORKERS = 'JOB_COMPLETION_INDEX', 'AUDIONET_WORKERS'  # in every pod of an Indexed Job; set by its author
KUBERNETES_PORT = 8888
CONNECT_SECONDS = 2


@dataclasses.dataclass(frozen=True)
class Task:
  """One worker of a cluster.

  Attributes:
    addresses: 'host:port' of every worker, the chief first.
    index: number of this worker in `addresses`.
    wait_seconds: how long it waits for the others at its start.
  """

  addresses: tuple
  index: int
  wait_seconds: float = 300

  @property
  def is_chief(self):
    return self.index == 0

  @property
  def name(self):
    return f'worker {self.index} of {len(self.addresses)} ({self.addresses[self.index]})'


def find(wait_seconds=300):
  """The Task of this process.

  Raises:
    UserError: there is no TF_CONFIG, Slurm step or Indexed Job, or it names no cluster with this worker in it.
  """
  if 'TF_CONFIG' in os.environ:
    addresses, index = of_tf_config(os.environ['TF_CONFIG'])
  elif SLURM in os.environ:
    addresses, index = of_slurm()
  elif KUBERNETES in os.environ:
    addresses, index = of_kubernetes()
  else:
    raise UserError(
      f'--distribute=multiworker needs TF_CONFIG={EXPECTED}, a Slurm step (srun), or an Indexed Job of Kubernetes; '
      'scripts/launch N COMMAND starts N workers on this machine'
    )
  for address in addresses:
    host, colon, port = address.rpartition(':')
    if not (host and colon and port.isdigit() and 0 < int(port) < 65536):
      raise UserError(f'worker {text.brief_value(address)} of the cluster: expected is host:port, the port 1 to 65535')
  twice = [address for address in addresses if addresses.count(address) > 1]
  if twice:
    raise UserError(f'worker {twice[0]} is twice in the cluster; every worker needs a port of its own')
  return Task(tuple(addresses), index, wait_seconds)


def of_tf_config(content):
  """(addresses of all workers, number of this one) by the content of TF_CONFIG. UserError unless it is as EXPECTED."""
  try:
    config = json.loads(content)
    jobs, task = config['cluster'], config['task']
    kind, index = task['type'], task['index']
    addresses = [address for job in JOBS for address in jobs.get(job, [])]
  except (ValueError, RecursionError):
    raise UserError(f'TF_CONFIG={text.brief_value(content)} is not JSON; expected is {EXPECTED}') from None
  except (KeyError, TypeError, AttributeError):
    raise UserError(f'TF_CONFIG={text.brief_value(content)}; expected is {EXPECTED}') from None
  if kind not in JOBS or set(jobs) - set(JOBS):
    strange = kind if kind not in JOBS else sorted(set(jobs) - set(JOBS))[0]
    raise UserError(f'TF_CONFIG has a task or job {text.brief_value(strange)}; allowed is {" or ".join(JOBS)}')
  if not all(isinstance(jobs[job], list) for job in jobs) or not all(isinstance(a, str) for a in addresses):
    raise UserError(f'TF_CONFIG: the cluster must hold lists of "host:port"; expected is {EXPECTED}')
  count = len(jobs.get(kind, []))
  if type(index) is not int or not 0 <= index < count:
    allowed = f'0 to {count - 1}' if count else 'none, as the cluster has no such job'
    raise UserError(f'TF_CONFIG: index {text.brief_value(index)} of task {kind}; allowed is {allowed}')
  return addresses, index + (len(jobs.get('chief', [])) if kind == 'worker' else 0)


def of_slurm():
  """(addresses of all workers, number of this one) of a Slurm step, by TensorFlow's resolver."""
  import tensorflow as tf

  gpus = shutil.which('nvidia-smi') or 'CUDA_VISIBLE_DEVICES' in os.environ
  # The resolver fails without GPUs, so it is given as many as there can be tasks.
  arguments = {} if gpus else {'gpus_per_node': MOST_TASKS, 'gpus_per_task': 1, 'auto_set_gpu': False}
  try:
    resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(port_base=SLURM_PORT, **arguments)
    addresses = resolver.cluster_spec().job_tasks('worker')
    # It sorts the hosts as text, n10 before n2, Slurm's ranks by number: its own index would be that of another host.
    own = f'{os.environ["SLURMD_NODENAME"]}:{SLURM_PORT + int(os.environ["SLURM_LOCALID"])}'
    return addresses, addresses.index(own)
  except (RuntimeError, ValueError, KeyError, IndexError, AssertionError, OSError) as error:
    raise UserError(f"Slurm's variables do not describe a step and this task in it: {text.brief(error)}") from error


def of_kubernetes():
  """(addresses of all workers, number of this one) of an Indexed Job of Kubernetes with a headless Service.

  TensorFlow's resolver is of no use in a pod: it asks the API server by a kubeconfig file, which pods lack
  (tensorflow/tensorflow#70581), gives addresses of nodes, not of pods, and does not know which worker this one is.
  """
  index, workers = os.environ[KUBERNETES], os.environ.get(WORKERS, '')
  if not re.fullmatch(r'[1-9]\d{0,4}', workers, re.ASCII):
    raise UserError(f'{WORKERS}={text.brief_value(workers)}: in an Indexed Job expected is its number of completions')
  if not re.fullmatch(r'\d{1,5}', index, re.ASCII) or int(index) >= int(workers):
    raise UserError(
      f'{KUBERNETES}={text.brief_value(index)}; allowed is 0 to {int(workers) - 1}, as {WORKERS}={workers}'
    )
  host = socket.getfqdn()
  pod, _, service = host.partition('.')
  if not pod.endswith(f'-{index}') or not service:
    expected = f'JOB-{index}.SERVICE...: a headless Service, whose name the pods have as their subdomain'
    raise UserError(f'the name of this pod is {text.brief_value(host)}; expected is {expected} (docs/workers.md)')
  job = pod.removesuffix(index)
  return [f'{job}{number}.{service}:{KUBERNETES_PORT}' for number in range(int(workers))], int(index)


def require_free_port(task):
  """UserError if the port of this worker is taken."""
  address = task.addresses[task.index]
  with socket.socket() as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      probe.bind(('', int(address.rpartition(':')[2])))
    except OSError as error:
      raise UserError(
        f'{task.name}: its port cannot be used ({error.strerror}); is another worker running? Else choose another port'
      ) from error


def absent(task):
  """Addresses of the other workers that accept no connection."""
  missing = []
  for address in task.addresses:
    host, _, port = address.rpartition(':')
    try:
      with contextlib.closing(socket.create_connection((host.strip('[]'), int(port)), CONNECT_SECONDS)):
        pass
    except OSError:
      missing.append(address)
  return [address for address in missing if address != task.addresses[task.index]]


def watch():
  """The program of a process that kills another one if its Task waits too long; it ends when its stdin is closed.

  Arguments: number of the other process; its Task as JSON.
  """
  task = Task(**json.loads(sys.argv[2]))
  if select.select([sys.stdin], [], [], task.wait_seconds)[0]:
    return
  missing = ', '.join(absent(task)) or 'some'
  message = f'{task.name}: after {task.wait_seconds:g} s these workers are not there: {missing}; start all of them'
  os.write(2, f'error: {message}\n'.encode())
  os.kill(int(sys.argv[1]), signal.SIGKILL)
