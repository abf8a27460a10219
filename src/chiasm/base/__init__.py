"""base: the ground. It knows nothing of models, pictures or text, and every room stands on it.

    errors ─ one sentence for a person         config ─ settings ⇄ YAML, told what is wrong
       │                                          │
    files ── whole or absent ◄── locks         device ─ where to compute, in which format, why
       │                                          │
    log ──── say · metrics.jsonl · progress    vision ─ the pictures of a batch, who sees them
       │
    fetch ── the only door to the network      worker ─ a child process under limits
       │                                          │
    unpack ─ packages' files, and no others    doors ── door plates that wake nobody
       │
    layers ─ adapters and integers, told by patterns of layers' names

May enter: what any program needs and this one shares (errors, settings, devices, files, log), and
the records that two rooms exchange which must not import each other. Must stay outside: everything
that knows what a model, a token or a sample is. Nothing here is imported before it is asked for.
"""

from __future__ import annotations

from chiasm.base.doors import lazily

_HOMES = {
    "UserError": "errors",
    "did_you_mean": "errors",
    "Settings": "config",
    "as_record": "config",
    "differences": "config",
    "from_record": "config",
    "from_yaml": "config",
    "to_yaml": "config",
    "pick_device": "device",
    "pick_dtype": "device",
    "atomic_directory": "files",
    "cache_dir": "files",
    "locked": "files",
    "sha256_file": "files",
    "write_atomic": "files",
    "Metrics": "log",
    "Progress": "log",
    "say": "log",
    "Vision": "vision",
}
__all__ = list(_HOMES)
__getattr__ = lazily(__name__, _HOMES)
