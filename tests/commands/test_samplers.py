"""`--sampler` and its kin: a run's generator with its discriminator, or with any reward."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_commands import TEXTS, run
from trainer_states import trainer_state

import seqgan
from seqgan.judging.sources import load_sources, parse_run
from seqgan.models.discriminators.causal import CausalDiscriminatorConfig
from seqgan.models.discriminators.recurrent import RecurrentDiscriminatorConfig
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.models.sampling import sample
from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.shipped.controls import ConstantReward
from seqgan.rewards.weighted import WeightedSum
from seqgan.system.errors import ConfigurationError
from seqgan.tasks.files.prompts import PromptsConfig
from seqgan.tasks.files.text import TextConfig
from seqgan.training import tilting
from seqgan.training.checkpoints import save_checkpoint
from seqgan.training.networks import build_discriminator_reward, build_generator
from seqgan.training.presets import text_preset
from seqgan.training.run_folders import create_run
from seqgan.training.runs import checkpoint_state, open_run
from seqgan.training.settings import DiscriminatorTrainingConfig, EvaluationConfig, TrainConfig
from seqgan.training.tilting import SamplerSettings

LONG = "length(12)"  # a shipped reward: how near 12 words a text is
RARE = 'regex("^dog (dog|cat)")'  # a text in a hundred, of an untrained generator
Out = pytest.CaptureFixture[str]


def make_run(
    folder: Path,
    config: TrainConfig,
    steps: int = 60,
    forgets: bool = False,
    iteration: int = 0,
    d_steps: int = 1,
) -> Path:
    """A run of an untrained generator and a discriminator that took a few steps against it.

    Args:
        forgets: whether a game has set its weights to 0 since.
        iteration: of the game, which has kept no discriminator of before it.
        d_steps: rounds of the discriminator in each.
    """
    config = replace(
        config,
        generator=RecurrentGeneratorConfig("lstm", 8, 8),
        evaluation=EvaluationConfig(num_heldout=20, num_final=20),
        discriminator_training=DiscriminatorTrainingConfig(learning_rate=0.02, d_steps=d_steps),
        output=str(folder),
    )
    task = config.task.build(config.generator)
    made = create_run(config, task)
    rng = torch.Generator().manual_seed(0)
    generator = build_generator(config, task.vocabulary, rng)
    players: dict[str, Any] = dict.fromkeys(("generator", "reference"), generator.state_dict())
    if "discriminator" in config.reward:
        reward = build_discriminator_reward(config, task, rng)
        for _ in range(steps):
            real = task.real("train", 16, rng)
            prompts = real if task.max_prompt_length else None
            drawn = sample(generator, task.vocabulary, 16, task.max_length, rng, prompts=prompts)
            reward.update(real, drawn)
        players["rewards"] = {"discriminator": reward.state_dict()}
    observers: dict[str, Any] = {}
    if forgets:
        kept = players["rewards"]["discriminator"]
        observers["warmed"] = {"discriminator": kept}
        module = {name: torch.zeros_like(weights) for name, weights in kept["module"].items()}
        players["rewards"] = {"discriminator": {**kept, "module": module}}
    state = trainer_state(players, iteration=iteration or int(forgets))
    save_checkpoint(made.checkpoints, 1, {**state, "observers": observers})
    return folder


def settings(path: Path, **changed: Any) -> TrainConfig:
    given: dict[str, Any] = {
        "discriminator": RecurrentDiscriminatorConfig(embedding_size=8, hidden_size=8)
    }
    given["task"] = TextConfig(path=str(path), max_length=14, min_count=1)
    return replace(text_preset(), **{**given, **changed})


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "texts.txt"
    path.write_text(TEXTS, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def played(texts: Path) -> Path:
    return make_run(texts.parent / "played", settings(texts))


@pytest.fixture(scope="module")
def rewarded(texts: Path) -> Path:
    return make_run(texts.parent / "rewarded", settings(texts, reward=(LONG,)))


@pytest.fixture(scope="module")
def prompted(texts: Path) -> Path:
    path = texts.parent / "pairs.jsonl"
    rows = [
        {"prompt": " ".join(text.split()[:3]), "continuation": " ".join(text.split()[3:])}
        for text in TEXTS.splitlines()
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    task = PromptsConfig(path=str(path), max_length=8, max_prompt_length=5, min_count=1)
    return make_run(texts.parent / "prompted", settings(path, task=task))


@pytest.fixture(autouse=True)
def few_texts_for_a_twist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tilting, "TWIST_TEXTS", 256)


def drawn(capfd: Out, *arguments: object) -> tuple[list[dict[str, Any]], str]:
    """The rows of `sample`, and the line beside them."""
    capfd.readouterr()
    assert run("sample", *arguments, "--json") == 0
    said = capfd.readouterr()
    return [json.loads(line) for line in said.out.splitlines()], said.err


def mean(rows: list[dict[str, Any]], name: str) -> float:
    return sum(row[name] for row in rows) / len(rows)


def test_the_start_is_tilted_by_the_discriminator_that_met_it_alone(
    texts: Path, capfd: Out
) -> None:
    """The game has made it forget all: it says nothing of any text since."""
    path = make_run(texts.parent / "forgot", settings(texts), forgets=True)
    before, _ = drawn(capfd, path, "--pretrained", "--sampler", "resample")
    after, _ = drawn(capfd, path, "--sampler", "resample")
    assert all(row["tilt"] != 0 for row in before)
    assert all(row["tilt"] == 0 for row in after)


def test_a_game_without_rounds_before_it_says_who_judges_its_start(
    texts: Path, capfd: Out, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_run(texts.parent / "unmet", settings(texts), iteration=3)
    drawn(capfd, path, "--pretrained", "--sampler", "resample")
    assert "has no discriminator of before its game" in caplog.text
    assert "is judged by the one that the game has left\n" in caplog.text
    caplog.clear()
    for flags in ([], ["--pretrained", "--tilt", LONG]):
        drawn(capfd, path, "--sampler", "resample", *flags)
    assert not caplog.text


def test_a_discriminator_that_met_the_start_alone_is_named(
    texts: Path, capfd: Out, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_run(texts.parent / "fixed", settings(texts), iteration=3, d_steps=0)
    drawn(capfd, path, "--pretrained", "--sampler", "resample")
    assert not caplog.text
    drawn(capfd, path, "--sampler", "resample")
    assert "has met the generator before the game alone" in caplog.text


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--sampler", "resample", "--beta", "3"],
            "resampled by discriminator, beta 3: effective ",
        ),
        (["--sampler", "reject", "--beta", "3"], "rejected by discriminator, beta 3: effective "),
        (["--sampler", "best-of"], "best of 4 by discriminator: KL to start 0.636 nats at most"),
        (["--sampler", "smc", "--beta", "3"], "; twist: learnt from 256 proposals beforehand"),
    ],
)
def test_each_sampler_draws_texts_that_the_discriminator_likes(
    flags: list[str], said: str, played: Path, capfd: Out
) -> None:
    rows, line = drawn(capfd, played, "-n", "100", *flags)
    start, _ = drawn(capfd, played, "-n", "100", "--sampler", "resample", "--beta", "1000")
    assert len(rows) == 100
    assert said in line
    assert line.count("\n") == 1
    assert "tokens drawn per text" in line
    assert (
        mean(rows, "tilt") > mean(start, "tilt") * 1000 + 0.3
    )  # those of beta 1000 are logit / 1000


def test_a_reward_tilts_without_any_discriminator(rewarded: Path, capfd: Out) -> None:
    plain, _ = drawn(capfd, rewarded, "-n", "50")
    tilted, line = drawn(capfd, rewarded, "-n", "50", "--tilt", LONG, "--beta", "0.1")
    assert "tilt" not in plain[0]
    assert line.startswith("seqgan: resampled by length, beta 0.1: ")

    def off(rows: list[dict[str, Any]]) -> float:
        return sum(abs(len(row["text"].split()) - 12) for row in rows) / len(rows)

    assert off(tilted) < off(plain) - 0.5


def test_a_run_without_a_discriminator_is_tilted_by_its_own_rewards(
    texts: Path, rewarded: Path, tmp_path: Path, capfd: Out
) -> None:
    given = ["-n", "20", "--beta", "0.1"]
    rows, line = drawn(capfd, rewarded, *given)
    assert rows == drawn(capfd, rewarded, *given, "--tilt", LONG)[0]
    assert "resampled by length, beta 0.1" in line
    assert seqgan.sample(rewarded, 20, beta=0.1) == [row["text"] for row in rows]
    assert run("evaluate", rewarded, "-n", "50", "--sampler", "resample") == 0
    assert "Resampled by length, beta 1\n" in capfd.readouterr().out
    both = settings(texts, reward=(LONG, RARE), reward_weights=(0.5, 2.0))
    weighed = make_run(tmp_path / "weighed", both)
    named = ["--tilt", LONG, RARE, "--tilt-weights", "0.5", "2"]
    assert drawn(capfd, weighed, *given)[0] == drawn(capfd, weighed, *given, *named)[0]


def test_code_of_a_stranger_s_run_is_no_reward_unless_trusted(
    texts: Path, tmp_path: Path, capfd: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEQGAN_TRUST_RUN_CODE", raising=False)
    file = tmp_path / "mine.py"
    file.write_text("def dog(text):\n    return float('dog' in text.split())\n", encoding="utf-8")
    made = make_run(tmp_path / "made", settings(texts, reward=(f"{file}:dog",)))
    shutil.copytree(made, tmp_path / "sent")
    assert run("sample", tmp_path / "sent", "--sampler", "resample") == 2
    said = capfd.readouterr().err
    assert f"names code that would run here: reward {file}:dog" in said
    given = ["--sampler", "resample", "--trust-run-code"]
    assert "resampled by dog" in drawn(capfd, tmp_path / "sent", *given)[1]
    with pytest.raises(ConfigurationError, match="names code that would run here: reward"):
        seqgan.sample(tmp_path / "sent", sampler="resample")
    trusting = seqgan.load(tmp_path / "sent", trust_run_code=True)
    assert len(trusting.sample(5, sampler="resample")) == 5


def test_rewards_of_ones_own_and_the_discriminator_add_up(
    played: Path, tmp_path: Path, capfd: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text('def dog(text):\n    return float("dog" in text.split())\n')
    given = ["--tilt", "discriminator", "./mine.py:dog", "--tilt-weights", "0.5", "3"]
    rows, line = drawn(capfd, played, "-n", "60", *given)
    plain, _ = drawn(capfd, played, "-n", "60")
    assert "resampled by discriminator + dog" in line

    def share(rows: list[dict[str, Any]]) -> float:
        return sum("dog" in row["text"].split() for row in rows) / len(rows)

    assert share(rows) > share(plain) + 0.3


@pytest.mark.slow
def test_the_unknown_word_is_never_drawn(texts: Path, tmp_path: Path, capfd: Out) -> None:
    path = tmp_path / "rare.txt"
    rare = "\n".join(f"the rare word{index} sits here ." for index in range(30))
    path.write_text(f"{TEXTS}\n{rare}", encoding="utf-8")
    task = TextConfig(path=str(path), max_length=14, min_count=2)
    folder = make_run(tmp_path / "run", settings(path, task=task))
    for kind in ("resample", "smc", "best-of"):
        rows, line = drawn(capfd, folder, "-n", "60", "--sampler", kind)
        assert not any("<unk>" in row["text"] for row in rows), kind
        assert "nan" not in line
    unknown, _ = drawn(capfd, folder, "-n", "60", "--sampler", "resample", "--unknown")
    assert any("<unk>" in row["text"] for row in unknown)


@pytest.mark.slow
def test_each_prompt_has_particles_of_its_own(prompted: Path, capfd: Out) -> None:
    given = ["--prompt", "the small dog", "--prompt", "the old cat", "-n", "3"]
    for kind in ("resample", "best-of", "smc"):
        rows, line = drawn(capfd, prompted, *given, "--sampler", kind)
        assert [row["prompt"] for row in rows] == ["the small dog"] * 3 + ["the old cat"] * 3
        assert ("16 p" in line and "of each prompt" in line) or "best of 16" in line


@pytest.mark.slow
def test_a_discriminator_of_every_prefix_is_the_twist(
    texts: Path, tmp_path: Path, capfd: Out
) -> None:
    causal = CausalDiscriminatorConfig(width=8, num_layers=1, num_heads=2)
    folder = make_run(tmp_path / "run", settings(texts, discriminator=causal))
    _, line = drawn(capfd, folder, "-n", "20", "--sampler", "smc")
    assert line.endswith("; twist: the discriminator, which judges every prefix\n")


def test_a_shipped_reward_with_a_bound_can_reject(rewarded: Path, capfd: Out) -> None:
    given = ["-n", "40", "--sampler", "reject", "--tilt", LONG, "--beta", "0.1"]
    rows, line = drawn(capfd, rewarded, *given)
    assert "rejected by length, beta 0.1" in line
    assert mean(rows, "tilt") > -3


# `seqgan evaluate`.


def test_an_evaluation_of_a_tilted_model(played: Path, capfd: Out) -> None:
    assert run("evaluate", played, "-n", "200", "--beta", "4", "--json") == 0
    numbers = json.loads(capfd.readouterr().out)
    assert 0.02 < numbers["tilt_effective_share"] < 1
    assert numbers["tilt_log_z_error"] > 0
    assert numbers["nll_heldout_low"] < numbers["nll_heldout"] < numbers["nll_heldout_high"]
    assert run("evaluate", played, "-n", "200", "--json") == 0
    plain = json.loads(capfd.readouterr().out)
    change = numbers["tilt_nll_heldout_change"]
    assert change == pytest.approx(numbers["nll_heldout"] - plain["nll_heldout"], abs=1e-5)
    assert numbers["tilt_tokens_per_text"] == pytest.approx(4 * plain["mean_length"], rel=0.1)
    assert {name for name in numbers if not name.startswith("tilt_")} == plain.keys()


def test_an_evaluation_says_why_no_likelihood_is_known(played: Path, capfd: Out) -> None:
    assert run("evaluate", played, "-n", "50", "--sampler", "best-of", "--of", "3") == 0
    said = capfd.readouterr().out
    assert said.startswith("Best of 3 by discriminator\n")
    assert "best of 3 has no held-out likelihood" in said
    assert "nll_heldout" not in said
    assert run("evaluate", played, "-n", "50", "--tilt", RARE, "--beta", "0.02") == 0
    said = capfd.readouterr().out
    assert "too few to trust log Z" in said
    assert "nll_heldout" not in said


def test_a_sample_of_few_proposals_says_that_texts_repeat(played: Path, capfd: Out) -> None:
    given = ["-n", "50", "--tilt", RARE, "--beta", "0.02"]
    rows, line = drawn(capfd, played, *given)
    worth = float(line.split("the 200 proposals are worth ")[1].split()[0])
    share = float(line.split("effective share ")[1].split("%")[0])
    assert worth == pytest.approx(2 * share, abs=0.2)
    assert len({row["text"] for row in rows}) < 10
    assert "worth" not in drawn(capfd, played, "-n", "50", "--beta", "4")[1]
    rejected = ["-n", "2", "--sampler", "reject", "--beta", "0.8"]
    assert "worth" not in drawn(capfd, played, *rejected)[1]


def test_a_reward_that_tells_no_texts_apart_says_so(played: Path, capfd: Out) -> None:
    _, line = drawn(capfd, played, "--tilt", "constant")
    assert line.endswith("seqgan: all proposals have the same reward, so it tilts nothing\n")
    assert "same reward" not in drawn(capfd, played, "--beta", "inf")[1]


def test_an_evaluation_of_prompts_counts_the_proposals_of_each(prompted: Path, capfd: Out) -> None:
    assert run("evaluate", prompted, "-n", "20", "--beta", "4") == 0
    assert "% of 16 proposals of each prompt\n" in capfd.readouterr().out


# `seqgan frontier`.


@pytest.mark.slow
def test_a_curve_over_beta_stands_beside_that_over_temperatures(
    played: Path, tmp_path: Path, capfd: Out
) -> None:
    picture = tmp_path / "plane.png"
    given = ["-n", "200", "--temperatures", "1", "0.7", "--output", picture]
    tilt = ["--tilt", RARE, "--betas", "0.02", "10", "5"]
    capfd.readouterr()
    assert run("frontier", played, *given, *tilt, "--json") == 0
    found = json.loads(capfd.readouterr().out)
    tilted = [row for row in found["points"] if row["model"] == "played: MLE, resampled"]
    assert [row["beta"] for row in tilted] == [0.02, 5, 10]
    assert [row["nll_heldout"] is None for row in tilted] == [True, False, False]
    assert {row["beta"] for row in found["points"] if row not in tilted} == {None}
    (verdict, _) = found["verdicts"]
    assert verdict["generator"] == "MLE, resampled"
    assert found["sentences"][0].startswith("played: MLE, resampled ")
    assert "has no held-out NLL at beta 0.02: too few proposals count" in found["sentences"][-1]
    assert picture.stat().st_size > 10_000
    header = picture.with_suffix(".csv").read_text(encoding="utf-8").splitlines()[0]
    assert header.startswith("model,temperature,top_p,beta,")
    picture.unlink()
    picture.with_suffix(".csv").unlink()
    assert run("frontier", played, *given, *tilt) == 0
    table = capfd.readouterr().out
    assert "played: MLE, resampled\n       beta  " in table


def test_best_of_n_has_no_curve(played: Path, capfd: Out) -> None:
    assert run("frontier", played, "--sampler", "best-of") == 2
    assert "--sampler best-of has no held-out likelihood" in capfd.readouterr().err


# `seqgan judge`.


def test_raters_compare_a_generator_with_its_tilted_self(
    played: Path, tmp_path: Path, capfd: Out
) -> None:
    systems = [played, f"{played}:pretrained+tilt"]
    tilt = ["--tilt", LONG, "--beta", "0.05"]
    page = tmp_path / "page.html"
    assert run("judge", "prepare", *systems, *tilt, "--pairs", "30", "--output", page) == 0
    key = json.loads(page.with_suffix(".key.json").read_text(encoding="utf-8"))
    assert set(key["systems"]) == {"played", "pretrained+tilt"}


def test_a_system_behind_a_tilted_one_of_its_run_is_not_tilted(played: Path) -> None:
    by_length = SamplerSettings(tilt=(LONG,), beta=0.05)
    systems = [parse_run(f"{played}+tilt"), parse_run(str(played))]
    _, (tilted, plain) = load_sources(systems, 30, seed=0, settings=by_length)
    assert tilted.tilt is not None
    assert plain.tilt is None


@pytest.mark.parametrize(
    ("systems", "message"),
    [
        (["{}", "{}:pretrained"], "no system ends in +tilt"),
        (["{}", "{}:real+tilt"], "tilts real texts"),
        (["{}", "{}+tilt@0.5"], "has a temperature and +tilt"),
    ],
)
def test_what_cannot_be_tilted_for_raters(
    systems: list[str], message: str, played: Path, tmp_path: Path, capfd: Out
) -> None:
    capfd.readouterr()
    given = [one.format(played) for one in systems]
    page = tmp_path / "page.html"
    assert run("judge", "prepare", *given, "--sampler", "resample", "--output", page) == 2
    assert message in capfd.readouterr().err


# In Python.


def test_a_loaded_run_is_tilted_by_names_and_functions(played: Path, texts: Path) -> None:
    def dog(text: str) -> float:
        return float("dog" in text.split())

    loaded = seqgan.load(played)
    plain, own = loaded.sample(40), loaded.sample(40, sampler="resample")
    dogs = loaded.sample(40, sampler="resample", tilt=[dog, LONG], beta=0.1, of=8)
    assert plain != own
    assert sum(map(dog, dogs)) > sum(map(dog, plain)) + 10
    assert loaded.sample(5, sampler="best-of", tilt=dog) == loaded.sample(
        5, sampler="best-of", tilt=dog
    )
    with pytest.raises(ConfigurationError, match="two rewards of tilt are called 'dog'"):
        loaded.sample(5, sampler="resample", tilt=[dog, dog])
    with pytest.raises(ConfigurationError, match="without temperature"):
        loaded.sample(5, sampler="resample", temperature=0.5)
    with pytest.raises(ConfigurationError, match=r"beta is 0\.0, but must be above 0"):
        loaded.sample(5, sampler="resample", beta=0.0)
    assert loaded.sample(5, beta=0.1) == loaded.sample(5, sampler="resample", beta=0.1)
    with pytest.raises(ConfigurationError, match="n is -1, but must be at least 1"):
        loaded.sample(-1, sampler="resample")
    with pytest.raises(ConfigurationError, match="beta is given with the sampler best-of"):
        loaded.sample(5, sampler="best-of", beta=0.1)
    with pytest.raises(ConfigurationError, match="tilt is empty"):
        loaded.sample(5, tilt=[])
    memory = replace(loaded, folder=None)
    assert sum(map(dog, memory.sample(40, sampler="resample", tilt=dog, beta=0.1))) > 30
    with pytest.raises(ConfigurationError, match="no rewards of its own; give one as tilt"):
        memory.sample(5, sampler="resample")
    with pytest.raises(ConfigurationError, match="this run has no discriminator; give another"):
        memory.sample(5, tilt="discriminator")


def test_a_run_in_memory_is_tilted_by_what_it_trained_with(played: Path, rewarded: Path) -> None:
    def dog(text: str) -> float:
        return float("dog" in text.split())

    loaded = seqgan.load(rewarded)
    rewards = WeightedSum([ConstantReward(), as_reward(dog)], [1.0, 0.5])
    memory = replace(loaded, folder=None, rewards=rewards)
    own = memory.sample(40, sampler="resample", beta=0.2)
    assert own == memory.sample(40, sampler="resample", tilt=dog, beta=0.4)
    with pytest.raises(ConfigurationError, match="constant, which says nothing of texts"):
        replace(memory, rewards=WeightedSum([ConstantReward()])).sample(5, sampler="resample")
    folder, config = open_run(played)
    task = config.task.build(config.generator)
    judge = build_discriminator_reward(config, task, torch.Generator().manual_seed(0))
    games = replace(seqgan.load(played), rewards=WeightedSum([judge]), folder=None)
    with pytest.raises(ConfigurationError, match="discriminator is not trained"):
        games.sample(5, sampler="resample")
    judge.load_state_dict(checkpoint_state(folder)[1]["players"]["rewards"]["discriminator"])
    assert games.sample(20, sampler="resample") == seqgan.sample(played, 20, sampler="resample")


# What does not go together.


@pytest.mark.parametrize(
    ("command", "flags", "message"),
    [
        ("sample", ["--sampler", "best-of", "--beta", "1"], "--beta is given with --sampler best"),
        ("sample", ["--sampler", "reject", "--of", "4"], "--of is given with --sampler reject"),
        ("sample", ["--sampler", "smc", "--of", "1"], "--of is 1, but must be at least 2"),
        ("sample", ["--of", "0"], "--of is 0, but must be at least 2"),
        ("sample", ["--tilt-weights", "nan"], "--tilt-weights is nan, but must be from -1e+12"),
        ("sample", ["--beta", "0"], "--beta is 0, but must be above 0"),
        (
            "sample",
            ["--tilt", LONG, "--temperature", "0.5"],
            "--temperature is given with --tilt, which draws from the generator at temperature 1",
        ),
        ("evaluate", ["--of", "4", "--temperature", "2"], "--temperature is given with --of"),
        (
            "sample",
            ["--tilt", LONG, "--tilt-weights", "1", "2"],
            "--tilt-weights has 2 numbers, but --tilt has 1 rewards",
        ),
        ("sample", ["--tilt", LONG, LONG], f"--tilt has {LONG} twice"),
        (
            "sample",
            ["--sampler", "reject", "--tilt", "repetition"],
            "the largest reward of repetition is not known, which --sampler reject needs",
        ),
        ("sample", ["--tilt", "nonsense"], "nonsense"),
        (
            "sample",
            ["--tilt", LONG, "repetition", "--tilt-weights", "0", "-0"],
            "--tilt-weights is 0 -0, but must have a number other than 0",
        ),
    ],
)
def test_flags_that_do_not_go_together(
    command: str, flags: list[str], message: str, played: Path, capfd: Out
) -> None:
    capfd.readouterr()
    assert run(command, played, *flags) == 2
    said = capfd.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_run_without_a_trained_discriminator_says_so(
    texts: Path, rewarded: Path, tmp_path: Path, capfd: Out
) -> None:
    control = make_run(tmp_path / "control", settings(texts, reward=("constant",)))
    assert run("sample", control, "--sampler", "resample") == 2
    said = capfd.readouterr().err
    assert "has no discriminator, as its rewards are constant; name a reward" in said
    fresh = make_run(tmp_path / "fresh", settings(texts), steps=0)
    assert run("sample", fresh, "--sampler", "resample") == 2
    assert "is not trained yet" in capfd.readouterr().err


def test_files_have_no_sampler(texts: Path, capfd: Out) -> None:
    files = ["--samples", texts, "--references", texts]
    assert run("evaluate", *files, "--sampler", "resample") == 2
    assert "--sampler is given without a run" in capfd.readouterr().err
