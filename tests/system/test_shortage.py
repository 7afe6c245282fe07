"""Too little memory is one line, whichever library notices it."""

import resource
from typing import Any

import numpy as np
import pytest
import torch

from seqgan.system.shortage import MemoryShortError, check_limit, shortage_in_one_line


def of_numpy() -> None:
    np.empty(10**15)


def of_pytorch() -> None:
    torch.empty(10**15)


def of_sizes_that_overflow() -> None:
    torch.empty(10**9, 10**9, 10**9)


def of_python() -> None:
    raise MemoryError


def of_a_library() -> None:
    raise ImportError("libtorch_cpu.so: failed to map segment from shared object")


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (of_numpy, "there is not enough memory for another 7.11 PiB;"),
        (of_pytorch, "there is not enough memory for another 4e+03 TB;"),
        (of_sizes_that_overflow, "there is not enough memory: Storage size calculation overflowed"),
        (of_python, "there is not enough memory;"),
        (of_a_library, "there is not enough memory: libtorch_cpu.so: failed to map"),
    ],
)
def test_a_shortage_is_one_line(action: Any, said: str) -> None:
    with pytest.raises(MemoryShortError) as caught, shortage_in_one_line():
        action()
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_any_other_error_is_let_through() -> None:
    with pytest.raises(RuntimeError, match="a bug") as caught, shortage_in_one_line():
        raise RuntimeError("a bug")
    assert not isinstance(caught.value, MemoryShortError)


def test_a_limit_that_pytorch_cannot_start_with(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in (resource.RLIM_INFINITY, 2**31):
        monkeypatch.setattr(resource, "getrlimit", lambda kind, limit=limit: (limit, limit))
        check_limit()
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (512 * 10**6, 10**9))
    with pytest.raises(
        MemoryShortError, match=r"the limit on memory is 512 MB \(ulimit -v\), but .* 1 GB"
    ):
        check_limit()
