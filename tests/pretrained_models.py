"""Small models of transformers with random weights, written to folders as a real one would be."""

import functools
from pathlib import Path
from typing import Any

import torch

from seqgan.data.model_folders import package, quietly
from seqgan.system.seeding import seeded_from

EOS, BOS, UNKNOWN = "<|end|>", "<|start|>", "<|unknown|>"


def save_tokenizer(folder: Path, words: tuple[str, ...], **specials: str) -> None:
    """Saves a tokenizer of whole words between blanks, with ids in the order of `words`."""
    tokenizers, transformers = package("tokenizers"), package("transformers")
    ids = {word: index for index, word in enumerate(words)}
    model = tokenizers.models.WordLevel(ids, unk_token=specials.get("unk_token", words[0]))
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **specials)
    fast.save_pretrained(folder)


def small_config(kind: str, vocab_size: int, dropout: float = 0.0, **settings: Any) -> Any:
    """A configuration with two layers of 16 units and the fields that the architecture needs."""
    transformers = package("transformers")
    if kind == "gpt2":
        return transformers.GPT2Config(
            **{"vocab_size": vocab_size, "n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2}
            | dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), dropout)
            | dict.fromkeys(("bos_token_id", "eos_token_id"), 0)
            | settings
        )
    if kind == "bloom":  # positions by distance
        return transformers.BloomConfig(
            **{"vocab_size": vocab_size, "hidden_size": 16, "n_layer": 2, "n_head": 2}
            | {"hidden_dropout": dropout, "attention_dropout": dropout}
            | settings
        )
    common = {"vocab_size": vocab_size, "hidden_size": 16, "intermediate_size": 24}
    common |= {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    common |= {"head_dim": 4, "max_position_embeddings": 64, "attention_dropout": dropout}
    special = {}
    if kind == "mistral":  # its second token from now on is out of sight
        special = {"sliding_window": 3}
    if kind == "gemma2":  # capped logits, and every other layer with a window
        special = {"sliding_window": 3, "final_logit_softcapping": 5.0}
    config = {"llama": "LlamaConfig", "mistral": "MistralConfig", "gemma2": "Gemma2Config"}[kind]
    return getattr(transformers, config)(**common | special | settings)


def save_model(folder: Path, config: Any, std: float = 0.0, seed: int = 0) -> None:
    """Saves a model with random weights, optionally of a certain standard deviation."""
    transformers = package("transformers")
    with seeded_from(torch.Generator().manual_seed(seed)), quietly(transformers):
        model = transformers.AutoModelForCausalLM.from_config(config)
        if std:
            for parameter in model.parameters():
                torch.nn.init.normal_(parameter, std=std)
        model.save_pretrained(folder)


@functools.cache
def saved(folder: Path, kind: str, words: tuple[str, ...], **settings: Any) -> str:
    """Saves a model and a tokenizer with its own order of the words to a folder."""
    settings = dict(settings)
    std = settings.pop("std", 0.7)
    name = "-".join([kind, *(f"{key}={value}" for key, value in sorted(settings.items()))])
    target = folder / name
    tokens = (UNKNOWN, EOS, *reversed(words), "other", BOS, "another")
    save_tokenizer(target, tokens, eos_token=EOS, bos_token=BOS, unk_token=UNKNOWN)
    save_model(target, small_config(kind, len(tokens), **settings), std=std)
    return str(target)
