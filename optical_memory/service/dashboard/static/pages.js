// Pages of the context: their pixels at a scale that is the same for all, and one of them alone at its true size.

import { address, Failure, get } from "./api.js";
import { count, h, plural, ranges, s, short, show, visible } from "./dom.js";
import { dialog } from "./keyboard.js";
import { view } from "./view.js";

const MOST_KEPT = 160;
const kept = new Map();

export function imageUrl(state, page, turn) {
  return address("page.png", { ...view(state), page: page.id, tier: page.tier, turn });
}

// What a page holds, in words: for who does not see it.
export function holds(page) {
  const what = page.kind === "gist" ? "Excerpt of older pages" : "Page";
  const turns = page.places.length ? `, turns ${ranges(page.places, 12)}` : "";
  return `${what} at tier ${page.tier}, ${page.size[0]} by ${page.size[1]} pixels${turns}. It begins: ${visible(page.begins).replace(/\s+/g, " ").trim()}`;
}

function image(state, page, turn, scale) {
  const key = [state.session, state.profile, state.budget, page.id, page.tier].join("\n");
  let found = kept.get(key);
  if (!found) {
    found = h("img", { alt: holds(page), loading: "lazy", decoding: "async" });
    found.addEventListener("error", () => { kept.delete(key); found.classList.add("lost"); }, { once: true });
    found.src = imageUrl(state, page, turn);
  }
  kept.delete(key);
  kept.set(key, found);
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
  found.width = Math.max(1, Math.round(page.size[0] / scale));
  found.height = Math.max(1, Math.round(page.size[1] / scale));
  return found;
}

export function pageFigure(state, piece, turn, scale, badge) {
  const page = piece.page;
  return h("figure", { class: "page", id: `page-${page.id}`, style: { "--page-width": `${Math.round(page.size[0] / scale)}px` } },
    h("button", { type: "button", class: "page-button", onclick: () => openPage(state, page, turn) }, image(state, page, turn, scale)),
    h("figcaption", {},
      badge && h("span", { class: `badge ${badge.kind}` }, badge.text),
      h("span", { class: "tier" }, page.tier), ` ${page.size[0]}×${page.size[1]} px · ${count(piece.tokens)} tokens`,
      h("br"), page.places.length ? ranges(page.places) : short(page.id)),
    page.facts && h("p", { class: "facts", title: "Exact values that go beside the page as text" }, visible(page.facts)));
}

export function marked(page, url, lines, { whole = true, around = 4 } = {}) {
  const [width, height] = page.size;
  const row = height / page.rows;
  const first = Math.min(...lines, page.rows);
  const last = Math.max(...lines, 1);
  const top = whole ? 0 : Math.max(0, (first - 1 - around) * row);
  const bottom = whole ? height : Math.min(height, (last + around) * row);
  const words = lines.length ? `, ${lines.length === 1 ? "line" : "lines"} ${lines.join(", ")} marked` : "";
  return s("svg", { viewBox: `0 ${top} ${width} ${bottom - top}`, role: "img", "aria-label": holds(page) + words, class: "sheet-image", width, height: bottom - top },
    s("image", { href: url, width, height, x: 0, y: 0 }),
    lines.map((line) => s("rect", { x: 1, y: (line - 1) * row - 1, width: width - 2, height: row + 2, rx: 3, class: "line-mark" })));
}

export async function openPage(state, page, turn, lines = []) {
  const text = h("pre", { class: "page-text", tabindex: 0, "aria-label": "Exact text of the page" }, "Loading …");
  dialog(`${page.kind === "gist" ? "Excerpt" : "Page"} ${short(page.id)}`,
    h("p", { class: "hint" }, `Tier ${page.tier}: ${page.size[0]}×${page.size[1]} px at true size, ${plural(page.tokens, "token")} of image. Turns ${ranges(page.places, 40) || "–"}.`),
    h("div", { class: "true-size", tabindex: 0, role: "group", "aria-label": "The page at its true size" }, marked(page, imageUrl(state, page, turn), lines)),
    page.facts && [h("h3", {}, "Exact values beside it, as text"), h("p", { class: "facts all" }, visible(page.facts))],
    h("h3", {}, "What a perfect reader reads off it"), text);
  try {
    const whole = await get("page", { ...view(state), page: page.id, tier: page.tier, turn }, state.signal);
    text.textContent = visible(whole.text);
  } catch (error) {
    if (error.name !== "AbortError" && !(error instanceof Failure)) throw error;
    show(text, error.message);
  }
}
