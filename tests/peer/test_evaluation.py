"""`bilin eval` beside trec_eval: the same questions over the same results give the same figures, and the bootstrap beside
numpy's."""

import json

import numpy
import pytest
import pytrec_eval
from bilin import run

# Topic -> what is said of it. Several passages are right for each question, so that recall and nDCG have something to say.
TOPICS = {
    "inverted files": [
        "An inverted file groups vectors around centroids and looks only into the nearest groups.",
        "nprobe says how many lists of an inverted file are visited for a query.",
        "More lists visited means higher recall and slower answers.",
    ],
    "graphs": [
        "HNSW walks from neighbour to neighbour through layers of a graph.",
        "ef is the number of candidates that the walk keeps.",
        "M is the number of edges of a node; more edges need more memory.",
        "Deleting from a graph leaves holes that must be repaired.",
    ],
    "quantization": [
        "Product quantization stores each piece of a vector as the number of its nearest centroid.",
        "Scalar quantization keeps each value in eight bits.",
    ],
    "backups": [
        "A backup is a complete copy of the data folder with checksums.",
        "Restoring puts the copy in the place of the damaged collection.",
        "Backups are taken every night and the oldest are removed.",
    ],
    "latency": [
        "P95 is the time that ninety-five of a hundred requests do not exceed.",
        "A cache answers repeated questions without searching.",
        "Throughput is counted in queries per second.",
    ],
    "cooking": ["Rice is washed before it is boiled.", "A soup needs salt and time.", "Tea is steeped for three minutes."],
}
QUESTIONS = {
    "How does an inverted file find neighbours?": "inverted files",
    "What does nprobe change?": "inverted files",
    "Which parameters has a graph index?": "graphs",
    "How much memory do the edges take?": "graphs",
    "How are vectors made smaller?": "quantization",
    "What happens when the disk is damaged?": "backups",
    "How often is everything copied?": "backups",
    "How fast are the answers?": "latency",
    "Why is the second request quicker?": "latency",
    "How long does it take?": "cooking",
    "What has to be done before boiling?": "cooking",
    "How many lists are there to visit?": "graphs",
}
DEPTH = 10


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """`bilin eval` of the questions, and the ids that `bilin search` finds for each."""
    folder = tmp_path_factory.mktemp("evaluation")
    records = [
        {"id": f"{topic} {at}", "text": text, "section": topic}
        for topic, texts in TOPICS.items()
        for at, text in enumerate(texts)
    ]
    (folder / "notes.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    questions = [{"question": question, "section": topic} for question, topic in QUESTIONS.items()]
    (folder / "questions.jsonl").write_text("".join(json.dumps(one) + "\n" for one in questions), "utf-8")
    data = folder / "data"
    run("add", "notes", "notes.jsonl", data=data, cwd=folder)
    ran = run("eval", "notes", "questions.jsonl", "-k", DEPTH, "--json", data=data, cwd=folder).json_lines()[0]
    found = {
        question: [result["id"] for result in run("search", "notes", question, "-k", DEPTH, "--json", data=data).json_lines()[0]["results"]]
        for question in QUESTIONS
    }
    return ran["runs"][0], found


def judged(found):
    """trec_eval's figures of each question."""
    relevant = {
        question: {f"{topic} {at}": 1 for at in range(len(TOPICS[topic]))} for question, topic in QUESTIONS.items()
    }
    names = {"success.1,3,5,10", "recall.1,3,5,10", "ndcg_cut.10", "recip_rank"}
    evaluator = pytrec_eval.RelevanceEvaluator(relevant, names)
    return evaluator.evaluate(
        {question: {id: float(DEPTH - rank) for rank, id in enumerate(ids)} for question, ids in found.items()}
    )


NAMES = {
    **{f"hit_at_{k}": f"success_{k}" for k in (1, 3, 5, 10)},
    **{f"recall_at_{k}": f"recall_{k}" for k in (1, 3, 5, 10)},
    "ndcg_at_10": "ndcg_cut_10",
    "mrr": "recip_rank",
    "mrr_at_10": "recip_rank",
}


def test_figures_are_those_of_trec_eval(evaluated):
    ours, found = evaluated
    theirs = judged(found)
    assert set(NAMES) == set(ours["figures"])
    for name, trec in NAMES.items():
        mean = numpy.mean([figures[trec] for figures in theirs.values()])
        assert ours["figures"][name]["value"] == pytest.approx(mean, abs=1e-6), name
    some = ours["figures"]["hit_at_1"]["value"]
    assert 0.2 < some < 1, f"the questions should be neither all right nor all wrong: {some}"


def test_intervals_are_those_of_a_percentile_bootstrap(evaluated):
    ours, found = evaluated
    theirs = judged(found)
    random = numpy.random.default_rng(3)
    draws = random.integers(0, len(QUESTIONS), (20_000, len(QUESTIONS)))
    for name, trec in NAMES.items():
        values = numpy.array([figures[trec] for figures in theirs.values()])
        low, high = numpy.percentile(values[draws].mean(axis=1), [2.5, 97.5])
        assert ours["figures"][name]["low"] == pytest.approx(low, abs=0.02), name
        assert ours["figures"][name]["high"] == pytest.approx(high, abs=0.02), name


def test_ranks_are_those_of_search(evaluated):
    ours, found = evaluated
    for answer, (question, topic) in zip(ours["answers"], QUESTIONS.items(), strict=True):
        right = [rank for rank, id in enumerate(found[question], 1) if id.rsplit(" ", 1)[0] == topic]
        assert answer["right"] == right and answer["relevant"] == len(TOPICS[topic]), question
        assert answer["rank"] == (right[0] if right else None)
