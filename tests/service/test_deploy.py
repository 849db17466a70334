"""The examples for Compose and Kubernetes: every setting they name is one, every path they probe is a route."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.routing import compile_path

from optical_memory.service.app import create_app
from optical_memory.service.settings import PREFIX, ServiceSettings
from optical_memory.stores.redis_url import parse_redis_url

ROOT = Path(__file__).parents[2]
COMPOSE, KUBERNETES = ROOT / "compose.yaml", ROOT / "deploy" / "kubernetes.yaml"
SETTINGS = {f"{PREFIX}{name.upper()}": name for name in ServiceSettings.model_fields}


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))
    return found


def container() -> dict[str, Any]:
    (deployment,) = [one for one in kubernetes() if one["kind"] == "Deployment"]
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(found)


def kubernetes() -> Iterator[dict[str, Any]]:
    return iter(yaml.safe_load_all(KUBERNETES.read_text("utf-8")))


def is_route(path: str) -> bool:
    return any(compile_path(route)[0].match(path) for route in create_app().openapi()["paths"])


def test_compose_runs_redis_two_replicas_and_a_balancer_with_real_settings() -> None:
    services = compose()["services"]
    replicas = [name for name in services if name.startswith("replica-")]
    assert len(replicas) == 2 and {"redis", "balancer", "first-key"} <= set(services)
    for name in replicas:
        given = services[name]["environment"]
        assert set(given) <= set(SETTINGS)
        settings = ServiceSettings(**{SETTINGS[variable]: value for variable, value in given.items()})
        assert parse_redis_url(settings.store).url.startswith("redis://redis:")
        assert settings.plaintext and not settings.is_loopback
        assert int(services[name]["stop_grace_period"].removesuffix("s")) > settings.shutdown_seconds
        assert is_route("/" + services[name]["healthcheck"]["test"][-1].split("8321/")[1].rstrip("')"))
    balancer = (ROOT / "deploy" / "haproxy.cfg").read_text("utf-8")
    assert all(f"server {name} {name}:8321 check" in balancer for name in replicas)
    assert is_route(balancer.split("httpchk GET ")[1].split()[0])
    for service in services.values():
        for needed in service.get("depends_on", ()):
            assert needed in services


def test_kubernetes_names_real_settings_and_probes_real_routes() -> None:
    kinds = [one["kind"] for one in kubernetes()]
    assert kinds == ["Deployment", "Service", "PodDisruptionBudget"]
    service = container()
    given = {one["name"]: one.get("value") for one in service["env"]}
    assert set(given) <= set(SETTINGS)
    ServiceSettings(**{SETTINGS[name]: value for name, value in given.items() if value is not None})
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert is_route(service[probe]["httpGet"]["path"])
        assert service[probe]["httpGet"]["port"] in [port["name"] for port in service["ports"]]
    store = KUBERNETES.read_text("utf-8").split("--from-literal=store='")[1].split("'")[0]
    assert len(parse_redis_url(store).sentinels) == 3 and parse_redis_url(store).replicas == 1


def test_the_image_copies_what_there_is_and_runs_the_command() -> None:
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    for line in lines:
        if line.startswith("COPY"):
            assert all((ROOT / source).exists() for source in line.split()[1:-1])
    assert 'ENTRYPOINT ["optical-memory"]' in lines and 'CMD ["serve"]' in lines
    extras = set(next(line for line in lines if "pip install" in line).split("[")[1].split("]")[0].split(","))
    import tomllib

    known = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert extras <= set(known)


def test_docker_understands_the_compose_file() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("no docker compose here")
    subprocess.run([docker, "compose", "--file", str(COMPOSE), "config", "--quiet"], check=True)
