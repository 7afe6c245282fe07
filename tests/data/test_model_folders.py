"""Model folders that bring Python files of their own: refused in one line, and nobody is asked."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from seqgan.data.model_folders import load_model, load_settings, load_tokenizer
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
    with pytest.raises(ModelFolderError, match=r"^a model folder needs no code of its own, got"):
        load(str(tmp_path))
    assert not trace.exists()
