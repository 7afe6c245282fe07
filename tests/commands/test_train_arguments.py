"""`seqgan train` as people type it first: files, short names, slips, and the help."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from seqgan.commands.given import configuration, note_beside, read_given
from seqgan.commands.short_names import ELSEWHERE, SHORT
from seqgan.commands.train_help import KINDS
from seqgan.system.errors import SeqganError
from seqgan.training.config_files import save_config
from seqgan.training.presets import BESIDE, PRESETS, prompts_preset
from seqgan.training.slots import SLOTS
from tests.tiny_commands import run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with files as a person has them."""
    monkeypatch.chdir(tmp_path)
    Path("captions.txt").write_text("a dog runs\nthe cat sits\n")
    Path("pairs.jsonl").write_text('{"prompt": "a", "completion": "b c"}\n')
    Path("named.csv").write_text("prompt,continuation\na,b\n")
    said = {role: {"role": role, "content": "a"} for role in ("user", "assistant")}
    Path("chat.jsonl").write_text(json.dumps({"messages": [*said.values()]}))
    Path("texts.csv").write_text("number,text\n1,a\n")
    Path("one.csv").write_text("caption\na dog\n")
    Path("long.csv").write_text("number,the text\n1,a dog\n")
    Path("commas.csv").write_text("id;text\n1;a, b\n")
    Path("semicolons.csv").write_text("id;text\n1;a\n")
    Path("alone.jsonl").write_text('{"prompt": "a", "answer": "b"}\n')
    Path("asked.jsonl").write_text(json.dumps({"messages": [said["user"]]}))
    Path("two.csv").write_text("title,body\na,b\n")
    return tmp_path


def refused(*arguments: str) -> str:
    with pytest.raises(SeqganError) as error:
        configuration(list(arguments))
    return str(error.value)


