"""`bilin encode`: vectors that numpy reads, of unit length, equal to those that transformers' network makes of the same weights and tokens."""

import io
import sys

import numpy
from bilin import ROOT, SAMPLES, run

sys.path.insert(0, str(ROOT / "crates" / "encode" / "fixtures"))
import make_fixtures  # noqa: E402

QUESTION = "FAISS的架构包含哪些模块\uff1f"
TEXTS = [
    QUESTION,
    "hello world",
    "Ünïcode, emoji 😀 and\ttabs",
    "\uff21\uff22\uff23 full-width letters and ① ² ﬁ",
    "一二三四五六七八九十" * 40,
    "x",
    "def split(text): return [s.strip() for s in text.split('.')]",
]


def encode(texts, prompt):
    stdin = "".join(f"{text}\n" for text in texts).encode()
    return numpy.load(io.BytesIO(run("encode", "--prompt", prompt, stdin=stdin).raw))


def test_vectors_are_float32_rows_of_unit_length():
    vectors = encode(["hello world", "你好", "a" * 5000], "document")
    assert vectors.dtype == numpy.float32
    assert vectors.shape == (3, 384)
    assert numpy.allclose(numpy.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_vectors_are_those_of_transformers():
    tokenizer, model = make_fixtures.text_model()
    course = (SAMPLES / "course" / "zh" / "chapter1.md").read_text("utf-8")
    texts = TEXTS + [line for line in course.splitlines() if line.strip()]
    for prompt in ("query", "document"):
        expected = numpy.stack([make_fixtures.text_vector(tokenizer, model, prompt, text)[1].numpy() for text in texts])
        cosines = (encode(texts, prompt) * expected).sum(axis=1)
        print(f"{prompt}: {len(texts)} texts, smallest cosine {cosines.min():.5f}")
        # Activations are rounded beside 4-bit weights (decision 0120).
        assert cosines.min() > 0.999, (texts[cosines.argmin()], cosines.min())
        assert numpy.median(cosines) > 0.9995, numpy.median(cosines)


def test_the_translation_is_nearest():
    english = ["One command installs the program", "The cat sleeps on the roof", "There was less rain this year"]
    chinese = ["安装这个软件只需要一条命令", "小猫在屋顶上睡觉", "今年的降雨量比往年少"]
    for questions, passages in ((chinese, english), (english, chinese)):
        scores = encode(questions, "query") @ encode(passages, "document").T
        assert scores.argmax(axis=1).tolist() == [0, 1, 2], scores


def test_a_vector_does_not_depend_on_its_neighbours_in_the_batch():
    texts = ["one", "a much longer sentence that needs more tokens than the first", "三"]
    together = encode(texts, "document")
    alone = numpy.concatenate([encode([text], "document") for text in texts])
    assert numpy.abs(together - alone).max() < 1e-4


def test_no_lines_make_no_rows():
    assert numpy.load(io.BytesIO(run("encode").raw)).shape == (0, 384)
