"""A task's vocabulary as a tokenizer of transformers, for models that were made for it."""

from typing import Any

from seqgan.pretrained import PretrainedError, load_tokenizer, package
from seqgan.vocabulary import WORD_PATTERN, Vocabulary, split_words

BOS, EOS, PAD, UNKNOWN = "<s>", "</s>", "<pad>", "<unk>"


def exported_tokenizer(vocabulary: Vocabulary, lowercase: bool, prompted: bool) -> Any:
    """A tokenizer that cuts texts as the task did.

    Of words and characters its ids are the vocabulary's; subwords have their own tokenizer. bos is
    put in front of a text, where its continuation is asked for, or behind it, where it is a prompt
    that the generator answers.

    Args:
        lowercase: whether the task made upper case lower case.
        prompted: whether the generator was trained with prompts.

    Raises:
        PretrainedError: the extra is not installed, or a word is spelt like a special token.
    """
    transformers, tokenizers = package("transformers"), package("tokenizers")
    if vocabulary.level == "subword":
        return load_tokenizer(vocabulary.tokenizer)
    ids: dict[str, int | None] = {word: index for index, word in enumerate(vocabulary.words)}
    special = {"pad_token": PAD}
    if vocabulary.eos_id is not None:
        special["eos_token"] = EOS
    bos = vocabulary.words[vocabulary.bos_id] if vocabulary.bos_word is not None else BOS
    if vocabulary.bos_word is None:
        special["bos_token"] = BOS
    added = {EOS: vocabulary.eos_id, BOS: vocabulary.bos_id, PAD: vocabulary.pad_id}
    added |= vocabulary.special_ids
    for token in (*special.values(), *vocabulary.specials):
        if token in ids:
            raise PretrainedError(f"no word of an exported run is {token!r}, got one that is")
        ids[token] = added[token]
    unknown = vocabulary.unk_word
    # Without an unknown word a word that is not known is an error.
    model = tokenizers.models.WordLevel(ids, unk_token=unknown or UNKNOWN)
    tokenizer = tokenizers.Tokenizer(model)
    if lowercase:
        tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    tokenizer.pre_tokenizer = _cutter(vocabulary, tokenizers)
    decoders = tokenizers.decoders
    # A pipeline decodes what comes after a prompt by itself, so each word brings its own space.
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
        padding_side="left",
        **special,
    )


def _cutter(vocabulary: Vocabulary, tokenizers: Any) -> Any:
    """What cuts a text into words or characters."""
    split = tokenizers.pre_tokenizers.Split
    if vocabulary.level == "character":
        return split(tokenizers.Regex("."), "isolated")
    known = [word for word in vocabulary.words if word != vocabulary.unk_word]
    if all(split_words(word, lowercase=False) == [word] for word in known):
        return split(tokenizers.Regex(WORD_PATTERN), "removed", invert=True)
    return tokenizers.pre_tokenizers.WhitespaceSplit()
