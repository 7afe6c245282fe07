"""Causal language models of transformers as generators."""

import shutil

import pretrained_models
import pytest
import test_generators
import torch

from seqgan.data.model_folders import context_window, load_tokenizer, package
from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary, subword_vocabulary, tokenizer_ids
from seqgan.models.generators.base import frozen_copy
from seqgan.models.generators.pretrained import PretrainedGenerator, PretrainedGeneratorConfig
from seqgan.models.sampling import complete, sample
from seqgan.system.errors import ModelFolderError
from seqgan.system.seeding import seeded_from

pytestmark = pytest.mark.integration

VOCABULARY = test_generators.VOCABULARY
WORDS = VOCABULARY.words
MODELS = [
    *(("gpt2", "none"), ("gpt2", "lora"), ("llama", "none"), ("llama", "lora")),
    *(("mistral", "none"), ("gemma2", "none"), ("bloom", "none")),
]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def make(path, adapter="none", vocabulary=VOCABULARY, fresh=False, **settings):
    """A generator in evaluation mode, with an adapter that matters unless it is a fresh one."""
    config = PretrainedGeneratorConfig(
        path=str(path), adapter=adapter, lora_rank=2, lora_alpha=2.0, **settings
    )
    with seeded_from(seeded()):
        generator = PretrainedGenerator(config, vocabulary).eval()
        for parameter in generator.parameters():
            if parameter.requires_grad and adapter == "lora" and not fresh:
                torch.nn.init.normal_(parameter, std=0.5)
    return generator


@pytest.mark.parametrize(("model", "adapter"), MODELS)
class TestConformance(test_generators.GeneratorConformance):
    @pytest.fixture(autouse=True)
    def configured(self, model, adapter, folder):
        self.model, self.adapter, self.folder = model, adapter, folder

    def make(self, vocabulary, dropout):
        path = pretrained_models.saved(self.folder, self.model, WORDS, dropout=dropout)
        return make(path, self.adapter, vocabulary)

    def test_bos_starts_every_sequence(self):
        """With the same weights, another bos gives another first distribution."""
        first = []
        for bos_word in (0, 1):
            generator = self.make(Vocabulary(("a", "b", "c"), bos_word=bos_word), dropout=0.0)
            logits, state = generator.start(2)
            assert logits.shape == (2, 4)
            again, _ = generator.step(torch.tensor([bos_word, 1 - bos_word]), state)
            assert not torch.allclose(again[0], again[1], atol=1e-4)
            first.append(logits[0])
        assert not torch.allclose(first[0], first[1], atol=1e-4)


@pytest.fixture(params=["gpt2", "llama"])
def path(request, folder):
    return pretrained_models.saved(folder, request.param, WORDS)


@pytest.fixture
def gpt2(folder):
    return pretrained_models.saved(folder, "gpt2", WORDS)


def transformers_logits(path, texts):
    """The model's own logits of whole texts, one at a time and without a mask; over our tokens."""
    model = package("transformers").AutoModelForCausalLM.from_pretrained(path).eval()
    ids = torch.tensor(tokenizer_ids(VOCABULARY, load_tokenizer(path)))
    with torch.no_grad():
        return [
            model(input_ids=ids[torch.tensor([text])]).logits[0][:, ids[: VOCABULARY.num_actions]]
            for text in texts
        ]


@pytest.mark.parametrize("prompted", [False, True], ids=["bare", "prompted"])
@pytest.mark.parametrize("model", ["gpt2", "llama", "mistral", "gemma2", "bloom"])
def test_every_prefix_equals_what_transformers_says_of_the_text_alone(folder, model, prompted):
    """Of forward, of cached prefixes, and of one token more; prompts of all lengths, no bos."""
    path = pretrained_models.saved(folder, model, WORDS, std=0.2)
    sequences, generator = test_generators.batch(prompted), make(path)
    bos = [[VOCABULARY.bos_id]] * 5
    contexts = [prompt or bos[0] for prompt in test_generators.PROMPTS] if prompted else bos
    rows = test_generators.ROWS
    wholes = [context + row for context, row in zip(contexts, rows, strict=True)]
    expected = [
        logits[len(context) - 1 :].log_softmax(dim=-1)
        for logits, context in zip(transformers_logits(path, wholes), contexts, strict=True)
    ]
    places = torch.tensor([(r, t) for r, row in enumerate(rows) for t in range(len(row))])
    order = torch.randperm(len(places), generator=seeded())
    index, starts = places[order].unbind(dim=1)
    with torch.no_grad():
        whole = generator(sequences).log_softmax(dim=-1)
        logits, state = generator.encode(sequences).gather(index, starts)
        after, _ = generator.step(sequences.tokens[index, starts], state)
    for place, (row, step) in enumerate(zip(index.tolist(), starts.tolist(), strict=True)):
        for ours, theirs in (
            (whole[row, step], expected[row][step]),
            (logits[place].log_softmax(dim=-1), expected[row][step]),
            (after[place].log_softmax(dim=-1), expected[row][step + 1]),
        ):
            torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=0)


