"""Networks of the newer kind, and what sentence-transformers puts behind a network: vectors equal those of transformers.

Small networks of random weights, made here; differences are the largest of any one number of unit vectors. The tokenizer is
a byte-level BPE that `tokenizers` trains on the sample course.
"""

import io
import json
import shutil
import urllib.parse

import numpy
import pytest
import torch
import transformers
from bilin import Server, run
from sentence_transformers import SentenceTransformer
from sentence_transformers import models as modules
from test_models import TEXT_BAR, TEXTS, alike, as_sentence_transformer, corpus, encode, odd_texts, reference, same, spread, token_ids
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import BPE

END = "<|endoftext|>"
# As Qwen's: a word with the space or mark before it, digits one by one, runs of marks, line ends, spaces.
WORDS = r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
# Longer than a sliding window, and than a block of queries.
LONG = TEXTS + ["窗口之外的文字 beyond the window\uff0c" * 9, "a b c"]


def byte_level(folder, around=("", END), longest=256):
    """A tokenizer as Qwen's (an end behind every text) or ModernBERT's (`[CLS]` and `[SEP]`), saved in `folder`."""
    folder.mkdir(parents=True)
    specials = [token for token in dict.fromkeys(["[UNK]", *around, END]) if token]
    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(WORDS), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(corpus() + TEXTS, trainers.BpeTrainer(vocab_size=900, special_tokens=specials, initial_alphabet=alphabet, show_progress=False))
    template = " ".join(token for token in (around[0], "$A", around[1]) if token)
    ids = [(token, tokenizer.token_to_id(token)) for token in around if token]
    ends = processors.TemplateProcessing(single=template, pair=f"{template} $B", special_tokens=ids)
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), ends])
    names = {"pad_token": END, "eos_token": END}
    if around[0]:
        # sentence-transformers counts a prompt's tokens by which of them the tokenizer calls special.
        names |= {"cls_token": around[0], "sep_token": around[1]}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=longest, **names).save_pretrained(folder)
    return tokenizer.get_vocab_size()


QWEN = dict(hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2, head_dim=20, max_position_embeddings=300)


def qwen3(folder, whole=False, **changes):
    """Heads of more numbers than `hidden_size / heads`, three to one head of keys; `whole`: saved with its head of words."""
    torch.manual_seed(6)
    count = byte_level(folder)
    config = transformers.Qwen3Config(vocab_size=count, pad_token_id=None, **(QWEN | changes))
    model = (transformers.Qwen3ForCausalLM if whole else transformers.Qwen3Model)(config).eval()
    norms = [module.weight for module in model.modules() if type(module).__name__ == "Qwen3RMSNorm"]
    with torch.no_grad():
        for weight in norms:
            weight.uniform_(0.3, 0.5)
    spread(model).save_pretrained(folder)
    return model


BERT = dict(hidden_size=60, intermediate_size=70, num_hidden_layers=5, num_attention_heads=3, local_attention=16, max_position_embeddings=300)


def modernbert(folder, **changes):
    torch.manual_seed(7)
    count = byte_level(folder, ("[CLS]", "[SEP]"))
    tokens = dict(pad_token_id=0, cls_token_id=1, bos_token_id=1, sep_token_id=2, eos_token_id=2)
    config = transformers.ModernBertConfig(vocab_size=count, **tokens, **(BERT | changes))
    model = transformers.ModernBertModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.2, 0.5)
            elif name.endswith("bias"):
                parameter.uniform_(-0.1, 0.1)
    # Its weights are cut off close to zero at the start.
    spread(spread(model)).save_pretrained(folder)
    return model


def told_apart(folder):
    """The vectors of a test must differ: a network that says the same of every text would pass for any other."""
    vectors = encode(folder, LONG)
    alike = vectors @ vectors.T - numpy.eye(len(vectors))
    assert alike.max() < 0.999, alike.max()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0}},
        {"num_key_value_heads": 6, "attention_bias": True},
        {"use_sliding_window": True, "sliding_window": 12, "max_window_layers": 1},
        {"is_causal": False},
    ],
    ids=["grouped", "theta", "biases", "windows", "both-ways"],
)
def test_qwen3(tmp_path, changes):
    qwen3(tmp_path / "qwen3", **changes)
    whole = as_sentence_transformer(tmp_path / "qwen3", "lasttoken", {"query": "Instruct: find\nQuery:", "document": ""}, 200)
    same(whole, LONG)
    told_apart(whole)


