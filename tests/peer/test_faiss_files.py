"""FAISS files both ways: the same neighbours from a file of FAISS opened here, and from an index of ours read by FAISS.

The bar for every type: the same ids for at least 99.9 % of the top 10, and distances within 1e-4 (relative).
"""

import io
import json
import os
import pathlib
import subprocess

import faiss
import numpy
import pytest
from bilin import ROOT, Server, run

FIXTURES = ROOT / "crates" / "index" / "fixtures"
SEED, K, QUERIES = 20261122, 10, 200
SAME_IDS, SAME_DISTANCE = 0.999, 1e-4
# Its threads wait for each other by spinning, which takes minutes where others use the processor too.
faiss.omp_set_num_threads(1)


@pytest.fixture(scope="module")
def bridge():
    """The library alone, as a program that answers from files."""
    subprocess.run(
        ["cargo", "build", "--release", "--locked", "--quiet", "-p", "bilin-index", "--example", "faiss_bridge"],
        cwd=ROOT,
        check=True,
    )
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    program = target / "release" / "examples" / "faiss_bridge"

    def answers(*arguments):
        output = subprocess.run([program, *map(str, arguments)], capture_output=True, check=False)
        assert output.returncode == 0, output.stderr.decode()
        ids = numpy.frombuffer(output.stdout[: 8 * K * QUERIES], dtype="<i8").reshape(-1, K)
        return ids, numpy.frombuffer(output.stdout[8 * K * QUERIES :], dtype="<f4").reshape(-1, K)

    return answers


def clusters():
    random = numpy.random.default_rng(SEED)
    centres = random.normal(size=(50, 32))

    def draw(count):
        return (centres[random.integers(50, size=count)] + 0.7 * random.normal(size=(count, 32))).astype(numpy.float32)

    return draw(2000), draw(QUERIES)


def sentences():
    """Embeddings of real sentences, unit length."""
    base = numpy.fromfile(FIXTURES / "text.base.f16", dtype=numpy.float16).reshape(-1, 384).astype(numpy.float32)
    queries = numpy.fromfile(FIXTURES / "text.queries.f16", dtype=numpy.float16).reshape(-1, 384).astype(numpy.float32)
    unit = lambda rows: rows / numpy.linalg.norm(rows, axis=1, keepdims=True)
    return unit(base)[:2000], unit(queries)[:QUERIES]


def descriptors():
    """SIFT descriptors of real pictures."""
    base = numpy.fromfile(FIXTURES / "sift.base.u8", dtype=numpy.uint8).reshape(-1, 128).astype(numpy.float32)
    queries = numpy.fromfile(FIXTURES / "sift.queries.u8", dtype=numpy.uint8).reshape(-1, 128).astype(numpy.float32)
    return base[:2000], queries[:QUERIES]


DATA = {"clusters": clusters, "sentences": sentences, "descriptors": descriptors}


@pytest.fixture(scope="module")
def data():
    """Rows and queries by name, made once."""
    made = {}
    return lambda name: made.get(name) or made.setdefault(name, DATA[name]())


def assert_same(ours, theirs, what):
    """Ids and distances as the bar says. Equal distances (duplicates, equal codes) may come in either order."""
    (ids, scores), (peer_ids, peer_scores) = ours, theirs
    found = peer_ids != -1
    scale = numpy.maximum(numpy.abs(peer_scores), 1e-3)
    near = numpy.abs(scores - peer_scores) <= SAME_DISTANCE * scale
    assert near[found].mean() >= SAME_IDS, f"{what}: {(~near & found).sum()} distances of {found.sum()} differ"
    tied = numpy.abs(scores - peer_scores) <= 1e-6 * scale
    same = numpy.array([numpy.isin(ours_row, theirs_row) for ours_row, theirs_row in zip(ids, peer_ids)]) | tied
    assert same[found].mean() >= SAME_IDS, f"{what}: {same[found].mean():.4%} of the ids are the same"


def saved(path, index):
    faiss.write_index(index, str(path))
    return path


def innermost(index):
    index = faiss.downcast_index(index)
    while isinstance(index, (faiss.IndexIDMap, faiss.IndexPreTransform)):
        index = faiss.downcast_index(index.index)
    return index


def effort(index, nprobe=7, ef=300):
    """The effort travels in the file."""
    inner = innermost(index)
    if isinstance(inner, faiss.IndexIVF):
        inner.nprobe = nprobe
    if isinstance(inner, faiss.IndexHNSW):
        inner.hnsw.efSearch = ef
    return index


