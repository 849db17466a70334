// What the model sees at an age, piece by piece in its order, what it costs, and what the last epoch changed.

import { count, h, percent, plural, range, short, show, store, visible } from "./dom.js";
import { pageFigure } from "./pages.js";

const NAMES = { instructions: "Instructions", header: "What introduces the past", words: "The user’s own words", gist: "Gist of what is on no page", page: "Pages", values: "Exact values", kept: "Kept as text", turn: "Recent turns" };
const SCALES = [1, 2, 4];
const FOLDED = { instructions: 240, header: 160, words: 500 };
const FOLDED_ELSE = 900;

export function contextPanel(state) {
  const bar = h("div", { class: "composition" });
  const stream = h("div", { class: "stream" });
  const aside = h("section", { class: "change", tabindex: 0, "aria-label": "What the last epoch changed" });
  let scale = Number(store("scale")) || (innerWidth < 640 ? 4 : 2);
  let last = null;

  const scales = h("fieldset", { class: "scales" }, h("legend", {}, "Pages at"), SCALES.map((each) =>
    h("label", {}, h("input", { type: "radio", name: "scale", value: each, checked: each === scale, onchange: () => { scale = each; store("scale", each); if (last) draw(last); } }), h("span", {}, each === 1 ? "true size" : `1 : ${each}`))));
  show(stream, Array.from({ length: 3 }, () => h("div", { class: "bone tall", "aria-hidden": "true" })));

  function draw(context) {
    last = context;
    const turn = context.turn;
    const badges = badgesOf(context);
    show(bar, composition(context));
    const blocks = [];
    for (const piece of context.pieces) {
      if (piece.page) {
        const before = blocks[blocks.length - 1];
        if (before?.part === "page") before.pieces.push(piece);
        else blocks.push({ part: "page", pieces: [piece] });
      } else if (blocks[blocks.length - 1]?.part === piece.part && piece.part !== "values") blocks[blocks.length - 1].pieces.push(piece);
      else blocks.push({ part: piece.part, pieces: [piece] });
    }
    show(stream, blocks.map((block) => h("section", { class: `block ${block.part}` },
      h("h2", {}, NAMES[block.part] ?? block.part, h("small", {}, said(block))),
      block.part === "page" ? h("div", { class: "film" }, block.pieces.map((piece) => pageFigure(state, piece, turn, scale, badges.get(piece.page.id))))
        : block.part === "values" ? values(block.pieces[0]) : block.pieces.map(textPiece))),
      context.left_out ? h("p", { class: "hint" }, `${plural(context.left_out, "piece")} between are not listed here.`) : null,
      context.pieces.length ? null : h("p", { class: "empty" }, "Nothing is said yet."));
    show(aside, changes(context, state));
  }

  return { element: h("div", { class: "sees" }, h("div", { class: "sees-main" }, bar, scales, stream), aside), moved: (context) => context ? draw(context) : last && !last.change && show(aside, changes(last, state)) };
}

function said(block) {
  const tokens = block.pieces.reduce((sum, piece) => sum + piece.tokens, 0);
  const what = block.part === "page" ? plural(block.pieces.length, "page") : block.part === "turn" ? plural(block.pieces.length, "turn") : "";
  return [what, `${count(tokens)} tokens`].filter(Boolean).join(", ");
}

function textPiece(piece) {
  const text = visible(piece.text);
  const most = FOLDED[piece.part] ?? FOLDED_ELSE;
  const body = h("pre", { class: "words", dir: "auto" }, text.length > most ? `${text.slice(0, most)} …` : text);
  const more = text.length > most && h("button", { type: "button", class: "plain", "aria-expanded": "false", onclick: () => {
    const open = more.getAttribute("aria-expanded") === "true";
    more.setAttribute("aria-expanded", String(!open));
    more.textContent = open ? `All ${count(text.length + piece.cut)} characters` : "Less";
    body.textContent = open ? `${text.slice(0, most)} …` : text + (piece.cut ? `\n[${count(piece.cut)} characters more]` : "");
  } }, `All ${count(text.length + piece.cut)} characters`);
  return h("article", { class: `piece ${piece.role}` },
    h("p", { class: "by" }, piece.place !== undefined ? h("b", {}, `#${count(piece.place)}`) : null, piece.kind === "turn" || piece.kind === "instructions" ? ` ${piece.role} ` : " ", h("span", {}, `${count(piece.tokens)} tokens`)),
    body, more);
}

function values(piece) {
  const [label, ...rest] = visible(piece.text).split("\n");
  const list = rest.join("\n").split(" | ").map((value) => value.trim()).filter(Boolean);
  return [h("p", { class: "by" }, label), h("ul", { class: "chips" }, list.map((value) => h("li", {}, value)))];
}

function parts(context) {
  const sums = new Map();
  for (const piece of context.pieces) {
    const key = piece.page ? `page ${piece.page.kind === "gist" ? "gist" : piece.page.tier}` : piece.part;
    const found = sums.get(key) ?? { name: piece.page ? (piece.page.kind === "gist" ? "excerpts" : piece.page.tier) : NAMES[piece.part], page: piece.page, tokens: 0, pieces: 0 };
    found.tokens += piece.tokens;
    found.pieces += 1;
    sums.set(key, found);
  }
  return [...sums.values()];
}

