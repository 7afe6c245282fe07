"""`seqgan report`: one page about one or several runs, to be opened in a browser."""

from seqgan.commands.parsing import InputError, Parser, given_path
from seqgan.system.errors import SeqganError


def run(given: list[str]) -> int:
    """Writes the page, and gives the exit code."""
    parser = Parser(
        prog="seqgan report",
        examples=(
            "seqgan report runs/captions",
            "seqgan report runs/captions runs/control --output compared.html",
        ),
    )
    parser.add_argument("runs", type=given_path, nargs="+", metavar="run", help="folder of a run")
    parser.add_argument(
        "--output", type=given_path, help="the page (report.html in the folder of a single run)"
    )
    options = parser.parse_all(given)
    if options.output is None and len(options.runs) > 1:
        raise InputError("--output FILE is missing, which a report of several runs needs")
    from seqgan.report.page import write_page

    try:
        target = write_page(options.runs, options.output or options.runs[0] / "report.html")
    except SeqganError as error:
        raise InputError(str(error)) from error
    print(target)
    return 0
