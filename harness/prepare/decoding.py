"""How answers are written: by the run's own settings alone. Of a model's own generation settings only its end tokens
stay, and the tokens that a sequence-to-sequence model's answers start with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.prepare.chat import frame

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

    from harness.settings import Eval


STARTS = ("bos_token_id", "decoder_start_token_id", "forced_bos_token_id")
"""Settings of a model that say how its answers start: without them some, such as those that translate, write nothing
of use."""
HARMLESS = {
    *("transformers_version", "_from_model_config", "max_length", "use_cache", "cache_implementation"),
    *("output_attentions", "output_hidden_states", "output_scores", "output_logits", "return_dict_in_generate"),
    *("pad_token_id", "eos_token_id", *STARTS),
}
"""Settings that change no answer of a given number of tokens, or are stated by themselves."""


def settle(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Let a model answer by what it is given alone.

    transformers fills each setting that a `GenerationConfig` leaves open from the model's own, such as a repetition
    penalty or sampling: here that has nothing left but where answers start and end. What the model came with is kept
    as `own_generation_config`, to be saved with it.
    """
    from transformers import GenerationConfig

    own = getattr(model, "generation_config", None)
    if own is None:  # a classifier
        return
    model.own_generation_config = own
    first_ids = {name: value for name in STARTS if (value := getattr(own, name, None)) is not None}
    rows = model.config.get_text_config().vocab_size
    possible = [each for each in ends(own, tokenizer) if each < rows]
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        pad_token_id=tokenizer.pad_token_id, eos_token_id=possible or None, **first_ids
    )


def ends(own: GenerationConfig, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The tokens that end an answer: the tokenizer's, those of the model's generation settings `own`, and the one that
    ends a turn of the chat template. Raises UserError."""
    value: Any = getattr(own, "eos_token_id", None)
    of_model = value if isinstance(value, list) else [] if value is None else [value]
    if wrong := [each for each in of_model if type(each) is not int or each < 0]:
        raise UserError(
            f"the model's generation_config.json: eos_token_id={value!r}: {wrong[0]!r} is no id of a token; correct it"
        )
    ids = [tokenizer.eos_token_id, *of_model, frame(tokenizer).end]
    return tuple(dict.fromkeys(each for each in ids if each is not None))


def starts(model: Any) -> tuple[int, ...]:
    """The tokens that a sequence-to-sequence model's answers start with, in training as in generation."""
    forced = getattr(getattr(model, "generation_config", None), "forced_bos_token_id", None)
    return (model.config.decoder_start_token_id, *([] if forced is None else [forced]))


def end_tokens(model: Any) -> tuple[int, ...]:
    """The tokens that end an answer of a model that was settled."""
    return tuple(model.generation_config.eos_token_id or ())


def stated(settings: Eval, model: Any, tokenizer: PreTrainedTokenizerBase) -> str:
    """How answers are written: for the scores' signatures. Names the model's own settings that were left out."""
    settled, own = model.generation_config, model.own_generation_config
    ways = [f"beams:{settings.beams}" if settings.beams > 1 else "greedy", f"new:{settings.max_new_tokens}"]
    if settings.no_repeat_ngram:
        ways.append(f"no_repeat_ngram:{settings.no_repeat_ngram}")
    tokens = {"ends": end_tokens(model)} | {
        name: (value,) for name in STARTS[1:] if (value := getattr(settled, name, None)) is not None
    }
    ways += [f"{name}:{' '.join(map(str, tokenizer.convert_ids_to_tokens(list(ids))))}" for name, ids in tokens.items()]
    left = sorted((name, value) for name, value in own.to_diff_dict().items() if name not in HARMLESS)
    return "|".join([*ways, *(f"not as the model's own {name}={value}" for name, value in left)])
