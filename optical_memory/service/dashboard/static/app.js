// The dashboard: who is logged in, which view the address names, colours and keyboard.

import { change, Failure, get, login } from "./api.js";
import { h, say, show, store } from "./dom.js";
import { help, shortcuts } from "./keyboard.js";
import { keysView } from "./keys.js";
import { loginView } from "./login.js";
import { sessionView } from "./session.js";
import { sessionsView } from "./sessions.js";

const main = document.getElementById("main");
const bar = document.getElementById("bar");
const THEMES = { auto: "Auto", light: "Light", dark: "Dark" };
let me = null;
let leave = () => {};

const VIEWS = {
  "/dashboard": sessionsView,
  "/dashboard/": sessionsView,
  "/dashboard/session": sessionView,
  "/dashboard/keys": keysView,
};

export function go(url, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", url);
  return render({ focus: true });
}

async function render({ focus = false } = {}) {
  leave();
  leave = () => {};
  if (me === null) {
    try {
      const said = await get("me");
      if (!said.logged_in) return entrance();
      me = said;
      login.csrf = me.csrf;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return show(main, failed(error, () => render()));
    }
  }
  drawBar();
  const view = VIEWS[location.pathname] ?? sessionsView;
  leave = view(main, { me, go, failed, query: new URLSearchParams(location.search) }) ?? (() => {});
  if (focus) main.focus({ preventScroll: true });
  scrollTo(0, 0);
}

function entrance() {
  leave();
  leave = () => {};
  me = null;
  drawBar();
  loginView(main, () => render({ focus: true }));
}

login.lost = () => {
  if (me === null) return;
  say("You are logged out.");
  entrance();
};

export function failed(error, again) {
  const title = error.status === 404 ? "Not found" : error.status === 403 ? "This key may not see that" : "That did not work";
  return h("section", { class: "empty", role: "alert" }, h("h2", {}, title), h("p", {}, error.message),
    again ? h("button", { type: "button", class: "button", onclick: again }, "Try again") : null);
}

function drawBar() {
  const here = (path) => (location.pathname.replace(/\/$/, "") === path ? "page" : null);
  const link = (path, name) => h("a", { href: path, "aria-current": here(path), onclick: (event) => follow(event, path) }, name);
  const isAdmin = me?.scopes.includes("admin");
  show(bar,
    h("a", { class: "brand", href: "/dashboard", onclick: (event) => follow(event, "/dashboard") },
      h("img", { src: "/dashboard/static/icon.svg", width: 24, height: 24, alt: "" }), h("span", {}, "optical memory")),
    me && h("nav", { "aria-label": "Main" }, link("/dashboard", "Sessions"), isAdmin && link("/dashboard/keys", "Keys")),
    h("div", { class: "tools" },
      me && h("span", { class: "tenant", title: "Tenant of your key" }, me.tenant),
      themeButton(),
      h("button", { type: "button", class: "icon", "aria-label": "Keyboard shortcuts", title: "Keyboard shortcuts (?)", onclick: help }, "?"),
      me && h("button", { type: "button", class: "plain", onclick: logout }, "Log out")));
}

function follow(event, path) {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  event.preventDefault();
  go(path);
}

function themeButton() {
  const now = store("theme") ?? "auto";
  return h("button", { type: "button", class: "plain theme", title: "Colours (t)", onclick: turnTheme },
    h("span", { class: "unseen" }, "Colours: "), THEMES[now] ?? THEMES.auto);
}

function turnTheme() {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(store("theme") ?? "auto") + 1) % names.length];
  store("theme", next);
  if (next === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  const had = document.activeElement?.classList.contains("theme");
  drawBar();
  if (had) bar.querySelector(".theme").focus();
  say(`Colours: ${THEMES[next]}`);
}

async function logout() {
  try {
    await change("POST", "logout");
  } catch (error) {
    if (!(error instanceof Failure) || error.status !== 401) return say(error.message);
  }
  say("You are logged out.");
  entrance();
}

shortcuts({
  "?": help,
  t: turnTheme,
  s: () => me && go("/dashboard"),
  k: () => me?.scopes.includes("admin") && go("/dashboard/keys"),
  "/": () => document.querySelector("input[type=search]")?.focus(),
});
addEventListener("popstate", () => render({ focus: true }));
render();
