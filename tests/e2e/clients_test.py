"""The official clients of OpenAI, Anthropic and Prometheus against a running server: each accepts every answer.

    .venv/tests/bin/python tests/e2e/clients_test.py http://127.0.0.1:8080 [--api-key KEY] [--without tools,schema,...]

They are not hypenet's dependencies: scripts/setup --tests installs them. A client that is absent skips its part with a
message; in CI it fails.
"""
import argparse
import importlib
import json
import os
import urllib.request

QUESTION = [{"role": "user", "content": "The sun"}]
# Cities to choose from, and no space for ever: a model that knows nothing of the world ends its answer, too.
FINITE = {"seed": 1, "frequency_penalty": 2}
WEATHER = {"type": "object", "properties": {"city": {"type": "string", "enum": ["Bonn", "Lima", "Oslo"]}},
           "required": ["city"], "additionalProperties": False}


def module(name):
    """The client's module, or None with a message."""
    try:
        return importlib.import_module(name)
    except ImportError:
        if os.environ.get("CI"):
            raise
        print(f"skipped: {name} is not installed")
        return None


def refused(call, error, status, **expected):
    """The call raises this error of the client's, of this status, and its body says what is expected."""
    try:
        call()
    except error as found:
        assert found.status_code == status, f"expected {status}, found {found.status_code}: {found}"
        body = found.body.get("error", found.body)
        assert all(body[key] == value for key, value in expected.items()), f"expected {expected}, found {body}"
        return
    raise AssertionError(f"expected {error.__name__}, found an answer")


def collected(client, **settings):
    """What the client's own collector makes of a stream; it raises where an answer was cut off."""
    try:
        with client.chat.completions.stream(**settings) as events:
            return events.get_final_completion()
    except importlib.import_module("openai").LengthFinishReasonError as cut:
        return cut.completion


def check_chat(client, model):
    settings = {"model": model, "messages": QUESTION, "max_tokens": 12, "seed": 7, "temperature": 0.8}
    whole = client.chat.completions.create(**settings, n=2, logprobs=True, top_logprobs=3)
    assert [choice.index for choice in whole.choices] == [0, 1] and whole.id.startswith("chatcmpl-")
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    for choice in whole.choices:
        assert choice.finish_reason in ("stop", "length") and choice.message.role == "assistant"
        spelled = b"".join(bytes(entry.bytes) for entry in choice.logprobs.content)
        assert spelled.decode(errors="replace") == choice.message.content
        assert all(len(entry.top_logprobs) == 3 for entry in choice.logprobs.content)

    texts, entries, finishes, usage = ["", ""], [[], []], [None, None], None
    stream = client.chat.completions.create(**settings, n=2, logprobs=True, top_logprobs=3, stream=True,
                                            stream_options={"include_usage": True})
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            entries[choice.index] += choice.logprobs.content if choice.logprobs else []
            finishes[choice.index] = choice.finish_reason or finishes[choice.index]
    for choice in whole.choices:
        assert texts[choice.index] == choice.message.content
        assert entries[choice.index] == choice.logprobs.content
        assert finishes[choice.index] == choice.finish_reason
    assert usage.completion_tokens == whole.usage.completion_tokens

    assert collected(client, **settings).choices[0].message.content == texts[0]
    seeded = client.chat.completions.create(**{**settings, "seed": 8})
    assert seeded.choices[0].message.content == texts[1], "expected choice 1 to draw from seed + 1"


def check_completions(client, model):
    settings = {"model": model, "max_tokens": 8, "temperature": 0, "logprobs": 2}
    whole = client.completions.create(prompt=["The sun", "The moon"], echo=True, **settings)
    assert [choice.index for choice in whole.choices] == [0, 1] and whole.id.startswith("cmpl-")
    for prompt, choice in zip(["The sun", "The moon"], whole.choices):
        logprobs = choice.logprobs
        assert choice.text.startswith(prompt)
        assert logprobs.token_logprobs[0] is None and all(value <= 0 for value in logprobs.token_logprobs[1:])
        assert len({len(logprobs.tokens), len(logprobs.token_logprobs), len(logprobs.text_offset)}) == 1
        for token, offset in zip(logprobs.tokens, logprobs.text_offset):
            assert "\ufffd" in token or choice.text[offset:].startswith(token)
    chunks = client.completions.create(prompt="The sun", echo=True, stream=True, **settings)
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == whole.choices[0].text
    scored = client.completions.create(**{**settings, "max_tokens": 0}, prompt="The sun", echo=True)
    assert scored.choices[0].text == "The sun" and scored.usage.completion_tokens == 0


