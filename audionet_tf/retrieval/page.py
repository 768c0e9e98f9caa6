"""HTML of the page that plays the moments that were found. It works offline and holds no scripts."""

import html
import os
import pathlib

from audionet_tf.core import html_page, text
from audionet_tf.units.html import STYLE, timestamp


def page(query, moments, folder):
  """HTML of the page.

  Args:
    query: str, any characters.
    moments: list of moments.Moment, the nearest first.
    folder: pathlib.Path that the page will lie in; it plays the files where they are.

  Returns:
    str.
  """
  highest = max([moment.cosine for moment in moments], default=0)
  cards = '\n'.join(card(rank, moment, highest, folder) for rank, moment in enumerate(moments, 1))
  introduction = (
    f'The {len(moments)} moments that fit best, the best first. Each player starts and ends with its moment.'
  )
  return html_page.document(text.printable(query), introduction, f'<main>\n<ol>\n{cards}\n</ol>\n</main>', STYLE)


def card(rank, moment, highest, folder):
  """HTML of one moment: player, times, cosine, file."""
  name = html.escape(text.printable(pathlib.Path(moment.path).name))
  start, end = timestamp(moment.start_seconds), timestamp(moment.end_seconds)
  source = html_page.address(os.path.relpath(moment.path, folder))
  share = min(1, max(0, moment.cosine / highest)) if highest > 0 else 0
  return f"""<li class="moment">
<audio controls preload="metadata" src="{source}#t={moment.start_seconds:.3f},{moment.end_seconds:.3f}" \
aria-label="moment {rank}: {name} from {start}"></audio>
<div class="bar" aria-hidden="true"><span style="width: {share:.0%}"></span></div>
<div class="numbers"><span>{rank}. {start} to {end}</span><span>cosine {moment.cosine:.3f}</span></div>
<div class="file">{name}</div></li>"""
