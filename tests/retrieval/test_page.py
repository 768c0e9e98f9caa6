"""The page of the moments that were found: of the common style, and of any names of files."""

import html.parser
import os
import urllib.parse

from audionet_tf.core import html_page
from audionet_tf.retrieval import page
from audionet_tf.retrieval.moments import Moment


def test_players_name_their_files_whatever_the_bytes_of_their_names(tmp_path):
  names = [b'a.wav', b'caf\xe9 #1.wav', 'ü&"<b>.wav'.encode()]
  moments = [Moment(os.path.join(tmp_path, os.fsdecode(name)), 0.0, 1.5, 0.5) for name in names]
  text = page.page('<dog>', moments, tmp_path / 'found')
  sources, titles = [], []
  parser = html.parser.HTMLParser()
  parser.handle_starttag = lambda tag, attributes: sources.append(dict(attributes)['src']) if tag == 'audio' else None
  parser.handle_data = lambda data: titles.append(data) if data == '<dog>' else None
  parser.feed(text.encode().decode())
  paths = [urllib.parse.unquote_to_bytes(source.partition('#t=')[0]) for source in sources]
  assert paths == [b'../' + name for name in names] and len(titles) == 2
  assert html_page.STYLE in text and page.STYLE in text
