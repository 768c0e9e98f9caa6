"""Pictures of one size do not depend on how FFmpeg scales them."""

import types

import av
import numpy as np
import pytest

from audionet_tf.data.params import RecordParams
from audionet_tf.media import resizing
from tfrecords import worker


class Flags:
  """The two functions of libavutil."""

  flags = 5

  def av_get_cpu_flags(self):
    return self.flags

  def av_force_cpu_flags(self, flags):
    self.flags = flags


def noise(shape, pixel_format):
  pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
  return av.VideoFrame.from_ndarray(pixels, 'rgb24').reformat(format=pixel_format)


@pytest.mark.parametrize('size', [224, 100])
@pytest.mark.parametrize('pixel_format', ['yuv420p', 'yuv444p', 'rgb24', 'yuv420p10le', 'nv12'])
@pytest.mark.parametrize('shape', [(720, 1280), (50, 70), (241, 321)])
def test_pixels_are_the_same_without_gathers(size, pixel_format, shape):
  frame = noise(shape, pixel_format)
  for resizer in (resizing.frame_resizer, resizing.jpeg_planes_resizer):
    plain = resizer(size)(frame)
    with resizing.without_gathers():
      without = resizer(size)(frame)
    for planes in zip(plain, without, strict=True):
      np.testing.assert_array_equal(*planes)


def test_the_setting_lasts_as_long_as_the_context(monkeypatch):
  flags = Flags()
  monkeypatch.setattr(resizing, '_ffmpeg_on_amd', lambda: flags)
  with pytest.raises(KeyError), resizing.without_gathers():
    assert flags.flags == 5 | 0x2000000
    raise KeyError
  assert flags.flags == 5


@pytest.mark.parametrize('image_format', ['jpeg', 'png'])
def test_the_builder_scales_without_gathers(monkeypatch, image_format):
  flags, seen = Flags(), []
  monkeypatch.setattr(resizing, '_ffmpeg_on_amd', lambda: flags)
  make = resizing._upright_planes

  def watched(*args, **kwargs):
    resized = make(*args, **kwargs)
    return lambda frame: (seen.append(flags.flags), resized(frame))[1]

  monkeypatch.setattr(resizing, '_upright_planes', watched)
  worker.encoder(RecordParams(image_format=image_format))(noise((48, 64), 'yuv420p'))
  assert seen == [5 | 0x2000000] and flags.flags == 5


@pytest.mark.parametrize('text, loads', [
  ('vendor_id\t: AuthenticAMD\n', True),
  ('vendor_id\t: GenuineIntel\n', False),
], ids=['AMD', 'Intel'])  # fmt: skip
def test_only_amd_is_told(monkeypatch, text, loads):
  monkeypatch.setattr(resizing.pathlib.Path, 'read_text', lambda path: text)
  ffmpeg = resizing._ffmpeg_on_amd.__wrapped__()
  assert (ffmpeg is not None) == loads


def test_a_build_of_pyav_without_the_functions_scales_as_before(monkeypatch):
  monkeypatch.setattr(resizing.pathlib.Path, 'read_text', lambda path: 'AuthenticAMD')
  monkeypatch.setattr(resizing.ctypes, 'CDLL', lambda path: types.SimpleNamespace())
  assert resizing._ffmpeg_on_amd.__wrapped__() is None
