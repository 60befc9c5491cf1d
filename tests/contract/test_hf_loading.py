"""How the hf engine is chosen and started, and what it refuses before transformers sees the folder.

Rules: design, section 9; the security rules on files (pickles, code in configurations, CVE-2026-4372).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokenglass as tg
from tests.conftest import FULL
from tests.contract.subjects import hf_engine
from tests.parity import families
from tests.parity.test_engine_files import rewritten
from tests.unit.test_tokenizer_sources import write_json
from tokenglass.engines import hf
from tokenglass.engines.base import Prefix
from tokenglass.errors import MissingDependency, ModelDamaged, ModelUnsupported, TokenglassError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
IDS = list(range(3, 30))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    """Folders with weights and a tokenizer of 258 tokens, and transformers' own models."""
    made = {}
    for name in ("llama", "opt"):
        folder = tmp_path_factory.mktemp(name)
        made[name] = (folder, families.make(name, folder, vocab_size=258))
        write_json(folder)
    return made


def changed(source: Path, target: Path, **fields: Any) -> Path:
    """A copy of a folder with other fields in its config.json."""
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    config = json.loads((target / "config.json").read_text()) | fields
    (target / "config.json").write_text(json.dumps(config))
    return target


# --------------------------------------------------------------------------------------------- which engine


def test_native_where_there_is_a_graph_and_hf_where_not(folders: Any) -> None:
    for name, wanted in (("llama", "onnx"), ("opt", "hf")):
        folder, theirs = folders[name]
        with tg.load(folder) as model:
            assert (model.info.engine, model.info.family) == (wanted, name)
            assert np.abs(model.logits(IDS) - families.reference(theirs, IDS)).max() < 5e-4
            assert model.next_tokens("hehe", n=3).rows[0].rank == 1


def test_hf_by_name_and_by_dtype_or_device(folders: Any) -> None:
    folder, _ = folders["llama"]
    for asked in ({"engine": "hf"}, {"device": "cpu"}, {"dtype": "float32"}):
        with tg.load(folder, **asked) as model:
            assert (model.info.engine, model.info.precision) == ("hf", "exact")


def test_without_the_packages_the_message_names_them(folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf, "find_spec", lambda name: None)
    assert not hf.installed()
    with pytest.raises(ModelUnsupported, match=r"engine='hf' \(pip install 'tokenglass\[hf\]'\)"):
        tg.load(folders["opt"][0])
    with pytest.raises(MissingDependency, match=r"pip install 'tokenglass\[hf\]'"):
        tg.load(folders["opt"][0], engine="hf")


