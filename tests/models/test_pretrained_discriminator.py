"""Discriminators on pretrained bodies: models of two layers, and the real MiniLM.

They need the integrations extra.
"""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_discriminators import MAX_LENGTH, ROWS, VOCABULARY, DiscriminatorConformance, seeded
from tiny_runs import TINY, changed, make_trainer, toy_task, weights_of

from seqgan.data.model_folders import package
from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.evaluation.metrics.embeddings import MiniLMEmbedding
from seqgan.models.discriminators.base import normalize_spectrally
from seqgan.models.discriminators.pretrained import (
    PretrainedDiscriminator,
    PretrainedDiscriminatorConfig,
)
from seqgan.models.generators.base import frozen_copy
from seqgan.rewards.discriminator import DiscriminatorReward
from seqgan.rewards.discriminator_step import (
    DiscriminatorUpdate,
    discriminator_step,
    squared_gradient_norms,
    twice_differentiable,
)
from seqgan.system.errors import ModelFolderError
from seqgan.system.seeding import seeded_from
from seqgan.training.networks import build_discriminator

pytestmark = pytest.mark.integration


@pytest.fixture
def sequences() -> Sequences:
    return batch()


PLAIN = DiscriminatorUpdate()
WORDS = ("a", "b", "c", "d", "e", "0", "1", "2")


