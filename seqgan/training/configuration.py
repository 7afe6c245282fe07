"""Everything a run depends on, as one frozen dataclass, and the presets.

The same dataclass is a YAML file and the flags of `seqgan train`. The `kind` fields say which
dataclass stands in a slot.
"""

import difflib
import math
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from seqgan.evaluation.planes.temperatures import TEMPERATURES
from seqgan.evaluation.texts import check_embeddings
from seqgan.functional.advantages import BaselineKind
from seqgan.functional.rescaling import Aggregation, RescaleKind
from seqgan.learning.updates import GeneratorUpdate
from seqgan.models.discriminators.causal import CausalDiscriminatorConfig
from seqgan.models.discriminators.cnn import CNNDiscriminatorConfig
from seqgan.models.discriminators.pretrained import PretrainedDiscriminatorConfig
from seqgan.models.discriminators.recurrent import RecurrentDiscriminatorConfig
from seqgan.models.discriminators.transformer import TransformerDiscriminatorConfig
from seqgan.models.generators.pretrained import PretrainedGeneratorConfig
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.models.generators.transformer import TransformerGeneratorConfig
from seqgan.rewards.discriminator import DiscriminatorLoss, Precision, RewardShape
from seqgan.rewards.guard import OnFailure
from seqgan.system.errors import ConfigurationError
from seqgan.tasks.captions import CaptionsConfig
from seqgan.tasks.files.prompts import PromptsConfig
from seqgan.tasks.files.text import TextConfig
from seqgan.tasks.oracle import OracleConfig
from seqgan.tracking.wandb_tracker import TrackerConfig


def _at_least(where: str, config: object, least: Mapping[str, int]) -> None:
    for name, bound in least.items():
        if not getattr(config, name) >= bound:
            raise ConfigurationError(
                f"{where}.{name} is at least {bound}, got {getattr(config, name)}"
            )


def _above_zero(where: str, config: object, *names: str) -> None:
    for name in names:
        if not 0 < getattr(config, name) < float("inf"):
            raise ConfigurationError(
                f"{where}.{name} is above 0 and finite, got {getattr(config, name)}"
            )


@dataclass(frozen=True)
class PretrainConfig:
    epochs: int = 60  # passes over the training set, or over `epoch_size` of it, at most
    epoch_size: int = 0  # sequences per epoch, the next going on from there; 0 takes all
    patience: int = 3  # epochs without a better dev NLL before a decay or the end; 0 trains all
    decays: int = 2  # times that the learning rate falls to a third before patience ends it
    batch_size: int = 64  # sequences per minibatch
    learning_rate: float = 2e-3  # Adam's, for maximum likelihood
    weight_decay: float = 0.0  # decoupled (AdamW), for maximum likelihood
    max_grad_norm: float = 5.0  # the gradient's norm is clipped to this

    def __post_init__(self) -> None:
        least = {"epochs": 0, "epoch_size": 0, "patience": 0, "decays": 0}
        least |= {"batch_size": 1, "weight_decay": 0}
        _at_least("pretrain", self, least)
        _above_zero("pretrain", self, "learning_rate", "max_grad_norm")


