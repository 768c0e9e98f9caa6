"""Finds the arrays of a SoundNet in a Torch7 network."""

from audionet_tf.conversion import torch7
from audionet_tf.models.networks import soundnet

HEADS = ('objects', 'scenes')
SCENES = 401  # Places2
EPSILON = 1e-5
KINDS = {  # kind of module, in nn and cudnn alike, to its tensors
  'SpatialConvolution': ('weight', 'bias'),
  'SpatialBatchNormalization': ('weight', 'bias', 'running_mean', 'running_var'),
  'SpatialMaxPooling': (),
}


def named_arrays(network, table):
  """Arrays of a Torch7 network.

  Args:
    network: result of `torch7.read`.
    table: soundnet.SOUNDNET8 or SOUNDNET5.

  Returns:
    (dict of name to array, list of faults, str). Names are conv1/weight, conv1/norm/running_mean, conv8/scenes/bias,
    with the layers of the table. Kernels keep Torch's axes: outputs, inputs, time, 1.
  """
  modules = submodules(network)
  if modules is None:
    return {}, ['it holds no nn.Sequential with modules']
  arrays, faults = {}, []
  for name, module, kind, geometry in named_modules(modules, table):
    class_name = module.name if isinstance(module, torch7.Object) else 'nothing'
    if class_name not in (f'nn.{kind}', f'cudnn.{kind}') or not isinstance(module.fields, dict):
      faults.append(f'{name} is {class_name}, expected is nn.{kind}')
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
  """Yields (name, module, kind, dict of the values that its fields must have if present) for the rows of a table."""
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
      index += 3  # convolution, batch norm, ReLU


def submodules(module):
  """dict of index, from 1, to module of a container or a similar table; None where it has no modules."""
  fields = module.fields if isinstance(module, torch7.Object) else module
  modules = fields.get('modules') if isinstance(fields, dict) else None
  return modules if isinstance(modules, dict) else None


def head_modules(module):
  """dict of head to module, of a container or of a single module, whose number of classes tells which head it is."""
  modules = submodules(module) or {1: module}
  heads = [modules.get(index) for index in range(1, min(len(modules), len(HEADS)) + 1)]
  if len(heads) == len(HEADS):
    return dict(zip(HEADS, heads, strict=True))
  fields = getattr(heads[0], 'fields', None)
  bias = fields.get('bias') if isinstance(fields, dict) else None
  return {HEADS[isinstance(bias, torch7.Tensor) and bias.sizes == (SCENES,)]: heads[0]}
