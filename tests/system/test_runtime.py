"""What one process shares with others, by value. The others are threads here."""

import copy
import math
import re
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from fake_processes import all_at_once, fake_processes
from tiny_runs import TINY, changed, toy_task
from torch.nn.utils import parameters_to_vector
from toys import ENDING, MAX_LENGTH, TableReward, as_trajectories, every_sequence, seeded

from seqgan import cli
from seqgan.commands.prepared import SECONDS_FOR_MAIN
from seqgan.data.sequences import Sequences, Trajectories
from seqgan.functional.baselines import leave_one_out
from seqgan.functional.policy_losses import reinforce
from seqgan.functional.scaling import standardize
from seqgan.learning.collection import gathered
from seqgan.learning.policy_updates import GeneratorUpdate, update_generator
from seqgan.learning.updates import pretrain_epoch, train_discriminator
from seqgan.models.discriminators.causal import CausalDiscriminator, CausalDiscriminatorConfig
from seqgan.models.discriminators.recurrent import (
    RecurrentDiscriminator,
    RecurrentDiscriminatorConfig,
)
from seqgan.models.generators.recurrent import RecurrentGenerator, RecurrentGeneratorConfig
from seqgan.rewards.discriminator import DiscriminatorReward
from seqgan.rewards.discriminator_step import DiscriminatorUpdate
from seqgan.system.accelerated import runtime_for
from seqgan.system.errors import ConfigurationError, Interrupted
from seqgan.system.runtime import ALONE, launched_processes, launched_rank
from seqgan.system.seeding import seed_of, seeded_from
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.progress import silent_progress
from seqgan.training.phases.maximum_likelihood import epoch_batches
from seqgan.training.start import make_trainer

# Two halves with unlike numbers of tokens: sequences of one and two, and of three and four.
EVERYTHING = every_sequence(ENDING)
ORDER = EVERYTHING.lengths.argsort(stable=True)
HALVES = [EVERYTHING.select(ORDER[:12]), EVERYTHING.select(ORDER[-12:])]
WHOLE = EVERYTHING.select(torch.cat([ORDER[:12], ORDER[-12:]]))


ONE_AT_A_TIME = threading.Lock()  # threads stand for processes here, and share one global seed


def generator():
    config = RecurrentGeneratorConfig(embedding_size=4, hidden_size=6, init_std=0.5)
    with ONE_AT_A_TIME, seeded_from(seeded(0)):
        return RecurrentGenerator(config, ENDING)


def weights(module):
    return parameters_to_vector(module.parameters()).detach().clone()


def in_processes(step):
    """What `step(runtime, rank)` gives in each of two processes."""
    return all_at_once([partial(step, process, process.rank) for process in fake_processes()])


class TestOneProcess:
    def test_everything_stays_as_it_is(self):
        rows = torch.randn(3, 2)
        assert ALONE.gather(rows) is rows
        assert torch.equal(ALONE.own(rows), rows)
        assert ALONE.share(0.1) == 1.0
        assert ALONE.total(0.1) == 0.1
        assert ALONE.average({"a": 0.1}, 0.3) == {"a": 0.1}
        assert ALONE.maximum(0.1) == 0.1
        assert ALONE.from_main("here") == "here"
        assert ALONE.gather_objects("here") == ["here"]
        assert ALONE.is_main()
        assert ALONE.forward(torch.nn.Identity(), lambda module: module(2)) == 2

    def test_no_launcher_needs_no_accelerate(self):
        script = (
            "import sys; from seqgan.system.accelerated import runtime_for; "
            "from seqgan.system.runtime import ALONE; "
            "print(runtime_for('cpu') is ALONE, 'accelerate' in sys.modules)"
        )
        found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert found.stdout.split() == ["True", "False"], found.stderr


