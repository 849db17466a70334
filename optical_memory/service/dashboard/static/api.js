// Calls of the service's dashboard routes, with the login's cookie; changes carry the token that only this page has.

export class Failure extends Error {
  constructor(status, title, detail) {
    super(detail || title);
    this.status = status;
    this.title = title;
  }
}

export const login = { csrf: "", lost: () => {} };

export function address(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const words = new URLSearchParams(given);
  return `/dashboard/api/${path}${given.length ? `?${words}` : ""}`;
}

export async function get(path, query, signal) {
  return answered(await sent(address(path, query), { signal }), true);
}

export async function change(method, path, query, body) {
  const headers = { "X-CSRF-Token": login.csrf };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const given = { method, headers, body: body === undefined ? undefined : JSON.stringify(body) };
  return answered(await sent(address(path, query), given), path !== "login");
}

async function sent(url, given) {
  try {
    return await fetch(url, { credentials: "same-origin", cache: "no-store", redirect: "error", ...given });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(0, "no answer", "The service does not answer. Is it running? This page tries again when you do.");
  }
}

async function answered(response, watched) {
  let said = null;
  try {
    said = await response.json();
  } catch {
    throw new Failure(response.status, "no answer", `The service answered with status ${response.status}.`);
  }
  if (response.ok) return said;
  if (response.status === 401 && watched) login.lost();
  throw new Failure(response.status, said.title ?? "error", said.detail ?? "");
}
