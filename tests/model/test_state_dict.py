"""Weight files are told apart by their bytes, read without running anything, and unwrapped."""

import argparse
import contextlib
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from zoo.core.errors import InvalidInputError, NotFoundError
from zoo.core.files.open_weights import open_weights
from zoo.core.model.state_dict import clean_state_dict, read_state_dict

WEIGHT = torch.arange(6, dtype=torch.float32).reshape(2, 3)
STATE = {"fc.weight": WEIGHT, "bn.num_batches_tracked": torch.tensor(7)}


def assert_is_state(found: dict[str, torch.Tensor]) -> None:
    assert list(found) == list(STATE)
    assert all(torch.equal(found[key], STATE[key]) and found[key].dtype == STATE[key].dtype for key in STATE)


def write_safetensors(path, header: str, data: bytes = b"") -> None:
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + data)


class TestFormats:
    # Every file has the name of another format: the bytes decide.
    def test_safetensors(self, tmp_path):
        path = tmp_path / "w.pth"
        save_file(STATE, path, metadata={"format": "pt"})
        found = read_state_dict(path)
        assert set(found) == set(STATE)
        assert torch.equal(found["fc.weight"], WEIGHT)

    def test_torch_zip(self, tmp_path):
        path = tmp_path / "w.safetensors"
        torch.save(STATE, path)
        assert_is_state(read_state_dict(path))

    def test_torch_legacy(self, tmp_path):
        path = tmp_path / "w.safetensors"
        torch.save(STATE, path, _use_new_zipfile_serialization=False)
        assert_is_state(read_state_dict(path))

    @pytest.mark.parametrize("save", [save_file, torch.save])
    def test_writing_to_a_mapped_tensor_leaves_the_file_alone(self, tmp_path, save):
        path = tmp_path / "w.bin"
        save(STATE, path)
        before = path.read_bytes()
        read_state_dict(path)["fc.weight"].zero_()
        assert path.read_bytes() == before

    @pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
    def test_metadata_of_a_safetensors_file(self, tmp_path, metadata):
        save_file(STATE, tmp_path / "w", metadata=metadata)
        with open_weights(tmp_path / "w") as opened:
            assert opened.metadata == (metadata or {})

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(NotFoundError, match="There is no file"):
            read_state_dict(tmp_path / "none")

    def test_a_pipe_is_refused_at_once(self, tmp_path):
        os.mkfifo(tmp_path / "w")
        with pytest.raises(InvalidInputError, match="not a regular file"):
            read_state_dict(tmp_path / "w")

    def test_an_empty_folder(self, tmp_path):
        with pytest.raises(NotFoundError, match=r"holds neither model\.safetensors nor"):
            read_state_dict(tmp_path)

    @pytest.mark.parametrize(
        ("content", "what", "hint"),
        [
            (b"", "expected at least 8 bytes, found 0", "again"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
                "a Git LFS pointer",
                "git lfs pull",
            ),
            (b"<!DOCTYPE html><html><title>404</title>", "an HTML page", "download again"),
            (b"\n <html>", "an HTML page", "download again"),
            (b"GGUF" + bytes(60), "a GGUF file", ""),
            (b"\x89HDF\r\n\x1a\n" + bytes(60), "not a sound HDF5 file", ""),
            (bytes(100), "not the expected JSON", ""),
            (b"neither one nor the other", "is text, not a safetensors file", "again"),
        ],
    )
    def test_what_is_no_weight_file_is_named(self, tmp_path, content, what, hint):
        path = tmp_path / "model.safetensors"
        path.write_bytes(content)
        with pytest.raises(InvalidInputError, match=what) as caught:
            read_state_dict(path)
        assert hint in caught.value.hint
        assert caught.value.path == str(path)

    def test_a_tar_archive_is_named(self, tmp_path):
        with tarfile.open(tmp_path / "w.pth", "w", format=tarfile.USTAR_FORMAT) as archive:
            archive.addfile(tarfile.TarInfo("storages"))
        with pytest.raises(InvalidInputError, match="a tar archive"):
            read_state_dict(tmp_path / "w.pth")


