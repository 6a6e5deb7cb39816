// Talking to the server. Every failure becomes a Problem with a message and a hint that can be shown.

import { say } from "./words.js";

/** Something that went wrong, in words for a person. */
export class Problem extends Error {
  constructor(message, hint, status = 0) {
    super(message);
    this.hint = hint;
    this.status = status;
  }
}

async function call(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(say("offline"), say("offlineHint"));
  }
  let body;
  try {
    body = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(say("strange"), say("strangeHint"), response.status);
  }
  if (!response.ok) throw new Problem(body.message ?? say("strange"), body.hint ?? "", response.status);
  return body;
}

const at = (collection) => `/v1/collections/${encodeURIComponent(collection)}`;

/** All collections with their figures. */
export const collections = async () => (await call("/v1/collections")).collections;

/** Searches; `what` is one of {text}, {image}, {like}. */
export const search = (collection, what, topK, signal) =>
  call(`${at(collection)}/search`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...what, top_k: topK }),
    signal,
  });

/** Where the small picture of a document is. */
export const thumbnail = (collection, id) => `${at(collection)}/thumbnails/${encodeURIComponent(id)}`;
