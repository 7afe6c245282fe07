"""Every number of the settings has a range, and nothing outside it gets through the door."""

import math
import types
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import pytest

from seqgan.commands.given import configuration
from seqgan.commands.notebook import train
from seqgan.models.sampling import Sampling
from seqgan.system.checks import Range, broken_rule
from seqgan.system.errors import DivergedError, SeqganError
from seqgan.tasks.oracle import OracleConfig
from seqgan.training.config_files import load_config
from seqgan.training.settings import TrainConfig
from seqgan.training.slots import SLOTS, settings_class

# What people write in place of a number, by accident or to see what happens.
ODD = (0, 0.0, -1, -1.0, math.nan, math.inf, -math.inf, 1e-320, 1e300, 2**64, 0.5, True, "1", None)


@dataclass(frozen=True)
class Number:
    """A number of the settings: the class that holds it, its field, the range of its type."""

    settings: type
    name: str
    annotation: Any
    in_tuple: bool

    def __str__(self) -> str:
        return f"{self.settings.__name__}.{self.name}"

    def holding(self, value: object) -> Any:
        """The settings with another value of this number, the others at their defaults."""
        return self.settings(**{self.name: (value, value) if self.in_tuple else value})


def numbers_of(settings: type) -> Iterator[Number]:
    """All numbers of a settings class and of those inside it; fails on one without a range."""
    hints = get_type_hints(settings, include_extras=True)
    for item in fields(settings):
        hint = hints[item.name]
        if is_dataclass(hint):
            yield from numbers_of(hint)
            continue
        in_tuple = get_origin(hint) is tuple
        inner = get_args(hint)[0] if in_tuple else hint
        options = get_args(inner) if get_origin(inner) in (Union, types.UnionType) else (inner,)
        for option in options:
            assert option not in (int, float), f"{settings.__name__}.{item.name} states no range"
            if get_origin(option) is Annotated:
                assert [part for part in get_args(option)[1:] if isinstance(part, Range)]
                yield Number(settings, item.name, option, in_tuple)


KINDS = {settings_class(slot, kind) for slot, kinds in SLOTS.items() for kind in kinds}
CLASSES = sorted({TrainConfig, Sampling, *KINDS}, key=lambda kind: kind.__name__)
NUMBERS = sorted({number for kind in CLASSES for number in numbers_of(kind)}, key=repr)


def test_the_walk_meets_the_settings_of_every_part() -> None:
    names = [str(number) for number in NUMBERS]
    assert len(names) > 80
    for known in ("GeneratorUpdate.max_grad_norm", "TrainConfig.seed", "TextConfig.dev_fraction"):
        assert known in names


def test_a_number_outside_its_range_is_one_line_that_names_it() -> None:
    for number, value in product(NUMBERS, ODD):
        base, rule = get_args(number.annotation)[0], broken_rule(value, number.annotation)
        if not rule or type(value) is not base:  # the tests' own type checker is at the door, too
            continue
        try:
            number.holding(value)
        except SeqganError as error:
            message = str(error)
        else:
            pytest.fail(f"{number} may be {value!r}")
        assert number.name in message
        assert f"is {value}, but must be {rule}" in message
        assert "\n" not in message