def save_tokenizer(
    folder: Path, special: dict[str, str], template: str = "", pair: str = ""
) -> None:
    """A tokenizer of whole words; the templates say what stands around a text, and around two."""
    transformers, tokenizers = package("transformers"), package("tokenizers")
    ids = {token: index for index, token in enumerate([*special.values(), *WORDS])}
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token=special["unk_token"]))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    if template:
        words.post_processor = tokenizers.processors.TemplateProcessing(
            single=template,
            pair=pair or template + " $B:1 [SEP]:1",
            special_tokens=[(token, ids[token]) for token in special.values()],
        )
    inputs = ["input_ids", "attention_mask", *(["token_type_ids"] if "[SEP]" in template else [])]
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, model_input_names=inputs, **special
    ).save_pretrained(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A causal model and an encoder, with random weights."""
    transformers = package("transformers")
    transformers.utils.logging.disable_progress_bar()
    sizes = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2}
    bert = sizes | {"vocab_size": 12, "intermediate_size": 64, "max_position_embeddings": 32}
    with seeded_from(seeded(1)):
        models = {
            "gpt2": transformers.GPT2LMHeadModel(
                transformers.GPT2Config(
                    n_layer=2,
                    n_embd=32,
                    n_head=2,
                    vocab_size=10,
                    n_positions=32,
                    bos_token_id=1,
                    eos_token_id=1,
                )
            ),
            "bert": transformers.BertModel(transformers.BertConfig(**bert)),
        }
    places = {}
    for name, model in models.items():
        places[name] = str(tmp_path_factory.mktemp(name))
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.mul_(10)  # an untrained model tells few texts apart
        model.save_pretrained(places[name])
    save_tokenizer(Path(places["gpt2"]), {"unk_token": "<unk>", "eos_token": "<eos>"})
    marks = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    save_tokenizer(Path(places["bert"]), marks, "[CLS] $A [SEP]")
    return places


def tiny(folders: dict[str, str], model: str, **settings: Any) -> PretrainedDiscriminatorConfig:
    defaults: dict[str, Any] = {"path": folders[model], "head_size": 8, "dropout": 0.0}
    return PretrainedDiscriminatorConfig(**{**defaults, **settings})


def without_dropout(discriminator: PretrainedDiscriminator) -> PretrainedDiscriminator:
    """A body that trains has dropout of its own."""
    for module in discriminator.body.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return discriminator


@pytest.mark.parametrize("model", ["gpt2", "bert"])
@pytest.mark.parametrize("body", ["frozen", "lora", "full"])
class TestConformance(DiscriminatorConformance):
    @pytest.fixture(autouse=True)
    def configured(self, folders: dict[str, str], model: str, body: str) -> None:
        self.config = tiny(folders, model, body=body)

    def make(self, dropout: float) -> PretrainedDiscriminator:
        discriminator = PretrainedDiscriminator(replace(self.config, dropout=dropout))
        with torch.no_grad():  # adapters begin as nothing
            for name, parameter in discriminator.named_parameters():
                if "lora_B" in name:
                    parameter.uniform_(-1, 1)
        return discriminator

    @pytest.mark.parametrize("fill", [0, 5, 6])
    def test_ids_on_padding_never_matter(self, discriminator, sequences, fill):
        """Behind an eos; texts are decoded from ids, whose padding is `pad_id` by contract."""
        filled = replace(sequences, tokens=sequences.tokens.masked_fill(~sequences.mask, fill))
        ended = torch.tensor([0, 1, 4])
        expected = discriminator(sequences.select(ended))
        assert torch.equal(discriminator(filled.select(ended)), expected)

    def test_gradient_reaches_every_parameter(self, discriminator, sequences):
        """But for the keys' biases, which add the same to all scores of a softmax."""
        discriminator(sequences).square().sum().backward()
        trained = {n: p for n, p in discriminator.named_parameters() if p.requires_grad}
        for name, parameter in trained.items():
            assert parameter.grad is not None, name
            assert name.endswith("key.bias") or parameter.grad.abs().max() > 0, name

    def test_padding_is_never_trained(self, discriminator, sequences):
        """What a step trains is what `state_dict` holds, and all of that."""
        before = copy.deepcopy(discriminator.state_dict())
        others = {n: p.clone() for n, p in discriminator.named_parameters() if n not in before}
        trained = learning(discriminator)
        optimizer = torch.optim.Adam(trained, 0.1)
        for _ in range(2):
            discriminator_step(
                discriminator, optimizer, sequences, sequences.select(seconds()), PLAIN
            )
        after = discriminator.state_dict()
        assert len(trained) == len(after)
        assert not [name for name in after if torch.equal(after[name], before[name])]
        for name, parameter in discriminator.named_parameters():
            assert name in after or torch.equal(parameter, others[name])

    def test_gradients_of_gradients(self, discriminator, sequences):
        """In single precision, by what is embedded: tokens, or vectors of a frozen body."""
        with twice_differentiable(discriminator, True) as embeddings:
            logits = discriminator(sequences)
            (gradient,) = torch.autograd.grad(logits.sum(), embeddings, retain_graph=True)
            squares = squared_gradient_norms(logits, embeddings)
            torch.testing.assert_close(squares, gradient.flatten(1).square().sum(dim=1))
            squares.sum().backward()
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in learning(discriminator))
        shift = (
            0.01 * gradient / gradient.flatten(1).norm(dim=1).view(-1, *[1] * (gradient.ndim - 1))
        )
        moved = []
        for sign in (1, -1):
            hook = discriminator.embedding.register_forward_hook(
                lambda module, given, output, sign=sign: output + sign * shift
            )
            moved.append(discriminator(sequences).detach())
            hook.remove()
        slope = (moved[0] - moved[1]) / 0.02  # along the gradient
        torch.testing.assert_close(slope, squares.detach().sqrt(), rtol=0.03, atol=1e-3)

    def test_another_one_with_its_state_is_the_same(self, discriminator, sequences):
        with seeded_from(seeded(7)):
            other = self.make(dropout=0.0).eval()
        assert not torch.equal(other(sequences), discriminator(sequences))
        other.load_state_dict(discriminator.state_dict())
        assert torch.equal(other(sequences), discriminator(sequences))
        incomplete = dict(list(discriminator.state_dict().items())[1:])
        with pytest.raises(RuntimeError, match="Missing key"):
            other.load_state_dict(incomplete)
        with pytest.raises(RuntimeError, match="Unexpected key"):
            other.load_state_dict({**discriminator.state_dict(), "body.more": torch.zeros(1)})

    def test_a_frozen_copy_is_the_same_and_stays(self, discriminator, sequences):
        copied = frozen_copy(discriminator)
        expected = discriminator(sequences).detach()
        assert torch.equal(copied(sequences), expected)
        assert copied.state_dict().keys() == discriminator.state_dict().keys()
        trained = learning(discriminator)
        discriminator_step(
            discriminator,
            torch.optim.Adam(trained, 0.1),
            sequences,
            sequences.select(seconds()),
            PLAIN,
        )
        assert torch.equal(copied.eval()(sequences), expected)
        discriminator.load_state_dict(copied.state_dict())
        assert torch.equal(discriminator.eval()(sequences), expected)

    def test_activations_computed_twice_give_the_same_gradients(self, discriminator, sequences):
        with seeded_from(seeded()):
            self.config = replace(self.config, gradient_checkpointing=True)
            other = self.make(dropout=0.0)
        other.load_state_dict(discriminator.state_dict())
        for module in (discriminator, other):
            without_dropout(module).train()
            module(sequences).square().sum().backward()
        pairs = zip(discriminator.parameters(), other.parameters(), strict=True)
        for first, second in pairs:
            if first.requires_grad:
                torch.testing.assert_close(first.grad, second.grad)

    def test_the_prompt_is_read_and_its_padding_is_not(self, discriminator, sequences):
        alone = discriminator(sequences)
        ids = torch.tensor([[0, 1], [2, 3], [1, 1], [4, 0], [3, 2]])
        prompted = with_prompts(sequences, ids)
        expected = discriminator(prompted)
        assert torch.all(expected != alone)
        swapped = discriminator(with_prompts(sequences, ids.flip(1)))
        assert torch.all((swapped != expected) == (ids[:, 0] != ids[:, 1]))
        wide = torch.nn.functional.pad(ids, (3, 0), value=VOCABULARY.pad_id)
        assert torch.equal(discriminator(with_prompts(sequences, wide)), expected)

    def test_as_a_sequence_classifier(self, discriminator, sequences, tmp_path, monkeypatch, capfd):
        """Saved, read by transformers with the folder's own code, and asked for the same texts."""
        normalize_spectrally(discriminator)
        discriminator.eval()
        transformers = package("transformers")
        model, tokenizer = discriminator.to_sequence_classifier()
        model.save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        ended = torch.tensor([0, 1, 4])
        texts = [sequences.texts[row] for row in ended]
        found = {"trust_remote_code": True, "local_files_only": True}
        read = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path, **found)
        assert type(read) is not type(model)  # not our class, but its copy in the folder
        reader = transformers.AutoTokenizer.from_pretrained(tmp_path, **found)
        logits = read(**reader(texts, padding=True, return_tensors="pt")).logits[:, 0]
        with torch.no_grad():
            expected = discriminator(sequences.select(ended))
        torch.testing.assert_close(logits, expected)
        scores = transformers.pipeline("text-classification", model=read, tokenizer=reader)(texts)
        assert [score["label"] for score in scores] == ["real"] * 3
        actual = torch.tensor([score["score"] for score in scores])
        torch.testing.assert_close(actual, expected.sigmoid())


