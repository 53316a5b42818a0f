#!/usr/bin/env python3
# Writes tests/data/chat/jinja.json: small templates with their variables, and what jinja2 makes of them in the
# environment of transformers' apply_chat_template. Where it fails, the case says so. Needs transformers and jinja2.
import json
import re
import sys
from datetime import datetime
from pathlib import Path

from jinja2.defaults import DEFAULT_FILTERS
from transformers.utils import chat_template_utils

FILTERS = set(DEFAULT_FILTERS) - {"e"}  # which is a variable here
VARIABLES = {
    "n": 7, "m": -3, "f": 2.5, "t": "Hello wörld", "e": "", "b": True, "no": None, "s": "  a b\n c\t",
    "l": [3, 1, 2], "w": ["b", "A", "c", "a"], "el": [], "d": {"x": 1, "y": [1, 2], "items": "I", "é": "ü"}, "ed": {},
    "p": [{"k": "b", "v": 1, "on": True}, {"k": "a", "v": 2, "on": False}, {"k": "B", "v": 3}],
    "h": "<a href='x'>\"&</a>", "u": "日本 👩 \u00e9\u0301 ß \u00a0\u2028", "lines": "one\ntwo\n\nthree\n",
    "nest": {"a": {"b": [{"c": 5}]}}, "tricky": "it's", "both": "it's \"so\"", "esc": "a\\b\x01\x7f",
}

