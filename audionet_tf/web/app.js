// The page: a file goes to the service and comes back as captions; the microphone is named live.

import { clock, timeline } from './timeline.js';
import { listen } from './live.js';

const $ = (id) => document.getElementById(id);
const MIB = 1 << 20;
const LOG_ENTRIES = 50;
const CUE_LINE_PERCENT = 72;

let about = null;    // answer of /v1/service
let shown = null;    // what is on the page: { id, name, address, line, classes, events }
let request = null;  // the upload under way

async function json(address) {
  const response = await fetch(address);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function say(element, message) {
  element.textContent = message;
  element.hidden = !message;
}

function element(name, text, className = '') {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

// [[name, percent], ...] as bars in a list.
function showBars(list, pairs) {
  while (list.children.length > pairs.length) list.lastChild.remove();
  pairs.forEach(([name, percent], i) => {
    let item = list.children[i];
    if (!item) {
      item = document.createElement('li');
      item.append(document.createElement('i'), element('span', ''), element('span', ''));
      list.append(item);
    }
    const [bar, label, share] = item.children;
    bar.style.width = `${percent}%`;
    label.textContent = name;
    share.textContent = `${Math.round(percent)} %`;
  });
}

// ---- a file

function stage(message, share) {
  $('work').hidden = false;
  $('stage').textContent = message;
  if (share === undefined) $('progress').removeAttribute('value');
  else $('progress').value = share;
}

function idle(message = '', problem = '') {
  request = null;
  $('work').hidden = true;
  $('status').textContent = message;
  say($('problem'), problem);
}

const STAGES = {
  waiting: () => ['Waiting for its turn'],
  decoding: ({ seconds }) => [`Decoding: ${clock(seconds)}`],
  listening: ({ seconds, of }) => [`Listening: ${clock(seconds)} of ${clock(of)}`, of ? seconds / of : 0],
};

// Calls `handle(event, data)` for every whole server-sent event in `text` from `from` on; returns where it stopped.
function readEvents(text, from, handle) {
  let end;
  while ((end = text.indexOf('\n\n', from)) >= 0) {
    const fields = Object.fromEntries(text.slice(from, end).split('\n').map((line) => line.split(/: (.*)/s)));
    if (fields.event) handle(fields.event, JSON.parse(fields.data));
    from = end + 2;
  }
  return from;
}

function send(file) {
  request?.abort();
  if (about && file.size > about.upload_bytes) {
    const most = Math.floor(about.upload_bytes / MIB);
    idle('', `${file.name} has ${Math.ceil(file.size / MIB)} MiB, at most ${most} MiB are allowed.`);
    return;
  }
  const sending = new XMLHttpRequest();
  request = sending;
  let read = 0;
  let finished = false;
  say($('problem'), '');
  $('status').textContent = '';
  stage('Sending', 0);

  function handle(event, data) {
    if (event === 'progress') stage(...STAGES[data.stage](data));
    finished ||= event !== 'progress';
    if (event === 'error') idle('', `${file.name}: ${data.error}`);
    if (event === 'result') show(file, data).catch((error) => idle('', error.message));
  }

  sending.upload.onprogress = ({ loaded, total }) => stage('Sending', loaded / total);
  sending.onprogress = () => {
    if (sending.status === 200) read = readEvents(sending.responseText, read, handle);
  };
  sending.onload = () => {
    sending.onprogress();
    if (sending.status === 200 && !finished) idle('', `${file.name}: the service broke off.`);
    if (sending.status === 200) return;
    let reason = `answer ${sending.status}`;
    try {
      reason = JSON.parse(sending.responseText).error;
    } catch { /* not the service's own words: the status has to do */ }
    idle('', `${file.name}: ${reason}`);
  };
  sending.onerror = () => idle('', `${file.name}: the service does not answer, or refuses the file.`);
  sending.onabort = () => {
    if (request === sending) idle('Cancelled.');
  };
  sending.open('POST', `/v1/captions?threshold=${threshold()}`);
  sending.setRequestHeader('Accept', 'text/event-stream');
  const form = new FormData();
  form.append('file', file);
  sending.send(form);
}

const threshold = () => Number($('threshold').value) / 100;

// ---- what was heard

async function show(file, result) {
  const drawn = await json(`/v1/captions/${result.id}/timeline`);
  clear();
  shown = { id: result.id, name: result.file, address: URL.createObjectURL(file), classes: drawn.classes, at: 0, playable: true };
  $('name').textContent = result.file;
  $('result').hidden = false;
  $('unplayable').hidden = true;
  const video = $('video');
  video.hidden = false;
  video.className = 'sound';
  video.src = shown.address;
  shown.line = timeline($('timeline'), drawn, { now, seek, toggle });
  showEvents(result.events);
  idle(`${result.events.length} sounds in ${clock(result.seconds)}.` +
    (result.repeats > 1 ? ` It is short and was heard ${result.repeats} times over.` : ''));
  $('name').focus();
  follow();
}

function clear() {
  if (!shown) return;
  shown.line.remove();
  URL.revokeObjectURL(shown.address);
  $('video').replaceChildren();
  shown = null;
}

const now = () => (shown.playable ? $('video').currentTime : shown.at);

function seek(seconds) {
  shown.at = seconds;
  if (shown.playable) $('video').currentTime = seconds;
  follow();
}

function toggle() {
  if (!shown.playable) return;
  if ($('video').paused) $('video').play();
  else $('video').pause();
}

// Captions, downloads and the list for the present threshold.
function showEvents(events) {
  const query = `?threshold=${threshold()}`;
  const base = `/v1/captions/${shown.id}`;
  const track = document.createElement('track');
  Object.assign(track, { kind: 'captions', srclang: 'en', label: 'Sounds', default: true, src: `${base}.vtt${query}` });
  track.addEventListener('load', () => {
    for (const cue of track.track.cues) {  // above the controls, which would hide it while the sound is paused
      cue.snapToLines = false;
      cue.line = CUE_LINE_PERCENT;
    }
  });
  $('video').replaceChildren(track);
  track.track.mode = 'showing';
  $('downloads').replaceChildren(...about.formats.map((format) => {
    const item = document.createElement('li');
    const link = element('a', format.toUpperCase(), 'download');
    const suffix = { labels: 'labels.txt', json: 'events.json', csv: 'events.csv' }[format] ?? format;
    Object.assign(link, { href: `${base}.${format}${query}`, download: `${shown.name}.${suffix}` });
    item.append(link);
    return item;
  }));
  shown.events = events;
  $('events').replaceChildren(...events.map((event) => {
    const item = document.createElement('li');
    const button = element('button', '');
    button.type = 'button';
    button.append(
      element('time', `${clock(event.start_seconds)}–${clock(event.end_seconds)}`),
      element('span', event.name), element('span', `${Math.round(100 * event.score)} %`, 'share'),
    );
    button.addEventListener('click', () => seek(event.start_seconds));
    item.append(button);
    return item;
  }));
  if (!events.length) $('events').append(element('li', 'Nothing reaches this probability.'));
}

function showThreshold() {
  $('threshold-shown').textContent = `${$('threshold').value} %`;
}

async function changeThreshold() {
  if (!shown) return;
  const { id } = shown;
  const wanted = threshold();
  try {
    const answer = await json(`/v1/captions/${id}.json?threshold=${wanted}`);
    if (shown?.id === id && threshold() === wanted) showEvents(answer.events);
  } catch (error) {
    say($('problem'), error.message);
  }
}

// What belongs to the playhead.
function follow() {
  if (!shown) return;
  const at = now();
  const { classes } = shown;
  let column = classes.start_seconds.findIndex((_, i) => at < classes.end_seconds[i]);
  if (column < 0) column = classes.start_seconds.length - 1;
  showBars($('top'), classes.top[column].map(([name, percent]) => [classes.names[name], percent]));
  [...$('events').children].forEach((item, i) => {
    const event = shown.events[i];
    item.classList.toggle('now', Boolean(event) && at >= event.start_seconds && at < event.end_seconds);
  });
  shown.line.move();
}

function followWhilePlaying() {
  follow();
  if (shown && !$('video').paused && !$('video').ended) requestAnimationFrame(followWhilePlaying);
}

// ---- the microphone

let stopListening = null;
let lastNamed = '';

function heard(pairs) {
  showBars($('live-top'), pairs.slice(0, 5).map(([name, value]) => [name, 100 * value]));
  const named = pairs.filter(([, value]) => value >= threshold()).slice(0, 3).map(([name]) => name).sort().join(', ');
  if (named && named !== lastNamed) {
    const item = document.createElement('li');
    item.append(element('time', new Date().toLocaleTimeString()), element('span', named));
    $('live-log').prepend(item);
    while ($('live-log').children.length > LOG_ENTRIES) $('live-log').lastChild.remove();
  }
  lastNamed = named;
}

function quiet(problem = '') {
  stopListening?.();
  stopListening = null;
  lastNamed = '';
  $('microphone').textContent = 'Listen';
  $('microphone').setAttribute('aria-pressed', 'false');
  say($('live-problem'), problem);
}

async function toggleMicrophone() {
  if (stopListening) {
    quiet();
    return;
  }
  $('microphone').disabled = true;
  try {
    const raw = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: raw });
    stopListening = await listen(stream, {
      base: '', about, recorder: 'recorder.js', heard, failed: (error) => quiet(error.message),
    });
    $('live').hidden = false;
    $('microphone').textContent = 'Stop listening';
    $('microphone').setAttribute('aria-pressed', 'true');
    say($('live-problem'), '');
  } catch (error) {
    quiet(`The microphone cannot be heard: ${error.message}`);
  } finally {
    $('microphone').disabled = false;
  }
}

