"""Students trained on all folds but one and evaluated on that one: for benchmark_transfer and choose_recipe."""

import dataclasses
import json
import pathlib
import statistics

from absl import flags

from audionet_tf.core import cli, files, flagfiles, text
from audionet_tf.core.errors import UserError
from run_command import run

FLAGS = flags.FLAGS


def define_flags(work, output):
  """Defines the flags that both commands have; `work`, `output`: default folder, and name of its file."""
  flags.DEFINE_string('data', None, 'Folder with esc10/ and teacher/.')
  flags.DEFINE_string('videos', None, 'Folder with fold<F>/ and videos.csv.')
  flags.DEFINE_string('work', work, 'Folder for records, runs and results.')
  flags.DEFINE_list('rows', None, 'Rows of the table; default: all.')
  flags.DEFINE_list('folds', ['1', '2', '3', '4'], 'Folds to evaluate on, each with students trained on all others.')
  flags.DEFINE_list('seeds', ['0'], 'Seeds of the students.')
  flags.DEFINE_list('train_flags', [], 'Further flags of training, such as epochs=2 for a trial.')
  flags.DEFINE_string('output', None, f'JSON file; default: WORK/{output}.')


@dataclasses.dataclass(frozen=True)
class Row:
  """A student of the table.

  Attributes:
    preset: value of train --preset; None for baselines without a student.
    labels: whether it learns from labels instead of the teacher.
    layers: layers whose features an SVM classifies; empty for none.
    probe: further flags of the probe.
    least, aim: required accuracies, of the student and of the SVM on its first layer; None for no requirement.
  """

  preset: str | None
  labels: bool = False
  layers: tuple = ()
  probe: tuple = ()
  least: tuple = (None, None)
  aim: tuple = (None, None)

  def required(self, figure, bound):
    """The requirement for a figure in `bound`, which is `least` or `aim`; None without one."""
    return bound[0] if figure == 'named' else bound[1] if self.layers and figure == self.layers[0] else None


ROWS = {
  'best': Row('best', layers=('embedding',), least=(0.85, 0.87), aim=(0.93, 0.93)),
  'soundnet8': Row(
    'transfer_soundnet8',
    layers=('embedding',),
    least=(0.86, 0.89),
    aim=(0.92, 0.93),
  ),
  'joined': Row('joined', layers=('embedding',)),
  'labels5': Row('labels_soundnet5', labels=True, least=(0.80, None), aim=(0.85, None)),
  'labels8': Row('labels_soundnet8', labels=True, least=(0.75, None), aim=(0.80, None)),
  'labels': Row('best', labels=True, least=(0.85, None), aim=(0.92, None)),
  'mfcc': Row(None, layers=('mfcc', 'logmel')),
}


@dataclasses.dataclass(frozen=True)
class Place:
  """The folders: `data` and `videos` of the user, `work` for results. `left_out`: folds that are not used at all."""

  data: pathlib.Path
  videos: pathlib.Path
  work: pathlib.Path
  left_out: tuple = ()

  def teacher(self):
    (model,), (names,) = (sorted((self.data / 'teacher').glob(f'*.{suffix}')) for suffix in ('tflite', 'txt'))
    return [f'--teacher={model}', f'--teacher_labels={names}']

  def sounds(self):
    return [f'--clips={self.data / "esc10/esc10.csv"}', f'--media_root={self.data / "esc10/audio"}']

  def folds(self):
    folds = sorted(path.name.removeprefix('fold') for path in self.videos.glob('fold*') if path.is_dir())
    return [fold for fold in folds if fold not in self.left_out]


def records(place, fold):
  """The folder of records of all folds but one, built if missing. The builder gets no label."""
  folder = place.work / f'records/without{fold}'
  videos = [f'--videos={place.videos / f"fold{other}"}' for other in place.folds() if other != fold]
  windows = ['--window_ms=5000', '--sample_rate=22050', '--images_per_window=4', '--short_videos=repeat']
  if not (folder / 'manifest.json').exists():
    run('tfrecords.build', *videos, f'--output={folder}', *windows)
  return folder


