"""Turns a task's vocabulary into a transformers tokenizer, for exported scratch models."""

import copy
from typing import Any

from seqgan.data.model_folders import load_tokenizer, package
from seqgan.data.vocabulary import Vocabulary
from seqgan.data.words import (
    INVISIBLE,
    portable_final_sigma,
    portable_pattern,
    portable_spaces,
    split_words,
)
from seqgan.system.errors import ModelFolderError

BOS, EOS, PAD, UNKNOWN = "<s>", "</s>", "<pad>", "<unk>"


def exported_tokenizer(
    vocabulary: Vocabulary, lowercase: bool, prompted: bool, spaces: bool = True
) -> Any:
    """Makes a tokenizer that cuts texts as the task did.

    For words and characters, its ids are the vocabulary's. Subwords have their own tokenizer, or a
    copy of it. bos precedes a text that the generator continues, and follows a prompt that the
    generator answers. A text that is spelt like a special token is a text like any other.

    Args:
        lowercase: True if the task made texts lower case.
        spaces: at character level, whether white space counted as characters.
        prompted: True if the generator was trained with prompts.

    Raises:
        ModelFolderError: the extra is not installed, a word is spelled like a special token, or a
            subword tokenizer cannot put bos into its place.
    """
    transformers, tokenizers = package("transformers"), package("tokenizers")
    if vocabulary.level == "subword":
        return _with_bos(load_tokenizer(vocabulary.tokenizer), prompted, tokenizers)
    ids: dict[str, int | None] = {word: index for index, word in enumerate(vocabulary.words)}
    special = {"pad_token": PAD}
    if vocabulary.eos_id is not None:
        special["eos_token"] = EOS
    bos = vocabulary.words[vocabulary.bos_id] if vocabulary.bos_word is not None else BOS
    if vocabulary.bos_word is None:
        special["bos_token"] = BOS
    special_ids = {EOS: vocabulary.eos_id, BOS: vocabulary.bos_id, PAD: vocabulary.pad_id}
    special_ids |= vocabulary.special_ids
    for token in (*special.values(), *vocabulary.specials):
        if token in ids:
            raise ModelFolderError(
                f"{token!r} is a word of the run, but stands for something else in an export"
            )
        ids[token] = special_ids[token]
    unknown = vocabulary.unk_word
    # In a vocabulary without an unknown word, "<unk>" has no id, so new words are an error.
    model = tokenizers.models.WordLevel(ids, unk_token=unknown or UNKNOWN)
    tokenizer = tokenizers.Tokenizer(model)
    normalizers, tokenizer.pre_tokenizer = _cutter(vocabulary, lowercase, spaces, tokenizers)
    tokenizer.normalizer = tokenizers.normalizers.Sequence(normalizers)
    decoders = tokenizers.decoders
    # A pipeline decodes a completion without its prompt, so each word brings its own space.
    space = (
        [] if vocabulary.level == "character" else [decoders.Replace(tokenizers.Regex("^"), " ")]
    )
    tokenizer.decoder = decoders.Sequence([*space, decoders.Fuse()])
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"$A {bos}" if prompted else f"{bos} $A", special_tokens=[(bos, ids[bos])]
    )
    if unknown is not None:
        special["unk_token"] = unknown
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        extra_special_tokens=list(vocabulary.specials),
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
        padding_side="left",
        **special,
    )


def _with_bos(tokenizer: Any, prompted: bool, tokenizers: Any) -> Any:
    """Makes a subword tokenizer put bos where the generator expects it; eos stands in for bos.

    The tokenizer's own special tokens around a text stay, because training had them around prompts.
    """
    bos = tokenizer.bos_token or tokenizer.eos_token
    index = tokenizer.convert_tokens_to_ids(bos)
    if not prompted and list(tokenizer("").input_ids) == [index]:
        return tokenizer
    if not tokenizer.is_fast:
        raise ModelFolderError(
            f"the tokenizer of subwords is a {type(tokenizer).__name__}, but must be a fast"
            " one to be exported"
        )
    pieces = [bos, "$A"]
    if prompted:
        plain = tokenizer("a", add_special_tokens=False).input_ids
        whole = tokenizer("a").input_ids
        first = next(  # index of the text's first token, behind the tokenizer's special tokens
            start for start in range(len(whole)) if whole[start : start + len(plain)] == plain
        )
        tokens = tokenizer.convert_ids_to_tokens(whole)
        pieces = [*tokens[:first], "$A", *tokens[first + len(plain) :], bos]
    special = {token: tokenizer.convert_tokens_to_ids(token) for token in pieces if token != "$A"}
    tokenizer = copy.deepcopy(tokenizer)  # other code uses the original
    tokenizer.backend_tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single=pieces, special_tokens=list(special.items())
    )
    return tokenizer


def _cutter(
    vocabulary: Vocabulary, lowercase: bool, spaces: bool, tokenizers: Any
) -> tuple[list[Any], Any]:
    """The normalizers of a text, and the pre-tokenizer that cuts it into words or characters.

    They do what `seqgan.data.words` does. The words of a task that reads no texts may be others
    than those; white space cuts them.
    """
    normalizers, split = tokenizers.normalizers, tokenizers.pre_tokenizers.Split

    def replaced(pattern: str, by: str) -> Any:
        return normalizers.Replace(tokenizers.Regex(pattern), by)

    cased = (
        [replaced(portable_final_sigma(), "\u03c2"), normalizers.Lowercase()] if lowercase else []
    )
    if vocabulary.level == "character":
        less = [] if spaces else [replaced(f"[{portable_spaces()}]", "")]
        return [*cased, *less], split(tokenizers.Regex("(?m:.)"), "isolated")
    words = [word for word in vocabulary.words if word != vocabulary.unk_word]
    if any(split_words(word, lowercase=False) != [word] for word in words):
        return cased, tokenizers.pre_tokenizers.WhitespaceSplit()
    pattern = tokenizers.Regex(portable_pattern())
    return [replaced(INVISIBLE, ""), *cased, normalizers.NFC()], split(
        pattern, "removed", invert=True
    )
