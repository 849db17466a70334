"""An agent with a Qwen-VL in this process, through Hugging Face transformers: pages go to its own image processor.

    python examples/transformers_qwen_vl.py Qwen/Qwen3-VL-2B-Instruct "What did we decide on Monday?"

The first argument is a checkpoint; another family wants its profile (`optical_memory.profiles()`) and its own marks of
patches. With torchvision the inputs are one line: `AutoProcessor.from_pretrained(path).apply_chat_template(
request["messages"], tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True)`.
"""

import sys

import torch
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer
from transformers.image_utils import load_image

from optical_memory import OpticalMemory

path = sys.argv[1]
model = AutoModelForImageTextToText.from_pretrained(path).eval()
tokenizer, pictures = AutoTokenizer.from_pretrained(path), AutoImageProcessor.from_pretrained(path)
with OpticalMemory("assistant", store="sqlite:///agent.db", profile="qwen3-vl", budget=8_000) as memory:
    memory.add("system", "You are a helpful assistant.", id="system")
    for question in sys.argv[2:]:
        memory.add("user", question)
        request = memory.request("huggingface", recall=True)
        parts = [part for message in request["messages"] for part in message["content"]]
        images = [load_image(part["url"]) for part in parts if part["type"] == "image"]
        seen = pictures(images, return_tensors="pt") if images else {}
        text = tokenizer.apply_chat_template(
            request["messages"], tools=request["tools"], tokenize=False, add_generation_prompt=True
        )
        for grid in seen.get("image_grid_thw", ()):  # a mark for each patch of 2 × 2
            text = text.replace("<|image_pad|>", "<|patch|>" * int(grid.prod() // pictures.merge_size**2), 1)
        inputs = tokenizer(text.replace("<|patch|>", "<|image_pad|>"), return_tensors="pt")
        with torch.inference_mode():
            out = model.generate(**inputs, **seen, max_new_tokens=64)
        answer = tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        memory.add("assistant", answer)
        print(answer)
