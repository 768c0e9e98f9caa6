r"""Trains a student on the sound of videos to predict what a teacher sees in their pictures.

  python -m tfrecords.build --videos=clips
  python -m audionet_tf.train --flagfile=flags.txt

flags.txt names the records (data/clips) and the run folder (runs/clips); a flag after --flagfile overrides it. Other
flag files travel with the program: --preset=best, or another name. With several teachers the student gets a head for
each, with a weight each; --preset=soundnet8 trains as SoundNet did:

  python -m audionet_tf.train --preset=soundnet8 --teacher=objects=vgg16 --teacher=scenes=places.npz

Precomputed teacher outputs are read from .npz, .npy and .tfrecord files, labels of clips from a .csv with the columns
filename (or path) and category (or target); neither needs pictures. So a student learns from labels, from scratch or
from the weights of another student:

  python -m audionet_tf.train --records=data/esc --run_dir=runs/esc --student=soundnet8_5s --teacher=labels=esc10.csv \
    --init=runs/soundnet --trainable=all

docs/teachers.md and docs/labels.md describe these files. A folder of sounds for each class needs no records and no
table:

  python -m audionet_tf.train --sounds=sounds

holds a fifth of them out, whole recordings as far as names tell, trains with the recipe of --preset=sounds, whose flags
others override, and writes RUN/report/index.html: accuracy on the held-out sounds, per class, and what was mistaken, to
play. With --init, few sounds suffice: a linear head on the frozen features of that student, and all layers where that
names more of the held-out sounds. RUN is runs/ and the name of the folder unless --run_dir names another.

A table with any number of labels per clip, as AudioSet's,
needs a multi-label loss:

  python -m audionet_tf.train --records=data/audioset --run_dir=runs/audioset --student=logmel_attention \
    --teacher=balanced_train_segments.csv --teacher_labels=class_labels_indices.csv --loss=cross_entropy --balance

CLIP and SigLIP (extra clip, TensorFlow 2.20 or newer) teach classes in your own words, one per line of a file:

  python -m audionet_tf.train --records=data/clips --run_dir=runs/words --teacher=clip:clip_vit_base_patch32 \
    --classes=words.txt

With --teacher=embedding:clip:PRESET a student learns the picture's vector itself, by cosine distance whatever --loss is
for other teachers, and gets its classes afterwards: infer, caption, serve, export --classes=words.txt. docs/words.md.

AudioSet's released embeddings train the classifier on top of VGGish, whose own weights come with --init:

  python -m audionet_tf.train --embeddings=bal_train.tfrecord --run_dir=runs/events --student=vggish_attention \
    --init=vggish_pca.keras --teacher_labels=class_labels_indices.csv --loss=cross_entropy --balance

An autoencoder learns without a teacher, by reconstructing its input; features and probe read its layers:

  python -m audionet_tf.train --records=data/esc --run_dir=runs/autoencoder --student=autoencoder \
    --loss=reconstruction --loss_reduction=mean --optimizer=adam --learning_rate=1e-3 --batch_size=16 --epochs=20

Several students, each trained by its own recipe, may be joined into one, which predicts the mean of what they predict:

  python -m audionet_tf.train --members=best,transfer_soundnet8 --records=data/clips_5s --run_dir=runs/joined

trains them in RUN/members/NAME; RUN then has student.keras and export/1 of the joined one. --preset=joined is made so.

Several workers train together, each a process that runs this command; docs/workers.md says how they find each other:

  python -m audionet_tf.train --flagfile=flags.txt --distribute=multiworker

Paths may be addresses in an object store, such as s3://bucket/runs/clips: docs/stores.md.

RUN then holds student.keras (with student.json), export/1 (a SavedModel), stats.json, metrics.jsonl, checkpoints/ and
tensorboard/ (tensorboard --logdir=RUN/tensorboard; not with --embeddings). The teacher's outputs are kept beside the
records: a later run with the same teacher, alone or beside others, does not run it again. With
--run_dir=hf://user/repository the student, its export and a model card go to the Hugging Face Hub at the end; the run
itself stays on this machine, where it is resumed.

Ctrl-C and SIGTERM end a run after a checkpoint; the command to resume it is printed, the exit code is 130 or 143.
"""