EXPRESSIONS = r"""
1 + 2 | 7 - 10 | 2 * 3.5 | 7 / 2 | 6 / 3 | 7 // 2 | -7 // 2 | 7 % 3 | -7 % 3 | 7 % -3 | 7.5 % 2 | -7.5 // 2 | 2 ** 10
2 ** -1 | 2 ** 0.5 | -2 ** 2 | 2 ** 3 ** 2 | 1 + 2 * 3 | (1 + 2) * 3 | 10 - 2 - 3 | 'a' * 3 | 3 * 'ab' | [1] * 2 | 'a' + 'b'
1 ~ 'a' ~ none ~ 2.0 | 'a' ~ 1 + 2 | [1] + [2, 3] | (1,) + (2,) | -n | +n | - n + 1 | true + 1 | -f | 1.0 | 1e3 | 1e16 | 1.5e-7
1e22 | 0.1 + 0.2 | 123456789.125 | 1_000 | 0x1F | 0b101 | 0o17 | 1 / 3 | 100000000000000000.0 | 0.0001 | 0.00001
1 == 1.0 | true == 1 | 'a' == 'a' | none == none | [1, 2] == [1, 2] | (1, 2) == [1, 2] | d == d | {'a': 1} == {'a': 1.0}
1 < 2 < 3 | 1 < 2 > 5 | 1 != 2 | 'a' < 'b' | [1, 2] < [1, 3] | 2 >= 2 | 2 <= 1 | 1 in l | 5 in l | 5 not in l | 'x' in d
'ell' in t | 'z' not in t | missing == other | missing == none | missing in l | 1 in missing | not missing | missing or 'y'
b and n | e and n | e or n or 'z' | not e | not (b and e) | true and not false | b and not no | n if b else m
'y' if e | 'y' if e else 'z' | 'a' if n > 5 else 'b' if n > 3 else 'c' | (n if b) | 1 if missing is defined else 2
t[0] | t[-1] | t[7] | t[1:3] | t[::-1] | t[:-1] | t[::2] | t[-3:] | t[20:] | t[3:1] | l[0] | l[-1] | l[9] | l[1:] | l[::-1]
l[:2] | l[-2:] | l[5:2:-1] | u[0] | u[1:4] | u[3] | d.x | d['x'] | d['é'] | d.y[1] | d.y.0 | d['items'] | d.zzz | d['zzz']
d[no] | nest.a.b[0].c | nest['a']['b'][0]['c'] | l['x'] | t.zzz | l[none:2] | l[true] | (1, 2)[0] | {'a': 1}['a'] | {1: 'q'}[1]
{'a': 1, 'b': [1, 'x', none, true, 1.5]} | [1, 'a', "it's", both, esc, none] | (1,) | () | (1, 'a') | [] | {} | d | u ~ '' | [u]
[h] | tricky ~ [tricky] | [[1, [2]], {'a': {'b': ()}}] | true | false | none | True | None | missing | [missing] | 'a' 'b'
'\n\t\\\'"' | "\u00e9\x41\101\z" | "a'b" | 'a"b' | n, m | (n) | [n, m,] | {'a': 1,}
t.upper() | t.lower() | t.title() | t.capitalize() | u.upper() | 'ÀÉß'.lower() | "they're bill's".title() | s.strip() | s.lstrip()
s.rstrip() | 'xxaxx'.strip('x') | 'abcba'.lstrip('ab') | 'abcba'.rstrip('ab') | u.strip() | 'a,b,,c'.split(',') | 'a,b,c'.split(',', 1)
' a  b c '.split() | ' a  b c '.split(none, 1) | ' a b c '.rsplit(none, 1) | 'a,b,c'.rsplit(',', 1) | ''.split() | ''.split(',')
'a</think>b</think>c'.split('</think>')[-1] | 'abc'.startswith('ab') | 'abc'.endswith('bc') | 'abc'.startswith(('x', 'a'))
'aXbX'.replace('X', 'yy') | 'aaa'.replace('a', 'b', 2) | 'ab'.replace('', '-') | 'abcb'.find('b') | 'abcb'.rfind('b') | 'abc'.find('z')
'wörld'.find('l') | 'abab'.count('ab') | ', '.join(['a', 'b']) | lines.splitlines() | '12'.isdigit() | ''.isdigit()
'a-b'.removeprefix('a') | 'a-b'.removesuffix('b') | d.get('x') | d.get('q') | d.get('q', 5) | d.keys() | list | d.keys() | join(',')
t | upper | t | lower | 'a b-c' | title | "it's (ok) x" | title | 'hELLO wORLD' | capitalize | t | length | u | length | l | length
d | length | missing | length | l | count | s | trim | 'xax' | trim('x') | n | trim | missing | trim | l | join | l | join(', ')
p | join(',', attribute='k') | w | join('-') | missing | join(',') | 'abc' | join('.') | l | first | el | first | l | last | t | first
t | last | d | first | el | last | missing | default('D') | e | default('D') | e | default('D', true) | no | default('D')
no | d('D', true) | missing | default | n | default(5) | d | items | list | ed | items | list | missing | items | list
l | map('string') | list | w | map('upper') | list | p | map(attribute='k') | list | p | map(attribute='on') | list
p | map(attribute='on', default=0) | list | w | map('replace', 'a', 'z') | list | l | select | list | l | select('odd') | list
l | select('gt', 1) | list | l | reject('equalto', 1) | list | p | selectattr('on') | map(attribute='k') | list
p | selectattr('v', 'ge', 2) | list | p | rejectattr('on') | map(attribute='v') | list | p | selectattr('on', 'defined') | list | length
p | selectattr('k', 'equalto', 'a') | list | p | rejectattr('k', 'in', ['a']) | map(attribute='k') | join | t | list | d | list
n | string | no | string | l | string | missing | string | 'aXa' | replace('a', 'b') | 'aaa' | replace('a', 'b', 1) | n | replace('7', '8')
'42' | int | '4.7' | int | 'x' | int | 'x' | int(5) | f | int | -2.7 | int | true | int | no | int | ' 12 ' | int | 'ff' | int(0, 16)
'1_0' | int | l | int | '3.5' | float | 'x' | float | n | float | 'x' | float(1.5) | 5 | abs | -5.5 | abs | m | abs
{'b': 1, 'a': 3, 'C': 2} | dictsort | {'b': 1, 'a': 3} | dictsort(by='value') | {'b': 1, 'a': 3, 'C': 2} | dictsort(true)
{'b': 1, 'a': 3} | dictsort(reverse=true) | ['a', 'b', 'A', 'a'] | unique | list | ['a', 'A'] | unique(true) | list | [1, 1.0, 2] | unique | list
p | unique(attribute='k') | map(attribute='v') | list | l | sort | w | sort | w | sort(true) | w | sort(case_sensitive=true) | p | sort(attribute='k') | map(attribute='v') | list
l | reverse | list | t | reverse | l | min | l | max | el | max | w | max | l | sum | p | sum(attribute='v') | p | sum('v', 10)
lines | indent | lines | indent(2) | lines | indent(2, true) | lines | indent(1, false, true) | lines | indent('> ') | lines | indent(width=3, first=true)
h | safe | n | safe | t | tojson | d | tojson | h | tojson | u | tojson | esc | tojson | l | tojson | no | tojson | b | tojson | f | tojson
p | tojson | d | tojson(indent=2) | d | tojson(indent=4) | ed | tojson(indent=2) | [[], {}, [1]] | tojson(indent=1) | u | tojson(ensure_ascii=true)
{'b': 1, 'a': 2} | tojson(sort_keys=true) | l | tojson(separators=(',', ':')) | d | tojson(separators=(',', ':')) | 1e30 | tojson | (1, 2) | tojson
{1: 2, none: 3, true: 4} | tojson | 'a/b' | tojson | '\u2028\x7f' | tojson | d | tojson(true) | d | tojson(indent='--')
n is defined | missing is defined | missing is undefined | no is none | n is none | t is string | n is string | d is mapping | l is mapping
l is iterable | t is iterable | n is iterable | missing is iterable | l is sequence | d is sequence | missing is sequence | n is sequence
n is number | b is number | t is number | b is boolean | n is boolean | b is true | b is false | n is true | n is integer | b is integer
f is float | n is eq 7 | n is eq(7) | n is equalto 7 | n is ne 7 | n is lt 8 | n is gt(8) | n is odd | n is even | 9 is divisibleby 3 | n is in [7]
n is not none | not n is none | n is defined and b is defined | missing is not defined | t is not string | range is callable | t is callable
'abc' is lower | 'ABC' is upper | 'aB' is lower | n is divisibleby(7) | d.x is defined | d.zzz is defined | e is string and not e
range(3) | list | range(1, 4) | list | range(5, 0, -2) | list | range(0) | list | dict(a=1, b='x') | dict({'a': 1}, b=2) | dict([['a', 1]])
n|string|length | -n|abs | (n|string) ~ 'x' | 'a' ~ 'b'|upper | l|first + 1 | l|join('-')|upper | t.split()|last|lower | ('a,b'.split(','))[1]
n is odd and m is odd | l|map('string')|join('+') | d.y|sum|string + '!' | [l|length, t|length]|max | strftime_now('%Y-%m-%d') | strftime_now('%d %b %Y')
strftime_now('%H:%M %j %A %B %y %%') | strftime_now('') | missing.x | missing.x.y | missing['x'] | missing + 1 | missing < 1 | missing() | 1 + 'a' | 'a' + 1
t + none | [1] + (2,) | none + 1 | 1 / 0 | 1 % 0 | 'x' in 5 | 1 in 'abc' | n() | n.x.y | d.zzz.y | d['items'].x.y | -t | missing | tojson
none | length | 5 | length | n | join | l.append(4) | d.update({'a': 1}) | d.pop('x') | raise_exception('No way') | {'a': [missing]} | tojson | range(200000)
l | first | upper | missing | int | 'a' < 1 | none < 1 | [1, 'a'] | sort | missing | dictsort | {[1]: 2} | t[:2] ~ t[2:] | 'x'.join([1])
"""

