"""Rows B and F of checkpoints: nothing in a pickle runs, no size in a file is believed, each refusal says why."""

from __future__ import annotations

import io
import os
import pickle
import random
import re
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.errors import ExitCode, InvalidInputError
from zoo.core.files.open_weights import open_weights

from pickle_bytes import (
    call,
    counted,
    mention,
    number,
    program,
    storage,
    table,
    tensor,
    text,
    together,
    torch_legacy,
    torch_tar,
    torch_zip,
)

VALUES = np.arange(6, dtype="<f4").tobytes()
WEIGHT = tensor(storage("0", 6), (2, 3))
STORAGES = {"0": VALUES}

# What pickles have been caught with, or scanners have missed. None is called; where tensors need one, it is refused.
STANDARD_LIBRARY = """
    os.system posix.system nt.system os.popen os.execv os.spawnl os.remove os.putenv builtins.eval builtins.exec
    builtins.getattr builtins.setattr builtins.compile builtins.open builtins.__import__ builtins.globals builtins.map
    builtins.print builtins.breakpoint __builtin__.eval __builtin__.apply commands.getoutput subprocess.Popen
    subprocess.call subprocess.check_output subprocess.getoutput runpy.run_path runpy._run_code functools.partial
    functools.reduce operator.attrgetter operator.methodcaller _operator.methodcaller importlib.import_module
    importlib.machinery.SourceFileLoader imp.load_source asyncio.unix_events._UnixSubprocessTransport._start
    ctypes.CDLL ctypes.WinDLL timeit.timeit timeit.main bdb.Bdb.run pdb.run profile.run cProfile.run trace.Trace.run
    doctest.debug_script pydoc.pipepager pydoc.locate webbrowser.open code.InteractiveInterpreter.runcode
    codeop.compile_command types.FunctionType types.CodeType pickle.loads _pickle.loads marshal.loads shutil.rmtree
    shelve.open socket.create_connection ssl.get_server_certificate urllib.request.urlopen http.client.HTTPSConnection
    smtplib.SMTP ftplib.FTP ensurepip._run_pip venv.create multiprocessing.util.spawnv_passfds pty.spawn cgitb.lookup
    tempfile.mktemp logging.config.listen sys.exit threading.Thread weakref.finalize inspect.getattr_static
    linecache.updatecache zipimport.zipimporter distutils.file_util.write_file idlelib.run.Executive.runcode
    lib2to3.pgen2.grammar.Grammar.loads copyreg.constructor copy_reg.add_extension codecs.decode
    collections.namedtuple string.Formatter enum.Enum
"""
OTHERS = """
    torch.hub.load torch.load torch.storage._load_from_bytes torch.jit.unsupported_tensor_ops.execWrapper
    torch.utils.bottleneck.__main__.run_cprofile torch.utils.collect_env.run torch._inductor.codecache.compile_file
    torch.utils.data.datapipes.utils.decoder.basichandlers torch.os.system torch.fx.experimental.symbolic_shapes.eval
    torch.serialization.load torch.distributed.rpc.server_process_global_profile.pickle.loads torch.nn.Linear
    numpy.testing._private.utils.runstring numpy.f2py.crackfortran.myeval numpy.f2py.diagnose.run numpy.load
    numpy.core.multiarray.fromfile pip.main pip._internal.main setuptools.sandbox.run_setup joblib.load
    pandas.read_pickle transformers.AutoModel.from_pretrained sympy.sympify cloudpickle.loads dill.loads
    keras.models.load_model __main__.Payload zoo.cli.start.main builtins.type builtins.str typing.Any
"""


def in_order_of_use(name: str, argument: bytes) -> dict[str, bytes]:
    """Every way to have a global called with one argument, as instructions that leave a value on the stack."""
    module, _, attribute = name.rpartition(".")
    by_stack = text(module) + text(attribute) + b"\x93"
    remembered = text(module) + b"q\x050" + text(attribute) + b"q\x060" + b"h\x05h\x06\x93"
    return {
        "REDUCE": call(mention(name), argument),
        "STACK_GLOBAL": call(by_stack, argument),
        "memo": call(remembered, argument),
        "the memo under two keys": call(mention(name) + b"q\x070h\x07r\x00\x01\x00\x000j\x00\x01\x00\x00", argument),
        "OBJ": b"(" + mention(name) + argument + b"o",
        "INST": b"(" + argument + b"i" + mention(name)[1:],
        "a tensor of a type": call(
            mention("torch._tensor._rebuild_from_type_v2"), mention(name), b"N", together(argument), b"}"
        ),
        "thrown away": call(mention(name), argument) + b"0N",
        "a key": b"}" + call(mention(name), argument) + b"Ns",
    }


FORMS = list(in_order_of_use("a.b", b"N"))


