"""Which worker of a cluster a process is, by TF_CONFIG or Slurm's variables, and what is refused."""

import json
import socket
import subprocess
import sys

import documents
import pytest
import yaml

from audionet_tf.core.errors import UserError
from audionet_tf.training import cluster

HOSTS = ['a:1', 'b:2', 'c:3']


def tf_config(cluster=None, **task):
  return json.dumps({'cluster': cluster or {'worker': HOSTS}, 'task': {'type': 'worker', 'index': 1} | task})


@pytest.mark.parametrize(
  ('content', 'index'),
  [
    (tf_config(), 1),
    (tf_config(index=0), 0),
    (tf_config({'chief': ['a:1'], 'worker': ['b:2', 'c:3']}), 2),
    (tf_config({'worker': ['b:2', 'c:3'], 'chief': ['a:1']}, type='chief', index=0), 0),
  ],
)
def test_tf_config_names_the_workers_the_chief_first(monkeypatch, content, index):
  monkeypatch.setenv('TF_CONFIG', content)
  task = cluster.find()
  assert (list(task.addresses), task.index, task.is_chief) == (HOSTS, index, index == 0)


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ('', 'TF_CONFIG=\'\' is not JSON; expected is {"cluster"'),
    ('{"cluster": {"worker": ["a:1"', 'is not JSON'),
    ('[' * 100_000, 'is not JSON'),
    ('{}', 'TF_CONFIG=.{}.; expected is'),
    ('[1]', 'expected is {"cluster"'),
    ('{"cluster": ["a:1"], "task": {"type": "worker", "index": 0}}', 'expected is'),
    (tf_config({'worker': 'a:1'}), 'must hold lists of "host:port"'),
    (tf_config({'worker': ['a:1', 2]}), 'must hold lists of "host:port"'),
    (tf_config(index=3), 'index 3 of task worker; allowed is 0 to 2'),
    (tf_config(index=-1), 'index -1 of task worker; allowed is 0 to 2'),
    (tf_config(index='1'), "index '1' of task worker; allowed is 0 to 2"),
    (tf_config(index=True), 'index True of task worker'),
    (tf_config(type='chief', index=0), 'allowed is none, as the cluster has no such job'),
    (tf_config(type='evaluator'), "task or job 'evaluator'; allowed is chief or worker"),
    (tf_config({'worker': HOSTS, 'ps': ['d:1']}), "task or job 'ps'; allowed is chief or worker"),
    (tf_config({'worker': ['a', 'b:2']}), "worker 'a' of the cluster: expected is host:port"),
    (tf_config({'worker': ['a:0', 'b:2']}), 'the port 1 to 65535'),
    (tf_config({'worker': ['a:1', 'a:1']}), 'worker a:1 is twice in the cluster'),
  ],
)
def test_other_values_are_refused(monkeypatch, content, message):
  monkeypatch.setenv('TF_CONFIG', content)
  with pytest.raises(UserError, match=message):
    cluster.find()


def test_without_a_cluster_the_message_says_what_is_needed(monkeypatch):
  monkeypatch.delenv('TF_CONFIG', raising=False)
  monkeypatch.delenv(cluster.SLURM, raising=False)
  monkeypatch.delenv(cluster.KUBERNETES, raising=False)
  with pytest.raises(UserError, match='needs TF_CONFIG=.* a Slurm step .srun., or an Indexed Job of Kubernetes'):
    cluster.find()


SLURM = {
  'SLURM_PROCID': '1',
  'SLURM_LOCALID': '1',
  'SLURMD_NODENAME': 'n2',
  'SLURM_STEP_NUM_TASKS': '4',
  'SLURM_STEP_NODELIST': 'n[2,10]',
  'SLURM_STEP_TASKS_PER_NODE': '2(x2)',
}


def test_a_slurm_step_is_a_cluster(monkeypatch):
  """TensorFlow sorts n10 before n2, so that Slurm's rank 1, the second task on n2, is its worker 3."""
  monkeypatch.delenv('TF_CONFIG', raising=False)
  for name, value in SLURM.items():
    monkeypatch.setenv(name, value)
  task = cluster.find()
  assert task.addresses == ('n10:8888', 'n10:8889', 'n2:8888', 'n2:8889')
  assert task.index == 3
  monkeypatch.setenv('SLURM_STEP_NUM_TASKS', '5')
  with pytest.raises(UserError, match="Slurm's variables do not describe a step"):
    cluster.find()


