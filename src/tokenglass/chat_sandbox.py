"""A jinja sandbox that also bounds what a template can use up: time, and the size of every value it makes.

jinja's own sandbox keeps a template from Python's insides (3.1.6 or later: CVE-2024-56326, CVE-2025-27516),
but not from `{{ "a" * 10**10 }}` or endless loops. Here rendering runs in a thread of its own, which is
stopped when its time is over, and whatever can make a value larger than what it was given is asked first how
large it would become. Size is counted in characters: see `chat_limits`.

What a template sees besides is what transformers gives it (utils/chat_template_utils.py).
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import lru_cache, wraps
from threading import Thread
from typing import Any, TypeVar

from jinja2 import Environment, Template, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from tokenglass.chat_limits import TooMuch, check_call, check_operator, joined, weighed
from tokenglass.errors import ModelUnsupported
from tokenglass.text import safe_line

SECONDS = 2.0
MAX_TEMPLATE = 1 << 18  # characters; the longest published has about 30,000
_ADVICE = "give the prompt as a plain text"
T = TypeVar("T")


def render(template: str, values: dict[str, Any]) -> str:
    """The text a template makes of `values`, within the bounds.

    Raises:
        ValueError: the template refuses the values, such as messages in an order it does not know.
        ModelUnsupported: the template is broken, or takes too much time or memory.
    """
    if len(template) > MAX_TEMPLATE:
        raise ModelUnsupported(f"the chat template has {len(template):,} characters; {_ADVICE}")
    try:
        return _within(SECONDS, lambda: _compiled(template).render(values))
    except TooMuch as error:
        raise ModelUnsupported(f"the chat template takes {error}; {_ADVICE}") from error
    except TemplateSyntaxError as error:
        raise ModelUnsupported(f"the chat template is broken: {_line(error)}; {_ADVICE}") from error
    except (RecursionError, MemoryError) as error:
        raise ModelUnsupported(f"the chat template is nested too deeply; {_ADVICE}") from error
    except TemplateError as error:  # raise_exception(...), undefined values, the sandbox
        raise ValueError(f"the chat template refuses these messages: {_line(error)}") from error
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise ValueError(f"the chat template cannot use these messages: {_line(error)}") from error


class _Stop(BaseException):
    """Raised inside a rendering thread whose time is over; no `except Exception` catches it."""


def _within(seconds: float, work: Callable[[], T]) -> T:
    """The result of `work`, or TooMuch when it has none in time."""
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:
            failed.append(error)

    thread = Thread(target=run, name="chat template", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive() and thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_Stop))
        thread.join(seconds)  # takes effect at the thread's next step, so at once
        raise TooMuch(f"more than {seconds:g} seconds")
    if failed:
        raise failed[0]
    return done[0]


def _line(error: BaseException) -> str:
    return safe_line(" ".join(str(error).split()))[:200] or type(error).__name__


class _Generator(CodeGenerator):
    """Compiles what puts values together to calls that weigh the result."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_List(self, node: nodes.List, frame: Frame) -> None:
        self.write("environment.weighed(")
        super().visit_List(node, frame)
        self.write(")")

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:
        self.write("environment.weighed(")
        super().visit_Dict(node, frame)
        self.write(")")

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:
        loads = node.ctx == "load"
        self.write("environment.weighed(" if loads else "")
        super().visit_Tuple(node, frame)
        self.write(")" if loads else "")


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox with the bounds; methods that override jinja's have jinja's names."""

    code_generator_class = _Generator
    intercepted_binops = frozenset({"*", "+", "**", "%"})
    weighed = staticmethod(weighed)

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols], finalize=weighed
        )
        self.filters["tojson"] = _tojson
        self.filters = {name: _bounded(name, function) for name, function in self.filters.items()}
        self.globals = {
            "range": self.globals["range"],
            "cycler": self.globals["cycler"],
            "joiner": self.globals["joiner"],
            "dict": _TemplateDict(),
            "namespace": _TemplateNamespace,
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }

    def concat(self, parts: Iterable[str]) -> str:
        """Pieces of output, joined."""
        return joined(parts)

    def joined(self, parts: tuple[Any, ...]) -> str:
        """The `~` operator."""
        return joined(str(weighed(part)) for part in parts)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """`left operator right`, for the operators that can make much of little."""
        check_operator(operator, left, right)
        return weighed(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """A call in the template."""
        method = getattr(__obj, "__wrapped__", __obj)  # jinja wraps str.format
        owner = getattr(method, "__self__", None)
        if isinstance(owner, str | bytes | int | float):
            if method.__name__ == "join" and args:
                args = (_settled(args[0]), *args[1:])
            check_call(f"{type(owner).__name__}.{method.__name__}", (owner, *args), kwargs)
        else:
            for value in (*args, *kwargs.values()):
                weighed(value)  # a macro puts them together in `varargs` and `kwargs`
        return weighed(super().call(__context, __obj, *args, **kwargs))


class _Generation(Extension):
    """`{% generation %}` marks what the assistant wrote; for rendering it changes nothing."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        """The block as a call that returns its body."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Callable[[], str]) -> str:
        return caller()


class _TemplateDict:
    """`dict(...)` without the class `dict`, so that no attribute of it can be reached."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, keys: Iterable[Any], value: Any = None) -> dict[Any, Any]:
        """`dict.fromkeys`."""
        return dict.fromkeys(keys, value)


class _TemplateNamespace(Namespace):
    """`namespace(...)` that takes no underscored names, and no value that is too large."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # so that `namespace(self=1)` works
        attributes = dict(*args[1:], **kwargs)
        for name in attributes:
            _check_name(name)
        Namespace.__init__(args[0], attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, weighed(value))


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace takes no name with an underscore in front, such as {name!r}")


def _raise_exception(message: Any) -> None:
    raise TemplateError(str(message))


def _strftime_now(form: str) -> str:
    check_call("format", (form,), {})
    return datetime.now().strftime(form)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as it is, where jinja's own filter would escape it for HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _settled(value: Any) -> Any:
    """A lazy sequence as a list, so that it can be measured and still be used."""
    return list(value) if isinstance(value, Iterator) else value


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that is asked first how large its result would become."""
    passed = 1 if hasattr(function, "jinja_pass_arg") else 0  # the environment or context comes first

    @wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        own, given = args[:passed], args[passed:]
        if name == "join" and given:
            given = (_settled(given[0]), *given[1:])
        check_call(name, given, kwargs)
        return weighed(function(*own, *given, **kwargs))

    return bounded


@lru_cache(maxsize=8)
def _compiled(template: str) -> Template:
    return _Environment().from_string(template)
