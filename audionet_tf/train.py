"""Trains a student on the sound of videos to say what a teacher sees in their pictures.

  python -m tfrecords.build --videos=clips --output=data/clips
  python -m audionet_tf.train --records=data/clips --run_dir=runs/clips --flagfile=flags.txt

Several teachers teach a head each, with a weight each; --flagfile=scripts/flags/soundnet8.flags trains as SoundNet did:

  python -m audionet_tf.train --records=data/soundnet --run_dir=runs/soundnet --flagfile=scripts/flags/soundnet8.flags \
    --teacher=objects=vgg16 --teacher=scenes=places.npz

Answers that exist already are read from .npz, .npy and .tfrecord files, labels of clips from a .csv with the columns
filename (or path) and category (or target); neither needs pictures. So a student learns from labels, from nothing or
on top of another student:

  python -m audionet_tf.train --records=data/esc --run_dir=runs/esc --student=soundnet8_5s --teacher=labels=esc10.csv \
    --init=runs/soundnet --trainable=all

The form of these files: audionet_tf/given_answers.py, audionet_tf/given_labels.py and audionet_tf/label_tables.py. A
table of any number of labels a clip, as AudioSet's, needs a loss that asks for each class by itself:

  python -m audionet_tf.train --records=data/audioset --run_dir=runs/audioset --student=logmel_attention \
    --teacher=balanced_train_segments.csv --teacher_labels=class_labels_indices.csv --loss=cross_entropy --balance

AudioSet's released embeddings train what lies behind VGGish, whose own weights come with --init:

  python -m audionet_tf.train --embeddings=bal_train.tfrecord --run_dir=runs/events --student=vggish_attention \
    --init=vggish_pca.keras --teacher_labels=class_labels_indices.csv --loss=cross_entropy --balance

An autoencoder learns without a teacher, by giving back what it hears; features and probe read its layers:

  python -m audionet_tf.train --records=data/esc --run_dir=runs/autoencoder --student=autoencoder \
    --loss=reconstruction --loss_reduction=mean --optimizer=adam --learning_rate=1e-3 --batch_size=16 --epochs=20

RUN then holds student.keras (with student.json), export/1 (a SavedModel), stats.json, metrics.jsonl, checkpoints/ and
tensorboard/ (tensorboard --logdir=RUN/tensorboard; not with --embeddings). The teacher's answers are kept beside the
records: a second run with the same teacher does not ask again.
"""

from absl import flags

from audionet_tf.core import cli

FLAGS = flags.FLAGS