STATEMENTS = [
    "a\n{% if b %}\nyes\n{% else %}\nno\n{% endif %}\nz\n", "{% if e %}1{% elif n == 7 %}2{% else %}3{% endif %}", "  {% if b %}  x  {% endif %}  y",
    "  {%+ if b %}x{% endif %}", "a  {%- if b -%}  x  {%- endif -%}  b", "a\n  {{- n -}}  \nb", "x {#- c -#} y", "x\n  {# c #}\ny", "{# c #}\n\ny",
    "{% if b +%}\nx{% endif %}", "{{ n }}\n", "{{ n }}\n\n", "\n{{ n }}\n \n", "{{ n -}}\n  x", "a {{+ n }} b", "x{#+ c +#}\ny", "   {#- a #}\n   {%- if b %} q{% endif %}",
    "\t {% if b %}x{% endif %} \t\n{% if b %}y{% endif %}", "a\r\nb\r{% if b %}\r\nc{% endif %}", "{% raw %}{{ x }} {% if %}{% endraw %}!", "  {%- raw -%}  {{ x }}  {%- endraw -%}  !",
    "{% raw %}\n a\n {% endraw %}\nb", "{{ '{{' }}{{ '%}' }}{{ \"}}\" }}", "{{ {'a': {'b': 1}}['a']['b'] }}", "{{{'a': 1}}}", "", "plain", "\n", "{{ '' }}", "{ { % # } }", "{{ n }}{{ m }}",
    "{% for i in l %}{{ i }},{% endfor %}", "{% for i in el %}x{% else %}none{% endfor %}", "{% for i in missing %}x{% else %}none{% endfor %}",
    "{% for k in d %}{{ k }};{% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k, v in d|items %}{{ k }}={{ v }};{% endfor %}", "{% for c in 'häß' %}{{ c }}.{% endfor %}",
    "{% for v in nest.values() %}{{ v }}{% endfor %}", "{% for a, (x, y) in [[1, [2, 3]]] %}{{ a }}{{ x }}{{ y }}{% endfor %}", "{% for i in n %}{% endfor %}", "{% for a, b in l %}{% endfor %}",
    "{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}|{% endfor %}",
    "{% for i in l %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }} {% endfor %}", "{% for i in l %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }} {% endfor %}",
    "{% for i in l %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for i in l if i > 1 %}{{ loop.index }}:{{ i }}/{{ loop.length }} {% endfor %}", "{% for i in l if i > 9 %}x{% else %}e{% endfor %}",
    "{% for i in l %}{% for j in l %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}", "{% for i in l %}{% set o = loop %}{% for j in 'ab' %}{{ o.index }}{{ loop.index }} {% endfor %}{% endfor %}",
    "{% for i in l %}{% if i == 1 %}{% break %}{% endif %}{{ i }}{% endfor %}", "{% for i in l %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}", "{% for i in l %}{% break %}{% else %}x{% endfor %}",
    "{% for i in range(3) %}{% for j in range(3) %}{% if j > i %}{% break %}{% endif %}{{ j }}{% endfor %};{% endfor %}", "{{ loop }}", "{% for i in l %}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}",
    "{% for x in [[1, [2]], [3]] recursive %}{{ loop.depth }}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{% endif %}{% endfor %}",
    "{% set x = 1 %}{{ x }}", "{% set x = 1 %}{% for i in l %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}", "{% set ns = namespace(x=0) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}",
    "{% set x = 1 %}{% if b %}{% set x = 2 %}{% endif %}{{ x }}", "{% if b %}{% set y = 5 %}{% endif %}{{ y }}", "{% if e %}{% set y = 5 %}{% endif %}{{ y is defined }}", "{% set a, b2 = 1, 2 %}{{ a }}{{ b2 }}",
    "{% set x %}  a{{ n }} {% endset %}[{{ x }}]", "{% set x | upper %}abc{% endset %}{{ x }}", "{% set x | replace('b', 'c') | trim %} abc {% endset %}[{{ x }}]", "{% set n = n + 1 %}{{ n }}",
    "{% for i in l %}{% set n = i %}{% endfor %}{{ n }}", "{% for n in l %}{{ n }}{% endfor %}{{ n }}", "{% set ns = namespace() %}{% set ns.a = 1 %}{{ ns.a }}{{ ns.b is defined }}", "{% set ns = namespace(d) %}{{ ns.x }}",
    "{% set ns = namespace(a=[1]) %}{% set ns.a = ns.a + [2] %}{{ ns.a }}{{ ns['a'] }}", "{% set d.x = 5 %}", "{% set q.x = 5 %}", "{% set ns = namespace(_a=1) %}", "{% set x = 1, 2 %}{{ x }}", "{% set x = [] %}{{ x }}{% set x = x + [1] %}{{ x }}",
    "{% macro f(a, b='B') %}{{ a }}-{{ b }}{% endmacro %}{{ f(1) }} {{ f(1, 2) }} {{ f(b=3, a=4) }} {{ f() }}", "{% macro f(x) %}{{ x|upper }}{% endmacro %}{{ f('a') ~ f('b') }}{{ f('ab')|length }}",
    "{% macro f(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}", "{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(4) }}", "{% macro f() %}{{ y }}{% endmacro %}{% set y = 3 %}{{ f() }}",
    "{% macro f() %}{% set t = 1 %}{{ t }}{% endmacro %}{{ f() }}{{ t }}", "{% macro f() %}{{ n }}{% endmacro %}{% for n in l %}{{ f() }}{% endfor %}", "{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}", "{% macro f(a) %}{% endmacro %}{{ f(z=2) }}",
    "{% macro f(x) %}[{{ caller() }}{{ x }}]{% endmacro %}{% call f(1) %}c{{ n }}{% endcall %}", "{% macro f() %}{% for i in l %}{{ caller(i) }}{% endfor %}{% endmacro %}{% call(i) f() %}<{{ i }}>{% endcall %}", "{% macro a() %}1{% endmacro %}{% macro c() %}{{ a() }}2{% endmacro %}{{ c() }}",
    "{% for i in l %}{% macro g() %}{{ i }}{% endmacro %}{{ g() }}{% endfor %}", "{% macro f(xs) %}{% for x in xs %}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}{% endmacro %}{{ f(l) }}", "{% with x = 5, y = n %}{{ x }}{{ y }}{% endwith %}{{ x }}",
    "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}", "{% filter upper %}a{{ t }}b{% endfilter %}", "{% filter replace('a', 'b') | upper %}aa{% endfilter %}", "{% generation %}x{{ n }}{% endgeneration %}y", "{% for i in l %}{% generation %}{{ i }}{% endgeneration %}{% endfor %}",
    "{% generation %}{% set q = 1 %}{% endgeneration %}{{ q }}", "{% if missing %}a{% endif %}b", "{% if l|length > 2 and d.x == 1 %}ok{% endif %}", "{% if 'x' in d and d['x'] is not none %}ok{% endif %}", "{{ d.items() | list }}", "{% for x in d.items()|sort %}{{ x[0] }}{% endfor %}",
    "{{ n if n else raise_exception('x') }}", "{{ raise_exception('Roles must alternate') }}", "{% if n == 7 %}{{ raise_exception('bad ' ~ n) }}{% endif %}", "{{ missing.x }}", "{{ d.items.x is defined }}", "{% set items = d['items'] %}{{ items }}", "{{ 'a' if n }}{{ 'b' if e }}",
    "{% for i in l %}{% if i != 2 %}{% continue %}{% endif %}{{ i }}{% else %}x{% endfor %}", "{% for i in l %}{% continue %}{% else %}x{% endfor %}", "{% for i in l %}{{ i }}{% if i == 1 %}{% break %}{% endif %}{% else %}x{% endfor %}",
    "{% for i in l %}{% if i == 1 %}{% set n = 'in' %}{% endif %}{{ n }} {% endfor %}", "{% set x = 0 %}{% for i in l %}{% for j in l %}{% set x = x + 1 %}{% endfor %}{{ x }}{% endfor %}", "{% for i in l recursive %}{{ i }}{% endfor %}", "{% set (a, c) = l[:2] %}{{ a }}{{ c }}",
    "{% set f = 'x' %}{% macro f() %}m{% endmacro %}{{ f() }}", "{% for m in p %}{{ m.k if m.on is defined and m.on else 'off' }}{% endfor %}", "{{ p|map(attribute='k')|map('upper')|unique|join('/') }}", "{{ p[0].items()|list }}{{ p[0]|length }}", "{% if p[0].get('on') %}a{% endif %}{% if p[2].get('on') %}b{% endif %}",
    "{% for i in range(2) %}\n  {% if i %}\n    x\n  {% else %}\n    y\n  {% endif %}\n{% endfor %}\nz", "{{ '%s' }}{{ '\\\\n' }}{{ \"a\\tb\" }}", "{% set x = {'a': [1, {'b': 2}]} %}{{ x.a[1].b }}{{ x }}", "{{ [1, 2, 3][1:][0] }}{{ 'abc'[1:][0] }}{{ (1, 2)[::-1] }}", "{{ loop is defined }}{% for i in [1] %}{{ loop is defined }}{% endfor %}",
    "{{ x }}{% set x = 1 %}{{ x }}", "{% for m in p %}{{ '<|' + m.k + '|>' + m['v']|string }}\n{% endfor %}", "{% for m in p %}{%- if loop.index0 == 0 %}{{- 'first' }}{%- elif loop.last -%} last {%- endif %}{% endfor %}", "{%- for m in p -%}\n  {{ m.k }}\n{%- endfor -%}\n",
    "{%- set ns = namespace(found=false) -%}\n{%- for m in p -%}\n{%- if m.on is defined and not m.on -%}{%- set ns.found = true -%}{%- endif -%}\n{%- endfor -%}\n{{ ns.found }}", "{{ p[::-1][0].k }}{{ (p|length - 1) - 1 }}", "{% set c = (t.split('o')|first).strip() %}{{ c }}",
    "{{ n }}{% if b %}\n\n{% endif %}\n\nq", "  {{ n }}  \n  {% set x = 1 %}  \n{{ x }}", "{% set x = 'a' %}\n{% set y = 'b' %}\n{{ x ~ y }}\n\n", "{%- if b %}\n    {{- 'x\\n' }}\n    {{- 'y' }}\n{%- endif %}\n", "{{ not b }}{{ not not b }}", "{{ 1 if b else 2 if e else 3 }}", "{{ (1, 2) }}{{ 1, }}",
]


