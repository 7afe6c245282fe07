"""Rules of papers by their names: what each makes of the policy gradient.

`--rule grpo`, `rule: grpo` in a file and `seqgan.train(rule="grpo")` take one. A name stands for
settings: `config.yaml` holds these and the kind `policy_gradient`, and whatever a flag, a line of
the file or an argument sets wins. docs/rules.md says which rule is for what.

A name sets all that makes a method. It leaves alone what fits a run: the learning rate (papers have
1e-6, for language models of billions of weights; networks trained from nothing take 1e-4 to 1e-2),
the size of a batch (but where it makes the method), and the bound of the gradient's norm.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NamedRule:
    """A rule of a paper.

    Args:
        paper: who, when, where.
        formula: of the advantage A and of the loss, each one token's. R is a text's reward.
        settings: by their dotted names, beside those of `PLAIN`.
    """

    paper: str
    formula: str
    settings: Mapping[str, Any]


# The policy gradient of the rewards alone, without whatever a method may add.
PLAIN: Mapping[str, Any] = {
    "adversarial.group_size": 1,
    "rule.adam.beta1": 0.9,
    "rule.num_rollouts": 0,
    "rule.gamma": 1.0,
    "rule.rollout_decay": 0.0,
    "rule.rollout_stride": 1,
    "rule.aggregation": "sum_then_normalize",
    "rule.rescale": "none",
    "rule.baseline": "none",
    "rule.scale": "none",
    "rule.kl_weight": 0.0,
    "rule.kl_target": 0.0,
    "rule.kl_in": "reward",
    "rule.reference_every": 0,
    "rule.loss": "reinforce",
    "rule.clip_low": 0.2,
    "rule.clip_high": 0.2,
    "rule.epochs": 1,
    "rule.minibatch_size": 0,
    "rule.stop_kl": 0.0,
    "rule.critic.kind": "none",
    "rule.critic.gae_lambda": 0.95,
    "rule.critic.target_lambda": 1.0,
    "rule.critic.clip_values": 0.0,
    "rule.update.reduction": "mean",
    "rule.update.entropy_weight": 0.0,
    "rule.update.mle_weight": 0.0,
}
# Texts of a prompt compared by mean and deviation, as in GRPO and what followed it.
_GROUPS: Mapping[str, Any] = {
    "adversarial.group_size": 8,  # TRL's; 16 to 64 in the papers
    "rule.baseline": "group_mean",
    "rule.scale": "group",
    "rule.loss": "ppo",
}
# Texts of an optimiser step: four steps for a batch of 64. The papers take 4 to 16.
_STALE = 16

NAMED_RULES: Mapping[str, NamedRule] = {
    "reinforce": NamedRule(
        "Williams, 1992",
        "A = R - b, b <- 0.9 b + 0.1 mean(R); loss -A log pi",
        {
            "rule.baseline": "moving_average",
            "rule.baseline_decay": 0.9,
            "rule.update.reduction": "constant",
        },
    ),
    "seqgan": NamedRule(
        "Yu et al., 2017 (arXiv:1609.05473)",
        "A = Q(y_1:t), the mean D of 16 completions; loss -A log pi, summed",
        {
            "adversarial.reward_shape": "probability",
            "discriminator_training.d_steps": 1,
            "rule.num_rollouts": 16,
            "rule.update.reduction": "sum",
        },
    ),
    "scratchgan": NamedRule(
        "de Masson d'Autume et al., 2019 (arXiv:1905.09922)",
        "A = sum over s >= t of 0.23^(s - t) r_s - b, r_t = 2 D(y_1:t) - 1, b <- 0.08 b + 0.92"
        " mean; loss -A log pi",
        {
            "discriminator.kind": "causal",  # with layer norm and dropout, as the paper's LSTM
            "pretrain.epochs": 0,
            "discriminator_training.pretrain_rounds": 0,
            "discriminator_training.d_steps": 1,
            "discriminator_training.every": 1,
            "discriminator_training.d_epochs": 1,
            "discriminator_training.num_sequences": 512,  # one minibatch: updates are 1 to 1
            "discriminator_training.batch_size": 1024,
            "discriminator_training.adam.beta1": 0.5,
            "discriminator_training.adam.weight_decay": 0.01,
            "adversarial.batch_size": 512,
            "adversarial.reward_shape": "centred",
            "rule.adam.beta1": 0.5,
            "rule.gamma": 0.23,
            "rule.baseline": "moving_average",
            "rule.baseline_decay": 0.08,
        },
    ),
    "rloo": NamedRule(
        "Kool et al., 2019; Ahmadian et al., 2024 (arXiv:2402.14740)",
        "A = R_i - mean(R_j, j != i) with R less 0.05 KL; loss -A log pi",
        {
            "adversarial.group_size": 4,  # the paper's best; TRL's is 2
            "rule.baseline": "group_leave_one_out",
            "rule.kl_weight": 0.05,  # TRL's
            "rule.update.reduction": "constant",
        },
    ),
    "grpo": NamedRule(
        "Shao et al., 2024 (arXiv:2402.03300)",
        "A = (R_i - mean(R)) / std(R); loss -min(r A, clip(r, 0.8, 1.2) A) + 0.04 k3, the mean of"
        " each text",
        {
            **_GROUPS,
            "rule.kl_weight": 0.04,
            "rule.kl_in": "loss",
            "rule.kl_estimator": "k3",
            "rule.update.reduction": "sequences",
        },
    ),
    "dr-grpo": NamedRule(
        "Liu et al., 2025 (arXiv:2503.20783)",
        "A = R_i - mean(R); loss -min(r A, clip(r, 0.8, 1.2) A), divided by the longest length",
        {**_GROUPS, "rule.scale": "none", "rule.update.reduction": "constant"},
    ),
    "dapo": NamedRule(
        "Yu et al., 2025 (arXiv:2503.14476)",
        "A = (R_i - mean(R)) / std(R); loss -min(r A, clip(r, 0.8, 1.28) A), the mean of tokens",
        {**_GROUPS, "rule.clip_high": 0.28, "rule.minibatch_size": _STALE},
    ),
    "gspo": NamedRule(
        "Zheng et al., 2025 (arXiv:2507.18071)",
        "A = (R_i - mean(R)) / std(R); loss -min(s A, clip(s, 1 - 3e-4, 1 + 4e-4) A) with"
        " s = exp(mean log r) of a text",
        {
            **_GROUPS,
            "rule.loss": "gspo",
            "rule.clip_low": 3e-4,
            "rule.clip_high": 4e-4,
            "rule.minibatch_size": _STALE,
            "rule.update.reduction": "sequences",
        },
    ),
    "cispo": NamedRule(
        "MiniMax, 2025 (arXiv:2506.13585)",
        "A = (R_i - mean(R)) / std(R); loss -min(r, 5) A log pi, no gradient through r",
        {
            **_GROUPS,
            "rule.loss": "cispo",
            "rule.clip_low": 1.0,
            "rule.clip_high": 4.0,  # ScaleRL's bound 5 of the ratio, as TRL has it
            "rule.minibatch_size": _STALE,
        },
    ),
    "ppo": NamedRule(
        "Schulman et al., 2017 (arXiv:1707.06347); Ouyang et al., 2022 (arXiv:2203.02155)",
        "A = GAE(0.95) of a critic, rewards less 0.05 KL, whitened; loss -min(r A,"
        " clip(r, 0.8, 1.2) A), 4 epochs",
        {
            "rule.critic.kind": "head",
            "rule.critic.gae_lambda": 0.95,
            "rule.critic.target_lambda": 0.95,
            "rule.critic.clip_values": 0.2,
            "rule.scale": "whiten",
            "rule.kl_weight": 0.05,  # of TRL's last PPO, as the other numbers
            "rule.loss": "ppo",
            "rule.epochs": 4,
        },
    ),
    "reinforce-plus-plus": NamedRule(
        "Hu et al., 2025 (arXiv:2501.03262)",
        "A = (G_t - mean(G)) / std(G) of all tokens, G_t = R less 0.01 KL from t on; loss"
        " -min(r A, clip(r, 0.8, 1.2) A)",
        {"rule.scale": "whiten", "rule.kl_weight": 0.01, "rule.loss": "ppo"},
    ),
}


def named_rule(kind: object) -> NamedRule | None:
    """The rule of that name, with hyphens or underscores; None where there is none."""
    return NAMED_RULES.get(kind.replace("_", "-")) if isinstance(kind, str) else None


def named_settings(rule: NamedRule) -> dict[str, Any]:
    """All settings that a name stands for, by their dotted names."""
    return {**PLAIN, **rule.settings}


def with_named_rule(plain: Mapping[Any, Any]) -> dict[Any, Any]:
    """The nested settings of a file, with those that the name of its rule stands for.

    A setting that the file has keeps its value.
    """
    settings = dict(plain)
    given = settings.get("rule")
    found = named_rule(given.get("kind") if isinstance(given, Mapping) else given)
    if found is None:
        return settings
    settings["rule"] = {**(given if isinstance(given, Mapping) else {}), "kind": "policy_gradient"}
    for dotted, value in named_settings(found).items():
        *parts, name = dotted.split(".")
        holder = settings
        for part in parts:
            inner = holder.get(part, {})
            if not isinstance(inner, Mapping):  # what is wrong with it is told later
                break
            holder[part] = dict(inner)
            holder = holder[part]
        else:
            holder.setdefault(name, value)
    return settings
