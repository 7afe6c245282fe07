"""A run in milliseconds, for tests of sweeps: it has the files, the signals and the exit codes.

Called as `fake_trial.py RUN PARAMETERS new|resume`. Parameters (JSON): `before` is the metric's
value before the game, if any, `x` that at step 0 (iteration 1); it falls by `slope` a step for
`steps` steps of `seconds` each; at step `fail` the run fails with an error; with `silent` it does
not log the metric in the game.
"""

import json
import signal
import sys
import time
from pathlib import Path


def main() -> int:
    run, given, mode = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
    stop = []
    signal.signal(signal.SIGTERM, lambda number, frame: stop.append(number))
    checkpoint = run / "checkpoint"
    if mode == "new":
        run.mkdir(parents=True)
        settings = {"evaluation": {"every": 5}, "adversarial": {"iterations": 2}}
        (run / "config.yaml").write_text(json.dumps(settings))
        (run / "task.json").write_text("{}")
    with (run / "starts.txt").open("a") as file:
        file.write(f"{mode}\n")
    step = int(checkpoint.read_text()) if checkpoint.exists() else 0
    sys.stdout.write(f"began at step {step}\n")
    while step < given.get("steps", 3):
        if step == given.get("fail"):
            sys.stderr.write("seqgan: the loss is finite, got nan\n")
            return 1
        with (run / "metrics.jsonl").open("a") as file:
            if step == 0 and "before" in given:
                row = {"iteration": 0, "eval/entropy": 1.0, "eval/nll_heldout": given["before"]}
                file.write(json.dumps(row) + "\n")
            row = {"iteration": step + 1, "eval/entropy": 2.0 + step}
            if not given.get("silent"):
                row["eval/nll_heldout"] = given["x"] - given.get("slope", 0.0) * step
            file.write(json.dumps(row) + "\n")
        time.sleep(given.get("seconds", 0.0))
        step += 1
        checkpoint.write_text(str(step))
        if stop:
            return 128 + stop[0]
    comparison = {"quality": "grammatical", "verdict": "level", "difference": 0.0, "error": 0.01}
    (run / "results.json").write_text(json.dumps({"comparison": comparison}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
