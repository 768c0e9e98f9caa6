"""HTML of the page that plays and shows what activates units. It works offline and holds no scripts."""

import html

import numpy as np

from audionet_tf.core import html_page
from audionet_tf.core.html_page import address

WAVE_POINTS = 120

STYLE = """
nav { position: sticky; top: 0; padding: .5rem 0; background: var(--page); border-bottom: 1px solid var(--line) }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem .9rem; margin: 0; padding: 0; list-style: none }
ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(14.5rem, 1fr)); gap: .75rem; margin: 0; padding: 0;
  list-style: none }
li.moment { display: flex; flex-direction: column; gap: .4rem; padding: .6rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .5rem }
.moment img { width: 100%; aspect-ratio: 4 / 3; object-fit: fill; border-radius: .3rem }
.moment svg { width: 100%; height: 3rem; fill: var(--quiet) }
.moment svg rect { fill: var(--field) }
.moment audio { width: 100%; height: 2.4rem }
.file { overflow-wrap: anywhere; font-size: .85rem }
.numbers { display: flex; justify-content: space-between; gap: .5rem; font-size: .85rem; color: var(--quiet);
  font-variant-numeric: tabular-nums }
.bar { height: .25rem; background: var(--line); border-radius: .2rem }
.bar span { display: block; height: 100%; background: var(--accent); border-radius: .2rem }
"""


def page(title, introduction, units):
  """HTML of the page.

  Args:
    title, introduction: str, any characters.
    units: list of dicts of `number`, int; `note`, str; `moments`, list of dicts, the highest activation first, of
      `file`, str; `seconds` and `activation`, float; `sound`, path relative to the page; `picture`, likewise or None;
      `wave` f32 [samples] in [-1, 1]; `field`, (begin, end) of the receptive field as fractions of the wave.

  Returns:
    str.
  """
  links = ''.join(f'<li><a href="#unit-{unit["number"]}">unit {unit["number"]}</a></li>' for unit in units)
  sections = '\n'.join(section(unit) for unit in units)
  body = f'<nav aria-label="Units"><ul>{links}</ul></nav>\n<main>\n{sections}\n</main>'
  return html_page.document(title, introduction, body, STYLE)


def section(unit):
  """HTML of one unit: a heading, a note, and its moments as a numbered list."""
  number = unit['number']
  highest = max([abs(moment['activation']) for moment in unit['moments']], default=0) or 1
  cards = '\n'.join(card(number, rank, moment, highest) for rank, moment in enumerate(unit['moments'], 1))
  return f"""<section aria-labelledby="unit-{number}">
<h2 id="unit-{number}">Unit {number}</h2>
<p>{html.escape(unit['note'])}</p>
<ol>
{cards}
</ol>
</section>"""


def card(number, rank, moment, highest):
  """HTML of one moment: picture if there is one, waveform, player, file, time, activation."""
  file, seconds = html.escape(moment['file']), timestamp(moment['seconds'])
  picture = moment['picture'] and f'<img src="{address(moment["picture"])}" alt="{file} at {seconds}" loading="lazy">'
  share = min(1, max(0, moment['activation'] / highest))
  return f"""<li class="moment">{picture or ''}
{wave(moment['wave'], moment['field'])}
<audio controls preload="metadata" src="{address(moment['sound'])}" aria-label="unit {number}, sound {rank}: {file}">\
</audio>
<div class="bar" aria-hidden="true"><span style="width: {share:.0%}"></span></div>
<div class="numbers"><span>{rank}. at {seconds}</span><span>activation {moment['activation']:.3g}</span></div>
<div class="file">{file}</div></li>"""


def timestamp(seconds):
  """3725.25 as '1:02:05.25'; 5.5 as '0:05.50'."""
  minutes, hundredths = divmod(round(seconds * 100), 6000)
  hours, minutes = divmod(minutes, 60)
  start = f'{hours}:{minutes:02}' if hours else f'{minutes}'
  return f'{start}:{hundredths // 100:02}.{hundredths % 100:02}'


def wave(samples, field):
  """SVG of the range of f32 [samples] over time, with the receptive field shaded: (begin, end) as fractions."""
  parts = np.array_split(samples, min(WAVE_POINTS, len(samples)))
  peak = max(float(np.abs(samples).max()), 1e-3)
  high, low = ([round(50 - 48 * float(f(part)) / peak, 1) for part in parts] for f in (np.max, np.min))
  steps = 100 / max(1, len(parts) - 1)
  outline = [f'{round(i * steps, 1)},{y}' for i, y in enumerate(high)]
  outline += [f'{round(i * steps, 1)},{max(y, high[i] + 1)}' for i, y in reversed(list(enumerate(low)))]
  begin, end = (round(100 * share, 1) for share in field)
  return (
    '<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">'
    f'<rect x="{begin}" width="{round(end - begin, 1)}" height="100"/><polygon points="{" ".join(outline)}"/></svg>'
  )
