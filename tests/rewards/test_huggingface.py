"""Classifiers of transformers from a local folder, and TRL's own reward functions.

They need the libraries; what happens without them is tested anywhere.
"""

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.rewards.adapters.finding import find_reward
from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.adapters.huggingface import ClassifierReward, log_odds

VOCABULARY = Vocabulary(("a", "b", "c", "d"))
BATCH = Sequences.from_rows([[0, 1, 2, 3, 0], [4], [3, 3, 4], [2, 0, 1, 4]], VOCABULARY, 5)
PROMPTED = replace(
    BATCH,
    prompts=torch.tensor([[6, 2], [1, 1], [6, 6], [3, 0]]),
    prompt_mask=torch.tensor([[False, True], [True, True], [False, False], [True, True]]),
)
PROMPTED_TEXTS = ["c a b c d a", "b b ", "d d", "d a c a b"]


def test_log_odds_by_hand() -> None:
    """Softmax over 1, 2, 5 parts: odds of 1 to 7, 2 to 6, 5 to 3."""
    logits = torch.tensor([[1.0, 2.0, 5.0], [5.0, 1.0, 2.0]]).log()
    odds = [log_odds(logits, label).exp().tolist() for label in range(3)]
    assert odds == [
        pytest.approx([1 / 7, 5 / 3]),
        pytest.approx([2 / 6, 1 / 7]),
        pytest.approx([5 / 3, 2 / 6]),
    ]
    assert torch.equal(log_odds(logits, 1, independent=True), logits[:, 1])
    assert torch.equal(log_odds(logits[:, :1], 0), logits[:, 0])


def test_without_transformers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"^the package transformers is missing, which .*: pip"):
        ClassifierReward(tmp_path)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"batch_size": 0}, "batch_size is 0, but must be at least 1"),
        ({"max_length": -1}, "max_length is -1, but must be at least 0"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=f"^{rule}$"):
        ClassifierReward("anywhere", **settings)


