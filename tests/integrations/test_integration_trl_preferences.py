"""A step of preferences costs what TRL's DPOTrainer says of the same pairs and the same models."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import make_trainer
from toys import ENDING, every_sequence, seeded

from seqgan.data.sequences import Sequences
from seqgan.learning.rules.preference import Pairs, Preference, PreferenceConfig
from seqgan.models.generators.base import Generator
from seqgan.system.seeding import seeded_from

pytestmark = [
    pytest.mark.integration,
    # TRL 1.16 asks transformers 5.23 by the old name.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]

transformers = pytest.importorskip("transformers")
trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")
tokenizers = pytest.importorskip("tokenizers")

BETA = 0.3


class LanguageModel(Generator):
    """A model of transformers that reads bos and a text, in the ids of the toy vocabulary."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.num_actions = model, ENDING.size

    def forward(self, sequences: Sequences) -> torch.Tensor:
        bos = torch.full_like(sequences.tokens[:, :1], ENDING.bos_id)
        logits: torch.Tensor = self.model(torch.cat([bos, sequences.tokens[:, :-1]], dim=1)).logits
        return logits

    def start(self, batch_size: int, prompts: Sequences | None = None) -> Any:
        raise NotImplementedError

    def step(self, tokens: torch.Tensor, state: Any) -> Any:
        raise NotImplementedError

    def encode(self, sequences: Sequences) -> Any:
        raise NotImplementedError


def language_models() -> tuple[Any, Any]:
    """A tiny GPT-2 without dropout, and its reference with other weights."""
    dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    config = transformers.GPT2Config(
        vocab_size=ENDING.size,
        n_positions=8,
        n_embd=16,
        n_layer=1,
        n_head=2,
        initializer_range=0.5,
        bos_token_id=ENDING.bos_id,
        eos_token_id=ENDING.eos_id,
        pad_token_id=ENDING.pad_id,
        **dropout,
    )
    with seeded_from(seeded(1)):
        return transformers.GPT2LMHeadModel(config), transformers.GPT2LMHeadModel(config)


def loss_of_trl(model: Any, reference: Any, pairs: Pairs, loss: str, folder: Path) -> float:
    ids = {word: number for number, word in enumerate(("a", "b", "c", "</s>", "<s>", "<pad>"))}
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token="<pad>"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="</s>", bos_token="<s>", pad_token="<pad>"
    )
    any_pair = {"prompt": "<s>", "chosen": " a", "rejected": " b"}  # a trainer needs a data set
    trainer = trl.DPOTrainer(
        model,
        reference,
        trl.DPOConfig(
            output_dir=str(folder),
            beta=BETA,
            loss_type=[loss],
            use_cpu=True,
            bf16=False,
            report_to="none",
        ),
        train_dataset=datasets.Dataset.from_list([any_pair]),
        processing_class=tokenizer,
    )
    rows = [
        {
            "prompt_ids": [ENDING.bos_id],
            "chosen_ids": chosen.tolist()[:n],
            "rejected_ids": rejected.tolist()[:m],
        }
        for chosen, n, rejected, m in zip(
            pairs.chosen.tokens,
            pairs.chosen.lengths,
            pairs.rejected.tokens,
            pairs.rejected.lengths,
            strict=True,
        )
    ]
    with torch.no_grad():
        found = trainer.compute_loss(trainer.model, trainer.data_collator(rows))
    return float(found)


@pytest.mark.parametrize(("ours", "theirs"), [("dpo", "sigmoid"), ("ipo", "ipo")])
def test_the_loss_of_given_pairs(ours: Any, theirs: str, tmp_path: Path) -> None:
    texts = every_sequence(ENDING)
    chosen, rejected = (torch.tensor(rows) for rows in ([0, 17, 60, 118], [90, 2, 61, 30]))
    pairs = Pairs(texts.select(chosen), texts.select(rejected), torch.ones(4, dtype=torch.bool))
    model, reference = language_models()
    expected = loss_of_trl(copy.deepcopy(model), copy.deepcopy(reference), pairs, theirs, tmp_path)
    rule = Preference(PreferenceConfig(loss=ours, beta=BETA), LanguageModel(model))
    players = make_trainer()[0].players
    players.reference = LanguageModel(reference)
    found = rule.update(players, pairs)["losses/preference"]
    assert found == pytest.approx(expected, rel=1e-4)
    assert abs(found - {"dpo": 0.693, "ipo": 2.78}[ours]) > 0.02  # not that of equal models
