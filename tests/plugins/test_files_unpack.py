"""Archives are unpacked as they are, and the ones that mean harm are refused."""

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile

import pytest

import forge
from forge_files.unpack import Unpack

FILES = {"a.txt": b"one\n", "deep/b.txt": b"two\n", "空.txt": "三\n".encode()}


def zipped(files, **options):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(files, mode="w", entries=()):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for entry in entries:
            archive.addfile(entry)
    return buffer.getvalue()


def entry(name, kind=tarfile.REGTYPE, linkname=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, linkname
    return info


@pytest.fixture
def unpack(tmp_path):
    """Unpack archives by their names, and return what came out."""

    def unpacked(archives, **parameters):
        (tmp_path / "in").mkdir()
        (tmp_path / "out").mkdir()
        for name, data in archives.items():
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        out = tmp_path / "out"
        inputs = {"rows": forge.Artifact("rows", tmp_path / "in")}
        Unpack(**parameters).make(inputs, out, forge.LocalRun(tmp_path))
        return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}

    return unpacked


@pytest.fixture
def refused(unpack, tmp_path):
    """Return why an archive is refused; nothing has come to lie outside of the step's folder."""

    def reason(data, name="x.zip", **parameters):
        with pytest.raises(forge.StepError) as error:
            unpack({name: data}, **parameters)
        assert {"in", "out"} == {p.name for p in tmp_path.iterdir()}
        assert not any(p.is_symlink() for p in (tmp_path / "out").rglob("*"))
        assert f"`{name}`" in error.value.message
        return error.value.message

    return reason


@pytest.mark.parametrize(
    "data",
    [
        zipped(FILES),
        zipped(FILES, compression=zipfile.ZIP_DEFLATED),
        zipped(FILES, compression=zipfile.ZIP_LZMA),
        *(tarred(FILES, mode) for mode in ("w", "w:gz", "w:xz", "w:bz2")),
        lzma.compress(tarred(FILES)[:700]) + lzma.compress(tarred(FILES)[700:]),
        tarred(FILES | {"in.zip": zipped(FILES)}),
    ],
    ids=["zip", "deflated", "zip lzma", "tar", "tar.gz", "tar.xz", "tar.bz2", "two streams of xz", "zip in tar"],
)
def test_every_form_gives_the_same_files_whatever_its_name(unpack, data):
    found = unpack({"archive.bin": data})
    assert FILES == {name: text for name, text in found.items() if name != "in.zip"}


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_single_file_keeps_its_name_without_the_ending(unpack, pack):
    assert {"rows.jsonl": b"{}\n"} == unpack({"deep/rows.jsonl.gz": pack(b"{}\n")})


def test_several_archives_get_a_folder_each(unpack):
    found = unpack(
        {"one.zip": zipped({"a": b"1"}), "two.tar.gz": tarred({"a": b"2"}, "w:gz"), "b.txt.gz": gzip.compress(b"3")}
    )
    assert {"one/a": b"1", "two/a": b"2", "b.txt/b.txt": b"3"} == found


def test_two_archives_for_one_folder_are_refused(unpack):
    with pytest.raises(forge.StepError, match="two archives would be unpacked to `a`"):
        unpack({"a.zip": zipped(FILES), "a.tar": tarred(FILES)})


def test_an_archive_in_an_archive_stays_as_it_is(unpack):
    inner = zipped({"bomb": b"0" * 1000})
    assert {"inner.zip": inner} == unpack({"x.zip": zipped({"inner.zip": inner})})


def test_modes_owners_and_times_are_left_behind(unpack, tmp_path):
    info = entry("run.sh")
    info.mode, info.mtime, info.uid = 0o4777, 1, 12345
    unpack({"x.tar": tarred({}, entries=[info])})
    assert not (tmp_path / "out/run.sh").stat().st_mode & 0o6111


# ------------------------------------------------------------------ what means harm


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "..\\x", "C:\\x", "C:x", "a\0b"])
@pytest.mark.parametrize("form", ["zip", "tar"])
def test_names_that_lead_out_are_refused(refused, name, form):
    if form == "tar":
        data = tarred({name: b"x"})
        if "\0" in name:
            pytest.skip("a tar header ends a name at its NUL")
    else:
        # zipfile mends such names as it writes them
        plain = "n" * len(name)
        data = zipped({plain: b"x"}).replace(plain.encode(), name.encode())
    assert "leads out of the archive's folder" in refused(data)


@pytest.mark.parametrize(
    ("kind", "target"),
    [(tarfile.SYMTYPE, "/etc/passwd"), (tarfile.LNKTYPE, "/etc/passwd"), (tarfile.SYMTYPE, "a.txt")],
)
def test_links_in_a_tar_are_refused(refused, kind, target):
    data = tarred({"a.txt": b"x"}, entries=[entry("link", kind, target), entry("link/x")])
    assert "the entry `'link'` is a link" in refused(data, "x.tar")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_pipes_in_a_tar_are_refused(refused, kind):
    assert "the entry `'null'` is no file" in refused(tarred({}, entries=[entry("null", kind)]), "x.tar.gz")


