"""Bring the weights of a config to disk and verify them."""

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
    """A weight file on disk and its provenance.

    `source` describes the origin in words, `origin` in short (`hf-hub:...`, a URL, `package:...`). `key_layout` is the
    layout of its keys, '' for timm's. `sha256` is the digest that the file was checked against, None if its source
    publishes none.
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
    """Bring the weights of a config to disk if they are not there yet, and check them.

    Args:
        cfg: names the source; see `locate` for the precedence. A config with a `state_dict` has no file.
        offline: make no request, as with HF_HUB_OFFLINE.
        progress: let huggingface_hub draw a bar on stderr; by default only if stderr is a terminal.
        fresh: read the file again to check it; by default, a file that has not changed since its last check is trusted.
        timeout: seconds that the download may take. The default is ZOO_TIMEOUT of the environment; without it, the
            download may go on as long as data arrives.

    Raises:
        NotFoundError: there is no source or no file, the file is not cached while offline, the network failed, or the
            download took too long.
        InvalidInputError: the content does not match its checksum.
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
            # Python's HTTP client takes 30 ms to import, and only this source needs it.
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
    """Return the `config.json` of a Hub repository, from huggingface_hub's cache if it is there.

    Args:
        repo_id: `owner/name`, or `owner/name@revision`.
        offline: make no request, as with HF_HUB_OFFLINE.

    Raises:
        NotFoundError: there is no such repository or file, it is not cached while offline, or the network failed.
        InvalidInputError: the file is not one JSON object of at most 1 MiB, or does not match its checksum.
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
