"""Captions burned into copies: streams unchanged and cues at their times, or pictures that show them."""

from fractions import Fraction

import av
import media_clips
import numpy as np
import pytest

from audionet_tf.captioning import burn_in, event_detection, overlay
from audionet_tf.core.errors import MediaError, UserError
from audionet_tf.media import decoding

CUES = [event_detection.Cue(0.24, 0.6, ('Dog & <b>', 'rain')), event_detection.Cue(0.6, 0.8, ('Türglocke',))]
SUBTITLES = {
  '.mp4': ('mov_text', ['Dog & <b> · rain', 'Türglocke']),
  '.webm': ('webvtt', ['Dog &amp; &lt;b&gt; · rain', 'Türglocke']),
  '.mkv': ('srt', ['Dog & ‹b› · rain', 'Türglocke']),
}
WEBM = {'video_codec': 'libvpx', 'pix_fmt': 'yuv420p', 'audio_codec': 'libopus', 'rate_hz': 48000}
CODED = media_clips.CODED | {'rate_hz': 48000}


def packets(path, kinds=('video', 'audio')):
  """[(kind, seconds, bytes)] of the streams of these kinds, in seconds since the start of the file."""
  with av.open(str(path)) as container:
    zero = decoding.time_zero(container)
    return sorted(
      (p.stream.type, round(float(p.pts * p.time_base - zero), 3), bytes(p))
      for p in container.demux()
      if p.size and p.stream.type in kinds
    )


def subtitles(path):
  """(codec, [(start, end, text)]) of the stream of subtitles, in seconds since the start of the file."""
  with av.open(str(path)) as container:
    (stream,) = container.streams.subtitles
    zero, cues = decoding.time_zero(container), []
    for packet in container.demux(stream):
      data = bytes(packet)[2:] if stream.codec_context.name == 'mov_text' else bytes(packet)
      if data:
        start = float(packet.pts * packet.time_base - zero)
        cues.append((round(start, 3), round(start + float(packet.duration * packet.time_base), 3), data.decode()))
    return stream.codec_context.name, cues


@pytest.mark.parametrize(
  ('name', 'suffix', 'options'),
  [
    ('a.mp4', '.mp4', CODED),
    ('a.webm', '.webm', WEBM),
    ('a.mkv', '.mkv', {'sound_start': 0.3}),
    ('late.mkv', '.mkv', {'times': [0.5 + 0.04 * i for i in range(25)], 'sound_start': 0.5}),
    ('a.avi', '.mkv', CODED | {'audio_codec': 'mp3'}),
    ('a.ts', '.mkv', CODED | {'format': 'mpegts'}),
  ],
)
def test_soft_copies_keep_every_packet(tmp_path, name, suffix, options):
  path = media_clips.write(tmp_path / name, 1.0, **options)
  reports = []
  copy = burn_in.burn(path, tmp_path, CUES, 'soft', progress=lambda *seconds: reports.append(seconds))
  assert copy.name == f'{name}.captioned{suffix}'
  codec, texts = SUBTITLES[suffix]
  cues = subtitles(copy)
  assert cues[0] == codec and [cue[2] for cue in cues[1]] == texts
  np.testing.assert_allclose([cue[:2] for cue in cues[1]], [(0.24, 0.6), (0.6, 0.8)], atol=0.002)
  before, after = packets(path), packets(copy)
  assert [p[0] for p in before] == [p[0] for p in after]
  if name != 'a.ts':  # whose AAC carries headers that Matroska keeps elsewhere
    assert [p[2] for p in before] == [p[2] for p in after]
  np.testing.assert_allclose([p[1] for p in before], [p[1] for p in after], atol=0.002)
  assert 0.8 < reports[-1][0] <= reports[-1][1] + 0.05 <= 1.6


@pytest.mark.parametrize(('name', 'options'), [('a.mp4', CODED), ('a.webm', WEBM), ('a.mkv', {})])
def test_a_copy_of_a_copy_has_both_streams(tmp_path, name, options):
  path = media_clips.write(tmp_path / name, 1.0, **options)
  copy = burn_in.burn(burn_in.burn(path, tmp_path, CUES, 'soft'), tmp_path, CUES[:1], 'soft')
  with av.open(str(copy)) as container:
    counts = [sum(packet.size > 2 for packet in container.demux(s)) for s in container.streams.subtitles[:1]]
    assert len(container.streams.subtitles) == 2 and counts == [2]


