"""Tasks cut by a pretrained tokenizer, chat templates, and data sets of Hugging Face."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from seqgan.commands.given import configuration
from seqgan.data.model_folders import context_window, load_tokenizer
from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary, subword_vocabulary
from seqgan.learning.collection import make_task_env
from seqgan.models.generators.pretrained import PretrainedGeneratorConfig
from seqgan.rewards.adapters.functions import as_reward
from seqgan.system.errors import ModelFolderError
from seqgan.tasks.base import FixedTask, has_texts
from seqgan.tasks.files.prompts import PromptsConfig, encode_prompts, prompts_task
from seqgan.tasks.files.subwords import Subwords
from seqgan.tasks.files.text import TextConfig, text_task
from seqgan.tasks.files.text_files import TextFileError
from seqgan.training import showing
from seqgan.training.settings import TrainConfig

pytestmark = pytest.mark.integration

EOS, BOS, USER, END = "<|end|>", "<|begin|>", "<|user|>", "<|stop|>"
TEMPLATE = (
    f"{BOS}{{% for m in messages %}}{{% if m['role'] == 'system' %}}"
    "{{ raise_exception('no system') }}{% endif %}"
    f"{USER}{{{{ m['content'] }}}}{END}{{% endfor %}}"
)
# As those of chat models: each turn with its role, several turns, the answer opened.
CHAT = (
    f"{{% for m in messages %}}{USER}{{{{ m['role'] + ': ' + m['content'] }}}}{END}{{% endfor %}}"
    f"{{% if add_generation_prompt %}}{USER}assistant:{{% endif %}}"
)
OPENED = {"tokenize": False, "add_generation_prompt": True}
RECORDS = [
    {"prompt": f"The {animal} is", "continuation": f" {size} today.", "animal": animal}
    for animal in ("cat", "dog", "horse", "bird")
    for size in ("small", "large")
]


def make_tokenizer(folder: Path, **settings: Any) -> str:
    """A byte-level BPE of 320 tokens with four special ones, and a GPT-2's configuration."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, PreTrainedTokenizerFast

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    texts = [record["prompt"] + record["continuation"] for record in RECORDS]
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=[EOS, BOS, USER, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator(texts, trainer)
    arguments = {"eos_token": EOS, "bos_token": BOS, "additional_special_tokens": [USER, END]}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained, **{**arguments, **settings})
    tokenizer.save_pretrained(folder)
    GPT2Config(n_layer=1, n_embd=8, n_head=1, n_positions=32).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_tokenizer(tmp_path_factory.mktemp("model"), chat_template=TEMPLATE)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, RECORDS)), encoding="utf-8")
    return path


def config_of(data: Path | str, place: str, **settings: Any) -> PromptsConfig:
    small = {"max_length": 12, "dev_fraction": 0.25, "test_fraction": 0.25}
    return PromptsConfig(path=str(data), tokenizer=place, **{**small, **settings})  # type: ignore[arg-type]


def everything(task: FixedTask) -> list[Sequences]:
    return [next(task.chunks(split, 100)) for split in ("train", "dev", "test")]


def tokens_of(ids: Sequence[int], vocabulary: Vocabulary) -> list[str]:
    """The tokenizer's tokens of a row of our ids."""
    assert vocabulary.eos_id is not None
    named = {vocabulary.eos_id: EOS, vocabulary.bos_id: BOS}
    named |= {index: token for token, index in vocabulary.special_ids.items()}
    return [named.get(index) or vocabulary.words[index] for index in ids]


