"""Runs a SavedModel through TensorFlow's C API, the loader that TensorFlow Serving uses. No Python TensorFlow.

    python saved_model_capi.py FOLDER WAVEFORM.npy OUTPUT.npz INPUT_TENSOR NAME=OUTPUT_TENSOR...

Tensor names are those of the signature, such as serving_default_waveform:0.
"""

import ctypes
import importlib.util
import pathlib
import subprocess
import sys

import numpy as np

FLOAT = 1  # TF_FLOAT


class Output(ctypes.Structure):
  _fields_ = [('operation', ctypes.c_void_p), ('index', ctypes.c_int)]


def library():
  """The C API of the wheel, with the types of what `run` calls."""
  folder = pathlib.Path(importlib.util.find_spec('tensorflow').submodule_search_locations[0])
  lib = ctypes.CDLL(str(folder / 'libtensorflow_cc.so.2'))
  makers = 'NewStatus NewGraph NewSessionOptions LoadSessionFromSavedModel AllocateTensor'
  for name in (*makers.split(), 'GraphOperationByName', 'TensorData'):
    getattr(lib, f'TF_{name}').restype = ctypes.c_void_p
  lib.TF_Message.restype = ctypes.c_char_p
  lib.TF_Dim.restype = ctypes.c_int64
  lib.TF_TensorByteSize.restype = ctypes.c_size_t
  lib.TF_AllocateTensor.argtypes = [ctypes.c_int, ctypes.POINTER(ctypes.c_int64), ctypes.c_int, ctypes.c_size_t]
  for name in ('Dim', 'NumDims', 'TensorData', 'TensorByteSize', 'GetCode', 'Message', 'TensorType'):
    getattr(lib, f'TF_{name}').argtypes = [ctypes.c_void_p] + [ctypes.c_int] * (name == 'Dim')
  lib.TF_GraphOperationByName.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
  lib.TF_LoadSessionFromSavedModel.argtypes = [
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.POINTER(ctypes.c_char_p),
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
  ]
  outputs, tensors = ctypes.POINTER(Output), ctypes.POINTER(ctypes.c_void_p)
  lib.TF_SessionRun.argtypes = [
    *[ctypes.c_void_p, ctypes.c_void_p],
    *[outputs, tensors, ctypes.c_int],
    *[outputs, tensors, ctypes.c_int],
    *[ctypes.c_void_p, ctypes.c_int],
    *[ctypes.c_void_p, ctypes.c_void_p],
  ]
  return lib


def run(folder, waveform, input_name, output_names):
  """The float outputs called `output_names` (tensor names) for `waveform` f32, as a list of arrays."""
  lib = library()
  status, graph = lib.TF_NewStatus(), lib.TF_NewGraph()

  def checked():
    if lib.TF_GetCode(status):
      raise RuntimeError(lib.TF_Message(status).decode())

  tags = (ctypes.c_char_p * 1)(b'serve')
  options = lib.TF_NewSessionOptions()
  session = lib.TF_LoadSessionFromSavedModel(options, None, str(folder).encode(), tags, 1, graph, None, status)
  checked()

  def endpoint(name):
    operation, index = name.split(':')
    found = lib.TF_GraphOperationByName(graph, operation.encode())
    if not found:
      raise KeyError(name)
    return Output(found, int(index))

  waveform = np.ascontiguousarray(waveform, np.float32)
  dims = (ctypes.c_int64 * waveform.ndim)(*waveform.shape)
  tensor = lib.TF_AllocateTensor(FLOAT, dims, waveform.ndim, waveform.nbytes)
  ctypes.memmove(lib.TF_TensorData(tensor), waveform.ctypes.data, waveform.nbytes)
  count = len(output_names)
  results = (ctypes.c_void_p * count)()
  lib.TF_SessionRun(
    *(session, None),
    *((Output * 1)(endpoint(input_name)), (ctypes.c_void_p * 1)(tensor), 1),
    *((Output * count)(*map(endpoint, output_names)), results, count),
    *(None, 0, None, status),
  )
  checked()
  return [array(lib, result) for result in results]


def array(lib, tensor):
  """A copy of a float tensor of the C API as a NumPy array."""
  if lib.TF_TensorType(tensor) != FLOAT:
    raise TypeError('not a float tensor')
  shape = [lib.TF_Dim(tensor, i) for i in range(lib.TF_NumDims(tensor))]
  data = ctypes.string_at(lib.TF_TensorData(tensor), lib.TF_TensorByteSize(tensor))
  return np.frombuffer(data, np.float32).reshape(shape)


def signature_tensors(version, signature):
  """(name of the input tensor, dict of output to name of its tensor) of a signature, read from the file."""
  from tensorflow.core.protobuf import saved_model_pb2

  saved = saved_model_pb2.SavedModel.FromString((version / 'saved_model.pb').read_bytes())
  definition = saved.meta_graphs[0].signature_def[signature]
  return definition.inputs['waveform'].name, {name: tensor.name for name, tensor in definition.outputs.items()}


def answers(version, signature, waveform, names, folder):
  """The float outputs called `names` of a signature, dict of arrays, by a process that has no Python TensorFlow.

  `folder`: pathlib.Path, where the arrays are handed over.
  """
  np.save(folder / 'in.npy', waveform)
  source, outputs = signature_tensors(version, signature)
  files = [version, folder / 'in.npy', folder / 'out.npz']
  words = [sys.executable, __file__, *files, source, *(f'{name}={outputs[name]}' for name in names)]
  subprocess.run(words, check=True, timeout=100)
  return dict(np.load(folder / 'out.npz'))


if __name__ == '__main__':
  model, waveform_path, output_path, source, *named = sys.argv[1:]
  keys, tensors = zip(*(pair.split('=') for pair in named), strict=True)
  np.savez(output_path, **dict(zip(keys, run(model, np.load(waveform_path), source, tensors), strict=True)))
  assert 'tensorflow' not in sys.modules
