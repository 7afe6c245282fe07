"""Where the time goes: the clock, and the profile of an iteration."""

from dataclasses import replace

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from seqgan.models.discriminators.cnn import CNNDiscriminatorConfig
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.system.timing import Clock, profiled
from seqgan.tasks.captions import CaptionsConfig
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.progress import Progress
from seqgan.training.presets import captions_preset
from seqgan.training.profiling import profile_iteration
from seqgan.training.start import make_trainer


def test_a_clock_adds_up_the_laps_of_a_part():
    times = iter([1.0, 3.0, 10.0, 14.0, 20.0, 21.0])
    clock = Clock(lambda: next(times))
    for name in ("rollout", "rollout", "collect"):
        with clock.lap(name):
            pass
    assert clock.seconds == {"time/rollout": 6.0, "time/collect": 1.0}


def test_laps_and_parts_are_ranges_of_a_profile():
    taken = profile(activities=[ProfilerActivity.CPU])
    with taken, Clock().lap("collect"), profiled("collect / inside"):
        torch.ones(2).sum()
    names = {event.key for event in taken.key_averages()}
    assert {"seqgan: collect", "seqgan: collect / inside"} <= names


@pytest.mark.slow
@pytest.mark.parametrize("reward", ["discriminator", "constant"])
def test_parts_of_an_iteration(reward):
    preset = captions_preset()
    config = replace(
        preset,
        task=CaptionsConfig(train_size=60, dev_size=20, test_size=20),
        generator=RecurrentGeneratorConfig(embedding_size=8, hidden_size=8),
        discriminator=CNNDiscriminatorConfig(
            embedding_size=4, filter_sizes=(1, 2), num_filters=(3, 3)
        ),
        discriminator_training=replace(preset.discriminator_training, d_steps=1, num_sequences=16),
        rule=replace(preset.rule, num_rollouts=1),
        adversarial=replace(preset.adversarial, batch_size=4, g_steps=2),
        reward=(reward,),
    )
    trainer = make_trainer(config, config.task.build(config.generator), MemoryTracker(), Progress())
    measured = profile_iteration(trainer)
    parts = dict(measured.parts)
    wanted = ["collect", "update_generator"]  # the reference is asked before the rollouts
    wanted += ["rollout", "rollout / encode", "rollout / complete", "rollout / judge"]
    if reward == "discriminator":
        wanted += ["update_discriminator", "update_discriminator / draw"]
        wanted += ["update_discriminator / train"]
    assert list(parts) == wanted
    whole = sum(value for name, value in parts.items() if " / " not in name)
    assert 0.5 * measured.seconds < whole <= measured.seconds
    inside = sum(value for name, value in parts.items() if name.startswith("rollout / "))
    assert inside <= parts["rollout"]
    assert all(name.startswith("aten::") for name in measured.operations)
    lines = measured.lines()
    assert lines[0].startswith("one iteration of the game: ")
    assert any(line.startswith("    judge") for line in lines)
