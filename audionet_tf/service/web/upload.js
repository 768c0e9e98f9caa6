// A file is captioned; its progress is shown.

import { $, MIB, classes, say, threshold } from './page.js';

let current = null;  // AbortController of the file under way

function stage(message, share) {
  $('work').hidden = false;
  $('stage').textContent = message;
  if (share === undefined) $('progress').removeAttribute('value');
  else $('progress').value = share;
}

// Tells of something else than the file under way, which goes on.
export function tell(message = '', problem = '') {
  $('status').textContent = message;
  say($('problem'), problem);
}

// Tells how the file under way ended.
export function idle(message = '', problem = '') {
  current = null;
  $('work').hidden = true;
  tell(message, problem);
}

// Captions a File. `source`: see service.js; `about`: what it says of itself; `show`: called with the file, the result and a
// function that says whether no other file was chosen since; it returns a promise.
export async function send(file, source, about, show) {
  cancel();
  if (about && file.size > about.upload_bytes) {
    const most = Math.floor(about.upload_bytes / MIB);
    idle('', `${file.name} has ${Math.ceil(file.size / MIB)} MiB, at most ${most} MiB are allowed.`);
    return;
  }
  const mine = new AbortController();
  current = mine;
  const isCurrent = () => current === mine;
  say($('problem'), '');
  $('status').textContent = `Finding the sounds in ${file.name} …`;
  const report = (...progress) => isCurrent() && stage(...progress);
  let result;
  try {
    result = await source.caption(file, threshold(), report, mine.signal, classes());
  } catch (error) {
    if (isCurrent()) idle('', `${file.name}: ${error.message}`);
    return;
  }
  if (isCurrent()) await show(file, result, isCurrent).catch((error) => isCurrent() && idle('', error.message));
}

export function cancel() {
  if (!current) return;
  current.abort();
  idle('Cancelled.');
}
