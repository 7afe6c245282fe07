"""Worlds small enough to enumerate: three words, four steps, every sequence and its probability."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seqgan.data.sequences import Sequences, Trajectories
from seqgan.data.vocabulary import Vocabulary
from seqgan.models.generators.base import Generator, State

# Tensors this small gain nothing from threads, and lose much to them on a busy machine.
torch.set_num_threads(1)

WORDS = ("a", "b", "c")
MAX_LENGTH = 4
FIXED = Vocabulary(WORDS, has_eos=False, bos_word=0)  # pad 3; 81 sequences
ENDING = Vocabulary(WORDS)  # eos 3, bos 4, pad 5; 121 sequences of 1 to 4 tokens


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def every_sequence(vocabulary: Vocabulary, max_length: int = MAX_LENGTH) -> Sequences:
    """All finished sequences: those that end with eos, and those of full length."""
    finished: list[list[int]] = []
    going: list[list[int]] = [[]]
    for _ in range(max_length):
        longer = [[*row, token] for row in going for token in range(vocabulary.num_actions)]
        finished += [row for row in longer if row[-1] == vocabulary.eos_id]
        going = [row for row in longer if row[-1] != vocabulary.eos_id]
    return Sequences.from_rows(finished + going, vocabulary, max_length)


def prefix_codes(sequences: Sequences, num_actions: int) -> Int[Tensor, "batch length"]:
    """Numbers each prefix of 0 to `time` tokens; different prefixes have different numbers.

    They are the nodes of a tree in breadth-first order: 0 is the empty prefix, and the children
    of node n are num_actions n + 1, num_actions n + 2, ... Padding adds nothing.
    """
    codes = [torch.zeros_like(sequences.tokens[:, 0])]
    for tokens, mask in zip(
        sequences.tokens.unbind(dim=1), sequences.mask.unbind(dim=1), strict=True
    ):
        codes.append(torch.where(mask, codes[-1] * num_actions + tokens + 1, codes[-1]))
    return torch.stack(codes, dim=1)


def num_prefixes(num_actions: int, max_length: int = MAX_LENGTH) -> int:
    return sum(num_actions**length for length in range(max_length + 1))


@dataclass(frozen=True)
class TableState:
    codes: Int[Tensor, " batch"]

    def select(self, rows: Int[Tensor, " rows"]) -> "TableState":
        return TableState(self.codes[rows])


@dataclass(frozen=True)
class TablePrefixStates:
    logits: Float[Tensor, "code vocab"]
    codes: Int[Tensor, "batch length"]

    def gather(
        self, rows: Int[Tensor, " prefixes"], lengths: Int[Tensor, " prefixes"]
    ) -> tuple[Float[Tensor, "prefixes vocab"], TableState]:
        state = TableState(self.codes[rows, lengths])
        return self.logits[state.codes], state


class TableGenerator(Generator):
    """A generator of any distribution: one row of logits, in double precision, per prefix."""

    def __init__(self, vocabulary: Vocabulary, seed: int = 0, max_length: int = MAX_LENGTH) -> None:
        super().__init__()
        self.num_actions = vocabulary.num_actions
        size = (num_prefixes(self.num_actions, max_length), self.num_actions)
        self.logits = nn.Parameter(torch.randn(size, generator=seeded(seed), dtype=torch.double))

    def forward(self, sequences: Sequences) -> Float[Tensor, "batch time vocab"]:
        return self.logits[prefix_codes(sequences, self.num_actions)[:, :-1]]

    def start(
        self, batch_size: int, prompts: Sequences | None = None
    ) -> tuple[Float[Tensor, "batch vocab"], TableState]:
        state = TableState(torch.zeros(batch_size, dtype=torch.long))
        return self.logits[state.codes], state

    def step(
        self, tokens: Int[Tensor, " batch"], state: State
    ) -> tuple[Float[Tensor, "batch vocab"], TableState]:
        assert isinstance(state, TableState)
        advanced = TableState(state.codes * self.num_actions + tokens + 1)
        return self.logits[advanced.codes], advanced

    def encode(self, sequences: Sequences) -> TablePrefixStates:
        return TablePrefixStates(self.logits, prefix_codes(sequences, self.num_actions))

    def always(self, token: int) -> "TableGenerator":
        """The same generator with one token made certain everywhere."""
        with torch.no_grad():
            self.logits.fill_(-torch.inf)[:, token] = 0.0
        return self


class TableReward:
    """An arbitrary number per prefix: the finished sequence's is the reward.

    With `per_token`, those of all its prefixes add up to it.
    """

    name = "table"

    def __init__(self, num_actions: int, per_token: bool = False, seed: int = 9) -> None:
        self.num_actions = num_actions
        self.per_token = per_token
        self.values = torch.randn(num_prefixes(num_actions), generator=seeded(seed))
        self.num_scored = 0

    def score(self, sequences: Sequences) -> Float[Tensor, " *shape"]:
        self.num_scored += len(sequences)
        values = self.values[prefix_codes(sequences, self.num_actions)[:, 1:]]
        return torch.where(sequences.mask, values, 0.0) if self.per_token else values[:, -1]

    def returns(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        """The reward of each row, by token or not."""
        scores = self.score(sequences)
        return scores.sum(dim=1) if self.per_token else scores


def token_log_softmax(generator: Generator, sequences: Sequences) -> Float[Tensor, "batch time"]:
    """log pi(y_t | y_<t) in double precision, differentiable; 0 on padding."""
    log_probs = generator(sequences).double().log_softmax(dim=-1)
    tokens = torch.where(sequences.mask, sequences.tokens, 0)
    return log_probs.gather(2, tokens[:, :, None])[:, :, 0] * sequences.mask


def probabilities(generator: Generator, sequences: Sequences) -> Float[Tensor, " batch"]:
    """pi(sequence) of each row, differentiable."""
    return token_log_softmax(generator, sequences).sum(dim=1).exp()


def same_prefix(some: Sequences, others: Sequences) -> Bool[Tensor, "some others time"]:
    """True if two rows agree on tokens 0 to t, padding included."""
    equal = some.tokens[:, None, :] == others.tokens[None, :, :]
    return equal.long().cumprod(dim=2).bool()


def exact_action_values(
    generator: Generator,
    sequences: Sequences,
    everything: Sequences,
    rewards: Float[Tensor, " everything"],
) -> Float[Tensor, "batch time"]:
    """E[R | Y_1:t] of every prefix in `sequences`, by summing over all sequences."""
    weights = same_prefix(sequences, everything) * probabilities(generator, everything)[:, None]
    weights = weights.detach()
    return (weights * rewards.double()[:, None]).sum(dim=1) / weights.sum(dim=1)


def as_trajectories(
    generator: Generator, sequences: Sequences, rewards: Float[Tensor, " batch"]
) -> Trajectories:
    """Builds the trajectories of a collection of these sequences, with the reward at the end."""
    steps = torch.arange(sequences.tokens.shape[1])
    last = steps[None, :] == sequences.lengths[:, None] - 1
    log_probs = token_log_softmax(generator, sequences).detach().float()
    return Trajectories(sequences, log_probs, torch.where(last, rewards[:, None].float(), 0.0))
