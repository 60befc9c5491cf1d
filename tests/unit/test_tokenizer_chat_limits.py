"""What a chat template may use up: hostile ones end soon, in one line, with little memory."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace
from typing import Any

import pytest

from tokenglass import chat_sandbox
from tokenglass.chat import render_chat
from tokenglass.errors import ModelUnsupported

USER = {"role": "user", "content": "Hi"}
GROWING = "{% set ns = namespace(x=START) %}{% for i in range(60) %}{% set ns.x = STEP %}{% endfor %}"


def render(template: str, messages: Any = (USER,), **options: Any) -> str:
    return render_chat(SimpleNamespace(chat_template=template, special_tokens={}), messages, **options)


def growing(start: str, step: str, end: str = "{{ ns.x }}") -> str:
    return GROWING.replace("START", start).replace("STEP", step) + end


TOO_MUCH = {
    "repeated text": '{{ "a" * 10**10 }}',
    "repeated list": "{{ ([1] * 10**10) | length }}",
    "doubled by ~": growing('"ab"', "ns.x ~ ns.x"),
    "doubled by +": growing('"ab"', "ns.x + ns.x"),
    "doubled list": growing("[1]", "ns.x + ns.x"),
    "doubled by a block": growing('"ab"', "ns.x").replace(
        "{% set ns.x = ns.x %}", "{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}"
    ),
    "doubled by a macro": "{% macro m(x) %}{{ x }}{{ x }}{% endmacro %}" + growing('"ab"', "m(ns.x)"),
    "lists in lists, compared": growing("[1]", "[ns.x, ns.x]", "{{ ns.x == ns.x }}"),
    "tuples in tuples": growing("(1,)", "(ns.x, ns.x)"),
    "mappings as JSON": growing("{}", "{'a': ns.x, 'b': ns.x}", "{{ ns.x | tojson }}"),
    "dict()": growing("{}", "dict(a=ns.x, b=ns.x)"),
    "squared number": growing("3", "ns.x * ns.x"),
    "power": "{{ 10 ** (10 ** 8) }}",
    "shifted": "{{ (5).to_bytes(10**9, 'big') }}",
    "center": '{{ "a".center(10**9) }}',
    "filter center": '{{ "a" | center(10**9) }}',
    "percent width": '{{ "%999999999d" % 1 }}',
    "percent star": '{{ "%*d" % (10**9, 1) }}',
    "format width": '{{ "{:>999999999}".format(1) }}',
    "format given width": '{{ "{:>{}}".format(1, 10**9) }}',
    "format map": '{{ "{a:>999999999}".format_map({"a": 1}) }}',
    "filter format": '{{ "%999999999d" | format(1) }}',
    "replace": '{{ ("a" * 100000).replace("a", "b" * 100000) }}',
    "filter replace": '{{ ("a" * 100000) | replace("a", "b" * 100000) }}',
    "join": '{{ ("b" * 100000).join(range(10000) | map("string")) }}',
    "filter join": '{{ range(10000) | join("b" * 100000) }}',
    "translate": '{{ ("a" * 100000).translate({97: "b" * 100000}) }}',
    "expandtabs": '{{ ("\t" * 100000).expandtabs(100000) }}',
    "indent": '{{ ("a\n" * 100000) | indent("b" * 100000) }}',
    "wordwrap": '{{ ("a " * 100000) | wordwrap(1, wrapstring="b" * 100000) }}',
    "indented JSON": "{{ ([[1] * 1000] * 100) | tojson(indent=1000) }}",
    "bytes": '{{ "a".encode().center(10) }}',
    "output": "{% for i in range(100000) %}{{ 'a' * 1000 }}{% endfor %}",
    "namespace in a list": "{% set ns = namespace() %}{{ [ns] }}",
    "nested deeply": growing("[1]", "[ns.x]").replace("range(60)", "range(200)"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(TOO_MUCH))
def test_too_large_a_value_is_refused_before_it_is_made(name: str) -> None:
    """At most 64 MB, where the values would have had gigabytes: 4 million characters, and measuring them."""
    tracemalloc.start()
    try:
        with pytest.raises(
            ModelUnsupported, match=r"the chat template takes .*; give the prompt as a plain text"
        ):
            render(TOO_MUCH[name])
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% set r = range(99999) %}{% for i in r %}{% for j in r %}{% set x = j %}{% endfor %}{% endfor %}",
    ],
)
def test_an_endless_template_is_stopped(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_sandbox, "SECONDS", 0.3)
    with pytest.raises(ModelUnsupported, match=r"the chat template takes more than 0\.3 seconds"):
        render(template)


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ messages[0].content.__class__.__base__.__subclasses__() }}",
        "{{ ''.format.__self__.__class__.x }}",
        "{{ '{0.__class__.__mro__}'.format(1) }}",
        "{{ namespace(__class__=1) }}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
        "{{ messages.append(1) }}",
        "{{ messages[0].clear() }}",
        "{{ self.__init__ }}{{ self._TemplateReference__context.environment.loader }}",
        "{{ ''|attr('__class__')|attr('__mro__') }}{{ raise_exception('end') }}",
        "{% include 'other' %}",
        "{% import 'os' as os %}",
    ],
)
def test_the_insides_of_python_are_out_of_reach(template: str) -> None:
    with pytest.raises((ValueError, ModelUnsupported), match="the chat template") as caught:
        render(template)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("template", "error", "message"),
    [
        ("{% for", ModelUnsupported, "is broken: unexpected"),
        ("{{ " + "(" * 5_000 + "1" + ")" * 5_000 + " }}", ModelUnsupported, "nested too deeply"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", ModelUnsupported, "nested too deeply"),
        ("a" * 300_000, ModelUnsupported, "has 300,000 characters"),
        ("{{ nothing.there }}", ValueError, "refuses these messages: 'nothing' is undefined"),
        ("{{ raise_exception('a\nb\x1b[2J') }}", ValueError, r"refuses these messages: a b⟨ESC⟩\[2J"),
        ("{{ 1 / 0 }}", ValueError, "cannot use these messages: division by zero"),
        ("{{ 'a' + 1 }}", ValueError, "cannot use these messages"),
        ("{{ range(10**6) }}", ValueError, "Range too big"),
    ],
)
def test_templates_that_fail_say_why_in_one_line(template: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        render(template)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("messages", "error", "message"),
    [
        ([], ValueError, "at least one message"),
        ("Hi", TypeError, "messages must be a list of mappings, got str"),
        (USER, TypeError, "got dict"),
        (None, TypeError, "got NoneType"),
        (["Hi"], TypeError, "a chat message must be a mapping"),
        ([{"role": "assistant"}], ValueError, "the last message has no text to continue"),
        ([{"role": "assistant", "content": [{"image": 1}]}], ValueError, "no text to continue"),
    ],
)
def test_what_are_no_messages(messages: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        render("{{ messages }}", messages)


def test_a_model_without_a_template_says_so() -> None:
    with pytest.raises(
        ModelUnsupported, match="this model has no chat template; give the prompt as a plain text"
    ):
        render_chat(SimpleNamespace(chat_template=None, special_tokens={}), [USER])


def test_a_dropped_last_message_cannot_be_continued() -> None:
    with pytest.raises(ValueError, match="the chat template drops the end of the last message"):
        render("nothing", [{"role": "assistant", "content": "Well"}])
    with pytest.raises(ValueError, match="exclude each other"):
        render("x", [USER], add_generation_prompt=True, continue_final_message=True)


def test_objects_in_messages_are_shown_by_type_only() -> None:
    """A template cannot call methods of what a caller happens to put into a message."""

    class Danger:
        def destroy(self) -> str:
            raise AssertionError("called")

    assert render("{{ messages[0].image }}", [{**USER, "image": Danger()}]) == "<Danger>"
    with pytest.raises(ValueError, match="has no attribute 'destroy'"):
        render("{{ messages[0].image.destroy() }}", [{**USER, "image": Danger()}])


def test_messages_are_not_changed() -> None:
    messages = [USER, {"role": "assistant", "content": [{"type": "text", "text": "Well"}], "reasoning": "r"}]
    before = repr(messages)
    assert render("{{ messages[-1].content[0].text }}", messages) == "Well"
    assert repr(messages) == before


def test_a_long_conversation_is_no_trouble() -> None:
    """2,000 messages of 500 characters: a million characters in all."""
    messages = [{"role": "user", "content": "x" * 500}] * 2_000
    text = render(
        "{% for m in messages %}{{ m.role ~ ': ' ~ m.content | trim + '\n' }}{% endfor %}", messages
    )
    assert len(text) == 2_000 * 507
