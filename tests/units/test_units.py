"""Top activations of units, and the page that shows them at their times."""

import html.parser
import os
import pathlib
import urllib.parse
import wave

import commands
import keras
import media_clips
import numpy as np
import pytest
from PIL import Image

from audionet_tf.core.errors import UserError
from audionet_tf.models import receptive_field, registry, student_file, student_settings
from audionet_tf.units import activations, search
from audionet_tf.units.html import timestamp
from audionet_tf.units.page import SHORTEST_CUT_SECONDS, cut, write_page, write_sounds

RATE_HZ = 22050
LAYER = 'pool3'


@pytest.fixture(scope='module')
def student(tmp_path_factory):
  """A .keras file of random weights."""
  keras.utils.set_random_seed(0)
  model = registry.build('soundnet5', {'teacher': 3})
  path = tmp_path_factory.mktemp('student') / 's.keras'
  settings = student_settings.StudentConfig('soundnet5', RATE_HZ, 'first', 5.0, {'teacher': ['a', 'b', 'c']})
  student_file.save(path, model, settings)
  return path


def burst(seconds, at, hz=2000):
  """f32: faint noise, and a loud tone of a fifth of a second at `at` seconds."""
  times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
  loud = (times >= at) & (times < at + 0.2)
  noise = np.random.default_rng(0).normal(0, 1e-3, len(times))
  return (noise + 0.5 * loud * np.sin(2 * np.pi * hz * times)).astype(np.float32)


@pytest.fixture(scope='module')
def sounds(tmp_path_factory):
  """A video, three sounds, and one that cannot be read."""
  folder = tmp_path_factory.mktemp('sounds')
  media_clips.write(
    folder / '<b>video&.mkv', seconds=4, rate_hz=RATE_HZ, sounds=[burst(4, 3.0)], sound_start=0, size=(64, 48)
  )
  for i, at in enumerate((1.0, 2.0)):
    media_clips.write(folder / f'{i}.wav', times=[], rate_hz=RATE_HZ, sounds=[burst(3, at)])
  media_clips.write(folder / 'short.wav', times=[], rate_hz=RATE_HZ, sounds=[burst(0.05, 0.0)])
  (folder / 'broken.wav').write_bytes(b'RIFF nonsense')
  (folder / 'notes.txt').write_text('no sound')
  return folder


class Page(html.parser.HTMLParser):
  """Tags of a page and what they refer to."""

  def __init__(self, path):
    super().__init__()
    self.tags, self.files, self.links, self.ids, self.text = [], [], [], [], []
    self.feed(path.read_text(encoding='utf-8'))

  def handle_starttag(self, tag, attributes):
    attributes = dict(attributes)
    self.tags.append(tag)
    self.ids += [attributes['id']] if 'id' in attributes else []
    self.files += [urllib.parse.unquote(attributes['src'])] if 'src' in attributes else []
    self.links += [attributes['href']] if 'href' in attributes else []

  def handle_data(self, data):
    self.text.append(data)


@pytest.fixture(scope='module')
def page(student, sounds, tmp_path_factory):
  """(path of the page, unreadable files)."""
  probe = search.load_unit_probe(student, LAYER)
  return write_page(probe, search.media_files([sounds]), tmp_path_factory.mktemp('new') / 'page', [3, 77])


def test_page_refers_to_exactly_the_written_files(page):
  path, unreadable = page
  parsed = Page(path)
  assert [file.name for file in unreadable] == ['broken.wav']
  assert parsed.files and len(set(parsed.files)) > 3
  folder = path.parent
  written = {str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file() and p != path}
  assert set(parsed.files) == written
  assert parsed.links == [f'#{name}' for name in parsed.ids] == ['#unit-3', '#unit-77']
  assert 'script' not in parsed.tags and 'http' not in path.read_text()
  assert parsed.tags.count('audio') == parsed.tags.count('li') - 2


def test_names_of_files_are_escaped(page):
  assert '<b>video&.mkv' in ''.join(Page(page[0]).text)
  assert 'b' not in Page(page[0]).tags


