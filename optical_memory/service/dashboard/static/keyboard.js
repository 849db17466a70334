// Shortcuts of single keys, and the list of them. They can be turned off, for those who dictate.

import { h, store } from "./dom.js";

const LIST = [
  ["?", "this list"],
  ["s", "sessions"],
  ["k", "keys and quotas (for admins)"],
  ["/", "search"],
  ["t", "colours: auto, light, dark"],
  ["← →", "on the slider: one turn older or newer"],
  ["Page up, Page down", "on the slider: a tenth"],
  ["Home, End", "on the slider: the first turn, now"],
  ["[ ]", "the epoch before, the epoch after"],
  ["n", "now"],
  ["1 … 4", "what the model sees, recall and ask, cost, fidelity"],
  ["Esc", "close what is open"],
];
const known = new Map();

export function shortcuts(given) {
  for (const [key, action] of Object.entries(given)) known.set(key, action);
  return () => Object.keys(given).forEach((key) => known.delete(key));
}

const areOn = () => store("shortcuts") !== "off";

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const typing = event.target.closest?.("input:not([type=range]):not([type=checkbox]):not([type=radio]), textarea, select");
  if (typing || document.querySelector("dialog[open]")) return;
  const action = known.get(event.key);
  if (!action || (!areOn() && event.key !== "?")) return;
  event.preventDefault();
  action();
});

export function dialog(title, ...content) {
  const before = document.activeElement;
  const shut = () => box.close();
  const box = h("dialog", { "aria-labelledby": "dialog-title", onclick: (event) => event.target === box && shut() },
    h("div", { class: "sheet" },
      h("header", {}, h("h2", { id: "dialog-title" }, title),
        h("button", { type: "button", class: "icon close", "aria-label": "Close", onclick: shut }, "×")),
      ...content));
  box.addEventListener("close", () => {
    box.remove();
    if (before?.isConnected) before.focus();
  });
  document.body.append(box);
  box.showModal();
  return box;
}

export function help() {
  const toggle = h("input", { type: "checkbox", checked: areOn(), onchange: (event) => store("shortcuts", event.target.checked ? "on" : "off") });
  dialog("Keyboard",
    h("dl", { class: "shortcuts" }, LIST.map(([key, what]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)))),
    h("label", { class: "check" }, toggle, "Use shortcuts of single keys"));
}
