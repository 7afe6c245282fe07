"""The sections of a dashboard: which metrics stand in which panel, in the order of what matters.

Quality and diversity come first, then the rewards, then texts; what somebody looks up who seeks a
cause is folded. A number of quality stands beside one of diversity, because either alone can be
bought with the other.
"""

from seqgan.tracking.panels import Bars, Chart, Curves, Media, Plane, Section

HISTOGRAMS = ("action_value/<positions>", "advantage/<positions>")

# Axes and counters, which others are plotted against; what is one value at the end of a run, for
# the columns of a table of runs; and histograms, of which pictures are drawn.
LEFT_OUT = (
    "global_step",
    "iteration",
    "pretrain/epoch",
    "pretrain/round",
    "result/verdict",
    "result/sentence",
    "result/difference_low",
    "result/difference_high",
    "result/resampling/verdict",
    "result/resampling/sentence",
    "result/resampling/difference",
    "result/resampling/difference_low",
    "result/resampling/difference_high",
    "result/resampling/effective_share",
    "result/resampling/kl_to_start",
    "result/resampling/beta",
    "result/<row>/<path>",
    "result/<curve>/<temperature>/<metric>",
    *HISTOGRAMS,
)

# What the patterns of the list stand for in the shipped tasks, where no run says it.
SHIPPED = ("eval/grammatical",)

QUALITY, REWARDS, YOURS, SAMPLES = "Quality and diversity", "Rewards", "Your metrics", "Samples"
LEARNING, ADVERSARIES, POSITIONS = "Learning", "Adversaries", "Values by position"
MORE_QUALITY, MORE_LEARNING, SPEED = "Quality in detail", "Learning in detail", "Speed"

# The section of what no panel names, by the part of its name before the first slash.
AREAS = {
    "user": YOURS,
    "charts": MORE_LEARNING,
    "losses": MORE_LEARNING,
    "kl": MORE_LEARNING,
    "checkpoint": MORE_LEARNING,
    "pretrain": MORE_LEARNING,
    "discriminator": ADVERSARIES,
    "rewards": REWARDS,
    "groups": MORE_LEARNING,
    "action_value": MORE_LEARNING,
    "advantage": MORE_LEARNING,
    "completions": MORE_QUALITY,
    "eval": MORE_QUALITY,
    "time": SPEED,
}

# What stands beside a metric of `eval/` that no panel names, by its unit: a number of diversity.
BESIDE = {"fraction": "eval/distinct_2", "nats per token": "eval/entropy"}

