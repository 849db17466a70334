"""A question to the service, answered by a model behind a real HTTP server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from provider_server import Provider, Reply
from server import served


def test_a_question_is_answered_with_the_turn_it_rests_on(provider: Provider, tmp_path: Path) -> None:
    provider.script = lambda name, request: Reply(text="Your seat is 23K.")
    settings: dict[str, Any] = {"ask_url": f"{provider.url}/v1", "ask_model": "m"}
    with served(store=f"sqlite:///{tmp_path / 'memory.db'}", **settings) as service, service.client() as client:
        client.post("/v1/sessions/trip/turns", json=[{"role": "user", "content": "Hello"}])
        client.post("/v1/sessions/trip/turns", json={"role": "assistant", "content": "You got seat 23K.", "id": "t"})
        answer = client.post("/v1/sessions/trip/ask", json={"question": "Which seat did I get?"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["text"] == "Your seat is 23K." and answer.json()["sources"][0]["turn_id"] == "t"
        assert client.post("/v1/sessions/none/ask", json={"question": "What?"}).status_code == 404
    assert provider.refused == []
