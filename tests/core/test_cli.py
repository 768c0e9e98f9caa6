"""The frame of commands: --help, --version, the list of commands, missing arguments, none of which load TensorFlow."""

import pathlib
import re
import subprocess
import sys

import pytest

from audionet_tf import __main__
from audionet_tf.core import cli
from audionet_tf.core.errors import UserError
from audionet_tf.models import student_names

COMMANDS = __main__.COMMANDS
NO_TENSORFLOW = """
import runpy, sys

class Refuse:
  def find_spec(self, name, *_):
    if name in ('tensorflow', 'keras', 'h5py', 'sklearn'):
      sys.exit(f'{name} was imported')

sys.meta_path.insert(0, Refuse())
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
"""


def run(module, *arguments, **options):
  """Runs `python -m module arguments`; the process exits if it imports TensorFlow."""
  line = [sys.executable, '-c', NO_TENSORFLOW, module, *map(str, arguments)]
  return subprocess.run(line, capture_output=True, text=True, timeout=100, **options)


def own_flags(module):
  """Names of the flags that a command's source defines, or takes from another module."""
  source = pathlib.Path(__main__.importlib.util.find_spec(module).origin).read_text('utf-8')
  others = re.findall(r'adopt_module_key_flags\((\w+)\)', source)
  adopted = [flag for name in others for flag in own_flags(COMMANDS.get(name, f'audionet_tf.{name}'))]
  return re.findall(r"flags\.DEFINE_\w+\(\s*'(\w+)'", source) + adopted


@pytest.mark.parametrize('name', COMMANDS)
def test_help_is_complete_and_well_formed(name):
  module = COMMANDS[name]
  done = run(module, '--help')
  assert done.returncode == 0 and not done.stderr
  assert done.stdout.startswith(__main__.summary(module))
  assert f'python -m {module}' in done.stdout
  shown = re.findall(r'^  --(?:\[no\])?(\w+): ', done.stdout, re.MULTILINE)
  assert sorted(shown) == sorted(own_flags(module))
  assert 'alsologtostderr' not in done.stdout and '--helpfull' in done.stdout
  words = done.stdout.splitlines()
  assert not [line for line in words if line.rstrip().endswith('\\') and '--' not in line and 'python' not in line]


# train has its own test.
@pytest.mark.parametrize('name', [name for name in COMMANDS if name != 'train'])
def test_help_texts_are_sentences_under_headings(name):
  lines = run(COMMANDS[name], '--help').stdout.replace('\n      ', ' ').splitlines()  # unwrapped
  flags = [line for line in lines if re.match(r'  --(\[no\])?\w+: ', line)]
  for line in flags:
    text = re.sub(r' \([^()]*\)$', '', line.split(': ', 1)[1])
    assert re.match(r"[A-Z0-9'{]|kl|signals|timeline|filters|tsne|confusion|units", text) and text.endswith('.'), line
  first = lines.index(flags[0])
  assert re.fullmatch(r'[A-Z][\w ]*:', lines[first - 1]) and lines[first - 2] == ''