def test_rows_are_what_the_tokenizer_says(place: str, data: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(place)
    task = prompts_task(config_of(data, place))
    found = 0
    for rows in everything(task):
        assert rows.prompts is not None
        assert rows.prompt_mask is not None
        texts = zip(rows.prompt_texts, rows.texts, strict=True)
        for row, (prompt, text) in enumerate(texts):
            ids = rows.prompts[row][rows.prompt_mask[row]].tolist()
            assert tokens_of(ids, task.vocabulary) == tokenizer.tokenize(prompt)
            ids = rows.tokens[row][rows.mask[row]].tolist()
            assert tokens_of(ids, task.vocabulary) == [*tokenizer.tokenize(text), EOS]
            assert {"prompt": prompt, "continuation": text} in [
                {name: record[name] for name in ("prompt", "continuation")} for record in RECORDS
            ]
            found += 1
    assert found == 8
    assert "subwords" in task.description
    assert "begins with a space" not in task.description


def test_a_missing_space_is_pointed_out(place: str, tmp_path: Path) -> None:
    path = tmp_path / "bare.jsonl"
    bare = [{**record, "continuation": record["continuation"].strip()} for record in RECORDS]
    path.write_text("\n".join(map(json.dumps, bare)), encoding="utf-8")
    assert "no continuation begins with a space" in prompts_task(config_of(path, place)).description


def test_a_chat_template_surrounds_the_prompt(place: str, data: Path) -> None:
    """Its special tokens become ids of their own; bos and eos are the vocabulary's."""
    config = config_of(data, place, chat_template=True)
    task = prompts_task(config)
    train = everything(task)[0]
    assert train.prompts is not None
    assert train.prompt_mask is not None
    ids = train.prompts[0][train.prompt_mask[0]].tolist()
    tokens = tokens_of(ids, task.vocabulary)
    assert tokens[:2] == [BOS, USER]
    assert tokens[-1] == END
    assert task.vocabulary.decode_prompt(ids) == train.prompt_texts[0]
    own = encode_prompts([train.prompt_texts[0], "A cow"], config, task.vocabulary)
    assert own.prompts is not None
    assert own.prompt_mask is not None
    assert own.prompts[0][own.prompt_mask[0]].tolist() == ids
    assert ids[0] == task.vocabulary.bos_id
    assert ids[1] == task.vocabulary.special_ids[USER]


@pytest.mark.parametrize("with_answer", [True, False])
def test_messages_are_what_the_tokenizer_s_chat_template_makes_of_them(
    with_answer: bool, tmp_path: Path
) -> None:
    """Several turns, the opening of the answer behind them; the last answer is the continuation."""
    from transformers import AutoTokenizer

    place = make_tokenizer(tmp_path / "model", chat_template=CHAT)
    chats = [
        [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": f"Is the {record['animal']} small?"},
            {"role": "assistant", "content": "Yes."},
            {"role": "user", "content": f"Why{mark}"},
            {"role": "assistant", "content": record["continuation"]},
        ]
        for record in RECORDS
        for mark in "?!"
    ]
    asked = {json.dumps(chat[:-1]): chat for chat in chats}
    shown = chats if with_answer else [chat[:-1] for chat in chats]
    data = tmp_path / "chat.jsonl"
    data.write_text("\n".join(json.dumps({"messages": chat}) for chat in shown), encoding="utf-8")
    flags = ["--model", place, "--max-length", "12", "--task.max-prompt-length", "200"]
    config = configuration([str(data), *flags]).task
    assert config.chat_template
    task = prompts_task(replace(config, tokenizer=place))
    tokenizer = AutoTokenizer.from_pretrained(place)
    expected = {
        tuple(tokenizer.tokenize(tokenizer.apply_chat_template(chat[:-1], **OPENED))): chat
        for chat in asked.values()
    }
    found = []
    for rows in everything(task):
        assert rows.prompts is not None
        assert rows.prompt_mask is not None
        for row, text in enumerate(rows.texts):
            ids = rows.prompts[row][rows.prompt_mask[row]].tolist()
            chat = expected[tuple(tokens_of(ids, task.vocabulary))]
            assert not with_answer or text.split()[-1] == "today."
            found.append(json.dumps(chat[:-1]))
    assert {*found} == {*asked}
    assert has_texts(task) == with_answer


def test_lines_are_prompts_alone(place: str, tmp_path: Path) -> None:
    data = tmp_path / "asked.txt"
    data.write_text("The cat is\n\nThe dog is\nThe cow is\n", encoding="utf-8")
    task = prompts_task(config_of(data, place, continuation_column=""))
    assert not has_texts(task)
    rows = everything(task)
    assert {text for part in rows for text in part.prompt_texts} == {
        "The cat is",
        "The dog is",
        "The cow is",
    }
    assert task.description.startswith("asked.txt: 3 records, prompts alone; 3 distinct prompts")


def test_prompts_alone_keep_their_other_columns(place: str, data: Path) -> None:
    task = prompts_task(config_of(data, place, continuation_column=""))
    rows = everything(task)[0]
    assert set(rows.columns) == {"animal", "continuation"}
    pairs = zip(rows.prompt_texts, rows.columns["animal"], strict=True)
    assert all(animal in prompt for prompt, animal in pairs)


def test_prompts_alone_end_before_the_answer(place: str, tmp_path: Path) -> None:
    data = tmp_path / "chat.jsonl"
    said = [{"role": role, "content": "a"} for role in ("user", "assistant")]
    data.write_text(json.dumps({"messages": said}), encoding="utf-8")
    columns = {"prompt_column": "messages", "continuation_column": ""}
    with pytest.raises(TextFileError, match="the last message in 'messages' is the assistant's"):
        prompts_task(config_of(data, place, chat_template=True, **columns))


def test_prompts_alone_teach_no_words(data: Path) -> None:
    with pytest.raises(TextFileError, match="a pretrained one has its own: --model FOLDER"):
        prompts_task(PromptsConfig(path=str(data), continuation_column=""))


def test_eos_in_a_prompt_is_the_vocabulary_s(tmp_path: Path, data: Path) -> None:
    """Where the tokenizer has one token for both ends, it is eos."""
    place = make_tokenizer(
        tmp_path / "model", bos_token=EOS, chat_template="{{ messages[0]['content'] }}<|end|>"
    )
    vocabulary = subword_vocabulary(place)
    (ids,) = Subwords(vocabulary).prompts(["a"], chat_template=True)
    assert ids[-1] == vocabulary.eos_id
    assert BOS in vocabulary.words + vocabulary.specials


def test_what_is_spelt_like_a_special_token_is_text(place: str) -> None:
    vocabulary = subword_vocabulary(place)
    (ids,) = Subwords(vocabulary).texts([f"so {EOS} what"])
    assert int(ids.max()) < len(vocabulary.words)
    assert vocabulary.decode(ids.tolist()) == f"so {EOS} what"


def test_no_chat_template_is_one_line(tmp_path: Path, data: Path) -> None:
    place = make_tokenizer(tmp_path / "model")
    with pytest.raises(
        ModelFolderError, match=r"has no chat template, which --task.chat-template asks for"
    ):
        prompts_task(config_of(data, place, chat_template=True))


def test_no_eos_is_one_line(tmp_path: Path, data: Path) -> None:
    place = make_tokenizer(tmp_path / "model", eos_token=None)
    with pytest.raises(ModelFolderError, match="has no end-of-text token"):
        prompts_task(config_of(data, place))


def test_the_environment_shows_prompt_and_continuation_as_text(place: str, data: Path) -> None:
    task = prompts_task(config_of(data, place))
    env = make_task_env(task, as_reward(lambda text: float(len(text)), name="length"), 2)
    env.render_mode = "ansi"
    rows = task.rows("train", torch.tensor([1, 0]))
    env.reset(options={"prompt_index": [1, 0]})
    infos: dict[str, Any] = {}
    shown: tuple[str, ...] | None = None
    for step in range(int(rows.lengths.max())):
        *_, infos = env.step(rows.tokens[:, step].clamp(max=task.vocabulary.eos_id).numpy())
        shown = env.render()
    assert shown == tuple(
        prompt + text for prompt, text in zip(rows.prompt_texts, rows.texts, strict=True)
    )
    ended = rows.lengths == rows.lengths.max()
    said = [text for text, known in zip(infos["text"], infos["_text"], strict=True) if known]
    assert said == [text for text, last in zip(rows.texts, ended.tolist(), strict=True) if last]


def test_a_prompt_beyond_the_models_window_is_named_by_its_line(place: str, tmp_path: Path) -> None:
    assert context_window(place) == 32
    path = tmp_path / "data.jsonl"
    records = [*RECORDS, {"prompt": "The cat is " * 9, "continuation": " small"}]
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    rule = (
        r"data.jsonl, line 9: .* \d+ tokens of the prompt and --task.max-length 12 .*"
        r" context window of 32 tokens"
    )
    with pytest.raises(TextFileError, match=rule):
        prompts_task(config_of(path, place), context_window(place))


def test_a_continuation_that_leaves_no_room_for_a_prompt(place: str, data: Path) -> None:
    config = replace(config_of(data, place), max_length=32)
    with pytest.raises(
        TextFileError,
        match="is 32, which leaves no room for a prompt",
    ):
        prompts_task(config, context_window(place))


def test_shown_tokens_add_up_to_their_text(place: str) -> None:
    """Whatever a token adds, and a character of several bytes with the last of them."""
    vocabulary = subword_vocabulary(place)
    pieces = load_tokenizer(place)("The cat né \N{FOX FACE} is", add_special_tokens=False).tokens()
    row = [*vocabulary.encode(pieces), vocabulary.eos_id]
    [shown] = showing.token_texts(Sequences.from_rows([row], vocabulary, len(row)))
    assert len(shown) == len(row)
    assert shown[-1] == showing.EOS
    assert "".join(shown[:-1]) == vocabulary.decode(row) == "The cat né \N{FOX FACE} is"
    assert "" in shown


def test_texts_of_a_file_as_subwords(place: str, tmp_path: Path) -> None:
    """From memory, and from a cache that another tokenizer does not share."""
    texts = [record["prompt"] + record["continuation"] for record in RECORDS]
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(["", *texts, "The cat is small and " * 9]), encoding="utf-8")
    config = TextConfig(
        path=str(path), tokenizer=place, max_length=16, cache=str(tmp_path / "cache")
    )
    task = text_task(config)
    assert sorted(text for rows in everything(task) for text in rows.texts) == sorted(texts)
    assert task.vocabulary == subword_vocabulary(place)
    assert "8 texts (8 distinct), 1 blank and 1 too long" in task.description
    assert "subwords, 0.0% of test tokens unknown" in task.description
    for rows in everything(task):
        assert (rows.tokens == task.vocabulary.eos_id).sum(dim=1).tolist() == [1] * len(rows)