flags.DEFINE_string('records', None, 'Folder that tfrecords.build wrote.')
flags.DEFINE_multi_string(
  'embeddings', [], "FILE of AudioSet's embeddings, repeated, in place of --records; classes by --teacher_labels."
)
flags.DEFINE_string('run_dir', None, 'Folder of the run: new, or with --resume an old one.')
flags.DEFINE_string('student', 'audionet', 'The network that hears.')
flags.DEFINE_multi_string(
  'teacher',
  ['vgg16'],
  'SOURCE, or NAME=SOURCE, repeated for several: a name of keras.applications, a .keras or .tflite file, a SavedModel'
  ' folder; answers in .npz, .npy or .tfrecord; labels in .csv. One head each. NAME is of letters, digits and _; a'
  ' SOURCE without NAME is the only teacher.',
)
flags.DEFINE_multi_string(
  'teacher_weights',
  ['imagenet'],
  'VALUE for all or NAME=VALUE, repeated. For a keras.applications teacher: imagenet, a file, or none (random).',
)
flags.DEFINE_multi_string(
  'teacher_labels',
  [],
  "FILE or NAME=FILE, repeated: the teacher's class names, one a line, or a CSV with index,mid,display_name.",
)
flags.DEFINE_multi_string(
  'teacher_input_range',
  [],
  'BLACK,WHITE or NAME=BLACK,WHITE, repeated: as a float teacher from a file wants them; default by its format.',
)
flags.DEFINE_enum(
  'teacher_mode', 'stored', ['stored', 'online'], 'Ask the teacher once and keep its answers, or in every step.'
)
flags.DEFINE_multi_string(
  'teacher_dtype', ['float32'], 'Precision of the teacher: float32, bfloat16, or NAME=..., repeated.'
)
flags.DEFINE_multi_string(
  'loss_weight',
  ['1'],
  "NUMBER or NAME=NUMBER, repeated: weight of a head's loss; original: 125 / its classes, as in SoundNet's code.",
)
flags.DEFINE_enum(
  'target_steps',
  'covered',
  ['covered', 'nearest', 'same', 'window'],
  'Which pictures a step of the student answers for: the mean of those in its part of the window, the nearest,'
  ' picture t for step t, or the mean of all.',
)
flags.DEFINE_integer('epochs', 5000, 'Passes over all windows.', lower_bound=1)
flags.DEFINE_integer('batch_size', 512, 'Windows in a step, over all replicas.', lower_bound=1)
flags.DEFINE_enum('optimizer', 'sgd', ['sgd', 'adam'], 'The optimizer.')
flags.DEFINE_float(
  'learning_rate', 1e-4, 'The learning rate; with --loss_reduction=sum it acts on a sum over the batch.'
)
flags.DEFINE_float('momentum', 0.9, 'Momentum of sgd; beta 1 of adam.', lower_bound=0, upper_bound=0.9999)
flags.DEFINE_bool('nesterov', True, 'Nesterov momentum (sgd).')
flags.DEFINE_enum(
  'schedule', 'constant', ['constant', 'cosine'], 'The learning rate stays, or falls to 0 along half a cosine.'
)
flags.DEFINE_integer('warmup_epochs', 0, 'Epochs in which the learning rate rises from 0.', lower_bound=0)
flags.DEFINE_float('weight_decay', 0, 'Decoupled weight decay (AdamW).', lower_bound=0, upper_bound=1)
flags.DEFINE_enum(
  'loss',
  'kl',
  ['kl', 'l2', 'cross_entropy', 'focal', 'reconstruction'],
  'KL divergence, or squared distance, of the distributions; sigmoid cross-entropy or focal loss of classes that do not'
  ' exclude each other; or squared error of the sound, of a student without teachers.',
)
flags.DEFINE_float(
  'label_smoothing',
  0,
  'With cross_entropy and focal: S makes a label y count as y (1 - S) + S / 2, as in Keras.',
  lower_bound=0,
  upper_bound=0.5,
)
flags.DEFINE_bool('balance', False, 'Each class of a table of labels in turn, so that rare ones are heard as often.')
flags.DEFINE_enum('loss_reduction', 'sum', ['sum', 'mean'], 'Sum or mean of the loss over the batch.')
flags.DEFINE_list(
  'augment',
  [],
  'What windows undergo, another way in each pass: shift (up to 1 of their length), speed=0.25, gain=6 (dB),'
  ' mix=0.5 (probability), time_mask, frequency_mask; NAME or NAME=VALUE.',
)
flags.DEFINE_integer('replicas', 0, 'Copies of the student, one a GPU; 0: all GPUs, or the processor.', lower_bound=0)
flags.DEFINE_integer(
  'seed', 0, 'Of initial weights and of the order of the windows.', lower_bound=0, upper_bound=2**32 - 1
)
flags.DEFINE_integer('checkpoint_every', 0, 'Epochs between checkpoints; 0: about one a minute.', lower_bound=0)
flags.DEFINE_string(
  'init', None, 'RUN or student.keras to begin from: every layer of equal name and shape is taken over.'
)
flags.DEFINE_enum(
  'trainable', 'all', ['all', 'head'], 'What learns: all, or the heads alone, the rest being as --init has it.'
)
flags.DEFINE_bool('resume', False, 'Go on from the newest checkpoint of RUN; from the beginning where there is none.')
flags.DEFINE_bool('kldiv_per_frame', False, 'Keep the KL of every window of every epoch in stats.json.')
flags.DEFINE_bool('graph', False, "Write the student's graph for TensorBoard.")
flags.DEFINE_bool(
  'projector',
  None,
  'Show windows in TensorBoard: embeddings in its projector, a map of them, who is taken for whom, which excite units;'
  ' default: unless the teacher is asked in every step, which asks it once more.',
)
flags.DEFINE_string('profile', None, 'Epochs FIRST:LAST, counted from 0, to profile for TensorBoard.')