class TestSafetensors:
    def test_a_header_whose_length_reads_as_the_start_of_a_pickle(self, tmp_path):
        entry = '{"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}'
        for length in (640, 896, 1152, 1408):  # little-endian 80 02, 80 03, 80 04, 80 05
            write_safetensors(tmp_path / "w", entry.ljust(length), b"\7")
            assert read_state_dict(tmp_path / "w")["w"].tolist() == [7]

    @pytest.mark.parametrize("lost", [1, 20, 100])
    def test_truncated(self, tmp_path, lost):
        path = tmp_path / "w.safetensors"
        save_file(STATE, path)
        whole = path.read_bytes()
        path.write_bytes(whole[:-lost])
        with pytest.raises(InvalidInputError, match="not a sound safetensors file"):
            read_state_dict(path)

    def test_a_header_longer_than_the_file(self, tmp_path):
        path = tmp_path / "w"
        path.write_bytes(struct.pack("<Q", 10**6) + b"{}")
        with pytest.raises(InvalidInputError, match="should take 1000000 bytes, the file has 2"):
            read_state_dict(path)

    def test_an_absurd_header_length_is_not_allocated(self, tmp_path):
        path = tmp_path / "w"
        path.write_bytes(struct.pack("<Q", 2**64 - 1) + b"{}")
        with pytest.raises(InvalidInputError, match="should take 18446744073709551615 bytes"):
            read_state_dict(path)

    def test_a_repeated_tensor_name(self, tmp_path):
        entry = json.dumps({"dtype": "U8", "shape": [1], "data_offsets": [0, 1]})
        write_safetensors(tmp_path / "w", f'{{"a": {entry}, "a": {entry}}}', b"\0")
        with pytest.raises(InvalidInputError, match="duplicate name 'a'"):
            read_state_dict(tmp_path / "w")

    @pytest.mark.parametrize("header", ["{not json", "{" * 100_000, '{"\ud83d"}'.encode("utf-8", "ignore").decode()])
    def test_a_header_that_is_no_json(self, tmp_path, header):
        write_safetensors(tmp_path / "w", header)
        with pytest.raises(InvalidInputError, match="not a sound safetensors file"):
            read_state_dict(tmp_path / "w")