import pathlib
import shlex
import sys

from absl import flags

from audionet_tf import api
from audionet_tf.core import cli, flagfiles, interruption
from audionet_tf.core.errors import DiskFullError
from audionet_tf.core.stores import hub, object_store
from audionet_tf.data.records import MANIFEST_NAME
from audionet_tf.models import student_names, student_paths
from audionet_tf.training import cluster

PRESET = flags.DEFINE_string('preset', None, 'Name of a flag file that travels with the program, such as best.')
MEMBERS = flags.DEFINE_list(
  'members',
  [],
  'Presets or flag files, each of one student. They are trained one after the other in RUN/members/NAME, with all other'
  ' flags of this command, and joined into one.',
)
RECORDS = flags.DEFINE_string('records', None, 'Folder that tfrecords.build wrote, or its address.')
SOUNDS = flags.DEFINE_string(
  'sounds',
  None,
  'FOLDER of labelled sounds, in place of --records: a folder for each class, or metadata.csv (file_name, label).',
)
EMBEDDINGS = flags.DEFINE_multi_string(
  'embeddings', [], "FILE of AudioSet's embeddings, repeated, in place of --records; classes by --teacher_labels."
)
VALIDATION = flags.DEFINE_string(
  'validation', None, 'Folder of held-out records; they are evaluated after each epoch: val_kl and so on.'
)
RUN_DIR = flags.DEFINE_string('run_dir', None, 'Folder of the run, or its address: new, or with --resume an old one.')
RESUME = flags.DEFINE_bool('resume', False, 'Resume from the newest checkpoint of RUN; start where there is none.')

TEACHER = flags.DEFINE_multi_string(
  'teacher',
  ['vgg16'],
  'SOURCE, or NAME=SOURCE, repeated for several: a name of keras.applications, a .keras or .tflite file, a SavedModel'
  ' folder, here, in a store or on the Hub (hf://user/repository/path); clip:PRESET, a model of pictures and texts,'
  ' with --classes; sound:PATH, a tagger of sound;'
  ' embedding:SOURCE, the vectors of one that is no tagger of sound; precomputed outputs in .npz, .npy or .tfrecord;'
  ' labels in .csv. One head each. NAME has letters, digits and _; a SOURCE without NAME is the only teacher.',
)
TEACHER_WEIGHTS = flags.DEFINE_multi_string(
  'teacher_weights',
  ['imagenet'],
  'VALUE for all or NAME=VALUE, repeated. For a keras.applications teacher: imagenet, a file, or none (random).',
)
TEACHER_LABELS = flags.DEFINE_multi_string(
  'teacher_labels',
  [],
  "FILE or NAME=FILE, repeated: the teacher's class names, one per line, or a CSV with index,mid,display_name.",
)
TEACHER_INPUT_RANGE = flags.DEFINE_multi_string(
  'teacher_input_range',
  [],
  'BLACK,WHITE or NAME=BLACK,WHITE, repeated: the range of pixels that a float teacher from a file takes; default by '
  'its format.',
)
CLASSES = flags.DEFINE_multi_string(
  'classes',
  [],
  'FILE or NAME=FILE, repeated: classes in your own words for a teacher clip:PRESET, one per line; name | prompt |'
  ' prompt describes a class by texts of yours.',
)
TEACHER_TEMPERATURE = flags.DEFINE_multi_string(
  'teacher_temperature',
  [],
  "NUMBER or NAME=NUMBER, repeated: a teacher's logits are divided by it before the softmax, above 1 is softer; of"
  " clip:PRESET its cosines, default: the model's own, 0.01 of most.",
)
TEACHER_MODE = flags.DEFINE_enum(
  'teacher_mode', 'stored', ['stored', 'online'], 'Run the teacher once and store its outputs, or run it in every step.'
)
TEACHER_DTYPE = flags.DEFINE_multi_string(
  'teacher_dtype',
  ['auto'],
  'Precision of the teacher: float32, bfloat16, or NAME=..., repeated; auto: bfloat16 where it is faster,'
  ' if its KL from float32 is 0.001 at most.',
)
TARGET_STEPS = flags.DEFINE_enum(
  'target_steps',
  'covered',
  ['covered', 'nearest', 'same', 'window'],
  'Which pictures are the targets of a step of the student: the mean of those in its part of the window, the nearest,'
  ' picture t for step t, or the mean of all.',
)