@pytest.mark.parametrize(("found", "enough"), [("5.2.9", False), ("5.3.0", True), ("6.0.0.dev0", True)])
def test_transformers_must_be_new_enough(found: str, enough: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf, "version", lambda name: found)
    assert hf.installed() is enough


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"engine": "vllm"}, ValueError, "engine must be"),
        ({"engine": "hf", "precision": "fast"}, ValueError, "use dtype='bfloat16'"),
        ({"engine": "onnx", "dtype": "float32"}, ValueError, "dtype and device belong to engine='hf'"),
        ({"dtype": "int8"}, ValueError, "dtype must be 'float32'.*got 'int8'"),
        ({"device": "gpu"}, ValueError, "device must be cpu, cuda.*got 'gpu'"),
        ({"device": 0}, TypeError, "device must be a name"),
    ],
)
def test_arguments_that_contradict_each_other(
    folders: Any, asked: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        tg.load(folders["llama"][0], **asked)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_device_that_is_not_there(folders: Any) -> None:
    with pytest.raises(ValueError, match="as this machine has them, got 'cuda'"):
        tg.load(folders["llama"][0], device="cuda")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_session_is_opened_with_the_engine_that_wrote_it(
    folders: Any, dtype: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the checksum of its weights; the file only chooses among this program's own engines."""
    from tokenglass import models

    folder = folders["opt"][0]
    with tg.load(folder, dtype=dtype) as model:
        session = model.session("hehe")
        session.step(4)
        session.save(tmp_path / "trace")
        session.close()
        row = models.ModelRow(str(folder), "added", folder, 0, "", True, model.info.sha256)
    monkeypatch.setattr(models, "listing", lambda: [row])
    opened = tg.open_session(tmp_path / "trace")
    assert (opened.model.info.engine, opened.model.info.precision) == (
        model.info.engine,
        model.info.precision,
    )
    assert opened.ids == session.ids
    opened.step(2)
    opened.close()


def test_dtypes(folders: Any, tmp_path: Path) -> None:
    """bfloat16 keeps 8 bits: a few hundredths on logits of about 5, never none. "auto" is the stored one."""
    folder, theirs = folders["llama"]
    want = families.reference(theirs, IDS)
    for dtype in ("bfloat16", "float16"):
        with tg.load(folder, dtype=dtype) as model:
            assert model.info.precision == dtype
            assert 0 < np.abs(model.logits(IDS) - want).max() < 0.5
    families.make("llama-grouped", tmp_path, dtype="bfloat16")
    engine = hf_engine(tmp_path, dtype="auto")
    assert engine.info.precision == "bfloat16" and engine.info.weights.endswith("BF16")
    engine.close()


def test_a_gguf_is_widened_by_transformers(
    smollm2: Any, smollm2_transformers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said of the file is what the native engine says; transformers is told to stay on this disk."""
    asked: dict[str, Any] = {}

    def loaded(folder: str, **options: Any) -> Any:
        asked.update(options, folder=folder)
        return smollm2_transformers, {"missing_keys": [], "unexpected_keys": []}

    if not FULL:  # widening 210 matrices takes half a minute
        monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", loaded)
    model = tg.load("smollm2", engine="hf", device="cpu")
    if not FULL:
        assert asked["gguf_file"] == Path(smollm2.info.source).name
        assert asked["trust_remote_code"] is False and asked["local_files_only"] is True
    same = "name family parameters vocab_size context_length eos_ids bos_id layers hidden_size weights sha256"
    for name in (*same.split(), "tie_word_embeddings"):
        assert getattr(model.info, name) == getattr(smollm2.info, name), name
    ids = smollm2.tokenize("The capital of France is").ids
    assert np.abs(model.logits(ids) - smollm2.logits(ids)).max() < 5e-4


def test_sharded_weights(tmp_path: Path) -> None:
    theirs = families.make("llama-grouped", tmp_path, dtype="bfloat16", shard="60KB")
    engine = hf_engine(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    got = engine.forward([Prefix(tuple(IDS))], last=len(IDS)).logits
    assert got is not None and np.abs(got[0] - families.reference(theirs, IDS)).max() < 5e-4


# ---------------------------------------------------------------------------------------- what is not opened


@pytest.mark.parametrize("key", ["auto_map", "trust_remote_code", "_attn_implementation_internal"])
@pytest.mark.parametrize("deep", [False, True], ids=["top", "nested"])
def test_configurations_never_bring_code(
    folders: Any, tmp_path: Path, key: str, deep: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused by name before transformers is asked, with engine="hf" and without."""
    value = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    fields = {"text_config": {key: value}} if deep else {key: value}
    folder = changed(folders["opt"][0], tmp_path, **fields)
    (folder / "evil.py").write_text("raise SystemExit('code was run')")
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", _never)
    for engine in (None, "hf"):
        with pytest.raises(ModelUnsupported, match=f"{key}.*never") as caught:
            tg.load(folder, engine=engine)
        assert "\n" not in str(caught.value)


def _never(*_: Any, **__: Any) -> None:
    raise AssertionError("transformers saw the folder")


def test_pickles_are_refused_before_transformers_sees_them(
    folders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = changed(folders["opt"][0], tmp_path)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cposix\nsystem\n.")
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", _never)
    with pytest.raises(ModelUnsupported, match=r"pytorch_model\.bin', a pickle"):
        tg.load(folder, engine="hf")


def test_a_pickle_beside_safetensors_is_not_touched(folders: Any, tmp_path: Path) -> None:
    folder = changed(folders["opt"][0], tmp_path)
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cposix\nsystem\n.")
    with tg.load(folder, engine="hf") as model:
        assert np.isfinite(model.logits(IDS)).all()


def test_adapters_are_refused(folders: Any, tmp_path: Path) -> None:
    """With peft installed transformers would load the base model that the adapter names, from anywhere."""
    folder = changed(folders["opt"][0], tmp_path)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "somebody/else"}')
    with pytest.raises(ModelUnsupported, match="adapter"):
        tg.load(folder, engine="hf")


def test_a_kernel_of_the_hub_named_in_a_configuration_is_not_fetched(folders: Any, tmp_path: Path) -> None:
    fields = {"attn_implementation": "somebody/kernel", "_experts_implementation": "somebody/kernel"}
    folder = changed(folders["opt"][0], tmp_path, **fields)
    engine: Any = hf_engine(folder)
    assert engine._network.config._attn_implementation in ("sdpa", "eager")


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"model_type": "nonesuch"}, ModelUnsupported, "knows no model_type 'nonesuch'"),
        ({"model_type": None}, ModelUnsupported, "knows no model_type"),
        ({"model_type": "t5", "is_encoder_decoder": True}, ModelUnsupported, "encoder-decoder"),
        ({"model_type": "bert", "is_decoder": False}, TokenglassError, "."),
        ({"quantization_config": {"quant_method": "gptq"}}, ModelUnsupported, "quantised weights"),
        ({"num_attention_heads": "many"}, ModelDamaged, "num_attention_heads"),
        ({"hidden_size": 60}, TokenglassError, "."),
        ({"eos_token_id": 999}, ModelDamaged, "eos_token_id|special token id 999"),
    ],
)
def test_configurations_that_do_not_fit(
    folders: Any, tmp_path: Path, fields: Any, error: type[Exception], message: str
) -> None:
    folder = changed(folders["opt"][0], tmp_path, **fields)
    (folder / "generation_config.json").unlink(missing_ok=True)
    with pytest.raises(error, match=message) as caught:
        tg.load(folder, engine="hf")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda t: {k: v for k, v in t.items() if "layers.1.fc1.weight" not in k},
            ModelDamaged,
            "no tensor 'model.decoder.layers.1.fc1.weight'",
        ),
        (
            lambda t: t | {"model.decoder.layers.0.adapter": np.ones(4, np.float32)},
            ModelUnsupported,
            "an unknown tensor .*adapter",
        ),
        (
            lambda t: t | {"model.decoder.layers.0.fc1.bias": np.ones(5, np.float32)},
            ModelUnsupported,
            "fc1.bias|mismatch|size",
        ),
    ],
    ids=["missing", "unknown", "shape"],
)
def test_weights_that_do_not_fit_are_named(
    folders: Any, tmp_path: Path, change: Any, error: type[Exception], message: str
) -> None:
    """Transformers would go on with random numbers in their place, or without them."""
    folder = changed(folders["opt"][0], tmp_path)
    rewritten(folder, change)
    with pytest.raises(error, match=message) as caught:
        tg.load(folder, engine="hf")
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_numbers_are_named(folders: Any, tmp_path: Path) -> None:
    folder = changed(folders["opt"][0], tmp_path)
    name = "model.decoder.final_layer_norm.weight"
    rewritten(folder, lambda t: t | {name: np.full_like(t[name], np.nan)})
    with pytest.raises(ModelUnsupported, match="logits are not finite"):
        tg.load(folder, engine="hf")


