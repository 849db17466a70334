"""Each problem that the code knows is documented, each route with its scope; what is damaged is named over HTTP."""

from __future__ import annotations

import ast
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from every_route import every_route
from server import ALL, Served, served

from optical_memory.service import limits
from optical_memory.service.master import new_master_key
from optical_memory.service.problems import STATUSES

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs/service.md").read_text("utf-8")
LONG = [{"role": "user", "content": f"Line {n} " + "and so on " * 40} for n in range(30)]


def section(title: str) -> str:
    return DOC.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    found = [line for line in section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in found]


def in_the_code() -> set[tuple[int, str]]:
    """Return status and title of each problem that the service's code can answer with."""
    found = {(status, title) for _, status, title in STATUSES} | set(limits.TITLES.items())
    found |= {(500, "internal error"), (405, "method not allowed")}
    for file in (ROOT / "optical_memory/service").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            if name not in ("Problem", "problem"):
                continue
            assert isinstance(node, ast.Call)
            given = [one.value if isinstance(one, ast.Constant) else None for one in node.args[:2]]
            if isinstance(given[0], int) and isinstance(given[1], str):
                found.add((given[0], given[1]))
            else:  # made from the tables above
                assert file.name in ("problems.py", "limits.py"), f"{file.name}:{node.lineno} says no title"
    return found


def test_the_table_has_every_problem_of_the_code_and_no_other() -> None:
    documented = set()
    for statuses, titles, *_ in rows("Errors")[1:]:
        numbers, words = statuses.split(", "), re.findall("`([^`]+)`", titles)
        pairs = zip(numbers, words, strict=True) if len(numbers) > 1 else ((numbers[0], word) for word in words)
        documented |= {(int(number), word) for number, word in pairs}
    assert documented == in_the_code()


def documented_scopes() -> dict[tuple[str, str], str]:
    """Return the scope that the table of routes gives each method and path, whose parameters have no names here."""
    found = {}
    for routes, scope, *_ in rows("Routes")[1:]:
        methods: list[str] = []
        for code in re.findall("`([^`]+)`", routes):
            method, _, path = code.partition(" ") if not code.startswith("/") else ("GET", "", code)
            methods.append(method)
            if path:
                found |= {(one, re.sub(r"\{\w+\}", "{}", path.partition("?")[0])): scope for one in methods}
                methods = []
    return found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store = f"sqlite:///{tmp_path_factory.mktemp('problems') / 'memory.db'}"
    with served(store=store, proxy="on", operator="acme", key_cache_seconds=60.0) as running:
        yield running


def test_every_route_is_documented_and_refuses_keys_without_its_scope(service: Served) -> None:
    scopes, seen = documented_scopes(), set()
    keys = {scope: service.key("acme", tuple(one for one in ALL if one != scope)) for scope in ALL}
    with httpx.Client(base_url=service.url, timeout=120) as client:
        for method, path in every_route(service.app):
            if path.startswith("/dashboard") or path == "/openapi.json":
                continue
            seen.add((method, re.sub(r"\{\w+\}", "{}", path)))
            scope = scopes[method, re.sub(r"\{\w+\}", "{}", path)]
            filled = path.replace("{key_id}", "0" * 16).replace("{", "").replace("}", "")
            if scope == "–":
                assert client.request(method, filled).status_code == 200
                continue
            for header, status, title in (
                ({}, 401, "no valid key"),
                ({"Authorization": f"Bearer {keys[scope]}"}, 403, "the key may not do this"),
            ):
                answer = client.request(method, filled, headers=header, json={})
                assert answer.headers["content-type"] == "application/problem+json", (method, path)
                body = answer.json()
                assert (answer.status_code, body["status"], body["title"]) == (status, status, title), (method, path)
                assert scope in body["detail"] or status == 401
    assert seen == {(method, path) for method, path in scopes if not path.startswith("/dashboard")}


def test_what_the_framework_refuses_is_a_problem(service: Served) -> None:
    with service.client("acme") as client:
        for method, path, status, title in (
            ("GET", "/v1/nothing", 404, "not found"),
            ("PATCH", "/v1/sessions", 405, "method not allowed"),
        ):
            answer = client.request(method, path)
            assert answer.headers["content-type"] == "application/problem+json"
            assert (answer.status_code, answer.json()["title"]) == (status, title) and answer.json()["detail"]


@pytest.mark.parametrize("table", ["turns", "states", "blobs"])
def test_what_is_damaged_in_the_store_is_named_and_never_skipped(tmp_path: Path, table: str) -> None:
    store, master = f"sqlite:///{tmp_path / 'memory.db'}", new_master_key()
    with served(store=store, master_key=master) as service, service.client("acme") as client:
        client.post("/v1/sessions/s/turns", json=LONG)
        page = client.get("/v1/sessions/s/context").json()["pages"][0]
        assert client.get(page["url"]).status_code == 200
    column = {"turns": "body", "states": "data", "blobs": "data"}[table]
    with sqlite3.connect(tmp_path / "memory.db") as db:
        for row, value in db.execute(f"SELECT rowid, {column} FROM {table}").fetchall():
            db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value[:-1] + bytes([value[-1] ^ 1]), row))
    with served(store=store, master_key=master) as service, service.client("acme") as client:
        asked = {
            "turns": ("/recall?q=Line", "/export", "/messages", "/context"),
            "states": ("/messages", "/context", "/export"),
            "blobs": (page["url"].removeprefix("/v1/sessions/s"),),
        }[table]
        for path in asked:
            answer = client.get(f"/v1/sessions/s{path}")
            assert answer.status_code == 500, (path, answer.text[:200])
            body = answer.json()
            assert (body["title"], body["error"]) == ("the store is damaged", "StoreCorruptError"), path
            assert "damaged" in body["detail"] and "'acme/s'" in body["detail"], body["detail"]