TYPES = [
    "Flat", "IVF40,Flat", "HNSW16", "SQ8", "SQ6", "SQ4", "SQfp16", "SQbf16", "PQ16", "PQ8x6", "IVF40,SQ8", "IVF40,SQfp16",
    "IVF40,PQ16", "IVF40,PQ8x5", "HNSW16,SQ8", "HNSW16,PQ16", "IDMap,Flat", "IDMap2,SQ8", "IDMap2,HNSW16",
    "OPQ8,PQ8x6", "PCA16,Flat", "PCAR16,IVF40,SQ8", "L2norm,Flat", "RR24,IVF40,PQ8x6",
]  # fmt: skip
REAL = ["Flat", "IVF40,Flat", "HNSW16", "SQ8", "PQ16", "IVF40,PQ16"]
CASES = (
    [("clusters", metric, words) for metric in ("l2", "ip") for words in TYPES]
    + [("sentences", "ip", words) for words in REAL]
    + [("descriptors", "l2", words) for words in REAL]
)
METRICS = {"l2": faiss.METRIC_L2, "ip": faiss.METRIC_INNER_PRODUCT}


@pytest.mark.parametrize("name, metric, words", CASES)
def test_files_of_faiss_answer_alike(tmp_path, bridge, data, name, metric, words):
    base, queries = data(name)
    metric = METRICS[metric]
    if words == "SQbf16":
        # Where the processor multiplies bf16, FAISS rounds queries to it as well; these are rounded already.
        queries = (queries.view(numpy.uint32) & 0xFFFF0000).view(numpy.float32)
    index = faiss.index_factory(base.shape[1], words, metric)
    inner = innermost(index)
    if isinstance(inner, faiss.IndexHNSW):
        inner = faiss.downcast_index(inner.storage)
    if isinstance(inner, (faiss.IndexPQ, faiss.IndexIVFPQ)):
        # An order of the centroids that only its polysemous search uses, and that takes seconds to find.
        inner.do_polysemous_training = False
    index.train(base)
    if words.startswith("IDMap"):
        index.add_with_ids(base, numpy.arange(len(base), dtype=numpy.int64) * 3 + 11)
    else:
        index.add(base)
    effort(index)
    path = saved(tmp_path / "faiss_index.index", index)
    queries.tofile(tmp_path / "queries")
    scores, ids = index.search(queries, K)
    assert_same(bridge("open", path, tmp_path / "queries", K), (ids, scores), words)


@pytest.mark.parametrize("name, metric", [("clusters", "l2"), ("clusters", "ip"), ("sentences", "ip"), ("descriptors", "l2")])
@pytest.mark.parametrize(
    "spec", ["Flat", "IVF40,Flat", "HNSW16", "SQ8", "SQ4", "PQ16x6", "IVF40,SQ8", "IVF40,PQ16x6", "OPQ16,PQ16x6", "PCA16,IVF40,SQ6"]
)
def test_faiss_answers_from_our_indexes(tmp_path, bridge, data, name, metric, spec):
    base, queries = data(name)
    base.tofile(tmp_path / "base")
    queries.tofile(tmp_path / "queries")
    path = tmp_path / "faiss_index.index"
    ours = bridge("build", spec, metric, base.shape[1], tmp_path / "base", tmp_path / "queries", K, path)
    index = faiss.read_index(str(path))
    assert index.ntotal == len(base)
    # A graph is walked a little differently; with this effort both find what there is.
    if "HNSW" in spec:
        effort(index)
        path = saved(tmp_path / "more.index", index)
        ours = bridge("open", path, tmp_path / "queries", K)
    scores, ids = index.search(queries, K)
    assert_same(ours, (ids, scores), spec)
    # FAISS goes on with it as with its own.
    if spec in ("Flat", "HNSW16"):
        index.add(queries)
        assert index.ntotal == len(base) + QUERIES


TEXTS = [
    "FAISS是由Facebook AI研究院开发的高效向量相似性检索库。",
    "FAISS的架构主要包含向量存储模块、距离计算模块和索引优化模块,这三大模块协同工作。",
    "FAISS的安装方式十分灵活,可通过pip安装,也可从源码编译。",
    "小猫喜欢在阳光下睡觉。",
]


def vectors_of(texts, prompt="document"):
    raw = run("encode", "--prompt", prompt, stdin="\n".join(texts).encode()).raw
    return numpy.load(io.BytesIO(raw))


