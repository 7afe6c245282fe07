"""Causal language models of transformers as generators."""

import pretrained_models
import pytest
import test_generators
import torch

from seqgan.generators.pretrained import PretrainedGenerator, PretrainedGeneratorConfig
from seqgan.seeding import seeded_from
from seqgan.vocabulary import Vocabulary

pytestmark = pytest.mark.integration

WORDS = test_generators.VOCABULARY.words


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.mark.parametrize("adapter", ["none", "lora"])
@pytest.mark.parametrize("model", ["gpt2", "llama", "mistral", "gemma2", "bloom"])
class TestPretrainedGenerator(test_generators.GeneratorConformance):
    @pytest.fixture(autouse=True)
    def configured(self, model, adapter, folder):
        self.model, self.adapter, self.folder = model, adapter, folder

    def make(self, vocabulary, dropout):
        path = pretrained_models.saved(self.folder, self.model, WORDS, dropout=dropout)
        config = PretrainedGeneratorConfig(
            path=path, adapter=self.adapter, lora_rank=2, lora_alpha=2.0
        )
        generator = PretrainedGenerator(config, vocabulary)
        for parameter in generator.parameters():
            if parameter.requires_grad and self.adapter == "lora":
                torch.nn.init.normal_(parameter, std=0.5)  # a fresh one changes nothing
        return generator

    def test_bos_starts_every_sequence(self):
        """With the same weights, another bos gives another first distribution."""
        first = []
        for bos_word in (0, 1):
            vocabulary = Vocabulary(("a", "b", "c"), bos_word=bos_word)
            with seeded_from(test_generators.seeded()):
                generator = self.make(vocabulary, dropout=0.0).eval()
            logits, state = generator.start(2)
            assert logits.shape == (2, 4)
            again, _ = generator.step(torch.tensor([bos_word, 1 - bos_word]), state)
            assert not torch.allclose(again[0], again[1], atol=1e-4)
            first.append(logits[0])
        assert not torch.allclose(first[0], first[1], atol=1e-4)
