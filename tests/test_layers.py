"""Imports point down only, and heavy packages have one home each. The table is ARCHITECTURE.md's picture."""

import ast
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# From the top down. A module imports modules of lower rows; of its own row only where its group is the same.
LAYERS = (
  ('commands', ['build train export infer caption evaluate features probe plot convert download serve']),
  (
    'runs',
    [
      'training embedding_training',
      'builder',
      'evaluation clip_accuracy clip_vision evaluation_tables label_evaluation',
      'units unit_search first_layer',
      'feature_extraction probing',
      'service service_predict service_batching service_uploads service_jobs service_sound service_decoder '
      'service_guard service_metrics service_listening service_settings',
    ],
  ),
  (
    'mechanism',
    [
      'distiller reconstructor labeller callbacks summaries projector strategy run_settings starting_weights',
      'soft_labels',
      'serving export_checks default_signature layer_signature step_signature layer_models tflite',
      'inference inference_steps captions',
      'feature_maps',
      'conversion torch_weights soundnet_weights soundnet_t7 soundnet_numpy mel_weights mel_numpy',
      'assemble pool worker',
    ],
  ),
  (
    'parts',
    [
      'input_pipeline augmentation balanced embedding_input',
      'students',
      'teachers teacher_files teacher_tflite keras_applications given_answers given_labels',
      'metrics',
      'score_metrics',
      'score_store',
      'results inference_files plots plots_sets plots_sound plots_scores spectrograms units_page',
      'feature_files',
      'clip_sounds clip_decoding',
      'clip_tables',
      'caption_files caption_tables caption_pictures burning',
      'linear_probe layouts',
      'excitation',
      'sound_statistics',
      'audioset web_videos',
      'sources',
    ],
  ),
  (
    'pieces',
    [
      'streaming',
      'events',
      'array_files',
      'records embedding_files',
      'label_tables',
      'media mixing audio local_files',
      'saved_models',
      'pickled_arrays',
      't7',
      'losses',
      'pooled_convolution strided_convolution soundnet autoencoder attention log_mel mel_network '
      'mel_patches mel_convolution vggish yamnet hershey inception_v3',
    ],
  ),
  ('values', ['params labels errors command text files machine programs geometry']),
)
PLACE = {module: (level, group) for level, (_, row) in enumerate(LAYERS) for group in row for module in group.split()}
ONE_HOME = {  # package: modules that may import it
  'av': {'media', 'burning'},
  'matplotlib': {'plots', 'plots_sets', 'plots_sound', 'plots_scores'},
  'torch': {'torch_weights'},
  'yt_dlp': {'audioset', 'web_videos'},
  'tensorflow_io': {'clip_decoding'},
}


def modules():
  return [p for folder in ('audionet_tf', 'tfrecords') for p in (ROOT / folder).glob('*.py') if p.stem != '__init__']


def imported(tree):
  """Dotted names that a module imports, wherever it does."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      if node.module in ('audionet_tf', 'tfrecords'):
        yield from (f'{node.module}.{alias.name}' for alias in node.names)
      else:
        yield node.module


def test_every_module_has_its_place():
  assert {p.stem for p in modules()} == set(PLACE)


def test_imports_point_down():
  wrong = []
  for path in modules():
    level, group = PLACE[path.stem]
    for name in imported(ast.parse(path.read_text())):
      package, _, module = name.partition('.')
      if package not in ('audionet_tf', 'tfrecords'):
        continue
      if package == 'tfrecords' and path.parent.name == 'audionet_tf':
        wrong.append(f'{path.stem} imports the builder ({name})')
      other_level, other_group = PLACE[module.split('.')[0]]
      if other_level < level or (other_level == level and other_group != group and LAYERS[level][0] != 'values'):
        wrong.append(f'{path.stem} imports {module}')
  assert not wrong


def test_heavy_packages_have_one_home():
  wrong = [
    f'{path.stem} imports {name}'
    for path in modules()
    for name in imported(ast.parse(path.read_text()))
    if path.stem not in ONE_HOME.get(name.partition('.')[0], {path.stem})
  ]
  assert not wrong


def test_flags_are_defined_in_commands_only():
  commands = set(LAYERS[0][1][0].split())
  users = {p.stem for p in modules() if 'flags.DEFINE' in p.read_text()}
  assert users <= commands


def test_importing_commands_loads_no_tensorflow():
  for name in (
    'audionet_tf',
    *(f'audionet_tf.{c}' for c in LAYERS[0][1][0].split() if c != 'build'),
    'tfrecords.builder',
  ):
    code = f'import sys, {name}; sys.exit("tensorflow" in sys.modules or "keras" in sys.modules)'
    subprocess.run([sys.executable, '-c', code], check=True)


def test_files_and_functions_stay_small():
  long = []
  for path in modules():
    text = path.read_text()
    if text.count('\n') > 300:
      long.append(f'{path.stem}: {text.count(chr(10))} lines')
    for node in ast.walk(ast.parse(text)):
      if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno > 60:
        long.append(f'{path.stem}.{node.name}: {node.end_lineno - node.lineno} lines')
  assert not long
