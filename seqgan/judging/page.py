"""The page as one HTML file: texts, style and program in it, and nothing fetched from anywhere."""

from jinja2 import Environment, PackageLoader

from seqgan.judging.study import Study


def render(study: Study) -> str:
    """The page of a study. It holds no system's name, only texts under ids that say nothing."""
    pages = Environment(
        loader=PackageLoader("seqgan.judging", "pages"), autoescape=True, trim_blocks=True
    )
    return pages.get_template("judge.html.j2").render(
        study=study.page(),
        question=study.question,
        both_bad=study.both_bad,
        items=len(study.items),
    )