def test_a_tokenizer_that_is_not_reproduced_is_refused_by_name(folders: Any, tmp_path: Path) -> None:
    folder = changed(folders["opt"][0], tmp_path)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.model").write_bytes(b"sentencepiece")
    with pytest.raises(ModelUnsupported, match=r"tokenizer\.model only; save a tokenizer\.json"):
        tg.load(folder, engine="hf")


def test_a_model_larger_than_memory_is_refused(folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what its dtype takes: 2 bytes a weight fit where 4 do not."""
    from tokenglass.files import memory

    size = sum(p.numel() for p in folders["opt"][1].parameters())
    monkeypatch.setattr(memory, "WORKSPACE", 0)
    monkeypatch.setattr(memory, "free_memory", lambda: 3 * size)
    with pytest.raises(ModelUnsupported, match="of memory"):
        tg.load(folders["opt"][0], engine="hf")
    with tg.load(folders["opt"][0], engine="hf", dtype="bfloat16") as model:
        assert model.info.precision == "bfloat16"


# ---------------------------------------------------------------------------------------- what it remembers


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    """A token takes 3 layers x 2 x 2 heads x 16 floats; beyond the bound the oldest go, and numbers stay."""
    theirs = families.make("llama-grouped", tmp_path)
    engine: Any = hf_engine(tmp_path, cache_bytes=200_000)
    rng = np.random.default_rng(0)
    old = engine.forward([Prefix(tuple(IDS))]).nodes[0]
    for _ in range(20):
        engine.forward([Prefix(tuple(rng.integers(3, 200, 60).tolist()))])
        assert engine._memory.n_bytes <= 200_000 + 2 * 60 * 1024
    ids = (*IDS, 7)
    row = engine.forward([Prefix(ids, old)]).logits[0, 0]
    assert np.abs(row - families.reference(theirs, list(ids))[-1]).max() < 5e-4


def test_interrupted_runs_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends between two layers leaves keys of some layers; the next run writes over them."""
    theirs = families.make("llama-grouped", tmp_path)
    engine: Any = hf_engine(tmp_path)
    node = engine.forward([Prefix(tuple(IDS))]).nodes[0]
    block = engine._network.model.model.layers[2]
    for ids in ((*IDS, 9), (*IDS, 9, 8), (*IDS[:20], 5), tuple(IDS)):
        with monkeypatch.context() as patch:
            patch.setattr(block, "forward", _interrupt)
            with pytest.raises(KeyboardInterrupt):
                engine.forward([Prefix(ids, node), Prefix((*ids, 3), node)])
        forward = engine.forward([Prefix(ids, node)])
        assert np.abs(forward.logits[0, 0] - families.reference(theirs, list(ids))[-1]).max() < 5e-4


def _interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_growing_in_place_copies_rarely(tmp_path: Path) -> None:
    """Buffers grow by half and at least by 64: 200 single steps move them at most three times, not 200."""
    families.make("llama-grouped", tmp_path)
    engine: Any = hf_engine(tmp_path)
    prefix, seen = Prefix((1,)), set()
    for i in range(200):
        forward = engine.forward([prefix])
        seen.add(forward.nodes[0].strip.layers[0].buffers[0].data_ptr())
        prefix = prefix.extended(3 + i % 190, forward.nodes[0])
    assert len(seen) <= 4 and len(engine._memory._strips) == 1


def test_memories_are_those_that_the_models_allow(tmp_path: Path) -> None:
    kinds = {"bloom": "StripMemory", "lfm2": "StateMemory", "mamba": "StateMemory", "rwkv": "PlainMemory"}
    for name, kind in kinds.items():
        (tmp_path / name).mkdir()
        families.make(name, tmp_path / name)
        engine: Any = hf_engine(tmp_path / name)
        assert type(engine._memory).__name__ == kind
        kept = {"tree", "batch"} & engine.info.capabilities
        assert kept == ({"tree", "batch"} if name == "bloom" else set())


def test_a_model_that_ignores_padding_runs_texts_of_one_length_together(tmp_path: Path) -> None:
    """The trial finds it out: a model whose positions count the padding is not given any."""
    from tokenglass.engines.hf.network import Network
    from tokenglass.engines.hf.trial import tried

    theirs = families.make("llama-grouped", tmp_path)

    class Deaf(Network):
        def _padding(self, *_: Any) -> dict[str, Any]:
            return {}

    memory: Any = tried(Deaf(theirs), 1 << 20).memory
    assert type(memory).__name__ == "StripMemory" and not memory.padded
    from tokenglass.engines.hf.network import Need

    texts = [tuple(IDS[:n]) for n in (5, 9, 5, 12)]
    texts[2] = (*texts[2][:4], 99)
    answers = memory.answers([Prefix(ids) for ids in texts], Need())
    for ids, answer in zip(texts, answers, strict=True):
        assert np.abs(answer.logits[0] - families.reference(theirs, list(ids))[-1]).max() < 5e-4


@pytest.mark.parametrize("is_intel", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 5, 8, 9])
def test_few_rows_have_the_same_products(rows: int, is_intel: bool, monkeypatch: Any) -> None:
    """With and without a bias, flat and as (B, n, D): another order of 96 sums of about 1, so 1e-5."""
    from tokenglass.engines.hf import linear
    from tokenglass.engines.hf.linear import quicken

    monkeypatch.setattr(linear, "_is_intel", lambda: is_intel)
    torch.manual_seed(rows)
    for bias in (True, False):
        layer = torch.nn.Linear(96, 40, bias=bias)
        given = torch.randn(rows, 1, 96)
        want = torch.nn.functional.linear(given, layer.weight, layer.bias)
        quicken(layer)
        assert torch.backends.mkl.is_available() == ("forward" in vars(layer))
        for each in (given, given.transpose(0, 1), given.expand(rows, 1, 96)[:, 0]):
            got = layer(each)
            assert got.is_contiguous()
            assert (got.reshape(rows, 40) - want.reshape(rows, 40)).abs().max() < 1e-5
