"""Writes the files of a `seqgan train` run by hand, with numbers that tests recognise."""

import json
from pathlib import Path

from seqgan.training.config_files import save_config
from seqgan.training.presets import captions_preset

INFORMATION = "discriminator/information_heldout"


def write_lines(path, rows):
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def evaluation(iteration, quality="bleu_4", discriminator=True):
    row = {
        "iteration": iteration,
        "global_step": 100 * iteration,
        f"eval/{quality}": 0.5 + 0.01 * iteration,
        "eval/nll_heldout": 2.0 + 0.02 * iteration,
        "eval/entropy": 1.9,
    }
    known = {INFORMATION: 0.1 + iteration / 100, f"{INFORMATION}_error": 0.01}
    return row | known if discriminator else row


def sample(text, phase, step=0, **more):
    return {"step": step, "phase": phase, "text": text, "reward": 0.25, **more}


def samples_of_both_ends(texts):
    before = [sample(text, "before the game") for text in texts]
    return before + [sample(text, "after the game", 1000) for text in texts]


def results(quality="bleu_4", verdict="worse"):
    def measured(value, nll):
        return {f"eval/{quality}": value, "eval/nll_heldout": nll}

    return {
        "start": measured(0.5, 2.0),
        "control": measured(0.61, 2.1),
        "final": measured(0.6, 2.2),
        "curve": {str(t): measured(1 - t / 2, 3 - t) for t in (1.2, 1.0, 0.5)},
        "comparison": {
            "quality": quality,
            "temperature": 0.78125,
            "difference": 0.125,
            "error": 0.015625,
            "verdict": verdict,
            "sentence": f"A sentence of {quality}.",
        },
        "rewards": {"polite": [0.25, 0.8125]},
        "information": [[0, 0.1, 0.01]],
        "information_sentence": "A sentence of information.",
    }


def write_run(
    folder: Path,
    *,
    quality="bleu_4",
    discriminator=True,
    samples=(),
    ended=True,
    config=None,
    words=("a", "b"),
):
    """Writes a run with three epochs, and evaluations after iterations 0, 5 and 10."""
    folder.mkdir(parents=True)
    save_config(config or captions_preset(), folder / "config.yaml")
    task = {"max_length": 5, "vocabulary": {"words": list(words)}}
    (folder / "task.json").write_text(json.dumps(task, ensure_ascii=False), encoding="utf-8")
    epochs = [
        {"pretrain/epoch": epoch, "pretrain/nll_train": 4 / epoch, "pretrain/nll_dev": 5 / epoch}
        for epoch in (1, 2, 3)
    ]
    game = [evaluation(iteration, quality, discriminator) for iteration in (0, 5, 10)]
    steps = [{"iteration": 3, "losses/policy": -0.1}]  # no evaluation in this iteration
    write_lines(folder / "metrics.jsonl", [*epochs, *game, *steps])
    write_lines(folder / "samples.jsonl", samples)
    if ended:
        text = json.dumps(results(quality), ensure_ascii=False)
        (folder / "results.json").write_text(text, encoding="utf-8")
    return folder