def train(place, name, row, fold, seed, extra):
  """Trains the student of a row on all folds but `fold`; returns its run folder."""
  run_dir = place.work / f'runs/{name}/seed{seed}/without{fold}'
  if not (run_dir / 'export/1').exists():
    teacher = [f'--teacher={place.data / "esc10/esc10.csv"}'] if row.labels else place.teacher()
    arguments = [f'--records={records(place, fold)}', f'--run_dir={run_dir}', f'--seed={seed}', '--resume']
    run('audionet_tf.train', f'--preset={row.preset}', *arguments, *teacher, *(f'--{flag}' for flag in extra))
  return run_dir


def read(path):
  """Content of a JSON file."""
  return json.loads(path.read_text(encoding='utf-8'))


def evaluated(place, run_dir, row, fold):
  """The part `clips` of the results of audionet_tf.evaluate on the clips of a fold."""
  output = run_dir / 'evaluated.json'
  if not output.exists():
    groups = [] if row.labels else [f'--groups={place.data / "esc10/groups.csv"}']
    clips = [f'--clips={place.videos / "videos.csv"}', f'--media_root={place.videos}', f'--folds={fold}']
    vision = [] if row.labels else ['--vision', *place.teacher()]
    run('audionet_tf.evaluate', f'--model={run_dir}', *clips, *groups, *vision, f'--output={output}')
  return read(output)['clips']


def probed(place, folder, row, fold, model=()):
  """dict of layer to accuracy on a fold of an SVM that is trained on the others."""
  output = folder / 'probe'
  fold_flags = [f'--folds={",".join(place.folds())}', f'--judge={fold}']
  arguments, arguments_path = [f'--layer={",".join(row.layers)}', *fold_flags, *row.probe], output / 'asked.json'
  if not arguments_path.exists() or read(arguments_path) != arguments:
    arguments_path.unlink(missing_ok=True)  # an interrupted probe may overwrite half of the results
    run('audionet_tf.probe', *place.sounds(), *model, *arguments, f'--output={output}')
    files.write_json(arguments_path, arguments)
  return {layer: result['mean'] for layer, result in read(output / 'probe.json')['layers'].items()}


def preset_lines(name):
  """The lines of a preset, and of those of the students that it joins."""
  members = flagfiles.preset_settings(name).get('members')
  own = flagfiles.preset_path(name).read_text('utf-8').splitlines()
  return own + [line for member in members.split(',') for line in preset_lines(member)] if members else own


def check_settings(place, name, row, extra):
  """UserError if `work` holds results of other data or flags, which would be mistaken for these."""
  lines = preset_lines(row.preset) if row.preset else []
  path_flags = '--records=', '--run_dir='  # overridden here
  flags_of_row = [line for line in lines if line.startswith('-') and not line.startswith(path_flags)] + list(extra)
  settings = {'data': str(place.data), 'videos': [str(place.videos), *place.folds()], f'flags of {name}': flags_of_row}
  path = place.work / 'settings.json'
  before = read(path) if path.exists() else {}
  changed = [key for key in settings if before.get(key, settings[key]) != settings[key]]
  cli.require(not changed, f'{place.work}: was made with other {", ".join(changed)}; give another --work, or delete it')
  files.write_json(path, before | settings)


def evaluate(place, name, row, fold, seed, extra):
  """dict of figure to accuracy, of one student on one fold."""
  check_settings(place, name, row, extra)
  if row.preset is None:
    return probed(place, place.work / f'runs/{name}/without{fold}', row, fold)
  run_dir = train(place, name, row, fold, seed, extra)
  clips = evaluated(place, run_dir, row, fold)
  measured = {'named': clips['accuracy']}
  if 'vision' in clips:
    measured |= {key: clips['vision'][key] for key in ('vision', 'sound_and_vision')}
  if row.layers:
    measured |= probed(place, run_dir, row, fold, [f'--model={run_dir}'])
  return measured


def summary(results):
  """List of dicts: `row`, `figure`, `mean`, `folds` (dict), `over_folds`, `over_seeds` (deviations; None for one)."""
  lines = []
  for name in dict.fromkeys(result['row'] for result in results):
    own = [result for result in results if result['row'] == name]
    for figure in own[0]['shares']:
      folds, seeds = (means(own, figure, key) for key in ('fold', 'seed'))
      spread = {f'over_{key}': deviation(by.values()) for key, by in (('folds', folds), ('seeds', seeds))}
      mean = statistics.mean(result['shares'][figure] for result in own)
      lines.append({'row': name, 'figure': figure, 'mean': mean, 'folds': folds, **spread})
  return lines


