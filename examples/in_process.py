"""A memory whose pages a model in this process reads: no server, no key; the bundled model, two megabytes.

    python examples/in_process.py "My member number is QX7TT2." "find member number"

Each argument is a turn; one that begins with "find" or "read" is asked of the model, which sees old turns as vision
tokens and recent ones as text. The bundled model reads, and finds words; it does not talk. For one that does, give the
folder of a DeepSeek-OCR checkpoint as DEEPSEEK_OCR. Other profiles are for models behind a server, see the other
examples and `optical_memory.profiles()`.
"""

import os
import sys

from optical_memory import OpticalMemory, load_model

path = os.environ.get("DEEPSEEK_OCR")
profile = "deepseek-ocr" if path else "mini"
model = load_model(profile, path=path)
with OpticalMemory("assistant", store="sqlite:///agent.db", profile=profile, budget=2_000) as memory:
    for words in sys.argv[1:]:
        if not words.startswith(("find", "read")):
            memory.add("user", words)
            continue
        context = memory.context()
        answer = model.generate(context, prompt=words)
        memory.add("assistant", answer.text)
        print(answer.text)
        print(f"[{context.tokens} tokens, {len(context.pages)} pages, {context.text_tokens} as text]", file=sys.stderr)