def test_no_range_admits_what_freezes_or_reverses_training() -> None:
    """NaN is in no range; 1e-320 and 1e300 are in none of another number."""
    for number, value in product(
        NUMBERS, (math.nan, -math.inf, 1e-320, 1e300, 2**64, "1", None, True)
    ):
        if value == 1e-320 and not broken_rule(0.0, number.annotation):
            continue  # as good as the 0 that this number may be
        if value == 2**64 and get_args(number.annotation)[0] is float:
            continue
        if value in (1e300, 2**64) and not broken_rule(math.inf, number.annotation):
            continue  # as good as no bound
        assert broken_rule(value, number.annotation), f"{number} may be {value!r}"


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        (
            "rule: {kind: policy_gradient, update: {max_grad_norm: -1}}",
            "rule.update.max_grad_norm is -1.0, but must be above 0",
        ),
        (
            "rule: {kind: policy_gradient, update: {max_grad_norm: 0}}",
            "rule.update.max_grad_norm is 0.0, but must be above 0",
        ),
        (
            "rule: {kind: policy_gradient, kl_weight: .inf}",
            "rule.kl_weight is inf, but must be at least 0 and at most 1e+12",
        ),
        (
            "rule: {kind: policy_gradient, kl_weight: 1e300}",
            "rule.kl_weight is 1e+300, but must be at least 0 and at most 1e+12",
        ),
        (
            "generator: {kind: lstm, init_std: .nan}",
            "generator.init_std is nan, but must be at least 0",
        ),
        (
            "pretrain: {learning_rate: 1e-320}",
            "is 1e-320, but must be above 0 and finite (1e-12 to 1e+38)",
        ),
        (
            "evaluation: {temperatures: [1, .nan]}",
            "temperatures[1] is nan, but must be above 0 and finite",
        ),
        (
            "evaluation: {temperatures: [1, 1e309]}",
            "temperatures[1] is inf, but must be above 0 and finite (1e-06",
        ),
        ("reward_weights: [.nan]", "reward_weights[0] is nan, but must be from -1e+12 to 1e+12"),
        (f"seed: {2**64}", "seed is 18446744073709551616, but must be from 0 to 2**63 - 1"),
        ("seed: ''", "seed is '', but must be of type int"),
        ("pretrain: {learning_rate: ''}", "pretrain.learning_rate is '', but must be a number"),
        ("checkpoint_seconds: .nan", "checkpoint_seconds is nan, but must be at least 0"),
        (
            f"adversarial: {{batch_size: {2**64}}}",
            "is 18446744073709551616, but must be at least 1 and at most 2147483647",
        ),
    ],
)
def test_a_file_with_such_a_number_is_refused(tmp_path: Path, written: str, rule: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(written)
    with pytest.raises(SeqganError) as caught:
        load_config(path)
    assert rule in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "rule"),
    [
        (
            ["--rule.update.max-grad-norm", "-1"],
            "rule.update.max_grad_norm is -1.0, but must be above 0",
        ),
        (
            ["--rule.kl-weight", "inf"],
            "rule.kl_weight is inf, but must be at least 0 and at most 1e+12",
        ),
        (
            ["--evaluation.temperatures", "1", "1e-320"],
            "temperatures[1] is 1e-320, but must be above 0 and finite (1e-06",
        ),
        (["--seed", str(2**64)], "seed is 18446744073709551616, but must be from 0 to 2**63 - 1"),
        (["--generator.init-std", "nan"], "generator.init_std is nan, but must be at least 0"),
    ],
)
def test_such_a_flag_is_refused(flags: list[str], rule: str) -> None:
    with pytest.raises(SeqganError) as caught:
        configuration(["captions", *flags])
    assert rule in str(caught.value)


@pytest.mark.parametrize("flag", ["--config", "--config="])
def test_an_empty_file_name_is_no_preset(flag: str) -> None:
    with pytest.raises(SeqganError, match="--config needs a value after it"):
        configuration([flag] if flag.endswith("=") else [flag, ""])


TINY_RUN = {
    **{"task.vocabulary_size": 6, "task.hidden_size": 4, "task.max_length": 4},
    **{"task.train_size": 32, "task.dev_size": 20, "task.test_size": 40},
    **{"generator.hidden_size": 4, "generator.embedding_size": 4, "discriminator.hidden_size": 4},
    **{"discriminator.embedding_size": 4, "pretrain.epochs": 2, "pretrain.batch_size": 16},
    **{"discriminator_training.pretrain_rounds": 2, "discriminator_training.num_sequences": 16},
    **{"discriminator_training.replay": 0.5, "adversarial.iterations": 2},
    **{"adversarial.batch_size": 8, "rule.num_rollouts": 2, "evaluation.num_samples": 20},
    **{"evaluation.num_final": 20, "evaluation.num_heldout": 20, "evaluation.every": 1},
}
PARTS = {
    "PretrainConfig": "pretrain",
    "DiscriminatorTrainingConfig": "discriminator_training",
    "AdversarialConfig": "adversarial",
    "PolicyGradientConfig": "rule",
    "GeneratorUpdate": "rule.update",
    "RecurrentGeneratorConfig": "generator",
}
FLOATS = [
    (f"{PARTS[number.settings.__name__]}.{number.name}", edge)
    for number in NUMBERS
    if number.settings.__name__ in PARTS and get_args(number.annotation)[0] is float
    for edge in (get_args(number.annotation)[1].least, get_args(number.annotation)[1].most)
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "edge"), FLOATS)
def test_a_number_at_the_edge_of_its_range_trains_or_says_that_it_diverged(
    name: str, edge: float
) -> None:
    """No NaN is taken for a number on the way."""
    settings = TINY_RUN | {name: float(edge)}
    if name == "rule.kl_target":
        settings["rule.kl_weight"] = 0.5
    if name == "rule.stop_kl":
        settings["rule.epochs"] = 2
    if name == "rule.gamma":
        settings["rule.num_rollouts"] = 0
    try:
        run = train(replace(TrainConfig(), task=OracleConfig()), progress=False, **settings)
    except DivergedError:
        return
    assert not [key for row in run.metrics for key, value in row.items() if math.isnan(value)]