def containers(attack: bytes) -> dict[str, bytes]:
    """Files that have instructions where a reader meets them."""
    array = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    empty = pickle.dumps(0, 2)
    tar = {"storages": empty + pickle.dumps([], 2), "tensors": empty, "pickle": program(attack)}
    return {
        "zip": torch_zip(program(table({"x": attack})), STORAGES),
        "legacy": torch_legacy(program(table({"x": attack}))),
        "instead of the magic number": program(attack),
        "sys_info": pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + program(attack),
        "tar": torch_tar(tar),
        "tar storages": torch_tar(tar | {"storages": program(attack), "pickle": program(b"}")}),
        "tar tensors": torch_tar(tar | {"tensors": program(attack), "pickle": program(b"}")}),
        "array of objects": zip_of({"w.npy": array + program(attack)}),
    }


def zip_of(entries: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def refusal(path: Path, content: bytes | None = None) -> str:
    """What zoo says when it refuses a file, whose every tensor it reads otherwise."""
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInputError) as caught:
        read_all(path)
    assert caught.value.exit_code == ExitCode.INVALID_INPUT == 4
    assert caught.value.path == str(path)
    return str(caught.value)


def tensors(path: Path, content: bytes) -> dict[str, bytes]:
    path.write_bytes(content)
    return read_all(path)


def read_all(path: Path) -> dict[str, bytes]:
    with open_weights(path) as file:
        return {name: bytes(found.read()) for name, found in file.tensors.items()}


@contextmanager
def bounded(peak: int) -> Iterator[None]:
    """What is within takes no more memory than this."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < peak
    finally:
        tracemalloc.stop()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w.pth"


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that the attacks would make; it must not be there in the end."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "canary"
    assert not (tmp_path / "canary").exists()


# ---------------------------------------------------------------- B1


COMMAND = text("touch canary")


def test_b1_the_attack_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The tests below would be worth nothing if Python did not run what zoo refuses."""
    monkeypatch.chdir(tmp_path)
    for number_, form in enumerate(("REDUCE", "STACK_GLOBAL", "memo", "the memo under two keys", "OBJ", "INST")):
        pickle.loads(program(in_order_of_use("os.system", text(f"touch canary{number_}"))[form]))
        assert (tmp_path / f"canary{number_}").exists(), form


@pytest.mark.parametrize("name", (STANDARD_LIBRARY + OTHERS).split())
def test_b1_a_call_is_refused_by_name_where_tensors_need_it(canary: Path, path: Path, name: str):
    for attack in in_order_of_use(name, table({"w": WEIGHT})).values():
        filled = attack + b"(" + text("w") + WEIGHT + b"u"
        for needed in (attack, filled) if attack[-1:] in (b"R", b"o") else (attack,):
            said = refusal(path, torch_zip(program(table({"model": needed})), STORAGES))
            assert f"is a pickle that asks for {name}, which a state dict has no need of; it was not loaded" in said
            assert "model.state_dict()" in said


@pytest.mark.parametrize("name", (STANDARD_LIBRARY + OTHERS).split())
def test_b1_a_call_beside_the_weights_is_told_and_not_made(canary: Path, path: Path, name: str):
    """Training programs pickle functions into their logs and settings."""
    for attack in in_order_of_use(name, COMMAND).values():
        path.write_bytes(torch_zip(program(table({"model": table({"w": WEIGHT}), "x": attack})), STORAGES))
        with open_weights(path) as file:
            assert {key: bytes(found.read()) for key, found in file.tensors.items()} == {"w": VALUES}
            assert name in file.opaque
            assert any(name in note and "zoo calls nothing" in note for note in file.notes())


def test_b1_more_tensors_in_a_call_than_beside_it(path: Path):
    """What lies beside it is no answer then."""
    hidden = call(mention("os.system"), table({"w": WEIGHT, "v": WEIGHT}))
    said = refusal(path, torch_zip(program(table({"model": hidden, "mean": table({"w": WEIGHT})})), STORAGES))
    assert "holds 2 state dicts: model" in said
    path.write_bytes(torch_zip(program(table({"model": hidden, "mean": table({"w": WEIGHT})})), STORAGES))
    with pytest.raises(InvalidInputError, match=r"asks for os\.system"), open_weights(path, key="model"):
        pass
    with open_weights(path, key="mean") as file:
        assert ("model", "a call of os.system, which was not made") in file.skipped