def test_help_marks_required_flags_and_keeps_line_continuations():
  shown = ' '.join(run('audionet_tf.evaluate', '--help').stdout.split())
  assert '--model: A run, an export, a student.keras, or starter; {fold} stands for each fold. (required)' in shown
  assert 'fold. (required, or --records or --labels or --events)' in shown
  assert '--batch_size: Windows per step. (default: 512)' in shown
  assert '(float32|bfloat16; default: float32)' in shown
  shown = run('audionet_tf.evaluate', '--help').stdout
  assert ' --vocabulary=class_labels_indices.csv \\\n    --media_root=clips --figure=curves.png\n' in shown


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('build', 'build needs --videos'),
    ('beam', 'beam needs --videos'),
    ('label', 'label needs --records'),
    ('evaluate', 'evaluate needs --model, and --records or --clips or --labels or --events'),
    ('infer', 'infer needs FILE after the flags'),
    ('caption', 'caption needs FILE after the flags'),
    ('features', 'features needs --model, --output, and FILE after the flags or --clips'),
    ('probe', 'probe needs --clips, and --output'),
    ('plot', 'plot needs FIGURE (kl, signals, timeline, filters, tsne, confusion, units)'),
    ('convert', 'convert needs --from, and --output'),
    ('export', 'export needs --output or --web'),
    ('download', 'download needs --output'),
  ],
)
def test_missing_flags_are_listed_in_one_message(name, message):
  done = run(COMMANDS[name])
  assert done.returncode == 1 and done.stderr == f'error: {message} (--help explains)\n' and not done.stdout


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['infer', '--model=none', __file__], 'none: no SavedModel here'),
    (['caption', '--model=none', __file__], 'none: no SavedModel here'),
    (['serve', '--model=none'], 'none: no SavedModel here'),
    (['serve', '--model=none', '--port=70000'], 'flag --port=70000: 70000 is not an integer in the range [0, 65535]'),
    (['features', '--model=none.keras', '--output=o', __file__], 'none.keras: no such student'),
    (['evaluate', '--model=none', '--records=r'], 'r: no such folder; tfrecords.build makes it'),
    (['evaluate', '--model=none', f'--clips={__file__}'], 'none: no SavedModel here'),
    (['plot', 'filters', '--model=none', '--output=x.png'], 'none: no SavedModel here'),
    (['export', '--model=none', '--output=o'], 'none/student.keras: no such student'),
    (['convert', '--from=none.h5', '--student=yamnet', '--output=x.keras'], 'none.h5: no such file'),
    (['convert', '--from=a.npy', '--student=nonet', '--output=x.keras'], 'should be one of <audionet|soundnet5|'),
  ],
)
def test_mistakes_are_found_without_tensorflow(tmp_path, arguments, message):
  name, *more = arguments
  done = run(COMMANDS[name], *more, cwd=tmp_path)
  assert done.returncode == 1 and done.stderr.startswith('error: ') and done.stderr.count('\n') == 1
  assert message in done.stderr and not list(tmp_path.iterdir())


def float_flags(module):
  """Names of the float flags that a command's source defines."""
  source = __main__.importlib.util.find_spec(module).origin
  return re.findall(r"flags\.DEFINE_float\(\s*'(\w+)'", open(source, encoding='utf-8').read())


@pytest.mark.parametrize('name', [name for name in COMMANDS if float_flags(COMMANDS[name])])
def test_every_float_flag_must_be_finite(name):
  for number, flag in enumerate(float_flags(COMMANDS[name])):
    done = run(COMMANDS[name], f'--{flag}={("inf", "nan", "-inf", "1e999")[number % 4]}')
    assert done.returncode == 1 and done.stderr.startswith(f'error: flag --{flag}='), done.stderr
    assert done.stderr.count('\n') == 1


@pytest.mark.parametrize(
  ('name', 'flag'),
  [
    ('evaluate', 'batch_size'),
    ('train', 'checkpoint_every'),
    ('probe', 'hop_steps'),
    *(('build', flag) for flag in ('shards', 'workers', 'memory_mb')),
  ],
)
def test_counts_beyond_all_use_are_refused(name, flag):
  done = run(COMMANDS[name], f'--{flag}={10**24}')
  assert done.returncode == 1 and 'is not an integer in the range' in done.stderr and done.stderr.count('\n') == 1


def test_audio_is_the_old_name_of_media_root(tmp_path):
  (tmp_path / 'c.csv').write_text('filename,fold,target\na.wav,1,0\n')
  arguments = ['--clips=c.csv', '--output=o', '--layer=mfcc', '--folds=2']
  for flag in ('--audio=sounds', '--media_root=sounds'):
    assert 'no clips of fold 2; there are 1' in run('audionet_tf.probe', *arguments, flag, cwd=tmp_path).stderr


def test_list_of_commands():
  for arguments in ([], ['--help']):
    done = run('audionet_tf', *arguments)
    assert done.returncode == 0 and not done.stderr
    lines = re.findall(r'^  (\w+) +([A-Z].*\.)$', done.stdout, re.MULTILINE)
    assert [name for name, _ in lines] == list(COMMANDS)
  done = run('audionet_tf', 'nonsense')
  assert done.returncode == 1 and "'nonsense' is not a command; there are download, build, beam, verify" in done.stderr


def test_command_by_name():
  done = run('audionet_tf', 'infer', '--model=m')
  assert done.returncode == 1 and done.stderr == 'error: infer needs FILE after the flags (--help explains)\n'
  assert run('audionet_tf', 'export', '--help').stdout == run('audionet_tf.export', '--help').stdout


