// Recall: a question in, the exact turns out, each with the page and line, or the words, where it still stands.

import { Failure, get } from "./api.js";
import { count, h, plural, say, show, visible, when } from "./dom.js";
import { imageUrl, marked, openPage } from "./pages.js";
import { view } from "./view.js";

const WHERE = { turn: "among the recent turns, as text", instructions: "among the instructions, as text", words: "in the user’s own words", gist: "in the gist of the past", kept: "in a record of text", values: "among the exact values" };

export function recallPanel(state) {
  const search = h("input", { type: "search", id: "question", placeholder: "Ask for words, names, codes …", autocomplete: "off", maxlength: 8000, required: true });
  const found = h("div", { class: "found" });
  const form = h("form", { role: "search", class: "search wide", onsubmit: (event) => { event.preventDefault(); ask(); } },
    h("label", { for: "question" }, "Question"), h("div", { class: "row" }, search, h("button", { type: "submit", class: "button main" }, "Recall")));
  let asked = "";

  async function ask() {
    const question = search.value.trim();
    if (!question) return;
    asked = question;
    const turn = state.turn;
    show(found, h("p", { class: "waiting" }, "Looking …"));
    try {
      const answer = await get("recall", { ...view(state), q: question, turn }, state.signal);
      if (asked !== question) return;
      show(found, answer.turns.length ? answer.turns.map((each, place) => result(each, place, question, turn)) : h("section", { class: "empty" }, h("h2", {}, "Nothing found"), h("p", {}, "Try other words, or fewer.")));
      say(`${plural(answer.turns.length, "turn")} found`);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Failure)) throw error;
      show(found, state.failed(error, ask));
    }
  }

  function result(each, place, question, turn) {
    const pages = each.where.filter((one) => one.part === "page");
    const words = each.where.filter((one) => one.part !== "page");
    return h("article", { class: "result" },
      h("header", {}, h("h2", {}, h("b", {}, `#${count(each.place)}`), ` ${visible(each.speaker)}`), h("span", { class: "hint" }, when(each.created_at))),
      h("div", { class: "result-body" },
        h("div", {}, h("pre", { class: "words", dir: "auto" }, highlighted(around(visible(each.text), question), question)), each.cut ? h("p", { class: "hint" }, `${count(each.cut)} characters more`) : null),
        h("div", { class: "stands" },
          each.where.length === 0 ? h("p", { class: "notice quiet" }, "Not in the context at this age: archived or still to come. Recall gives it back exactly.") : null,
          words.map((one) => h("p", { class: "hint" }, `Stands ${WHERE[one.part] ?? one.part}.`)),
          pages.map((one) => h("figure", { class: "crop" },
            h("button", { type: "button", class: "page-button", onclick: () => openPage(state, one.page, turn, one.lines) }, marked(one.page, imageUrl(state, one.page, turn), one.lines, { whole: false })),
            h("figcaption", {}, h("span", { class: "tier" }, one.page.tier), ` ${one.lines.length === 1 ? "line" : "lines"} ${one.lines.join(", ")} of ${one.page.rows}`))))));
  }

  return { element: h("div", { class: "recall" }, form, found), moved: (context) => context && asked && !document.getElementById("panel-recall").hidden && ask() };
}

function wordsOf(question) {
  return question.toLowerCase().match(/[\p{L}\p{N}]{2,}/gu) ?? [];
}

// The part of a long text that holds the first of the asked words.
function around(text, question, most = 700) {
  if (text.length <= most) return text;
  const low = text.toLowerCase();
  const at = wordsOf(question).filter((word) => word.length > 3).map((word) => low.indexOf(word)).filter((place) => place >= 0);
  const from = Math.max(0, Math.min(...(at.length ? at : [0])) - most / 4);
  return `${from > 0 ? "… " : ""}${text.slice(from, from + most)}${from + most < text.length ? " …" : ""}`;
}

function highlighted(text, question) {
  const words = wordsOf(question).filter((word) => word.length > 2).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  if (!words.length) return text;
  return text.split(new RegExp(`(${words.join("|")})`, "giu")).map((part, place) => (place % 2 ? h("mark", {}, part) : part));
}
