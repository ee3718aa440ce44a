"""`export.gguf`: llama.cpp's converter and quantiser in this process, and what the files carry."""

import sys
from hashlib import sha256

import pytest

import forge
from forge_llm.export.gguf_files import Gguf
from forge_llm.export.importance import Importance, measure
from forge_llm.export.llama_cpp_files import embedded_template
from forge_llm.export.model_folder import chat_template
from forge_llm.export.quantize import NEED_IMPORTANCE, NOT_WRITTEN, QUANTISED, quantise
from forge_llm.model.gguf_header import read_header


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
        (["iq2_xxl"], "there is no GGUF type `iq2_xxl`; did you mean `IQ2_XXS`?"),
        (["NVFP4"], "llama.cpp reads the type `NVFP4` and does not write it"),
        ([], "`types` must name at least one type"),
    ],
)
def test_a_type_that_can_not_be_written_is_refused_before_anything_runs(types, message):
    with pytest.raises(ValueError, match="type") as caught:
        Gguf(types=types)
    assert str(caught.value) == message


def test_types_are_spelled_as_llama_cpp_spells_them():
    assert Gguf(types=("F16", "q4_k_m", "Q4_K_M", "bf16")).types == ("f16", "Q4_K_M", "bf16")


def test_the_types_are_those_that_llama_cpp_enumerates():
    llama_cpp = pytest.importorskip("llama_cpp")
    mark = "LLAMA_FTYPE_MOSTLY_"
    theirs = {name.removeprefix(mark) for name in dir(llama_cpp) if name.startswith(mark)} - {"F16", "BF16"}
    assert theirs == {*QUANTISED, *NOT_WRITTEN}
    assert set(NEED_IMPORTANCE) <= set(QUANTISED)


WEIGHTS = {"attn_q": (256, 256), "attn_k": (128, 256), "attn_v": (128, 256), "attn_output": (256, 256)}
WEIGHTS |= {"ffn_gate": (512, 256), "ffn_up": (512, 256), "ffn_down": (256, 512)}


@pytest.fixture(scope="module")
def small_gguf(tmp_path_factory):
    """Return a GGUF of one random layer, as the quantiser reads it: it looks at no vocabulary."""
    gguf, numpy = pytest.importorskip("gguf"), pytest.importorskip("numpy")
    pytest.importorskip("llama_cpp")
    path = tmp_path_factory.mktemp("small") / "small-f16.gguf"
    random = numpy.random.default_rng(5)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(256)
    writer.add_feed_forward_length(512)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    shapes = {"token_embd": (256, 256)} | {f"blk.0.{name}": shape for name, shape in WEIGHTS.items()}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", random.normal(0, 0.1, shape).astype(numpy.float16))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", numpy.ones(256, numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


# the first file of two bits in a process waits for llama.cpp to lay out its grids
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] if kind in NEED_IMPORTANCE else []) for kind in QUANTISED]
)
def test_every_type_of_llama_cpp_is_written(small_gguf, tmp_path, kind):
    import gguf
    import numpy as np

    squares = {f"blk.0.{name}.weight": np.ones(shape[1], np.float32) for name, shape in WEIGHTS.items()}
    run = forge.LocalRun(scratch=tmp_path, threads=1)
    quantise(small_gguf, tmp_path / "out.gguf", kind, run, importance=Importance(squares, 3, 10))
    reader = gguf.GGUFReader(tmp_path / "out.gguf")
    kinds = {tensor.tensor_type.name for tensor in reader.tensors if len(tensor.shape) > 1}
    assert kinds - {"F16", "F32"}
    found = {name: reader.fields[f"quantize.imatrix.{name}"].contents() for name in ("entries_count", "chunks_count")}
    assert {"entries_count": 7, "chunks_count": 3} == found


@pytest.mark.parametrize("kind", NEED_IMPORTANCE)
def test_a_type_that_needs_an_importance_matrix_is_refused_without_one(small_gguf, tmp_path, kind):
    with pytest.raises(forge.StepError, match="quantization requires an imatrix"):
        quantise(small_gguf, tmp_path / "out.gguf", kind, forge.LocalRun(scratch=tmp_path, threads=1))


@pytest.mark.parametrize("kind", NOT_WRITTEN)
def test_what_is_said_not_to_be_written_is_refused_by_llama_cpp(small_gguf, tmp_path, kind):
    with pytest.raises(forge.StepError, match="invalid output file type"):
        quantise(small_gguf, tmp_path / "out.gguf", kind, forge.LocalRun(scratch=tmp_path, threads=1))