@dataclass(frozen=True)
class DiscriminatorTrainingConfig:
    pretrain_rounds: int = 5  # rounds before the game, each with fresh generated sequences
    pretrain_epochs: int = 1  # passes in each of those rounds (the paper's k)
    d_steps: int = 1  # rounds of discriminator training per iteration of the game
    d_epochs: int = 1  # passes in each round of the game (the paper's k)
    num_sequences: int = 1000  # real sequences, and as many fresh generated ones, in each round
    batch_size: int = 64  # sequences per minibatch, half of them real
    learning_rate: float = 1e-3  # Adam's
    l2: float = 0.0  # half the squared norm of the output layer is added with this weight
    max_grad_norm: float = float("inf")  # the gradient's norm is clipped to this
    precision: Precision = "float32"  # of its arithmetic, in training and in scoring
    loss: DiscriminatorLoss = "binary"  # each row for itself, or which of a pair is real
    label_smoothing: float = 0.0  # share of the label of real rows that is given away
    spectral_norm: bool = False  # divide weights by their largest singular value
    gradient_penalty: float = 0.0  # weight of the logit's squared gradient by the embeddings
    replay: float = 0.0  # share of a round's generated sequences that are of earlier rounds
    replay_size: int = 10000  # sequences of earlier rounds that are kept for that

    def __post_init__(self) -> None:
        least = {"pretrain_rounds": 0, "pretrain_epochs": 1, "d_steps": 0, "d_epochs": 1}
        least |= {"num_sequences": 1, "batch_size": 2, "l2": 0, "replay_size": 1}
        _at_least("discriminator_training", self, least)
        _above_zero("discriminator_training", self, "learning_rate")
        if self.precision not in get_args(Precision):
            known = ", ".join(get_args(Precision))
            raise ConfigurationError(
                f"discriminator_training.precision is one of {known}, got {self.precision!r}"
            )
        for name, bound in (("label_smoothing", 0.5), ("replay", 1)):
            if not 0 <= getattr(self, name) < bound:
                raise ConfigurationError(
                    f"discriminator_training.{name} is in [0, {bound}), got {getattr(self, name)}"
                )
        if not 0 <= self.gradient_penalty < float("inf"):
            raise ConfigurationError(
                "discriminator_training.gradient_penalty is at least 0 and finite,"
                f" got {self.gradient_penalty}"
            )
        if self.gradient_penalty > 0 and self.precision != "float32":
            raise ConfigurationError(
                "discriminator_training.precision is float32 where there is a gradient_penalty,"
                f" got {self.precision}"
            )
        if self.loss == "pairwise" and self.label_smoothing > 0:
            raise ConfigurationError(
                "discriminator_training.label_smoothing is 0 with the pairwise loss, which has no"
                f" labels, got {self.label_smoothing}"
            )
        if not self.max_grad_norm > 0:
            raise ConfigurationError(
                f"discriminator_training.max_grad_norm is above 0, got {self.max_grad_norm}"
            )


@dataclass(frozen=True)
class AdversarialConfig:
    iterations: int = 100  # rounds of the game
    g_steps: int = 1  # generator updates per iteration
    batch_size: int = 64  # sequences per generator update
    learning_rate: float = 1e-3  # Adam's, for the policy gradient
    num_rollouts: int = 8  # completions per prefix; 0 gives every token its sequence's reward
    rollout_decay: float = 0.0  # the rollout policy's moving average; 0 rolls out the generator
    rollout_stride: int = 1  # every k-th prefix is completed, values between are interpolated
    rollout_chunk: int = 16384  # completions that are judged together; bounds memory
    reward_shape: RewardShape = "logit"  # what of D is the reward
    reward_clip: float = 5.0  # logit and logarithms of D are clipped to +- this
    baseline: BaselineKind = "leave_one_out"  # what is subtracted from the action values
    baseline_decay: float = 0.9  # of the moving-average baseline
    rescale: RescaleKind = "none"  # what becomes of action values, compared within the batch
    standardize: bool = False  # divide advantages by their deviation
    kl_weight: float = 0.1  # weight of KL to the pretrained generator, reward units per nat
    kl_target: float = 0.0  # nats per sequence that a controller of the weight aims at; 0 fixes it
    update: GeneratorUpdate = field(default_factory=GeneratorUpdate)

    def __post_init__(self) -> None:
        least = {"iterations": 0, "g_steps": 1, "batch_size": 1, "num_rollouts": 0}
        least |= {"rollout_stride": 1, "rollout_chunk": 1, "kl_weight": 0, "kl_target": 0}
        _at_least("adversarial", self, least)
        _above_zero("adversarial", self, "learning_rate", "reward_clip")
        for name in ("rollout_decay", "baseline_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigurationError(
                    f"adversarial.{name} is in [0, 1), got {getattr(self, name)}"
                )
        if self.kl_target > 0 and self.kl_weight == 0:
            raise ConfigurationError(
                "adversarial.kl_weight is above 0 where there is a kl_target, got 0"
            )
        if self.baseline == "leave_one_out" and self.batch_size < 2:
            raise ConfigurationError(
                "adversarial.batch_size is at least 2 with the leave_one_out baseline, got 1"
            )


