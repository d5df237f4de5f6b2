"""From a config to a verified weight file on disk."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.core.errors import NotFoundError, UsageError
from zoo.core.files.checksum import hash_in_name, verify
from zoo.core.files.json_file import MAX_BYTES, read_json_object
from zoo.core.files.user_folders import hub_cache
from zoo.weights_cache.locate import HubFile, InMemory, LocalFile, PackageFile, UrlFile, hub_file, locate
from zoo.weights_cache.offline import is_offline
from zoo.weights_cache.time_limit import default_timeout

if TYPE_CHECKING:
    from zoo.core.architectures.records import PretrainedCfg

CONFIG_FILE = "config.json"


class WeightFile(NamedTuple):
    """A weight file that is on disk, and what is known of it.

    `source` says in words where it comes from, `origin` shortly (`hf-hub:...`, a URL, `package:...`); `key_layout` is
    the layout of its keys ('' where they are timm's); `sha256` is the digest it was checked against, None where its
    source publishes none.
    """

    path: Path
    source: str
    origin: str
    key_layout: str = ""
    sha256: str | None = None


def fetch(
    cfg: PretrainedCfg,
    *,
    offline: bool = False,
    progress: bool | None = None,
    fresh: bool = False,
    timeout: float | None = None,
) -> WeightFile:
    """Bring the weights of a config to disk, where they are not yet, and check them.

    Args:
        cfg: names the source; see `locate` for the precedence. One with a `state_dict` has no file.
        offline: make no request (HF_HUB_OFFLINE says the same).
        progress: let huggingface_hub draw a bar on stderr; by default where stderr is a terminal.
        fresh: read the file again to check it; by default one that has not changed since is taken as checked.
        timeout: seconds that the download may take; by default ZOO_TIMEOUT of the environment, and else as long as
            something arrives.

    Raises:
        NotFoundError: no source, not there, offline and not cached, the network fails, or it took too long.
        InvalidInputError: the content is not what its checksum says.
        CannotWriteError: the cache folder cannot be written.
    """
    source = locate(cfg)
    timeout = default_timeout() if timeout is None else timeout
    if isinstance(source, HubFile | UrlFile) and (offline or is_offline()) and source.cached() is None:
        raise _not_cached(cfg, source)
    digest: str | None
    match source:
        case InMemory():
            raise UsageError("The weights of this config are a state dict in memory; there is no file to fetch.")
        case HubFile():
            from zoo.weights_cache.hub import hub_download

            shown = sys.stderr.isatty() if progress is None else progress
            path, digest = hub_download(source, progress=shown, fresh=fresh, timeout=timeout)
            if cfg.sha256:
                advice = "The repository has changed since the checksum was taken."
                digest = verify(path, cfg.sha256, advice=advice, fresh=fresh and digest is None)
        case UrlFile():
            # Python's HTTP client takes 30 ms to import and no other source needs it.
            from zoo.weights_cache.url import url_download

            path, digest = url_download(source, sha256=cfg.sha256, fresh=fresh, timeout=timeout)
        case PackageFile():
            path, digest = source.path, None
            if expected := cfg.sha256 or hash_in_name(path.name):
                digest = verify(path, expected, advice=f"Install {source.package} again.", fresh=fresh)
        case LocalFile():
            path, digest = source.path, None
            if cfg.sha256:
                digest = verify(path, cfg.sha256, advice="Fetch the file again.", fresh=fresh)
    return WeightFile(path, str(source), source.origin, cfg.key_layout, digest)


def fetch_config(repo_id: str, *, offline: bool = False) -> dict[str, Any]:
    """The `config.json` of a Hub repository, from huggingface_hub's cache where it is there.

    Args:
        repo_id: `owner/name`, or `owner/name@revision`.
        offline: make no request (HF_HUB_OFFLINE says the same).

    Raises:
        NotFoundError: no such repository or file, offline and not cached, or the network fails.
        InvalidInputError: the file is not one JSON object of at most 1 MiB, or not what its checksum says.
        CannotWriteError: the cache folder cannot be written.
    """
    source = hub_file(repo_id, CONFIG_FILE, max_bytes=MAX_BYTES)
    if (offline or is_offline()) and source.cached() is None:
        raise NotFoundError(
            f"{CONFIG_FILE} of {source} is not in the cache {hub_cache()}, and zoo was told to stay offline.",
            hint="Run the command once with HF_HUB_OFFLINE=0 and a network.",
        )
    from zoo.weights_cache.hub import hub_download

    path, _ = hub_download(source, progress=False, timeout=default_timeout())
    return read_json_object(path, name=f"{CONFIG_FILE} of {source}")


def _not_cached(cfg: PretrainedCfg, source: HubFile | UrlFile) -> NotFoundError:
    if isinstance(source, HubFile):
        wanted = f"{source.filenames[0]} of {source} is not in the cache {hub_cache()}"
    else:
        wanted = f"{source} is not on this machine as {source.path}"
    return NotFoundError(
        f"{wanted}, and zoo was told to stay offline.",
        hint=f"Run `HF_HUB_OFFLINE=0 zoo fetch {cfg.name or 'NAME'}` once with a network.",
    )
