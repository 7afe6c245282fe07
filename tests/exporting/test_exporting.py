"""`seqgan export`: folders that transformers reads, and the card in them."""

# ruff: noqa: RUF001 (letters of other scripts are what is tested)

import json
import random
import runpy
import shutil
import subprocess
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pretrained_models import EOS, UNKNOWN, saved
from recorded_runs import results, write_lines, write_run
from tiny_commands import run
from trainer_states import trainer_state

from seqgan.data.model_folders import load_tokenizer, package
from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary, tokenizer_ids
from seqgan.data.words import split_text
from seqgan.exporting.card import Exported, Form, write_card
from seqgan.exporting.exports import new_folder
from seqgan.exporting.tokenizers import exported_tokenizer
from seqgan.models.discriminators.base import Discriminator
from seqgan.models.discriminators.cnn import CNNDiscriminatorConfig
from seqgan.models.discriminators.pretrained import PretrainedDiscriminatorConfig
from seqgan.models.discriminators.recurrent import RecurrentDiscriminatorConfig
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.models.generators.transformer import TransformerGeneratorConfig
from seqgan.models.sampling import sample
from seqgan.system.errors import SeqganError
from seqgan.tasks.base import whole_length
from seqgan.tasks.files.prompts import PromptsConfig
from seqgan.tasks.files.text import TextConfig, text_task
from seqgan.training.checkpoints import replace_checkpoint, save_checkpoint
from seqgan.training.networks import build_discriminator, build_generator
from seqgan.training.presets import captions_preset, text_preset
from seqgan.training.run_folders import create_run
from seqgan.training.runs import (
    checkpoint_state,
    load_generator,
    open_run,
    restored_discriminator,
)

TEXTS = "\n".join(
    f"The {size} {noun} doesn't {verb} ."
    for size in ("small", "big", "old")
    for noun in ("dog", "cat")
    for verb in ("sit", "run", "wait", "sleep")
)
CARD = Exported("generator", "code", "", "", False, 10, "00000018")


def state_of(judge: Discriminator, is_trained: bool = True) -> dict[str, Any]:
    """The rewards of a checkpoint: a discriminator that has taken a step, or none."""
    steps = {0: {"step": torch.tensor(1.0)}} if is_trained else {}
    return {"discriminator": {"module": judge.state_dict(), "optimizer": {"state": steps}}}


def made_run(folder: Path, generator: Any, **task: Any) -> Path:
    """A run with one checkpoint, of networks as they are before any training."""
    folder.mkdir(exist_ok=True)
    (folder / "texts.txt").write_text(TEXTS, encoding="utf-8")
    texts = TextConfig(path=str(folder / "texts.txt"), **task)
    config = replace(
        text_preset(),
        task=texts,
        generator=generator,
        discriminator=RecurrentDiscriminatorConfig(embedding_size=4, hidden_size=4),
        output=str(folder / "run"),
    )
    made = create_run(config, text := text_task(texts))
    rng = torch.Generator().manual_seed(1)
    judge = build_discriminator(config, text.vocabulary, text.max_length, rng)
    players: dict[str, Any] = {
        name: build_generator(config, text.vocabulary, rng).state_dict()
        for name in ("generator", "reference")
    }
    players |= {"rewards": state_of(judge)}
    save_checkpoint(made.checkpoints, 5, trainer_state(players, iteration=3))
    replace_checkpoint(made.best, trainer_state(players, iteration=2))
    write_lines(made.path / "metrics.jsonl", [{"iteration": 2, "eval/nll_heldout": 2.5}])
    return made.path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = RecurrentGeneratorConfig("lstm", 8, 8)
    return made_run(tmp_path_factory.mktemp("trained"), sizes, max_length=24)


