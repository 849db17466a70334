"""An agent with the Anthropic client: its history stays in SQLite, the model sees 16,000 tokens of it at most.

    ANTHROPIC_API_KEY=… python examples/anthropic_client.py "What did we decide on Monday?"

Run it again with another question: it remembers. The client takes its server from ANTHROPIC_BASE_URL. The profile
is the model's name: `optical_memory.profiles()`.
"""

import sys
from datetime import UTC, datetime

from anthropic import Anthropic

from optical_memory import OpticalMemory

MODEL = "claude-opus-5-5"
NOW = {"name": "now", "description": "The time of day, in UTC.", "input_schema": {"type": "object", "properties": {}}}

client = Anthropic()
with OpticalMemory("assistant", store="sqlite:///agent.db", profile=MODEL, budget=16_000) as memory:
    tools = {"recall": memory.recall_tool(), "now": lambda arguments: datetime.now(UTC).isoformat()}
    memory.add("system", "You are a helpful assistant.", id="system")
    for question in sys.argv[1:]:
        memory.add("user", question)
        while True:
            request = memory.request("anthropic", recall=True, tools=[NOW])
            answer = client.messages.create(model=MODEL, max_tokens=4_096, **request)
            memory.extend([answer], format="anthropic")  # blocks of thinking and their signatures come back as they are
            for block in answer.content:
                if block.type == "tool_use":
                    memory.add("tool", tools[block.name](block.input), tool_call_id=block.id)
            if answer.stop_reason != "tool_use":
                break
        print("".join(block.text for block in answer.content if block.type == "text"))
