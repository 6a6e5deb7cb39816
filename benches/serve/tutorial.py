"""The tutorial's service as its chapter builds it: FastAPI, sentence-transformers, a FAISS index beside its metadata.json.

`tutorial.py FOLDER PORT` serves `POST /text-search` over `FOLDER/faiss_index.index` and `FOLDER/metadata.json` with the model in
`FOLDER/model`. The route is a plain `def`, as there: FastAPI runs it on its thread pool.
"""

import json
import pathlib
import sys

import faiss
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

folder, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
model = SentenceTransformer(str(folder / "model"), device="cpu")
index = faiss.read_index(str(folder / "faiss_index.index"))
metadata = json.loads((folder / "metadata.json").read_text("utf-8"))
app = FastAPI()


class Query(BaseModel):
    query: str
    top_k: int = 3


@app.post("/text-search")
def text_search(asked: Query):
    vector = model.encode([asked.query], normalize_embeddings=True).astype("float32")
    similarities, rows = index.search(vector, asked.top_k)
    found = [
        {"rank": rank, "similarity": float(similarity), "text": metadata[row]["text"], "metadata": metadata[row]}
        for rank, (similarity, row) in enumerate(zip(similarities[0], rows[0]), 1)
        if row >= 0
    ]
    return {"query": asked.query, "results": found}


@app.get("/health")
def health():
    return {"status": "healthy", "index_vector_count": index.ntotal}


uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