@pytest.mark.parametrize("tied", [True, False])
def test_qwen3_saved_with_its_head_is_pooled_by_the_last_token(tmp_path, tied):
    folder = tmp_path / "qwen3"
    qwen3(folder, whole=True, tie_word_embeddings=tied)
    assert not (folder / "modules.json").exists()
    same(folder, LONG)
    ids = token_ids(folder, ["x"])[0]
    assert ids[-1] == Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id(END)


def test_configs_of_before_say_the_same(tmp_path):
    """`rope_theta` by itself; ModernBERT's two bases and every how many layers all is seen."""
    old, new = tmp_path / "old", tmp_path / "new"
    qwen3(new, rope_parameters={"rope_type": "default", "rope_theta": 50_000.0})
    shutil.copytree(new, old)
    config = json.loads((new / "config.json").read_text())
    for name in ("rope_parameters", "layer_types"):
        config.pop(name)
    (old / "config.json").write_text(json.dumps(config | {"rope_theta": 50_000.0, "rope_scaling": None}))
    assert numpy.array_equal(encode(old, LONG), encode(new, LONG))
    (old / "config.json").write_text(json.dumps(config | {"rope_theta": 10_000.0}))
    assert not numpy.array_equal(encode(old, LONG), encode(new, LONG))
    old, new = tmp_path / "old-modernbert", tmp_path / "modernbert"
    modernbert(new)
    shutil.copytree(new, old)
    config = json.loads((new / "config.json").read_text())
    for name in ("rope_parameters", "layer_types"):
        config.pop(name)
    before = {"global_attn_every_n_layers": 3, "global_rope_theta": 160_000.0, "local_rope_theta": 10_000.0}
    (old / "config.json").write_text(json.dumps(config | before))
    assert numpy.array_equal(encode(old, LONG), encode(new, LONG))
    (old / "config.json").write_text(json.dumps(config | before | {"global_attn_every_n_layers": 2}))
    assert not numpy.array_equal(encode(old, LONG), encode(new, LONG))


@pytest.mark.parametrize(
    "changes",
    [{}, {"attention_bias": True, "mlp_bias": True, "norm_bias": True}, {"local_attention": 4, "layer_types": ["sliding_attention", "full_attention"] * 2 + ["sliding_attention"]}],
    ids=["plain", "biases", "narrow"],
)
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_modernbert(tmp_path, changes, pooling):
    modernbert(tmp_path / "modernbert", **changes)
    whole = as_sentence_transformer(tmp_path / "modernbert", pooling, longest=200)
    same(whole, LONG)
    told_apart(whole)


@pytest.mark.parametrize("make", [qwen3, modernbert])
@pytest.mark.parametrize("kind", ["bf16", "f16", "parts"])
def test_every_form_of_weights(tmp_path, make, kind):
    folder = tmp_path / "model"
    model = make(folder)
    if kind == "parts":
        model.save_pretrained(folder, max_shard_size="60KB")
        (folder / "model.safetensors").unlink()
        assert (folder / "model.safetensors.index.json").exists()
        same(folder, LONG)
        return
    model.to(torch.bfloat16 if kind == "bf16" else torch.float16).save_pretrained(folder)
    # The reference widens what it reads, as we do.
    wide = tmp_path / "wide"
    shutil.copytree(folder, wide)
    model.float().save_pretrained(wide)
    expected = reference(wide, LONG)
    worst = numpy.abs(expected - encode(folder, LONG)).max()
    print(f"{make.__name__} {kind}: largest difference {worst:.2e}")
    assert worst <= TEXT_BAR


