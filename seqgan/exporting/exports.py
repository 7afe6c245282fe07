"""Exports a run's networks as folders that transformers reads, each with a model card."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from seqgan.data.model_folders import load_tokenizer, package, quietly
from seqgan.exporting.card import Exported, Form, What, write_card
from seqgan.exporting.scratch import save_scratch_generator
from seqgan.models.discriminators.base import Discriminator
from seqgan.models.discriminators.pretrained import PretrainedDiscriminator
from seqgan.models.generators.pretrained import PretrainedGenerator
from seqgan.models.generators.recurrent import RecurrentGenerator
from seqgan.models.generators.transformer import TransformerGenerator
from seqgan.system.errors import ConfigurationError
from seqgan.system.files import making
from seqgan.training.run_folders import RunFolder
from seqgan.training.runs import (
    GENERATOR,
    TrainedGenerator,
    Which,
    checkpoint_state,
    is_prompted,
    is_trained,
    open_run,
    restored_discriminator,
    restored_generator,
    usable,
)
from seqgan.training.settings import TrainConfig
from seqgan.training.slots import kind_of

MINILM = "sentence-transformers/all-MiniLM-L6-v2"  # hub name of the body for an empty path


def export_run(
    run: Path,
    folder: Path,
    what: What = "generator",
    checkpoint: Which = "newest",
    merge_lora: bool = False,
    device: str | None = None,
    trust_run_code: bool = False,
) -> Exported:
    """Writes one network of a run as a folder of its own, with its tokenizer and a model card.

    Args:
        folder: the folder to write, which must not exist.
        what: the generator after the game, the generator before it, or the discriminator.
        checkpoint: the newest intact checkpoint, or that of the best evaluation in the game.
        merge_lora: True adds a LoRA adapter to the weights that it adapts, for a folder that needs
            no peft. False writes the adapter alone, with the path of its model.
        device: where the network is read into; None for the run's, or for one that is here.
        trust_run_code: True runs the code that the run's settings name.

    Raises:
        ConfigurationError: the run is missing, the folder exists, an extra is not installed, or the
            network cannot be exported.
        CheckpointError: the run has no intact checkpoint.
    """
    opened, config = open_run(run, trust_run_code)
    reads = (*GENERATOR, "discriminator") if what == "discriminator" else GENERATOR
    config = usable(opened, config, reads, device)
    if folder.exists():
        raise ConfigurationError(f"{folder} exists already; name a new folder with --output")
    transformers = package("transformers")
    place, state = checkpoint_state(opened, checkpoint)
    with quietly(transformers), new_folder(folder) as temporary:
        if what == "discriminator":
            saved = save_discriminator(trained_discriminator(opened, config, state), temporary)
        else:
            trained = restored_generator(opened, config, state, what)
            saved = save_generator(trained, config, temporary, merge_lora)
        exported = Exported(
            what,
            saved.form,
            saved.base,
            saved.start,
            prompted=is_prompted(opened),
            iterations=int(state["players"]["position"]["iteration"]),
            checkpoint=place.name,
            chat=getattr(config.task, "chat_template", False),
        )
        write_card(run, exported, temporary)
    return exported


def trained_discriminator(
    folder: RunFolder, config: TrainConfig, state: dict[str, Any]
) -> Discriminator:
    """A run's discriminator; one that never trained judges at random.

    Raises:
        ConfigurationError: no discriminator was in the game, or none has trained yet.
    """
    discriminator = restored_discriminator(folder, config, state)
    if not is_trained(state):
        raise ConfigurationError(
            f"the discriminator of {folder.path} is not trained yet; seqgan train --resume"
            f" {folder.path} goes on with a run that was stopped"
        )
    return discriminator


class Saved(NamedTuple):
    """The fields of `Exported` that depend on the network."""

    form: Form
    base: str
    start: str


def save_generator(
    trained: TrainedGenerator, config: TrainConfig, folder: Path, merge_lora: bool
) -> Saved:
    """Writes a generator with its tokenizer and its sampling settings.

    Raises:
        ConfigurationError: there is no adapter to merge, no tokenizer can be made, or the generator
            is of a class of the user's own.
    """
    generator, kind = trained.generator, kind_of("generator", config.generator)
    adapted = isinstance(generator, PretrainedGenerator) and generator.config.adapter == "lora"
    if merge_lora and not adapted:
        raise ConfigurationError(
            f"the generator of kind {kind} was trained without LoRA, so there is no adapter"
            " to merge"
        )
    if isinstance(generator, PretrainedGenerator):
        return _save_pretrained(generator, trained, folder, merge_lora)
    if not isinstance(generator, RecurrentGenerator | TransformerGenerator):
        raise ConfigurationError(
            f"the generator is of kind {kind}, but only kinds that come with the package"
            " can be exported"
        )
    if getattr(config.task, "chat_template", False):
        # bos follows the template, but the template's eos may be the same token.
        raise ConfigurationError(
            f"the generator of kind {kind} was trained with task.chat_template, but one"
            " from scratch can be exported only without"
        )
    tokenizer = save_scratch_generator(
        generator,
        trained.vocabulary,
        folder,
        lowercase=getattr(config.task, "lowercase", False),
        prompted=trained.prompted,
        spaces=getattr(config.task, "spaces", True),
    )
    unknown = trained.vocabulary.unk_word
    never = [] if unknown is None else [tokenizer.convert_tokens_to_ids(unknown)]
    save_sampling(tokenizer, trained.max_length, never, folder, use_cache=False)
    return Saved("code", "", "")


def _save_pretrained(
    generator: PretrainedGenerator, trained: TrainedGenerator, folder: Path, merge_lora: bool
) -> Saved:
    """Writes a pretrained generator: a whole model, or an adapter with its model's folder."""
    base = generator.config.path
    if Path(base).is_dir():
        base = str(Path(base).resolve())
    tokenizer = load_tokenizer(base)
    vocabulary, model = trained.vocabulary, generator.model
    adapter = generator.config.adapter == "lora" and not merge_lora
    if adapter:
        model.peft_config["default"].base_model_name_or_path = base
    elif merge_lora:
        stored = generator.causal_model.dtype
        merged: Any = model.float()
        model = merged.merge_and_unload().to(stored)  # the sum is rounded once
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    actions = set(generator.ids[: vocabulary.num_actions].tolist())
    if vocabulary.unk_id is not None:
        actions -= {int(generator.ids[vocabulary.unk_id])}
    never = [index for index in range(len(generator.bias)) if index not in actions]
    save_sampling(tokenizer, trained.max_length, never, folder)
    adds_bos = list(tokenizer("").input_ids)  # the tokenizer itself puts bos before a text
    start = "" if adds_bos else tokenizer.bos_token or tokenizer.eos_token
    return Saved("adapter" if adapter else "model", base, start)


