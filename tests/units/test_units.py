"""The page of what excites units: moments found, cut out at their times, shown."""

import html.parser
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
from audionet_tf.models import receptive_field, registry, student_file
from audionet_tf.units import activations, search
from audionet_tf.units import html as units_html
from audionet_tf.units import page as units_page

RATE_HZ = 22050
LAYER = 'pool3'


@pytest.fixture(scope='module')
def student(tmp_path_factory):
  """A .keras file of random weights."""
  keras.utils.set_random_seed(0)
  model = registry.build('soundnet5', {'teacher': 3})
  path = tmp_path_factory.mktemp('student') / 's.keras'
  settings = student_file.StudentConfig('soundnet5', RATE_HZ, 'first', 5.0, {'teacher': ['a', 'b', 'c']})
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
    found = dict(attributes)
    self.tags.append(tag)
    self.ids += [found['id']] if 'id' in found else []
    self.files += [urllib.parse.unquote(found['src'])] if 'src' in found else []
    self.links += [found['href']] if 'href' in found else []

  def handle_data(self, data):
    self.text.append(data)


@pytest.fixture(scope='module')
def page(student, sounds, tmp_path_factory):
  """(path of the page, unreadable files)."""
  ear = search.load_ear(student, LAYER)
  return units_page.write_page(ear, search.media_files([sounds]), tmp_path_factory.mktemp('new') / 'page', [3, 77])


def test_the_page_refers_to_files_that_exist_and_to_nothing_else(page):
  path, unreadable = page
  found = Page(path)
  assert [file.name for file in unreadable] == ['broken.wav']
  assert found.files and len(set(found.files)) > 3
  folder = path.parent
  there = {str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file() and p != path}
  assert set(found.files) == there
  assert found.links == [f'#{name}' for name in found.ids] == ['#unit-3', '#unit-77']
  assert 'script' not in found.tags and 'http' not in path.read_text()
  assert found.tags.count('audio') == found.tags.count('li') - 2


def test_names_of_files_are_text(page):
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
      assert 0 < file.getnframes() <= units_page.SHORTEST_CUT_SECONDS * RATE_HZ + 1


def test_what_the_unit_heard_is_shaded(student, sounds, tmp_path):
  ear = search.load_ear(student, LAYER)
  (tmp_path / 'sounds').mkdir()
  found = units_page.write_sounds(ear, sounds / '1.wav', [2000.0, 30000.0], tmp_path, 'x')
  field = receptive_field.receptive_field(ear.table).size
  half = units_page.SHORTEST_CUT_SECONDS * RATE_HZ / 2
  np.testing.assert_allclose(found[30000.0]['heard'], [0.5 - field / 4 / half, 0.5 + field / 4 / half], atol=1e-4)
  np.testing.assert_allclose(found[2000.0]['heard'], [0, (2000 + field / 2) / (2000 + half)], atol=1e-4)


def test_moments_are_the_highest_steps_of_one_pass_over_the_whole(student, sounds):
  ear = search.load_ear(student, LAYER)
  found = search.listen(ear, sounds / '1.wav', 5)
  model, settings = student_file.load(student)
  pcm = np.rint(burst(3, 2.0).astype(np.float64) * 32767) / 32768
  layer = registry.layer_model(model, 'soundnet5', [LAYER])(pcm[None].astype(np.float32))[LAYER].numpy()[0]
  centers, _ = registry.step_seconds('soundnet5', len(pcm), RATE_HZ, LAYER)
  np.testing.assert_allclose(found.activations[0], layer.max(0), rtol=1e-3, atol=1e-5)
  differs = centers[layer.argmax(0)] != found.centers[0] / RATE_HZ
  assert differs.mean() < 0.05  # two steps may be equal but for rounding
  assert (found.files == 5).all() and found.steps == len(layer)
  np.testing.assert_allclose(found.deviation(), layer.std(0), rtol=1e-2, atol=1e-4)


