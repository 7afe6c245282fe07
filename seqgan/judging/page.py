"""Renders the page as one HTML file with texts, style and program; it fetches nothing."""

from jinja2 import Environment, PackageLoader

from seqgan.judging.study import Study


def render(study: Study) -> str:
    """Renders a study's page. It holds texts under random ids, and no system's name."""
    pages = Environment(
        loader=PackageLoader("seqgan.judging", "pages"), autoescape=True, trim_blocks=True
    )
    return pages.get_template("judge.html.j2").render(
        study=study.page(),
        question=study.question,
        both_bad=study.both_bad,
        items=len(study.items),
    )
