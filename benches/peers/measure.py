"""One peer on one data set, in a process of its own: builds, sweeps its effort, prints a JSON line per setting.

The lines have the fields of `bilin bench`: index, build_cpu_s, build_s, bytes_per_vector, params, recall_at_10, qps, p50_us, p99_us, cpu_qps.
Queries go one at a time (or `--batch N` at once) after one unmeasured pass; memory is what the peer's own file takes.
"""

import argparse
import json
import os
import sys
import tempfile
import time

import numpy as np

from data import Data

K = 10


class Run:
    """Times a build and a sweep the same way for every peer."""

    def __init__(self, arguments, data):
        self.arguments, self.data = arguments, data

    def build(self, index, make):
        wall, cpu = time.perf_counter(), time.process_time()
        made = make()
        self.index, self.build_s, self.build_cpu_s = index, time.perf_counter() - wall, time.process_time() - cpu
        return made

    def settings(self, settings, search, bytes_in_all):
        for setting in settings:
            self.setting(setting, lambda q, s=setting: search(q, s), bytes_in_all)

    def setting(self, params, search, bytes_in_all):
        batch = self.arguments.batch
        queries = self.data.queries
        blocks = [queries[i : i + batch] for i in range(0, len(queries), batch)]
        for block in blocks[: max(1, 100 // batch)]:
            search(block)
        found, times = [], []
        cpu = time.process_time()
        for block in blocks:
            start = time.perf_counter()
            rows = search(block)
            times.append(time.perf_counter() - start)
            found.extend(np.asarray(rows))
        cpu = time.process_time() - cpu
        times = np.array(times)
        line = {
            "peer": self.arguments.peer, "data": self.data.name, "metric": self.data.metric, "index": self.index,
            "threads": self.arguments.threads, "batch": batch,
            "build_cpu_s": round(self.build_cpu_s, 2), "build_s": round(self.build_s, 2),
            "bytes_per_vector": round(bytes_in_all / len(self.data.base), 1), "params": params,
            "recall_at_10": round(self.data.recall(found), 4), "qps": round(len(queries) / times.sum(), 1),
            "p50_us": round(float(np.percentile(times, 50)) * 1e6, 1), "p99_us": round(float(np.percentile(times, 99)) * 1e6, 1),
            "cpu_qps": round(len(queries) / max(cpu, 1e-9), 1),
        }  # fmt: skip
        print(json.dumps(line), flush=True)


def saved_bytes(save):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "index")
        save(path)
        return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)


def steps(most):
    """1, 2, 3, 4, 6, 8, 12, ... up to `most`."""
    step = sorted({s for power in range(20) for s in (2**power, 3 * 2**power) if s <= most})
    return step