class TestBadInput:
    """One line each, and nothing left behind."""

    def refused(self, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
        assert run("export", *arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    def test_no_run(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "is no run: it has no config.yaml" in self.refused(capsys, tmp_path)
        assert not list(tmp_path.iterdir())

    def test_a_folder_that_exists(self, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
        line = self.refused(capsys, trained, "--output", trained / "checkpoints")
        assert line.endswith("checkpoints exists already; name a new folder with --output")

    @pytest.mark.integration
    def test_no_checkpoint(
        self, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(trained, tmp_path / "run")
        shutil.rmtree(tmp_path / "run" / "checkpoints")
        assert " has no intact checkpoint to resume from" in self.refused(capsys, tmp_path / "run")
        shutil.rmtree(tmp_path / "run" / "best")
        line = self.refused(capsys, tmp_path / "run", "--checkpoint", "best")
        assert "is not whole: " in line
        assert not (tmp_path / "run" / "export").exists()

    def test_no_transformers(
        self, trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "transformers", None)
        assert "pip install 'seqgan[pretrained]'" in self.refused(capsys, trained)
        assert not (trained / "export").exists()

    @pytest.mark.integration
    def test_what_cannot_be_exported(
        self, trained: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        line = self.refused(capsys, trained, "--merge-lora")
        assert line.endswith(
            "the generator of kind lstm was trained without LoRA, so there is no adapter to merge"
        )
        line = self.refused(capsys, trained, "--which", "discriminator")
        assert "the discriminator is a RecurrentDiscriminator, but" in line
        assert not (trained / "export").exists()
        line = self.refused(capsys, trained, "--out", trained / "config.yaml" / "model")
        assert "cannot make the folder of the export, " in line


@pytest.mark.integration
class TestScratchGenerators:
    @pytest.mark.parametrize(
        ("generator", "task"),
        [
            (RecurrentGeneratorConfig("lstm", 6, 8), {"min_count": 1}),
            (RecurrentGeneratorConfig("gru", 6, 8, 2), {"level": "character", "lowercase": False}),
            (TransformerGeneratorConfig(width=16, num_heads=2), {}),
        ],
    )
    def test_reloaded_it_is_the_same_model(
        self, generator: Any, task: dict[str, Any], tmp_path: Path
    ) -> None:
        transformers = pytest.importorskip("transformers")
        folder = made_run(tmp_path, generator, **task)
        assert run("export", folder, "--out", tmp_path / "model") == 0
        where = {"pretrained_model_name_or_path": tmp_path / "model", "trust_remote_code": True}
        model = transformers.AutoModelForCausalLM.from_pretrained(**where)
        tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
        ours = load_generator(*open_run(folder))
        rng = torch.Generator().manual_seed(5)
        drawn = sample(ours.generator, ours.vocabulary, 12, ours.max_length, rng)
        texts = [text.replace("<unk>", "☃") for text in drawn.texts]
        read = tokenizer(texts, return_tensors="pt", padding=True)
        with torch.no_grad():
            logits = model(**{name: read[name] for name in ("input_ids", "attention_mask")}).logits
            expected = ours.generator(drawn)
        words = ours.vocabulary.num_actions
        for row, length in enumerate(drawn.lengths.tolist()):
            ends = drawn.tokens[row, length - 1] == ours.vocabulary.eos_id
            count = length - int(ends)  # tokens that are in the text
            real = read["attention_mask"][row].bool()
            assert read["input_ids"][row, real].tolist()[1:] == drawn.tokens[row, :count].tolist()
            torch.testing.assert_close(
                logits[row, real, :words][:length],
                expected[row, : count + 1][:length],
                rtol=0,
                atol=1e-5,
            )
        assert float(logits[:, :, words:].max()) < -1e3  # bos and pad are never emitted

    def test_a_pipeline_goes_on_from_a_text(self, trained: Path, tmp_path: Path) -> None:
        transformers = pytest.importorskip("transformers")
        assert run("export", trained, "--out", tmp_path / "model", "--checkpoint", "best") == 0
        generate = transformers.pipeline(
            "text-generation", model=str(tmp_path / "model"), trust_remote_code=True
        )
        transformers.set_seed(3)
        found = generate(["The big"] * 8 + [""] * 8)
        texts = [one["generated_text"] for (one,) in found]
        vocabulary = load_generator(*open_run(trained)).vocabulary
        for text in texts[:8]:
            assert f"{text} ".startswith("The big ")
        for text in texts:
            words = text.lower().split()
            assert set(words) <= set(vocabulary.words) - {"<unk>"}
            assert len(words) <= 24 + 2
        assert len(set(texts)) > 8


@pytest.mark.integration
class TestRecipe:
    """Generator and discriminator in one folder, with a script that needs neither this package."""

    def made_run(self, folder: Path, is_trained: bool = True) -> Path:
        """A run of a scratch generator, and of a discriminator on a tiny encoder."""
        words = tuple(dict.fromkeys(TEXTS.lower().replace("'", " ' ").split()))
        place = saved(folder, "gpt2", (UNKNOWN, EOS, *words))
        (folder / "texts.txt").write_text(TEXTS, encoding="utf-8")
        config = replace(
            text_preset(),
            task=TextConfig(path=str(folder / "texts.txt"), min_count=1, max_length=10),
            generator=RecurrentGeneratorConfig("lstm", 8, 8),
            discriminator=PretrainedDiscriminatorConfig(path=place, head_size=4),
            output=str(folder / "run"),
        )
        made = create_run(config, task := config.task.build(config.generator))
        rng = torch.Generator().manual_seed(1)
        judge = build_discriminator(config, task.vocabulary, whole_length(task), rng)
        with torch.no_grad():  # opinions, which an untrained one hardly has
            last = [p for p in judge.head.parameters() if p.ndim > 1][-1]
            last.mul_(20)
        generator = build_generator(config, task.vocabulary, rng).state_dict()
        players: dict[str, Any] = {"generator": generator, "reference": generator}
        players |= {"rewards": state_of(judge, is_trained)}
        save_checkpoint(made.checkpoints, 5, trainer_state(players, iteration=3))
        write_lines(made.path / "metrics.jsonl", [{"iteration": 2, "eval/nll_heldout": 2.5}])
        return made.path

    @pytest.mark.parametrize("which", ["resampled", "discriminator"])
    def test_a_discriminator_that_never_trained_is_refused(
        self, which: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pytest.importorskip("transformers")
        folder = self.made_run(tmp_path, is_trained=False)
        capsys.readouterr()
        assert run("export", folder, "--which", which, "--output", tmp_path / "out") == 2
        assert f"the discriminator of {folder} is not trained yet; " in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_the_script_draws_what_the_discriminator_likes(self, tmp_path: Path) -> None:
        pytest.importorskip("transformers")
        folder = self.made_run(tmp_path)
        out = tmp_path / "recipe"
        assert run("export", folder, "--which", "resampled", "--output", out) == 0
        assert {path.name for path in out.iterdir()} == {
            *("generator", "discriminator", "README.md", "recipe.json", "resample.py"),
        }
        code = (
            "import sys, runpy; sys.modules['seqgan'] = None; sys.argv[1:] = ['--n', '30'];"
            "runpy.run_path('resample.py', run_name='__main__')"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=out, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 30
        assert "effective share of the proposals: " in done.stderr
        resampler = runpy.run_path(str(out / "resample.py"))["Resampler"](out)
        torch.manual_seed(0)
        plain = resampler.logits(resampler.propose(200)).mean()
        texts, share = resampler.draw(100)
        assert 0 < share < 1
        assert resampler.logits(texts).mean() > plain + 0.05
        opened, config = open_run(folder)
        _, state = checkpoint_state(opened)
        ours = restored_discriminator(opened, config, state)
        vocabulary = load_generator(opened, config).vocabulary
        tokens = torch.full((8, 10), vocabulary.eos_id)  # finished texts
        judged = Sequences(tokens, tokens >= 0, vocabulary=vocabulary, given_texts=texts[:8])
        with torch.no_grad():
            expected = ours(judged)
        torch.testing.assert_close(resampler.logits(texts[:8]), expected, rtol=0, atol=1e-4)


@pytest.mark.integration
class TestPrompts:
    RECORDS = tuple(
        {"prompt": f"the {noun}", "continuation": f" can {verb}"}
        for noun in ("dog", "cat", "fox", "owl")
        for verb in ("sit", "run", "wait")
    )

    def made_run(self, folder: Path, discriminator: Any, chat: bool = False) -> Path:
        """A run of subwords whose tokenizer puts bos before each text."""
        tokenizers, transformers = package("tokenizers"), package("transformers")
        bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
        bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = tokenizers.decoders.ByteLevel()
        special = ["<|end|>", "<|start|>"]
        texts = [record["prompt"] + record["continuation"] for record in self.RECORDS]
        alphabet = sorted({letter for text in texts for letter in text.replace(" ", "\u0120")})
        bpe.train_from_iterator(
            texts,
            tokenizers.trainers.BpeTrainer(
                special_tokens=special, initial_alphabet=alphabet, show_progress=False
            ),
        )
        bpe.post_processor = tokenizers.processors.TemplateProcessing(
            single="<|start|> $A", special_tokens=[("<|start|>", 1)]
        )
        fast = transformers.PreTrainedTokenizerFast(
            tokenizer_object=bpe,
            eos_token="<|end|>",
            bos_token="<|start|>",
            chat_template="{% for m in messages %}{{ m['content'] }}{% endfor %}",
        )
        fast.save_pretrained(folder / "tokenizer")
        transformers.GPT2Config().save_pretrained(folder / "tokenizer")
        data = folder / "data.jsonl"
        data.write_text("\n".join(map(json.dumps, self.RECORDS)), encoding="utf-8")
        config = replace(
            text_preset(),
            task=PromptsConfig(
                path=str(data),
                tokenizer=str(folder / "tokenizer"),
                chat_template=chat,
                max_length=12,
                dev_fraction=0.25,
                test_fraction=0.25,
            ),
            generator=TransformerGeneratorConfig(width=16, num_heads=2),
            discriminator=discriminator,
            output=str(folder / "run"),
        )
        made, rng = (
            create_run(config, task := config.task.build(config.generator)),
            torch.Generator().manual_seed(1),
        )
        judge = build_discriminator(config, task.vocabulary, whole_length(task), rng)
        generator = build_generator(config, task.vocabulary, rng).state_dict()
        players: dict[str, Any] = {"generator": generator, "reference": generator}
        players |= {"rewards": state_of(judge)}
        save_checkpoint(made.checkpoints, 5, trainer_state(players, iteration=3))
        write_lines(made.path / "metrics.jsonl", [{"iteration": 2, "eval/nll_heldout": 2.5}])
        return made.path

    def test_bos_stands_between_a_prompt_of_subwords_and_its_continuation(
        self, tmp_path: Path
    ) -> None:
        transformers = pytest.importorskip("transformers")
        folder = self.made_run(tmp_path, RecurrentDiscriminatorConfig())
        assert run("export", folder, "--out", tmp_path / "model") == 0
        where = {"pretrained_model_name_or_path": tmp_path / "model", "trust_remote_code": True}
        model = transformers.AutoModelForCausalLM.from_pretrained(**where)
        tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
        ours = load_generator(*(opened := open_run(folder)))
        read = tokenizer(["the dog"], return_tensors="pt")["input_ids"]
        assert read[0, [0, -1]].tolist() == [1, 1]
        assert tokenizer.decode(read[0, 1:-1]) == "the dog"
        ids = tokenizer_ids(ours.vocabulary, tokenizer)[: ours.vocabulary.num_actions]
        with torch.no_grad():
            logits = model(input_ids=read).logits[0, -1, ids]
            prompts = opened[1].task.encode_prompts(
                ["the dog"], ours.vocabulary, opened[1].generator
            )
            expected, _ = ours.generator.start(1, prompts)
        torch.testing.assert_close(logits, expected[0], rtol=0, atol=1e-5)
        again = load_tokenizer(str(tmp_path / "tokenizer"))("the dog")["input_ids"]
        assert again == read[0, :-1].tolist()  # the task's own tokenizer is as it was

    def test_what_cannot_be_exported_is_one_line(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A discriminator's filters are as many as prompt and completion have room for."""
        folder = self.made_run(tmp_path, CNNDiscriminatorConfig(), chat=True)
        capsys.readouterr()
        for which, rule in (
            ("discriminator", "is a CNNDiscriminator, but"),
            (
                "generator",
                (
                    "the generator of kind transformer was trained with task.chat_template,"
                    " but one from scratch can be exported only without"
                ),
            ),
        ):
            assert run("export", folder, "--which", which) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert rule in line
        assert not (folder / "export").exists()


class TestCard:
    def card(self, folder: Path, exported: Exported = CARD) -> tuple[dict[str, Any], str]:
        """Front matter and text."""
        write_card(folder, exported, folder)
        _, front, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
        return yaml.safe_load(front), text

    def test_it_says_what_the_run_recorded(self, tmp_path: Path) -> None:
        folder = write_run(tmp_path / "run")
        task = {"description": "24 texts about dogs", "vocabulary": {"words": ["a", "b"]}}
        (folder / "task.json").write_text(json.dumps(task))
        write_lines(folder / "alerts.jsonl", [{"title": "mode collapse", "text": "so"}])
        front, text = self.card(folder)
        assert front["library_name"] == "transformers"
        assert front["pipeline_tag"] == "text-generation"
        assert "custom_code" in front["tags"]
        assert "base_model" not in front
        assert "| texts | 24 texts about dogs |" in text
        assert "| bleu_4 | 0.5 | 0.61 | 0.6 |" in text
        assert "| nll_heldout | 2 | 2.1 | 2.2 |" in text
        assert "A sentence of bleu_4." in text
        assert "A sentence of information." in text
        assert "| `discriminator/information_heldout` | 0.2 | 10 |" in text
        iterations = captions_preset().adversarial.iterations
        assert f"after 10 of {iterations} iterations" in text
        assert "warned of: mode collapse." in text
        assert "docs/responsible-use.md" in text

    def test_an_earlier_checkpoint_has_its_own_numbers(self, tmp_path: Path) -> None:
        folder = write_run(tmp_path / "run")
        _, text = self.card(folder, Exported("generator", "code", "", "", False, 5, "best"))
        assert "| `eval/nll_heldout` | 2.1 | 5 |" in text
        _, text = self.card(folder, Exported("pretrained", "code", "", "", False, 5, "best"))
        assert "| `eval/nll_heldout` | 2 | 0 |" in text

    def test_a_run_without_an_end_claims_nothing(self, tmp_path: Path) -> None:
        _, text = self.card(write_run(tmp_path / "run", ended=False))
        assert "The run has not ended" in text
        assert results()["comparison"]["sentence"] not in text

    def test_an_adapter_names_its_model_where_the_hub_has_it(self, tmp_path: Path) -> None:
        folder = write_run(tmp_path / "run")
        adapter = Exported("generator", "adapter", "someone/small", "<s>", True, 10, "00000018")
        front, text = self.card(folder, adapter)
        assert (front["library_name"], front["base_model"]) == ("peft", "someone/small")
        assert "AutoPeftModelForCausalLM" in text
        (tmp_path / "small").mkdir()
        local = Exported("generator", "model", str(tmp_path / "small"), "<s>", True, 10, "00000018")
        front, text = self.card(folder, local)
        assert "base_model" not in front
        assert "| started from | small (a local folder) |" in text
        assert str(tmp_path) not in text

    @pytest.mark.parametrize("form", ["model", "adapter"])
    def test_a_chat_template_s_prompts_are_messages(self, form: Form, tmp_path: Path) -> None:
        folder = write_run(tmp_path / "run")
        chat = Exported("generator", form, "someone/small", "", True, 10, "00000018", chat=True)
        _, text = self.card(folder, chat)
        assert '[{"role": "user", "content": "a prompt"}]' in text
        assert "with prompts in the tokenizer's chat template |" in text
        _, text = self.card(folder, replace(chat, chat=False))
        assert '("a prompt"' in text
        assert "role" not in text

    def test_a_discriminator_is_no_generator(self, tmp_path: Path) -> None:
        judge = Exported("discriminator", "classifier", "someone/x", "", False, 10, "00000018")
        front, text = self.card(write_run(tmp_path / "run"), judge)
        assert front["pipeline_tag"] == "text-classification"
        assert "no detector of machine-written text" in text
        assert "generation_config" not in text


def test_no_word_is_spelt_like_a_special_token() -> None:
    pytest.importorskip("tokenizers")
    from seqgan.exporting.tokenizers import exported_tokenizer

    with pytest.raises(
        ValueError,
        match=r"^'</s>' is a word of the run, but stands for something else in an export",
    ):
        exported_tokenizer(Vocabulary(("a", "</s>")), lowercase=True, prompted=False)


# Scripts with marks and joiners, emoji, two spellings of one letter, cases that depend on the
# place or change the length, invisible characters, white space of all kinds, special tokens.
SCRIPTS = (
    "हिन्दी किताब में",
    "গাই বাংলায়",
    "தமிழ் மொழி",
    "เธอ ที่ น้ำ",
    "ភាសា\u200bខ្មែរ",
    "قَلَمٌ بَيْتٌ",
    "می\u200cروم کتاب\u200cها",
    "שָׁלוֹם צה״ל",
    "où de\u0301ja\u0300 franc\u0327ais Ville's",
    "Tie\u0302\u0301ng Vie\u0323\u0302t Ti\u1ebfng",
    "한국어 \u1112\u1161\u11ab",
    "İSTANBUL Iğdır Straße J\u030c",
    "ΟΔΟΣ. ΣΑΣ Σ ΣΑ'Σ ΑΣ.Α ὈΔΥΣΣΕΎΣ",
    "👩\u200d💻👍🏽👍 🏳️\u200d🌈🇫🇷🇩🇪 1️⃣ #️⃣ 🏴\U000e0067\U000e0062\U000e007f",
    "co\u00adop \ufeffcat\u2060 \u200cx \u0301 \u200d",
    "3.5 x-ray don't don\u2019t @#$ _a_ ½ x²",
    "a\nb\n\nc\td\x85e\u2028f\x1cg\u3000h\xa0i\x00j\x1bk",
    "<s>old</s> <unk> <pad>",
)


@pytest.mark.integration
@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize(
    ("level", "spaces"), [("word", True), ("character", True), ("character", False)]
)
def test_an_exported_tokenizer_cuts_as_the_run_does(
    level: Any, lowercase: bool, spaces: bool, tmp_path: Path
) -> None:
    """The same ids, of whole texts of many scripts and of their characters in any order."""
    transformers = pytest.importorskip("transformers")
    rng = random.Random(0)
    letters = [*"".join(SCRIPTS), *"ΣΣΣΣ.:^'", "\u0345", "\u02b0"]
    mixed = ["".join(rng.choices(letters, k=rng.randint(1, 15))) for _ in range(3000)]
    texts = [*SCRIPTS, *mixed]
    cut = [split_text(text, level, lowercase, spaces) for text in texts]
    known = sorted({token for tokens in cut[::2] for token in tokens})
    vocabulary = Vocabulary(("<unk>", *known), level=level, unk_word="<unk>")
    exported_tokenizer(vocabulary, lowercase, False, spaces).save_pretrained(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text, tokens in zip(texts, cut, strict=True):
        found = tokenizer(text, add_special_tokens=False).input_ids
        assert found == vocabulary.encode(tokens), text


@pytest.mark.integration
def test_letters_of_an_exported_tokenizer_are_those_of_this_unicode() -> None:
    """Each character that both know is one word or none, of the same case and form."""
    tokenizers = package("tokenizers")
    lower, nfc = tokenizers.normalizers.Lowercase(), tokenizers.normalizers.NFC()
    for code in (*range(0xD800), *range(0xE000, 0x40000)):
        letter = chr(code)
        if unicodedata.category(letter) == "Cn":  # of a later Unicode
            continue
        assert lower.normalize_str(letter) == letter.lower()
        assert nfc.normalize_str(letter) == unicodedata.normalize("NFC", letter)


@pytest.mark.parametrize("kind", [Exception, RuntimeError])
def test_a_full_disk_of_a_library_in_rust_is_one_line(tmp_path: Path, kind: type) -> None:
    full = "Error while serializing: I/O error: File too large (os error 27)"
    with (
        pytest.raises(SeqganError, match="x cannot be written: Error while serializing"),
        new_folder(tmp_path / "x"),
    ):
        raise kind(full)
    with pytest.raises(kind, match="a bug"), new_folder(tmp_path / "x"):
        raise kind("a bug")
    assert list(tmp_path.iterdir()) == []