@pytest.mark.parametrize(
  ('options', 'shape'),
  [
    ({'size': (130, 97)}, (96, 130)),
    (CODED | {'size': (200, 150), 'matrix': [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]}, (200, 150)),
  ],
)
def test_hard_copies_show_the_cue_of_their_time(tmp_path, options, shape):
  path = media_clips.write(tmp_path / ('a.mp4' if 'matrix' in options else 'a.mkv'), 1.0, **options)
  copy = burn_in.burn(path, tmp_path, CUES, 'hard')
  seen = {float(start): frame.to_ndarray(format='gray') for start, _, frame in decoding.decode_frames(copy)}
  assert len(seen) == 25 and list(seen.values())[0].shape == shape
  for time, picture in seen.items():
    drawn = 0.24 - 1e-3 <= time < 0.8 - 1e-3
    bottom, top = picture[-shape[0] // 3 :].astype(int), picture[: shape[0] // 3]
    assert (np.ptp(bottom) > 60) == drawn, time
    assert abs(top.mean() - media_clips.grey(time, 1)) < 6
  different = np.abs(
    seen[min(seen, key=lambda t: abs(t - 0.4))].astype(int) - seen[min(seen, key=lambda t: abs(t - 0.7))]
  )
  assert different[-shape[0] // 3 :].max() > 60
  sound = [np.concatenate([pcm for _, pcm in decoding.decode_audio(file, 16000)]) for file in (path, copy)]
  np.testing.assert_allclose(sound[0][:15000], sound[1][:15000], atol=40)


def b_frames(path):
  """Writes H.264 with three B-frames in a row, four seconds that get brighter."""
  options = {'bf': '3', 'x264-params': 'bframes=3:b-adapt=0:scenecut=0'}
  with av.open(str(path), 'w') as out:
    video = out.add_stream('libx264', rate=25, options=options)
    video.width, video.height, video.pix_fmt = 64, 48, 'yuv420p'
    for number in range(100):
      frame = av.VideoFrame.from_ndarray(np.full((72, 64), 40 + 2 * number, np.uint8), 'yuv420p')
      frame.pts, frame.time_base = number, Fraction(1, 25)
      out.mux(video.encode(frame))
    out.mux(video.encode(None))
  return path


def test_soft_copies_of_b_frames_in_avi_are_refused(tmp_path):
  with pytest.raises(UserError, match=r'no times and B-frames among them: use --burn=hard, or convert'):
    burn_in.burn(b_frames(tmp_path / 'a.avi'), tmp_path, CUES, 'soft')
  assert [path.name for path in tmp_path.iterdir()] == ['a.avi']
  burn_in.burn(b_frames(tmp_path / 'a.mkv'), tmp_path, CUES, 'soft')


def test_hard_copies_of_b_frames_in_avi_have_every_picture(tmp_path):
  copy = burn_in.burn(b_frames(tmp_path / 'a.avi'), tmp_path, [], 'hard')
  pictures = [(start, frame.to_ndarray()[:48].mean()) for start, _, frame in decoding.decode_frames(copy)]
  np.testing.assert_allclose([float(start) for start, _ in pictures], np.arange(100) / 25, atol=0.001)
  np.testing.assert_allclose([grey for _, grey in pictures], 40 + 2 * np.arange(100), atol=1.5)


def joined(path, **options):
  """Two recordings of two seconds in one file, their clocks both from the start."""
  part = media_clips.write(path.with_name(f'part-{path.name}'), 2.0, **options)
  path.write_bytes(part.read_bytes() * 2)
  return path


@pytest.mark.parametrize('how', ['soft', 'hard'])
@pytest.mark.parametrize('name', ['a.ts', 'a.mpg'])
def test_copies_of_two_recordings_in_one_file(tmp_path, how, name):
  options = {'video_codec': 'mpeg2video', 'pix_fmt': 'yuv420p', 'tick': Fraction(1, 25)}
  sound = media_clips.tone(440, 2, 48000)
  path = joined(tmp_path / name, sounds=[sound], rate_hz=48000, audio_codec='mp2', **options)
  late = [event_detection.Cue(2.5, 3.5, ('rain',))]
  copy = burn_in.burn(path, tmp_path, late, how)
  assert copy.name == f'{name}.captioned.mkv'
  if how == 'soft':
    ((start, end, text),) = subtitles(copy)[1]
    assert (start, end, text) == (pytest.approx(2.5, abs=0.01), pytest.approx(3.5, abs=0.01), 'rain')
  kinds = [kind for kind, *_ in packets(path)]
  assert [kinds.count(kind) for kind in ('video', 'audio')] == [
    [kind for kind, *_ in packets(copy)].count(kind) for kind in ('video', 'audio')
  ]
  assert len(list(decoding.decode_frames(copy))) == len(list(decoding.decode_frames(path))) == 100
  ends = [sum(len(pcm) for _, pcm in decoding.decode_audio(file, 16000)) / 16000 for file in (path, copy)]
  np.testing.assert_allclose(ends, 4, atol=0.1)


def test_streams_that_matroska_does_not_take(tmp_path):
  """Their packets stay as they are with soft captions, or one line says what to do; with hard ones they are encoded."""
  options = {'video_codec': 'wmv2', 'pix_fmt': 'yuv420p', 'audio_codec': 'wmav2', 'rate_hz': 44100}
  tones = np.stack([media_clips.tone(440, 2, 44100)] * 2)
  path = media_clips.write(tmp_path / 'a.wmv', 2.0, sounds=[tones], format='asf', size=(96, 64), **options)
  with pytest.raises(MediaError, match=r'a\.wmv: cannot be copied to \.mkv \(.* wmv2 and wmav2: use --burn=hard, or'):
    burn_in.burn(path, tmp_path, CUES, 'soft')
  copy = burn_in.burn(path, tmp_path, CUES, 'hard')
  sound = [list(decoding.decode_audio(file, 16000)) for file in (path, copy)]
  lengths = [sum(len(pcm) for _, pcm in chunks) / 16000 for chunks in sound]
  np.testing.assert_allclose(lengths, lengths[0], atol=0.1)
  assert media_clips.pitch(np.concatenate([pcm for _, pcm in sound[1]])[1000:] / 32768) == pytest.approx(440, abs=1)
  pictures = [[float(start) for start, *_ in decoding.decode_frames(file)] for file in (path, copy)]
  assert len(pictures[0]) == len(pictures[1]) == 50
  apart = [times[5] - chunks[0][0] / 16000 for times, chunks in zip(pictures, sound, strict=True)]
  assert apart[0] == pytest.approx(apart[1], abs=0.03)  # sound and pictures stay together


def test_soft_copies_of_codecs_without_an_encoder(tmp_path):
  """FFmpeg decodes RealVideo and encodes none, as its builds in PyAV do Theora: copying needs neither."""
  path = tmp_path / 'a.mkv'
  with av.open(str(path), 'w') as out:
    video = out.add_mux_stream('rv40', width=64, height=48)
    video.time_base = Fraction(1, 1000)
    for number in range(25):
      packet = av.Packet(bytes([number]) * 100)
      packet.pts = packet.dts = 40 * number
      packet.duration, packet.time_base, packet.stream = 40, Fraction(1, 1000), video
      out.mux(packet)
  copy = burn_in.burn(path, tmp_path, CUES, 'soft')
  assert packets(copy) == packets(path) and len(packets(copy)) == 25
  assert len(subtitles(copy)[1]) == 2


def test_the_overlay_is_white_on_dark_and_inside():
  planes = [np.full((120, 200), 200, np.uint8), *(np.full((60, 100), 60, np.uint8) for _ in range(2))]
  shown = overlay.overlay('a very long caption ' * 30, 200, 120)
  overlay.draw(planes, shown)
  height, width = shown.keep[0].shape
  box = planes[0][shown.top : shown.top + height, shown.left : shown.left + width]
  assert box.max() > 225 and box[0].max() <= 0.35 * 200 + 0.65 * 16 + 1
  assert shown.top + height <= 120 and shown.left + width <= 200 and height % 2 == width % 2 == 0
  outside = planes[0].copy()
  outside[shown.top : shown.top + height, shown.left : shown.left + width] = 200
  assert (outside == 200).all()
  assert planes[1].min() == 60 and planes[1][shown.top // 2 + 1, shown.left // 2 + 1] == round(0.35 * 60 + 0.65 * 128)
  assert len(overlay.lines_of('word ' * 200, overlay.font_of(None, 12), 150)) == 3
  overlay.overlay('x' * 120, 16, 16)


def test_what_cannot_be_burned(tmp_path, monkeypatch):
  sound = media_clips.write(tmp_path / 'a.wav', times=[])
  with pytest.raises(MediaError, match='a.wav: no video stream'):
    burn_in.burn(sound, tmp_path, CUES, 'soft')
  (tmp_path / 'b.mp4').write_bytes(b'\0' * 4000)
  with pytest.raises(MediaError, match='b.mp4: not a media file'):
    burn_in.burn(tmp_path / 'b.mp4', tmp_path, CUES, 'hard')
  video = media_clips.write(tmp_path / 'c.mkv', 0.4, sounds=[])
  with pytest.raises(UserError, match='a.wav: not a font'):
    burn_in.burn(video, tmp_path, CUES, 'hard', font=str(sound))
  (tmp_path / 'c.mkv.captioned.mkv').symlink_to(video)
  with pytest.raises(UserError, match='would overwrite the video'):
    burn_in.burn(video, tmp_path, CUES, 'soft')
  monkeypatch.setattr(burn_in, 'suffix_of', lambda *_: '.webm')
  with pytest.raises(MediaError, match=r'c.mkv: cannot be copied to \.webm'):
    burn_in.burn(video, tmp_path, CUES, 'soft')
  assert not [path for path in tmp_path.iterdir() if 'partial' in path.name or 'webm' in path.name]
