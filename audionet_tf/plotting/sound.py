"""Figures of one sound: classes over time, waveform, spectrogram, events, filters."""

import math

import numpy as np
from matplotlib import colors, ticker
from matplotlib.figure import Figure

from audionet_tf.plotting import style

FLOOR_DECIBELS = -80
TICKS_HZ = (100, 250, 500, 1000, 2000, 4000, 8000, 16000)
FFT_SAMPLES = 1024  # of a filter's spectrum: zero padding locates its peak more precisely
MOST_FILTERS = 128
MOST_ROWS = 40  # of events in a timeline
THUMBNAIL_COLUMNS, PICTURE_COLUMNS = 96, 56


def filters(kernel, sample_rate_hz, title=''):
  """Filters of a first layer over time beside their spectra, sorted by the frequency of the peak.

  Of more than MOST_FILTERS it draws the lowest ones. Source: Aytar et al. 2016, figure 3.

  Args:
    kernel: f32 [K, filters].
    sample_rate_hz: of the layer's input.
    title: str.

  Returns:
    matplotlib Figure.
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
  # One pair of axes per column, not per filter: a hundred axes take seconds, and training waits for them.
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
  """Draws filters [K, filters] below one another, filter i between y = -i and -i - 1, each scaled to its height."""
  middles = -np.arange(taps.shape[1]) - 0.6
  axes.hlines(middles, 0, milliseconds[-1], color='0.8', linewidth=0.6)
  heights = 0.38 * taps / np.maximum(np.abs(taps).max(0), 1e-12)
  axes.plot(milliseconds, middles + heights, color=style.COLOURS[0], linewidth=0.9)
  label_rows(axes, rows, milliseconds[-1] or 1, unit)


def draw_spectra(axes, kilohertz, spectra, rows, unit):
  """Draws amplitudes [frequencies, filters] below one another, filter i between y = -i and -i - 1."""
  for row, spectrum in enumerate(spectra.T):
    height = -row - 0.98 + 0.76 * spectrum / max(spectrum.max(), 1e-12)
    axes.fill_between(kilohertz, height, -row - 0.98, color=style.COLOURS[1], linewidth=0)
  label_rows(axes, rows, kilohertz[-1], unit)


def label_rows(axes, rows, end, unit):
  """Limits and ticks of a column of filters: `rows` rows, x from 0 to `end` in `unit`."""
  axes.set_ylim(-rows, 0)
  axes.set_xlim(0, end)
  axes.set_yticks([])
  axes.spines[['left', 'right', 'top']].set_visible(False)
  axes.tick_params(labelsize=7, length=2)
  axes.xaxis.set_major_locator(ticker.MaxNLocator(4, integer=unit == 'kHz'))
  axes.set_xlabel(unit, fontsize=7, labelpad=1)


def timeline(title, predictions, wave, mel, sample_rate_hz, events=()):
  """Waveform, log-mel spectrogram, one row per class with the probability as colour, and one row per name of events.

  Of the events it draws the MOST_ROWS names with the longest total duration. Where there are more windows than pixels,
  a pixel shows the highest probability of its windows, so that brief sounds stay visible.

  Args:
    title: str.
    predictions: dict of `start_seconds`, `end_seconds` float [windows]; `probabilities` float [windows, classes] of the
      classes to draw, the first on top; `class_names` str [classes].
    wave: dict of `overview.envelope`.
    mel: dict of `overview.MelPicture.picture`.
    sample_rate_hz: of the wave.
    events: list of event_detection.Event.

  Returns:
    matplotlib Figure.
  """
  names = predictions['class_names']
  event_names = longest(events)
  heights = [1.3, 1.9, *(0.5 + 0.24 * len(rows) for rows in (names, event_names) if rows)]  # inches
  figure = Figure(figsize=(11, 1 + sum(heights)), layout='constrained')
  axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
  sound, spectrum, classes = axes[:3]
  sound.set_title(style.shorten(title, 80), parse_math=False, fontsize=10)
  style.draw_wave(sound, wave, sample_rate_hz)
  sound.set_ylabel('sound')
  draw_mel(figure, spectrum, mel)
  draw_classes(figure, classes, predictions, names)
  length = max(float(np.max(predictions['end_seconds'])), (wave['start_sample'] + wave['samples']) / sample_rate_hz)
  if event_names:
    draw_events(axes[3], events, event_names)
    length = max(length, *(event.end_seconds for event in events))
  axes[-1].set_xlim(0, length)
  style.label_time(axes[-1], length)
  return figure


def longest(events):
  """At most MOST_ROWS names of the events, in descending order of their total duration."""
  seconds = {}
  for event in events:
    seconds[event.name] = seconds.get(event.name, 0) + event.end_seconds - event.start_seconds
  return sorted(seconds, key=lambda name: (-seconds[name], name))[:MOST_ROWS]


def draw_events(axes, events, names):
  """Draws one row per name and one bar per event, darker for higher scores."""
  for row, name in enumerate(names):
    named = [event for event in events if event.name == name]
    spans = [(event.start_seconds, event.end_seconds - event.start_seconds) for event in named]
    shades = [colors.to_rgba(style.COLOURS[1], 0.3 + 0.7 * min(1, max(0, event.score))) for event in named]
    axes.broken_barh(spans, (row + 0.15, 0.7), facecolors=shades, edgecolor=style.COLOURS[1], linewidth=0.6)
  axes.set_yticks(np.arange(len(names)) + 0.5, style.distinct(names, 32), fontsize=8, parse_math=False)
  axes.tick_params(axis='y', length=0)
  axes.set_ylim(len(names), 0)
  axes.set_ylabel('events')


def draw_mel(figure, axes, mel):
  """Draws a log-mel spectrogram, a dict of `overview.MelPicture.picture`; the frequency axis is linear in mel."""
  places = np.arange(len(mel['edges_hz']), dtype=float)
  image = axes.pcolormesh(
    mel['edges_seconds'], places, mel['decibels'].T, cmap='magma', vmin=FLOOR_DECIBELS, vmax=0, rasterized=True
  )
  figure.colorbar(image, ax=axes, label='dB', pad=0.01, aspect=12)
  marks = [hertz for hertz in TICKS_HZ if mel['edges_hz'][0] <= hertz <= mel['edges_hz'][-1]]
  axes.set_yticks(np.interp(marks, mel['edges_hz'], places), [f'{hertz:,}' for hertz in marks], fontsize=8)
  axes.set_ylabel('Hz, mel scale')


def draw_classes(figure, axes, predictions, names):
  """Draws one row per class with the probability as colour; arguments as in `timeline`."""
  group = math.ceil(len(predictions['probabilities']) / style.MOST_STEPS)
  starts, ends = (np.asarray(predictions[key], np.float64) for key in ('start_seconds', 'end_seconds'))
  between = (ends[:-1] + starts[1:]) / 2  # overlapping windows meet in the middle of their overlap
  edges = np.concatenate([starts[:1], between, ends[-1:]])
  edges = np.append(edges[:-1][::group], edges[-1])
  probabilities = np.asarray(predictions['probabilities'], np.float32)
  rows = np.stack([style.reduce_groups(values, group, np.max) for values in probabilities.T])
  image = axes.pcolormesh(edges, np.arange(len(names) + 1), rows, cmap='viridis', vmin=0, rasterized=True)
  figure.colorbar(image, ax=axes, label='probability', pad=0.01, aspect=max(8, len(names)))
  axes.set_yticks(np.arange(len(names)) + 0.5, style.distinct(names, 32), fontsize=8, parse_math=False)
  axes.tick_params(axis='y', length=0)
  axes.set_ylim(len(names), 0)


def units(title, shown, sounds):
  """Log-mel spectrograms of the windows that activate units most, one row per unit, each with its picture if any.

  Args:
    title: str.
    shown: dict of unit to list of (window, activation), in descending order of activation.
    sounds: dict of window to dict of `name`, str; `decibels` f32 [columns, bands] (`overview.MelPicture.picture`);
      `picture` u8 [H, W, 3] or None.

  Returns:
    matplotlib Figure.
  """
  bands = next(iter(sounds.values()))['decibels'].shape[1]
  pictured = any(sound['picture'] is not None for sound in sounds.values())
  width = THUMBNAIL_COLUMNS + pictured * (PICTURE_COLUMNS + 2) + 8
  height = bands + 22  # with room for the caption above
  most = max(len(row) for row in shown.values())
  canvas = np.full([len(shown) * height, most * width], np.nan, np.float32)
  figure = Figure(figsize=(1 + 0.018 * width * most, 0.5 + 1.3 * len(shown)), layout='constrained')
  axes = figure.add_subplot()  # shared by all: a hundred axes take seconds, and training waits for them
  for i, row in enumerate(shown.values()):
    for j, (window, activation) in enumerate(row):
      y, x = i * height + 22, j * width
      canvas[y : y + bands, x : x + THUMBNAIL_COLUMNS] = thumbnail(sounds[window]['decibels'])
      caption = f'{style.shorten(sounds[window]["name"], 24)}\n{activation:.3g}'
      if sounds[window]['picture'] is not None:
        right = x + THUMBNAIL_COLUMNS + 2
        axes.imshow(sounds[window]['picture'], extent=(right, right + PICTURE_COLUMNS, y + bands, y))
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
  """Spectrogram f32 [columns, bands] as an image f32 [bands, THUMBNAIL_COLUMNS] with low bands at the bottom."""
  columns = len(decibels)
  edges = np.linspace(0, columns, THUMBNAIL_COLUMNS + 1)
  first, end = np.floor(edges[:-1]).astype(int), np.ceil(edges[1:]).astype(int)
  return np.stack([decibels[a:b].mean(0) for a, b in zip(first, end, strict=True)], 1)[::-1]


def signals(title, start_seconds, end_seconds, probabilities, class_names, wave, sample_rate_hz):
  """Probabilities of a few classes over time, above the waveform.

  Where there are more windows than pixels, a line shows the mean of the windows of a pixel and a band their range.
  Source: Bryce 2018, figures 4 to 13.

  Args:
    title: str.
    start_seconds, end_seconds: float [windows].
    probabilities: float [windows, classes] of the classes to draw, in the order of the legend.
    class_names: str [classes].
    wave: dict of `overview.envelope`.
    sample_rate_hz: of the wave.

  Returns:
    matplotlib Figure.
  """
  figure = Figure(figsize=(10, 5.6), layout='constrained')
  above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
  group = math.ceil(len(start_seconds) / style.MOST_STEPS)
  middles = style.reduce_groups((np.asarray(start_seconds) + np.asarray(end_seconds)) / 2, group, np.mean)
  marker = '.' if len(middles) <= 50 else None
  handles = []
  for i, values in enumerate(np.asarray(probabilities, np.float32).T):
    line = style.line_style(i)
    if group > 1:
      low, high = style.reduce_groups(values, group, np.min), style.reduce_groups(values, group, np.max)
      above.fill_between(middles, low, high, color=line['color'], alpha=0.25, linewidth=0)
    handles += above.plot(middles, style.reduce_groups(values, group, np.mean), marker=marker, linewidth=1.2, **line)
  above.set_ylabel('probability')
  above.set_ylim(0, max(1.05 * float(np.max(probabilities)), 1e-6))
  above.set_title(style.shorten(title, 80), parse_math=False, fontsize=10)
  style.legend(above, handles, [style.wrap(name) for name in class_names])
  style.draw_wave(below, wave, sample_rate_hz)
  length = max(float(np.max(end_seconds)), (wave['start_sample'] + wave['samples']) / sample_rate_hz)
  below.set_xlim(0, length)
  style.label_time(below, length)
  for axes in (above, below):
    axes.grid(color='0.9')
    axes.set_axisbelow(True)
  return figure