def check_stop(client, model):
    settings = {"model": model, "prompt": "The sun", "temperature": 0}
    text = client.completions.create(**settings, max_tokens=24).choices[0].text
    stop = text[len(text) // 2:][:3]
    stopped = client.completions.create(**settings, max_tokens=24, stop=[stop]).choices[0]
    assert stopped.text == text[:text.index(stop)] and stopped.finish_reason == "stop"


def check_tools(client, model):
    tools = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER, "strict": True}}]
    settings = {"model": model, "messages": QUESTION, "tools": tools, "tool_choice": "required",
                "parallel_tool_calls": False, **FINITE}
    choice = client.chat.completions.create(**settings).choices[0]
    assert choice.finish_reason == "tool_calls", choice
    call = choice.message.tool_calls[0]
    assert call.function.name == "weather" and "city" in json.loads(call.function.arguments)
    streamed = collected(client, **settings).choices[0].message.tool_calls[0]
    assert streamed.function.arguments == call.function.arguments
    answered = QUESTION + [choice.message.model_dump(exclude_none=True),
                           {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    client.chat.completions.create(model=model, messages=answered, tools=tools, tool_choice="none", max_tokens=4)


def check_schema(client, model):
    form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": WEATHER, "strict": True}}
    choice = client.chat.completions.create(model=model, messages=QUESTION, response_format=form, **FINITE).choices[0]
    assert choice.finish_reason == "stop" and "city" in json.loads(choice.message.content), choice


def check_openai(openai, url, key, without):
    client = openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0)
    models = client.models.list().data
    model = models[0].id
    assert client.models.retrieve(model).id == model
    check_chat(client, model)
    check_completions(client, model)
    check_stop(client, model)
    if "tools" not in without:
        check_tools(client, model)
    if "schema" not in without:
        check_schema(client, model)
    ask = client.chat.completions.create
    refused(lambda: ask(model=model, messages=QUESTION, temperature=3), openai.BadRequestError, 400,
            code="invalid_value", param="temperature", type="invalid_request_error")
    refused(lambda: ask(model="no such model", messages=QUESTION), openai.NotFoundError, 404, code="model_not_found")
    refused(lambda: client.embeddings.create(model=model, input="x"), openai.NotFoundError, 404, code="unknown_url")
    return model


def check_anthropic(anthropic, url, key, model):
    client = anthropic.Anthropic(base_url=url, api_key=key, max_retries=0)
    settings = {"model": model, "messages": QUESTION, "max_tokens": 12, "extra_body": {"temperature": 0}}
    whole = client.messages.create(**settings, system=[{"type": "text", "text": "Be brief.",
                                                        "cache_control": {"type": "ephemeral"}}])
    assert whole.role == "assistant" and whole.stop_reason in ("end_turn", "max_tokens"), whole
    counted = client.messages.count_tokens(model=model, messages=QUESTION)
    whole = client.messages.create(**settings)
    usage = whole.usage
    assert usage.input_tokens + usage.cache_read_input_tokens == counted.input_tokens
    with client.messages.stream(**settings) as stream:
        streamed = stream.get_final_message()
    assert [block.model_dump() for block in streamed.content] == [block.model_dump() for block in whole.content]
    assert streamed.stop_reason == whole.stop_reason and streamed.usage.output_tokens == usage.output_tokens
    refused(lambda: client.messages.create(**{**settings, "extra_body": {"temperature": 2}}), anthropic.BadRequestError, 400,
            type="invalid_request_error")


def check_metrics(parser, url, key):
    request = urllib.request.Request(url + "/metrics", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request) as answer:
        families = {family.name for family in parser.text_string_to_metric_families(answer.read().decode())}
    expected = {"hypenet_num_requests_running", "hypenet_prompt_tokens", "hypenet_time_to_first_token_seconds"}
    assert expected <= families, f"expected {expected}, found {sorted(families)}"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("url")
    arguments.add_argument("--api-key", default="none")
    arguments.add_argument("--without", default="", help="parts that the server has not: tools,schema,messages,metrics")
    given = arguments.parse_args()
    url, without = given.url.rstrip("/"), set(given.without.split(","))
    with urllib.request.urlopen(urllib.request.Request(
            url + "/v1/models", headers={"Authorization": f"Bearer {given.api_key}"})) as answer:
        model = json.load(answer)["data"][0]["id"]
    if openai := module("openai"):
        check_openai(openai, url, given.api_key, without)
        print("openai: passed")
    if "messages" not in without and (anthropic := module("anthropic")):
        check_anthropic(anthropic, url, given.api_key, model)
        print("anthropic: passed")
    if "metrics" not in without and (parser := module("prometheus_client.parser")):
        check_metrics(parser, url, given.api_key)
        print("prometheus_client: passed")


if __name__ == "__main__":
    main()