@pytest.mark.parametrize("shape", ["flat", "nested"])
def test_the_tutorials_folder_moves_in_and_out(tmp_path, shape):
    index = faiss.IndexFlatIP(vectors_of(TEXTS).shape[1])
    index.add(vectors_of(TEXTS))
    saved(tmp_path / "faiss_index.index", index)
    if shape == "flat":
        entries = [{"source": "技术博客", "text": text} for text in TEXTS]
    else:
        entries = [{"text": text, "metadata": {"sentence_id": str(i + 1), "source": "技术博客"}} for i, text in enumerate(TEXTS)]
    (tmp_path / "metadata.json").write_text(json.dumps(entries, ensure_ascii=False, indent=2), encoding="utf-8")
    model = [line["id"] for line in run("model", "list", "--json").json_lines() if line["modality"] == "text"][0]
    data = tmp_path / "data"
    done = run("import", "faiss", "notes", "faiss_index.index", "--metadata", "metadata.json", "--model", model, "--json",
               data=data, cwd=tmp_path).json_lines()[0]  # fmt: skip
    assert (done["type"], done["items"], done["metric"], done["exact"]) == ("imported", 4, "cosine", True)
    with Server(data) as server:
        body = {"query": "FAISS的架构主要包含哪些模块?", "top_k": 3}
        results = server.request("POST", "/text-search", json=body)["results"]
    assert results[0]["text"] == TEXTS[1] and results[0]["metadata"]["source"] == "技术博客", results
    query = vectors_of([body["query"]], "query")
    scores, ids = index.search(query, 3)
    assert [result["text"] for result in results] == [TEXTS[i] for i in ids[0]]
    assert numpy.allclose([result["similarity"] for result in results], scores[0], atol=1e-4)

    run("export", "faiss", "notes", tmp_path / "out", data=data)
    exported = faiss.read_index(str(tmp_path / "out" / "faiss_index.index"))
    metadata = json.loads((tmp_path / "out" / "metadata.json").read_text(encoding="utf-8"))
    assert isinstance(exported, faiss.IndexFlatIP)
    scores_again, ids_again = exported.search(query, 3)
    assert [metadata[i]["text"] for i in ids_again[0]] == [TEXTS[i] for i in ids[0]]
    assert numpy.allclose(scores, scores_again, rtol=SAME_DISTANCE)


@pytest.mark.parametrize("spec", ["Flat", "IVF16,Flat", "HNSW16"])
def test_collections_are_exported_under_ids_of_their_own(tmp_path, spec):
    base, queries = clusters()
    ids = numpy.arange(len(base), dtype=numpy.int64) * 7 + 5
    index = faiss.IndexIDMap2(faiss.IndexFlatL2(base.shape[1]))
    index.add_with_ids(base, ids)
    saved(tmp_path / "faiss_index.index", index)
    data = tmp_path / "data"
    run("import", "faiss", "bare", tmp_path / "faiss_index.index", data=data)
    run("export", "faiss", "bare", tmp_path / "out", "--index", spec, "--ids", "documents", data=data)
    exported = effort(faiss.read_index(str(tmp_path / "out" / "faiss_index.index")), nprobe=16)
    assert isinstance(exported, faiss.IndexIVFFlat if "IVF" in spec else faiss.IndexIDMap2)
    scores, found = exported.search(queries, K)
    peer_scores, peer_found = index.search(queries, K)
    assert_same((found, scores), (peer_found, peer_scores), spec)
    with Server(data) as server:
        for query, expected in zip(queries[:20], peer_found, strict=False):
            results = server.request("POST", "/v1/collections/bare/search", json={"vector": query.tolist(), "top_k": K})
            assert [int(result["id"]) for result in results["results"]] == expected.tolist()


def test_damaged_files_are_refused_and_nothing_is_made(tmp_path):
    base, _ = clusters()
    index = faiss.IndexFlatL2(base.shape[1])
    index.add(base[:50])
    path = saved(tmp_path / "faiss_index.index", index)
    whole = path.read_bytes()
    for damaged, word in [(whole[:-1], "offset"), (whole + b"\0", "more bytes"), (b"IxQQ" + whole[4:], "IxQQ")]:
        path.write_bytes(damaged)
        refused = run("import", "faiss", "bare", path, data=tmp_path / "data", expect=1)
        assert refused.err.startswith("error: ") and word in refused.err and not refused.out, refused.err
        assert not (tmp_path / "data").exists()