def helped(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run("train", *arguments) == 0
    said: str = capsys.readouterr().out
    return said


# Files


@pytest.mark.parametrize(
    ("arguments", "epochs"),
    [
        (["alone.jsonl", "--model", "user/name"], 0),
        (["alone.jsonl", "--model", "user/name", "--epochs", "2"], 2),
        (["two.csv", "--task.prompt-column", "title", "--task.continuation-column="], 0),
        (["two.csv", "--task.prompt-column", "title", "--task.continuation-column", ""], 0),
    ],
)
@pytest.mark.usefixtures("here")
def test_of_prompts_alone_nothing_is_learnt_before_the_game(
    arguments: list[str], epochs: int
) -> None:
    assert configuration(arguments).pretrain.epochs == epochs


def test_a_model_and_lines_are_texts_unless_they_are_called_prompts(here: Path) -> None:
    note = read_given(["captions.txt", "--model", "user/name"]).note
    assert note.endswith("of prompts: seqgan train prompts captions.txt")


@pytest.mark.parametrize(
    ("arguments", "kind", "settings"),
    [
        (["captions.txt"], "text", {"path": "captions.txt"}),
        (["text", "captions.txt"], "text", {"path": "captions.txt"}),
        (["./captions.txt", "--epochs", "2"], "text", {"path": "./captions.txt"}),
        (
            ["pairs.jsonl"],
            "prompts",
            {"path": "pairs.jsonl", "continuation_column": "completion"},
        ),
        (["chat.jsonl"], "prompts", {"prompt_column": "messages", "chat_template": False}),
        (
            ["chat.jsonl", "--model", "user/name"],
            "prompts",
            {"prompt_column": "messages", "chat_template": True},
        ),
        (["named.csv"], "prompts", {"continuation_column": "continuation"}),
        (["texts.csv"], "text", {"column": "text"}),
        (["one.csv"], "text", {"column": "caption"}),
        (["two.csv", "--task.column", "body"], "text", {"column": "body"}),
        (["two.csv", "--column=body"], "text", {"column": "body"}),
        (
            ["two.csv", "--task.prompt-column=title", "--task.continuation-column", "body"],
            "prompts",
            {"prompt_column": "title"},
        ),
        (["prompts", "user/name"], "prompts", {"path": "user/name"}),
        (["prompts", "pairs.jsonl"], "prompts", {"continuation_column": "completion"}),
        (["prompts", "--task.path=pairs.jsonl"], "prompts", {"continuation_column": "completion"}),
        (["alone.jsonl"], "prompts", {"prompt_column": "prompt", "continuation_column": ""}),
        (["prompts", "captions.txt"], "prompts", {"continuation_column": ""}),
        (
            ["asked.jsonl", "--model", "user/name"],
            "prompts",
            {"prompt_column": "messages", "continuation_column": "", "chat_template": True},
        ),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_file_is_what_to_train_on(
    arguments: list[str], kind: str, settings: dict[str, str]
) -> None:
    task = configuration(arguments).task
    assert task.kind == kind
    assert {name: getattr(task, name) for name in settings} == settings


@pytest.mark.usefixtures("here")
def test_a_language_model_starts_with_settings_of_its_own() -> None:
    """Flags win, and so does whatever stands in a file of settings."""
    flags = ["pairs.jsonl", "--model", "user/name", "--epochs", "3", "--output=x"]
    config = configuration(flags)
    assert config.rule.num_rollouts == 0
    assert config.pretrain.epochs == 3
    note = note_beside(read_given(flags), config)
    assert note.startswith(
        "a pretrained generator brings settings of its own (flags change them): "
    )
    assert "rule.num-rollouts 0" in note
    assert "epochs" not in note
    assert configuration([*flags, "--rollouts", "5"]).rule.num_rollouts == 5
    assert configuration(["pairs.jsonl"]).rule.num_rollouts == prompts_preset().rule.num_rollouts
    assert note_beside(read_given(["pairs.jsonl"]), configuration(["pairs.jsonl"])) == ""
    named = ["pairs.jsonl", "--model", "user/name", "--rule", "seqgan"]
    assert configuration(named).rule.num_rollouts == 16
    note = note_beside(read_given(named), configuration(named))
    assert "rule.learning-rate" in note
    assert "rollouts" not in note  # which the name sets
    save_config(prompts_preset(), Path("own.yaml"))
    of_file = configuration(["--config", "own.yaml", "--model", "user/name"])
    assert of_file.rule.num_rollouts == prompts_preset().rule.num_rollouts
    assert note_beside(read_given(["--config", "own.yaml", "--model", "user/name"]), of_file) == ""


@pytest.mark.parametrize("flags", [[], ["--epochs", "3"]])
@pytest.mark.usefixtures("here")
def test_a_file_of_a_few_settings_has_those_of_a_language_model_beside_them(
    flags: list[str],
) -> None:
    settings = {
        "task": {"kind": "prompts", "path": "pairs.jsonl"},
        "generator": {"kind": "pretrained", "path": "user/name"},
        "rule": {"kl_weight": 0.3, "kind": "policy_gradient"},
        "adversarial": {"iterations": 7},
    }
    Path("few.yaml").write_text(json.dumps(settings))
    given = ["--config", "few.yaml", *flags]
    config = configuration(given)
    assert config.rule.num_rollouts == 0
    assert config.rule.kl_weight == 0.3
    assert config.adversarial.iterations == 7
    assert config.adversarial.batch_size == BESIDE["pretrained"]["adversarial.batch_size"]
    assert config.pretrain.epochs == (3 if flags else BESIDE["pretrained"]["pretrain.epochs"])
    note = note_beside(read_given(given), config)
    assert "adversarial.batch-size" in note
    assert "iterations" not in note
    assert ("epochs" in note) == (not flags)
    Path("named.yaml").write_text(json.dumps(settings | {"rule": "seqgan"}))
    given = ["--config", "named.yaml"]
    assert configuration(given).rule.num_rollouts == 16
    assert "rollouts" not in note_beside(read_given(given), configuration(given))


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("captions.txt", ""),
        ("pairs.jsonl", "pairs.jsonl: prompts in the columns 'prompt' and 'completion'"),
        ("one.csv", "one.csv: texts in the column 'caption' (preset text)"),
        (
            "alone.jsonl",
            "alone.jsonl: prompts alone in the column 'prompt' (preset prompts); continuations in"
            " another: --task.continuation-column answer",
        ),
    ],
)
@pytest.mark.usefixtures("here")
def test_the_preset_of_a_file_with_columns_is_said(name: str, note: str) -> None:
    said = read_given([name]).note
    assert said.startswith(note)
    assert bool(said) == bool(note)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nofile.txt"], "cannot read nofile.txt: no such file"),
        (["text", "nofile.txt"], "cannot read nofile.txt: no such file"),
        (["caption.txt"], "cannot read caption.txt: no such file; did you mean captions.txt"),
        (["two.csv"], "two.csv has the columns 'title', 'body', but none is called text or prompt"),
        (["long.csv"], "name that of the texts (--column 'the text'), or those"),
        (["commas.csv"], "line 2 has 2 fields, but the header has 1; semicolons separate its"),
        (["semicolons.csv"], "has the one column 'id;text', but commas must separate columns"),
        (
            ["captions", "captions.txt"],
            "takes no file, but captions.txt is given; your own texts: seqgan",
        ),
        (["user/name"], "cannot read user/name: no such file; a data set of the Hugging Face hub:"),
        (["."], ". is a folder; train takes a file of texts"),
        (["--epochs", "3", "captions.txt"], "captions.txt comes first: seqgan train captions.txt"),
        ([], "nothing to train on; train takes a file of texts"),
        (["capton"], "unknown preset 'capton'; did you mean captions"),
        (["zebra"], "unknown preset 'zebra' (train takes a file of texts or one of captions"),
        (["captions", "--config", "x.yaml"], "captions and --config x.yaml together"),
    ],
)
@pytest.mark.usefixtures("here")
def test_what_cannot_be_trained_on(arguments: list[str], message: str) -> None:
    assert message in refused(*arguments)