def test_pictures_are_those_of_the_moment(page):
  pictures = sorted((page[0].parent / 'pictures').iterdir())
  assert pictures
  for path in pictures:
    seconds = int(path.stem.partition('-')[2].removesuffix('ms')) / 1000
    with Image.open(path) as image:
      level = np.asarray(image.convert('L')).mean()
    assert abs(level - media_clips.grey(seconds, 4)) < 4  # a picture of 40 ms is 2 levels


def test_sounds_are_those_of_the_moment(page):
  for path in (page[0].parent / 'sounds').iterdir():
    with wave.open(str(path)) as file:
      assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE_HZ, 1, 2)
      assert 0 < file.getnframes() <= SHORTEST_CUT_SECONDS * RATE_HZ + 1


def test_receptive_field_is_shaded(student, sounds, tmp_path):
  probe = search.load_unit_probe(student, LAYER)
  (tmp_path / 'sounds').mkdir()
  written = write_sounds(probe, sounds / '1.wav', [2000.0, 30000.0], tmp_path, 'x')
  field = receptive_field.receptive_field(probe.table).size
  half = SHORTEST_CUT_SECONDS * RATE_HZ / 2
  np.testing.assert_allclose(written[30000.0]['field'], [0.5 - field / 4 / half, 0.5 + field / 4 / half], atol=1e-4)
  np.testing.assert_allclose(written[2000.0]['field'], [0, (2000 + field / 2) / (2000 + half)], atol=1e-4)


def test_moments_are_the_highest_steps_of_a_pass_over_the_whole_file(student, sounds):
  probe = search.load_unit_probe(student, LAYER)
  top = search.search_file(probe, sounds / '1.wav', 5)
  model, settings = student_file.load(student)
  pcm = np.rint(burst(3, 2.0).astype(np.float64) * 32767) / 32768
  layer = registry.layer_model(model, 'soundnet5', [LAYER])(pcm[None].astype(np.float32))[LAYER].numpy()[0]
  centers, _ = registry.step_seconds('soundnet5', len(pcm), RATE_HZ, LAYER)
  np.testing.assert_allclose(top.activations[0], layer.max(0), rtol=1e-3, atol=1e-5)
  differs = centers[layer.argmax(0)] != top.centers[0] / RATE_HZ
  assert differs.mean() < 0.05  # two steps may be equal but for rounding
  assert (top.files == 5).all() and top.steps == len(layer)
  np.testing.assert_allclose(top.std(), layer.std(0), rtol=1e-2, atol=1e-4)


def test_top_activations_of_many_files_equal_sorting():
  rng = np.random.default_rng(0)
  tables = rng.normal(size=(25, 30, 4)).astype(np.float32)  # [files, T, width]
  top = None
  for number, table in enumerate(tables):
    file_top = activations.top_in_piece(table, 100.0, 10, number)
    top = activations.merge(top, file_top) if top else file_top
  best = tables.max(1)  # [files, width]
  order = np.argsort(-best, axis=0)[: activations.MOMENTS]
  np.testing.assert_array_equal(top.files, order)
  np.testing.assert_array_equal(top.activations, np.take_along_axis(best, order, 0))
  np.testing.assert_array_equal(top.centers, 100 + 10 * np.take_along_axis(tables.argmax(1), order, 0))
  np.testing.assert_allclose(top.std(), tables.reshape(-1, 4).std(0), rtol=1e-6)
  above = (top.activations.mean(0) - tables.mean((0, 1))) / tables.reshape(-1, 4).std(0)
  np.testing.assert_allclose(top.selectivity(), above, rtol=1e-4)
  assert activations.chosen_units(top, []) == np.argsort(-above).tolist()


def test_constant_unit_is_not_selective_and_has_no_moments():
  table = np.stack([np.zeros(9), np.arange(9)], 1).astype(np.float32)
  top = activations.top_in_piece(table, 0.0, 1, 0)
  assert top.selectivity()[0] == 0 and activations.top_moments(top, 0) == []
  assert activations.top_moments(top, 1) == [(0, 8.0, 8.0)]


