"""An agent with the OpenAI client: its history stays in SQLite, the model sees 16,000 tokens of it at most.

    OPENAI_API_KEY=… python examples/openai_client.py "What did we decide on Monday?"

Run it again with another question: it remembers. The client takes its server from OPENAI_BASE_URL. For the Responses
API, see the comment in the loop; the profile is the model's name (`optical_memory.profiles()`).
"""

import sys
from datetime import UTC, datetime

from openai import OpenAI

from optical_memory import OpticalMemory

MODEL = "gpt-5.6"
NOW = {"name": "now", "description": "The time of day, in UTC.", "parameters": {"type": "object", "properties": {}}}

client = OpenAI()
with OpticalMemory("assistant", store="sqlite:///agent.db", profile=MODEL, budget=16_000) as memory:
    tools = {"recall": memory.recall_tool(), "now": lambda arguments: datetime.now(UTC).isoformat()}
    memory.add("system", "You are a helpful assistant.", id="system")
    for question in sys.argv[1:]:
        memory.add("user", question)
        while True:
            # Responses: client.responses.create(model=…, **memory.request("responses", …)), extend(response.output)
            request = memory.request("openai", recall=True, tools=[NOW])
            answer = client.chat.completions.create(model=MODEL, **request).choices[0].message
            memory.extend([answer], format="openai")
            for call in answer.tool_calls or ():
                result = tools[call.function.name](call.function.arguments)
                memory.add("tool", result, tool_call_id=call.id)
            if not answer.tool_calls:
                break
        print(answer.content)
