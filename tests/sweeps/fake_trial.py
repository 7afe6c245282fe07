"""A run in milliseconds, for tests of sweeps: it has the files, the signals and the exit codes.

Called as `fake_trial.py RUN PARAMETERS new|resume`. Parameters (JSON): `x` is the metric's value
at step 0 (iteration 1); it falls by `slope` a step for `steps` steps. At step `fail` the run fails
with an error; at step `kill` it kills itself, once; at step `wait` it waits to be stopped, once;
with `silent` it does not log the metric in the game.
"""

import json
import os
import signal
import sys
from pathlib import Path


def main() -> int:
    run, given, mode = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
    stop = [signal.SIGTERM, signal.SIGINT]
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)  # a stop is noticed after a step
    checkpoint = run / "checkpoints" / "1"
    if mode == "new":
        run.mkdir(parents=True)  # as a run does, which refuses a folder that exists
        checkpoint.parent.mkdir()
    with (run / "starts.txt").open("a") as file:
        file.write(f"{mode}\n")
    step = int(checkpoint.read_text()) if mode == "resume" else 0
    sys.stdout.write(f"began at step {step}\n")
    while step < given.get("steps", 3):
        if step == given.get("fail"):
            sys.stderr.write("seqgan: the loss is nan, not finite\n")
            return 1
        rows = [{"iteration": 0, "eval/nll_heldout": 0.001}] if step == 0 else []
        rows.append({"iteration": step + 1, "eval/entropy": 2.0 + step})
        if not given.get("silent"):
            rows[-1]["eval/nll_heldout"] = given["x"] - given.get("slope", 0.0) * step
        with (run / "metrics.jsonl").open("a") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))
        step += 1
        checkpoint.write_text(str(step))
        if mode == "new" and step == given.get("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if mode == "new" and step == given.get("wait"):
            stopped = signal.sigtimedwait(stop, 60)
            return 128 + stopped.si_signo if stopped else 1
        if signal.sigpending() & set(stop):
            return 128 + signal.SIGTERM
    comparison = {"quality": "grammatical", "verdict": "level", "difference": 0.0, "error": 0.01}
    (run / "results.json").write_text(json.dumps({"comparison": comparison}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
