"""Text generation as a Gymnasium environment, single and vectorised; NumPy and Gymnasium only.

Importing this package registers `seqgan/TextGeneration-v0` and, for agents that read one flat
vector, `seqgan/TextGenerationOneHot-v0`:

    gymnasium.make("seqgan_envs:seqgan/TextGeneration-v0")
    gymnasium.make_vec("seqgan_envs:seqgan/TextGeneration-v0", num_envs=4)
"""

from gymnasium.envs.registration import register

from seqgan_envs.conformance import check
from seqgan_envs.rewards import Judgement, Reward
from seqgan_envs.rules import ActionMask
from seqgan_envs.text_generation import TextGenerationEnv
from seqgan_envs.vector import TextGenerationVectorEnv

__all__ = [
    "ActionMask",
    "Judgement",
    "Reward",
    "TextGenerationEnv",
    "TextGenerationVectorEnv",
    "check",
]

# Strings, not classes: only then can a spec be written as JSON.
for _name, _arguments in (("", {}), ("OneHot", {"observation": "one_hot"})):
    register(
        id=f"seqgan/TextGeneration{_name}-v0",
        entry_point="seqgan_envs.text_generation:TextGenerationEnv",
        vector_entry_point="seqgan_envs.vector:TextGenerationVectorEnv",
        kwargs=_arguments,
    )
