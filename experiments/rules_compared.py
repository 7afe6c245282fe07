"""Plays every learning rule on the demo's captions, for as many sampled tokens as all others.

One start per seed, by maximum likelihood and with a discriminator that has met it, is shared by
all. Each rule learns from a user's reward, 1 for a grammatical caption and 0 for another, and from
the adversary, 2 D - 1 of that discriminator, which stands still, until it has drawn `tokens`
tokens, those of rollouts included. Learning rate and KL weight (or what a rule has in its place)
are those of the best reward less `PRICE` KL on seed 0, which is none of the seeds. Beside the
rules: maximum likelihood that goes on for as many tokens, best of n and resampling of the start, a
constant reward, and a shuffled one, that of some other of the last 512 captions.

    python experiments/rules_compared.py
    python experiments/rules_table.py

Writes a row for each measurement; that at a run's end has all columns. A run that is there is not
repeated: the script goes on where it was stopped. Numbers, time and machine: experiments/README.md.
"""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean
from time import process_time
from typing import Any

import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences
from seqgan.decoding.measured import measure_tilted
from seqgan.decoding.samplers import BestOf, Resample
from seqgan.decoding.tilt import DiscriminatorLogit, Tilt
from seqgan.decoding.tilted import Tilted
from seqgan.evaluation.measure import Measurement, measure, token_rows
from seqgan.evaluation.metrics.ngrams import self_bleu
from seqgan.learning import rollouts
from seqgan.learning.optimization import AdamConfig
from seqgan.learning.players import Players
from seqgan.learning.rules.cooperative import CooperativeConfig
from seqgan.learning.rules.preference import PreferenceConfig
from seqgan.learning.rules.reweighting import CloningConfig, ReweightingConfig
from seqgan.models import sampling
from seqgan.models.sampling import sequence_log_probs
from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.base import RewardModel
from seqgan.system.errors import DivergedError
from seqgan.tasks.base import Task
from seqgan.tasks.captions import CaptionGrammar
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.progress import Progress
from seqgan.training.phases import game
from seqgan.training.presets import captions_preset
from seqgan.training.settings import TrainConfig
from seqgan.training.start import make_players, make_trainer

PRICE = {"grammar": 0.1, "adversary": 0.3}  # of a nat per caption, in units of reward
WEIGHTS = {"grammar": (0.1, 0.3), "adversary": (0.3, 1.0)}  # of the KL, to choose from
GROUPED = ("rloo", "grpo", "dr-grpo", "dapo", "gspo", "cispo")
NAMED = ("reinforce", "seqgan", *GROUPED, "ppo", "reinforce-plus-plus")
DECODED = ("best of n", "resampling", "resampling by logit")
KEY = ("seed", "reward", "entry", "rate", "knob")
FOUND = ("nll_heldout", "distinct_2")
COLUMNS = (*KEY, "tokens", "kl", *PRICE, *FOUND, "self_bleu_4", "seconds", "updates", "end")
Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    tokens: int = 120_000  # that each rule draws
    points: int = 6  # measurements of each run
    batch_size: int = 128  # texts of an update; a fourth of them with rollouts, an eighth with 16
    train_size: int = 10_000  # training captions
    epochs: int = 60  # of the start's maximum likelihood, at most
    rounds: int = 100  # of the discriminator against the start
    num_samples: int = 2000  # texts of the last measurement; half of them in the others
    entries: tuple[str, ...] = ()  # those to run; empty: all
    results: Path = Path("results/rules_compared.csv")  # CSV file to write, the starts beside it


class Likelihood:
    """Maximum likelihood in the place of a rule; each token of a real text counts as drawn."""

    def __init__(self, players: Players, learning_rate: float) -> None:
        self.optimizer = AdamConfig().build(players.generator, learning_rate)

    def step(self, players: Players, rng: torch.Generator) -> Metrics:
        real = players.real("train", players.batch_size, rng).trimmed()
        Drawn.tokens += int(real.mask.sum())
        players.generator.train()
        self.optimizer.zero_grad()
        players.generator.negative_log_likelihood(real).backward()
        self.optimizer.step()
        return {}


