// Goes through the events that nobody has decided about, the most doubtful first; one key decides.
'use strict';

const KEYS = '1234567890';
const byId = (id) => document.getElementById(id);
let review = null;
let order = []; // numbers of the events in the order in which they are shown
let place = 0;

const isDecided = (number) => String(number) in review.decided;

function show() {
  const left = review.events.filter((_, number) => !isDecided(number)).length;
  byId('progress').textContent = `${review.events.length - left} of ${review.events.length} decided`;
  if (place >= order.length) {
    byId('name').textContent = left ? 'The end; load the page again for those left for later' : 'All are decided';
    byId('about').textContent = 'metadata.csv beside the sounds has those with a label';
    byId('player').removeAttribute('src');
    byId('player').load();
    return;
  }
  const event = review.events[order[place]];
  byId('name').textContent = event.name;
  const seconds = `${event.start_seconds.toFixed(2)} to ${event.end_seconds.toFixed(2)} s`;
  byId('about').textContent = `${event.source}, ${seconds}, score ${event.score.toFixed(2)}`;
  byId('player').src = event.file_name.split('/').map(encodeURIComponent).join('/');
  byId('player').play().catch(() => {}); // a browser may want a click first
}

async function send(number, asked) {
  byId('problem').textContent = '';
  const options = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(asked) };
  try {
    const answer = await fetch(`v1/review/${number}`, options);
    if (!answer.ok) throw new Error((await answer.json()).error);
  } catch (error) {
    byId('problem').textContent = `not written down: ${error.message}`;
    return false;
  }
  return true;
}

let busy = false; // a key that is held down decides once
async function decide(label) {
  if (busy || place >= order.length) return;
  busy = true;
  const number = order[place];
  if (await send(number, { label })) {
    review.decided[number] = label;
    place += 1;
    show();
  }
  busy = false;
}

async function back() {
  if (busy || place === 0) return;
  busy = true;
  if (await send(order[place - 1], {})) {
    place -= 1;
    delete review.decided[order[place]];
    show();
  }
  busy = false;
}

function later() {
  place = Math.min(place + 1, order.length);
  show();
}

function again() {
  byId('player').currentTime = 0;
  byId('player').play().catch(() => {});
}

const ACTIONS = {
  a: () => place < order.length && decide(review.events[order[place]].name),
  x: () => decide(null),
  ' ': again,
  u: back,
  s: later,
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.tagName === 'INPUT') return;
  const label = review.labels[KEYS.indexOf(event.key)];
  const action = ACTIONS[event.key] || (KEYS.includes(event.key) && label && (() => decide(label)));
  if (!action || (event.key === ' ' && event.target.tagName === 'BUTTON')) return;  // Space presses a button
  event.preventDefault();
  action();
}

// Has a click do something. After one by mouse the button loses the focus, so that the space bar plays again.
function onClick(button, action) {
  button.addEventListener('click', ({ detail }) => {
    if (detail) button.blur();
    action();
  });
}

async function begin() {
  review = await (await fetch('v1/review')).json();
  order = review.events.map((_, number) => number).filter((number) => !isDecided(number));
  review.labels.forEach((label, number) => {
    const button = document.createElement('button');
    button.textContent = number < KEYS.length ? `${KEYS[number]} ${label}` : label;
    onClick(button, () => decide(label));
    const item = document.createElement('li');
    item.append(button);
    byId('labels').append(item);
  });
  for (const [id, key] of [['accept', 'a'], ['reject', 'x'], ['again', ' '], ['back', 'u'], ['skip', 's']]) {
    onClick(byId(id), () => ACTIONS[key]());
  }
  byId('other').addEventListener('submit', (event) => {
    event.preventDefault();
    const label = byId('text').value.trim();
    byId('text').value = '';
    byId('text').blur();
    if (label) decide(label);
  });
  document.addEventListener('keydown', onKey);
  show();
}

begin().catch((error) => { byId('problem').textContent = error.message; });
