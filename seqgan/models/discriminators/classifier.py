"""A trained discriminator as a sequence classifier of transformers.

transformers has a classifier for each family of models, each with its own head, and hardly any
takes the mean over tokens. So this classifier brings its code: `save_pretrained` copies this file
and `head.py` into the folder, and `from_pretrained(folder, trust_remote_code=True)` runs them
without this package.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from .head import Head, pooled, read_states


class PooledClassifierConfig(PreTrainedConfig):
    """The configuration of the body, of the pooling and of the head.

    Args:
        pooling: the vector of a text: the mean over its tokens, its first or its last token.
        layers: layers whose states are concatenated; empty means the last layer alone.
        head_size: hidden units of the head; 0 makes it linear.
    """

    model_type = "pooled_classifier"

    def __init__(
        self,
        body_config: Any = None,
        pooling: str = "mean",
        layers: Sequence[int] = (),
        head_size: int = 128,
        **settings: Any,
    ) -> None:
        if isinstance(body_config, dict):
            body_config = AutoConfig.for_model(**body_config)
        self.body_config, self.pooling, self.head_size = body_config, pooling, head_size
        self.layers = list(layers)
        super().__init__(**settings)


class PooledClassifier(PreTrainedModel):
    """Computes one logit per text: the log-odds that the text is real."""

    config_class = PooledClassifierConfig
    base_model_prefix = "body"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: PooledClassifierConfig) -> None:
        super().__init__(config)
        self.body = AutoModel.from_config(config.body_config)
        if hasattr(self.body, "pooler"):
            self.body.pooler = None
        width = config.body_config.hidden_size * max(len(config.layers), 1)
        self.head = Head(width, config.head_size)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **inputs: Any,
    ) -> SequenceClassifierOutput:
        """Classifies texts, padded on the right. `labels` are 1 for real texts and 0 for others."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        inputs |= {"input_ids": input_ids, "attention_mask": attention_mask}
        states = read_states(self.body, self.config.layers, inputs)
        logits = self.head(pooled(states, attention_mask, self.config.pooling))
        loss = None
        if labels is not None:
            targets = labels.to(logits.dtype).view(-1, 1)
            loss = nn.functional.binary_cross_entropy_with_logits(logits, targets)
        return SequenceClassifierOutput(loss=loss, logits=logits)


PooledClassifierConfig.register_for_auto_class()
PooledClassifier.register_for_auto_class("AutoModelForSequenceClassification")
