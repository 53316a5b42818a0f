#!/usr/bin/env python3
# Writes tests/data/chat/cases.json: chat templates, and what transformers' apply_chat_template makes of conversations.
# Needs the packages transformers, jinja2 and gguf. Qwen3's, Qwen2.5-Coder's and SmolLM2's templates are the real ones; the
# others are this file's own, those of Llama print the same as Llama's (--template adds others, and compares with real ones
# that may not be kept here).
import argparse
import json
from datetime import datetime
from pathlib import Path

import jinja2
from gguf import GGUFReader
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

BOS = "<|begin_of_text|>"
DATE = "05 Mar 2026"
FEW = [2, 3, 7, 17]  # conversations for templates that are here for one condition
FEW_TEMPLATES = ["qwen25_half", "qwen3_5_nothink", "qwen3_instruct_2507"]  # nearly those of others

QWEN25_LIKE = """{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are a test. You aren\\'t "Qwen".<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant") %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
# Text outside of tags, and white space that only trim_blocks and lstrip_blocks take away.
PLAIN_CHATML = """{% for message in messages %}
    {% if true %}
<|im_start|>{{ message['role'] }}
{{ message["content"] }}<|im_end|>
    {% endif %}
{% endfor %}
{% if add_generation_prompt %}
<|im_start|>assistant
{% endif %}
"""
THINKING_LIKE = """{%- for message in messages %}
    {%- set content = message.content %}
    {%- if message.role == 'assistant' and '</think>' in content %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n<think>\\n' }}
{%- endif %}
"""
LLAMA3_LIKE = (
    "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    " + message['content'] | trim + '<|eot_id|>' %}{% if loop.first %}{% set content = bos_token + content %}{% endif %}"
    "{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
LLAMA31_LIKE = """{{- bos_token }}
{%- if not date_string is defined %}
DATE
{%- endif %}
{#- The first system message has a place of its own. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none and tools %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
FIXED_DATE = """    {%- set date_string = "26 Jul 2024" %}"""
TODAY = """    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}"""

# Conditions, comments and text around turns that a reader who only looks for known statements gets wrong.
CONDITIONS = {
    "assist_only_strip": "{% for message in messages %}{% if message['role']=='assistant' %}{% set content = message['content'].split('</think>')[-1].lstrip('\n') %}{% else %}{% set content = message['content'] %}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + content + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "comment_bos": "{#- bos_token is added by the server -#}{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "eos_after": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% if message['role']=='assistant' %}{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "ll_comment_bos": "{# no bos_token here #}{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    "nothink_default": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% if not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}",
    "nothink_eqfalse": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}",
    "prefix": "### chat\n{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "skip_sys2": "{% for message in messages %}{% if message['role'] != 'system' %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "think_true": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% if enable_thinking is defined and enable_thinking is true %}{{ '<think>\n' }}{% else %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}",
    "uncond_sys": "{{ '<|im_start|>system\nYou are X<|im_end|>\n' }}{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
}

TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "Tells \"it\" für <Ort>.", "parameters": {
        "type": "object", "properties": {"city": {"type": "string", "enum": ["Köln", "O'Hare"]}, "days": {"type": "integer"}},
        "required": ["city"]}}},
    {"type": "function", "function": {"name": "items", "description": "", "parameters": {"type": "object", "properties": {}}}},
]


def tool_conversations() -> list[list[dict]]:
    """With calls, replies and thoughts; the last asks without any."""
    call = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Köln", "days": 2}}}
    other = {"function": {"name": "items", "arguments": {}}}
    begin = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather?"}]
    return [
        begin,
        begin[1:] + [{"role": "assistant", "content": "", "tool_calls": [call]}, {"role": "tool", "content": "{\"t\": 3}"}],
        begin + [{"role": "assistant", "content": "I look.", "tool_calls": [call, other]}, {"role": "tool", "content": "3"},
                 {"role": "tool", "content": "none"}, {"role": "assistant", "content": "Cold."}, {"role": "user", "content": "Thanks"}],
        begin[1:] + [{"role": "assistant", "content": "<think>\nhm\n</think>\n\nSo.", "tool_calls": [other]}, {"role": "tool", "content": "x"}],
        begin[1:] + [{"role": "assistant", "content": "ok", "reasoning_content": "thought", "tool_calls": None}, {"role": "user", "content": "?"}],
    ]


class FixedDate(datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 3, 5)


