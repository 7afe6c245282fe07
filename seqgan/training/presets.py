"""Named starting points: complete settings for common runs."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from seqgan.learning.policy_updates import GeneratorUpdate
from seqgan.learning.rules.policy_gradient import PolicyGradientConfig
from seqgan.models.discriminators.cnn import CNNDiscriminatorConfig
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.models.generators.transformer import TransformerGeneratorConfig
from seqgan.tasks.captions import CaptionsConfig
from seqgan.tasks.files.prompts import PromptsConfig
from seqgan.tasks.files.text import TextConfig
from seqgan.tasks.oracle import OracleConfig
from seqgan.training.settings import (
    GENERATORS_OWN,
    AdversarialConfig,
    DiscriminatorTrainingConfig,
    EvaluationConfig,
    PretrainConfig,
    TrainConfig,
)
from seqgan.training.slots import kind_of, settings_class


def captions_preset() -> TrainConfig:
    """The demo: captions of a grammar, in minutes on a laptop.

    Everything is known of the grammar: what is a sentence, and how likely it is.

    The generator is small on purpose. A larger one learns from the same data nearly all that a
    discriminator could tell it; the smaller the generator, the more an adversary can teach.

    In the game the discriminator stands still: it has met the start for long, the KL keeps the
    generator where that is true, and a round costs more than a g-step does. Its reward 2 D - 1 has
    the scale of a reward of the user's own.
    """
    return TrainConfig(
        task=CaptionsConfig(train_size=10000),
        generator=RecurrentGeneratorConfig(embedding_size=32, hidden_size=16),
        pretrain=PretrainConfig(epochs=60, batch_size=128, learning_rate=1e-2),
        discriminator_training=DiscriminatorTrainingConfig(
            pretrain_rounds=100,
            patience=15,
            d_steps=0,
            num_sequences=1500,
            batch_size=256,
            learning_rate=2e-3,
        ),
        rule=PolicyGradientConfig(
            learning_rate=5e-3,
            schedule="linear",
            num_rollouts=1,
            baseline="prefix",
            kl_weight=0.3,
            kl_in="loss",
            kl_estimator="k2",
            update=GeneratorUpdate(mle_weight=0.5),
        ),
        adversarial=AdversarialConfig(iterations=100, batch_size=256, reward_shape="centred"),
        threads=1,  # networks this small gain nothing from a second one
    )


def oracle_preset() -> TrainConfig:
    """The paper's synthetic task and protocol, with a discriminator schedule for a CPU."""
    return replace(
        oracle_paper_preset(),
        pretrain=PretrainConfig(epochs=60, patience=1, learning_rate=1e-2),
        discriminator=CNNDiscriminatorConfig(
            filter_sizes=(1, 2, 3, 4, 5), num_filters=(50, 50, 50, 50, 50)
        ),
        discriminator_training=DiscriminatorTrainingConfig(
            pretrain_rounds=5, num_sequences=2000, learning_rate=1e-3, l2=0.2
        ),
        rule=PolicyGradientConfig(num_rollouts=4, kl_weight=0.1),
        adversarial=AdversarialConfig(iterations=50, reward_shape="logit"),
    )


def oracle_paper_preset() -> TrainConfig:
    """The paper's own settings, of Yu et al. (2017) and their code: days on a CPU."""
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
        rule=PolicyGradientConfig(
            learning_rate=1e-2,
            num_rollouts=16,
            baseline="none",
            kl_weight=0.0,
            update=GeneratorUpdate(max_grad_norm=5.0, entropy_weight=0.0, reduction="sum"),
        ),
        adversarial=AdversarialConfig(
            iterations=200, g_steps=1, batch_size=64, reward_shape="probability"
        ),
        evaluation=EvaluationConfig(every=5, num_samples=9984, num_final=9984, num_heldout=10000),
    )


def text_preset() -> TrainConfig:
    """Your own texts: `seqgan train text FILE`."""
    return TrainConfig(
        task=TextConfig(),
        generator=RecurrentGeneratorConfig(embedding_size=128, hidden_size=256, dropout=0.4),
        pretrain=PretrainConfig(epochs=40, patience=1, learning_rate=2e-3),
        rule=PolicyGradientConfig(num_rollouts=4, learning_rate=3e-4),
        adversarial=AdversarialConfig(iterations=40),
    )