@pytest.mark.parametrize('module', ['audionet_tf', 'audionet_tf.infer', 'tfrecords.build'])
def test_version(module):
  done = run(module, '--version')
  assert done.returncode == 0
  assert re.fullmatch(
    r'audionet_tf [\d.]+, tensorflow [\d.]+, keras [\d.]+, numpy [\d.]+, Python [\d.]+\n', done.stdout
  )


def test_all_flags():
  done = run('audionet_tf.export', '--helpfull')
  assert done.returncode == 0
  for name in ('run_dir', 'flagfile', 'verbosity'):
    assert re.search(rf'^ +(-\w,)?--{name}: ', done.stdout, re.MULTILINE)


def test_help_ends_with_tables():
  def main(argv):
    pass

  shown = cli.help_page(main, {}, (), {'Students': student_names.STUDENTS})
  assert re.search(r'^Students:\n  audionet +one convolution', shown, re.MULTILINE)
  for name in student_names.STUDENTS:
    assert re.search(rf'^  {name}  ', shown, re.MULTILINE)


def test_pretend_missing_hides_packages_temporarily(monkeypatch):
  monkeypatch.delitem(sys.modules, 'colorsys', raising=False)
  with cli.pretend_missing('colorsys'), pytest.raises(ImportError):
    import colorsys  # noqa: F401
  import colorsys  # noqa: F401, F811


IMPORT_TENSORFLOW = """
import gc, sys
from audionet_tf.core import cli

gc.collect()
searches = []
gc.callbacks.append(lambda phase, info: searches.append(phase))
cli.import_tensorflow()
print(len(searches), gc.isenabled(), gc.get_freeze_count() > 100_000)
print(*sorted({'keras', 'matplotlib', 'pandas', 'sklearn', 'tensorflow'} & sys.modules.keys()))
"""


def test_tensorflow_is_imported_alone_and_without_a_search_for_garbage():
  done = subprocess.run([sys.executable, '-c', IMPORT_TENSORFLOW], capture_output=True, text=True, timeout=100)
  assert done.stdout == '0 True True\nkeras tensorflow\n', done.stderr


def test_missing_modules_name_their_extra():
  cli.require_installed(['json', 'os'], 'serve')
  with pytest.raises(UserError, match=r"needs nomodule: in the project's folder run scripts/setup serve"):
    cli.require_installed(['json', 'nomodule'], 'serve')


def test_missing_files_are_refused_only_if_all_are_missing(tmp_path):
  cli.require_any_file([__file__, 'none.wav'])
  with pytest.raises(UserError, match='no such file: a, b, c, d, e and 1 more'):
    cli.require_any_file(list('abcdef'))


@pytest.mark.parametrize('module', ['audionet_tf', 'audionet_tf.train'])
def test_a_reader_that_closes_the_pipe_is_no_error(module):
  words = [sys.executable, '-m', module, '--help']
  child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
  child.stdout.close()  # before the first line
  assert (child.wait(60), child.stderr.read()) == (0, b'')
  child.stderr.close()


COMMAND = """
import os, signal
from audionet_tf.core import cli, interruption

def lines():
  while True:
    print('a line')

def other_pipe():
  reader, writer = os.pipe()
  os.close(reader)
  os.write(writer, b'x')

def terminated():
  with interruption.raised():
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()

def main(argv):
  {}()

cli.run(main)
"""


@pytest.mark.parametrize(
  ('what', 'code', 'message'),
  [('lines', 141, ''), ('other_pipe', 1, 'error: output: Broken pipe\n'), ('terminated', 143, 'error: terminated\n')],
)
def test_commands_that_end_early(what, code, message):
  """A reader that needs no more lines, such as `head`, is told of by the exit code of SIGPIPE alone."""
  words = [sys.executable, '-c', COMMAND.format(what)]
  with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
    if what == 'lines':
      assert child.stdout.readline() == 'a line\n'
      child.stdout.close()
    assert (child.wait(60), child.stderr.read()) == (code, message)


def test_missing_label_files_of_an_export_are_named_first(tmp_path):
  (tmp_path / 'student.keras').touch()
  (tmp_path / 'student.json').touch()
  done = run('audionet_tf.export', '--model=.', '--output=out', '--labels=a=none.txt', cwd=tmp_path)
  assert (done.returncode, done.stderr) == (1, 'error: --labels=a=none.txt: no such file\n')
