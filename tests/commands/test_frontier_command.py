"""`seqgan frontier`: what it says and draws, from points made by hand and from small runs."""

import json
import re
import shutil

import matplotlib
import numpy as np
import pytest
from tiny_commands import ORACLE, TINY, run

from seqgan.evaluation.axes import ENTROPY, NLL_HELDOUT, NLL_ORACLE, Axis
from seqgan.evaluation.planes.points import Knob, Panel, Point, Rate
from seqgan.evaluation.planes.published import PublishedCurve, read_points
from seqgan.evaluation.planes.verdict import compare
from seqgan.report import frontiers
from seqgan.report.frontier_chart import Series, draw_frontier, frontier_figure, published_series
from seqgan.training.checkpoints import load_checkpoint, save_checkpoint
from seqgan.training.settings import TrainConfig

pytestmark = pytest.mark.slow  # whole runs, some of them stopped and continued

PLANE = Panel(NLL_ORACLE, NLL_HELDOUT)
NUM_TEXTS = 200


def rate(value, wobble, over="samples"):
    """Texts that differ by `wobble` from each other, so that the error is wobble / sqrt(n)."""
    signs = np.resize([1.0, -1.0], NUM_TEXTS)
    return Rate(value + wobble * signs, np.ones(NUM_TEXTS), over=over)


def points(shift, qualities=(6.0, 7.5, 9.0), wobble=0.2):
    """A curve on which NLL_oracle and held-out NLL add up to 16 + shift."""
    return [
        Point(
            Knob("temperature", temperature),
            {
                "nll_oracle": rate(quality, wobble),
                "nll_heldout": rate(16 + shift - quality, wobble, "heldout"),
            },
        )
        for temperature, quality in zip((0.5, 0.8, 1.0), qualities, strict=True)
    ]


def measured(name, shift, seed=1, **settings):
    return frontiers.MeasuredRun(
        name,
        frontiers.Path(name),
        TrainConfig(seed=seed, **settings),
        {frontiers.MLE: points(0), frontiers.AFTER: points(shift)},
    )


# What is said.


@pytest.mark.parametrize(
    ("shift", "verdict", "words"),
    [
        (-0.5, "better", "game is above the MLE curve (better): at equal NLL under the oracle,"),
        (0.0, "level", "game is on the MLE curve (no difference beyond noise): at equal NLL"),
        (0.5, "worse", "game is under the MLE curve (worse): at equal NLL under the oracle,"),
    ],
)
def test_the_sentence_of_a_shifted_curve(shift, verdict, words):
    found = compare(points(shift), points(0), PLANE, "game")
    assert found.verdict == verdict
    sentence = found.sentence
    assert sentence.startswith(words)
    assert f"over 6 to 9, its held-out NLL differs by {shift:+.4f} (nats per token; 95%" in sentence
    assert "by bootstrap over samples and held-out texts; below 0 is better)." in sentence
    low, high = map(float, re.findall(r"interval (\S+) to (\S+) by", sentence)[0])
    assert low <= shift <= high
    # Held-out texts are paired: what is left are the samples of two curves along a slope of 1.
    assert 0.01 < high - low < 0.1


def test_crossing_curves_say_where_and_how_far():
    # At 6 it is 0.6 worse, at 7.5 level, at 9 0.6 better: the signed areas cancel.
    crossing = points(0, (5.0, 7.5, 9.0))
    for point, nll in zip(crossing, (12.0, 8.5, 6.4), strict=True):
        point.rates["nll_heldout"].values[:] = rate(nll, 0.2).values
    found = compare(crossing, points(0), PLANE, "game")
    assert (found.standing.place, found.verdict) == ("on", "mixed")
    sentence = found.sentence
    assert sentence.startswith("game is above the MLE curve at some qualities and under it at oth")
    said = re.findall(r"It is (\w+) at NLL under the oracle (\S+) to (\S+)\. ", sentence)
    assert [word for word, *_ in said] == ["better", "worse"]
    ends = np.array([ends for _, *ends in said], float)
    assert ends == pytest.approx(np.array([[7.6, 9], [6, 7.4]]), abs=0.1)
    assert (
        "It reaches NLL under the oracle 5, which MLE does not at these temperatures (at best 6)"
        in (sentence)
    )


