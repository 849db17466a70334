// The login: by a key, or once by a link whose token stands behind the # of the address, where no server sees it.

import { change, Failure } from "./api.js";
import { h, say, show } from "./dom.js";

export function loginView(main, done) {
  document.title = "Log in · optical memory";
  const link = /^#once=([\w-]+)$/.exec(location.hash)?.[1];
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  const key = h("input", { id: "key", type: "password", autocomplete: "current-password", spellcheck: "false", required: true, maxlength: 200, placeholder: "om_…", "aria-describedby": "key-help" });
  const wrong = h("p", { class: "wrong", role: "alert" });
  const button = h("button", { type: "submit", class: "button main" }, "Log in");

  async function enter(body) {
    button.disabled = true;
    wrong.textContent = "";
    try {
      await change("POST", "login", {}, body);
      say("You are logged in.");
      await done();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      wrong.textContent = error.status === 401 ? `This does not open anything: ${error.message}.` : error.message;
      key.setAttribute("aria-invalid", "true");
      key.focus();
    } finally {
      button.disabled = false;
    }
  }

  const form = h("form", { class: "login", onsubmit: (event) => { event.preventDefault(); enter({ key: key.value }); } },
    h("h1", {}, "What your agents remember"),
    h("p", { class: "lead" }, "Every turn exact on disk; to the model, text while fresh and page images that fade with age."),
    h("label", { for: "key" }, "Key"), key,
    h("p", { id: "key-help", class: "hint" }, "A key of ", h("code", {}, "optical-memory keys create"), ". It is not kept in this browser: a cookie that no script can read stands for it."),
    wrong, button);
  show(main, form);
  if (link) enter({ link });
  else key.focus();
}
