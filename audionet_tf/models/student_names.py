"""The students by name, for help texts and flags: `registry.STUDENTS` has the same, but needs TensorFlow."""

from audionet_tf.core.errors import UserError

JOINED = '+'  # between the names of the students of a joined one
SHORTEST = 'from 0.975 s up'

HERSHEY = ('fc', 'alexnet', 'vgg19', 'inception_v3', 'resnet50')

# Name to what it is, what it takes and where it is from. 16 or 22.05 kHz: its bands are made for that sample rate.
STUDENTS = {
  'audionet': 'one convolution and a dense layer, 18 k parameters; any sample rate and length (Bryce 2018)',
  'logmel_cnn': 'log-mel CNN, 0.85 M parameters, 22.05 kHz; learns most from few videos; from 0.37 s up',
  'logmel_cnn_level': 'the same, with every sound at one level',
  'logmel_cnn_contrast': 'the same, and each band beside its distance from its mean: minds no level, no filter',
  'logmel_steps': 'the same with a prediction per step',
  'logmel_attention': 'the same, pooled over time by attention: for several labels per clip',
  'soundnet5': 'SoundNet of five layers, from 56,798 samples up (Aytar et al. 2016)',
  'soundnet8': 'SoundNet of eight layers, from 209,374 samples up: 9.5 s at 22.05 kHz',
  'soundnet8_5s': 'SoundNet of eight layers for clips of 5 s, from 78,302 samples up',
  'soundnet8_steps': 'SoundNet with heads on every step of its last hidden layer, from 4,574 samples up',
  'soundnet8_level': 'the same, with every sound at one level',
  'autoencoder': "the autoencoder of SoundNet's paper; learns without teachers (--loss=reconstruction)",
  'yamnet': f'YAMNet, 3.8 M parameters, 16 kHz, a patch every 0.48 s, {SHORTEST} (Plakal and Ellis 2020)',
  'vggish': f'VGGish, 72 M parameters, 16 kHz, a patch every 0.96 s, {SHORTEST} (Hershey et al. 2017)',
  'vggish_relu': 'VGGish with the embedding after its activation',
  'vggish_pca': "VGGish with the layer pca: AudioSet's embeddings of 8 bits",
  'vggish_attention': "a classifier with attention on VGGish's embeddings: for several labels per clip",
  'fc': f'fully connected layers on log-mel patches, 16 kHz, {SHORTEST} (Hershey et al. 2017)',
  'alexnet': 'AlexNet on log-mel patches, as are the next three',
  'vgg19': 'VGG',
  'inception_v3': 'Inception V3',
  'resnet50': 'ResNet-50',
  **{
    f'{name}_128': f'{name} with a bottleneck of 128' for name in ('fc', 'alexnet', 'vgg19', 'inception_v3', 'resnet50')
  },
}


def check(name, shown=None):
  """UserError for a student that is not one of STUDENTS, and so cannot be trained.

  Args:
    name: str.
    shown: what the message calls it; None: student and its name.
  """
  shown = shown or f'student {name!r}'
  if JOINED in name:
    raise UserError(f'{shown} is joined of several, which are trained one by one: --members, or audionet_tf.join')
  if name not in STUDENTS:
    raise UserError(f'{shown} is not known; known are {", ".join(STUDENTS)}')