STUDENT = flags.DEFINE_string('student', 'audionet', 'The network to train, one of those below.')
INIT = flags.DEFINE_string(
  'init', None, 'RUN or student.keras to start from: the weights of every layer of equal name and shape are copied.'
)
TRAINABLE = flags.DEFINE_enum(
  'trainable', 'all', ['all', 'head'], 'What is trained: all layers, or the heads alone, the others as in --init.'
)

LOSS = flags.DEFINE_enum(
  'loss',
  'kl',
  ['kl', 'l2', 'cosine', 'cross_entropy', 'focal', 'reconstruction'],
  'KL divergence, or squared distance, of the distributions; cosine distance of vectors, as by embedding: before every'
  ' teacher; multi-label cross-entropy or focal loss; or squared error of the waveform, of a student without teachers.',
)
LOSS_WEIGHT = flags.DEFINE_multi_string(
  'loss_weight',
  ['1'],
  "NUMBER or NAME=NUMBER, repeated: weight of a head's loss; original: 125 / its classes, as in SoundNet's code.",
)
LOSS_REDUCTION = flags.DEFINE_enum('loss_reduction', 'sum', ['sum', 'mean'], 'Sum or mean of the loss over the batch.')
GATE = flags.DEFINE_enum(
  'gate',
  'none',
  ['none', 'loudness'],
  'Weight of a window in the loss: 1, or by its loudness above the floor of its video, 0 where nothing sounds.',
)
LABEL_SMOOTHING = flags.DEFINE_float(
  'label_smoothing',
  0,
  'With cross_entropy and focal: S makes a label y count as y (1 - S) + S / 2, as in Keras.',
  lower_bound=0,
  upper_bound=0.5,
)

