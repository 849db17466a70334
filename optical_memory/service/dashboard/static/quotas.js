// Quotas: what a tenant may keep and keeps. A tenant's admin sees its own; the operator's admins set those of all.

import { change, Failure, get } from "./api.js";
import { count, h, say, show, visible } from "./dom.js";

const UNITS = { sessions: "sessions", turns: "turns", bytes: "bytes of turns" };

export function quotaSection(me, failed, signal) {
  const own = h("div", {}, h("p", { class: "waiting" }, "Counting …"));

  async function load() {
    try {
      show(own, amounts(await get("quota", {}, signal)));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Failure)) throw error;
      show(own, failed(error, load));
    }
  }

  const element = h("section", { class: "quota", "aria-labelledby": "quota" }, h("h2", { id: "quota" }, `What ${visible(me.tenant)} keeps`), own,
    me.operates ? operating(signal, load) : h("p", { class: "hint" }, "What a tenant may keep is set by whoever runs the service, so that no tenant fills the store for the others: with ", h("code", {}, `optical-memory quotas set ${visible(me.tenant)} --turns 1000000`), ", or here by an admin of the tenant that ", h("code", {}, "OPTICAL_MEMORY_OPERATOR"), " names."));
  return { element, load };
}

function amounts(said) {
  return h("dl", { class: "figures" }, Object.entries(said.usage).map(([kind, used]) => {
    const most = said.quota[kind];
    return h("div", {}, h("dt", {}, UNITS[kind]),
      h("dd", {}, count(used), h("small", {}, most === null ? "no limit" : `of ${count(most)}`),
        most === null ? null : h("meter", { min: 0, max: Math.max(most, 1), high: most * 0.9, value: used, "aria-label": `${UNITS[kind]} used` })));
  }));
}

// For the operator's admins: look a tenant up, then set what it may keep.
function operating(signal, loadOwn) {
  const name = h("input", { id: "quota-tenant", required: true, maxlength: 64, pattern: "[A-Za-z0-9_.~\\-]+", autocomplete: "off", spellcheck: "false", placeholder: "acme" });
  const wrong = h("p", { class: "wrong", role: "alert" });
  const found = h("div", {});

  async function done(work) {
    wrong.textContent = "";
    try {
      await work();
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Failure)) throw error;
      wrong.textContent = error.message;
    }
  }

  function drawn(said) {
    const inputs = Object.keys(UNITS).map((kind) => h("input", { id: `quota-${kind}`, type: "number", min: 0, max: 2 ** 50 - 1, step: 1, inputmode: "numeric", placeholder: "no limit", value: said.quota[kind] ?? "" }));
    const path = `quotas/${encodeURIComponent(said.tenant)}`;
    const set = () => done(async () => {
      const limits = Object.fromEntries(Object.keys(UNITS).map((kind, place) => [kind, inputs[place].value === "" ? null : Number(inputs[place].value)]));
      drawn(await change("PUT", path, {}, limits));
      say(`The quota of ${said.tenant} is set.`);
      loadOwn();
    });
    const recount = () => done(async () => {
      drawn(await change("POST", `${path}/recount`));
      say(`What ${said.tenant} keeps is counted anew.`);
    });
    show(found, h("h3", {}, `What ${visible(said.tenant)} keeps`), amounts(said),
      h("form", { class: "view", "aria-label": `Quota of ${visible(said.tenant)}`, onsubmit: (event) => { event.preventDefault(); set(); } },
        Object.entries(UNITS).map(([kind, words], place) => h("div", { class: "field" }, h("label", { for: `quota-${kind}` }, `Most ${words}`), inputs[place])),
        h("div", { class: "buttons" }, h("button", { type: "submit", class: "button main" }, "Set the quota"), h("button", { type: "button", class: "button", onclick: recount }, "Count anew"))),
      h("p", { class: "hint" }, "Every replica follows within seconds. Below what the tenant keeps nothing is deleted: it may only shrink."));
  }

  return h("section", { class: "operating", "aria-labelledby": "operating" }, h("h2", { id: "operating" }, "Quotas of all tenants"),
    h("form", { class: "view", "aria-label": "Look a tenant up", onsubmit: (event) => { event.preventDefault(); done(async () => { drawn(await get(`quotas/${encodeURIComponent(name.value)}`, {}, signal)); say(`What ${name.value} keeps`); }); } },
      h("div", { class: "field" }, h("label", { for: "quota-tenant" }, "Tenant’s name"), name), h("button", { type: "submit", class: "button" }, "Look up")),
    wrong, found);
}