def learning(discriminator: PretrainedDiscriminator) -> list[torch.nn.Parameter]:
    return [p for p in discriminator.parameters() if p.requires_grad]


def seconds() -> torch.Tensor:
    return torch.tensor([3, 1])


def with_prompts(sequences: Sequences, ids: torch.Tensor) -> Sequences:
    return replace(sequences, prompts=ids, prompt_mask=ids != VOCABULARY.pad_id)


def batch(rows: list[list[int]] = ROWS) -> Sequences:
    return Sequences.from_rows(rows, VOCABULARY, MAX_LENGTH)


# What is read


@pytest.mark.parametrize(
    ("model", "pooling", "expected"),
    [("gpt2", "auto", "last"), ("bert", "auto", "mean"), ("gpt2", "mean", "mean")],
)
def test_pooling_that_fits_the_body(
    folders: dict[str, str], model: str, pooling: str, expected: str
) -> None:
    config = tiny(folders, model, pooling=pooling)
    assert PretrainedDiscriminator(config).pooling == expected


@pytest.mark.parametrize("pooling", ["mean", "last", "first"])
@pytest.mark.parametrize("model", ["gpt2", "bert"])
def test_a_vector_from_the_states_of_each_text_alone(
    folders: dict[str, str], model: str, pooling: str
) -> None:
    """By the body itself, one text at a time and without padding; marks written by hand."""
    discriminator = PretrainedDiscriminator(tiny(folders, model, pooling=pooling)).eval()
    first, eos = ([], 1) if model == "gpt2" else ([1], 2)
    offset = 2 if model == "gpt2" else 4
    vectors = discriminator.vectors(batch())
    for row, vector in zip(ROWS, vectors, strict=True):
        ids = first + [eos if token == 5 else token + offset for token in row]
        states = discriminator.body(torch.tensor([ids])).last_hidden_state[0]
        chosen = {"mean": states.mean(dim=0), "last": states[-1], "first": states[0]}
        torch.testing.assert_close(vector, chosen[pooling])