def test_a_run_and_a_model_are_no_texts(here: Path) -> None:
    for folder, file in (("run", "config.yaml"), ("model", "config.json")):
        (here / folder).mkdir()
        (here / folder / file).write_text("{}")
    assert refused("./run").startswith("./run is a run; --resume ./run continues it")
    assert "is a language model; seqgan train FILE --model ./model" in refused("./model")


def test_a_file_of_settings_is_a_configuration(here: Path) -> None:
    Path("mine.yaml").write_text("seed: 7\ntask: oracle\n")
    assert configuration(["mine.yaml"]).seed == 7
    assert configuration(["mine.yaml", "--seed", "8"]).seed == 8


# Names


@pytest.mark.parametrize("short", SHORT)
def test_a_short_name_sets_its_setting(short: str) -> None:
    part, _, name = SHORT[short][0].partition(".")
    for flags in ([short, "7"], [f"{short}=7"], [f"--{short[2:].replace('-', '_')}", "7"]):
        assert getattr(getattr(configuration(["text", *flags]), part), name) in (7, "7")


def test_a_model_is_a_pretrained_generator() -> None:
    for flags in (["--model", "models/small"], ["--model=models/small"]):
        generator = configuration(["text", *flags]).generator
        assert (generator.kind, generator.path) == ("pretrained", "models/small")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--momentum", "unknown flag --momentum; seqgan train captions --help-all has them all"),
        ("--gamma", "unknown flag --gamma; did you mean --rule.gamma?"),
        ("--lr", "unknown flag --lr; it is called --learning-rate here"),
        ("--num_train_epochs", "it is called --epochs here"),
        ("--total-timesteps", "it is called --iterations (rounds of the game) here"),
        ("--rule.num-rolouts", "did you mean --rule.num-rollouts"),
        ("--task.sed", "did you mean --task.seed"),
        ("--rollout", "did you mean --rollouts"),
        ("--adversarial.kl-weigth", "did you mean --kl-weight or --rule.kl-weight?"),
        ("--dropout", "did you mean --generator.dropout or --discriminator.dropout?"),
        ("--task.momentum", "those of --task are kind, train-size, dev-size, test-size, seed"),
        (
            "--max-length",
            "--max-length is no setting of the task captions; --task.kind oracle",
        ),
        ("--generator.path", "of the generator lstm; --generator.kind pretrained has it"),
    ],
)
def test_an_unknown_flag(flag: str, message: str) -> None:
    assert message in refused("captions", flag, "3")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--epochs", "many"], "--epochs is 'many', but must be a whole number"),
        (["--kl-weight", "x"], "--kl-weight is 'x', but must be a number"),
        (["--rule.kl-weight", "x"], "--rule.kl-weight is 'x', but must be a number"),
        (["--iterations=-1"], "--iterations is -1, but must be at least 0"),
        (["--adversarial.iterations", "-1"], "adversarial.iterations is -1, but must be"),
        (["--reward-failure", "skp"], "--reward-failure is 'skp', but must be one of 'stop', 'ski"),
        (["--model"], "--model has no value"),
    ],
)
def test_a_wrong_value(flags: list[str], message: str) -> None:
    assert message in refused("captions", *flags)


