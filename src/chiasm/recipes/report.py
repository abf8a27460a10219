"""What a model or a recipe consists of, and what it will cost, before anything runs.

model folder, run ─┐                     ┌─► parameters per part, which of them learn
built-in name      ├─► settings, names ──┼─► FLOPs and memory of text and pictures, memory to learn
recipe             │   (no weights)      └─► where each tensor comes from
known model's name ┘
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from chiasm.base.config import from_record
from chiasm.base.device import pick_device, pick_dtype
from chiasm.base.errors import UserError, did_you_mean
from chiasm.base.layers import LowRankTable
from chiasm.checkpoint.builtin import PARTS, held
from chiasm.checkpoint.composed import load_model, part_home
from chiasm.checkpoint.families.eyes import KINDS
from chiasm.checkpoint.folder import Opened, open_decoder, open_vit
from chiasm.checkpoint.fused import is_fused, open_fused
from chiasm.checkpoint.weights import read_json
from chiasm.inputs.tiles import AnyTransform, load_transform
from chiasm.models import CrossedConfig, DecoderConfig, PrefixConfig
from chiasm.models.cost import decoder_of, token_bytes
from chiasm.models.eyes import EyesConfig
from chiasm.models.footprint import numbers_of, sizes_of
from chiasm.models.tiled import TiledViTConfig
from chiasm.models.zoo import NAMES, ZooConfig, zoo
from chiasm.nn import add_lora
from chiasm.recipes.book import RECIPES, recipe
from chiasm.recipes.estimate import (
    Learning,
    Question,
    Serving,
    Sight,
    Text,
    Watching,
    built,
    eyes_of,
    learning_of,
    serving_of,
    sights,
    text_of,
    watching,
)
from chiasm.recipes.loading import home_of, is_ours
from chiasm.recipes.parts import Say, shape_config, transform_of
from chiasm.recipes.run import RECORD
from chiasm.recipes.settings import CrossedShape, ModelSettings, PrefixShape, Run
from chiasm.training.optim import assign, movers
from chiasm.training.settings import Rate, Table

_LEARNS = Rate(peak=1e-4)
FROZEN_DECODER: Table = (("decoder.*", None), ("*", _LEARNS))
"""Who learns where no recipe is named: all but the language model (Llama 3 herd of models, 7.4)."""
ALL: Table = (("*", _LEARNS),)
"""Who learns in a model of one part."""


@dataclass(frozen=True)
class Portion:
    """One part of a model."""

    name: str
    parameters: int
    learns: int
    """Parameters that learn, by the table that `Learning` names."""
    source: str
    """Where its tensors come from; "new" where training has yet to make them, "" for sizes alone."""
    pieces: Mapping[str, int]
    """Parameters of what it is made of: blocks, tables, norms."""


@dataclass(frozen=True)
class Report:
    """What `chiasm inspect` tells."""

    name: str
    kind: str
    """"crossed", "prefix", "decoder", "vit" or "tiled"."""
    dtype: str
    """What it would be computed in: on this machine, or in bfloat16 where sizes alone are known."""
    parameters: int
    portions: tuple[Portion, ...]
    context: int | None
    """Longest conversation in tokens."""
    bytes_per_1k_tokens: int | None
    """Memory of 1,000 tokens of text during a conversation: keys and values."""
    text: Text | None
    picture: Sight | None
    """A picture of the most tiles."""
    pictures: tuple[Sight, ...]
    """Pictures by the number of their tiles, from one on."""
    video: Watching | None
    encoder_by_tables: Mapping[str, int]
    """Parameters of eyes over tiles, by who stores their tables: "grid" (Meta), "shapes" (transformers)."""
    learning: Learning
    serving: Serving
    origins: Mapping[str, str] = field(default_factory=dict)
    """Our name of each tensor -> its source, and its file and name there."""

    def record(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {
            **asdict(self),
            "pictures": [asdict(each) | {"flops": each.flops} for each in self.pictures],
            "picture": asdict(self.picture) | {"flops": self.picture.flops}
            if self.picture
            else None,
            "learning": self.learning.record(),
        }


@dataclass(frozen=True)
class _Subject:
    """What is described: settings, what the tensors are, and who learns."""

    name: str
    config: ZooConfig
    dtype: str
    transform: AnyTransform | None = None
    """How pictures are prepared; as the eyes are made for when None."""
    origins: Mapping[str, str] = field(default_factory=dict)
    model: nn.Module | None = None
    """The model where it is there already; else one without values is built."""
    lora: LowRankTable = ()
    """Which layers get adapters."""
    table: tuple[str, Table] | None = None
    """Who learns, and what the table is called."""


def of_model(name: str, asked: Question, say: Say, table: str | None = None) -> Report:
    """Describe a run's model, a model folder, a built-in part, or a known model by its sizes alone.

    table  the recipe whose table says who learns

    Raises UserError when there is no such model; else errors as in `loading.load`.
    """
    return _describe(_subject(name, say), asked, table)


def of_recipe(run: Run, asked: Question, say: Say, table: str | None = None) -> Report:
    """Describe what a recipe will train, without reading weights; the parts are fetched if need be."""
    names = {"decoder": run.model.decoder, "encoder": run.model.encoder}
    found = {
        part: _subject(name, say) if _is_known(name) else _part(name, part_home(name, say), part)
        for part, name in names.items()
    }
    words = _words(found["decoder"].config, run.model.decoder)
    config = shape_config(run.model, words, _eyes(found["encoder"].config, run.model.encoder))
    origins = {
        f"{part}.{key}": origin
        for part, subject in found.items()
        for key, origin in subject.origins.items()
    }
    prepared, learned = transform_of(run.model), (run.name, run.learn)
    subject = _Subject(run.name, config, _here(), prepared, origins, lora=run.lora, table=learned)
    return _describe(subject, asked, table, new=True)


def of_pair(
    decoder: str,
    encoder: str,
    fusion: Literal["crossed", "prefix"],
    asked: Question,
    say: Say,
    table: str | None = None,
) -> Report:
    """Describe a language model and eyes, joined anew: a cross to every fourth block, or a prefix.

    Names are those of known models, of which the part is taken, or of folders; sizes are all that is
    used. Pictures are as large as the eyes' own.
    """
    words = _words(_subject(decoder, say, sizes=True).config, decoder)
    eyes = _eyes(_subject(encoder, say, sizes=True).config, encoder)
    shape = CrossedShape(crosses=-(-words.depth // 4)) if fusion == "crossed" else PrefixShape()
    size = eyes.image_size // eyes.patch * eyes.patch
    settings = ModelSettings(shape=shape, image_size=size)
    config = shape_config(settings, words, eyes)
    subject = _Subject(f"{decoder} + {encoder}", config, "bfloat16")
    return _describe(subject, asked, table)


# ---- what a name means -------------------------------------------------------------------------


def _is_known(name: str) -> bool:
    """Whether sizes are all that there is of a name on this machine."""
    return name in NAMES and not Path(name).exists() and held(name) is None


def _subject(name: str, say: Say, sizes: bool = False) -> _Subject:
    """Return settings and origins; with `sizes`, a known name means its sizes whatever lies in a cache."""
    if _is_known(name) or (sizes and name in NAMES):
        return _Subject(name, zoo(name), "bfloat16")
    if name not in PARTS and not Path(name).exists():
        near = did_you_mean(name, [*RECIPES, *PARTS, *NAMES])
        raise UserError(
            f'There is neither a recipe, a run, a model folder nor a known model called "{name}".{near}'
        )
    home = home_of(name, say)
    if is_ours(home):
        return _composed(name, home, say)
    if is_fused(home):
        return _opened(name, open_fused(home))
    config = home / "config.json"
    kind = read_json(config).get("model_type") if config.is_file() else None
    return _part(name, home, "encoder" if kind in KINDS else "decoder")


def _composed(name: str, home: Path, say: Say) -> _Subject:
    loaded = load_model(home, pick_dtype("auto", pick_device()), say=say)
    referred = loaded.config["parts"]  # their origins name a source already
    origins = {
        key: origin
        if key.partition(".")[0] in referred
        else f"{loaded.provenance.source}, {origin}"
        for key, origin in loaded.provenance.tensors.items()
    }
    return _Subject(
        name,
        loaded.model.config,
        _here(),
        load_transform(home),
        origins,
        loaded.model,
        table=_own_table(Path(name)),
    )


def _own_table(run: Path) -> tuple[str, Table] | None:
    """The table that a run learned by; None for a folder that is no run's."""
    if not (run / RECORD).is_file():
        return None
    settings = from_record(Run, read_json(run / RECORD)["settings"], str(run / RECORD))
    return settings.name, settings.learn


