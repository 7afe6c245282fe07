"""The plain versions compute what the library computes, and the suite runs in a small size."""

import sys
from pathlib import Path

import pretrained_models
import pytest
import torch
import warm_processes

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import plain  # noqa: E402

from seqgan.data.sequences import Sequences, Trajectories  # noqa: E402
from seqgan.data.vocabulary import Vocabulary  # noqa: E402
from seqgan.learning.rollouts import monte_carlo_action_values  # noqa: E402
from seqgan.models.discriminators.cnn import CNNDiscriminator, CNNDiscriminatorConfig  # noqa: E402
from seqgan.models.generators.recurrent import RecurrentGenerator  # noqa: E402
from seqgan.rewards.discriminator import DiscriminatorReward  # noqa: E402
from seqgan.system.seeding import seeded_from  # noqa: E402
from seqgan.training.presets import oracle_paper_preset  # noqa: E402

VOCABULARY = Vocabulary(tuple("abcdefg"), has_eos=False, bos_word=0)
LENGTH = 5


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def parts():
    config = CNNDiscriminatorConfig(embedding_size=6, filter_sizes=(1, 3), num_filters=(4, 5))
    with seeded_from(seeded()):
        generator = RecurrentGenerator(oracle_paper_preset().generator, VOCABULARY).eval()
        discriminator = CNNDiscriminator(config, VOCABULARY, LENGTH).eval()
    with torch.no_grad():  # an opinion of every text, and a policy that is far from even
        for module in (generator, discriminator):
            for parameter in module.parameters():
                parameter.mul_(2.5)
    return generator, discriminator


def texts(n, seed=1):
    tokens = torch.randint(7, (n, LENGTH), generator=seeded(seed))
    return Sequences(tokens, torch.ones_like(tokens, dtype=torch.bool), vocabulary=VOCABULARY)


def test_likelihood_and_discriminator(parts):
    generator, discriminator = parts
    batch = texts(9)
    torch.testing.assert_close(
        plain.nll(generator, batch), generator.negative_log_likelihood(batch)
    )
    torch.testing.assert_close(
        plain.discriminator_logits(discriminator, batch.tokens), discriminator(batch)
    )


def test_action_values_have_the_same_mean(parts):
    """Many rollouts of either agree within their noise, at every row and step."""
    generator, discriminator = parts
    batch = texts(3)
    reward = DiscriminatorReward(discriminator, torch.optim.SGD(discriminator.parameters(), 0.1))
    rewards = torch.zeros(3, LENGTH)
    rewards[:, -1] = reward.score(batch)
    trajectories = Trajectories(batch, torch.zeros(3, LENGTH), rewards)
    ours = monte_carlo_action_values(generator, reward, trajectories, 3000, seeded())
    theirs = plain.action_values(generator, discriminator, trajectories, 3000, seeded())
    # D lies in (0, 1): no standard error is above 0.5 / sqrt(3000).
    torch.testing.assert_close(ours, theirs, rtol=0, atol=4 * 2**0.5 * 0.5 / 3000**0.5)
    assert float(ours.std()) > 0.05


@pytest.mark.slow
def test_the_suite_in_a_small_size(tmp_path):
    arguments = ("--smoke", "--threads", "1", "--results", tmp_path / "speed.json")
    done = warm_processes.script(ROOT / "benchmarks" / "speed.py", arguments, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "speed.json").exists()
    assert "rollout rewards of one update" in done.stdout


@pytest.mark.integration
def test_cached_rollouts_in_a_small_size(tmp_path):
    sizes = "--length 6 --batches 2 --rollouts 2 --width 8 --words 10 --repeats 1".split()
    done = warm_processes.script(ROOT / "benchmarks" / "cached_rollouts.py", sizes, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "GPT-2's shape, against `generate`" in done.stdout


@pytest.mark.integration
def test_a_pretrained_generator_in_a_small_size(tmp_path):
    words = tuple(f"w{number}" for number in range(10))
    folder = pretrained_models.saved(tmp_path, "llama", words)
    sizes = "--texts 4 --length 6 --prompt 3 --group 2 --repeats 1".split()
    given = [str(folder), *sizes]
    done = warm_processes.script(ROOT / "benchmarks" / "pretrained.py", given, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "drawing, 2 texts of each prompt, against `generate`" in done.stdout


@pytest.mark.slow
def test_decoding_in_a_small_size(tmp_path):
    sizes = "--epochs 1 --proposals 256 --texts 16 --learnt-from 200 --repeats 1".split()
    done = warm_processes.script(ROOT / "benchmarks" / "decoding.py", sizes, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "resampling" in done.stdout