def test_b1_one_tensor_of_a_state_dict_that_a_call_would_give(path: Path):
    """As tensors of somebody's own kind are: a state dict without it is not whole."""
    odd = call(mention("own.rebuild"), WEIGHT, number(8))
    pickled = program(table({"model": table({"w": WEIGHT, "odd": odd}), "epoch": number(1)}))
    assert "asks for own.rebuild" in refusal(path, torch_zip(pickled, STORAGES))

    def module(parameters: dict[str, bytes], modules: dict[str, bytes]) -> bytes:
        state = table({"_parameters": table(parameters), "_modules": table(modules) if modules else b"}"})
        return mention("torch.nn.M") + b")\x81" + state + b"b"

    made = call(mention("own.make"), number(1)) + table({"_parameters": table({"w": WEIGHT}), "_modules": b"}"}) + b"b"
    for parts in (module({"w": WEIGHT, "odd": odd}, {}), module({"w": WEIGHT}, {"child": made})):
        assert "asks for own." in refusal(path, torch_zip(program(table({"net": parts})), STORAGES))
        beside = program(table({"state_dict": table({"w": WEIGHT}), "hyper_parameters": table({"net": parts})}))
        assert tensors(path, torch_zip(beside, STORAGES)) == {"w": VALUES}


def test_b1_calls_beside_the_weights_keep_the_limits(path: Path):
    many = b"](" + call(mention("os.system"), b"N") * 400_000 + b"e"
    long = b"](" + b"N" * 100_000 + b"eq\x01"
    copies = call(mention("os.system"), b"h\x01") * 100
    with bounded(300_000_000):
        assert "takes more than" in refusal(path, torch_zip(program(table({"w": WEIGHT, "x": many})), STORAGES))
        pickled = program(table({"w": WEIGHT, "x": together(long, copies)}))
        assert "takes more than" in refusal(path, torch_zip(pickled, STORAGES))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("container", containers(b"N"))
def test_b1_wherever_it_is(canary: Path, path: Path, form: str, container: str):
    said = refusal(path, containers(in_order_of_use("posix.system", COMMAND)[form])[container])
    assert ("Python objects" if container == "array of objects" else "asks for posix.system") in said


@pytest.mark.parametrize("name", ["w.safetensors", "w.npz", "w.bin", "w.txt", "w"])
def test_b1_whatever_the_file_is_called(canary: Path, tmp_path: Path, name: str):
    attack = in_order_of_use("os.system", COMMAND)["REDUCE"]
    for content in containers(attack).values():
        refusal(tmp_path / name, content)


@pytest.mark.parametrize("name", STANDARD_LIBRARY.split())
def test_b1_the_standard_library_is_told_at_the_mention(path: Path, name: str):
    path.write_bytes(torch_zip(program(table({"w": WEIGHT, "x": mention(name)})), STORAGES))
    with open_weights(path) as file:
        assert (list(file.tensors), file.opaque) == (["w"], (name,))
    assert f"asks for {name}," in refusal(path, torch_zip(program(table({"model": mention(name)})), STORAGES))


def test_b1_an_object_made_without_a_call_is_its_attributes(canary: Path, path: Path):
    """Its class is never imported, its __setstate__ never called."""
    state = table({"w": WEIGHT, "command": COMMAND})
    made = mention("somewhere.Evil") + together(COMMAND) + b"\x81" + state + b"b"
    keywords = mention("somewhere.Evil") + together(COMMAND) + table({"a": b"N"}) + b"\x92"
    older = call(mention("copyreg._reconstructor"), mention("somewhere.Evil"), mention("builtins.object"), b"N")
    newer = call(mention("copyreg.__newobj__"), mention("somewhere.Evil"), COMMAND)
    for one in (made, keywords, older, newer):
        pickled = program(table({"w": WEIGHT, "x": one}))
        assert tensors(path, torch_zip(pickled, STORAGES)) == {"w": VALUES}
        with open_weights(path) as file:
            assert file.skipped == (("x", "somewhere.Evil"),)


def test_b1_a_second_pickle_is_not_passed_over(canary: Path, path: Path):
    innocent, attack = program(table({"w": WEIGHT})), program(in_order_of_use("os.system", COMMAND)["REDUCE"])
    assert "something follows the end of its pickle" in refusal(path, torch_zip(innocent + attack, STORAGES))
    assert "something follows the end of its pickle" in refusal(path, program(b"}") + attack)
    assert "its data end at byte" in refusal(path, torch_legacy(program(b"}")) + attack)


@pytest.mark.parametrize(
    ("instructions", "what"),
    [
        (b"\x82\x01", "extension codes that only the program that wrote it knows"),
        (b"\x83\x01\x00", "extension codes that only the program that wrote it knows"),
        (b"\x84\x01\x00\x00\x00", "extension codes that only the program that wrote it knows"),
        (b"\x97", "buffers that are not in it"),
        (text("x") + b"Q", "damaged"),
        (together(text("storage"), text("torch.FloatStorage"), text("0"), text("cpu"), number(6)) + b"Q", "damaged"),
        (b"P0\n", "damaged"),
        (b"\xff", "damaged"),
        (b"h\x63", "damaged"),
        (b"0" * 9, "damaged"),
        (b"(0R", "damaged"),
        (b"N]s", "damaged"),
        (b"}](NtNs", "damaged"),
        (b"}]]Nss", "damaged"),
        (b"\x80\x09N", "damaged"),
        (b"cos\nsys", "damaged"),
        (b"N" + b"\x85" * 1000 + b"q\x01}h\x01Ns", "damaged"),
        (b"\x8b\xff\xff\xff\x7f", "damaged"),
        (b"L" + b"9" * 2000 + b"L\n", "damaged"),
        (b"B\xff\xff\xff\xff", "takes more than"),
        (b"\x8e" + b"\xff" * 8, "takes more than"),
        (text("a" * 600) + text("b" * 600) + b"\x93", "damaged"),
    ],
)
def test_b1_instructions_that_no_checkpoint_needs(path: Path, instructions: bytes, what: str):
    with bounded(10_000_000):
        assert what in refusal(path, torch_zip(program(table({"w": WEIGHT, "x": instructions})), STORAGES))


