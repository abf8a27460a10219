"""All kinds of pictures that can be rendered, by name."""

from __future__ import annotations

from collections.abc import Mapping

from chiasm.base.errors import UserError, did_you_mean
from chiasm.data.render.drawn import Kind


def kinds() -> Mapping[str, Kind]:
    """Return every kind by its name; a kind's own libraries are imported when it draws."""
    from chiasm.data.render import (
        charts,
        clips,
        documents,
        equations,
        flowcharts,
        grounding,
        maps,
        scenes,
        screens,
        tables,
        typeset,
        vega,
    )

    files = (
        *(scenes, grounding, maps, clips),
        *(charts, vega, tables, flowcharts, equations, documents, typeset, screens),
    )
    return {kind.name: kind for file in files for kind in file.KINDS}


def kind_of(name: str) -> Kind:
    """Return the kind of a name, able to draw here; raises UserError, also when its program is missing."""
    known = kinds()
    if name not in known:
        raise UserError(
            f'There is no kind "{name}".{did_you_mean(name, known)} There are {", ".join(known)}.'
        )
    kind = known[name]
    if kind.check is not None:
        kind.check()
    return kind
