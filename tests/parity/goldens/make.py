"""Makes the goldens of the strategies that newer releases of transformers no longer run.

Contrastive search and DoLa were last inside transformers 4.55.4, group and constrained beam search inside
4.56.2. Install each into a folder of its own and say where:

    pip install --no-deps --target OLD transformers==4.55.4 'huggingface_hub<1.0' 'tokenizers<0.22'
    pip install --no-deps --target NEW transformers==4.56.2 'huggingface_hub<1.0' 'tokenizers<0.23'
    python -m tests.parity.goldens.make OLD NEW [contrastive] [dola] [groups] [constrained]

The models are those of `tests.parity.families`, saved by the release under test and read by the old one in a
child process, which first checks that both compute the same logits. A golden holds the checksum of the
weights, so that a test knows it has made the same model again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
RELEASES = {"contrastive": "4.55.4", "dola": "4.55.4", "groups": "4.56.2", "constrained": "4.56.2"}
CASES = 24  # of each strategy and model
PAD = 210


def beam_fields(rng: np.random.Generator, beams: int) -> dict[str, Any]:
    return {
        "num_beams": beams,
        "num_return_sequences": int(rng.integers(1, beams + 1)),
        "length_penalty": float(rng.choice([-1.0, 0.0, 0.5, 1.0, 2.0])),
        "early_stopping": [False, True, "never"][rng.integers(3)],
    }


def case(kind: str, rng: np.random.Generator, theirs: Any, layers: int) -> dict[str, Any]:
    """A prompt and keywords for one strategy."""
    from tests.parity.goldens.shared import likely

    prompt = rng.integers(3, PAD, int(rng.integers(2, 9))).tolist()
    top = likely(theirs, prompt, 12)
    fields: dict[str, Any] = {
        "max_new_tokens": int(rng.integers(2, 15)),
        "eos_token_id": [int(i) for i in rng.choice(top, int(rng.choice([1, 1, 2])), replace=False)],
    }
    if kind == "contrastive":
        fields |= {"penalty_alpha": float(rng.choice([0.2, 0.6, 0.9])), "top_k": int(rng.integers(2, 9))}
    elif kind == "dola":
        # with tied embeddings "low" names no layer of so small a model, and 4.55.4 fails
        low: list[Any] = [] if theirs.config.tie_word_embeddings else ["low"]
        choices = [*low, "high", [0, 1], [1], list(range(layers))]
        fields["dola_layers"] = choices[rng.integers(len(choices))]
    elif kind == "groups":
        groups = int(rng.integers(2, 4))
        fields |= beam_fields(rng, groups * int(rng.integers(1, 4)))
        fields |= {"num_beam_groups": groups, "diversity_penalty": float(rng.choice([0.2, 1.0, 5.0]))}
    else:
        fields |= beam_fields(rng, int(rng.integers(2, 6)))
        fields["force_words_ids"] = forced(rng)
        fields["max_new_tokens"] += 4
    if rng.random() < 0.4:
        fields["repetition_penalty"] = float(rng.choice([0.8, 1.3]))
    if rng.random() < 0.2:
        fields["no_repeat_ngram_size"] = 2
    if rng.random() < 0.2:
        fields["bad_words_ids"] = [[int(top[-1])], [int(top[-2]), int(top[-3])]]
    return {"prompt": prompt, "fields": fields}


def forced(rng: np.random.Generator) -> list[Any]:
    """One to three forced words: a phrase, or a choice of phrases of which some share a beginning."""
    words: list[Any] = []
    for _ in range(int(rng.integers(1, 4))):
        ids = rng.choice(np.arange(3, PAD), 6, replace=False).tolist()
        kinds = [[ids[0]], ids[:2], ids[:3], [[ids[0]], [ids[1], ids[2]]]]
        kinds += [
            [[ids[0], ids[1], ids[2]], [ids[0], ids[3]], [ids[4]]],
            [[ids[0], ids[1]], [ids[0], ids[2]]],
        ]
        words.append(kinds[rng.integers(len(kinds))])
    return words


def run(model: Any, one: dict[str, Any], **more: Any) -> Any:
    import torch

    return model.generate(
        torch.tensor([one["prompt"]]),
        attention_mask=torch.ones((1, len(one["prompt"])), dtype=torch.long),
        do_sample=False,
        pad_token_id=PAD,
        return_dict_in_generate=True,
        **one["fields"],
        **more,
    )


def answer(folder: str) -> None:
    """In the child: run the cases of one folder with the release that is installed there."""
    import torch
    import transformers

    work = json.loads(Path(folder, "work.json").read_text())
    assert transformers.__version__ == work["release"], transformers.__version__
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        probe = model(torch.tensor([work["probe"]])).logits[0, -1].float()
        assert (probe - torch.tensor(work["logits"])).abs().max() < 1e-4, "the old release computes otherwise"
        for one in work["cases"]:
            try:
                out = run(model, one, output_scores=True)
            except RuntimeError:  # 4.56.2 cannot give scores where a text lacks a forced word
                out = run(model, one)
            one["rows"] = out.sequences[:, len(one["prompt"]) :].tolist()
            scores = getattr(out, "sequences_scores", None)
            one["scores"] = (
                None if scores is None else [round(s, 7) if s > -1e5 else None for s in scores.tolist()]
            )
    Path(folder, "answers.json").write_text(json.dumps(work["cases"]))


def goldens(kind: str, target: str) -> dict[str, Any]:
    """The golden of one strategy."""
    from tests.parity import families
    from tests.parity.goldens.shared import MODELS, checksum

    made: dict[str, Any] = {"transformers": RELEASES[kind], "models": {}}
    for name in MODELS:
        rng = np.random.default_rng([sum(kind.encode()), sum(name.encode())])
        with tempfile.TemporaryDirectory() as folder:
            theirs = families.make(name, Path(folder))
            layers = theirs.config.num_hidden_layers
            probe = rng.integers(3, PAD, 20).tolist()
            work = {
                "release": RELEASES[kind],
                "probe": probe,
                "logits": families.reference(theirs, probe)[-1].tolist(),
                "cases": [case(kind, rng, theirs, layers) for _ in range(CASES)],
            }
            Path(folder, "work.json").write_text(json.dumps(work))
            child = [sys.executable, __file__, "--child", folder]
            subprocess.run(child, env={**os.environ, "PYTHONPATH": target}, check=True)
            answers = json.loads(Path(folder, "answers.json").read_text())
        made["models"][name] = {"sha256": checksum(theirs), "cases": answers}
    return made


def main() -> None:
    """Write every golden."""
    old, new, *kinds = sys.argv[1:]
    for kind in kinds or RELEASES:
        release = RELEASES[kind]
        made = goldens(kind, old if release == "4.55.4" else new)
        lines = [f'{{"transformers": "{made["transformers"]}", "models": {{']
        for i, (name, entry) in enumerate(made["models"].items()):
            cases = ",\n".join(json.dumps(one, separators=(",", ":")) for one in entry["cases"])
            comma = "," if i + 1 < len(made["models"]) else ""
            lines.append(f'"{name}": {{"sha256": "{entry["sha256"]}", "cases": [\n{cases}]}}{comma}')
        (HERE / f"{kind}.json").write_text("\n".join([*lines, "}}"]) + "\n")
        print(kind, (HERE / f"{kind}.json").stat().st_size)


if __name__ == "__main__":
    if sys.argv[1] == "--child":
        answer(sys.argv[2])
    else:
        main()