class TestLaunchers:
    @pytest.mark.parametrize(
        ("variables", "found"),
        [
            ({"WORLD_SIZE": "4", "RANK": "3"}, (4, 3)),
            ({"OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_RANK": "2"}, (3, 2)),
            ({"WORLD_SIZE": ""}, (1, 0)),
            ({"RANK": "3"}, (1, 0)),
            ({}, (1, 0)),
        ],
    )
    def test_what_they_tell(self, variables, found, monkeypatch):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert (launched_processes(), launched_rank()) == found

    @pytest.mark.parametrize("value", ["x", "0", "-2", "2.5"])
    def test_what_a_cluster_left_is_one_line(self, value, monkeypatch):
        monkeypatch.setenv("WORLD_SIZE", value)
        monkeypatch.setenv("RANK", "0")
        said = (
            f", which a launcher of several processes sets, is '{value}', but must be a"
            " number of at least 1; to train alone: unset WORLD_SIZE RANK"
        )
        with pytest.raises(ConfigurationError, match=said):
            launched_processes()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *(("MASTER_PORT", "http"), ("MASTER_PORT", "-1"), ("MASTER_PORT", "99999")),
            *(("RANK", "1e1"), ("LOCAL_RANK", "x"), ("LOCAL_RANK", "")),
        ],
    )
    def test_what_a_launcher_never_sets_is_one_line(self, name, value, monkeypatch):
        pytest.importorskip("accelerate")
        meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
        for each, number in {**meeting, "RANK": "0", "LOCAL_RANK": "0", name: value}.items():
            monkeypatch.setenv(each, number)
        with pytest.raises(ConfigurationError, match=f"{name} is '{value}', but a launcher sets"):
            runtime_for("cpu")

    def test_processes_that_nobody_launched(self, monkeypatch):
        """The message is accelerate's, which would fill a page."""

        def accelerator(**settings):
            raise ValueError("but `MASTER_ADDR` env was not set, please try exporting it")

        plugin = SimpleNamespace(GradientAccumulationPlugin=dict)
        fake = SimpleNamespace(Accelerator=accelerator, utils=plugin)
        monkeypatch.setitem(sys.modules, "accelerate", fake)
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(
            ConfigurationError, match=r"does not say where .*; to train alone: unset WORLD"
        ):
            runtime_for("cpu")

    def test_several_processes_without_accelerate(self, monkeypatch):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setitem(sys.modules, "accelerate", None)
        with pytest.raises(
            ValueError,
            match=(
                r"accelerate is missing, which a run in 2 processes needs: pip install"
                r" 'seqgan\[distrib"
            ),
        ):
            runtime_for("cpu")

    @pytest.mark.parametrize("processes", ["1", "2"])
    @pytest.mark.parametrize(
        ("variable", "value", "got"),
        [
            ("ACCELERATE_USE_FSDP", "true", "asks for FSDP (the launcher set ACCELERATE_USE_FSDP)"),
            ("ACCELERATE_USE_DEEPSPEED", "True", "asks for DEEPSPEED"),
            ("ACCELERATE_USE_MEGATRON_LM", "1", "asks for MEGATRON_LM"),
            (
                "PARALLELISM_CONFIG_TP_SIZE",
                "2",
                "asks for shards (the launcher set PARALLELISM_CONFIG",
            ),
            ("PARALLELISM_CONFIG_DP_SHARD_SIZE", "4", "DP_SHARD_SIZE=4)"),
        ],
    )
    def test_parameters_in_shards_are_refused_on_cpus_too(
        self, processes, variable, value, got, monkeypatch
    ):
        monkeypatch.setenv("WORLD_SIZE", processes)
        monkeypatch.setenv(variable, value)
        with pytest.raises(ConfigurationError, match=re.escape(got)) as refusal:
            runtime_for("cpu")
        assert str(refusal.value).startswith("the launcher asks for ")
        assert str(refusal.value).endswith("docs/scale.md says why")

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("ACCELERATE_USE_FSDP", "false"),
            ("ACCELERATE_USE_DEEPSPEED", ""),
            ("PARALLELISM_CONFIG_TP_SIZE", "1"),
            ("PARALLELISM_CONFIG_DP_REPLICATE_SIZE", "8"),
        ],
    )
    def test_whole_copies_are_not_refused(self, variable, value, monkeypatch):
        monkeypatch.setenv(variable, value)
        assert runtime_for("cpu") is ALONE

    @pytest.mark.parametrize(("rank", "waits"), [("0", []), ("1", [SECONDS_FOR_MAIN])])
    @pytest.mark.parametrize(
        "flags", [["captions", "--seed", "-1"], ["--resume", "no-run"], ["captions", "--profile"]]
    )
    def test_a_wrong_input_is_left_to_the_main_process(
        self, rank, waits, flags, monkeypatch, capsys
    ):
        """Which ends, and so do the others with it; one that does not has its own to say."""
        waited = []
        monkeypatch.setattr("seqgan.commands.prepared.time.sleep", waited.append)
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(SystemExit) as stop:
            cli.main(["train", *flags])
        assert stop.value.code == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
        assert waited == waits