@pytest.mark.parametrize("model", ["gpt2", "gemma2"])
def test_only_words_of_the_vocabulary_are_drawn_and_normalised(folder, model):
    """Three words of the tokenizer's eleven tokens; all texts of up to two tokens, enumerated."""
    vocabulary = Vocabulary(("d", "b"))
    generator = make(pretrained_models.saved(folder, model, WORDS), vocabulary=vocabulary)
    texts = [[2], *([first, second] for first in (0, 1) for second in (0, 1, 2))]
    everything = Sequences.from_rows(texts, vocabulary, 2)
    with torch.no_grad():
        chances = generator.log_probs(everything).sum(dim=1).exp()
    assert float(chances.sum()) == pytest.approx(1, abs=1e-5)
    drawn = sample(generator, vocabulary, 4000, 2, seeded(3))
    equal = (drawn.tokens[:, None] == everything.tokens[None]).all(dim=2)
    shares = equal.float().mean(dim=0)
    assert torch.all(equal.sum(dim=1) == 1)
    errors = (chances * (1 - chances) / 4000).sqrt()
    assert torch.all((shares - chances).abs() < 4 * errors + 1e-3)


def test_rows_that_go_on_at_different_lengths_and_leave(path):
    """A long draw from ragged prefixes, whose states were copied, cropped and grown on the way."""
    generator, sequences = make(path), test_generators.batch(prompted=True)
    rows = torch.tensor([0, 1, 2, 2, 3, 0])
    lengths = torch.tensor([4, 0, 1, 2, 0, 1])
    tokens = torch.full((6, 40), VOCABULARY.pad_id)
    for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        tokens[place, :length] = sequences.tokens[row, :length]
    logits, state = generator.encode(sequences).gather(rows, lengths)
    recorded = []

    step = generator.step

    def recording(tokens, state):
        logits, state = step(tokens, state)
        recorded.append(logits.clone())
        return logits, state

    generator.step = recording
    done = complete(
        generator, VOCABULARY, tokens, lengths, logits, state, seeded(), num_completions=3
    )
    assert int(done.lengths.max()) > 10
    origin = rows.repeat_interleave(3)
    with torch.no_grad():
        expected = generator(sequences.select(origin).with_completions(done))
    going = lengths.repeat_interleave(3)
    for logits in recorded:
        going = going + 1
        # The rows whose text has a token here were in the batch, in their order.
        (kept,) = (going < done.lengths).nonzero(as_tuple=True)
        torch.testing.assert_close(logits, expected[kept, going[kept]], atol=2e-5, rtol=1e-5)
    assert len(recorded) == int((done.lengths - lengths.repeat_interleave(3)).max()) - 1


def test_equal_prompts_are_read_once(path):
    """A prompt of a group costs one row; logits and states are those of a row for each text."""
    prompts = torch.tensor([[0, 2], [1, 3], [0, 2], [0, 2], [5, 2]])
    mask = torch.ones_like(prompts, dtype=torch.bool)
    mask[4, 0] = False  # padding: a prompt of one token
    nothing = torch.zeros(5, 0, dtype=torch.long)
    texts = Sequences(nothing, nothing.bool(), prompts, mask, vocabulary=VOCABULARY)
    generator = make(path)
    read, counted = [], generator._read
    generator._read = lambda ids, columns: read.append(len(ids)) or counted(ids, columns)
    logits, state = generator.start(5, texts)
    after, _ = generator.step(torch.tensor([0, 1, 2, 3, 4]), state)
    assert read == [3]
    for row in range(5):
        alone, of_row = generator.start(1, texts.select(torch.tensor([row])))
        torch.testing.assert_close(logits[row : row + 1], alone, atol=2e-5, rtol=1e-5)
        expected, _ = generator.step(torch.tensor([row]), of_row)
        torch.testing.assert_close(after[row : row + 1], expected, atol=2e-5, rtol=1e-5)