def _part(name: str, home: Path, part: str) -> _Subject:
    opened: Opened[Any] = open_vit(home) if part == "encoder" else open_decoder(home)
    return _opened(name, opened)


def _opened(name: str, opened: Opened[Any]) -> _Subject:
    found = opened.provenance
    origins = {key: f"{found.source}, {v}" for key, v in found.tensors.items()}
    return _Subject(name, opened.config, _here(), origins=origins)


def _words(config: ZooConfig, name: str) -> DecoderConfig:
    """The language model of what a name means."""
    found = decoder_of(config)
    if found is None:
        raise UserError(f'"{name}" is eyes, and cannot be the decoder; name a language model.')
    return found


def _eyes(config: ZooConfig, name: str) -> EyesConfig:
    """The eyes of what a name means."""
    found = eyes_of(config)
    if found is None:
        raise UserError(f'"{name}" is a language model, and cannot be the encoder; name eyes.')
    return found


def _here() -> str:
    return str(pick_dtype("auto", pick_device())).removeprefix("torch.")


# ---- what it consists of -----------------------------------------------------------------------


def _describe(subject: _Subject, asked: Question, table: str | None, new: bool = False) -> Report:
    """Count and estimate. With `new`, tensors without an origin are those that training will make."""
    config, model = subject.config, subject.model or built(subject.config)
    add_lora(model, subject.lora)
    named, rows = _table(subject, table)
    assigned = assign(model, rows)
    moved = movers(model, assigned)
    size = 2 if subject.dtype == "bfloat16" else 4
    asked = replace(asked, size=size)
    if (prepared := subject.transform) is not None:
        asked = replace(asked, image_size=prepared.size, tiles=prepared.most)
    seeing = isinstance(config, CrossedConfig | PrefixConfig)
    text, pictures = decoder_of(config), sights(config, asked)
    kind = "decoder" if isinstance(config, DecoderConfig) else config.kind
    origins = dict(subject.origins)
    if new:
        origins = {key: origins.get(key, "new") for key in model.state_dict()}
    portions = _portions(model, None if seeing else kind, moved, origins)
    numbers = numbers_of(model, moved)
    parts = {name.partition(".")[0] for name in moved} if seeing else {_role(config)}
    return Report(
        name=subject.name,
        kind=kind,
        dtype=subject.dtype,
        parameters=numbers.all,
        portions=portions,
        context=text.context if text else None,
        bytes_per_1k_tokens=1000 * token_bytes(text, size) if text else None,
        text=text_of(config, asked),
        picture=pictures[-1] if pictures else None,
        pictures=pictures,
        video=watching(config, asked),
        encoder_by_tables=_by_tables(eyes_of(config), _count(portions, "encoder")),
        learning=learning_of(config, numbers, parts, named, asked),
        serving=serving_of(config, numbers, asked),
        origins=origins,
    )