def in_pod(monkeypatch, host, **variables):
  for name in ('TF_CONFIG', cluster.SLURM):
    monkeypatch.delenv(name, raising=False)
  for name, value in variables.items():
    monkeypatch.setenv(name, value)
  monkeypatch.setattr(socket, 'getfqdn', lambda: host)


def test_the_manifest_of_the_documents_is_a_cluster(monkeypatch):
  """With what Kubernetes gives a pod of it: its number, its hostname JOB-NUMBER, and the domain of its Service."""
  (block,) = (block for language, block in documents.blocks('docs/workers.md') if language == 'yaml')
  service, job = yaml.safe_load_all(block)
  name, spec = job['metadata']['name'], job['spec']
  pod = spec['template']['spec']
  assert (service['spec']['selector'], service['spec']['clusterIP']) == ({'job-name': name}, 'None')
  assert spec['completionMode'] == 'Indexed' and spec['completions'] == spec['parallelism'] == 4
  domain = f'{service["metadata"]["name"]}.default.svc.cluster.local'
  assert domain.startswith(f'{pod["subdomain"]}.')
  (container,) = pod['containers']
  variables = {row['name']: row['value'] for row in container['env']}
  for number in range(4):
    in_pod(monkeypatch, f'{name}-{number}.{domain}', JOB_COMPLETION_INDEX=str(number), **variables)
    task = cluster.find()
    assert task.addresses == tuple(f'train-{i}.workers.default.svc.cluster.local:8888' for i in range(4))
    assert task.index == number
  assert container['command'][:2] == ['python', '-m'] and '--distribute=multiworker' in container['command']


@pytest.mark.parametrize(
  ('host', 'index', 'workers', 'message'),
  [
    ('train-1.workers.ns', '1', '', "AUDIONET_WORKERS='': in an Indexed Job expected is its number of completions"),
    ('train-1.workers.ns', '1', '-2', "AUDIONET_WORKERS='-2': "),
    ('train-1.workers.ns', '1', '1', "JOB_COMPLETION_INDEX='1'; allowed is 0 to 0, as AUDIONET_WORKERS=1"),
    ('train-1.workers.ns', 'x', '2', "JOB_COMPLETION_INDEX='x'; allowed is 0 to 1"),
    ('train-1', '1', '2', "the name of this pod is 'train-1'; expected is JOB-1.SERVICE"),
    ('train-0.workers.ns', '1', '2', "the name of this pod is 'train-0.workers.ns'; expected is JOB-1.SERVICE"),
  ],
)
def test_pods_that_do_not_find_each_other_are_told_why(monkeypatch, host, index, workers, message):
  in_pod(monkeypatch, host, JOB_COMPLETION_INDEX=index, AUDIONET_WORKERS=workers)
  with pytest.raises(UserError, match=message):
    cluster.find()


def test_a_port_that_is_taken_and_workers_that_are_absent_are_named():
  with socket.socket() as taken, socket.socket() as free:
    for each in (taken, free):
      each.bind(('127.0.0.1', 0))
    taken.listen()
    addresses = tuple(f'127.0.0.1:{each.getsockname()[1]}' for each in (taken, free))
    with pytest.raises(UserError, match=f'worker 0 of 2 .{addresses[0]}.: its port cannot be used .*another port'):
      cluster.require_free_port(cluster.Task(addresses, 0))
    assert cluster.absent(cluster.Task((addresses[1], addresses[0], 'localhost:1'), 2)) == [addresses[1]]


@pytest.mark.parametrize('content', ['{"cluster"', tf_config(index=7)])
def test_the_command_fails_in_one_line(monkeypatch, tmp_path, content):
  monkeypatch.setenv('TF_CONFIG', content)
  line = ['audionet_tf.train', f'--records={tmp_path}', f'--run_dir={tmp_path}/run', '--distribute=multiworker']
  done = subprocess.run([sys.executable, '-m', *line], capture_output=True, text=True, check=False)
  assert done.returncode == 1 and done.stderr.count('\n') == 1
  assert done.stderr.startswith('error: TF_CONFIG')
