// One session: its view, the slider through time, and what stands at each age.

import { Failure, get } from "./api.js";
import { contextPanel } from "./context.js";
import { costsPanel } from "./costs.js";
import { count, decimal, h, plural, show, visible } from "./dom.js";
import { fidelityPanel } from "./fidelity.js";
import { shortcuts } from "./keyboard.js";
import { recallPanel } from "./recall.js";
import { timeline } from "./timeline.js";

const TABS = [["sees", "What the model sees", contextPanel], ["recall", "Recall and ask", recallPanel], ["costs", "Cost and cache", costsPanel], ["fidelity", "Fidelity", fidelityPanel]];

export function sessionView(main, { me, go, failed, query }) {
  const session = query.get("session") ?? "";
  document.title = `${session} · optical memory`;
  const aborted = new AbortController();
  const state = { session, signal: aborted.signal, me, failed, profile: query.get("profile"), budget: Number(query.get("budget")) || null, turn: Number(query.get("turn")) || null, figures: null, turns: 0, replayed: 0, from: null, now: false, known: false, done: false };
  let off = () => {};
  show(main, h("p", { class: "waiting" }, "Opening the session …"));

  get("session", { session }, aborted.signal).then((about) => {
    const used = about.views[0];
    state.profile ??= used?.profile ?? me.profile;
    state.budget ??= used?.budget ?? me.budget;
    const known = about.views.find((each) => each.profile === state.profile && each.budget === state.budget);
    state.from = known?.from ?? null;
    state.now = about.now || known !== undefined;
    off = opened(main, state, about, go);
  }).catch((error) => {
    if (error.name === "AbortError") return;
    if (!(error instanceof Failure)) throw error;
    show(main, failed(error, () => go(location.href, { replace: true })));
  });
  return () => { aborted.abort(); off(); };
}

function opened(main, state, about, go) {
  state.turns = about.turns;
  const figures = h("dl", { class: "figures" });
  const panels = TABS.map(([name, , make]) => [name, make(state)]);
  const time = timeline(state, moved);
  let shownTab = "";

  const tabs = TABS.map(([name, label]) => h("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`, onclick: () => choose(name), onkeydown: arrows }, label));
  show(main,
    h("div", { class: "head session" },
      h("div", {}, h("h1", {}, h("bdi", {}, visible(state.session))), h("p", { class: "lead" }, summary(about))),
      viewForm(state, about, go)),
    figures,
    time.element,
    h("div", { role: "tablist", class: "tabs", "aria-label": "About this age" }, tabs),
    panels.map(([name, panel]) => h("section", { role: "tabpanel", id: `panel-${name}`, "aria-labelledby": `tab-${name}`, tabindex: 0, hidden: true }, panel.element)));

  function choose(name) {
    shownTab = name;
    for (const [place, [each]] of TABS.entries()) {
      const chosen = each === name;
      tabs[place].setAttribute("aria-selected", String(chosen));
      tabs[place].tabIndex = chosen ? 0 : -1;
      document.getElementById(`panel-${each}`).hidden = !chosen;
    }
    inSight(tabs[TABS.findIndex(([each]) => each === name)]);
    remember({ tab: name === "sees" ? null : name });
    panels.find(([each]) => each === name)[1].shown?.();
  }

  function arrows(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = TABS[(TABS.findIndex(([name]) => name === shownTab) + step + TABS.length) % TABS.length][0];
    choose(next);
    document.getElementById(`tab-${next}`).focus();
  }

  // The age changed: figures at once from what was replayed, the rest when it is there.
  function moved(context) {
    if (context) drawFigures(figures, state, context);
    for (const [, panel] of panels) panel.moved?.(context);
    remember({ turn: state.turn });
  }

  choose(new URLSearchParams(location.search).get("tab") ?? "sees");
  time.begin();
  const off = shortcuts({ "[": () => time.epoch(-1), "]": () => time.epoch(1), n: () => time.now(), 1: () => choose("sees"), 2: () => choose("recall"), 3: () => choose("costs"), 4: () => choose("fidelity") });
  return () => { off(); time.end(); };
}

// Moves a row that scrolls sideways so far that one of its elements is seen; the page stays where it is.
function inSight(element) {
  const row = element.parentElement.getBoundingClientRect();
  const { left, right } = element.getBoundingClientRect();
  element.parentElement.scrollLeft += left < row.left ? left - row.left : Math.max(right - row.right, 0);
}

function remember(changes) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  history.replaceState(null, "", url);
}

function summary(about) {
  const beside = [about.stored > about.turns && `${plural(about.stored - about.turns, "turn")} superseded`, about.forgotten && `${count(about.forgotten)} forgotten`].filter(Boolean);
  return [plural(about.turns, "turn"), ...beside].join(" · ");
}

function viewForm(state, about, go) {
  const used = new Set(about.views.map((each) => `${each.profile} ${each.budget}`));
  const profile = h("select", { id: "profile" }, state.me.profiles.map((name) => h("option", { value: name, selected: name === state.profile }, name)));
  const budget = h("input", { id: "budget", type: "number", min: 1, max: 10_000_000, step: 1, value: state.budget, inputmode: "numeric" });
  const known = about.views.length > 1 && h("div", { class: "field" }, h("label", { for: "used" }, "In use"),
    h("select", { id: "used", onchange: (event) => { [profile.value, budget.value] = event.target.value.split(" "); apply(); } },
      about.views.map((each) => h("option", { value: `${each.profile} ${each.budget}`, selected: each.profile === state.profile && each.budget === state.budget }, `${each.profile}, ${count(each.budget)}`)),
      !used.has(`${state.profile} ${state.budget}`) && h("option", { value: `${state.profile} ${state.budget}`, selected: true }, "another")));

  function apply() {
    const query = new URLSearchParams({ session: state.session, profile: profile.value, budget: budget.value });
    go(`/dashboard/session?${query}`);
  }

  return h("form", { class: "view", "aria-label": "View: for which model, within how many tokens", onsubmit: (event) => { event.preventDefault(); apply(); } },
    known,
    h("div", { class: "field" }, h("label", { for: "profile" }, "Model"), profile),
    h("div", { class: "field" }, h("label", { for: "budget" }, "Budget, tokens"), budget),
    h("button", { type: "submit", class: "button" }, "Show"));
}

function drawFigures(list, state, context) {
  const pages = context.pieces.filter((piece) => piece.page).length;
  const figure = (name, value, note) => h("div", {}, h("dt", {}, name), h("dd", {}, value, note && h("small", {}, note)));
  show(list,
    figure("History as text", count(context.text_tokens), "tokens"),
    figure("What the model gets", count(context.tokens), `of ${count(context.budget)}`),
    figure("Compression", decimal(context.text_tokens / Math.max(context.tokens, 1)), ": 1"),
    figure("Page images", count(pages), context.archived_pages ? `${count(context.archived_pages)} archived` : ""),
    figure("Epoch", count(context.epoch)));
}
