"""Names of `seqgan train`'s flags: the short ones, and those that other programs have for them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain

from seqgan.system.errors import SeqganError

# Each is short for one setting, and sets nothing else. The second text is its line in the help.
SHORT: Mapping[str, tuple[str, str]] = {
    "--epochs": ("pretrain.epochs", "passes over the texts before the game, at most"),
    "--iterations": ("adversarial.iterations", "rounds of the game"),
    "--batch-size": ("adversarial.batch_size", "texts in each update in the game"),
    "--learning-rate": ("rule.learning_rate", "the generator's, in the game"),
    "--rollouts": ("rule.num_rollouts", "completions that give each token its value; 0: none"),
    "--kl-weight": ("rule.kl_weight", "how strongly the generator is held to its start"),
    "--column": ("task.column", "the texts' column in a .jsonl or .csv file"),
    "--max-length": ("task.max_length", "tokens of the longest text; longer ones are dropped"),
    "--hidden-size": ("generator.hidden_size", "width of the generator"),
    "--eval-every": ("evaluation.every", "rounds of the game between two evaluations"),
}
# No game: start and discriminator are the model, which decoding puts together. The rounds are more
# than any discriminator has needed before patience ended them.
ONLY_ADVERSARY = "--only-adversary"
ONLY_ADVERSARY_HELP = "no game: train a discriminator for as long as it learns, to resample by it"
WITHOUT_GAME: Mapping[str, int] = {
    "adversarial.iterations": 0,
    "discriminator_training.pretrain_rounds": 400,
    "discriminator_training.patience": 20,
}
# A language model is two settings: the kind of the generator, and its folder.
MODEL = "--model"
MODEL_HELP = "a language model of transformers to start from: its folder, or a hub name"

# Flags of TRL, transformers, CleanRL, Stable-Baselines3's zoo and others, and how they are called
# here. An unknown flag of such a name is answered with it.
ELSEWHERE: Mapping[str, str] = {
    "num-train-epochs": "--epochs",
    "num-epochs": "--epochs",
    "total-timesteps": "--iterations (rounds of the game)",
    "n-timesteps": "--iterations (rounds of the game)",
    "timesteps": "--iterations (rounds of the game)",
    "max-steps": "--iterations (rounds of the game)",
    "steps": "--iterations (rounds of the game)",
    "num-iterations": "--iterations (of TRL's, passes over a batch: --rule.epochs)",
    "update-epochs": "--rule.epochs",
    "n-epochs": "--rule.epochs",
    "num-ppo-epochs": "--rule.epochs",
    "num-minibatches": "--rule.minibatch-size",
    "num-mini-batches": "--rule.minibatch-size",
    "clip-range": "--rule.clip-low and --rule.clip-high",
    "clip-coef": "--rule.clip-low and --rule.clip-high",
    "cliprange": "--rule.clip-low and --rule.clip-high",
    "epsilon": "--rule.clip-low (and --rule.clip-high)",
    "epsilon-high": "--rule.clip-high",
    "target-kl": "--rule.stop-kl",
    "gae-lambda": "--rule.critic.gae-lambda",
    "loss-type": "--rule.kind (grpo, dapo, ...)",
    "scale-rewards": "--rule.scale",
    "ref-model-sync-steps": "--rule.reference-every",
    "per-device-train-batch-size": "--batch-size",
    "bs": "--batch-size",
    "lr": "--learning-rate",
    "num-generations": "--adversarial.group-size",
    "beta": "--kl-weight",
    "kl-coef": "--kl-weight",
    "init-kl-coef": "--kl-weight",
    "ent-coef": "--rule.update.entropy-weight",
    "entropy-coef": "--rule.update.entropy-weight",
    "max-completion-length": "--max-length",
    "max-new-tokens": "--max-length",
    "max-seq-length": "--max-length",
    "max-prompt-length": "--task.max-prompt-length",
    "max-grad-norm": "--rule.update.max-grad-norm (before the game: --pretrain.max-grad-norm)",
    "weight-decay": "--rule.adam.weight-decay (before the game: --pretrain.weight-decay)",
    "adam-beta1": "--rule.adam.beta1",
    "adam-beta2": "--rule.adam.beta2",
    "adam-epsilon": "--rule.adam.epsilon",
    "lr-scheduler-type": "--rule.schedule",
    "anneal-lr": "--rule.schedule linear",
    "lr-schedule": "--rule.schedule",
    "warmup-steps": "--rule.warmup (iterations)",
    "temperature": "--evaluation.temperatures (those of the final comparison)",
    "model-name": "--model",
    "model-name-or-path": "--model",
    "use-peft": "--generator.adapter lora",
    "lora-r": "--generator.lora-rank",
    "gradient-checkpointing": "--generator.gradient-checkpointing",
    "bf16": "--generator.precision bfloat16",
    "data": "--task.path",
    "dataset": "--task.path",
    "dataset-name": "--task.path",
    "file": "--task.path",
    "path": "--task.path",
    "input": "--task.path",
    "train-file": "--task.path",
    "text-column": "--task.column",
    "reward-funcs": "--reward",
    "reward-model": "--reward",
    "rewards": "--reward",
    "out": "--output",
    "output-dir": "--output",
    "save-dir": "--output",
    "log-dir": "--output",
    "logging-dir": "--output",
    "eval-steps": "--eval-every",
    "save-steps": "--checkpoint-seconds",
    "early-stopping": "--pretrain.patience",
    "cuda": "--device cuda",
    "gpu": "--device cuda",
    "wandb-project": "--tracker.project",
    "wandb-project-name": "--tracker.project",
    "no-wandb": "--tracker.mode disabled",
    "run-name": "--output (the run is named as its folder)",
    "exp-name": "--output (the run is named as its folder)",
    "estimate": "--estimate-time",
}


def long_names(flags: Sequence[str]) -> list[str]:
    """The flags with the settings' own names in place of short ones, their values as they are.

    `--only-adversary` becomes the settings that it stands for, but for those that are given.
    """
    given: list[str] = []
    for flag in flags:
        written, equals, value = flag.partition("=")
        name = written.replace("_", "-")
        if name == MODEL:
            given += ["--generator.kind", "pretrained", f"--generator.path{equals}{value}"]
        elif name in SHORT:
            given.append(f"{setting_flag(SHORT[name][0])}{equals}{value}")
        else:
            given.append(flag)
    if ONLY_ADVERSARY not in given:
        return given
    named = {flag.partition("=")[0].replace("_", "-") for flag in given}
    left = {setting_flag(name): str(value) for name, value in WITHOUT_GAME.items()}
    left = {flag: value for flag, value in left.items() if flag not in named}
    return [*(flag for flag in given if flag != ONLY_ADVERSARY), *chain(*left.items())]


@contextmanager
def said_as_typed(given: Sequence[str]) -> Iterator[None]:
    """Lets an error name settings by the short names that a person has typed.

    Args:
        given: the arguments as typed.
    """
    try:
        yield
    except SeqganError as error:
        error.args = (as_typed(str(error), given), *error.args[1:])
        raise


def as_typed(message: str, given: Sequence[str]) -> str:
    """A message with the short names of settings that were given by them."""
    names = [word.partition("=")[0].replace("_", "-") for word in given]
    short_for = {short: dotted for short, (dotted, _) in SHORT.items()}
    for short, dotted in (short_for | {MODEL: "generator.path"}).items():
        if short in names:
            flag = re.escape(setting_flag(dotted))
            message = re.sub(rf"(?<![\w.-]){flag}(?![\w.-])", short, message)
            message = re.sub(rf"^{re.escape(dotted)}(?= (is|has) )", short, message)
    return message


def setting_flag(dotted: str) -> str:
    """The flag of a setting, by its dotted name."""
    return f"--{dotted.replace('_', '-')}"
