"""The data of a benchmark run: a folder with `base.*.npy`, `queries.*.npy` and `neighbors.npy` (what `bilin bench` reads too)."""

import glob
import os

import numpy as np


def _one(folder, pattern):
    found = sorted(glob.glob(os.path.join(folder, pattern)))
    if len(found) != 1:
        raise SystemExit(f"expected one {pattern} in {folder}, found {len(found)}")
    return np.load(found[0])


class Data:
    """Rows and queries as f32, and the distance of each query's k-th true neighbour (so that ties count as right)."""

    def __init__(self, folder, metric, first=None):
        self.name = os.path.basename(os.path.normpath(folder)) + (f"-first{first}" if first else "")
        self.metric = metric
        self.base = np.ascontiguousarray(_one(folder, "base.*.npy")[:first], dtype=np.float32)
        self.queries = np.ascontiguousarray(_one(folder, "queries.*.npy"), dtype=np.float32)
        self.neighbors = self._truth(folder, first)

    def _truth(self, folder, first):
        if first is None:
            return _one(folder, "neighbors.npy").astype(np.int64)
        # A prefix of the rows has other neighbours than the whole: compute them exactly.
        near = np.empty((len(self.queries), 100), dtype=np.int64)
        for i in range(0, len(self.queries), 50):
            near[i : i + 50] = np.argsort(self._distances(self.queries[i : i + 50], self.base), axis=1)[:, :100]
        return near

    def _distances(self, queries, rows):
        dots = queries.astype(np.float64) @ rows.astype(np.float64).T
        if self.metric == "ip":
            return -dots
        return (queries**2).sum(1)[:, None] - 2 * dots + (rows**2).sum(1)[None, :]

    def recall(self, found, k=10):
        """Share of the returned rows that are no farther than the true k-th neighbour."""
        right = 0
        for query, rows in zip(range(len(self.queries)), found):
            rows = np.unique(np.asarray(rows[:k], dtype=np.int64))
            rows = rows[rows >= 0]
            q = self.queries[query : query + 1]
            limit = self._distances(q, self.base[self.neighbors[query, k - 1 : k]])[0, 0]
            right += int((self._distances(q, self.base[rows])[0] <= limit + 1e-6 * abs(limit)).sum())
        return right / (k * len(self.queries))
