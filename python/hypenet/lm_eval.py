"""lm-evaluation-harness: `lm_eval --model hypenet --model_args pretrained=DIR,device=cuda --tasks ...`.

A harness that knows plugins finds this by the package's entry point; with older ones (releases to 0.4.13) run
`python -m hypenet.lm_eval` in place of `lm_eval`. Requests go to the evaluator of `hypenet eval`, all of a kind at once.
"""
from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, Union

import lm_eval.models  # noqa: F401: the harness's own come first, as it expects
from lm_eval.api.model import LM
from lm_eval.api.registry import MODEL_REGISTRY, register_model
from lm_eval.utils import simple_parse_args_string
from tqdm import tqdm

import hypenet
from hypenet._library import native
from hypenet_command import runs_device_code

_LOG = logging.getLogger(__name__)
_SAMPLING = {"temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"}


def _flag(value: Any) -> bool:
    return value if isinstance(value, bool) else str(value).lower() in ("1", "true", "yes")


def _adds_bos(path: Path, tokenizer: hypenet.Tokenizer) -> bool:
    """Whether transformers puts BOS before a text with this folder's tokenizer: its post-processor does so."""
    file = path / "tokenizer.json"
    if tokenizer.bos_token_id is None or not file.is_file():
        return False
    processor = json.loads(file.read_text(encoding="utf-8")).get("post_processor") or {}
    parts = processor.get("processors", [processor])
    begins = [part["single"][0].get("SpecialToken", {}).get("id") for part in parts if part.get("single")]
    return any(token is not None and tokenizer.token_id(token) == tokenizer.bos_token_id for token in begins)


