"""The inputs that settings name, recorded with digests: compared, found where they have moved."""

import json
import logging
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from seqgan.system.errors import DataError
from seqgan.tasks.files.text import TextConfig
from seqgan.training.config_files import plain_settings, settings_of
from seqgan.training.identity import differences
from seqgan.training.inputs import (
    Input,
    located,
    move_code,
    read_inputs,
    record_inputs,
    remember_places,
)
from seqgan.training.runs import EVERYTHING
from seqgan.training.settings import TrainConfig

REWARD = "def score(text):\n    return 1.0\n"


@dataclass(frozen=True)
class Sources:
    """Settings in a task's: of a user's own, with files in several forms."""

    train_path: str = "train.txt"
    dev_path: str = "dev.txt"
    label_files: tuple[str, ...] = ("a.labels", "b.labels")
    vocabulary: str = "words"
    column: str = "text"
    level: str = "word"


@dataclass(frozen=True)
class OwnTask:
    """A task with files in several forms."""

    sources: Sources = field(default_factory=Sources)
    embeddings: str = "vectors/small.npy"
    cache: str = ""

    def build(self, generator: object) -> None:
        """Nothing is built here."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with an inputs' folder and another one beside it."""
    folder = tmp_path / "project"
    (folder / "runs" / "a").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(folder)
    return folder


def write(folder: Path, **contents: str) -> None:
    for name, content in contents.items():
        (folder / name.replace("__", ".")).write_text(content)


def recorded(config: TrainConfig) -> list[Input]:
    """The inputs as a `task.json` gives them back."""
    plain = {"inputs": record_inputs(config, Path("runs/a"))}
    return read_inputs(json.loads(json.dumps(plain)))


def find(config: TrainConfig, inputs: list[Input], **more: bool) -> TrainConfig:
    return located(config, inputs, Path("runs/a"), EVERYTHING, **more)


def with_moved_code(config: TrainConfig, inputs: list[Input], folder: Path) -> TrainConfig:
    plain = plain_settings(config)
    move_code(plain, inputs, folder, ("reward",))
    return settings_of(plain, folder)


def text_config(path: str = "d.txt", *reward: str) -> TrainConfig:
    config = TrainConfig(task=TextConfig(path=path))
    return replace(config, reward=reward) if reward else config


def test_every_setting_that_names_a_file_is_recorded(place: Path) -> None:
    write(place, train__txt="t", dev__txt="d", a__labels="a", b__labels="b", words="w", text="x")
    write(place, word="a file named as a setting's value is")
    (place / "vectors").mkdir()
    write(place / "vectors", small__npy="v")
    config = TrainConfig(task=OwnTask(), reward=("lexicon(path='words')", "discriminator"))
    assert [(one.setting, one.path) for one in recorded(config)] == [
        ("task.kind", __name__),
        ("task.sources.train_path", "train.txt"),
        ("task.sources.dev_path", "dev.txt"),
        ("task.sources.label_files", "a.labels"),
        ("task.sources.label_files", "b.labels"),
        ("task.sources.vocabulary", "words"),
        ("task.embeddings", "vectors/small.npy"),
        ("reward", "words"),
    ]


def test_code_is_recorded_by_its_file_and_its_arguments_files(place: Path) -> None:
    write(place, r__py=REWARD, own_judge__py=REWARD, list__txt="a")
    specs = (
        "./r.py:score",
        "own_judge:score(path='list.txt', words=['x.y', 'list.txt'])",
        "regex('a')",
    )
    config = TrainConfig(reward=("constant", *specs[:2]), observers=("./r.py:score",))
    found = [(one.setting, one.path, Path(one.absolute).name) for one in recorded(config)]
    assert found == [
        ("reward", "./r.py", "r.py"),
        ("reward", "own_judge", "own_judge.py"),
        ("reward", "list.txt", "list.txt"),
        ("reward", "list.txt", "list.txt"),
        ("observers", "./r.py", "r.py"),
    ]


