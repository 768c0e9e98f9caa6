// What the popup sets and the others read.

export const DEFAULTS = { port: 8501, threshold: 0.2 };

export async function settings() {
  return chrome.storage.local.get(DEFAULTS);
}

// Only this machine: the manifest asks for no other address.
export function serviceAddress(port) {
  return `http://127.0.0.1:${port}`;
}
