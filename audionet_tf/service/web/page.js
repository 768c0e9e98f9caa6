// What the parts of the page share.

export const MIB = 1 << 20;

export const $ = (id) => document.getElementById(id);

export async function getJson(address) {
  const response = await fetch(address);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

export function say(element, message) {
  element.textContent = message;
  element.hidden = !message;
}

export function element(name, text, className = '') {
  const node = document.createElement(name);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}

// The name of a class as people write it: `dog_bark` is `dog bark`.
export const words = (name) => name.replaceAll('_', ' ');

// The probability that a sound must reach to be shown.
export const threshold = () => Number($('threshold').value) / 100;

// The classes that are typed, one per line; '' for those of the service.
export const classes = () => $('classes').value.trim();

// [[name, percent], ...] as bars in a list.
export function showBars(list, pairs) {
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
    label.textContent = words(name);
    share.textContent = `${Math.round(percent)} %`;
  });
}