SECTIONS = (
    Section(
        QUALITY,
        "No number of quality stands alone, because a lower temperature buys any of them with"
        " diversity. The first point of each curve, at `global_step` 0, is the pretrained"
        " generator: the control. At the end a run is compared with it over temperatures. Where"
        " each run is a point, a run is better than its control if it has more quality at equal"
        " diversity. A rise of `eval/nll_heldout` is forgetting.",
        (
            Curves(
                "Quality, diversity: the task's measures, distinct",
                ("eval/<measure>", "eval/distinct_2", "eval/duplicate_rate"),
            ),
            Curves(
                "Quality, diversity: NLL (true model), entropy",
                ("eval/nll_oracle", "eval/entropy"),
            ),
            Curves(
                "Quality, diversity: BLEU-4, Self-BLEU-4",
                ("eval/bleu_4", "eval/self_bleu_4"),
                (0, 1),
            ),
            Curves(
                "Both in one: NLL of held-out text. Entropy",
                ("eval/nll_heldout", "eval/entropy"),
            ),
            Curves(
                "Frechet distance: down to its floor, no further",
                ("eval/frechet_<embedding>", "eval/frechet_<embedding>_floor"),
                (0, None),
            ),
            Curves(
                "Duplicates and copies",
                ("eval/duplicate_rate", "eval/copied_rate", "eval/copied_spans"),
                (0, None),
            ),
            Chart(
                "At the end: quality, diversity over temperatures",
                "curve",
                "quality",
                "diversity",
                ("result/<curve>/<temperature>/<metric>",),
            ),
            Bars("Each run's end: below 0 beats MLE", ("result/difference",)),
            Plane("Each run a point: distinct pairs, measure", "eval/distinct_2", "eval/<measure>"),
            Plane("Each run a point: entropy, NLL (true model)", "eval/entropy", "eval/nll_oracle"),
            Plane("Each run a point: Self-BLEU-4, BLEU-4", "eval/self_bleu_4", "eval/bleu_4"),
        ),
    ),
    Section(
        REWARDS,
        "A return alone proves nothing: a discriminator that learns moves the goal, and a fixed"
        " reward can be exploited. One reward that rises while the others fall is being exploited."
        " A standard deviation of 0 teaches nothing: all texts earn the same.",
        (
            Curves("Mean of each reward", ("rewards/<name>/mean",)),
            Curves("Return", ("charts/episodic_return",)),
            Curves("Spread of each reward: 0 teaches nothing", ("rewards/<name>/std",), (0, None)),
        ),
    ),
    Section(
        YOURS,
        "Numbers that your own code logs as `user/<path>`, each over the counter of the phase that"
        " logged it last.",
        (),
    ),
    Section(
        SAMPLES,
        "No number sees all that a reader sees. The table grows with every evaluation: order it by"
        " step, or filter it by phase. A finished run has its report, too.",
        (Media("Reports of finished runs", ("report", "report_picture")),),
    ),
    Section(
        LEARNING,
        "A fall of `losses/entropy` towards 0 is mode collapse. Growth of `kl/reference` without"
        " end means that its weight is too small. After the turn of `pretrain/nll_dev` comes"
        " overfitting. `discriminator/information_heldout` says what the adversary knows of unseen"
        " text that the generator does not: nothing, where it is not above 0 by two"
        " `discriminator/information_heldout_error`.",
        (
            Curves("Entropy of the policy: towards 0 is collapse", ("losses/entropy",), (0, None)),
            Curves("Distance from the reference policy", ("kl/reference",)),
            Curves(
                "Held-out information: above 0, or nothing to teach",
                (
                    "discriminator/information_heldout",
                    "discriminator/information_heldout_error",
                ),
            ),
            Curves(
                "Pretraining: NLL of train and dev",
                (
                    "pretrain/nll_dev",
                    "pretrain/nll_train",
                    "pretrain/best_nll_dev",
                    "losses/pretrain",
                ),
            ),
        ),
    ),
    Section(
        ADVERSARIES,
        "Chance is an accuracy or an AUC of 0.5 and a loss of log 2 = 0.693; accuracies of 1 leave"
        " the generator no signal. `discriminator/accuracy_heldout` far below the training"
        " accuracies is a discriminator that has memorised its texts.",
        (
            Curves(
                "Accuracy: 0.5 is chance",
                (
                    "discriminator/accuracy_heldout",
                    "discriminator/accuracy_real",
                    "discriminator/accuracy_generated",
                    "discriminator/auc",
                ),
                (0, 1),
            ),
            Curves(
                "Both losses: a draw at 0.693 and -0.693",
                ("losses/discriminator", "losses/minimax_generator"),
            ),
            Curves(
                "Pretraining: held-out information",
                ("pretrain/discriminator_information_heldout",),
            ),
            Curves(
                "Pretraining: held-out accuracy",
                ("pretrain/discriminator_accuracy_heldout",),
                (0, 1),
            ),
            Curves("Pretraining: loss, 0.693 knows nothing", ("pretrain/discriminator_loss",)),
        ),
        folded=True,
    ),
    Section(
        POSITIONS,
        "What tokens are worth, by their place in the text, at each evaluation: the slider goes"
        " through them. A box has the middle half of the tokens, its whiskers nine tenths.",
        (
            Media(
                "Values of tokens by their position",
                ("by_position/action_value", "by_position/advantage"),
                HISTOGRAMS,
                slider=True,
            ),
        ),
        folded=True,
    ),
    Section(
        MORE_QUALITY,
        "BLEU compares only at equal `eval/bleu_references`, Self-BLEU at equal"
        " `eval/self_bleu_references`.",
        (
            *(
                Curves(
                    f"Quality, diversity: BLEU-{order}, Self-BLEU-{order}",
                    (f"eval/bleu_{order}", f"eval/self_bleu_{order}"),
                    (0, 1),
                )
                for order in (2, 3, 5)
            ),
            Curves(
                "KL to the true model: missing texts, wrong texts",
                ("eval/kl_oracle_generator", "eval/kl_generator_oracle", "eval/kl_symmetric"),
            ),
            Curves(
                "Quality, diversity: LM score, reverse LM score",
                ("eval/lm_score", "eval/reverse_lm_score"),
            ),
            Curves(
                "Distinct n-grams: a fall is repetition",
                ("eval/distinct_1", "eval/distinct_2", "eval/distinct_3"),
                (0, 1),
            ),
            Curves(
                "Mean length: 1 or the maximum is reward hacking",
                (
                    "eval/mean_length",
                    "charts/episodic_length",
                    "completions/min_length",
                    "completions/max_length",
                ),
                (0, None),
            ),
            Curves(
                "Texts of a batch: distinct ones, endless ones",
                ("completions/unique_fraction", "completions/clipped_ratio"),
                (0, 1),
            ),
            Curves(
                "Compare only at equal numbers of references",
                (
                    "eval/bleu_references",
                    "eval/self_bleu_references",
                    "eval/lm_texts",
                ),
                (0, None),
            ),
            Curves("Compare only at equal temperature", ("eval/temperature",), (0, None)),
        ),
        folded=True,
    ),
    Section(
        MORE_LEARNING,
        "`advantage/std` at 0 means that no token is preferred to another.",
        (
            Curves("Advantage: near 0 in the mean", ("advantage/std", "advantage/mean")),
            Curves(
                "Groups that all earn the same, texts unjudged",
                ("frac_reward_zero_std", "rewards/<name>/not_applicable"),
                (0, 1),
            ),
            Curves(
                "Spread of returns within and between groups",
                ("groups/std_within", "groups/std_between"),
                (0, None),
            ),
            Curves(
                "What the critic knows: below 0 is worse than none",
                ("losses/explained_variance",),
                (None, 1),
            ),
            Curves("The critic's squared error", ("losses/value_loss",)),
            Curves("Weight of the distance from the reference", ("kl/weight",)),
            Curves("Policy loss: only its gradient matters", ("losses/policy",)),
            Curves("KL to the policy that drew the batch", ("losses/approx_kl",)),
            Curves("Ratio to the policy that drew the batch", ("losses/ratio",)),
            Curves("Tokens outside the bounds of the ratio", ("losses/clipfrac",), (0, 1)),
            Curves("Optimiser steps of a batch", ("losses/steps",), (0, None)),
            Curves("KL term of the loss", ("losses/kl",)),
            Curves("Real text in the update: its NLL", ("losses/mle",)),
            Curves(
                "Gradient norms before clipping",
                ("losses/grad_norm_generator", "losses/grad_norm_discriminator"),
                logarithmic=True,
            ),
            Curves(
                "Learning rates",
                ("charts/learning_rate_generator", "charts/learning_rate_discriminator"),
            ),
        ),
        folded=True,
    ),
    Section(
        SPEED,
        "The parts of an iteration add up to `time/seconds`, with what is between them. A slow"
        " decline of `charts/SPS` is a leak or a busy machine.",
        (
            Curves("Tokens per second", ("charts/SPS",), (0, None)),
            Curves("Tokens so far, prompts included", ("num_tokens",), (0, None)),
            Curves(
                "Seconds of an iteration and of its parts",
                (
                    "time/seconds",
                    "time/collect",
                    "time/rollout",
                    "time/update_generator",
                    "time/update_discriminator",
                    "time/evaluate",
                ),
                (0, None),
            ),
        ),
        folded=True,
    ),
)