def test_strongest_of_many_files_are_those_of_sorting_them_all():
  rng = np.random.default_rng(0)
  tables = rng.normal(size=(25, 30, 4)).astype(np.float32)  # [files, T, width]
  found = None
  for number, table in enumerate(tables):
    one = activations.strongest_of(table, 100.0, 10, number)
    found = activations.merge(found, one) if found else one
  best = tables.max(1)  # [files, width]
  order = np.argsort(-best, axis=0)[: activations.MOMENTS]
  np.testing.assert_array_equal(found.files, order)
  np.testing.assert_array_equal(found.activations, np.take_along_axis(best, order, 0))
  np.testing.assert_array_equal(found.centers, 100 + 10 * np.take_along_axis(tables.argmax(1), order, 0))
  np.testing.assert_allclose(found.deviation(), tables.reshape(-1, 4).std(0), rtol=1e-6)
  above = (found.activations.mean(0) - tables.mean((0, 1))) / tables.reshape(-1, 4).std(0)
  np.testing.assert_allclose(found.selectivity(), above, rtol=1e-4)
  assert activations.chosen_units(found, []) == np.argsort(-above).tolist()


def test_a_unit_that_never_answers_is_not_selective_and_has_no_moments():
  table = np.stack([np.zeros(9), np.arange(9)], 1).astype(np.float32)
  found = activations.strongest_of(table, 0.0, 1, 0)
  assert found.selectivity()[0] == 0 and activations.top_moments(found, 0) == []
  assert activations.top_moments(found, 1) == [(0, 8.0, 8.0)]


def test_short_sound_is_repeated_and_its_moments_lie_in_it(student, sounds):
  ear = search.load_ear(student, LAYER)
  assert receptive_field.minimum_input_length(ear.table) > 0.05 * RATE_HZ
  found = search.listen(ear, sounds / 'short.wav', 0)
  assert (found.centers < 0.05 * RATE_HZ).all() and (found.centers >= 0).all()


def test_cut_takes_spans_out_of_pieces():
  pcm = np.arange(1000, dtype=np.int16)
  chunks = [(50 + i, pcm[i : i + 77]) for i in range(0, 1000, 77)]
  found = units_page.cut(iter(chunks), [(40, 60), (100, 400), (1000, 2000)])
  np.testing.assert_array_equal(found[0], [0] * 10 + list(range(10)))
  np.testing.assert_array_equal(found[1], pcm[50:350])
  np.testing.assert_array_equal(found[2], pcm[950:])


def test_media_files_of_folders_in_a_folder(tmp_path):
  for name in ('fold1/a.wav', 'fold2/deep/a.mp4', 'b.wav', 'fold1/notes.txt', 'fold2/.hidden.wav'):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
  found = [str(path.relative_to(tmp_path)) for path in search.media_files([tmp_path])]
  assert found == ['b.wav', 'fold1/a.wav', 'fold2/deep/a.mp4']


def test_media_files_of_a_folder(sounds):
  names = [path.name for path in search.media_files([sounds, sounds / 'notes.txt'])]
  assert names == ['0.wav', '1.wav', '<b>video&.mkv', 'broken.wav', 'short.wav', 'notes.txt']


def test_mistakes_are_told_before_anything_is_written(student, sounds, tmp_path):
  with pytest.raises(UserError, match='pool9.* is not known; soundnet5 has conv1, '):
    search.load_ear(student, 'pool9')
  with pytest.raises(UserError, match='those of soundnet5 are conv1, .*conv5'):
    search.load_ear(student, 'embedding')
  with pytest.raises(UserError, match='no sound or video files'):
    search.media_files([tmp_path])
  ear = search.load_ear(student, LAYER)
  with pytest.raises(UserError, match='unit 128: the layer has 128, allowed is 0 to 127'):
    units_page.write_page(ear, [sounds / '0.wav'], tmp_path / 'page', [128])
  with pytest.raises(UserError, match='none of the 1 files'):
    units_page.write_page(ear, [sounds / 'broken.wav'], tmp_path / 'page')
  assert not (tmp_path / 'page').exists()
  (tmp_path / 'old').mkdir()
  (tmp_path / 'old' / 'x').touch()
  with pytest.raises(UserError, match='is not empty'):
    units_page.write_page(ear, [sounds / '0.wav'], tmp_path / 'old')


def test_clock():
  assert [units_html.clock(s) for s in (5.5, 59.999, 65, 3725.25)] == ['0:05.50', '1:00.00', '1:05.00', '1:02:05.25']


def test_command(student, sounds, tmp_path):
  flags = [f'--model={student}', f'--layer={LAYER}', '--unit=3', f'--clips={sounds}/0.wav', f'--output={tmp_path}/page']
  done = commands.run('audionet_tf.plot', 'units', *flags)
  assert done.returncode == 0, done.stderr
  assert pathlib.Path(done.stdout.strip()) == tmp_path / 'page' / 'index.html'