def save_tokenizer(folder: Path, pad: bool = True) -> Any:
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    words = {"[UNK]": 0, "[PAD]": 1, "[EOS]": 2, "a": 3, "b": 4, "c": 5, "d": 6}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    special = {"pad_token": "[PAD]"} if pad else {"eos_token": "[EOS]"}
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=model, unk_token="[UNK]", **special
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def save_classifier(folder: Path, num_labels: int, pad: bool = True, **settings: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    tokenizer = save_tokenizer(folder, pad)
    torch.manual_seed(num_labels)
    config = transformers.GPT2Config(
        vocab_size=7,
        n_layer=1,
        n_head=2,
        n_embd=8,
        n_positions=12,
        num_labels=num_labels,
        id2label={number: f"mood{number}" for number in range(num_labels)},
        label2id={f"mood{number}": number for number in range(num_labels)},
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=2,
        eos_token_id=2,
        initializer_range=1.0,
        **settings,
    )
    model = transformers.GPT2ForSequenceClassification(config)
    model.save_pretrained(folder)
    return model.eval()


def alone(model: Any, texts: list[str]) -> torch.Tensor:
    """The logits of each text, asked for by itself and so without padding."""
    ids = {"a": 3, "b": 4, "c": 5, "d": 6}
    with torch.no_grad():
        return torch.cat(
            [model(torch.tensor([[ids[w] for w in text.split()]])).logits for text in texts]
        )


TEXTS = ["a b c d a", "d d", "c a b"]
THREE = BATCH.select(torch.tensor([0, 2, 3]))


@pytest.mark.integration
class TestClassifier:
    @pytest.mark.parametrize("batch_size", [1, 2, 64])
    @pytest.mark.parametrize("pad", [True, False])
    def test_one_output_is_given_as_it_is(self, tmp_path: Path, pad: bool, batch_size: int) -> None:
        model = save_classifier(tmp_path / "manners", 1, pad)
        reward = ClassifierReward(tmp_path / "manners", batch_size=batch_size)
        assert (reward.name, reward.per_token) == ("manners", False)
        expected = alone(model, TEXTS)[:, 0]
        torch.testing.assert_close(reward.score(THREE), expected)
        assert expected.unique().numel() == 3

    def test_two_labels(self, tmp_path: Path) -> None:
        logits = alone(save_classifier(tmp_path, 2), TEXTS)
        odds = logits[:, 1] - logits[:, 0]
        torch.testing.assert_close(ClassifierReward(tmp_path).score(THREE), odds)
        torch.testing.assert_close(ClassifierReward(tmp_path, "mood0").score(THREE), -odds)
        share = ClassifierReward(tmp_path, 1, output="probability", name="mine")
        torch.testing.assert_close(share.score(THREE), logits.softmax(dim=1)[:, 1])
        assert share.name == "mine"

    def test_three_labels(self, tmp_path: Path) -> None:
        share = alone(save_classifier(tmp_path, 3), TEXTS).softmax(dim=1)
        for label in ("mood2", 2):
            reward = ClassifierReward(tmp_path, label)
            expected = (share[:, 2] / (1 - share[:, 2])).log()
            torch.testing.assert_close(reward.score(THREE), expected, rtol=1e-4, atol=1e-4)
        for wrong in ("mood3", 3, -1):
            rule = f"^the classifier '.*' has no label {wrong!r}; it has mood0, mood1, mood2$"
            with pytest.raises(ValueError, match=rule):
                ClassifierReward(tmp_path, wrong)
        with pytest.raises(ValueError, match="has 3 labels, and none is called positive; name the"):
            ClassifierReward(tmp_path)

    def test_the_positive_label_is_rewarded_wherever_it_stands(self, tmp_path: Path) -> None:
        for number, names in enumerate((["Positive", "Negative"], ["bad", "none", "POSITIVE"])):
            folder = tmp_path / str(number)
            model = save_classifier(folder, len(names))
            model.config.id2label = dict(enumerate(names))
            model.save_pretrained(folder)
            place = 0 if number == 0 else 2
            torch.testing.assert_close(
                ClassifierReward(folder).score(THREE), log_odds(alone(model, TEXTS), place)
            )

    def test_questions_apart(self, tmp_path: Path) -> None:
        model = save_classifier(tmp_path, 2, problem_type="multi_label_classification")
        torch.testing.assert_close(
            ClassifierReward(tmp_path).score(THREE), alone(model, TEXTS)[:, 1]
        )

    def test_prompts_stand_before_completions(self, tmp_path: Path) -> None:
        model = save_classifier(tmp_path, 1)
        scores = ClassifierReward(tmp_path).score(PROMPTED)
        torch.testing.assert_close(scores, alone(model, PROMPTED_TEXTS)[:, 0])

    def test_long_texts_are_cut(self, tmp_path: Path) -> None:
        model = save_classifier(tmp_path, 1)
        scores = ClassifierReward(tmp_path, max_length=2).score(THREE)
        torch.testing.assert_close(scores, alone(model, ["a b", "d d", "c a"])[:, 0])

    def test_an_empty_batch(self, tmp_path: Path) -> None:
        save_classifier(tmp_path, 1)
        nothing = BATCH.select(torch.arange(0))
        assert ClassifierReward(tmp_path).score(nothing).shape == (0,)

    def test_it_does_not_apply_to_a_text_without_tokens(self, tmp_path: Path) -> None:
        model = save_classifier(tmp_path, 2)  # of a tokenizer that adds no tokens
        logits = alone(model, TEXTS)
        odds = (logits[:, 1] - logits[:, 0]).tolist()
        nan = math.nan
        for size in (1, 2, 64):
            scores = ClassifierReward(tmp_path, batch_size=size).score(BATCH).tolist()
            expected = [odds[0], nan, odds[1], odds[2]]
            assert scores == pytest.approx(expected, rel=1e-4, abs=1e-5, nan_ok=True)
        empty = BATCH.select(torch.tensor([1, 1]))
        share = ClassifierReward(tmp_path, output="probability").score(empty)
        assert share.isnan().all()
        assert share.shape == (2,)

    def test_texts_beyond_the_model_are_cut_where_the_tokenizer_has_no_limit(
        self, tmp_path: Path
    ) -> None:
        model = save_classifier(tmp_path, 1)  # which reads 12 tokens
        long = replace(THREE, given_texts=["a b c d " * 5, "d d", "c a b"])
        cut = ["a b c d " * 3, "d d", "c a b"]
        torch.testing.assert_close(ClassifierReward(tmp_path).score(long), alone(model, cut)[:, 0])

    def test_what_holds_no_classifier(self, tmp_path: Path) -> None:
        transformers = pytest.importorskip("transformers")
        with pytest.raises(ValueError, match=r"^cannot read .*nowhere: no such folder$"):
            ClassifierReward(tmp_path / "nowhere")
        with pytest.raises(ValueError, match=r"^.* is no model folder: it has no config.json$"):
            ClassifierReward(tmp_path)
        save_tokenizer(tmp_path)
        config = transformers.GPT2Config(vocab_size=7, n_layer=1, n_head=2, n_embd=8)
        transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
        with pytest.raises(ValueError, match=r"is no classifier: it lacks score.weight$"):
            ClassifierReward(tmp_path)

    @pytest.mark.parametrize("kind", ["Bert", "GPT2"])
    def test_a_folder_without_a_tokenizer_is_refused(self, tmp_path: Path, kind: str) -> None:
        """transformers would make one of special tokens, to which every text is the same."""
        transformers = pytest.importorskip("transformers")
        sizes = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
        config = getattr(transformers, f"{kind}Config")(vocab_size=7, **sizes)
        model = getattr(transformers, f"{kind}ForSequenceClassification")(config)
        model.save_pretrained(tmp_path)
        with pytest.raises(
            ValueError, match=r"^[^\n]* has no tokenizer: there are no words in[^\n]*$"
        ):
            ClassifierReward(tmp_path)

    def test_a_folder_is_a_reward(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        model = save_classifier(tmp_path / "moods", 2)
        logits = alone(model, TEXTS)
        odds = logits[:, 1] - logits[:, 0]
        for spec in ("moods", "./moods", str(tmp_path / "moods"), 'moods(label="mood1")'):
            reward = find_reward(spec)
            assert reward.name == "moods"
            torch.testing.assert_close(reward.score(THREE), odds)
        torch.testing.assert_close(find_reward("moods('mood0')").score(THREE), -odds)

    def test_the_model_itself_lacks_its_tokenizer(self, tmp_path: Path) -> None:
        with pytest.raises(
            ValueError,
            match=(
                r"the GPT2ForSequenceClassification is a classifier of transformers, which judges"
                r" text through its own tokenizer: give its folder to"
                r" seqgan.rewards.adapters.huggingface.ClassifierReward"
            ),
        ):
            as_reward(save_classifier(tmp_path, 1))


@pytest.mark.integration
class TestFunctionsOfTRL:
    def test_repetition(self) -> None:
        rewards = pytest.importorskip("trl.rewards")
        reward = as_reward(rewards.get_repetition_penalty_reward(ngram_size=1, max_penalty=-1.0))
        assert reward.name == "repetition_penalty_reward"
        # 4 of 5 ids distinct; eos alone; d d eos: 2 of 3; all distinct.
        expected = [-1 / 5, 0.0, -1 / 3, 0.0]
        assert reward.score(BATCH).tolist() == pytest.approx(expected)

    def test_length(self) -> None:
        rewards = pytest.importorskip("trl.rewards")
        reward = as_reward(rewards.get_soft_overlong_punishment(4, 2))
        assert reward.score(BATCH).tolist() == [-1.0, 0.0, -0.5, -1.0]

    def test_a_function_of_messages(self) -> None:
        rewards = pytest.importorskip("trl.rewards")
        thinking = replace(
            BATCH, given_texts=["<think>\na\n</think>\nb", "", "<think>b", "<think>c</think>"]
        )
        reward = as_reward(rewards.think_format_reward, messages=True)
        assert reward.score(thinking).tolist() == [1.0, 0.0, 0.0, 1.0]
        assert reward.name == "think_format_reward"

    def test_an_accuracy_with_a_column_and_none(self) -> None:
        """TRL's answer to an unreadable solution is None."""
        rewards = pytest.importorskip("trl.rewards")
        pytest.importorskip("math_verify")
        batch = replace(
            BATCH,
            given_texts=[r"\boxed{2}", r"\boxed{3}", "no", r"\boxed{1}"],
            columns={"solution": [r"\boxed{2}", r"\boxed{2}", r"\boxed{2}", ""]},
        )
        values = as_reward(rewards.accuracy_reward, messages=True).score(batch).tolist()
        assert values[:3] == [1.0, 0.0, 0.0]
        assert math.isnan(values[3])
