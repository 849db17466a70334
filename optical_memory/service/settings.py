"""Settings of the service, from the environment; the table in docs/service.md is generated from here."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal

from optical_memory.errors import InputError, MissingExtraError

try:
    from pydantic import Field, SecretStr
    from pydantic_settings import BaseSettings, SettingsConfigDict
except ImportError as error:
    raise MissingExtraError("pydantic-settings", "service") from error

from optical_memory.service.master import MasterKey, parse_master_keys, read_master_keys
from optical_memory.service.proxy.switch import Mode
from optical_memory.service.quotas import Quota
from optical_memory.stores.scoped import check_scope

PREFIX = "OPTICAL_MEMORY_"
"""What the name of every environment variable begins with."""


class ServiceSettings(BaseSettings):
    """What the service runs with."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    store: str = Field(
        default="sqlite:///memory.db",
        description="where sessions and keys are kept: sqlite:///…, redis://…, redis+sentinel://…",
    )
    host: str = Field(default="127.0.0.1", description="address to listen at")
    port: int = Field(default=8321, ge=0, le=65_535, description="port to listen at; 0: a free one")
    workers: int = Field(default=1, ge=1, le=64, description="processes that serve on one port")
    tls_cert: Path | None = Field(default=None, description="certificate chain (PEM)")
    tls_key: Path | None = Field(default=None, description="private key of the certificate (PEM)")
    plaintext: bool = Field(
        default=False, description="listen beyond loopback without TLS, because a proxy in front of the service has it"
    )
    master_key: SecretStr | None = Field(
        default=None, description="master keys (base64), newest first: encrypts at rest"
    )
    master_key_file: Path | None = Field(default=None, description="file with master keys, readable by its owner alone")
    profile: str = Field(default="deepseek-ocr", description="target model where a request names none")
    budget: int = Field(default=8_000, ge=1, description="tokens of a context where a request names none")
    renderer: str | None = Field(default=None, description="chromium or dense; none: Chromium where it is found")
    max_body_bytes: int = Field(default=16 << 20, ge=1_024, description="largest body of a request but an import")
    max_import_bytes: int = Field(default=128 << 20, ge=1_024, description="largest body of an import")
    body_seconds: float = Field(default=30.0, gt=0, description="time for a body to arrive")
    slow_body_seconds: float = Field(
        default=0.5, ge=0, description="time after which a body that still arrives gives way, at the most requests"
    )
    store_seconds: float = Field(default=2.0, gt=0, lt=1_000, description="how long a reply of Redis may take")
    log_format: Literal["text", "json"] = Field(default="text", description="how log lines are written")
    log_requests: bool = Field(default=False, description="log each request: route, status, time, tenant; no content")
    otel: bool = Field(default=False, description="trace with OpenTelemetry (extra otel; its own OTEL_… variables)")
    max_requests: int = Field(default=512, ge=1, description="requests at a time; further ones get 503")
    threads: int = Field(default=8, ge=1, le=256, description="threads for stores")
    draw_processes: int = Field(
        default=2, ge=0, le=64, description="processes that draw pages, and as many that plan; 0: threads do"
    )
    draw_seconds: float = Field(default=60.0, gt=0, description="how long a page may take, and wait for its turn")
    open_memories: int = Field(default=256, ge=1, description="memories kept open at a time")
    key_cache_seconds: float = Field(default=2.0, ge=0, le=60, description="how late a revocation may work")
    repeat_seconds: float = Field(default=86_400.0, gt=0, description="how long answers are kept for repeated requests")
    shutdown_seconds: int = Field(default=30, ge=0, description="time for requests under way to end at a shutdown")
    key_rates: str = Field(default="", description="most requests of a key, such as `600/60 20000/3600` (in seconds)")
    tenant_rates: str = Field(default="", description="most requests of a tenant, likewise")
    quota_sessions: int | None = Field(default=None, ge=0, description="most sessions of a tenant that has no quota")
    quota_turns: int | None = Field(default=None, ge=0, description="most turns of such a tenant")
    quota_bytes: int | None = Field(default=None, ge=0, description="most bytes of the turns of such a tenant")
    operator: str | None = Field(default=None, description="tenant whose admins see and set the quotas of all tenants")
    dashboard_seconds: float = Field(
        default=43_200.0, ge=0, description="how long a login to the dashboard lasts; 0: no dashboard"
    )
    epochs_kept: int = Field(
        default=1_000, ge=0, description="past epochs of each view of a session that stay, for the dashboard; 0: none"
    )
    ask_url: str | None = Field(default=None, description="OpenAI-compatible API that answers questions")
    ask_model: str | None = Field(default=None, description="model at that API")
    proxy: Mode | None = Field(
        default=None,
        description="serve the providers' paths: `on`, `dry-run` (only report) or `off` (pass all through)",
    )
    proxy_tenant: str | None = Field(
        default=None, description="whose requests they are that carry no key; only on loopback"
    )
    proxy_openai_url: str = Field(default="https://api.openai.com", description="where OpenAI's paths lead")
    proxy_anthropic_url: str = Field(default="https://api.anthropic.com", description="where Anthropic's paths lead")
    proxy_gemini_url: str = Field(
        default="https://generativelanguage.googleapis.com", description="where Gemini's paths lead"
    )
    proxy_models: str = Field(default="*", description="models that are compressed for, as patterns: `claude-* gpt-5*`")
    proxy_budget: int = Field(
        default=36_000, ge=2_000, description="tokens that a conversation may cost when compressed"
    )
    proxy_from_tokens: int = Field(default=8_000, ge=0, description="shorter requests pass unread (3 bytes a token)")
    proxy_recall: bool = Field(default=True, description="offer the recall tool where its calls can be answered here")
    proxy_request_bytes: int = Field(default=18 << 20, ge=1_024, description="largest request that is made")
    proxy_max_body_bytes: int = Field(default=32 << 20, ge=1_024, description="largest body that is taken")
    proxy_requests: int = Field(
        default=1_024, ge=1, description="requests to providers at a time; further ones get 503"
    )
    proxy_seconds: float = Field(default=600.0, gt=0, description="longest wait for a provider's next bytes")
    proxy_compress_seconds: float = Field(default=10.0, gt=0, description="time to compress; then the original goes")

    def check_proxy(self) -> None:
        """Raise InputError for requests without a key where others can reach the service."""
        if self.proxy_tenant is not None:
            check_scope(self.proxy_tenant)
            if not self.is_loopback:
                raise InputError(
                    f"{PREFIX}PROXY_TENANT is for loopback alone: at {self.host} every request needs a key"
                )

    def master(self) -> MasterKey | None:
        """Return the master keys, or None where none are set. Raises InputError, StoreUnavailableError."""
        if self.master_key is not None and self.master_key_file is not None:
            raise InputError(f"set one of {PREFIX}MASTER_KEY and {PREFIX}MASTER_KEY_FILE, not both")
        if self.master_key is not None:
            return parse_master_keys(self.master_key.get_secret_value())
        return None if self.master_key_file is None else read_master_keys(self.master_key_file)

    @property
    def quota(self) -> Quota:
        """The quota of tenants for which none was set."""
        return Quota(sessions=self.quota_sessions, turns=self.quota_turns, bytes=self.quota_bytes)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def settings_table() -> str:
    """Return all settings as a Markdown table."""
    rows = ["| variable | default | |", "|---|---|---|"]
    for name, field in ServiceSettings.model_fields.items():
        default = "–" if field.default in (None, "") else f"`{field.default}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows)
