// The slider through time: the replay's curve above it, epochs as strokes, every stop a turn.

import { Failure, get } from "./api.js";
import { ceiling, fitted, lineChart, plot, thinned } from "./charts.js";
import { count, h, plural, s, say, show } from "./dom.js";
import { view } from "./view.js";

const SETTLED_MS = 90;
const KEPT = 48;

export function timeline(state, moved) {
  const where = h("p", { class: "where" });
  const chart = h("div", { class: "curve" });
  const slider = h("input", { type: "range", id: "age", min: 1, max: Math.max(state.turns, 1), step: 1, value: state.turn ?? state.turns, "aria-describedby": "age-help" });
  const note = h("p", { class: "hint", id: "age-help" });
  const trouble = h("div", {});
  const older = h("button", { type: "button", class: "button small", title: "The epoch before ([)", onclick: () => api.epoch(-1) }, "‹ Epoch");
  const newer = h("button", { type: "button", class: "button small", title: "The epoch after (])", onclick: () => api.epoch(1) }, "Epoch ›");
  const present = h("button", { type: "button", class: "button small", title: "Now (n)", onclick: () => api.now() }, "Now");
  const element = h("section", { class: "timeline", "aria-label": "Time" },
    h("div", { class: "timeline-head" }, where, h("div", { class: "buttons" }, older, newer, present)),
    chart, h("label", { for: "age", class: "unseen" }, "Age: after which turn"), slider, note, trouble);

  const contexts = new Map();
  const epochs = []; // after which turns they began
  const planned = []; // those of them that were not kept, but planned anew by the replay
  let asking = null;
  let pending = null; // the age that is being asked for
  let timer = 0;
  let following = false; // no epoch is stored: the newest replayed age stands for now
  const redraw = fitted(chart, draw);
  const reachable = (turn) => turn <= state.replayed || (state.from !== null && turn >= state.from);
  state.figures = { tokens: [], text: [], turn: [], kept: [], epoch: [], over: [], seq: [], system: [] };

  function draw(width) {
    const { tokens } = state.figures;
    const at = state.turn ?? state.turns;
    const high = ceiling(Math.max(state.budget, ...thinned(tokens, 200).map(([, value]) => value)));
    const ticks = (x) => epochs.map((turn) => s("line", { x1: x(turn), x2: x(turn), y1: 4, y2: 9, class: "tick" }));
    const limit = (x, y) => [s("line", { x1: plot.left, x2: width - plot.right, y1: y(state.budget), y2: y(state.budget), class: "limit" })];
    const label = `Tokens of the context after each of ${plural(state.turns, "turn")}; ${plural(epochs.length, "epoch")} so far.`;
    const points = thinned(tokens).map(([place, value]) => [place + 1, value]);
    return lineChart({ width, height: 132, series: [{ name: "context", points, area: true }], high, label, from: 1, to: state.turns, mark: at, extra: [ticks, limit] });
  }

  function place() {
    const turn = state.turn ?? state.turns;
    slider.value = turn;
    const epoch = state.figures.epoch[turn - 1];
    const tokens = state.figures.tokens[turn - 1];
    const words = state.turn === null ? `now, after turn ${count(state.turns)}` : `after turn ${count(turn)} of ${count(state.turns)}`;
    show(where, h("strong", {}, state.turn === null ? "Now" : `After turn ${count(turn)}`), ` of ${count(state.turns)}`);
    slider.setAttribute("aria-valuetext", [words, epoch !== undefined && `epoch ${epoch}`, tokens !== undefined && `${count(tokens)} tokens`].filter(Boolean).join(", "));
    present.disabled = state.turn === null && !following;
    older.disabled = !epochs.some((each) => each < turn);
    newer.disabled = !epochs.some((each) => each > turn);
    redraw();
  }

  function set(turn) {
    following = false;
    if (turn >= state.turns) state.turn = null;
    else state.turn = Math.max(1, !state.known || reachable(turn) ? turn : state.replayed);
    place();
    clearTimeout(timer);
    timer = setTimeout(load, SETTLED_MS);
  }

  async function load() {
    if (state.turn === null && !state.now) {
      following = true;
      if (!state.done) return; // the newest replayed age follows
      state.turn = state.replayed;
      place();
    }
    const turn = state.turn;
    if (turn !== null && !reachable(turn)) return; // comes when the replay is there
    const key = turn ?? "now";
    let context = contexts.get(key);
    if (!context) {
      if (pending === key) return;
      asking?.abort();
      pending = key;
      asking = new AbortController();
      state.signal.addEventListener("abort", () => asking.abort(), { once: true });
      try {
        context = await get("context", { ...view(state), turn }, asking.signal);
      } catch (error) {
        if (error.name === "AbortError") return;
        if (!(error instanceof Failure)) throw error;
        show(trouble, state.failed(error, load));
        return;
      } finally {
        if (pending === key) pending = null;
      }
      contexts.set(key, context);
      if (contexts.size > KEPT) contexts.delete(contexts.keys().next().value);
    }
    if (state.turn !== turn) return;
    show(trouble);
    state.context = context;
    moved(context);
  }

  // Asks for the replay piece by piece until all of it is there.
  async function replay() {
    while (!state.signal.aborted) {
      let part;
      try {
        part = await get("replay", { ...view(state), after: state.figures.tokens.length }, state.signal);
      } catch (error) {
        if (error.name === "AbortError") return;
        if (!(error instanceof Failure)) throw error;
        show(trouble, state.failed(error, replay));
        return;
      }
      take(part);
      if (part.done) return;
    }
  }

  function take(part) {
    const before = state.figures.epoch.length;
    for (const [name, values] of Object.entries(part.figures)) state.figures[name].push(...values);
    for (let turn = before; turn < state.figures.epoch.length; turn++) {
      const isKept = part.recorded.from !== null && turn + 1 >= part.recorded.from;
      if (!isKept && state.figures.epoch[turn] !== (state.figures.epoch[turn - 1] ?? 0)) planned.push(turn + 1);
    }
    epochs.splice(0, epochs.length, ...planned, ...part.recorded.epochs);
    state.known = true;
    state.from = part.recorded.from;
    state.replayed = part.replayed;
    state.done = part.done;
    slider.max = state.turns;
    note.textContent = [progress(part), origin(part)].filter(Boolean).join(" ");
    if (following) {
      state.turn = part.replayed;
      if (part.done || !state.context) load();
    } else if (state.turn !== null && !state.context) load();
    place();
    if (part.done) {
      for (const [key, context] of contexts) if (context.epoch && !context.change) contexts.delete(key);
      load();
      say(`${plural(epochs.length, "epoch")} in ${plural(part.replayed, "turn")}`);
    }
    moved(null);
  }

  function progress(part) {
    if (part.stopped) return `Only the first ${count(part.replayed)} turns are counted: ${part.stopped}.`;
    if (part.done) return `Each stop is a turn. Dashed: the budget. Strokes above: the ${plural(epochs.length, "epoch")}, at which pages are sealed and fade.`;
    return `Counting: ${count(part.replayed)} of ${count(state.turns)} turns …`;
  }

  // Whether what is shown is what was, or what would have been.
  function origin(part) {
    if (!part.replayed || !epochs.length) return "";
    if (part.recorded.from === null) return "No epoch was kept: they are planned anew, as if the agent had asked after each turn.";
    const before = planned.length ? `, those before turn ${count(part.recorded.from)} planned anew` : "";
    return `Epochs are as they were${before}.`;
  }

  slider.addEventListener("input", () => set(Number(slider.value)));
  chart.addEventListener("pointerdown", (event) => {
    const box = chart.getBoundingClientRect();
    const share = (event.clientX - box.left - plot.left) / (box.width - plot.left - plot.right);
    set(Math.round(1 + Math.max(0, Math.min(1, share)) * (state.turns - 1)));
  });

  const api = {
    element,
    begin() {
      place();
      note.textContent = "Replaying …";
      load();
      replay();
    },
    end() {
      clearTimeout(timer);
      asking?.abort();
    },
    now: () => set(state.turns),
    epoch(step) {
      const turn = state.turn ?? state.turns;
      const next = step < 0 ? epochs.filter((each) => each < turn).pop() : epochs.find((each) => each > turn);
      if (next === undefined) return say(step < 0 ? "There is no earlier epoch." : "There is no later epoch.");
      set(next);
      say(`Epoch ${state.figures.epoch[next - 1]}, after turn ${next}`);
    },
  };
  return api;
}
