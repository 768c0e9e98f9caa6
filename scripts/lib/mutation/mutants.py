"""The mutants of a Python file: copies that differ in one operator, constant, condition, statement or result.

Only what a file computes is mutated: docstrings, annotations, decorators, imports and the texts of errors are not.
"""

import ast
import collections
import copy
import dataclasses
import itertools

SWAPPED = {
  ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
  ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
  ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.Mult,
  ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
  ast.And: ast.Or, ast.Or: ast.And, ast.Continue: ast.Break, ast.Break: ast.Continue,
}  # fmt: skip
SIMPLE_TESTS = ast.Name | ast.Attribute | ast.Call | ast.NamedExpr  # other conditions have an operator to swap


@dataclasses.dataclass(frozen=True)
class Mutant:
  """A changed file.

  Attributes:
    code: the line, without its indentation.
    change: 'old -> new', each in one line; of several equal ones in such lines also which of them, '(1 of 2)'.
    source: the whole changed text.
  """

  code: str
  change: str
  source: str


def mutants(source):
  """The Mutants of a Python file's text, in the order of its lines."""
  nodes = sorted(
    _mutable(ast.parse(source)), key=lambda node: (getattr(node, 'lineno', 0), getattr(node, 'col_offset', 0))
  )
  found = [_mutant(source, node, new) for node in nodes for new in _variants(node)]
  equal, seen = collections.Counter((m.code, m.change) for m in found), collections.defaultdict(itertools.count)
  numbers = [(1 + next(seen[m.code, m.change]), equal[m.code, m.change]) for m in found]
  return [
    dataclasses.replace(m, change=f'{m.change} ({number} of {count})') if count > 1 else m
    for m, (number, count) in zip(found, numbers, strict=True)
  ]


def _mutable(node):
  """The nodes whose change matters, `node` and below."""
  if isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom | ast.arguments):
    return
  if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):  # a docstring
    return
  yield node
  if isinstance(node, ast.Raise):  # its text
    return
  skipped = {id(each) for each in getattr(node, 'decorator_list', [])}
  skipped |= {id(getattr(node, name, None)) for name in ('annotation', 'returns')}
  for child in ast.iter_child_nodes(node):
    if id(child) not in skipped:
      yield from _mutable(child)


def _variants(node):
  """The nodes that may stand in place of `node`."""
  swapped = SWAPPED.get(type(getattr(node, 'op', node)))
  match node:
    case ast.Compare():
      for place, operator in enumerate(node.ops):
        ops = [*node.ops[:place], SWAPPED[type(operator)](), *node.ops[place + 1 :]]
        yield ast.Compare(node.left, ops, node.comparators)
    case ast.BinOp() | ast.BoolOp() | ast.AugAssign() if swapped:
      yield _with(node, op=swapped())
    case ast.UnaryOp(op=ast.Not() | ast.USub()):
      yield node.operand
    case ast.Constant(value=bool()):
      yield ast.Constant(not node.value)
    case ast.Constant(value=int()):
      yield ast.Constant(node.value + 1)
    case ast.Constant(value=float()):
      yield ast.Constant(node.value * 2 or 1.0)
    case ast.Constant(value=str() | bytes()):
      yield ast.Constant('XX' + node.value if isinstance(node.value, str) else b'XX' + node.value)
    case ast.If() | ast.IfExp() | ast.While() if isinstance(node.test, SIMPLE_TESTS):
      yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
    case ast.Return(value=ast.expr()) if ast.unparse(node) != 'return None':
      yield ast.Return(ast.Constant(None))
    case ast.Raise() | ast.Expr(value=ast.Call()):
      yield ast.Pass()
    case ast.Continue() | ast.Break():
      yield swapped()


def _with(node, **fields):
  changed = copy.copy(node)
  for name, value in fields.items():
    setattr(changed, name, value)
  return changed


def _mutant(source, node, new):
  """The Mutant in which `new` stands in place of `node`."""
  if isinstance(node, ast.If | ast.While):  # the condition alone: its body stays as it is written
    node, new = node.test, new.test
  lines = source.encode().splitlines(keepends=True)  # columns count bytes
  begin = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
  end = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset
  whole = source.encode()
  text = ast.unparse(ast.fix_missing_locations(new))
  text = f'({text})' if isinstance(new, ast.expr) else text
  change = f'{" ".join(whole[begin:end].decode().split())} -> {text}'
  code = source.splitlines()[node.lineno - 1].strip()
  return Mutant(code, change, (whole[:begin] + text.encode() + whole[end:]).decode())
