"""Find a model by any of its names: `name.tag`, `timm/name.tag`, `hf-hub:owner/repo@revision`, `local-dir:folder`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from zoo.core.architectures.hub_names import FOLDER_PREFIX, hub_id_of, plain_name, registered_cfg
from zoo.core.architectures.published import find_cfg
from zoo.core.architectures.records import PretrainedCfg
from zoo.core.errors import NotFoundError

CONFIG_NAME = "config.json"


def names_a_place(name: str) -> bool:
    """Whether a name says where the weights are; then a `config.json` there describes them."""
    return bool(hub_id_of(name)) or name.startswith(FOLDER_PREFIX)


def named_cfg(name: str) -> PretrainedCfg:
    """The config that a name stands for. For a repository without a name here, its `config.json` is fetched.

    Raises:
        NotFoundError: no such model, tag, repository or folder; or the Hub cannot be reached.
        InvalidInputError: a config.json that does not describe a model.
    """
    hub_id = hub_id_of(name)
    if hub_id:
        return registered_cfg(hub_id) or _hub_cfg(hub_id)
    if name.startswith(FOLDER_PREFIX):
        return _folder_cfg(Path(name.removeprefix(FOLDER_PREFIX)).expanduser())
    return find_cfg(plain_name(name))


def named_classes(name: str) -> tuple[str, ...]:
    """The names of a model's classes, in order, as the `config.json` at its place states them; () if it states none.

    They are timm's `label_names` or transformers' `id2label`. Raises as `named_cfg`.
    """
    from zoo.core.metadata.timm_config import stated_class_names

    hub_id = hub_id_of(name)
    if hub_id and registered_cfg(hub_id) is None:
        from zoo.weights_cache.download import fetch_config

        return stated_class_names(fetch_config(hub_id))
    if name.startswith(FOLDER_PREFIX):
        from zoo.core.files.json_file import read_json_object

        return stated_class_names(read_json_object(Path(name.removeprefix(FOLDER_PREFIX)).expanduser() / CONFIG_NAME))
    return ()


def _hub_cfg(hub_id: str) -> PretrainedCfg:
    from zoo.core.metadata.timm_config import read_timm_config
    from zoo.weights_cache.download import fetch_config

    cfg = read_timm_config(fetch_config(hub_id), origin=f"{CONFIG_NAME} of {hub_id}")
    # The location of the weights is never taken from the config.
    return replace(cfg, hf_hub_id=hub_id, hf_hub_filename="", url="", file="", package="", key_layout="", sha256="")


def _folder_cfg(folder: Path) -> PretrainedCfg:
    from zoo.core.metadata.timm_config import read_timm_config

    config = folder / CONFIG_NAME
    if not config.is_file():
        raise NotFoundError(f"The folder {folder} has no {CONFIG_NAME}.", path=str(folder))
    cfg = read_timm_config(config)
    return replace(cfg, file=str(folder), hf_hub_id="", url="", package="", key_layout="", sha256="")


def describes_another_network(name: str, cfg: PretrainedCfg) -> bool:
    """Whether a name is a place whose config has other sizes or arguments than its architecture as it is published."""
    if not names_a_place(plain_name(name)):
        return False
    usual = find_cfg(cfg.architecture)
    return bool(cfg.model_args) or (cfg.input_size, cfg.num_classes) != (usual.input_size, usual.num_classes)