@pytest.mark.parametrize("model", ["gpt2", "bert"])
def test_layers_side_by_side(folders: dict[str, str], model: str, tmp_path: Path) -> None:
    """Read by the body itself, one text at a time; and so does the classifier that is saved."""
    config = tiny(folders, model, layers=(0, 2), pooling="mean")
    discriminator = PretrainedDiscriminator(config).eval()
    first, eos = ([], 1) if model == "gpt2" else ([1], 2)
    offset = 2 if model == "gpt2" else 4
    for row, vector in zip(ROWS, discriminator.vectors(batch()), strict=True):
        ids = torch.tensor([first + [eos if token == 5 else token + offset for token in row]])
        states = discriminator.body(ids, output_hidden_states=True).hidden_states
        expected = torch.cat([states[layer][0].mean(dim=0) for layer in (0, 2)])
        torch.testing.assert_close(vector, expected)
    classifier, tokenizer = discriminator.to_sequence_classifier()
    classifier.save_pretrained(tmp_path)
    read = package("transformers").AutoModelForSequenceClassification.from_pretrained(
        tmp_path, trust_remote_code=True, local_files_only=True
    )
    texts = [batch().texts[row] for row in (0, 1)]
    with torch.no_grad():
        logits = read(**tokenizer(texts, padding=True, return_tensors="pt")).logits[:, 0]
        expected = discriminator(batch().select(torch.tensor([0, 1])))
    torch.testing.assert_close(logits, expected)


@pytest.mark.parametrize("body", ["lora", "full"])
@pytest.mark.parametrize("layers", [(0,), (0, 1), (2,)])
def test_what_is_not_read_does_not_train(
    folders: dict[str, str], body: Any, layers: tuple[int, ...]
) -> None:
    """Nor does it stand in a checkpoint; what is read all trains."""
    discriminator = PretrainedDiscriminator(tiny(folders, "bert", body=body, layers=layers))
    discriminator(batch()).sum().backward()
    trained = {n: p for n, p in discriminator.named_parameters() if p.requires_grad}
    assert all(parameter.grad is not None for parameter in trained.values())
    assert set(discriminator.state_dict()) == set(trained)
    blocks = {name.split("layer.")[1][0] for name in trained if "layer." in name}
    assert blocks == {str(number) for number in range(max(layers))}


def test_layers_that_a_body_does_not_have(folders: dict[str, str]) -> None:
    with pytest.raises(
        ModelFolderError,
        match=r"discriminator.layers are \(3,\), but must be from 0 to the body's 2",
    ):
        PretrainedDiscriminator(tiny(folders, "bert", layers=(3,)))


def test_prompt_and_completion_are_a_pair(folders: dict[str, str]) -> None:
    discriminator = PretrainedDiscriminator(tiny(folders, "bert")).eval()
    prompted = with_prompts(batch([[0, 1, 5], [3, 5]]), torch.tensor([[2, 4], [7, 0]]))
    for row, (ids, kinds) in enumerate(
        [
            ([1, 6, 8, 2, 4, 5, 2], [0, 0, 0, 0, 1, 1, 1]),
            ([1, 4, 2, 7, 2], [0, 0, 0, 1, 1]),
        ]
    ):
        given = {"input_ids": torch.tensor([ids]), "token_type_ids": torch.tensor([kinds])}
        states = discriminator.body(**given).last_hidden_state[0]
        torch.testing.assert_close(discriminator.vectors(prompted)[row], states.mean(dim=0))


