"""Troubles of a game and their signs in its metrics: the end of `docs/metrics.md`.

Only text, and the names of metrics and settings, which a test looks up.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Illness:
    """A way in which training goes wrong.

    Args:
        name: what it is called.
        meaning: what happens, and why.
        signs: metrics, and how each shows it; the surest first.
        remedy: what to try, the settings as in `config.yaml`.
    """

    name: str
    meaning: str
    signs: tuple[tuple[str, str], ...]
    remedy: str


ILLNESSES = (
    Illness(
        "Mode collapse",
        "The generator repeats few texts, or few phrases, that the reward likes. Every number of"
        " quality alone rises with it.",
        (
            ("eval/entropy", "below half of what it was before the game"),
            ("losses/entropy", "the same, in every iteration: falls towards 0"),
            ("eval/nll_heldout", "rises: most real texts have become unlikely"),
            ("eval/self_bleu_2", "rises towards 1, and so do the longer orders"),
            ("eval/distinct_2", "falls, and so do the other orders"),
            ("eval/duplicate_rate", "rises"),
            ("completions/unique_fraction", "falls, which shows late: similar texts are distinct"),
            ("eval/kl_oracle_generator", "rises while `eval/kl_generator_oracle` falls"),
            ("eval/nll_oracle", "falls below the true model's entropy"),
        ),
        "A larger `rule.kl_weight`, `rule.update.mle_weight` or"
        " `rule.update.entropy_weight`; a smaller `rule.learning_rate`; fewer"
        " iterations.",
    ),
    Illness(
        "Discriminator too strong",
        "It tells all texts apart, so that all generated ones earn the same and none is better than"
        " another.",
        (
            ("discriminator/accuracy_heldout", "0.99 and more"),
            ("discriminator/accuracy_generated", "1, and `discriminator/accuracy_real` too"),
            ("discriminator/auc", "1"),
            ("losses/discriminator", "near 0, and `losses/minimax_generator` too"),
            ("rewards/<name>/std", "of the discriminator: near 0"),
            ("advantage/std", "near 0"),
            ("losses/grad_norm_generator", "near 0"),
        ),
        "A smaller discriminator, or one with more `discriminator.dropout`; a smaller"
        " `discriminator_training.learning_rate`; fewer `discriminator_training.d_steps`; rounds of"
        " `discriminator_training.pretrain_rounds` only until it knows something.",
    ),
    Illness(
        "Discriminator too weak, or nothing to teach",
        "It knows nothing of unseen text that the generator does not, so its reward is noise."
        " Either it has memorised its training texts, or the data hold no more.",
        (
            (
                "discriminator/information_heldout",
                "not above 0 by two `discriminator/information_heldout_error`",
            ),
            ("pretrain/discriminator_information_heldout", "not above 0: so before the game"),
            ("discriminator/accuracy_heldout", "near 0.5"),
            (
                "discriminator/accuracy_real",
                "far above `discriminator/accuracy_heldout` where it has memorised",
            ),
            ("losses/discriminator", "stays at log 2 = 0.693 where it has not even memorised"),
            ("charts/episodic_return", "wanders, and nothing under eval/ follows it"),
        ),
        "More `discriminator_training.num_sequences` and more training texts; more"
        " `discriminator.dropout` or `discriminator_training.l2` where it memorises; more"
        " `discriminator_training.d_steps` where it does not learn. If it stays, the game can add"
        " nothing: stop after pretraining, or add a reward that knows more.",
    ),
    Illness(
        "Flat reward",
        "A reward gives all texts nearly the same, so none is better than another, and the game"
        " changes nothing but by chance. It may have reached its largest value; or it asks for what"
        " the generator never writes, or reads another language. An alert says so after five"
        " iterations.",
        (
            ("rewards/<name>/std", "near 0, or below a hundredth of what it was"),
            ("rewards/<name>/mean", "the reward's largest or smallest value, or the same always"),
            ("frac_reward_zero_std", "near 1, where it is the only reward"),
            ("advantage/std", "near 0, where it is the only reward"),
            ("charts/episodic_return", "stands still"),
        ),
        "Call it with ten samples (`seqgan sample RUN`) and read its numbers. A reward that comes"
        " by degrees in place of yes or no; one that the pretrained generator earns now and then"
        " (texts that earn it among the training texts); more `adversarial.batch_size`, so that"
        " some text earns it. At its largest value it has done its work: stop there.",
    ),
    Illness(
        "Reward hacking",
        "The reward rises and the texts get no better: the generator has found what the reward"
        " overlooks.",
        (
            ("rewards/<name>/mean", "one rises steeply while the others fall"),
            (
                "charts/episodic_return",
                "rises while measures, diversity or `eval/nll_heldout` worsen",
            ),
            ("eval/<measure>", "worsens"),
            ("charts/episodic_length", "slides to 1 or climbs to the maximum"),
            ("completions/clipped_ratio", "rises to 1: texts have stopped ending"),
            ("rewards/<name>/not_applicable", "rises: the generator avoids what is judged"),
            ("kl/reference", "grows without levelling off"),
        ),
        "Read the samples. A second reward against the trick; a larger `rule.kl_weight`, or"
        " an `rule.kl_target` to hold; a clipped reward (`adversarial.reward_clip`).",
    ),
    Illness(
        "Forgetting and overfitting",
        "The generator loses what it knew of the data: in the game for the sake of the reward, in"
        " pretraining for the sake of the training texts.",
        (
            ("eval/nll_heldout", "rises in the game by 0.1 nats per token or more"),
            ("losses/mle", "rises, where `rule.update.mle_weight` is above 0"),
            ("kl/reference", "grows without end"),
            ("pretrain/nll_dev", "turns upwards while `pretrain/nll_train` falls: overfitting"),
            ("pretrain/best_nll_dev", "has stayed for many epochs: pretraining should have ended"),
        ),
        "In the game a larger `rule.kl_weight` or `rule.update.mle_weight`; in"
        " pretraining more `generator.dropout`, a `pretrain.patience` of 1, a smaller generator.",
    ),
    Illness(
        "Divergence",
        "The updates are too large: the policy falls apart, and texts become words at random.",
        (
            ("losses/grad_norm_generator", "grows by orders of magnitude"),
            ("losses/policy", "NaN, or grows by orders of magnitude"),
            ("losses/entropy", "climbs towards the logarithm of the vocabulary's size"),
            ("eval/entropy", "climbs far above the data's"),
            ("eval/nll_oracle", "rises, and `eval/<measure>` and `eval/bleu_2` worsen"),
            ("charts/episodic_return", "falls and does not come back"),
        ),
        "A smaller `rule.learning_rate`, a larger `adversarial.batch_size`, a smaller"
        " `rule.update.max_grad_norm`, more `rule.num_rollouts`.",
    ),
    Illness(
        "Memorisation",
        "The generator writes down its training texts. All numbers of quality praise it.",
        (
            ("eval/copied_rate", "far above the rate of held-out text"),
            ("eval/copied_spans", "far above the share of held-out text"),
            ("eval/nll_heldout", "far above `pretrain/nll_train`"),
            ("pretrain/nll_dev", "turns upwards while `pretrain/nll_train` falls"),
            ("eval/bleu_4", "near 1 at a temperature of 1"),
        ),
        "More training texts; a smaller generator, more `generator.dropout`, fewer"
        " `pretrain.epochs`; the reward `novelty`.",
    ),
)


def to_markdown() -> list[str]:
    """A section with a table for each illness, as lines."""
    lines = [
        "## Symptoms",
        "",
        "What goes wrong, and where it shows. One sign may be noise; two or three in one table are"
        " the illness. Compare with the values before the game, at `global_step` 0, and with a"
        " control: the same run with `--reward constant`.",
    ]
    for illness in ILLNESSES:
        lines += [
            "",
            f"### {illness.name}",
            "",
            illness.meaning,
            "",
            "| metric | sign |",
            "|---|---|",
            *(f"| `{metric}` | {sign} |" for metric, sign in illness.signs),
            "",
            f"What to try: {illness.remedy}",
        ]
    return lines
