"""What the log-mel networks do with short sound, known without TensorFlow: `registry` has it of every network."""

import dataclasses

SHORTEST_FRAMES = 29  # give one step after the last pool
SHORTEST_SAMPLES = 1024 + (SHORTEST_FRAMES - 1) * 256


@dataclasses.dataclass(frozen=True)
class SoundNeeds:
  """The attributes of a registry.Architecture that tell what sound a network takes."""

  short_input: str
  shortest_samples: int
  layer_windows: dict = dataclasses.field(default_factory=dict)


LOGMEL = SoundNeeds('repeat', SHORTEST_SAMPLES)
STUDENTS = dict.fromkeys(('logmel_cnn', 'logmel_cnn_level', 'logmel_cnn_contrast'), LOGMEL)
