"""Keys of callers, on real SQLite files and a real Redis."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from optical_memory.cli import app
from optical_memory.errors import AccessError, InputError, NotFoundError
from optical_memory.service.keys import Keyring
from optical_memory.service.records import Records, open_records


@pytest.fixture
def records(store_url: str) -> Iterator[Records]:
    opened = open_records(store_url)
    yield opened
    opened.close()


def test_records_swap_count_end_and_are_listed(records: Records) -> None:
    assert records.get("a/1") is None
    assert not records.swap("a/1", b"x", expected=b"y")
    assert records.swap("a/1", b"x", expected=None)
    assert not records.swap("a/1", b"y", expected=None)
    assert records.swap("a/1", b"", expected=b"x") and records.get("a/1") == b""
    assert not records.swap("a/1", b"z", expected=None), "an empty record is one"
    assert records.swap("a/1", b"z", expected=b"")
    assert records.swap("a/\x00{}*", b"1", expected=None) and records.swap("b", b"1", expected=None)
    assert records.names("a/") == ["a/\x00{}*", "a/1"]
    records.put("a/short", b"s", seconds=60)
    records.put("a/gone", b"s", seconds=0.001)
    time.sleep(0.05)
    assert (records.get("a/short"), records.get("a/gone")) == (b"s", None)
    assert records.names("") == ["a/\x00{}*", "a/1", "b"], "what ends is not listed"
    assert [records.count("n", 2, seconds=60) for _ in range(3)] == [2, 4, 6]
    assert records.count("m", 5, seconds=0.001) == 5
    time.sleep(0.05)
    assert records.count("m", 1, seconds=60) == 1
    records.scrub("a/1")
    assert records.get("a/1") == b"z"


def test_a_key_is_shown_once_and_kept_as_a_hash(records: Records) -> None:
    ring = Keyring(records)
    key, text = ring.create("acme", ["write", "read"], name="agent")
    assert ring.find(text) == key and key.scopes == ("read", "write") and key.tenant == "acme"
    secret = text.split("_", 2)[2]
    for name in records.names(""):
        assert secret.encode() not in (records.get(name) or b"") and secret not in name
    assert ring.get(key.id) == key


def test_find_makes_one_lookup() -> None:
    class Counting:
        def __init__(self, records: Records) -> None:
            self.records, self.reads = records, 0

        def get(self, name: str) -> bytes | None:
            self.reads += 1
            return self.records.get(name)

        def __getattr__(self, name: str) -> object:
            return getattr(self.records, name)

    counting = Counting(open_records("memory://"))
    ring = Keyring(counting)  # type: ignore[arg-type]
    texts = [ring.create(f"t{place}")[1] for place in range(20)]
    counting.reads = 0
    ring.find(texts[7])
    assert counting.reads == 1
    with pytest.raises(AccessError):
        ring.find("om_" + "1" * 16 + "_" + "A" * 43)
    assert counting.reads == 2, "an unknown key costs the same lookup"
    assert ring.cached(texts[7]) is not None and counting.reads == 2
    counting.records.close()


@pytest.mark.parametrize(
    "text", ["", "om_", "x" * 5000, "om_" + "0" * 16 + "_" + "A" * 43, "om_" + "é" * 16 + "_" + "A" * 43, "om_\n_"]
)
def test_what_is_no_key_finds_nothing(text: str) -> None:
    ring = Keyring(open_records("memory://"))
    ring.create("acme")
    with pytest.raises(AccessError, match="no such key"):
        ring.find(text)
    assert ring.cached(text) is None


def test_a_wrong_secret_is_answered_like_an_unknown_key(records: Records) -> None:
    ring = Keyring(records)
    _, text = ring.create("acme")
    ring.find(text)
    wrong = text[:-1] + ("A" if text[-1] != "A" else "B")
    with pytest.raises(AccessError, match=r"^no such key$"):
        ring.find(wrong)
    assert ring.cached(wrong) is None, "a cached key is compared too"


def test_revocation_reaches_another_replica_within_seconds(store_url: str) -> None:
    one, two = open_records(store_url), open_records(store_url)
    here, there, slow = (
        Keyring(opened, cache_seconds=seconds) for opened, seconds in ((one, 60), (two, 0.3), (two, 600))
    )
    key, text = here.create("acme")
    for ring in (here, there, slow):
        assert ring.find(text) == key
    here.revoke(key.id)
    assert here.cached(text) is None, "at once where it was revoked"
    time.sleep(0.4)
    assert there.cached(text) is None and slow.cached(text) == key, "what was read is believed for the seconds given"
    with pytest.raises(AccessError, match="revoked"):
        there.find(text)
    revoked = here.get(key.id)
    assert here.revoke(key.id) == revoked, "the first time stays"
    one.close()
    two.close()


def test_rotation_lets_both_keys_work_until_the_overlap_ends(records: Records) -> None:
    now = [1_000.0]
    ring = Keyring(records, clock=lambda: now[0])
    old, old_text = ring.create("acme", ["read", "forget"], seconds=1_000)
    now[0] = 1_500.0
    new, new_text = ring.rotate(old.id, overlap_seconds=60)
    assert (new.tenant, new.scopes, new.expires_at) == ("acme", old.scopes, 2_500.0)
    assert ring.find(old_text).replaced_by == new.id
    assert ring.find(new_text).id == new.id
    now[0] = 1_560.0
    assert ring.cached(old_text) is None, "time passes in the cache too"
    with pytest.raises(AccessError, match="expired"):
        ring.find(old_text)
    assert ring.find(new_text).id == new.id
    with pytest.raises(InputError, match="expired"):
        ring.rotate(old.id)


@pytest.mark.parametrize(
    ("tenant", "scopes", "seconds"),
    [("a/b", ["read"], None), ("", ["read"], None), ("a", [], None), ("a", ["root"], None), ("a", ["read"], 0)],
)
def test_what_cannot_be_a_key_is_refused(tenant: str, scopes: list[str], seconds: float | None) -> None:
    with pytest.raises(InputError):
        Keyring(open_records("memory://")).create(tenant, scopes, seconds=seconds)


def test_the_command_line_makes_lists_rotates_and_revokes(store_url: str) -> None:
    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["keys", *arguments, "--store", store_url])
        assert result.exit_code == 0, result.output
        return result.stdout

    made = json.loads(run("create", "acme", "--scope", "read", "--days", "2", "--name", "ci", "--json"))
    assert made["scopes"] == ["read"] and made["key"].startswith(f"om_{made['id']}_") and "digest" not in made
    turned = json.loads(run("rotate", made["id"], "--overlap-hours", "1", "--json"))
    run("create", "other")
    listed = json.loads(run("list", "--tenant", "acme", "--json"))
    assert [key["id"] for key in listed] == [made["id"], turned["id"]]
    secret = made["key"].split("_", 2)[2]
    assert secret not in run("list") and "other" in run("list")
    run("revoke", made["id"])
    assert [key["state"] for key in json.loads(run("list", "--tenant", "acme", "--json"))] == ["revoked", "valid"]
    failed = CliRunner().invoke(app, ["keys", "revoke", "0" * 16, "--store", store_url])
    assert isinstance(failed.exception, NotFoundError)