def test_b1_a_pickle_that_grows_stays_bounded(path: Path):
    long = b"](" + b"N" * 100_000 + b"eq\x01"
    copies = (mention("builtins.list") + b"h\x01\x85R") * 100
    many = b"}" * 1_000_001
    deep = b"N" + b"\x85" * 200_000
    with bounded(200_000_000):
        assert "takes more than" in refusal(path, torch_zip(program(long, copies), STORAGES))
        assert "takes more than" in refusal(path, torch_zip(program(many), STORAGES))
        assert "found no tensor" in refusal(path, torch_zip(program(deep), STORAGES))


def test_b1_modules_that_contain_each_other(path: Path):
    """Two to the power of fifty modules in a few hundred bytes."""

    def module(child: bytes) -> bytes:
        children = b"}(" + text("a") + child + text("b") + child + b"u"
        return mention("torch.nn.Sequential") + b")\x81}(" + text("_modules") + children + b"ub"

    nested = b"N"
    levels = b""
    for level in range(50):
        levels += module(nested) + b"q" + bytes([level + 10]) + b"0"
        nested = b"h" + bytes([level + 10])
    assert "contain each other without end" in refusal(path, torch_zip(program(levels, nested)))


def test_b1_what_many_share_is_looked_at_once(path: Path):
    """Files of a few megabytes whose parts, each looked at by itself, would take hours."""
    given = b"](" + b"N" * 100_000 + b"e" + WEIGHT + b"\x86q\x01"
    calls = b"](" + (mention("a.b") + b"h\x01\x85R") * 20_000 + b"e"
    said = refusal(path, torch_zip(program(table({"given": given, "calls": calls})), STORAGES))
    assert "asks for a.b" in said or "takes more than" in said

    leaf = mention("torch.nn.M") + b")\x81}(" + text("_parameters") + table({"w": WEIGHT}) + text("_modules") + b"}ub"
    tree = leaf + b"q\x01"
    for level in range(16):
        children = b"}(" + text("a") + b"h" + bytes([level + 1]) + text("b") + b"h" + bytes([level + 1]) + b"u"
        tree += b"0" + mention("torch.nn.M") + b")\x81}" + text("_modules") + children + b"sbq" + bytes([level + 2])
    users = (mention("torch.nn.M") + b")\x81}" + text("_modules") + table({"c": b"h\x11"}) + b"sb") * 1000
    said = refusal(path, torch_zip(program(table({"tree": tree, "users": b"](" + users + b"e"})), STORAGES))
    assert "contain each other without end" in said

    long = "é" * 1_000_000
    again = (mention("_codecs.encode") + b"h\x01" + text("latin1") + b"\x86R0") * 2_000
    raw = program(table({"w": WEIGHT, "x": text(long) + b"q\x01" + again}))
    assert tensors(path, torch_zip(raw, STORAGES)) == {"w": VALUES}


def test_b1_functions_beyond_number(path: Path):
    """None may hide behind others."""
    many = b"](" + b"".join(call(mention(f"a.b{number_}"), b"N") for number_ in range(1001)) + b"e"
    assert "more than 1000 functions" in refusal(path, torch_zip(program(table({"w": WEIGHT, "x": many})), STORAGES))


@pytest.mark.parametrize("form", ["a{0}.module.w", "p{0}.blocks.0.0.w p{0}.blocks.1.1.w", "{0}._orig_mod.module.w"])
def test_b1_as_many_wrappers_as_names(path: Path, form: str):
    names = [name for number_ in range(5_000) for name in form.format(f"n{number_}").split()]
    stored = WEIGHT + b"q\x01"
    rows = text(names[0]) + stored + b"".join(text(name) + b"h\x01" for name in names[1:])
    raw = program(b"}(" + rows + b"u")
    assert len(tensors(path, torch_zip(raw, STORAGES | {"1": bytes(1_000_000)}))) == len(names)


def test_b1_a_damaged_checksum(path: Path):
    raw = bytearray(torch_zip(program(table({"w": WEIGHT})), STORAGES))
    at = raw.index(b"FloatStorage")
    raw[at : at + 5] = b"Short"[:5]
    assert "not have the checksum" in refusal(path, bytes(raw))


