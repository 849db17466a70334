"""An agent with Google's client: its history stays in SQLite, the model sees 16,000 tokens of it at most.

    GEMINI_API_KEY=… python examples/google_client.py "What did we decide on Monday?"

Run it again with another question: it remembers. The client takes its server from GOOGLE_GEMINI_BASE_URL. The profile
is the model's name: `optical_memory.profiles()`. Pages leave with the `mediaResolution` that they are priced for.
"""

import sys
from datetime import UTC, datetime

from google import genai

from optical_memory import OpticalMemory

MODEL = "gemini-3-pro-preview"
NOW = {"name": "now", "description": "The time of day, in UTC.", "parameters": {"type": "object", "properties": {}}}

client = genai.Client()
with OpticalMemory("assistant", store="sqlite:///agent.db", profile=MODEL, budget=16_000) as memory:
    tools = {"recall": memory.recall_tool(), "now": lambda arguments: datetime.now(UTC).isoformat()}
    memory.add("system", "You are a helpful assistant.", id="system")
    for question in sys.argv[1:]:
        memory.add("user", question)
        while True:
            request = memory.request("gemini", recall=True, tools=[NOW])
            answer = client.models.generate_content(model=MODEL, **request)
            memory.extend([answer.candidates[0].content], format="gemini")  # with its thought signatures
            for call in answer.function_calls or ():
                response = {"id": call.id, "name": call.name, "response": {"output": tools[call.name](call.args)}}
                memory.extend([{"role": "user", "parts": [{"functionResponse": response}]}], format="gemini")
            if not answer.function_calls:
                break
        print(answer.text)
