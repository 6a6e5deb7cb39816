//! The use cases of the engine on real files, the built-in models and a real data folder.

mod alike;
mod caching;
mod concurrency;
mod course;
mod damage;
mod documents;
mod evaluation;
mod faiss;
mod folders;
mod gallery;
mod lexical;
mod office;
mod pictures;
mod recall;
mod reencode;
mod replica;
mod reranking;
mod search;
mod sentences;
mod small_model;
mod support;
mod tuning;
mod upkeep;
mod vectors;
