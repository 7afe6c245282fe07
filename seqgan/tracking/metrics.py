"""Every metric that is ever logged, in one documented list.

The list decides the x-axis of each chart, makes `docs/metrics.md`, and lets a run reject a name
that nobody explained. It brings nothing but the standard library, so that losses may use `Metrics`.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from seqgan.system.errors import ConfigurationError
from seqgan.tracking import symptoms

Axis = Literal["global_step", "iteration", "pretrain/epoch", "pretrain/round"]

# What a part in angle brackets stands for, where it is not any text without a slash. <positions>:
# of tokens, counted from 1, as in 03-04. No embedding has a `_` in its name, as `_floor` has.
PLACEHOLDERS = {"positions": r"\d+-\d+", "embedding": "[^/_]+"}


@dataclass(frozen=True)
class Metric:
    """One entry of the list.

    Args:
        name: `area/what`; a part in angle brackets stands for any text without a slash, or for
            what `PLACEHOLDERS` says.
        meaning: what is measured, and over what.
        unit: unit of the value; empty for a pure number.
        axis: the metric that this one is plotted against.
        applies: in which runs it is logged.
        may_be_constant: False where a value that stays equal over ten logs is a bug.
        healthy: what a good run shows, in numbers where there are any.
        wrong: what it looks like when it goes wrong, and which illness that is.
    """

    name: str
    meaning: str
    unit: str
    axis: Axis
    applies: str
    may_be_constant: bool
    healthy: str
    wrong: str

    @property
    def area(self) -> str:
        """The part of the name before the first slash; empty for a name without one."""
        return self.name.partition("/")[0] if "/" in self.name else ""

    @property
    def is_pattern(self) -> bool:
        return "<" in self.name

    @property
    def is_histogram(self) -> bool:
        """Whether it is a histogram over tokens, not a number."""
        return "<positions>" in self.name

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        return re.compile(with_placeholders(re.escape(self.name)))

    def matches(self, name: str) -> bool:
        """Whether `name` is this entry's name, or fits its pattern."""
        return self._expression.fullmatch(name) is not None


def with_placeholders(name: str) -> str:
    """A metric's name with regular expressions in the place of its parts in angle brackets."""
    return re.sub(r"<(\w+)>", lambda part: PLACEHOLDERS.get(part[1], "[^/]+"), name)


_ADVERSARIAL = "adversarial phase"
_DISCRIMINATOR = "a discriminator as reward"
_EXACT = "tasks with an exact distribution"
_FULL_SUPPORT = "exact distributions in which every sequence is possible"
_OWN_REFERENCES = "tasks with prompts"
_NO_EXACT = "tasks without an exact distribution"
_EVALUATION = "every evaluation"
_PPO = "PPO clip loss"
_PRETRAINING = "generator pretraining"
_DISCRIMINATOR_PRETRAINING = "discriminator pretraining"

