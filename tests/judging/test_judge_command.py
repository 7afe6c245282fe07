"""`seqgan judge`: runs and files in, a page out; answers in, numbers out; one line per error."""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_commands import run
from toys import seeded
from trainer_states import trainer_state

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.judging.sources import (
    WantedRun,
    draw_texts,
    parse_run,
    prompted_rows,
    with_short_names,
)
from seqgan.models.generators.recurrent import RecurrentGenerator, RecurrentGeneratorConfig
from seqgan.models.sampling import Sampling
from seqgan.tasks.base import FixedTask
from seqgan.tasks.captions import CaptionsConfig
from seqgan.training.checkpoints import save_checkpoint
from seqgan.training.networks import build_generator
from seqgan.training.run_folders import create_run
from seqgan.training.runs import TrainedGenerator, load_generator, open_run
from seqgan.training.settings import TrainConfig

pytestmark = pytest.mark.slow  # whole runs, some of them stopped and continued


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs: one whose generators differ, one of another task."""
    folder = tmp_path_factory.mktemp("runs")
    for name, seed in (("tuned", 0), ("elsewhere", 5)):
        config = TrainConfig(
            task=CaptionsConfig(train_size=20, dev_size=5, test_size=40, seed=seed),
            generator=RecurrentGeneratorConfig(embedding_size=4, hidden_size=4),
            output=str(folder / name),
        )
        task = config.task.build(config.generator)
        made = create_run(config, task)
        states = [
            build_generator(config, task.vocabulary, seeded(number)).state_dict()
            for number in (seed, seed + 1)
        ]
        players = {"generator": states[0], "reference": states[1]}
        save_checkpoint(made.checkpoints, 1, trainer_state(players))
    return folder


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with two files of ten texts."""
    for name in ("ours", "theirs"):
        texts = [f"the {name} dog number {row} sits" for row in range(10)]
        (tmp_path / f"{name}.txt").write_text("\n".join(texts), encoding="utf-8")
    return tmp_path


def answered(folder: Path, rater: str, choose: Any) -> Path:
    """A rater's CSV for a study: `choose` gives the answer to a placement of the key."""
    key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    path = folder / f"{rater}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow("rater item answer seconds time page".split())
        for name, placed in key["items"].items():
            time = "2026-01-01T10:00:00Z"
            writer.writerow([rater, name, choose(placed), 3.5, time, key["page"]])
    return path


def prefer(system: str) -> Any:
    return lambda p: "left" if p["left"] == system else "right" if p["right"] == system else "tie"


def shown(study: Path) -> dict[str, list[str]]:
    """The texts of each system, found through the key in what the page holds."""
    page = (study / "page.html").read_text(encoding="utf-8")
    stored = json.loads(page.split('id="study">')[1].split("</script>")[0])
    items = {item["id"]: item for item in stored["items"]}
    key = json.loads((study / "key.json").read_text(encoding="utf-8"))
    texts: dict[str, list[str]] = {name: [] for name in key["systems"]}
    for name, placed in key["items"].items():
        if placed["kind"] == "comparison":
            for side in ("left", "right"):
                texts[placed[side]].append(items[name][side])
    return texts


def greedy(folder: Path, which: str) -> str:
    """The likeliest text of a run's generator, token by token."""
    opened, config = open_run(folder)
    trained = load_generator(opened, config, which)
    [text] = draw_texts(trained, 1, seeded(), Sampling(top_k=1), None).texts
    return text