def test_texts_longer_than_the_window_are_cut(folders: dict[str, str]) -> None:
    assert PretrainedDiscriminator(tiny(folders, "bert")).max_tokens == 32
    discriminator = PretrainedDiscriminator(tiny(folders, "bert", max_tokens=4)).eval()
    long, same, other = discriminator(batch([[0, 1, 2, 3, 5], [0, 1, 4, 5], [0, 2, 5]]))
    assert long == same != other
    with pytest.raises(ModelFolderError, match="is 33, but must be at most the body's window, 32"):
        PretrainedDiscriminator(tiny(folders, "bert", max_tokens=33))


# The cache


def test_a_frozen_body_is_asked_about_each_text_once(folders: dict[str, str]) -> None:
    discriminator = PretrainedDiscriminator(tiny(folders, "bert")).eval()
    asked: list[int] = []
    discriminator.body.register_forward_pre_hook(
        lambda module, _, given: asked.append(len(given["input_ids"])), with_kwargs=True
    )
    rows = batch([*ROWS, *ROWS])
    expected = discriminator.vectors(rows)
    assert sum(asked) == 8  # five distinct texts, in one batch that is filled up
    discriminator.train()
    assert torch.equal(discriminator.vectors(batch()), expected[:5])
    assert sum(asked) == 8
    assert torch.equal(expected[:5], expected[5:])


def test_the_texts_asked_last_are_kept(folders: dict[str, str]) -> None:
    discriminator = PretrainedDiscriminator(tiny(folders, "bert", cache_size=2)).eval()
    first, second, third = (batch([row]) for row in ROWS[:3])
    for text in (first, second, first, third):
        discriminator(text)
    assert [text for (_, text, _), _ in discriminator._cache] == [first.texts[0], third.texts[0]]
    nothing = PretrainedDiscriminator(tiny(folders, "bert", cache_size=0)).eval()
    nothing(batch())
    assert not nothing._cache


@pytest.mark.parametrize("precise", [True, False])
def test_a_vector_depends_on_its_text_alone_bit_for_bit(precise: bool) -> None:
    """On the real MiniLM, whose products of matrices are large enough to be split up: whatever
    stands beside it, in whatever order. Checkpoints without the cache rely on it."""
    words = [chr(97 + i) + chr(97 + j) for i in range(20) for j in range(20)]
    vocabulary = Vocabulary(tuple(words))
    lengths = torch.randint(1, 20, (60,), generator=seeded())
    rows = [
        [*torch.randint(400, (int(n),), generator=seeded(i)).tolist(), 400]
        for i, n in enumerate(lengths)
    ]
    texts = Sequences.from_rows(rows, vocabulary, 21)
    discriminator = PretrainedDiscriminator(PretrainedDiscriminatorConfig(cache_size=0)).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=not precise):
        together = discriminator.vectors(texts)
        for size in (1, 7, 40):
            some = torch.randperm(60, generator=seeded(size))[:size]
            assert torch.equal(discriminator.vectors(texts.select(some)), together[some])


def test_the_vectors_of_minilm_are_those_of_the_embedding() -> None:
    """Which reads by itself, and scales its vectors to length 1."""
    vocabulary = Vocabulary(tuple("a man rides the old red bicycle down this street .".split()))
    rows = [[0, 1, 2, 3, 4, 6, 10, 11], [3, 5, 9, 11], [0, 11], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11]]
    texts = Sequences.from_rows(rows, vocabulary, 12)
    discriminator = PretrainedDiscriminator(PretrainedDiscriminatorConfig())
    vectors = torch.nn.functional.normalize(discriminator.vectors(texts), dim=1)
    torch.testing.assert_close(vectors, torch.tensor(MiniLMEmbedding()(texts.texts)))
    slow = PretrainedDiscriminator(PretrainedDiscriminatorConfig(dtype="bfloat16"))
    rounded = torch.nn.functional.normalize(slow.vectors(texts), dim=1)
    assert rounded.dtype == torch.float32
    assert torch.all((rounded * vectors).sum(dim=1) > 0.999)


