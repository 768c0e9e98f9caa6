"""What is where in a Torch7 network that is a SoundNet."""

from audionet_tf.conversion import torch7
from audionet_tf.models import soundnet

HEADS = ('objects', 'scenes')
SCENES = 401  # Places2
EPSILON = 1e-5
KINDS = {  # of modules, those of nn and of cudnn alike: their tensors
  'SpatialConvolution': ('weight', 'bias'),
  'SpatialBatchNormalization': ('weight', 'bias', 'running_mean', 'running_var'),
  'SpatialMaxPooling': (),
}


def named_arrays(network, table):
  """(dict of name to array, faults in words) of a network that `torch7.read` gave.

  Names are conv1/weight, conv1/norm/running_mean, conv8/scenes/bias, with the layers of `table`, soundnet.SOUNDNET8 or
  SOUNDNET5. Kernels keep Torch's axes: outputs, inputs, time, 1.
  """
  modules = submodules(network)
  if modules is None:
    return {}, ['it holds no nn.Sequential with modules']
  arrays, faults = {}, []
  for name, module, kind, geometry in named_modules(modules, table):
    found = module.name if isinstance(module, torch7.Object) else 'nothing'
    if found not in (f'nn.{kind}', f'cudnn.{kind}') or not isinstance(module.fields, dict):
      faults.append(f'{name} is {found}, expected is nn.{kind}')
      continue
    for field, value in geometry.items():
      if module.fields.get(field, value) != value:
        faults.append(f'{name}/{field} is {module.fields[field]}, expected is {value}')
    for field in KINDS[kind]:
      try:
        if isinstance(tensor := module.fields.get(field), torch7.Tensor):
          arrays[f'{name}/{field}'] = tensor.array()
      except ValueError as error:
        faults.append(f'{name}/{field}: {error}')
  return arrays, faults


def named_modules(modules, table):
  """Yields (name, module, kind, fields that it must have if it has them) along the table."""
  index = 1
  for layer, filters, kernel, stride, padding in table:
    geometry = {'kH': kernel, 'dH': stride, 'padH': padding, 'kW': 1, 'dW': 1, 'padW': 0}
    if filters is None:
      yield layer, modules.get(index), 'SpatialMaxPooling', geometry | {'ceil_mode': False}
      index += 1
    elif filters == soundnet.HEADS:
      for head, module in head_modules(modules.get(index)).items():
        yield f'{layer}/{head}', module, 'SpatialConvolution', geometry
    else:
      yield layer, modules.get(index), 'SpatialConvolution', geometry
      yield f'{layer}/norm', modules.get(index + 1), 'SpatialBatchNormalization', {'eps': EPSILON}
      index += 3  # ReLU is the third


def submodules(module):
  """Dict of index, from 1, to module of a container, or of a table in its form; None where it has none."""
  fields = module.fields if isinstance(module, torch7.Object) else module
  modules = fields.get('modules') if isinstance(fields, dict) else None
  return modules if isinstance(modules, dict) else None


def head_modules(module):
  """Dict of head to module: those of a container; one alone is told by its number of classes."""
  modules = submodules(module) or {1: module}
  found = [modules.get(index) for index in range(1, min(len(modules), len(HEADS)) + 1)]
  if len(found) == len(HEADS):
    return dict(zip(HEADS, found, strict=True))
  fields = getattr(found[0], 'fields', None)
  bias = fields.get('bias') if isinstance(fields, dict) else None
  return {HEADS[isinstance(bias, torch7.Tensor) and bias.sizes == (SCENES,)]: found[0]}
