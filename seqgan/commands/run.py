"""A run in Python: trained just now or loaded, sampled, evaluated, summed up."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from seqgan.commands.tilted_run import Judge, tilted_run
from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.decoding.samplers import Kind
from seqgan.evaluation.measure import judged_as_texts, measure, text_measures
from seqgan.models.generators.base import Generator
from seqgan.models.sampling import Sampling
from seqgan.models.sampling import sample as draw
from seqgan.report.shown_summary import Summary, results_html
from seqgan.report.summary import results_dict
from seqgan.rewards.weighted import WeightedSum
from seqgan.system.checks import Size, checked
from seqgan.system.errors import ConfigurationError
from seqgan.tasks.base import Task, prompts_of
from seqgan.tracking.jsonl import read_rows
from seqgan.tracking.table import MetricTable
from seqgan.training.result import Result
from seqgan.training.run_folders import RunFolder
from seqgan.training.run_results import read_results
from seqgan.training.runs import (
    GENERATOR,
    check_task,
    load_generator,
    open_run,
    usable,
)
from seqgan.training.settings import TrainConfig
from seqgan.training.start import make_measures
from seqgan.training.tilting import SamplerSettings
from seqgan.training.trust import MEASURING


@dataclass(frozen=True, repr=False)
class Run:
    """A generator that was trained, and the record of its training.

    Args:
        config: the settings.
        generator: the generator after training.
        vocabulary: its words.
        max_length: tokens of the longest text.
        metrics: the logged metrics in their order, a row for each time of logging.
        task: the real texts; None where the run was loaded, until they are needed.
        result: the final evaluation; None for a run that was loaded.
        folder: the run's folder; None for one in memory.
        rewards: those that it trained with, a discriminator with all that it learnt; None where
            the run was loaded.
        trusted: whether code that the folder's settings name may run.
    """

    config: TrainConfig
    generator: Generator
    vocabulary: Vocabulary
    max_length: int
    metrics: MetricTable
    task: Task | None = None
    result: Result | None = None
    folder: Path | None = None
    rewards: WeightedSum | None = None
    trusted: bool = False

    def __repr__(self) -> str:
        place = "in memory" if self.folder is None else str(self.folder)
        return (
            f"<run {place}: {type(self.generator).__name__} of {len(self.vocabulary.words)} words,"
            f" texts of at most {self.max_length} tokens, {self.metrics!r}>"
        )

    def _repr_html_(self) -> str:
        """In a notebook: the run in a line, its final evaluation where it has one, some texts."""
        results = self._results()
        ended = "" if results is None else results_html(results)
        texts = "".join(f"<li>{html.escape(text)}</li>" for text in self.sample(5))
        return f"<p>{html.escape(repr(self))}</p>{ended}<p>Some texts:</p><ul>{texts}</ul>"

    def sample(
        self,
        n: int = 10,
        prompts: str | Sequence[str] = (),
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
        sampler: Kind | None = None,
        tilt: Judge | Sequence[Judge] | None = None,
        beta: float | None = None,
        of: int = 0,
    ) -> list[str]:
        """Draws texts, without the unknown word; the same seed gives the same texts.

        Args:
            n: texts; with `prompts` as many of each.
            prompts: contexts to go on from, one or several. A run whose texts have prompts takes
                held-out ones of its task where none are given.
            sampler: draws from the generator tilted by a reward, as `seqgan sample --sampler`:
                `resample`, `reject`, `best-of` or `smc`; None draws plainly, or by `resample` where
                one of the arguments below is given.
            tilt: the reward, or several: functions of a text, or names as `--tilt` takes them; None
                for the discriminator that the run trained with, or for its other rewards where it
                has none.
            beta: the reward counts 1/beta nats (1).
            of: proposals for each text; 0 for 4, or 16 where texts continue prompts.

        Raises:
            ConfigurationError: prompts for a run without, or a setting out of its range.
        """
        checked("n", n, Size)
        if sampler is None and (tilt is not None or beta is not None or of):
            sampler = "resample"
        if sampler is not None:
            checked("sampler", sampler, Kind)
        if sampler == "best-of" and beta is not None:
            raise ConfigurationError(
                "beta is given with the sampler best-of, which has none; of=N makes it stronger or"
                " weaker"
            )
        rng = torch.Generator().manual_seed(seed)
        contexts = self._contexts(n, prompts, rng)
        if sampler is not None:
            if (temperature, top_k, top_p) != (1.0, 0, 1.0):
                raise ConfigurationError(
                    f"the sampler {sampler} draws from the generator as it is, without temperature,"
                    " top_k and top_p"
                )
            settings = SamplerSettings(sampler, (), (), 1.0 if beta is None else beta, of)
            tilted = tilted_run(self, settings, tilt, rng, contexts)
            count = n if contexts is None else len(contexts)
            return tilted.sampler.draw(count, rng, contexts).sequences.texts
        unknown = self.vocabulary.unk_id
        texts = draw(
            self.generator,
            self.vocabulary,
            n if contexts is None else len(contexts),
            self.max_length,
            rng,
            Sampling(temperature, top_k, top_p),
            contexts,
            None if unknown is None else torch.tensor([unknown]),
        )
        return texts.texts

    def evaluate(self, n: int = 1000, temperature: float = 1.0, seed: int = 0) -> dict[str, float]:
        """Measures the generator on n samples and the task's held-out texts.

        Returns:
            Metrics by the names of the metric list, and measures of your own as `user/<name>`.

        Raises:
            ConfigurationError: n is less than 1.
        """
        checked("n", n, Size)
        task, settings = self.own_task(), self.config.evaluation
        compared = None
        if judged_as_texts(task):
            compared = text_measures(task, settings.embeddings, settings.mauve, settings.toxicity)
        measured = measure(
            self.generator,
            task,
            n,
            settings.num_heldout,
            torch.Generator().manual_seed(seed),
            None if temperature == 1.0 else Sampling(temperature),
            self.config.device,
            compared,
            make_measures(self.config),
        )
        return dict(measured.metrics)

    def summary(self) -> Summary:
        """The table and the sentences of the final evaluation, as `seqgan train` prints them.

        Returns:
            A string; a notebook shows it as a table.

        Raises:
            ConfigurationError: the run in the folder has not come to its end.
        """
        results = self._results()
        if results is None:
            raise ConfigurationError(
                f"{self.folder} has no results.json, so the run has not come to its end,"
                " and there is no summary"
            )
        return Summary.of(results)

    def _results(self) -> Mapping[str, Any] | None:
        """The final evaluation; None of a run that has not come to its end."""
        if self.result is not None:
            return results_dict(self.result)
        if self.folder is not None and RunFolder(self.folder).results.is_file():
            return read_results(RunFolder(self.folder))
        return None

    def own_task(self) -> Task:
        """The task, built from the settings where the run was loaded."""
        if self.task is not None:
            return self.task
        if self.folder is None:
            return self.config.task.build(self.config.generator)
        folder = RunFolder(self.folder)
        config = usable(folder, self.config, ("task",))
        task = config.task.build(config.generator)
        check_task(folder, task)
        return task

    def _contexts(
        self, n: int, prompts: str | Sequence[str], rng: torch.Generator
    ) -> Sequences | None:
        prompts = [prompts] if isinstance(prompts, str) else prompts
        if prompts:
            encode = getattr(self.config.task, "encode_prompts", None)
            if encode is None:
                raise ConfigurationError(
                    "this run was trained on texts without prompts, so it goes on from none;"
                    " the preset prompts trains on prompts and their continuations"
                )
            rows = torch.arange(len(prompts)).repeat_interleave(n)
            encoded: Sequences = encode(prompts, self.vocabulary, self.config.generator)
            return encoded.select(rows).to(self.config.device)
        if self.task is None and not hasattr(self.config.task, "encode_prompts"):
            return None
        return prompts_of(self.own_task(), "test", n, rng, self.config.device)


def load(folder: str | Path, device: str | None = None, trust_run_code: bool = False) -> Run:
    """A run that the command line or `train` left in a folder, as of its newest checkpoint.

    Args:
        device: where it computes; None for the run's device, or for one that this machine has.
        trust_run_code: runs the files and modules of Python that the run's settings name: its
            task, its networks, its measures. False refuses a run that names any.

    Raises:
        ConfigurationError: the folder is no run, this machine lacks the device, or the run names
            code and is not trusted.
        CheckpointError: there is no intact checkpoint.
    """
    place, config = open_run(Path(folder).expanduser(), trust_run_code, MEASURING)
    config = usable(place, config, GENERATOR, device)
    trained = load_generator(place, config)
    metrics = MetricTable(list(read_rows(place.path / "metrics.jsonl")))
    return Run(
        config,
        trained.generator,
        trained.vocabulary,
        trained.max_length,
        metrics,
        folder=place.path,
        trusted=trust_run_code,
    )


def sample(
    run: Run | str | Path,
    n: int = 10,
    device: str | None = None,
    trust_run_code: bool = False,
    **settings: Any,
) -> list[str]:
    """Draws texts from a run, or from the run in a folder; see `Run.sample` and `load`."""
    return _opened(run, device, trust_run_code).sample(n, **settings)


def evaluate(
    run: Run | str | Path,
    n: int = 1000,
    device: str | None = None,
    trust_run_code: bool = False,
    **settings: Any,
) -> dict[str, float]:
    """Measures a run, or the run in a folder; see `Run.evaluate` and `load`."""
    return _opened(run, device, trust_run_code).evaluate(n, **settings)


def _opened(run: Run | str | Path, device: str | None, trust_run_code: bool) -> Run:
    if not isinstance(run, Run):
        return load(run, device, trust_run_code)
    if device is not None:
        raise ConfigurationError(
            f"device is {device!r}, but the run is loaded already: device goes with a run's folder"
        )
    return run