def test_better_qualities_throughout_attain_those_of_mle():
    """At 13 to 15 nats held out the far game has less diversity than MLE, which has 7 to 10."""
    far = points(0, (1.0, 2.0, 3.0))
    found = compare(far, points(0), PLANE, "game")
    assert (found.verdict, found.plain()["common"]) == ("worse", (6, 9))
    assert "over 6 to 9, its held-out NLL differs by" in found.sentence
    assert "It reaches NLL under the oracle 1, which MLE does not at these" in found.sentence


def test_no_point_in_the_plane_is_said():
    for one in (undefined := points(0)):
        del one.rates["nll_heldout"]
    for tuned, control, who in ((undefined, points(0), "game"), (points(0), undefined, "MLE")):
        found = compare(tuned, control, PLANE, "game")
        assert (found.verdict, found.difference, found.plain()["interval"]) == (
            "unknown",
            None,
            None,
        )
        assert found.sentence == (
            f"game cannot be compared with the MLE curve: at no temperature does {who} have both a"
            " finite held-out NLL and a NLL under the oracle."
        )


def test_the_mean_over_seeds():
    runs = [measured(f"s{seed}", shift, seed) for seed, shift in enumerate((-0.4, -0.5, -0.6))]
    judgement = frontiers.judge_runs(runs, PLANE, 0)
    # Student's interval of three: 4.303 * 0.1 / sqrt(3).
    assert judgement.mean.difference == pytest.approx(0.5)
    assert judgement.mean.interval == pytest.approx((0.2516, 0.7484), abs=1e-4)
    *_, said = frontiers.sentences(judgement)
    assert said == (
        "Over 3 runs the game is above the MLE curve (better): the mean difference of held-out NLL"
        " is -0.5000 (nats per token; 95% interval -0.7484 to -0.2516 by Student's t over runs;"
        " below 0 is better)."
    )
    assert frontiers.heading(judgement) == "mean of 3 runs: above the MLE curve"
    rows = frontiers.verdict_rows(judgement)
    assert [row["run"] for row in rows] == ["s0", "s1", "s2", None]
    assert rows[-1]["interval"] == pytest.approx([-0.7484, -0.2516], abs=1e-4)
    assert rows[0]["common"] == (6, 9)
    assert rows[0]["difference"] == pytest.approx(-0.4)


def test_a_mean_is_of_independent_runs_of_one_method_and_of_all_of_them():
    far = measured("far", 0, 3)
    for point in far.points[frontiers.AFTER]:
        del point.rates["nll_heldout"]
    first, second = measured("a", -0.4, 1), measured("b", -0.5, 2)
    for other, reason in (
        (measured("c", -0.5, 2, reward=("novelty",)), "they differ in reward"),
        (measured("d", -0.5, 1), "some have the same seed, and are one run twice"),
        (far, "some have no point in the plane"),
    ):
        runs = [first, second, other]
        judgement = frontiers.judge_runs(runs, PLANE, 0)
        assert judgement.mean is None
        assert frontiers.sentences(judgement)[-1] == (f"No mean is taken over the runs: {reason}.")
    alone = frontiers.judge_runs([first], PLANE, 0)
    assert alone.mean is None
    assert len(frontiers.sentences(alone)) == 1


# What is drawn.


def test_the_shaded_region_is_what_the_control_dominates():
    figure = matplotlib.figure.Figure()
    axes = figure.add_subplot()
    control = Series("MLE", "control", np.array([9.0, 8.0, 6.0]), np.array([7.5, 7.0, 9.0]))
    draw_frontier(axes, PLANE, [control])
    (shade,) = axes.collections
    path = shade.get_paths()[0]

    def inside(x, y):
        return path.contains_point((x, y))

    # Lower is better on both axes. From 8 on, the best held-out NLL is 7.0, the bend included.
    assert inside(8.9, 7.1)
    assert not inside(8.9, 6.95)
    assert inside(7.0, 8.05)
    assert not inside(7.0, 7.95)
    assert not inside(5.95, 9.0)