class TestTwoProcesses:
    def test_what_they_share(self):
        def step(process, rank):
            rows = torch.arange(2.0) + 10 * rank
            everyones = process.gather(rows)
            return {
                "rows": everyones.tolist(),
                "own": torch.equal(process.own(everyones), rows),
                "shares": process.share([30.0, 10.0][rank]),
                "total": process.total([30.0, 10.0][rank]),
                "average": process.average({"a": [1.0, 5.0][rank]}, [30.0, 10.0][rank]),
                "maximum": process.maximum([2.0, -3.0][rank]),
                "from": process.from_main(["first", "second"][rank]),
                "main": process.is_main(),
                "copy": copy.deepcopy({"of": process})["of"] is ALONE,
            }

        first, second = in_processes(step)
        same = {"rows": [0.0, 1.0, 10.0, 11.0], "own": True, "total": 40.0, "maximum": 2.0}
        same |= {"average": {"a": 2.0}, "from": "first", "copy": True}
        assert first == same | {"shares": 1.5, "main": True}
        assert second == same | {"shares": 0.5, "main": False}

    def test_nobody_has_any(self):
        assert in_processes(lambda process, rank: process.share(0.0)) == [0.0, 0.0]

    def test_pretraining_is_that_of_the_whole_batch(self):
        def train(runtime, batches):
            trained = generator()
            optimizer = torch.optim.AdamW(trained.parameters(), 0.01)
            runtime.prepare(trained)
            metrics = pretrain_epoch(trained, optimizer, batches, 0.5, runtime)
            return weights(trained), metrics

        expected, measured = train(ALONE, [WHOLE] * 3)
        for found, metrics in in_processes(lambda p, rank: train(p, [HALVES[rank]] * 3)):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
            assert metrics == pytest.approx(measured, rel=1e-5)
        alone, _ = train(ALONE, [HALVES[0]] * 3)
        assert float((alone - expected).abs().max()) > 1e-3

    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    def test_the_generator_update_is_that_of_all_trajectories(self, reduction):
        settings = GeneratorUpdate(0.5, entropy_weight=0.1, mle_weight=0.3, reduction=reduction)
        advantages = torch.randn((24, MAX_LENGTH), generator=seeded(3))

        def train(runtime, sequences, advantages, real):
            trained = generator()
            trajectories = as_trajectories(trained, sequences, torch.zeros(len(sequences)))
            optimizer = torch.optim.SGD(trained.parameters(), 0.01)
            runtime.prepare(trained)
            for _ in range(2):
                metrics = update_generator(
                    trained, optimizer, reinforce, trajectories, advantages, settings, runtime, real
                )
            return weights(trained), metrics

        # What is kept likely is short where the trajectories are long.
        expected, measured = train(ALONE, WHOLE, advantages, WHOLE)
        outcomes = in_processes(
            lambda p, rank: train(p, HALVES[rank], p.own(advantages), HALVES[1 - rank])
        )
        for found, metrics in outcomes:
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
            assert metrics == pytest.approx(measured, rel=1e-4)
        alone, _ = train(ALONE, HALVES[0], advantages[:12], HALVES[1])
        assert float((alone - expected).abs().max()) > 1e-4

    @pytest.mark.parametrize("kind", ["plain", "regularised", "of tokens"])
    def test_the_discriminator_step_is_that_of_all_rows(self, kind):
        """One of tokens weighs its rows by their lengths, so that its loss is no mean of two."""
        settings = {"l2": 0.1, "max_grad_norm": 0.05}
        if kind == "regularised":
            settings |= {"label_smoothing": 0.2, "gradient_penalty": 0.5}

        def train(runtime, real, generated):
            config = RecurrentDiscriminatorConfig(embedding_size=4, hidden_size=4, dropout=0.0)
            causal = CausalDiscriminatorConfig(width=4, num_layers=1, num_heads=1, dropout=0.0)
            with ONE_AT_A_TIME, seeded_from(seeded(1)):
                discriminator = RecurrentDiscriminator(config, ENDING, MAX_LENGTH)
                if kind == "of tokens":
                    discriminator = CausalDiscriminator(causal, ENDING, MAX_LENGTH)
            optimizer = torch.optim.SGD(discriminator.parameters(), 0.1)  # Adam magnifies rounding
            reward = DiscriminatorReward(
                discriminator, optimizer, settings=DiscriminatorUpdate(**settings)
            )
            reward.train_in(runtime)
            size = 2 * len(real)  # one minibatch, so that an order does not matter
            metrics = train_discriminator(
                reward, real, generated, 3, size, seeded(5), runtime=runtime
            )
            return weights(discriminator), metrics

        expected, measured = train(ALONE, WHOLE, EVERYTHING.select(torch.arange(24)))
        fakes = [EVERYTHING.select(torch.arange(12) + 12 * rank) for rank in range(2)]
        for found, metrics in in_processes(lambda p, rank: train(p, HALVES[rank], fakes[rank])):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
            if kind != "of tokens":
                assert metrics == pytest.approx(measured, rel=1e-4)

    def test_gathered_trajectories(self):
        """Prompts of two widths, columns, and a part that one process alone knows of."""

        def step(process, rank):
            prompts = torch.full((12, 1 + rank), rank)
            mask = torch.ones_like(prompts, dtype=torch.bool)
            columns = {"group": [f"{rank}-{row}" for row in range(12)]}
            given = replace(HALVES[rank], prompts=prompts, prompt_mask=mask, columns=columns)
            numbers = torch.arange(12.0) + 100 * rank
            told = as_trajectories(generator(), given, numbers)
            parts = {"rare": numbers} if rank == 1 else None
            return gathered(Trajectories(given, told.log_probs, told.rewards, parts), process)

        for found in in_processes(step):
            assert torch.equal(found.tokens, WHOLE.tokens)
            assert torch.equal(found.mask, WHOLE.mask)
            assert found.returns.tolist() == [*range(12), *range(100, 112)]
            assert found.part("rare").tolist() == [*range(12), *range(100, 112)]
            assert found.sequences.columns["group"][11:13] == ["0-11", "1-0"]
            assert found.sequences.prompts[[0, 12]].tolist() == [[0, 0], [1, 1]]
            assert found.sequences.prompt_mask[[0, 12]].tolist() == [[False, True], [True, True]]
            assert found.sequences.vocabulary is ENDING


