"""A byte-level BPE in TRL's loop: ids as a run has them, and discriminators that learn."""

import os
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the libraries are imported

import pytest
import torch

pytestmark = [
    pytest.mark.integration,
    # TRL 1.16 asks transformers 5.23 by the old name.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]

transformers = pytest.importorskip("transformers")
trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")
tokenizers = pytest.importorskip("tokenizers")

from pretrained_models import save_model, small_config  # noqa: E402

from seqgan.data.sequences import Sequences  # noqa: E402
from seqgan.integrations.trl import AdversarialCallback  # noqa: E402
from seqgan.models.discriminators.base import Discriminator  # noqa: E402
from seqgan.models.discriminators.cnn import CNNDiscriminatorConfig  # noqa: E402
from seqgan.models.discriminators.pretrained import PretrainedDiscriminatorConfig  # noqa: E402
from seqgan.rewards.adapters.trl import TrlFunction, as_trl  # noqa: E402
from seqgan.rewards.base import Reward  # noqa: E402
from seqgan.rewards.discriminator import DiscriminatorReward  # noqa: E402
from seqgan.system.errors import ConfigurationError  # noqa: E402
from seqgan.system.seeding import seeded_from  # noqa: E402
from seqgan.tasks.files.prompts import PromptsConfig, prompts_task  # noqa: E402
from seqgan.tasks.files.text import TextConfig, text_task  # noqa: E402

EOS, BOS = "<|end|>", "<|start|>"
LINES = [
    f"The {size} {animal}{'s' * (n % 2)} {verb}: 你好, naïve café {n}!{' ' * (n % 3)}"
    for n, (size, animal, verb) in enumerate(
        (s, a, v)
        for s in ("small", "Großer", "été")
        for a in ("cat", "Dog", "कुत्ता", "bird")
        for v in ("sleeps", "RUNS", "sings", "is  here", "n't")
    )
]
TEMPLATE = (
    "{% for m in messages %}" + BOS + "{{ m['role'] }}: {{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}" + BOS + "assistant:{% endif %}"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny GPT-2 with a byte-level BPE of its own."""
    folder = tmp_path_factory.mktemp("bpe")
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=[EOS, BOS, "<|pad|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(LINES, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=EOS, bos_token=BOS, pad_token="<|pad|>"
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    ids = {"bos_token_id": 1, "eos_token_id": 0, "pad_token_id": 2}
    save_model(folder, small_config("gpt2", len(tokenizer), **ids))
    return str(folder)


@pytest.fixture(scope="module")
def task(place: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("texts") / "lines.txt"
    path.write_text("\n".join(LINES), encoding="utf-8")
    fractions = {"dev_fraction": 0.1, "test_fraction": 0.1}
    return text_task(TextConfig(path=str(path), tokenizer=place, max_length=64, **fractions))


class Seen(Reward):
    """Keeps what it was asked to judge."""

    name = "seen"

    def __init__(self) -> None:
        self.sequences: list[Sequences] = []

    def score(self, sequences: Sequences) -> torch.Tensor:
        self.sequences.append(sequences)
        return sequences.lengths.float()


def ids_of(sequences: Sequences) -> list[list[int]]:
    rows = zip(sequences.tokens, sequences.lengths.tolist(), strict=True)
    return [row[:length].tolist() for row, length in rows]


def test_real_texts_get_the_ids_of_the_runs_own_coding(task: Any) -> None:
    everything = [next(task.chunks(split, 1000)) for split in ("train", "dev", "test")]
    own = [row for part in everything for row in ids_of(part)]
    texts = [text for part in everything for text in part.texts]
    assert len(own) > 50
    assert set(texts) <= set(LINES)  # decoding gives the very lines back
    function = as_trl(Seen(), task.vocabulary, task.max_length)
    assert ids_of(function.encode(texts)) == own
    function(prompts=[""] * len(texts), completions=texts)
    (judged,) = function.reward_model.sequences
    assert ids_of(judged) == own


def test_prompts_get_the_ids_of_the_runs_own_coding(place: str, tmp_path: Path) -> None:
    import json

    rows = [{"prompt": line[:9], "continuation": line[9:]} for line in LINES]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    for chat in (False, True):
        task = prompts_task(
            PromptsConfig(path=str(path), tokenizer=place, max_length=64, chat_template=chat)
        )
        part = next(task.chunks("train", 1000))
        prompts: list[Any] = list(part.prompt_texts)
        if chat:
            prompts = [[{"role": "user", "content": prompt}] for prompt in prompts]
        function = as_trl(Seen(), task.vocabulary, task.max_length)
        function(prompts=prompts, completions=part.texts)
        (judged,) = function.reward_model.sequences
        assert ids_of(judged) == ids_of(part)
        for mine, own in ((judged, part),):
            assert mine.prompts is not None
            assert own.prompts is not None
            assert torch.equal(mine.prompts, own.prompts)
            assert torch.equal(mine.prompt_mask, own.prompt_mask)
            assert mine.prompt_texts == own.prompt_texts


def test_blank_and_unfinished_completions(task: Any) -> None:
    function = as_trl(Seen(), task.vocabulary, 8, eos_token_id=0)
    function(prompts=["", "", ""], completions=["", " ", "The"], completion_ids=[[0], [9, 0], [9]])
    eos = task.vocabulary.eos_id
    (judged,) = function.reward_model.sequences
    assert ids_of(judged)[:2] == [[eos], [eos]]
    assert judged.finished.tolist() == [True, True, False]


def discriminator_of(kind: str, task: Any, place: str) -> Discriminator:
    config: Any = CNNDiscriminatorConfig("cnn", 8, (1, 2), (8, 8), dropout=0.0)
    if kind == "pretrained":
        config = PretrainedDiscriminatorConfig(path=place, head_size=8, dropout=0.0)
    with seeded_from(torch.Generator().manual_seed(0)):
        built: Discriminator = config.build(task.vocabulary, task.max_length)
    return built


class Watched(DiscriminatorReward):
    """Keeps what it judges and what it learns from, as a discriminator that reads texts sees it."""

    def __init__(self, discriminator: Discriminator) -> None:
        trained = [p for p in discriminator.parameters() if p.requires_grad]
        super().__init__(discriminator, torch.optim.Adam(trained, 1e-2), "logit")
        self.judged: list[tuple[str, bool]] = []
        self.real: list[tuple[str, bool]] = []
        self.generated: list[tuple[str, bool]] = []

    def score(self, sequences: Sequences) -> torch.Tensor:
        self.judged += zip(sequences.texts, sequences.finished.tolist(), strict=True)
        return super().score(sequences)

    def update(self, real: Sequences, generated: Sequences) -> dict[str, float]:
        self.real += zip(real.texts, real.finished.tolist(), strict=True)
        self.generated += zip(generated.texts, generated.finished.tolist(), strict=True)
        return super().update(real, generated)


def train(place: str, output: Path, function: TrlFunction, task: Any) -> Any:
    callback = AdversarialCallback(function, task, torch.Generator().manual_seed(1), batch_size=8)
    trainer = trl.GRPOTrainer(
        model=place,
        reward_funcs=function,
        args=trl.GRPOConfig(
            output_dir=str(output),
            per_device_train_batch_size=8,
            num_generations=4,
            max_completion_length=12,
            max_steps=3,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            bf16=False,
            activation_checkpointing=False,
            disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=datasets.Dataset.from_dict({"prompt": ["The", "A"] * 8}),
        callbacks=[callback],
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize("numbered_by", ["vocabulary", "tokenizer"])
@pytest.mark.parametrize("kind", ["cnn", "pretrained"])
def test_discriminators_learn_in_the_loop(
    kind: str, numbered_by: str, task: Any, place: str, tmp_path: Path
) -> None:
    reward = Watched(discriminator_of(kind, task, place))
    settings: dict[str, Any] = {"remember": 99, "eos_token_id": 0, "max_length": task.max_length}
    if numbered_by == "vocabulary":
        settings["vocabulary"] = task.vocabulary
    else:
        settings["tokenizer"] = transformers.AutoTokenizer.from_pretrained(place)
    before = [p.detach().clone() for p in reward.discriminator.parameters()]
    function = as_trl(reward, **settings)
    trainer = train(place, tmp_path, function, task)
    after = list(reward.discriminator.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert any("losses/discriminator" in log for log in trainer.state.log_history)
    assert {text for text, _ in reward.real} <= set(LINES)
    assert all(ended for _, ended in reward.real)
    # It learns from what it judged, with the same ends.
    assert sorted(reward.generated) == sorted(reward.judged)
    assert len(reward.judged) == 24
    assert not function.sees_prompts  # the real texts have none


def test_a_discriminator_tells_equal_texts_by_nothing(task: Any, place: str) -> None:
    """Real lines as TRL's completions get the logits that the run's own rows get."""
    real = task.real("train", 16, torch.Generator().manual_seed(0))
    tokenizer = transformers.AutoTokenizer.from_pretrained(place)
    for kind in ("cnn", "pretrained"):
        reward = Watched(discriminator_of(kind, task, place))
        expected = reward.logits(real)
        assert expected.std() > 0
        ways = [as_trl(reward, task.vocabulary, task.max_length)]
        if kind == "pretrained":
            ways.append(as_trl(reward, max_length=task.max_length, tokenizer=tokenizer))
        for function in ways:
            ids = [[*function.encode([text]).tokens[0].tolist()] for text in real.texts]
            values = function(prompts=[""] * len(real), completions=real.texts, completion_ids=ids)
            found = torch.tensor(values)
            assert torch.allclose(found, expected.clamp(-reward.clip, reward.clip), atol=1e-5)


def test_what_cannot_be_numbered_alike_is_refused(task: Any, place: str) -> None:
    from seqgan.tasks.captions import CaptionsConfig, captions_task

    tokenizer = transformers.AutoTokenizer.from_pretrained(place)
    reward = Watched(discriminator_of("pretrained", task, place))
    with pytest.raises(
        ConfigurationError,
        match=(
            "both a vocabulary and a tokenizer are given, but one of them must number the"
            " texts; a vocabulary of subwords knows its own tokenizer"
        ),
    ):
        as_trl(reward, task.vocabulary, tokenizer=tokenizer)
    function = as_trl(reward, max_length=20, remember=9, tokenizer=tokenizer)
    assert function.eos_token_id == 0
    words = captions_task(CaptionsConfig(train_size=64, dev_size=8, test_size=8))
    with pytest.raises(
        ConfigurationError, match="those of a task of words, whose spelling is lost"
    ):
        AdversarialCallback(function, words, torch.Generator())
