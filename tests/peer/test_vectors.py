"""Exact search against FAISS: the same ids and distances through the HTTP service, and recall 1 in `bilin bench`."""

import json

import faiss
import numpy
import pytest
from bilin import Server, run

SEED = 20240607
FIELDS = set("index build_cpu_s build_s bytes_per_vector params recall_at_10 qps p50_us p99_us cpu_qps".split())
ROWS, QUERIES, DIM, K = 3000, 50, 48, 10


@pytest.fixture(scope="module")
def vectors():
    """Rows in 40 overlapping clusters, as embeddings lie, and queries from the same clusters."""
    random = numpy.random.default_rng(SEED)
    centres = random.normal(size=(40, DIM))

    def draw(count):
        return (centres[random.integers(40, size=count)] + 0.6 * random.normal(size=(count, DIM))).astype(numpy.float32)

    return draw(ROWS), draw(QUERIES)


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_flat_search_equals_faiss(tmp_path, vectors, metric):
    base, queries = vectors
    peer = faiss.IndexFlatL2(DIM) if metric == "l2" else faiss.IndexFlatIP(DIM)

    def prepared(rows):
        return rows / numpy.linalg.norm(rows, axis=1, keepdims=True) if metric == "cosine" else rows

    peer.add(prepared(base))
    distances, neighbours = peer.search(prepared(queries), K)
    with Server(tmp_path / "data") as server:
        settings = {"dim": DIM, "metric": metric, "index": "Flat"}
        server.request("PUT", "/v1/collections/bare", expect=201, json=settings)
        for start in range(0, ROWS, 500):
            documents = [
                {"id": str(row), "vector": base[row].tolist(), "metadata": {"row": row}}
                for row in range(start, start + 500)
            ]
            written = server.request("POST", "/v1/collections/bare/documents", json={"documents": documents})
            assert written["added"] == 500 and written["updated"] == 0
        for query, expected_ids, expected in zip(queries, neighbours, distances, strict=True):
            body = {"vector": query.tolist(), "top_k": K}
            results = server.request("POST", "/v1/collections/bare/search", json=body)["results"]
            assert [int(result["id"]) for result in results] == expected_ids.tolist()
            assert numpy.allclose([result["score"] for result in results], expected, rtol=1e-4, atol=1e-5)
            assert [result["metadata"]["row"] for result in results] == expected_ids.tolist()


def test_a_vector_of_another_dimension_or_with_nan_is_refused(tmp_path):
    with Server(tmp_path / "data") as server:
        server.request("PUT", "/v1/collections/bare", expect=201, json={"dim": 8, "metric": "l2"})
        path = "/v1/collections/bare/documents"
        refused = server.request("POST", path, expect=422, json={"documents": [{"id": "a", "vector": [1.0] * 7}]})
        assert "7" in refused["message"] and "8" in refused["message"], refused
        for value in ("NaN", "1e39", "null", '"1"'):
            text = f'{{"documents":[{{"id":"a","vector":[{value},1,1,1,1,1,1,1]}}]}}'
            answer = server.request_status("POST", path, data=text, headers={"content-type": "application/json"})
            assert answer in (400, 422), text
        assert server.request("GET", "/v1/collections/bare")["count"] == 0


def test_bench_of_flat_has_recall_one(tmp_path, vectors):
    base, queries = vectors
    peer = faiss.IndexFlatL2(DIM)
    peer.add(base)
    numpy.save(tmp_path / "base.f32.npy", base)
    numpy.save(tmp_path / "queries.f32.npy", queries)
    numpy.save(tmp_path / "neighbors.npy", peer.search(queries, 100)[1].astype(numpy.int32))
    finished = run("bench", "--vectors", tmp_path, "--index", "Flat", "--index", "IVF54,Flat", "--index", "HNSW16")
    lines = finished.json_lines()
    for line in lines:
        assert FIELDS <= set(line), line
    flat = [line for line in lines if line["index"] == "Flat"]
    assert [line["recall_at_10"] for line in flat] == [1.0], flat
    for name in ("IVF54,Flat", "HNSW16"):
        recalls = [line["recall_at_10"] for line in lines if line["index"] == name]
        assert max(recalls) >= 0.95, json.dumps(lines)
