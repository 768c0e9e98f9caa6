"""Mutated files of every kind: each is opened, or refused in one line. See `fuzzing`."""

import collections

import fuzz_kinds
import fuzzing
import pytest


@pytest.mark.long
@pytest.mark.parametrize('name', fuzz_kinds.KINDS)
def test_mutated_files(name, tmp_path, seed, share):
  kind = fuzz_kinds.KINDS[name]
  found, accepted = fuzzing.findings(name, kind, tmp_path / 'x', share(kind.count), seed)
  kinds = collections.Counter(each.strip().splitlines()[-1][:100] for each in found)  # the last lines of tracebacks
  examples = {each.strip().splitlines()[-1][:100]: each for each in reversed(found)}
  assert not found, '\n\n'.join([f'{len(found)} findings: {dict(kinds)}', *examples.values()])
  assert accepted <= share(kind.count)


def test_there_are_ten_thousand():
  """Requests (test_http) and clips beside good ones come on top."""
  assert sum(kind.count for kind in (fuzz_kinds.KINDS | fuzz_kinds.kinds_of_models.TORCH_KINDS).values()) == 10_000
