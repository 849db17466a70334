// Fidelity: what a reader still reads off the newest pages at each tier.

import { change, Failure, get } from "./api.js";
import { count, decimal, h, percent, plural, say, show, when } from "./dom.js";
import { view } from "./view.js";

export function fidelityPanel(state) {
  const reader = h("select", { id: "reader", onchange: () => load() }, state.me.readers.map((name) => h("option", { value: name, selected: name === "mini" }, name)));
  const pages = h("input", { id: "pages", type: "number", min: 1, max: 8, value: 1, inputmode: "numeric" });
  const button = h("button", { type: "submit", class: "button main" }, "Read the pages");
  const out = h("div", { class: "read" });
  let loaded = false;
  const form = h("form", { class: "view", "aria-label": "Have pages read", onsubmit: (event) => { event.preventDefault(); read(); } },
    h("div", { class: "field" }, h("label", { for: "reader" }, "Reader"), reader),
    h("div", { class: "field" }, h("label", { for: "pages" }, "Newest pages"), pages), button);

  async function load() {
    loaded = true;
    try {
      draw(await get("fidelity", { ...view(state), reader: reader.value }, state.signal));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Failure)) throw error;
      show(out, state.failed(error, load));
    }
  }

  async function read() {
    button.disabled = true;
    show(out, h("p", { class: "waiting" }, "Reading each page at every tier. This takes seconds for each …"));
    try {
      draw(await change("POST", "fidelity", view(state), { reader: reader.value, pages: Number(pages.value) }));
      say("The pages were read.");
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      show(out, state.failed(error, read));
    } finally {
      button.disabled = false;
    }
  }

  function draw(found) {
    if (!found.tiers) return show(out, h("section", { class: "empty" }, h("h2", {}, "Not read yet"), h("p", {}, "A reader looks at the newest pages at every tier, on this server's processor: seconds for each.")));
    const tiers = Object.entries(found.tiers);
    if (!tiers.length) return show(out, h("section", { class: "empty" }, h("h2", {}, "No pages yet"), h("p", {}, "Everything still fits as text: there is nothing to read off an image.")));
    const share = (value) => (value === null ? "–" : percent(value));
    show(out,
      h("p", { class: "hint" }, `${found.reader}, ${plural(found.pages, "page")} at most, epoch ${count(found.epoch)}, read ${when(found.read_at)}. What a reader marks as doubtful counts as not read.`),
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "What was read at each tier" }, h("table", {},
        h("caption", { class: "unseen" }, "What was read at each tier"),
        h("thead", {}, h("tr", {}, ["Tier", "Characters right", "", "Identifiers exact", "Silently wrong", "Tokens a page", "Seconds a page", "Stated by the profile"].map((name) => h("th", { scope: "col", class: name ? null : "meter-cell" }, name || h("span", { class: "unseen" }, "as a bar"))))),
        h("tbody", {}, tiers.map(([tier, score]) => h("tr", {}, h("th", { scope: "row" }, tier), h("td", {}, percent(score.precision)),
          h("td", { class: "meter-cell" }, h("meter", { min: 0, max: 1, value: score.precision, "aria-label": `${tier}: characters right` })),
          h("td", {}, share(score.exact)), h("td", { class: score.silently_wrong ? "wrong" : null }, share(score.silently_wrong)), h("td", {}, count(score.tokens / Math.max(score.pages, 1))), h("td", {}, decimal(score.seconds / Math.max(score.pages, 1))), h("td", {}, found.stated[tier] === undefined ? "–" : percent(found.stated[tier]))))))));
  }

  return { element: h("div", { class: "fidelity" }, form, out), shown: () => loaded || load() };
}