def render(template: str) -> dict:
    case = {"template": template}
    try:
        case["text"] = chat_template_utils._compile_jinja_template(template).render(**VARIABLES)
    except Exception as error:  # whatever Python raises: the template fails
        case["error"] = type(error).__name__
    return case


class FixedDate(datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 3, 5, 14, 7, 9)


def main() -> None:
    chat_template_utils.datetime = FixedDate
    cases = []
    for line in EXPRESSIONS.strip().splitlines():
        cases += [render("{{ " + part + " }}") for part in split_expressions(line)]
    cases += [render(template) for template in STATEMENTS]
    value = {"now": [2026, 3, 5, 14, 7, 9], "variables": VARIABLES, "cases": cases}
    Path(sys.argv[1]).write_text(json.dumps(value, separators=(",", ":"), ensure_ascii=False) + "\n", encoding="utf-8")


def split_expressions(line: str) -> list[str]:
    """A part that begins with a filter's name belongs to the part before it."""
    parts: list[str] = []
    for part in line.split(" | "):
        name = re.match(r"\w*", part)[0]
        is_filter = name in FILTERS and (name != "d" or part.startswith("d("))
        if is_filter and parts:
            parts[-1] += " | " + part
        else:
            parts.append(part)
    return parts


if __name__ == "__main__":
    main()
