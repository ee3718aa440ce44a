"""Talk to a GGUF file and to a Hugging Face folder."""

import pytest

from forge_llm.export import forge_chat
from forge_llm.local_chat import FolderChat, GgufChat, with_system

pytestmark = pytest.mark.slow
HELLO = [{"role": "user", "content": "你好"}]


def test_a_system_message_comes_first_once():
    system = {"role": "system", "content": "be kind"}
    assert with_system(HELLO, "be kind") == [system, *HELLO]
    assert with_system([system, *HELLO], "other") == [system, *HELLO]
    assert with_system(HELLO, None) == HELLO


def test_a_gguf_file_answers_in_pieces_and_the_same_again(exported):
    chat = forge_chat(exported / "gguf/tiny-Q4_K_M.gguf", "简短回答")
    assert isinstance(chat, GgufChat)
    chat.longest, chat.threads = 12, 1
    first = list(chat.stream(HELLO))
    assert 1 < len(first) <= 12
    history = [*HELLO, {"role": "assistant", "content": "".join(first)}, {"role": "user", "content": "再见"}]
    assert "".join(chat.stream(history))
    assert first == list(chat.stream(HELLO))
    chat.close()


def test_the_smallest_file_of_an_artifact_is_taken(exported):
    chat = forge_chat(exported / "gguf", None)
    assert isinstance(chat, GgufChat)
    assert chat.path.name == "tiny-Q4_K_M.gguf"


def test_a_merged_folder_answers_through_transformers(exported):
    chat = forge_chat(exported / "merged", None)
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
    assert forge_chat(exported / "adapter", None) is None
    assert forge_chat(tmp_path, None) is None
    assert forge_chat(tmp_path / "notes.txt", None) is None
