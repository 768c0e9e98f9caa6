"""What sound the log-mel networks take, known without TensorFlow; `registry` has it of every network."""

import dataclasses

RATE_HZ = 22050
SHORTEST_FRAMES = 29  # give one step after the last pool
SHORTEST_SAMPLES = 1024 + (SHORTEST_FRAMES - 1) * 256


@dataclasses.dataclass(frozen=True)
class SoundNeeds:
  """Attributes of a registry.Architecture without steps in time."""

  short_input: str
  shortest_samples: int
  spectrogram: bool
  sample_rate_hz: int
  layer_windows: dict = dataclasses.field(default_factory=dict)


LOGMEL = SoundNeeds('repeat', SHORTEST_SAMPLES, True, RATE_HZ)
STUDENTS = dict.fromkeys(('logmel_cnn', 'logmel_cnn_level', 'logmel_cnn_contrast'), LOGMEL)
