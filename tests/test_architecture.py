"""Packages import only those before them, heavy packages have one home each, and nothing imports in a circle."""

import ast
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]

# A package imports itself and those before it; the commands, `audionet_tf/*.py`, come last and are not imported.
ORDER = [
  *(
    'core',
    'media',
    'data',
    'layers',
    'models',
    'saved_model',
    'teachers',
    'plotting',
    'inference',
    'units',
    'training',
  ),
  *('representations', 'evaluation', 'sound_folders', 'captioning', 'retrieval', 'conversion', 'service'),
]
ONE_HOME = {  # package: modules, or packages of ours, that may import it
  'ai_edge_litert': ['core/tflite_interpreter'],
  'apache_beam': ['core/beam_runner', 'tfrecords/beam_pipelines', 'teachers/beam_labelling'],
  'av': ['media', 'captioning/burn_in'],
  'fastapi': ['service'],
  'fsspec': ['core/stores/object_store'],
  'huggingface_hub': ['core/stores/hub'],
  'matplotlib': ['plotting'],
  'sklearn.manifold': ['plotting'],
  'keras_hub': ['teachers/picture_text'],
  'onnx': ['saved_model/onnx_file'],
  'pyarrow': ['data/video_table'],
  'onnxruntime': ['saved_model/onnx_file'],
  's3fs': [],  # fsspec imports it, and gcsfs
  'gcsfs': [],
  'psds_eval': ['captioning/psds'],
  'pandas': ['captioning/psds', 'python_api/predictor'],
  'sed_eval': ['captioning/event_scores'],
  'sounddevice': ['media/microphone'],
  'starlette': ['service'],
  'tensorflow_io': ['media/wav_tfio'],
  'tf2onnx': ['saved_model/onnx_file'],
  'torch': ['conversion'],
  'uvicorn': ['service'],
  'yt_dlp': ['data/youtube'],
}
NO_TENSORFLOW = [
  'audionet_tf',
  'audionet_tf.api',
  'audionet_tf.captioning.captioner',
  'audionet_tf.inference.lite_student',
  'tfrecords.beam',
  'tfrecords.build',
  'tfrecords.builder',
  'tfrecords.verify',
  'tfrecords.verification',
]


def modules():
  """dict of dotted name to path, of every module of ours."""
  paths = [*(ROOT / 'audionet_tf').rglob('*.py'), *(ROOT / 'tfrecords').glob('*.py')]
  return {'.'.join(p.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__'): p for p in paths}


MODULES = modules()
API = 'audionet_tf.api'  # for notebooks: commands use it
API_PACKAGE = 'audionet_tf.python_api'  # what it is made of, which uses the builder
COMMANDS = [
  name for name, path in MODULES.items() if path.parent.name == 'audionet_tf' and path.stem[0] != '_' and name != API
]


def imported(path):
  """Dotted names that a module imports, wherever it does, lazily too."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      names = [f'{node.module}.{alias.name}' for alias in node.names]
      yield from names if all(name in MODULES for name in names) else [node.module, *names]


def place(name):
  """Position of a module's package in ORDER; commands, the API and the builder, which use the library, come last."""
  parts = name.split('.')
  return ORDER.index(parts[1]) if parts[0] == 'audionet_tf' and parts[1:] and parts[1] in ORDER else len(ORDER)


def test_every_package_has_its_place():
  folders = {path.parent.name for path in (ROOT / 'audionet_tf').glob('*/__init__.py')}
  assert folders == {*ORDER, API_PACKAGE.rpartition('.')[2]}


def test_imports_follow_the_order():
  wrong = [
    f'{name} imports {other}'
    for name, path in MODULES.items()
    for other in imported(path)
    if other in MODULES and place(other) > place(name)
  ]
  assert not wrong


def test_no_module_imports_itself_through_others():
  edges = {name: {other for other in imported(path) if other in MODULES} - {name} for name, path in MODULES.items()}
  while leaves := [name for name, others in edges.items() if not others]:
    edges = {name: others - set(leaves) for name, others in edges.items() if others}
  assert not edges


def test_the_library_imports_no_builder_and_nobody_imports_commands():
  wrong = [
    f'{name} imports {other}'
    for name, path in MODULES.items()
    for other in imported(path)
    if (other in COMMANDS and name not in COMMANDS)
    or (other.startswith('tfrecords') and name.startswith('audionet_tf') and not name.startswith(API_PACKAGE))
    or (other == API and name not in ('audionet_tf', 'tfrecords.build', *COMMANDS))
    or (other.startswith(API_PACKAGE) and name != API and not name.startswith(API_PACKAGE))
  ]
  assert not wrong


def dotted(home):
  """Dotted name of a module or package of ONE_HOME."""
  return home.replace('/', '.') if home.startswith('tfrecords/') else f'audionet_tf.{home.replace("/", ".")}'


def test_heavy_packages_have_one_home():
  wrong = [
    f'{name} imports {other}'
    for name, path in MODULES.items()
    for other in imported(path)
    for package, homes in ONE_HOME.items()
    if f'{other}.'.startswith(f'{package}.') and not any(f'{name}.'.startswith(f'{dotted(home)}.') for home in homes)
  ]
  assert not wrong


def test_flags_are_defined_in_commands_only():
  users = {name for name, path in MODULES.items() if 'flags.DEFINE' in path.read_text()}
  assert users <= {*COMMANDS, 'tfrecords.build', 'tfrecords.verify'}


def test_packages_import_nothing_by_themselves():
  for path in (ROOT / 'audionet_tf').glob('*/**/__init__.py'):
    assert [type(node) for node in ast.parse(path.read_text()).body] == [ast.Expr], path


def test_importing_commands_loads_no_tensorflow():
  for name in (*NO_TENSORFLOW, *COMMANDS):
    code = f'import sys, {name}; sys.exit("tensorflow" in sys.modules or "keras" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0, name


def test_a_build_loads_the_decoder_in_its_processes_only():
  """Each import here counts for as much as building a short video."""
  code = 'import sys, tfrecords.build, tfrecords.builder; sys.exit(bool({"av", "PIL", "joblib"} & sys.modules.keys()))'
  assert subprocess.run([sys.executable, '-c', code]).returncode == 0


def test_tests_time_nothing():
  """A clock may end a wait. A difference of two readings depends on what else the machine does."""
  clocks = {'perf_counter', 'process_time', 'thread_time', 'default_timer', 'timeit'}
  wrong = []
  for path in (ROOT / 'tests').rglob('*.py'):
    nodes = list(ast.walk(ast.parse(path.read_text())))
    wrong += [f'{path}:{node.lineno}' for node in nodes if isinstance(node, ast.Attribute) and node.attr in clocks]
    differences = [node for node in nodes if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)]
    wrong += [f'{path}:{node.lineno}' for node in differences if 'time.monotonic()' in ast.unparse(node)]
    wrong += [f'{path}:{node.lineno}' for node in differences if 'time.time()' in ast.unparse(node)]
  assert not wrong