def _role(config: ZooConfig) -> str:
    return "decoder" if isinstance(config, DecoderConfig) else "encoder"


def _table(subject: _Subject, name: str | None) -> tuple[str, Table]:
    """Who learns: the named recipe's table, the subject's own, or what is usual; and its name."""
    if name is not None:
        return name, recipe(name).learn
    if subject.table is not None:
        return subject.table
    if isinstance(subject.config, CrossedConfig | PrefixConfig):
        return "all but the language model", FROZEN_DECODER
    return "everything", ALL


def _portions(
    model: nn.Module, whole: str | None, moved: Mapping[str, str], origins: Mapping[str, str]
) -> tuple[Portion, ...]:
    """Parameters by part, or of the one part `whole`."""
    counts: dict[str, int] = {}
    learns: dict[str, int] = {}
    pieces: dict[str, dict[str, int]] = {}
    for key, count in sizes_of(model).items():
        part, _, rest = key.partition(".") if whole is None else (whole, "", key)
        counts[part] = counts.get(part, 0) + count
        learns[part] = learns.get(part, 0) + count * (key in moved)
        piece = rest.partition(".")[0]
        held = pieces.setdefault(part, {})
        if not piece.isdigit():
            held[piece] = held.get(piece, 0) + count
    return tuple(
        Portion(
            part,
            count,
            learns[part],
            _source(f"{part}." if whole is None else "", origins),
            pieces[part],
        )
        for part, count in counts.items()
    )


def _count(portions: tuple[Portion, ...], name: str) -> int:
    """Parameters of a part, or of the whole where that is but one part."""
    return sum(part.parameters for part in portions if part.name == name or len(portions) == 1)


def _source(prefix: str, origins: Mapping[str, str]) -> str:
    """The sources of a part's tensors, without the names of their files."""
    found = (v.rpartition(", ")[0] or v for k, v in origins.items() if k.startswith(prefix))
    return " and ".join(dict.fromkeys(found))


def _by_tables(config: EyesConfig | None, whole: int) -> dict[str, int]:
    """Parameters of eyes over tiles in both layouts; `whole` as they are."""
    if not isinstance(config, TiledViTConfig):
        return {}
    # Blocks are the same in both, so that eyes without any tell the difference.
    bare = {"depth": 0, "gated": 0}
    count = {
        kind: sum(
            p.numel() for p in built(config.model_copy(update=bare | {"tables": kind})).parameters()
        )
        for kind in ("grid", "shapes")
    }
    return {kind: whole - count[config.tables] + held for kind, held in count.items()}