def test_a_second_successor_of_a_state_gets_memory_of_its_own(gpt2):
    generator = make(gpt2)
    _, state = generator.start(2)
    _, state = generator.step(torch.tensor([0, 1]), state.select(torch.tensor([1, 0, 1])[:2]))
    _, first = generator.step(torch.tensor([2, 3]), state)
    _, second = generator.step(torch.tensor([4, 0]), state)
    assert first.key_values is not second.key_values
    after_first, _ = generator.step(torch.tensor([1, 1]), first)
    after_second, _ = generator.step(torch.tensor([1, 1]), second)
    texts = torch.tensor([[0, 2, 1], [1, 3, 1], [0, 4, 1], [1, 0, 1]])
    whole = Sequences(texts, torch.ones_like(texts, dtype=torch.bool))
    with torch.no_grad():
        states = generator.encode(whole)
        expected, _ = states.gather(torch.arange(4), torch.full((4,), 3))
    torch.testing.assert_close(torch.cat([after_first, after_second]), expected)


# What trains, and what is kept


def test_a_full_model_keeps_each_weight_once_and_an_adapter_only_itself(path):
    whole, adapted = make(path), make(path, "lora")
    tied = "gpt2" in path
    names = {name.removeprefix("model.") for name in whole.state_dict()}
    of_transformers = {name for name, _ in whole.model.named_parameters()}
    assert names == of_transformers
    assert ("lm_head.weight" in names) is not tied
    assert all("lora_" in name for name in adapted.state_dict())
    trained = [p for p in adapted.parameters() if p.requires_grad]
    assert sum(p.numel() for p in trained) == sum(v.numel() for v in adapted.state_dict().values())
    assert 0 < len(trained) == len(adapted.state_dict())


@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_states_go_both_ways_between_a_generator_and_its_copy(path, adapter):
    generator, sequences = make(path, adapter), test_generators.batch(prompted=True)
    copied = frozen_copy(generator)
    assert not any(p.requires_grad for p in copied.parameters())
    with torch.no_grad():
        before = generator.log_probs(sequences)
        for parameter in generator.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=seeded(7)) * 0.1)
        after = generator.log_probs(sequences)
        assert not torch.allclose(before, after, atol=1e-3)
        assert torch.equal(copied.log_probs(sequences), before)
        copied.load_state_dict(generator.state_dict())
        assert torch.equal(copied.log_probs(sequences), after)
        make_again = make(path, adapter)
        generator.load_state_dict(make_again.state_dict())
        assert torch.equal(generator.log_probs(sequences), before)
        assert torch.equal(copied.log_probs(sequences), after)


def test_a_state_with_other_parameters_is_refused(gpt2):
    with pytest.raises(ValueError, match="the generator's state has"):
        make(gpt2).load_state_dict(make(gpt2, "lora").state_dict())


def test_the_reference_of_an_adapter_is_the_model_without_it_in_the_same_memory(path):
    generator, sequences = make(path, "lora", fresh=True), test_generators.batch(prompted=True)
    reference = frozen_copy(generator)
    with torch.no_grad():
        for parameter in generator.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=seeded(7)))
        with generator.model.disable_adapter():
            off = generator.log_probs(sequences)
        assert torch.equal(reference.log_probs(sequences), off)
        assert torch.equal(make(path).log_probs(sequences), off)  # and the model of the folder
        assert not torch.allclose(generator.log_probs(sequences), off, atol=1e-2)
    shared = [
        (p.requires_grad, p.data_ptr() == q.data_ptr())
        for p, q in zip(generator.parameters(), reference.parameters(), strict=True)
    ]
    assert set(shared) == {(True, False), (False, True)}


