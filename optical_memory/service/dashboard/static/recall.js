// A question in; out come the exact turns, or a model's answer with the turns that it rests on, each with the page and
// line, or the words, where it still stands.

import { change, Failure, get } from "./api.js";
import { count, decimal, h, percent, plural, say, show, visible, when } from "./dom.js";
import { imageUrl, marked, openPage } from "./pages.js";
import { view } from "./view.js";

const WHERE = { turn: "among the recent turns, as text", instructions: "among the instructions, as text", words: "in the user’s own words", gist: "in the gist of the past", kept: "in a record of text", values: "among the exact values" };

export function recallPanel(state) {
  const search = h("input", { type: "search", id: "question", placeholder: "Ask for words, names, codes …", autocomplete: "off", maxlength: 8000, required: true });
  const found = h("div", { class: "found" });
  const model = h("button", { type: "button", class: "button", "aria-describedby": "model-help", disabled: !state.me.answers, onclick: () => put(answer) }, "Ask the model");
  const form = h("form", { role: "search", class: "search wide", "aria-label": "In this session", onsubmit: (event) => { event.preventDefault(); put(recall); } },
    h("label", { for: "question" }, "Question"), h("div", { class: "row" }, search, h("button", { type: "submit", class: "button main" }, "Recall"), model),
    h("p", { id: "model-help", class: "hint" }, state.me.answers
      ? "Recall finds exact turns by their words, here on this service. The model is sent what it would see at this age, and may recall more."
      : ["Recall finds exact turns by their words. To have a model answer, set ", h("code", {}, "OPTICAL_MEMORY_ASK_URL"), " to an OpenAI-compatible API and ", h("code", {}, "OPTICAL_MEMORY_ASK_MODEL"), " to a model there, and start the service again."]));
  let asked = null; // what is shown: the question, and how it was put

  function put(how) {
    const question = search.value.trim();
    if (!question) return search.reportValidity();
    return how(question);
  }

  // Shows what comes of a question, unless another one was put meanwhile.
  async function shown(how, question, waiting, fetched, drawn) {
    const mine = { how, question };
    asked = mine;
    show(found, h("p", { class: "waiting" }, waiting));
    try {
      const said = await fetched();
      if (asked === mine) show(found, drawn(said));
    } catch (error) {
      if (error.name === "AbortError" || asked !== mine) return;
      if (!(error instanceof Failure)) throw error;
      show(found, state.failed(error, () => how(question)));
    }
  }

  function recall(question) {
    const turn = state.turn;
    return shown(recall, question, "Looking …", () => get("recall", { ...view(state), q: question, turn }, state.signal), (said) => {
      say(`${plural(said.turns.length, "turn")} found`);
      return said.turns.length ? said.turns.map((each) => result(each, question, turn)) : h("section", { class: "empty" }, h("h2", {}, "Nothing found"), h("p", {}, "Try other words, or fewer."));
    });
  }

  function answer(question) {
    const turn = state.turn;
    model.disabled = true;
    return shown(answer, question, "The model is asked. This may take a while …", () => change("POST", "ask", { ...view(state), turn }, { question }), (said) => {
      say(said.found ? "The model has answered." : "The model found no answer.");
      return [reply(said, turn), ...said.turns.map((each) => result(each, said.text, turn))];
    }).finally(() => { model.disabled = false; });
  }

  function reply(said, turn) {
    const { input_tokens, output_tokens, requests, seconds } = said.usage;
    const sources = said.sources.length;
    return h("section", { class: "answer", "aria-labelledby": "answer" },
      h("h2", { id: "answer" }, "Answer"), h("p", { class: "said", dir: "auto" }, visible(said.text)),
      said.found
        ? h("p", {}, h("meter", { min: 0, max: 1, value: said.certainty, "aria-label": "Certainty" }), ` Certainty ${percent(said.certainty)}: so many of its exact values stand word for word in ${sources ? plural(sources, "source") : "no source: nothing in the session was found that says it"}.`)
        : h("p", { class: "notice quiet" }, "The session does not say, as far as the model sees at this age."),
      h("p", { class: "hint" }, `Asked ${turn === null ? "now" : `as it stood after turn ${count(turn)}`}: ${plural(requests, "request")}, ${count(input_tokens)} tokens in, ${count(output_tokens)} out, ${decimal(seconds)} s.`),
      sources ? h("h2", {}, plural(sources, "source")) : null);
  }

  function result(each, question, turn) {
    const pages = each.where.filter((one) => one.part === "page");
    const words = each.where.filter((one) => one.part !== "page");
    return h("article", { class: "result" },
      h("header", {}, h("h2", {}, h("b", {}, `#${count(each.place)}`), ` ${visible(each.speaker)}`), h("span", { class: "hint" }, when(each.created_at))),
      h("div", { class: "result-body" },
        h("div", {}, h("pre", { class: "words", dir: "auto" }, highlighted(around(visible(each.text), question), question)), each.cut ? h("p", { class: "hint" }, `${count(each.cut)} characters more`) : null),
        h("div", { class: "stands" },
          each.where.length === 0 ? h("p", { class: "notice quiet" }, "Not in the context at this age: it has faded. Recall gives it back exactly.") : null,
          words.map((one) => h("p", { class: "hint" }, `Stands ${WHERE[one.part] ?? one.part}.`)),
          pages.map((one) => h("figure", { class: "crop" },
            h("button", { type: "button", class: "page-button", onclick: () => openPage(state, one.page, turn, one.lines) }, marked(one.page, imageUrl(state, one.page, turn), one.lines, { whole: false })),
            h("figcaption", {}, h("span", { class: "tier" }, one.page.tier), ` ${one.lines.length === 1 ? "line" : "lines"} ${one.lines.join(", ")} of ${one.page.rows}`))))));
  }

  return { element: h("div", { class: "recall" }, form, found), moved: (context) => context && asked?.how === recall && !document.getElementById("panel-recall").hidden && recall(asked.question) };
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
  return text.split(new RegExp(`(?<![\\p{L}\\p{N}])(${words.join("|")})`, "giu")).map((part, place) => (place % 2 ? h("mark", {}, part) : part));
}
