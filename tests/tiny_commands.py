"""Commands in this process, on runs that take a second."""

from pathlib import Path

import pytest

from seqgan import cli

TINY = """
    --generator.hidden-size 8 --generator.embedding-size 8 --discriminator.hidden-size 4
    --discriminator.embedding-size 4 --pretrain.epochs 1
    --discriminator-training.pretrain-rounds 1 --discriminator-training.num-sequences 16
    --adversarial.iterations 1 --adversarial.batch-size 4 --adversarial.num-rollouts 1
    --evaluation.every 1 --evaluation.num-samples 20 --evaluation.num-final 20
    --evaluation.num-heldout 10 --evaluation.temperatures 1.0 0.8 --evaluation.num-shown 1
    --threads 1 --tracker.mode disabled
""".split()
# 96 texts, of which some 4 are held out for test.
TEXTS = "\n".join(
    f"the {size} {noun} {verb} {place} ."
    for size in ("small", "big", "old", "young")
    for noun in ("dog", "cat", "bird")
    for verb in ("sits", "runs", "waits", "sleeps")
    for place in ("here", "there")
)


def run(*arguments: str | Path) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)
