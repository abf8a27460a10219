"""Make llama3_words.json: what Meta's own tokenizer and chat format make of some 200 texts.

Run with a Python that has llama-models 0.3.0 and tiktoken: `python make_llama3_words.py`. The texts
are in the result, so the test needs nothing of this file.
"""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

from llama_models.datatypes import RawMediaItem, RawMessage, RawTextItem
from llama_models.llama3.chat_format import ChatFormat
from llama_models.llama3.tokenizer import Tokenizer
from PIL import Image

WRITTEN = [
    "", " ", "a", "Hello, world!", "The quick brown fox jumps over the lazy dog.",
    "  two spaces before, two after  ", "tabs\tand\t\ttabs\t\t\t", "line\nline\n\nline\n\n\n\nline",
    "\r\nWindows\r\n\r\nlines\r", " \n \n\n  \n", "trailing newline\n", "\n\nleading newlines",
    "     \t   mixed \t\n\t  white   \u00a0 space\u3000here", "x" * 100, " " * 100, "\n" * 50, "ab " * 40,
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "-" * 77, "=" * 64, "." * 33,
    "0", "12", "123", "1234", "12345", "1234567890", "3.14159265358979", "1,000,000.00", "0x1F600",
    "2026-11-23T18:50:06Z", "١٢٣٤٥", "一二三四五", "½¾²³", "10⁻⁴ × 6.022e23", "IPv4 192.168.0.1:8080",
    "I'm you're they've we'll he'd it's don't I'M YOU'RE THEY'VE", "rock 'n' roll", "’curly’s",
    "你好,世界!", "视觉大语言模型把图像编码器与语言模型结合起来。", "天地玄黄宇宙洪荒日月盈昃辰宿列张",
    "今天天气很好,我们去公园吧?好的!", "在第4层之前插入交叉注意力层(cross-attention)。", "繁體中文測試",
    "日本語のテスト:カタカナ、ひらがな、漢字。", "한국어 테스트 문장입니다.", "Привет, мир! Ёлки-палки.",
    "Γειά σου Κόσμε", "שלום עולם", "مرحبا بالعالم", "नमस्ते दुनिया", "ภาษาไทยไม่มีช่องว่าง", "Việt Nam",
    "Ünïcödé ñandú façade Straße ŁÓDŹ", "e\u0301 decomposed, é composed", "ﬁ ligature ﬀ",
    "🙂", "🙂🙃😂🤣", "👩‍👩‍👧‍👦 family", "🇩🇪🇫🇷🇯🇵", "👍🏽 thumbs", "❤️‍🔥 heart", "emoji🙂in🙂text",
    "\U0001f9ff\U0001fae0\U0001fae8", "zero\u200bwidth\u200djoin\ufeffbom", "a\u0000b\u0001c\u007fd",
    "def f(x):\n    return x ** 2  # square\n\n\nclass A:\n\tpass\n",
    "for (int i = 0; i < n; ++i) { sum += a[i] * b[i]; }", "SELECT * FROM t WHERE a='b';--",
    "<html><body class=\"x\">&amp;</body></html>", "{\"a\": [1, 2, {\"b\": null}]}",
    "$E = mc^2$ \\frac{1}{2}",
    "https://example.org/a/b?c=d&e=%20f#g", "user@example.org", "C:\\Users\\x\\file.txt",
    "#!/bin/sh\necho $HOME",
    "camelCaseAndSnake_case_and-kebab-case", "ALLCAPS and MiXeD CaSe", "a.b.c...d....e", "!!!???!?!",
    "<|begin_of_text|>", "a<|eot_id|>b", "<|image|>", "<|start_header_id|>user<|end_header_id|>",
    "<|reserved_special_token_0|><|python_tag|>", "<image>", "[INST] x [/INST]", "<s></s>",
    "| a | b |\n|---|---|\n| 1 | 2 |\n", "- one\n- two\n  - three\n", "> quote\n\n```py\nx\n```\n",
    "pneumonoultramicroscopicsilicovolcanoconiosis", "Donaudampfschifffahrtsgesellschaftskapitän",
    "supercalifragilisticexpialidocious", "antidisestablishmentarianism floccinaucinihilipilification",
    " leading", "trailing ", " both ", "a  b   c    d     e", "a \n b", "a\n b", "a \nb", "\t\n\t",
]  # fmt: skip
PIECES = [
    *(
        "the",
        " and",
        "ing",
        "12",
        "999",
        "é",
        "漢",
        "字",
        "中文",
        "🙂",
        " ",
        "  ",
        "\n",
        "\t",
        "'s",
        "'LL",
    ),
    *(
        "_",
        "-",
        "(",
        ")",
        "==",
        "//",
        "A",
        "Z",
        "zz",
        "aaa",
        "\u200d",
        "ß",
        "Ж",
        "ا",
        ".",
        ",",
        "<|",
        "|>",
    ),
]
CONVERSATIONS = [
    [("user", ["Question"])],
    [("user", [None, "What is this?"])],
    [("user", ["Before ", None, " after"])],
    [("user", [None, None, "Compare."])],
    [("system", ["Be brief."]), ("user", ["Who?"]), ("assistant", ["I."]), ("user", ["You?"])],
    [("user", [None, "One"]), ("assistant", ["1"]), ("user", [None, "Two"])],
    [("user", ["\nstarts with a newline"]), ("assistant", ["\n\n x"]), ("user", [" \n y \n"])],
    [("user", ["<|eot_id|> <|image|> 漢字🙂  "])],
]
CONTINUATIONS = [
    ["Once upon a time"],
    [None, "The picture shows"],
    [None, "\nA"],
    ["a", None],
    [None],
]


def drawn(count: int) -> list[str]:
    draw = random.Random(3)
    return ["".join(draw.choices(PIECES, k=draw.randint(1, 40))) for _ in range(count)]


def picture() -> RawMediaItem:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    return RawMediaItem(data=file.getvalue())


def content(parts: list[str | None]) -> list[RawMediaItem | RawTextItem]:
    return [picture() if part is None else RawTextItem(text=part) for part in parts]


def main() -> None:
    tokenizer = Tokenizer.get_instance()
    chat = ChatFormat(tokenizer)
    texts = WRITTEN + drawn(220 - len(WRITTEN))
    dialogs = [
        chat.encode_dialog_prompt(
            [RawMessage(role=role, content=content(parts)) for role, parts in said]
        )
        for said in CONVERSATIONS
    ]
    continued = [chat.encode_content(content(parts)) for parts in CONTINUATIONS]
    record = {
        "made_by": "llama-models 0.3.0",
        "texts": [[text, tokenizer.encode(text, bos=False, eos=False)] for text in texts],
        "conversations": [[s, d.tokens] for s, d in zip(CONVERSATIONS, dialogs, strict=True)],
        "continuations": [[p, c.tokens] for p, c in zip(CONTINUATIONS, continued, strict=True)],
    }
    path = Path(__file__).with_name("llama3_words.json")
    path.write_text(json.dumps(record, ensure_ascii=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
