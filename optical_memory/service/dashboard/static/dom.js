// Elements from plain values. Text goes in as text nodes only: nothing that a session holds can become markup.

const SVG = "http://www.w3.org/2000/svg";

export function h(tag, given, ...children) {
  return filled(document.createElement(tag), given, children);
}

export function s(tag, given, ...children) {
  return filled(document.createElementNS(SVG, tag), given, children);
}

function filled(element, given, children) {
  for (const [name, value] of Object.entries(given ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(4).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function show(parent, ...children) {
  parent.replaceChildren(...children.flat(4).filter((child) => child !== null && child !== undefined && child !== false));
}

export function say(text) {
  document.getElementById("live").textContent = text;
}

// Controls, bidi and zero-width characters are written out, so that no text hides or turns what stands beside it.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

export function visible(text) {
  return String(text).replace(HIDDEN, (one) => {
    const code = one.codePointAt(0);
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    return `\\u{${code.toString(16)}}`;
  });
}

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const oneDigit = new Intl.NumberFormat("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const count = (value) => whole.format(value);
export const decimal = (value) => oneDigit.format(value);
export const percent = (share) => `${oneDigit.format(share * 100)} %`;
export const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
export const dollars = (value) => `$${value.toFixed(value >= 100 ? 0 : value >= 0.1 ? 2 : 4)}`;
export const short = (id) => id.slice(0, 12);

export function range([first, last]) {
  return first === last ? `#${count(first)}` : `#${count(first)}–${count(last)}`;
}

export function ranges(places, most = 4) {
  const rest = places.length - most;
  return places.slice(0, most).map(range).join(" ") + (rest > 0 ? ` and ${count(rest)} more` : "");
}

export function when(seconds) {
  return seconds ? new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ") + " UTC" : "";
}

export function store(key, value) {
  if (value === undefined) return localStorage.getItem(key);
  localStorage.setItem(key, value);
  return value;
}
