"""Checkpoints: what goes in comes out, and whatever happens to the disk, a good one stays."""

import json
import logging
import math
import shutil
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from seqgan.system import files
from seqgan.system.errors import CheckpointError
from seqgan.system.files import find_fault
from seqgan.training import checkpoints
from seqgan.training.checkpoints import (
    flatten,
    last_good_checkpoint,
    load_checkpoint,
    read_checkpoint,
    replace_checkpoint,
    save_checkpoint,
    unflatten,
)

CONTENT = ("tensors.safetensors", "state.json")
FILES = (*CONTENT, "manifest.json")


def save_steps(folder, *steps, keep=3):
    for step in steps:
        save_checkpoint(folder, step, {"step": step, "weight": torch.full((50,), step)}, keep)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class TestRoundTrip:
    def round_trip(self, folder, value):
        save_checkpoint(folder, 1, {"value": value})
        return load_checkpoint(folder)[1]["value"]

    def test_a_folder_whose_name_is_not_utf_8(self, tmp_path):
        value = torch.tensor([1.5, -2.0])
        assert torch.equal(self.round_trip(tmp_path / "caf\udce9", value), value)

    @pytest.mark.parametrize(
        "value",
        [
            None,
            True,
            0,
            2**63 + 1,
            0.1 + 0.2,
            5e-324,
            1.7976931348623157e308,
            math.inf,
            -math.inf,
            "",
            'caf\u00e9 \u6625 \u2028 "quoted" \\ \0',
            [],
            {},
            [1, [2.5, None, "x"], {"a": [True]}],
            {0: "integer", "0": "text", "a": {1: {2: 3}}},
            {"tensor": "no tensor", "dict": [["a", 1]], "list": 0, "value": None},
        ],
        ids=repr,
    )
    def test_plain_values(self, tmp_path, value):
        result = self.round_trip(tmp_path, value)
        assert result == value
        assert type(result) is type(value)

    def test_nan(self, tmp_path):
        assert math.isnan(self.round_trip(tmp_path, math.nan))

    def test_keys_keep_their_type_and_order(self, tmp_path):
        value = {3: "a", "1": "b", 1: "c"}
        assert list(self.round_trip(tmp_path, value).items()) == list(value.items())

    def test_tuples_become_lists(self, tmp_path):
        assert self.round_trip(tmp_path, (1, (2, 3))) == [1, [2, 3]]

    @pytest.mark.parametrize(
        "tensor",
        [
            torch.tensor([0.1, -0.0, math.inf, 1e-45]),
            torch.tensor([0.1], dtype=torch.float64),
            torch.tensor([1.5, 3.0], dtype=torch.bfloat16),
            torch.tensor([0.5], dtype=torch.float16),
            torch.tensor([-(2**63), 2**63 - 1]),
            torch.tensor([True, False]),
            torch.tensor([255], dtype=torch.uint8),
            torch.tensor(3),
            torch.empty(0, 4),
            torch.arange(12).view(3, 4).T[1:, ::2],
            torch.ones(3).expand(2, 3),
            torch.Generator().manual_seed(5).get_state(),
            nn.Parameter(torch.ones(2)),
        ],
        ids=lambda tensor: f"{tensor.dtype}-{tuple(tensor.shape)}",
    )
    def test_tensors(self, tmp_path, tensor):
        result = self.round_trip(tmp_path, tensor)
        assert result.dtype == tensor.dtype
        assert torch.equal(result, tensor)
        assert torch.equal(result.signbit(), tensor.signbit())
        assert not result.requires_grad

    def test_tensors_that_share_memory(self, tmp_path):
        base = torch.arange(6.0)
        tied = {"first": base, "again": base, "part": base[2:4], "row": base.view(2, 3)[1]}
        result = self.round_trip(tmp_path, tied)
        assert {name: value.tolist() for name, value in result.items()} == {
            name: value.tolist() for name, value in tied.items()
        }
        result["first"].add_(1)
        assert torch.equal(result["again"], base)

    def test_saving_takes_a_snapshot(self, tmp_path):
        weight = torch.zeros(3)
        save_checkpoint(tmp_path, 1, {"weight": weight})
        weight.add_(1)
        assert load_checkpoint(tmp_path)[1]["weight"].tolist() == [0, 0, 0]

    def test_training_goes_on_bit_for_bit(self, tmp_path):
        def fresh():
            torch.manual_seed(0)
            module = nn.Linear(3, 2)
            return module, torch.optim.Adam(module.parameters(), 0.1, betas=(0.8, 0.99))

        def step(module, optimizer, inputs):
            optimizer.zero_grad()
            module(inputs).square().sum().backward()
            optimizer.step()

        inputs = torch.arange(6.0).view(2, 3)
        module, optimizer = fresh()
        for _ in range(3):
            step(module, optimizer, inputs)
        state = {"module": module.state_dict(), "optimizer": optimizer.state_dict()}
        loaded = self.round_trip(tmp_path, state)
        assert set(loaded["optimizer"]["state"]) == {0, 1}
        other, other_optimizer = fresh()
        other.load_state_dict(loaded["module"])
        other_optimizer.load_state_dict(loaded["optimizer"])
        for _ in range(2):
            step(module, optimizer, inputs)
            step(other, other_optimizer, inputs)
        assert torch.equal(module.weight, other.weight)
        assert torch.equal(module.bias, other.bias)

    def test_tensors_with_one_name_are_refused(self):
        one = torch.ones(1)
        for tree in ({"a/b": one, "a": {"b": one}}, {0: one, "0": one}):
            with pytest.raises(
                ValueError, match=r"tensor '/\S+' is named twice, but names must be distinct"
            ):
                flatten(tree)

    def test_flatten_by_hand(self):
        tensor = torch.ones(1)
        plain, tensors = flatten({"a": [tensor, 2]})
        assert plain == {"dict": [["a", {"list": [{"tensor": "/a/0"}, {"value": 2}]}]]}
        assert list(tensors) == ["/a/0"]
        assert unflatten(plain, tensors)["a"][1] == 2

    def test_no_pickle_is_involved(self, tmp_path):
        """The files are what their names say, to programs that know nothing of this one."""
        path = save_checkpoint(tmp_path, 7, {"a": {"b": torch.tensor([1.5])}, "c": "text"})
        assert path == tmp_path / "00000007"
        assert names(path) == sorted(FILES)
        assert load_file(path / "tensors.safetensors")["/a/b"].tolist() == [1.5]
        assert "text" in json.dumps(json.loads((path / "state.json").read_text("utf-8")))
        assert len(json.loads((path / "manifest.json").read_text("utf-8"))) == 2

    def test_what_is_no_plain_value_is_refused(self, tmp_path):
        save_steps(tmp_path, 1)
        with pytest.raises(TypeError, match="not JSON serializable"):
            save_checkpoint(tmp_path, 2, {"value": object()})
        assert names(tmp_path) == ["00000001"]