def conversations() -> list[list[dict]]:
    def turns(*contents, system=None):
        roles = ["user", "assistant"]
        first = [] if system is None else [{"role": "system", "content": system}]
        return first + [{"role": roles[i % 2], "content": content} for i, content in enumerate(contents)]

    thought = "<think>\nIs it 4?\n\n</think>\n\nIt is 4."
    odd = " \t two\n\n lines \u00a0\u2003\x1f\n"
    return [
        turns("Hello"),
        turns("Hello", system="Be brief."),
        turns("Hello", "Hi there!", "How are you?"),
        turns("a", "b", "c", "d", system="s"),
        turns(odd, odd, odd, system=odd),
        turns("", "", ""),
        turns("", system=""),
        turns("2+2?", thought, "And 3+3?"),
        turns("2+2?", thought),
        turns("2+2?", "It is 4."),
        turns("2+2?", "\n\nIt is 4.\n"),
        turns("q", "no opening\n</think>\n\n\nyes", "r", "<think>two</think>x</think>\n\ny"),
        turns("q", "<think>\n\n</think>\n\nplain"),
        turns("q", "<think>a<think>\nb\n</think>"),
        turns("q", thought) + [{"role": "assistant", "content": thought}, {"role": "assistant", "content": "end"}],
        turns("q", thought, "<tool_response>\n5\n</tool_response>", thought),
        turns("q", thought, "<tool_response> not the end", thought, system="s"),
        turns("q") + [{"role": "system", "content": "From now on be loud."}, {"role": "user", "content": "r"}],
        [{"role": "system", "content": "Only this."}],
        [{"role": "assistant", "content": "I begin."}],
        turns("Ünïcödé 日本語 👩‍👧 <|im_end|> {{ x }} {% y %} \\n '\""),
    ]


def tool_cases(template: str, tokenizer: PreTrainedTokenizerFast) -> list[dict]:
    """With tools and without, where the template reads them."""
    result = []
    for number, messages in enumerate(tool_conversations() if "tool_calls" in template else []):
        for tools in [TOOLS, None]:
            text = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=True)
            result.append({"conversation": number, "with_tools": tools is not None, "text": text})
    return result


def rendered(tokenizer: PreTrainedTokenizerFast, messages: list[dict], **arguments) -> dict:
    """The text, or why the template refuses the conversation."""
    try:
        return {"text": tokenizer.apply_chat_template(messages, tokenize=False, **arguments)}
    except jinja2.exceptions.TemplateError as error:
        return {"refused": str(error)}


def cases(template: str, tokenizer: PreTrainedTokenizerFast, few: bool) -> list[dict]:
    """What the template makes of each conversation, which is named by its number."""
    result = []
    for number, messages in enumerate(conversations()):
        if few and number not in FEW:
            continue
        for prompt in [True, False]:
            for thinking in [True, False] if "enable_thinking" in template and prompt else [True]:
                arguments = {"add_generation_prompt": prompt}
                if not thinking:
                    arguments["enable_thinking"] = False
                case = {"conversation": number, "add_generation_prompt": prompt, "enable_thinking": thinking}
                result.append(case | rendered(tokenizer, messages, **arguments))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="write the chat template fixtures")
    parser.add_argument("qwen3", type=Path, help="Qwen3's tokenizer_config.json")
    parser.add_argument("qwen25_half", type=Path, help="Qwen2.5-Coder-0.5B's tokenizer_config.json")
    parser.add_argument("qwen25", type=Path, help="Qwen2.5-Coder-1.5B's")
    parser.add_argument("smollm2", type=Path, help="a GGUF file of SmolLM2-Instruct")
    parser.add_argument("out", type=Path, help="tests/data/chat/cases.json")
    parser.add_argument("--template", type=Path, action="append", default=[], help="another template's file")
    arguments = parser.parse_args()

    templates = {
        "qwen3": json.loads(arguments.qwen3.read_text(encoding="utf-8"))["chat_template"],
        "qwen25_half": json.loads(arguments.qwen25_half.read_text(encoding="utf-8"))["chat_template"],
        "qwen25": json.loads(arguments.qwen25.read_text(encoding="utf-8"))["chat_template"],
        "smollm2": GGUFReader(arguments.smollm2).fields["tokenizer.chat_template"].contents(),
        "qwen25_like": QWEN25_LIKE,
        "plain_chatml": PLAIN_CHATML,
        "thinking_like": THINKING_LIKE,
        "llama3_like": LLAMA3_LIKE,
        "llama31_like": LLAMA31_LIKE.replace("DATE", FIXED_DATE),
        "llama32_like": LLAMA31_LIKE.replace("DATE", TODAY),
    }
    templates |= CONDITIONS
    templates |= {path.stem: path.read_text(encoding="utf-8") for path in arguments.template}
    chat_template_utils.datetime = FixedDate
    fixtures = []
    talks = [[[message["role"], message["content"]] for message in messages] for messages in conversations()]
    for name, template in templates.items():
        bos = BOS if "start_header_id" in template else None
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), bos_token=bos, eos_token="<|eos|>")
        tokenizer.chat_template = template
        tokens = {key: token for key, token in [("bos_token", bos), ("eos_token", "<|eos|>")] if token is not None}
        fixtures.append({"name": name, "template": template, "tokens": tokens,
                         "cases": cases(template, tokenizer, name in CONDITIONS or name in FEW_TEMPLATES), "tool_cases": tool_cases(template, tokenizer)})
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    value = {"date": DATE, "conversations": talks, "tools": TOOLS, "tool_conversations": tool_conversations(), "templates": fixtures}
    arguments.out.write_text(json.dumps(value, separators=(",", ":"), ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
