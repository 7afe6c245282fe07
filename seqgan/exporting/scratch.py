"""Exports LSTM, GRU and scratch transformer generators as folders with their own code."""

import shutil
from pathlib import Path
from typing import Any

import torch

from seqgan.data.model_folders import package
from seqgan.data.vocabulary import Vocabulary, tokenizer_ids
from seqgan.exporting.tokenizers import exported_tokenizer
from seqgan.models.generators.recurrent import RecurrentGenerator
from seqgan.models.generators.transformer import TransformerGenerator

ScratchGenerator = RecurrentGenerator | TransformerGenerator
CODE = Path(__file__).with_name("modeling_seqgan.py")


def save_scratch_generator(
    generator: ScratchGenerator,
    vocabulary: Vocabulary,
    folder: Path,
    lowercase: bool,
    prompted: bool,
    spaces: bool = True,
) -> Any:
    """Writes model, tokenizer and the model's code, and returns the tokenizer.

    Args:
        lowercase: True makes texts lower case before they are cut into tokens.
        prompted: True if the generator was trained with prompts.
        spaces: at character level, whether white space counted as characters.

    Raises:
        ModelFolderError: transformers is not installed, or no tokenizer can be made.
    """
    package("transformers")
    from seqgan.exporting import modeling_seqgan  # it needs transformers

    tokenizer = exported_tokenizer(vocabulary, lowercase, prompted, spaces)
    ids = list(range(vocabulary.pad_id))
    if vocabulary.level == "subword":
        ids = tokenizer_ids(vocabulary, tokenizer)
    size = max(len(tokenizer), vocabulary.size)
    config = modeling_seqgan.SeqGANConfig(
        **_sizes(generator),
        vocab_size=size,
        bos_token_id=ids[vocabulary.bos_id],
        eos_token_id=None if vocabulary.eos_id is None else ids[vocabulary.eos_id],
        pad_token_id=tokenizer.pad_token_id,
        auto_map={
            "AutoConfig": "modeling_seqgan.SeqGANConfig",
            "AutoModelForCausalLM": "modeling_seqgan.SeqGANForCausalLM",
        },
    )
    model = modeling_seqgan.SeqGANForCausalLM(config)
    own = {name: value.detach().cpu() for name, value in generator.state_dict().items()}
    places = torch.tensor(ids)
    inputs = torch.zeros(size, config.embedding_size)
    # bos is written last. If bos and eos are one token of the tokenizer, the model reads that token
    # only at the beginning, as bos.
    inputs[places] = own["embedding.weight"]
    inputs[places[vocabulary.bos_id]] = own["embedding.weight"][vocabulary.bos_id]
    actions = places[: vocabulary.num_actions]
    weight = torch.zeros(size, config.hidden_size)
    bias = torch.full((size,), modeling_seqgan.NEVER)
    weight[actions], bias[actions] = own["output.weight"], own["output.bias"]
    own |= {"embedding.weight": inputs, "output.weight": weight, "output.bias": bias}
    model.load_state_dict(own)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    shutil.copyfile(CODE, folder / CODE.name)
    return tokenizer


def _sizes(generator: ScratchGenerator) -> dict[str, Any]:
    if isinstance(generator, TransformerGenerator):
        transformer = generator.config
        return {
            "kind": "transformer",
            "embedding_size": transformer.width,
            "hidden_size": transformer.width,
            "num_hidden_layers": transformer.num_layers,
            "num_attention_heads": transformer.num_heads,
        }
    recurrent = generator.config
    return {
        "kind": recurrent.kind,
        "embedding_size": recurrent.embedding_size,
        "hidden_size": recurrent.hidden_size,
        "num_hidden_layers": recurrent.num_layers,
    }