EPOCHS = flags.DEFINE_integer('epochs', 5000, 'Passes over all windows.', lower_bound=1)
BATCH_SIZE = flags.DEFINE_integer('batch_size', 512, 'Windows per step, over all replicas.', lower_bound=1)
OPTIMIZER = flags.DEFINE_enum('optimizer', 'sgd', ['sgd', 'adam'], 'The optimizer.')
LEARNING_RATE = flags.DEFINE_float(
  'learning_rate', 1e-4, 'The learning rate; with --loss_reduction=sum it acts on a sum over the batch.'
)
MOMENTUM = flags.DEFINE_float('momentum', 0.9, 'Momentum of sgd; beta 1 of adam.', lower_bound=0, upper_bound=0.9999)
NESTEROV = flags.DEFINE_bool('nesterov', True, 'Nesterov momentum (sgd).')
SCHEDULE = flags.DEFINE_enum(
  'schedule', 'constant', ['constant', 'cosine'], 'The learning rate is constant, or falls to 0 along half a cosine.'
)
WARMUP_EPOCHS = flags.DEFINE_integer(
  'warmup_epochs', 0, 'Epochs in which the learning rate rises from 0.', lower_bound=0
)
WEIGHT_DECAY = flags.DEFINE_float('weight_decay', 0, 'Decoupled weight decay (AdamW).', lower_bound=0, upper_bound=1)
BALANCE = flags.DEFINE_bool(
  'balance', False, 'Draw the classes of a table of labels in turn, rare ones as often as others.'
)
AUGMENT = flags.DEFINE_list(
  'augment',
  [],
  'Augmentations of the windows, drawn anew in each pass: shift (up to 1 of their length), speed=0.25, gain=6 (dB),'
  ' crop=0.5 (probability), mix=0.5, reverb=0.3, noise=0.5, equalizer=6 (dB), band=0.7, level=30 (dB), time_mask,'
  ' frequency_mask; codec=0.3, before all others: the sound through phones and calls, which the first such training'
  ' stores beside the records; NAME or NAME=VALUE.',
)
MIXED_PRECISION = flags.DEFINE_enum(
  'mixed_precision',
  'none',
  ['none', 'bfloat16', 'float16'],
  'Precision of the layers of the student: faster on GPUs, not on processors. Weights and exports are float32.',
)
REPLICAS = flags.DEFINE_integer(
  'replicas', 0, 'Copies of the student in this process, one per GPU; 0: all GPUs, or the processor.', lower_bound=0
)
DISTRIBUTE = flags.DEFINE_enum(
  'distribute',
  'mirrored',
  ['mirrored', 'multiworker'],
  'This process alone, or one of several workers, which TF_CONFIG, Slurm or Kubernetes names (docs/workers.md).',
)
WAIT_SECONDS = flags.DEFINE_float(
  'wait_seconds', 300, 'With --distribute=multiworker: how long to wait for the other workers.', lower_bound=1
)
SEED = flags.DEFINE_integer(
  'seed', 0, 'Of initial weights and of the order of the windows.', lower_bound=0, upper_bound=2**32 - 1
)
CHECKPOINT_EVERY = flags.DEFINE_integer(
  'checkpoint_every', 0, 'Epochs between checkpoints; 0: by --checkpoint_minutes.', lower_bound=0, upper_bound=10**9
)
CHECKPOINT_MINUTES = flags.DEFINE_float(
  'checkpoint_minutes',
  1,
  'Minutes between checkpoints, at the end of an epoch, or inside one that takes longer.',
  lower_bound=0,
  upper_bound=10**6,
)

KLDIV_PER_FRAME = flags.DEFINE_bool(
  'kldiv_per_frame', False, 'Keep the KL of every window of every epoch in stats.json.'
)
GRAPH = flags.DEFINE_bool('graph', False, "Write the student's graph for TensorBoard.")
PROJECTOR = flags.DEFINE_bool(
  'projector',
  None,
  'Show windows in TensorBoard: embeddings in its projector, a t-SNE map of them, a confusion matrix, the windows that'
  ' activate units most; default: if the outputs of the teacher are stored, else it would run once more.',
)
PROFILE = flags.DEFINE_string('profile', None, 'Epochs FIRST:LAST, counted from 0, to profile for TensorBoard.')

# Fields of config.TrainingConfig that are flags as they are.
CONFIG = (
  STUDENT, TEACHER_MODE, EPOCHS, BATCH_SIZE, OPTIMIZER, LEARNING_RATE, MOMENTUM, NESTEROV, SCHEDULE, WARMUP_EPOCHS,
  WEIGHT_DECAY, LOSS, LABEL_SMOOTHING, BALANCE, LOSS_REDUCTION, GATE, TARGET_STEPS, REPLICAS, SEED, INIT, TRAINABLE,
  MIXED_PRECISION,
)  # fmt: skip

# What decides the heads of a student, and their meaning: students that are joined have it in common.
OF_ALL_MEMBERS = (RECORDS, TEACHER, TEACHER_LABELS, CLASSES, LOSS)

TOPICS = {
  'preset': 'Data',
  'teacher': 'Teachers',
  'student': 'Student',
  'loss': 'Loss',
  'epochs': 'Optimization',
  'kldiv_per_frame': 'Records of the run',
}
NEEDS = (('--records', '--embeddings', '--sounds'), ('--run_dir', '--sounds'))


