"""`bilin encode`: vectors that numpy reads, of unit length, with the scores that the model is known for."""

import io

import numpy
from bilin import run

QUESTION = "FAISS的架构包含哪些模块\uff1f"
# Cosines to the question, measured with the model's own reference implementation on the same 4-bit weights.
SCORES = {"今天天气很好": 0.789, "Redis缓存高频查询结果": 0.838}


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


def test_a_paraphrase_in_the_other_language_is_nearest():
    passages = ["安装这个软件只需要一条命令", "The cat sleeps on the warm roof", "今年的降雨量比往年少"]
    questions = ["how do I install the program", "小猫在屋顶上睡觉", "was there less rain this year"]
    scores = encode(questions, "query") @ encode(passages, "document").T
    assert scores.argmax(axis=1).tolist() == [0, 1, 2], scores


def test_a_vector_does_not_depend_on_its_neighbours_in_the_batch():
    texts = ["one", "a much longer sentence that needs more tokens than the first", "三"]
    together = encode(texts, "document")
    alone = numpy.concatenate([encode([text], "document") for text in texts])
    assert numpy.abs(together - alone).max() < 1e-4


def test_no_lines_make_no_rows():
    finished = run("encode", expect=None)
    if finished.code == 0:
        assert numpy.load(io.BytesIO(finished.raw)).shape == (0, 384)
    else:
        assert finished.code in (1, 2) and finished.err.startswith("error: "), finished.err