def test_runs_in_page_and_key_out(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuned, study = runs / "tuned", tmp_path / "new" / "study"
    systems = [f"sharp={tuned}@1e-6", f"{tuned}:pretrained@0.000001", f"{tuned}:real"]
    arguments = ["--pairs", "6", "--repeats", "0.5", "--controls", "2", "--output"]
    assert run("judge", "prepare", *systems, *arguments, study) == 0
    said = capsys.readouterr().out
    assert "29 items for each rater: 18 comparisons of 3 systems, 9 repeats, 2 controls" in said
    assert "note: sharp: 11 of 12 texts equal an earlier one; they stay" in said
    assert f"page: {study / 'page.html'}" in said
    page = (study / "page.html").read_text(encoding="utf-8")
    key = json.loads((study / "key.json").read_text(encoding="utf-8"))
    assert key["systems"] == ["sharp", "pretrained@0.000001", "real"]
    for hidden in ("sharp", "tuned", "pretrained", ":real", "seqgan", str(runs)):
        assert hidden not in page
    assert all(item in page for item in key["items"])

    texts = shown(study)
    assert set(texts["sharp"]) == {greedy(tuned, "generator")}
    assert set(texts["pretrained@0.000001"]) == {greedy(tuned, "pretrained")} != {*texts["sharp"]}
    config = open_run(tuned)[1]
    heldout = config.task.build(config.generator).real("test", 40, seeded()).texts
    assert set(texts["real"]) <= set(heldout)
    assert len(texts["real"]) == 12

    again = tmp_path / "again.html"
    assert run("judge", "prepare", *systems, *arguments, again) == 0
    assert again.read_text(encoding="utf-8") == page
    assert json.loads((tmp_path / "again.key.json").read_text(encoding="utf-8")) == key


def test_temperature_one_draws_different_texts(runs: Path, tmp_path: Path) -> None:
    """Of one generator, too: two systems never share their draws."""
    tuned = runs / "tuned"
    systems = (f"one={tuned}", f"two={tuned}@1.0")
    assert run("judge", "prepare", *systems, "--pairs", "8", "--output", tmp_path / "s") == 0
    texts = shown(tmp_path / "s")
    assert len({*texts["one"], *texts["two"]}) == 16


def test_files_in_numbers_out(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = files / "study"
    samples = ["--samples", f"A={files / 'ours.txt'}", "--samples", f"B={files / 'theirs.txt'}"]
    flags = ["--pairs", "10", "--repeats", "0.2", "--question", "Which is better?", "--both-bad"]
    assert run("judge", "prepare", *samples, *flags, "--output", study) == 0
    texts = shown(study)
    for name, file in (("A", "ours"), ("B", "theirs")):
        assert sorted(texts[name]) == sorted((files / f"{file}.txt").read_text().split("\n"))
    answers = [answered(study, "r", prefer("B")), answered(study, "s", prefer("B"))]
    answers.append(answered(study, "t", lambda _: "left"))
    capsys.readouterr()
    assert run("judge", "score", *answers, "--key", study / "key.json", "--json") == 0
    scores = json.loads(capsys.readouterr().out)
    [pair] = scores["pairs"]
    assert (pair["first"], pair["second"]) == ("A", "B")
    assert (pair["wins_first"], pair["wins_second"], pair["ties"]) == (5, 25, 0)
    assert pair["win_rate"] == pytest.approx(5 / 30)
    assert scores["question"] == "Which is better?"
    assert scores["self_consistency"] == pytest.approx(4 / 6)  # r and s agree with themselves
    assert scores["alpha_items"] == 10
    assert -1 < scores["alpha"] < 1
    assert [rater["rater"] for rater in scores["raters"]] == ["r", "s", "t"]
    assert scores["strengths"] == []

    assert run("judge", "score", *answers, "--key", study / "key.json") == 0
    said = capsys.readouterr().out
    assert pair["verdict"] in said.split("\n")
    assert pair["verdict"].startswith("B is preferred to A in 83% of 30 judgements")
    assert scores["agreement"] in said
    assert "Raters answered 67% of the repeated pairs alike." in said
    assert "note: A and B: 30 judgements, few (below 50)" in said
    assert "Bradley-Terry" not in said


def test_one_rater_and_three_systems(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = files / "study"
    (files / "third.txt").write_text("\n".join(f"a third text {row}" for row in range(10)))
    names = ("ours", "theirs", "third")
    samples = [flag for name in names for flag in ("--samples", f"{name}={files / name}.txt")]
    assert run("judge", "prepare", *samples, "--pairs", "5", "--output", study) == 0
    answers = answered(study, "r", prefer("third"))
    capsys.readouterr()
    assert run("judge", "score", answers, "--key", study / "key.json", "--json") == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["alpha"] is None
    assert scores["agreement"] == "Krippendorff's alpha is not defined with one rater."
    assert scores["strengths"][0]["system"] == "third"
    assert [one["win_rate"] for one in scores["pairs"]] == [0.5, 0.0, 0.0]
    assert run("judge", "score", answers, "--key", study / "key.json") == 0
    assert "Bradley-Terry  log odds" in capsys.readouterr().out


@pytest.mark.slow
def test_notes_on_what_spoils_a_comparison(
    runs: Path, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = files / "real.txt"
    real.write_text("\n".join(f"The Dog number {row} sits." for row in range(20)))
    systems = [runs / "tuned", runs / "elsewhere", "--samples", f"real={real}", "--pairs", "5"]
    assert run("judge", "prepare", *systems, "--output", files / "one") == 0
    said = capsys.readouterr().out
    assert "note: tuned and elsewhere are of different tasks" in said
    assert "by their spelling (capital letters: in 100% of the texts of real" in said
    flags = ["--lowercase-words", "--controls", "3", "--control-texts", real]
    assert run("judge", "prepare", *systems, *flags, "--output", files / "two") == 0
    assert "capital letters" not in capsys.readouterr().out
    assert "the dog number" in " ".join(shown(files / "two")["real"])
    assert (
        "The" not in (files / "two" / "page.html").read_text().split('id="study">')[1].split("<")[0]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage"),
        (["pepare"], "unknown command 'pepare' of judge: it takes prepare or score"),
        (["prepare", "--output", "new"], "there are 0 systems, but a comparison takes at least 2"),
        (
            ["prepare", "{runs}/tuned", "--output", "new"],
            "there are 1 systems, but a comparison takes at least 2",
        ),
        (
            ["prepare", "{runs}/tuned", "nowhere", "--output", "new"],
            "nowhere is no run: it has no config.yaml",
        ),
        (["prepare", "{runs}/tuned", "{runs}/tuned"], "--output"),
        (
            ["prepare", "{runs}/tuned", "{runs}/tuned", "--output", "new"],
            "2 systems are called 'tuned'; NAME=RUN gives a run another name",
        ),
        (
            ["prepare", "{runs}/tuned:final", "{runs}/tuned", "--output", "new"],
            "has 'final' after the run's colon, but only pretrained or real can",
        ),
        (["prepare", "{runs}/tuned@hot", "b", "--output", "new"], "is 'hot', but must be a number"),
        (
            ["prepare", "{runs}/tuned@-1", "b", "--output", "new"],
            "is -1.0, but must be above 0 and finite",
        ),
        (
            ["prepare", "{runs}/tuned:real@0.5", "b", "--output", "new"],
            "a temperature, but they have none",
        ),
        (
            ["prepare", "--samples", "x.txt", "--output", "new"],
            "--samples is 'x.txt', but must be NAME=FILE",
        ),
        (
            ["prepare", "{runs}/tuned", "--samples", "B=b.txt", "--output", "new"],
            "cannot read b.txt: No such file",
        ),
        (
            ["prepare", "{two}", "--pairs", "11", "--output", "new"],
            "ours.txt has 10 texts, but 11 are needed",
        ),
        (
            ["prepare", "{runs}/tuned", "{runs}/tuned:real", "--pairs", "41", "--output", "new"],
            "real has 40 held-out texts, but 41 are needed",
        ),
        (
            ["prepare", "{two}", "--pairs", "0", "--output", "new"],
            "--pairs is 0, but must be at least 1",
        ),
        (
            ["prepare", "{two}", "--repeats", "2", "--output", "new"],
            "--repeats is 2, but must be from 0 to 1",
        ),
        (
            ["prepare", "{two}", "--controls", "-1", "--output", "new"],
            "--controls is -1, but must be at least 0",
        ),
        (
            ["prepare", "{two}", "--pairs", "5", "--controls", "2", "--output", "new"],
            "no system is a run, so that --controls need --control-texts",
        ),
        (
            "prepare {two} --pairs 5 --controls 11 --control-texts {ours} --output new".split(),
            "there are 10 real texts of 4 or more different words, but 11 controls take as many",
        ),
        (
            ["prepare", "{two}", "--control-texts", "{ours}", "--output", "new"],
            "--control-texts is given without --controls NUMBER, with which it goes",
        ),
        (["prepare", "{two}", "--question", " ", "--output", "new"], "--question is blank"),
        (
            ["prepare", "{two}", "--seed", "-1", "--output", "new"],
            "--seed is -1, but must be from 0 to 2**63 - 1",
        ),
        (
            ["prepare", "{two}", "--output", "{ours}"],
            (
                "cannot write into {ours}: it is a file; --output must be a folder or a name in"
                " .html"
            ),
        ),
        (["prepare", "{two}", "--output", "{ours}/x"], "cannot write into {ours}: it is a file"),
        (["score", "a.csv"], "--key"),
        (["score", "a.csv", "--key", "none.json"], "cannot read the key none.json: "),
    ],
)
def test_a_wrong_input_is_one_line_and_writes_nothing(
    arguments: list[str],
    message: str,
    error: Any,
    runs: Path,
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(files)
    places = {"{runs}": str(runs), "{ours}": "ours.txt"}
    given: list[str] = []
    for argument in arguments:
        for sign, place in places.items():
            argument = argument.replace(sign, place)
            message = message.replace(sign, place)
        two = ["--samples", "A=ours.txt", "--samples", "B=theirs.txt"]
        given += two if argument == "{two}" else [argument]
    if not given:
        assert run("judge") == 2
        return
    assert message in error("judge", *given)
    assert {path.name for path in files.iterdir()} == {"ours.txt", "theirs.txt"}


def test_nothing_is_written_over(
    files: Path, error: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = ["--samples", f"A={files / 'ours.txt'}", "--samples", f"B={files / 'theirs.txt'}"]
    command = ["judge", "prepare", *samples, "--pairs", "4", "--output"]
    assert run(*command, files / "study") == 0
    capsys.readouterr()
    before = {path: path.read_bytes() for path in (files / "study").iterdir()}
    with_key = files / "page.html"
    (files / "page.key.json").write_text("mine")
    for output, taken in (
        (files / "study", files / "study" / "page.html"),
        (files / "study" / "page.html", files / "study" / "page.html"),
        (with_key, files / "page.key.json"),
    ):
        assert error(*command, output) == (
            f"{taken} exists already, and nothing is written over; name another with --output"
        )
    assert {path: path.read_bytes() for path in (files / "study").iterdir()} == before
    assert (files / "page.key.json").read_text() == "mine"
    assert not with_key.exists()


def test_answers_of_another_page(
    files: Path, error: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = ["--samples", f"A={files / 'ours.txt'}", "--samples", f"B={files / 'theirs.txt'}"]
    for seed in ("0", "1"):
        command = ["judge", "prepare", *samples, "--pairs", "4", "--seed", seed]
        assert run(*command, "--output", files / seed) == 0
    answers = answered(files / "0", "r", prefer("A"))
    capsys.readouterr()
    said = error("judge", "score", answers, "--key", files / "1" / "key.json")
    assert f"{answers}, line 2: the answer is for page" in said


@pytest.mark.slow
def test_the_page_on_human_evaluation_runs(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "human-evaluation.md").read_text(encoding="utf-8")
    prepare, scoring = re.findall(r"```sh\nseqgan (.*?)\n```", page)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(runs / "tuned", tmp_path / "runs" / "mine")
    assert run(*shlex.split(prepare.replace("--pairs 50", "--pairs 10"))) == 0
    for rater in ("anna", "bert", "carl"):
        path = answered(tmp_path / "study", rater, prefer("real"))
        path.rename(path.with_name(f"answers-0123456789ab-{rater}.csv"))
    words = [
        word
        for part in shlex.split(scoring)
        for word in (sorted(map(str, Path().glob(part))) if "*" in part else [part])
    ]
    assert run(*words) == 0
    assert "real is preferred to mle in 100% of 30 judgements" in capsys.readouterr().out


def test_how_a_run_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("run", "a=b", "x@0.5", "odd:name"):
        (tmp_path / name).mkdir()
    assert parse_run("run") == WantedRun("run", Path("run"))
    assert parse_run("runs/seed-1@0.8") == WantedRun(
        "seed-1@0.8", Path("runs/seed-1"), "generator", 0.8
    )
    assert parse_run("run:pretrained@.7") == WantedRun(
        "run:pretrained@.7", Path("run"), "pretrained", 0.7
    )
    assert parse_run("mle=run:pretrained") == WantedRun("mle", Path("run"), "pretrained")
    assert parse_run("run:real") == WantedRun("run:real", Path("run"), "real")
    assert parse_run(".") == WantedRun(tmp_path.name, Path("."))
    for name in ("a=b", "x@0.5", "odd:name"):
        assert parse_run(name) == WantedRun(name, Path(name))
    assert parse_run("n=odd:name:real") == WantedRun("n", Path("odd:name"), "real")


def test_real_and_pretrained_are_called_so_where_one_is() -> None:
    def names(*specs: str) -> list[str]:
        return [one.name for one in with_short_names([*map(parse_run, specs)])]

    assert names("r/a", "r/a:pretrained", "r/a:real") == ["a", "pretrained", "real"]
    assert names("r/a:pretrained", "r/a:pretrained@0.7") == ["pretrained", "pretrained@0.7"]
    assert names("r/a:real", "r/b:real", "r/b:pretrained") == ["a:real", "b:real", "pretrained"]
    assert names("mle=r/a:pretrained", "real=r/a", "r/a:real") == ["mle", "real", "a:real"]


def test_a_rater_who_fails_controls_is_named_before_the_verdicts(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuned, study = runs / "tuned", tmp_path / "study"
    flags = ["--pairs", "1", "--repeats", "0", "--controls", "4", "--output", study]
    assert run("judge", "prepare", tuned, f"{tuned}:real", *flags) == 0
    answers = answered(
        study, "r", lambda p: prefer("shuffled" if p["kind"] == "control" else "real")(p)
    )
    capsys.readouterr()
    assert run("judge", "score", answers, "--key", study / "key.json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == (
        "note: r preferred the intact text in 0 of 4 controls; the answers count all the same"
    )
    assert lines[3].startswith("real is preferred to tuned in 100% of 1 judgement (95% interval")
    assert sum("controls;" in line for line in lines) == 1
    [row] = [line for line in lines if line.startswith("tuned : real")]
    assert row.split()[-6:] == ["0.000", "to", "0.793", "-", "1", "1"]


def test_every_run_continues_the_same_prompts() -> None:
    """With a made-up task, as none of the shipped ones has prompts."""
    vocabulary = Vocabulary(tuple("abcdefgh"))
    rows = torch.arange(8)
    prompts = torch.stack([rows, (rows + 1) % 8], dim=1)
    tokens = torch.stack([(rows + 2) % 8, torch.full((8,), 8)], dim=1)
    everywhere = torch.ones_like(prompts, dtype=torch.bool)
    heldout = Sequences(tokens, everywhere, prompts, everywhere, vocabulary=vocabulary)
    task = FixedTask(vocabulary, 2, {"test": heldout})
    first, second = (prompted_rows(task, [5, 0, 3], seeded(7)) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.prompt_texts == second.prompt_texts
    assert len(set(first.prompt_texts)) == 3
    for prompt, real in zip(first.prompt_texts, first.texts, strict=True):  # rows stay whole
        assert f"{prompt} {real}".replace(" ", "") in "abcdefghab"
    generator = RecurrentGenerator(RecurrentGeneratorConfig(), vocabulary)
    trained = TrainedGenerator(generator, vocabulary, 6)
    drawn = draw_texts(trained, 3, seeded(), Sampling(), first)
    assert drawn.prompt_texts == first.prompt_texts
    assert len(drawn.texts) == 3
    with pytest.raises(ValueError, match="there are 8 held-out prompts, but 9 are needed"):
        prompted_rows(task, [8], seeded())
    alone = FixedTask(vocabulary, 2, {"test": Sequences(tokens, everywhere, vocabulary=vocabulary)})
    assert prompted_rows(alone, [0], seeded()) is None
