"""`seqgan judge`: a page on which people compare texts, and the numbers of what they chose."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from seqgan.commands.parsing import InputError, Parser, add_device, add_trust, given_path, number
from seqgan.commands.sampler_flags import add_sampler, sampler_settings
from seqgan.system.checks import Count, Seed, Size, WholeShare
from seqgan.system.errors import SeqganError
from seqgan.system.files import making, write_text, writing
from seqgan.system.streams import json_line
from seqgan.system.tables import aligned
from seqgan.system.terminal import columns_of, say, wrapped

if TYPE_CHECKING:
    from seqgan.judging.scoring import Scores
    from seqgan.judging.sources import OpenedRun
    from seqgan.judging.study import Source, Study

HELP = """\
usage: seqgan judge prepare SYSTEM SYSTEM ... --output FOLDER
       seqgan judge score CSV ... --key KEY

prepare  writes a blinded page and the key that goes with it
score    win rates and agreement, from the CSV files that the page exports

`seqgan judge prepare --help` and `seqgan judge score --help` list the settings.
"""


def run(given: list[str]) -> int:
    """Runs the part that the first argument names, and gives the exit code."""
    if not given or given[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0 if given else 2
    match given[0]:
        case "prepare":
            return _prepare(given[1:])
        case "score":
            return _score(given[1:])
        case other:
            raise InputError(f"unknown command {other!r} of judge: it takes prepare or score")


def _prepare(given: list[str]) -> int:
    parser = Parser(
        prog="seqgan judge prepare",
        examples=(
            "seqgan judge prepare runs/game runs/control --output study.html",
            "seqgan judge prepare runs/game runs/game:real --output study",
            "seqgan judge prepare runs/game runs/game:pretrained+tilt --sampler resample"
            " --output tilted",
        ),
        epilog="A system is [NAME=]RUN, RUN:pretrained (before the game) or RUN:real (the task's"
        " held-out texts), with @T behind it for texts at temperature T, or +tilt for texts drawn"
        " as --sampler says. Without NAME it"
        " is called as the run's folder; pretrained or real, where only one is.",
    )
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help="a run; see below")
    parser.add_argument(
        "--samples",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="a file of texts as a system: real ones, or another program's; may be repeated",
    )
    parser.add_argument(
        "--output", type=given_path, required=True, help="a folder, or the page's name in .html"
    )
    parser.add_argument("--question", help="what the raters are asked")
    parser.add_argument(
        "--pairs", type=number(Size), default=50, help="comparisons of every two systems (50)"
    )
    parser.add_argument(
        "--repeats",
        type=number(WholeShare),
        default=0.1,
        help="share that comes again, sides swapped (0.1)",
    )
    parser.add_argument(
        "--controls",
        type=number(Count),
        default=0,
        help="real texts beside their own words shuffled (0)",
    )
    parser.add_argument(
        "--control-texts",
        type=given_path,
        help="file of real texts (the first run's held-out ones)",
    )
    parser.add_argument("--both-bad", action="store_true", help="allow the answer `both bad`")
    parser.add_argument(
        "--lowercase-words",
        action="store_true",
        help="spell every text as the tasks do: lower case, punctuation split off",
    )
    parser.add_argument(
        "--seed", type=number(Seed), default=0, help="the same seed, the same page (0)"
    )
    add_sampler(parser)
    add_device(parser)
    add_trust(parser)
    options = parser.parse_all(given)
    settings = sampler_settings(options, {})
    if options.control_texts and not options.controls:
        raise InputError("--control-texts is given without --controls NUMBER, with which it goes")
    if options.question is not None and not options.question.strip():
        raise InputError("--question is blank, but must have a text")
    page, key = _targets(options.output)

    from seqgan.judging.page import render
    from seqgan.judging.sources import (
        WantedFile,
        WantedRun,
        check_names,
        load_controls,
        load_sources,
        parse_file,
        parse_run,
        with_short_names,
    )
    from seqgan.judging.study import DEFAULT_QUESTION, lowercased_words, plan
    from seqgan.training.tilting import RESAMPLED

    try:
        wanted: list[WantedRun | WantedFile] = [parse_run(spec) for spec in options.systems]
        wanted += [parse_file(spec) for spec in options.samples]
        wanted = with_short_names(wanted)
        check_names(wanted)
        if settings is not None and not any(isinstance(w, WantedRun) and w.tilted for w in wanted):
            raise InputError("--sampler is given, but no system ends in +tilt, which it draws")
        sources, runs = load_sources(
            wanted,
            options.pairs,
            options.seed,
            options.device,
            options.trust_run_code,
            settings or RESAMPLED,
        )
        controls = load_controls(options.controls, options.control_texts, runs, options.seed)
        if options.lowercase_words:
            sources = [lowercased_words(source) for source in sources]
            controls = lowercased_words(controls)
        study = plan(
            sources,
            options.pairs,
            options.question or DEFAULT_QUESTION,
            options.both_bad,
            options.repeats,
            controls,
            options.seed,
        )
    except SeqganError as error:
        raise InputError(str(error)) from error
    _write(page, key, render(study), json.dumps(study.key(), indent=1, ensure_ascii=False))
    for line in _notes(study, sources, runs):
        say(line)
    say(f"page: {page}  (for the raters; it needs no server and names no system)")
    say(f"key:  {key}  (not for the raters; `seqgan judge score` needs it)")
    return 0


def _targets(output: Path) -> tuple[Path, Path]:
    """The paths of page and key: names of their own in a folder, or one beside the other."""
    if output.suffix.lower() in (".html", ".htm"):
        page, key = output, output.with_suffix(".key.json")
    else:
        page, key = output / "page.html", output / "key.json"
    for path in (page, key):
        if path.exists():
            raise InputError(
                f"{path} exists already, and nothing is written over; name another with --output"
            )
    nearest = next(folder for folder in page.parents if folder.exists())
    if not nearest.is_dir():
        raise InputError(
            f"cannot write into {nearest}: it is a file; --output must be a folder or a"
            " name in .html"
        )
    return page, key


def _write(page: Path, key: Path, rendered: str, secret: str) -> None:
    """Writes both files; a new folder has both of them or is not there."""
    if not page.parent.exists():
        with making(page.parent) as folder:
            write_text(folder / key.name, secret)
            write_text(folder / page.name, rendered)
        return
    # The key gets its name first: answers on a page without it would be lost.
    with writing(page) as temporary:
        temporary.write_text(rendered, encoding="utf-8")
        write_text(key, secret)


def _notes(study: "Study", sources: Sequence["Source"], runs: Sequence["OpenedRun"]) -> list[str]:
    """The number of items, and notes about things that may spoil the comparison."""
    from seqgan.judging.study import giveaways, repeated_texts

    kinds = Counter(item.placement.kind for item in study.items)
    notes = [
        f"{len(study.items)} items for each rater: {kinds['comparison']} comparisons of"
        f" {len(study.systems)} systems, {kinds['repeat']} repeats, {kinds['control']} controls"
    ]
    for (first, second), count in study.identical.items():
        notes.append(f"note: {first} and {second}: {count} pairs are equal texts and are left out")
    for source in sources:
        if again := repeated_texts(source.texts):
            notes.append(
                f"note: {source.name}: {again} of {len(source.texts)} texts equal an earlier one;"
                " they stay, as that is how it writes"
            )
    for one in giveaways(sources):
        notes.append(f"note: raters may tell systems by their spelling ({one}); --lowercase-words")
    for other in runs[1:]:
        if other.config.task != runs[0].config.task:
            notes.append(
                f"note: {runs[0].wanted.name} and {other.wanted.name} are of different tasks, so"
                " that raters compare what the texts are about, too"
            )
    return notes


def _score(given: list[str]) -> int:
    parser = Parser(
        prog="seqgan judge score",
        examples=("seqgan judge score answers-*.csv --key study-key.json",),
    )
    parser.add_argument(
        "answers", type=given_path, nargs="+", metavar="CSV", help="what raters saved"
    )
    parser.add_argument("--key", type=given_path, required=True, help="the page's key")
    parser.add_argument("--seed", type=number(Seed), default=0, help="of the bootstrap (0)")
    parser.add_argument("--json", action="store_true", help="one JSON object, nothing else")
    options = parser.parse_all(given)

    from seqgan.judging.ratings import read_ratings
    from seqgan.judging.scoring import score
    from seqgan.judging.study import read_key

    try:
        key = read_key(options.key)
        ratings, notes = read_ratings(options.answers, key)
        scores = score(ratings, key, notes, options.seed)
    except SeqganError as error:
        raise InputError(str(error)) from error
    if options.json:
        print(json_line(asdict(scores)))
    else:
        print("\n".join(_lines(scores, columns_of(sys.stdout))))
    return 0


def _lines(scores: "Scores", columns: int | None) -> list[str]:
    """The report of a study: the sentences, then the numbers behind them."""
    pairs = [
        [
            f"{one.first} : {one.second}",
            f"{one.wins_first} : {one.wins_second}",
            f"{one.ties}",
            f"{one.both_bad}",
            f"{one.win_rate:.3f}",
            _interval(one.wilson),
            _interval(one.bootstrap),
            f"{one.sign_test_p:.2g}",
            f"{one.holm_p:.2g}",
        ]
        for one in scores.pairs
    ]
    heads = ["pair", "wins", "ties", "both bad", "win rate", "Wilson 95%", "bootstrap 95%"]
    raters = [
        [
            one.rater,
            f"{one.answered}/{one.items}",
            "" if one.left_rate is None else f"{one.left_rate:.0%}",
            f"{one.consistent}/{one.repeats}",
            f"{one.passed}/{one.controls}",
            f"{one.median_seconds:.1f}",
        ]
        for one in scores.raters
    ]
    said = [f"question: {scores.question}", ""]
    said += [f"note: {note}" for note in scores.inattentive]
    said += [*(one.verdict for one in scores.pairs)]
    said += [scores.agreement]
    if scores.self_consistency is not None:
        said.append(f"Raters answered {scores.self_consistency:.0%} of the repeated pairs alike.")
    lines = [line for one in said for line in wrapped(one, columns)]
    lines += ["", *aligned([[*heads, "sign test p", "Holm p"], *pairs], columns=columns)]
    about = "ties and both bad count one half for each; both bad are among the ties"
    lines += wrapped(about, columns)
    if scores.strengths:
        strengths = [
            [one.system, f"{one.strength:+.2f}", _interval(one.interval, "+.2f")]
            for one in scores.strengths
        ]
        strength_heads = ["Bradley-Terry", "log odds", "bootstrap 95%"]
        lines += ["", *aligned([strength_heads, *strengths], columns=columns)]
    rater_heads = ["rater", "answered", "left", "consistent", "controls passed", "median seconds"]
    lines += ["", *aligned([rater_heads, *raters], columns=columns)]
    notes = [line for note in scores.notes for line in wrapped(f"note: {note}", columns)]
    return [*lines, *([""] if notes else []), *notes]


def _interval(interval: tuple[float, float] | None, form: str = ".3f") -> str:
    if interval is None:
        return "-"
    return f"{interval[0]:{form}} to {interval[1]:{form}}"