def main(argv):
  cli.no_arguments(argv)
  check_flags()
  check_script()
  profile = epoch_range(PROFILE.value)
  try:
    with interruption.raised():
      (train_members if MEMBERS.value else train_on_sounds if SOUNDS.value else train)(profile)
  except interruption.Interrupted as interrupted:
    print(f'{interrupted}; resume with: {resume_command()}', file=sys.stderr)
    return interrupted.exit_code
  except DiskFullError as error:
    raise DiskFullError(error.folder, f'resume with: {resume_command()}') from error
  if SOUNDS.value:
    return None
  if DISTRIBUTE.value == 'mirrored' or cluster.find().is_chief:
    print_results(RUN_DIR.value)
  return None


def print_results(run_dir):
  """Says where the student is, and the run of one that went to the Hub."""
  is_elsewhere = object_store.is_elsewhere(run_dir)
  exported = f'{run_dir}/export' if is_elsewhere else student_paths.find_export(run_dir)
  print(f'student: {run_dir}/student.keras\nSavedModel: {exported}')
  if hub.is_address(run_dir):
    from audionet_tf.saved_model import hub_run

    print(f'run: {hub_run.folder_of(run_dir)}')


def check_script():
  """UserError if the flag file belongs to a script that makes the records, and they are missing."""
  script = flagfiles.script(flagfiles.resolved(sys.argv))
  if script and RECORDS.value and not object_store.is_address(RECORDS.value):
    missing = f'{RECORDS.value}: no records here; they are made, and these flags used, by: {script}'
    cli.require((pathlib.Path(RECORDS.value) / MANIFEST_NAME).is_file(), missing)


def check_flags():
  """UserError for flags that do not go together, and for an unknown student."""
  if MEMBERS.value:
    check_member()
  student_names.check(STUDENT.value, f'--student={STUDENT.value}')
  if SOUNDS.value:
    from audionet_tf.sound_folders import pipeline

    for name in pipeline.DECIDED:
      is_given = flags.FLAGS[name].present
      cli.require(not is_given, f'--{name} does not go with --sounds, which makes records and labels itself')
  if EMBEDDINGS.value:
    cli.require(not RECORDS.value, 'use either --records or --embeddings, not both')
    for flag in (GRAPH, PROFILE, PROJECTOR, VALIDATION):
      cli.require(not flag.value, f'--{flag.name} needs sound; with --embeddings there is none')
    cli.require(not TEACHER.present, "--embeddings have AudioSet's labels in them; leave --teacher out")
    for flag in (CLASSES, TEACHER_TEMPERATURE):
      cli.require(not flag.value, f'--{flag.name} belongs to a teacher; --embeddings have none')
    cli.require(len(TEACHER_LABELS.value) == 1, '--embeddings need --teacher_labels, one file of the classes')
  cli.require(
    INIT.value or TRAINABLE.value == 'all', '--trainable=head needs --init: a student whose other layers are kept'
  )
  without_teacher = LOSS.value == 'reconstruction'
  cli.require(not (without_teacher and TEACHER.present), '--loss=reconstruction has no teacher; leave --teacher out')


def train(profile):
  """`audionet_tf.train` with the flags as its arguments."""
  without_teacher = LOSS.value == 'reconstruction' or EMBEDDINGS.value
  api.train(
    RECORDS.value,
    RUN_DIR.value,
    teacher=None if without_teacher else TEACHER.value,
    teacher_weights=TEACHER_WEIGHTS.value,
    teacher_labels=TEACHER_LABELS.value[0] if EMBEDDINGS.value else TEACHER_LABELS.value,
    teacher_input_range=TEACHER_INPUT_RANGE.value,
    teacher_dtype=TEACHER_DTYPE.value,
    classes=CLASSES.value,
    teacher_temperature=TEACHER_TEMPERATURE.value,
    loss_weight=LOSS_WEIGHT.value,
    embeddings=EMBEDDINGS.value,
    augment=AUGMENT.value,
    kldiv_per_frame=KLDIV_PER_FRAME.value,
    resume=RESUME.value,
    checkpoint_every=CHECKPOINT_EVERY.value,
    checkpoint_minutes=CHECKPOINT_MINUTES.value,
    distribute=DISTRIBUTE.value,
    wait_seconds=WAIT_SECONDS.value,
    graph=GRAPH.value,
    projector=PROJECTOR.value,
    profile=profile,
    validation=VALIDATION.value,
    **{flag.name: flag.value for flag in CONFIG},
  )


