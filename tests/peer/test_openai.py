"""`/v1/embeddings` by the official `openai` client: what it sends works unchanged, what this service cannot do is refused."""

import base64

import numpy as np
import openai
import pytest
import requests

from bilin import Server, run

TEXTS = ["向量检索把文本变成向量", "a small red bird on a branch", "FAISS支持IVF和HNSW"]
MODEL = "e5-small-zh-en"
DIM = 384


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    data = tmp_path_factory.mktemp("openai") / "data"
    data.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        # A busy machine is no reason to refuse a hundred texts.
        patch.setenv("BILIN_REQUEST_TIMEOUT_MS", "600000")
        with Server(data) as server, openai.OpenAI(
            base_url=f"{server.url}/v1", api_key="none is needed", max_retries=0, timeout=600
        ) as client:
            yield client


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """What `bilin encode` gives for the same texts."""
    path = tmp_path_factory.mktemp("reference") / "vectors.npy"
    path.write_bytes(run("encode", "--prompt", "document", stdin="\n".join(TEXTS).encode()).raw)
    return np.load(path)


def tokens(*texts):
    """How many tokens the model reads, by `bilin encode --tokens`."""
    printed = run("encode", "--prompt", "document", "--tokens", stdin="\n".join(texts).encode()).json_lines()
    return sum(len(ids) for ids in printed)


def test_a_list_comes_back_in_order(client, reference):
    answer = client.embeddings.create(model=MODEL, input=TEXTS)
    assert (answer.object, answer.model) == ("list", MODEL)
    assert [(one.object, one.index) for one in answer.data] == [("embedding", 0), ("embedding", 1), ("embedding", 2)]
    got = np.array([one.embedding for one in answer.data], np.float32)
    assert got.shape == (3, DIM)
    assert np.abs(got - reference).max() < 1e-6
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == tokens(*TEXTS)


def test_a_single_text(client, reference):
    answer = client.embeddings.create(model=MODEL, input=TEXTS[1])
    assert len(answer.data) == 1
    assert np.abs(np.array(answer.data[0].embedding) - reference[1]).max() < 1e-6
    assert answer.usage.prompt_tokens == tokens(TEXTS[1])


def test_float_and_base64_are_the_same_numbers(client):
    """Asked for a format, the client hands on what came; asked for none, it takes base64 and unpacks it itself."""
    numbers = client.embeddings.create(model=MODEL, input=TEXTS, encoding_format="float")
    packed = client.embeddings.create(model=MODEL, input=TEXTS, encoding_format="base64")
    for one, other in zip(numbers.data, packed.data, strict=True):
        unpacked = np.frombuffer(base64.b64decode(other.embedding), "<f4")
        assert np.array_equal(np.array(one.embedding, np.float32), unpacked)


def test_questions_are_marked_as_such(client):
    """`input_type` is ours; the client sends it in `extra_body`."""
    question = client.embeddings.create(model=MODEL, input=TEXTS[0], extra_body={"input_type": "query"})
    passage = client.embeddings.create(model=MODEL, input=TEXTS[0], user="someone")
    assert question.data[0].embedding != passage.data[0].embedding


def test_the_model_s_own_dimension_may_be_asked_for(client):
    assert len(client.embeddings.create(model=MODEL, input="x", dimensions=DIM).data[0].embedding) == DIM
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.embeddings.create(model=MODEL, input="x", dimensions=256)
    message = refused.value.body["message"]
    assert all(word in message for word in ["dimensions", str(DIM), "256", MODEL]), message


@pytest.mark.parametrize("numbers", [[1, 2, 3], [[1, 2], [3]], ["a text", 4]])
def test_token_numbers_are_refused(client, numbers):
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.embeddings.create(model=MODEL, input=numbers)
    assert refused.value.body["code"] == "invalid_input"
    message = refused.value.body["message"]
    assert message.startswith("input") and "token numbers" in message and "send the text" in message, message


@pytest.mark.parametrize(
    ("texts", "told"), [([], "at least one text"), ("", "text 0 is empty"), (["x", " \n\t"], "text 1 is empty")]
)
def test_nothing_to_encode_is_refused(client, texts, told):
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.embeddings.create(model=MODEL, input=texts)
    assert told in refused.value.body["message"]


def test_an_unknown_model_is_refused_with_those_there_are(client):
    with pytest.raises(openai.NotFoundError) as refused:
        client.embeddings.create(model="text-embedding-3-small", input="x")
    message = refused.value.body["message"]
    assert "text-embedding-3-small" in message and MODEL in message, message
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.embeddings.create(model="efficientnet-lite0", input="x")
    assert "reads pictures" in refused.value.body["message"]


def test_a_long_list_and_a_long_text(client):
    many = [f"{number}: {TEXTS[number % 3]}" for number in range(100)]
    answer = client.embeddings.create(model=MODEL, input=many)
    assert [one.index for one in answer.data] == list(range(100))
    alone = client.embeddings.create(model=MODEL, input=many[71]).data[0].embedding
    assert np.abs(np.array(answer.data[71].embedding) - np.array(alone)).max() < 1e-6
    # What the model cuts off is not charged for.
    assert client.embeddings.create(model=MODEL, input="向量" * 5_000).usage.prompt_tokens == tokens("向量" * 5_000) <= 512


def test_a_key_is_the_client_s_own(tmp_path, monkeypatch):
    monkeypatch.setenv("BILIN_API_KEY", "secret")
    data = tmp_path / "data"
    data.mkdir()
    # The probe that waits for the start brings no key, so this one waits by /livez.
    get = requests.get
    monkeypatch.setattr(requests, "get", lambda url, **rest: get(url.replace("/readyz", "/livez"), **rest))
    with Server(data) as server:
        arguments = {"base_url": f"{server.url}/v1", "max_retries": 0, "timeout": 600}
        with openai.OpenAI(api_key="wrong", **arguments) as client, pytest.raises(openai.AuthenticationError):
            client.embeddings.create(model=MODEL, input="x")
        with openai.OpenAI(api_key="secret", **arguments) as client:
            assert len(client.embeddings.create(model=MODEL, input="x").data[0].embedding) == DIM
