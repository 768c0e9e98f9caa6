"""Breaks the code in one small way after another, and counts which of these mutants the tests notice.

  scripts/mutate                                         all files of the table in scripts/lib/mutation/targets.py
  scripts/mutate audionet_tf/training/steps/losses.py    one file
  scripts/mutate --sample=20 --seed=3                    20 random mutants of each file

Mutants that no test notices are printed, except those that scripts/lib/mutation/survivors.txt lists with the reason why
no test can or need notice them. Exit code 1 if there are others, or if the tests notice less than LEAST_SHARE of all.
"""

import concurrent.futures
import pathlib
import queue
import random
import tempfile
import time

from absl import flags
from tqdm import tqdm

from audionet_tf.core import cli
from mutation import mutants, runner, targets

FLAGS = flags.FLAGS
LEAST_SHARE = 0.9


def define_flags():
  flags.DEFINE_integer('workers', 2, 'Mutants that are tested at a time.', lower_bound=1)
  flags.DEFINE_integer('sample', 0, 'Number of random mutants of each file; 0: all.', lower_bound=0)
  flags.DEFINE_integer('seed', 0, 'Of the sample.')


def survivors_of(path, tests, copies, pool, chosen):
  """The Mutants of a file that its tests do not notice, in their order.

  Args:
    path: of the file, relative to the project.
    tests: paths of its test files.
    copies: queue.Queue of the copies of the project that are free.
    pool: concurrent.futures.Executor with a worker for each copy.
    chosen: list of Mutant.
  """
  source = (runner.ROOT / path).read_text()
  copy, began = copies.queue[0], time.monotonic()
  cli.require(runner.passes(copy, tests, None), f'{path}: its tests fail as it is; run {" ".join(tests)}')
  limit_seconds = 10 + 3 * (time.monotonic() - began)
  (copy / path).write_text('raise AssertionError')
  cli.require(not runner.passes(copy, tests, limit_seconds), f'{path}: its tests pass without it')
  (copy / path).write_text(source)

  def survives(mutant):
    copy = copies.get()
    (copy / path).write_text(mutant.source)
    try:
      return runner.passes(copy, tests, limit_seconds)
    finally:
      (copy / path).write_text(source)
      copies.put(copy)

  results = tqdm(pool.map(survives, chosen), path, len(chosen), unit='mutant', leave=False)
  return [mutant for mutant, survived in zip(chosen, results, strict=True) if survived]


def main(argv):
  paths = argv[1:] or list(targets.TARGETS)
  unknown = [path for path in paths if path not in targets.TARGETS]
  cli.require(not unknown, f'{unknown}: not in the table; there are {", ".join(targets.TARGETS)}')
  known, total, alive, unexplained = targets.listed_survivors(), 0, 0, 0
  with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(FLAGS.workers) as pool:
    copies = queue.Queue()
    for number in range(FLAGS.workers):
      copies.put(runner.copy_project(pathlib.Path(folder, str(number))))
    for path in paths:
      chosen = mutants.mutants((runner.ROOT / path).read_text())
      if FLAGS.sample:
        chosen = random.Random(f'{FLAGS.seed} {path}').sample(chosen, min(FLAGS.sample, len(chosen)))
      began = time.monotonic()
      survivors = survivors_of(path, targets.TARGETS[path], copies, pool, chosen)
      total, alive = total + len(chosen), alive + len(survivors)
      minutes, noticed = (time.monotonic() - began) / 60, len(chosen) - len(survivors)
      print(
        f'{path}: {noticed} of {len(chosen)} noticed ({noticed / len(chosen):.1%}) in {minutes:.1f} min', flush=True
      )
      for mutant in survivors:
        key = f'{path} | {mutant.code} | {mutant.change}'
        unexplained += key not in known
        print(f'  {key} | {known.get(key, "NOT NOTICED")}', flush=True)
  print(f'noticed: {total - alive} of {total} mutants ({1 - alive / total:.1%}), seed {FLAGS.seed}')
  print(f'not noticed and without a reason in {targets.SURVIVORS.name}: {unexplained}')
  return int(unexplained > 0 or 1 - alive / total < LEAST_SHARE)


def run():
  define_flags()
  cli.run(main)


if __name__ == '__main__':
  run()
