"""Learning rules side by side: the table and the picture of the runs of rules_compared.py.

Each entry is one row of means over seeds, with deviations: the reward when all tokens are drawn,
and at a KL to the start, the last place of a run's curve that is no farther, between two
measurements; the objective is the reward less `PRICES` KL at the end. Entries that ask for no
reward are judged by both.

    python experiments/rules_table.py --runs results/rules_compared.csv

Expected: see experiments/README.md.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import tyro
from matplotlib.artist import Artist
from matplotlib.figure import Figure

JUDGES = {"grammar": "share of grammatical captions", "adversary": "2 D - 1"}
PRICES = {"grammar": 0.1, "adversary": 0.3}  # of a nat per caption, in units of reward
KLS = (0.2, 0.5)  # nats per caption at which curves are read
ENDS = ("kl", "grammar", "nll_heldout", "distinct_2", "self_bleu_4", "seconds", "updates")
FAMILIES = {  # by colour, in the picture
    "black": ("resampling", "best of n", "resampling by logit"),
    "tab:blue": ("reinforce", "rloo", "dr-grpo", "reinforce-plus-plus"),
    "tab:green": ("grpo", "dapo", "gspo", "cispo"),
    "tab:purple": ("ppo",),
    "tab:orange": ("policy_gradient", "seqgan"),
    "tab:red": ("reweighting", "cloning", "preference by reward"),
    "tab:brown": ("cooperative", "preference, real texts", "MLE continued"),
    "tab:gray": ("reinforce, constant reward", "reinforce, shuffled reward"),
}
STYLES = ("-", "--", ":", "-.")
Row = dict[str, str]
Curves = dict[str, list[list[Row]]]  # by entry, of each seed


@dataclass(frozen=True)
class Settings:
    runs: Path = Path(
        "results/rules_compared.csv"
    )  # measurements, as rules_compared.py writes them
    results: Path = Path("results/rules_table.csv")  # CSV file to write, a picture beside it


def curves_of(rows: list[Row], judge: str) -> Curves:
    """The measurements of each run of the seeds, in order; those without training by their KL."""
    runs: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["seed"] != "0" and row["reward"] in (judge, "none"):
            runs.setdefault((row["entry"], row["seed"]), []).append(row)
    curves: Curves = {}
    for (entry, _), run in runs.items():
        trained = run[0]["rate"] != ""
        ordered = run if trained else sorted(run, key=lambda row: float(row["kl"]))
        curves.setdefault(entry, []).append(ordered)
    return curves


def at_kl(run: list[Row], judge: str, kl: float) -> float:
    """The reward at the last place of a run that is no farther from the start than this."""
    points = [(float(row["kl"]), float(row[judge])) for row in run]
    later = points[-1]
    for point in reversed(points):
        if point[0] <= kl:
            far = later[0] > kl
            share = (kl - point[0]) / (later[0] - point[0]) if far else 0.0
            return point[1] + share * (later[1] - point[1])
        later = point
    return points[0][1]


def spelt(values: list[float]) -> str:
    """Mean and deviation; nothing where there are no values."""
    if not values:
        return ""
    spread = f" ({stdev(values):.3f})" if len(values) > 1 else ""
    return f"{mean(values):.3f}{spread}"


def table(curves: Curves, judge: str) -> list[dict[str, str]]:
    """One row for each entry, the largest objective first: the reward less the price of the KL."""
    rows = []
    for entry, runs in curves.items():
        if not (ends := [row for run in runs for row in run if row["end"]]):
            continue  # it diverged with all seeds
        first = runs[0][0]
        row = {"judge": judge, "entry": entry, "rate": first["rate"], "knob": first["knob"]}
        row |= {"seeds": f"{len(ends)} of {len(runs)}"}
        paid = [float(end[judge]) - PRICES[judge] * float(end["kl"]) for end in ends]
        row |= {"objective": spelt(paid), "reward": spelt([float(end[judge]) for end in ends])}
        for kl in KLS:
            row[f"at_kl_{kl}"] = spelt([at_kl(run, judge, kl) for run in runs])
        for name in ENDS:
            row[name] = spelt([float(end[name]) for end in ends if end[name]])
        rows.append(row)
    return sorted(rows, key=lambda row: float(row["objective"].split()[0]), reverse=True)


def picture(judged: dict[str, Curves]) -> Figure:
    """Reward over KL, one line for each entry: means over seeds at each measurement."""
    figure, named = Figure(figsize=(13, 5), layout="constrained"), dict[str, Artist]()
    for place, (judge, curves) in enumerate(judged.items()):
        axes = figure.add_subplot(1, len(judged), place + 1)
        for colour, family in FAMILIES.items():
            for entry, style in zip(family, STYLES, strict=False):
                runs = [[row for row in run if not row["end"]] for run in curves.get(entry, [])]
                if not (points := [*zip(*runs, strict=False)]):
                    continue
                x, y = (
                    [mean(float(r[n]) for r in point) for point in points] for n in ("kl", judge)
                )
                (named[entry],) = axes.plot(x, y, color=colour, linestyle=style)
                axes.plot(x[-1], y[-1], "o", color=colour, markersize=4)
        axes.set(xlabel="KL to the start, nats per caption", ylabel=JUDGES[judge])
    shown = [entry for family in FAMILIES.values() for entry in family if entry in named]
    figure.legend([named[entry] for entry in shown], shown, loc="outside right upper", fontsize=8)
    return figure


def main(settings: Settings) -> None:
    with settings.runs.open() as file:
        rows = list(csv.DictReader(file))
    judged = {judge: curves_of(rows, judge) for judge in JUDGES}
    lines = [line for judge, curves in judged.items() for line in table(curves, judge)]
    with settings.results.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    for line in lines:
        print("| " + " | ".join(line.values()) + " |")
    picture(judged).savefig(settings.results.with_suffix(".png"), dpi=120)
    print(f"written: {settings.results}")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
