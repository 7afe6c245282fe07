"""Exports generator and discriminator of a run together, with a script that resamples."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

from seqgan.data.model_folders import package, quietly
from seqgan.exporting.card import Exported, rendered, write_card
from seqgan.exporting.exports import (
    new_folder,
    save_discriminator,
    save_generator,
    trained_discriminator,
)
from seqgan.models.generators.pretrained import PretrainedGenerator
from seqgan.system.errors import ConfigurationError
from seqgan.system.files import write_text
from seqgan.training.runs import (
    GENERATOR,
    Which,
    checkpoint_state,
    is_prompted,
    open_run,
    restored_generator,
    usable,
)

CLIP, BETA = 5.0, 1.0  # of the logit, as `seqgan sample --sampler resample` has them
SCRIPT = Path(__file__).parent / "pages" / "resample.py"


def export_recipe(
    run: Path,
    folder: Path,
    checkpoint: Which = "newest",
    device: str | None = None,
    trust_run_code: bool = False,
) -> None:
    """Writes both networks of a run, each in a folder of its own, and how they are combined.

    The folder has `generator`, `discriminator`, `recipe.json`, README.md, and `resample.py`, which
    draws texts with torch and transformers alone. A LoRA adapter is merged into its model.

    Args:
        folder: the folder to write, which must not exist.
        checkpoint: the newest intact checkpoint, or that of the best evaluation in the game.
        device: where the networks are read into; None for the run's, or for one that is here.
        trust_run_code: True runs the code that the run's settings name.

    Raises:
        ConfigurationError: the run is missing or has no discriminator, the folder exists, an extra
            is not installed, or a network cannot be exported.
        CheckpointError: the run has no intact checkpoint.
    """
    opened, config = open_run(run, trust_run_code)
    config = usable(opened, config, (*GENERATOR, "discriminator"), device)
    if folder.exists():
        raise ConfigurationError(f"{folder} exists already; name a new folder with --output")
    transformers = package("transformers")
    place, state = checkpoint_state(opened, checkpoint)
    discriminator = trained_discriminator(opened, config, state)
    trained = restored_generator(opened, config, state)
    own = trained.generator
    adapted = isinstance(own, PretrainedGenerator) and own.config.adapter == "lora"
    prompted, chat = is_prompted(opened), getattr(config.task, "chat_template", False)
    iterations = int(state["players"]["position"]["iteration"])
    with quietly(transformers), new_folder(folder) as temporary:
        writes, judges = temporary / "generator", temporary / "discriminator"
        for part in (writes, judges):
            part.mkdir()
        judged = save_discriminator(discriminator, judges)
        saved = save_generator(trained, config, writes, merge_lora=adapted)
        recipe = {"start": saved.start, "prompted": prompted, "chat": chat}
        recipe |= {"clip": CLIP, "beta": BETA}
        write_text(temporary / "recipe.json", json.dumps(recipe, indent=2))
        shutil.copyfile(SCRIPT, temporary / SCRIPT.name)
        values = recipe | {"name": run.resolve().name}
        write_text(temporary / "README.md", rendered("recipe.md.j2", values))
        form, base, start = saved
        about = Exported("generator", form, base, start, prompted, iterations, place.name, chat)
        write_card(run, about, writes)
        form, base, start = judged
        about = replace(about, what="discriminator", form=form, base=base, start=start)
        write_card(run, about, judges)