@pytest.mark.parametrize("content", ["one\ntwx\n", "one\ntwo\nthree\n", "one\n", ""])
def test_a_file_that_was_written_over_is_named_with_both_digests(content: str, place: Path) -> None:
    write(place, d__txt="one\ntwo\n")
    config = text_config()
    inputs = recorded(config)
    assert find(config, inputs) == config
    write(place, d__txt=content)
    with pytest.raises(
        DataError, match=r"d.txt, task.path of runs/a, has another content"
    ) as error:
        find(config, inputs)
    assert f"sha256 {inputs[0].files[''][:12]} then, " in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(DataError):
        located(config, inputs, Path("runs/a"), ("task",))
    assert located(config, inputs, Path("runs/a"), ("generator", "task.tokenizer")) == config


def test_a_backup_beside_a_changed_file_does_not_stand_in_for_it(place: Path) -> None:
    write(place, d__txt="one\n", backup__txt="one\n")
    config = text_config()
    inputs = recorded(config)
    write(place, d__txt="two\n")
    with pytest.raises(DataError, match="another content"):
        find(config, inputs)


def test_a_file_is_found_from_another_folder(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(place, d__txt="one\n")
    config = text_config()
    inputs = recorded(config)
    monkeypatch.chdir(place.parent / "elsewhere")
    write(Path(), d__txt="another file of that name\n")
    found = located(config, inputs, place / "runs" / "a", EVERYTHING)
    assert found.task.path == str(place / "d.txt")
    assert caplog.messages == [
        f"task.path: d.txt is read from {place / 'd.txt'}, where its content is now"
    ]


def test_a_project_that_moved_as_a_whole_is_found(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(place, d__txt="one\n", r__py=REWARD)
    config = text_config("d.txt", "./r.py:score")
    inputs = recorded(config)
    new = place.parent / "new"
    monkeypatch.chdir(place.parent / "elsewhere")
    os.rename(place, new)
    opened = with_moved_code(config, inputs, new / "runs" / "a")
    found = located(opened, inputs, new / "runs" / "a", EVERYTHING)
    assert (found.task.path, found.reward) == (str(new / "d.txt"), (f"{new / 'r.py'}:score",))


@pytest.mark.parametrize("name", ["data/d.txt", "renamed.txt", "runs/a/d.txt", "runs/d.txt"])
def test_a_file_that_moved_nearby_is_found_by_its_content(name: str, place: Path) -> None:
    write(place, d__txt="one\n")
    config = text_config()
    inputs = recorded(config)
    write(place, d2__txt="two\n")
    (place / "data").mkdir()
    os.rename("d.txt", name)
    assert Path(find(config, inputs).task.path).samefile(name)


def test_a_file_that_is_gone_is_one_line_that_says_what_to_do(place: Path) -> None:
    write(place, d__txt="one\n")
    config = text_config()
    inputs = recorded(config)
    os.remove("d.txt")
    write(place, e__txt="two\n")
    message = r"not there any more.*: seqgan train --resume runs/a --task.path PLACE"
    with pytest.raises(DataError, match=message):
        find(config, inputs)
    with pytest.raises(DataError, match=message):
        find(config, inputs, forking=True)


def test_another_place_may_be_named_and_is_remembered(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(place, d__txt="one\n")
    config = text_config()
    inputs = recorded(config)
    far = place.parent / "elsewhere" / "far.txt"
    os.rename("d.txt", far)
    moved = text_config(str(far))
    assert find(moved, inputs) == moved
    remember_places(moved, inputs, Path("runs/a"))
    assert find(config, inputs).task.path == str(far)
    far.write_text("two\n")
    with pytest.raises(DataError, match=r"far\.txt, task\.path of .*, has another content"):
        find(config, inputs)
    with pytest.raises(DataError, match=r"far\.txt, task\.path of .*, has another content"):
        find(moved, inputs)


@pytest.mark.parametrize("content", ["[]", '{"task.path d.txt": 1}', "[" * 9000, ""])
def test_remembered_places_of_another_shape_are_one_line(place: Path, content: str) -> None:
    write(place, d__txt="one\n")
    config = text_config()
    inputs = recorded(config)
    os.remove("d.txt")
    Path("runs/a/places.json").write_text(content)
    with pytest.raises(DataError, match=r"places\.json"):
        find(config, inputs)


def test_nothing_is_remembered_of_what_has_not_moved(place: Path) -> None:
    write(place, d__txt="one\n")
    config = text_config()
    remember_places(config, recorded(config), Path("runs/a"))
    assert list(Path("runs/a").iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[1]",
        "[" * 100_000,
        '{"task.path d.txt": 5}',
        '{"task.path d.txt": ["d"]}',
        b"\xff",
        None,
    ],
    ids=["empty", "a list", "deep", "a number", "a list for a place", "no UTF-8", "a pipe"],
)
def test_remembered_places_that_are_none_are_one_line(
    place: Path, content: str | bytes | None
) -> None:
    write(place, d__txt="one\n")
    config = text_config()
    inputs = recorded(config)
    os.remove("d.txt")
    remembered = Path("runs/a/places.json")
    if content is None:
        os.mkfifo(remembered)
    else:
        remembered.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=r"runs/a/places\.json") as error:
        find(config, inputs)
    assert "\n" not in str(error.value)


def test_a_remembered_place_with_a_nul_is_none(place: Path) -> None:
    write(place, d__txt="one\n")
    config = text_config()
    inputs = recorded(config)
    os.remove("d.txt")
    Path("runs/a/places.json").write_text('{"task.path d.txt": "a\\u0000b"}')
    with pytest.raises(DataError, match="not there any more"):
        find(config, inputs)


def test_a_reward_that_moved_keeps_its_attribute_and_arguments(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(place, r__py=REWARD, own_judge__py=REWARD, list__txt="a")
    specs = ("r.py:score", "r.py:score(x='r.py')", "own_judge:score(path='list.txt', n=2)")
    config = text_config("", *specs)
    inputs = recorded(config)
    monkeypatch.chdir(place.parent / "elsewhere")
    opened = with_moved_code(config, inputs, place / "runs" / "a")
    found = located(opened, inputs, place / "runs" / "a", EVERYTHING)
    assert found.reward == (
        f"{place}/r.py:score",
        f"{place}/r.py:score(x='{place}/r.py')",
        f"{place}/own_judge.py:score(path='{place}/list.txt', n=2)",
    )


def test_code_that_changed_is_not_exchanged_for_other_code(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(place, r__py=REWARD)
    config = text_config("", "./r.py:score")
    inputs = recorded(config)
    monkeypatch.chdir(place.parent / "elsewhere")
    write(Path(), r__py="def score(text):\n    return 2.0\n")
    with pytest.raises(DataError, match=r"r.py, reward of .*, has another content"):
        located(config, inputs, place / "runs" / "a", EVERYTHING)


def test_a_text_that_has_become_the_name_of_a_file_hides_no_change(place: Path) -> None:
    write(place, r__py=REWARD)
    config = text_config("", "./r.py:score(x='sub/file')")
    inputs = recorded(config)
    (place / "sub").mkdir()
    write(place / "sub", file="new")
    assert find(config, inputs) == config
    write(place, r__py="def score(text):\n    return 2.0\n")
    with pytest.raises(DataError, match=r"r.py, reward of runs/a, has another content"):
        find(config, inputs)


def test_what_a_reward_imports_counts_as_the_reward(place: Path) -> None:
    write(place, r__py=f"import helper\n{REWARD}", helper__py="WEIGHT = 1\n")
    config = text_config("", "./r.py:score")
    inputs = recorded(config)
    assert find(config, inputs) == config
    write(place, helper__py="WEIGHT = 2\n")
    with pytest.raises(DataError, match=r"reward of runs/a, .*\(helper.py: sha256 "):
        find(config, inputs)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", '{"a": 2}', r"config.json: sha256 \w{12} then, sha256 \w{12} now"),
        ("model.safetensors", "weightt", "model.safetensors: sha256"),
        ("merges.txt", "new", r"merges.txt: none then, sha256 \w{12} now"),
        ("tokenizer.json", None, r"tokenizer.json: sha256 \w{12} then, none now"),
    ],
)
def test_a_model_folder_that_changed_is_named_with_the_file(
    name: str, content: str | None, said: str, place: Path
) -> None:
    (place / "model").mkdir()
    write(place / "model", config__json='{"a": 1}', model__safetensors="weights")
    write(place / "model", tokenizer__json="{}", README__md="a model")
    config = TrainConfig(task=TextConfig(path="", tokenizer="model"))
    config = config.with_(generator=_Pretrained("model"))
    inputs = recorded(config)
    write(place / "model", README__md="a better model")
    assert find(config, inputs) == config
    if content is None:
        (place / "model" / name).unlink()
    else:
        (place / "model" / name).write_text(content)
    with pytest.raises(DataError, match=f"generator.path of runs/a, .*{said}"):
        located(config, inputs, Path("runs/a"), ("generator",))
    if name == "model.safetensors":  # the tokenizer is the same
        assert located(config, inputs, Path("runs/a"), ("task",)) == config


@dataclass(frozen=True)
class _Pretrained:
    """A generator with a model folder."""

    path: str = ""

    def build(self, vocabulary: object) -> None:
        """Nothing is built here."""


def test_a_fork_takes_what_has_changed_and_says_so(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(place, d__txt="one\n")
    config = text_config()
    inputs = recorded(config)
    write(place, d__txt="two\n")
    with caplog.at_level(logging.WARNING):
        assert find(config, inputs, forking=True) == config
    (said,) = caplog.messages
    assert "d.txt, task.path of " in said
    assert said.endswith("; the fork goes on with it")


def test_a_revision_of_the_hub_is_compared(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(place))
    refs = place / "models--org--small" / "refs"
    refs.mkdir(parents=True)
    write(refs, main="abc")
    config = TrainConfig().with_(generator=_Pretrained("org/small"))
    inputs = [one for one in recorded(config) if one.setting == "generator.path"]
    assert inputs[0].files == {"revision": "abc"}
    assert find(config, inputs) == config
    write(refs, main="def")
    with pytest.raises(DataError, match="revision abc then, def now"):
        find(config, inputs)


def test_a_run_of_0_1_0_has_the_first_digits_in_its_description(place: Path) -> None:
    write(place, d__txt="one\n")
    config = text_config()
    digest = recorded(config)[0].files[""]
    old = read_inputs({"description": f"d.txt: 3 texts, 9 words; sha256 {digest[:12]}"})
    assert find(config, old) == config
    assert read_inputs({"description": "captions"}) == read_inputs({}) == []
    write(place, d__txt="two\n")
    with pytest.raises(DataError, match=f"sha256 {digest[:12]} then"):
        find(config, old)


def test_settings_differ_by_what_they_name_and_not_by_where_it_lies(place: Path) -> None:
    write(place, d__txt="one\n", e__txt="one\n", f__txt="two\n", r__py=REWARD, s__py=REWARD)
    before = text_config("d.txt", "./r.py:score(x=1)")
    inputs, plain = recorded(before), plain_settings(before)

    def changes(after: TrainConfig) -> list[str]:
        return [name for name, _, _ in differences(plain, after, inputs)]

    assert changes(before) == []
    assert changes(text_config("e.txt", "s.py:score(x=1)")) == []
    assert changes(text_config("f.txt", "s.py:score(x=1)")) == ["task.path"]
    assert changes(text_config("d.txt", "s.py:score(x=2)")) == ["reward"]
    assert changes(text_config("d.txt", "s.py:other(x=1)")) == ["reward"]
    assert changes(before.with_(device="cuda", threads=3, **{"tracker.mode": "disabled"})) == []
    assert changes(before.with_(seed=2, **{"rule.kl_weight": 0.5})) == ["rule.kl_weight", "seed"]