def test_b1_flags_and_methods_of_entries(path: Path):
    raw = torch_zip(program(table({"w": WEIGHT})), STORAGES)
    for flag, what in ((1, "encrypted"), (1 << 5, "a patch"), (1 << 6, "encrypted"), (1 << 13, "encrypted"), (0, "")):
        raw_flag = flag.to_bytes(2, "little")
        changed = raw.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00" + raw_flag)
        assert what in refusal(path, changed) if flag else tensors(path, changed)
    changed = raw.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x63\x00")
    assert "packed in an unknown way" in refusal(path, changed)


# ---------------------------------------------------------------- B2 is in test_checkpoint_reader


def test_b2_a_tar_archive_of_something_else(path: Path):
    assert "tar archive without pickle" in refusal(path, torch_tar({"storages": b"x", "tensors": b"y"}))
    broken = bytearray(torch_tar({"storages": b"", "tensors": b"", "pickle": program(b"}")}))
    broken[0] ^= 1
    assert "tar archive is damaged" in refusal(path, bytes(broken))


# ---------------------------------------------------------------- B3


def test_b3_compressed_entries_are_refused_unread(path: Path):
    pickled = program(table({"w": tensor(storage("0", 1 << 24), (1 << 24,))}))
    raw = torch_zip(pickled, {"0": bytes(1 << 26)}, zipfile.ZIP_DEFLATED)
    assert len(raw) < 100_000
    with bounded(10_000_000):
        assert "compressed entry" in refusal(path, raw)


# ---------------------------------------------------------------- B4


@pytest.mark.parametrize(
    ("shape", "strides", "offset", "what"),
    [
        ((1 << 32,), (0,), 0, "is larger than its data"),
        ((1 << 20, 1 << 20), (0, 0), 0, "is larger than its data"),
        ((1 << 40, 1 << 40), (0, 0), 0, "impossible shape"),
        ((2, 3), (1 << 40, 1), 0, "reaches beyond its data"),
        ((2, 3), (1 << 70, 1), 0, "reaches beyond its data"),
        ((2, 3), (4, 1), 0, "reaches beyond its data"),
        ((2, 3), (3, 1), 1, "reaches beyond its data"),
        ((1,), (1,), 6, "reaches beyond its data"),
        ((2, 3), (3, 1), -1, "impossible shape"),
        ((2, 3), (-3, 1), 3, "impossible strides"),
        ((2, 3), (3,), 0, "impossible strides"),
        ((-2, 3), (3, 1), 0, "impossible shape"),
        ((7,), (1,), 0, "is larger than its data"),
        ((1,) * 65, (1,) * 65, 0, "damaged"),
    ],
)
def test_b4_views_beyond_their_data(
    path: Path, shape: tuple[int, ...], strides: tuple[int, ...], offset: int, what: str
):
    pickled = program(table({"w": tensor(storage("0", 6), shape, strides, offset)}))
    with bounded(10_000_000):
        said = refusal(path, torch_zip(pickled, STORAGES))
    assert what in said
    assert "'w'" in said or what == "damaged"


def test_b4_many_views_of_one_storage(path: Path):
    pickled = program(table({f"w{i}": tensor(storage("0", 1 << 20), (1 << 20,)) for i in range(100)}))
    assert "far more than the file" in refusal(path, torch_zip(pickled, {"0": bytes(1 << 22)}))


# ---------------------------------------------------------------- B5


def test_b5_storages_that_are_short_or_missing(path: Path):
    pickled = program(table({"w": WEIGHT}))
    assert "should be 24 bytes, found 20" in refusal(path, torch_zip(pickled, {"0": VALUES[:20]}))
    assert "the data of tensor 'w' are not in it" in refusal(path, torch_zip(pickled, {"1": VALUES}))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_b5_two_entries_of_one_name(path: Path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program(table({"w": WEIGHT})))
        archive.writestr("archive/data/0", VALUES)
        archive.writestr("archive/data/0", VALUES)
    assert "two entries called 'archive/data/0'" in refusal(path)


def test_b5_bytes_before_within_and_behind(path: Path):
    raw = torch_zip(program(table({"w": WEIGHT})), STORAGES)
    assert "not where the archive says" in refusal(path, raw[:4] + raw)
    refusal(path, b"\x7fELF" + raw)
    assert "something follows its directory" in refusal(path, raw + b"x")
    assert "missing" in refusal(path, raw[:-1])
    assert "not where the archive says" in refusal(path, raw[:-22] + b"x" + raw[-22:])


