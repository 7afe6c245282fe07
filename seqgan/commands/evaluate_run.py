"""A run's generator in numbers, plain or tilted by a reward, for `seqgan evaluate`."""

import argparse
import sys
from dataclasses import dataclass

import torch

from seqgan.decoding.measured import TiltedMeasurement, measure_tilted
from seqgan.evaluation.measure import measure, text_measures
from seqgan.evaluation.texts import Scores
from seqgan.models.sampling import Sampling
from seqgan.system.terminal import say, wrapped
from seqgan.tasks.base import Measure, has_texts, heldout_prompts
from seqgan.training.runs import (
    GENERATOR,
    check_task,
    open_run,
    restored_run,
    usable,
)
from seqgan.training.start import make_measures
from seqgan.training.tilting import RunSampler, SamplerSettings, build_sampler
from seqgan.training.trust import MEASURING


def evaluated_run(
    options: argparse.Namespace,
) -> "tuple[Scores, dict[str, Measure], TiltedNumbers | None]":
    """The scores of a run, the measures whose direction its metrics do not have by name, and the
    numbers of a tilted model."""
    folder, config = open_run(options.run, options.trust_run_code, MEASURING)
    settings: SamplerSettings | None = options.settings
    reads: tuple[str, ...] = ()
    if settings is not None:
        settings = settings.of_run(folder, config, options.trust_run_code)
        reads = settings.reads
    config = usable(folder, config, (*GENERATOR, "task", "evaluation", *reads), options.device)
    which = "pretrained" if options.pretrained else "generator"
    run = restored_run(folder, config, which, options.checkpoint or "newest")
    task = config.task.build(config.generator)
    check_task(folder, task)
    # Of the oracle's numbers nothing can be said as texts that its likelihood does not say.
    texts = None
    if not has_texts(task):
        say("seqgan: the data are prompts alone: nothing is compared with real texts", sys.stderr)
    elif task.exact is None or not task.exact.full_support:
        texts = text_measures(task, options.embedding, options.mauve, options.toxicity)
    own = make_measures(config)
    rng = torch.Generator().manual_seed(options.seed)
    tilted = None
    if settings is None:
        sampling = Sampling(1.0 if options.temperature is None else options.temperature)
        measured = measure(
            run.trained.generator,
            task,
            options.n,
            config.evaluation.num_heldout,
            rng,
            sampling,
            config.device,
            texts,
            own,
        )
    else:
        sampler = build_sampler(
            settings,
            run,
            rng,
            heldout_prompts(task, options.n, config.device),
            task,
            trust_run_code=options.trust_run_code,
        )
        found = measure_tilted(
            sampler.sampler,
            task,
            options.n,
            config.evaluation.num_heldout,
            rng,
            config.device,
            texts,
            own,
        )
        measured, tilted = found.measurement, TiltedNumbers(sampler, found)
    scores = Scores(
        {name.removeprefix("eval/"): value for name, value in measured.metrics.items()},
        {name.removeprefix("eval/"): part for name, part in measured.per_text.items()},
    )
    return scores, {**task.measures, **own}, tilted


@dataclass(frozen=True, eq=False)
class TiltedNumbers:
    """Numbers of a tilted model besides the metrics of its texts."""

    sampler: RunSampler
    found: TiltedMeasurement

    @property
    def numbers(self) -> dict[str, float]:
        """By their names in JSON; without those that are not known."""
        numbers = {"tilt_kl": self.found.kl, "tilt_tokens_per_text": self.found.tokens_per_text}
        if (tilting := self.found.tilting) is not None:
            numbers |= {
                "tilt_effective_share": tilting.share,
                "tilt_log_z": tilting.normalizer.value,
                "tilt_log_z_error": tilting.normalizer.error,
            }
        if (change := self.found.change) is not None:
            numbers |= {
                "tilt_nll_heldout_change": change.value,
                "tilt_nll_heldout_change_error": change.error,
            }
        return numbers

    def lines(self, columns: int | None) -> list[str]:
        """The group of these numbers, with standard errors, and the reason for missing ones."""
        found, rows = self.found, []
        if (tilting := found.tilting) is not None:
            share = f"{tilting.share:.1%} of {self.sampler.proposals(found.drawn)}"
            log_z = f"{tilting.normalizer.value:.4g} ({tilting.normalizer.error:.2g})"
            rows += [("  effective share", share), ("  log Z", f"{log_z} nats")]
        most = " at most" if tilting is None else ""
        rows += [
            ("  KL to the start", f"{found.kl:.4g} nats per text{most}"),
            ("  tokens drawn", f"{found.tokens_per_text:.1f} per text"),
        ]
        if (change := found.change) is not None:
            value = f"{change.value:+.4f} ({change.error:.2g}) nats per token; below 0 is better"
            rows.append(("  held-out NLL, change", value))
        width = max(len(name) for name, _ in rows)
        heading = f"{self.sampler.title[0].upper()}{self.sampler.title[1:]}"
        lines = wrapped(heading, columns)
        for name, value in rows:
            lines += wrapped(f"{name.ljust(width)}  {value}", columns)
        for note in (self.sampler.sampler.about, found.missing):
            if note:
                lines += wrapped(f"  {note}", columns)
        return lines
