"""Sounds between the lines of speech: subtitles are read back by pysubs2 and webvtt-py."""

import html
import random
import re

import numpy as np
import pysubs2
import pytest
import webvtt

from audionet_tf.captioning import event_detection, formats, speech
from audionet_tf.core.errors import UserError

ABOUT = {'file': 'a.mp4', 'seconds': 60.0}
SRT = """1
00:00:01,000 --> 00:00:03,250
<i>Is anyone</i> there? 3 < 4 & 5 > 2
{\\an8}<font color="red">- Nobody (really).</font>

5
00:00:06,000 --> 00:00:07,000
42

6
00:00:06,500 --> 00:00:09,000
Both at once {sic} C:\\new
"""
VTT = """WEBVTT - A film
Kind: captions

STYLE
::cue(.loud) { color: #ff0000 }

NOTE made by hand

intro
00:01.000 --> 00:03.250 line:0 align:start
<v Ann>Is <i>anyone</i> there? 3 &lt; 4 &amp; 5
- <c.loud>Nobody.</c>

NOTE second

00:00:06.000 --> 00:00:07.000
42
"""


def cue(start, end, *names):
  return event_detection.Cue(start, end, names)


def written(tmp_path, content, sounds, suffix, name='speech.srt', seconds=60.0, style='plain'):
  (tmp_path / name).write_bytes(content.encode())
  cues = formats.styled(speech.merge(sounds, speech.read(tmp_path / name), 1.0, seconds), style)
  formats.write(tmp_path, 'a', [suffix], [], cues, ABOUT)
  return (tmp_path / f'a.{suffix}').read_text(encoding='utf-8')


@pytest.mark.parametrize('start', ['', '\ufeff'])
@pytest.mark.parametrize('end', ['\n', '\r\n'])
def test_srt_speech_stays_letter_by_letter(tmp_path, start, end):
  text = written(tmp_path, start + SRT.replace('\n', end), [cue(3, 5, '[rain]')], 'srt')
  blocks = [block.split('\n', 2) for block in text.strip('\n').split('\n\n')]
  assert [block[0] for block in blocks] == ['1', '2', '3', '4']
  assert blocks.pop(1)[1:] == ['00:00:03,250 --> 00:00:05,000', '[rain]']  # shortened
  assert [block[1:] for block in blocks] == [block.split('\n', 2)[1:] for block in SRT.strip().split('\n\n')]


def test_webvtt_speech_keeps_settings_header_and_comments(tmp_path):
  text = written(tmp_path, VTT, [cue(0, 1, '[rain]'), cue(3.5, 5, '[wind & <hail>]')], 'vtt', 'speech.vtt')
  source, merged = webvtt.from_string(VTT), webvtt.from_string(text)
  spoken = [caption for caption in merged if not caption.raw_text.startswith('[')]
  fields = ('start', 'end', 'lines', 'identifier', 'settings', 'comments')
  for caption, original in zip(spoken, source, strict=True):
    assert [getattr(caption, name) for name in fields] == [getattr(original, name) for name in fields]
  assert [style.text for style in merged.styles] == [style.text for style in source.styles]
  assert (merged.header_text, merged.metadata) == ('- A film', ['Kind: captions'])
  assert merged.header_comments == source.header_comments
  assert [html.unescape(caption.raw_text) for caption in merged if caption not in spoken] == [
    '[rain]',
    '[wind & <hail>]',
  ]


WORDS = re.compile(r'\w+')
TAGS = re.compile(r'</?\w[^>]*>|\{\\[^}]*\}')
SAID = {
  'srt': 'Is anyone there 3 4 5 2 Nobody really 42 Both at once sic C new',
  'vtt': 'Is anyone there 3 4 5 Nobody 42',
}


def shown(text, suffix):
  """The words of a subtitle file, as another parser reads it."""
  if suffix == 'vtt':
    lines = [html.unescape(caption.text) for caption in webvtt.from_string(text)]
  else:
    lines = [TAGS.sub('', event.text.replace(r'\N', '\n')) for event in pysubs2.SSAFile.from_string(text)]
  return WORDS.findall(' '.join(lines))


