// Starts and stops the captions of a tab, and carries messages between the offscreen page, which may hold sound and long
// requests, and the overlay in the tab.

import { connect } from '../source.js';
import { serviceAddress, settings } from './settings.js';

const OFFSCREEN = 'extension/offscreen.html';

// What is being captioned: { [tabId]: state in words }. A service worker is put to sleep: its variables do not last.
async function tabs() {
  return (await chrome.storage.session.get({ tabs: {} })).tabs;
}

async function note(tabId, state) {
  const all = await tabs();
  if (state === null) delete all[tabId];
  else all[tabId] = state;
  await chrome.storage.session.set({ tabs: all });
}

async function offscreen() {
  if (await chrome.offscreen.hasDocument()) return;
  await chrome.offscreen.createDocument({
    url: OFFSCREEN, reasons: ['USER_MEDIA'], justification: 'The sound of the tab is named there.',
  });
}

async function toOffscreen(message) {
  if (await chrome.offscreen.hasDocument()) await chrome.runtime.sendMessage({ to: 'offscreen', ...message });
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
  let about;
  try {
    about = await connect(base).about();
  } catch (error) {
    return { on: false, state: error.message };
  }
  try {
    const tab = await chrome.tabs.get(tabId);
    await chrome.scripting.executeScript({ target: { tabId }, files: ['extension/overlay.js'] });
    await offscreen();
    const job = { tabId, base, about };
    if (fetches(about, tab.url)) {
      await note(tabId, 'The service is fetching the video.');
      await toOffscreen({ type: 'fetch', address: tab.url, ...job });
    } else {
      await listenToTab(job);
    }
  } catch (error) {
    await stop(tabId);
    return { on: false, state: `Not here: ${error.message}` };
  }
  return state(tabId);
}

// Captions from the sound of the tab, where the service cannot fetch its video.
async function listenToTab({ tabId, base, about }) {
  await note(tabId, 'Listening to the tab.');
  const streamId = await chrome.tabCapture.getMediaStreamId({ targetTabId: tabId });
  if (!(tabId in await tabs())) return;  // switched off meanwhile
  await toOffscreen({ type: 'listen', streamId, tabId, base, about });
  await toTab(tabId, { type: 'text', text: 'Listening …' });
}

// Listens to a tab whose video the service could not fetch, unless its captions are off by now.
async function unfetched(job) {
  if (!(job.tabId in await tabs())) return;
  try {
    await listenToTab(job);
  } catch (error) {
    await failed({ tabId: job.tabId, reason: error.message });
  }
}

async function failed({ tabId, reason }) {
  await toTab(tabId, { type: 'text', text: `Captions ended: ${reason}` });
  await note(tabId, null);
}

async function stop(tabId) {
  await note(tabId, null);
  await toOffscreen({ type: 'stop', tabId });
  await toTab(tabId, { type: 'remove' });
  if (!Object.keys(await tabs()).length && await chrome.offscreen.hasDocument()) await chrome.offscreen.closeDocument();
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
  if (tabId in await tabs()) await stop(tabId);
});
chrome.tabs.onUpdated.addListener(async (tabId, change) => {
  if (change.status === 'loading' && tabId in await tabs()) await stop(tabId);
});
