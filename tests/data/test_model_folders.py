"""Model folders: Python files in them are refused; those that are missing are told at once."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seqgan.data.model_folders import (
    _hub_problem,
    check_place,
    found,
    load_model,
    load_settings,
    load_tokenizer,
)
from seqgan.system.errors import ModelFolderError

pytestmark = pytest.mark.integration

AUTO = {
    "AutoConfig": "evil.Config",
    "AutoModelForCausalLM": "evil.Model",
    "AutoTokenizer": ["evil.Tokenizer", None],
}


@pytest.mark.parametrize(
    "load",
    [load_settings, load_tokenizer, lambda place: load_model(place, "AutoModelForCausalLM")],
)
def test_code_of_a_model_folder_does_not_run(tmp_path: Path, load: Callable[[str], object]) -> None:
    trace = tmp_path / "it-ran"
    (tmp_path / "evil.py").write_text(f"open({str(trace)!r}, 'w')\n", encoding="utf-8")
    for name in ("config.json", "tokenizer_config.json"):
        plain = {"model_type": "evil", "auto_map": AUTO, "tokenizer_class": "EvilTokenizer"}
        (tmp_path / name).write_text(json.dumps(plain), encoding="utf-8")
    with pytest.raises(ModelFolderError, match=r"^the .* in .* is Python code of its own, which"):
        load(str(tmp_path))
    assert not trace.exists()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """A hub that is not there; gives the names that it was asked for."""
    asked: list[str] = []

    def model_info(api: object, place: str, timeout: float) -> None:
        asked.append(place)
        raise RuntimeError("no route")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", model_info)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    _hub_problem.cache_clear()
    yield asked
    _hub_problem.cache_clear()


def test_a_hub_that_cannot_be_reached_is_asked_once(hub: list[str]) -> None:
    for _ in range(2):
        with pytest.raises(ModelFolderError) as error:
            load_tokenizer("models/small")
    assert str(error.value) == (
        "cannot read models/small: no such folder, and the Hugging Face hub cannot be reached"
        " (no route)"
    )
    assert hub == ["models/small"]


def test_a_model_that_was_fetched_before_needs_no_hub(hub: list[str], tmp_path: Path) -> None:
    model = tmp_path / "models--models--small"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("1234")
    (model / "snapshots" / "1234").mkdir(parents=True)
    (model / "snapshots" / "1234" / "config.json").write_text('{"model_type": "gpt2"}')
    assert found("models/small") == {"local_files_only": True}


def test_what_is_no_hub_name_is_not_asked_for(hub: list[str], tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "config.json").write_text("{}")
    with pytest.raises(ModelFolderError, match=r"no such folder; did you mean small\?$"):
        load_settings(str(tmp_path / "smal"))
    assert hub == []


def test_a_like_folder_beside_a_missing_one_is_a_hint(
    hub: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "small").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelFolderError, match=r"\(no route\); did you mean small\?$"):
        load_settings("models/smal")


def test_a_file_of_llama_cpp_and_its_folder_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "small.gguf").write_text("")
    hint = r"; a few lines of transformers make a folder of a GGUF file \(docs/pretrained.md\)$"
    with pytest.raises(
        ModelFolderError, match=f"is a file; a model is a folder or a hub n.*{hint}"
    ):
        check_place(str(tmp_path / "small.gguf"))
    with pytest.raises(ModelFolderError, match=f"it has no config.json{hint}"):
        check_place(str(tmp_path))