def test_the_cache_of_a_large_file_is_the_tokenizers(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqgan.tasks.files.text.CACHE_FROM", 0)
    path = tmp_path / "texts.txt"
    texts = [record["prompt"] + record["continuation"] for record in RECORDS]
    path.write_text("\n".join(texts), encoding="utf-8")
    config = TextConfig(
        path=str(path), tokenizer=place, max_length=60, min_count=1, cache=str(tmp_path / "cache")
    )
    first, again = (everything(text_task(config))[0].tokens for _ in range(2))
    assert torch.equal(first, again)
    folders = [entry for entry in (tmp_path / "cache").iterdir() if entry.is_dir()]
    assert len(folders) == 1
    words = text_task(replace(config, tokenizer=""))
    assert words.vocabulary.level == "word"
    copied = make_tokenizer(tmp_path / "same", chat_template=TEMPLATE)
    text_task(replace(config, tokenizer=copied))
    folders = [entry for entry in (tmp_path / "cache").iterdir() if entry.is_dir()]
    assert len(folders) == 2  # words, and subwords wherever their tokenizer lies


@pytest.mark.parametrize("kind", ["text", "prompts"])
def test_a_pretrained_generators_tokenizer_is_the_tasks(place: str, data: Path, kind: str) -> None:
    config = TrainConfig(task=config_of(data, "", max_length=14))
    if kind == "text":
        config = TrainConfig(task=TextConfig(path=str(data), column="prompt"))
    config = replace(config, generator=PretrainedGeneratorConfig(path=place))
    assert config.task.build(config.generator).vocabulary == subword_vocabulary(place)
    if kind == "prompts":
        long = replace(config.task, max_length=30)  # type: ignore[arg-type]
        config = replace(config, task=long)
        with pytest.raises(TextFileError, match=r"line 1: .* window of 32 tokens"):
            config.task.build(config.generator)


def test_data_sets_are_read_as_files_are(tmp_path: Path, data: Path, place: str) -> None:
    from datasets import Dataset, DatasetDict, disable_progress_bars

    disable_progress_bars()
    plain = prompts_task(config_of(data, place))
    whole = Dataset.from_list(RECORDS)
    whole.save_to_disk(tmp_path / "one")
    DatasetDict(train=whole, test=whole.select([0])).save_to_disk(tmp_path / "several")
    DatasetDict(test=whole).save_to_disk(tmp_path / "other")
    for name in ("one", "several"):
        task = prompts_task(config_of(tmp_path / name, place))
        for rows, others in zip(everything(task), everything(plain), strict=True):
            assert rows.texts == others.texts
            assert rows.prompt_texts == others.prompt_texts
            assert rows.columns == others.columns
    with pytest.raises(TextFileError, match="other has no split train, but test"):
        prompts_task(config_of(tmp_path / "other", place))
    with pytest.raises(
        TextFileError, match=r"one, row 1 has no column 'question'; --task.prompt-column is one of"
    ):
        prompts_task(config_of(tmp_path / "one", place, prompt_column="question"))


def test_a_folder_or_a_hub_name_without_data_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    for path in (str(tmp_path), "nobody/nothing-of-the-kind:train"):
        with pytest.raises(TextFileError, match="as a data set on the disk or on a hub") as caught:
            prompts_task(PromptsConfig(path=path))
        assert "\n" not in str(caught.value)
