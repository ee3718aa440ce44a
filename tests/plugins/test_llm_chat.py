"""Talk to a GGUF file, to a Hugging Face folder and to an adapter."""

import io
import json
from functools import partial

import pytest

import forge
from forge.cli.app import run
from forge.cli.chat import Talk
from forge_llm.local_chat import FolderChat, GgufChat, open_chat, with_system

pytestmark = pytest.mark.slow
HELLO = [{"role": "user", "content": "你好"}]


def test_a_system_message_comes_first_once():
    system = {"role": "system", "content": "be kind"}
    assert with_system(HELLO, "be kind") == [system, *HELLO]
    assert with_system([system, *HELLO], "other") == [system, *HELLO]
    assert with_system(HELLO, None) == HELLO


def test_a_gguf_file_answers_in_pieces_and_the_same_again(exported):
    chat = open_chat(exported / "gguf/tiny-Q4_K_M.gguf", "简短回答")
    assert isinstance(chat, GgufChat)
    chat.longest, chat.threads = 12, 1
    first = list(chat.stream(HELLO))
    assert 1 < len(first) <= 12
    history = [*HELLO, {"role": "assistant", "content": "".join(first)}, {"role": "user", "content": "再见"}]
    assert "".join(chat.stream(history))
    assert first == list(chat.stream(HELLO))
    chat.close()


def test_the_smallest_file_of_an_artifact_is_taken(exported):
    chat = open_chat(exported / "gguf", None)
    assert isinstance(chat, GgufChat)
    assert chat.path.name == "tiny-Q4_K_M.gguf"


def test_a_merged_folder_answers_through_transformers(exported):
    chat = open_chat(exported / "merged", None)
    assert isinstance(chat, FolderChat)
    chat.longest, chat.temperature = 6, 0.0
    assert "".join(chat.stream(HELLO))
    assert list(chat.stream(HELLO)) == list(chat.stream(HELLO))


def test_both_sides_say_the_same_greedily(exported):
    by_llama = GgufChat(exported / "gguf/tiny-f16.gguf", temperature=0.0, longest=6, threads=1)
    by_torch = FolderChat(exported / "merged", temperature=0.0, longest=6)
    assert "".join(by_llama.stream(HELLO)) == "".join(by_torch.stream(HELLO))
    by_llama.close()


def test_what_is_no_model_is_left_to_others(exported, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    assert open_chat(tmp_path, None) is None
    assert open_chat(tmp_path / "notes.txt", None) is None


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "it is empty"),
        (None, "it is no GGUF file: its first four bytes are not `GGUF`"),
        (1000, "its header is damaged or cut short"),
        (-1000, "it is cut short: it has "),
    ],
)
def test_a_file_that_can_not_be_loaded_is_told_why(exported, tmp_path, capsys, size, said):
    path, data = tmp_path / "broken.gguf", (exported / "gguf/tiny-Q4_K_M.gguf").read_bytes()
    path.write_bytes(b"<html>not found</html>" if size is None else data[:size])
    assert 1 == run(["chat", str(path), "-m", "Hello"])
    assert f"llama.cpp can't load `broken.gguf`: {said}" in capsys.readouterr().err


def test_an_adapter_answers_as_the_model_it_becomes_when_merged(exported):
    merged = FolderChat(exported / "merged", longest=6)
    chat = open_chat(exported / "adapter", None, exported / "base")
    bare = FolderChat(exported / "base", longest=6)
    chat.longest = 6
    assert "".join(merged.stream(HELLO)) == "".join(chat.stream(HELLO)) != "".join(bare.stream(HELLO))


def test_an_adapter_without_its_base_is_refused(exported):
    with pytest.raises(forge.StepError, match="without the model that it was trained for"):
        open_chat(exported / "adapter", None)


class Echo:
    """Say how many messages there were, and the last one."""

    def __init__(self):
        self.heard = []

    def stream(self, history):
        self.heard.append(list(history))
        yield str(len(history))
        yield f": {history[-1]['content']}"


def talk(monkeypatch, text, **options):
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    chat = Echo()
    Talk(chat, "echo", **options).go_on()
    return chat.heard


def test_each_line_of_a_pipe_is_a_message_and_history_grows(monkeypatch, capsys):
    talk(monkeypatch, "one\n\ntwo\nthree \\\nlines")
    assert ["1: one", "3: two", "5: three ", "lines"] == capsys.readouterr().out.splitlines()


def test_commands_change_the_talk_and_are_not_sent(monkeypatch, capsys):
    lines = ["one", "/undo", "two", "/reset", "three", "/system be kind", "four", "/system", "/sistem", "/quit", "five"]
    heard = talk(monkeypatch, "\n".join(lines))
    assert [["one"], ["two"], ["three"], ["be kind", "four"]] == [[m["content"] for m in each] for each in heard]
    err = capsys.readouterr().err
    assert "be kind" in err
    assert "there is no `/sistem`; did you mean `/system`?" in err


def test_a_turn_as_json_is_a_line(monkeypatch, capsys):
    talk(monkeypatch, "one\ntwo", as_json=True, system="be kind")
    turns = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [("one", "2: one", 1), ("two", "4: two", 2)] == [(t["message"], t["reply"], t["turn"]) for t in turns]


def test_a_single_message_is_answered_and_that_is_all(exported, tmp_path, monkeypatch, capsys):
    (tmp_path / "persona.md").write_text("简短回答")
    monkeypatch.setattr("sys.stdin", io.StringIO("你好\n"))
    monkeypatch.setattr("forge_llm.local_chat.GgufChat", partial(GgufChat, longest=6))
    folder, persona = str(exported / "gguf"), f"@{tmp_path / 'persona.md'}"
    assert 0 == run(["chat", folder, "--type", "q4_k_m", "--system", persona, "-m", "-", "--json"])
    turn = json.loads(capsys.readouterr().out)
    expected = GgufChat(exported / "gguf/tiny-Q4_K_M.gguf", "简短回答", longest=6)
    assert ("你好", "".join(expected.stream(HELLO))) == (turn["message"], turn["reply"])


def test_a_type_that_is_not_there_is_named(exported, capsys):
    assert 2 == run(["chat", str(exported / "gguf"), "--type", "Q4_K_S", "-m", "hello"])
    assert "did you mean `Q4_K_M`?" in capsys.readouterr().err
