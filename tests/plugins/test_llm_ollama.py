"""`export.ollama`: a Modelfile's template writes what the model's own template writes, character by character."""

import json
import shutil
import subprocess

import pytest

import forge
from forge_llm.chat_format import load_tokenizer
from forge_llm.export.go_template import render as render_go
from forge_llm.export.go_template import written
from forge_llm.export.ollama import Ollama, stops
from forge_llm.export.turns import conversation, read_turns, require_turns, samples, template_renderer

pytest.importorskip("transformers")

WAITING = True
LOOP = "{% for m in messages %}"
CHATML = (
    LOOP + "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TEMPLATES = {
    "chatml": CHATML,
    "a default system message": (
        "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe {{kind}}.<|im_end|>\n' }}{% endif %}"
        + CHATML
    ),
    "headers after a start": (
        "{{ bos_token }}" + LOOP + "{{ '[' + m['role'] + ']\n\n' + m['content'] | trim + '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '[assistant]\n\n' }}{% endif %}"
    ),
    "a date": "{{ bos_token + strftime_now('%d %b %Y') + '\n' }}" + CHATML,
    "system inside the first turn": (
        "{{ bos_token }}{% set first = '' %}{% if messages[0]['role'] == 'system' %}"
        "{% set first = messages[0]['content'] + '\n\n' %}{% set messages = messages[1:] %}{% endif %}"
        + LOOP
        + "{{ '<turn>' + ('model' if m['role'] == 'assistant' else 'user') + '\n' + (first if loop.first else '')"
        " + m['content'] + '<end>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<turn>model\n' }}{% endif %}"
    ),
    "system inside the last turn": (
        "{{ bos_token }}{% set system = '' %}{% if messages[0]['role'] == 'system' %}"
        "{% set system = messages[0]['content'] + '\n\n' %}{% set messages = messages[1:] %}{% endif %}"
        + LOOP
        + "{% if m['role'] == 'user' %}{{ '[INST] ' + (system if loop.last else '') + m['content'] + '[/INST]' }}"
        "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
    ),
    "no system": ("{% if messages[0]['role'] == 'system' %}{{ raise_exception('none here') }}{% endif %}" + CHATML),
    "thinking is asked for": (
        "{{ bos_token }}" + LOOP + "{% if m['role'] == 'system' %}{{ m['content'] }}{% elif m['role'] == 'user' %}"
        "{{ '<U>' + m['content'] }}{% else %}{{ '<A>' + m['content'].split('</think>')[-1] + eos_token }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<A><think>\n' }}{% endif %}"
    ),
    "an end where nothing follows": (
        LOOP + "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% else %}{{ bos_token }}{% endif %}"
    ),
    "words": (
        LOOP + "{{ '### ' + m['role'].capitalize() + ':\n' + m['content'] + '\n\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '### Assistant:\n' }}{% endif %}"
    ),
}


@pytest.fixture
def tokenizer_of(tmp_path, save_tokenizer):
    def load(template):
        folder = tmp_path / "tokenizer"
        save_tokenizer(folder, template)
        return load_tokenizer(folder)

    return load


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_ollama_renders_is_what_transformers_renders(tokenizer_of, name):
    render = template_renderer(tokenizer_of(TEMPLATES[name]))
    turns = read_turns(render)
    template = written(turns)
    expected = [render(messages, WAITING) for messages in samples(turns)]
    assert len(expected) == (4 if name == "no system" else 12)
    assert expected == [render_go(template, messages) for messages in samples(turns)]
    assert ("none" if name == "no system" else turns.place) == turns.place


def test_the_places_of_a_system_message_are_told_apart(tokenizer_of):
    places = {name: read_turns(template_renderer(tokenizer_of(text))).place for name, text in TEMPLATES.items()}
    assert {
        "system inside the first turn": "first",
        "system inside the last turn": "last",
        "no system": "none",
    } == {name: place for name, place in places.items() if place != "own"}


GO = """package main

import ("encoding/json"; "os"; "text/template")

type message struct { Role, Content string }
type sample struct { Template, System string; Messages []*message }

func main() {
	var samples []sample
	if err := json.NewDecoder(os.Stdin).Decode(&samples); err != nil { panic(err) }
	texts := []string{}
	for _, s := range samples {
		var text = new(writer)
		t := template.Must(template.New("").Option("missingkey=zero").Parse(s.Template))
		if err := t.Execute(text, map[string]any{"System": s.System, "Messages": s.Messages}); err != nil { panic(err) }
		texts = append(texts, string(text.bytes))
	}
	json.NewEncoder(os.Stdout).Encode(texts)
}

type writer struct { bytes []byte }

func (w *writer) Write(b []byte) (int, error) { w.bytes = append(w.bytes, b...); return len(b), nil }
"""