@pytest.mark.parametrize('suffix', ['vtt', 'srt', 'ass'])
@pytest.mark.parametrize(('kind', 'content'), [('srt', SRT), ('vtt', VTT)])
def test_no_word_is_lost_in_any_format(tmp_path, kind, content, suffix):
  assert shown(written(tmp_path, content, [], suffix, f'speech.{kind}'), suffix) == SAID[kind].split()


def test_markup_where_the_format_has_it(tmp_path):
  vtt = written(tmp_path, SRT, [], 'vtt')
  assert webvtt.from_string(vtt)[0].raw_text == ('<i>Is anyone</i> there? 3 &lt; 4 &amp; 5 &gt; 2\n- Nobody (really).')
  ass = pysubs2.SSAFile.from_string(written(tmp_path, SRT, [], 'ass'))
  assert ass[0].text == r'{\i1}Is anyone{\i0} there? 3 < 4 & 5 > 2\N{\an8}- Nobody (really).'
  assert ass[2].plaintext == 'Both at once (sic) C:⧵new'
  srt = written(tmp_path, VTT, [], 'srt', 'speech.vtt')
  assert 'Is <i>anyone</i> there? 3 ‹ 4 & 5\n- <font color="#ff0000">Nobody.</font>\n' in srt


def test_ass_has_sounds_at_the_top_and_speech_at_the_bottom(tmp_path):
  sounds = [cue(1.5, 2.5, '[a {\\an1}\\N b]'), cue(11.25, 12.5, '[rain]')]
  subtitles = pysubs2.SSAFile.from_string(written(tmp_path, SRT, sounds, 'ass', seconds=12.5))
  where = {name: int(style.alignment) for name, style in subtitles.styles.items()}
  seen = [(event.start, event.end, where[event.style], event.plaintext) for event in subtitles]
  assert {(start, end, place) for start, end, place, _ in seen if place == 2} == {
    (1000, 3250, 2),
    (6000, 7000, 2),
    (6500, 9000, 2),
  }
  top = [(start, end, text) for start, end, place, text in seen if place == 8]
  assert [text for *_, text in top] == ['[a (⧵an1)⧵N b]', '[rain]'] and top[1][:2] == (11250, 12500)


@pytest.mark.parametrize(
  ('lines', 'sound', 'expected'),
  [
    ([(5, 6)], (1, 3), [(1, 3)]),  # apart
    ([(2, 6)], (0, 3), [(0, 2)]),  # shortened at the end
    ([(2, 6)], (5, 8), [(6, 8)]),  # and at the start
    ([(2, 3)], (0, 5), [(0, 2), (3, 5)]),  # on both sides
    ([(0, 3)], (2.5, 3.5), [(3, 4)]),  # late
    ([(2, 3), (3.5, 4)], (2, 4), [(1, 2)]),  # early: that is closer to its start than 4 to 5
    ([(2, 9)], (4, 6), 0),  # no gap within a second: in the cue
    ([(0, 5), (5.5, 9)], (4.6, 5.9), 0),  # the gap is too short; 0.4 s overlap in either: the first
    ([(0, 5), (5.1, 9)], (4.6, 5.9), 1),
    ([(0, 9)], (8.5, 9.5), 0),  # the sound ends at 9.5: no second is left
    ([(4, 4)], (3.9, 4.2), [(3.9, 4.2)]),  # speech of no length is in nobody's way
  ],
)
def test_where_a_sound_goes(lines, sound, expected):
  spoken = [event_detection.Cue(start, end, (), 'said') for start, end in lines]
  merged = speech.merge([cue(*sound, 'x')], spoken, 1.0, 9.5)
  own = [(each.start_seconds, each.end_seconds) for each in merged if not each.speech]
  inside = [number for number, each in enumerate(each for each in merged if each.speech) if each.names]
  assert (own, inside) == ((expected, []) if isinstance(expected, list) else ([], [expected]))