@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_layers_that_are_computed_again_give_the_same_gradients(path, adapter):
    """In evaluation mode, in which policy gradients are taken; with less kept in between."""
    sequences, results = test_generators.batch(prompted=True), []
    for again in (False, True):
        generator, kept = make(path, adapter, gradient_checkpointing=again), []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, kept=kept: kept.append(tensor.numel()) or tensor, lambda tensor: tensor
        ):
            log_probs, entropies = generator.log_probs_and_entropies(sequences)
        (log_probs.sum() + entropies.sum()).backward()
        gradients = [p.grad for p in generator.parameters() if p.requires_grad]
        results.append((log_probs, gradients, sum(kept)))
    (plain, plain_gradients, plain_kept), (ours, our_gradients, our_kept) = results
    assert torch.equal(ours, plain)
    for mine, theirs in zip(our_gradients, plain_gradients, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert our_kept < plain_kept / 2


def test_a_copy_computes_its_own_layers_again(gpt2):
    generator, sequences = make(gpt2, gradient_checkpointing=True), test_generators.batch(False)
    copied = frozen_copy(generator).requires_grad_(True)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.zero_()
    copied.log_probs(sequences).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in copied.parameters())
    assert all(p.grad is None for p in generator.parameters())


@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_bfloat16_is_close_and_trains_in_float32(folder, adapter):
    path = pretrained_models.saved(folder, "llama", WORDS, std=0.2)
    sequences = test_generators.batch(prompted=True)
    exact, half = make(path, adapter), make(path, adapter, precision="bfloat16")
    assert {p.dtype for p in half.parameters() if p.requires_grad} == {torch.float32}
    frozen = {p.dtype for p in half.parameters() if not p.requires_grad}
    assert frozen == ({torch.bfloat16} if adapter == "lora" else set())
    log_probs, entropies = half.log_probs_and_entropies(sequences)
    assert log_probs.dtype == entropies.dtype == torch.float32
    expected, expected_entropies = exact.log_probs_and_entropies(sequences)
    assert 0 < float((log_probs - expected).detach().abs().max()) < 0.1
    torch.testing.assert_close(entropies, expected_entropies, atol=0.05, rtol=0)
    loss = half.negative_log_likelihood(sequences)
    torch.testing.assert_close(loss, exact.negative_log_likelihood(sequences), atol=0.02, rtol=0)
    (loss + log_probs.sum() + entropies.sum()).backward()
    assert all(torch.isfinite(p.grad).all() for p in half.parameters() if p.requires_grad)
    logits, state = half.encode(sequences).gather(torch.arange(5), sequences.lengths - 1)
    assert logits.dtype == torch.float32
    stepped, _ = half.step(sequences.tokens[torch.arange(5), sequences.lengths - 1], state)
    assert torch.isfinite(stepped).all()


def test_an_adapter_goes_where_it_is_told(gpt2):
    generator = make(gpt2, "lora", lora_targets=("c_fc",))
    assert len(generator.state_dict()) == 4  # two matrices in each of two layers
    assert all(".c_fc." in name for name in generator.state_dict())
    with pytest.raises(ModelFolderError, match="are nowhere, but must be layers of the model: "):
        make(gpt2, "lora", lora_targets=("nowhere",))


def test_an_adapter_on_the_output_layer_counts(folder):
    """Then the logits are no linear layer of the last states, and are taken as the model gives."""
    path = pretrained_models.saved(folder, "llama", WORDS)
    generator, sequences = (
        make(path, "lora", lora_targets=("lm_head",)),
        test_generators.batch(True),
    )
    assert not generator.ends_linear
    plain = make(path)
    assert plain.ends_linear
    with torch.no_grad():
        assert not torch.allclose(generator(sequences), plain(sequences), atol=1e-2)


# Tokenizers and vocabularies


