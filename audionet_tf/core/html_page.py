"""The frame of HTML pages that work offline, in light and dark, and hold no scripts."""

import html
import os
import urllib.parse

STYLE = """
:root { color-scheme: light dark; --page: #fbfbfa; --card: #fff; --text: #1c1c1a; --quiet: #5d5d58; --line: #deded8;
  --accent: #0062a3; --field: #0062a322 }
@media (prefers-color-scheme: dark) { :root { --page: #161615; --card: #20201e; --text: #ececE6; --quiet: #a5a59d;
  --line: #3a3a36; --accent: #6db8ee; --field: #6db8ee33 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 4rem; background: var(--page); color: var(--text);
  font: 1rem/1.45 system-ui, sans-serif }
h1 { margin: 0 0 .25rem; font-size: 1.5rem }
h2 { margin: 2.5rem 0 .1rem; font-size: 1.15rem; scroll-margin-top: 3.5rem }
p { margin: 0 0 .75rem; color: var(--quiet); max-width: 60rem }
a { color: var(--accent) }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
"""


def document(title, introduction, body, style=''):
  """HTML of a page.

  Args:
    title, introduction: str, any characters.
    body: HTML.
    style: CSS in addition to STYLE.

  Returns:
    str.
  """
  return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{STYLE}{style}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
<p>{html.escape(introduction)}</p>
{body}
</body>
</html>
"""


def address(path):
  """A relative path as the text of an attribute."""
  return html.escape(urllib.parse.quote(os.fsencode(path)))  # a name may be no UTF-8
