// Keys of the tenant, for an admin: made and shown once, rotated, revoked.

import { change, Failure, get } from "./api.js";
import { h, say, show, visible, when } from "./dom.js";
import { dialog } from "./keyboard.js";
import { quotaSection } from "./quotas.js";

const SCOPES = { read: "read", write: "add turns", forget: "delete", admin: "keys and encryption" };

export function keysView(main, { me, failed }) {
  document.title = "Keys and quotas · optical memory";
  const aborted = new AbortController();
  const list = h("div", {});
  const quota = quotaSection(me, failed, aborted.signal);
  show(main, h("div", { class: "head" }, h("div", {}, h("h1", {}, "Keys and quotas"), h("p", { class: "lead" }, `of the tenant ${me.tenant}. The store keeps a key's hash only.`)),
    h("button", { type: "button", class: "button main", onclick: create }, "New key")), list,
    quota.element);

  async function load() {
    try {
      const { keys } = await get("keys", {}, aborted.signal);
      show(list, h("ul", { class: "keys" }, keys.map(row)));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Failure)) throw error;
      show(list, failed(error, load));
    }
  }

  function row(key) {
    const valid = key.state === "valid";
    const own = key.id === me.key_id;
    return h("li", { class: valid ? null : "over" },
      h("div", { class: "key-name" }, h("b", {}, visible(key.name) || "without a name"), h("code", {}, `om_${key.id}_…`), own && h("span", { class: "badge new" }, "this login"), !valid && h("span", { class: "badge gone" }, key.state)),
      h("div", { class: "key-about" }, h("span", {}, key.scopes.map((scope) => SCOPES[scope] ?? scope).join(", ")),
        h("span", { class: "hint" }, `made ${when(key.created_at)}${key.expires_at ? `, ends ${when(key.expires_at)}` : ""}${key.revoked_at ? `, revoked ${when(key.revoked_at)}` : ""}${key.replaced_by ? `, replaced by ${key.replaced_by}` : ""}`)),
      valid && h("div", { class: "buttons" },
        h("button", { type: "button", class: "button small", onclick: () => rotate(key) }, "Rotate", h("span", { class: "unseen" }, ` ${key.name || key.id}`)),
        h("button", { type: "button", class: "button small danger", onclick: () => revoke(key, own) }, "Revoke", h("span", { class: "unseen" }, ` ${key.name || key.id}`))));
  }

  function asked(title, content, action, act) {
    const wrong = h("p", { class: "wrong", role: "alert" });
    const button = h("button", { type: "submit", class: `button ${action === "Revoke" ? "danger" : "main"}` }, action);
    const box = dialog(title, h("form", { class: "sheet-form", onsubmit: async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        await act();
        box.close();
        load();
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        wrong.textContent = error.message;
        button.disabled = false;
      }
    } }, content, wrong, h("div", { class: "buttons" }, h("button", { type: "button", class: "button", onclick: () => box.close() }, "Cancel"), button)));
  }

  function create() {
    const name = h("input", { id: "key-name", maxlength: 100, autocomplete: "off" });
    const days = h("input", { id: "key-days", type: "number", min: 1, max: 36500, placeholder: "for ever", inputmode: "numeric" });
    const boxes = Object.entries(SCOPES).map(([scope, what]) => h("label", { class: "check" }, h("input", { type: "checkbox", value: scope, checked: scope === "read" || scope === "write" }), h("span", {}, h("b", {}, scope), ` ${what}`)));
    asked("New key", [h("label", { for: "key-name" }, "Name"), name, h("fieldset", {}, h("legend", {}, "It may"), boxes), h("label", { for: "key-days" }, "Valid for days"), days], "Make the key", async () => {
      const scopes = boxes.map((box) => box.querySelector("input")).filter((box) => box.checked).map((box) => box.value);
      if (!scopes.length) throw new Failure(422, "", "Choose at least one thing that the key may do.");
      once(await change("POST", "keys", {}, { name: name.value, scopes, seconds: days.value ? Number(days.value) * 86400 : null }));
    });
  }

  function rotate(key) {
    const hours = h("input", { id: "overlap", type: "number", min: 0, max: 8760, value: 24, inputmode: "numeric" });
    asked(`Rotate ${visible(key.name) || key.id}`, [h("p", {}, "A new key that may do the same. The old one works on for the overlap, then it ends."), h("label", { for: "overlap" }, "Overlap, hours"), hours], "Rotate", async () => {
      once(await change("POST", `keys/${key.id}/rotate`, { overlap_seconds: Number(hours.value) * 3600 }));
    });
  }

  function revoke(key, own) {
    asked(`Revoke ${visible(key.name) || key.id}`, [h("p", {}, "It ends now, on every replica within seconds, and so does every login by it. This cannot be undone."), own && h("p", { class: "notice" }, "You are logged in by this key: you will be logged out.")], "Revoke", async () => {
      await change("DELETE", `keys/${key.id}`);
      say("The key is revoked.");
    });
  }

  function once(made) {
    const text = h("input", { id: "made", class: "mono", readonly: true, value: made.key, "aria-describedby": "made-help" });
    const copy = h("button", { type: "button", class: "button main", onclick: async () => {
      text.select();
      try {
        await navigator.clipboard.writeText(made.key);
        copy.textContent = "Copied";
        say("The key is copied.");
      } catch {
        say("Copy it with the keyboard: it is selected.");
      }
    } }, "Copy");
    setTimeout(() => {
      const box = dialog("The key, shown this once", h("p", { id: "made-help" }, "Keep it now: only its hash is stored, so nobody can show it again."), h("label", { for: "made", class: "unseen" }, "Key"), h("div", { class: "row" }, text, copy));
      box.addEventListener("close", () => { text.value = ""; });
      text.focus();
      text.select();
    });
  }

  load();
  quota.load();
  return () => aborted.abort();
}