def test_b5_entries_that_share_bytes(path: Path):
    raw = torch_zip(program(table({"w": WEIGHT})), STORAGES | {"1": VALUES})
    directory = raw.index(b"PK\x01\x02")
    one, other = (raw.index(name, directory) for name in (b"archive/data/0", b"archive/data/1"))
    changed = bytearray(raw)
    changed[other - 4 : other] = raw[one - 4 : one]  # the offset of its header
    assert "described in two ways" in refusal(path, bytes(changed))
    changed[other : other + 14] = b"archive/data/0"
    assert "two entries" in refusal(path, bytes(changed))
    inside = bytearray(torch_zip(program(table({"w": WEIGHT})), STORAGES | {"2": raw[: raw.index(b"PK\x01\x02")]}))
    directory = inside.rindex(b"PK\x01\x02\x14\x03")
    assert tensors(path, bytes(inside)) == {"w": VALUES}
    name = inside.rindex(b"archive/version")
    at = inside.index(b"archive/version") - 30  # of the archive within the entry
    inside[name - 4 : name] = struct.pack("<I", at)
    assert "overlaps another" in refusal(path, bytes(inside))


def test_b5_wide_numbers(path: Path):
    """torch writes a zip64 directory always; both say the same."""
    torch.save({"w": torch.arange(6.0).reshape(2, 3)}, path)
    raw = path.read_bytes()
    assert tensors(path, raw) == {"w": VALUES}
    end = raw.rindex(b"PK\x05\x06")
    narrow = raw[: end + 8] + b"\xff" * 12 + raw[end + 20 :]
    assert tensors(path, narrow) == {"w": VALUES}
    different = raw[: end + 8] + b"\x01\x00\x01\x00" + raw[end + 12 :]
    assert "two directories differ" in refusal(path, different)
    wide = raw.rindex(b"PK\x06\x06")
    millions = (
        raw[: wide + 24] + struct.pack("<QQ", 10**6, 10**6) + raw[wide + 40 : end + 8] + b"\xff" * 12 + raw[end + 20 :]
    )
    assert "1000000 entries, over the limit" in refusal(path, millions)


def test_b5_an_entry_beyond_four_gigabytes(path: Path):
    """A sparse file; the wide numbers of the entry are in its extra field."""
    entries = {"archive/data.pkl": (program(table({"w": WEIGHT})), 0), "archive/data/0": (VALUES, 5 << 30)}
    directory = b""
    with open(path, "wb") as file:
        for name, (data, start) in entries.items():
            raw, crc = name.encode(), zlib.crc32(data)
            file.seek(start)
            file.write(struct.pack("<4s5H3L2H", b"PK\x03\x04", 45, 0, 0, 0, 0, crc, len(data), len(data), len(raw), 0))
            file.write(raw + data)
            wide = struct.pack("<2H3Q", 1, 24, len(data), len(data), start)
            sizes = (0xFFFFFFFF, 0xFFFFFFFF, len(raw), len(wide), 0, 0, 0, 0, 0xFFFFFFFF)
            directory += struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 45, 45, 0, 0, 0, 0, crc, *sizes) + raw + wide
        at = file.tell()
        file.write(directory)
        end = file.tell()
        file.write(struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 2, 2, len(directory), at))
        file.write(struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1))
        file.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 2, 2, len(directory), 0xFFFFFFFF, 0))
    with zipfile.ZipFile(path) as archive:  # the file is what it is meant to be
        assert archive.read("archive/data/0") == VALUES
    assert read_all(path) == {"w": VALUES}


def test_b5_a_million_entries_are_refused_at_once(path: Path):
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    directory = entry * 60_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 60_000, 60_000, len(directory), 4, 0)
    with bounded(20_000_000):
        refusal(path, b"PK\x03\x04" + directory + end)


# ---------------------------------------------------------------- B7, B8