def means(results, figure, key):
  """dict of fold (or seed) to the mean of a figure over all seeds (or folds)."""
  values = dict.fromkeys(result[key] for result in results)
  return {v: statistics.mean(result['shares'][figure] for result in results if result[key] == v) for v in values}


def deviation(values):
  """Standard deviation; None for a single value."""
  values = list(values)
  return statistics.stdev(values) if len(values) > 1 else None


def table(lines, rows_by_name):
  """The table in percent, as text. `lines`: from `summary`; `rows_by_name`: dict such as ROWS."""
  folds = list(dict.fromkeys(fold for line in lines for fold in line['folds']))
  rows = [['row', 'figure', 'at least', 'aim', *(f'fold {fold}' for fold in folds), 'mean', 'over folds', 'over seeds']]
  for line in lines:
    row = rows_by_name[line['row']]
    required = [row.required(line['figure'], bound) for bound in (row.least, row.aim)]
    shares = [line['folds'].get(fold) for fold in folds]
    cells = [*required, *shares, line['mean'], line['over_folds'], line['over_seeds']]
    rows.append([line['row'], line['figure'], *('-' if cell is None else f'{100 * cell:.1f}' for cell in cells)])
  return text.aligned(rows, (0, 1))


def write_hparams(folder, name, extra, shares):
  """Writes a student for TensorBoard's tab HParams, which shows the mean of the students of a candidate.

  Args:
    folder: of the event file.
    name: of the candidate.
    extra: its flags, FLAG=VALUE.
    shares: dict of figure to accuracy.
  """
  import tensorflow as tf  # here, so that --help and mistakes need not wait for it
  from tensorboard.plugins.hparams import api as hparams

  flags_of_candidate = dict(flag.partition('=')[::2] for flag in extra)
  with tf.summary.create_file_writer(str(folder)).as_default(step=0):
    hparams.hparams({'candidate': name, **flags_of_candidate}, trial_id=name)
    for figure, share in shares.items():
      tf.summary.scalar(figure, share)


def read_plan(path):
  """dict of name to tuple of flags. UserError for a file that cannot be read, a name given twice, a word without =."""
  try:
    lines = pathlib.Path(path).read_text(encoding='utf-8').splitlines()
  except OSError as error:
    raise UserError(f'--plan={path}: {error.strerror}') from error
  found = {}
  for name, *settings in filter(None, (line.partition('#')[0].split() for line in lines)):
    cli.require(name not in found and '/' not in name, f'--plan={path}: {name} is there twice, or has a /')
    wrong = [word for word in settings if '=' not in word or word.startswith('-')]
    cli.require(not wrong, f'--plan={path}: {name}: {" ".join(wrong)}: expected is FLAG=VALUE, without --')
    found[name] = tuple(settings)
  cli.require(found, f'--plan={path}: no candidate in it')
  return found


def inner_folds(folds, left_out):
  """The folds to evaluate on when one is left out, starting with the one after it."""
  index = folds.index(left_out)
  return [*folds[index + 1 :], *folds[:index]]


def check_place():
  """The Place of --data, --videos and --work. UserError if something is missing in it."""
  place = Place(*(pathlib.Path(FLAGS[name].value or '').resolve() for name in ('data', 'videos', 'work')))
  for name, file in (('data', 'esc10/esc10.csv'), ('videos', 'videos.csv')):
    value = FLAGS[name].value
    cli.require(value and (getattr(place, name) / file).is_file(), f'--{name}={value}: no {file} in it')
  for fold in FLAGS.folds:
    cli.require(fold in place.folds(), f'--folds: no fold{fold} in {place.videos}')
  return place


def chosen(argv, rows):
  """(names of rows, Place) of the flags. UserError for flags that do not fit. `rows`: names of all rows."""
  cli.require(len(argv) == 1, f'unexpected argument {argv[-1]!r}; all settings are flags, see --help')
  names = FLAGS.rows or list(rows)
  for name in names:
    cli.require(name in rows, f'--rows: {name} is not known; known are {", ".join(rows)}')
  return names, check_place()
