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

/** Whether a question was given up by the page itself. */
export const isAborted = (error) => error.name === "AbortError";

async function call(method, path, body, signal) {
  const isForm = body instanceof FormData;
  let response;
  try {
    response = await fetch(path, {
      method,
      signal,
      headers: body === undefined || isForm ? {} : { "content-type": "application/json" },
      body: body === undefined || isForm ? body : JSON.stringify(body),
    });
  } catch (error) {
    if (isAborted(error)) throw error;
    throw new Problem(say("offline"), say("offlineHint"));
  }
  if (response.status === 204) return null;
  let answer;
  try {
    answer = await response.json();
  } catch (error) {
    if (isAborted(error)) throw error;
    throw new Problem(say("strange"), say("strangeHint"), response.status);
  }
  if (!response.ok) throw new Problem(answer.message ?? say("strange"), answer.hint ?? "", response.status);
  return answer;
}

const get = (path, signal) => call("GET", path, undefined, signal);
const post = (path, body = {}, signal = undefined) => call("POST", path, body, signal);

/** Paths below a collection. */
export const at = (collection) => `/v1/collections/${encodeURIComponent(collection)}`;
const query = (wishes) => new URLSearchParams(Object.entries(wishes).filter(([, value]) => value !== null && value !== "")).toString();

export const recentErrors = () => get("/v1/errors");
export const health = () => get("/health");
export const collections = () => get("/v1/collections");
export const collection = (name) => get(at(name));
export const createCollection = (name, wishes) => call("PUT", at(name), wishes);
export const deleteCollection = (name) => call("DELETE", at(name));
export const addFiles = (name, form, signal) => call("POST", `${at(name)}/documents`, form, signal);
export const getDocument = (name, id) => get(`${at(name)}/documents/${encodeURIComponent(id)}`);
export const deleteDocuments = (name, ids) => post(`${at(name)}/delete`, { ids });
export const merge = (name, wishes) => post(`${at(name)}/merge`, wishes);
export const reencode = (name, wishes) => post(`${at(name)}/reencode`, wishes);
export const stopReencode = (name) => call("DELETE", `${at(name)}/reencode`);
export const maintain = (name) => post(`${at(name)}/maintain`);
export const verify = (name) => post(`${at(name)}/verify`);
export const acknowledge = (name) => post(`${at(name)}/acknowledge`);

export const search = (name, body, signal) => post(`${at(name)}/search`, body, signal);
export const facets = (name, wishes, signal) => get(`${at(name)}/facets?${query(wishes)}`, signal);
export const duplicates = (name, wishes, signal) => get(`${at(name)}/duplicates?${query(wishes)}`, signal);
export const evaluate = (name, wishes, signal) => post(`${at(name)}/eval`, wishes, signal);
export const evaluations = (name) => get(`${at(name)}/eval`);
export const pastRuns = (name) => get(`${at(name)}/history`);
export const forgetPastRuns = (name) => call("DELETE", `${at(name)}/history`);
export const startTuning = (name, wishes) => post(`${at(name)}/tune`, wishes);
export const tuning = (name) => get(`${at(name)}/tune`);
export const stopTuning = (name) => call("DELETE", `${at(name)}/tune`);
export const tuningReport = (name, language) => `${at(name)}/tune/report?language=${language}`;

export const backups = (name) => get(`/v1/backups?${query({ collection: name ?? null })}`);
export const makeBackup = (name) => post("/v1/backups", { collection: name });
export const restoreBackup = (name, time) => post("/v1/backups/restore", { collection: name, at: time });
export const removeBackup = (name, time) => call("DELETE", `/v1/backups/${encodeURIComponent(name)}/${encodeURIComponent(time)}`);
export const verifyBackup = (name, time) => post("/v1/backups/verify", { collection: name, time });

/** Where the small picture of a document is. */
export const thumbnail = (name, id) => `${at(name)}/thumbnails/${encodeURIComponent(id)}`;
