// The captions in the corner of the playing video. Put into a page when its captions are switched on.

(() => {
  window.soundCaptions?.remove();

  const MOST = 3;
  const MARGIN = 12;
  const TICK_MS = 200;
  const host = document.createElement('div');
  const root = host.attachShadow({ mode: 'closed' });
  const box = document.createElement('div');
  const style = document.createElement('style');
  style.textContent = `
    :host { all: initial; position: fixed; z-index: 2147483647; pointer-events: none; }
    div { max-width: 22rem; padding: .35rem .7rem; border-radius: .4rem; background: rgba(0, 0, 0, .78); color: #fff;
      font: 600 18px/1.35 system-ui, sans-serif; overflow-wrap: anywhere; }
    div:empty { display: none; }`;
  root.append(style, box);
  let threshold = 0.2;
  let events = null;  // of the whole video, where the service has fetched it
  let scores = null;  // [[class, probability], ...] of this moment, where the tab's sound is captured

  // The video that plays; else the largest.
  function video() {
    const size = (v) => v.clientWidth * v.clientHeight;
    const all = [...document.querySelectorAll('video')].filter(size).sort((a, b) => size(b) - size(a));
    return all.find((v) => !v.paused && !v.ended) ?? all[0];
  }

  function show(names) {
    const text = [...new Set(names)].slice(0, MOST).map((name) => name.replaceAll('_', ' ')).join(' · ');
    if (box.textContent !== text) box.textContent = text;
  }

  function update() {
    if (events) {
      const now = video()?.currentTime ?? 0;
      const sounding = events.filter((e) => e.start_seconds <= now && now < e.end_seconds && e.peak >= threshold);
      show(sounding.sort((a, b) => b.score - a.score).map((e) => e.name));
    } else if (scores) {
      show(scores.filter(([, value]) => value >= threshold).map(([each]) => each));
    }
  }

  function place() {
    const parent = document.fullscreenElement ?? document.documentElement;
    if (host.parentNode !== parent && !(parent instanceof HTMLVideoElement)) parent.append(host);
    const frame = video()?.getBoundingClientRect();
    host.style.left = `${Math.max(0, frame?.left ?? 0) + MARGIN}px`;
    host.style.top = `${Math.max(0, frame?.top ?? 0) + MARGIN}px`;
  }

  function tick() {
    place();
    if (events) update();
  }

  function receive(message) {
    if (message.type === 'remove') remove();
    if (message.type === 'text') show([message.text]);
    if (message.type === 'scores') scores = message.scores;
    if (message.type === 'events') events = message.events;
    if (message.type === 'scores' || message.type === 'events') update();
  }

  function changed(changes) {
    if (!changes.threshold) return;
    threshold = changes.threshold.newValue;
    update();
  }

  function remove() {
    clearInterval(timer);
    chrome.runtime.onMessage.removeListener(receive);
    chrome.storage.local.onChanged.removeListener(changed);
    host.remove();
    delete window.soundCaptions;
  }

  chrome.storage.local.get({ threshold }).then((stored) => { threshold = stored.threshold; });
  chrome.storage.local.onChanged.addListener(changed);
  chrome.runtime.onMessage.addListener(receive);
  const timer = setInterval(tick, TICK_MS);
  place();
  window.soundCaptions = { remove };
})();