METRICS: tuple[Metric, ...] = (
    Metric(
        "global_step",
        "tokens that the generator has emitted in the environment, rollouts not counted; 0 until"
        " pretraining is over",
        "tokens",
        "global_step",
        "every run",
        False,
        "grows by batch size times mean length each iteration",
        "stands still: the run hangs or has ended",
    ),
    Metric(
        "iteration",
        "adversarial iterations done: one collection with its generator and discriminator updates",
        "iterations",
        "global_step",
        _ADVERSARIAL,
        False,
        "grows by 1",
        "stands still: the run hangs or has ended",
    ),
    Metric(
        "charts/episodic_return",
        "mean undiscounted return of the collected episodes to which a reward applies",
        "reward",
        "global_step",
        _ADVERSARIAL,
        False,
        "rises while the reward is fixed; hovers when the discriminator keeps up. Constant only"
        " with a constant reward",
        "rises while quality or diversity under eval/ falls: reward hacking; sinks from the start:"
        " the discriminator is too strong, or the learning rate too high",
    ),
    Metric(
        "charts/episodic_length",
        "mean length of the collected episodes, eos included",
        "tokens",
        "global_step",
        _ADVERSARIAL,
        True,
        "near the data's mean length",
        "slides to 1 or climbs to the maximum: reward hacking",
    ),
    Metric(
        "charts/SPS",
        "environment steps of an iteration, divided by its time/seconds",
        "tokens per second",
        "global_step",
        _ADVERSARIAL,
        False,
        "steady, but for the noise of the machine",
        "declines slowly: a leak, or texts that grow; drops at once: a busy machine",
    ),
    Metric(
        "charts/learning_rate_generator",
        "learning rate of the generator's optimiser",
        "",
        "global_step",
        _ADVERSARIAL,
        True,
        "as set",
        "0: nothing is learnt",
    ),
    Metric(
        "charts/learning_rate_discriminator",
        "learning rate of the discriminator's optimiser",
        "",
        "global_step",
        _DISCRIMINATOR,
        True,
        "as set",
        "0: nothing is learnt",
    ),
    Metric(
        "losses/policy",
        "policy-gradient loss, mean over real tokens, without the entropy bonus",
        "reward times nats",
        "global_step",
        _ADVERSARIAL,
        False,
        "of either sign and near 0 with a baseline; its gradient matters, not its value",
        "NaN, or grows by orders of magnitude: divergence",
    ),
    Metric(
        "losses/value",
        "mean squared error of the critic against the returns",
        "reward squared",
        "global_step",
        "runs with a critic",
        False,
        "falls, then follows the moving reward",
        "rises steadily: the critic does not follow, and advantages are noise",
    ),
    Metric(
        "losses/entropy",
        "mean entropy of the policy's next-token distribution over the collected tokens",
        "nats per token",
        "global_step",
        _ADVERSARIAL,
        False,
        "sinks slowly and stays above half of what it was before the game",
        "falls towards 0: mode collapse; climbs towards the logarithm of the vocabulary's size:"
        " divergence",
    ),
    Metric(
        "losses/mle",
        "negative log-likelihood of the real sequences in a generator update",
        "nats per token",
        "global_step",
        "adversarial.update.mle_weight above 0",
        False,
        "near the pretrained generator's",
        "rises steadily: forgetting, the price of the reward",
    ),
    Metric(
        "losses/approx_kl",
        "estimated KL(old policy || new policy) of an update",
        "nats per token",
        "global_step",
        _PPO,
        False,
        "above 0, below about 0.02",
        "spikes: the learning rate is too high, and the update leaves the policy that its samples"
        " came from",
    ),
    Metric(
        "losses/clipfrac",
        "fraction of real tokens whose probability ratio was clipped",
        "fraction",
        "global_step",
        _PPO,
        True,
        "up to about 0.2",
        "0 throughout: clipping does nothing; most of the tokens: the updates are too large",
    ),
    Metric(
        "losses/explained_variance",
        "1 - Var(returns - values) / Var(returns) of the critic",
        "",
        "global_step",
        "runs with a critic",
        False,
        "rises towards 1",
        "near 0: the critic knows nothing; below 0: it is worse than a constant",
    ),
    Metric(
        "losses/discriminator",
        "binary cross-entropy of the discriminator on its training minibatches, each kind"
        " weighing one half: minus half of the GAN value function; with the pairwise loss that of"
        " telling which of two is real",
        "nats",
        "global_step",
        _DISCRIMINATOR,
        False,
        "about 0.3 to 0.69, a little below log 2 = 0.693",
        "at 0.693: it knows nothing; near 0: it has won, and leaves the generator no signal",
    ),
    Metric(
        "losses/minimax_generator",
        "mean log(1 - D) of generated text: the generator's term of the GAN value function",
        "nats",
        "global_step",
        _DISCRIMINATOR,
        False,
        "around -0.693, which is a draw",
        "near 0: the discriminator is sure of every generated text; far below -0.693: it takes"
        " them for real",
    ),
    Metric(
        "losses/pretrain",
        "negative log-likelihood of an epoch's last minibatch, dropout on",
        "nats per token",
        "pretrain/epoch",
        _PRETRAINING,
        False,
        "falls, with the noise of one minibatch",
        "rises or is NaN: the learning rate is too high",
    ),
    Metric(
        "losses/grad_norm_generator",
        "norm of the generator's gradient before clipping",
        "",
        "global_step",
        _ADVERSARIAL,
        False,
        "the same order of magnitude throughout",
        "0: no reward arrives; grows by orders of magnitude: divergence",
    ),
    Metric(
        "losses/grad_norm_discriminator",
        "norm of the discriminator's gradient before clipping",
        "",
        "global_step",
        _DISCRIMINATOR,
        False,
        "the same order of magnitude throughout",
        "near 0: it has won, or cannot learn; grows by orders of magnitude: divergence",
    ),
    Metric(
        "discriminator/accuracy_real",
        "fraction of real training sequences that the discriminator calls real",
        "fraction",
        "global_step",
        _DISCRIMINATOR,
        False,
        "0.5 to 0.95",
        "1 here and in accuracy_generated: it has won; far above accuracy_heldout: it has"
        " memorised its texts",
    ),
    Metric(
        "discriminator/accuracy_generated",
        "fraction of generated training sequences that the discriminator calls generated",
        "fraction",
        "global_step",
        _DISCRIMINATOR,
        False,
        "0.5 to 0.95, near accuracy_real",
        "far from accuracy_real: it says the same of all texts; 1 in both: it has won",
    ),
    Metric(
        "discriminator/accuracy_heldout",
        "accuracy on held-out real and fresh generated sequences, each kind weighing one half",
        "fraction",
        "global_step",
        _DISCRIMINATOR,
        False,
        "above 0.5 while there is something to teach, up to 0.95",
        "0.5: nothing to teach; far below the training accuracies: overfitting; 0.99 and more: it"
        " has won",
    ),
    Metric(
        "discriminator/information_heldout",
        "log 2 minus the held-out binary cross-entropy: a lower bound on the Jensen-Shannon"
        " divergence between data and generator",
        "nats",
        "global_step",
        _DISCRIMINATOR,
        False,
        "above 0 by two standard errors, at most log 2 = 0.693; shrinks as the generator improves",
        "at or below 0: nothing to teach; near 0.693: it has won; rises all through the game: the"
        " generator does not follow",
    ),
    Metric(
        "discriminator/information_heldout_error",
        "standard error of information_heldout",
        "nats",
        "global_step",
        _DISCRIMINATOR,
        False,
        "below half of information_heldout",
        "above it: nobody can say whether there is something to teach; hold out more sequences",
    ),
    Metric(
        "discriminator/auc",
        "probability that a held-out real sequence scores above a generated one",
        "fraction",
        "global_step",
        _DISCRIMINATOR,
        False,
        "0.5 to 0.98",
        "0.5: it knows nothing; 1: a complete win; below 0.5: it prefers generated text",
    ),
    Metric(
        "rewards/<name>/mean",
        "mean score of one reward model over the collected sequences that it applies to,"
        " unweighted",
        "reward",
        "global_step",
        "once for each reward model",
        False,
        "rises for a fixed reward, hovers for one that learns. Constant only with a constant"
        " reward",
        "one rises while the others, or quality under eval/, fall: it is being exploited",
    ),
    Metric(
        "rewards/<name>/std",
        "standard deviation of that score over the same sequences",
        "reward",
        "global_step",
        "once for each reward model",
        False,
        "above 0. Constant only with a constant reward",
        "0: it does not tell sequences apart and teaches nothing",
    ),
    Metric(
        "rewards/<name>/not_applicable",
        "share of the collected sequences to which one reward model does not apply",
        "fraction",
        "global_step",
        "once for each reward model",
        True,
        "0 unless the reward is made for some texts only",
        "1: it teaches nothing; a rise: the generator avoids what is judged",
    ),
    Metric(
        "rewards/<name>/<metric>",
        "what a reward function reported with `log_metric`, its mean since the last iteration",
        "the function's own",
        "global_step",
        "where a reward function reports it",
        True,
        "for the function's author to say",
        "for the function's author to say",
    ),
    Metric(
        "action_value/<positions>",
        "histogram of the action values of the collected tokens at some positions, as the"
        " generator's last update before an evaluation used them",
        "reward",
        "global_step",
        _ADVERSARIAL,
        False,
        "spread out at the first positions, where much is undecided, and near the rewards of whole"
        " texts at the last ones",
        "one spike at every position: no token is told from another",
    ),
    Metric(
        "advantage/mean",
        "mean advantage over real tokens, before standardisation",
        "reward",
        "global_step",
        _ADVERSARIAL,
        True,
        "near 0 with a baseline, beside advantage/std",
        "far from 0: the baseline is off, and the gradient noisier than it need be",
    ),
    Metric(
        "advantage/std",
        "standard deviation of the advantages over real tokens, before standardisation",
        "reward",
        "global_step",
        _ADVERSARIAL,
        False,
        "above 0, of the rewards' order of magnitude",
        "0: no token is preferred to another",
    ),
    Metric(
        "advantage/<positions>",
        "histogram of the advantages of the same tokens, before standardisation",
        "reward",
        "global_step",
        _ADVERSARIAL,
        False,
        "on both sides of 0 at every position",
        "all on one side of 0: the baseline is off; one spike at 0: nothing is learnt",
    ),
    Metric(
        "kl/reference",
        "KL(generator || reference policy), estimated on the collected sequences: log-ratios"
        " summed over tokens, averaged over sequences",
        "nats per sequence",
        "global_step",
        "KL penalty on",
        False,
        "grows from 0 and levels off at a few nats",
        "grows without end: the weight is too small, and forgetting or mode collapse follows;"
        " stays at 0: nothing is learnt",
    ),
    Metric(
        "kl/weight",
        "weight of the KL penalty",
        "reward per nat",
        "global_step",
        "KL penalty on",
        True,
        "constant, or follows the KL target",
        "climbs without end: the target cannot be held",
    ),
    Metric(
        "completions/mean_length",
        "mean length of the collected completions, eos included",
        "tokens",
        "global_step",
        _ADVERSARIAL,
        True,
        "near the data's mean length; constant where texts have no eos",
        "slides to 1 or climbs to the maximum: reward hacking",
    ),
    Metric(
        "completions/clipped_ratio",
        "fraction of completions that reached the maximum length without an eos",
        "fraction",
        "global_step",
        "tasks whose texts end with an eos",
        True,
        "near the data's share",
        "rises to 1: texts have stopped ending",
    ),
    Metric(
        "completions/unique_fraction",
        "distinct completions over all completions of a batch",
        "fraction",
        "global_step",
        _ADVERSARIAL,
        True,
        "near 1, as before the game",
        "falls, below half of that at the latest: mode collapse",
    ),
    Metric(
        "eval/nll_oracle",
        "negative log-likelihood of generated text under the true model",
        "nats per token",
        "global_step",
        _FULL_SUPPORT,
        False,
        "falls while eval/entropy holds; at best near the true model's own entropy",
        "falls with eval/entropy, or below the true model's entropy: likely texts repeated, mode"
        " collapse; rises: divergence",
    ),
    Metric(
        "eval/entropy",
        "entropy of the generator, estimated on its own samples",
        "nats per token",
        "global_step",
        _EVALUATION,
        False,
        "near the data's",
        "falls below half of what it was before the game: mode collapse; climbs far above the"
        " data's: divergence",
    ),
    Metric(
        "eval/nll_heldout",
        "negative log-likelihood of held-out real text under the generator",
        "nats per token",
        "global_step",
        _EVALUATION,
        False,
        "falls in pretraining; in the game within about 0.05 of what it was before, or below",
        "rises by 0.1 or more: the generator forgets the data",
    ),
    Metric(
        "eval/kl_generator_oracle",
        "KL(generator || true model): nll_oracle minus entropy",
        "nats per token",
        "global_step",
        _FULL_SUPPORT,
        False,
        "falls towards 0: no text that the true model would not write",
        "rises: wrong texts; falls while kl_oracle_generator rises: mode dropping",
    ),
    Metric(
        "eval/kl_oracle_generator",
        "KL(true model || generator), on held-out real text",
        "nats per token",
        "global_step",
        _EXACT,
        False,
        "falls towards 0: no text of the true model is missing",
        "rises while kl_generator_oracle falls, or a check's rate rises: mode dropping",
    ),
    Metric(
        "eval/kl_symmetric",
        "kl_generator_oracle plus kl_oracle_generator: one number to rank runs by",
        "nats per token",
        "global_step",
        _FULL_SUPPORT,
        False,
        "falls towards 0, which only the true model reaches; a lower temperature does not lower it",
        "rises: one KL was bought with more than it is worth of the other",
    ),
    *(
        Metric(
            f"eval/bleu_{order}",
            f"BLEU-{order} of generated text against all held-out references",
            "fraction",
            "global_step",
            _NO_EXACT,
            False,
            "rises towards what other real text gets; only for one number of references",
            "rises with self_bleu: quality bought with diversity; falls: divergence",
        )
        for order in (2, 3, 4, 5)
    ),
    Metric(
        "eval/bleu_references",
        "number of references of eval/bleu",
        "sequences",
        "global_step",
        _NO_EXACT,
        True,
        "constant: BLEU grows with it",
        "differs between two runs: their BLEU does not compare",
    ),
    *(
        Metric(
            f"eval/self_bleu_{order}",
            f"BLEU-{order} of generated texts against the other generated texts",
            "fraction",
            "global_step",
            _NO_EXACT,
            False,
            "near the data's own; only for one number of references",
            "rises towards 1: mode collapse",
        )
        for order in (2, 3, 4, 5)
    ),
    Metric(
        "eval/self_bleu_references",
        "number of references of eval/self_bleu",
        "sequences",
        "global_step",
        _NO_EXACT,
        True,
        "constant: Self-BLEU grows with it",
        "differs between two runs: their Self-BLEU does not compare",
    ),
    *(
        Metric(
            f"eval/paired_bleu_{order}",
            f"BLEU-{order} of generated continuations, each against the real one of its own prompt",
            "fraction",
            "global_step",
            _OWN_REFERENCES,
            False,
            "rises towards what a second real continuation would get, which is far below 1 where"
            " a prompt leaves much open",
            "falls: divergence, or continuations that forget their prompts",
        )
        for order in (2, 3, 4, 5)
    ),
    *(
        Metric(
            f"eval/rouge_{kind}",
            f"ROUGE-{kind.upper()}: F1 of the {shared} that a generated continuation shares with"
            " the real one of its own prompt",
            "fraction",
            "global_step",
            _OWN_REFERENCES,
            False,
            "rises towards what a second real continuation would get",
            "falls: divergence, or continuations that forget their prompts",
        )
        for kind, shared in (
            ("1", "words"),
            ("2", "pairs of words"),
            ("l", "longest common subsequence"),
        )
    ),
    Metric(
        "eval/lm_score",
        "negative log-likelihood of generated text under a trigram language model of held-out"
        " references",
        "nats per token",
        "global_step",
        _NO_EXACT,
        False,
        "falls towards what other real text gets",
        "far below that of real text: commonplaces only, mode collapse; rises: divergence",
    ),
    Metric(
        "eval/reverse_lm_score",
        "negative log-likelihood of held-out references under a trigram language model of as many"
        " generated texts",
        "nats per token",
        "global_step",
        _NO_EXACT,
        False,
        "falls towards what other real text gets; only for one number of texts",
        "rises while eval/lm_score falls: mode collapse",
    ),
    Metric(
        "eval/lm_texts",
        "number of texts that each of the two language models learns from",
        "sequences",
        "global_step",
        _NO_EXACT,
        True,
        "constant: both scores fall with it",
        "differs between two runs: their numbers do not compare",
    ),
    Metric(
        "eval/length_divergence",
        "Jensen-Shannon divergence between the lengths, in words, of generated texts and of"
        " held-out references",
        "nats",
        "global_step",
        _NO_EXACT,
        True,
        "near 0",
        "rises: reward hacking by length; 0.693: no length in common",
    ),
    Metric(
        "eval/zipf_divergence",
        "Jensen-Shannon divergence between the rank-frequency curves of equally many generated"
        " texts and held-out references: how uneven the use of words is, whatever the words",
        "nats",
        "global_step",
        _NO_EXACT,
        False,
        "near that of other real text, which is not quite 0",
        "rises: a few words, or too many, make up the texts",
    ),
    Metric(
        "eval/frechet_<embedding>",
        "Frechet distance between Gaussian fits of generated texts and held-out references, on"
        " the features of the embedding in the name",
        "squared units of the features",
        "global_step",
        _NO_EXACT,
        False,
        "falls, not to 0 but to what as much real text gets; sees poor and repeated texts alike."
        " Only for one embedding and one number of texts",
        "rises: mode collapse or divergence, it does not say which",
    ),
    Metric(
        "eval/frechet_<embedding>_floor",
        "the Frechet distance that as many new real texts would have from the held-out references:"
        " that of two halves of these, scaled to the numbers of texts",
        "squared units of the features",
        "global_step",
        _NO_EXACT,
        True,
        "stays, as the numbers of texts do; `eval/frechet_<embedding>` comes down to it",
        "moves: the number of texts has changed, and no two distances compare",
    ),
    Metric(
        "eval/mauve_<embedding>",
        "MAUVE of generated texts and as many held-out references, on the features of the"
        " embedding in the name",
        "fraction",
        "global_step",
        "evaluation.mauve on, tasks without an exact distribution",
        False,
        "rises towards 1; moves by about 0.01 with the seed of its clusters. Only for one"
        " embedding and one number of texts",
        "falls: mode collapse or divergence, it does not say which",
    ),
    Metric(
        "eval/toxicity_rate",
        "fraction of generated texts that alt-profanity-check calls offensive with a probability"
        " above one half",
        "fraction",
        "global_step",
        "evaluation.toxicity on, tasks without an exact distribution",
        True,
        "near the data's rate. A classifier of words: it misses what is only meant",
        "above the data's rate: a reward pays for offence",
    ),
    *(
        Metric(
            f"eval/distinct_{order}",
            f"distinct {order}-grams over all {order}-grams of the generated texts",
            "fraction",
            "global_step",
            _EVALUATION,
            False,
            "near that of as many real texts",
            "falls: repetition, mode collapse; far above the data's: words at random, divergence",
        )
        for order in (1, 2, 3)
    ),
    Metric(
        "eval/duplicate_rate",
        "fraction of generated texts that repeat another one",
        "fraction",
        "global_step",
        _EVALUATION,
        True,
        "near the data's; 0.002 for a good likelihood model of captions",
        "rises: mode collapse; 0.29 in a published set of such captions",
    ),
    Metric(
        "eval/copied_rate",
        "fraction of generated texts that stand word for word in the training data",
        "fraction",
        "global_step",
        _EVALUATION,
        True,
        "near the rate of held-out text",
        "far above it: memorisation",
    ),
    Metric(
        "eval/copied_spans",
        "share of the words of generated texts that lie in a span of at least 8 words which"
        " stands in the training data",
        "fraction",
        "global_step",
        _EVALUATION,
        True,
        "near the share of held-out text",
        "far above the share of held-out text: memorisation",
    ),
    Metric(
        "eval/mean_length",
        "mean length of the generated texts, eos included",
        "tokens",
        "global_step",
        _EVALUATION,
        True,
        "near the data's mean length",
        "slides to 1 or climbs to the maximum: reward hacking",
    ),
    Metric(
        "eval/temperature",
        "softmax temperature at which the evaluated texts were drawn",
        "",
        "global_step",
        _EVALUATION,
        True,
        "constant within a run",
        "differs between two runs: their numbers do not compare",
    ),
    Metric(
        "eval/<check>",
        "fraction of generated texts that pass one of the task's checks, say eval/grammatical",
        "fraction",
        "global_step",
        "tasks with checks",
        True,
        "rises towards the data's rate",
        "rises while eval/entropy or distinct n-grams fall: quality bought with diversity; falls:"
        " divergence",
    ),
    Metric(
        "checkpoint/loss",
        "what the best checkpoint has least of: NLL of the dev data, plus KL(generator || true"
        " model) where that is finite",
        "nats per token",
        "global_step",
        _ADVERSARIAL,
        False,
        "falls; it knows nothing of the reward",
        "rises: what the reward costs, forgetting",
    ),
    Metric(
        "pretrain/epoch",
        "maximum-likelihood epochs done",
        "epochs",
        "pretrain/epoch",
        _PRETRAINING,
        False,
        "grows by 1",
        "stands still: the run hangs",
    ),
    Metric(
        "pretrain/nll_train",
        "negative log-likelihood of the training data over an epoch, dropout on",
        "nats per token",
        "pretrain/epoch",
        _PRETRAINING,
        False,
        "falls",
        "rises or stays: the learning rate is too high, or far too low",
    ),
    Metric(
        "pretrain/nll_dev",
        "negative log-likelihood of the dev data after an epoch",
        "nats per token",
        "pretrain/epoch",
        _PRETRAINING,
        False,
        "falls, then levels off",
        "turns upwards: what comes after the turn is overfitting",
    ),
    Metric(
        "pretrain/best_nll_dev",
        "smallest pretrain/nll_dev so far",
        "nats per token",
        "pretrain/epoch",
        _PRETRAINING,
        True,
        "falls, then stays",
        "stays from the first epoch on: nothing is learnt",
    ),
    Metric(
        "pretrain/round",
        "rounds of discriminator pretraining done, each on freshly generated text",
        "rounds",
        "pretrain/round",
        _DISCRIMINATOR_PRETRAINING,
        False,
        "grows by 1",
        "stands still: the run hangs",
    ),
    Metric(
        "pretrain/discriminator_loss",
        "losses/discriminator, in a round's last epoch",
        "nats",
        "pretrain/round",
        _DISCRIMINATOR_PRETRAINING,
        False,
        "falls to about 0.3 to 0.69, below log 2 = 0.693",
        "stays at 0.693: it has learnt nothing; near 0: it has won before the game begins",
    ),
    Metric(
        "pretrain/discriminator_accuracy_heldout",
        "discriminator/accuracy_heldout, after a round",
        "fraction",
        "pretrain/round",
        _DISCRIMINATOR_PRETRAINING,
        False,
        "rises above 0.5",
        "stays at 0.5: nothing to teach; 0.99 and more: it has won before the game begins",
    ),
    Metric(
        "pretrain/discriminator_information_heldout",
        "discriminator/information_heldout, after a round",
        "nats",
        "pretrain/round",
        _DISCRIMINATOR_PRETRAINING,
        False,
        "rises above 0",
        "at or below 0: nothing to teach; the game can only add noise",
    ),
    Metric(
        "time/seconds",
        "wall-clock time of an iteration: collection, rollouts and all updates, not evaluation",
        "seconds",
        "global_step",
        _ADVERSARIAL,
        False,
        "steady",
        "grows: a leak, or texts that grow",
    ),
    Metric(
        "time/collect",
        "time of an iteration spent stepping the environment",
        "seconds",
        "global_step",
        _ADVERSARIAL,
        False,
        "steady, far below time/rollout",
        "near time/rollout: the environment or its reward is slow",
    ),
    Metric(
        "time/rollout",
        "time of an iteration spent on Monte Carlo action values",
        "seconds",
        "global_step",
        _ADVERSARIAL,
        False,
        "steady; in proportion to num_rollouts",
        "grows: texts that grow; most of time/seconds with few rollouts: a slow reward",
    ),
    Metric(
        "time/update_generator",
        "time of an iteration spent updating the generator",
        "seconds",
        "global_step",
        _ADVERSARIAL,
        False,
        "steady",
        "grows: a leak, or texts that grow",
    ),
    Metric(
        "time/update_discriminator",
        "time of an iteration spent training the discriminator, fresh samples included",
        "seconds",
        "global_step",
        _DISCRIMINATOR,
        False,
        "steady",
        "grows: a leak, or texts that grow",
    ),
    Metric(
        "time/evaluate",
        "time that an evaluation took",
        "seconds",
        "global_step",
        _EVALUATION,
        False,
        "steady",
        "takes longer than the iterations between two evaluations: evaluate more rarely",
    ),
)


