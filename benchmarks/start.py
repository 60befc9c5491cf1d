"""Process start to the first next-token table: the command line against a notebook-style script.

The peer imports torch, transformers and pandas, loads the same weights from a folder of safetensors (written
once, not timed) and prints the ten likeliest tokens. Resident memory is the child's own peak.

    python benchmarks/start.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from compare import report, seconds
from peers import PROMPTS, transformers_model

from tokenglass.models import resolve

NOTEBOOK = """
import sys, torch, pandas
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
inputs = tokenizer(sys.argv[2], return_tensors="pt")
with torch.no_grad():
    logits = model(**inputs).logits[0, -1]
p = torch.nn.functional.softmax(logits, dim=-1)
rows = [(i, tokenizer.decode(i), p[i].item()) for i in range(len(p))]
print(pandas.DataFrame(rows, columns=["id", "token", "p"]).sort_values("p", ascending=False)[:10])
"""


def main() -> None:
    import transformers

    path = Path(resolve("smollm2").path)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        as_safetensors(folder)
        transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name).save_pretrained(folder)
        script = folder / "notebook.py"
        script.write_text(NOTEBOOK)
        command = [sys.executable, "-m", "tokenglass", "next", PROMPTS[0]]

        def run(arguments: list[str]) -> float:
            return seconds(lambda: subprocess.run(arguments, check=True, capture_output=True))

        report(
            "process start to the first table",
            {
                "tokenglass next PROMPT": lambda _: run(command),
                "notebook script": lambda _: run([sys.executable, str(script), name, PROMPTS[0]]),
            },
            must=0.15,
            target=0.09,
        )
        for label, arguments in (
            ("tokenglass", command),
            ("notebook", [sys.executable, str(script), name, PROMPTS[0]]),
        ):
            print(f"  peak resident memory, {label}: {peak(arguments):,} MB")


def as_safetensors(folder: Path) -> None:
    """The same values as a plain float32 checkpoint: transformers does not save what came from a GGUF."""
    import transformers

    model = transformers_model()
    config = transformers.AutoConfig.from_pretrained(
        Path(resolve("smollm2").path).parent, gguf_file=Path(resolve("smollm2").path).name
    )
    plain = transformers.AutoModelForCausalLM.from_config(config)
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(folder)


def peak(arguments: list[str]) -> int:
    """Peak resident memory of a child, in MB; asked of a process that has no other child."""
    code = "import resource,subprocess,sys;subprocess.run(sys.argv[1:],capture_output=True,check=True);"
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    out = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    scale = 1 if sys.platform == "darwin" else 1024
    return int(out.stdout) * scale // 1_000_000


if __name__ == "__main__":
    main()