def test_other_arithmetic_has_vectors_of_its_own(folders: dict[str, str]) -> None:
    discriminator = PretrainedDiscriminator(tiny(folders, "bert"))
    reward = DiscriminatorReward(
        discriminator,
        torch.optim.Adam(discriminator.head.parameters()),
        settings=DiscriminatorUpdate(precision="bfloat16"),
    )
    fast = reward.logits(batch())
    assert fast.dtype == torch.float32
    with torch.no_grad():
        precise = discriminator(batch())
    assert not torch.equal(fast, precise)
    torch.testing.assert_close(fast, precise, atol=0.1, rtol=0.1)


def test_a_step_of_power_iteration_for_each_pass(folders: dict[str, str]) -> None:
    """Whatever has to be read for it: a run that goes on does so with an empty cache."""
    with seeded_from(seeded()):
        discriminator = PretrainedDiscriminator(tiny(folders, "bert"))
        normalize_spectrally(discriminator)
    reward = DiscriminatorReward(discriminator, torch.optim.SGD(discriminator.head.parameters()))
    steps: list[str] = []
    for name, module in discriminator.head.named_modules():
        if hasattr(module, "_power_method"):
            module.register_forward_hook(lambda *_, name=name: steps.append(name))
    for _ in range(2):  # the second time the cache knows all texts
        steps.clear()
        reward.update(batch(), batch())
        assert [name.split(".")[0] for name in steps] == ["hidden", "output"]


# In a run


@pytest.mark.parametrize(
    ("model", "body"), [("bert", "frozen"), ("gpt2", "frozen"), ("gpt2", "lora"), ("bert", "full")]
)
def test_a_run_goes_on_bit_for_bit(folders: dict[str, str], model: str, body: str) -> None:
    """From a state after the second of three iterations, with an empty cache."""
    config = replace(TINY, discriminator=tiny(folders, model, body=body, dropout=0.1))
    whole, _ = make_trainer(config)
    whole.train()
    stopped, _ = make_trainer(changed(config, {"adversarial.iterations": 2}))
    stopped.run(stopped.phase("maximum_likelihood"))
    stopped.run(stopped.phase("adversary"))
    stopped.run(stopped.phase("game"))
    state = copy.deepcopy(stopped.state_dict())
    resumed, _ = make_trainer(config)
    resumed.load_state_dict(state)
    resumed.train()
    assert torch.equal(weights_of(resumed), weights_of(whole))
    assert not torch.equal(weights_of(whole), weights_of(stopped))


def test_a_checkpoint_holds_what_trains(folders: dict[str, str]) -> None:
    trainer, _ = make_trainer(replace(TINY, discriminator=tiny(folders, "bert")))
    names = trainer.state_dict()["players"]["rewards"]["discriminator"]["module"]
    assert {name.split(".")[0] for name in names} == {"head"}


def test_a_head_learns_what_a_pretrained_body_knows() -> None:
    """Captions against the same words shuffled, on MiniLM: held-out accuracy far above chance."""
    words = "a the man woman dog rides holds sees red old big bicycle ball street on near .".split()
    vocabulary = Vocabulary(tuple(words))
    rng = seeded()

    def draw(*ids: int) -> int:
        return ids[int(torch.randint(len(ids), (), generator=rng))]

    places = [(0, 1), (8, 9, 10), (2, 3, 4), (5, 6, 7), (0,), (8, 9, 10), (11, 12), (14, 15)]
    rows = [[*(draw(*ids) for ids in places), 1, 13, 16, 17] for _ in range(120)]
    shuffled = [[row[i] for i in torch.randperm(11, generator=rng).tolist()] + [17] for row in rows]
    real, fake = (Sequences.from_rows(part, vocabulary, 12) for part in (rows, shuffled))
    with seeded_from(seeded()):
        discriminator = PretrainedDiscriminator(PretrainedDiscriminatorConfig())
    optimizer = torch.optim.Adam(discriminator.head.parameters(), 2e-3)
    train, heldout = torch.arange(80), torch.arange(80, 120)
    for _ in range(30):
        discriminator_step(discriminator, optimizer, real.select(train), fake.select(train), PLAIN)
    reward = DiscriminatorReward(discriminator, optimizer)
    right = (reward.logits(real.select(heldout)) > 0).float().mean()
    right += (reward.logits(fake.select(heldout)) < 0).float().mean()
    assert right / 2 > 0.9


