"""Devices that this machine has or lacks, and what stands in for them."""

import pytest
import torch

from seqgan.system.devices import check_device, device_here
from seqgan.system.errors import ConfigurationError

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")


@pytest.mark.parametrize("name", ["", "meta", "abacus", "CPU", "7", "cuda:x", "cuda:99999", "hip"])
def test_a_device_that_no_machine_computes_on_is_refused_in_a_line(name: str) -> None:
    with pytest.raises(
        ConfigurationError, match=f"cannot compute on device '{name}' here: "
    ) as refusal:
        check_device(name)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 150


@without_cuda
@pytest.mark.parametrize("name", ["cuda", "cuda:7", "mps", "xpu"])
def test_a_device_that_this_machine_lacks_is_refused_in_a_line(name: str) -> None:
    with pytest.raises(
        ConfigurationError, match=f"^cannot compute on device '{name}' here: "
    ) as refusal:
        check_device(name)
    assert "\n" not in str(refusal.value)


def test_a_run_stays_on_its_device_where_there_is_one(caplog: pytest.LogCaptureFixture) -> None:
    check_device("cpu")
    assert device_here("cpu", None, "runs/a") == "cpu"
    assert device_here("cpu", "cpu", "runs/a") == "cpu"
    assert caplog.text == ""


@pytest.mark.parametrize("recorded", ["cuda:99999", "abacus", "meta"])
def test_another_device_stands_in_and_a_line_says_so(
    recorded: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = "cuda" if torch.cuda.is_available() and recorded.startswith("cuda") else "cpu"
    assert device_here(recorded, None, "runs/a") == expected
    (said,) = caplog.messages
    assert said.startswith(f"runs/a was made on {recorded}; here it uses {expected} (")
    assert "\n" not in said


def test_the_device_that_is_asked_for_counts(caplog: pytest.LogCaptureFixture) -> None:
    assert device_here("cuda", "cpu", "runs/a") == "cpu"
    assert caplog.messages == ["runs/a was made on cuda; here it uses cpu (as was asked for)"]
    with pytest.raises(ConfigurationError, match="on device 'abacus' here"):
        device_here("cpu", "abacus", "runs/a")
