"""An engineer with a language model in a folder: from prompts to a model to take away."""

import json
from pathlib import Path

import pytest
from typed import SMALL, Shown, typed

pytestmark = pytest.mark.integration

pytest.importorskip("transformers")
pytest.importorskip("peft")

import pretrained_models  # noqa: E402

ROWS = [
    {"prompt": f"where is the {size} {animal} ?", "completion": f"the {animal} is in the {place} ."}
    for size in ("small", "big", "red")
    for animal in ("dog", "cat", "bird", "horse")
    for place in ("park", "garden")
]
WORDS = tuple(sorted({word for row in ROWS for text in row.values() for word in text.split()}))
PIPELINE = """
from transformers import pipeline

generate = pipeline("text-generation", "models/after")
print("said:", generate("where is the red dog ?", max_new_tokens=4)[0]["generated_text"])
"""
REWARD = """
def f(text):
    return float("dog" in text.split())
"""
ALONE = (
    "--iterations 2 --batch-size 8 --evaluation.num-samples 20"
    " --evaluation.num-final 20 --evaluation.num-shown 2 --threads 1"
)
TRAIN = "seqgan train prompts.jsonl --model models/small --output runs/small"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`prompts.jsonl` and a model with random weights, which knows its words."""
    place = tmp_path_factory.mktemp("language-model")
    lines = "\n".join(map(json.dumps, ROWS))
    (place / "prompts.jsonl").write_text(lines, encoding="utf-8")
    model = pretrained_models.saved(place / "models", "gpt2", WORDS)
    Path(model).rename(place / "models" / "small")
    return place


@pytest.fixture(scope="module")
def trained(folder: Path) -> Shown:
    small = SMALL.replace(" --hidden-size 32", "")
    shown = typed(f"{TRAIN} --epochs 1 {small}", folder)
    assert shown.code == 0, shown.text
    return shown


def test_a_wrong_path_of_a_model_is_told_at_once(folder: Path) -> None:
    shown = typed("seqgan train prompts.jsonl --model models/smal", folder)
    assert shown.code == 2
    assert "seqgan: cannot read models/smal: no such folder" in shown.said
    assert "Traceback" not in shown.said


def test_a_prompt_is_continued(trained: Shown, folder: Path) -> None:
    assert "The adversarial game is" in trained.said
    shown = typed('seqgan sample runs/small --prompt "where is the red dog ?" -n 2', folder)
    assert shown.code == 0, shown.text
    assert shown.said.count("where is the red dog ?") == 2


def test_prompts_alone_and_a_reward_train_a_model(folder: Path) -> None:
    """Nothing but a reward: no discriminator, no maximum likelihood, no verdict beside it."""
    asked = [json.dumps({"prompt": row["prompt"]}) for row in ROWS]
    (folder / "asked.jsonl").write_text("\n".join(asked), encoding="utf-8")
    (folder / "r.py").write_text(REWARD, encoding="utf-8")
    line = "seqgan train asked.jsonl --model models/small --max-length 10"
    shown = typed(line, folder)
    assert shown.code == 2
    assert "reward 'discriminator' needs real continuations, but the data are prompts" in shown.said
    assert "--reward ./my_reward.py:my_function" in shown.said
    shown = typed(f"{line} --reward ./r.py:f {ALONE} --output runs/alone", folder)
    assert shown.code == 0, shown.text
    assert "Reward 'f' " in shown.said
    assert "The data are prompts alone, so nothing is compared with real" in shown.said
    assert not [line for line in shown.next_lines if "frontier" in line]
    shown = typed(shown.next_lines[0], folder)
    assert shown.code == 0, shown.text
    shown = typed("seqgan evaluate runs/alone -n 20", folder)
    assert shown.code == 0, shown.text
    assert "distinct_2" in shown.said
    assert "nll_heldout" not in shown.said
    shown = typed("seqgan frontier runs/alone -n 20", folder)
    assert shown.code == 2
    assert "seqgan: the frontier needs real continuations, but the data are" in shown.said
    shown = typed("seqgan export runs/alone --merge-lora --output models/alone", folder)
    assert shown.code == 0, shown.text
    card = (folder / "models" / "alone" / "README.md").read_text(encoding="utf-8")
    assert "The generator of a seqgan run: trained by policy gradient" in card
    assert "The column start is the generator before training" in card


def test_the_exported_model_is_one_for_a_pipeline(trained: Shown, folder: Path) -> None:
    shown = typed("seqgan export runs/small --merge-lora --output models/after", folder)
    assert shown.code == 0, shown.text
    (folder / "use.py").write_text(PIPELINE, encoding="utf-8")
    shown = typed('"$PYTHON" use.py', folder)
    assert shown.code == 0, shown.text
    assert "said: where is the red dog ?" in shown.said
