"""Chat templates against transformers' apply_chat_template."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tokenizers

from tokenglass.chat import render_chat
from tokenglass.tokenizer import from_gguf

transformers = pytest.importorskip("transformers")

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# In the manner of published templates: namespaces, macros, loop controls, tools as JSON, dates, refusals.
TOOLS = """\
{{- bos_token }}
{%- set ns = namespace(system="", seen=false) %}
{%- macro block(role, text) %}
    {{- "[" ~ role | upper ~ "]" ~ text | trim ~ eos_token }}
{%- endmacro %}
{%- for message in messages if message.role == "system" %}
    {%- set ns.system = ns.system ~ message.content %}
    {%- break %}
{%- endfor %}
{%- if tools %}
{{ "Tools:" }}
    {%- for tool in tools %}
{{ tool | tojson(indent=2) }}
    {%- endfor %}
{%- endif %}
{{- "Today: " ~ strftime_now("%Y") ~ ". " ~ ns.system }}
{%- for message in messages %}
    {%- if message.role == "system" %}{% continue %}{% endif %}
    {%- if message.role not in ["user", "assistant", "tool"] %}
        {{- raise_exception("Unknown role: " ~ message.role) }}
    {%- endif %}
    {%- if message.role == "assistant" %}
        {% generation %}
        {{- block(message.role, message.content if message.content is string else message.content[0].text) }}
        {% endgeneration %}
    {%- else %}
        {{- block(message.role, message.content) }}
    {%- endif %}
    {%- if message.tool_calls is defined %}
        {{- message.tool_calls | map(attribute="name") | join(", ") }}
    {%- endif %}
{%- endfor %}
{%- if enable_thinking is defined and enable_thinking %}<think>{% endif %}
{%- if add_generation_prompt %}{{ "[ASSISTANT]" }}{% endif %}
"""
STRIPPING = "{% for m in messages %}{{ m.role }}: {{ m.content | trim }}\n{% endfor %}"
REASONING = "{% for m in messages %}{{ m.reasoning_content }}|{{ m.thinking }}|{{ m.content }}\n{% endfor %}"
TEMPLATES = {"chatml": CHATML, "tools": TOOLS, "stripping": STRIPPING, "reasoning": REASONING}

USER = {"role": "user", "content": "What is <b>2 + 2</b>? Ünïcödé 你好 'quoted' \"double\""}
CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "one": [USER],
    "system": [{"role": "system", "content": "Be brief."}, USER],
    "answered": [USER, {"role": "assistant", "content": "4"}, {"role": "user", "content": " Sure?\n"}],
    "open": [USER, {"role": "assistant", "content": "It is "}],
    "open stripped": [USER, {"role": "assistant", "content": "It is"}],
    "none values": [{**USER, "tool_calls": None, "name": None}],
    "calls": [
        USER,
        {"role": "assistant", "content": "x", "tool_calls": [{"name": "add"}, {"name": "sub"}]},
        USER,
    ],
    "reasoning": [USER, {"role": "assistant", "content": "4", "reasoning": "2 and 2"}, USER],
}


@pytest.fixture(scope="module")
def theirs() -> Any:
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")


def ours(template: str) -> Any:
    return SimpleNamespace(chat_template=template, special_tokens={"bos_token": "<s>", "eos_token": "</s>"})


@pytest.mark.parametrize("conversation", list(CONVERSATIONS))
@pytest.mark.parametrize("template", list(TEMPLATES))
def test_rendering_equals_transformers(template: str, conversation: str, theirs: Any) -> None:
    messages = CONVERSATIONS[conversation]
    open_end = messages[-1]["role"] == "assistant"
    expected = theirs.apply_chat_template(
        messages, chat_template=TEMPLATES[template], tokenize=False,
        add_generation_prompt=not open_end, continue_final_message=open_end,
    )  # fmt: skip
    assert render_chat(ours(TEMPLATES[template]), messages) == expected


@pytest.mark.parametrize("variables", [{}, {"enable_thinking": True}, {"bos_token": "<other>"}], ids=str)
def test_variables_and_tools_equal_transformers(variables: dict[str, Any], theirs: Any) -> None:
    tools = [
        {"type": "function", "function": {"name": "add", "description": "a < b & é", "n": [1, 2.5, None]}}
    ]
    expected = theirs.apply_chat_template(
        [USER], chat_template=TOOLS, tools=tools, tokenize=False, add_generation_prompt=True, **variables
    )
    assert render_chat(ours(TOOLS), [USER], tools=tools, **variables) == expected


def test_forced_ends_equal_transformers(theirs: Any) -> None:
    messages = CONVERSATIONS["open"]
    for prompt, cont in ((True, False), (False, False), (False, True)):
        expected = theirs.apply_chat_template(
            messages, chat_template=CHATML, tokenize=False, add_generation_prompt=prompt,
            continue_final_message=cont,
        )  # fmt: skip
        got = render_chat(ours(CHATML), messages, add_generation_prompt=prompt, continue_final_message=cont)
        assert got == expected


def test_the_template_refuses_as_in_transformers(theirs: Any) -> None:
    messages = [{"role": "wizard", "content": "x"}]
    with pytest.raises(Exception, match="Unknown role: wizard"):
        theirs.apply_chat_template(messages, chat_template=TOOLS, tokenize=False)
    with pytest.raises(ValueError, match="refuses these messages: Unknown role: wizard"):
        render_chat(ours(TOOLS), messages)


def test_smollm2_chat_ids(smollm2_files: Any, theirs: Any) -> None:
    """Rendered, then encoded with special tokens read and none added."""
    tokenizer = from_gguf(Path(smollm2_files.path))
    expected = theirs.apply_chat_template(
        [USER], chat_template=tokenizer.chat_template, tokenize=False, add_generation_prompt=True
    )
    text = render_chat(tokenizer, [USER])
    assert text == expected
    ids = tokenizer.encode(text, add_special_tokens=False, parse_special=True).ids
    assert ids[0] == 1 and ids.count(1) == 3 and ids.count(2) == 2
    assert tokenizer.decode(ids) == text