def test_any_speech_and_any_sounds():
  """On a raster of milliseconds: no sound over speech or sound, every sound somewhere near, speech as it was."""
  dice = random.Random(7)
  for _ in range(150):
    times = sorted(dice.sample(range(30_000), 24))
    sounds = [cue(a / 1000, b / 1000, f'n{a}') for a, b in zip(times[::2], times[1::2], strict=True)]
    starts = [dice.randrange(30_000) for _ in range(12)]
    spoken = [
      event_detection.Cue(a / 1000, (a + dice.randrange(4000)) / 1000, (), f's{i}')
      for i, a in enumerate(sorted(starts))
    ]
    merged = speech.merge(sounds, spoken, 1.0, 30.0)
    assert [each.start_seconds for each in merged] == sorted(each.start_seconds for each in merged)
    assert [(each.start_seconds, each.end_seconds, each.speech) for each in merged if each.speech] == [
      (each.start_seconds, each.end_seconds, each.speech) for each in spoken
    ]
    taken = np.zeros(40_000, int)
    for each in spoken:
      taken[round(each.start_seconds * 1000) : round(each.end_seconds * 1000)] = 1
    for each in merged:
      if not each.speech:
        span = slice(round(each.start_seconds * 1000), round(each.end_seconds * 1000))
        assert span.start < span.stop <= 30_000 and not taken[span].any()
        taken[span] = 1
    for sound in sounds:
      near = [each for each in merged if sound.names[0] in each.names]
      assert near and all(
        each.start_seconds < sound.end_seconds + 1 and each.end_seconds > sound.start_seconds - 1 for each in near
      )
      alone = [each for each in near if not each.speech]
      length = min(1.0, sound.end_seconds - sound.start_seconds)
      assert all(each.end_seconds - each.start_seconds >= length - 1e-6 for each in alone)


@pytest.mark.parametrize('suffix', ['srt', 'vtt'])
def test_the_label_is_a_line_of_its_own(tmp_path, suffix):
  sounds = [cue(1.2, 1.8, 'door_slams'), cue(2.0, 2.4, 'door_slams'), cue(2.5, 3, 'Rain')]
  content = SRT.replace('00:00:01,000', '00:00:00,000')
  text = written(tmp_path, content, sounds, suffix, seconds=4.0, style='brackets')
  assert next(iter(pysubs2.SSAFile.from_string(text))).plaintext.split('\n')[0] == '[door slams] [rain]'


@pytest.mark.parametrize(
  ('name', 'content', 'message'),
  [
    ('s.srt', b'', 'cannot read subtitles'),
    ('s.srt', b'hello\n', 'cannot read subtitles'),
    ('s.vtt', b'1\n00:00:01,000 --> 00:00:02,000\nx\n', 'cannot read subtitles'),
    ('s.vtt', b'WEBVTT\n', 'no cues'),
    (
      's.vtt',
      b'WEBVTT\n\n00:01.000 --> 00:02.000\nx\n\n00:03.000 --> 00:00:04,000\nlost\n',
      '1 of 2 cues cannot be read',
    ),
    ('s.srt', '1\n00:00:01,000 --> 00:00:02,000\nTürglocke\n'.encode('latin-1'), 'not in UTF-8'),
    ('s.ass', b'', 'speech is read from .srt and .vtt'),
  ],
)
def test_what_is_no_speech(tmp_path, name, content, message):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(UserError, match=message) as error:
    speech.read(tmp_path / name)
  assert str(error.value).startswith(str(tmp_path / name)) and '\n' not in str(error.value)
  with pytest.raises(UserError, match='no such file'):
    speech.read(tmp_path / 'none.srt')


@pytest.mark.parametrize(
  ('name', 'shown'),
  [
    ('dog_barking', '[dog barking]'),
    ('Dog barking', '[dog barking]'),
    ('Granny Smith', '[Granny Smith]'),
    ('TV', '[TV]'),
    ('X', '[x]'),
    ('_a__[b]_', '[a (b)]'),
    ('_', '[?]'),
    ('日本語', '[日本語]'),
  ],
)
def test_brackets(name, shown):
  assert formats.styled([cue(0, 1, name)], 'brackets')[0].names == (shown,)
  assert re.fullmatch(r'\[[^][]+\]', shown)
  assert formats.styled([cue(0, 1, name)], 'plain')[0].names == (name,)
