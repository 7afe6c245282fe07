"""Reads wandb's offline records back, by wandb's own reader."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def inspect(run: Path) -> list[dict[str, Any]]:
    """The records of an offline run."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in output.splitlines()]


def of_kind(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [record[kind] for record in records if record["type"] == kind]


def history(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item["item"] for item in of_kind(records, "history")]


def table_rows(run: Path, records: list[dict[str, Any]]) -> list[list[Any]]:
    paths = [row["samples.path"] for row in history(records) if "samples.path" in row]
    tables = [json.loads((run / "files" / path).read_text()) for path in paths]
    return [row for table in tables for row in table["data"]]


def wandb_runs(folder: Path) -> list[Path]:
    return sorted((folder / "wandb").glob("offline-run-*"))


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def definitions(records: list[dict[str, Any]]) -> list[tuple[str, str | None, str]]:
    """Of each definition of a metric, in order: its name, its axis, what the summary has of it."""
    return [
        (metric["name"], metric.get("step_metric"), " ".join(sorted(metric.get("summary", {}))))
        for metric in of_kind(records, "metric")
    ]


def the_run(folder: Path) -> dict[str, Any]:
    """The settings of a run folder's only offline record, as wandb has them."""
    (offline,) = wandb_runs(folder)
    (settings,) = of_kind(inspect(offline), "run")
    return dict(settings)


def summary(run: Path) -> dict[str, Any]:
    """The summary of an offline record."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", "--summary", str(run)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(output)["summary"])
