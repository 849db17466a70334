// The list of sessions, in pages, found by how their names begin.

import { Failure, get } from "./api.js";
import { count, h, plural, say, show, visible } from "./dom.js";

export function sessionsView(main, { go, failed, query }) {
  document.title = "Sessions · optical memory";
  const aborted = new AbortController();
  const list = h("ul", { class: "sessions" });
  const more = h("div", { class: "more" });
  const search = h("input", { type: "search", id: "prefix", value: query.get("prefix") ?? "", placeholder: "Name begins with …", autocomplete: "off", spellcheck: "false", maxlength: 447 });
  let shown = 0;
  let asked = 0;
  let timer = 0;

  show(main, h("div", { class: "head" }, h("h1", {}, "Sessions"),
    h("form", { role: "search", class: "search", onsubmit: (event) => { event.preventDefault(); fill(); } },
      h("label", { for: "prefix", class: "unseen" }, "Name begins with"), search)), list, more);

  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const words = search.value ? `?prefix=${encodeURIComponent(search.value)}` : "";
      history.replaceState(null, "", `/dashboard${words}`);
      fill();
    }, 180);
  });

  async function fill(after = "") {
    const mine = ++asked;
    if (!after) {
      shown = 0;
      show(list, Array.from({ length: 4 }, () => h("li", { class: "bone", "aria-hidden": "true" })));
      show(more);
    }
    try {
      const prefix = search.value;
      const page = await get("sessions", { prefix, after }, aborted.signal);
      if (mine !== asked) return;
      if (!after) show(list);
      list.append(...page.sessions.map(row));
      shown += page.sessions.length;
      show(more, page.next !== null
        ? h("button", { type: "button", class: "button", onclick: () => fill(page.next) }, `More after ${count(shown)}`)
        : shown ? null : nothing(prefix));
      say(`${plural(shown, "session")} listed${page.next !== null ? ", and there are more" : ""}`);
      if (after) list.children[shown - page.sessions.length]?.querySelector("a").focus();
    } catch (error) {
      if (error.name === "AbortError" || mine !== asked) return;
      if (!(error instanceof Failure)) throw error;
      show(list);
      show(more, failed(error, () => fill(after)));
    }
  }

  function row(session) {
    const url = `/dashboard/session?session=${encodeURIComponent(session.id)}`;
    return h("li", {}, h("a", { href: url, onclick: (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
      event.preventDefault();
      go(url);
    } }, h("bdi", { class: "name" }, visible(session.id)), h("span", { class: "figure" }, plural(session.turns, "turn"))));
  }

  fill();
  return () => { aborted.abort(); clearTimeout(timer); };
}

function nothing(prefix) {
  if (prefix) return h("section", { class: "empty" }, h("h2", {}, "No such session"), h("p", {}, "No session's name begins with ", h("bdi", { class: "mono" }, visible(prefix)), "."));
  const curl = `curl -X POST ${location.origin}/v1/sessions/trip/turns \\\n  -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \\\n  -d '{"role": "user", "content": "Find me a flight to Oslo"}'`;
  return h("section", { class: "empty" }, h("h2", {}, "Nothing is remembered yet"),
    h("p", {}, "The first turn makes a session:"), h("pre", { tabindex: 0 }, curl));
}
