"""Metadata in a .tflite file: sample rate and class names, as MediaPipe's audio tasks read them.

The metadata are a flatbuffer of their own in a buffer of the model; the lists of class names lie behind the model as
a ZIP archive that is not compressed. Interpreters ignore both.

Source: google-ai-edge/mediapipe, mediapipe/tasks/metadata/metadata_schema.fbs: the numbers of the fields below.
"""

import io
import zipfile

import flatbuffers
import numpy as np

from audionet_tf.core import text
from audionet_tf.saved_model import signatures

ENTRY, IDENTIFIER, PARSER_VERSION = b'TFLITE_METADATA', b'M001', '1.3.0'  # the first version that knows audio
MODEL = {'name': 0, 'description': 1, 'subgraphs': 3, 'parser_version': 7}
SUBGRAPH = {'inputs': 2, 'outputs': 3}
TENSOR = {'name': 0, 'description': 1, 'content': 3, 'files': 6}
CONTENT = {'kind': 0, 'properties': 1}
AUDIO = {'sample_rate': 0, 'channels': 1}
FILE = {'name': 0, 'description': 1, 'type': 2}
FEATURES, AUDIO_KIND = 1, 4  # of the union ContentProperties
AXIS_LABELS = 2  # of the enumeration AssociatedFileType


def added(content, settings, names):
  """A .tflite file with metadata, and its outputs in the order of `names`.

  Args:
    content: bytes of a .tflite file with one signature.
    settings: student_settings.StudentConfig.
    names: of its outputs: those of `signatures.probability_outputs`, or another one without classes.

  Returns:
    bytes.
  """
  from tensorflow.lite.tools import flatbuffer_utils

  model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
  (signature,), (graph,) = model.signatureDefs, model.subgraphs
  tensors = {output.name.decode(): output.tensorIndex for output in signature.outputs}
  graph.outputs = [tensors[name] for name in names]
  labels = {f'{head}.txt': classes for head, classes in settings.classes.items()}
  buffer, entry = flatbuffer_utils.schema_fb.BufferT(), flatbuffer_utils.schema_fb.MetadataT()
  buffer.data = np.frombuffer(metadata(settings), np.uint8)
  entry.name, entry.buffer = ENTRY, len(model.buffers)
  model.buffers.append(buffer)
  model.metadata = [*(model.metadata or []), entry]
  file = io.BytesIO(flatbuffer_utils.convert_object_to_bytearray(model))
  if labels:
    with zipfile.ZipFile(file, 'a') as archive:  # behind the model
      for name, classes in labels.items():
        archive.writestr(zipfile.ZipInfo(name), ''.join(f'{text.one_line(label)}\n' for label in classes))
  return file.getvalue()


def metadata(settings):
  """The flatbuffer ModelMetadata of a student, bytes."""
  builder = flatbuffers.Builder(1024)
  properties = table(builder, AUDIO, sample_rate=('Uint32', settings.sample_rate_hz), channels=('Uint32', 1))
  sound = tensor(builder, 'waveform', 'one channel, full scale 1', (AUDIO_KIND, properties))
  outputs = []
  for head in settings.classes or ['embedding']:
    file = table(builder, FILE, name=f'{head}.txt', description='names of the classes', type=('Int8', AXIS_LABELS))
    content = FEATURES, table(builder, {})
    described = f'{settings.activation(head)} over the classes' if settings.classes else 'activations'
    outputs.append(tensor(builder, head, described, content, [file] if settings.classes else []))
  graph = table(builder, SUBGRAPH, inputs=vector(builder, [sound]), outputs=vector(builder, outputs))
  seconds = signatures.window_samples(settings) / settings.sample_rate_hz
  builder.Finish(
    table(
      builder,
      MODEL,
      name=settings.student,
      description=f'classifies {seconds:g} s of sound' if settings.classes else f'embeds {seconds:g} s of sound',
      subgraphs=vector(builder, [graph]),
      parser_version=PARSER_VERSION,
    ),
    IDENTIFIER,
  )
  return bytes(builder.Output())


def tensor(builder, name, description, content, label_files=()):
  """Offset of a TensorMetadata. `content`: (kind, offset) of its ContentProperties."""
  kind, properties = content
  about = table(builder, CONTENT, kind=('Uint8', kind), properties=properties)
  fields = {'files': vector(builder, label_files)} if label_files else {}
  return table(builder, TENSOR, name=name, description=description, content=about, **fields)


def table(builder, numbers, **fields):
  """Offset of a table in the flatbuffer.

  Args:
    builder: flatbuffers.Builder.
    numbers: dict of field name to its number in the schema.
    **fields: str, the offset of another object, or (type, number).
  """
  values = {
    numbers[name]: builder.CreateString(value) if isinstance(value, str) else value for name, value in fields.items()
  }
  builder.StartObject(max(values, default=-1) + 1)
  for number, value in values.items():
    if isinstance(value, tuple):
      getattr(builder, f'Prepend{value[0]}Slot')(number, value[1], 0)
    else:
      builder.PrependUOffsetTRelativeSlot(number, value, 0)
  return builder.EndObject()


def vector(builder, offsets):
  """Offset of a vector of tables."""
  builder.StartVector(4, len(offsets), 4)
  for offset in reversed(offsets):
    builder.PrependUOffsetTRelative(offset)
  return builder.EndVector()