class TestSeveral:
    def test_newest_is_loaded(self, tmp_path):
        save_steps(tmp_path, 9, 10, 100_000_000)  # more digits than the names are padded to
        path, state = load_checkpoint(tmp_path)
        assert path.name == "100000000"
        assert state["step"] == 100_000_000

    def test_three_are_kept(self, tmp_path):
        save_steps(tmp_path, 10, 20, 30, 40, 50)
        assert names(tmp_path) == ["00000030", "00000040", "00000050"]

    def test_one_can_be_kept(self, tmp_path):
        save_steps(tmp_path, 1, 2, keep=1)
        assert names(tmp_path) == ["00000002"]

    def test_a_step_saved_again_is_replaced(self, tmp_path):
        save_steps(tmp_path, 1)
        save_checkpoint(tmp_path, 1, {"step": "again"})
        assert load_checkpoint(tmp_path)[1] == {"step": "again"}

    def test_other_entries_are_left_alone(self, tmp_path):
        (tmp_path / "notes").mkdir()
        (tmp_path / "123").write_text("a file, no folder")
        save_steps(tmp_path, 1, 2, 3, 4)
        assert names(tmp_path) == ["00000002", "00000003", "00000004", "123", "notes"]
        assert load_checkpoint(tmp_path)[1]["step"] == 4

    def test_none(self, tmp_path):
        for folder in (tmp_path, tmp_path / "missing"):
            with pytest.raises(CheckpointError, match=f"{folder} has no intact checkpoint"):
                load_checkpoint(folder)
            assert last_good_checkpoint(folder) == "there is no checkpoint yet"


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def alter(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


class TestDamage:
    @pytest.mark.parametrize("name", FILES)
    @pytest.mark.parametrize("damage", [truncate, alter, empty, Path.unlink])
    def test_the_one_before_is_used(self, tmp_path, caplog, name, damage):
        save_steps(tmp_path, 1, 2)
        damage(tmp_path / "00000002" / name)
        with caplog.at_level(logging.WARNING):
            path, state = load_checkpoint(tmp_path)
        assert path.name == "00000001"
        assert state["step"] == 1
        assert state["weight"].tolist() == [1] * 50
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert f"{tmp_path / '00000002'} is damaged" in record.getMessage()
        assert "using the one before it" in record.getMessage()
        assert last_good_checkpoint(tmp_path).endswith("00000001")

    @pytest.mark.parametrize("name", ["tensors.safetensors", "state.json", "another file"])
    def test_a_file_that_pretends_to_be_endless_is_not_read(self, tmp_path, name):
        save_steps(tmp_path, 1)
        place = tmp_path / "00000001"
        with (place / name).open("ab") as file:
            file.truncate(2**42)  # a hole, which takes no room and hours to digest
        listed = json.loads((place / "manifest.json").read_text())
        (place / "manifest.json").write_text(json.dumps({**listed, name: "0" * 64}))
        with pytest.raises(CheckpointError, match=f"{name} has {2**42} bytes, more than"):
            load_checkpoint(tmp_path)

    @pytest.mark.parametrize("content", ["[]", "{}", '{"state.json": "0"}', "5", "{"])
    def test_manifest_that_is_none(self, tmp_path, content):
        save_steps(tmp_path, 1)
        (tmp_path / "00000001" / "manifest.json").write_text(content)
        assert find_fault(tmp_path / "00000001", CONTENT)

    def test_intact_is_no_fault(self, tmp_path, caplog):
        save_steps(tmp_path, 1)
        assert find_fault(tmp_path / "00000001", CONTENT) == ""
        load_checkpoint(tmp_path)
        assert not caplog.records

    def test_all_damaged(self, tmp_path, caplog):
        save_steps(tmp_path, 1, 2)
        for step in ("00000001", "00000002"):
            truncate(tmp_path / step / "state.json")
        both = "has no intact checkpoint .*00000002 is damaged .*00000001 is damaged"
        with pytest.raises(CheckpointError, match=both):
            load_checkpoint(tmp_path)
        assert caplog.records == []  # one line, not three

    def test_crash_while_writing(self, tmp_path, caplog):
        """What a killed process leaves behind is never read, and no obstacle."""
        save_steps(tmp_path, 1)
        unfinished = tmp_path / ".00000002.writing"
        unfinished.mkdir()
        (unfinished / "tensors.safetensors").write_bytes(b"half of")
        (unfinished / "left_over").write_bytes(b"")
        path, _ = load_checkpoint(tmp_path)
        assert path.name == "00000001"
        assert not caplog.records
        save_steps(tmp_path, 2)
        assert names(tmp_path) == ["00000001", "00000002"]
        assert names(tmp_path / "00000002") == sorted(FILES)
        assert load_checkpoint(tmp_path)[1]["step"] == 2

    def test_killed_while_writing(self, tmp_path):
        """A process killed by a signal in the middle of a file (the limit's default action)."""
        save_steps(tmp_path, 1)
        script = """
            import resource, signal, sys, torch
            from pathlib import Path
            from seqgan.training.checkpoints import save_checkpoint
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
            save_checkpoint(Path(sys.argv[1]), 2, {"weight": torch.zeros(100_000)})
        """
        result = run_python(script, tmp_path)
        assert result.returncode < 0
        assert names(tmp_path) == [".00000002.writing", "00000001"]
        assert load_checkpoint(tmp_path)[1]["step"] == 1


@contextmanager
def state_before_every_line(folder, snapshots):
    """Copies the folder, inside, before each line that writes checkpoints or files.

    A copy is what a process leaves that is killed there: nothing of it runs any more, not even
    what is to be done in the end.
    """
    sources = {checkpoints.__file__, files.__file__}
    writing = {"save_checkpoint", "replace_checkpoint", "seal", "settle", "replace_folder"}

    def trace(frame, event, argument):
        code = frame.f_code
        if code.co_filename not in sources or code.co_name not in writing:
            return None
        if event == "line":
            place = f"{code.co_name}:{frame.f_lineno - code.co_firstlineno}"
            copy = snapshots / f"{len(list(snapshots.iterdir())):03d} {place}"
            shutil.copytree(folder, copy)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


class TestKilledAtAnyLine:
    @pytest.fixture
    def snapshots(self, tmp_path):
        (tmp_path / "snapshots").mkdir()
        return tmp_path / "snapshots"

    def test_leaves_the_old_or_the_new_one(self, tmp_path, snapshots):
        """Of one folder that is written again and again, as that of the best state."""
        folder = tmp_path / "run"
        replace_checkpoint(folder / "best", {"weight": torch.full((5,), 1)})
        with state_before_every_line(folder, snapshots):
            replace_checkpoint(folder / "best", {"weight": torch.full((5,), 2)})
        values = []
        for copy in sorted(snapshots.iterdir()):
            weight = read_checkpoint(copy / "best")["weight"]
            assert weight.tolist() in ([1] * 5, [2] * 5)
            values.append(int(weight[0]))
            # The next writing succeeds, and leaves nothing of the killed one.
            replace_checkpoint(copy / "best", {"weight": torch.full((5,), 3)})
            assert read_checkpoint(copy / "best")["weight"].tolist() == [3] * 5
            assert names(copy) == ["best"]
        assert values == sorted(values)
        assert set(values) == {1, 2}
        assert len(values) > 20
        unnamed = [copy for copy in snapshots.iterdir() if "replace_folder" in copy.name]
        assert len(unnamed) > 3

    @pytest.mark.parametrize("step", [3, 4], ids=["the same step again", "the next step"])
    def test_leaves_the_newest_or_the_one_before(self, tmp_path, snapshots, step, caplog):
        folder = tmp_path / "checkpoints"
        save_steps(folder, 1, 2, 3)
        with state_before_every_line(folder, snapshots):
            save_checkpoint(folder, step, {"step": "new"})
        steps = [load_checkpoint(copy)[1]["step"] for copy in sorted(snapshots.iterdir())]
        assert set(steps) == {3, "new"}
        assert steps == sorted(steps, key=str)
        assert not caplog.records
        for copy in snapshots.iterdir():
            save_checkpoint(copy, 5, {"step": 5})
            assert load_checkpoint(copy)[1]["step"] == 5
            assert len([path for path in copy.iterdir() if not path.name.startswith(".")]) <= 3


def run_python(script, *arguments):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class TestFullDisk:
    def test_old_checkpoint_survives_and_is_named(self, tmp_path):
        """The file-size limit of a process: a real error in the middle of a real write."""
        save_steps(tmp_path, 1)
        script = """
            import resource, sys, torch
            from pathlib import Path
            from seqgan.system.errors import CheckpointError
            from seqgan.training.checkpoints import save_checkpoint
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
            try:
                save_checkpoint(Path(sys.argv[1]), 2, {"weight": torch.zeros(100_000)})
            except CheckpointError as error:
                print(error)
        """
        result = run_python(script, tmp_path)
        assert result.returncode == 0, result.stderr
        assert f"cannot write the checkpoint {tmp_path / '00000002'}" in result.stdout
        assert "File too large" in result.stdout
        assert f"the last good checkpoint is {tmp_path / '00000001'}" in result.stdout
        assert names(tmp_path) == ["00000001"]
        assert load_checkpoint(tmp_path)[1]["step"] == 1

    def test_place_that_is_no_folder(self, tmp_path):
        place = tmp_path / "file"
        place.write_text("")
        with pytest.raises(
            CheckpointError, match=r"cannot write the checkpoint .*there is no earlier one"
        ):
            save_checkpoint(place, 1, {})


class TestOneFolder:
    def test_replaces_what_was_there_and_nothing_beside_it(self, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        for value in (1, 2):
            replace_checkpoint(tmp_path / "best", {"weight": torch.full((5,), value)})
        assert read_checkpoint(tmp_path / "best")["weight"].tolist() == [2] * 5
        assert names(tmp_path) == ["best", "notes.txt"]

    def test_what_cannot_be_written_leaves_the_one_before(self, tmp_path, monkeypatch):
        replace_checkpoint(tmp_path / "best", {"weight": torch.ones(5)})

        def full(*arguments):
            raise OSError("No space left on device")

        monkeypatch.setattr("seqgan.training.checkpoints.save_file", full)
        with pytest.raises(
            CheckpointError, match=r"cannot write the checkpoint .*best: No space left"
        ):
            replace_checkpoint(tmp_path / "best", {"weight": torch.zeros(5)})
        assert read_checkpoint(tmp_path / "best")["weight"].tolist() == [1] * 5
        assert names(tmp_path) == ["best"]

    def test_a_damaged_or_missing_one_is_an_error(self, tmp_path):
        with pytest.raises(CheckpointError, match=r"checkpoint .*best is not whole: .*No such"):
            read_checkpoint(tmp_path / "best")
        replace_checkpoint(tmp_path / "best", {"weight": torch.ones(5)})
        (tmp_path / "best" / "state.json").write_text("{}")
        with pytest.raises(CheckpointError, match=r"state\.json was altered or truncated"):
            read_checkpoint(tmp_path / "best")
