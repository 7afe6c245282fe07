"""Features of token ids for Stable-Baselines3, which otherwise treats ids as quantities.

    from seqgan.integrations.sb3 import TokenFeatures
    PPO("MultiInputPolicy", env, policy_kwargs={"features_extractor_class": TokenFeatures})

With `observation="tokens"` the policy is "MlpPolicy". `MaskablePPO` of sb3-contrib works too.
"""

import torch
from gymnasium import spaces
from jaxtyping import Float
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from seqgan.system.errors import ConfigurationError


class TokenFeatures(BaseFeaturesExtractor):
    """Reads the prompt and the tokens so far with an embedding and a GRU.

    Without embeddings, Stable-Baselines3 treats word 7 as slightly more than word 6. A GRU replaces
    the mean of the embeddings, because the order of words matters in most texts. The mean is twice
    as fast, and as good if only the last word matters, but it gives "dog bites man" and "man bites
    dog" the same features.

    The pad id has an embedding of its own and precedes the first token, so that an empty text has
    features too. Padding behind the last token is not read. Masks are not read either:
    `MaskablePPO` asks the environment for the allowed actions.

    Args:
        observation_space: the space of a `TextGenerationEnv`, in either layout.
        features_dim: F, the width of the input of policy and value function.
        embedding_size: E, the width of a token's embedding.

    Raises:
        ConfigurationError: the space is not that of a `TextGenerationEnv`.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        features_dim: int = 64,
        embedding_size: int = 32,
    ) -> None:
        super().__init__(observation_space, features_dim)
        members = (
            observation_space.spaces
            if isinstance(observation_space, spaces.Dict)
            else {"tokens": observation_space}
        )
        tokens = members.get("tokens")
        if not isinstance(tokens, spaces.Box) or len(tokens.shape) != 1:
            raise ConfigurationError(
                f"TokenFeatures reads observations of TextGenerationEnv, got {observation_space}"
            )
        self.pad_id = int(tokens.high[0])
        self.has_prompt = "prompt" in members
        self.embedding = nn.Embedding(self.pad_id + 1, embedding_size)
        self.gru = nn.GRU(embedding_size, features_dim, batch_first=True)
        self.project = nn.Sequential(nn.Linear(features_dim + 1, features_dim), nn.ReLU())

    def forward(
        self, observations: dict[str, Tensor] | Float[Tensor, "batch length"]
    ) -> Float[Tensor, "batch features"]:
        """Computes features of observations, which Stable-Baselines3 has converted to floats."""
        members = observations if isinstance(observations, dict) else {"tokens": observations}
        tokens = members["tokens"].long()
        start = torch.full_like(tokens[:, :1], self.pad_id)
        prompt = [members["prompt"].long()] if self.has_prompt else []
        before = torch.cat([start, *prompt], dim=1)
        lengths = (tokens != self.pad_id).sum(dim=1)
        states, _ = self.gru(self.embedding(torch.cat([before, tokens], dim=1)))
        rows = torch.arange(len(tokens), device=tokens.device)
        last_states = states[rows, before.shape[1] - 1 + lengths]
        # The value function needs the remaining length, and a GRU counts badly.
        share = lengths[:, None] / tokens.shape[1]
        return self.project(torch.cat([last_states, share], dim=1))
