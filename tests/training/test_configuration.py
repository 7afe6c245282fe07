"""Configuration: the YAML file, its errors, and the paper's settings number by number."""

import math
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest
import yaml

from seqgan.learning.critic import CriticConfig
from seqgan.learning.optimization import AdamConfig
from seqgan.learning.rules.cooperative import CooperativeConfig
from seqgan.learning.rules.gumbel import GumbelConfig
from seqgan.learning.rules.policy_gradient import PolicyGradientConfig
from seqgan.learning.rules.preference import PreferenceConfig
from seqgan.learning.rules.reweighting import CloningConfig, ReweightingConfig
from seqgan.models.discriminators.causal import CausalDiscriminatorConfig
from seqgan.models.discriminators.cnn import CNNDiscriminatorConfig
from seqgan.models.discriminators.pretrained import PretrainedDiscriminatorConfig
from seqgan.models.discriminators.recurrent import RecurrentDiscriminatorConfig
from seqgan.models.discriminators.transformer import TransformerDiscriminatorConfig
from seqgan.models.generators.pretrained import PretrainedGeneratorConfig
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.models.generators.transformer import TransformerGeneratorConfig
from seqgan.system.errors import ConfigurationError
from seqgan.tasks.captions import CaptionsConfig
from seqgan.tasks.files.prompts import PromptsConfig
from seqgan.tasks.files.text import TextConfig
from seqgan.tasks.oracle import OracleConfig
from seqgan.training.config_files import load_config, plain_settings, save_config
from seqgan.training.presets import PRESETS
from seqgan.training.settings import (
    AdversarialConfig,
    DiscriminatorTrainingConfig,
    EvaluationConfig,
    PretrainConfig,
    TrainConfig,
)
from seqgan.training.slots import SLOTS, kind_of, settings_class, short_kind_of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "config.yaml"


