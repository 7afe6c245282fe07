"""The oracle: its draw, its file, and its probabilities against enumeration and the paper's."""

import io
import itertools
import math
import pickle

import numpy as np
import pytest
import torch

from seqgan.data.sequences import Sequences
from seqgan.tasks.oracle import Oracle, OracleConfig, oracle_task

GATES = "ifoc"


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def full(tokens, oracle):
    tokens = torch.as_tensor(tokens)
    return Sequences(tokens, torch.ones_like(tokens).bool(), vocabulary=oracle.vocabulary)


def drawn_weights(vocabulary_size=5, embedding_size=3, hidden_size=4, seed=0):
    """Weights whose sizes all differ, so that a transposed array is noticed."""
    rng = np.random.default_rng(seed)
    shapes = {"embedding": (vocabulary_size, embedding_size)}
    for gate in GATES:
        shapes[f"input_w_{gate}"] = (embedding_size, hidden_size)
        shapes[f"hidden_w_{gate}"] = (hidden_size, hidden_size)
        shapes[f"bias_{gate}"] = (hidden_size,)
    shapes |= {"output_w": (hidden_size, vocabulary_size), "output_b": (vocabulary_size,)}
    return {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def numpy_log_prob(weights, row):
    """log p of a row, from the equations, one token at a time, in double precision."""
    weights = {name: value.astype(np.float64) for name, value in weights.items()}

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    hidden = cell = np.zeros(weights["output_w"].shape[0])
    total, token = 0.0, 0  # the first input is token 0
    for target in row:
        x = weights["embedding"][token]
        gates = {
            g: x @ weights[f"input_w_{g}"]
            + hidden @ weights[f"hidden_w_{g}"]
            + weights[f"bias_{g}"]
            for g in GATES
        }
        cell = sigmoid(gates["f"]) * cell + sigmoid(gates["i"]) * np.tanh(gates["c"])
        hidden = sigmoid(gates["o"]) * np.tanh(cell)
        logits = hidden @ weights["output_w"] + weights["output_b"]
        total += logits[target] - logits.max() - np.log(np.exp(logits - logits.max()).sum())
        token = target
    return total


class TestDraw:
    def test_seed_decides(self):
        first, same, other = (Oracle.draw(50, 8, 5, seed) for seed in (1, 1, 2))
        assert first.hash == same.hash
        assert first.hash != other.hash
        tokens = full([[1, 2, 3, 4, 5]], first)
        assert torch.equal(first.log_prob(tokens), same.log_prob(tokens))
        assert not torch.equal(first.log_prob(tokens), other.log_prob(tokens))

    def test_every_weight_is_standard_normal(self):
        generator = Oracle.draw(5000, 32, 20, seed=0).generator
        weights = {name: value.flatten() for name, value in generator.state_dict().items()}
        assert torch.all(weights.pop("layers.0.bias_hh_l0") == 0)
        assert len(weights) == 6
        sizes = {name: len(value) for name, value in weights.items()}
        assert sum(sizes.values()) == 5000 * 32 + 4 * (32 * 32 + 32 * 32 + 32) + 32 * 5000 + 5000
        for name, values in weights.items():
            assert abs(float(values.mean())) < 4 / math.sqrt(len(values)), name
            assert abs(float(values.var()) - 1) < 4 * math.sqrt(2 / len(values)), name
        # Kurtosis 3 tells a normal from a uniform (1.8): standard error sqrt(24 / n).
        every = torch.cat(list(weights.values()))
        assert float(every.pow(4).mean()) == pytest.approx(3, abs=0.1)

    def test_global_random_state_is_left_alone(self):
        before = torch.get_rng_state()
        Oracle.draw(20, 4, 3, seed=0).sample(5, seeded())
        assert torch.equal(torch.get_rng_state(), before)

    def test_is_no_parameter_to_train(self):
        oracle = Oracle.draw(20, 4, 3, seed=0)
        assert not any(p.requires_grad for p in oracle.generator.parameters())


class TestProbabilities:
    @pytest.fixture(scope="class")
    def oracle(self):
        return Oracle.draw(4, 3, 3, seed=0)

    @pytest.fixture(scope="class")
    def exact(self, oracle):
        """log p of all 64 sequences."""
        every = list(itertools.product(range(4), repeat=3))
        log_probs = oracle.log_prob(full(every, oracle)).double()
        return dict(zip(every, log_probs.tolist(), strict=True))

    def test_sum_to_one(self, exact):
        assert len(exact) == 64
        assert math.fsum(map(math.exp, exact.values())) == pytest.approx(1, abs=1e-6)

    def test_entropy(self, oracle, exact):
        entropy = -math.fsum(math.exp(log) * log for log in exact.values())
        # 4,000 prefixes: the error is their deviation, below 0.7 a sequence, over sqrt(4000).
        assert oracle.entropy() == pytest.approx(entropy, abs=0.03)
        assert 1 < entropy < 3 * math.log(4)

    def test_samples(self, oracle, exact):
        draws = oracle.sample(20_000, seeded())
        assert bool(draws.mask.all())
        counts = np.zeros(64)
        np.add.at(counts, (draws.tokens @ torch.tensor([16, 4, 1])).numpy(), 1)
        expected = np.array([20_000 * math.exp(log) for log in exact.values()])
        statistic = ((counts - expected) ** 2 / expected)[expected > 5].sum()
        # Chi-square with at most 63 degrees of freedom: 99.9% below 103.4.
        assert statistic < 103.4
        assert (expected > 5).sum() > 40

    def test_equals_the_equations(self):
        weights = drawn_weights()
        oracle = Oracle(weights, max_length=6)
        rows = [[0, 1, 2, 3, 4, 0], [4, 4, 4, 4, 4, 4], [3, 0, 0, 1, 2, 2]]
        expected = [numpy_log_prob(weights, row) for row in rows]
        assert oracle.log_prob(full(rows, oracle)).tolist() == pytest.approx(expected, abs=1e-5)


class TestFile:
    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "oracle.npz"

    def test_round_trip(self, path):
        weights = drawn_weights()
        np.savez_compressed(path, **weights)
        loaded, oracle = Oracle.load(path, 4), Oracle(weights, 4)
        assert loaded.hash == oracle.hash
        tokens = full([[4, 0, 2, 1]], oracle)
        assert torch.equal(loaded.log_prob(tokens), oracle.log_prob(tokens))

    def test_double_precision_is_the_same_oracle(self, path):
        weights = drawn_weights()
        np.savez(path, **{name: value.astype(np.float64) for name, value in weights.items()})
        assert Oracle.load(path, 4).hash == Oracle(weights, 4).hash

    def test_nothing_is_unpickled(self, path, tmp_path):
        class Trap:
            def __reduce__(self):
                return (open, (str(tmp_path / "sprung"), "w"))

        weights = drawn_weights()
        np.savez(path, **(weights | {"bias_i": np.array([Trap()], dtype=object)}))
        with pytest.raises(ValueError, match=r"oracle\.npz.*allow_pickle"):
            Oracle.load(path, 4)
        path.write_bytes(pickle.dumps(Trap()))
        with pytest.raises(ValueError, match=r"oracle\.npz"):
            Oracle.load(path, 4)
        assert not (tmp_path / "sprung").exists()

    def test_missing_file(self, path):
        with pytest.raises(ValueError, match=r"oracle\.npz: no such file"):
            Oracle.load(path, 4)

    def test_no_file_of_arrays(self, path, tmp_path):
        array = io.BytesIO()
        np.save(array, np.zeros(3))
        for content in (b"", b"not a zip", b"PK\x03\x04", array.getvalue()):
            path.write_bytes(content)
            with pytest.raises(
                ValueError, match=r"cannot read .*oracle\.npz as an \.npz file of weights"
            ):
                Oracle.load(path, 4)
        with pytest.raises(ValueError, match=r"an \.npz file of weights"):
            Oracle.load(tmp_path, 4)

    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_damaged_file(self, path, save):
        """Whatever byte is lost or altered: the same oracle, or a ValueError, nothing else."""
        weights = drawn_weights(vocabulary_size=30)
        save(path, **weights)
        whole = path.read_bytes()
        rng = np.random.default_rng(0)
        num_errors = 0
        for _ in range(100):
            damaged = bytearray(whole)
            position = int(rng.integers(len(whole)))
            damaged[position] ^= int(rng.integers(1, 256))
            for content in (bytes(damaged), whole[:position]):
                path.write_bytes(content)
                try:
                    loaded = Oracle.load(path, 4)
                except ValueError:
                    num_errors += 1
                else:
                    assert loaded.hash == Oracle(weights, 4).hash
        assert num_errors > 150

    @pytest.mark.parametrize("name", drawn_weights())
    def test_missing_array(self, path, name):
        weights = drawn_weights()
        del weights[name]
        np.savez(path, **weights)
        with pytest.raises(
            ValueError, match=f"the oracle file lacks the array '{name}', one of 15"
        ):
            Oracle.load(path, 4)

    @pytest.mark.parametrize("name", drawn_weights())
    def test_array_of_another_shape(self, path, name):
        weights = drawn_weights()
        for wrong in (weights[name].T[:-1].T, weights[name][None], np.float32(1)):
            np.savez(path, **(weights | {name: wrong}))
            with pytest.raises(ValueError, match=r"oracle array '\w+' is \("):
                Oracle.load(path, 4)


class TestTask:
    def test_splits(self):
        config = OracleConfig(
            vocabulary_size=30,
            hidden_size=4,
            max_length=6,
            train_size=40,
            dev_size=30,
            test_size=20,
        )
        task, again = oracle_task(config), oracle_task(config)
        for split, size in {"train": 40, "dev": 30, "test": 20}.items():
            assert task.splits[split].tokens.shape == (size, 6)
            assert torch.equal(task.splits[split].tokens, again.splits[split].tokens)
        train = set(map(tuple, task.splits["train"].tokens.tolist()))
        assert not train & set(map(tuple, task.splits["test"].tokens.tolist()))
        assert task.vocabulary.bos_id == 0
        assert task.vocabulary.eos_id is None
        assert task.exact.hash in task.description

    @pytest.mark.parametrize(
        ("setting", "rule"),
        [
            ({"vocabulary_size": 1}, "task.vocabulary_size is 1, but must be at least 2"),
            ({"max_length": 0}, "task.max_length is 0, but must be at least 1"),
            ({"dev_size": 0}, "task.dev_size is 0, but must be at least 1"),
        ],
    )
    def test_settings_out_of_range(self, setting, rule):
        with pytest.raises(ValueError, match=rule):
            OracleConfig(**setting)


class TestPaperOracle:
    """The published weights; every figure is nats per token."""

    @pytest.fixture(scope="class")
    def path(self, reference_data):
        path = reference_data / "oracle-paper.npz"
        if not path.is_file():
            pytest.skip(f"{path.name} is missing: the weights are in LantaoYu/SeqGAN")
        return path

    @pytest.fixture(scope="class")
    def oracle(self, path):
        return Oracle.load(path, max_length=20)

    @pytest.mark.slow
    def test_entropy(self, oracle):
        """Published: 5.75."""
        assert 5.74 < oracle.entropy() / 20 < 5.77

    def test_uniform_tokens(self, oracle):
        tokens = torch.randint(5000, (4000, 20), generator=seeded())
        nll = -float(oracle.log_prob(full(tokens, oracle)).double().mean()) / 20
        assert 11.41 < nll < 11.44

    def test_greedy_path(self, oracle):
        logits, state = oracle.generator.start(1)
        path = []
        for _ in range(20):
            path.append(logits.argmax(dim=1))
            logits, state = oracle.generator.step(path[-1], state)
        nll = -float(oracle.log_prob(full(torch.stack(path, dim=1), oracle))) / 20
        assert nll == pytest.approx(2.76, abs=0.005)

    def test_equals_the_equations(self, oracle, path):
        with np.load(path, allow_pickle=False) as arrays:
            weights = dict(arrays)
        sequences = oracle.sample(3, seeded())
        rows = [*sequences.tokens.tolist(), list(range(0, 5000, 250))]
        expected = [numpy_log_prob(weights, row) for row in rows]
        actual = oracle.log_prob(full(rows, oracle)).tolist()
        assert actual == pytest.approx(expected, abs=20 * 1e-4)
