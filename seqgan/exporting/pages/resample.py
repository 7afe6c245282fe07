"""Draws texts from `generator`, resampled by `discriminator`; both lie beside this file.

    python resample.py --n 20
    python resample.py --n 3 --prompt "how a text begins"

Needs torch and transformers alone. Of `--of` proposals for each text the ones that are kept are
drawn in proportion to exp(logit / beta): the discriminator's logit, log D/(1-D), within +-clip. As
the proposals become many, the texts are those of generator(x) exp(logit(x) / beta) / Z.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

HERE = Path(__file__).parent
AT_ONCE = 64  # texts that are drawn, or judged, together


class Resampler:
    """The pair of generator and discriminator.

    Args:
        folder: has `generator`, `discriminator` and `recipe.json`.
    """

    def __init__(self, folder: Path = HERE) -> None:
        self.recipe = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
        drawn, judged = folder / "generator", folder / "discriminator"
        self.generator = AutoModelForCausalLM.from_pretrained(drawn, trust_remote_code=True).eval()
        self.writes = AutoTokenizer.from_pretrained(drawn, trust_remote_code=True)
        self.discriminator = AutoModelForSequenceClassification.from_pretrained(
            judged, trust_remote_code=True
        ).eval()
        self.reads = AutoTokenizer.from_pretrained(judged, trust_remote_code=True)

    @torch.no_grad()
    def propose(self, n: int, prompt: str = "") -> list[str]:
        """Texts of the generator alone; of a prompt, what follows it."""
        if self.recipe["chat"]:
            begin = self.writes.apply_chat_template(
                [{"role": "user", "content": prompt}],
                add_generation_prompt=True,
                return_dict=True,
                return_tensors="pt",
            )
        else:
            begin = self.writes(prompt or self.recipe["start"], return_tensors="pt")
        names = [name for name in ("input_ids", "attention_mask") if name in begin]
        texts: list[str] = []
        while len(texts) < n:
            rows = min(AT_ONCE, n - len(texts))
            given = {name: begin[name].repeat(rows, 1) for name in names}
            ids = self.generator.generate(**given)[:, begin["input_ids"].shape[1] :]
            texts += self.writes.batch_decode(ids, skip_special_tokens=True)
        return texts if self.recipe["prompted"] else [text.strip() for text in texts]

    @torch.no_grad()
    def logits(self, texts: list[str], prompt: str = "") -> torch.Tensor:
        """log D/(1-D) of each text."""
        found = []
        for first in range(0, len(texts), AT_ONCE):
            some = texts[first : first + AT_ONCE]
            pair = ([prompt] * len(some), some) if self.recipe["prompted"] else (some,)
            read = self.reads(*pair, padding=True, truncation=True, return_tensors="pt")
            found.append(self.discriminator(**read).logits[:, 0])
        return torch.cat(found)

    def draw(self, n: int, of: int = 4, prompt: str = "") -> tuple[list[str], float]:
        """Draws n texts of n x of proposals.

        Returns:
            The texts, and the share of the proposals that count: 1 / (m sum of squared weights).
        """
        texts = self.propose(max(n * of, 64), prompt)
        clip, beta = self.recipe["clip"], self.recipe["beta"]
        weights = (self.logits(texts, prompt).double().clamp(-clip, clip) / beta).softmax(dim=0)
        # Systematic resampling: text i is drawn floor(n w_i) or ceil(n w_i) times.
        places = (torch.rand(1, dtype=torch.double) + torch.arange(n)) / n
        rows = torch.searchsorted(weights.cumsum(0), places).clamp(max=len(texts) - 1)
        share = 1 / (len(texts) * float(weights.square().sum()))
        return [texts[row] for row in rows[torch.randperm(n)].tolist()], share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=10, help="texts (10)")
    parser.add_argument("--of", type=int, default=4, help="proposals for each text (4)")
    parser.add_argument("--prompt", default="", help="what the texts go on from")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    texts, share = Resampler().draw(options.n, options.of, options.prompt)
    print("\n".join(texts))
    print(f"effective share of the proposals: {share:.1%}", file=sys.stderr)


if __name__ == "__main__":
    main()