def test_b7_nothing_to_take(path: Path):
    for value in (b"}", b"]", b"N", number(3), table({"epoch": number(3)}), table({"state_dict": b"}"})):
        assert "found no tensor in it" in refusal(path, torch_zip(program(value)))
    assert "'fc.weight' twice" in refusal(
        path, torch_zip(program(table({"fc.weight": WEIGHT, "module.fc.weight": WEIGHT})), STORAGES)
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: torch.zeros(2, dtype=torch.complex128).conj(), "lazily computed one of complex128"),
        (lambda: torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8), "quantized one of qint8"),
        (lambda: torch.quantize_per_channel(torch.zeros(2, 2), torch.ones(2), torch.zeros(2), 0, torch.quint8),
         "quantized one of quint8"),
        (lambda: torch.eye(3).to_sparse(), "sparse one of float32"),
        (lambda: torch.eye(3, dtype=torch.float64).to_sparse_csr(), "sparse one of float64"),
        (lambda: torch.zeros(2, device="meta"), "meta one of float32"),
        (lambda: torch.nested.nested_tensor([torch.zeros(2)]), "nested one of float32"),
    ],
)  # fmt: skip
def test_b8_what_has_no_plain_values_is_named(path: Path, zipped: bool, make: Callable[[], torch.Tensor], what: str):
    torch.save({"w": torch.zeros(1), "odd": make()}, path, _use_new_zipfile_serialization=zipped)
    said = refusal(path)  # where its values are read
    assert "'odd'" in said
    assert what in said
    with open_weights(path) as file:
        assert list(file.tensors) == ["w", "odd"]
        assert file.tensors["odd"].dtype.split()[-1] in what
    # Beside the state dict it does not matter.
    torch.save({"model": {"w": torch.zeros(1)}, "odd": make()}, path, _use_new_zipfile_serialization=zipped)
    with open_weights(path) as file:
        assert list(file.tensors) == ["w"]


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("turned", [False, True])
def test_b8_complex_numbers_are_read(path: Path, zipped: bool, turned: bool):
    state = {
        "short": torch.randn(3, 4, dtype=torch.complex64),
        "conjugated": torch.randn(3, 4, dtype=torch.complex64).conj(),
        "long": torch.randn(3, 4, dtype=torch.complex128),
    }
    state = {name: found.T if turned else found for name, found in state.items()}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    expected = {name: found.resolve_conj().contiguous().numpy().tobytes() for name, found in state.items()}
    assert read_all(path) == expected
    with open_weights(path) as file:
        assert [found.dtype for found in file.tensors.values()] == ["C64", "C64", "complex128"]


# ---------------------------------------------------------------- B9


def npy(header: str, data: bytes = b"", version: int = 1) -> bytes:
    text_ = header.encode()
    size = len(text_).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + text_ + data


