"""A run's `results.json`: the end of a run, written and read back."""

import json
from itertools import chain
from typing import Any

from seqgan.system.errors import DataError
from seqgan.system.files import write_text
from seqgan.system.reading import check_shape, read_json, shown
from seqgan.training.run_folders import RunFolder

OF_METRICS = {"*": float}
VERDICTS = ("better", "level", "worse", "mixed", "unknown")
OF_CURVE = {"*": OF_METRICS}
OF_CHANGE = {"before": float, "after": float, "interval": (list, type(None))}
# The content of results.json, of this version or an older one.
OF_RESULTS = {
    "comparison": {
        "quality": str,
        "verdict": str,
        "temperature": float,
        "sentence": str,
        "unit?": str,
        "higher_is_better?": bool,
    },
    "start": OF_METRICS,
    "control": OF_METRICS,
    "final": OF_METRICS,
    "best?": OF_METRICS,
    "resampled?": OF_METRICS,
    "curve": OF_CURVE,
    "game_curve?": OF_CURVE,
    "table?": {"*": str},
    "sentences?": [str],
    "information_sentence?": str,
    "about?": {"rewards?": [str], "adversary?": (str, bool, type(None))},
    "rewards?": dict,
    "better?": {"*": str},
    "resampling?": (dict, type(None)),
}


def read_results(folder: RunFolder) -> dict[str, Any]:
    """The end of a run, as `save_results` wrote it.

    Raises:
        DataError: the file is damaged, or somebody has edited it.
    """
    results: dict[str, Any] = read_json(folder.results, OF_RESULTS)
    place = str(folder.results)
    if (verdict := results["comparison"]["verdict"]) not in VERDICTS:
        raise DataError(
            f"{place} has the verdict {shown(verdict)}, but must have one of {', '.join(VERDICTS)}"
        )
    for temperature in chain(results["curve"], results.get("game_curve", {})):
        try:
            float(temperature)
        except ValueError as error:
            fault = f"{place} has a curve over {shown(temperature)}, which is no temperature"
            raise DataError(fault) from error
    for key in results.get("table", {}).values():
        check_shape(results.get(key), OF_METRICS, f"{place}: {shown(key)}")
    for name, change in results.get("rewards", {}).items():
        if "about" in results:
            check_shape(change, OF_CHANGE, f"{place}: rewards: {shown(name)}")
            check_shape(change["interval"] or [0.0], [float], f"{place}: rewards: {shown(name)}")
        ends = change["interval"] if isinstance(change, dict) else change
        if ends is not None and (not isinstance(ends, list) or len(ends) != 2):
            raise DataError(f"{place} has {shown(change)}, which are no rewards before and after")
    return results


def save_results(folder: RunFolder, results: dict[str, Any]) -> None:
    write_text(folder.results, json.dumps(results, indent=2, ensure_ascii=False))