function composition(context) {
  const all = parts(context);
  const sharpness = [...new Set(all.filter((part) => part.page).map((part) => part.page.size[0] * (part.page.kind === "gist" ? 0.5 : 1)))].sort((a, b) => b - a);
  const shade = (part) => part.page ? `shade-${Math.min(sharpness.indexOf(part.page.size[0] * (part.page.kind === "gist" ? 0.5 : 1)), 5)}` : `text-${part.name === NAMES.turn ? "recent" : part.name === NAMES.instructions ? "system" : "record"}`;
  const free = Math.max(context.budget - context.tokens, 0);
  const total = Math.max(context.budget, context.tokens);
  return [
    h("div", { class: "composition-bar", "aria-hidden": "true" }, all.map((part) => h("i", { class: shade(part), style: { "flex-grow": String(part.tokens / total) } })), free ? h("i", { class: "free", style: { "flex-grow": String(free / total) } }) : null),
    h("ul", { class: "legend" }, all.map((part) => h("li", {}, h("i", { class: shade(part), "aria-hidden": "true" }), `${part.page ? `${count(part.pieces)} × ${part.name}` : part.name} `, h("b", {}, count(part.tokens)))),
      h("li", {}, h("i", { class: "free", "aria-hidden": "true" }), "free ", h("b", {}, count(free)))),
    !context.fits && h("p", { class: "notice" }, context.recorded && context.turn !== null
      ? "This costs more than the budget: nothing was asked at this age. The next request began an epoch."
      : "This costs more than the budget: not even the least fits."),
  ];
}

function badgesOf(context) {
  const badges = new Map();
  const change = context.change;
  if (!change) return badges;
  for (const each of change.added) badges.set(each.id, { kind: "new", text: "new" });
  for (const each of change.moved) badges.set(each.id, { kind: "moved", text: `was ${each.from}` });
  for (const each of change.merged) badges.set(each.id, { kind: "merged", text: "merged" });
  return badges;
}

function changes(context, state) {
  const change = context.change;
  const figures = state.figures;
  if (!change && !context.epoch) return [h("h2", {}, "No epoch yet"), h("p", {}, "All of it still fits as text: nothing has been sealed.")];
  if (!change && !state.done) return [h("h2", {}, `Epoch ${count(context.epoch)}`), h("p", {}, "What it changed is known once the replay gets there.")];
  if (!change && context.recorded) return [h("h2", {}, `Epoch ${count(context.epoch)}`), h("p", {}, "What it changed is not known: the epoch before it was not kept.")];
  if (!change && !context.live) return [h("h2", {}, `Epoch ${count(context.epoch)}, planned anew`), h("p", {}, "No agent has asked under this view: its first request would hold this. Move the slider to see what each epoch would have changed for one that asked after each turn.")];
  if (!change) return [h("h2", {}, `Epoch ${count(context.epoch)}, as stored`), h("p", {}, `The agent asked less often than after each turn, or keeps tokens for its tools: asked after each turn, the past would be at epoch ${count(figures.epoch[figures.epoch.length - 1] ?? 0)}. Move the slider to see what each of those changed.`)];
  const [kept, before] = [figures.kept[change.turn - 1], figures.tokens[change.turn - 2]];
  const moves = new Map();
  for (const each of change.moved) moves.set(`${each.from} → ${each.tier}`, (moves.get(`${each.from} → ${each.tier}`) ?? 0) + 1);
  return [
    h("h2", {}, `Epoch ${count(change.number)}`),
    h("p", { class: "hint" }, `began after turn ${count(change.turn)}`),
    h("ul", { class: "changes" },
      change.sealed && h("li", {}, h("b", {}, plural(change.sealed.turns, "turn")), ` (${range([change.sealed.first, change.sealed.last])}) left the text and became ${plural(change.counts.added, "page or record").replace("page or records", "pages or records")}`),
      [...moves].map(([step, number]) => h("li", {}, h("b", {}, plural(number, "page")), ` drawn at another size: ${step}`)),
      change.merged.map((gist) => h("li", {}, h("b", {}, plural(gist.pages.length, "page")), ` merged into one excerpt of ${range(gist.places)}: `, jump(gist.id))),
      change.archived ? h("li", {}, h("b", {}, plural(change.archived, "page")), " archived: out of the context, recall finds them") : null,
      h("li", {}, "The past costs ", h("b", {}, count(change.tokens[1])), ` tokens, before ${count(change.tokens[0])}`),
      before ? h("li", {}, h("b", {}, percent(kept / before)), ` of the request before stayed at the start of this one`) : null),
    valuesOf("Exact values that came", change.values.came), valuesOf("Exact values that left", change.values.left),
  ];
}

function valuesOf(title, list) {
  return list.length ? h("details", {}, h("summary", {}, `${title}: ${count(list.length)}`), h("ul", { class: "chips" }, list.map((value) => h("li", {}, visible(value))))) : null;
}

function jump(id) {
  return h("button", { type: "button", class: "plain", onclick: () => document.querySelector(`#page-${CSS.escape(id)} button`)?.focus() }, short(id));
}
