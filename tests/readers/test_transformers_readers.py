"""GOT-OCR2.0 and DeepSeek-OCR 2 on tiny random checkpoints made here."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from optical_memory.errors import CheckpointError, ReaderError
from optical_memory.readers import load_reader

pytest.importorskip("transformers")

WORDS = ["<pad>", "<s>", "</s>", "<image>", "<imgpad>", "<img>", "</img>", "<|im_start|>", "<|im_end|>"]
SAM = {
    "hidden_size": 16,
    "output_channels": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 64,
    "window_size": 2,
    "global_attn_indexes": [1],
    "mlp_dim": 32,
}
TEXT = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def byte_tokenizer() -> object:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {word: index for index, word in enumerate([*WORDS, *letters])}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(WORDS)
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def got_ocr2(folder: Path) -> None:
    import torch
    from transformers import GotOcr2Config, GotOcr2ForConditionalGeneration, GotOcr2Processor
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    torch.manual_seed(0)
    config = GotOcr2Config(
        vision_config=SAM, text_config={"model_type": "qwen2", **TEXT}, image_token_index=WORDS.index("<imgpad>")
    )
    GotOcr2ForConditionalGeneration(config).save_pretrained(folder)
    images = GotOcr2ImageProcessorPil(size={"height": 64, "width": 64})
    GotOcr2Processor(images, byte_tokenizer()).save_pretrained(folder)


def deepseek_ocr2(folder: Path) -> None:
    import torch
    from transformers import DeepseekOcr2Config, DeepseekOcr2ForConditionalGeneration, DeepseekOcr2Processor
    from transformers.models.deepseek_ocr2.image_processing_pil_deepseek_ocr2 import DeepseekOcr2ImageProcessorPil

    torch.manual_seed(0)
    encoder = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    encoder |= {"num_key_value_heads": 2, "vocab_size": 8}
    config = DeepseekOcr2Config(
        vision_config={"sam_config": SAM | {"downsample_channels": [8, 16]}, "encoder_config": encoder},
        text_config=TEXT
        | {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
        | {"mlp_layer_types": ["dense", "sparse"]},
        image_token_id=WORDS.index("<image>"),
    )
    DeepseekOcr2ForConditionalGeneration(config).save_pretrained(folder)
    images = DeepseekOcr2ImageProcessorPil()
    DeepseekOcr2Processor(images, byte_tokenizer()).save_pretrained(folder)


def png(width: int = 80, height: int = 80) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(("name", "make"), [("got-ocr2", got_ocr2), ("deepseek-ocr-2", deepseek_ocr2)])
def test_a_tiny_checkpoint_is_read_with(name: str, make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers' own
        reader = load_reader(name, path=str(tmp_path), max_new_tokens=6)
        reading = reader.read(png())
        again = reader.read(png())
        other = "got-ocr2" if name == "deepseek-ocr-2" else "deepseek-ocr-2"
        with pytest.raises(CheckpointError, match="is a model of type"):
            load_reader(other, path=str(tmp_path))
        with pytest.raises(ReaderError, match="not a readable image"):
            reader.read(b"nothing")
    assert reader.name == name
    assert reading.tokens is not None and reading.tokens > 0
    assert reading.seconds > 0
    assert reading.text == again.text


def test_a_folder_without_a_checkpoint_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot load"):
        load_reader("got-ocr2", path=str(tmp_path))