def test_short_sound_is_repeated_and_its_moments_lie_in_it(student, sounds):
  probe = search.load_unit_probe(student, LAYER)
  assert receptive_field.minimum_input_length(probe.table) > 0.05 * RATE_HZ
  top = search.search_file(probe, sounds / 'short.wav', 0)
  assert (top.centers < 0.05 * RATE_HZ).all() and (top.centers >= 0).all()


def test_cut_takes_spans_out_of_pieces():
  pcm = np.arange(1000, dtype=np.int16)
  chunks = [(50 + i, pcm[i : i + 77]) for i in range(0, 1000, 77)]
  cuts = cut(iter(chunks), [(40, 60), (100, 400), (1000, 2000)])
  np.testing.assert_array_equal(cuts[0], [0] * 10 + list(range(10)))
  np.testing.assert_array_equal(cuts[1], pcm[50:350])
  np.testing.assert_array_equal(cuts[2], pcm[950:])


def test_media_files_of_folders_in_a_folder(tmp_path):
  for name in ('fold1/a.wav', 'fold2/deep/a.mp4', 'b.wav', 'fold1/notes.txt', 'fold2/.hidden.wav'):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
  paths = [str(path.relative_to(tmp_path)) for path in search.media_files([tmp_path])]
  assert paths == ['b.wav', 'fold1/a.wav', 'fold2/deep/a.mp4']


def test_media_files_that_are_no_regular_files_are_named(student, sounds, tmp_path, capsys):
  (tmp_path / 'folder.wav').mkdir()
  (tmp_path / 'folder.wav/a.wav').write_bytes((sounds / '0.wav').read_bytes())
  os.mkfifo(tmp_path / 'pipe.wav')
  (tmp_path / 'device.wav').symlink_to('/dev/zero')
  paths = search.media_files([tmp_path])
  assert [path.name for path in paths] == ['device.wav', 'a.wav', 'pipe.wav']
  _, unreadable = search.search_files(search.load_unit_probe(student, LAYER), paths)
  assert unreadable == [tmp_path / 'device.wav', tmp_path / 'pipe.wav']
  told = capsys.readouterr().err
  assert all(f'{path}: not a regular file\n' in told for path in unreadable)


def test_media_files_of_a_folder(sounds):
  names = [path.name for path in search.media_files([sounds, sounds / 'notes.txt'])]
  assert names == ['0.wav', '1.wav', '<b>video&.mkv', 'broken.wav', 'short.wav', 'notes.txt']


def test_mistakes_are_user_errors_before_anything_is_written(student, sounds, tmp_path):
  with pytest.raises(UserError, match='pool9.* is not known; soundnet5 has conv1, '):
    search.load_unit_probe(student, 'pool9')
  with pytest.raises(UserError, match='those of soundnet5 are conv1, .*conv5'):
    search.load_unit_probe(student, 'embedding')
  with pytest.raises(UserError, match='no sound or video files'):
    search.media_files([tmp_path])
  probe = search.load_unit_probe(student, LAYER)
  with pytest.raises(UserError, match='unit 128: the layer has 128, allowed is 0 to 127'):
    write_page(probe, [sounds / '0.wav'], tmp_path / 'page', [128])
  with pytest.raises(UserError, match='none of the 1 files'):
    write_page(probe, [sounds / 'broken.wav'], tmp_path / 'page')
  assert not (tmp_path / 'page').exists()
  (tmp_path / 'old').mkdir()
  (tmp_path / 'old' / 'x').touch()
  with pytest.raises(UserError, match='is not empty'):
    write_page(probe, [sounds / '0.wav'], tmp_path / 'old')


def test_timestamp():
  assert [timestamp(s) for s in (5.5, 59.999, 65, 3725.25)] == ['0:05.50', '1:00.00', '1:05.00', '1:02:05.25']


def test_command(student, sounds, tmp_path):
  flags = [f'--model={student}', f'--layer={LAYER}', '--unit=3', f'--clips={sounds}/0.wav', f'--output={tmp_path}/page']
  done = commands.run('audionet_tf.plot', 'units', *flags)
  assert done.returncode == 0, done.stderr
  assert pathlib.Path(done.stdout.strip()) == tmp_path / 'page' / 'index.html'