def described(descr: str = "'<f4'", shape: str = "(2, 3)", fortran: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"


@pytest.mark.parametrize(
    ("array", "what"),
    [
        (npy(described(shape="(1000000000000,)"), VALUES), "found 24 bytes"),
        (npy(described(shape="(" + "1000000000, " * 60 + ")"), VALUES), "found 24 bytes"),
        (npy(described(shape="(-2, -3)"), VALUES), "damaged"),
        (npy(described(shape="[2, 3]"), VALUES), "damaged"),
        (npy(described(shape="(2.0, 3)"), VALUES), "damaged"),
        (npy(described(shape="(" + "1, " * 65 + ")"), VALUES[:4]), "damaged"),
        (npy(described(descr="'|O'"), VALUES), "contains Python objects"),
        (npy(described(descr="[('a', '<f4')]"), VALUES), "damaged"),
        (npy(described(descr="__import__('os').system('touch canary')"), VALUES), "damaged"),
        (npy(described() + " " * 20_000, VALUES), "takes 20"),
        (npy("(" * 9000, VALUES), "damaged"),
        (npy("{'descr': " + "-" * 9000 + "1}", VALUES), "damaged"),
        (npy("", VALUES), "damaged"),
        (npy(described(), VALUES[:-1]), "found 23 bytes"),
        (npy(described(), VALUES, version=4), "no numpy array"),
        (b"\x93NUMPY", "no numpy array"),
        (b"", "no numpy array"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_b9_arrays_that_are_not_what_they_say(canary: Path, path: Path, array: bytes, what: str, method: int):
    with bounded(10_000_000):
        said = refusal(path, zip_of({"w.npy": array, "v.npy": npy(described(), VALUES)}, method))
    assert what in said or "over 100 times" in said


def test_b9_bombs_members_and_checksums(path: Path):
    large = npy(described(shape="(16777216,)"), bytes(1 << 26))
    raw = zip_of({"w.npy": large}, zipfile.ZIP_DEFLATED)
    assert len(raw) < 100_000
    with bounded(10_000_000):
        assert "over 100 times its size" in refusal(path, raw)
    del large
    # A directory that denies it: the unpacking stops where the size that was stated is reached.
    honest = zip_of({"w.npy": npy(described(shape="(1048576,)"), bytes(1 << 22))}, zipfile.ZIP_DEFLATED)
    name = honest.rindex(b"w.npy")
    denied = honest[: name - 22] + struct.pack("<I", 1000) + honest[name - 18 :]
    with bounded(10_000_000):
        assert "not have the checksum" in refusal(path, denied)
    assert "found 'readme.txt'" in refusal(path, zip_of({"w.npy": npy(described(), VALUES), "readme.txt": b"x"}))
    sound = zip_of({"w.npy": npy(described(), VALUES)})
    assert tensors(path, sound) == {"w": VALUES}
    assert "not have the checksum" in refusal(path, sound.replace(VALUES, VALUES[::-1]))


# ---------------------------------------------------------------- B10


@pytest.mark.filterwarnings("ignore")
def test_b10_relatives_are_told_apart(path: Path):
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(path))
    assert re.search(r"is a TorchScript archive.*torch\.jit\.load", refusal(path))
    for entry in ("m/archive_format", "m/models/model.json", "serialized_exported_program.json"):
        assert re.search(r"is a \.pt2 archive of torch\.export.*state dict", refusal(path, zip_of({entry: b"{}"})))
    keras = {"config.json": b"{}", "metadata.json": b"{}", "model.weights.h5": b"\x89HDF"}
    assert re.search(r"not a sound .*h5py cannot read it", refusal(path, zip_of(keras)))
    assert "holds no torch checkpoint" in refusal(path, zip_of({"readme.txt": b"x"}))


@pytest.mark.parametrize(
    ("content", "what", "advice"),
    [
        (b"GGUF" + bytes(600), "a GGUF file", "converted from"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), "not a sound HDF5 file", "h5py cannot read it"),
        (b"\x93NUMPY\x01\x00" + bytes(600), "a NumPy file", "numpy.savez"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "a Git LFS pointer", "git lfs pull"),
        (b"<!DOCTYPE html><html>404</html>", "an HTML page", "download again"),
    ],
)
def test_b10_other_files_are_named_with_the_way_out(path: Path, content: bytes, what: str, advice: str):
    said = refusal(path, content)
    assert what in said
    assert advice in said


# ---------------------------------------------------------------- the command


def test_b1_the_command_ends_with_4_and_writes_nothing(canary: Path, path: Path, capsys: pytest.CaptureFixture[str]):
    attack = in_order_of_use("os.system", COMMAND)["REDUCE"]
    for content in containers(attack).values():
        path.write_bytes(content)
        code = errors.run(app, ["adapt-weights", str(path), "--in-chans", "4", "-o", "out.safetensors"])
        out, said = capsys.readouterr()
        assert (code, out) == (4, "")
        assert "Traceback" not in said
        assert os.listdir(path.parent) == ["w.pth"]


# ---------------------------------------------------------------- F


STATE: dict[str, Any] = {
    "a.weight": torch.arange(6.0).reshape(2, 3),
    "a.turned": torch.arange(6.0).reshape(2, 3).T,
    "b": torch.tensor(3),
}


def saved(**options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save({"model": STATE, "epoch": 1}, buffer, **options)
    return buffer.getvalue()


def arrays(save: Callable[..., None]) -> bytes:
    buffer = io.BytesIO()
    save(buffer, **{name: found.numpy() for name, found in STATE.items()})
    return buffer.getvalue()


def tar() -> bytes:
    record = pickle.dumps(1, 2) + program(together(number(10), text("cpu"), mention("torch.FloatStorage")))
    view = pickle.dumps(1, 2) + program(together(number(11), number(10), mention("torch.FloatTensor")))
    return torch_tar({
        "storages": record + counted(VALUES, 4) + pickle.dumps([], 2),
        "tensors": view + struct.pack("<q2q2qq", 2, 2, 3, 3, 1, 0),
        "pickle": program(table({"w": text("11") + b"Q"})),
    })  # fmt: skip


SOUND = {
    "zip": saved(),
    "legacy": saved(_use_new_zipfile_serialization=False),
    "tar": tar(),
    "npz": arrays(np.savez),
    "packed npz": arrays(np.savez_compressed),
    "pickle": pickle.dumps({name: found.numpy() for name, found in STATE.items()}, 4),
}
BOUNDED = settings(
    max_examples=150, deadline=timedelta(seconds=2), suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def require_harmless(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with bounded(200_000_000), suppress(InvalidInputError), open_weights(path) as file:
        for found in file.tensors.values():
            assert len(found.read()) == found.nbytes


@pytest.mark.parametrize("kind", SOUND)
def test_f_sound_files_are_read(path: Path, kind: str):
    assert tensors(path, SOUND[kind])


@pytest.mark.parametrize("kind", SOUND)
@BOUNDED
@given(data=st.data())
def test_f_flipped_bytes_neither_crash_nor_hang_nor_bloat(path: Path, kind: str, data: st.DataObject):
    content = bytearray(SOUND[kind])
    flips = st.tuples(st.integers(0, len(content) - 1), st.integers(1, 255))
    for position, bits in data.draw(st.lists(flips, min_size=1, max_size=8)):
        content[position] ^= bits
    require_harmless(path, bytes(content))


@pytest.mark.parametrize("kind", SOUND)
def test_f_a_file_cut_anywhere(path: Path, kind: str):
    sound = SOUND[kind]
    for length in random.Random(0).sample(range(len(sound.rstrip(b"\0"))), 100):
        path.write_bytes(sound[:length])
        with pytest.raises(InvalidInputError), open_weights(path):
            pass


@BOUNDED
@given(instructions=st.binary(max_size=60))
def test_f_any_bytes_as_a_pickle(path: Path, instructions: bytes):
    require_harmless(path, torch_zip(b"\x80\x02" + instructions + b".", STORAGES))
    require_harmless(path, torch_legacy(b"\x80\x02" + instructions + b"."))