@pytest.mark.parametrize(("mode", "what"), [(0o120777, "a link"), (0o020666, "a device"), (0o010666, "a pipe")])
def test_links_and_devices_in_a_zip_are_refused(refused, mode, what):
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, mode << 16
    assert f"the entry `'link'` is {what}" in refused(zipped({info: b"/etc/passwd"}))


@pytest.mark.parametrize("names", [("a", "a"), ("a", "./a"), ("b/a", "b//a")])
def test_a_name_that_comes_twice_is_refused(refused, names):
    data = tarred({}, entries=[entry(name) for name in names])
    assert "comes twice" in refused(data, "x.tar")


def test_names_that_differ_in_case_alone_are_two_files(unpack):
    assert {"A": b"1", "a": b"2"} == unpack({"x.zip": zipped({"A": b"1", "a": b"2"})})


def test_a_file_below_a_file_is_refused(refused):
    assert "a file and a folder at once" in refused(zipped({"a": b"1", "a/b": b"2"}))


def test_an_encrypted_entry_is_refused(refused):
    data = bytearray(zipped({"a": b"1"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    assert "is encrypted" in refused(bytes(data))


# ------------------------------------------------------------------ bombs


@pytest.mark.parametrize(
    "data",
    [
        zipped({"zeros": bytes(30 << 20)}, compression=zipfile.ZIP_DEFLATED),
        tarred({"zeros": bytes(30 << 20)}, "w:xz"),
        tarred({"zeros": bytes(30 << 20)}, "w:bz2"),
        gzip.compress(bytes(30 << 20)),
        gzip.compress(tarred({f"{n}": bytes(1 << 20) for n in range(30)})),
    ],
    ids=["zip", "tar.xz", "tar.bz2", "gz", "many in tar.gz"],
)
def test_more_than_the_ratio_is_refused_before_it_is_written(refused, tmp_path, data):
    assert "more than 200 bytes for each byte of it" in refused(data)
    written = sum(p.stat().st_size for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert written <= 200 * len(data) + (2 << 20)


def test_the_ratio_can_be_raised(unpack):
    found = unpack({"x.gz": gzip.compress(bytes(3 << 20))}, most_ratio=2000)
    assert {"x": bytes(3 << 20)} == found


def test_a_zip_whose_directory_names_one_file_many_times_is_refused(refused):
    data = zipped({"a": os.urandom(1000)})
    start = data.index(b"PK\x01\x02")
    directory, end = data[start : data.index(b"PK\x05\x06")], data[data.index(b"PK\x05\x06") :]
    count = 500
    copies = directory * count
    tail = end[:8] + struct.pack("<HHII", count, count, len(copies), start) + end[20:]
    assert "comes twice" in refused(data[:start] + copies + tail)


def test_more_bytes_than_allowed_are_refused(refused):
    assert "more than 1,000 bytes" in refused(zipped({"a": b"x" * 600, "b": b"y" * 600}), most_bytes=1000)


def test_more_files_than_allowed_are_refused(refused):
    assert "more than 3 files" in refused(zipped({str(n): b"" for n in range(4)}), most_files=3)


def test_a_zip_that_declares_a_false_size_is_refused(refused):
    data = zipped({"a": b"x" * 5000}, compression=zipfile.ZIP_DEFLATED)
    assert "is damaged" in refused(data.replace(struct.pack("<I", 5000), struct.pack("<I", 10)))


def test_a_zip_that_declares_too_much_is_refused(refused):
    data = zipped({"a": b"x" * 5000}, compression=zipfile.ZIP_DEFLATED)
    said = refused(data.replace(struct.pack("<I", 5000), struct.pack("<I", 1 << 30)))
    assert "says that `a` has 1,073,741,824 bytes, it has 5,000" in said


def test_a_long_header_of_a_tar_is_refused_before_it_is_read(refused):
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 40 << 20
    data = header.tobuf(tarfile.GNU_FORMAT) + os.urandom(1 << 20) + bytes(39 << 20)
    assert "has a header that is too long" in refused(data, "x.tar")


@pytest.mark.parametrize("form", ["w", "w:gz", "w:xz", "w:bz2"])
def test_half_of_an_archive_is_refused(refused, form):
    data = tarred({"a": os.urandom(50_000), "b": os.urandom(50_000)}, form)
    assert "`x.tar`" in refused(data[: len(data) // 2], "x.tar")


def test_a_damaged_header_is_not_taken_for_the_end(refused):
    data = bytearray(tarred({"a": b"1", "b": b"2"}))
    data[1024 + 20] ^= 0xFF
    assert "is damaged" in refused(bytes(data), "x.tar")


def test_what_is_no_archive_is_refused(refused):
    assert "is no archive" in refused(b"hello", "x.zip")