def prompts_preset() -> TrainConfig:
    """Your own prompts and what follows them: `seqgan train prompts FILE`."""
    return replace(
        text_preset(),
        task=PromptsConfig(),
        # Attention learns sooner than a recurrent state does what to take from a prompt; until it
        # has, the loss stands still for some epochs.
        generator=TransformerGeneratorConfig(dropout=0.2),
        pretrain=PretrainConfig(epochs=60, patience=3, learning_rate=1e-3),
        # Each prompt has a log Z of its own, of which four draws tell too little.
        evaluation=EvaluationConfig(resampled=16),
    )


def distill_preset() -> TrainConfig:
    """A language model and answers to learn from: `seqgan train distill FILE --model FOLDER`.

    The recipe of GAD (2025, arXiv:2511.10643), in a size for two cores. The discriminator is an
    adapter with a head on the generator's own model, which is in memory once. It learns to tell
    the file's answer from the generator's to the same prompt, and its logit is the reward of GRPO.
    Where it tells too many of them apart it waits. Answers without an end teach nothing: else they
    would grow where they please it.
    """
    generator, discriminator = (
        settings_class(slot, "pretrained") for slot in ("generator", "discriminator")
    )
    return TrainConfig(
        task=PromptsConfig(),
        generator=generator(),
        discriminator=discriminator(path=GENERATORS_OWN, body="lora"),
        pretrain=PretrainConfig(epochs=1, batch_size=16, learning_rate=3e-4, max_grad_norm=1.0),
        discriminator_training=DiscriminatorTrainingConfig(
            pretrain_rounds=8,
            num_sequences=32,
            batch_size=16,
            learning_rate=1e-4,
            max_grad_norm=1.0,
            micro_batch_size=4,
            loss="pairwise",
            max_accuracy=0.85,
        ),
        rule=PolicyGradientConfig(
            learning_rate=1e-4,
            num_rollouts=0,
            baseline="group_mean",
            scale="group",
            kl_weight=0.02,
            kl_in="loss",
            kl_estimator="k3",
            mask_truncated=True,
            update=GeneratorUpdate(max_grad_norm=1.0, micro_batch_size=8),
        ),
        adversarial=AdversarialConfig(
            iterations=50, batch_size=32, group_size=8, reward_shape="logit", reward_clip=100.0
        ),
        evaluation=EvaluationConfig(
            every=10,
            num_samples=64,
            num_final=64,
            num_heldout=64,
            resampled=8,
            temperatures=(1.0, 0.7),
        ),
    )


# What goes beside a kind of generator, by dotted setting, in place of a preset's own value or of a
# default: wherever no flag, no line of a settings file and no argument sets another. A language
# model has little to learn from a few texts, and a token of it costs thousands of times as much as
# one of the presets' networks: a completion for every token would be all that a run does.
BESIDE: Mapping[str, Mapping[str, Any]] = {
    "pretrained": {
        "pretrain.epochs": 1,
        "pretrain.batch_size": 16,
        # A tenth of it moves an adapter hardly at all in the dozen steps that a small file has.
        "pretrain.learning_rate": 1e-3,
        "discriminator_training.pretrain_rounds": 4,
        "discriminator_training.num_sequences": 32,
        "discriminator_training.batch_size": 16,
        "rule.num_rollouts": 0,
        "rule.learning_rate": 1e-4,
        "adversarial.iterations": 20,
        "adversarial.batch_size": 16,
        "evaluation.num_samples": 64,
        "evaluation.num_final": 64,
        "evaluation.num_heldout": 64,
        "evaluation.resampled": 8,
        "evaluation.temperatures": (1.0, 0.7),
    },
}


def with_beside(
    config: TrainConfig, kind: str, kept: Collection[str] = ()
) -> tuple[TrainConfig, dict[str, Any]]:
    """Settings with what goes beside a kind of generator, and what that is by its names.

    A rule of the user's own may lack some of them.

    Args:
        kept: settings that somebody has set, by their dotted names.
    """
    changes = {}
    for name, value in BESIDE.get(kind, {}).items():
        part, _, last = name.partition(".")
        if name not in kept and hasattr(getattr(config, part), last):
            changes[name] = value
    return config.with_(**changes), changes


PRESETS = {
    "captions": captions_preset,
    "oracle": oracle_preset,
    "oracle-paper": oracle_paper_preset,
    "text": text_preset,
    "prompts": prompts_preset,
    "distill": distill_preset,
}


def kept_by(preset: str, kind: str) -> set[str]:
    """The settings beside a kind of generator that a preset made for this kind has of its own."""
    if preset not in PRESETS or kind_of("generator", PRESETS[preset]().generator) != kind:
        return set()
    return set(BESIDE.get(kind, {}))
