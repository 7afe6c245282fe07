"""Checkpoints of version 0.1.0, in which the trainer's state had no phases."""

from collections.abc import Mapping
from typing import Any


def up_to_date(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a checkpoint in the present layout, whichever version wrote it.

    A state that is not a trainer's, such as that of a single reward, stays as it is.
    """
    if "counters" not in state:
        return dict(state)
    counters = state["counters"]
    rule = {name: state[name] for name in ("optimizer", "kl_weight")}
    if "baseline" in state:
        rule["baseline"] = state["baseline"]
    if "rollout_policy" in state and counters["pretrained"]:  # before, it was the untrained one
        rule["rollout_policy"] = state["rollout_policy"]
    return {
        "rng": state["rng"],
        "tracker": state["tracker"],
        "players": {
            "generator": state["generator"],
            "reference": state["pretrained"],
            "rewards": state["reward"],
            "replay": state.get("replay", {}),
            "position": {
                "iteration": counters["iterations"],
                "global_step": counters["global_step"],
            },
        },
        "phases": {
            "maximum_likelihood": {
                "epochs": counters["pretrain_epochs"],
                "decays": counters["pretrain_decays"],
                "stopped": counters["pretrain_stopped"],
                "finished": counters["pretrained"],
                "best_nll_dev": state["best_nll_dev"],
                "epochs_without_gain": state["epochs_without_gain"],
                "optimizer": state["pretrain_optimizer"],
                "epoch": None,
            },
            "adversary": {"rounds": counters["discriminator_rounds"]},
            "game": {
                "iterations": counters["iterations"],
                "generator_steps": counters["generator_steps"],
                "rule": rule,
            },
        },
        "observers": {
            "samples": {"shown": ["game"] if counters["pretrained"] else []},
            "evaluation": {
                "start": state.get("start_metrics", {}),
                "information": state["information"],
            },
            "alerts": {"titles": state.get("alerted", [])},
            "best": {"loss": state.get("best_loss", float("inf"))},
        },
    }