def run_faiss(run, spec):
    import faiss

    faiss.omp_set_num_threads(run.arguments.threads)
    if run.arguments.peer == "faiss-tuned":
        faiss.cvar.distance_compute_blas_threshold = 1
    data = run.data
    metric = faiss.METRIC_L2 if data.metric == "l2" else faiss.METRIC_INNER_PRODUCT

    def make():
        index = faiss.index_factory(data.base.shape[1], spec, metric)
        if isinstance(index, faiss.IndexHNSW):
            index.hnsw.efConstruction = 200
        index.train(data.base)
        index.add(data.base)
        return index

    index = run.build(spec, make)
    size = saved_bytes(lambda path: faiss.write_index(index, path))
    if spec == "Flat":
        run.setting({}, lambda q: index.search(q, K)[1], size)
    elif spec.startswith("HNSW"):
        def search(q, s):
            index.hnsw.efSearch = s["ef"]
            return index.search(q, K)[1]

        run.settings([{"ef": e} for e in steps(512) if e >= 10], search, size)
    else:
        refine = spec.endswith("RFlat")
        inner = faiss.extract_index_ivf(index)

        def search(q, s):
            inner.nprobe = s["nprobe"]
            if refine:
                index.k_factor = s["k_factor"]
            return index.search(q, K)[1]

        settings = [{"nprobe": n} for n in steps(inner.nlist // 2)]
        if refine:
            settings = [{**s, "k_factor": f} for s in settings for f in (3, 6, 12, 24)]
        run.settings(settings, search, size)


def run_hnswlib(run, spec):
    import hnswlib

    data, m = run.data, int(spec)
    index = hnswlib.Index(space="l2" if data.metric == "l2" else "ip", dim=data.base.shape[1])

    def make():
        index.init_index(max_elements=len(data.base), M=m, ef_construction=200, random_seed=1)
        index.set_num_threads(run.arguments.threads)
        index.add_items(data.base)

    run.build(f"hnswlib M{m}", make)

    def search(q, s):
        index.set_ef(s["ef"])
        return index.knn_query(q, k=K, num_threads=run.arguments.threads)[0]

    run.settings([{"ef": e} for e in steps(512) if e >= 10], search, saved_bytes(index.save_index))


def run_usearch(run, spec):
    from usearch.index import Index

    data, m = run.data, int(spec)
    index = Index(ndim=data.base.shape[1], metric="l2sq" if data.metric == "l2" else "ip", dtype="f32", connectivity=m, expansion_add=200)
    run.build(f"usearch M{m}", lambda: index.add(np.arange(len(data.base)), data.base, threads=run.arguments.threads))

    def search(q, s):
        index.expansion_search = s["ef"]
        keys = index.search(q, K, threads=run.arguments.threads).keys
        return keys.astype(np.int64).reshape(len(q), -1)

    run.settings([{"ef": e} for e in steps(512) if e >= 10], search, saved_bytes(index.save))


def run_rabitq(run, spec):
    import rabitqlib

    data, degree = run.data, int(spec)
    index = rabitqlib.SymqgIndex(data.base.shape[1], degree, metric=data.metric)
    run.build(f"SymphonyQG-{degree}", lambda: index.build(data.base, 200, num_threads=run.arguments.threads))

    def search(q, s):
        found = index.search(q, K, s["ef"], num_threads=run.arguments.threads)
        ids = next(part for part in found if np.asarray(part).dtype.kind in "iu")
        return np.asarray(ids).reshape(len(q), -1)

    run.settings([{"ef": e} for e in steps(512) if e >= 10], search, saved_bytes(index.save))


def run_scann(run, spec):
    import scann

    data, leaves = run.data, int(spec)
    measure = "squared_l2" if data.metric == "l2" else "dot_product"
    threads = run.arguments.threads

    def make():
        builder = scann.scann_ops_pybind.builder(data.base, K, measure).set_n_training_threads(threads)
        builder = builder.tree(num_leaves=leaves, num_leaves_to_search=leaves // 10, training_sample_size=min(len(data.base), 250_000))
        return builder.score_ah(2, anisotropic_quantization_threshold=0.2 if data.metric == "ip" else float("nan")).reorder(100).build()

    index = run.build(f"ScaNN {leaves}", make)

    def save(path):
        os.makedirs(path)
        index.serialize(path)

    def search(q, s):
        if len(q) == 1:
            found, _ = index.search(q[0], leaves_to_search=s["leaves"], pre_reorder_num_neighbors=s["reorder"])
            return [found]
        return index.search_batched(q, leaves_to_search=s["leaves"], pre_reorder_num_neighbors=s["reorder"])[0]

    settings = [{"leaves": n, "reorder": r} for n in steps(leaves // 2) for r in (30, 60, 120, 240)]
    run.settings(settings, search, saved_bytes(save))


RUNNERS = {"faiss": run_faiss, "faiss-tuned": run_faiss, "hnswlib": run_hnswlib, "usearch": run_usearch, "rabitq": run_rabitq, "scann": run_scann}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=RUNNERS)
    parser.add_argument("spec", help="faiss: a factory string; the others: M, degree or number of leaves")
    parser.add_argument("--vectors", required=True)
    parser.add_argument("--metric", choices=["l2", "ip"], required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--first", type=int, help="only the first N rows")
    arguments = parser.parse_args()
    RUNNERS[arguments.peer](Run(arguments, Data(arguments.vectors, arguments.metric, arguments.first)), arguments.spec)


if __name__ == "__main__":
    sys.exit(main())