def train_members(profile):
  """Trains a student by each of --members, by its own recipe but for the other flags of this run, and joins them."""
  from audionet_tf.training import members  # here, so that --help need not wait for it

  words, run_dir, resume = [*cli.given_words], RUN_DIR.value.rstrip('/'), RESUME.value
  folders = members.folders(MEMBERS.value, run_dir)
  members.check_run(run_dir, resume)
  common = [word for word in words[1:] if word != '--' and flagfiles.flag_of(word) not in ('members', 'run_dir')]
  lines, decided = {}, []
  for member, folder in folders.items():  # mistakes are told before hours of training
    lines[member] = set_flags([words[0], f'--flagfile={member}', *common, f'--run_dir={folder}'])
    cli.require(not MEMBERS.value, f'--members: {member} has members of its own; name those')
    check_member()
    check_flags()
    decided.append([flag.value for flag in OF_ALL_MEMBERS])
  for flag, *values in zip(OF_ALL_MEMBERS, *decided, strict=True):
    members.check_alike(flag.name, values)
  for number, (member, line) in enumerate(lines.items(), 1):
    print(f'student {number} of {len(lines)}: {folders[member]}', file=sys.stderr)
    set_flags(line)
    train(profile)
  api.join([*folders.values()], run_dir, resume)
  set_flags(words)  # which --resume and the last lines are of


def check_member():
  """UserError if the flags do not go with --members."""
  for flag in (SOUNDS, EMBEDDINGS, INIT):
    cli.require(not flag.value, f'--{flag.name} does not go with --members')
  cli.require(DISTRIBUTE.value == 'mirrored', '--members are trained by one worker; leave --distribute out')
  is_hub = hub.is_address(RUN_DIR.value)
  cli.require(not is_hub, '--members need a --run_dir here or in a store; audionet_tf.export puts students on the Hub')


def set_flags(argv):
  """Gives the flags the values of a command line in place of those they have; returns it without flag files."""
  for name in flags.FLAGS:
    flags.FLAGS[name].unparse()
  return cli.read_flags(argv)[1]


def train_on_sounds(profile):
  """`audionet_tf.train_on_sounds` with the flags that are given as its arguments; prints what was measured."""
  from audionet_tf.sound_folders import pipeline

  run_dir = RUN_DIR.value or pipeline.default_run_dir(SOUNDS.value)
  run_only = (AUGMENT, GRAPH, PROJECTOR, CHECKPOINT_EVERY, CHECKPOINT_MINUTES)
  given = {flag.name: flag.value for flag in (*CONFIG, *run_only) if flag.present and flag is not INIT}
  given |= {} if profile is None else {'profile': profile}
  measured = api.train_on_sounds(SOUNDS.value, run_dir, init=INIT.value, resume=RESUME.value, **given)
  from audionet_tf.evaluation import report

  print(report.of_clips(measured))
  print(f'report: {measured["report"]}')
  print_results(run_dir)


def resume_command():
  """The command line of this run with --resume."""
  words = sys.argv[1:] if RESUME.value else [*sys.argv[1:], '--resume']
  return shlex.join(['python', '-m', 'audionet_tf.train', *words])


def epoch_range(text):
  """'3:5' as (3, 5); None as None."""
  if text is None:
    return None
  first, _, last = text.partition(':')
  cli.require(
    first.isdigit() and last.isdigit() and int(first) <= int(last),
    f'--profile={text}: expected is FIRST:LAST, as in 3:5',
  )
  return int(first), int(last)


def run():
  tables = {'Students': student_names.STUDENTS, 'Presets': flagfiles.preset_titles()}
  cli.run(main, TOPICS, NEEDS, tables, addresses='*')


if __name__ == '__main__':
  run()