def test_subwords_of_a_tokenizer_without_bos_and_pad(tmp_path):
    """eos starts a text then. Neither is missed: padding is never looked at."""
    tokens = ("<|end|>", "he", "##llo", "world", "!")
    pretrained_models.save_tokenizer(tmp_path, tokens, eos_token="<|end|>")
    pretrained_models.save_model(
        tmp_path, pretrained_models.small_config("gpt2", len(tokens)), std=0.5
    )
    vocabulary = subword_vocabulary(str(tmp_path))
    generator = make(tmp_path, vocabulary=vocabulary)
    assert load_tokenizer(str(tmp_path)).pad_token_id is None
    assert generator.ids.tolist() == [1, 2, 3, 4, 0, 0]  # the words, eos, and bos
    texts = sample(generator, vocabulary, 5, 8, seeded())
    ids = torch.cat(
        [torch.zeros(5, 1, dtype=torch.long), generator.ids[texts.tokens.clamp(max=5)]], 1
    )
    with torch.no_grad():
        logits = generator.model(input_ids=ids).logits[:, :-1, [1, 2, 3, 4, 0]]
        expected = logits.log_softmax(dim=-1).gather(2, texts.tokens.clamp(max=4)[..., None])[
            ..., 0
        ]
        torch.testing.assert_close(
            generator.log_probs(texts)[texts.mask], expected[texts.mask], atol=1e-5, rtol=0
        )


def test_the_context_window_is_that_of_the_model(folder):
    assert context_window(pretrained_models.saved(folder, "gpt2", WORDS)) == 64
    assert context_window(pretrained_models.saved(folder, "bloom", WORDS)) is None


# What is refused


def refused(path, match, vocabulary=VOCABULARY, **settings):
    with pytest.raises(ModelFolderError, match=match) as error:
        make(path, vocabulary=vocabulary, **settings)
    assert "\n" not in str(error.value)


def test_an_encoder_is_no_generator(tmp_path):
    transformers = package("transformers")
    pretrained_models.save_tokenizer(tmp_path, ("<|end|>", *WORDS, "[PAD]"), eos_token="<|end|>")
    config = transformers.BertConfig(
        vocab_size=7, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
        intermediate_size=8, max_position_embeddings=16, initializer_range=0.5,
    )  # fmt: skip
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path)
    vocabulary = Vocabulary(WORDS, bos_word=0)
    refused(tmp_path, "the model .* sees later tokens, as no generator may", vocabulary)


def test_a_model_without_keys_and_values_is_refused(tmp_path):
    transformers = package("transformers")
    pretrained_models.save_tokenizer(tmp_path, ("<|end|>", *WORDS), eos_token="<|end|>")
    config = transformers.MambaConfig(
        vocab_size=6, hidden_size=8, state_size=4, num_hidden_layers=1, conv_kernel=2
    )
    pretrained_models.save_model(tmp_path, config)
    refused(tmp_path, "does not remember a text as keys and values", Vocabulary(WORDS))


def test_tokens_that_the_model_does_not_know_are_refused(tmp_path):
    """As after tokens were added to a tokenizer alone; a model with more of them is usual."""
    pretrained_models.save_tokenizer(tmp_path, ("<|end|>", *WORDS), eos_token="<|end|>")
    size = len(WORDS) + 1
    pretrained_models.save_model(tmp_path, pretrained_models.small_config("gpt2", size - 1))
    refused(
        tmp_path,
        f"has the id {size - 1}, but the model there has only {size - 1} tokens$",
        Vocabulary(WORDS),
    )
    pretrained_models.save_model(tmp_path, pretrained_models.small_config("gpt2", size + 3))
    drawn = sample(make(tmp_path, vocabulary=Vocabulary(WORDS)), Vocabulary(WORDS), 4, 6, seeded())
    assert int(drawn.tokens[drawn.mask].max()) <= len(WORDS)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path, gpt2):
    """transformers makes an empty one of the model's configuration."""
    shutil.copytree(gpt2, tmp_path, dirs_exist_ok=True)
    for file in tmp_path.glob("*token*"):
        file.unlink()
    refused(tmp_path, "^.* has no tokenizer: there are no words in its vocabulary; save")


def test_weights_that_are_missing_are_refused(tmp_path, gpt2):
    from safetensors.torch import load_file, save_file

    shutil.copytree(gpt2, tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["transformer.h.1.ln_1.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    refused(tmp_path, "lacks 1 weights of a causal language model")


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ({"lora_rank": 0}, "generator.lora_rank is 0, but must be at least 1"),
        ({"lora_alpha": 0.0}, "generator.lora_alpha is 0.0, but must be above 0 and finite"),
        (
            {"lora_dropout": 1.0},
            r"generator.lora_dropout is 1.0, but must be at least 0 and below 1",
        ),
    ],
)
def test_settings_out_of_range(setting, rule):
    with pytest.raises(ValueError, match=rule):
        PretrainedGeneratorConfig(**setting)