def test_importance_decides_where_a_weight_is_rounded_with_care(small_gguf, tmp_path):
    import gguf
    import numpy as np

    run = forge.LocalRun(scratch=tmp_path, threads=1)
    matters = np.full(256, 1e-3, np.float32)
    matters[::8] = 100.0
    quantise(small_gguf, tmp_path / "plain.gguf", "Q2_K", run)
    importance = Importance({"blk.0.attn_q.weight": matters}, 1, 1)
    quantise(small_gguf, tmp_path / "care.gguf", "Q2_K", run, importance=importance)

    def error(path):
        tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
        held = tensors["blk.0.attn_q.weight"]
        values = gguf.dequantize(held.data, held.tensor_type).reshape(256, 256)
        exact = {t.name: t for t in gguf.GGUFReader(small_gguf).tensors}["blk.0.attn_q.weight"].data.reshape(256, 256)
        return float((((values - exact) ** 2) * matters).sum())

    assert error(tmp_path / "care.gguf") < 0.5 * error(tmp_path / "plain.gguf")


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

    def test_the_file_says_its_name_licence_and_the_digest_of_the_model(self, exported, tmp_path):
        (tmp_path / "out").mkdir()
        run = forge.LocalRun(scratch=tmp_path, threads=1)
        artifact = forge.Artifact("model", exported / "merged", digest="ab12" * 16)
        Gguf(types=("f16", "Q8_0"), name="tiny", license="mit").export({"model": artifact}, tmp_path / "out", run)
        expected = {"general.name": "tiny", "general.license": "mit", "forge.lineage": "ab12" * 16}
        for kind in ("f16", "Q8_0"):
            header = read_header(tmp_path / "out" / f"tiny-{kind}.gguf")
            assert expected == {key: header[key] for key in expected}
        unsaid = read_header(exported / "gguf" / "tiny-f16.gguf")
        assert {"general.license", "forge.lineage"}.isdisjoint(unsaid)

    def test_importance_is_measured_on_rows_and_named_as_in_the_file(self, exported, tmp_path):
        import numpy as np
        import torch
        from transformers import AutoModelForCausalLM

        from forge_llm.chat_format import encode, load_tokenizer, render

        frame = pytest.importorskip("polars").DataFrame(
            {"instruction": ["How are you?", " "], "output": ["Well.", "x"]}
        )
        forge.write_rows(frame, tmp_path / "rows")
        header = read_header(exported / "gguf" / "tiny-f16.gguf")
        data, run = forge.Artifact("rows", tmp_path / "rows"), forge.LocalRun(scratch=tmp_path, threads=1)
        found = measure(exported / "merged", header, data, 8, 12, run)
        places = {f"blk.{layer}.{name}.weight" for layer in range(2) for name in WEIGHTS}
        assert places == found.squares.keys()
        assert (1, 12) == (found.rows, found.tokens)
        tokenizer = load_tokenizer(exported / "merged")
        said = [{"role": "user", "content": "How are you?"}, {"role": "assistant", "content": "Well."}]
        ids = encode(tokenizer, render(tokenizer, said, generate=False))[:12]
        model = AutoModelForCausalLM.from_pretrained(exported / "merged", dtype=torch.float32)
        with torch.inference_mode():
            inner = model.model.layers[0].input_layernorm(model.model.embed_tokens(torch.tensor([ids])))
        expected = inner[0].square().mean(0).numpy()
        for name in ("attn_q", "attn_k", "attn_v"):
            np.testing.assert_allclose(expected, found.squares[f"blk.0.{name}.weight"], rtol=1e-4)
        forge.write_rows(frame.tail(1), tmp_path / "empty")
        with pytest.raises(forge.StepError, match="no row of input `rows` can be read by the model's template"):
            measure(exported / "merged", header, forge.Artifact("rows", tmp_path / "empty"), 8, 12, run)

    def test_types_of_two_bits_ask_for_rows_before_anything_is_converted(self, exported, tmp_path):
        with pytest.raises(forge.StepError) as caught:
            export(exported / "merged", tmp_path / "out", types=("f16", "IQ2_XS"))
        assert caught.value.message == "the type `IQ2_XS` needs an importance matrix"
        assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.slow
def test_an_importance_matrix_brings_low_bits_closer_to_the_whole_model(smollm2, tmp_path):
    polars, llama_cpp = pytest.importorskip("polars"), pytest.importorskip("llama_cpp")
    import numpy as np

    topics = ("sleep", "a quarrel with a friend", "an exam", "moving house", "work", "a long walk", "cooking", "money")
    answers = [
        f"That sounds like a lot. What about {topic} is the hardest part for you at the moment?" for topic in topics
    ]
    frame = polars.DataFrame(
        {"instruction": [f"I keep thinking about {topic}." for topic in topics], "output": answers}
    )
    forge.write_rows(frame, tmp_path / "rows")
    (tmp_path / "plain").mkdir()
    (tmp_path / "care").mkdir()
    run = forge.LocalRun(scratch=tmp_path)
    inputs = {"model": forge.Artifact("model", smollm2)}
    Gguf(types=("f16", "Q2_K")).export(inputs, tmp_path / "plain", run)
    inputs["data"] = forge.Artifact("data", tmp_path / "rows")
    Gguf(types=("Q2_K",)).export(inputs, tmp_path / "care", run)
    text = "<|im_start|>user\nMy neighbour plays the drums at night and I can not sleep.<|im_end|>\n"
    text += "<|im_start|>assistant\nI am sorry to hear that. You could talk to your neighbour and ask for quiet hours"
    text += " after ten.<|im_end|>\n"

    def chances(path):
        model = llama_cpp.Llama(str(path), n_ctx=128, logits_all=True, verbose=False)
        ids = model.tokenize(text.encode(), add_bos=False, special=True)
        model.eval(ids)
        logits = np.array(model.scores[: len(ids)], np.float64)
        model.close()
        logits -= logits.max(1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(1, keepdims=True))

    whole = chances(tmp_path / "plain" / "model-f16.gguf")
    away = {
        name: (np.exp(whole) * (whole - chances(tmp_path / name / "model-Q2_K.gguf"))).sum(1).mean()
        for name in ("plain", "care")
    }
    assert away["care"] < 0.9 * away["plain"]