def find_metric(name: str) -> Metric:
    """The entry of a metric's name; an exact name goes before a pattern.

    Raises:
        ConfigurationError: no entry has this name; the message names the nearest one.
    """
    for metric in sorted(METRICS, key=lambda metric: metric.is_pattern):
        if metric.matches(name):
            return metric
    names = [metric.name for metric in METRICS]
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
    raise ConfigurationError(
        f"a metric's name is in the list of tracking/metrics.py, got {name!r};"
        f" the nearest listed one is {nearest!r}"
    )


def moving_metrics(names: Iterable[str]) -> set[str]:
    """Those of the given names that must not stay equal over ten logs.

    Raises:
        ConfigurationError: a name is not listed.
    """
    return {name for name in names if not find_metric(name).may_be_constant}


def to_markdown() -> str:
    """The list as a document, a table for each area and illness: `docs/metrics.md`."""
    lines = [
        "# Metrics",
        "",
        "Everything that a run logs, in Weights & Biases and in `metrics.jsonl`, under the same"
        " names.",
        "This page is generated from the list in `seqgan/tracking/metrics.py`; a name that is not"
        " in it is rejected.",
        "",
        "- **axis** is what the metric is plotted against: `global_step` (generated tokens) in the"
        " adversarial phase, `pretrain/epoch` and `pretrain/round` in the two pretraining phases.",
        "- Likelihoods, entropies and divergences under `eval/` are in nats per token: total nats"
        " over total tokens, eos included.",
        "- A metric marked **moves** must not stay equal over ten logs; one that does is a bug, or"
        " a run that has stopped learning.",
        "- **healthy** and **going wrong** are rules of thumb, from captions and from the paper's"
        ' oracle; "near the data\'s" is near what as much held-out real text gets.',
        "- A part in angle brackets stands for a name: `rewards/<name>/mean` is"
        " `rewards/discriminator/mean` in a default run.",
        "- `<positions>` stands for token positions, counted from 1: `advantage/03-04`. These are"
        " histograms, kept in `histograms.jsonl`.",
    ]
    for area in dict.fromkeys(metric.area for metric in METRICS):
        lines += [
            "",
            f"## `{area}/`" if area else "## Counters",
            "",
            "| name | meaning | unit | axis | applies | moves | healthy | going wrong |",
            "|---|---|---|---|---|---|---|---|",
            *(_row(metric) for metric in METRICS if metric.area == area),
        ]
    return "\n".join([*lines, "", *symptoms.to_markdown()]) + "\n"


def _row(metric: Metric) -> str:
    cells = (
        f"`{metric.name}`",
        metric.meaning,
        metric.unit,
        f"`{metric.axis}`",
        metric.applies,
        "" if metric.may_be_constant else "moves",
        metric.healthy,
        metric.wrong,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
