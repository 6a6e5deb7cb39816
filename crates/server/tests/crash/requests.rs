//! What is asked of a server that is about to be killed: writes one after the other, and one thing that takes time.
use crate::Phase;
use crate::client::Client;
use crate::record::{Random, Write, Writer, document};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// What the server is asked to do while it is killed.
pub struct Request {
    pub phase: Phase,
    pub path: String,
    pub body: Value,
    /// The collection that it works on.
    pub of: String,
    /// Whether it merges the source into that one.
    pub is_merge: bool,
}

impl Request {
    /// Whether an answer came, which must be good.
    pub fn send(&self, address: SocketAddr) -> bool {
        let asked =
            Client::connect(address).and_then(|mut client| client.ask("POST", &self.path, Some(&self.body)));
        let Ok((status, answer)) = asked else { return false };
        let is_job = status == 202;
        assert!(is_job || status == 200, "{status}, {}: {answer}", self.path);
        !is_job || self.follow(address)
    }

    /// Whether a job came to its end, which must be good.
    fn follow(&self, address: SocketAddr) -> bool {
        let path = format!("/v1/collections/{}", self.of);
        let Ok(mut client) = Client::connect(address) else { return false };
        loop {
            let Ok((_, answer)) = client.ask("GET", &path, None) else { return false };
            let job = &answer["reencode"];
            if !job["ended_unix_s"].is_null() {
                assert_eq!(job["stage"], "done", "{answer}");
                return true;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

/// Writes until the server is gone; returns how many requests were answered.
pub fn write_on(
    address: SocketAddr,
    name: &str,
    writer: &mut Writer,
    is_text: bool,
    mut random: Random,
) -> u64 {
    let mut acknowledged = 0;
    let Ok(mut client) = Client::connect(address) else { return 0 };
    loop {
        writer.unanswered = Some(writer.next(&mut random));
        if send(&mut client, name, writer, is_text).is_err() {
            return acknowledged;
        }
        acknowledged += 1;
    }
}

/// Sends the writer's unanswered request.
pub fn send(client: &mut Client, name: &str, writer: &mut Writer, is_text: bool) -> std::io::Result<()> {
    let collection = format!("/v1/collections/{name}");
    let documents = format!("{collection}/documents");
    let (status, answer) = match writer.unanswered.as_ref().unwrap() {
        Write::Put(new) => {
            let new: Vec<_> = new.iter().map(|(id, version)| document(id, *version, is_text)).collect();
            client.ask("POST", &documents, Some(&json!({"documents": new})))?
        }
        Write::Merge(_) => unreachable!("the house asks for merges"),
        Write::Delete(id) => client.ask("DELETE", &format!("{documents}/{id}"), None)?,
        Write::DeleteBelow(bound) => {
            let filter = format!("writer = \"{}\" AND version < {bound}", writer.name);
            client.ask("POST", &format!("{collection}/delete"), Some(&json!({"filter": filter})))?
        }
    };
    assert_eq!(status, 200, "{:?}: {answer}", writer.unanswered);
    writer.answered();
    Ok(())
}