class Opens:
    """Unpickled without care, creates the file it was made with."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


class TestPickle:
    @pytest.mark.parametrize("zipped", [True, False])
    def test_code_in_a_checkpoint_does_not_run(self, tmp_path, zipped):
        canary = tmp_path / "canary"
        path = tmp_path / "w.pth"
        torch.save({"model": Opens(str(canary)), "epoch": 1}, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(InvalidInputError, match=r"asks for posix\.mkdir") as caught:
            read_state_dict(path)
        assert "model.state_dict()" in caught.value.hint
        torch.save(STATE | {"x": Opens(str(canary))}, path, _use_new_zipfile_serialization=zipped)
        assert_is_state(read_state_dict(path))
        assert not canary.exists()

    def test_a_plain_pickle_does_not_run(self, tmp_path):
        canary = tmp_path / "canary"
        (tmp_path / "w").write_bytes(pickle.dumps(Opens(str(canary)), protocol=2))
        with pytest.raises(InvalidInputError):
            read_state_dict(tmp_path / "w")
        assert not canary.exists()

    def test_training_arguments_are_no_obstacle(self, tmp_path):
        torch.save({"state_dict": STATE, "args": argparse.Namespace(lr=0.1), "epoch": 3}, tmp_path / "w")
        assert_is_state(read_state_dict(tmp_path / "w"))

    @pytest.mark.parametrize("zipped", [True, False])
    @pytest.mark.parametrize("keep", [0.3, 0.9])
    def test_truncated(self, tmp_path, zipped, keep):
        buffer = io.BytesIO()
        torch.save({"w": torch.zeros(1000)}, buffer, _use_new_zipfile_serialization=zipped)
        whole = buffer.getvalue()
        (tmp_path / "w").write_bytes(whole[: int(len(whole) * keep)])
        with pytest.raises(InvalidInputError):
            read_state_dict(tmp_path / "w")

    @pytest.mark.parametrize("zipped", [True, False])
    def test_damaged_bytes_are_an_error_of_the_input_or_go_unnoticed(self, tmp_path, zipped):
        buffer = io.BytesIO()
        torch.save(STATE, buffer, _use_new_zipfile_serialization=zipped)
        whole, path = buffer.getvalue(), tmp_path / "w"
        for position in range(0, len(whole), 5):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x15]) + whole[position + 1 :])
            with contextlib.suppress(InvalidInputError):
                read_state_dict(path)

    def test_a_compressed_archive_is_refused_unread(self, tmp_path):
        torch.save({"w": torch.zeros(10**6)}, tmp_path / "w.pth")
        bomb = tmp_path / "bomb.pth"
        with zipfile.ZipFile(tmp_path / "w.pth") as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
            for info in source.infolist():
                target.writestr(info.filename, source.read(info))
        with pytest.raises(InvalidInputError, match="compressed entry"):
            read_state_dict(bomb)

    def test_a_tensor_larger_than_its_data_is_refused(self, tmp_path):
        torch.save({"w": torch.zeros(1).expand(2**40)}, tmp_path / "w")
        with pytest.raises(InvalidInputError, match=r"'w' of shape \(1099511627776,\) is larger than its data"):
            read_state_dict(tmp_path / "w")

    def test_a_zip_file_that_is_no_checkpoint(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "w", "w") as archive:
            archive.writestr("readme.txt", "hello")
        with pytest.raises(InvalidInputError, match="holds no torch checkpoint"):
            read_state_dict(tmp_path / "w")

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_torchscript_is_refused(self, tmp_path):
        torch.jit.script(torch.nn.Linear(1, 1)).save(str(tmp_path / "w"))
        with pytest.raises(InvalidInputError):
            read_state_dict(tmp_path / "w")


class TestUnwrap:
    @pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_ema", "state_dict_ema"])
    def test_wrappers(self, wrapper):
        assert_is_state(clean_state_dict({wrapper: STATE, "epoch": 1, "optimizer": {"lr": 0.1}}))

    def test_wrapped_twice(self):
        assert_is_state(clean_state_dict({"model": {"state_dict": STATE}}))

    def test_a_checkpoint_that_contains_itself(self, tmp_path):
        endless: dict[str, object] = {}
        endless["model"] = endless
        torch.save(endless, tmp_path / "w")
        with pytest.raises(InvalidInputError, match="found no tensor"):
            read_state_dict(tmp_path / "w")

    def test_averaged_weights_are_preferred_unless_told_otherwise(self):
        average = {"fc.weight": WEIGHT + 1}
        checkpoint = {"state_dict": STATE, "state_dict_ema": average}
        assert torch.equal(clean_state_dict(checkpoint)["fc.weight"], WEIGHT + 1)
        assert_is_state(clean_state_dict(checkpoint, use_ema=False))

    @pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
    def test_prefixes(self, prefix):
        assert_is_state(clean_state_dict({prefix + key: value for key, value in STATE.items()}))

    def test_a_key_that_only_resembles_a_prefix_stays(self):
        assert list(clean_state_dict({"modules.weight": WEIGHT})) == ["modules.weight"]

    def test_two_keys_that_become_one(self):
        with pytest.raises(InvalidInputError, match=r"'a\.weight' twice"):
            clean_state_dict({"a.weight": WEIGHT, "module.a.weight": WEIGHT})

    def test_extras_are_left_out(self):
        assert_is_state(clean_state_dict(STATE | {"version": 2, 3: WEIGHT, "nested": {"w": WEIGHT}}))

    @pytest.mark.parametrize("checkpoint", [{}, {"epoch": 3}, {"state_dict": {}}, [WEIGHT], WEIGHT, None])
    def test_nothing_to_take(self, checkpoint):
        with pytest.raises(InvalidInputError, match="found no tensor"):
            clean_state_dict(checkpoint)

    def test_parameters_become_plain_tensors(self):
        found = clean_state_dict({"w": torch.nn.Parameter(WEIGHT)})["w"]
        assert (type(found), found.requires_grad) == (torch.Tensor, False)

    def test_a_sparse_tensor_is_refused(self):
        with pytest.raises(InvalidInputError, match="should be dense"):
            clean_state_dict({"w": WEIGHT.to_sparse()})
