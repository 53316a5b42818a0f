"""Tokenizers and conversations."""
import pytest
from conftest import TEACHER

import hypenet

MESSAGES = [{"role": "user", "content": "Hello <|endoftext|>"}]


def test_text_goes_there_and_back(model):
    tokenizer = model.tokenizer
    ids = tokenizer.encode("The sun – ünïcode 🙂")
    assert tokenizer.decode(ids) == "The sun – ünïcode 🙂"
    assert tokenizer.encode(["The sun", ""]) == [tokenizer.encode("The sun"), []]
    assert b"".join(tokenizer.token_bytes(id) for id in ids).decode() == "The sun – ünïcode 🙂"
    assert len(tokenizer) == tokenizer.vocab_size == 4096
    assert (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.stop_token_ids) == (0, None, [0])
    assert tokenizer.token_id("<|endoftext|>") == 0 and tokenizer.is_special(0)
    assert tokenizer.decode([0], skip_special_tokens=True) == ""
    assert hypenet.Tokenizer(TEACHER).encode("a") == tokenizer.encode("a")


def test_wrong_ids_are_named(model):
    with pytest.raises(TypeError, match="ids: expected token ids, found str"):
        model.tokenizer.decode("abc")
    with pytest.raises(TypeError, match="text: expected a list of texts"):
        model.tokenizer.encode(5)
    for call in [lambda: model.tokenizer.decode([1, 10**9]), lambda: model.tokenizer.token_bytes(-5)]:
        with pytest.raises(hypenet.Error, match=r"^(decode: ids|token_bytes: id): expected ids from 0 to 4095, found -?\d+$"):
            call()


def test_a_conversation_is_what_the_template_makes_of_it(chat_folder):
    tokenizer = hypenet.Tokenizer(chat_folder)
    text = tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>user\nHello <|endoftext|><|endoftext|>\n<|im_start|>assistant\n"
    assert not tokenizer.apply_chat_template(MESSAGES, tokenize=False).endswith("assistant\n")
    assert tokenizer.apply_chat_template(MESSAGES).count(0) == 1, "a special token in a message is text"
    assert tokenizer.apply_chat_template(MESSAGES, specials_in_messages=True).count(0) == 2
    assert "im_start" in tokenizer.chat_template


def test_chat_answers_a_conversation(chat_folder):
    with hypenet.load(chat_folder, dtype="float32") as model:
        answer = model.chat(MESSAGES, max_tokens=12)
        prompt = model.tokenizer.apply_chat_template(MESSAGES, add_generation_prompt=True)
        assert answer == model.generate(prompt, max_tokens=12)
        assert answer == model.chat(iter(MESSAGES), max_tokens=12)
        assert "".join(piece.text for piece in model.chat(MESSAGES, max_tokens=12, stream=True)) == answer.text
        longer = [*MESSAGES, {"role": "assistant", "content": answer.text}, {"role": "user", "content": "More"}]
        assert model.chat(longer, max_tokens=4).ids
        with pytest.raises(TypeError, match="unexpected setting 'warmth'"):
            model.chat(MESSAGES, warmth=1)
        with pytest.raises(TypeError, match="messages: expected dicts with role and content, found str"):
            model.chat(["Hello"])
        with pytest.raises(hypenet.Error):
            model.chat([])
        with pytest.raises(hypenet.Error):
            model.chat([{"content": "no role"}])


def test_a_folder_without_a_template_says_so(model):
    for call in [lambda: model.chat("Hello"), lambda: model.tokenizer.apply_chat_template("Hello")]:
        with pytest.raises(hypenet.Error, match="expected a chat template"):
            call()
    assert model.tokenizer.chat_template is None
