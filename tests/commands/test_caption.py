"""audionet_tf.caption as a command."""

import json

import av
import commands
import media_clips
import pysubs2
import pytest
import scipy.io.wavfile
import tones
import webvtt

from audionet_tf.captioning import formats
from audionet_tf.saved_model import export


def caption(*arguments, **options):
  """(exit code, stdout, lines of stderr that are errors) of the command."""
  done = commands.run('audionet_tf.caption', *arguments, **options)
  assert 'Traceback' not in done.stderr, done.stderr
  return done.returncode, done.stdout, [line for line in done.stderr.splitlines() if line.startswith('error: ')]


@pytest.mark.long
def test_command_from_a_video_to_all_files(tmp_path):
  served = tones.student(['silence', 'low -->\n<b>', 'high'])
  folder = export.export(served.module, served.settings, tmp_path / 'export')
  sound, coded = tones.sound(6, ('low', 1, 3), ('high', 4, 5)), media_clips.CODED | {'rate_hz': tones.RATE}
  video = media_clips.write(tmp_path / 'a.mp4', 6.0, sounds=[sound], **coded)
  (tmp_path / 'broken.mp4').write_bytes(b'\0' * 5000)
  (tmp_path / 'names.csv').write_text('class_name,display_name\nhigh,"A high, pure tone"\n')
  (tmp_path / 'limits.csv').write_text('class_name,threshold\nhigh,0.9\n')
  options = ['--stop=silence', f'--names={tmp_path}/names.csv', f'--thresholds={tmp_path}/limits.csv', '--burn=soft']
  files = [tmp_path / 'broken.mp4', video, tmp_path / 'missing.wav']
  code, printed, errors = caption(f'--model={folder}', f'--output={tmp_path}/out', *options, *files)
  assert code == 1
  lines = printed.splitlines()
  assert lines[0] == 'a.mp4: 2 events in 6.0 s' and len(lines) == 4
  for line, name in zip(lines[1:3], ('low --> <b>', 'A high, pure tone'), strict=True):
    assert name in line
  assert lines[3].strip().startswith(f'{tmp_path}/out/a.mp4.vtt, .srt, .events.json')
  for error, name in zip(errors, ('broken.mp4: ', 'missing.wav: '), strict=True):
    assert name in error
  out = tmp_path / 'out'
  suffixes = [formats.FORMATS[key][0] for key in formats.USUAL]
  expected = {'settings.json', 'a.mp4.captioned.mp4', *(f'a.mp4{suffix}' for suffix in suffixes)}
  assert {path.name for path in out.iterdir()} == expected
  cues = webvtt.read(str(out / 'a.mp4.vtt'))
  assert [cue.text for cue in cues] == ['low --&gt; &lt;b&gt;', 'A high, pure tone']
  for cue, (start, end) in zip(cues, [(1, 3), (4, 5)], strict=True):
    assert abs(cue.start_in_seconds + cue.start_time.milliseconds / 1000 - start) <= 0.04
    assert abs(cue.end_in_seconds + cue.end_time.milliseconds / 1000 - end) <= 0.04
  settings = json.loads((out / 'settings.json').read_text())
  assert settings['flags']['stop'] == ['silence'] and settings['student']['student'] == 'audionet'
  code, printed, errors = caption(f'--model={folder}', *options[:3], video, cwd=tmp_path / 'out')
  assert (code, errors) == (0, []) and printed.splitlines() == lines[:3]  # and writes nothing
  assert {path.name for path in out.iterdir()} == expected
  with av.open(str(out / 'a.mp4.captioned.mp4')) as copy:
    assert [stream.type for stream in copy.streams] == ['video', 'audio', 'subtitle']


@pytest.mark.long
def test_merging_with_speech(tmp_path):
  served = tones.student(['silence', 'low_tone', 'high'])
  folder = export.export(served.module, served.settings, tmp_path / 'export')
  scipy.io.wavfile.write(tmp_path / 'a.wav', tones.RATE, tones.sound(9, ('low', 1, 3), ('high', 4, 5)))
  said = '1\n00:00:02,000 --> 00:00:03,500\nHello <3\n\n2\n00:00:03,600 --> 00:00:08,000\n- <i>What</i>?\n'
  (tmp_path / 'said.srt').write_text(said)
  options = [f'--model={folder}', '--stop=silence', f'--output={tmp_path}/out', f'--merge={tmp_path}/said.srt']
  code, _, errors = caption(*options, '--format=srt,ass,json', tmp_path / 'a.wav')
  assert (code, errors) == (0, [])
  subtitles = pysubs2.load(str(tmp_path / 'out/a.wav.srt'), keep_html_tags=True)
  assert [event.text for event in subtitles] == ['[low tone]', 'Hello <3', r'[high]\N- <i>What</i>?']
  assert [(e.start, e.end) for e in subtitles[1:]] == [(2000, 3500), (3600, 8000)]
  assert abs(subtitles[0].start - 1000) <= 40 and subtitles[0].end == 2000
  layers = pysubs2.load(str(tmp_path / 'out/a.wav.ass'))
  assert [event.plaintext for event in layers if event.style == 'Sound'] == ['[low tone]', '[high]']
  assert {event['name'] for event in json.loads((tmp_path / 'out/a.wav.events.json').read_text())['events']} == {
    'low_tone',
    'high',
  }
  before = (tmp_path / 'out/a.wav.srt').read_bytes()
  again = [*options[:3], f'--merge={tmp_path}/out/a.wav.srt', tmp_path / 'a.wav']
  code, _, errors = caption(*again)
  assert code == 1 and 'would overwrite the speech' in errors[0]
  assert (tmp_path / 'out/a.wav.srt').read_bytes() == before


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ([], 'caption needs FILE after the flags'),
    (['--model=m', '--output=o', '--format=sub', 'a.wav'], "'sub' is not one of vtt, srt"),
    (['--model=m', '--burn=soft', 'a.wav'], '--burn needs --output'),
    (['--model=m', '--names=n.csv', __file__], 'n.csv: no such file'),
    (['--model=m', '--merge=s.srt', 'a.wav'], '--merge needs --output, and one FILE'),
    (['--model=m', '--output=o', '--merge=s.srt', 'a.wav', 'b.wav'], '--merge needs --output, and one FILE'),
    (['--model=m', '--output=o', '--merge=s.srt', '--burn=soft', 'a.wav'], '--burn shows sounds only'),
    (
      ['--model=m', '--output=o', '--merge=s.srt', '--format=json', 'a.wav'],
      '--merge goes with --format of vtt, srt, ass',
    ),
    (['--model=m', '--output=o', '--merge=s.srt', 'a.wav'], 's.srt: no such file'),
    (['--model=m', 'a.wav'], 'no such file: a.wav'),
    (['--model=m', __file__], 'm: no SavedModel here'),
    (['--model=m', '--output=o', '--blocks=5,2', 'a.wav'], "blocks is '5,2', allowed is PATCHES,HOP,TOTAL"),
  ],
)
def test_command_refuses_at_once(tmp_path, arguments, message):
  code, _, errors = caption(*arguments, cwd=tmp_path)
  assert code == 1 and len(errors) == 1 and message in errors[0] and not list(tmp_path.iterdir())