@pytest.mark.slow
def test_go_itself_renders_the_same(tmp_path, tokenizer_of):
    if shutil.which("go") is None:
        pytest.skip("there is no `go` here: the templates were rendered by forge's own reading of the language alone")
    cases, expected = [], []
    for text in TEMPLATES.values():
        render = template_renderer(tokenizer_of(text))
        turns = read_turns(render)
        for messages in samples(turns):
            said = [{"Role": m["role"], "Content": m["content"]} for m in messages]
            system = messages[0]["content"] if messages[0]["role"] == "system" else ""
            cases.append({"Template": written(turns), "System": system, "Messages": said})
            expected.append(render(messages, WAITING))
    (tmp_path / "main.go").write_text(GO)
    done = subprocess.run(
        ["go", "run", "main.go"], cwd=tmp_path, input=json.dumps(cases), capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert expected == json.loads(done.stdout)


def test_neighbours_of_one_role_are_joined_and_an_answer_to_go_on_with_stays_open():
    template = '{{- range .Messages }}{{ if eq .Role "user" -}}\n  <{{ .Content }}>\n{{- else }}{{ .Content }}{{ end }}'
    template += "{{ end -}} "
    said = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}]
    assert render_go(template, said) == "<a\n\nb>c"


def test_an_answer_that_ends_a_conversation_is_left_open(tokenizer_of):
    template = written(read_turns(template_renderer(tokenizer_of(CHATML))))
    expected = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nWell"
    assert expected == render_go(template, conversation("Hi", "Well"))


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (CHATML.replace("m['content']", "m['content'][:4]"), "it does not write each message once"),
        (
            LOOP + "{{ ('first ' if loop.first else 'then ') + m['content'] }}{% endfor %}",
            "the first user's turn begins in another way than those that follow",
        ),
    ],
)
def test_a_template_of_another_shape_is_refused_with_the_reason(tokenizer_of, template, reason):
    with pytest.raises(forge.StepError, match=reason):
        require_turns(template_renderer(tokenizer_of(template)), "merged")


def artifacts(exported):
    names = {"gguf": "gguf", "model": "merged"}
    return {name: forge.Artifact(name, exported / folder) for name, folder in names.items()}


@pytest.mark.slow
class TestSmallModel:
    def test_the_modelfile_lies_beside_the_file_it_names(self, exported, tmp_path):
        run, out = forge.LocalRun(scratch=tmp_path), tmp_path / "out"
        out.mkdir()
        step = Ollama(system="Be brief.\nBe kind.", context=2048, temperature=0.0)
        step.export(artifacts(exported), out, run)
        assert {"Modelfile", "tiny-Q4_K_M.gguf"} == {path.name for path in out.iterdir()}
        lines = (out / "Modelfile").read_text().split("\n")
        assert lines[0] == "FROM ./tiny-Q4_K_M.gguf"
        assert lines[1].startswith('TEMPLATE """{{ if .System }}<|im_start|>system')
        end = ["PARAMETER num_ctx 2048", "PARAMETER temperature 0.0", 'PARAMETER stop "<|im_end|>"']
        assert [*end, 'PARAMETER stop "<|im_start|>"', ""] == lines[-5:]
        assert "12 conversations are rendered as by the model's own template" in run.messages
        text = (out / "Modelfile").read_text()
        template = text.partition('TEMPLATE """')[2].partition('"""')[0]
        render = template_renderer(load_tokenizer(exported / "merged"))
        for messages in samples(read_turns(render)):
            assert render(messages, WAITING) == render_go(template, messages)

    def test_another_models_tokenizer_is_refused(self, exported, tmp_path, save_tokenizer):
        other = tmp_path / "other"
        shutil.copytree(exported / "merged", other)
        (other / "chat_template.jinja").write_text(CHATML + " ")
        inputs = artifacts(exported) | {"model": forge.Artifact("model", other)}
        with pytest.raises(forge.StepError, match="has another chat template than input `model`"):
            Ollama().export(inputs, tmp_path, forge.LocalRun(scratch=tmp_path))

    def test_a_type_that_is_not_there_is_named_with_those_that_are(self, exported, tmp_path):
        with pytest.raises(forge.StepError, match="input `gguf` holds no `Q8_0` file") as caught:
            Ollama(type="q8_0").export(artifacts(exported), tmp_path, forge.LocalRun(scratch=tmp_path))
        assert caught.value.hint == "it holds `tiny-Q4_K_M.gguf`, `tiny-f16.gguf`"


def test_text_that_a_modelfile_can_not_hold_is_refused():
    with pytest.raises(ValueError, match="`system` can't hold"):
        Ollama(system='say """')


def test_stops_are_the_marks_that_end_a_turn(tokenizer_of):
    found = {}
    for name in ("chatml", "words", "system inside the last turn"):
        tokenizer = tokenizer_of(TEMPLATES[name])
        found[name] = stops(read_turns(template_renderer(tokenizer)), tokenizer)
    assert found == {
        "chatml": ["<|im_end|>", "<|im_start|>"],
        "words": ["<|im_end|>", "### User:"],
        "system inside the last turn": ["<|im_end|>"],
    }


def test_a_type_that_is_not_made_is_found_before_anything_is_trained(tmp_path):
    (tmp_path / "toy-Q4_K_M.gguf").touch()
    (tmp_path / "toy-f16.gguf").touch()
    inputs = {"gguf": forge.Artifact("gguf", tmp_path)}
    run = forge.LocalRun(scratch=tmp_path)
    [notice] = Ollama().preflight(inputs, tmp_path, run)
    assert ("good", "`toy-Q4_K_M.gguf` is taken") == (notice.state, notice.message)
    with pytest.raises(forge.StepError, match="holds no `Q5_K_M` file") as caught:
        Ollama(type="Q5_K_M").preflight(inputs, tmp_path, run)
    assert "it holds `toy-Q4_K_M.gguf`, `toy-f16.gguf`" == caught.value.hint
