// A CLIP folder of a few hundred weights that come from a formula: enough for words and pictures to meet in one space, not to understand
// either. Layout and tensors are those of `transformers`.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

const DIM = 4;
const STATE = 8;
const WIDE = 16;
const SIDE = 8;
const PATCH = 4;
const POSITIONS = 6;
const VOCABULARY = ["a", "c", "r", "a</w>", "r</w>", "1</w>", "2</w>", "ca", "car</w>", "<|startoftext|>", "<|endoftext|>"];

/** Names and shapes of all tensors. */
function shapes() {
  const all = [
    ["text_model.embeddings.token_embedding.weight", [VOCABULARY.length, STATE]], ["text_model.embeddings.position_embedding.weight", [POSITIONS, STATE]],
    ["text_projection.weight", [DIM, STATE]], ["vision_model.embeddings.class_embedding", [STATE]],
    ["vision_model.embeddings.patch_embedding.weight", [STATE, 3, PATCH, PATCH]],
    ["vision_model.embeddings.position_embedding.weight", [(SIDE / PATCH) ** 2 + 1, STATE]], ["visual_projection.weight", [DIM, STATE]],
  ];
  const norms = ["text_model.final_layer_norm", "vision_model.pre_layrnorm", "vision_model.post_layernorm"];
  for (const tower of ["text_model", "vision_model"]) {
    const layer = `${tower}.encoder.layers.0`;
    norms.push(`${layer}.layer_norm1`, `${layer}.layer_norm2`);
    const products = ["q", "k", "v", "out"].map((name) => [`self_attn.${name}_proj`, STATE, STATE]);
    for (const [name, outputs, inputs] of [...products, ["mlp.fc1", WIDE, STATE], ["mlp.fc2", STATE, WIDE]]) {
      all.push([`${layer}.${name}.weight`, [outputs, inputs]], [`${layer}.${name}.bias`, [outputs]]);
    }
  }
  return [...all, ...norms.flatMap((norm) => [[`${norm}.weight`, [STATE]], [`${norm}.bias`, [STATE]]])];
}

/** A safetensors file: the length of its header, the header, the numbers. */
function weights() {
  const header = {};
  const numbers = [];
  for (const [at, [name, shape]] of shapes().entries()) {
    const begin = numbers.length * 4;
    const count = shape.reduce((product, side) => product * side, 1);
    for (let i = 0; i < count; i += 1) numbers.push((((i + 31 * at) * 7919) % 1009) / 504.5 - 1);
    header[name] = { dtype: "F32", shape, data_offsets: [begin, numbers.length * 4] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, Buffer.from(new Float32Array(numbers).buffer)]);
}

/** Writes the folder. */
export async function clipFolder(folder) {
  const tower = { hidden_size: STATE, intermediate_size: WIDE, num_hidden_layers: 1, num_attention_heads: 2 };
  const config = {
    model_type: "clip", projection_dim: DIM,
    text_config: { ...tower, vocab_size: VOCABULARY.length, max_position_embeddings: POSITIONS, eos_token_id: VOCABULARY.length - 1 },
    vision_config: { ...tower, image_size: SIDE, patch_size: PATCH },
  };
  await mkdir(folder, { recursive: true });
  await Promise.all(Object.entries({
    "config.json": JSON.stringify(config), "preprocessor_config.json": JSON.stringify({ size: SIDE, crop_size: SIDE }),
    "vocab.json": JSON.stringify(Object.fromEntries(VOCABULARY.map((token, at) => [token, at]))), "merges.txt": "#version: 0.2\nc a\nca r</w>\n",
    "model.safetensors": weights(),
  }).map(([name, content]) => writeFile(join(folder, name), content)));
}
