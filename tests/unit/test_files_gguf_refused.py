"""GGUF headers with one thing wrong: each is refused with one line that says what and where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_files_gguf import (
    ARRAY,
    BOOL,
    F32,
    STRING,
    TOKENS,
    U8,
    Parts,
    key,
    number,
    numbers,
    row,
    text,
    texts,
    u32,
    u64,
)
from tokenglass.errors import ModelDamaged, ModelNotFound, ModelUnsupported
from tokenglass.files.gguf import check_model, read_header
from tokenglass.files.gguf_cursor import MAX_HEADER


def _replaced(**changes: Any) -> Callable[[], bytes]:
    """A sound file with some attributes or some keys and rows replaced; None removes one."""

    def build() -> bytes:
        parts = Parts()
        for name, value in changes.items():
            target = parts.keys if name in parts.keys or name.startswith("key_") else parts.rows
            if hasattr(parts, name):
                setattr(parts, name, value)
            elif value is None:
                del target[name]
            else:
                target[name] = value
        return parts.build()

    return build


def _cut(length: int) -> Callable[[], bytes]:
    return lambda: Parts().build()[:length]


LONG = "n" * 200
STRUCTURE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is damaged: it is empty"),
    "short magic": (lambda: b"GG", "begins with b'GG'"),
    "other magic": (_replaced(magic=b"PK\x03\x04"), "begins with b'PK"),
    "only magic": (_cut(4), "the header needs 8 bytes of 4"),
    "only version": (_cut(8), "the header needs 16 bytes of 8"),
    "version 1": (_replaced(version=1), "GGUF version 1 is unknown (2 and 3 are readable)"),
    "version 4": (_replaced(version=4), "GGUF version 4 is unknown"),
    "big endian": (_replaced(version=3 << 24), "big-endian"),
    "too many tensors": (_replaced(n_tensors=1 << 40), "1,099,511,627,776 tensors, more than the 32,768"),
    "too many keys": (_replaced(n_keys=1 << 40), "1,099,511,627,776 keys, more than the 4,096"),
    "one tensor more than there is": (_replaced(n_tensors=4, data=b""), "tensor '' needs"),
    "one key more than there is": (_replaced(n_keys=13), "bytes in the name of the tensor table"),
    "cut in the keys": (_cut(60), "key "),
    "cut in the data": (lambda: Parts().build()[:-1], "tensor 'blk.0.ffn_up.weight' ends at byte"),
    "duplicate key": (
        _replaced(key_twice=number("llama.block_count", 1)),
        "key 'llama.block_count' appears twice",
    ),
    "key name too long": (_replaced(arch=u64(1 << 20)), "1,048,576 bytes in the name of key 1 of 12"),
    "key name no text": (_replaced(arch=key(b"\xff", U8, b"1")), "key 1 of 12 has a name that is not UTF-8"),
    "key type unknown": (
        _replaced(arch=key("a", 13, b"")),
        "key 'a' has value type 13, which does not exist",
    ),
    "array type unknown": (
        _replaced(arch=key("a", ARRAY, u32(99) + u64(1))),
        "key 'a' is an array of value type 99, which does not exist",
    ),
    "nested array": (_replaced(arch=key("a", ARRAY, u32(ARRAY) + u64(1))), "key 'a' is an array of arrays"),
    "truth value of 2": (_replaced(arch=key("a", BOOL, b"\x02")), "key 'a' is a truth value of 2"),
    "truth values of 2": (
        _replaced(arch=key("a", ARRAY, u32(BOOL) + u64(2) + b"\x01\x02")),
        "key 'a' holds a truth value of 2",
    ),
    "text too long": (
        _replaced(arch=key("a", STRING, u64(1 << 62))),
        "key 'a' needs 4,611,686,018,427,387,9",
    ),
    "array too long": (
        _replaced(arch=key("a", ARRAY, u32(F32) + u64(1 << 62))),
        "key 'a' needs 18,446,744,073,",
    ),
    "too many texts": (
        _replaced(arch=key("a", ARRAY, u32(STRING) + u64(1 << 62))),
        "key 'a' needs 36,893,488,147,",
    ),
    "text in array too long": (
        _replaced(arch=key("a", ARRAY, u32(STRING) + u64(2) + text("x") + u64((1 << 64) - 1))),
        "key 'a' needs",
    ),
    "alignment 0": (
        _replaced(key_a=number("general.alignment", 0)),
        "general.alignment is '0', not a power of 2",
    ),
    "alignment 48": (_replaced(key_a=number("general.alignment", 48)), "general.alignment is '48'"),
    "alignment a text": (
        _replaced(key_a=key("general.alignment", STRING, text("32"))),
        "general.alignment is '32'",
    ),
    "alignment true": (
        _replaced(key_a=key("general.alignment", BOOL, b"\x01")),
        "general.alignment is 'True'",
    ),
    "tensor name too long": (
        _replaced(norm=row(LONG, (32,), 0, 640)),
        "200 bytes in the name of the tensor table",
    ),
    "tensor name no text": (_replaced(norm=row(b"\xff", (32,), 0, 640)), "a name that is not UTF-8"),
    "tensor twice": (
        _replaced(norm=row("token_embd.weight", (32,), 0, 640)),
        "'token_embd.weight' appears twice",
    ),
    "five dimensions": (
        _replaced(norm=row("n", (1,) * 5, 0, 640)),
        "5 dimensions in tensor 'n', more than the 4",
    ),
    "dimension 0": (_replaced(norm=row("n", (32, 0), 0, 640)), "tensor 'n' has the impossible shape [0, 32]"),
    "product too large": (
        _replaced(norm=row("n", (1 << 31,) * 4, 0, 640)),
        "tensor 'n' has the impossible shape",
    ),
    "type unknown": (_replaced(norm=row("n", (32,), 4, 640)), "tensor 'n' has type 4, which is unknown"),
    "type absurd": (_replaced(norm=row("n", (32,), 1 << 31, 640)), "tensor 'n' has type 2147483648"),
    "row no multiple of the block": (
        _replaced(up=row("n", (33, 2), 3, 768)),
        "tensor 'n' has a row length that is not a multiple of Q4_1's 32",
    ),
    "offset not aligned": (
        _replaced(norm=row("n", (32,), 0, 641)),
        "tensor 'n' lies at offset 641, not a multiple of 32",
    ),
    "offset behind the end": (
        _replaced(norm=row("n", (32,), 0, 1 << 40)),
        "tensor 'n' ends at byte 1,099,511,6",
    ),
    "offset near 2**64": (
        _replaced(norm=row("n", (32,), 0, (1 << 64) - 32)),
        "tensor 'n' ends at byte 18,446,744",
    ),
    "overlap": (_replaced(norm=row("n", (32,), 0, 608)), "tensor 'n' overlaps 'token_embd.weight'"),
    "same place": (_replaced(norm=row("n", (160,), 0, 0)), "overlaps"),
    "escape in a name": (_replaced(norm=row("\x1b[2J", (32,), 4, 0)), "tensor '\\x1b[2J' has type 4"),
}


@pytest.mark.parametrize("case", STRUCTURE)
def test_read_header_refuses(case: str, tmp_path: Path) -> None:
    build, message = STRUCTURE[case]
    path = tmp_path / "bad.gguf"
    path.write_bytes(build())
    with pytest.raises(ModelDamaged) as caught:
        read_header(path)
    line = str(caught.value)
    assert message in line
    assert line.startswith("bad.gguf is damaged: ") and line.isprintable() and ";" in line


def test_read_header_refuses_every_cut(tmp_path: Path) -> None:
    """A sound file that is cut anywhere is refused: its last byte belongs to a tensor."""
    whole, path = Parts().build(), tmp_path / "cut.gguf"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelDamaged):
            read_header(path)


def test_read_header_refuses_a_header_without_end(tmp_path: Path) -> None:
    """A sparse file of 1 TB whose first array claims most of it: refused after 32 MiB, not read."""
    path = tmp_path / "sparse.gguf"
    with open(path, "wb") as file:
        file.write(b"GGUF" + u32(3) + u64(0) + u64(1) + text("a") + u32(ARRAY) + u32(U8) + u64(1 << 39))
        file.truncate(1 << 40)
    with pytest.raises(ModelDamaged, match=f"larger than {MAX_HEADER:,} bytes"):
        read_header(path)


def test_read_header_refuses_more_text_than_memory_allows(tmp_path: Path) -> None:
    parts = Parts(
        keys={"a": key("a", ARRAY, u32(STRING) + u64(3_000_000) + bytes(24_000_000))}, rows={}, data=b""
    )
    with pytest.raises(ModelDamaged, match="more text than any known model"):
        read_header(parts.write(tmp_path))


@pytest.mark.parametrize("name", ["missing.gguf", "folder.gguf", "a\0b"])
def test_read_header_names_what_cannot_be_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.gguf").mkdir()
    with pytest.raises(ModelNotFound, match=r"cannot be read \(.+\); check the path"):
        read_header(tmp_path / name)


def test_read_header_refuses_what_never_ends() -> None:
    with pytest.raises(ModelNotFound, match="not a file"):
        read_header(Path("/dev/zero"))


VALUES: dict[str, tuple[Callable[[], bytes], str]] = {
    "no architecture": (_replaced(arch=None), "general.architecture is missing"),
    "no block count": (_replaced(blocks=None), "llama.block_count is missing"),
    "block count 0": (_replaced(blocks=number("llama.block_count", 0)), "must be in [1, 4,096], got 0"),
    "block count 2": (_replaced(blocks=number("llama.block_count", 2)), "block 1 of 2 has no tensors"),
    "block count a text": (
        _replaced(blocks=key("llama.block_count", STRING, text("1"))),
        "llama.block_count is not an integer",
    ),
    "block count true": (
        _replaced(blocks=key("llama.block_count", BOOL, b"\x01")),
        "block_count is not an integer",
    ),
    "a block too many": (
        _replaced(norm=row("blk.1.attn_norm.weight", (32,), 0, 640)),
        "tensors of block '1' in a model of 1 blocks",
    ),
    "width 64": (
        _replaced(width=number("llama.embedding_length", 64)),
        "is 5 x 32 but 5 tokens of width 64 need 5 x 64",
    ),
    "width absurd": (_replaced(width=number("llama.embedding_length", 1 << 30)), "must be in [1, 1,048,576]"),
    "context 0": (_replaced(context=number("llama.context_length", 0)), "llama.context_length must be in"),
    "context absurd": (_replaced(context=number("llama.context_length", 1 << 31)), "got 2,147,483,648"),
    "heads 0": (
        _replaced(heads=number("llama.attention.head_count", 0)),
        "head_count must be in [1, 32], got 0",
    ),
    "heads 5": (_replaced(heads=number("llama.attention.head_count", 5)), "32 cannot be divided by"),
    "shared 3": (_replaced(shared=number("llama.attention.head_count_kv", 3)), "4 heads cannot share"),
    "shared 8": (_replaced(shared=number("llama.attention.head_count_kv", 8)), "must be in [1, 4], got 8"),
    "no tokens": (_replaced(tokens=None), "tokenizer.ggml.tokens is not a list of tokens"),
    "tokens numbers": (_replaced(tokens=numbers("tokenizer.ggml.tokens", [1])), "is not a list of tokens"),
    "no tokenizer model": (_replaced(model=None), "tokenizer.ggml.model is missing"),
    "a token more than rows": (
        _replaced(tokens=texts("tokenizer.ggml.tokens", [*TOKENS, "x"]), types=None),
        "is 5 x 32 but 6 tokens of width 32 need 6 x 32",
    ),
    "types too few": (
        _replaced(types=numbers("tokenizer.ggml.token_type", [1])),
        "token_type has 1 entries for 5",
    ),
    "types texts": (
        _replaced(types=texts("tokenizer.ggml.token_type", ["1"])),
        "token_type has 1 entries for 5",
    ),
    "types a number": (_replaced(types=number("tokenizer.ggml.token_type", 1)), "token_type has no entries"),
    "merges numbers": (
        _replaced(merges=numbers("tokenizer.ggml.merges", [1])),
        "merges is not a list of texts",
    ),
    "bos outside": (
        _replaced(bos=number("tokenizer.ggml.bos_token_id", 5)),
        "bos_token_id must be in [0, 4], got 5",
    ),
    "eos outside": (
        _replaced(eos=number("tokenizer.ggml.eos_token_id", 1 << 31)),
        "eos_token_id must be in [0, 4]",
    ),
    "no embedding": (_replaced(embedding=row("x", (32, 5), 0, 0)), "tensor 'token_embd.weight' is missing"),
}


@pytest.mark.parametrize("case", VALUES)
def test_check_model_refuses(case: str, tmp_path: Path) -> None:
    build, message = VALUES[case]
    path = tmp_path / "bad.gguf"
    path.write_bytes(build())
    header = read_header(path)
    with pytest.raises(ModelDamaged) as caught:
        check_model(header)
    assert message in str(caught.value) and str(caught.value).isprintable()


def test_check_model_vocabulary_only(tmp_path: Path) -> None:
    header = read_header(Parts(rows={}, data=b"").write(tmp_path))
    check_model(header, vocabulary_only=True)
    with pytest.raises(ModelUnsupported, match="holds a vocabulary and no weights"):
        check_model(header)


def test_check_model_one_part_of_many(tmp_path: Path) -> None:
    parts = Parts()
    parts.keys["split"] = number("split.count", 3)
    with pytest.raises(ModelUnsupported, match="one of 3 parts; join them"):
        check_model(read_header(parts.write(tmp_path)))
