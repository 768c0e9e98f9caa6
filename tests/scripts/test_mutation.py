"""The mutants of a file, and the list of those that no test need notice."""

import ast
import pathlib

from mutation import mutants, targets

ROOT = pathlib.Path(__file__).resolve().parents[2]

SOURCE = '''"""Text."""
import math

LIMIT = 3


@cached(2)
def share(part: 'int', whole=1) -> 'float':
  """Of a whole."""
  if not whole:
    raise ValueError(f'{whole} is nothing')
  while part < LIMIT and ready():
    part += 2
    continue
  print('é', 0.5, True)  # é
  return -part / whole
'''
FAILURE = "raise ValueError(f'{whole} is nothing')"
PRINTED = "print('é', 0.5, True)  # é"
EXPECTED = [
  ('LIMIT = 3', '3', '(4)'),
  ('if not whole:', 'not whole', '(whole)'),
  (FAILURE, FAILURE, 'pass'),
  ('while part < LIMIT and ready():', 'part < LIMIT and ready()', '(part < LIMIT or ready())'),
  ('while part < LIMIT and ready():', 'part < LIMIT', '(part <= LIMIT)'),
  ('part += 2', 'part += 2', 'part -= 2'),
  ('part += 2', '2', '(3)'),
  ('continue', 'continue', 'break'),
  (PRINTED, "print('é', 0.5, True)", 'pass'),
  (PRINTED, "'é'", "('XXé')"),
  (PRINTED, '0.5', '(1.0)'),
  (PRINTED, 'True', '(False)'),
  ('return -part / whole', 'return -part / whole', 'return None'),
  ('return -part / whole', '-part / whole', '(-part * whole)'),
  ('return -part / whole', '-part', '(part)'),
]


def test_a_mutant_differs_in_one_place_of_what_a_file_computes():
  found = mutants.mutants(SOURCE)
  assert [(m.code, m.change) for m in found] == [(code, f'{old} -> {new}') for code, old, new in EXPECTED]
  for mutant, (code, old, new) in zip(found, EXPECTED, strict=True):
    assert mutant.source == SOURCE.replace(code, code.replace(old, new))  # each line, and what is old in it, comes once
    assert ast.dump(ast.parse(mutant.source)) != ast.dump(ast.parse(SOURCE))


def test_equal_changes_of_equal_lines_are_numbered():
  found = mutants.mutants('a = 1 + 1\na = 1 + 1\n')
  ones = [mutant for mutant in found if mutant.change.startswith('1 -> ')]
  assert [mutant.change for mutant in ones] == [f'1 -> (2) ({number} of 4)' for number in (1, 2, 3, 4)]
  assert [mutant.source.index('(2)') for mutant in ones] == [4, 8, 14, 18]


def test_every_listed_survivor_is_a_mutant_of_a_file_in_the_table():
  for path, tests in targets.TARGETS.items():
    assert all((ROOT / name).is_file() for name in (path, *tests)), path
  listed = targets.listed_survivors()
  paths = {key.partition(' | ')[0] for key in listed}
  assert paths <= set(targets.TARGETS)
  there = {
    f'{path} | {mutant.code} | {mutant.change}'
    for path in paths
    for mutant in mutants.mutants((ROOT / path).read_text())
  }
  assert [key for key in listed if key not in there] == []  # renew the line: scripts/mutate prints it
