"""The parts of a run that wandb keeps as files: its data, its code, its checkpoints, its tables."""

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seqgan.tracking.wandb_settings import OFFLINE

if TYPE_CHECKING:
    import wandb

RUN_FILES = ("config.yaml", "task.json")  # of the run folder: what a checkpoint is useless without
PACKAGE = Path(__file__).parents[1]  # the source of the library


def use_data(run: "wandb.Run", file: Path, digest: str) -> None:
    """Records the run as a user of a data set, which an artifact names by its hash."""
    import wandb

    about = {"sha256": digest, "file": file.name}
    artifact = wandb.Artifact(f"data-{digest[:12]}", "dataset", metadata=about)
    artifact.add_reference(file.resolve().as_uri(), name="data", checksum=False)
    if run.settings.mode in OFFLINE:  # where use_artifact refuses, and its first half works
        run._log_artifact(artifact, is_user_created=True, use_after_commit=True)
    else:
        run.use_artifact(artifact)


def save_code(run: "wandb.Run", code: Sequence[Path]) -> None:
    """The library's source as a code artifact, and the user's files beside the program's."""
    # With the metric list, without which the source cannot be imported.
    run.log_code(
        str(PACKAGE), "source-seqgan", include_fn=lambda path: path.endswith((".py", ".toml"))
    )
    folder = Path(run.dir) / "code"
    for file in code:
        folder.mkdir(exist_ok=True)
        # A copy: `save` would only link to a file elsewhere.
        copied = shutil.copy(file, folder / file.name)
        run.save(copied, base_path=run.dir, policy="now")


def log_checkpoint(
    run: "wandb.Run",
    run_folder: Path,
    folder: Path,
    aliases: Sequence[str],
    metadata: Mapping[str, object],
) -> None:
    """A version of the artifact `checkpoint-<run id>`: a run folder with this one checkpoint."""
    import wandb

    # Metadata is JSON, which has no NaN.
    finite = {
        name: value
        for name, value in metadata.items()
        if not isinstance(value, float) or math.isfinite(value)
    }
    artifact = wandb.Artifact(f"checkpoint-{run.id}", "model", metadata=finite)
    for file in sorted(folder.iterdir()):
        artifact.add_file(str(file), name=f"checkpoints/00000000/{file.name}")
    for file in map(run_folder.joinpath, RUN_FILES):
        if file.is_file():
            artifact.add_file(str(file))
    run.log_artifact(artifact, aliases=list(aliases))


def table_of(rows: Sequence[Mapping[str, float | str]]) -> "wandb.Table":
    """Rows as a table; its columns are all names of all rows, in the order in which they come."""
    import wandb

    columns: list[str | int] = list(dict.fromkeys(column for row in rows for column in row))
    return wandb.Table(columns=columns, data=[[row.get(str(c)) for c in columns] for row in rows])