@dataclass(frozen=True)
class EvaluationConfig:
    every: int = 10  # iterations between two evaluations in the game
    num_samples: int = 1000  # generated sequences per evaluation during training
    num_final: int = 4000  # generated sequences per row of the final table
    num_heldout: int = 2000  # held-out sequences scored in each evaluation
    num_shown: int = 8  # samples printed and logged each time
    temperatures: tuple[float, ...] = TEMPERATURES  # of the MLE control in the final table
    embeddings: tuple[str, ...] = ("hashed",)  # of the Frechet distance, where texts are compared
    mauve: bool = False  # whether MAUVE is computed too, for each of the embeddings; takes seconds
    toxicity: bool = False  # whether the share of offensive texts is; needs the rewards extra

    def __post_init__(self) -> None:
        check_embeddings("evaluation.embeddings", self.embeddings, self.mauve)
        least = {"every": 1, "num_samples": 20, "num_final": 20, "num_heldout": 2, "num_shown": 0}
        _at_least("evaluation", self, least)
        if len(self.temperatures) < 2 or min(self.temperatures) <= 0:
            raise ConfigurationError(
                f"evaluation.temperatures are at least two numbers above 0, got {self.temperatures}"
            )


@dataclass(frozen=True)
class TrainConfig:
    """A whole run."""

    task: CaptionsConfig | OracleConfig | TextConfig | PromptsConfig = field(
        default_factory=CaptionsConfig
    )
    generator: RecurrentGeneratorConfig | TransformerGeneratorConfig | PretrainedGeneratorConfig = (
        field(default_factory=RecurrentGeneratorConfig)
    )
    discriminator: (
        RecurrentDiscriminatorConfig
        | CNNDiscriminatorConfig
        | TransformerDiscriminatorConfig
        | CausalDiscriminatorConfig
        | PretrainedDiscriminatorConfig
    ) = field(default_factory=RecurrentDiscriminatorConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    discriminator_training: DiscriminatorTrainingConfig = field(
        default_factory=DiscriminatorTrainingConfig
    )
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    reward: tuple[str, ...] = ("discriminator",)  # names, module:attribute or file.py:attribute
    reward_weights: tuple[float, ...] = ()  # one for each reward; empty weighs all of them 1
    reward_aggregation: Aggregation = "sum_then_normalize"  # or each normalised before the sum
    reward_failure: OnFailure = "stop"  # of a reward; skip: it does not apply to that text
    reward_retries: int = 0  # times that a failing reward is asked again
    seed: int = 1  # of initialisation, sampling and shuffling
    device: str = "cpu"  # where the networks live, as PyTorch names it
    threads: int = 0  # CPU threads; 0 leaves PyTorch's choice
    checkpoint_seconds: float = 20.0  # least time between two checkpoints within a phase
    estimate_time: bool = False  # measure a few steps and print the expected total time first
    output: str = ""  # folder of the run; empty makes runs/<task>-<time>

    def __post_init__(self) -> None:
        least = {"threads": 0, "checkpoint_seconds": 0, "seed": 0, "reward_retries": 0}
        _at_least("config", self, least)
        if isinstance(self.reward, str):
            raise ConfigurationError(f"reward is a tuple of names, got the string {self.reward!r}")
        if not self.reward:
            raise ConfigurationError("reward names at least one reward, got none")
        for spec in self.reward:
            if self.reward.count(spec) > 1:
                raise ConfigurationError(f"reward names each reward once, got {spec!r} again")
        judges_tokens = isinstance(self.discriminator, CausalDiscriminatorConfig)
        if judges_tokens and self.discriminator_training.loss == "pairwise":
            raise ConfigurationError(
                "discriminator_training.loss is binary for a causal discriminator, whose prefixes"
                " have no pairs, got pairwise"
            )
        if not all(map(math.isfinite, self.reward_weights)):
            raise ConfigurationError(f"reward_weights are finite, got {self.reward_weights}")
        if self.reward_weights and len(self.reward_weights) != len(self.reward):
            raise ConfigurationError(
                f"reward_weights has one weight for each of {len(self.reward)} rewards,"
                f" got {len(self.reward_weights)}"
            )


def captions_preset() -> TrainConfig:
    """The demo: a caption grammar of which everything is known, in minutes on a laptop.

    The generator is small on purpose. A larger one learns from the same data nearly all that a
    discriminator could tell it; the smaller the generator, the more an adversary can teach.
    """
    return TrainConfig(
        task=CaptionsConfig(train_size=10000),
        generator=RecurrentGeneratorConfig(embedding_size=32, hidden_size=16),
        pretrain=PretrainConfig(epochs=60, batch_size=128, learning_rate=1e-2),
        discriminator_training=DiscriminatorTrainingConfig(
            pretrain_rounds=30, num_sequences=1500, batch_size=256, learning_rate=2e-3
        ),
        adversarial=AdversarialConfig(
            iterations=70, batch_size=256, num_rollouts=2, learning_rate=2e-3, kl_weight=0.05
        ),
        threads=1,  # networks this small gain nothing from a second one
    )


def oracle_preset() -> TrainConfig:
    """The paper's oracle and protocol, with a discriminator schedule for a CPU."""
    return replace(
        oracle_paper_preset(),
        pretrain=PretrainConfig(epochs=60, patience=1, learning_rate=1e-2),
        discriminator=CNNDiscriminatorConfig(
            filter_sizes=(1, 2, 3, 4, 5), num_filters=(50, 50, 50, 50, 50)
        ),
        discriminator_training=DiscriminatorTrainingConfig(
            pretrain_rounds=5, num_sequences=2000, learning_rate=1e-3, l2=0.2
        ),
        adversarial=AdversarialConfig(
            iterations=50, num_rollouts=4, kl_weight=0.1, reward_shape="logit"
        ),
        estimate_time=True,
    )


def oracle_paper_preset() -> TrainConfig:
    """The settings of Yu et al. (2017) and their code. Days on a CPU."""
    return TrainConfig(
        task=OracleConfig(train_size=9984),
        generator=RecurrentGeneratorConfig(
            embedding_size=32, hidden_size=32, single_bias=True, init_std=0.1
        ),
        discriminator=CNNDiscriminatorConfig(),
        pretrain=PretrainConfig(epochs=120, patience=0, batch_size=64, learning_rate=1e-2),
        discriminator_training=DiscriminatorTrainingConfig(
            pretrain_rounds=50,
            pretrain_epochs=3,
            d_steps=5,
            d_epochs=3,
            num_sequences=9984,
            batch_size=64,
            learning_rate=1e-4,
            l2=0.2,
        ),
        adversarial=AdversarialConfig(
            iterations=200,
            g_steps=1,
            batch_size=64,
            learning_rate=1e-2,
            num_rollouts=16,
            reward_shape="probability",
            baseline="none",
            kl_weight=0.0,
            update=GeneratorUpdate(max_grad_norm=5.0, entropy_weight=0.0, reduction="sum"),
        ),
        evaluation=EvaluationConfig(every=5, num_samples=9984, num_final=9984, num_heldout=10000),
        estimate_time=True,
    )


def text_preset() -> TrainConfig:
    """Your own file: `--task.path FILE`."""
    return TrainConfig(
        task=TextConfig(),
        generator=RecurrentGeneratorConfig(embedding_size=128, hidden_size=256, dropout=0.4),
        pretrain=PretrainConfig(epochs=40, patience=1, learning_rate=2e-3),
        adversarial=AdversarialConfig(iterations=40, num_rollouts=4, learning_rate=3e-4),
    )


def prompts_preset() -> TrainConfig:
    """Your own prompts and their continuations: `--task.path FILE`."""
    return replace(
        text_preset(),
        task=PromptsConfig(),
        # Attention learns sooner than a recurrent state does what to take from a prompt; until it
        # has, the loss stands still for some epochs.
        generator=TransformerGeneratorConfig(dropout=0.2),
        pretrain=PretrainConfig(epochs=60, patience=3, learning_rate=1e-3),
    )


PRESETS = {
    "captions": captions_preset,
    "oracle": oracle_preset,
    "oracle-paper": oracle_paper_preset,
    "text": text_preset,
    "prompts": prompts_preset,
}


def save_config(config: TrainConfig, path: Path) -> None:
    """Writes the configuration as YAML, every field spelt out."""
    plain = _plain(asdict(config))
    path.write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), encoding="utf-8")