def main(argv):
  cli.require(len(argv) == 1, f'unexpected argument {argv[-1]!r}; all settings are flags, see --help')
  cli.require(FLAGS.run_dir, 'train needs --run_dir')
  cli.require(bool(FLAGS.records) != bool(FLAGS.embeddings), 'train needs --records, or --embeddings in their place')
  for name in ('graph', 'profile', 'projector') if FLAGS.embeddings else ():
    cli.require(not FLAGS[name].value, f'--{name} shows sound in TensorBoard; with --embeddings there is none')
  cli.require(FLAGS.init or FLAGS.trainable == 'all', '--trainable=head needs --init: a student whose rest is kept')
  profile = epoch_range(FLAGS.profile)
  from audionet_tf.data import augmentation
  from audionet_tf.training import config, embedding_trainer, trainer

  alone = FLAGS.loss == 'reconstruction'
  cli.require(not (alone and FLAGS['teacher'].present), '--loss=reconstruction asks no teacher; leave --teacher out')
  teachers = config.named_teachers(
    [] if alone else FLAGS.teacher,
    weights=FLAGS.teacher_weights,
    labels=FLAGS.teacher_labels,
    dtype=FLAGS.teacher_dtype,
    input_range=FLAGS.teacher_input_range,
    loss_weight=FLAGS.loss_weight,
  )
  if FLAGS.embeddings:
    cli.require(not FLAGS['teacher'].present, "--embeddings have AudioSet's labels in them; leave --teacher out")
    cli.require(len(FLAGS.teacher_labels) == 1, '--embeddings need --teacher_labels, one file of the classes')
    teachers = (config.TeacherConfig('embeddings', labels=FLAGS.teacher_labels[0]),)
  options = config.TrainingConfig(
    student=FLAGS.student,
    teachers=teachers,
    teacher_mode=FLAGS.teacher_mode,
    epochs=FLAGS.epochs,
    batch_size=FLAGS.batch_size,
    optimizer=FLAGS.optimizer,
    learning_rate=FLAGS.learning_rate,
    momentum=FLAGS.momentum,
    nesterov=FLAGS.nesterov,
    schedule=FLAGS.schedule,
    warmup_epochs=FLAGS.warmup_epochs,
    weight_decay=FLAGS.weight_decay,
    loss=FLAGS.loss,
    label_smoothing=FLAGS.label_smoothing,
    balance=FLAGS.balance,
    loss_reduction=FLAGS.loss_reduction,
    target_steps=FLAGS.target_steps,
    augment=augmentation.parse(FLAGS.augment),
    replicas=FLAGS.replicas,
    seed=FLAGS.seed,
    per_frame=FLAGS.kldiv_per_frame,
    init=FLAGS.init,
    trainable=FLAGS.trainable,
  )
  how = FLAGS.run_dir, options, FLAGS.resume, FLAGS.checkpoint_every
  if FLAGS.embeddings:
    exported = embedding_trainer.train(FLAGS.embeddings, *how)
  else:
    projected = FLAGS.teacher_mode == 'stored' if FLAGS.projector is None else FLAGS.projector
    exported = trainer.train(FLAGS.records, *how, profile, FLAGS.graph, projected)
  print(f'student: {FLAGS.run_dir}/student.keras\nSavedModel: {exported}')


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
  cli.run(main)


if __name__ == '__main__':
  run()
