"""Pictures with B-frames in containers that hold one time per packet: each is shown at its own time."""

from fractions import Fraction

import av
import media_clips
import numpy as np
import pytest

FRAMES = 100
X264 = {'x264-params': 'bframes=3:b-adapt=0:b-pyramid=2:scenecut=0:keyint=25:open-gop=0:qp=4'}
X264_OPEN = {'x264-params': 'bframes=2:b-adapt=0:scenecut=0:keyint=20:open-gop=1:qp=4'}
STRONG = {'bf': '2', 'qmin': '1', 'qmax': '2'}


def level(number):
  """Grey level of picture `number`, in the range of studio video, to be read back exactly enough."""
  return 40 + 2 * (number % FRAMES)


def write(path, codec, options, fps=25, with_sound=True):
  """Writes FRAMES pictures of rising grey, one after the other, beside a tone."""
  with av.open(str(path), 'w') as out:
    video = out.add_stream(codec, rate=fps, options=options)
    video.width, video.height, video.pix_fmt = 64, 48, 'yuv420p'
    packets = []
    for number in range(FRAMES):
      planes = np.full((72, 64), 128, np.uint8)
      planes[:48] = level(number)
      frame = av.VideoFrame.from_ndarray(planes, 'yuv420p')
      frame.pts, frame.time_base = number, Fraction(1, fps)
      packets += video.encode(frame)
    packets += video.encode(None)
    if with_sound:
      packets += media_clips.encoded_sound(
        out, media_clips.tone(440, FRAMES / fps, 44100)[None], 44100, 0, 'libmp3lame'
      )
    for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
      out.mux(packet)
  return path


def numbers(path):
  """[(start seconds, number of the picture shown then)] of a file."""
  return [
    (start, round((frame.to_ndarray()[:48].mean() - level(0)) / 2)) for start, _, frame in media_clips.frames(path)
  ]


@pytest.mark.parametrize('name', ['a.avi', 'a.asf'])
@pytest.mark.parametrize('fps', [25, 10])
@pytest.mark.parametrize('codec, options', [
  ('libx264', X264),
  ('libx264', X264_OPEN),
  ('libx264', {'bf': '0'}),
  ('mpeg4', STRONG),
  ('mpeg4', {'bf': '0', 'qmax': '2'}),
  ('mpeg2video', STRONG),
])  # fmt: skip
def test_every_picture_at_its_time(tmp_path, name, codec, options, fps):
  if fps == 10 and codec == 'mpeg2video':
    fps = 24  # the slowest it knows
  shown = numbers(write(tmp_path / name, codec, options, fps))
  assert [number for _, number in shown] == list(range(FRAMES))
  most = 1 / fps + (0.03 if name == 'a.asf' else 0)  # the writer adds the delay of MP3 to ASF's clock
  np.testing.assert_allclose([float(start) for start, _ in shown], np.arange(FRAMES) / fps, atol=most)
  # The first begins at zero where MP3's delay moves the pictures.
  np.testing.assert_allclose(np.diff([float(start) for start, _ in shown])[1:], 1 / fps, atol=1.5e-3)


@pytest.mark.parametrize('name', ['a.mkv', 'a.mp4', 'a.ts', 'a.mov', 'a.flv'])
def test_containers_with_presentation_times_stay_as_they_are(tmp_path, name):
  shown = numbers(write(tmp_path / name, 'libx264', X264))
  assert [number for _, number in shown] == list(range(FRAMES))
  np.testing.assert_allclose([float(start) for start, _ in shown], np.arange(FRAMES) / 25, atol=0.04)


def test_pictures_before_the_first_whole_one_shift_none(tmp_path):
  """Packets of a file whose first key frame is gone give nothing; those behind keep their times."""
  whole, path = write(tmp_path / 'whole.avi', 'libx264', X264, with_sound=False), tmp_path / 'a.avi'
  with av.open(str(whole)) as read, av.open(str(path), 'w') as written:
    copy = written.add_stream_from_template(read.streams.video[0])
    for number, packet in enumerate(p for p in read.demux(video=0) if p.dts is not None):
      if number:
        packet.pts = packet.dts = packet.dts - 1
        packet.stream = copy
        written.mux(packet)
  shown = [(float(start), number) for start, number in numbers(path) if number >= 25]
  assert len(shown) == 75
  np.testing.assert_allclose([start for start, _ in shown], [(number - 1) / 25 for _, number in shown], atol=0.08)
