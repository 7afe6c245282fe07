"""Everything a run depends on, as one frozen dataclass.

The same dataclass is a YAML file and the flags of `seqgan train`. A slot (`task`, `generator`,
`discriminator`, `rule`) holds settings of one of several kinds, or of the user's own: see `slots`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Annotated, Any

from seqgan.evaluation.planes.points import TEMPERATURES
from seqgan.evaluation.texts import check_embeddings
from seqgan.learning.optimization import AdamConfig, ScheduleKind
from seqgan.learning.rules.base import RuleConfig
from seqgan.learning.rules.policy_gradient import PolicyGradientConfig
from seqgan.models.discriminators.base import DiscriminatorConfig, judges_prefixes
from seqgan.models.discriminators.recurrent import RecurrentDiscriminatorConfig
from seqgan.models.generators.base import GeneratorConfig
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.models.precision import Precision
from seqgan.rewards.adapters.finding import spelt_out
from seqgan.rewards.discriminator import RewardShape
from seqgan.rewards.discriminator_step import DiscriminatorLoss
from seqgan.rewards.guard import OnFailure
from seqgan.system.checks import (
    Bound,
    Count,
    Positive,
    Range,
    Rate,
    Samples,
    Seed,
    Share,
    Signed,
    Size,
    Temperature,
    Weight,
    WholeShare,
    at_least,
    check_settings,
    expand_home,
)
from seqgan.system.errors import ConfigurationError
from seqgan.system.plugins import call, nearest, parse_spec
from seqgan.tasks.base import TaskConfig
from seqgan.tasks.captions import CaptionsConfig
from seqgan.tracking.wandb_settings import TrackerConfig
from seqgan.training.moved import present_setting
from seqgan.training.named_rules import named_rule, named_settings
from seqgan.training.slots import SLOTS, settings_class

Pair = Annotated[int, at_least(2)]
BelowHalf = Annotated[float, Range("at least 0 and below 0.5", 0, 0.499999)]
Few = Annotated[int, Range("at least 0", 0, 4096, " and at most 4096")]  # threads


@dataclass(frozen=True)
class PretrainConfig:
    epochs: Count = 60  # passes over the training set, or over `epoch_size` of it, at most
    epoch_size: Count = 0  # sequences per epoch, the next going on from there; 0 takes all
    patience: Count = 3  # epochs without a better dev NLL before a decay or the end; 0 trains all
    decays: Count = 2  # times that the learning rate falls to a third before patience ends it
    batch_size: Size = 64  # sequences per minibatch
    micro_batch_size: Count = 0  # of them, those whose gradient is computed at once; 0: all
    learning_rate: Rate = 2e-3  # Adam's, for maximum likelihood
    weight_decay: Weight = 0.0  # decoupled (AdamW), for maximum likelihood
    max_grad_norm: Bound = 5.0  # the gradient's norm is clipped to this

    def __post_init__(self) -> None:
        check_settings("pretrain", self)


@dataclass(frozen=True)
class DiscriminatorTrainingConfig:
    pretrain_rounds: Count = 5  # rounds before the game, each with fresh generated sequences
    patience: Count = 0  # rounds that held-out information may stand still; 0 does all of them
    pretrain_epochs: Size = 1  # passes in each of those rounds (the paper's k)
    d_steps: Count = 1  # rounds of discriminator training in each of its turns
    every: Size = 1  # iterations of the game up to one of its turns
    d_epochs: Size = 1  # passes in each round of the game (the paper's k)
    num_sequences: Size = 1000  # real sequences, and as many fresh generated ones, in each round
    batch_size: Pair = 64  # sequences per minibatch, half of them real
    micro_batch_size: Count = 0  # of them, those whose gradient is computed at once; 0: all
    learning_rate: Rate = 1e-3  # Adam's
    schedule: ScheduleKind = "constant"  # of that rate over the game; linear or cosine to 0
    warmup: Count = 0  # iterations of the game in which the rate rises to its value
    adam: AdamConfig = field(default_factory=AdamConfig)
    l2: Weight = 0.0  # half the squared norm of the output layer is added with this weight
    max_grad_norm: Bound = float("inf")  # the gradient's norm is clipped to this
    precision: Precision = "float32"  # type of its arithmetic, in training and scoring
    loss: DiscriminatorLoss = "binary"  # each row for itself, or which of a pair is real
    label_smoothing: BelowHalf = 0.0  # taken off the label 1 of real rows
    spectral_norm: bool = False  # divide weights by their largest singular value
    gradient_penalty: Weight = 0.0  # weight of the logit's squared gradient by the embeddings
    max_accuracy: WholeShare = 1.0  # a minibatch of which it tells more apart makes no step
    replay: Share = 0.0  # share of a round's generated sequences that are of earlier rounds
    replay_size: Size = 10000  # sequences of earlier rounds that are kept for that

    def __post_init__(self) -> None:
        check_settings("discriminator_training", self)
        if self.gradient_penalty > 0 and self.precision != "float32":
            raise ConfigurationError(
                f"discriminator_training.precision is {self.precision}, but must be float32"
                " where there is a gradient_penalty"
            )
        if self.loss == "pairwise" and self.label_smoothing > 0:
            raise ConfigurationError(
                f"discriminator_training.label_smoothing is {self.label_smoothing}, but"
                " must be 0 with the pairwise loss, which has no labels"
            )

    def rounds(self, iterations: int) -> int:
        """Rounds in so many iterations of the game."""
        return iterations // self.every * self.d_steps


@dataclass(frozen=True)
class AdversarialConfig:
    iterations: Count = 100  # rounds of the game
    g_steps: Size = 1  # generator updates per iteration
    batch_size: Size = 64  # sequences per generator update
    group_size: Size = 1  # of them, completions of each prompt, which are compared with each other
    ema_decay: Share = 0.0  # of averaged weights, which are measured and sampled; 0: the last ones
    patience: Count = 0  # values without a better `stop_metric` that end the game; 0 plays it all
    stop_metric: str = "checkpoint/loss"  # a metric by its name in docs/metrics.md
    reward_shape: RewardShape = "logit"  # function of D that is the reward
    reward_clip: Positive = 5.0  # logit and logarithms of D are clipped to +- this

    def __post_init__(self) -> None:
        check_settings("adversarial", self)
        if self.batch_size % self.group_size:
            raise ConfigurationError(
                f"adversarial.batch_size is {self.batch_size}, but must be a multiple of"
                f" adversarial.group_size, {self.group_size}"
            )


GENERATORS_OWN = "generator"  # of a discriminator's path: the folder of the generator's model
PHASES = ("maximum_likelihood", "adversary", "game")


@dataclass(frozen=True)
class EvaluationConfig:
    every: Size = 10  # iterations between two evaluations in the game; its last one has one, too
    num_samples: Samples = 1000  # generated sequences per evaluation during training
    num_final: Samples = 4000  # generated sequences per row of the final table
    num_heldout: Pair = 2000  # held-out sequences scored in each evaluation
    num_shown: Count = 8  # samples printed and logged each time
    temperatures: tuple[Temperature, ...] = TEMPERATURES  # MLE and the game are compared at these
    # Draws for each text of the row "start, resampled": the start, decoded with the run's reward in
    # place of training. 0 leaves the row out.
    resampled: Count = 4
    measures: tuple[str, ...] = ()  # of your own: module:function or file.py:function of a text
    embeddings: tuple[str, ...] = ("hashed",)  # for the Frechet distance between texts
    mauve: bool = False  # whether MAUVE is computed too, for each of the embeddings; takes seconds
    toxicity: bool = False  # whether the share of offensive texts is; needs the rewards extra

    def __post_init__(self) -> None:
        check_embeddings("evaluation.embeddings", self.embeddings, self.mauve)
        if isinstance(self.measures, str):
            raise ConfigurationError(
                f"evaluation.measures is the string {self.measures!r}, but must be a tuple of names"
            )
        check_settings("evaluation", self)
        if self.resampled == 1:
            raise ConfigurationError(
                "evaluation.resampled is 1, but must be 0, or at least 2 draws to choose from"
            )
        if len(self.temperatures) < 2:
            raise ConfigurationError(
                f"evaluation.temperatures are {self.temperatures}, but must be at least two"
            )


@dataclass(frozen=True)
class TrainConfig:
    """A whole run."""

    task: TaskConfig = field(default_factory=CaptionsConfig)
    generator: GeneratorConfig = field(default_factory=RecurrentGeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=RecurrentDiscriminatorConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    discriminator_training: DiscriminatorTrainingConfig = field(
        default_factory=DiscriminatorTrainingConfig
    )
    rule: RuleConfig = field(default_factory=PolicyGradientConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    reward: tuple[str, ...] = ("discriminator",)  # names, file.py:function, classifiers
    reward_weights: tuple[Signed, ...] = ()  # one for each reward; empty weighs all of them 1
    reward_failure: OnFailure = "stop"  # if a reward fails; skip: it then does not apply
    reward_retries: Count = 0  # times that texts on which a reward failed are asked again
    reward_pause: Weight = 1.0  # seconds before the first of these times; doubled before the others
    reward_seconds: Weight = 600.0  # since a batch's first call; no text is asked again after them
    reward_in_flight: Few = 0  # calls of a text's function at a time; 0: 64 if it is async, else 1
    phases: tuple[str, ...] = PHASES  # in their order; or module:Config, file.py:Config
    observers: tuple[str, ...] = ()  # your own, beside the library's: module:name, file.py:name
    # The record beside the run's folder: wandb, tensorboard, csv, several of them, none; or your
    # own, module:Config, file.py:Config.
    trackers: tuple[str, ...] = ("wandb",)
    seed: Seed = 1  # decides initialisation, sampling and shuffling
    device: str = "cpu"  # where the networks live, as PyTorch names it
    threads: Few = 0  # CPU threads; 0 leaves PyTorch's choice
    checkpoint_seconds: Weight = 20.0  # least time between two checkpoints; 0: one after every unit
    checkpoint_keep: Size = 3  # checkpoints that are kept beside the best: the newest ones
    output: str = ""  # folder of the run; empty makes runs/<task>-<time>

    def __post_init__(self) -> None:
        check_settings("", self)
        expand_home(self, "output")
        for name in ("reward", "phases", "observers", "trackers"):
            if isinstance(value := getattr(self, name), str):
                raise ConfigurationError(
                    f"{name} is the string {value!r}, but must be a tuple of names"
                )
        if self.trackers == ("none",):
            object.__setattr__(self, "trackers", ())
        if "none" in self.trackers:
            raise ConfigurationError(
                f"trackers is {self.trackers}, but must be none or name trackers"
            )
        self._name_body()
        object.__setattr__(self, "reward", tuple(spelt_out(spec) for spec in self.reward))
        if not self.reward:
            raise ConfigurationError("reward is empty, but must name at least one reward")
        if not self.phases:
            raise ConfigurationError("phases is empty, but must name at least one phase")
        for spec in self.reward:
            if self.reward.count(spec) > 1:
                raise ConfigurationError(
                    f"reward has {spec!r} twice, but must name each reward once"
                )
        pairwise = self.discriminator_training.loss == "pairwise"
        if pairwise and judges_prefixes(self.discriminator):
            raise ConfigurationError(
                "discriminator_training.loss is pairwise, but must be binary for a"
                " discriminator that judges prefixes, which have no pairs"
            )
        if self.reward_weights and len(self.reward_weights) != len(self.reward):
            raise ConfigurationError(
                f"reward_weights has {len(self.reward_weights)} weights for"
                f" {len(self.reward)} rewards, but must have one for each"
            )

    def _name_body(self) -> None:
        """Puts the generator's folder in place of the word for it, once it is known.

        The body then has the type of the generator's frozen weights, so that both have one memory.
        """
        folder = getattr(self.generator, "path", "")
        if getattr(self.discriminator, "path", "") != GENERATORS_OWN or not folder:
            return
        changes = {"path": folder}
        if self.generator.adapter != "none" and self.generator.precision == "bfloat16":  # type: ignore[attr-defined]
            changes["dtype"] = "bfloat16"
        body: Any = replace(self.discriminator, **changes)  # type: ignore[type-var]
        object.__setattr__(self, "discriminator", body)

    def with_(self, **changes: Any) -> "TrainConfig":
        """The configuration with other settings, by the dotted names that the flags have.

        `config.with_(seed=2, **{"pretrain.epochs": 3, "rule.kl_weight": 0.1})`

        A slot takes other settings as a whole: `config.with_(task=TextConfig("captions.txt"))`, or
        another of the package's kinds with its defaults: `**{"discriminator.kind": "cnn"}`. A rule
        may be a name, too: `config.with_(rule="grpo", **{"rule.epochs": 2})`.

        Raises:
            ConfigurationError: there is no such setting, or its value breaks a rule.
        """
        changes, config = dict(present_setting(*one) for one in changes.items()), self
        if isinstance(kind := changes.get("rule"), str):
            named = named_rule(kind)
            names = named_settings(named) if named else {}
            parts = tuple(f"{name}." for name in changes if name != "rule")
            changes = {**{n: v for n, v in names.items() if not n.startswith(parts)}, **changes}
            config = config._of_kind("rule", "policy_gradient" if named else kind)
            del changes["rule"]
        for slot, kinds in SLOTS.items():
            kind = changes.get(f"{slot}.kind", "")
            if kind in kinds and slot not in changes:
                config = config._of_kind(slot, kind)
        return _with(config, changes, "", config)

    def _of_kind(self, slot: str, kind: str) -> "TrainConfig":
        """Itself where the slot's settings are of that kind, else with the kind's defaults."""
        chosen = settings_class(slot, kind)
        if type(getattr(self, slot)) is chosen:
            return self
        return replace(self, **{slot: call(chosen, {}, parse_spec(kind, slot))})


def _with(settings: Any, changes: Mapping[str, Any], where: str, root: TrainConfig) -> Any:
    """A dataclass with changed fields; those of a part are changed together.

    Args:
        where: the dotted name of the part, with a dot at its end.
        root: the whole configuration.
    """
    whole: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    known = [item.name for item in fields(settings)]
    for dotted, value in changes.items():
        name, dot, rest = dotted.partition(".")
        if name not in known or (dot and not is_dataclass(getattr(settings, name))):
            raise ConfigurationError(
                f"{where}{dotted} is no setting{_hint(where + dotted, root, where, known)}"
            )
        if dot:
            parts.setdefault(name, {})[rest] = value
        else:
            whole[name] = value
    for name, inner in parts.items():
        whole[name] = _with(
            whole.get(name, getattr(settings, name)), inner, f"{where}{name}.", root
        )
    return replace(settings, **whole)


def _hint(dotted: str, root: TrainConfig, where: str, known: Sequence[str]) -> str:
    """Settings that may have been meant: of the same name elsewhere, a near one, or the part's."""
    names = _dotted_names(root, "")
    elsewhere = [name for name in names if name.rpartition(".")[2] == dotted.rpartition(".")[2]]
    if elsewhere:
        return f"; there is {' and '.join(elsewhere)}"
    return nearest(dotted, names) or (f"; {where[:-1]} has {', '.join(known)}" if where else "")


def _dotted_names(settings: Any, where: str) -> list[str]:
    """The names of all settings, without those of their parts as a whole."""
    found: list[str] = []
    for item in fields(settings):
        value, name = getattr(settings, item.name), f"{where}{item.name}"
        found += _dotted_names(value, f"{name}.") if is_dataclass(value) else [name]
    return found
