"""Configuration: the YAML file, its errors, and the paper's settings number by number."""

import math
from dataclasses import fields, is_dataclass, replace

import pytest
import yaml

from seqgan.learning.rules.policy_gradient import PolicyGradientConfig
from seqgan.models.discriminators.causal import CausalDiscriminatorConfig
from seqgan.models.discriminators.cnn import CNNDiscriminatorConfig
from seqgan.models.discriminators.pretrained import PretrainedDiscriminatorConfig
from seqgan.models.discriminators.recurrent import RecurrentDiscriminatorConfig
from seqgan.models.discriminators.transformer import TransformerDiscriminatorConfig
from seqgan.models.generators.pretrained import PretrainedGeneratorConfig
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.models.generators.transformer import TransformerGeneratorConfig
from seqgan.tasks.captions import CaptionsConfig
from seqgan.tasks.files.prompts import PromptsConfig
from seqgan.tasks.files.text import TextConfig
from seqgan.tasks.oracle import OracleConfig
from seqgan.training.config_files import configs_by_kind, load_config, save_config
from seqgan.training.presets import PRESETS
from seqgan.training.settings import (
    AdversarialConfig,
    DiscriminatorTrainingConfig,
    EvaluationConfig,
    PretrainConfig,
    TrainConfig,
)


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

    @pytest.mark.parametrize("item", fields(AdversarialConfig), ids=lambda item: item.name)
    def test_every_field_is_read(self, path, item):
        value = {
            "reward_shape": "minimax",
            "baseline": "none",
            "rescale": "rank",
            "update": replace(AdversarialConfig().update, entropy_weight=0.5),
        }.get(item.name) or differing(getattr(AdversarialConfig(), item.name))
        config = replace(
            TrainConfig(), adversarial=replace(AdversarialConfig(), **{item.name: value})
        )
        assert config != TrainConfig()
        save_config(config, path)
        assert load_config(path) == config

    def test_one_reward_stands_for_a_list_of_one(self, path):
        path.write_text("reward: constant\n")
        assert load_config(path).reward == ("constant",)

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
            ("sed: 1", "unknown field sed; the nearest known field is seed"),
            ("adversarial: {n_rollouts: 1}", "unknown field adversarial.n_rollouts;"),
            ("adversarial: {n_rollouts: 1}", "the nearest known field is num_rollouts"),
            (
                "adversarial: {update: {reductoin: sum}}",
                "rule.update.reductoin; the nearest",
            ),
            ("pretrain: {xyzzy: 1}", r"unknown field pretrain.xyzzy$"),
            ("1: 2", r"unknown field 1$"),
            ("seed: one", "seed is of type int, got 'one'"),
            ("seed: 1.0", "seed is of type int, got 1.0"),
            ("seed: true", "seed is of type int, got True"),
            ("seed: null", "seed is of type int, got None"),
            ("output: 5", "output is of type str, got 5"),
            ("estimate_time: 1", "estimate_time is of type bool, got 1"),
            ("pretrain: {learning_rate: fast}", "pretrain.learning_rate is a number, got 'fast'"),
            (
                "pretrain: {learning_rate: true}",
                "pretrain.learning_rate is of type float, got True",
            ),
            (f"pretrain: {{learning_rate: 1{'0' * 400}}}", "pretrain.learning_rate is a number"),
            ("pretrain: 5", "pretrain is a mapping, got 5"),
            ("evaluation: {temperatures: 1.0}", "evaluation.temperatures is a list, got 1.0"),
            ("evaluation: {temperatures: [1, x]}", "evaluation.temperatures is a number, got 'x'"),
            ("reward: []", "reward names at least one reward, got none"),
            ("reward: [a, b, a]", "reward names each reward once, got 'a' again"),
            ("reward: {a: 1}", "reward is a list, got {'a': 1}"),
            ("reward: a\nreward_weights: [1, 2]", "one weight for each of 1 rewards, got 2"),
            ("reward_failure: go", "reward_failure is one of stop, skip, got 'go'"),
            ("reward_retries: -1", "reward_retries is at least 0, got -1"),
            (
                "generator: {kind: rnn}",
                "generator has a kind, one of lstm, gru, transformer, pretrained, got 'rnn'",
            ),
            (
                "task: {path: x}",
                "task has a kind, one of captions, oracle, text, prompts, got None",
            ),
            ("task: {kind: bible}", "task has a kind, .* got 'bible'"),
            ("task: {kind: [oracle]}", "task has a kind, .* got \\['oracle'\\]"),
            ("task: oracle", "task has a kind, .* got None"),
            (
                "discriminator: {dropout: 0.1}",
                "discriminator has a kind, one of gru, cnn, transformer, causal, pretrained,"
                " got None",
            ),
            ("task: {kind: oracle, min_count: 2}", "unknown field task.min_count"),
            ("pretrain: {epochs: -1}", "pretrain.epochs is at least 0, got -1"),
            (
                "adversarial: {learning_rate: .nan}",
                "rule.learning_rate is above 0 and finite",
            ),
            ("", "is a YAML mapping, .* holds None"),
            ("- 1", r"is a YAML mapping, .* holds \[1\]"),
            ("a: [1", "is a YAML file, "),
            ("a: !!python/object:os.system {}", "is a YAML file, "),
        ],
    )
    def test_names_the_file_the_field_and_the_value(self, path, content, rule):
        path.write_text(content)
        with pytest.raises(ValueError, match=rule) as caught:
            load_config(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "  " not in str(caught.value)

    def test_no_such_file(self, path):
        with pytest.raises(ValueError, match=r"config\.yaml: no such file"):
            load_config(path)

    def test_folder_and_bytes(self, path, tmp_path):
        with pytest.raises(ValueError, match="is a readable YAML file"):
            load_config(tmp_path)
        path.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ValueError, match="is a readable YAML file"):
            load_config(path)