def test_axes_say_unit_and_direction():
    axes = matplotlib.figure.Figure().add_subplot()
    check = Axis("valid", "valid rate", "share of samples", True)
    draw_frontier(axes, Panel(check, ENTROPY), [Series("MLE", "control", *np.eye(2))])
    assert axes.get_xlabel() == "valid rate (share of samples)\nbetter →"
    assert axes.get_ylabel() == "entropy of the generator (nats per token)\nbetter →"
    draw_frontier(axes, PLANE, [Series("MLE", "control", *np.eye(2))])
    assert axes.get_xlabel() == "NLL under the oracle (nats per token)\nbetter →"


def test_published_points_far_away_do_not_squeeze_the_curves():
    control = Series("MLE", "control", np.array([6.0, 9.0]), np.array([9.0, 7.0]))
    known = published_series(
        [
            PublishedCurve("near", ({"nll_oracle": 9.5, "nll_heldout": 7.5},)),
            PublishedCurve("far", ({"nll_oracle": 7.0, "nll_heldout": 22.0}, {"entropy": 1.0})),
            PublishedCurve("elsewhere", ({"entropy": 1.0},)),
        ],
        PLANE,
    )
    assert [one.label for one in known] == ["near", "far"]
    axes = matplotlib.figure.Figure().add_subplot()
    assert draw_frontier(axes, PLANE, [control, *known]) == 1
    # Lower is better on both axes, so the first limits are the larger ones.
    assert axes.get_xlim()[0] > 9.5 > 6 > axes.get_xlim()[1]
    assert 9 < axes.get_ylim()[0] < 10
    assert axes.get_ylim()[1] < 7


def test_numbers_stand_beside_points_and_not_upon_each_other():
    notes = tuple(f"{note:g}" for note in range(60))
    x = np.linspace(6, 9, 60)
    figure = frontier_figure(
        [(PLANE, [Series("MLE", "control", x, 16 - x, notes=notes)], "heading")]
    )
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    assert {"0", "59"} <= {text.get_text() for text in axes.texts}
    assert 5 < len(boxes) < 40
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


# The command, on small runs.