def save_discriminator(discriminator: Discriminator, folder: Path) -> Saved:
    """Writes a discriminator as a sequence classifier with its tokenizer.

    Raises:
        ConfigurationError: transformers has no classifier for this kind of discriminator.
    """
    if not isinstance(discriminator, PretrainedDiscriminator):
        raise ConfigurationError(
            f"the discriminator is a {type(discriminator).__name__}, but only one of kind"
            " pretrained, with a tokenizer of its own, can be exported (seqgan train"
            " --discriminator.kind pretrained); seqgan sample --sampler resample draws by any"
        )
    classifier, tokenizer = discriminator.to_sequence_classifier()
    classifier.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Saved("classifier", discriminator.config.path or MINILM, "")


def save_sampling(
    tokenizer: Any, max_length: int, never: list[int], folder: Path, use_cache: bool = True
) -> None:
    """Writes a generation_config.json with the sampling of `seqgan sample`.

    It samples from the whole distribution at temperature 1, up to the run's maximum length.

    Args:
        never: ids that are never drawn: the unknown word, and ids that the generator cannot emit.
    """
    ends = tokenizer.eos_token_id
    package("transformers").GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=ends,
        pad_token_id=ends if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
        suppress_tokens=never or None,
        use_cache=use_cache,
    ).save_pretrained(folder)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder, which becomes `folder` if the body succeeds.

    Raises:
        ConfigurationError: the folder exists, or cannot be made.
    """
    try:
        with making(folder) as temporary:
            yield temporary
    except FileExistsError as error:
        raise ConfigurationError(
            f"{folder} exists already; name a new folder with --output"
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"cannot make the folder of the export, {folder}: {error.strerror or error}"
        ) from error
    except Exception as error:  # of libraries in Rust, which tell a full disk by the message alone
        if "(os error " not in str(error):
            raise
        raise ConfigurationError(f"{folder} cannot be written: {error}") from error
