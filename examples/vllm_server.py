"""An agent with a vision model served by vLLM: its history stays in SQLite, the model sees 16,000 tokens of it at most.

    vllm serve Qwen/Qwen3-VL-8B-Instruct --limit-mm-per-prompt '{"image": 64}' \
        --enable-auto-tool-choice --tool-call-parser hermes
    python examples/vllm_server.py "What did we decide on Monday?"

The server is http://localhost:8000/v1, or VLLM_BASE_URL. The first model that it serves is asked. SGLang, llama.cpp and
Ollama speak the same shapes; the profile is the model's name (`optical_memory.profiles()`).
"""

import os
import sys

from openai import OpenAI

from optical_memory import OpticalMemory

client = OpenAI(base_url=os.environ.get("VLLM_BASE_URL", "http://localhost:8000/v1"), api_key="none")
model = client.models.list().data[0].id
with OpticalMemory("assistant", store="sqlite:///agent.db", profile=model, budget=16_000) as memory:
    recall = memory.recall_tool()
    memory.add("system", "You are a helpful assistant.", id="system")
    for question in sys.argv[1:]:
        memory.add("user", question)
        while True:
            request = memory.request("openai", recall=True)
            answer = client.chat.completions.create(model=model, **request).choices[0].message
            memory.extend([answer], format="openai")
            for call in answer.tool_calls or ():
                memory.add("tool", recall(call.function.arguments), tool_call_id=call.id)
            if not answer.tool_calls:
                break
        print(answer.content)
