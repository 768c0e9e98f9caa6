// A file goes to the service; its progress is shown.

import { clock } from './timeline.js';
import { $, MIB, say, threshold } from './page.js';

let request = null;  // the upload under way

function stage(message, share) {
  $('work').hidden = false;
  $('stage').textContent = message;
  if (share === undefined) $('progress').removeAttribute('value');
  else $('progress').value = share;
}

export function idle(message = '', problem = '') {
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

// Sends a File. `about`: answer of /v1/service; `show`: called with the file, the result and a function that says whether
// no other file was sent since; it returns a promise.
export function send(file, about, show) {
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

  const isCurrent = () => request === sending;

  function handle(event, data) {
    if (event === 'progress') stage(...STAGES[data.stage](data));
    finished ||= event !== 'progress';
    if (event === 'error') idle('', `${file.name}: ${data.error}`);
    if (event === 'result') show(file, data, isCurrent).catch((error) => isCurrent() && idle('', error.message));
  }

  sending.upload.onprogress = ({ loaded, total }) => stage('Sending', loaded / total);
  sending.onprogress = () => {
    if (sending.status === 200) read = readEvents(sending.responseText, read, handle);
  };
  sending.onload = () => {
    sending.onprogress();
    if (sending.status === 200 && !finished) idle('', `${file.name}: the service ended the connection.`);
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

export function cancel() {
  request?.abort();
}