# What is wrong


def test_places_without_a_body(folders: dict[str, str], tmp_path: Path) -> None:
    for place, rule in (
        (str(tmp_path), "is no model folder: it has no config.json"),
        ("./none", "^cannot read ./none: no such folder"),
        (
            "nobody/nothing",
            "^cannot read nobody/nothing: no such folder, and (the Hugging|HF_HUB)",
        ),
    ):
        config = replace(TINY, discriminator=PretrainedDiscriminatorConfig(path=place))
        with pytest.raises(ModelFolderError, match=rule):
            build_discriminator(config, toy_task().vocabulary, 4, seeded())


def test_a_tokenizer_without_marks(folders: dict[str, str], tmp_path: Path) -> None:
    transformers = package("transformers")
    transformers.BertModel.from_pretrained(folders["bert"]).save_pretrained(tmp_path)
    save_tokenizer(tmp_path, {"unk_token": "[UNK]"})
    with pytest.raises(ModelFolderError, match=r"marks the ends of texts \(cls, sep or eos\)"):
        PretrainedDiscriminator(PretrainedDiscriminatorConfig(path=str(tmp_path)))


def test_a_tokenizer_that_marks_beginnings_only(folders: dict[str, str], tmp_path: Path) -> None:
    """As Llama's: the mark of the end is ours, and the last word of a text cut off is read."""
    package("transformers").GPT2Model.from_pretrained(folders["gpt2"]).save_pretrained(tmp_path)
    special = {"unk_token": "<unk>", "eos_token": "<eos>", "bos_token": "<eos>"}
    save_tokenizer(tmp_path, special, "<eos> $A", "<eos> $A <eos>:1 $B:1")
    discriminator = PretrainedDiscriminator(PretrainedDiscriminatorConfig(path=str(tmp_path)))
    mark, a, b = discriminator.tokenizer.convert_tokens_to_ids(["<eos>", "a", "b"])
    assert discriminator.tokenizer("a b")["input_ids"] == [mark, a, b, mark]
    assert discriminator.tokenizer("a", "b")["input_ids"] == [mark, a, b, mark]
    rows = [[0, 1, VOCABULARY.eos_id], [0, 1], [0]]
    sequences = Sequences.from_rows(rows, VOCABULARY, MAX_LENGTH)
    assert sequences.texts == ["a b", "a b", "a"]
    states = discriminator.body(torch.tensor([[mark, a, b, mark]])).last_hidden_state[0]
    torch.testing.assert_close(discriminator.vectors(sequences), states[[3, 2, 1]])


def test_an_encoder_decoder_is_refused(tmp_path: Path) -> None:
    transformers = package("transformers")
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    transformers.T5Model(
        transformers.T5Config(vocab_size=12, decoder_start_token_id=0, **sizes)
    ).save_pretrained(tmp_path)
    save_tokenizer(tmp_path, {"unk_token": "<unk>", "eos_token": "<eos>"})
    with pytest.raises(ModelFolderError, match="is an encoder-decoder"):
        PretrainedDiscriminator(PretrainedDiscriminatorConfig(path=str(tmp_path)))


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ({"head_size": -1}, "head_size is -1, but must be at least 0"),
        ({"lora_rank": 0}, "lora_rank is 0, but must be at least 1"),
        ({"lora_alpha": 0.0}, "lora_alpha is 0.0, but must be above 0 and finite"),
        ({"max_tokens": -1}, "max_tokens is -1, but must be at least 0"),
        ({"cache_size": -1}, "cache_size is -1, but must be at least 0"),
        ({"dropout": 1.0}, r"dropout is 1.0, but must be at least 0 and below 1"),
        (
            {"body": "full", "dtype": "bfloat16"},
            "dtype is .* but must be float32 where the whole body trains",
        ),
    ],
)
def test_settings_out_of_range(setting: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=f"discriminator.{rule}"):
        PretrainedDiscriminatorConfig(**setting)