def load_config(path: Path) -> TrainConfig:
    """Reads a YAML file that `save_config` or a person wrote; absent fields keep their defaults.

    Raises:
        ConfigurationError: no such file, no YAML, an unknown field (with the nearest known one), a
            value of the wrong type or out of range.
    """
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"a configuration is a YAML file, got {path}: no such file"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"a configuration is a readable YAML file, {path}: {error}"
        ) from error
    except yaml.YAMLError as error:
        summary = " ".join(str(error).split())
        raise ConfigurationError(f"a configuration is a YAML file, {path}: {summary}") from error
    if not isinstance(plain, dict):
        raise ConfigurationError(f"a configuration is a YAML mapping, {path} holds {plain!r}")
    try:
        return _build(TrainConfig, plain, "")
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def _plain(value: Any) -> Any:
    """Tuples as lists, which YAML can say."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _build(annotation: Any, value: Any, where: str) -> Any:
    """A value of the annotated type from plain YAML; `where` is its dotted name."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (types.UnionType, Union):
        return _build(_of_kind(arguments, value, where), value, where)
    if is_dataclass(annotation) and isinstance(annotation, type):
        return _build_dataclass(annotation, value, where)
    if origin is tuple:
        if isinstance(value, str):  # one stands for a list of one
            value = [value]
        if not isinstance(value, list):
            raise ConfigurationError(f"{where} is a list, got {value!r}")
        return tuple(_build(arguments[0], item, where) for item in value)
    if origin is Literal:
        if value not in arguments:
            known = ", ".join(str(argument) for argument in arguments)
            raise ConfigurationError(f"{where} is one of {known}, got {value!r}")
        return value
    if annotation is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML 1.1 reads 1e-3 as a string
        except (ValueError, OverflowError) as error:
            raise ConfigurationError(f"{where} is a number, got {value!r}") from error
    if type(value) is not annotation:
        raise ConfigurationError(f"{where} is of type {annotation.__name__}, got {value!r}")
    return value