class HypenetLM(LM):
    """A model folder or GGUF file as the harness asks it.

    pretrained: its path. max_length: tokens of a row at most (the model's max_position_embeddings). max_gen_toks: of
    an answer whose task names no number. add_bos_token: whether BOS stands before a context; not given, as
    transformers would with this tokenizer. ll_dtype "bf16": sums rounded as the harness's own models round theirs in
    bfloat16. batch_size: ignored, batches are by tokens (batch, 0: what fills the device). Further ones are
    hypenet.load's.
    """

    def __init__(
        self, pretrained: str, device: Optional[str] = None, dtype: str = "auto",
        batch_size: Union[int, str, None] = None, max_batch_size: Optional[int] = None,
        max_length: Optional[int] = None, max_gen_toks: int = 256, add_bos_token: Union[bool, str, None] = None,
        ll_dtype: str = "float32", batch: int = 0, **load_options: Any,
    ) -> None:
        super().__init__()
        self.model = hypenet.load(pretrained, device=device or "cpu", dtype=dtype, **load_options)
        self._device = self.model.device
        self.max_length = int(max_length or self.model.max_length)
        self.max_gen_toks = int(max_gen_toks)
        self.batch_size = batch_size
        tokenizer = self.model.tokenizer
        adds = _adds_bos(self.model.path, tokenizer) if add_bos_token is None else _flag(add_bos_token)
        if adds and tokenizer.bos_token_id is None:
            raise ValueError(f"{pretrained}: add_bos_token: the tokenizer names no BOS")
        self._bos = tokenizer.decode([tokenizer.bos_token_id]) if adds else ""
        self._settings = native.AnswerSettings()
        self._settings.max_length = self.max_length
        self._settings.batch_tokens = int(batch)
        self._settings.sums_in_bf16 = ll_dtype == "bf16"

    @classmethod
    def create_from_arg_obj(cls, arg_dict: dict[str, Any], additional_config: Optional[dict[str, Any]] = None) -> HypenetLM:
        """What --model_args says goes before the harness's own flags. Of these --device is cuda:0 unless said otherwise:
        where no GPU can be used that is the CPU, as with --model hf."""
        given = {key: value for key, value in (additional_config or {}).items() if value is not None}
        if str(given.get("device", "")).startswith("cuda") and not runs_device_code():
            _LOG.warning("hypenet: device %s: there is none for this package, the CPU is used", given["device"])
            given["device"] = "cpu"
        return cls(**{**given, **arg_dict})

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: Optional[dict[str, Any]] = None) -> HypenetLM:
        return cls.create_from_arg_obj(simple_parse_args_string(arg_string), additional_config)

    # --- requests ---

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        pairs = [request.args for request in requests]
        plain = [("loglikelihood", self._begun(context), continuation, [], 0) for context, continuation in pairs]
        answers = self._answer(plain, "log-likelihoods", disable_tqdm)
        results = [(loglikelihood, greedy) for loglikelihood, greedy, _ in answers]
        return self._keep("loglikelihood", pairs, results)

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        texts = [request.args for request in requests]
        answers = self._answer([("rolling", text, "", [], 0) for (text,) in texts], "texts", disable_tqdm)
        return self._keep("loglikelihood_rolling", texts, [loglikelihood for loglikelihood, _, _ in answers])

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Greedy ones side by side; those of tasks that draw (do_sample) by Model.generate."""
        results: list[str] = [""] * len(requests)
        greedy, drawn = [], []
        for place, request in enumerate(requests):
            (drawn if _draws(request.args[1]) else greedy).append(place)
        plain = [self._generation(*requests[place].args) for place in greedy]
        for place, (_, _, text) in zip(greedy, self._answer(plain, "answers", disable_tqdm)):
            results[place] = text
        for place, text in zip(drawn, self._draw([requests[place].args for place in drawn])):
            results[place] = text
        return self._keep("generate_until", [request.args for request in requests], results)

    def _begun(self, context: str) -> str:
        return self._bos + context if context and not context.startswith(self._bos or "\0") else context

    def _generation(self, context: str, settings: dict[str, Any]) -> tuple[str, str, str, list[str], int]:
        return ("generate", self._begun(context), "", _until(settings), self._tokens(settings))

    def _tokens(self, settings: dict[str, Any]) -> int:
        return int(settings.get("max_gen_toks") or settings.get("max_new_tokens") or self.max_gen_toks)

    def _answer(self, plain: list[Any], what: str, disable_tqdm: bool) -> list[tuple[float, bool, str]]:
        with tqdm(total=len(plain), desc=f"hypenet: {what}", disable=disable_tqdm) as bar:
            def show(done: int, total: int) -> None:  # equal requests count once
                bar.total = total
                bar.update(done - bar.n)
            return native.answer(self.model._native, plain, self._settings, show) if plain else []

    def _draw(self, pairs: list[tuple[str, dict[str, Any]]]) -> list[str]:
        """Seeds are those of the places, so that repeats differ."""
        streams = []
        for place, (context, settings) in enumerate(pairs):
            tokens = self._tokens(settings)
            ids = self.model.tokenizer.encode(self._begun(context))[-(self.max_length - tokens):]
            sampling = {key: value for key, value in settings.items() if key in _SAMPLING and value is not None}
            streams.append(self.model.generate([ids], max_tokens=tokens, stop=_until(settings), seed=place, stream=True,
                                               **{"temperature": 1.0, **sampling}))
        return [stream.collect()[0].text for stream in streams]

    def _keep(self, kind: str, arguments: list[Any], results: list[Any]) -> list[Any]:
        for argument, result in zip(arguments, results):
            self.cache_hook.add_partial(kind, argument, result)
        return results

    # --- what the harness asks of a model with a chat template, and writes into its results ---

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return str(self.model.tokenizer.apply_chat_template(
            chat_history, tokenize=False, add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt))

    def chat_template(self, chat_template: Union[bool, str] = False) -> Optional[str]:
        return self.model.tokenizer.chat_template if chat_template else None

    @property
    def tokenizer_name(self) -> str:
        return str(self.model.path).replace("/", "__")

    def get_model_info(self) -> dict[str, Any]:
        return {"model_num_parameters": self.model.num_parameters, "model_dtype": self.model.dtype,
                "model_revision": "", "model_sha": ""}


def _until(settings: dict[str, Any]) -> list[str]:
    until = settings.get("until") or []
    return [until] if isinstance(until, str) else list(until)


def _draws(settings: dict[str, Any]) -> bool:
    """As transformers: a temperature alone draws nothing."""
    return bool(settings.get("do_sample")) and settings.get("temperature", 1.0) != 0


def register() -> None:
    """Makes the harness know "hypenet"; importing this module does."""
    if "hypenet" not in MODEL_REGISTRY:  # the entry point has put a placeholder there
        register_model("hypenet")(HypenetLM)


register()

if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    # Under this name the module is not the one that the registry would import.
    cli_evaluate()
