"""Figures of one sound: classes over time, waveform, spectrogram, events, filters."""

import math

import numpy as np
from matplotlib import colors, ticker
from matplotlib.figure import Figure

from audionet_tf.plotting import style
from audionet_tf.plotting import style as plotting_style
from audionet_tf.plotting.style import MOST_STEPS

FLOOR_DECIBELS = -80
TICKS_HZ = (100, 250, 500, 1000, 2000, 4000, 8000, 16000)
FFT_SAMPLES = 1024  # of a filter's spectrum, zero padded: a finer reading of its peak
MOST_FILTERS = 128
MOST_ROWS = 40  # classes of a timeline
THUMBNAIL_COLUMNS, PICTURE_COLUMNS = 96, 56


def filters(kernel, sample_rate_hz, title=''):
  """A first layer's filters over time beside their spectra, sorted by the frequency of the peak (Aytar 2016, figure 3).

  Of more than MOST_FILTERS the first ones in this order are drawn.

  Args:
    kernel: f32 [K, filters].
    sample_rate_hz: of the sound that it hears.
    title: str.
  """
  spectra = np.abs(np.fft.rfft(kernel, FFT_SAMPLES, axis=0))  # [FFT_SAMPLES / 2 + 1, filters]
  hertz = np.fft.rfftfreq(FFT_SAMPLES, 1 / sample_rate_hz)
  peak_hz = hertz[spectra.argmax(0)]
  order = np.argsort(peak_hz, kind='stable')[:MOST_FILTERS]
  milliseconds = np.arange(len(kernel)) / sample_rate_hz * 1000
  columns = min(len(order), 2 if len(order) <= 8 else 4)
  rows = -(-len(order) // columns)
  figure = Figure(figsize=(3.1 * columns, 0.95 * rows + 1))
  inch = 1 / figure.get_figheight()
  # A pair of axes a column, not a filter: a hundred axes take seconds, and training waits for them.
  grid = figure.subplots(
    1,
    2 * columns,
    squeeze=False,
    gridspec_kw={'left': 0.02, 'right': 0.98, 'wspace': 0.12, 'top': 1 - 0.4 * inch, 'bottom': 0.5 * inch},
  )
  for column, (over_time, over_frequency) in enumerate(grid.reshape(-1, 2)):
    numbers = order[column::columns]
    draw_filters(over_time, milliseconds, kernel[:, numbers], rows, 'ms')
    draw_spectra(over_frequency, hertz / 1000, spectra[:, numbers], rows, 'kHz')
    for row, number in enumerate(numbers):
      over_time.text(0, -row - 0.05, f'{number}: {peak_hz[number]:,.0f} Hz', fontsize=8, va='top')
  figure.suptitle(title, fontsize=10, y=1 - 0.1 * inch, va='top', parse_math=False)
  return figure


def draw_filters(axes, milliseconds, taps, rows, unit):
  """Filters [K, filters] below one another: filter i between y = -i and -i - 1, each to its full height."""
  middles = -np.arange(taps.shape[1]) - 0.6
  axes.hlines(middles, 0, milliseconds[-1], color='0.8', linewidth=0.6)
  heights = 0.38 * taps / np.maximum(np.abs(taps).max(0), 1e-12)
  axes.plot(milliseconds, middles + heights, color=style.COLOURS[0], linewidth=0.9)
  label_rows(axes, rows, milliseconds[-1] or 1, unit)


def draw_spectra(axes, kilohertz, spectra, rows, unit):
  """Amplitudes over frequency [K, filters], placed as `draw_filters` places the filters."""
  for row, spectrum in enumerate(spectra.T):
    height = -row - 0.98 + 0.76 * spectrum / max(spectrum.max(), 1e-12)
    axes.fill_between(kilohertz, height, -row - 0.98, color=style.COLOURS[1], linewidth=0)
  label_rows(axes, rows, kilohertz[-1], unit)


def label_rows(axes, rows, most, unit):
  axes.set_ylim(-rows, 0)
  axes.set_xlim(0, most)
  axes.set_yticks([])
  axes.spines[['left', 'right', 'top']].set_visible(False)
  axes.tick_params(labelsize=7, length=2)
  axes.xaxis.set_major_locator(ticker.MaxNLocator(4, integer=unit == 'kHz'))
  axes.set_xlabel(unit, fontsize=7, labelpad=1)


def timeline(title, heard, wave, mel, sample_rate_hz, events=()):
  """Sound, its log-mel spectrogram, and below them the classes: a row each, its colour the probability over time.

  Below these, where there are any, the events: a row a name, those that sound longest.

  Where there are more windows than pixels, a pixel shows the highest probability of those that share it: what is brief
  stays visible.

  Args:
    title: str.
    heard: dict of `start_seconds`, `end_seconds` float [windows], `probabilities` float [windows, classes] of the
      classes to draw, the first on top, and their `class_names`.
    wave: dict of `overview.envelope`.
    mel: dict of `spectrograms.MelPicture.picture`.
    sample_rate_hz: of the wave.
    events: list of events.Event.
  """
  names = heard['class_names']
  sounding = longest(events)
  heights = [1.3, 1.9, *(0.5 + 0.24 * len(rows) for rows in (names, sounding) if rows)]  # inches
  figure = Figure(figsize=(11, 1 + sum(heights)), layout='constrained')
  axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
  sound, spectrum, classes = axes[:3]
  sound.set_title(style.shorten(title, 80), parse_math=False, fontsize=10)
  style.draw_wave(sound, wave, sample_rate_hz)
  sound.set_ylabel('sound')
  draw_mel(figure, spectrum, mel)
  draw_classes(figure, classes, heard, names)
  length = max(float(np.max(heard['end_seconds'])), (wave['start_sample'] + wave['samples']) / sample_rate_hz)
  if sounding:
    draw_events(axes[3], events, sounding)
    length = max(length, *(event.end_seconds for event in events))
  axes[-1].set_xlim(0, length)
  style.label_time(axes[-1], length)
  return figure


def longest(events):
  """At most MOST_ROWS names of the events, those that sound longest in all first."""
  seconds = {}
  for event in events:
    seconds[event.name] = seconds.get(event.name, 0) + event.end_seconds - event.start_seconds
  return sorted(seconds, key=lambda name: (-seconds[name], name))[:MOST_ROWS]


def draw_events(axes, events, names):
  """A row a name, a bar an event: the darker, the higher its score."""
  for row, name in enumerate(names):
    own = [event for event in events if event.name == name]
    spans = [(event.start_seconds, event.end_seconds - event.start_seconds) for event in own]
    shades = [colors.to_rgba(style.COLOURS[1], 0.3 + 0.7 * min(1, max(0, event.score))) for event in own]
    axes.broken_barh(spans, (row + 0.15, 0.7), facecolors=shades, edgecolor=style.COLOURS[1], linewidth=0.6)
  axes.set_yticks(np.arange(len(names)) + 0.5, style.distinct(names, 32), fontsize=8, parse_math=False)
  axes.tick_params(axis='y', length=0)
  axes.set_ylim(len(names), 0)
  axes.set_ylabel('events')


def draw_mel(figure, axes, mel):
  """A log-mel spectrogram; the frequency axis is linear in mel."""
  places = np.arange(len(mel['edges_hz']), dtype=float)
  image = axes.pcolormesh(
    mel['edges_seconds'], places, mel['decibels'].T, cmap='magma', vmin=FLOOR_DECIBELS, vmax=0, rasterized=True
  )
  figure.colorbar(image, ax=axes, label='dB', pad=0.01, aspect=12)
  marks = [hertz for hertz in TICKS_HZ if mel['edges_hz'][0] <= hertz <= mel['edges_hz'][-1]]
  axes.set_yticks(np.interp(marks, mel['edges_hz'], places), [f'{hertz:,}' for hertz in marks], fontsize=8)
  axes.set_ylabel('Hz, mel scale')


def draw_classes(figure, axes, heard, names):
  """A row a class, its colour the probability."""
  group = math.ceil(len(heard['probabilities']) / style.MOST_STEPS)
  starts, ends = (np.asarray(heard[key], np.float64) for key in ('start_seconds', 'end_seconds'))
  between = (ends[:-1] + starts[1:]) / 2  # windows may overlap: they share what both cover
  edges = np.concatenate([starts[:1], between, ends[-1:]])
  edges = np.append(edges[:-1][::group], edges[-1])
  rows = np.stack([style.grouped(values, group, np.max) for values in np.asarray(heard['probabilities'], np.float32).T])
  image = axes.pcolormesh(edges, np.arange(len(names) + 1), rows, cmap='viridis', vmin=0, rasterized=True)
  figure.colorbar(image, ax=axes, label='probability', pad=0.01, aspect=max(8, len(names)))
  axes.set_yticks(np.arange(len(names)) + 0.5, style.distinct(names, 32), fontsize=8, parse_math=False)
  axes.tick_params(axis='y', length=0)
  axes.set_ylim(len(names), 0)


def units(title, shown, sounds):
  """What excites units: a row a unit, the log-mel spectrograms of its strongest windows beside one another, and to the
  right of each what was seen then.

  Args:
    title: str.
    shown: dict of unit to list of (window, activation), the strongest first.
    sounds: dict of window to dict: `name`, str; `decibels` f32 [columns, bands] (`spectrograms.MelPicture.picture`);
      `seen` u8 [H, W, 3] or None.
  """
  bands = next(iter(sounds.values()))['decibels'].shape[1]
  pictured = any(sound['seen'] is not None for sound in sounds.values())
  width = THUMBNAIL_COLUMNS + pictured * (PICTURE_COLUMNS + 2) + 8
  height = bands + 22  # the gap above has the caption
  most = max(len(row) for row in shown.values())
  canvas = np.full([len(shown) * height, most * width], np.nan, np.float32)
  figure = Figure(figsize=(1 + 0.018 * width * most, 0.5 + 1.3 * len(shown)), layout='constrained')
  axes = figure.add_subplot()  # one for all: a hundred axes take seconds, and training waits for them
  for i, row in enumerate(shown.values()):
    for j, (window, activation) in enumerate(row):
      y, x = i * height + 22, j * width
      canvas[y : y + bands, x : x + THUMBNAIL_COLUMNS] = thumbnail(sounds[window]['decibels'])
      caption = f'{style.shorten(sounds[window]["name"], 24)}\n{activation:.3g}'
      if sounds[window]['seen'] is not None:
        right = x + THUMBNAIL_COLUMNS + 2
        axes.imshow(sounds[window]['seen'], extent=(right, right + PICTURE_COLUMNS, y + bands, y))
      axes.text(x, y - 1, caption, fontsize=6, va='bottom', linespacing=0.95, parse_math=False)
  image = axes.imshow(canvas, cmap='magma', vmin=FLOOR_DECIBELS, vmax=0, aspect='auto', interpolation='nearest')
  figure.colorbar(image, ax=axes, label='dB', pad=0.01, aspect=30, shrink=0.4)
  axes.set_yticks([i * height + 22 + bands / 2 for i in range(len(shown))], [f'unit {unit}' for unit in shown])
  axes.set_xticks([])
  axes.tick_params(length=0, labelsize=8)
  axes.spines[:].set_visible(False)
  axes.set_title(title, fontsize=10, parse_math=False)
  return figure


def thumbnail(decibels):
  """f32 [bands, THUMBNAIL_COLUMNS] of f32 [columns, bands], low bands below."""
  columns = len(decibels)
  edges = np.linspace(0, columns, THUMBNAIL_COLUMNS + 1)
  first, end = np.floor(edges[:-1]).astype(int), np.ceil(edges[1:]).astype(int)
  return np.stack([decibels[a:b].mean(0) for a, b in zip(first, end, strict=True)], 1)[::-1]


def signals(title, start_seconds, end_seconds, probabilities, class_names, wave, sample_rate_hz):
  """Probabilities of a few classes over time above the sound (Bryce 2018, figures 4 to 13).

  Where there are more windows than pixels, a line is the mean of those that share one, a band their range.

  Args:
    title: str.
    start_seconds, end_seconds: float [windows].
    probabilities: float [windows, classes], the classes to draw, best first.
    class_names: str [classes].
    wave: dict of `overview.envelope`.
    sample_rate_hz: of the wave.
  """
  figure = Figure(figsize=(10, 5.6), layout='constrained')
  above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
  group = math.ceil(len(start_seconds) / MOST_STEPS)
  middles = plotting_style.grouped((np.asarray(start_seconds) + np.asarray(end_seconds)) / 2, group, np.mean)
  marker = '.' if len(middles) <= 50 else None
  handles = []
  for i, values in enumerate(np.asarray(probabilities, np.float32).T):
    style = plotting_style.line_style(i)
    if group > 1:
      low, high = plotting_style.grouped(values, group, np.min), plotting_style.grouped(values, group, np.max)
      above.fill_between(middles, low, high, color=style['color'], alpha=0.25, linewidth=0)
    handles += above.plot(
      middles, plotting_style.grouped(values, group, np.mean), marker=marker, linewidth=1.2, **style
    )
  above.set_ylabel('probability')
  above.set_ylim(0, max(1.05 * float(np.max(probabilities)), 1e-6))
  above.set_title(plotting_style.shorten(title, 80), parse_math=False, fontsize=10)
  plotting_style.legend(above, handles, [plotting_style.wrap(name) for name in class_names])
  plotting_style.draw_wave(below, wave, sample_rate_hz)
  length = max(float(np.max(end_seconds)), (wave['start_sample'] + wave['samples']) / sample_rate_hz)
  below.set_xlim(0, length)
  plotting_style.label_time(below, length)
  for axes in (above, below):
    axes.grid(color='0.9')
    axes.set_axisbelow(True)
  return figure
