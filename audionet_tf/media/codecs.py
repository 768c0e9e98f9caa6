"""Sound as lossy codecs bring it: encoded and decoded in memory by PyAV, without delay.

CODECS is the table. Each row changes sound audibly, in another way. AMR would be nearer to mobile phones
than G.723.1, but PyAV 19 brings no encoder for it.

| name     | what                                                       | source                                      |
|----------|------------------------------------------------------------|---------------------------------------------|
| `g723_1` | video telephones: 8 kHz, 6.3 kb/s, a model of the voice    | ITU-T G.723.1                               |
| `opus`   | calls over the Internet: 16 kHz, 12 kb/s, mode for speech  | RFC 6716, section 2.1.1                     |
| `mp3`    | small files: 22.05 kHz, 24 kb/s                            | ISO/IEC 13818-3 (low sampling frequencies)  |
| `mu_law` | fixed telephones: 8 kHz, 8 bits a sample                   | ITU-T G.711                                 |
"""

import dataclasses
import functools

import av
import numpy as np

from audionet_tf.core.errors import UserError
from audionet_tf.media import decoding, timeline

# The window goes around a circle, so that a codec is past its start when the window begins, and its frames are full at
# the end. Longer than the delay of any row.
LEAD_SECONDS = 0.2
SWEEP_SECONDS, SWEEP_HZ = 1.0, (200, 2800)  # within every row's band


@dataclasses.dataclass(frozen=True)
class Codec:
  """A row of the table.

  Attributes:
    encoder, decoder: FFmpeg's names.
    rate_hz: sample rate that the encoder gets.
    bit_rate: bits per second; None where the format has only one.
    options: the encoder's own.
  """

  encoder: str
  decoder: str
  rate_hz: int
  bit_rate: int | None = None
  options: dict = dataclasses.field(default_factory=dict)


CODECS = {
  'g723_1': Codec('g723_1', 'g723_1', 8000, 6300),
  'opus': Codec('libopus', 'libopus', 16000, 12000, {'application': 'voip'}),
  'mp3': Codec('libmp3lame', 'mp3float', 22050, 24000),
  'mu_law': Codec('pcm_mulaw', 'pcm_mulaw', 8000),
}


def check():
  """UserError if this FFmpeg lacks a row's encoder or decoder. PyAV's own has all of them; one of a system may not."""
  for codec in CODECS.values():
    for name, mode in ((codec.encoder, 'w'), (codec.decoder, 'r')):
      try:
        av.Codec(name, mode)
      except av.codec.codec.UnknownCodecError:
        kind = 'encoder' if mode == 'w' else 'decoder'
        raise UserError(
          f'augment codec: the FFmpeg of PyAV {av.__version__} has no {kind} {name}; install the PyAV of PyPI '
          '(pip install --force-reinstall --only-binary=av av), or leave codec out'
        ) from None


def through(pcm, rate_hz, name):
  """A window as a codec brings it; what happens when is as before.

  Args:
    pcm: int16 [n].
    rate_hz: its sample rate.
    name: key of CODECS.

  Returns:
    int16 [n], a function of the arguments alone.
  """
  lead = round(LEAD_SECONDS * rate_hz)
  begin = lead + delay_samples(rate_hz, name)
  return _round_trip(np.pad(pcm, lead, mode='wrap'), rate_hz, name)[begin : begin + len(pcm)]


@functools.cache
def delay_samples(rate_hz, name):
  """By how many samples of `rate_hz` encoder and decoder delay sound: where a sweep and its decoded form agree best."""
  from scipy import signal

  time = np.arange(round(SWEEP_SECONDS * rate_hz)) / rate_hz
  sweep = signal.chirp(time, SWEEP_HZ[0], SWEEP_SECONDS, min(SWEEP_HZ[1], 0.35 * rate_hz)) * np.hanning(len(time)) / 2
  padded = np.pad(sweep, round(LEAD_SECONDS * rate_hz))
  decoded = _round_trip((padded * timeline.PCM_SCALE).astype(np.int16), rate_hz, name) / timeline.PCM_SCALE
  agreement = signal.correlate(decoded, padded, method='fft')
  return int(agreement.argmax()) - (len(padded) - 1)


def _round_trip(pcm, rate_hz, name):
  """int16 [n] through encoder and decoder: int16 [n or a little more], delayed."""
  codec = CODECS[name]
  frame = av.AudioFrame.from_ndarray(_resampled(pcm, rate_hz, codec.rate_hz)[None], 's16', 'mono')
  frame.sample_rate = codec.rate_hz
  encoder = av.CodecContext.create(codec.encoder, 'w')
  encoder.sample_rate, encoder.layout, encoder.format = codec.rate_hz, 'mono', encoder.codec.audio_formats[0]
  encoder.options = codec.options
  if codec.bit_rate:
    encoder.bit_rate = codec.bit_rate
  packets = [*encoder.encode(frame), *encoder.encode(None)]
  decoder = av.CodecContext.create(codec.decoder, 'r')
  decoder.sample_rate, decoder.layout = codec.rate_hz, 'mono'
  if encoder.extradata:
    decoder.extradata = encoder.extradata
  frames = [frame for packet in (*packets, None) for frame in decoder.decode(packet)]
  decoded = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
  samples = np.zeros(len(pcm), np.int16)
  found = _resampled(decoded, frames[0].sample_rate, rate_hz)
  samples[: len(found)] = found[: len(pcm)]
  return samples


def _resampled(samples, rate_hz, new_rate_hz):
  """int16 or f32 [n] at a new rate, int16, by the resampler of records, which has no delay."""
  if samples.dtype == np.int16:
    samples = samples.astype(np.float32) / timeline.PCM_SCALE
  chunks = decoding.pcm_chunks([(0, rate_hz, samples)], new_rate_hz)
  return np.concatenate([chunk for _, chunk in chunks])