def differing(value):
    """Another value of the same type, where any value of the type will do."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value + "\u6625: # 'quoted'"
    if isinstance(value, tuple):
        return (*value, value[-1] if value else "tag")
    return value + (1 if isinstance(value, int) else 0.015625)


class TestFile:
    @pytest.mark.parametrize("preset", PRESETS)
    def test_presets_round_trip(self, path, preset):
        config = PRESETS[preset]()
        save_config(config, path)
        assert load_config(path) == config

    @pytest.mark.parametrize("preset", PRESETS)
    def test_file_spells_everything_out(self, path, preset):
        def leaves(config):
            for item in fields(config):
                value = getattr(config, item.name)
                yield from leaves(value) if is_dataclass(value) else [item.name]

        def keys(plain):
            for key, value in plain.items():
                yield from keys(value) if isinstance(value, dict) else [key]

        config = PRESETS[preset]()
        save_config(config, path)
        assert list(keys(yaml.safe_load(path.read_text("utf-8")))) == list(leaves(config))

    def test_values_that_are_hard_to_write(self, path):
        config = replace(
            TrainConfig(),
            output="runs/\u6625 'x': # \"y\"",
            discriminator_training=DiscriminatorTrainingConfig(
                learning_rate=1e-5, max_grad_norm=math.inf
            ),
            pretrain=PretrainConfig(learning_rate=0.1 + 0.2, weight_decay=5e-324),
            evaluation=EvaluationConfig(temperatures=(1.0, 0.7, 1e-3)),
        )
        save_config(config, path)
        assert load_config(path) == config

    @pytest.mark.parametrize(
        "name",
        [
            *(f"adversarial.{item.name}" for item in fields(AdversarialConfig)),
            *(f"rule.{item.name}" for item in fields(PolicyGradientConfig) if item.name != "kind"),
        ],
    )
    def test_every_field_is_read(self, path, name):
        section, _, field = name.partition(".")
        value = {
            "adversarial.reward_shape": "minimax",
            "rule.schedule": "linear",
            "rule.gamma": 0.5,
            "rule.adam": AdamConfig(beta1=0.5),
            "rule.baseline": "none",
            "rule.rescale": "rank",
            "rule.scale": "group",
            "rule.kl_in": "loss",
            "rule.kl_estimator": "k2",
            "rule.loss": "ppo",
            "rule.aggregation": "normalize_then_sum",
            "rule.critic": CriticConfig(kind="head"),
            "rule.update": replace(PolicyGradientConfig().update, entropy_weight=0.5),
        }.get(name) or differing(getattr(getattr(TrainConfig(), section), field))
        beside = {"rule.stop_kl": {"rule.epochs": 2}, "rule.gamma": {"rule.num_rollouts": 0}}.get(
            name, {}
        )
        config = TrainConfig().with_(**{name: value}, **beside)
        assert config != TrainConfig().with_(**beside)
        save_config(config, path)
        assert load_config(path) == config

    def test_one_reward_stands_for_a_list_of_one(self, path):
        path.write_text("reward: constant\n")
        assert load_config(path).reward == ("constant",)

    def test_a_kind_stands_for_its_defaults(self, path):
        path.write_text("task: oracle\ngenerator: gru\n")
        expected = TrainConfig(task=OracleConfig(), generator=RecurrentGeneratorConfig(kind="gru"))
        assert load_config(path) == expected

    def test_absent_fields_keep_their_defaults(self, path):
        path.write_text("seed: 7\nadversarial:\n  num_rollouts: 3\n")
        expected = replace(
            TrainConfig(),
            seed=7,
            rule=PolicyGradientConfig(num_rollouts=3),
        )
        assert load_config(path) == expected

    def test_kind_chooses_the_dataclass(self, path):
        path.write_text(
            "task: {kind: oracle, vocabulary_size: 50}\n"
            "generator: {kind: gru}\n"
            "discriminator: {kind: cnn, filter_sizes: [1, 2], num_filters: [3, 4]}\n"
        )
        config = load_config(path)
        assert config.task == OracleConfig(vocabulary_size=50)
        assert config.generator == RecurrentGeneratorConfig(kind="gru")
        expected = CNNDiscriminatorConfig(filter_sizes=(1, 2), num_filters=(3, 4))
        assert config.discriminator == expected

    def test_numbers_that_yaml_reads_as_text_or_integers(self, path):
        path.write_text("pretrain: {learning_rate: 1e-3, max_grad_norm: 5, weight_decay: 1}\n")
        pretrain = load_config(path).pretrain
        assert pretrain.learning_rate == 0.001
        assert pretrain.max_grad_norm == 5.0
        assert isinstance(pretrain.max_grad_norm, float)


class TestErrors:
    @pytest.mark.parametrize(
        ("content", "rule"),
        [
            ("sed: 1", "unknown field sed; did you mean seed"),
            ("adversarial: {n_steps: 1}", "unknown field adversarial.n_steps; did you mean g_st"),
            (
                "rule: {kind: policy_gradient, n_rollouts: 1}",
                "unknown field rule.n_rollouts; did you mean num_rollouts",
            ),
            (
                "adversarial: {update: {reductoin: sum}}",
                "rule.update.reductoin; did you mean",
            ),
            ("pretrain: {xyzzy: 1}", r"unknown field pretrain.xyzzy$"),
            ("1: 2", r"unknown field 1$"),
            ("seed: one", "seed is 'one', but must be of type int"),
            ("seed: 1.0", "seed is 1.0, but must be of type int"),
            ("seed: true", "seed is True, but must be of type int"),
            ("seed: null", "seed is None, but must be of type int"),
            ("output: 5", "output is 5, but must be of type str"),
            ("evaluation: {mauve: 1}", "evaluation.mauve is 1, but must be of type bool"),
            (
                "pretrain: {learning_rate: fast}",
                "pretrain.learning_rate is 'fast', but must be a number",
            ),
            (
                "pretrain: {learning_rate: true}",
                "pretrain.learning_rate is True, but must be of type float",
            ),
            (f"pretrain: {{learning_rate: 1{'0' * 400}}}", "a number of more than 20 digits"),
            ("pretrain: 5", "pretrain is 5, but must be a mapping"),
            (
                "evaluation: {temperatures: 1.0}",
                "evaluation.temperatures is 1.0, but must be a list",
            ),
            (
                "evaluation: {temperatures: [1, x]}",
                "evaluation.temperatures is 'x', but must be a number",
            ),
            ("reward: []", "reward is empty, but must name at least one reward"),
            ("reward: [a, b, a]", "reward has 'a' twice, but must name each reward once"),
            ("reward: {a: 1}", "reward is {'a': 1}, but must be a list"),
            (
                "reward: a\nreward_weights: [1, 2]",
                "reward_weights has 2 weights for 1 rewards, but must have one for each",
            ),
            ("reward_failure: go", "reward_failure is 'go', but must be one of stop, skip"),
            ("reward_retries: -1", "reward_retries is -1, but must be at least 0"),
            (
                "generator: {kind: rnn}",
                r"unknown generator 'rnn' \(short names: gru, lstm, pretrained, transformer; one",
            ),
            (
                "task: {path: x}",
                (
                    "task.kind is None, but must be one of captions, oracle, text, prompts or"
                    " one of your"
                ),
            ),
            ("task: {kind: bible}", r"unknown task 'bible' \(short names: captions, "),
            ("task: capitons", r"unknown task 'capitons'; did you mean captions\? \(short names: "),
            ("task: {kind: no_such:Config}", "task 'no_such:Config': there is no module 'no_such'"),
            ("task: {kind: 'oracle(seed=1)'}", r"its fields are settings of their own \(task.NAME"),
            (
                "generator: {kind: 'math:pi'}",
                "generator 'math:pi': 3.* is no dataclass",
            ),
            (
                "generator: {kind: 'seqgan.system.plugins:Spec'}",
                " is no dataclass with a method build that makes the generator",
            ),
            ("task: {kind: [oracle]}", "task.kind is \\['oracle'\\], but must"),
            ("task: 5", "task.kind is None, but must"),
            (
                "discriminator: {dropout: 0.1}",
                "discriminator.kind is None, but must be one of gru, cnn, transformer, causal,"
                " pretrained or one of your own",
            ),
            ("task: {kind: oracle, min_count: 2}", "unknown field task.min_count"),
            ("pretrain: {epochs: -1}", "pretrain.epochs is -1, but must be at least 0"),
            (
                "adversarial: {learning_rate: .nan}",
                "rule.learning_rate is nan, but must be above 0 and finite",
            ),
            ("", " holds None, but must hold a YAML mapping"),
            ("- 1", r" holds \[1\], but must hold a YAML mapping"),
            ("a: [1", " is not YAML: "),
            ("a: !!python/object:os.system {}", " is not YAML: "),
        ],
    )
    def test_names_the_file_the_field_and_the_value(self, path, content, rule):
        path.write_text(content)
        with pytest.raises(ValueError, match=rule) as caught:
            load_config(path, trust_run_code=True)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "  " not in str(caught.value)

    def test_no_such_file(self, path):
        with pytest.raises(ValueError, match=r"config\.yaml: No such file"):
            load_config(path)

    def test_folder_and_bytes(self, path, tmp_path):
        with pytest.raises(ValueError, match=r"^cannot read .*: Is a directory"):
            load_config(tmp_path)
        path.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ValueError, match="is not UTF-8"):
            load_config(path)


@pytest.mark.parametrize(
    ("config", "setting", "rule"),
    [
        (PretrainConfig, {"patience": -1}, "pretrain.patience is -1, but must be at least 0"),
        (PretrainConfig, {"batch_size": 0}, "pretrain.batch_size is 0, but must be at least 1"),
        (
            PretrainConfig,
            {"weight_decay": math.nan},
            "pretrain.weight_decay is nan, but must be at least 0",
        ),
        (
            PretrainConfig,
            {"learning_rate": 0.0},
            "pretrain.learning_rate is 0.0, but must be above 0",
        ),
        (
            PretrainConfig,
            {"max_grad_norm": -1.0},
            "pretrain.max_grad_norm is -1.0, but must be above 0",
        ),
        (DiscriminatorTrainingConfig, {"batch_size": 1}, "batch_size is 1, but must be at least 2"),
        (
            DiscriminatorTrainingConfig,
            {"pretrain_rounds": -1},
            "pretrain_rounds is -1, but must be at least 0",
        ),
        (DiscriminatorTrainingConfig, {"d_epochs": 0}, "d_epochs is 0, but must be at least 1"),
        (DiscriminatorTrainingConfig, {"l2": -0.1}, "l2 is -0.1, but must be at least 0"),
        (
            DiscriminatorTrainingConfig,
            {"max_grad_norm": 0.0},
            "max_grad_norm is 0.0, but must be above 0",
        ),
        (
            DiscriminatorTrainingConfig,
            {"label_smoothing": 0.5},
            r"label_smoothing is 0.5, but must be at least 0 and below 0.5",
        ),
        (
            DiscriminatorTrainingConfig,
            {"replay": 1.0},
            r"replay is 1.0, but must be at least 0 and below 1",
        ),
        (
            DiscriminatorTrainingConfig,
            {"replay_size": 0},
            "replay_size is 0, but must be at least 1",
        ),
        (
            DiscriminatorTrainingConfig,
            {"gradient_penalty": -1.0},
            "gradient_penalty is -1.0, but must be at least 0",
        ),
        (
            DiscriminatorTrainingConfig,
            {"gradient_penalty": 1.0, "precision": "bfloat16"},
            (
                "discriminator_training.precision is bfloat16, but must be float32 where there"
                " is a gradient_penalty"
            ),
        ),
        (
            DiscriminatorTrainingConfig,
            {"loss": "pairwise", "label_smoothing": 0.1},
            (
                "discriminator_training.label_smoothing is 0.1, but must be 0 with the pairwise"
                " loss, which has no labels"
            ),
        ),
        (
            TrainConfig,
            {
                "discriminator": CausalDiscriminatorConfig(),
                "discriminator_training": DiscriminatorTrainingConfig(loss="pairwise"),
            },
            "loss is pairwise, but must be binary for a discriminator that judges prefixes",
        ),
        (PolicyGradientConfig, {"num_rollouts": -3}, "num_rollouts is -3, but must be at least 0"),
        (
            PolicyGradientConfig,
            {"rollout_stride": 0},
            "rollout_stride is 0, but must be at least 1",
        ),
        (
            PolicyGradientConfig,
            {"rollout_decay": 1.0},
            r"rollout_decay is 1.0, but must be at least 0 and below 1",
        ),
        (
            PolicyGradientConfig,
            {"baseline_decay": -0.5},
            r"baseline_decay is -0.5, but must be at least 0 and below 1",
        ),
        (AdversarialConfig, {"reward_clip": 0.0}, "reward_clip is 0.0, but must be above 0"),
        (
            PolicyGradientConfig,
            {"kl_target": 1.0, "kl_weight": 0.0},
            "kl_weight is 0, but must be above 0 where",
        ),
        (
            AdversarialConfig,
            {"batch_size": 0},
            "adversarial.batch_size is 0, but must be at least 1",
        ),
        (EvaluationConfig, {"every": 0}, "evaluation.every is 0, but must be at least 1"),
        (EvaluationConfig, {"num_samples": 19}, "num_samples is 19, but must be at least 20"),
        (
            EvaluationConfig,
            {"temperatures": (1.0,)},
            "temperatures are .* but must be at least two",
        ),
        (
            EvaluationConfig,
            {"temperatures": (1.0, 0.0)},
            "temperatures\\[1\\] is 0.0, but must be above 0 and finite",
        ),
        (
            EvaluationConfig,
            {"embeddings": ("hash",)},
            "evaluation.embeddings has the unknown 'hash'; did you mean hashed",
        ),
        (
            EvaluationConfig,
            {"embeddings": (), "mauve": True},
            " is empty, but must name at least one for MAUVE",
        ),
        (TrainConfig, {"seed": -1}, r"seed is -1, but must be from 0 to 2\*\*63 - 1"),
        (TrainConfig, {"threads": -1}, "threads is -1, but must be at least 0"),
    ],
)
def test_settings_out_of_range(config, setting, rule):
    with pytest.raises(ValueError, match=rule):
        config(**setting)


SHIPPED = {
    "task": {
        "captions": CaptionsConfig,
        "oracle": OracleConfig,
        "text": TextConfig,
        "prompts": PromptsConfig,
    },
    "generator": {
        "lstm": RecurrentGeneratorConfig,
        "gru": RecurrentGeneratorConfig,
        "transformer": TransformerGeneratorConfig,
        "pretrained": PretrainedGeneratorConfig,
    },
    "discriminator": {
        "gru": RecurrentDiscriminatorConfig,
        "cnn": CNNDiscriminatorConfig,
        "transformer": TransformerDiscriminatorConfig,
        "causal": CausalDiscriminatorConfig,
        "pretrained": PretrainedDiscriminatorConfig,
    },
    "rule": {
        "policy_gradient": PolicyGradientConfig,
        "preference": PreferenceConfig,
        "reweighting": ReweightingConfig,
        "cloning": CloningConfig,
        "cooperative": CooperativeConfig,
        "gumbel": GumbelConfig,
    },
}


class TestSlots:
    @pytest.mark.parametrize(
        ("slot", "kind"), [(slot, kind) for slot, kinds in SLOTS.items() for kind in kinds]
    )
    def test_a_kind_stands_for_its_class(self, slot, kind):
        chosen = settings_class(slot, kind)
        assert chosen is SHIPPED[slot][kind]
        assert kind_of(slot, chosen(kind=kind)) == kind

    def test_no_other_kinds_are_shipped(self):
        assert {slot: set(SLOTS[slot]) for slot in SHIPPED} == {
            slot: set(kinds) for slot, kinds in SHIPPED.items()
        }

    @pytest.mark.parametrize("preset", PRESETS)
    def test_presets_stand_by_their_kinds(self, preset):
        config = PRESETS[preset]()
        for slot in SHIPPED:
            assert plain_settings(config)[slot]["kind"] == getattr(config, slot).kind

    def test_no_class_is_imported_before_it_is_chosen(self):
        """Nor is transformers, which some kinds need and importing takes seconds."""
        script = (
            "import sys\nfrom seqgan import cli\n"
            "try:\n    cli.main(['train', 'captions', '--help'])\n"
            "finally:\n    assert not {'transformers', 'wandb'} & set(sys.modules)\n"
            "    assert 'seqgan.models.generators.pretrained' not in sys.modules\n"
        )
        ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr


OWN = """
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from seqgan.tasks.captions import CaptionsConfig, captions_task


