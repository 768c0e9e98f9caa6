// The timeline: waveform, log-mel spectrogram and classes over time, one canvas per row, a playhead over all of them.

import { words } from './page.js';

const STEP_SECONDS = 1;
const PAGE_SECONDS = 10;

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Seconds as 02:05 or 1:02:05, with `digits` behind the point.
export function clock(seconds, digits = 0) {
  const unit = 10 ** digits;
  const parts = Math.floor(seconds * unit + 1e-6);
  const whole = Math.floor(parts / unit);
  const hours = Math.floor(whole / 3600);
  const below = [Math.floor(whole / 60) % 60, whole % 60].map((n) => String(n).padStart(2, '0')).join(':');
  return (hours ? `${hours}:` : '') + below + (digits ? `.${String(parts % unit).padStart(digits, '0')}` : '');
}

function rgb(hex) {
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

// u8 [256][3]: from low over middle to high.
function palette() {
  const stops = ['--mel-low', '--mel-middle', '--mel-high'].map((name) => rgb(css(name)));
  return Array.from({ length: 256 }, (_, i) => {
    const at = (i / 255) * 2;
    const first = Math.min(1, Math.floor(at));
    return stops[first].map((value, c) => value + (stops[first + 1][c] - value) * (at - first));
  });
}

// A canvas as large as it is shown, and its context.
function prepared(canvas) {
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(canvas.clientWidth * scale));
  canvas.height = Math.max(1, Math.round(canvas.clientHeight * scale));
  return canvas.getContext('2d');
}

function drawWave(canvas, wave, seconds) {
  const context = prepared(canvas);
  const { width, height } = canvas;
  const perBlock = (wave.block_seconds / seconds) * width;
  const peak = Math.max(1, ...wave.high, ...wave.low.map((value) => -value));
  context.fillStyle = css('--wave');
  wave.high.forEach((high, i) => {
    const top = (height / 2) * (1 - high / peak);
    const bottom = (height / 2) * (1 - wave.low[i] / peak);
    const [left, right] = [Math.floor(i * perBlock), Math.ceil((i + 1) * perBlock)];
    context.fillRect(left, top, Math.max(1, right - left), Math.max(1, bottom - top));
  });
}

function drawMel(canvas, mel, seconds) {
  const colours = palette();
  const levels = Uint8Array.from(atob(mel.levels), (c) => c.charCodeAt(0));
  const picture = new ImageData(mel.columns, mel.bands);
  for (let column = 0; column < mel.columns; column++) {
    for (let band = 0; band < mel.bands; band++) {
      const place = 4 * ((mel.bands - 1 - band) * mel.columns + column);
      picture.data.set([...colours[levels[column * mel.bands + band]], 255], place);
    }
  }
  const small = document.createElement('canvas');
  small.width = mel.columns;
  small.height = mel.bands;
  small.getContext('2d').putImageData(picture, 0, 0);
  const context = prepared(canvas);
  context.drawImage(small, 0, 0, ((mel.columns * mel.column_seconds) / seconds) * canvas.width, canvas.height);
}

// `largest`: the value that fills the row.
function drawBar(canvas, classes, values, largest, seconds) {
  const context = prepared(canvas);
  context.fillStyle = css('--accent');
  values.forEach((value, i) => {
    const start = (classes.start_seconds[i] / seconds) * canvas.width;
    const end = (classes.end_seconds[i] / seconds) * canvas.width;
    const height = (value / largest) * canvas.height;
    const [left, right] = [Math.floor(start), Math.ceil(end)];  // whole pixels: no seams between neighbours
    context.fillRect(left, canvas.height - height, Math.max(1, right - left), height);
  });
}