def _build_dataclass(annotation: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where} is a mapping, got {value!r}")
    hints = get_type_hints(annotation)
    names = [item.name for item in fields(annotation)]
    for name in value:
        if name not in names:
            near = difflib.get_close_matches(str(name), names, n=1)
            hint = f"; the nearest known field is {near[0]}" if near else ""
            raise ConfigurationError(f"unknown field {_dotted(where, name)}{hint}")
    built = {name: _build(hints[name], item, _dotted(where, name)) for name, item in value.items()}
    return annotation(**built)


def _dotted(where: str, name: object) -> str:
    return f"{where}.{name}" if where else str(name)


def _of_kind(candidates: tuple[Any, ...], value: Any, where: str) -> Any:
    """The dataclass whose `kind` field admits the kind that the mapping names."""
    kinds = {
        kind: candidate
        for candidate in candidates
        for kind in get_args(get_type_hints(candidate)["kind"])
    }
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise ConfigurationError(f"{where} has a kind, one of {', '.join(kinds)}, got {kind!r}")
    return kinds[kind]


def configs_by_kind(slot: str) -> dict[str, Any]:
    """The kinds that may stand in a slot of `TrainConfig`, with their dataclasses."""
    annotation = get_type_hints(TrainConfig)[slot]
    candidates = (
        get_args(annotation) if get_origin(annotation) is types.UnionType else (annotation,)
    )
    return {
        kind: candidate
        for candidate in candidates
        for kind in get_args(get_type_hints(candidate)["kind"])
    }
