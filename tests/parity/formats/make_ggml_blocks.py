"""Make ggml_blocks.safetensors: what ggml's own reference code makes of some blocks of numbers.

    python make_ggml_blocks.py FOLDER     (FOLDER/src/ggml-quants.c and FOLDER/include; needs a C compiler)

Compiled without fused multiply-add, which would be another arithmetic than the source says.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

BYTES = {
    "q8_0": (32, 34),
    "q4_0": (32, 18),
    "q4_1": (32, 20),
    "q4_K": (256, 144),
    "q6_K": (256, 210),
}
STAND_INS = """
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
void ggml_abort(const char * f, int l, const char * t, ...) { abort(); }
void ggml_log_internal(int l, const char * f, ...) {}
float ggml_table_f32_f16[1 << 16];
const char * ggml_type_name(int t) { return ""; }
size_t ggml_row_size(int t, long n) { return 0; }
size_t ggml_type_size(int t) { return 0; }
long ggml_blck_size(int t) { return 1; }
void ggml_critical_section_start(void) {}
void ggml_critical_section_end(void) {}
"""


def blocks() -> np.ndarray:
    """96 blocks of 256: weights of all sizes, and the odd ones that a model may hold."""
    draw = np.random.RandomState(11)
    x = draw.standard_normal((96, 256)) * 10.0 ** draw.uniform(-4, 1, (96, 1))
    x[0], x[1], x[2] = 0, 0.25, -0.25
    x[3] = np.abs(x[3])
    x[4] = -np.abs(x[4])
    x[5, 1:] = 0
    x[6, 64:] = 0
    x[7] = draw.randint(-8, 8, 256)
    x[8, 100] = 1000
    x[9] = 1e-20
    x[10] = draw.standard_normal(256) * 1e-7
    x[11] = np.tile([-1.0, 1.0], 128)
    x[12] = np.linspace(-1, 1, 256)
    x[13, ::2] = x[13, 1::2]
    x[14] = draw.standard_normal(256) * 1e-12
    return x.astype(np.float32)


def library(ggml: Path, folder: Path) -> ctypes.CDLL:
    (folder / "stand_ins.c").write_text(STAND_INS)
    built = folder / "quants.so"
    command = [
        "cc",
        "-O2",
        "-ffp-contract=off",
        "-shared",
        "-fPIC",
        "-w",
        "-DNDEBUG",
        "-D_GNU_SOURCE",
    ]
    command += [f"-I{ggml / 'include'}", f"-I{ggml / 'src'}", str(ggml / "src" / "ggml-quants.c")]
    subprocess.run([*command, str(folder / "stand_ins.c"), "-lm", "-o", str(built)], check=True)
    return ctypes.CDLL(str(built))


def main() -> None:
    x = blocks()
    found = {"x": torch.from_numpy(x)}
    with tempfile.TemporaryDirectory() as folder:
        code = library(Path(sys.argv[1]), Path(folder))
        for kind, (values, length) in BYTES.items():
            out = np.zeros(x.size // values * length, np.uint8)
            getattr(code, f"quantize_row_{kind}_ref")(
                x.ctypes.data_as(ctypes.c_void_p),
                out.ctypes.data_as(ctypes.c_void_p),
                ctypes.c_int64(x.size),
            )
            found[kind.upper()] = torch.from_numpy(out.reshape(-1, length))
    save_file(found, Path(__file__).with_name("ggml_blocks.safetensors"))


if __name__ == "__main__":
    main()
