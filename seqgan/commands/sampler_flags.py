"""The flags of `--sampler`, which several commands share: a generator tilted by a reward."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from seqgan.commands.parsing import InputError, number
from seqgan.system.checks import Bound, Several, Signed
from seqgan.system.errors import ConfigurationError

if TYPE_CHECKING:
    from seqgan.training.tilting import SamplerSettings

# Literally those of `seqgan.decoding.samplers`, whose import would load torch for every help.
KINDS = ("resample", "reject", "best-of", "smc")
BETAS = (4.0, 2.0, 1.0, 0.7, 0.5)  # of a curve
NO_BETA = "which has none; --of N makes it stronger or weaker"
# Flags that a sampler does not take, and why.
REFUSED = {
    "best-of": {"--beta": NO_BETA, "--betas": NO_BETA},
    "reject": {"--of": "which draws as many proposals as it needs"},
}


def add_sampler(parser: argparse.ArgumentParser, curve: bool = False) -> None:
    """Adds the flags.

    Args:
        curve: `--betas`, of which there are several, in place of `--beta`.
    """
    group = parser.add_argument_group("drawing with a reward (docs/decoding.md)")
    group.add_argument(
        "--sampler",
        choices=KINDS,
        help="tilt the generator by a reward, without training (resample, if a flag below is"
        " given)",
    )
    group.add_argument(
        "--tilt",
        nargs="+",
        metavar="REWARD",
        help="rewards, as train takes them with --reward (the run's discriminator, its logit)",
    )
    group.add_argument(
        "--tilt-weights",
        type=number(Signed),
        nargs="+",
        metavar="W",
        help="one for each reward (1 each)",
    )
    if curve:
        group.add_argument(
            "--betas",
            type=number(Bound),
            nargs="+",
            metavar="B",
            help=f"the curve's, see --beta of sample ({' '.join(f'{beta:g}' for beta in BETAS)})",
        )
    else:
        group.add_argument(
            "--beta",
            type=number(Bound),
            help="the reward counts 1/beta nats; large ones change little (1)",
        )
    group.add_argument(
        "--of",
        type=number(Several),
        metavar="N",
        help="proposals for each text (4; of a prompt 16)",
    )


def sampler_settings(
    options: argparse.Namespace, plain: Mapping[str, bool]
) -> "SamplerSettings | None":
    """The settings that the flags give; None where none is given.

    Args:
        plain: flags of plain sampling, True for those that are given.

    Raises:
        InputError: flags that do not go together.
    """
    betas = getattr(options, "betas", None)
    beta = getattr(options, "beta", None)
    given: dict[str, Any] = {
        "--tilt": options.tilt,
        "--tilt-weights": options.tilt_weights,
        "--beta": beta,
        "--betas": betas,
        "--of": options.of,
    }
    given = {flag: value for flag, value in given.items() if value is not None}
    if options.sampler is None and not given:
        return None
    kind: Any = options.sampler or "resample"
    first = f"--sampler {kind}" if options.sampler else next(iter(given))
    for flag, is_given in plain.items():
        if is_given:
            raise InputError(
                f"{flag} is given with {first}, which draws from the generator at temperature 1;"
                " --beta goes after the reward"
            )
    for flag, why in REFUSED.get(kind, {}).items():
        if flag in given:
            raise InputError(f"{flag} is given with --sampler {kind}, {why}")
    rewards = options.tilt or ["discriminator"]
    for reward in rewards:
        if rewards.count(reward) > 1:
            raise InputError(f"--tilt has {reward} twice, but a reward must be given once")
    weights = options.tilt_weights or []
    if weights and len(weights) != len(rewards):
        raise InputError(
            f"--tilt-weights has {len(weights)} numbers, but --tilt has {len(rewards)} rewards"
        )
    from seqgan.training.tilting import SamplerSettings

    try:
        return SamplerSettings(
            kind,
            tuple(options.tilt or ()),
            tuple(weights),
            1.0 if beta is None else beta,
            options.of or 0,
        )
    except ConfigurationError as error:
        raise InputError(str(error)) from error