function drawAxis(canvas, seconds) {
  const context = prepared(canvas);
  const scale = window.devicePixelRatio || 1;
  const most = canvas.width / scale / 70;
  const step = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600].find((s) => seconds / s <= most) ?? 7200;
  context.fillStyle = css('--faint');
  context.font = `${12 * scale}px system-ui, sans-serif`;
  context.textBaseline = 'middle';
  for (let at = 0; at <= seconds; at += step) {
    const x = (at / seconds) * canvas.width;
    const text = clock(at);
    const room = context.measureText(text).width;
    context.fillRect(x, 0, scale, 4 * scale);
    context.fillText(text, Math.max(0, Math.min(x - (at ? room / 2 : 0), canvas.width - room)), canvas.height * 0.6);
  }
}

function addRow(rows, kind, name) {
  const row = document.createElement('div');
  row.className = `row ${kind}`;
  const label = document.createElement('span');
  label.textContent = name;
  label.title = name;
  const canvas = document.createElement('canvas');
  row.append(label, canvas);
  rows.append(row);
  return canvas;
}

// Fills `element` and lets people seek in it. The rows of classes are scaled to the largest score: among a thousand
// classes few reach 10 %.
//   shown: answer of /v1/captions/ID/timeline
//   player: { now(): seconds, seek(seconds), toggle() }
// Returns { largest, move(), remove() }: the percentage that fills a row; `move` has the playhead follow the player.
export function timeline(element, shown, player) {
  const rows = element.querySelector('#rows');
  const head = element.querySelector('#playhead');
  const seconds = Math.max(shown.seconds, 0.001);
  const largest = Math.max(0.1, ...shown.classes.bars.map(({ values }) => Math.max(...values)));
  const drawings = [
    [addRow(rows, 'wave', 'sound'), (canvas) => drawWave(canvas, shown.wave, seconds)],
    [addRow(rows, 'mel', 'spectrum'), (canvas) => drawMel(canvas, shown.mel, seconds)],
    ...shown.classes.bars.map(({ name, values }) => [
      addRow(rows, 'class', words(shown.classes.names[name])),
      (canvas) => drawBar(canvas, shown.classes, values, largest, seconds),
    ]),
    [addRow(rows, 'axis', ''), (canvas) => drawAxis(canvas, seconds)],
  ];
  const first = drawings[0][0];
  const ended = new AbortController();
  const { signal } = ended;
  element.setAttribute('aria-valuemax', seconds.toFixed(1));

  function move() {
    const now = Math.min(player.now(), seconds);
    head.style.transform = `translateX(${(now / seconds) * first.clientWidth}px)`;
    element.setAttribute('aria-valuenow', now.toFixed(1));
    element.setAttribute('aria-valuetext', `${clock(now)} of ${clock(seconds)}`);
  }

  function draw() {
    for (const [canvas, paint] of drawings) paint(canvas);
    move();
  }

  function seek(at) {
    player.seek(Math.max(0, Math.min(seconds, at)));
    move();
  }

  function seekTo(event) {
    const box = first.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * seconds);
  }

  element.addEventListener('pointerdown', (event) => {
    element.setPointerCapture(event.pointerId);
    seekTo(event);
  }, { signal });
  element.addEventListener('pointermove', (event) => {
    if (element.hasPointerCapture(event.pointerId)) seekTo(event);
  }, { signal });
  const steps = {
    ArrowLeft: -STEP_SECONDS, ArrowDown: -STEP_SECONDS, ArrowRight: STEP_SECONDS, ArrowUp: STEP_SECONDS,
    PageDown: -PAGE_SECONDS, PageUp: PAGE_SECONDS, Home: -Infinity, End: Infinity,
  };
  element.addEventListener('keydown', (event) => {
    if (event.key === ' ') player.toggle();
    else if (event.key in steps) seek(player.now() + steps[event.key]);
    else return;
    event.preventDefault();
  }, { signal });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw, { signal });
  const watcher = new ResizeObserver(draw);
  watcher.observe(first);

  function remove() {
    ended.abort();
    watcher.disconnect();
    rows.replaceChildren();
  }

  return { largest, move, remove };
}