def test_names_of_other_programs_lead_to_settings(capsys: pytest.CaptureFixture[str]) -> None:
    said = "".join(
        helped(capsys, preset, "--model", "x", "--help-all") for preset in ("text", "prompts")
    )
    for name, here in ELSEWHERE.items():
        flag = here.partition(" ")[0]
        known = {*SHORT, "--model", "--estimate-time"}
        assert flag in known or re.search(rf" {flag}[ ,]", said), name
        assert f"--{name}" not in known


# Help


@pytest.mark.parametrize("columns", [50, 80])
def test_the_help_fits_the_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    before_examples = helped(capsys, "captions", "--help").partition("examples:")[0]
    usage, _, rest = before_examples.partition("what to train on:")
    assert max(map(len, rest.splitlines())) <= columns
    assert max(map(len, usage.splitlines())) <= 80


def test_the_help_has_the_commonest_settings_first_and_examples_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = helped(capsys, "captions", "--help")
    assert said.index("--iterations") < said.index("--generator.kind")
    assert "passes over the texts before the game, at most (60)" in said
    assert "--max-length" not in said.partition("kinds of parts")[0]  # captions have none
    assert said.splitlines()[-1].startswith("  seqgan train --fork")
    assert all(name in said for name in PRESETS)


def test_the_examples_can_be_typed(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    Path("chinese.txt").write_text("abc\n")
    Path("my_reward.py").write_text("def mentions_dog(text):\n    return 1.0\n")
    said = helped(capsys, "--help").partition("examples:")[2]
    for line in said.strip().splitlines():
        words = line.split()[2:]
        if "runs/captions" not in words[:2]:  # which has to be there
            assert configuration(words)


def test_the_help_has_all_kinds_and_all_rewards(capsys: pytest.CaptureFixture[str]) -> None:
    named = {slot: [k for kinds in KINDS[slot] for k in kinds.split(", ")] for slot in KINDS}
    assert named == {slot: list(kinds) for slot, kinds in SLOTS.items()}
    said = helped(capsys, "--help")
    assert all(reward in said for reward in ("discriminator", "fluency", "toxicity", "regex"))


def test_help_all_has_every_setting_and_all_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    said = helped(capsys, "captions", "--help-all")
    assert "--generator.kind {lstm,gru,transformer,pretrained}" in said
    assert re.search(r"--discriminator-training\.label-smoothing FLOAT\s+taken off", said)


def test_the_help_of_a_fork_has_its_settings(capsys: Any) -> None:
    said = helped(capsys, "text", "--model", "x", "--help")
    assert "lora-rank" in said
    assert "--hidden-size" not in said.partition("kinds of parts")[0]
