"""The names that `import seqgan` gives, and that they cost nothing until they are used."""

import importlib
import subprocess
import sys

import pytest

import seqgan


@pytest.mark.parametrize("name", seqgan.__all__)
def test_every_name_is_there(name: str) -> None:
    value = getattr(seqgan, name)
    place = importlib.import_module(seqgan._PLACES[name])
    assert value is (place if seqgan._PLACES[name].endswith(f".{name}") else getattr(place, name))


def test_the_lists_agree() -> None:
    assert seqgan.__all__ == sorted(seqgan._PLACES)
    assert set(seqgan.__all__) <= set(dir(seqgan))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'seqgan' has no attribute 'trian'"):
        seqgan.trian  # noqa: B018


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    script = (
        "import sys, seqgan; before = 'torch' in sys.modules; seqgan.Sequences;"
        " print(before, 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True", "False"], done.stderr


@pytest.mark.parametrize(
    "lines",
    [
        "import seqgan; import gymnasium",
        "import gymnasium; import seqgan",
        "import seqgan; from gymnasium import spaces; import gymnasium",
    ],
)
def test_importing_it_registers_the_environments(lines: str) -> None:
    script = f"{lines}; print(gymnasium.make('seqgan/TextGeneration-v0').spec.id)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["seqgan/TextGeneration-v0"], done.stderr


def test_importing_it_imports_no_gymnasium() -> None:
    script = "import seqgan, sys; print('gymnasium' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"], done.stderr


def test_five_lines_train_on_a_list_of_strings() -> None:
    texts = [f"the {a} {b}" for a in ("dog", "cat", "bird", "horse") for b in ("runs", "sleeps")]
    small = {
        "pretrain.epochs": 1,
        "adversarial.iterations": 1,
        "adversarial.batch_size": 8,
        "rule.num_rollouts": 0,
        "generator.hidden_size": 8,
        "evaluation.num_samples": 20,
        "evaluation.num_final": 20,
        "evaluation.temperatures": (1.0, 0.8),
    }
    run = seqgan.train(
        "text", task=texts, reward=lambda text: float("dog" in text), progress=False, **small
    )
    assert len(run.sample(3)) == 3
    assert run.sample(3, seed=1) == seqgan.sample(run, 3, seed=1)
    assert any("charts/episodic_return" in row for row in run.metrics)
    assert run.evaluate(20)["eval/nll_heldout"] > 0
    steps, rewards = run.metrics.columns("iteration", "charts/episodic_return")
    assert steps == [1]
    assert rewards == run.metrics["charts/episodic_return"]
    assert repr(run).startswith("<run in memory: RecurrentGenerator of")
    assert len(repr(run)) < 200
    page = run._repr_html_()
    assert "<table>" in page
    assert "reward " in page


@pytest.mark.slow
def test_a_run_in_a_folder_is_loaded_again(tmp_path) -> None:
    small = {
        "task.train_size": 60,
        "task.dev_size": 20,
        "task.test_size": 20,
        "pretrain.epochs": 1,
        "adversarial.iterations": 1,
        "adversarial.batch_size": 8,
        "rule.num_rollouts": 0,
        "evaluation.num_samples": 20,
        "evaluation.num_final": 20,
        "evaluation.num_heldout": 20,
        "evaluation.temperatures": (1.0, 0.8),
    }
    run = seqgan.train(
        "captions", reward="constant", output=tmp_path / "run", progress=False, **small
    )
    loaded = seqgan.load(tmp_path / "run")
    assert loaded.sample(4, seed=2) == run.sample(4, seed=2)
    assert loaded.summary() == run.summary()
    assert "nll_heldout" in run.summary()
    assert list(loaded.metrics) == list(run.metrics)
    assert loaded.evaluate(20, seed=1) == run.evaluate(20, seed=1)


def test_a_list_of_texts_or_a_file_is_enough(tmp_path, monkeypatch) -> None:
    (tmp_path / "texts.csv").write_text("caption,source\na dog,x\na cat,y\n", encoding="utf-8")
    started: list[seqgan.TrainConfig] = []

    def starts(config, task, rng, rewards):
        started.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr("seqgan.commands.notebook.make_players", starts)
    texts = [f"the {a} {b}" for a in ("dog", "cat", "bird") for b in ("runs", "sleeps")]
    (tmp_path / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    for call in (
        lambda: seqgan.train(texts),
        lambda: seqgan.train(tmp_path / "texts.txt"),
        lambda: seqgan.train("text", task=tmp_path / "texts.txt"),
    ):
        with pytest.raises(KeyboardInterrupt):
            call()
    assert [config.task.kind for config in started] == ["text"] * 3
    assert [config.task.path for config in started] == ["", *[str(tmp_path / "texts.txt")] * 2]


def test_a_file_with_columns_is_read_by_the_column_that_is_named(tmp_path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("caption,source\na dog,x\na cat,y\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"has the columns 'caption', 'source', but none is"):
        seqgan.train(path)
    with pytest.raises(ValueError, match=r"texts.csv has 2 distinct texts"):
        seqgan.train(path, **{"task.column": "caption"})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"settings": "capitons"}, "unknown preset 'capitons'; did you mean captions"),
        ({"settings": "none.txt"}, "cannot read none.txt: no such file"),
        ({"settings": ["a b"], "task": ["a b"]}, "texts are given twice, in front and as task"),
        ({"settings": ["a"], "output": "x"}, r'in a file, .*: seqgan.train\("texts.txt", output='),
        ({"reward": len, "output": "x"}, 'reward="./my_reward.py:FUNCTION"'),
        ({"trackers": "csv"}, 'csv write into a run.s folder, .* output="runs/mine"'),
    ],
)
def test_training_says_what_is_wrong_with_what_it_is_given(arguments, said) -> None:
    with pytest.raises(ValueError, match=said):
        seqgan.train(**arguments)
