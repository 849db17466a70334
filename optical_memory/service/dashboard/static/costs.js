// Tokens and money against the full history, and how much of each request's beginning stayed as it was.

import { Failure, get } from "./api.js";
import { brief, fitted, lineChart, thinned } from "./charts.js";
import { count, dollars, h, percent, plural, show } from "./dom.js";
import { view } from "./view.js";

const NAMES = { memory: "This memory", "full text": "Full history as text", truncation: "Newest turns only" };

export function costsPanel(state) {
  const head = h("div", { class: "verdict" });
  const table = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Bills" });
  const money = h("div", { class: "curve" });
  const tokens = h("div", { class: "curve" });
  const cache = h("div", { class: "curve" });
  const cacheNote = h("p", { class: "hint" });
  let bills = null;
  let asked = -1;
  const drawings = [
    fitted(money, (width) => bills ? lineChart({ width, series: [{ name: "full", points: curve("full_text") }, { name: "context", points: curve("memory"), area: true }], label: "Dollars of input so far: the full history as text, and this memory", unit: (value) => `$${brief(value)}`, from: 1, to: bills.requests }) : h("span")),
    fitted(tokens, (width) => lineChart({ width, series: [{ name: "full", points: at(state.figures?.text) }, { name: "context", points: at(state.figures?.tokens), area: true }], label: "Tokens of each request: the full history as text, and this memory", from: 1, to: state.replayed })),
    fitted(cache, (width) => lineChart({ width, height: 130, series: [{ name: "kept", points: at(shares()), area: true }], high: 1, label: "Share of each request that stayed, to the byte, at the start of the next", unit: (value) => `${Math.round(value * 100)} %`, from: 1, to: state.replayed })),
  ];

  const curve = (name) => bills.curves.turn.map((turn, place) => [turn, bills.curves[name][place]]);
  const at = (values) => thinned(values ?? []).map(([place, value]) => [place + 1, value]);
  const shares = () => (state.figures?.kept ?? []).slice(1).map((kept, place) => kept / Math.max(state.figures.tokens[place], 1));

  async function load() {
    if (asked === state.replayed) return;
    asked = state.replayed;
    if (!asked) return;
    try {
      bills = await get("costs", view(state), state.signal);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Failure)) throw error;
      show(head, state.failed(error, () => { asked = -1; load(); }));
      return;
    }
    draw();
  }

  function draw() {
    const free = !bills.price.fresh;
    const [full, , memory] = bills.bills;
    show(head,
      h("h2", {}, free ? `${count(bills.sent)} tokens read instead of ${count(bills.sent_text)}` : memory.dollars <= full.dollars ? `${dollars(full.dollars - memory.dollars)} saved of ${dollars(full.dollars)}` : `${dollars(memory.dollars - full.dollars)} more than full text`),
      h("p", {}, `Advice: ${NAMES[bills.recommended] ?? bills.recommended}. ${bills.reason[0].toUpperCase()}${bills.reason.slice(1)}.`),
      h("p", { class: "hint" }, free ? "This model's price is not per token: only tokens count." : `Input, by ${state.profile}'s prices with an ideal prompt cache; every turn counts as one request. Output costs the same each way.`),
      !state.done && h("p", { class: "hint" }, `So far: ${count(bills.requests)} of ${count(state.turns)} turns are replayed.`));
    show(table, h("table", {},
      h("caption", { class: "unseen" }, "What each way of sending this session costs"),
      h("thead", {}, h("tr", {}, ["Way", "Input", "Largest request", "History lost"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, bills.bills.map((bill) => h("tr", { class: bill.name === bills.recommended ? "chosen" : null }, h("th", { scope: "row" }, NAMES[bill.name]), h("td", {}, free ? "–" : dollars(bill.dollars)), h("td", {}, count(bill.most), bill.most > bills.window ? h("em", { class: "wrong" }, " over the window") : null), h("td", {}, bill.name === "memory" ? "0, exact by recall" : count(bill.lost)))))));
    money.parentElement.hidden = free;
    const all = shares();
    const whole = all.filter((share) => share >= 1).length;
    cacheNote.textContent = all.length ? `${percent(bills.read / Math.max(bills.sent, 1))} of all tokens sent stood so in the request before and can be read from the provider's cache. ${plural(whole, "request")} of ${count(all.length)} only grew at the end; at epochs the past is drawn anew.` : "";
    drawings.forEach((again) => again());
  }

  const element = h("div", { class: "costs" }, head, table,
    h("div", { class: "charts" },
      h("figure", {}, h("figcaption", {}, "Dollars of input so far"), money, key()),
      h("figure", {}, h("figcaption", {}, "Tokens of each request"), tokens, key()),
      h("figure", { class: "wide" }, h("figcaption", {}, "Cache: share of each request that stood so in the next"), cache, cacheNote)));
  return { element, shown: load, moved: () => element.parentElement && !element.parentElement.hidden && (state.done || state.replayed - asked > 500 || asked <= 0) && load() };
}

function key() {
  return h("ul", { class: "legend" }, h("li", {}, h("i", { class: "line-full", "aria-hidden": "true" }), "full history as text"), h("li", {}, h("i", { class: "line-context", "aria-hidden": "true" }), "this memory"));
}
