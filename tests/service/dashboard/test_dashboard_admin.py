"""Keys and quotas of the dashboard in a real Chromium, for a tenant's admin and for the operator's."""

from __future__ import annotations

import pytest
from browsing import CHECKS, opened
from playwright.sync_api import Browser, expect
from server import Served


def test_keys_are_shown_once_and_end_logins(chromium: Browser, service: Served) -> None:
    with opened(chromium, service, "/dashboard/keys") as page:
        page.get_by_role("button", name="New key").click()
        page.get_by_label("Name", exact=True).fill("<b>laptop</b>")
        page.get_by_label("admin").check()
        page.get_by_role("button", name="Make the key").click()
        made = page.locator("#made")
        expect(made).to_be_visible()
        key = made.input_value()
        assert service.engine.keyring.find(key).scopes == ("read", "write", "admin")
        page.keyboard.press("Escape")
        expect(page.locator(".key-name b", has_text="<b>laptop</b>")).to_be_visible()
        assert key not in page.content()
        with opened(chromium, service, key=key) as other:
            page.get_by_role("button", name="Revoke <b>laptop</b>").click()
            page.get_by_role("button", name="Revoke", exact=True).click()
            expect(page.get_by_text("revoked", exact=True)).to_be_visible()
            expect(page.locator(".quota")).to_contain_text("no limit")
            other.wait_for_timeout(400)  # longer than keys are believed here
            other.get_by_role("searchbox").fill("trip")
            expect(other.get_by_label("Key", exact=True)).to_be_visible()


def test_a_tenants_admin_sees_its_quota_and_who_sets_it(chromium: Browser, service: Served) -> None:
    with opened(chromium, service, "/dashboard/keys") as page:
        section = page.get_by_role("region", name="What acme keeps")
        used = service.engine.quotas.usage("acme")
        for amount in used.amounts:
            expect(section.locator(".figures")).to_contain_text(f"{amount:,}")
        expect(section).to_contain_text("optical-memory quotas set acme")
        expect(page.get_by_role("region", name="Quotas of all tenants")).to_have_count(0)
        expect(page.get_by_label("Tenant’s name")).to_have_count(0)


def test_the_operators_admin_sets_quotas_and_it_is_logged(
    chromium: Browser, service: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="optical_memory.service.audit")
    with opened(chromium, service, "/dashboard/keys", key=service.key("ops")) as page:
        with service.client("branch") as client:
            client.post("/v1/sessions/a/turns", json={"role": "user", "content": "hello"})
            page.get_by_label("Tenant’s name").fill("branch")
            page.keyboard.press("Enter")
            page.get_by_label("Most turns").fill("1")
            page.get_by_role("button", name="Set the quota").click()
            section = page.get_by_role("region", name="Quotas of all tenants")
            expect(section).to_contain_text("of 1")
            expect(page.get_by_role("status")).to_have_text("The quota of branch is set.")
            assert service.engine.quotas.of("branch").limits == (None, 1, None)
            assert client.post("/v1/sessions/a/turns", json={"role": "user", "content": "more"}).status_code == 403
            assert any('"set quota"' in line and '"of": "branch"' in line for line in caplog.messages)
            assert page.evaluate(CHECKS) == []
            page.get_by_label("Most turns").fill("")
            page.get_by_role("button", name="Set the quota").click()
            expect(section.get_by_text("no limit")).to_have_count(3)
            page.get_by_role("button", name="Count anew").click()
            expect(page.get_by_role("status")).to_have_text("What branch keeps is counted anew.")
            assert client.post("/v1/sessions/a/turns", json={"role": "user", "content": "more"}).status_code == 201