def test_byte_level_tokens_are_cut_one_by_one(tmp_path):
    folder = tmp_path / "qwen3"
    qwen3(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    texts = odd_texts(10_000)
    expected = [tokenizer(text.strip(), truncation=True, max_length=256)["input_ids"] for text in texts]
    alike(texts, expected, token_ids(folder, texts))


def test_what_is_another_network_is_refused_by_name(tmp_path):
    for make, changes in (
        (qwen3, [({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "yarn"), ({"num_key_value_heads": 4}, "share 4"), ({"hidden_act": "gelu"}, "gelu"), ({"head_dim": 24}, "[144, 48]")]),
        (modernbert, [({"hidden_activation": "silu"}, "silu"), ({"intermediate_size": 71}, "[142, 60]"), ({"norm_bias": True}, "norm.bias")]),
    ):
        folder = tmp_path / make.__name__
        make(folder)
        good = json.loads((folder / "config.json").read_text())
        for change, told in changes:
            (folder / "config.json").write_text(json.dumps(good | change))
            assert told in run("encode", "--model", folder, stdin=b"x\n", expect=1).err


def vectors_of(states, mode):
    """One vector of the states of a text, `[tokens, dim]`, as the modes of sentence-transformers make it."""
    return states.mean(0) if mode == "mean" else states[-1]


def windows(ids, alone, around, longest):
    """As a text of tokens `ids`, prompt first, is cut: what each window holds of the text, and what is read for it."""
    prompt = 0
    while prompt < min(len(ids), len(alone)) and ids[prompt] == alone[prompt]:
        prompt += 1
    text, room = ids[prompt:], longest - len(around[0]) - len(around[1]) - prompt
    starts = [0]
    while starts[-1] + room < len(text):
        starts.append(starts[-1] + room - room // 8)
    held = [text[start : start + room] for start in starts]
    return [(len(part), [*around[0], *ids[:prompt], *part, *around[1]]) for part in held]


def averaged(folder, texts, prompt, around, longest, mode):
    """The mean of unit vectors of windows, weighted by tokens, by `transformers` alone."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    model = transformers.AutoModel.from_pretrained(str(folder)).eval()
    vectors, counts = [], []
    for text in texts:
        ids, alone = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in (prompt + text.strip(), prompt))
        total, parts = 0, windows(ids, alone, around, longest)
        for weight, window in parts:
            with torch.no_grad():
                states = model(input_ids=torch.tensor([window])).last_hidden_state[0]
            total = total + weight * torch.nn.functional.normalize(vectors_of(states, mode), dim=0)
        vectors.append(torch.nn.functional.normalize(total, dim=0).numpy())
        counts.append(len(parts))
    return numpy.stack(vectors), counts


@pytest.mark.parametrize("make, mode, prompt", [(modernbert, "mean", "query: "), (qwen3, "lasttoken", "找出相关的文字\nQuery:"), (modernbert, "mean", "")])
def test_windows_over_long_texts_are_averaged(tmp_path, make, mode, prompt):
    folder, longest = tmp_path / "model", 100
    make(folder)
    whole = as_sentence_transformer(folder, mode, {"query": prompt}, longest)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    around = [[], [tokenizer.token_to_id(END)]] if make is qwen3 else [[tokenizer.token_to_id("[CLS]")], [tokenizer.token_to_id("[SEP]")]]
    texts = [*LONG, "近邻 neighbour search, 1234\uff1b" * 60]
    expected, counts = averaged(folder, texts, prompt, around, longest, mode)
    assert max(counts) > 4 and min(counts) == 1, counts
    stdin = "".join(f"{text}\n" for text in texts).encode()
    read = run("encode", "--model", whole, "--prompt", "query", "--long-texts", "window", stdin=stdin)
    assert "longer" not in read.err
    received = numpy.load(io.BytesIO(read.raw))
    worst = numpy.abs(expected - received).max()
    print(f"{make.__name__}: {counts} windows, largest difference {worst:.2e}")
    assert worst <= TEXT_BAR
    cut = run("encode", "--model", whole, "--prompt", "query", stdin=stdin)
    assert f"{sum(count > 1 for count in counts)} of {len(texts)} lines are longer" in cut.err
    for vector, short, count in zip(received, numpy.load(io.BytesIO(cut.raw)), counts, strict=True):
        assert numpy.array_equal(vector, short) == (count == 1)


def st(folder, name, *parts, longest=200, prompts=None):
    """A folder of sentence-transformers with `parts` behind the network."""
    network = modules.Transformer(str(folder))
    network.max_seq_length = longest
    whole = folder.with_name(name)
    SentenceTransformer(modules=[network, *parts], prompts=prompts, device="cpu").save(str(whole))
    return whole


@pytest.mark.parametrize(
    "modes", [("mean", "max"), ("lasttoken", "cls", "weightedmean"), ("mean_sqrt_len_tokens", "mean", "cls", "max", "weightedmean", "lasttoken")], ids="+".join
)
def test_poolings_one_behind_the_other(tmp_path, modes):
    folder = tmp_path / "modernbert"
    modernbert(folder)
    same(st(folder, "st", modules.Pooling(BERT["hidden_size"], pooling_mode=modes), modules.Normalize()), LONG)
    old = st(folder, "old", modules.Pooling(BERT["hidden_size"], pooling_mode=("cls", "mean")))
    config = next(old.glob("*Pooling/config.json"))
    flags = {"cls_token": True, "mean_tokens": True, "max_tokens": False, "mean_sqrt_len_tokens": False}
    config.write_text(json.dumps({"word_embedding_dimension": BERT["hidden_size"]} | {f"pooling_mode_{name}": on for name, on in flags.items()}))
    same(old, LONG)


@pytest.mark.parametrize("modes", ["mean", "cls", "weightedmean", "max", "lasttoken"])
@pytest.mark.parametrize("make", [modernbert, qwen3])
def test_a_prompt_may_be_left_out_of_the_pooling(tmp_path, make, modes):
    folder = tmp_path / "model"
    make(folder)
    dim = (BERT if make is modernbert else QWEN)["hidden_size"]
    prompts = {"query": "Find this: ", "document": ""}
    whole = st(folder, "st", modules.Pooling(dim, pooling_mode=modes, include_prompt=False), longest=200, prompts=prompts)
    for side in ("query", "document"):
        expected = reference(whole, LONG, prompt_name=side)
        worst = numpy.abs(expected - encode(whole, LONG, side)).max()
        print(f"{make.__name__} {modes} {side}: largest difference {worst:.2e}")
        assert worst <= TEXT_BAR


@pytest.mark.parametrize("activation", ["Identity", "Tanh", "ReLU", "GELU", "Sigmoid", "SiLU"])
@pytest.mark.parametrize("bias", [True, False])
def test_dense(tmp_path, activation, bias):
    folder, dim = tmp_path / "modernbert", BERT["hidden_size"]
    modernbert(folder)
    torch.manual_seed(8)
    dense = modules.Dense(dim, 33, bias=bias, activation_function=getattr(torch.nn, activation)())
    same(st(folder, "st", modules.Pooling(dim, pooling_mode="mean"), dense, modules.Normalize()), LONG)


def test_modules_follow_one_another(tmp_path):
    """Pooling of three, unit length, a layer with what it was given added through another, a norm, a layer with it added as it is."""
    folder, dim = tmp_path / "modernbert", BERT["hidden_size"]
    modernbert(folder)
    torch.manual_seed(9)
    norm = modules.LayerNorm(40)
    torch.nn.init.uniform_(norm.norm.weight, 0.5, 1.5)
    torch.nn.init.uniform_(norm.norm.bias, -0.5, 0.5)
    first, second = modules.Dense(3 * dim, 40, use_residual=True), modules.Dense(40, 40, use_residual=True)
    pooling = modules.Pooling(dim, pooling_mode=("mean", "cls", "max"))
    whole = st(folder, "st", pooling, modules.Normalize(), first, modules.Dropout(0.5), norm, second)
    same(whole, LONG)
    assert encode(whole, LONG).shape == (len(LONG), 40)
    config = next(whole.glob("*_Dense/config.json"))
    good = json.loads(config.read_text())
    for change, told in (({"activation_function": "torch.nn.modules.activation.PReLU"}, "PReLU"), ({"in_features": 5}, "5"), ({"module_input_name": "token_embeddings"}, "token_embeddings")):
        config.write_text(json.dumps(good | change))
        assert told in run("encode", "--model", whole, stdin=b"x\n", expect=1).err


def item_vectors(server, collection, document):
    name = urllib.parse.quote(str(document), safe="")
    items = server.request("GET", f"/v1/collections/{collection}/documents/{name}")["items"]
    return numpy.asarray([item["vector"] for item in items], dtype=numpy.float32)


def test_a_collection_has_prompts_of_its_own(tmp_path):
    """BGE's and E5's folders name none; what a collection was made with counts for its documents and its queries."""
    folder, data, notes = tmp_path / "modernbert", tmp_path / "data", tmp_path / "notes.txt"
    modernbert(folder)
    texts = ["向量检索是什么", "FAISS builds an index", "混合 English 与中文"]
    notes.write_text("\n".join(texts), "utf-8")
    ours = ["--query-prompt", "查询\uff1a", "--document-prompt", "passage: "]
    run("add", "notes", notes, "--model", folder, *ours, data=data)
    run("add", "plain", notes, "--model", folder, data=data)
    run("add", "notes", notes, data=data)
    run("add", "notes", notes, *ours, data=data)
    refused = run("add", "notes", notes, "--query-prompt", "query: ", data=data, expect=1).err
    assert "查询\uff1a" in refused and "query: " in refused, refused
    refused = run("add", "plain", notes, "--document-prompt", "passage: ", data=data, expect=1).err
    assert '""' in refused and "passage: " in refused, refused
    refused = run("merge", "plain", "notes", data=data, expect=1).err
    assert "space" in refused and "prompts-" in refused, refused
    assert "passage" in run("collections", "notes", "--json", data=data).out
    documents = encode(folder, [f"passage: {text}" for text in texts])
    query = encode(folder, ["查询\uff1aindex"])[0]
    with Server(data) as server:
        assert numpy.abs(item_vectors(server, "notes", notes) - documents).max() <= TEXT_BAR
        assert numpy.abs(item_vectors(server, "plain", notes) - encode(folder, texts)).max() <= TEXT_BAR
        results = server.request("POST", "/v1/collections/notes/search", json={"text": "index", "top_k": 3})["results"]
        scores = {found["text"]: found["similarity"] for found in results}
        assert numpy.abs(numpy.array([scores[text] for text in texts]) - documents @ query).max() <= TEXT_BAR
        # By HTTP, in another order: made empty, then filled.
        made = server.request("PUT", "/v1/collections/web", expect=201, json={"model": str(folder), "query_prompt": "查询\uff1a", "document_prompt": "passage: "})
        assert (made["query_prompt"], made["document_prompt"], made["long_texts"]) == ("查询\uff1a", "passage: ", "truncate")
        server.request("POST", "/v1/collections/web/documents", json={"documents": [{"id": "a", "text": texts[0]}]})
        assert numpy.abs(item_vectors(server, "web", "a") - documents[:1]).max() <= TEXT_BAR
        server.request("PUT", "/v1/collections/bad", expect=422, json={"dim": 4, "query_prompt": "x"})
        server.request("PUT", "/v1/collections/bad", expect=422, json={"model": str(folder), "query_prompt": "x y " * 500})
        # Two collections whose prompts agree are of one space.
        merged = server.request("POST", "/v1/collections/web/merge", json={"sources": ["notes"]})
        assert merged["added"] == 1, merged


def test_an_empty_collection_may_still_change_its_prompts(tmp_path):
    folder, data, notes = tmp_path / "modernbert", tmp_path / "data", tmp_path / "notes.txt"
    modernbert(folder)
    notes.write_text("向量检索", "utf-8")
    run("add", "notes", notes, "--model", folder, "--query-prompt", "a: ", data=data)
    run("delete", "notes", "--id", notes, data=data)
    assert run("collections", "notes", "--json", data=data).json_lines()[0]["count"] == 0
    notes.write_text("近邻检索", "utf-8")
    run("add", "notes", notes, "--query-prompt", "b: ", "--long-texts", "window", data=data)
    settings = run("collections", "notes", "--json", data=data).json_lines()[0]
    assert (settings["query_prompt"], settings["long_texts"], settings["count"]) == ("b: ", "window", 1)


def test_truncated_items_are_told_and_windows_have_none(tmp_path):
    folder, data, notes = tmp_path / "modernbert", tmp_path / "data", tmp_path / "notes.txt"
    modernbert(folder)
    whole = as_sentence_transformer(folder, "mean", longest=40)
    long = "近邻检索的索引与距离" * 8
    notes.write_text(f"{long}\n短句。\n", "utf-8")
    added = run("add", "cut", notes, "--model", whole, data=data)
    assert "1 of the items are longer than the model reads" in added.err, added.err
    added = run("add", "cut-json", notes, "--model", whole, "--json", data=data).json_lines()[-1]
    assert (added["items_added"], added["items_truncated"]) == (2, 1), added
    added = run("add", "all", notes, "--model", whole, "--long-texts", "window", "--json", data=data).json_lines()[-1]
    assert (added["items_added"], added["items_truncated"]) == (2, 0), added
    refused = run("add", "all", notes, "--long-texts", "truncate", data=data, expect=1).err
    assert '"window"' in refused and '"truncate"' in refused, refused
    notes.write_text(f"{long}\n短句。\n{long[3:]}\n", "utf-8")
    added = run("add", "all", notes, "--json", data=data).json_lines()[-1]
    assert added["items_truncated"] == 0, "later adds read as the first did"
    stdin = f"{long}\n短句。\n{long[3:]}\n".encode()
    expected = numpy.load(io.BytesIO(run("encode", "--model", whole, "--long-texts", "window", stdin=stdin).raw))
    with Server(data) as server:
        assert numpy.abs(item_vectors(server, "all", notes) - expected).max() <= TEXT_BAR
        document = {"documents": [{"id": "a", "text": long}]}
        assert server.request("POST", "/v1/collections/all/documents", json=document)["truncated"] == 0
        assert numpy.abs(item_vectors(server, "all", "a") - expected[:1]).max() <= TEXT_BAR
        made = server.request("PUT", "/v1/collections/web", expect=201, json={"model": str(whole), "long_texts": "window"})
        assert made["long_texts"] == "window"