@pytest.mark.parametrize(
    ("config", "setting", "rule"),
    [
        (PretrainConfig, {"patience": -1}, "pretrain.patience is at least 0, got -1"),
        (PretrainConfig, {"batch_size": 0}, "pretrain.batch_size is at least 1, got 0"),
        (
            PretrainConfig,
            {"weight_decay": math.nan},
            "pretrain.weight_decay is at least 0, got nan",
        ),
        (PretrainConfig, {"learning_rate": 0.0}, "pretrain.learning_rate is above 0"),
        (
            PretrainConfig,
            {"max_grad_norm": math.inf},
            "pretrain.max_grad_norm is above 0 and finite",
        ),
        (DiscriminatorTrainingConfig, {"batch_size": 1}, "batch_size is at least 2, got 1"),
        (DiscriminatorTrainingConfig, {"pretrain_rounds": -1}, "pretrain_rounds is at least 0"),
        (DiscriminatorTrainingConfig, {"d_epochs": 0}, "d_epochs is at least 1, got 0"),
        (DiscriminatorTrainingConfig, {"l2": -0.1}, "l2 is at least 0, got -0.1"),
        (DiscriminatorTrainingConfig, {"max_grad_norm": 0.0}, "max_grad_norm is above 0, got 0.0"),
        (DiscriminatorTrainingConfig, {"label_smoothing": 0.5}, r"in \[0, 0.5\), got 0.5"),
        (DiscriminatorTrainingConfig, {"replay": 1.0}, r"replay is in \[0, 1\), got 1.0"),
        (DiscriminatorTrainingConfig, {"replay_size": 0}, "replay_size is at least 1, got 0"),
        (DiscriminatorTrainingConfig, {"gradient_penalty": -1.0}, "at least 0 and finite, got -1"),
        (
            DiscriminatorTrainingConfig,
            {"gradient_penalty": 1.0, "precision": "bfloat16"},
            "precision is float32 where there is a gradient_penalty, got bfloat16",
        ),
        (
            DiscriminatorTrainingConfig,
            {"loss": "pairwise", "label_smoothing": 0.1},
            "label_smoothing is 0 with the pairwise loss, which has no labels, got 0.1",
        ),
        (
            TrainConfig,
            {
                "discriminator": CausalDiscriminatorConfig(),
                "discriminator_training": DiscriminatorTrainingConfig(loss="pairwise"),
            },
            "loss is binary for a causal discriminator, .* got pairwise",
        ),
        (AdversarialConfig, {"num_rollouts": -3}, "num_rollouts is at least 0, got -3"),
        (AdversarialConfig, {"rollout_stride": 0}, "rollout_stride is at least 1, got 0"),
        (AdversarialConfig, {"rollout_decay": 1.0}, r"rollout_decay is in \[0, 1\), got 1.0"),
        (AdversarialConfig, {"baseline_decay": -0.5}, r"baseline_decay is in \[0, 1\), got -0.5"),
        (AdversarialConfig, {"reward_clip": 0.0}, "reward_clip is above 0"),
        (AdversarialConfig, {"kl_target": 1.0, "kl_weight": 0.0}, "kl_weight is above 0 where"),
        (AdversarialConfig, {"batch_size": 1}, "at least 2 with the leave_one_out baseline"),
        (EvaluationConfig, {"every": 0}, "evaluation.every is at least 1, got 0"),
        (EvaluationConfig, {"num_samples": 19}, "num_samples is at least 20, got 19"),
        (EvaluationConfig, {"temperatures": (1.0,)}, "at least two numbers above 0"),
        (EvaluationConfig, {"temperatures": (1.0, 0.0)}, "at least two numbers above 0"),
        (EvaluationConfig, {"embeddings": ("hash",)}, "evaluation.embeddings are of hashed"),
        (EvaluationConfig, {"embeddings": (), "mauve": True}, "at least one for MAUVE, got none"),
        (TrainConfig, {"seed": -1}, "seed is at least 0, got -1"),
        (TrainConfig, {"threads": -1}, "threads is at least 0, got -1"),
    ],
)
def test_settings_out_of_range(config, setting, rule):
    with pytest.raises(ValueError, match=rule):
        config(**setting)


def test_kinds_of_each_slot():
    assert configs_by_kind("task") == {
        "captions": CaptionsConfig,
        "oracle": OracleConfig,
        "text": TextConfig,
        "prompts": PromptsConfig,
    }
    assert configs_by_kind("generator") == {
        "lstm": RecurrentGeneratorConfig,
        "gru": RecurrentGeneratorConfig,
        "transformer": TransformerGeneratorConfig,
        "pretrained": PretrainedGeneratorConfig,
    }
    assert configs_by_kind("discriminator") == {
        "gru": RecurrentDiscriminatorConfig,
        "cnn": CNNDiscriminatorConfig,
        "transformer": TransformerDiscriminatorConfig,
        "causal": CausalDiscriminatorConfig,
        "pretrained": PretrainedDiscriminatorConfig,
    }


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
        assert not config.rule.standardize
        assert config.rule.kl_weight == 0.0
        assert config.rule.kl_target == 0.0
        assert config.rule.update.reduction == "sum"
        assert config.rule.update.max_grad_norm == 5.0
        assert config.rule.update.entropy_weight == 0.0
        assert config.reward == ("discriminator",)

    def test_evaluation(self, config):
        assert config.evaluation.every == 5
        assert config.evaluation.num_samples == 9984
