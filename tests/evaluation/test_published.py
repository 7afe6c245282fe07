"""Published points: columns matched by name, and every fault with its place."""

import pytest

from seqgan.evaluation.axes import (
    ENTROPY,
    KL_GENERATOR_ORACLE,
    KL_ORACLE_GENERATOR,
    NLL_HELDOUT,
    NLL_ORACLE,
    Axis,
)
from seqgan.evaluation.planes.points import Panel
from seqgan.evaluation.planes.published import read_points

ORACLE = Panel(NLL_ORACLE, NLL_HELDOUT)
KL = Panel(KL_GENERATOR_ORACLE, KL_ORACLE_GENERATOR)
BLEU = Panel(
    Axis("bleu_4", "BLEU-4", "10 references", True),
    Axis("self_bleu_4", "Self-BLEU-4", "10 samples", False),
)


@pytest.fixture
def read(tmp_path):
    def read(text, *panels):
        path = tmp_path / "points.csv"
        path.write_text(text, encoding="utf-8")
        return read_points(path, panels or (ORACLE, KL))

    return read


def test_models_in_the_order_of_the_file(read):
    curves = read("model,alpha,nll_oracle,nll_test\nmle,1,9.4,7.6\ngan,1,8.7,8.0\nmle,2,6.5,8.9\n")
    assert [curve.model for curve in curves] == ["mle", "gan"]
    assert curves[0].on(ORACLE) == [(9.4, 7.6), (6.5, 8.9)]
    assert curves[1].on(ORACLE) == [(8.7, 8.0)]
    assert curves[0].on(KL) == []


@pytest.mark.parametrize(
    "header", ["BLEU-4,Self-BLEU-4", "bleu4,selfbleu4", "eval/bleu_4,eval/self_bleu_4"]
)
def test_columns_go_by_many_spellings(read, header):
    (curve,) = read(f"{header}\n.3,.6\n", BLEU)
    assert (curve.model, curve.on(BLEU)) == ("points", [(0.3, 0.6)])


def test_what_is_not_there_or_not_finite_is_not_shown(read):
    (curve,) = read("\ufeffModel,nll_oracle,nll_heldout,entropy\na,1,,2\na,2,inf,3\n\na,3,4,\n")
    assert curve.on(ORACLE) == [(3.0, 4.0)]
    assert curve.on(Panel(NLL_ORACLE, ENTROPY)) == []  # not asked for when it was read


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "model,nll_oracle,bleu\na,1,2\n",
            "has the columns model, nll_oracle, bleu, but must have nll_oracle and nll_heldout or"
            " kl_generator_oracle and kl_oracle_generator",
        ),
        ("", "has the columns none, but must have nll_oracle"),
        (
            "model,nll_oracle,nll_test\na,1,2\n\nb,x,3\n",
            "points.csv line 4: nll_oracle is 'x', but must be a number",
        ),
        ("nll_oracle,nll_test\n1,2,3\n", "line 2 has 3 cells, but the header has 2 columns"),
        (
            "nll_oracle,nll_test,nll_heldout\n1,2,3\n",
            " has more than one column for nll_heldout: 'nll_test' and 'nll_heldout'",
        ),
        ('nll_oracle,nll_test\n"1"2,3\n', "line 2 is not well-formed CSV: "),
        ("nll_oracle,nll_test\n", " has no point with both axes, but must have at least one"),
        (
            "nll_oracle,nll_test\n1,\n,2\n",
            " has no point with both axes, but must have at least one",
        ),
    ],
)
def test_faults_are_named(read, text, message):
    with pytest.raises(ValueError, match=r"points\.csv") as error:
        read(text)
    assert message in str(error.value)


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(ValueError, match=r"^cannot read the points .*absent\.csv: no such file"):
        read_points(tmp_path / "absent.csv", [ORACLE])
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ValueError, match="cannot read the points: "):
        read_points(tmp_path / "binary.csv", [ORACLE])
    with pytest.raises(ValueError, match="cannot read the points: "):
        read_points(tmp_path, [ORACLE])


def test_the_reference_file(reference_data):
    curves = read_points(reference_data / "frontiers" / "oracle-lgfs.csv", [ORACLE])
    assert len(curves) == 8
    assert sum(len(curve.on(ORACLE)) for curve in curves) == 473
    assert (9.40047, 7.60965) in curves[0].on(ORACLE)
