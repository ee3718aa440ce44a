"""`export.gguf`: llama.cpp's converter and quantiser in this process, and what the files carry."""

import sys
from hashlib import sha256

import pytest

import forge
from forge_llm.export.gguf_files import Gguf
from forge_llm.export.llama_cpp_files import embedded_template
from forge_llm.export.model_folder import chat_template


def export(folder, out, **options):
    out.mkdir(parents=True)
    run = forge.LocalRun(scratch=out.parent / f"scratch of {out.name}", threads=1)
    run.scratch.mkdir()
    Gguf(**options).export({"model": forge.Artifact("model", folder)}, out, run)
    return run


@pytest.mark.parametrize(
    ("types", "message"),
    [
        (["Q4_KM"], "there is no GGUF type `Q4_KM`; did you mean `Q4_K_M`?"),
        (["IQ2_XS"], "the type `IQ2_XS` needs an importance matrix, which is not made here"),
        ([], "`types` must name at least one type"),
    ],
)
def test_a_type_that_can_not_be_written_is_refused_before_anything_runs(types, message):
    with pytest.raises(ValueError, match="type") as caught:
        Gguf(types=types)
    assert str(caught.value) == message


def test_types_are_spelled_as_llama_cpp_spells_them():
    assert Gguf(types=("F16", "q4_k_m", "Q4_K_M", "bf16")).types == ("f16", "Q4_K_M", "bf16")


def test_every_type_has_its_number_in_llama_cpp():
    llama_cpp = pytest.importorskip("llama_cpp")
    from forge_llm.export.quantize import NEED_IMPORTANCE, QUANTISED

    missing = [n for n in (*QUANTISED, *NEED_IMPORTANCE) if not hasattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{n}")]
    assert missing == []


def test_a_name_that_is_a_path_is_refused():
    with pytest.raises(ValueError, match="must be letters, digits"):
        Gguf(name="../model")


def test_the_plan_needs_no_heavy_module(tmp_path):
    import subprocess

    code = "import sys, forge_llm.export.gguf_files, forge_llm.export.merge, forge_llm.check.gguf_check as c\n"
    code += "c.GgufCheck()\n"
    code += "print([m for m in ('torch', 'llama_cpp', 'transformers', 'gguf', 'numpy', 'jinja2') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


@pytest.mark.slow
class TestSmallModel:
    def test_the_files_are_there_and_carry_the_models_template(self, exported):
        files = sorted(path.name for path in (exported / "gguf").iterdir())
        assert files == ["tiny-Q4_K_M.gguf", "tiny-f16.gguf"]
        template = chat_template(exported / "base")
        assert template is not None
        assert [embedded_template(exported / "gguf" / name) for name in files] == [template, template]

    def test_the_quantised_tensors_are_of_the_type(self, exported):
        gguf = pytest.importorskip("gguf")
        tensors = gguf.GGUFReader(exported / "gguf" / "tiny-Q4_K_M.gguf").tensors
        kinds = {tensor.tensor_type.name for tensor in tensors}
        assert {"Q4_K", "Q6_K"} <= kinds <= {"Q4_K", "Q6_K", "F32"}

    def test_a_second_export_from_another_folder_has_the_same_bytes_and_names_no_path(self, exported, tmp_path, capfd):
        moved = tmp_path / "some-Other-7B-folder"
        moved.symlink_to(exported / "merged")
        export(moved, tmp_path / "out", types=("Q4_K_M",), name="tiny")
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["tiny-Q4_K_M.gguf"]
        again = (tmp_path / "out/tiny-Q4_K_M.gguf").read_bytes()
        assert sha256(again).hexdigest() == sha256((exported / "gguf" / "tiny-Q4_K_M.gguf").read_bytes()).hexdigest()
        assert b"some-Other" not in again
        assert str(tmp_path).encode() not in again
        assert list((tmp_path / "scratch of out").rglob("*.*")) == []
        assert capfd.readouterr() == ("", "")

    def test_a_model_without_a_template_is_refused(self, exported, tmp_path):
        bare = tmp_path / "bare"
        bare.mkdir()
        for path in (exported / "merged").iterdir():
            if path.name != "chat_template.jinja":
                (bare / path.name).symlink_to(path)
        with pytest.raises(forge.StepError) as caught:
            export(bare, tmp_path / "out")
        assert caught.value.message == "input `model` has no chat template"

    def test_an_architecture_that_llama_cpp_does_not_know_is_named(self, exported, tmp_path):
        odd = tmp_path / "odd"
        odd.mkdir()
        for path in (exported / "merged").iterdir():
            if path.name != "config.json":
                (odd / path.name).symlink_to(path)
        text = (exported / "merged" / "config.json").read_text()
        (odd / "config.json").write_text(text.replace("LlamaForCausalLM", "NobodyForCausalLM"))
        with pytest.raises(forge.StepError) as caught:
            export(odd, tmp_path / "out")
        assert caught.value.message == "llama.cpp's converter does not know the architecture `NobodyForCausalLM`"

    def test_a_file_that_is_no_gguf_is_refused_by_name(self, exported, tmp_path):
        cut = tmp_path / "cut.gguf"
        cut.write_bytes((exported / "gguf" / "tiny-f16.gguf").read_bytes()[:5000])
        with pytest.raises(forge.StepError, match=r"llama.cpp can't read `cut.gguf`"):
            embedded_template(cut)
