"""An agent with LiteLLM, for any provider: its history stays in SQLite, the model sees 16,000 tokens of it at most.

    GEMINI_API_KEY=… python examples/litellm_any_provider.py gemini/gemini-3-pro-preview "What did we decide?"

The first argument is LiteLLM's name of a model, which is the profile too (`optical_memory.profiles()`). LiteLLM
speaks OpenAI's shapes and hands the settings of images on to Gemini. It takes a server of your own from its variables
(GEMINI_API_BASE, ANTHROPIC_API_BASE, …).
"""

import sys
from datetime import UTC, datetime

import litellm

from optical_memory import OpticalMemory

NOW = {"name": "now", "description": "The time of day, in UTC.", "parameters": {"type": "object", "properties": {}}}

model = sys.argv[1]
with OpticalMemory("assistant", store="sqlite:///agent.db", profile=model, budget=16_000) as memory:
    tools = {"recall": memory.recall_tool(), "now": lambda arguments: datetime.now(UTC).isoformat()}
    memory.add("system", "You are a helpful assistant.", id="system")
    for question in sys.argv[2:]:
        memory.add("user", question)
        while True:
            request = memory.request("openai", recall=True, tools=[NOW])
            answer = litellm.completion(model=model, **request).choices[0].message
            memory.extend([answer], format="openai")
            for call in answer.tool_calls or ():
                result = tools[call.function.name](call.function.arguments)
                memory.add("tool", result, tool_call_id=call.id)
            if not answer.tool_calls:
                break
        print(answer.content)