def trainers(config, reward=None):
    """A trainer for each of two processes, with its tracker."""
    made = []
    for process in fake_processes():
        tracker = MemoryTracker()
        trainer = make_trainer(
            config, toy_task(), tracker, silent_progress(), rewards=reward, runtime=process
        )
        made.append((trainer, tracker))
    return made


def batches_of(trainer, epoch):
    """The minibatches of a process in an epoch of maximum likelihood."""
    settings = trainer.phase("maximum_likelihood").settings
    return [*epoch_batches(trainer.players, settings, epoch, trainer.rng)]


class TestTrainer:
    def test_a_run(self):
        (first, told), (second, silent) = trainers(TINY)
        all_at_once([first.train, second.train])
        assert torch.equal(weights(first.players.generator), weights(second.players.generator))
        discriminators = [t.players.discriminator.discriminator for t in (first, second)]
        assert torch.equal(*map(weights, discriminators))
        for name in first.state_dict()["phases"]:
            assert first.phase(name).count == second.phase(name).count
        assert not torch.equal(first.rng.get_state(), second.rng.get_state())
        assert silent.logged == []
        assert [metrics["iteration"] for metrics in told.logged[3:]] == [0, 1, 2, 3]
        # Tokens of both processes: 3 iterations of 2 x 4 sequences.
        lengths = told.values("charts/episodic_length")
        assert first.players.position.global_step == round(sum(lengths) * 8)

    @pytest.mark.parametrize("standardized", [False, True])
    def test_advantages_are_those_of_all_trajectories(self, standardized, monkeypatch):
        """Without rollouts and KL a token's value is its sequence's reward."""
        settings = {"rule.num_rollouts": 0, "rule.kl_weight": 0.0}
        scale = "batch" if standardized else "none"
        settings |= {"rule.scale": scale, "adversarial.iterations": 1}
        seen = {}

        def watched(
            generator, optimizer, loss, trajectories, advantages, settings, runtime, *_, **__
        ):
            seen[runtime.rank] = trajectories, advantages
            return {}

        monkeypatch.setattr("seqgan.learning.rules.policy_gradient.update_generator", watched)
        made = trainers(changed(TINY, settings), TableReward(ENDING.num_actions))
        all_at_once([partial(t.phase("game").rule.step, t.players, t.rng) for t, _ in made])
        parts = [seen[rank][0] for rank in range(2)]
        assert not torch.equal(parts[0].tokens, parts[1].tokens)
        tokens, mask, rewards = (
            torch.cat([getattr(part, name) for part in parts])
            for name in ("tokens", "mask", "rewards")
        )
        together = Trajectories(Sequences(tokens, mask, vocabulary=ENDING), rewards, rewards)
        values = together.returns[:, None].expand(-1, MAX_LENGTH)
        expected = values - leave_one_out(values, together)
        if standardized:
            expected = standardize(expected, mask)
        found = torch.cat([seen[rank][1] for rank in range(2)])
        torch.testing.assert_close(found[mask], expected[mask])
        for trainer, _ in made:
            assert torch.equal(trainer.phase("game").rule._shown["known"], mask)

    def test_minibatches_of_an_epoch(self):
        """One order for both, cut into parts; 61 sequences leave one over."""
        made = trainers(changed(TINY, {"pretrain.batch_size": 8}))
        first, second = (batches_of(trainer, 0) for trainer, _ in made)
        assert [len(batch) for batch in first] == [8, 8, 8, 6]
        assert [len(batch) for batch in second] == [8, 8, 8, 6]
        rows = [tuple(row) for batch in first + second for row in batch.tokens.tolist()]
        assert len(set(rows)) == 60
        assert torch.equal(batches_of(made[0][0], 0)[0].tokens, first[0].tokens)
        assert not torch.equal(batches_of(made[0][0], 1)[0].tokens, first[0].tokens)

    def test_short_epochs_have_a_minibatch_for_all(self):
        """Of the four, some may be the last of one pass, and some the first of the next."""
        made = trainers(changed(TINY, {"pretrain.epoch_size": 4}))
        for trainer, _ in made:
            for done in range(61):
                sizes = [len(batch) for batch in batches_of(trainer, done)]
                assert sizes in ([2], [1, 1], [1])
        with pytest.raises(
            ValueError,
            match=r"pretrain.epoch_size is 3, but must be at least 2 for each of 2 processes",
        ):
            trainers(changed(TINY, {"pretrain.epoch_size": 3}))

    def test_the_cut_of_an_epoch_changes_no_number(self):
        """Each minibatch a unit, in both processes; two are trained as those of whole epochs."""
        config = changed(TINY, {"pretrain.batch_size": 8})
        rows = []
        for seconds in (0, 1e9):
            made = trainers(config)
            for trainer, _ in made:
                trainer.phase("maximum_likelihood").unit_seconds = seconds
            phases = [partial(t.run, t.phase("maximum_likelihood")) for t, _ in made]
            all_at_once(phases)
            one, other = (weights(trainer.players.generator) for trainer, _ in made)
            assert torch.equal(one, other)
            rows.append((one, made[0][1].logged, made[0][0].rng.get_state()))
        (cut, cut_logged, cut_rng), (whole, whole_logged, whole_rng) = rows
        assert torch.equal(cut, whole)
        assert cut_logged == whole_logged
        assert len(cut_logged) == 2
        assert torch.equal(cut_rng, whole_rng)

    def test_a_stop_that_one_was_asked_for_is_everybodys(self):
        """All stop after the first unit, a part of the first epoch."""
        made = trainers(TINY)
        made[1][0].stop_requested, made[1][0].stop_signal = True, 15

        def run(trainer):
            with pytest.raises(Interrupted):
                trainer.train()
            return trainer.phase("maximum_likelihood").count, trainer.stop_signal

        stops = all_at_once([partial(run, trainer) for trainer, _ in made])
        assert stops == [(0.5, 15), (0.5, 15)]

    def test_a_checkpoint_goes_on_in_any_number_of_processes(self):
        settings = changed(TINY, {"adversarial.iterations": 1})
        made = trainers(settings)
        all_at_once([trainer.train for trainer, _ in made])
        state = made[0][0].state_dict()
        longer = changed(TINY, {"adversarial.iterations": 2})
        alone = make_trainer(longer, toy_task(), MemoryTracker(), silent_progress())
        alone.load_state_dict(copy.deepcopy(state))
        assert torch.equal(alone.rng.get_state(), state["rng"])
        alone.train()
        assert alone.players.position.iteration == 2
        both = [trainer for trainer, _ in trainers(longer)]
        for trainer in both:
            trainer.load_state_dict(copy.deepcopy(state))  # nothing is shared
        assert torch.equal(both[0].rng.get_state(), state["rng"])
        assert not torch.equal(both[1].rng.get_state(), state["rng"])
        all_at_once([trainer.train for trainer in both])
        assert torch.equal(weights(both[0].players.generator), weights(both[1].players.generator))
        assert both[1].players.position.iteration == 2

    def test_refusals(self):
        class Learner:
            name, per_token = "learner", False

            def score(self, sequences):
                return torch.zeros(len(sequences))

            def update(self, real, generated):
                return {}

            def state_dict(self):
                return {}

            def load_state_dict(self, state):
                pass

        with pytest.raises(
            ValueError,
            match=(
                "'learner' has no method train_in, which a reward that learns in several"
                " processes must have, as the discriminator has"
            ),
        ):
            trainers(TINY, Learner())
        task = toy_task()
        few = replace(task, splits={**task.splits, "train": EVERYTHING.select(torch.arange(1))})
        with pytest.raises(
            ValueError,
            match="there are 1 training sequences for 2 processes, but must be one for each",
        ):
            make_trainer(TINY, few, MemoryTracker(), silent_progress(), runtime=fake_processes()[0])


def test_seeds_differ():
    seeds = [seed_of(seed, rank, done) for seed in range(3) for rank in range(3) for done in (0, 1)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert math.log2(max(seeds)) > 60
