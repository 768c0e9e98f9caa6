"""scripts/launch: several workers of a command, with stand-ins for the training."""

import json
import pathlib
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAUNCH = [sys.executable, '-c', 'import sys, launch; launch.GRACE_SECONDS = 1; sys.exit(launch.main(sys.argv[1:]))']
WORKER = """
import json, os, signal, sys, time
config = json.loads(os.environ['TF_CONFIG'])
index = config['task']['index']
"""


def start(count, code):
  return subprocess.Popen(
    [*LAUNCH, str(count), 'python', '-u', '-c', WORKER + code],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def test_each_worker_gets_its_place_in_one_cluster_and_a_number_before_its_lines():
  code = "print(json.dumps(config)); print('a bar\\ra bar again', file=sys.stderr)"
  done = subprocess.run(
    [ROOT / 'scripts/launch', '3', 'python', '-c', WORKER + code], capture_output=True, text=True, check=True
  )
  lines = sorted(done.stdout.splitlines())
  configs = [json.loads(line.partition(' ')[2]) for line in lines if '{' in line]
  assert [config['task'] for config in configs] == [{'type': 'worker', 'index': index} for index in range(3)]
  (cluster,) = {json.dumps(config['cluster']) for config in configs}
  addresses = json.loads(cluster)['worker']
  assert len(set(addresses)) == 3 and all(address.startswith('127.0.0.1:') for address in addresses)
  for index in range(3):
    assert [line for line in lines if line.startswith(f'[{index}] a bar')] == [
      f'[{index}] a bar', f'[{index}] a bar again'
    ]  # fmt: skip


def test_one_that_fails_ends_all_with_its_exit_code():
  code = 'sys.exit(7) if index == 1 else (signal.signal(signal.SIGTERM, signal.SIG_IGN), time.sleep(1000))'
  launched = start(3, code)
  launched.communicate(timeout=100)
  assert launched.returncode == 7


def test_ctrl_c_reaches_all():
  code = """
try:
  print('ready')
  time.sleep(1000)
except KeyboardInterrupt:
  print('checkpoint written')
  sys.exit(130)
"""
  launched = start(2, code)
  lines = [launched.stdout.readline() for _ in range(2)]
  assert sorted(lines) == ['[0] ready\n', '[1] ready\n']
  launched.send_signal(signal.SIGINT)
  output, _ = launched.communicate(timeout=100)
  assert sorted(output.splitlines()) == ['[0] checkpoint written', '[1] checkpoint written']
  assert launched.returncode == 130


def test_mistakes_are_one_line():
  for arguments in ([], ['2'], ['0', 'true'], ['x', 'true'], ['2', 'no-such-command']):
    done = subprocess.run([*LAUNCH, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith('error: ') and done.stderr.count('\n') == 1