class Drawn:
    """Counts the tokens that are drawn: of whole texts, completions of prefixes, episodes."""

    tokens = 0

    @classmethod
    def install(cls) -> None:
        complete, collect = sampling.complete, Players.collect

        def counted(*args: Any, **kwargs: Any) -> Sequences:
            texts = complete(*args, **kwargs)
            given = int(args[3].sum()) * kwargs.get("num_completions", 1)
            cls.tokens += int(texts.lengths.sum()) - given
            return texts

        def collected(self: Players, rng: torch.Generator) -> Any:
            episodes = collect(self, rng)
            cls.tokens += int(episodes.mask.sum())
            return episodes

        sampling.complete = rollouts.complete = counted
        Players.collect = collected  # type: ignore[method-assign]


@dataclass(frozen=True)
class Entry:
    """A rule with a reward.

    Args:
        reward: grammar, adversary, or none where a rule asks for no reward.
        rates, knobs: learning rates, and KL weights or values of a setting of the rule's own, to
            choose from.
        changed: the run's settings by these two.
        controlled: the user's reward is `constant`, or `shuffled`.
    """

    name: str
    reward: str
    rates: tuple[float, ...]
    knobs: tuple[float, ...]
    changed: Callable[[float, float], dict[str, Any]]
    controlled: str = ""


