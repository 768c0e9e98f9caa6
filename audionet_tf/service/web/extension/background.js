// Starts and stops the captions of a tab, and carries messages between the offscreen page, which may hold sound and long
// requests, and the overlay in the tab.

import { connect } from '../source.js';
import { serviceAddress, settings } from './settings.js';

const OFFSCREEN = 'extension/offscreen.html';

// What is being captioned: { [tabId]: state in words }. A service worker is put to sleep: its variables do not last.
async function tabs() {
  return (await chrome.storage.session.get({ tabs: {} })).tabs;
}

// Runs tasks one after the other: what one reads is still so when it writes.
let last = Promise.resolve();
function inTurn(task) {
  const result = last.then(task);
  last = result.catch(() => {});
  return result;
}

// Notes the state of a tab, null for one whose captions are off. Off they stay, but for a start.
function note(tabId, state, starts = false) {
  return inTurn(async () => {
    const all = await tabs();
    if (!starts && !(tabId in all)) return;
    if (state === null) delete all[tabId];
    else all[tabId] = state;
    await chrome.storage.session.set({ tabs: all });
  });
}

async function isOn(tabId) {
  return tabId in await tabs();
}

// The last start of each tab: one before it goes no further. With a worker that ends, all of its starts end.
const starts = new Map();
const STARTING = 'Starting.';
inTurn(async () => {
  const all = await tabs();
  const left = Object.entries(all).filter(([, text]) => text !== STARTING);
  if (left.length < Object.keys(all).length) await chrome.storage.session.set({ tabs: Object.fromEntries(left) });
});

function offscreen() {
  return inTurn(async () => {
    if (await chrome.offscreen.hasDocument()) return;
    await chrome.offscreen.createDocument({
      url: OFFSCREEN, reasons: ['USER_MEDIA'], justification: 'The sound of the tab is named there.',
    });
  });
}

// Gives the offscreen page a task, unless it is not wanted by now, as its tab is off; returns whether it is.
function begin(task, isWanted) {
  return inTurn(async () => {
    if (!await isWanted()) return false;
    if (!await chrome.offscreen.hasDocument()) throw new Error('the browser has closed the page that names sounds');
    await chrome.runtime.sendMessage({ to: 'offscreen', ...task });
    return true;
  });
}

// A tab that is gone, or shows another page by now, has no overlay to tell.
async function toTab(tabId, message) {
  try {
    await chrome.tabs.sendMessage(tabId, message);
  } catch (error) {
    console.debug(tabId, error.message);
  }
}

// Whether the service may fetch the video of a page.
function fetches(about, address) {
  if (!address || !URL.canParse(address)) return false;
  const { hostname } = new URL(address);
  return about.download_hosts.some((host) => hostname === host || hostname.endsWith(`.${host}`));
}

async function start(tabId) {
  const base = serviceAddress((await settings()).port);
  const mine = Symbol(tabId);
  const isLast = () => starts.get(tabId) === mine;
  const isWanted = async () => isLast() && isOn(tabId);
  starts.set(tabId, mine);
  await note(tabId, STARTING, true);  // so that it can be switched off from now on
  let about;
  try {
    about = await connect(base).about();
  } catch (error) {
    if (!isLast()) return state(tabId);
    await note(tabId, null);
    return { on: false, state: error.message };
  }
  try {
    const tab = await chrome.tabs.get(tabId);
    if (!await isWanted()) return state(tabId);
    await chrome.scripting.executeScript({ target: { tabId }, files: ['extension/overlay.js'] });
    await offscreen();
    const job = { tabId, base, about };
    if (!isLast()) return state(tabId);
    if (!await isOn(tabId)) {
      await stop(tabId);  // what has come since the first stop
    } else if (fetches(about, tab.url)) {
      await note(tabId, 'The service is fetching the video.');
      await begin({ type: 'fetch', address: tab.url, ...job }, isWanted);
    } else {
      await listenToTab(job, isWanted);
    }
  } catch (error) {
    if (!isLast()) return state(tabId);
    await stop(tabId);
    return { on: false, state: `Not here: ${error.message}` };
  }
  return state(tabId);
}

// Captions from the sound of the tab, where the service cannot fetch its video, unless they are off by now.
async function listenToTab({ tabId, base, about }, isWanted = () => isOn(tabId)) {
  if (!await isWanted()) return;
  await note(tabId, 'Listening to the tab.');
  const streamId = await chrome.tabCapture.getMediaStreamId({ targetTabId: tabId });
  if (await begin({ type: 'listen', streamId, tabId, base, about }, isWanted)) {
    await toTab(tabId, { type: 'text', text: 'Listening …' });
  }
}

// Listens to a tab whose video the service could not fetch.
async function unfetched(job) {
  try {
    await listenToTab(job);
  } catch (error) {
    await failed({ tabId: job.tabId, reason: error.message });
  }
}

async function failed({ tabId, reason }) {
  await toTab(tabId, { type: 'text', text: `Captions ended: ${reason}` });
  await end(tabId);
}

// Ends the captions of a tab, and with the last of them the offscreen page.
async function end(tabId) {
  await note(tabId, null);
  await inTurn(async () => {
    if (!await chrome.offscreen.hasDocument()) return;
    await chrome.runtime.sendMessage({ to: 'offscreen', type: 'stop', tabId });
    if (!Object.keys(await tabs()).length) await chrome.offscreen.closeDocument();
  });
}

async function stop(tabId) {
  await end(tabId);
  await toTab(tabId, { type: 'remove' });
}

async function state(tabId) {
  const text = (await tabs())[tabId];
  return { on: text !== undefined, state: text ?? '' };
}

const ANSWERS = {
  start: ({ tabId }) => start(tabId),
  stop: async ({ tabId }) => {
    await stop(tabId);
    return state(tabId);
  },
  state: ({ tabId }) => state(tabId),
  scores: ({ tabId, scores }) => toTab(tabId, { type: 'scores', scores }),
  events: async ({ tabId, events }) => {
    await note(tabId, `${events.length} sounds found.`);
    await toTab(tabId, { type: 'events', events });
  },
  progress: ({ tabId, text }) => toTab(tabId, { type: 'text', text }),
  unfetched,
  failed,
};

chrome.runtime.onMessage.addListener((message, sender, answer) => {
  if (message.to !== 'background' || sender.id !== chrome.runtime.id) return false;
  ANSWERS[message.type](message).then(answer, (error) => answer({ on: false, state: error.message }));
  return true;
});

chrome.tabs.onRemoved.addListener(async (tabId) => {
  if (await isOn(tabId)) await stop(tabId);
});
chrome.tabs.onUpdated.addListener(async (tabId, change) => {
  if (change.status === 'loading' && await isOn(tabId)) await stop(tabId);
});