// ---- start

function acceptDrops() {
  const drop = $('drop');
  let inside = 0;
  addEventListener('dragenter', () => drop.classList.toggle('over', ++inside > 0));
  addEventListener('dragleave', () => drop.classList.toggle('over', --inside > 0));
  addEventListener('dragover', (event) => event.preventDefault());
  addEventListener('drop', (event) => {
    event.preventDefault();
    inside = 0;
    drop.classList.remove('over');
    if (event.dataTransfer.files.length) send(event.dataTransfer.files[0]);
  });
}

async function start() {
  $('chooser').addEventListener('change', () => {
    if ($('chooser').files.length) send($('chooser').files[0]);
    $('chooser').value = '';  // so that the same file can be chosen again
  });
  acceptDrops();
  $('cancel').addEventListener('click', () => request?.abort());
  $('threshold').addEventListener('input', showThreshold);
  $('threshold').addEventListener('change', changeThreshold);
  $('microphone').addEventListener('click', toggleMicrophone);
  const video = $('video');
  video.addEventListener('play', followWhilePlaying);
  for (const name of ['seeked', 'timeupdate', 'pause']) video.addEventListener(name, follow);
  video.addEventListener('loadedmetadata', () => video.classList.toggle('sound', !video.videoHeight));
  video.addEventListener('error', () => {
    if (!shown || !video.src) return;
    shown.playable = false;
    video.hidden = true;
    $('unplayable').hidden = false;
  });
  try {
    about = await json('/v1/service');
    $('threshold').value = Math.round(100 * about.threshold);
    $('about').textContent = `What a video sounds like, named by ${about.student} on this machine: ` +
      `${about.classes} kinds of sound, files of up to ${clock(about.sound_seconds)} and ` +
      `${Math.floor(about.upload_bytes / MIB)} MiB.`;
  } catch (error) {
    say($('problem'), `The service does not answer: ${error.message}`);
  }
  showThreshold();
}

start();
