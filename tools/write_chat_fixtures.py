#!/usr/bin/env python3
# Writes tests/data/chat/cases.json: chat templates, and what transformers' apply_chat_template makes of conversations.
# Needs the packages transformers, jinja2 and gguf. Qwen3's and SmolLM2's templates are the real ones; those of Qwen2.5
# and Llama are this file's own, which print the same (--template compares with real ones that may not be kept here).
import argparse
import json
from pathlib import Path

from gguf import GGUFReader
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

BOS = "<|begin_of_text|>"
DATE = "05 Mar 2026"

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


def cases(template: str, bos: str | None) -> list[dict]:
    """What the template makes of each conversation, which is named by its number."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), bos_token=bos)
    tokenizer.chat_template = template
    result = []
    for number, messages in enumerate(conversations()):
        for prompt in [True, False]:
            for thinking in [True, False] if "enable_thinking" in template and prompt else [True]:
                arguments = {"add_generation_prompt": prompt}
                if not thinking:
                    arguments["enable_thinking"] = False
                if "strftime_now" in template:
                    arguments["date_string"] = DATE
                text = tokenizer.apply_chat_template(messages, tokenize=False, **arguments)
                result.append({"conversation": number, "add_generation_prompt": prompt, "enable_thinking": thinking, "text": text})
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="write the chat template fixtures")
    parser.add_argument("qwen3", type=Path, help="Qwen3's tokenizer_config.json")
    parser.add_argument("smollm2", type=Path, help="a GGUF file of SmolLM2-Instruct")
    parser.add_argument("out", type=Path, help="tests/data/chat/cases.json")
    parser.add_argument("--template", type=Path, action="append", default=[], help="another template's file")
    arguments = parser.parse_args()

    templates = {
        "qwen3": json.loads(arguments.qwen3.read_text(encoding="utf-8"))["chat_template"],
        "smollm2": GGUFReader(arguments.smollm2).fields["tokenizer.chat_template"].contents(),
        "qwen25_like": QWEN25_LIKE,
        "plain_chatml": PLAIN_CHATML,
        "thinking_like": THINKING_LIKE,
        "llama3_like": LLAMA3_LIKE,
        "llama31_like": LLAMA31_LIKE.replace("DATE", FIXED_DATE),
        "llama32_like": LLAMA31_LIKE.replace("DATE", TODAY),
    }
    templates |= {path.stem: path.read_text(encoding="utf-8") for path in arguments.template}
    fixtures = []
    talks = [[[message["role"], message["content"]] for message in messages] for messages in conversations()]
    for name, template in templates.items():
        bos = BOS if "start_header_id" in template else None
        fixtures.append({"name": name, "template": template, "bos_token": bos, "cases": cases(template, bos)})
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    value = {"date": DATE, "conversations": talks, "templates": fixtures}
    arguments.out.write_text(json.dumps(value, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