@dataclass(frozen=True)
class Inner:
    depth: int = 2  # of it


@dataclass(frozen=True)
class Config:
    size: int  # captions of each split
    rate: float = 0.5  # of something
    names: tuple[str, ...] = ("a",)  # of things
    pair: tuple[int, float] = (1, 2.0)  # two of them
    place: Path = Path("here")  # a file
    limit: int | None = None  # or none
    mode: Literal["slow", "fast"] = "slow"  # of two
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self):
        if self.size < 1:
            raise ValueError(f"task.size is {self.size}, but must be at least 1")

    def build(self, generator):
        return captions_task(CaptionsConfig(train_size=self.size, dev_size=9, test_size=9))


@dataclass(frozen=True)
class Derived(CaptionsConfig):
    def build(self, generator):
        return captions_task(self)
"""


class TestOwn:
    """Settings of the user's own in a slot, from a file."""

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path, monkeypatch):
        (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", list(sys.path))
        yield tmp_path
        for name in [name for name in sys.modules if str(tmp_path) in name or name == "own"]:
            del sys.modules[name]

    @pytest.mark.parametrize("place", ["./own.py", "{folder}/own.py", "own"])
    def test_is_read_written_and_read_again(self, folder, path, place):
        path.write_text(
            f"task: {{kind: '{place.format(folder=folder)}:Config', size: 20, rate: 1e-3,"
            " names: [b, c], pair: [3, 4], place: there, limit: 5, mode: fast,"
            " inner: {depth: 7}}\n"
        )
        config = load_config(path, trust_run_code=True)
        task = config.task
        assert (type(task).__name__, task.size, task.rate) == ("Config", 20, 0.001)
        assert (task.names, task.pair, task.place) == (("b", "c"), (3, 4.0), Path("there"))
        assert (task.limit, task.mode, task.inner.depth) == (5, "fast", 7)
        assert task.build(config.generator).size("train") == 20
        save_config(config, path)
        written = "own:Config" if place == "own" else f"{folder}/own.py:Config"
        assert yaml.safe_load(path.read_text())["task"]["kind"] == written
        assert list(yaml.safe_load(path.read_text())["task"])[:2] == ["kind", "size"]
        assert load_config(path, trust_run_code=True) == config
        assert kind_of("task", task) == written

    def test_may_be_a_shipped_kinds_child(self, path, folder):
        path.write_text("task: {kind: './own.py:Derived', train_size: 7}\n")
        config = load_config(path, trust_run_code=True)
        assert config.task.build(config.generator).size("train") == 7
        save_config(config, path)
        assert yaml.safe_load(path.read_text())["task"]["kind"] == f"{folder}/own.py:Derived"
        assert load_config(path, trust_run_code=True) == config

    def test_names_a_folder_by_its_file(self, path):
        path.write_text("task: {kind: './own.py:Config', size: 3}\n")
        assert short_kind_of("task", load_config(path, trust_run_code=True).task) == "own"
        assert short_kind_of("task", OracleConfig()) == "oracle"

    @pytest.mark.parametrize(
        ("content", "rule"),
        [
            ("kind: './own.py:Config', sise: 3", "unknown field task.sise; did you mean size"),
            ("kind: './own.py:Config', size: x", "task.size is 'x', but must be of type int"),
            (
                "kind: './own.py:Config', size: 1, limit: x",
                "task.limit is 'x', but must be of type int",
            ),
            (
                "kind: './own.py:Config', size: 1, pair: [1]",
                r"task.pair is \[1\], but must be a list of 2",
            ),
            (
                "kind: './own.py:Config', size: 1, mode: dull",
                "task.mode is 'dull', but must be one of slow, fast",
            ),
            (
                "kind: './own.py:Config', size: 0",
                "own.py:Config': task.size is 0, but must be at least 1",
            ),
            ("kind: './own.py:Config'", "missing .* argument: 'size'; its arguments are "),
            ("kind: './own.py:Cofnig'", "there is no 'Cofnig' in ./own.py; did you mean Config"),
            ("kind: './his.py:Config'", "there is no file ./his.py"),
        ],
    )
    def test_is_refused_in_one_line(self, path, content, rule):
        path.write_text(f"task: {{{content}}}\n")
        with pytest.raises(
            ConfigurationError, match=f"^{re.escape(str(path))}: .*{rule}"
        ) as caught:
            load_config(path, trust_run_code=True)
        assert "\n" not in str(caught.value)


class TestWith:
    def test_changes_settings_by_their_dotted_names(self):
        config = TrainConfig()
        other = config.with_(
            seed=7, **{"pretrain.epochs": 2, "pretrain.patience": 0, "task.train_size": 9}
        )
        assert other == replace(
            config,
            seed=7,
            pretrain=replace(config.pretrain, epochs=2, patience=0),
            task=replace(config.task, train_size=9),
        )
        assert config == TrainConfig()
        assert config.with_() == config

    def test_changes_a_part_and_its_fields_together(self):
        other = TrainConfig().with_(**{"task.max_length": 7}, task=OracleConfig(max_length=5))
        assert other.task == OracleConfig(max_length=7)

    def test_checks_what_is_changed_together_once(self):
        """Each of these two alone would break a rule."""
        changes = {"loss": "pairwise", "label_smoothing": 0.0}
        smoothed = TrainConfig().with_(**{"discriminator_training.label_smoothing": 0.1})
        other = smoothed.with_(**{f"discriminator_training.{k}": v for k, v in changes.items()})
        assert other.discriminator_training.loss == "pairwise"

    @pytest.mark.parametrize(
        ("name", "rule"),
        [
            ("sede", r"^sede is no setting; did you mean seed\?$"),
            ("pretrain.epoch", r"^pretrain.epoch is no setting; did you mean pretrain.epochs\?$"),
            (
                "epochs",
                "^epochs is no setting; there is pretrain.epochs and rule.epochs and rule.critic",
            ),
            ("pretrain.kl_weight", "^pretrain.kl_weight is no setting; there is rule.kl_weight$"),
            ("pretrain.momentum", "^pretrain.momentum is no setting; pretrain has epochs, "),
            ("seed.epochs", "^seed.epochs is no setting; there is pretrain.epochs"),
            ("task.min_count", "^task.min_count is no setting; task has "),
            ("pretrain.", r"^pretrain. is no setting; did you mean pretrain.epochs\?$"),
            ("xylophone", "^xylophone is no setting$"),
        ],
    )
    def test_an_unknown_name_is_refused(self, name, rule):
        with pytest.raises(ConfigurationError, match=rule):
            TrainConfig().with_(**{name: 1})

    def test_a_value_out_of_range_is_refused(self):
        with pytest.raises(ConfigurationError, match=r"epochs is -1, but must be at least 0"):
            TrainConfig().with_(**{"pretrain.epochs": -1})


class TestPaperPreset:
    """Yu et al. (2017) and their code, LantaoYu/SeqGAN, line by line."""

    @pytest.fixture
    def config(self):
        return PRESETS["oracle-paper"]()

    def test_task(self, config):
        assert config.task.kind == "oracle"
        assert config.task.vocabulary_size == 5000
        assert config.task.hidden_size == 32
        assert config.task.max_length == 20
        assert config.task.train_size == 9984  # 156 batches of 64 out of 10,000

    def test_generator(self, config):
        assert config.generator.kind == "lstm"
        assert config.generator.embedding_size == 32
        assert config.generator.hidden_size == 32
        assert config.generator.num_layers == 1
        assert config.generator.init_std == 0.1
        assert config.generator.single_bias
        assert config.generator.dropout == 0.0

    def test_pretraining(self, config):
        assert config.pretrain.epochs == 120
        assert config.pretrain.patience == 0  # no early stop
        assert config.pretrain.batch_size == 64
        assert config.pretrain.learning_rate == 0.01
        assert config.pretrain.max_grad_norm == 5.0
        assert config.pretrain.weight_decay == 0.0

    def test_discriminator(self, config):
        assert config.discriminator.kind == "cnn"
        assert config.discriminator.embedding_size == 64
        assert config.discriminator.filter_sizes == (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20)
        assert config.discriminator.num_filters == (
            100, 200, 200, 200, 200, 100, 100, 100, 100, 100, 160, 160,
        )  # fmt: skip
        assert sum(config.discriminator.num_filters) == 1720
        assert config.discriminator.dropout == 0.25  # the code keeps 0.75

    def test_discriminator_training(self, config):
        training = config.discriminator_training
        assert training.learning_rate == 1e-4
        assert training.l2 == 0.2
        assert training.batch_size == 64
        assert training.max_grad_norm == math.inf
        assert (training.pretrain_rounds, training.pretrain_epochs) == (50, 3)
        assert (training.d_steps, training.d_epochs) == (5, 3)
        assert training.num_sequences == 9984
        # Half of each minibatch is real: 312 minibatches an epoch, 46,800 before the game.
        assert training.num_sequences // (training.batch_size // 2) == 312
        assert 312 * training.pretrain_rounds * training.pretrain_epochs == 46_800

    def test_game(self, config):
        assert config.adversarial.iterations == 200
        assert config.adversarial.g_steps == 1
        assert config.adversarial.batch_size == 64
        assert config.rule.learning_rate == 0.01
        assert config.rule.num_rollouts == 16
        assert config.rule.rollout_decay == 0.0  # the rollout policy never lags
        assert config.adversarial.reward_shape == "probability"
        assert config.rule.baseline == "none"
        assert config.rule.scale == "none"
        assert config.rule.kl_weight == 0.0
        assert config.rule.kl_target == 0.0
        assert config.rule.update.reduction == "sum"
        assert config.rule.update.max_grad_norm == 5.0
        assert config.rule.update.entropy_weight == 0.0
        assert config.reward == ("discriminator",)

    def test_evaluation(self, config):
        assert config.evaluation.every == 5
        assert config.evaluation.num_samples == 9984