def policy_gradient(name: str, reward: str, size: int, controlled: str = "") -> Entry:
    """A rule by its name, with a KL weight in place of its own."""
    named: dict[str, Any] = {"adversarial.batch_size": size}
    if name in NAMED:
        named["rule"] = name
    if name in ("dapo", "gspo", "cispo"):  # whose names set four steps for a batch of 64
        named["rule.minibatch_size"] = max(size // 4, 1)
    if name == "policy_gradient":
        named["adversarial.batch_size"] = size // 4
    if name == "seqgan":
        named |= {"adversarial.batch_size": size // 8, "discriminator_training.d_steps": 0}

    def changed(rate: float, weight: float) -> dict[str, Any]:
        return named | {"rule.learning_rate": rate, "rule.kl_weight": weight}

    title = f"{name}, {controlled} reward" if controlled else name
    rates = (1e-2, 3e-2) if name == "seqgan" else (2e-3, 6e-3)
    return Entry(title, reward, rates, WEIGHTS[reward], changed, controlled)


def other(name: str, reward: str, size: int, kind: Any, knob: str, *knobs: float) -> Entry:
    """A rule that is no policy gradient, with a setting of its own."""

    def changed(rate: float, value: float) -> dict[str, Any]:
        more = {"pairs": "reward"} if name == "preference by reward" else {}
        rule = kind(learning_rate=rate, **{knob: value}, **more)
        shape = {"adversarial.reward_shape": "logit"} if name == "reweighting" else {}
        return {"rule": rule, "adversarial.batch_size": size, **shape}

    return Entry(name, reward, (2e-3, 6e-3), knobs, changed)


def all_entries(size: int) -> Iterator[Entry]:
    for reward in PRICE:
        for name in ("policy_gradient", *NAMED):
            yield policy_gradient(name, reward, size)
        yield other("reweighting", reward, size, ReweightingConfig, "beta", 0.3, 1.0)
        yield other("cloning", reward, size, CloningConfig, "keep", 0.25, 0.5)
    yield other("preference by reward", "grammar", size, PreferenceConfig, "beta", 0.1, 0.5)
    yield other("preference, real texts", "none", size, PreferenceConfig, "beta", 0.3, 1.0)
    yield other("cooperative", "none", size, CooperativeConfig, "max_grad_norm", 5.0)
    longer = {"adversarial.batch_size": size}
    yield Entry("MLE continued", "none", (3e-4, 2e-3), (0.0,), lambda *_: longer)
    yield policy_gradient("reinforce", "grammar", size, "constant")
    yield policy_gradient("reinforce", "grammar", size, "shuffled")


class Start:
    """All entries of a seed begin from it, and it is what they are measured with."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self.settings, self.seed, self.grammar = settings, seed, CaptionGrammar()
        changes = {
            "task.train_size": settings.train_size,
            "pretrain.epochs": settings.epochs,
            "discriminator_training.pretrain_rounds": settings.rounds,
            "discriminator_training.patience": 0,
        }
        self.base: TrainConfig = captions_preset().with_(seed=seed, **changes)
        self.task: Task = self.base.task.build(self.base.generator)
        path = settings.results.with_name(f"{settings.results.stem}-start-{seed}.pt")
        if not path.exists():
            with Progress() as progress:
                trainer = make_trainer(self.base, self.task, MemoryTracker(), progress)
                for phase in ("maximum_likelihood", "adversary"):
                    trainer.run(trainer.phase(phase))
            generator, judge = trainer.players.generator, trainer.players.discriminator
            assert judge is not None
            torch.save([generator.state_dict(), judge.state_dict()], path)
        self.states = torch.load(path, weights_only=False)
        self.own = self.players(self.base, None)
        assert self.own.discriminator is not None
        self.judge = self.own.discriminator

    def players(self, config: TrainConfig, reward: RewardModel | None) -> Players:
        players = make_players(config, self.task, self.draws(0), reward)
        players.generator.load_state_dict(self.states[0])
        players.reference.load_state_dict(self.states[0])
        if players.discriminator is not None:
            players.discriminator.load_state_dict(self.states[1])
        return players

    def draws(self, more: int) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed + more)

    def reward(self, controlled: str = "") -> RewardModel:
        """The user's reward, or a control."""
        rng, earlier = self.draws(0), [0.0, 1.0] * 256

        def grammatical(texts: list[str]) -> list[float]:
            found = [float(good) for good in self.grammar.grammatical(texts)]
            if controlled == "constant":
                return [1.0] * len(found)
            if not controlled:
                return found
            # Texts that are judged together end together: among them length would still tell.
            earlier.extend(found)
            del earlier[:-512]
            chosen = torch.randint(len(earlier), (len(found),), generator=rng)
            return [earlier[place] for place in chosen.tolist()]

        return as_reward(grammatical)

    def judged(self, texts: Sequences) -> dict[str, float]:
        """The means of both rewards; the discriminator is the one that has met the start."""
        users = [float(good) for good in self.grammar.grammatical(texts.texts)]
        return {
            "grammar": mean(users),
            "adversary": float(self.judge.score(texts.trimmed()).mean()),
        }

    def point(self, players: Players) -> Row:
        """Rewards, and KL to the start, of few texts."""
        texts = players.sample(self.settings.num_samples // 2, None, self.draws(0))
        own, start = (sequence_log_probs(g, texts) for g in (players.generator, players.reference))
        return {"kl": float((own - start).double().mean()), **self.judged(texts)}

    def end(self, found: Measurement) -> Row:
        """All other columns of a run's last row; Self-BLEU is of 500 texts."""
        row = {name: found.metrics.get(f"eval/{name}", "") for name in FOUND}
        row["self_bleu_4"] = self_bleu(token_rows(found.samples)[:500])[4]
        return {"end": 1, **row, **self.judged(found.samples)}

    def run(self, entry: Entry, rate: float, knob: float) -> list[Row]:
        """A game until its tokens are drawn; the rows end without an `end` where it diverged."""
        config = self.base.with_(**entry.changed(rate, knob))
        if entry.reward == "none":
            config = replace(config, reward=("constant",))
        reward = self.reward(entry.controlled) if entry.reward == "grammar" else None
        players = self.players(config, reward)
        torch.manual_seed(self.seed)
        played = game.build(players, config)
        if entry.name == "MLE continued":
            played.rule = Likelihood(players, rate)  # type: ignore[assignment]
        rng, settings, used, seconds = self.draws(0), self.settings, 0, 0.0
        rows = [{"tokens": 0, **self.point(players)}]
        while used < settings.tokens:
            drawn, began = Drawn.tokens, process_time()
            try:
                played.unit(players, rng)
            except DivergedError:
                return rows
            seconds += process_time() - began
            used += Drawn.tokens - drawn
            # A schedule falls to 0 over the updates that the tokens are enough for.
            expected = round(played.iterations * settings.tokens / used)
            played.total = max(expected, played.iterations + 1)
            if used >= len(rows) * settings.tokens / settings.points:
                rows.append({"tokens": used, **self.point(players)})
        spent = {"seconds": seconds, "updates": played.iterations}
        found = measure(players.generator, self.task, settings.num_samples, 10**6, self.draws(7))
        return [*rows, rows[-1] | spent | self.end(found)]

    def decoded(self, name: str, reward: str) -> list[Row]:
        """The start with a reward in place of training, over betas or n; the last one is marked."""
        model: RewardModel = self.reward() if reward == "grammar" else self.judge
        knobs: tuple[float, ...] = (2.0, 1.0, 0.5, 0.25, 0.1)
        if name == "resampling by logit":
            model, knobs = DiscriminatorLogit(self.judge), (4.0, 2.0, 1.0)
        elif name == "best of n":
            knobs = (2, 8, 4)
        elif reward == "adversary":
            knobs = (2.0, 1.0, 0.6, 0.3)
        texts = self.own.sample(2 * self.settings.num_samples, None, self.draws(7))
        rows: list[Row] = [{"tokens": 0, "kl": 0.0, **self.judged(texts)}]
        for knob in knobs:
            began, best = process_time(), name == "best of n"
            tilt = Tilt(model, 1.0 if best else knob)
            tilted = Tilted(self.own.reference, self.task.vocabulary, self.task.max_length, tilt)
            way = BestOf(tilted, int(knob)) if best else Resample(tilted, 4)
            found = measure_tilted(way, self.task, self.settings.num_samples, 10**6, self.draws(7))
            kl = kl_of_best(tilt(texts), int(knob)) if best else found.kl
            rows.append({"kl": kl, **self.judged(found.measurement.samples)})
        spent = {"seconds": process_time() - began, "tokens": found.drawn.sampled_tokens}
        return [*rows, rows[-1] | spent | self.end(found.measurement)]


def kl_of_best(rewards: Float[Tensor, " text"], n: int) -> float:
    """KL(best of n || start) in nats per text; texts of equal reward share their weight."""
    _, counts = rewards.unique(return_counts=True)
    before = counts.double() / len(rewards)
    reached = before.cumsum(0)
    after = reached**n - (reached - before) ** n
    return float((after * (after / before).log()).sum())


class Runs:
    """The rows of a file; a run whose rows are there is not repeated."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(",".join(COLUMNS) + "\n")

    def once(self, key: tuple[Any, ...], run: Callable[[], list[Row]]) -> Row:
        """The last row of that run, which is made where there is none."""
        named = dict(zip(KEY, map(str, key), strict=True))
        with self.path.open() as file:
            there = [row for row in csv.DictReader(file) if named.items() <= row.items()]
        if there:
            return there[-1]
        rows = [named | row for row in run()]
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, COLUMNS).writerows(rows)
        print({name: rows[-1].get(name) for name in (*KEY, "kl", *PRICE, *FOUND)}, flush=True)
        return rows[-1]


def objective(row: Row) -> float:
    """Reward less the price of its KL; the adversary's of rules without a reward."""
    by = row["reward"] if row["reward"] in PRICE else "adversary"
    return float(row[by]) - PRICE[by] * float(row["kl"]) if row.get("end") else float("-inf")


def main(settings: Settings) -> None:
    torch.set_num_threads(1)
    Drawn.install()
    runs, chosen = Runs(settings.results), settings.entries
    best: dict[Entry, tuple[float, float]] = {}
    entries = [e for e in all_entries(settings.batch_size) if e.name in chosen or not chosen]
    for seed in (0, *settings.seeds):
        start = Start(settings, seed)
        for entry in entries:
            tried = {}
            for given in [best[entry]] if seed else product(entry.rates, entry.knobs):
                key = (seed, entry.reward, entry.name, *given)
                tried[given] = objective(runs.once(key, partial(start.run, entry, *given)))
            best[entry] = max(tried, key=lambda given: tried[given])
        for reward, name in product(PRICE, DECODED if seed else ()):
            by_logit = name == "resampling by logit" and reward == "grammar"
            if (name in chosen or not chosen) and not by_logit:
                runs.once((seed, reward, name, "", ""), partial(start.decoded, name, reward))
    print(f"written: {settings.results}")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