# Measured at both ends alone; a discriminator is not pretrained.
SHORT = ("--discriminator-training.pretrain-rounds", "0", "--evaluation.every", "9")
SMALL = ("--temperatures", "1", "0.5", "-n", "40")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of one task that differ in their seed, and one without a game."""
    folder = tmp_path_factory.mktemp("runs")
    for name, seed, iterations in (("one", 1, 1), ("two", 2, 1), ("mle", 1, 0)):
        arguments = ("--seed", seed, "--adversarial.iterations", iterations)
        assert run("train", *ORACLE, *TINY, *SHORT, *arguments, "--output", folder / name) == 0
    return folder


def test_json_is_one_object_and_the_same_seed_gives_the_same(runs, tmp_path, capsys):
    said = []
    for number in range(2):
        output = tmp_path / f"{number}.png"
        arguments = (*SMALL, "--top-p", "0.5", "--json", "--output", output)
        assert run("frontier", runs / "one", *arguments) == 0
        said.append(json.loads(capsys.readouterr().out))
    first, second = said
    assert (first["points"], first["verdicts"]) == (second["points"], second["verdicts"])
    assert [(row["model"], row["temperature"], row["top_p"]) for row in first["points"]] == [
        ("one: MLE", 0.5, 1.0),
        ("one: MLE", 1.0, 1.0),
        ("one: MLE, by top-p", 1.0, 0.5),
        ("one: after the game", 0.5, 1.0),
        ("one: after the game", 1.0, 1.0),
        ("one: after the game, by top-p", 1.0, 0.5),
    ]
    assert first["points"][2]["nll_heldout"] is None
    assert first["points"][2]["entropy"] is not None
    axes = [(row["quality"], row["diversity"]) for row in first["verdicts"]]
    assert axes[0] == ("nll_oracle", "nll_heldout")
    assert axes[2] == ("nll_oracle", "entropy")
    assert (tmp_path / "0.png").read_bytes()[:4] == b"\x89PNG"


def test_its_own_points_are_published_points(runs, tmp_path, capsys):
    arguments = ("--output", tmp_path / "mine.png")
    assert run("frontier", runs / "one", *SMALL, *arguments, "--json") == 0
    told = json.loads(capsys.readouterr().out)["points"]
    curves = read_points(tmp_path / "mine.csv", [PLANE])
    assert [curve.model for curve in curves] == ["one: MLE", "one: after the game"]
    assert curves[1].on(PLANE)[0] == (told[2]["nll_oracle"], told[2]["nll_heldout"])
    again = ("--points", tmp_path / "mine.csv", "--output", tmp_path / "again.svg")
    assert run("frontier", runs / "one", *SMALL, *again) == 0
    assert b"</svg>" in (tmp_path / "again.svg").read_bytes()


def test_an_mle_run_has_a_curve_and_no_verdict(runs, capsys):
    assert run("frontier", runs / "mle", *SMALL) == 0
    said = capsys.readouterr().out
    assert "No run has played the game: the curves are MLE's, and there is no verdict." in said
    assert "after the game" not in said
    assert (runs / "mle" / "frontier.png").is_file()
    assert run("frontier", runs / "mle", *SMALL, "--json") == 0  # its own files are written again
    assert json.loads(capsys.readouterr().out)["verdicts"] == []


def test_several_runs(runs, tmp_path, capsys):
    arguments = ("--output", tmp_path / "all.png")
    assert run("frontier", runs / "one", runs / "two", runs / "mle", *SMALL, *arguments) == 0
    said = capsys.readouterr().out
    assert "one is " in said
    assert "two is " in said
    assert "Over 2 runs the game is " in said
    assert "mle: MLE" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--temperatures 1", "--temperatures is 1, but must have at least two different ones"),
        (
            "--temperatures 1 1.0",
            "--temperatures is 1 1, but must have at least two different ones",
        ),
        ("--temperatures 1 0", "--temperatures is 0, but must be above 0 and finite"),
        ("--temperatures 1 -1", "--temperatures is -1, but must be above 0 and finite"),
        ("--temperatures 1 nan", "--temperatures is nan, but must be above 0 and finite"),
        ("--top-p 0", "--top-p is 0, but must be above 0 and at most 1"),
        ("--top-p 1.5", "--top-p is 1.5, but must be above 0 and at most 1"),
        ("-n 19", "-n is 19, but must be at least 20"),
        ("--seed -1", "--seed is -1, but must be from 0 to 2**63 - 1"),
        ("--output a.txt", "--output is a.txt, but must end in one of .png, .pdf, .svg"),
        (
            "--output absent/a.png",
            "cannot write absent/a.png: its folder cannot be written to; name another with",
        ),
        ("--points absent.csv", "cannot read the points absent.csv: no such file"),
        ("--tempratures 1 2", "unknown flag --tempratures; did you mean"),
    ],
)
def test_wrong_arguments(runs, error, arguments, message):
    assert error("frontier", runs / "one", *arguments.split()).startswith(message)


def test_wrong_runs(runs, error, tmp_path):
    assert error("frontier").startswith("the following arguments are required: run")
    assert "is no run: it has no config.yaml" in error("frontier", tmp_path)
    assert "is given twice" in error("frontier", runs / "one", runs / "mle/../one")
    other = tmp_path / "other"
    shutil.copytree(runs / "one", other)
    step, state = load_checkpoint(other / "checkpoints")
    del state["identity"]  # a run that knows its settings says that they were edited
    save_checkpoint(other / "checkpoints", int(step.name), state)
    config = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(config.replace("oracle_seed: 0", "oracle_seed: 5"))
    said = error("frontier", runs / "one", other)
    assert said.endswith(", but only runs of one task can be compared")
    assert "task.oracle_seed 0 and" in said
    (other / "config.yaml").write_text(config.replace("vocabulary_size: 6", "vocabulary_size: 7"))
    assert "with a vocabulary of 6 words, but its task now has another of 7" in error(
        "frontier", other, *SMALL
    )
    (other / "config.yaml").write_text(config)
    shutil.rmtree(other / "checkpoints")
    assert "intact checkpoint" in error("frontier", other)


def test_a_file_of_another_is_not_overwritten(runs, error, tmp_path):
    (tmp_path / "mine.csv").write_text("nll_oracle,nll_test\n1,2\n")
    said = error("frontier", runs / "one", "--output", tmp_path / "mine.png")
    assert said == f"{tmp_path / 'mine.csv'} exists already; name a new file with --output"
    assert (tmp_path / "mine.csv").read_text() == "nll_oracle,nll_test\n1,2\n"
